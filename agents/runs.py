"""A run's folder: the resolved config, one metrics line an epoch, the last and the best checkpoint."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from torch import Tensor

from agents import checkpoint


class RunError(RuntimeError):
    """A run cannot start in this folder; the message says why and what to do."""


class Run:
    """An open run folder. `epoch` is the number of finished epochs; files change only by renaming.

    A run that is overwritten stays until the first epoch of the new one is done; one without a finished epoch
    is nothing to keep.
    """

    def __init__(self, folder: Path, config: dict[str, Any], *, resume: bool, overwrite: bool) -> None:
        self.folder = folder
        self.config = config
        self.epoch = 0
        self.best = float("inf")
        if resume and overwrite:
            raise RunError("--resume goes on with a run and --overwrite deletes it: give one of them.")
        self._replaces = overwrite and (folder / "config.json").exists()
        if resume:
            self.config = self._resumed_config()
        elif not self._replaces and {path.name for path in folder.glob("*")} - {"config.json"}:
            raise RunError(
                f"{folder} already holds files: use --resume to go on with a run, --overwrite to delete "
                "one and start anew, or another --folder."
            )
        folder.mkdir(parents=True, exist_ok=True)
        if not self._replaces:
            write(folder / "config.json", json.dumps(self.config, indent=2) + "\n")

    @property
    def last(self) -> Path:
        """The checkpoint to resume from."""
        return self.folder / "last.safetensors"

    def load_last(self) -> dict[str, Tensor]:
        """The tensors of the last checkpoint, {} if there is none yet; sets `epoch` and `best`."""
        if self._replaces or not self.last.exists():
            return {}
        tensors, saved = checkpoint.load(self.last)
        self.epoch, self.best = saved["epoch"], saved["best"]
        return tensors

    def finish_epoch(
        self, metrics: dict[str, Any], score: float, state: dict[str, Tensor], weights: dict[str, Tensor]
    ) -> None:
        """Record an epoch: best checkpoint if its score is the lowest so far, then metrics, then last.

        A run that is killed between two of these steps repeats the epoch and writes the same again.
        """
        if self._replaces:
            shutil.rmtree(self.folder)
            self.folder.mkdir()
            write(self.folder / "config.json", json.dumps(self.config, indent=2) + "\n")
            self._replaces = False
        self.epoch += 1
        if score < self.best:
            self.best = score
            checkpoint.save(self.folder / "best.safetensors", weights, {**self.config, **metrics})
        lines = self._metric_lines()[: self.epoch - 1]
        write(self.folder / "metrics.jsonl", "".join(lines) + json.dumps(metrics) + "\n")
        checkpoint.save(self.last, state, {**self.config, "epoch": self.epoch, "best": self.best})

    def _metric_lines(self) -> list[str]:
        path = self.folder / "metrics.jsonl"
        return path.read_text().splitlines(keepends=True) if path.exists() else []

    def _resumed_config(self) -> dict[str, Any]:
        """The config that the run was started with, once it is clear that this is the same run."""
        path = self.folder / "config.json"
        if not path.exists():
            raise RunError(f"{self.folder} holds no run to resume: start it without --resume.")
        config: dict[str, Any] = json.loads(path.read_text())
        saved, now = _flat(config), _flat(self.config)
        # What it started from may have been trained anew since: that changes init_minutes and nothing else.
        for key in (saved.keys() | now.keys()) - {"init_minutes"}:
            if saved.get(key) != now.get(key):
                raise RunError(
                    f"{self.folder} was started with {key}={saved.get(key)!r}, not {now.get(key)!r}: "
                    "resume with the same settings."
                )
        return config


def minutes(folder: Path) -> float:
    """Minutes of the finished epochs of the run in `folder`, over all sittings; 0 without metrics."""
    metrics = folder / "metrics.jsonl"
    lines = metrics.read_text().splitlines() if metrics.exists() else []
    return float(sum(json.loads(line)["minutes"] for line in lines))


def _flat(config: dict[str, Any]) -> dict[str, Any]:
    """{"settings": {"seed": 1}} -> {"seed": 1}: names as a user knows them."""
    settings = config.get("settings", {})
    return {**{k: v for k, v in config.items() if k != "settings"}, **settings}


def write(path: Path, text: str) -> None:
    """Write a whole file: to a temporary name, then renamed."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text)
    os.replace(temporary, path)
