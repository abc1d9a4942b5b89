"""Memory: every recurrent core on the same sequences (docs/memory.md)."""

from __future__ import annotations

from agents.cores import Kind
from agents.experiments.experiment import Experiment
from agents.learn.language import NextCharacter
from agents.learn.loop import Loop
from agents.learn.recall import Recall
from agents.models.char_lm import CharLMSettings
from agents.models.sequence import SequenceSettings


def recall(sequences: str, core: Kind, hidden: int, loop: Loop, **keywords: object) -> Experiment:
    return Experiment(sequences, SequenceSettings(core, hidden), Recall(), loop, env=keywords)


QUICK = Loop(epochs=20, images_per_epoch=6400, batch_size=64, learning_rate=3e-3, clip=1.0, weight_decay=0.0)
EXPERIMENTS = {
    "adding-100-lstm": recall("adding", "lstm", 64, QUICK, length=100),
    "rows-lstm": recall("rows", "lstm", 128, Loop(epochs=10, batch_size=128, learning_rate=4e-3, clip=1.0)),
    "copying-100-urnn": recall("copying", "urnn", 128, QUICK, length=100),
    "char-lstm": Experiment(
        "characters",
        CharLMSettings(),
        NextCharacter(),
        Loop(
            epochs=20,
            images_per_epoch=15000,
            batch_size=64,
            learning_rate=5e-3,
            warm_up=0.02,
            clip=1.0,
            weight_decay=0.02,
        ),
        env={"dataset": "tiny-shakespeare"},
    ),
}
