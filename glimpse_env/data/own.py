"""People's own pictures as a data set: arrays, a file of arrays, or a folder.

Three names come of them: `file:PATH` is a .npz file, which `store` writes into the user's cache and anyone
may write by hand, and `folder:PATH` is a folder of pictures, one sub-folder per class. Both work in every
process that sees the path. A file or a folder may bring its own splits; otherwise every class is shared out
alike, seven of ten pictures to train, one to validate and two to test.

In a file, `images` and `labels` are the training side, `test_images` and `test_labels` the test,
`validation_images` and `validation_labels` the validation scenes, and `names`, where it is there, names the
classes. In a folder, PATH/train/CLASS, PATH/test/CLASS and PATH/validation/CLASS are the same.
"""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from glimpse_env import checks
from glimpse_env.data import files
from glimpse_env.data.files import DatasetError
from glimpse_env.random import SPLITS

PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")
LEAST = 10  # pictures, to be shared out

Pair = tuple[Any, Any]  # images and labels


class Pictures(NamedTuple):
    """Labelled pictures: images uint8 (N, C, h, w), 0 is background; labels int64 (N,), indices of names."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]


class Splits(NamedTuple):
    """A whole data set: the pictures of each split, and the classes' names."""

    of: dict[str, Pictures]
    names: tuple[str, ...]


# -- arrays ------------------------------------------------------------------------------------------------


def store(
    images: Any,
    labels: Any,
    names: Iterable[str] | None = None,
    validation: Pair | None = None,
    test: Pair | None = None,
) -> str:
    """Keep arrays in the user's cache, in a file named by their contents, and return their `file:PATH`.

    See `to_splits` for what is accepted. Raises ValueError for what is not, DatasetError where nothing can
    be written.
    """
    splits = to_splits(images, labels, names, validation, test)
    parts = {f"{split}_{key}": array for split, p in splits.of.items() for key, array in p._asdict().items()}
    hashed = hashlib.sha256("\0".join(splits.names).encode())
    for key in sorted(parts):
        hashed.update(f"{key} {parts[key].shape}".encode() + parts[key].tobytes())
    path = files.cache_folder() / "own" / f"{hashed.hexdigest()[:20]}.npz"
    names_told = np.array(splits.names)
    files.keep(path, lambda file: np.savez(file, names=names_told, channels_first=np.array(True), **parts))
    return f"file:{path}"


def to_splits(
    images: Any,
    labels: Any,
    names: Iterable[str] | None = None,
    validation: Pair | None = None,
    test: Pair | None = None,
    *,
    channels_first: bool = False,
) -> Splits:
    """Arrays, as people have them, as a data set.

    images: uint8, or other integers from 0 to 255, or floats in [0, 1], or bool, of shape (N, h, w),
    (N, C, h, w) or (N, h, w, C) with one or three channels. labels: N integers or names. The classes are
    those that occur in training, in their order, unless `names` lists them: then integer labels are its
    indices. channels_first: that images of four axes are (N, C, h, w), where their shape may be either.
    test, validation: images and labels of a split of one's own; without a test one, every class is
    shared out (see `files.TURNS`); without a validation one, it is taken from the training side.
    Raises ValueError naming what is wrong: a shape, a range, unequal lengths, a class nobody trains on.
    """
    given = {"train": (images, labels), "validation": validation, "test": test}
    for split, pair in given.items():
        if pair is not None and not (isinstance(pair, tuple | list) and len(pair) == 2):
            raise ValueError(f"{split} must be a pair, images and labels, got {type(pair).__name__}")
    sides = {
        split: (to_images(pair[0], split, channels_first), _to_labels(pair[1], len(pair[0]), split))
        for split, pair in given.items()
        if pair is not None
    }
    if not isinstance(names, Sequence | np.ndarray | None) or isinstance(names, str):
        raise ValueError(f"names must be a list of the classes' names, in their order, got {names!r}")
    for name in () if names is None else names:
        if not (isinstance(name, int | np.integer) or (isinstance(name, str | bytes) and name)):
            raise ValueError(f"names must be of texts or integers, got {name!r}")
    classes = _classes(sides["train"][1]) if names is None else tuple(map(_text, names))
    broken = [name for name in classes if not checks.is_utf8(name)]
    if broken:
        raise ValueError(f"names must be UTF-8, got {broken[0]!r}")
    if len(set(classes)) < len(classes):
        raise ValueError(f"names must differ from each other, got {classes}")
    coded = {
        split: Pictures(pictures, _encode(own, classes, names is not None, split))
        for split, (pictures, own) in sides.items()
    }
    shape = coded["train"].images.shape[1:]
    for split, part in coded.items():
        if part.images.shape[1:] != shape:
            raise ValueError(f"{split} images are {part.images.shape[1:]}, training images {shape}")
    return Splits(share_out(coded), classes)


def to_images(images: Any, split: str = "train", channels_first: bool = False) -> NDArray[np.uint8]:
    """Images as uint8 (N, C, h, w); ValueError for another shape, type or range. See `to_splits`."""
    if hasattr(images, "detach"):  # a tensor of torch, wherever it is and whatever it learns
        images = images.detach().cpu()
    try:
        array = np.asarray(images)
    except ValueError:
        raise ValueError(
            f"{split} images must be of one shape: bring them to one size and mode first"
        ) from None
    if array.shape[:1] == (0,):
        raise ValueError(f"{split} has no images: give some, or leave the split out")
    if array.ndim not in (3, 4) or 0 in array.shape:
        raise ValueError(
            f"{split} images must have shape (N, h, w), (N, C, h, w) or (N, h, w, C), got {array.shape}"
        )
    either = array.ndim == 4 and {array.shape[1], array.shape[3]} <= {1, 3} and array.shape[1:] != (1, 1, 1)
    if either and not channels_first:
        raise ValueError(
            f"{split} images of shape {array.shape} may be (N, C, h, w) or (N, h, w, C): bring them to "
            "another size, or give those of one channel as (N, h, w)"
        )
    if array.ndim == 3:
        array = array[:, None]
    elif array.shape[1] not in (1, 3):
        if array.shape[3] not in (1, 3):
            raise ValueError(f"{split} images must have 1 or 3 channels, got shape {array.shape}")
        array = array.transpose(0, 3, 1, 2)
    if array.dtype == np.bool_:
        return np.ascontiguousarray(array).astype(np.uint8) * np.uint8(255)
    if array.dtype == np.uint8:
        return np.array(array)
    if array.dtype.kind not in "iuf":
        raise ValueError(f"{split} images must be numbers, got {array.dtype}")
    most = 1 if array.dtype.kind == "f" else 255
    if np.isnan(array).any():
        raise ValueError(f"{split} images must not hold NaN")
    if not (array.min() >= 0 and array.max() <= most):
        raise ValueError(
            f"{split} images of {array.dtype} must be from 0 to {most}, got {array.min()} to {array.max()}"
        )
    return (np.ascontiguousarray(array) * (255 / most) + 0.5).astype(np.uint8)


def _to_labels(labels: Any, count: int, split: str) -> NDArray[Any]:
    """Labels as an array of integers or of strings (N,)."""
    if labels is None:
        raise ValueError(f"{split} images need labels, one an image")
    if hasattr(labels, "detach"):
        labels = labels.detach().cpu()
    try:
        array = np.asarray(labels)
    except ValueError:
        raise ValueError(f"{split} labels must be one an image, got lists of unequal lengths") from None
    if array.shape != (count,):
        raise ValueError(
            f"{split} labels must be one an image, got {count} images and labels of shape {array.shape}"
        )
    if array.dtype.kind == "O" and all(isinstance(one, int | np.integer) for one in array.tolist()):
        array = np.array(array.tolist())  # as columns with room for missing values have them
    if array.dtype.kind not in "iuUSO":
        raise ValueError(f"{split} labels must be integers or names, got {array.dtype}")
    if array.dtype.kind in "iu":
        if array.min() < 0:
            at = int((array < 0).argmax())
            raise ValueError(f"{split} labels must not be negative, got {array[at]} at place {at}")
        if array.max() > np.iinfo(np.int64).max:
            raise ValueError(f"{split} labels must be below 2**63, got {array.max()}")
        return array.astype(np.int64)
    given = labels.tolist() if isinstance(labels, np.ndarray) else list(labels)  # an array makes nan a name
    told = [_text(one) if isinstance(one, bytes) else one for one in given]
    missing = [not (isinstance(one, int | np.integer) or (isinstance(one, str) and one)) for one in told]
    if any(missing):
        at = missing.index(True)
        raise ValueError(f"{split} labels must be integers or names, got {told[at]!r} at place {at}")
    broken = [isinstance(one, str) and not checks.is_utf8(one) for one in told]
    if any(broken):
        at = broken.index(True)
        raise ValueError(f"{split} labels must be UTF-8, got {told[at]!r} at place {at}")
    return np.array([str(one) for one in told])


def _text(name: Any) -> str:
    """A name as a text; bytes that are no UTF-8 become what `checks.is_utf8` refuses."""
    return name.decode("utf-8", "surrogateescape") if isinstance(name, bytes) else str(name)


def _classes(labels: NDArray[Any]) -> tuple[str, ...]:
    """The classes that occur, integers by their size, names in natural order."""
    found = np.unique(labels)
    return tuple(map(str, found)) if found.dtype.kind == "i" else tuple(sorted(found.tolist(), key=natural))


def _encode(labels: NDArray[Any], classes: tuple[str, ...], indices: bool, split: str) -> NDArray[np.int64]:
    """Labels as indices of `classes`; integers are such already where `indices` is true."""
    if indices and labels.dtype.kind == "i":
        if len(labels) and labels.max() >= len(classes):
            raise ValueError(f"{split} labels go up to {labels.max()}, but names has {len(classes)} classes")
        return labels
    place = {name: i for i, name in enumerate(classes)}
    found, inverse = np.unique(labels, return_inverse=True)
    unknown = [str(name) for name in found.tolist() if str(name) not in place]
    if unknown:
        raise ValueError(
            f"{split} has the class {unknown[0]!r}, which "
            + ("names does not list" if indices else "is not in training: nobody could learn it")
        )
    coded: NDArray[np.int64] = np.array([place[str(name)] for name in found.tolist()], np.int64)[inverse]
    return coded


def share_out(given: dict[str, Pictures]) -> dict[str, Pictures]:
    """All three splits from those that are given, the training one at least; every class is cut alike."""
    train = given["train"]
    if "validation" in given and "test" in given:
        return given
    if len(train.images) < LEAST:
        raise ValueError(
            f"images must be at least {LEAST}, to be shared out among the splits, got {len(train.images)}"
        )
    order = np.argsort(train.labels, kind="stable")
    starts = np.searchsorted(train.labels[order], np.arange(train.labels.max() + 2))
    turn = np.empty(len(order), np.int64)
    turn[order] = (np.arange(len(order)) - starts[train.labels[order]]) % len(files.TURNS)
    taken = np.array(files.TURNS)[turn]
    for split in ("validation", "test"):
        if split in given:  # what would have gone there stays in training
            taken[taken == split] = "train"
    shared = {s: Pictures(train.images[taken == s], train.labels[taken == s]) for s in SPLITS}
    shared |= {s: part for s, part in given.items() if s != "train"}
    for split, part in shared.items():
        if not len(part.images):
            raise ValueError(
                f"no class has enough pictures for a {split} split: give that split, or five pictures a class"
            )
    return shared


def natural(name: str) -> tuple[list[tuple[int, int | str]], str]:
    """A key that sorts "2" before "10"; of "7" and "07", which are as much, "07" comes first."""
    parts = [part for part in re.split(r"(\d+)", name) if part]
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in parts], name


NPZ_KEYS = (
    "images", "labels", "names", "channels_first",
    *(f"{split}_{key}" for split in SPLITS for key in ("images", "labels")),
)  # fmt: skip


# -- files and folders --------------------------------------------------------------------------------------


def read_file(path: Path) -> Splits:
    """The data set in a .npz file, as the module says; DatasetError for one that cannot be used."""
    if not path.is_file():
        raise DatasetError(f"there is no file {path}: name a .npz file with images and labels.")
    with files.reading(path, "write it again, with images and labels"):
        packed = io.BytesIO(path.read_bytes())
        if not zipfile.is_zipfile(packed):
            raise ValueError("it is no .npz file")
    with files.reading(path, "write it again, with images and labels"), np.load(packed) as data:
        arrays = {key: data[key] for key in data.files}
    train = arrays.get("train_images", arrays.get("images"))
    labels = arrays.get("train_labels", arrays.get("labels"))
    if train is None or labels is None:
        raise DatasetError(f"{path} must hold images and labels, and holds {', '.join(arrays) or 'nothing'}.")
    more: dict[str, Any] = {
        split: (arrays[f"{split}_images"], arrays.get(f"{split}_labels"))
        for split in ("validation", "test")
        if f"{split}_images" in arrays
    }
    for key in ("images", "labels"):
        if {key, f"train_{key}"} <= arrays.keys():
            raise DatasetError(f"{path} holds {key} and train_{key}, which are the same: leave one out.")
    unknown = arrays.keys() - NPZ_KEYS
    if unknown:
        raise DatasetError(f"{path} holds {min(unknown)!r}: it may have {', '.join(NPZ_KEYS)}.")
    alone = [f"{split}_labels" for split in ("validation", "test") if split not in more]
    if arrays.keys() & set(alone):
        raise DatasetError(
            f"{path} holds {min(arrays.keys() & set(alone))} without images: add or remove them."
        )
    names = arrays.get("names")
    try:
        first = arrays.get("channels_first", np.array(False))
        if first.dtype != np.bool_ or first.size != 1:
            raise ValueError(f"channels_first must be True or False, got {first!r}")
        more["channels_first"] = bool(first)
        return to_splits(train, labels, None if names is None else names.tolist(), **more)
    except ValueError as error:
        raise DatasetError(f"{path}: {error}.") from None


def signature(folder: Path) -> str:
    """A hash of the names, sizes and times of a folder's pictures, which changes when they do."""
    if folder.is_file():
        raise DatasetError(
            f"{folder} is a file and none that is known: name a folder, a .npz or a .tsv file."
        )
    if not folder.is_dir():
        raise DatasetError(
            f"there is no folder {folder}: name one with a sub-folder of pictures for each class."
        )
    return signed(sorted(path for path in folder.rglob("*") if _is_picture(path)))


def signed(paths: Iterable[Path]) -> str:
    """A hash of the names, sizes and times of files, which changes when they do."""
    hashed = hashlib.sha256()
    for path in paths:
        if not checks.is_utf8(str(path)):
            raise DatasetError(f"the name of {path} is not UTF-8: rename it.")
        hashed.update(f"{path}\0{files.signature(path)}\0".encode())
    return hashed.hexdigest()


def read_folder(folder: Path) -> Splits:
    """The data set in a folder, as the module says; DatasetError for one that cannot be used.

    Pictures are of one size, and read as `read_picture` has it. Classes are in natural order ("2" before
    "10"), hidden files and folders are passed over.
    """
    inner = {split: folder / split for split in SPLITS if (folder / split).is_dir()}
    sides = inner if {"train", "test"} <= inner.keys() and not _has_pictures(inner["train"]) else {}
    if not sides and "train" in inner and not any(map(_has_pictures, _folders(folder))):
        raise DatasetError(
            f"{folder} has train/ and no test/ with classes in it: add one, or move the classes up."
        )
    other = next((folder / name for name in ("val", "valid", "dev") if (folder / name).is_dir()), None)
    if sides and other is not None:
        raise DatasetError(f"{other} stands beside train and test: call it validation, or move it elsewhere.")
    found = {split: _paths(side) for split, side in (sides or {"train": folder}).items()}
    names = tuple(sorted({path.parent.name for path in found["train"]}, key=natural))
    place = {name: i for i, name in enumerate(names)}
    for split, paths in found.items():
        unknown = {path.parent.name for path in paths} - place.keys()
        if unknown:
            raise DatasetError(
                f"{folder / split} has the class {min(unknown)!r}, which is not in training: nobody could "
                "learn it."
            )
    first = read_picture(found["train"][0])
    size, memory = first.nbytes * sum(map(len, found.values())), checks.whole_memory()
    if memory is not None and size > memory:
        raise DatasetError(
            f"the pictures of {folder} take {size / 2**30:,.1f} GiB, and this machine has "
            f"{memory / 2**30:,.1f}: make them smaller, or fewer."
        )
    coded = {}
    for split, paths in found.items():
        images = np.empty((len(paths), *first.shape), np.uint8)
        for image, path in zip(images, paths, strict=True):
            picture = read_picture(path)
            if picture.shape != first.shape:
                raise DatasetError(
                    f"{path} has shape {picture.shape}, {found['train'][0]} {first.shape}: bring all "
                    "pictures to one size and mode first."
                )
            image[:] = picture
        coded[split] = Pictures(images, np.array([place[path.parent.name] for path in paths], np.int64))
    try:
        return Splits(share_out(coded), names)
    except ValueError as error:
        raise DatasetError(f"{folder}: {error}.") from None


def _paths(folder: Path) -> list[Path]:
    """The pictures in the sub-folders of a folder; DatasetError if there are none."""
    paths = [p for c in _folders(folder) for p in _inside(c) if _is_picture(p)]
    if not paths:
        raise DatasetError(f"{folder} holds no pictures: put them into one sub-folder per class.")
    return paths


def _folders(folder: Path) -> list[Path]:
    """The folders in a folder that are not hidden."""
    return [p for p in _inside(folder) if p.is_dir() and not p.name.startswith(".")]


def _inside(folder: Path) -> list[Path]:
    """What lies in a folder, in order; DatasetError for one that may not be read."""
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise DatasetError(f"{folder} cannot be read ({error.strerror}): see to its permissions.") from None


def _has_pictures(folder: Path) -> bool:
    """Whether pictures lie in the folder itself: then it is a class that has the name of a split."""
    return any(map(_is_picture, _inside(folder)))


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in PICTURES and not path.name.startswith(".") and path.is_file()


def read_picture(path: Path) -> NDArray[np.uint8]:
    """A picture as uint8 (C, h, w) with one or three channels; DatasetError naming the file.

    Grey of 16 bits becomes 8, photographs are turned as their EXIF says, and of those that phones save with
    others beside them (MPO) the first is read. A picture with transparent pixels or several frames is
    refused, for what should be seen of it is not known.
    """
    from PIL import Image, ImageOps

    with files.reading(path, "save it anew as PNG or JPEG, or leave it out"), Image.open(path) as opened:
        frames = 1 if opened.format == "MPO" else getattr(opened, "n_frames", 1)
        picture = ImageOps.exif_transpose(opened)
        if picture.mode.startswith("I"):
            deep = np.asarray(picture).astype(np.int64)
            of_16_bits = picture.mode != "I" or opened.format == "PNG"  # which has no more of them
            picture.close()
            grey = (deep / 257 + 0.5).astype(np.uint8)[None]
            good = frames == 1 and of_16_bits
            why = "has grey of 32 bits: save it with 8 or 16"
        else:
            has_alpha = "A" in picture.getbands() or "transparency" in picture.info
            alpha = np.asarray(picture.convert("RGBA"))[..., 3] if has_alpha else None
            good = frames == 1 and picture.mode != "F" and (alpha is None or bool((alpha == 255).all()))
            why = "has transparent pixels or floating-point values: save it in plain grey or colour"
            mode = "L" if picture.mode in ("1", "L", "LA") else "RGB"
            grey = np.atleast_3d(np.asarray(picture.convert(mode))).transpose(2, 0, 1)
    if frames > 1:
        why = f"has {frames} frames: save it with one"
    if not good:
        raise DatasetError(f"{path} {why}.")
    return np.ascontiguousarray(grey)
