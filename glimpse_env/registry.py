"""Where ids are born: one frozen config an id, registered in Gymnasium.

Every field but `about` is a keyword of `gymnasium.make` and `make_vec`. Sizes and horizons of
the MNIST ids with one digit are those of Mnih et al. (2014), "Recurrent Models of Visual Attention".
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

import gymnasium

SINGLE = "glimpse_env.single:GlimpseEnv"
VECTOR = "glimpse_env.vector:GlimpseVectorEnv"


@dataclass(frozen=True)
class EnvConfig:
    """What an id fixes.

    about: what is seen, in a sentence. canvas_size, retina_size: the side of the canvas and of the retina's
    finest patch, in pixels, or words of a text. distractors: how many crops of other digits lie around.
    scales: how many patches the retina has, each twice as wide as the one before. horizon: how many glimpses
    an episode has. dataset, scene, digits, task, start_gaze, pair: see `vector.GlimpseVectorEnv`.
    """

    about: str
    canvas_size: int
    distractors: int
    retina_size: int
    scales: int
    horizon: int
    dataset: str = "mnist"
    scene: str = "digits"
    digits: int = 1
    task: str = "classify"
    start_gaze: str = "center"
    pair: str = ""


TABLE = {
    "Glimpse/MNIST-v0": EnvConfig("A handwritten digit, seen through a small window.", 28, 0, 8, 1, 7),
    "Glimpse/TranslatedMNIST-v0": EnvConfig("A digit somewhere on a larger canvas.", 60, 0, 12, 3, 8),
    "Glimpse/ClutteredMNIST-v0": EnvConfig("A digit somewhere among four crops of others.", 60, 4, 12, 3, 8),
    "Glimpse/ClutteredMNIST100-v0": EnvConfig(
        "A digit somewhere among eight crops of others on a large canvas.", 100, 8, 12, 4, 8
    ),
    "Glimpse/FashionMNIST-v0": EnvConfig(
        "A piece of clothing, seen through a small window.", 28, 0, 8, 1, 7, "fashion-mnist"
    ),
    "Glimpse/CIFAR10-v0": EnvConfig(
        "A small colour photograph of one of ten things.", 32, 0, 8, 2, 8, "cifar10"
    ),
    "Glimpse/DigitPair-v0": EnvConfig(
        "Two digits among clutter, read from left to right.", 100, 8, 12, 4, 8, digits=2, task="read"
    ),
    "Glimpse/DigitSum-v0": EnvConfig(
        "Two digits among clutter, to be added.", 100, 8, 12, 4, 8, digits=2, task="sum"
    ),
    "Glimpse/Lookup-v0": EnvConfig(
        "A row of ten numbers, the first of which says where the answer stands.",
        10, 0, 1, 1, 2, scene="lookup", start_gaze="begin",
    ),
    # An answer a glimpse, and END.
    "Glimpse/NumberNames-v0": EnvConfig(
        "The English name of a number, to be said in German, which swaps tens and units.",
        18, 0, 3, 1, 19, scene="numbers", task="read", start_gaze="begin",
    ),
    "Glimpse/Translate-v0": EnvConfig(
        "A sentence in German, to be said in English, a word piece at a time.",
        64, 0, 5, 1, 65, "multi30k", scene="sentences", task="read", start_gaze="begin", pair="de-en",
    ),
    "Glimpse/Parse-v0": EnvConfig(
        "A sentence, to be said as its parse tree, brackets and words in turn.",
        136, 0, 5, 1, 409, "gum", scene="trees", task="read", start_gaze="begin",
    ),
    "Glimpse/Cloze-v0": EnvConfig(
        "A document of twenty sentences and a question about it: which entity is meant?",
        896, 0, 15, 1, 24, "gum", scene="documents", start_gaze="begin",
    ),
    # A word every other glimpse, and END.
    "Glimpse/Caption-v0": EnvConfig(
        "A picture, to be described in a sentence, a word at a time.",
        100, 0, 12, 4, 24, "digits", scene="captions", task="read",
    ),
    # Up to five digits and END, three glimpses each, as in Ba et al. (2015).
    "Glimpse/HouseNumbers-v0": EnvConfig(
        "A house number of one to five digits in the layout of a real one (SVHN), read digit by digit.",
        54, 0, 12, 2, 18, scene="houses", task="read",
    ),
}  # fmt: skip


SCENES_WITHOUT_DATA = ("lookup", "numbers")
KEYWORDS_WITHOUT_DATA = {  # with which a scene that asks for data needs none
    "sentences": {"dataset": "number-names", "pair": "de-en"},
    "trees": {"dataset": "grammar"},
    "documents": {"dataset": "stories"},
    "captions": {"dataset": "digits"},
}
DEFAULTS = {field.name: field.default for field in fields(EnvConfig)}


def keywords_of(config: EnvConfig) -> dict[str, Any]:
    """The keywords that an id gives to its environment: those that are not everyone's."""
    given = asdict(config)
    del given["about"]
    return {key: value for key, value in given.items() if value != DEFAULTS[key]}


def with_dataset(env_id: str, dataset: str) -> dict[str, Any]:
    """The keywords that give an id that data set of digits; of texts and captions those that need none."""
    scene = TABLE[env_id].scene
    if scene in SCENES_WITHOUT_DATA:
        return {}
    return KEYWORDS_WITHOUT_DATA.get(scene, {"dataset": dataset})


def register_envs() -> None:
    """Register every id of TABLE, once."""
    for env_id, config in TABLE.items():
        if env_id not in gymnasium.registry:
            gymnasium.register(
                env_id,
                entry_point=SINGLE,
                vector_entry_point=VECTOR,
                kwargs=keywords_of(config),
            )
