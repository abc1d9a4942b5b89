"""CoDraw: scenes of clip art, and what people said of them to those who drew them (Kim et al. 2017).

A caption is one message, of three to twenty words, that names something in the scene and corrects nothing.
Where everything lies is known, so that a word which names one thing of the scene, and no other, has its box.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glimpse_env.data import files
from glimpse_env.data.files import DatasetError

FOLDER, SCENES = "codraw", "codraw.jsonl.gz"
WIDTH, HEIGHT = 500, 400  # of a scene, in its own pixels
SHRUNK = (1.0, 0.7, 0.49)  # how large things are at each depth
LEAST, MOST = 3, 20  # words of a caption
PARTS = {"train": "train", "validation": "val", "test": "test"}
# Words of those who correct what was drawn, or speak of the drawing.
CORRECTING = {
    "move", "bigger", "smaller", "should", "needs", "need", "make", "check", "peek", "closer", "flip",
    "instead", "done", "submit", "sorry",
}  # fmt: skip
NAMES = {  # which pictures a word may name
    "bear": "a_0", "cat": "a_1", "dog": "a_2", "duck": "a_3", "owl": "a_4", "snake": "a_5", "cap": "c_0",
    "crown": "c_1", "chef": "c_2", "pirate": "c_3", "beanie": "c_4", "rainbow": "c_5", "wizard": "c_6",
    "witch": "c_6", "viking": "c_7", "horns": "c_7", "hat": "c_0 c_1 c_2 c_3 c_4 c_5 c_6 c_7",
    "glasses": "c_8 c_9", "sunglasses": "c_8 c_9", "pie": "e_0", "pizza": "e_1", "hotdog": "e_2",
    "ketchup": "e_3", "mustard": "e_4", "burger": "e_5", "hamburger": "e_5", "soda": "e_6", "drink": "e_6",
    "cup": "e_6", "bee": "p_0", "slide": "p_1", "sandbox": "p_2", "grill": "p_3", "bbq": "p_3",
    "swing": "p_4", "swings": "p_4", "swingset": "p_4", "tent": "p_5", "table": "p_6", "pine": "p_7",
    "bushy": "p_8", "oak": "p_8", "apple": "p_9", "tree": "p_7 p_8 p_9", "helicopter": "s_0",
    "balloon": "s_1 t_9", "balloons": "t_9", "cloud": "s_2 s_4 s_5", "sun": "s_3", "lightning": "s_4",
    "thunder": "s_4", "rain": "s_5", "rocket": "s_6", "plane": "s_7", "airplane": "s_7", "jet": "s_7",
    "baseball": "t_0", "glove": "t_10", "mitt": "t_10", "shovel": "t_11", "racket": "t_12", "kite": "t_13",
    "fire": "t_14", "campfire": "t_14", "bucket": "t_1", "pail": "t_1", "beach": "t_2", "basketball": "t_3",
    "soccer": "t_4", "tennis": "t_5", "football": "t_6", "frisbee": "t_7", "bat": "t_8",
    "ball": "t_0 t_2 t_3 t_4 t_5 t_6", "boy": "hb0", "mike": "hb0", "girl": "hb1", "jenny": "hb1",
}  # fmt: skip

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Thing:
    """One picture of a scene: its name, its middle in the scene's pixels, its depth, whether it is turned."""

    name: str
    x: float
    y: float
    depth: int
    turned: bool


def things_of(objects: Iterable[list[Any]]) -> tuple[Thing, ...]:
    """The things of a scene as CoDraw's file has them, those that are farthest first."""
    found = [Thing(png[:-5], x, y, depth, bool(flip)) for png, _, _, x, y, depth, flip in objects]
    return tuple(sorted(found, key=lambda thing: -thing.depth))


def boxes_of(words: Iterable[str], things: Iterable[Thing]) -> tuple[Box | None, ...]:
    """Of each word the box of the one thing that it names: x, y, width, height as shares of the scene."""
    things = tuple(things)
    boxes: list[Box | None] = []
    before = ""
    for word in words:
        kinds = NAMES.get(word, "").split() if not (word == "dog" and before == "hot") else ["e_2"]
        named = [thing for thing in things if any(_is(thing, kind) for kind in kinds)]
        boxes.append(_box(named[0]) if len(named) == 1 else None)
        before = word
    return tuple(boxes)


def _is(thing: Thing, kind: str) -> bool:
    """Whether a thing is of a kind, as "a_0", or "hb0", a boy in any pose."""
    return thing.name == kind or (kind.startswith("hb") and thing.name.startswith(f"{kind}_"))


def _box(thing: Thing) -> Box | None:
    width, height = (SHRUNK[thing.depth] * side for side in _picture(thing.name).shape[1::-1])
    left, top = max(thing.x - width / 2, 0), max(thing.y - height / 2, 0)
    right, bottom = min(thing.x + width / 2, WIDTH), min(thing.y + height / 2, HEIGHT)
    if right - left < 1 or bottom - top < 1:
        return None
    return left / WIDTH, top / HEIGHT, (right - left) / WIDTH, (bottom - top) / HEIGHT


def paint(things: Iterable[Thing], size: int) -> NDArray[np.uint8]:
    """A scene, squashed to a square: uint8 (3, size, size)."""
    from PIL import Image

    scene = Image.fromarray(_picture("background")).convert("RGB").resize((WIDTH, HEIGHT))
    for thing in things:
        art = Image.fromarray(_picture(thing.name))
        if thing.turned:
            art = art.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        scale = SHRUNK[thing.depth]
        art = art.resize((max(round(art.width * scale), 1), max(round(art.height * scale), 1)))
        scene.paste(art, (round(thing.x - art.width / 2), round(thing.y - art.height / 2)), art)
    squashed = scene.resize((size, size), Image.Resampling.BICUBIC)
    return np.ascontiguousarray(np.asarray(squashed).transpose(2, 0, 1))


@cache
def _picture(name: str) -> NDArray[np.uint8]:
    """A piece of clip art, uint8 (h, w, 4)."""
    from PIL import Image

    file = f"Pngs/{name}.png" if name == "background" else f"Pngs/{name}s.png"
    path = find(file)
    with files.reading(path, "copy it anew"), Image.open(path) as opened:
        return np.asarray(opened.convert("RGBA"))


def find(name: str) -> Path:
    """Where a file of CoDraw is; DatasetError where it is missing."""
    path = files.find(FOLDER, name)
    if path is None:
        raise DatasetError(
            f"there is no {FOLDER}/{name} in GLIMPSE_DATA or {files.cache_folder()}: put it there, or use "
            "dataset='digits', which needs no data."
        )
    return path


@cache
def scenes() -> dict[str, list[tuple[tuple[Thing, ...], list[str]]]]:
    """The things of every scene of a split, and the messages about them."""
    path = find(SCENES)
    found: dict[str, list[tuple[tuple[Thing, ...], list[str]]]] = {split: [] for split in PARTS}
    with files.reading(path, "copy it anew"):
        for line in gzip.decompress(path.read_bytes()).decode("utf-8").splitlines():
            scene = json.loads(line)
            split = next(split for split, part in PARTS.items() if part == scene["split"])
            found[split].append((things_of(scene["objects"]), [message for message, _ in scene["dialog"]]))
    return found
