"""The kills of `bench.py kills`: processes that die at random moments, and what is left of their work.

A training, a sweep and a publish are each killed by SIGKILL at random moments and started again as a person
would start them, until each has been killed so many times; then the last one runs to its end. Whatever
finishes must equal the work of a process that was never killed: weights bit for bit, lines of metrics and
results except for times.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor
from tqdm import tqdm

from agents.learn import checkpoint

ROOT = Path(__file__).parents[1]
TRAINING = (
    "ram-mnist --env dataset=mnist-5k horizon=3 --epochs 8 --images-per-epoch 1500 --batch-size 32 --quiet"
)
SWEEP = "ram-mnist --seeds 1 2 --set env.dataset=mnist-5k env.horizon=3 epochs=4 images_per_epoch=1500"
PUBLISHED = "lookup-10"  # trains in a quarter of a minute
TIMES = ("minutes", "images_per_second", "init_minutes", "date")  # what differs from run to run


def kills(moments: int) -> None:
    """Print a line for each kind of work: how often it was killed, finished, and differed in the end."""
    print("| what | kills | began with an empty folder | finished | differed |")
    print("|---|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        wrong = 0
        for name, work in (("training", _training), ("sweep", _sweep), ("publish", _publish)):
            wrong += _until(name, moments, *work(place / name))
    if wrong:
        raise SystemExit(f"{wrong} finished works differ from those that were never killed")


Command = Callable[[Path], list[str]]  # what begins or goes on with the work in a folder
Same = Callable[[Path], bool]  # whether what a folder holds is what the work leaves that was never killed


def _training(place: Path) -> tuple[Command, Same, float]:
    def again(folder: Path) -> list[str]:
        more = ["--resume"] if (folder / "run" / "config.json").exists() else []
        return ["train.py", *TRAINING.split(), "--folder", str(folder / "run"), *more]

    whole, seconds = _never_killed(again, place)
    return again, lambda folder: _same_run(folder / "run", whole / "run"), seconds


def _sweep(place: Path) -> tuple[Command, Same, float]:
    def again(folder: Path) -> list[str]:
        return ["sweep.py", *SWEEP.split(), "--folder", str(folder / "sweep")]

    whole, seconds = _never_killed(again, place)

    def same(folder: Path) -> bool:
        runs = sorted(path.name for path in (whole / "sweep").iterdir() if path.is_dir())
        return len(runs) == 2 and all(
            _same_run(folder / "sweep" / name, whole / "sweep" / name) for name in runs
        )

    return again, same, seconds


def _publish(place: Path) -> tuple[Command, Same, float]:
    trained = place / "trained"
    _finish(["train.py", PUBLISHED, "--quiet", "--folder", str(trained)])
    before = place / "results.jsonl"  # as it is now, for others may publish meanwhile
    shutil.copy(ROOT / "results" / "results.jsonl", before)

    def again(folder: Path) -> list[str]:
        if not (folder / "scripts").exists():  # a copy of the project, for a publish writes into it
            for part in ("glimpse_env", "agents", "scripts"):
                shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
            (folder / "results").mkdir()
            shutil.copy(before, folder / "results")
        return [str(folder / "scripts" / "evaluate.py"), str(trained), "--publish"]

    whole, seconds = _never_killed(again, place)

    def same(folder: Path) -> bool:
        weights = [
            checkpoint.load(home / "results" / "pretrained" / f"{PUBLISHED}.safetensors")[0]
            for home in (folder, whole)
        ]
        lines = [_lines(home / "results" / "results.jsonl") for home in (folder, whole)]
        return _equal(*weights) and lines[0] == lines[1]

    return again, same, seconds


def _until(name: str, moments: int, again: Command, same: Same, seconds: float) -> int:
    """Kill the work `moments` times, print its line, and return how often what it left was not right.

    seconds: how long the work takes that is never killed. Moments are uniform in a process's life up to it.
    """
    rng = np.random.default_rng(0)
    killed = empty = done = wrong = 0
    bar = tqdm(total=moments, desc=f"{name}, killed", leave=False)
    while killed < moments:
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            finished = False
            while not finished:
                empty += not any(folder.iterdir())
                process = _start(again(folder))
                finished = _wait(process, rng.uniform(0, seconds) if killed < moments else None)
                killed += not finished
                bar.update(not finished)
            done += 1
            wrong += not same(folder)
    bar.close()
    print(f"| {name} | {killed} | {empty} | {done} | {wrong} |", flush=True)
    return wrong


def _start(command: list[str]) -> subprocess.Popen[str]:
    script, *arguments = command
    path = Path(script) if Path(script).is_absolute() else ROOT / "scripts" / script
    environ = {**os.environ, "PYTHONPATH": str(path.parents[1])}
    return subprocess.Popen(
        [sys.executable, str(path), *arguments],
        cwd=path.parents[1],
        env=environ,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def _wait(process: subprocess.Popen[str], moment: float | None) -> bool:
    """Whether the process came to its end; it is killed after `moment` seconds, and must not fail."""
    try:
        _, error = process.communicate(timeout=moment)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return False
    if process.returncode:
        raise SystemExit(f"what was begun again after a kill failed: {error.strip()}")
    return True


def _finish(command: list[str]) -> None:
    _wait(_start(command), None)


def _never_killed(again: Command, place: Path) -> tuple[Path, float]:
    """The folder of a whole work, and how many seconds it took."""
    folder = place / "whole"
    folder.mkdir(parents=True)
    command = again(folder)
    began = time.perf_counter()
    _finish(command)
    return folder, time.perf_counter() - began


def _same_run(run: Path, whole: Path) -> bool:
    """Whether two runs have the same weights, bit by bit, and the same metrics but for times."""
    for name in ("last.safetensors", "best.safetensors"):
        if not _equal(*(checkpoint.load(path / name)[0] for path in (run, whole))):
            return False
    return _lines(run / "metrics.jsonl") == _lines(whole / "metrics.jsonl")


def _equal(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> bool:
    return ours.keys() == theirs.keys() and all(ours[key].equal(theirs[key]) for key in ours)


def _lines(path: Path) -> list[dict[str, Any]]:
    """The lines of a file without what differs from run to run."""
    lines = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    return [{key: value for key, value in line.items() if key not in TIMES} for line in lines]
