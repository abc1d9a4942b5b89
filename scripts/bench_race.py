"""`bench.py race`: CPU minutes of RAM to a validation error, beside RAM in the plain style of public code."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable, Generator
from pathlib import Path

import torch
from bench_train import GLIMPSES, PlainRAM
from tqdm import tqdm

from agents.experiments import EXPERIMENTS
from agents.experiments.experiment import to_config
from agents.learn.run import Run

TARGETS = {2.0: 16, 1.5: 26}  # the error in percent, and our epochs: the learning rate falls over all of them
MOST = 200  # epochs of the reference, as many as it has by itself


def bench_race(dataset: str) -> None:
    """Print a Markdown table, a line an error to be reached; one thread, and validation is counted too."""
    torch.set_num_threads(1)
    print(f"RAM, 28x28, {GLIMPSES} glimpses of 8x8, on {dataset}: CPU minutes until so few are wrong")
    print("| validation error | ours | epochs | plain reference | epochs | ratio |")
    print("|---:|---:|---:|---:|---:|---:|", flush=True)
    theirs = plain(dataset)
    passed: list[tuple[float, float]] = []  # minutes and errors of the reference, which is trained once
    for target, epochs in TARGETS.items():
        ours = until(target, ram(dataset, epochs), f"ours to {target} %")
        while not (passed and passed[-1][1] <= target) and len(passed) < MOST:
            passed.append(next(theirs))
        plain_minutes, plain_error = passed[-1]
        reached = f"{plain_minutes:.1f}" if plain_error <= target else f"more than {plain_minutes:.1f}"
        cells = [f"{ours[0]:.1f}" if ours[1] <= target else f"not in {ours[0]:.1f}", str(ours[2]), reached]
        ratio = f"{plain_minutes / ours[0]:.1f}x" if ours[1] <= target else "–"
        print(f"| {target} % | {' | '.join(cells)} | {len(passed)} | {ratio} |", flush=True)


def until(
    target: float, course: Generator[tuple[float, float], None, None], name: str
) -> tuple[float, float, int]:
    """The minutes, the error and the epochs when a course of such pairs first errs so rarely, or ends."""
    epochs, minutes, error = 0, 0.0, 100.0
    with contextlib.closing(course):
        for minutes, error in tqdm(course, name, unit=" epochs"):  # noqa: B007 (the last pair is meant)
            epochs += 1
            if error <= target:
                break
    return minutes, error, epochs


def ram(dataset: str, epochs: int) -> Generator[tuple[float, float], None, None]:
    """Our training, `train.py ram-mnist` with other settings: CPU minutes and the error after each epoch."""
    experiment = EXPERIMENTS["ram-mnist"].but(
        env={"dataset": dataset, "horizon": GLIMPSES, "start_gaze": "random"},
        model={"hidden": 256},
        learner={"objective": "reinforce", "sigma_start": 0.2, "reinforce_weight": 0.3},
        loop={"epochs": epochs, "batch_size": 128},
    )
    spec = experiment.spec()
    with tempfile.TemporaryDirectory() as folder:
        config = to_config("ram-mnist", experiment, spec)
        run = Run(Path(folder) / "run", config, resume=False, overwrite=False)
        course = experiment.train(run, experiment.build(spec), quiet=True)
        try:
            yield from timed(lambda: next(course)["validation_error"], epochs)
        finally:
            run.close()


def plain(dataset: str) -> Generator[tuple[float, float], None, None]:
    """The reference's training: the same after each of its epochs."""
    torch.manual_seed(1)
    model = PlainRAM(dataset)

    def epoch() -> float:
        for _ in range(len(model.images) // model.size):
            model.batch()
        return model.error("validation")

    yield from tqdm(timed(epoch, MOST), "plain", unit=" epochs", total=MOST)


def timed(epoch: Callable[[], float], epochs: int) -> Generator[tuple[float, float], None, None]:
    """The CPU minutes that epochs have taken, and what each returns."""
    minutes = 0.0
    for _ in range(epochs):
        began = time.process_time()
        error = epoch()
        minutes += (time.process_time() - began) / 60
        yield minutes, error
