"""Faults of the machine: processes that are killed, disks that are full, clocks and locales that are odd.

`bench.py kills`: a training, a sweep and a publish are each killed by SIGKILL at random moments and started
again as a person would start them, until each has been killed so many times; then the last one runs to its
end. `bench.py full`: the same on a disk of one page, which has more space each time that it was full; each
time one sentence must say so, and nothing half-written may be left. Films are written to it too.
`bench.py odd`: the same in locales without UTF-8, another time zone, and by a clock that jumps by days.
Whatever finishes must equal the work of a process that met no fault: weights bit for bit, lines of metrics
and results except for times.
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
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from torch import Tensor
from tqdm import tqdm

from agents.learn import checkpoint
from agents.show.playback import FORMATS

ROOT = Path(__file__).parents[1]
TRAINING = (
    "ram-mnist --env dataset=mnist-5k horizon=3 --epochs 8 --images-per-epoch 1500 --batch-size 32 --quiet"
)
SWEEP = "ram-mnist --seeds 1 2 --set env.dataset=mnist-5k env.horizon=3 epochs=4 images_per_epoch=1500"
PUBLISHED = "lookup-10"  # trains in a quarter of a minute
FULL = ("the disk is full", "No space left")  # of which a script must say one
PAGE, SMALL = 4096, 16  # bytes that a disk has at least; how often it grows by no more
ODD = {  # what is set in the environment of a process
    "ASCII": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "a locale that is not there": {"LC_ALL": "xx_XX.UTF-8", "LANG": "xx_XX.UTF-8"},
    "Kathmandu": {"TZ": "Asia/Kathmandu"},
    "a clock that jumps": {"JUMPS": "1"},
}
JUMPING = """
import random, runpy, sys, time
true, drawn = time.time, random.Random(0)
time.time = lambda: true() + drawn.uniform(-3e5, 3e5)
time.time_ns = lambda: int(1e9 * time.time())
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
TIMES = ("minutes", "images_per_second", "init_minutes", "date")  # what differs from run to run


def kills(moments: int) -> None:
    """Print a line for each kind of work: how often it was killed, finished, and differed in the end."""
    print("| what | kills | began with an empty folder | finished | differed |")
    print("|---|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        wrong = 0
        for name, work in _works().items():
            wrong += _until(name, moments, *work(place / name))
    if wrong:
        raise SystemExit(f"{wrong} finished works differ from those that were never killed")


def full(times: int) -> None:
    """Print a line for each kind of work: how often the disk was full, how badly that was said, the end.

    Raises SystemExit where no disk can be made, for which one must be root on Linux.
    """
    print("| what | disk full | not said in a sentence | half-written files | differed in the end |")
    print("|---|---:|---:|---:|---:|")
    films: dict[str, Work] = {f"film{kind}": partial(_film, kind=kind) for kind in FORMATS}
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        for name, work in {**_works(), **films}.items():
            again, same, _ = work(Path(folder) / name)
            wrong += _grow(name, times, again, same, Path(folder) / name)
    if wrong:
        raise SystemExit(f"{wrong} times a full disk did harm")


def odd() -> None:
    """Print a line for each kind of work and oddity: whether it differs from the work without."""
    print("| what | where | differed |")
    print("|---|---|---:|")
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        for name, work in _works().items():
            again, same, _ = work(Path(folder) / name)
            for oddity, environ in ODD.items():
                there = Path(folder) / name / oddity
                there.mkdir()
                _wait(_start(again(there), environ), None)
                differs = not same(there)
                wrong += differs
                print(f"| {name} | {oddity} | {int(differs)} |", flush=True)
    if wrong:
        raise SystemExit(f"{wrong} works differ from those that met nothing odd")


Command = Callable[[Path], list[str]]  # what begins or goes on with the work in a folder
Same = Callable[[Path], bool]  # whether what a folder holds is what the work leaves that was never killed


Work = Callable[[Path], tuple[Command, Same, float]]  # the whole work in a folder, and how long it takes


def _works() -> dict[str, Work]:
    return {"training": _training, "sweep": _sweep, "publish": _publish}


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


def _film(place: Path, kind: str) -> tuple[Command, Same, float]:
    def again(folder: Path) -> list[str]:
        film = ["--index", "3", "--out", str(folder / f"film{kind}")]
        return ["play.py", "random", "--dataset", "mnist-5k", *film]

    whole, seconds = _never_killed(again, place)

    def same(folder: Path) -> bool:
        return (folder / f"film{kind}").read_bytes() == (whole / f"film{kind}").read_bytes()

    return again, same, seconds


def _grow(name: str, times: int, again: Command, same: Same, place: Path) -> int:
    """Work on a disk that is full about so many times, print its line, and return how often that did harm."""
    rng = np.random.default_rng(0)
    disk = place / "disk"
    disk.mkdir()
    _as_root("mount", "-t", "tmpfs", "-o", f"size={2**30}", "tmpfs", str(disk))
    said = filled = half = 0
    try:
        command = again(disk)  # which may copy what it needs
        whole = sum(path.stat().st_size for path in (place / "whole").rglob("*") if path.is_file())
        there = sum(-(-path.stat().st_size // PAGE) * PAGE for path in disk.rglob("*") if path.is_file())
        size = there + PAGE
        bar = tqdm(desc=f"{name}, disk full", leave=False)
        while True:
            _as_root("mount", "-o", f"remount,size={size}", str(disk))
            process = _start(command)
            _, error = process.communicate()
            if not process.returncode:
                break
            filled += 1
            bad = "Traceback" in error or not any(sentence in error for sentence in FULL)
            if bad:
                tqdm.write(f"{name}: {error.strip()[-300:]}", file=sys.stderr)
            said += bad
            half += any(".tmp" in path.name for path in disk.rglob("*"))
            size += (
                PAGE if filled < SMALL else int(rng.integers(PAGE, 4 * (whole + PAGE) // times + 2 * PAGE))
            )
            bar.update()
            command = again(disk)
        bar.close()
        differed = not same(disk)
    finally:
        _as_root("umount", str(disk))
    print(f"| {name} | {filled} | {said} | {half} | {int(differed)} |", flush=True)
    return said + half + differed


def _as_root(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"no disk can be made, for which one must be root on Linux: {done.stderr.strip()}")


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


def _start(command: list[str], environ: Mapping[str, str] = MappingProxyType({})) -> subprocess.Popen[str]:
    """Begin a script of the project in its own process; one whose clock jumps where JUMPS is set."""
    script, *arguments = command
    path = Path(script) if Path(script).is_absolute() else ROOT / "scripts" / script
    jumping = ["-c", JUMPING] if "JUMPS" in environ else []
    return subprocess.Popen(
        [sys.executable, *jumping, str(path), *arguments],
        cwd=path.parents[1],
        env={**os.environ, "PYTHONPATH": f"{path.parents[1]}:{path.parent}", **environ},
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
        raise SystemExit(f"a process failed that nobody killed: {error.strip()}")
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
