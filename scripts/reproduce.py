"""Score every published checkpoint on all its test scenes: `python scripts/reproduce.py [NAME ...]`.

Prints a Markdown table of the published figure, today's and their difference, a row as soon as it is known,
and exits with status 1 if one is off by more than another processor's rounding explains, or lacks its data.
This is what one runs before a release; the tests score the first 500 scenes of each.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

import terminal
import torch
from tqdm import tqdm

from agents.experiments.experiment import load_agent
from agents.learn import checkpoint
from agents.learn.checkpoint import CheckpointError
from agents.learn.evaluate import evaluate
from agents.learn.loop import Scorer
from agents.report import results
from glimpse_env.data.files import DatasetError

TOLERANCE = 0.05  # of what is counted in percent: five of ten thousand scenes
UNBOUNDED = ("nats", "cross_entropy", "squared_error")  # of which a thousandth may be off


def main(arguments: list[str]) -> None:
    """Score and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("names", nargs="*", help="published experiments to score; all of them unless given")
    names = parser.parse_args(arguments).names
    torch.set_num_threads(1)
    kept = sorted(results.PRETRAINED.glob("*.safetensors"))
    paths = [results.find_checkpoint(name) for name in names] or kept
    for path in paths:
        checkpoint.load(path)  # raises now, and not after others are scored
    lines = results.read()
    off, missing = [], []
    print("| experiment | published | today | difference |", "|---|---:|---:|---:|", sep="\n", flush=True)
    for path in tqdm(paths, unit=" checkpoints"):
        agent, experiment, config = load_agent(path)
        name, env = config["experiment"], dict[str, Any](experiment.env)
        if path.parent != results.PRETRAINED:
            results.check_publishable(name, experiment)
        published = [line for line in lines if (line["experiment"], line["seed"]) == (name, experiment.seed)]
        if not published:
            raise ValueError(
                f"{name} of seed {experiment.seed} is not published: there is nothing to compare"
            )
        try:
            if isinstance(experiment.learner, Scorer):
                mode, scored = next(iter(experiment.learner.figures(agent, experiment.task, "test").items()))
            else:
                mode, scored = "deterministic", evaluate(agent, experiment.env_id, "test", **env)
        except DatasetError as error:
            tqdm.write(f"{name} is left out: {error}", file=sys.stderr)
            missing.append(name)
            continue
        last = [line for line in published if line["mode"] == mode][-1]
        value = last["value"]
        allowed = value / 1000 if last["metric"] in UNBOUNDED else TOLERANCE
        difference = scored.error - value
        tqdm.write(f"| {name} | {value:.2f} | {scored.error:.2f} | {difference:+.2f} |")
        off += [] if abs(difference) <= allowed else [name]  # NaN is off, too
    told = [f"{', '.join(off)} differ by more than rounding explains"] * bool(off)
    told += [f"{', '.join(missing)} could not be scored for want of data"] * bool(missing)
    if told:
        raise ValueError("; ".join(told))


if __name__ == "__main__":
    terminal.run(main, (CheckpointError, DatasetError, ValueError))
