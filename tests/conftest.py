"""Shared by all tests: where the full data is, and a quiet, windowless pygame."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="glimpse-test-cache-")  # not the user's own

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from agents.agent import Spec
from agents.models.captioner import CaptionerSettings
from glimpse_env.registry import with_dataset

ROOT = Path(__file__).parent.parent
OFFLINE = {"dataset": "mnist-5k"}  # keywords of an environment that needs no full data
# What people say of `pictures`.
SAID = [["A dog runs!", "the dog's quick"], ["Zwei Männer – 3 Hüte"], ["a cat"]] * 10
CAPTIONER_SPEC = Spec((4, 12, 12), (1, 44, 36), 9, (), 5, 5)


@pytest.fixture(autouse=True)
def subnormal_numbers_stay() -> Iterator[None]:
    """A training flushes them to zero in all of its process; hypothesis refuses to go on there."""
    yield
    torch.set_flush_denormal(False)


def offline(env_id: str) -> dict[str, Any]:
    """Such keywords of an id: a text that has no data set needs none."""
    return with_dataset(env_id, OFFLINE["dataset"])


def pictures(count: int, seed: int = 0) -> NDArray[np.uint8]:
    """Colours at random: uint8 (count, 20, 24, 3)."""
    return np.random.default_rng(seed).integers(0, 256, (count, 20, 24, 3), np.uint8)


def captioner(**kind: Any) -> Any:
    """A small one of nine answers, which looks at 6 x 5 places of eight pixels; it does not learn."""
    torch.manual_seed(0)
    return CaptionerSettings(hidden=16, embedding=12, filters=4, **kind).build(CAPTIONER_SPEC).eval()


def needs_data(name: str) -> pytest.MarkDecorator:
    """Skip where the folder GLIMPSE_DATA has no file or folder `name`."""
    folder = os.environ.get("GLIMPSE_DATA")
    there = bool(folder) and (Path(str(folder)) / name).exists()
    return pytest.mark.skipif(not there, reason=f"needs {name}: set GLIMPSE_DATA to a folder that holds it")


FOLDERS = {  # what in the name of an experiment says which data it needs
    "mnist": "mnist", "cifar10": "cifar10", "flickr8k": "flickr8k", "codraw": "codraw", "cloze": "gum_cloze",
    "parse": "gum_const", "char": "tinyshakespeare", "de-en": "multi30k", "en-de": "multi30k",
}  # fmt: skip


def skip_without_data(name: str) -> None:
    """Skip where GLIMPSE_DATA lacks the data of the experiment, or of the data set, `name`."""
    for part, folder in FOLDERS.items():
        if part in name and not (Path(os.environ.get("GLIMPSE_DATA", "")) / folder).is_dir():
            pytest.skip(f"needs {folder}: set GLIMPSE_DATA to a folder that holds it")


needs_full_mnist = needs_data("mnist/train-images-idx3-ubyte.gz")


def look_through(agent: nn.Module, canvas: Tensor, glimpses: int) -> tuple[Tensor, Tensor]:
    """Logits (B, T, n) after each of T glimpses of canvas (B, C, H, W), and their windows (B, T, 2, 3)."""
    state = agent.initial(len(canvas))
    steps = []
    for _ in range(glimpses):
        step, state = agent({"canvas": canvas}, state, False)
        steps.append(step)
    return torch.stack([s.logits for s in steps], 1), torch.stack([s.window for s in steps], 1)


def assert_same(a: Any, b: Any) -> None:
    """Equal nested dicts of arrays, bit for bit."""
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            assert_same(a[key], b[key])
    elif isinstance(a, tuple):
        for x, y in zip(a, b, strict=True):
            assert_same(x, y)
    elif isinstance(a, np.ndarray) and a.dtype == object:
        for x, y in zip(a, b, strict=True):
            assert (x is None) == (y is None)
            if x is not None:
                assert_same(x, y)
    else:
        np.testing.assert_array_equal(a, b)
