"""Train an experiment: `python scripts/train.py ram-mnist [--epochs 10 --model.hidden 256 ...]`.

Writes runs/NAME-sSEED: config.json, metrics.jsonl (a line an epoch), the last and the best checkpoint.
Every setting of the experiment is an option; `python scripts/train.py ram-mnist --help` explains them.
`torchrun --nproc-per-node 2 scripts/train.py ram-mnist` trains it in two processes (agents/parallel.py).
"""

from __future__ import annotations

import dataclasses
import inspect
import sys
from pathlib import Path
from typing import Annotated

import terminal
import torch
import tyro
from tqdm import tqdm

from agents import device, parallel
from agents.experiments import EXPERIMENTS, MODULES, Experiment
from agents.experiments.experiment import to_config
from agents.learn import checkpoint, run
from agents.learn.loop import LoopLearner
from agents.report import results
from glimpse_env.checks import did_you_mean
from glimpse_env.data.files import DatasetError, whole_name

REFUSED = (checkpoint.CheckpointError, DatasetError, run.RunError, parallel.RankError, OSError, ValueError)


@dataclasses.dataclass(frozen=True)
class Command:
    """Where and how to run an experiment."""

    name: tyro.conf.Suppress[str]
    settings: Annotated[Experiment, tyro.conf.arg(name="")]
    folder: Path | None = None
    """Where the run is kept, runs/NAME-sSEED unless given."""
    resume: bool = False
    """Whether to go on with a run that was stopped."""
    overwrite: bool = False
    """Whether to replace a run that is already there, once the first epoch is done."""
    quiet: bool = False
    """Whether to leave out the progress bar."""
    device: str = "auto"
    """What computes: auto, cpu or cuda; auto is a GPU where there is one."""


def parse(arguments: list[str]) -> Command:
    """The command that the arguments give: an experiment's name, then its changes.

    Without a name it prints what there is, and ends.
    """
    if not arguments or arguments[0] in ("-h", "--help"):
        print(__doc__)
        for module in MODULES:
            print(f"{(module.__doc__ or '').splitlines()[0]}\n  {' '.join(module.EXPERIMENTS)}\n")
        sys.exit()
    name, *changes = arguments
    if name not in EXPERIMENTS:
        raise ValueError(f"there is no experiment {name!r}{did_you_mean(name, EXPERIMENTS)}")
    if sum(change.partition("=")[0] == "--env" for change in changes) > 1:
        raise ValueError("--env is given twice: name all its keywords after one")
    settings = EXPERIMENTS[name]
    module = next(m for m in MODULES if name in m.EXPERIMENTS)
    return tyro.cli(
        Command,
        default=Command(name, settings),
        args=changes,
        prog=f"train.py {name}",
        description=inspect.cleandoc(module.__doc__ or ""),
        config=(tyro.conf.AvoidSubcommands,),
    )


def main(arguments: list[str]) -> None:
    """Train, and print a line an epoch."""
    command = parse(arguments)
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)  # DRAW's Gaussians: 1.5 times the speed on Intel (results/BENCH.md)
    env = {**EXPERIMENTS[command.name].env, **command.settings.env}
    if isinstance(env.get("dataset"), str):  # which must be found from anywhere later
        env["dataset"] = whole_name(env["dataset"])
    experiment = command.settings.but(env=env)
    folder = command.folder or Path("runs") / f"{command.name}-s{experiment.seed}"
    where = device.choose(command.device)
    with parallel.together(where):
        train(command, experiment, folder, where)


def train(command: Command, experiment: Experiment, folder: Path, where: torch.device) -> None:
    """Train, alone or as one of several processes, of which the first reads, writes and prints."""
    first = parallel.rank() == 0
    if parallel.ranks() > 1 and not isinstance(experiment.learner, LoopLearner):
        raise ValueError(f"{type(experiment.learner).__name__} trains in one process: leave torchrun out")
    spec = experiment.spec()
    config = to_config(command.name, experiment, spec)
    agent = experiment.build(spec).to(where)
    # A run that was stopped in its first epoch has nothing but its start to go on from.
    if first and experiment.init and not (command.resume and (folder / run.LAST).exists()):
        path = results.find_checkpoint(experiment.init, experiment.seed)
        tensors, origin = checkpoint.load(path)
        checkpoint.start_from(agent, tensors, path)
        config["init_minutes"] = results.training_minutes(path, origin)
    training: run.Run = run.Follower(folder, config)
    if first:
        training = run.Run(folder, config, resume=command.resume, overwrite=command.overwrite)
    try:
        for metrics in experiment.train(training, agent, quiet=command.quiet):
            if not first:
                continue
            figures = {
                key: value for key, value in metrics.items() if key not in ("epoch", "minutes", "sample")
            }
            tqdm.write(
                f"epoch {metrics['epoch']:3d}  "
                + "  ".join(
                    f"{key.replace('_', ' ')} {terminal.short(value)}" for key, value in figures.items()
                )
            )
    except ValueError:
        training.withdraw()
        raise
    finally:
        training.close()
    if first:
        print(
            f"best on validation {terminal.short(training.best)}, {run.minutes(folder):.1f} minutes: {folder}"
        )


if __name__ == "__main__":
    terminal.run(main, REFUSED, stopped="stopped; --resume goes on after the last whole epoch")
