"""Captioned pictures by name, each with several captions: `load("flickr8k", "train")`.

"flickr8k" are 8,091 photographs with five captions each (Hodosh, Young, Hockenmaier 2013), found and not
downloaded: its owners ask everyone to request it, and scripts/prepare_flickr8k.py makes the files from
what they send. "codraw" are 9,993 scenes of clip art (data/codraw.py), found likewise. "folder:PATH" is
anybody's folder of pictures with a file captions.jsonl, one line per picture: {"image": "dog.jpg",
"captions": ["a dog runs", …]}, and if one likes "split": "train", "validation" or "test"; without it every
ten lines are shared out, seven, one and two. A caption is its words in small letters, without marks.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import re
import tempfile
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glimpse_env import checks
from glimpse_env.data import codraw, files, own
from glimpse_env.data.files import DatasetError
from glimpse_env.random import SPLITS

NAMED = ("flickr8k", "codraw")
CHOICES = ("digits", "mnist", *NAMED)  # the first two are scenes that worlds/arrangements.py makes
LISTED = "captions.jsonl"
FLICKR8K = ("flickr8k_224.npz", "captions.jsonl.gz")
PARTS = ("train", "dev", "test")  # as Flickr8k names the splits, in SPLITS' order
MANY, LEAST = 5_000, 5  # from so many captions on a word is known if it occurs so often, else if it occurs
OTHER = "<other>"  # what stands for a word that is not known

Caption = tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Captioned:
    """The pictures of a split and what is said of each.

    pictures: encoded files, their paths, or clip art to paint. captions: of each picture one or more, as
    words. names: what Flickr8k calls its pictures. boxes: of each word of the captions where the thing lies
    that it names, x, y, width, height as shares of the picture, or None; empty where nobody knows.
    """

    pictures: tuple[bytes | Path | tuple[codraw.Thing, ...], ...]
    captions: tuple[tuple[Caption, ...], ...]
    names: tuple[str, ...] = ()
    boxes: tuple[tuple[tuple[codraw.Box | None, ...], ...], ...] = ()

    def boxes_of(self, number: int, words: Sequence[str]) -> tuple[codraw.Box | None, ...]:
        """Where the things lie that words name in a picture, as in `boxes`."""
        given = self.pictures[number]
        return codraw.boxes_of(words, given) if isinstance(given, tuple) else (None,) * len(words)

    def draw(self, number: int, size: int) -> NDArray[np.uint8]:
        """A picture, squashed to a square: uint8 (3, size, size); DatasetError for one that cannot be used.

        Files are read as `own.read_picture` has it.
        """
        from PIL import Image

        given = self.pictures[number]
        if isinstance(given, tuple):
            return codraw.paint(given, size)
        if isinstance(given, Path):
            pixels = own.read_picture(given).transpose(1, 2, 0)
            picture = Image.fromarray(np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3))))
        else:
            with files.reading(Path(f"picture {number + 1}"), "delete or replace it"):
                picture = Image.open(io.BytesIO(given)).convert("RGB")
        if picture.size != (size, size):
            picture = picture.resize((size, size), Image.Resampling.BICUBIC)
        return np.ascontiguousarray(np.asarray(picture).transpose(2, 0, 1))


def caption_words(caption: str) -> Caption:
    """The words of a caption in small letters, in any script; numbers are words, other signs are left out.

    An apostrophe may be a curly one.
    """
    text = caption.lower().replace("’", "'")
    if text.isascii():
        return tuple(re.findall(r"[^\W_]+(?:'[^\W_]+)*", text))
    # A letter and its accent may be one character or two.
    text = "".join(c if _in_word(c) else " " for c in unicodedata.normalize("NFC", text))
    words = re.findall(r"[^\s']+(?:'[^\s']+)*", text)
    return tuple(word for word in words if any(map(str.isalnum, word)))


def _in_word(character: str) -> bool:
    """Whether it is a letter, a digit or an apostrophe, or joins others, as vowels' signs and accents do."""
    joins = unicodedata.category(character) in ("Mn", "Mc") or character in "\u200c\u200d"
    return character.isalnum() or character == "'" or joins


def load(name: str, split: str) -> Captioned:
    """A split of "flickr8k", "codraw" or "folder:PATH".

    Raises ValueError for an unknown name, DatasetError for files that are missing or damaged.
    """
    checks.choice("split", split, SPLITS)
    return splits(name)[split]


def splits(name: str) -> dict[str, Captioned]:
    """All splits of captioned pictures, as `load` has each, and its errors; a changed folder is read anew."""
    if name.startswith("folder:") and name != "folder:":
        folder = files.path_of(name.removeprefix("folder:"))
        listed = files.signature(folder / LISTED)
        pictures = own.signed(path for _, path, _ in _listed(folder, listed))
        return _folder(folder, listed, pictures)
    if name not in NAMED:
        raise ValueError(
            f"there are no captions {name!r}{checks.did_you_mean(name, CHOICES) or ':'} use one of "
            f"{', '.join(map(repr, CHOICES))}, or 'folder:PATH' for a folder with a file {LISTED}"
        )
    return _flickr8k() if name == "flickr8k" else {split: _codraw(split) for split in SPLITS}


@lru_cache(files.RECENT)
def words_in(train: Captioned) -> tuple[str, ...]:
    """The words that captions like those of `train` are said in, and OTHER."""
    captions = [caption for several in train.captions for caption in several]
    count = Counter(word for caption in captions for word in caption)
    least = LEAST if len(captions) >= MANY else 1
    return (*sorted(word for word, times in count.items() if times >= least), OTHER)


@lru_cache(files.RECENT)
def longest(captioned: Captioned) -> int:
    """How many words the longest of its captions has."""
    return max(len(caption) for several in captioned.captions for caption in several)


def side(name: str) -> int:
    """The longer side of the first picture of training, in pixels."""
    from PIL import Image

    first = load(name, "train").pictures[0]
    assert not isinstance(first, tuple)  # clip art has no size
    named = first if isinstance(first, Path) else Path("picture 1")
    with (
        files.reading(named, "delete or replace it"),
        Image.open(first if isinstance(first, Path) else io.BytesIO(first)) as picture,
    ):
        return max(picture.size)


def store(
    images: Any, captions: Sequence[Sequence[str]], validation: own.Pair | None, test: own.Pair | None
) -> str:
    """Keep pictures and captions in the user's cache, in a folder named by their contents: `folder:PATH`.

    images: as `data.own.to_splits` takes them. captions: of each picture a list. validation, test: such
    pairs, both or neither. Raises ValueError for what is no picture or has no caption.
    """
    if (validation is None) != (test is None):
        raise ValueError("give both validation and test, or neither: then the pictures are shared out")
    given = {"train": (images, captions), "validation": validation, "test": test}
    lines: list[str] = []
    pictures: list[NDArray[np.uint8]] = []
    for split, pair in given.items():
        if pair is None:
            continue
        if not (isinstance(pair, tuple | list) and len(pair) == 2):
            raise ValueError(f"{split} must be a pair, pictures and captions, got {type(pair).__name__}")
        pixels = own.to_images(pair[0], split)
        if not isinstance(pair[1], Sequence) or isinstance(pair[1], str):
            raise ValueError(f"{split} captions must be a list for each picture, got {pair[1]!r:.80}")
        if len(pixels) != len(pair[1]):
            raise ValueError(f"{split} has {len(pixels)} pictures and captions for {len(pair[1])}")
        if test is None and len(pixels) < files.FEWEST:
            raise ValueError(
                f"there are {len(pixels)} captioned pictures: give {files.FEWEST}, or all three splits"
            )
        for picture, said in zip(pixels, pair[1], strict=True):
            listed = isinstance(said, Sequence) and not isinstance(said, str)
            if not listed or not said or not all(isinstance(one, str) and caption_words(one) for one in said):
                raise ValueError(
                    f"each picture needs a list of captions with words in them, got {said!r} in {split}"
                )
            line: dict[str, Any] = {"image": f"{len(pictures)}.png", "captions": list(said)}
            lines.append(json.dumps(line | ({"split": split} if test is not None else {})))
            pictures.append(picture)
    hashed = hashlib.sha256("\n".join(lines).encode())
    for picture in pictures:
        hashed.update(f"{picture.shape}".encode() + picture.tobytes())
    folder = files.cache_folder() / "own" / f"captions-{hashed.hexdigest()[:20]}"
    if not _is_whole(folder, lines):
        _write(folder, lines, pictures)
    return f"folder:{folder}"


def _is_whole(folder: Path, lines: list[str]) -> bool:
    """Whether a folder of the cache has the list that `_write` writes, and no picture is damaged."""
    from PIL import Image

    try:
        for number in range(len(lines)):
            with Image.open(folder / f"{number}.png") as picture:
                picture.verify()
        return (folder / LISTED).read_text(encoding="utf-8") == _written(lines)
    except (OSError, SyntaxError, UnicodeDecodeError):  # Pillow calls a broken PNG a SyntaxError
        return False


def _written(lines: list[str]) -> str:
    return "\n".join(lines) + "\n"


def _write(folder: Path, lines: list[str], pictures: list[NDArray[np.uint8]]) -> None:
    """Write a folder of pictures and their captions, whole or not at all."""
    from PIL import Image

    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as made:
            inner = Path(made) / "made"
            inner.mkdir()
            for number, picture in enumerate(pictures):
                pixels = picture[0] if len(picture) == 1 else picture.transpose(1, 2, 0)
                Image.fromarray(pixels).save(inner / f"{number}.png")
            (inner / LISTED).write_text(_written(lines), encoding="utf-8")
            if not _is_whole(folder, lines):  # another process may have been faster
                if folder.is_dir():
                    os.replace(folder, Path(made) / "damaged")
                os.replace(inner, folder)
    except OSError as error:
        if _is_whole(folder, lines):
            return
        raise DatasetError(
            f"{folder} could not be written ({error}): free some space, or set XDG_CACHE_HOME to a folder "
            "that can be written."
        ) from None


@lru_cache(files.RECENT)
def _listed(folder: Path, listed: tuple[int, int]) -> list[tuple[str, Path, tuple[Caption, ...]]]:
    """Split, picture and captions of each line of a folder's list; `listed` changes when it does."""
    path = folder / LISTED
    found = []
    for number, line in enumerate(files.read_lines(path, "one picture and its captions per line")):
        try:
            entry = json.loads(line)
            image, captions = entry["image"], entry["captions"]
            split = entry.get("split", files.TURNS[number % len(files.TURNS)])
            if not (isinstance(image, str) and isinstance(captions, list) and captions):
                raise ValueError("it needs an image's name and a list of captions")
            if not all(isinstance(one, str) for one in captions):
                raise ValueError("a caption is no text")
            said = tuple(caption_words(one) for one in captions)
            if split not in SPLITS or not all(said):
                raise ValueError("a caption has no words" if split in SPLITS else f"split {split!r}")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise DatasetError(
                f"line {number + 1} of {path} is no captioned picture ({error}): mend it."
            ) from None
        if not os.path.isfile(folder / image):  # False, unlike Path's, for a name that is too long
            raise DatasetError(f"line {number + 1} of {path} names {image}, which is not there: add it.")
        found.append((split, folder / image, said))
    return found


@lru_cache(files.RECENT)
def _folder(folder: Path, listed: tuple[int, int], pictures: str) -> dict[str, Captioned]:
    """A folder's splits; `listed` and `pictures` change when its files do."""
    from PIL import Image

    found: dict[str, list[tuple[Path, tuple[Caption, ...]]]] = {split: [] for split in SPLITS}
    for split, path, said in _listed(folder, listed):
        with files.reading(path, "delete or replace it"), Image.open(path) as picture:
            plain = picture.mode in ("L", "RGB") and "transparency" not in picture.info
            plain = plain and getattr(picture, "n_frames", 1) == 1
            picture.verify()
        if not plain:  # it may be such as is refused, and is better refused now
            own.read_picture(path)
        found[split].append((path, said))
    for split, items in found.items():
        if not items:
            raise DatasetError(
                f"{folder / LISTED} has no picture for {split}: give five lines or more, or each a split."
            )
    return {split: Captioned(*zip(*items, strict=True)) for split, items in found.items()}


@cache
def _flickr8k() -> dict[str, Captioned]:
    paths = [files.find("flickr8k", name) for name in FLICKR8K]
    if paths[0] is None or paths[1] is None:
        raise DatasetError(
            f"there is no flickr8k/{FLICKR8K[0]} and {FLICKR8K[1]} in GLIMPSE_DATA or "
            f"{files.cache_folder()}: make them with scripts/prepare_flickr8k.py, or use dataset='digits', "
            "which needs no data, or 'folder:PATH'."
        )
    mend = "make it again with scripts/prepare_flickr8k.py"
    with files.reading(paths[0], mend), np.load(paths[0]) as data:
        joined, offset = data["jpeg"].tobytes(), data["offset"]
        names, split = [name.decode() for name in data["name"]], data["split"]
    with files.reading(paths[1], mend):
        entries = [
            json.loads(line) for line in gzip.decompress(paths[1].read_bytes()).decode("utf-8").splitlines()
        ]
        if [Path(entry["image"]).stem for entry in entries] != [Path(name).stem for name in names]:
            raise DatasetError(f"{paths[1]} and {paths[0]} name other pictures: {mend}.")
    found = {}
    for part, name in enumerate(SPLITS):
        rows = np.flatnonzero(split == part).tolist()
        found[name] = Captioned(
            tuple(joined[offset[row] : offset[row + 1]] for row in rows),
            tuple(tuple(caption_words(caption) for caption in entries[row]["captions"]) for row in rows),
            tuple(entries[row]["image"] for row in rows),
        )
    return found


@cache
def _codraw(split: str) -> Captioned:
    pictures, captions, boxes = [], [], []
    for things, messages in codraw.scenes()[split]:
        said = [caption_words(message) for message in messages]
        told = [
            (words, codraw.boxes_of(words, things))
            for words in said
            if codraw.LEAST <= len(words) <= codraw.MOST and not codraw.CORRECTING & set(words)
        ]
        told = [(words, named) for words, named in told if any(named)]
        if told:
            pictures.append(things)
            captions.append(tuple(words for words, _ in told))
            boxes.append(tuple(named for _, named in told))
    return Captioned(tuple(pictures), tuple(captions), (), tuple(boxes))
