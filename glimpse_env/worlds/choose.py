"""The world of a scene's name, and which keywords mean nothing in it."""

from __future__ import annotations

from typing import Any

from glimpse_env import checks
from glimpse_env.worlds.arrangements import ARRANGED, ArrangementWorld
from glimpse_env.worlds.captions import CaptionWorld
from glimpse_env.worlds.cloze import ClozeWorld
from glimpse_env.worlds.digits import DigitWorld
from glimpse_env.worlds.houses import HouseWorld
from glimpse_env.worlds.lookup import LookupWorld
from glimpse_env.worlds.numbers import NumberWorld
from glimpse_env.worlds.sentences import SentenceWorld
from glimpse_env.worlds.trees import TreeWorld

TEXTS = ("lookup", "numbers", "sentences", "trees", "documents")
SCENES = ("digits", "houses", "captions", *TEXTS)
OF_DIGITS = {  # what means something in scene "digits" alone, and its default
    "digits": 1, "distractors": 0, "distractor_size": 8, "jitter": 0, "distortion": 0, "distortion_share": 1,
}  # fmt: skip
Captioned = ArrangementWorld | CaptionWorld
Scored = NumberWorld | SentenceWorld | TreeWorld | Captioned
World = DigitWorld | HouseWorld | LookupWorld | ClozeWorld | Scored


def make_world(
    scene: str,
    split: str,
    *,
    dataset: str,
    pair: str,
    units: str,
    canvas_size: int,
    scales: int,
    backward: bool,
    **of_digits: Any,
) -> World:
    """The world that `scene` names, of a split; the keywords are those of `GlimpseVectorEnv`.

    of_digits: those that OF_DIGITS names. Raises ValueError for an unknown scene and for a keyword that means
    nothing in it, and what the world raises for its own.
    """
    if checks.choice("scene", scene, SCENES) in TEXTS:
        _left_out({**of_digits, "scales": scales}, f"scene {scene!r} is a text")
    if scene != "sentences" and pair:
        raise ValueError(f"scene {scene!r} has no pairs of sentences: leave out pair, got {pair!r}")
    if scene != "sentences" and units != "pieces":
        raise ValueError(f"scene {scene!r} has units of its own: leave out units, got {units!r}")
    if scene in ("lookup", "numbers") and dataset != "mnist":
        raise ValueError(f"scene {scene!r} needs no data: leave out dataset, got {dataset!r}")
    if scene == "lookup":
        return LookupWorld(canvas_size)
    if scene == "numbers":
        return NumberWorld(split, canvas_size)
    if scene == "sentences":
        return SentenceWorld(dataset, pair, split, canvas_size, units)
    if scene == "trees":
        return TreeWorld(dataset, split, canvas_size)
    if scene == "documents":
        return ClozeWorld(dataset, split, canvas_size)
    if scene == "captions":
        arranged = dataset in ARRANGED
        here = {k: v for k, v in of_digits.items() if not (arranged and k.startswith("distortion"))}
        _left_out(here, "scene 'captions' has pictures of its own")
        if backward:
            raise ValueError("a caption is said from its first word on: leave out backward")
        return (ArrangementWorld if arranged else CaptionWorld)(dataset, split, canvas_size)
    if scene == "houses":
        _left_out(of_digits, "scene 'houses' has digits of its own")
        return HouseWorld(dataset, split, canvas_size)
    sizes = (of_digits[key] for key in ("digits", "distractors", "distractor_size"))
    return DigitWorld(dataset, split, canvas_size, *sizes)


def _left_out(given: dict[str, Any], why: str) -> None:
    """Raise ValueError for a keyword that is not at its default."""
    for name, value in given.items():
        checks.left_out(name, value, OF_DIGITS.get(name, 1), why)
