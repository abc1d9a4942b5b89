"""Hermann et al. (2015): teaching machines to read and comprehend, and the readers that came after.

An agent reads a document and names the entity that is left out of a question about it. Figures are the
percentage of right answers on the test.

| reader | CNN | Daily Mail |
|---|---:|---:|
| the most frequent entity | 33.2 | 25.5 |
| deep LSTM, Hermann et al. (2015) | 57.0 | 62.2 |
| Attentive, Hermann et al. (2015) | 63.0 | 69.0 |
| Impatient, Hermann et al. (2015) | 63.8 | 68.0 |
| attention sum, Kadlec et al. (2016) | 69.5 | 73.9 |
| bilinear, Chen, Bolton, Manning (2016) | 73.6 | 76.6 |

CNN and Daily Mail have 380,000 and 880,000 questions to learn from. Here cloze-… learn from GUM's 1,498,
with some twelve entities each: the most frequent entity is right in 36.9 % of its test, and the most
frequent one that the question does not name in 41.9 %, ties going to the one met last. stories-… learn
from 5,000 small stories that are made here, and stories-…-N from the first N of those, in as many steps.
Entities are numbered anew in every training scene. Rows named …-counts also judge an entity by how often,
how early and how late it is mentioned and whether the question names it. gaze-stories is an eye: it sees
the question and fifteen words at a time, six times.

`python scripts/train.py cloze-attention-sum` trains a row, `python scripts/evaluate.py` scores it.
"""

from __future__ import annotations

from agents.experiments.experiment import Experiment
from agents.learn.differentiable import Comprehension
from agents.learn.loop import Loop
from agents.learn.reinforce import Reinforce
from agents.models.reader import READINGS, ReaderSettings, ReadingKind
from agents.models.reading_agent import ReadingAgentSettings

CLOZE = "Glimpse/Cloze-v0"


def cloze(reading: ReadingKind, *, counts: bool = False) -> Experiment:
    """A reader of GUM's documents; an epoch is as many questions as there are."""
    loop = Loop(
        epochs=12,
        images_per_epoch=1498,
        batch_size=32,
        learning_rate=2e-3,
        warm_up=0.05,
        weight_decay=1e-2,
        clip=1.0,
    )
    return Experiment(
        CLOZE, ReaderSettings(reading, hidden=64, counts=counts, dropout=0.5), Comprehension(), loop
    )


def stories(reading: ReadingKind, dataset: str = "stories") -> Experiment:
    """A reader of the stories that are made here."""
    loop = Loop(
        epochs=40,
        images_per_epoch=10_000,
        batch_size=64,
        learning_rate=2e-3,
        warm_up=0.05,
        weight_decay=0.0,
        clip=1.0,
    )
    env = {"dataset": dataset, "canvas_size": 64}
    return Experiment(CLOZE, ReaderSettings(reading, dropout=0.1), Comprehension(), loop, env=env)


LEARNING_CURVES: tuple[ReadingKind, ...] = ("attentive", "attention_sum")
# The eye sees fifteen words at a time, and the question.
GAZE_STORIES = Experiment(
    CLOZE,
    ReadingAgentSettings(hidden=192, embedding=64, tied=False, stride=12, reach=0.6),
    Reinforce(objective="variational", sigma_start=0.15, reinforce_weight=0.5),
    Loop(epochs=4, images_per_epoch=10_000, batch_size=64, learning_rate=2e-3, weight_decay=0.0, clip=1.0),
    env={"dataset": "stories", "canvas_size": 64, "horizon": 6},
)
EXPERIMENTS = {
    "gaze-stories": GAZE_STORIES,
    **{f"cloze-{reading.replace('_', '-')}": cloze(reading) for reading in READINGS},
    **{f"cloze-{reading.replace('_', '-')}-counts": cloze(reading, counts=True) for reading in READINGS},
    **{f"stories-{reading.replace('_', '-')}": stories(reading) for reading in READINGS},
    **{
        f"stories-{reading.replace('_', '-')}-{n}": stories(reading, f"stories:{n}")
        for reading in LEARNING_CURVES
        for n in (150, 500, 1500)
    },
}
