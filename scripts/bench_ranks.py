"""How much faster two processes train one agent than one does: the part of bench.py that starts torchrun."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

TRAIN = Path(__file__).with_name("train.py")
IMAGES, EPOCHS, REPEATS = 20_000, 2, 3
BATCHES = (128, 512, 2048)


def bench_ranks(dataset: str) -> None:
    """RAM's training at several batch sizes: images a second of one process and of two, in turn."""
    print(
        "| batch of both | one process, images/s | two, images/s | ratio | of twice | ms a batch not shared |"
    )
    print("|---:|---:|---:|---:|---:|---:|")
    for size in BATCHES:
        found: dict[int, list[float]] = {1: [], 2: []}
        for _ in range(REPEATS):
            for ranks, rates in found.items():
                rates.append(images_per_second(dataset, size, ranks))
        one, two = (statistics.median(rates) for rates in found.values())
        # A batch of one process takes t, and of N ranks t / N + c: c is what more ranks do not make shorter.
        lost = 1000 * size * (1 / two - 1 / (2 * one))
        print(
            f"| {size} | {one:,.0f} | {two:,.0f} | {two / one:.2f}x | {50 * two / one:.0f} % | {lost:.1f} |"
        )


def images_per_second(dataset: str, size: int, ranks: int) -> float:
    """The speed of the last epoch, validation left out; every process has one thread."""
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)]
    with tempfile.TemporaryDirectory() as folder:
        settings = {
            "epochs": EPOCHS,
            "images-per-epoch": IMAGES,
            "batch-size": size,
            "folder": f"{folder}/run",
        }
        options = [part for key, value in settings.items() for part in (f"--{key}", str(value))]
        command = [*start, str(TRAIN), "ram-mnist", *options, "--env", f"dataset={dataset}", "--quiet"]
        subprocess.run(command, check=True, capture_output=True)
        lines = Path(folder, "run", "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return float(json.loads(lines[-1])["images_per_second"])
