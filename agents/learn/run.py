"""A run's folder: the resolved config, one metrics line an epoch, the last and the best checkpoint."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from filelock import Timeout
from torch import Tensor

from agents import checks
from agents.learn import checkpoint
from agents.learn.files import locked, parsed, write, write_together

CONFIG, METRICS, LAST, BEST = "config.json", "metrics.jsonl", "last.safetensors", "best.safetensors"
FILES = (CONFIG, METRICS, LAST, BEST)  # nothing else is ever written into the folder, or removed from it
# Temporary names: such a file is left where a process is killed that writes.
LEFT = re.compile(r"\.(config|metrics|last|best)\.\d+\.tmp\.(jsonl?|safetensors)")


class RunError(RuntimeError):
    """A run cannot start in this folder; the message says why and what to do."""


class Run:
    """An open run folder. `epoch` is the number of finished epochs; files change only by renaming.

    A run that is overwritten stays until the first epoch of the new one is done. Raises RunError where
    something lies that is no run's, and where another process is training.
    """

    def __init__(self, folder: Path, config: dict[str, Any], *, resume: bool, overwrite: bool) -> None:
        self.folder = folder
        self.config = config
        self.epoch = 0
        self.best = float("inf")
        if resume and overwrite:
            raise RunError("--resume goes on with a run and --overwrite deletes it: give one of them.")
        if folder.exists() and not folder.is_dir():
            raise RunError(f"{folder} is a file: name a folder.")
        started = config_in(folder)
        there = {path.name for path in folder.glob("*") if not LEFT.fullmatch(path.name)}
        others = there - set(FILES)
        if others and (overwrite or started is None):
            raise RunError(
                f"{folder} holds {min(others)!r}, which is no run's: name another --folder, or remove it "
                "yourself."
            )
        self._replaces = overwrite and bool(there)
        self._begun = started is None
        if resume:
            if started is None:
                raise RunError(f"{folder} holds no run to resume: start it without --resume.")
            self.config = self._resumed(started)
        elif not overwrite and started is None and there:
            raise RunError(
                f"{folder} holds what is left of a run whose {CONFIG} is missing: use --overwrite to delete "
                "it and start anew, or another --folder."
            )
        elif not overwrite and there - {CONFIG}:
            raise RunError(
                f"{folder} already holds a run: use --resume to go on with it, --overwrite to delete it and "
                "start anew, or another --folder."
            )
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"{folder} cannot be made ({error.strerror}): name another --folder.") from None
        self._claim()
        try:
            for path in folder.glob("*"):
                if LEFT.fullmatch(path.name):  # nobody else trains here: it is of a process that was killed
                    path.unlink()
            if not self._replaces:
                write(folder / CONFIG, json.dumps(self.config, indent=2) + "\n")
        except OSError:
            self.close()
            raise

    @property
    def last(self) -> Path:
        """The checkpoint to resume from."""
        return self.folder / LAST

    def load_last(self) -> dict[str, Tensor]:
        """The tensors of the last checkpoint, {} if there is none yet; sets `epoch` and `best`."""
        if self._replaces or not self.last.exists():
            return {}
        tensors, saved = checkpoint.load(self.last)
        own = json.loads(json.dumps(self.config))
        if own.keys() <= saved.keys() and _recipe(saved, own) != _recipe(own, own):
            return {}  # of a run that this one was replacing when it was killed
        epoch, best = saved.get("epoch"), saved.get("best")
        if not (isinstance(epoch, int) and epoch >= 0 and isinstance(best, int | float)):
            raise checkpoint.CheckpointError(
                f"{self.last} is a checkpoint, but not one to resume from: restore it, or start anew from it "
                "with --init."
            )
        told = len(epochs(self.folder))
        if told < epoch:
            raise RunError(
                f"{self.folder / METRICS} has {told} of {epoch} epochs: restore it, or start "
                "anew with --overwrite."
            )
        self.epoch, self.best = epoch, best
        return tensors

    def finish_epoch(
        self, metrics: dict[str, Any], score: float, state: dict[str, Tensor], weights: dict[str, Tensor]
    ) -> None:
        """Record an epoch: best checkpoint if its score is the lowest so far, then metrics, then last.

        Where one of them cannot be written, none has changed. A run that is killed between two of these steps
        repeats the epoch and writes the same again.
        """
        self.epoch += 1
        fills: dict[str, Callable[[Path], Any]] = {}
        if self._replaces:  # its config first: then what is not replaced yet is seen to be another run's
            fills[CONFIG] = _text(json.dumps(self.config, indent=2) + "\n")
        if score < self.best or self._replaces:
            self.best = score if score < self.best else self.best
            config = {**self.config, **metrics}
            fills[BEST] = checkpoint.writer(self.folder / BEST, weights, config)
        lines = self._metric_lines()[: self.epoch - 1]
        fills[METRICS] = _text("".join(lines) + json.dumps(metrics) + "\n")
        config = {**self.config, "epoch": self.epoch, "best": self.best}
        fills[LAST] = checkpoint.writer(self.last, state, config)
        write_together({self.folder / name: fill for name, fill in fills.items()})
        self._replaces = False

    def close(self) -> None:
        """Let other processes train in the folder."""
        self._claimed.unlink(missing_ok=True)
        self._lock.release()

    def withdraw(self) -> None:
        """Leave nothing of a run that its settings stopped before its first epoch."""
        if self._begun and {path.name for path in self.folder.glob("*")} == {CONFIG}:
            (self.folder / CONFIG).unlink()
            self.folder.rmdir()

    def _claim(self) -> None:
        """Say, beside the folder, that this process trains in it; RunError if another does."""
        whole = self.folder.resolve()
        self._claimed = whole.with_name(f".{whole.name}.training")
        self._lock = locked(self._claimed)  # held until the run is closed, or its process has ended
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            owner = "another process"
            with contextlib.suppress(OSError):  # it may end meanwhile
                owner = f"process {self._claimed.read_text(encoding='utf-8')}"
            raise RunError(
                f"{self.folder} is being trained by {owner}: wait for it, or name another --folder."
            ) from None
        try:
            write(self._claimed, str(os.getpid()))
        except OSError:
            self.close()
            raise

    def _metric_lines(self) -> list[str]:
        path = self.folder / METRICS
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        return [f"{line}\n" for line in lines]

    def _resumed(self, config: dict[str, Any]) -> dict[str, Any]:
        """The config that the run was started with, once it is clear that this is the same run."""
        saved, now = flat(config), flat(self.config)
        # What it started from may have been trained anew since: that changes init_minutes and nothing else.
        for key in sorted((saved.keys() | now.keys()) - {"init_minutes"}):
            if saved.get(key) != now.get(key):
                longer = "; to train longer, start another run with --init" if key == "epochs" else ""
                raise RunError(
                    f"{self.folder} was started with {key}={saved.get(key)!r}, not {now.get(key)!r}: "
                    f"resume with the same settings{longer}."
                )
        return config


class Follower(Run):
    """The run of a process that trains with another one, which does all the reading and writing."""

    def __init__(self, folder: Path, config: dict[str, Any]) -> None:
        self.folder, self.config, self.epoch, self.best = folder, config, 0, float("inf")

    def load_last(self) -> dict[str, Tensor]:
        """Nothing: see `Run`."""
        return {}

    def finish_epoch(
        self, metrics: dict[str, Any], score: float, state: dict[str, Tensor], weights: dict[str, Tensor]
    ) -> None:
        """Count the epoch."""
        self.epoch += 1

    def withdraw(self) -> None:
        """Nothing was written."""

    def close(self) -> None:
        """Nothing is held."""


def config_in(folder: Path) -> dict[str, Any] | None:
    """The config of the run in a folder, None where there is none; RunError for a file that is no run's."""
    path = folder / CONFIG
    if not path.exists():
        return None
    try:
        config = parsed(path.read_text(encoding="utf-8"))
    except ValueError:
        config = None
    parts = ("model", "learner", "loop")
    known = isinstance(config, dict) and "experiment" in config
    if not known or not all(isinstance(config.get(part), dict) for part in parts):
        raise RunError(f"{path} is not the config of a run: name another --folder.")
    found: dict[str, Any] = config
    return found


def epochs(folder: Path) -> list[dict[str, Any]]:
    """The metrics of all finished epochs of the run in `folder`; RunError naming the first that is none."""
    path = folder / METRICS
    found = []
    for number, line in enumerate(path.read_bytes().splitlines() if path.exists() else [], 1):
        try:
            metrics = parsed(line)
        except ValueError:
            metrics = None
        whole = isinstance(metrics, dict) and metrics.keys() >= {"epoch", "minutes"}
        if not (whole and all(checks.finite(metrics[key]) for key in ("epoch", "minutes"))):
            raise RunError(f"line {number} of {path} is not the metrics of an epoch: restore the file.")
        found.append(metrics)
    return found


def minutes(folder: Path) -> float:
    """Minutes of all finished epochs of the run in `folder`, also of those before it was resumed."""
    return float(sum(metrics["minutes"] for metrics in epochs(folder)))


def _recipe(config: dict[str, Any], of: dict[str, Any]) -> dict[str, Any]:
    """What a run trains, of the settings that `of` has; its epochs and the minutes before it do not count."""
    told = flat({key: config[key] for key in of})
    return {key: value for key, value in told.items() if key not in ("epochs", "init_minutes")}


def _text(text: str) -> Callable[[Path], Any]:
    return lambda temporary: temporary.write_text(text, encoding="utf-8")


def flat(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"model": {"hidden": 256}} -> {"model.hidden": 256}: settings as the command line names them."""
    named: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict) and key != "env":
            named.update(flat(value, "" if key == "loop" else f"{prefix}{key}."))
        else:
            named[prefix + key] = value
    return named
