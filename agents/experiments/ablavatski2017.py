"""Ablavatski, Lu, Cai (2017), "Enriched Deep Recurrent Visual Attention Model" (EDRAM).

The paper reports 0.6 % error on 100x100 cluttered MNIST. Its code draws five distractors, not eight, and
makes test canvases from training digits, so that no row of ours is that task; edram-slim-5 has five
distractors, on test digits.

`python scripts/train.py edram-slim` trains a row, `python scripts/evaluate.py` scores it; published rows
are printed by `python scripts/report.py --group ablavatski2017`. `edram` has the paper's network and loss,
for six of its 200 epochs; `edram-slim` is a small relative with an eighth of the weights, whose epoch takes
a ninth of the time; edram-slim-labels is trained without the places of the digits. In training
the slim ones also see some undistorted digits, as those of the test all are.
"""

from __future__ import annotations

from agents.experiments.experiment import Experiment
from agents.learn.differentiable import Windows
from agents.learn.loop import Loop
from agents.models.edram import EDRAMSettings, SlimEDRAMSettings

EDRAM_SLIM = Experiment(
    env_id="Glimpse/ClutteredMNIST100-v0",
    env={"distortion": 0.2, "distortion_share": 0.8, "horizon": 2},
    model=SlimEDRAMSettings(hidden=192),
    learner=Windows(every_glimpse=True, theta_weight=1.0),
    loop=Loop(epochs=45, batch_size=128, learning_rate=2e-3, warm_up=0.1, weight_decay=1e-2),
)

EXPERIMENTS = {
    "edram-slim": EDRAM_SLIM,
    "edram-slim-labels": EDRAM_SLIM.but(
        env={**EDRAM_SLIM.env, "distortion_share": 0.5},
        learner=Windows(every_glimpse=True),
        loop={"epochs": 30},
    ),
    "edram-slim-5": EDRAM_SLIM.but(
        env={**EDRAM_SLIM.env, "distractors": 5},
        loop={"epochs": 20},
    ),
    # So few epochs want more than the paper's learning rate of 1e-4.
    "edram": EDRAM_SLIM.but(
        env={"horizon": 6},
        model=EDRAMSettings(window_clip=1.0),
        loop={"epochs": 6, "learning_rate": 5e-4, "weight_decay": 0.0, "clip": 10.0},
    ),
    # On numbers of up to five digits and END: two windows for each.
    "edram-house": EDRAM_SLIM.but(
        env_id="Glimpse/HouseNumbers-v0",
        env={"glimpses_per_answer": 2},
        loop={"epochs": 10},
    ),
}
