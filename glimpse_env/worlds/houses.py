"""House numbers: real layouts of SVHN (Netzer et al. 2011), filled with MNIST digits or with SVHN's pixels.

As in Goodfellow et al. (2014) and Ba et al. (2015), the box around a number's digits, made 30 % larger, is
scaled to 64x64, and the canvas is a window of it: anywhere in training, in the middle for frozen scenes.
`svhn_layouts.npz`, which comes with the library, holds every number of up to five digits: its digits and
their boxes, no pixels.
"""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from glimpse_env import checks
from glimpse_env.data import files, images
from glimpse_env.data.files import DatasetError
from glimpse_env.data.images import VALIDATION_IMAGES
from glimpse_env.kernels import kernel
from glimpse_env.random import GOLDEN, SPLITS, begin, below, mix, unit
from glimpse_env.worlds.scene import Augmentation, Drawn

LAYOUT_SIZE = 64
MAX_DIGITS = 5
EXPANSION = 1.3
BUNDLED = Path(__file__).parent / "svhn_layouts.npz"


class Layouts(NamedTuple):
    """Numbers of one split.

    digits: int8 (N, 5), padded with -1. boxes: int8 (N, 5, 4), x, y, width and height of each digit in a
    64x64 picture. pictures: uint8 (N, 3, 64, 64), or (0, 3, 64, 64) where digits are to be drawn.
    """

    digits: NDArray[np.int8]
    boxes: NDArray[np.int8]
    pictures: NDArray[np.uint8]


def to_layouts(
    digit: NDArray[Any], box: NDArray[Any], lengths: NDArray[Any]
) -> tuple[NDArray[np.int8], NDArray[np.int8], NDArray[np.float64]]:
    """Numbers of up to five digits as Layouts' digits and boxes, and the crop (N, 4) of each that they fill.

    digit (M,), box (M, 4) as xmin, ymin, xmax, ymax in the photograph's pixels, lengths (N,) in digits.
    The crop is left, top, right, bottom in the photograph's pixels.
    """
    first = np.cumsum(lengths) - lengths
    low = np.minimum.reduceat(box[:, :2].astype(float), first)
    high = np.maximum.reduceat(box[:, 2:].astype(float), first)
    middle, half = (low + high) / 2, EXPANSION * (high - low) / 2
    keep = lengths <= MAX_DIGITS
    crops = np.concatenate([middle - half, middle + half], 1)[keep]
    digits = np.full((int(keep.sum()), MAX_DIGITS), -1, np.int8)
    boxes = np.zeros((len(digits), MAX_DIGITS, 4), np.int8)
    for row, number in enumerate(np.flatnonzero(keep)):
        at = slice(first[number], first[number] + lengths[number])
        corners = box[at].astype(float).reshape(-1, 2, 2)
        scaled = (corners - middle[number]) / half[number] * (LAYOUT_SIZE / 2) + LAYOUT_SIZE / 2
        scaled = np.round(scaled).reshape(-1, 4)
        digits[row, : lengths[number]] = digit[at]
        boxes[row, : lengths[number], :2] = scaled[:, :2]
        boxes[row, : lengths[number], 2:] = np.maximum(scaled[:, 2:] - scaled[:, :2], 1)
    return digits, boxes, crops


@cache
def load_layouts(split: str, *, pixels: bool) -> Layouts:
    """The layouts of a split; with `pixels`, from the official SVHN files, photographs included.

    Raises DatasetError where those files, or what reads them, are missing.
    """
    part = "test" if split == "test" else "train"
    if pixels:
        whole = _read_photographs(part)
    else:
        with np.load(BUNDLED, allow_pickle=False) as data:
            none = np.zeros((0, 3, LAYOUT_SIZE, LAYOUT_SIZE), np.uint8)
            whole = Layouts(data[f"{part}_digits"], data[f"{part}_boxes"], none)
    count = len(whole.digits)
    held_out = min(VALIDATION_IMAGES, math.ceil(count / 10))
    keep = {
        "train": slice(None, count - held_out),
        "validation": slice(count - held_out, None),
        "test": slice(None),
    }[split]
    return Layouts(whole.digits[keep], whole.boxes[keep], whole.pictures[keep])


def _read_photographs(part: str) -> Layouts:
    """SVHN format 1: svhn/PART/digitStruct.mat (MATLAB 7.3, an HDF5 file) and 1.png, 2.png, … beside it."""
    try:
        import h5py
        from PIL import Image
    except ImportError as error:
        raise DatasetError(
            f"dataset 'svhn' is read with {error.name}: run `pip install h5py pillow`."
        ) from None

    index = files.find(f"svhn/{part}", "digitStruct.mat")
    if index is None:
        raise DatasetError(
            f"dataset 'svhn' needs svhn/{part}/digitStruct.mat and its pictures in "
            f"{' or '.join(map(str, files.data_folders()))}: unpack {part}.tar.gz of "
            "http://ufldl.stanford.edu/housenumbers there, or use dataset='mnist'."
        )
    with files.reading(index, "unpack it and the pictures beside it again"):
        with h5py.File(index, "r") as mat:
            names = [_text(mat, reference) for reference in mat["digitStruct/name"][:, 0]]
            numbers = [_fields(mat, reference) for reference in mat["digitStruct/bbox"][:, 0]]
        fields = np.concatenate(numbers)
        corners = np.stack([fields[:, 0], fields[:, 1], *(fields[:, :2] + fields[:, 2:4]).T], 1)
        lengths = np.array([len(number) for number in numbers])
        digits, boxes, crops = to_layouts(fields[:, 4] % 10, corners, lengths)  # 10 stands for zero
        pictures = np.empty((len(digits), 3, LAYOUT_SIZE, LAYOUT_SIZE), np.uint8)
        kept = [name for name, length in zip(names, lengths, strict=True) if length <= MAX_DIGITS]
        for picture, name, crop in zip(pictures, kept, crops, strict=True):
            with Image.open(index.parent / name) as photograph:
                left, top, right, bottom = np.round(crop).astype(int).tolist()
                piece = photograph.convert("RGB").crop(
                    (left, top, max(right, left + 1), max(bottom, top + 1))
                )
                scaled = piece.resize((LAYOUT_SIZE, LAYOUT_SIZE), Image.Resampling.BILINEAR)
            picture[:] = np.asarray(scaled).transpose(2, 0, 1)
    return Layouts(digits, boxes, pictures)


def _text(mat: Any, reference: Any) -> str:
    return "".join(map(chr, np.asarray(mat[reference]).ravel()))


def _fields(mat: Any, reference: Any) -> NDArray[np.float64]:
    """(digits, 5): left, top, width, height, label. A field of one digit is the number itself."""
    group = mat[reference]
    columns = []
    for key in ("left", "top", "width", "height", "label"):
        values = np.asarray(group[key])
        if values.dtype == object:
            values = np.array([np.asarray(mat[r]).item() for r in values.ravel()])
        columns.append(values.ravel().astype(np.float64))
    return np.stack(columns, 1)


class HouseWorld:
    """House numbers on a canvas of up to 64x64; what `DigitWorld` is for digits laid out at random.

    dataset: "svhn" shows SVHN's pixels; any other supplies digit images of ten classes, whose ink is
    stretched to fill each box. Raises ValueError for a keyword out of range and DatasetError for data that
    is missing.
    """

    lengths_vary = True
    dtype = np.uint8
    tokens: tuple[str, ...] = ()  # the words of a text, which this is not
    names = images.DIGITS
    max_digits = MAX_DIGITS

    def __init__(self, dataset: str, split: str, canvas_size: int) -> None:
        checks.choice("split", split, SPLITS)
        checks.integer("canvas_size", canvas_size, 8, LAYOUT_SIZE)
        self._named = (dataset, split)
        self._load()
        self.num_scenes = len(self._layouts.digits)
        channels = 3 if dataset == "svhn" else self._images.shape[1]
        self.canvas_shape = (channels, canvas_size, canvas_size)

    def _load(self) -> None:
        dataset, split = self._named
        self._layouts = load_layouts(split, pixels=dataset == "svhn")
        lengths = (self._layouts.digits >= 0).sum(1)
        self._by_length = np.argsort(lengths, kind="stable")
        self._up_to = np.searchsorted(np.sort(lengths), np.arange(MAX_DIGITS + 1), side="right")
        if dataset == "svhn":
            self._images = np.zeros((1, 3, 1, 1), np.uint8)
            self._ink = np.zeros((1, 4), np.int64)
            self._by_class, self._class_start = np.zeros(1, np.int64), np.zeros(11, np.int64)
        else:
            pictures = self._pictures = images.load(dataset, split)  # else it would be forgotten
            if pictures not in _by_class:
                _by_class[pictures] = _digits_by_class(pictures, dataset, split)
            self._images, self._ink, self._by_class, self._class_start = _by_class[pictures]

    def draw(
        self,
        rows: NDArray[np.bool_],
        keys: NDArray[np.uint64],
        episodes: NDArray[np.int64],
        indices: NDArray[np.int64],
        augmentation: Augmentation,
        out: Drawn,
    ) -> None:
        """Draw a new scene for every row of `rows` into `out`; below difficulty 1 numbers are shorter.

        See `draw_houses`.
        """
        longest = max(1, math.ceil(augmentation.difficulty * MAX_DIGITS))
        draw_houses(
            rows, keys, episodes, indices, self._layouts.digits, self._layouts.boxes, self._layouts.pictures,
            self._by_length, max(1, int(self._up_to[longest])),
            self._images, self._ink, self._by_class, self._class_start, *out[:4],
        )  # fmt: skip

    def __getstate__(self) -> dict[str, Any]:
        """Pickled without its pictures, which every process has of its own."""
        return {
            key: value
            for key, value in self.__dict__.items()
            if key in ("_named", "num_scenes", "canvas_shape")
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._load()
        channels = 3 if self._named[0] == "svhn" else self._images.shape[1]
        if (len(self._layouts.digits), channels) != (self.num_scenes, self.canvas_shape[0]):
            raise files.changed(self._named[0])


Sorted = tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]
_by_class: WeakKeyDictionary[images.Images, Sorted] = WeakKeyDictionary()


def _digits_by_class(pictures: images.Images, dataset: str, split: str) -> Sorted:
    """Images, the box (x, y, w, h) of each one's ink, image numbers sorted by class, where classes start."""
    labels, names = pictures.labels, pictures.names
    if len(names) != 10:
        raise ValueError(f"house numbers need a dataset of ten digits, {dataset!r} has {len(names)} classes")
    ink = pictures.images.max(1) > 0
    columns, lines = ink.any(1), ink.any(2)
    left, top = columns.argmax(1), lines.argmax(1)
    right, bottom = (side.shape[1] - side[:, ::-1].argmax(1) for side in (columns, lines))
    box = np.stack([left, top, right - left, bottom - top], 1).astype(np.int64)
    start = np.searchsorted(np.sort(labels), np.arange(11))
    if (np.diff(start) == 0).any():
        raise ValueError(f"dataset {dataset!r} has no image of some digit in split {split!r}")
    return pictures.images, box, np.argsort(labels, kind="stable"), start.astype(np.int64)


@kernel
def stretch(
    source: NDArray[np.uint8], sx: int, sy: int, sw: int, sh: int,
    canvas: NDArray[np.uint8], x: int, y: int, w: int, h: int,
) -> None:  # fmt: skip
    """Draw source[:, sy:sy+sh, sx:sx+sw] into the canvas's box (x, y, w, h), bilinearly, brightest wins.

    Pixel centres map to pixel centres, as in torch's interpolate with align_corners=False.
    """
    for i in range(max(0, -y), min(h, canvas.shape[1] - y)):
        v = min(max((i + 0.5) * sh / h - 0.5, 0.0), sh - 1.0)
        top = min(int(v), max(sh - 2, 0))
        down = v - top
        below = min(top + 1, sh - 1)
        for j in range(max(0, -x), min(w, canvas.shape[2] - x)):
            u = min(max((j + 0.5) * sw / w - 0.5, 0.0), sw - 1.0)
            left = min(int(u), max(sw - 2, 0))
            right = u - left
            beside = min(left + 1, sw - 1)
            for c in range(canvas.shape[0]):
                patch = source[c]
                upper = patch[sy + top, sx + left] * (1 - right) + patch[sy + top, sx + beside] * right
                lower = patch[sy + below, sx + left] * (1 - right) + patch[sy + below, sx + beside] * right
                value = np.uint8(upper * (1 - down) + lower * down + 0.5)
                canvas[c, y + i, x + j] = max(canvas[c, y + i, x + j], value)


@kernel
def draw_houses(
    rows: NDArray[np.bool_],
    keys: NDArray[np.uint64],
    episodes: NDArray[np.int64],
    indices: NDArray[np.int64],
    layout_digits: NDArray[np.int8],
    layout_boxes: NDArray[np.int8],
    pictures: NDArray[np.uint8],
    by_length: NDArray[np.int64],
    allowed: int,
    images: NDArray[np.uint8],
    ink: NDArray[np.int64],
    by_class: NDArray[np.int64],
    class_start: NDArray[np.int64],
    canvas: NDArray[np.uint8],
    digits: NDArray[np.int64],
    boxes: NDArray[np.int64],
    start_gaze: NDArray[np.float32],
) -> None:
    """Draw a new scene for every row b with rows[b], in place.

    keys, episodes (B,): what the scene is a function of. indices (B,): the layout, whose window is the
    middle one, or -1 for a random one of the `allowed` shortest. The rest: see Layouts, `_digits_by_class`.
    Out: canvas (B, C, H, H), digits (B, 5) padded with -1, boxes (B, 5, 4), start_gaze (B, 2).
    """
    size = canvas.shape[2]
    spare = LAYOUT_SIZE - size
    for b in range(rows.shape[0]):
        if not rows[b]:
            continue
        state = begin(keys[b], episodes[b])
        state += GOLDEN
        layout = by_length[below(allowed, mix(state))]
        state += GOLDEN
        off_y = below(spare + 1, mix(state))
        state += GOLDEN
        off_x = below(spare + 1, mix(state))
        if indices[b] >= 0:
            layout, off_y, off_x = indices[b], spare // 2, spare // 2
        picture = canvas[b]
        for c in range(picture.shape[0]):  # loops, for numba takes seconds to compile such assignments
            for i in range(size):
                for j in range(size):
                    picture[c, i, j] = pictures[layout, c, off_y + i, off_x + j] if len(pictures) > 0 else 0
        for k in range(layout_digits.shape[1]):
            digit = np.int64(layout_digits[layout, k])
            digits[b, k] = digit
            box = boxes[b, k]
            if digit < 0:
                for side in range(4):
                    box[side] = 0
                continue
            box[0] = layout_boxes[layout, k, 0] - off_x
            box[1] = layout_boxes[layout, k, 1] - off_y
            box[2], box[3] = layout_boxes[layout, k, 2], layout_boxes[layout, k, 3]
            if len(pictures) == 0:
                state += GOLDEN
                members = class_start[digit + 1] - class_start[digit]
                image = by_class[class_start[digit] + below(members, mix(state))]
                stretch(
                    images[image], ink[image, 0], ink[image, 1], ink[image, 2], ink[image, 3],
                    picture, box[0], box[1], box[2], box[3],
                )  # fmt: skip
        state += GOLDEN
        start_gaze[b, 0] = 2.0 * unit(mix(state)) - 1.0
        state += GOLDEN
        start_gaze[b, 1] = 2.0 * unit(mix(state)) - 1.0
