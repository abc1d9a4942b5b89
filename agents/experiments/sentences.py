"""Sentences: translation and the names of numbers, by networks that read a text and answer word by word.

| Multi30k, test 2016 | published | BLEU computed with |
|---|---|---|
| German into English | 36.52, a Transformer of 9 million weights | torchtext |
| German into English, a GRU encoder-decoder: without attention, with it | 20.6, 28.3 | lower-cased spaCy |
| English into German | 41.02, a small Transformer, 37.33, a GRU with attention | lower-cased Moses |

plain-de-en and plain-numbers have no attention, luong-… attends after each step and bahdanau-… before it,
hard-… looks at one place alone, and gaze-… is an eye that sees a few pieces. Some rows test ideas
of GNMT (Wu et al. 2016): deepN-… has N layers with residual connections and deepN-plain-… without; ahead-…
reads one way; words-… and mixed-… use other units. The deep rows had about ten minutes each, six epochs
of four layers and three of eight where luong-small-de-en had sixteen: compare each with its plain one alone.
hard-de-en and hard-de-en-reinforce go on from luong-small-de-en for eight epochs, hard-de-en-scratch starts
from nothing, and transformer-de-en has as many weights as luong-small-de-en. The decoder of parse-pointer
also sees the next word that has no leaf in the tree yet, its encoder is taught parts of speech, and three of
four of its sentences have a constituent of another one of its kind.

`python scripts/train.py luong-de-en` trains a row, `python scripts/evaluate.py` scores it.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from agents.experiments.experiment import Experiment
from agents.learn.loop import Loop
from agents.learn.reading import Reading
from agents.learn.sentences import HardLooks, TeacherForcing
from agents.models.reading_agent import ReadingAgentSettings
from agents.models.seq2seq import Seq2SeqSettings
from agents.models.transformer import TransformerSettings

TRANSLATE = "Glimpse/Translate-v0"
NUMBERS = "Glimpse/NumberNames-v0"
PARSE = "Glimpse/Parse-v0"


def translation(model: Seq2SeqSettings, epochs: int) -> Experiment:
    """Captions of Multi30k; an epoch is as many sentences as there are."""
    loop = Loop(
        epochs=epochs,
        images_per_epoch=29_000,
        batch_size=96,
        learning_rate=2e-3,
        warm_up=0.02,
        weight_decay=0.0,
        clip=1.0,
    )
    return Experiment(TRANSLATE, model, TeacherForcing(), loop)


def numbers(model: Seq2SeqSettings, epochs: int) -> Experiment:
    """Names of numbers, drawn without end."""
    loop = Loop(
        epochs=epochs,
        images_per_epoch=15_000,
        batch_size=128,
        learning_rate=3e-3,
        warm_up=0.02,
        weight_decay=0.0,
        clip=1.0,
    )
    return Experiment(NUMBERS, model, TeacherForcing(label_smoothing=0.0), loop)


def parsing(model: Seq2SeqSettings, epochs: int, **learner: Any) -> Experiment:
    """Trees of GUM; an epoch is as many sentences as there are."""
    loop = Loop(
        epochs=epochs,
        images_per_epoch=10_224,
        batch_size=64,
        learning_rate=2e-3,
        warm_up=0.02,
        weight_decay=0.0,
        clip=1.0,
    )
    return Experiment(PARSE, model, TeacherForcing(**learner), loop)


def reading(
    model: ReadingAgentSettings, plain: Experiment, sigma: float, loop: dict[str, Any], held: float = 0.0
) -> Experiment:
    """The same with the reading agent, which sees a window; sigma is that of a gaze to begin with."""
    learner = Reading(sigma_start=sigma, reinforce_weight=0.5, discount=0.8, held=held)
    return plain.but(model=model, learner=learner, loop=loop)


LUONG = Seq2SeqSettings(hidden=512, embedding=512, dropout=0.5)
LUONG_SMALL = Seq2SeqSettings(hidden=192, embedding=192, dropout=0.2)  # whose weights fit into 3 MB
PLAIN: dict[str, Any] = {"attention": "none", "bidirectional": False, "reverse": True}
BAHDANAU = Seq2SeqSettings(hidden=256, embedding=256, dropout=0.3, attention="concat", feeding="context")
TRANSFORMER = TransformerSettings(width=128, layers=2, inner=512)  # as many weights as LUONG_SMALL
PARSER = Seq2SeqSettings(
    hidden=384, embedding=128, layers=2, tied=False, feeding="above", deep_bidirectional=True
)
# A window that goes on from word to word by as much as it has learned, and is led along the diagonal.
MOVING_PARSER = dataclasses.replace(PARSER, dropout=0.3, local=3, moves=True)
POINTING_PARSER = dataclasses.replace(PARSER, dropout=0.5, pointer=2, parts=46)  # of "gum"
HARD = {"model": {"hard": True}, "learner": HardLooks()}
SMALL = Seq2SeqSettings(hidden=128, embedding=64, tied=False, dropout=0.0)
LUONG_SMALL_DE_EN = translation(LUONG_SMALL, 16).but(loop={"learning_rate": 3e-3})
EXPERIMENTS = {
    "luong-de-en": translation(LUONG, 40),
    "luong-small-de-en": LUONG_SMALL_DE_EN,
    "hard-de-en": LUONG_SMALL_DE_EN.but(
        **HARD, loop={"epochs": 8, "learning_rate": 1e-3}, init="luong-small-de-en"
    ),
    "hard-de-en-reinforce": LUONG_SMALL_DE_EN.but(
        model={"hard": True},
        learner=HardLooks(objective="reinforce"),
        loop={"epochs": 8, "learning_rate": 1e-3},
        init="luong-small-de-en",
    ),
    "hard-de-en-scratch": LUONG_SMALL_DE_EN.but(**HARD),
    "luong-en-de": LUONG_SMALL_DE_EN.but(env={"pair": "en-de"}),
    # GNMT's ideas: what is read and said in, and how deep the networks are.
    "words-de-en": LUONG_SMALL_DE_EN.but(env={"units": "words"}),
    "mixed-de-en": LUONG_SMALL_DE_EN.but(env={"units": "mixed", "canvas_size": 128, "horizon": 129}),
    "deep4-de-en": LUONG_SMALL_DE_EN.but(model={"layers": 4, "residual": True}, loop={"epochs": 6}),
    "deep4-plain-de-en": LUONG_SMALL_DE_EN.but(model={"layers": 4}, loop={"epochs": 6}),
    "deep8-de-en": LUONG_SMALL_DE_EN.but(model={"layers": 8, "residual": True}, loop={"epochs": 3}),
    "deep8-plain-de-en": LUONG_SMALL_DE_EN.but(model={"layers": 8}, loop={"epochs": 3}),
    "ahead-de-en": LUONG_SMALL_DE_EN.but(model={"bidirectional": False}),
    "plain-de-en": LUONG_SMALL_DE_EN.but(model=PLAIN),
    "bahdanau-de-en": translation(BAHDANAU, 16).but(loop={"learning_rate": 3e-3}),
    "transformer-de-en": LUONG_SMALL_DE_EN.but(model=TRANSFORMER, loop={"epochs": 24}),
    "parse-luong": parsing(MOVING_PARSER, 24, diagonal_weight=1.0),
    "parse-pointer": parsing(POINTING_PARSER, 60, constrained=True, swapped=0.75),
    "luong-numbers": numbers(SMALL, 20),
    "hard-numbers": numbers(SMALL, 40).but(**HARD),
    "plain-numbers": numbers(SMALL, 60).but(model=PLAIN),
    "gaze-numbers": reading(
        ReadingAgentSettings(hidden=256, embedding=64, tied=False),
        numbers(SMALL, 40),
        0.15,
        {"learning_rate": 2e-3},
    ),
    "gaze-de-en": reading(
        ReadingAgentSettings(hidden=512, embedding=384, dropout=0.2, stride=3, reach=0.125),
        translation(LUONG, 20),
        0.02,
        {},
        held=0.5,
    ),
}
