"""Score a trained agent: `python scripts/evaluate.py ram-mnist`, or a run folder, or a checkpoint file.

Visits every frozen scene of the split once and prints the error in percent with its 95 % interval.
`--publish` also adds the figures to results/results.jsonl and copies the checkpoint to results/pretrained and
the metrics of its epochs to results/metrics, if the run's settings are those of the experiment it names; of
an ablation-… the figure on validation scenes and no checkpoint.
`--on ID` and `--env KEYWORD=VALUE …` score it on another environment than its own (another canvas, clutter
or number of glimpses), if its shapes fit. `--with SOURCE` adds a reader of the other direction.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from functools import partial
from pathlib import Path
from typing import Any

import torch

from agents import checkpoint, results, runs
from agents.build import check_fits, load_agent
from agents.draw import DRAW
from agents.ensemble import evaluate_both
from agents.evaluate import MODES, evaluate
from agents.experiments import Experiment
from agents.generative import Generative, bound
from agents.interface import count_parameters
from agents.training import parse_keyword
from glimpse_env.datasets import SPLITS, DatasetError


def main(arguments: list[str]) -> None:
    """Parse, evaluate, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", help="a name in results/pretrained, a run folder or a checkpoint")
    parser.add_argument("--split", choices=SPLITS, help="test; of an ablation, validation")
    parser.add_argument("--mode", choices=MODES, help="all that make sense unless given")
    parser.add_argument("--on", metavar="ID", help="another environment's id")
    parser.add_argument(
        "--env", metavar="KEYWORD=VALUE", nargs="*", action="extend", default=[], help="in place of its own"
    )
    parser.add_argument("--with", dest="backward", metavar="SOURCE", help="the backward half of an ensemble")
    parser.add_argument("--publish", action="store_true")
    options = parser.parse_args(arguments)
    elsewhere = options.on is not None or bool(options.env)
    if options.publish and (options.mode or options.split or elsewhere):
        raise ValueError(
            "--publish is for its own test split in every mode: leave out --mode, --split, --on and --env"
        )
    torch.set_num_threads(1)
    path = results.find_checkpoint(options.source)
    agent, settings, config = load_agent(path)
    name = config["experiment"]
    if options.publish:
        results.check_publishable(name, settings)
        if options.backward is None and not (path.parent / "metrics.jsonl").exists():
            raise ValueError(f"--publish is for a run folder, and {path.parent} has no metrics.jsonl")
        # What is scored is what is kept.
        checkpoint.load_weights(agent, results.compact(agent.state_dict()), path)
    if isinstance(settings, Generative):
        evaluate_bound(agent, settings, config, path, options)
        return
    if elsewhere:
        env = {**settings.env, **dict(map(parse_keyword, options.env))}
        settings = dataclasses.replace(settings, env_id=options.on or settings.env_id, env=env)
        check_fits(agent, config, settings)
        name = f"{name} on {settings.env_id}"
        if seen_in_training(config["settings"], settings):
            print(f"{name}: mnist-5k is of MNIST's training digits, which this agent knows", file=sys.stderr)
    split = options.split or ("validation" if results.is_ablation(name) else "test")
    modes = MODES if agent.sees == "glimpses" and not results.is_ablation(name) else MODES[:1]
    minutes = results.training_minutes(path, config)
    score = partial(evaluate, agent)
    if options.backward is not None:
        other_path = results.find_checkpoint(options.backward)
        other, other_settings, other_config = load_agent(other_path)
        if isinstance(other_settings, Generative):
            raise ValueError(f"{options.backward} draws and answers nothing: --with takes a reader")
        if options.publish:
            results.check_publishable(other_config["experiment"], other_settings)
            checkpoint.load_weights(other, results.compact(other.state_dict()), other_path)
        check_fits(other, other_config, settings)
        name = f"{name}-both"
        minutes += results.training_minutes(other_path, other_config)
        score = partial(evaluate_both, agent, other)
    lines = []
    for mode in [options.mode] if options.mode else modes:
        scored = score(settings.env_id, split, mode, **settings.env)
        low, high = scored.ci95
        print(
            f"{name} ({agent.sees}, {mode}): {scored.error:.2f}% error on {scored.scenes:,} "
            f"{split} scenes, 95% interval {low:.2f} to {high:.2f}"
        )
        lines.append(results.result_line(name, settings, agent, mode, scored, minutes, split))
    if options.publish:
        if options.backward is not None:  # two of all, and the context once
            context = int(settings.env.get("context", 0)) ** 2
            for line in lines:
                line["parameters"] += count_parameters(other)
                line["pixels"] = 2 * line["pixels"] - context
        else:  # an ensemble's halves are published on their own
            keep(path, config, minutes)
        results.append(lines)


def seen_in_training(trained: dict[str, Any], scored: Experiment) -> bool:
    """Whether the digits to be scored are among those that an agent of these settings was trained on."""
    dataset = results.dataset_of(trained["env_id"], trained["env"])
    return (dataset, results.dataset_of(scored.env_id, scored.env)) == ("mnist", "mnist-5k")


def evaluate_bound(
    model: DRAW, settings: Generative, config: dict[str, Any], path: Path, options: argparse.Namespace
) -> None:
    """Print, and publish where asked, DRAW's bound on the pictures of a split."""
    if options.on or options.env or options.mode or options.backward:
        raise ValueError(f"{config['experiment']} answers nothing: leave out --on, --env, --mode and --with")
    split = options.split or "test"
    scored = bound(model, settings, split)
    low, high = scored.ci95
    print(
        f"{config['experiment']}: {scored.error:.2f} nats a picture on {scored.scenes:,} {split} "
        f"pictures, 95% interval {low:.2f} to {high:.2f}"
        + ("" if settings.binary else "; of shades of pixels, which bounds nothing")
    )
    if options.publish:
        minutes = results.training_minutes(path, config)
        keep(path, config, minutes)
        line = results.result_line(config["experiment"], settings, model, "sampled", scored, minutes)
        results.append([line])


def keep(path: Path, config: dict[str, Any], minutes: float) -> None:
    """Copy a checkpoint and the metrics beside it to results/."""
    name, seed = config["experiment"], config["settings"]["seed"]
    target, metrics = results.pretrained_path(name, seed), results.metrics_path(name, seed)
    for folder in (target.parent, metrics.parent):
        folder.mkdir(parents=True, exist_ok=True)
    tensors, _ = checkpoint.load(path)
    if sum(tensor.nbytes for tensor in results.compact(tensors).values()) > results.LARGEST:
        print(f"{path} is too large to be kept even in float16: only its figures are published")
    elif not results.is_ablation(name):
        checkpoint.save(target, results.compact(tensors), {**config, "training_minutes": minutes})
    runs.write(metrics, (path.parent / "metrics.jsonl").read_text())


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except (checkpoint.CheckpointError, DatasetError, OSError, ValueError) as error:
        sys.exit(f"evaluate.py: {error}")
