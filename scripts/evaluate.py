"""Score a trained agent: `python scripts/evaluate.py ram-mnist`, or a run folder, or a checkpoint file.

Visits every frozen scene of the split once and prints the error in percent with its 95 % interval.
`--publish` also adds the figures to results/results.jsonl and the metrics of the epochs to results/metrics.
The checkpoint of seed 1 is kept in results/pretrained, in float16, and scored as it is kept; where none is
kept, as with `--figures-only`, the weights are scored as they were trained. The run must have the settings
of the experiment that it names. An ablation's figure is that on validation scenes.
`--on ID` and `--env KEYWORD=VALUE …` score it on another environment than its own (another canvas, clutter
or number of glimpses), if its shapes fit. `--with SOURCE` adds a reader of the other direction.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import Any

import terminal
import torch

from agents import device
from agents.agent import count_parameters
from agents.experiments import Experiment
from agents.experiments.experiment import from_config, load_agent, spec_in
from agents.learn import checkpoint, run
from agents.learn.ensemble import evaluate_both
from agents.learn.envs import check_fits, parse_keywords, single_env
from agents.learn.evaluate import MODES, evaluate
from agents.learn.files import write
from agents.learn.judging import world_of
from agents.learn.language import NextStep
from agents.learn.loop import Scorer
from agents.learn.metrics import by_other_metrics
from agents.learn.reading import Reading
from agents.learn.sentences import TeacherForcing
from agents.learn.vectors import Vectors
from agents.report import results
from glimpse_env.data.files import DatasetError
from glimpse_env.random import SPLITS
from glimpse_env.worlds.captions import CaptionWorld
from glimpse_env.worlds.sentences import SentenceWorld

UNITS = {  # how a figure is said, with its 95 % interval
    "test_error": "{:.2f}% error [{:.2f}, {:.2f}]",
    "nats": "{:.4f} nats [{:.4f}, {:.4f}]",
    "cross_entropy": "{:.5f} nats [{:.5f}, {:.5f}]",
    "steps": "{:.2f} steps [{:.2f}, {:.2f}]",
    "bleu": "{:.2f} BLEU [{:.2f}, {:.2f}]",
    "bleu_lc": "{:.2f} BLEU [{:.2f}, {:.2f}]",
    **{f"bleu{n}": f"{{:.2f}} BLEU-{n} [{{:.2f}}, {{:.2f}}]" for n in range(1, 5)},
    "meteor": "{:.2f} METEOR [{:.2f}, {:.2f}]",
    "cider": "{:.2f} CIDEr-D [{:.2f}, {:.2f}]",
    "on_target": "{:.2f}% of looks on target [{:.2f}, {:.2f}]",
    "entropy": "{:.2f} nats of a look [{:.2f}, {:.2f}]",
    "travel": "{:.3f} widths from look to look [{:.3f}, {:.3f}]",
    "mass_on_target": "{:.2f}% of attention on target [{:.2f}, {:.2f}]",
    "f1": "{:.2f}% F1 [{:.2f}, {:.2f}]",
    "accuracy": "{:.2f}% right [{:.2f}, {:.2f}]",
    "squared_error": "{:.6f} mean squared error [{:.6f}, {:.6f}]",
}

OF = {  # what a figure is of, where that is no frozen sequence
    "carried": "characters",
    "windows": "windows",
    "written": "texts of its own",
    "completed": "digits that it completed",
    "on target": "words that name something",
    "on target, a word before": "words that name something",
    "mass on target": "words that name something",
    "mass on target, one look": "words that name something",
    "mass on target, own words": "words of its own that name something",
    "mass on target, own words, one look": "words of its own that name something",
    "entropy": "words",
    "travel": "words",
}


def main(arguments: list[str]) -> None:
    """Parse, evaluate, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("source", help="a name in results/pretrained, a run folder or a checkpoint")
    parser.add_argument("--split", choices=SPLITS, help="test unless given; validation of an ablation")
    parser.add_argument("--mode", choices=MODES, help="how gazes are chosen: every mode unless given")
    parser.add_argument("--on", metavar="ID", help="score it on this id instead of its own")
    parser.add_argument(
        "--env",
        metavar="KEYWORD=VALUE",
        nargs="*",
        action="extend",
        default=[],
        help="change its environment",
    )
    parser.add_argument(
        "--with", dest="backward", metavar="SOURCE", help="average it with this backward reader"
    )
    parser.add_argument("--metrics", action="store_true", help="score sentences by other metrics as well")
    parser.add_argument("--device", choices=device.DEVICES, default="auto", help="where to compute")
    parser.add_argument("--publish", action="store_true", help="keep the figures and the checkpoint")
    parser.add_argument("--figures-only", action="store_true", help="publish without the checkpoint")
    options = parser.parse_args(arguments)
    elsewhere = options.on is not None or bool(options.env)
    if options.publish and (options.mode or options.split or elsewhere):
        raise ValueError(
            "--publish is for its own test split in every mode: leave out --mode, --split, --on and --env"
        )
    if options.figures_only and not options.publish:
        raise ValueError("--figures-only is of what --publish keeps: give both")
    torch.set_num_threads(1)
    where = device.choose(options.device)
    path = results.find_checkpoint(options.source)
    agent, experiment, config = load_agent(path, where)
    name = config["experiment"]
    if options.publish:
        results.check_publishable(name, experiment)
        results.read()  # raises now, and not after all is scored
        run.epochs(path.parent)
        if options.backward is None and not (path.parent / run.METRICS).exists():
            raise ValueError(f"--publish is for a run folder, and {path.parent} has no {run.METRICS}")
        rounded = not options.figures_only and is_kept(path, config)
        if rounded:  # what is scored is what is kept
            checkpoint.load_weights(agent, results.compact(agent.state_dict()), path)
    if options.metrics:
        says = isinstance(experiment.learner, TeacherForcing | Reading)
        if not (says and isinstance(world_of(experiment.task, "test"), SentenceWorld)):
            raise ValueError(f"{name} says no sentences: leave out --metrics")
        by_other_metrics(["one"], ["one"])  # whether its libraries are there
    if not experiment.is_sequence and not elsewhere:  # the data may have changed since
        check_fits(agent, name, spec_in(config), experiment.env_id, experiment.env)
    if isinstance(experiment.learner, Scorer):
        evaluate_by_learner(agent, experiment, config, path, options)
        return
    trained = experiment
    if elsewhere:
        own = experiment.env if options.on in (None, experiment.env_id) else {}
        env = {**own, **parse_keywords(options.env)}
        experiment = experiment.but(env_id=experiment.env_id if options.on is None else options.on, env=env)
        check_fits(agent, name, spec_in(config), experiment.env_id, env)
    dataset = results.dataset_of(experiment.env_id, experiment.env)
    if (results.dataset_of(trained.env_id, trained.env), dataset) == ("mnist", "mnist-5k"):
        print(f"{name}: mnist-5k is of MNIST's training digits, which this agent knows", file=sys.stderr)
    own_split = results.split_of(config["experiment"])
    split = options.split or own_split
    modes = MODES if agent.sees == "glimpses" and own_split == "test" else MODES[:1]
    minutes = results.training_minutes(path, config)
    score = partial(evaluate, agent)
    if options.backward is not None:
        other_path = results.find_checkpoint(options.backward)
        other, other_experiment, other_config = load_agent(other_path, where)
        if isinstance(other_experiment.learner, Scorer):
            raise ValueError(f"{options.backward} is scored by its learner: --with takes a reader of numbers")
        if not other_experiment.env.get("backward"):
            raise ValueError(f"{options.backward} does not read backward: --with takes a reader that does")
        if options.publish:
            results.check_publishable(other_config["experiment"], other_experiment)
            if rounded:
                checkpoint.load_weights(other, results.compact(other.state_dict()), other_path)
        check_fits(
            other, other_config["experiment"], spec_in(other_config), experiment.env_id, experiment.env
        )
        name = f"{name}-both"
        minutes += results.training_minutes(other_path, other_config)
        score = partial(evaluate_both, agent, other)
    if elsewhere:
        name = f"{name} on {experiment.env_id}"
    lines = []
    for mode in [options.mode] if options.mode else modes:
        scored = score(experiment.env_id, split, mode, **experiment.env)
        low, high = scored.ci95
        print(
            f"{name} ({agent.sees}, {mode}): {scored.error:.2f}% error on {scored.scenes:,} "
            f"{split} scenes of {dataset}, 95% interval {low:.2f} to {high:.2f}"
        )
        lines.append(results.result_line(name, experiment, agent, mode, scored, minutes, split))
    if options.publish:
        if options.backward is not None:  # two of all, and the context once
            spec = spec_in(config)
            context = torch.Size(spec.context).numel() if spec.context else 0
            canvas = torch.Size(spec.canvas).numel()
            for line in lines:
                line["parameters"] += count_parameters(other)
                line["pixels"] = 2 * line["pixels"] - context
                line["share"] = round(line["pixels"] / canvas, 4)
        else:  # an ensemble's halves are published on their own
            keep(path, config, minutes, options.figures_only)
        results.append(lines)


def evaluate_by_learner(
    model: Any, experiment: Experiment, config: dict[str, Any], path: Path, options: argparse.Namespace
) -> None:
    """Print, and publish where asked, the figures of a model that its learner scores."""
    if options.on is not None or options.env or options.mode or options.backward:
        raise ValueError(
            f"{config['experiment']} is scored by its learner: leave out --on, --env, --mode and --with"
        )
    learner, name, split = experiment.learner, config["experiment"], options.split or "test"
    assert isinstance(learner, Scorer)
    scored = learner.figures(model, experiment.task, split)
    what = "sequences" if experiment.is_sequence else "scenes"
    where = f", {experiment.env_id}" + "".join(f" {key}={value}" for key, value in experiment.env.items())
    minutes = results.training_minutes(path, config)
    for mode, figure in scored.items():
        told = UNITS[learner.metric(experiment.task, mode)].format(figure.error, *figure.ci95)
        print(f"{name} ({mode}): {told} on {figure.scenes:,} {OF.get(mode, f'{split} {what}')}{where}")
    if isinstance(learner, NextStep):
        mode, real = learner.yardstick(experiment.task, split)
        told = UNITS[learner.metric(experiment.task, mode)].format(real.error, *real.ci95)
        print(f"real ones, for comparison ({mode}): {told}")
    if options.metrics:
        assert isinstance(learner, TeacherForcing | Reading)
        world, trained = world_of(experiment.task, split), world_of(experiment.task, "train")
        assert isinstance(world, SentenceWorld)
        assert isinstance(trained, SentenceWorld)
        written = [world.write(one) for one in learner.said(model, experiment.task, split)]
        references, vectors = world.texts.target, Vectors(trained.texts.target)
        for metric, value in {
            **by_other_metrics(written, references),
            **{f"word vectors, {how}": value for how, value in vectors.likeness(written, references).items()},
        }.items():
            print(f"{name} ({metric}): {value:.2f}")
    if options.publish:
        keep(path, config, minutes, options.figures_only)
        results.append(
            [
                results.result_line(name, experiment, model, mode, figure, minutes)
                for mode, figure in scored.items()
            ]
        )


def keep(path: Path, config: dict[str, Any], minutes: float, figures_only: bool) -> None:
    """Copy a checkpoint, of seed 1, and the metrics beside it to results/."""
    name, seed = config["experiment"], config["seed"]
    target, metrics = results.pretrained_path(name, seed), results.metrics_path(name, seed)
    for folder in (target.parent, metrics.parent):
        folder.mkdir(parents=True, exist_ok=True)
    if not figures_only and is_kept(path, config):
        tensors = results.compact(checkpoint.load(path)[0])
        kept = {**config, "training_minutes": minutes}
        experiment, _ = from_config(config)
        if isinstance(world_of(experiment.task, "test"), CaptionWorld):
            kept[results.WORDS] = single_env(experiment.env_id, experiment.env).vector.answer_names
        checkpoint.save(target, tensors, kept)
    elif not figures_only and is_played(config):
        print(f"{path} is too large to be kept even in float16: only its figures are published")
    write(metrics, (path.parent / run.METRICS).read_text(encoding="utf-8"))


def is_kept(path: Path, config: dict[str, Any]) -> bool:
    """Whether a published checkpoint is kept: one that may be played, and not too large in float16."""
    tensors = results.compact(checkpoint.load(path)[0])
    size = sum(tensor.nbytes for tensor in tensors.values())
    return size <= results.LARGEST and is_played(config)


def is_played(config: dict[str, Any]) -> bool:
    """Whether others may play a run's agent or start from it: of seed 1, and no ablation's."""
    return bool(config["seed"] == 1 and results.split_of(config["experiment"]) == "test")


if __name__ == "__main__":
    terminal.run(
        main,
        (checkpoint.CheckpointError, run.RunError, DatasetError, ValueError),
        stopped="stopped; nothing was published",
    )
