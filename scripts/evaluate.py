"""Score a trained agent: `python scripts/evaluate.py ram-mnist`, or a run folder, or a checkpoint file.

Visits every frozen scene of the split once and prints the error in percent with its 95 % interval.
`--publish` also adds the figures to results/results.jsonl and copies the checkpoint to results/pretrained.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import torch

from agents import checkpoint, results
from agents.evaluate import MODES, evaluate
from agents.experiments import load_agent
from glimpse_env.datasets import SPLITS, DatasetError


def main(arguments: list[str]) -> None:
    """Parse, evaluate, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", help="a name in results/pretrained, a run folder or a checkpoint")
    parser.add_argument("--split", default="test", choices=SPLITS)
    parser.add_argument("--mode", choices=MODES, help="all that make sense unless given")
    parser.add_argument("--publish", action="store_true")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    path = results.find_checkpoint(options.source)
    agent, settings, config = load_agent(path)
    name = config["experiment"]
    modes = MODES if agent.sees == "glimpses" else MODES[:1]
    minutes = config.get("training_minutes") or _minutes_so_far(path)
    if options.publish:
        tensors, _ = checkpoint.load(path)
        target = results.PRETRAINED / f"{name}.safetensors"
        checkpoint.save(target, tensors, {**config, "training_minutes": minutes})
    for mode in [options.mode] if options.mode else modes:
        score = evaluate(agent, settings.env_id, options.split, mode, **settings.env)
        low, high = score.ci95
        print(
            f"{name} ({agent.sees}, {mode}): {score.error:.2f}% error on {score.scenes:,} "
            f"{options.split} scenes, 95% interval {low:.2f} to {high:.2f}"
        )
        if options.publish and options.split == "test":
            results.append(results.result_line(name, settings, agent, mode, score, minutes))


def _minutes_so_far(path: Path) -> float:
    """Training minutes of the run that `path` belongs to, 0 where its metrics are not beside it."""
    metrics = path.parent / "metrics.jsonl"
    if not metrics.exists():
        return 0.0
    return sum(json.loads(line)["minutes"] for line in metrics.read_text().splitlines())


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except (checkpoint.CheckpointError, DatasetError, OSError, ValueError) as error:
        sys.exit(f"evaluate.py: {error}")
