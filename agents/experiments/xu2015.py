"""Vinyals et al. (2015) and Xu et al. (2015): captions, by one look at the whole or one look per word.

| Flickr8k, test | BLEU-1 | BLEU-2 | BLEU-3 | BLEU-4 | METEOR |
|---|---:|---:|---:|---:|---:|
| Show and Tell | 63 | 41 | 27 | – | – |
| Show, Attend and Tell, soft | 67 | 44.8 | 29.9 | 19.5 | 18.93 |
| Show, Attend and Tell, hard | 67 | 45.7 | 31.4 | 21.3 | 20.30 |

The papers' pictures are seen by far larger networks that were trained on ImageNet; here the rows …-flickr8k
have one of 4.6 million weights (EfficientNet-Lite0, agents/parts/eye.py, with the extra `captions`), which is
not trained further. Those named …-digits say how
digits are arranged, …-house read a house number and …-read two digits, each with a small CNN that is trained
with the rest; of these it is known where a word should look. gaze-digits sees glimpses alone, through a
retina, and looks twice before each word.

`python scripts/train.py soft-flickr8k` trains a row, `python scripts/evaluate.py` scores it. `python
scripts/play.py soft-small-flickr8k --image photo.jpg` describes a photograph of your own. Rows named
…-critical go on learning, by REINFORCE, from what their whole captions are worth (Rennie et al. 2017).
"""

from __future__ import annotations

from typing import Any

from agents.experiments.experiment import Experiment
from agents.learn.captioning import Captioning, HardCaptioning, SelfCritical
from agents.learn.loop import Loop
from agents.learn.reading import Reading
from agents.models.captioner import CaptionerSettings
from agents.models.gaze_captioner import GazeCaptionerSettings

SHOW_AND_TELL: dict[str, Any] = {"model": {"attention": "none", "feeding": "none"}}


def photographs(model: CaptionerSettings, **learner: Any) -> Experiment:
    """Flickr8k; an epoch is as many captions as there are."""
    loop = Loop(
        epochs=12,
        images_per_epoch=30_000,
        batch_size=96,
        learning_rate=2e-3,
        warm_up=0.02,
        weight_decay=1e-2,
        clip=1.0,
    )
    env = {"dataset": "flickr8k", "canvas_size": 224, "retina_size": 32, "glimpses_per_answer": 1}
    return Experiment("Glimpse/Caption-v0", model, Captioning(**learner), loop, env)


def small(env_id: str, model: CaptionerSettings, epochs: int, **env: Any) -> Experiment:
    """Digits, drawn without end, with a CNN of one's own."""
    loop = Loop(
        epochs=epochs,
        images_per_epoch=30_000,
        batch_size=96,
        learning_rate=2e-3,
        warm_up=0.02,
        weight_decay=1e-4,
        clip=1.0,
    )
    learner = Captioning(label_smoothing=0.0, beams=1)
    return Experiment(env_id, model, learner, loop, {"glimpses_per_answer": 1, **env})


PHOTOGRAPHS = CaptionerSettings(
    hidden=384, embedding=256, attention="general", feeding="context", dropout=0.5, eye="pretrained",
    pictures_dropout=0.3,
)  # fmt: skip
DIGITS = CaptionerSettings(hidden=128, embedding=64, attention="general", feeding="context", dropout=0.1)
HARD = HardCaptioning(discount=0.5, beams=1)
SOFT_FLICKR8K = photographs(PHOTOGRAPHS, even_weight=1.0)
SOFT_SMALL_FLICKR8K = SOFT_FLICKR8K.but(model={"hidden": 224, "embedding": 128})  # which fits into 3 MB
# It looks at what it names: each word looks after the last one was heard, at places that see little more than
# a thing, and word detectors teach these from the first batch on.
SOFT_CODRAW = small("Glimpse/Caption-v0", DIGITS, 30, dataset="codraw", canvas_size=112).but(
    model={"feeding": "none", "receptive_field": 21, "embedding": 128, "dropout": 0.3},
    learner=Captioning(captions=4, chosen_by="cider", even_weight=1.0, presence_weight=0.05),
    loop={"images_per_epoch": 10_000, "batch_size": 48},
)
SOFT_HOUSE = small("Glimpse/HouseNumbers-v0", DIGITS, 20)
SCENES = small("Glimpse/Caption-v0", DIGITS, 36, dataset="mnist", distortion=0.2)
READ = small("Glimpse/DigitPair-v0", DIGITS, 20, distortion=0.2)
# A word looks once the last one is heard, is taught by its look alone, too, and a layer above sees the look.
LOOKING: dict[str, Any] = {
    "model": {"feeding": "above", "layers": 2, "receptive_field": 29},
    "learner": Captioning(label_smoothing=0.0, beams=1, presence_weight=1.0, look_weight=1.0),
}
SOFT_DIGITS = SCENES.but(**LOOKING).but(model={"filters": 24, "pictures_dropout": 0.1})
SOFT_READ = READ.but(**LOOKING)
EXPERIMENTS = {
    "soft-flickr8k": SOFT_FLICKR8K,
    "hard-flickr8k": SOFT_FLICKR8K.but(
        model={"hard": True},
        learner=HardCaptioning(discount=0.5, label_smoothing=0.1, samples=2),
        loop={"epochs": 4, "learning_rate": 5e-4},
        init="soft-flickr8k",
    ),
    "soft-small-flickr8k": SOFT_SMALL_FLICKR8K,
    "soft-small-flickr8k-critical": SOFT_SMALL_FLICKR8K.but(
        learner=SelfCritical(),
        loop={"epochs": 4, "images_per_epoch": 6_000, "batch_size": 32, "learning_rate": 1e-4},
        init="soft-small-flickr8k",
    ),
    "show-tell-flickr8k": photographs(PHOTOGRAPHS).but(**SHOW_AND_TELL),
    "soft-codraw": SOFT_CODRAW,
    "soft-digits": SOFT_DIGITS,
    "hard-digits": SOFT_DIGITS.but(
        model={"hard": True}, learner=HARD, loop={"epochs": 6, "learning_rate": 5e-4}, init="soft-digits"
    ),
    "show-tell-digits": SCENES.but(**SHOW_AND_TELL),
    "gaze-digits": SCENES.but(
        env={"dataset": "mnist", "distortion": 0.2, "retina_size": 20, "scales": 3},
        model=GazeCaptionerSettings(),
        learner=Reading(sigma_start=0.2, reinforce_weight=0.5, discount=0.8),
        loop={"epochs": 40, "learning_rate": 1e-3},
    ),
    "soft-house": SOFT_HOUSE,
    "hard-house": SOFT_HOUSE.but(
        model={"hard": True}, learner=HARD, loop={"epochs": 6, "learning_rate": 5e-4}, init="soft-house"
    ),
    "show-tell-house": SOFT_HOUSE.but(**SHOW_AND_TELL),
    "soft-read": SOFT_READ,
    "hard-read": SOFT_READ.but(
        model={"hard": True}, learner=HARD, loop={"epochs": 6, "learning_rate": 5e-4}, init="soft-read"
    ),
    "show-tell-read": READ.but(**SHOW_AND_TELL),
}
