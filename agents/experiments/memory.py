"""Memory: recurrent cores on the same sequences, and in RAM.

docs/memory.md tells what the literature reports, on its own settings and after far more training.

`python scripts/train.py char-lstm` trains a row, `python scripts/evaluate.py` scores it. Published rows
are in docs/memory.md, by `python scripts/report.py --memory`, a table a task. On characters all cores have
about as many minutes on one processor core, but for char-lstm, which has far more. Stacks are narrower there,
so that they have about as many weights. On pixels and in RAM minutes and weights differ; the table has both.
"""

from __future__ import annotations

from agents.cores import Kind
from agents.experiments.ablations import BASE
from agents.experiments.experiment import Experiment
from agents.learn.language import NextStep
from agents.learn.loop import Loop
from agents.learn.recall import Recall
from agents.learn.stopping import WhenToStop
from agents.models.char_lm import CharLMSettings
from agents.models.ram import RAMSettings
from agents.models.sequence import SequenceSettings
from agents.models.stopper import StopperSettings, Way

# Sequences are drawn anew in every batch; an epoch is what lies between two validations.
DRAWN = Loop(images_per_epoch=6400, batch_size=64, weight_decay=0.0, clip=1.0, average=0.99, bfloat16=False)


def adding(core: Kind, hidden: int, learning_rate: float, length: int, epochs: int) -> Experiment:
    """Sums of two marked numbers."""
    loop = {"learning_rate": learning_rate, "epochs": epochs}
    plain = Experiment("adding", SequenceSettings(core, hidden), Recall(), DRAWN, env={"length": length})
    return plain.but(loop=loop)


def copying(core: Kind, hidden: int, learning_rate: float, length: int, epochs: int) -> Experiment:
    """Ten symbols, said again after `length` blanks."""
    loop = {"learning_rate": learning_rate, "epochs": epochs, "batch_size": 32, "images_per_epoch": 3200}
    plain = Experiment("copying", SequenceSettings(core, hidden), Recall(), DRAWN, env={"length": length})
    return plain.but(loop=loop)


def digits(
    order: str, core: Kind, hidden: int, learning_rate: float, epochs: int, images: int = 55_000
) -> Experiment:
    """MNIST, read row by row or pixel by pixel; `images` make an epoch."""
    loop = Loop(
        epochs=epochs,
        images_per_epoch=images,
        batch_size=128,
        learning_rate=learning_rate,
        clip=1.0,
        average=0.99,
    )
    return Experiment(order, SequenceSettings(core, hidden), Recall(), loop)


def characters(core: Kind, epochs: int, hidden: int = 512, learning_rate: float = 5e-3) -> Experiment:
    """Tiny Shakespeare; an epoch is a pass over the training text."""
    loop = Loop(
        epochs=epochs,
        images_per_epoch=15_000,
        batch_size=64,
        learning_rate=learning_rate,
        warm_up=0.02,
        weight_decay=0.02,
        clip=1.0,
    )
    model = CharLMSettings(core=core, hidden=hidden, weight_dropout=0.2 if core == "lstm" else 0.0)
    return Experiment("characters", model, NextStep(), loop, env={"dataset": "tiny-shakespeare"})


def in_ram(core: Kind, epochs: int) -> Experiment:
    """RAM with four glimpses, trained as the ablations are."""
    model = BASE.model
    assert isinstance(model, RAMSettings)
    return BASE.but(model={"core": core}, loop={"epochs": epochs})


def forced(sequences: str, learner: NextStep, discriminator: int, epochs: int) -> Experiment:
    """A small language model, fed in one of three ways."""
    env = {"dataset": "tiny-shakespeare"} if sequences == "characters" else {}
    loop = Loop(
        epochs=epochs,
        images_per_epoch=15_000,
        batch_size=64,
        learning_rate=3e-3,
        warm_up=0.02,
        weight_decay=0.02,
        clip=1.0,
    )
    model = CharLMSettings(
        hidden=192, embedding=64, input_dropout=0.0, output_dropout=0.0, discriminator=discriminator
    )
    return Experiment(sequences, model, learner, loop, env=env)


def stopping(sequences: str, way: Way) -> Experiment:
    """A digit's columns, or a text's lines, by a model that knows when they end."""
    env = {"dataset": "tiny-shakespeare"} if sequences == "lines" else {}
    loop = Loop(epochs=12, images_per_epoch=30_000, batch_size=64, learning_rate=3e-3, clip=1.0)
    return Experiment(sequences, StopperSettings(way), WhenToStop(), loop, env=env)


# In free-running mode a model goes step by step: as many minutes are fewer epochs.
FORCINGS = {  # the learner, the discriminator's width, epochs of digits and of text
    "teacher": (NextStep(), 0, 60, 14),
    "scheduled": (NextStep("scheduled", sampled=0.25), 0, 12, 6),
    "professor": (NextStep("professor"), 96, 5, 3),
}
TEN_MINUTES: dict[Kind, tuple[int, float, int]] = {  # pixel by pixel: hidden, learning rate, images an epoch
    "lstm": (128, 2e-3, 9000),
    "chrono-lstm": (128, 2e-3, 9000),
    "gru": (128, 2e-3, 5500),
    "irnn": (100, 2e-4, 28_000),
    "scrn": (128, 2e-3, 12_000),
    "urnn": (256, 2e-3, 5000),
    "ln-lstm": (100, 2e-3, 3000),
    "bn-lstm": (100, 2e-3, 2200),
}
TEN_MINUTES_OF_TEXT: dict[Kind, tuple[int, float, int]] = {  # hidden, learning rate, passes over the text
    "gru": (512, 3e-3, 5),
    "ln-lstm": (512, 5e-3, 3),
    "bn-lstm": (512, 5e-3, 3),
    "scrn": (512, 5e-3, 14),
    # An IRNN and an orthogonal core learn nothing: carried over a text, their state grows without bound
    # (results/LOG.md).
    "elman": (512, 2e-3, 14),
    "jordan": (512, 2e-3, 8),
    "deep-transition": (512, 2e-3, 6),
    "deep-output": (512, 2e-3, 4),
    "stacked": (256, 5e-3, 4),
    "residual": (256, 5e-3, 4),
}
WAYS: tuple[Way, ...] = ("symbol", "coin", "countdown")
CORES: dict[Kind, int] = {  # in RAM: epochs
    "relu": 10, "elman": 10, "identity-context": 10, "jordan": 10, "irnn": 10, "scrn": 9, "urnn": 8,
    "orthogonal": 7, "gru": 9, "lstm": 9, "ln-lstm": 8, "bn-lstm": 7, "deep-transition": 9, "stacked": 6,
    "residual": 6,
}  # fmt: skip
EXPERIMENTS = {
    "char-lstm": characters("lstm", 24),
    "char-lstm-short": characters("lstm", 4),
    **{
        f"char-{core}": characters(core, epochs, hidden, rate)
        for core, (hidden, rate, epochs) in TEN_MINUTES_OF_TEXT.items()
    },
    **{f"adding-{length}-lstm": adding("lstm", 64, 1e-2, length, 10) for length in (100, 200)},
    **{
        f"adding-{n}-chrono-lstm": adding("chrono-lstm", 64, 1e-2, n, e)
        for n, e in ((200, 10), (400, 10), (750, 10))
    },
    **{f"adding-{n}-irnn": adding("irnn", 100, 3e-4, n, e) for n, e in ((100, 30), (200, 40))},
    # At the rate of the shorter ones, or from wider input weights than the paper's, the loss becomes NaN.
    "adding-400-irnn": adding("irnn", 100, 1e-4, 400, 100).but(model={"irnn_std": 0.001}),
    **{
        f"adding-{n}-orthogonal": adding("orthogonal", 128, 1e-2, n, e)
        for n, e in ((100, 30), (200, 30), (400, 30))
    },
    "adding-100-scrn": adding("scrn", 128, 1e-2, 100, 30),
    "adding-100-holding-scrn": adding("holding-scrn", 128, 3e-3, 100, 60),
    "adding-100-elman": adding("elman", 100, 1e-3, 100, 20),
    "adding-100-elman-omega": adding("elman", 100, 1e-3, 100, 20).but(learner={"omega_weight": 1.0}),
    "adding-100-urnn": adding("urnn", 256, 1e-2, 100, 30),
    **{f"copying-{n}-urnn": copying("urnn", 128, 3e-3, n, 10) for n in (100, 200, 500)},
    **{f"copying-{n}-orthogonal": copying("orthogonal", 128, 3e-3, n, 10) for n in (100, 200, 500)},
    **{f"copying-{n}-lstm": copying("lstm", 128, 3e-3, n, 10) for n in (100, 200)},
    **{f"sketch-{name}": forced("sketch", how, width, e) for name, (how, width, e, _) in FORCINGS.items()},
    **{f"text-{name}": forced("characters", how, width, e) for name, (how, width, _, e) in FORCINGS.items()},
    **{f"ram-cluttered-{core}": in_ram(core, epochs) for core, epochs in CORES.items()},
    **{f"stop-{what}-{way}": stopping(what, way) for what in ("columns", "lines") for way in WAYS},
    "rows-lstm": digits("rows", "lstm", 192, 4e-3, 30),
    **{
        f"{order}-{core}": digits(order, core, hidden, rate, 10, images)
        for order in ("pixels", "permuted")
        for core, (hidden, rate, images) in TEN_MINUTES.items()
    },
    "pixels-chrono-lstm-long": digits("pixels", "chrono-lstm", 128, 2e-3, 8),
    "pixels-chrono-lstm-longer": digits("pixels", "chrono-lstm", 128, 2e-3, 9).but(
        loop={"warm_up": 0.02}, init="pixels-chrono-lstm-long"
    ),
    "pixels-orthogonal": digits("pixels", "orthogonal", 192, 2e-3, 12),
    "permuted-orthogonal": digits("permuted", "orthogonal", 192, 2e-3, 12),
}
