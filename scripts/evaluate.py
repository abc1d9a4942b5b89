"""Score a trained agent: `python scripts/evaluate.py ram-mnist`, or a run folder, or a checkpoint file.

Visits every frozen scene of the split once and prints the error in percent with its 95 % interval.
`--publish` also adds the figures to results/results.jsonl and copies the checkpoint to results/pretrained
and the metrics of its epochs to results/metrics, if the run's settings are those of the experiment it names.
"""

from __future__ import annotations

import argparse
import sys

import torch

from agents import checkpoint, results, runs
from agents.build import load_agent
from agents.evaluate import MODES, evaluate
from glimpse_env.datasets import SPLITS, DatasetError


def main(arguments: list[str]) -> None:
    """Parse, evaluate, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", help="a name in results/pretrained, a run folder or a checkpoint")
    parser.add_argument("--split", default="test", choices=SPLITS)
    parser.add_argument("--mode", choices=MODES, help="all that make sense unless given")
    parser.add_argument("--publish", action="store_true")
    options = parser.parse_args(arguments)
    if options.publish and (options.mode or options.split != "test"):
        raise ValueError("--publish is for the test split in every mode: leave out --mode and --split")
    torch.set_num_threads(1)
    path = results.find_checkpoint(options.source)
    agent, settings, config = load_agent(path)
    name = config["experiment"]
    if options.publish:
        results.check_publishable(name, settings)
    modes = MODES if agent.sees == "glimpses" else MODES[:1]
    trained = config.get("init_minutes", 0.0) + runs.minutes(path.parent)
    minutes = config.get("training_minutes") or trained
    lines = []
    for mode in [options.mode] if options.mode else modes:
        score = evaluate(agent, settings.env_id, options.split, mode, **settings.env)
        low, high = score.ci95
        print(
            f"{name} ({agent.sees}, {mode}): {score.error:.2f}% error on {score.scenes:,} "
            f"{options.split} scenes, 95% interval {low:.2f} to {high:.2f}"
        )
        lines.append(results.result_line(name, settings, agent, mode, score, minutes))
    if options.publish:
        tensors, _ = checkpoint.load(path)
        target = results.pretrained_path(name, settings.seed)
        target.parent.mkdir(parents=True, exist_ok=True)
        checkpoint.save(target, tensors, {**config, "training_minutes": minutes})
        kept = results.metrics_path(name, settings.seed)
        kept.parent.mkdir(parents=True, exist_ok=True)
        runs.write(kept, (path.parent / "metrics.jsonl").read_text())
        results.append(lines)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except (checkpoint.CheckpointError, DatasetError, OSError, ValueError) as error:
        sys.exit(f"evaluate.py: {error}")
