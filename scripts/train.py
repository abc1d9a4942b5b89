"""Train an experiment: `python scripts/train.py ram-mnist [--epochs 10 ...]`.

Writes runs/NAME-sSEED: config.json, metrics.jsonl (a line an epoch), the last and the best checkpoint.
Every field of the experiment is an option; `python scripts/train.py ram-mnist --help` lists them.
"""

from __future__ import annotations

import dataclasses
import inspect
import sys
from pathlib import Path
from typing import Annotated

import torch
import tyro
from tqdm import tqdm

from agents import checkpoint, results
from agents.build import build_agent, shapes_of, to_config, train_experiment
from agents.experiments import EXPERIMENTS, Experiment
from agents.runs import Run, RunError, minutes
from glimpse_env.checks import did_you_mean
from glimpse_env.files import DatasetError


@dataclasses.dataclass(frozen=True)
class Command:
    """Where and how to run an experiment.

    folder: where the run is kept, runs/NAME-sSEED unless given. resume: go on with a run that was stopped.
    overwrite: delete a run that is already there. quiet: no progress bar. env adds to the experiment's own
    keywords.
    """

    name: tyro.conf.Suppress[str]
    settings: Annotated[Experiment, tyro.conf.arg(name="")]
    folder: Path | None = None
    resume: bool = False
    overwrite: bool = False
    quiet: bool = False


def parse(arguments: list[str]) -> Command:
    """The command that the arguments give: an experiment's name, then its changes.

    Without a name it prints what there is, and ends.
    """
    if not arguments or arguments[0] in ("-h", "--help"):
        print(__doc__, *EXPERIMENTS, sep="\n")
        sys.exit()
    name, *changes = arguments
    if name not in EXPERIMENTS:
        raise ValueError(f"there is no experiment {name!r}{did_you_mean(name, EXPERIMENTS)}")
    if changes.count("--env") > 1:
        raise ValueError("--env is given twice: name all its keywords after one")
    settings = EXPERIMENTS[name]
    about = [kind for kind in (*type(settings).__mro__, Command) if dataclasses.is_dataclass(kind)]
    return tyro.cli(
        Command,
        default=Command(name, settings),
        args=changes,
        prog=f"train.py {name}",
        description="\n\n".join(inspect.cleandoc(kind.__doc__ or "") for kind in about),
        config=(tyro.conf.AvoidSubcommands,),
    )


def main(arguments: list[str]) -> None:
    """Train, and print a line an epoch."""
    command = parse(arguments)
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)  # the tails of DRAW's Gaussians: 1.5 times the speed on Intel (BENCH.md)
    own = EXPERIMENTS[command.name].env
    settings = dataclasses.replace(command.settings, env={**own, **command.settings.env})
    folder = command.folder or Path("runs") / f"{command.name}-s{settings.seed}"
    shapes = shapes_of(settings.env_id, settings.env)
    config = to_config(command.name, settings, shapes)
    agent = build_agent(settings, shapes)
    # A run that was stopped in its first epoch has nothing but its start to go on from.
    if settings.init and not (command.resume and (folder / "last.safetensors").exists()):
        path = results.find_checkpoint(settings.init, settings.seed)
        tensors, origin = checkpoint.load(path)
        checkpoint.start_from(agent, tensors, path)
        config["init_minutes"] = results.training_minutes(path, origin)
    run = Run(folder, config, resume=command.resume, overwrite=command.overwrite)
    for metrics in train_experiment(run, settings, agent, quiet=command.quiet):
        figures = {key: value for key, value in metrics.items() if key not in ("epoch", "minutes")}
        tqdm.write(
            f"epoch {metrics['epoch']:3d}  "
            + "  ".join(f"{key.replace('_', ' ')} {value:,.2f}" for key, value in figures.items())
        )
    print(f"best on validation {run.best:.2f}, {minutes(folder):.1f} minutes: {folder}")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except KeyboardInterrupt:
        sys.exit("train.py: stopped; --resume goes on after the last whole epoch")
    except (checkpoint.CheckpointError, DatasetError, RunError, OSError, ValueError) as error:
        sys.exit(f"train.py: {error}")
