"""The table of `bench.py memory`: the memory of each id at its peak, a process for each figure."""

from __future__ import annotations

import resource
import subprocess
import sys

import gymnasium
import numpy as np

import glimpse_env
from glimpse_env.registry import with_dataset

ROWS = (1024, 16384)
LARGE = 1024  # pixels a side of the large pictures
LARGE_ROWS = (16, 64, 256)


def bench_memory(ids: list[str], dataset: str) -> None:
    """Print a Markdown table with lines for each id, and for one's own colour pictures of 1024x1024."""
    print("| id | rows | peak, MB | before, MB | a row, kB |")
    print("|---|---:|---:|---:|---:|")
    for env_id in [*ids, ""]:
        for rows in ROWS if env_id else LARGE_ROWS:
            command = [sys.executable, __file__, env_id, str(rows), dataset]
            done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)
            if done.returncode:
                raise ValueError(f"{env_id or 'large pictures'}, {rows} rows: {done.stderr.strip()}")
            before, peak = map(float, done.stdout.split())
            name = env_id or f"pictures of one's own, {LARGE}x{LARGE}x3"
            print(
                f"| {name} | {rows:,} | {peak:,.0f} | {before:,.0f} | {1024 * (peak - before) / rows:,.1f} |",
                flush=True,
            )


def play(env_id: str, rows: int, dataset: str) -> None:
    """Play some steps of `rows` episodes, and print the megabytes held before the rows and at the peak.

    Before: with an environment of one row, and so with the library, its data and its kernels.
    """
    make_rows(env_id, 1, dataset)
    before = _peak()
    make_rows(env_id, rows, dataset)
    print(before, _peak())


def make_rows(env_id: str, rows: int, dataset: str) -> None:
    """Make that many rows and play more than an episode of most ids."""
    if env_id:
        env = gymnasium.make_vec(env_id, rows, **with_dataset(env_id, dataset))
    else:
        pictures = np.random.default_rng(0).integers(0, 256, (20, 3, LARGE, LARGE), np.uint8)
        env = glimpse_env.make_custom(
            pictures, np.arange(20) % 2, num_envs=rows, retina_size=16, scales=4, horizon=4
        )
    env.reset(seed=0)
    env.action_space.seed(0)
    action = env.action_space.sample()
    for _ in range(12):
        env.step(action)
    env.close()


def _peak() -> float:
    """Megabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    play(sys.argv[1], int(sys.argv[2]), sys.argv[3])
