"""Shared by all tests: where the full data is, and a quiet, windowless pygame."""

from __future__ import annotations

import os
from pathlib import Path

os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest

ROOT = Path(__file__).parent.parent
OFFLINE = {"dataset": "mnist-5k"}  # keywords of an environment that needs no full data


def has_full_mnist() -> bool:
    folder = os.environ.get("GLIMPSE_DATA")
    return bool(folder) and (Path(folder) / "mnist" / "train-images-idx3-ubyte.gz").is_file()


needs_full_mnist = pytest.mark.skipif(
    not has_full_mnist(), reason="needs the full MNIST: set GLIMPSE_DATA to a folder that holds mnist/"
)
