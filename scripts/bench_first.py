"""`bench.py first`: seconds to the first step of each id, with kernels compiled before and without."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time

import gymnasium

import glimpse_env  # noqa: F401 (registers the ids)
from glimpse_env.registry import with_dataset

ROWS = 256


def bench_first(ids: list[str], dataset: str) -> None:
    """Print a Markdown table, a line an id: each figure is of a process of its own, which reads its data."""
    print("| id | compiled, s | already compiled, s | ratio |")
    print("|---|---:|---:|---:|")
    for env_id in ids:
        with tempfile.TemporaryDirectory() as folder:
            first, second = (_seconds(env_id, dataset, folder) for _ in range(2))
        print(f"| {env_id} | {first:.1f} | {second:.1f} | {first / second:.1f}x |", flush=True)


def _seconds(env_id: str, dataset: str, folder: str) -> float:
    environ = {**os.environ, "NUMBA_CACHE_DIR": folder}
    command = [sys.executable, __file__, env_id, dataset]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False, env=environ)
    if done.returncode:
        raise ValueError(f"{env_id}: {done.stderr.strip()}")
    return float(done.stdout)


def play(env_id: str, dataset: str) -> None:
    """Print the seconds that it takes to make the id, reset it and step once."""
    began = time.perf_counter()
    env = gymnasium.make_vec(env_id, ROWS, **with_dataset(env_id, dataset))
    env.reset(seed=0)
    env.step(env.action_space.sample())
    print(time.perf_counter() - began)


if __name__ == "__main__":
    play(*sys.argv[1:])
