"""Ba, Mnih, Kavukcuoglu (2015), "Multiple Object Recognition with Visual Attention": two digits on 100x100.

Test error in percent, as the paper has it:

| task | RAM | DRAM without context | DRAM | convnet |
|---|---|---|---|---|
| one of 55 pairs, four glimpses | 9 | 7 | 5 | - |
| the sum of two digits | - | - | 2.5 | 3.2 |

`python scripts/train.py dram-pairs` trains a row and `python scripts/evaluate.py` scores it; published rows
stand beside the paper's in `python scripts/report.py --group ba2015`. DRAM learns to find and name one
digit first (dram-cluttered100-g3), then two from the centre (dram-pairs-center), then with a blind first
glimpse, so that its small view of the whole canvas says where the first look goes, as in the paper. Expect
DRAM to err less than the paper's on pairs and more on the sum. RAM, and DRAM without a context, often miss
the second digit: their errors are four and five times the paper's. On 100x100 DRAM's retina has two
scales, as the paper's, of 20x20 pixels, and its glimpse network adds what to where, which learns faster
than the paper's product (results/LOG.md). On house numbers it multiplies them.

House numbers (dram-house, and dram-house-backward, which reads from the last digit to the first) have SVHN's
real layouts but MNIST's digits: the paper's figures on SVHN's photographs are no yardstick for them.
dram-house-both averages the two: `python scripts/evaluate.py dram-house --with dram-house-backward`.
"""

from __future__ import annotations

from agents.experiments.experiment import Experiment
from agents.experiments.mnih2014 import RAM_CLUTTERED100
from agents.learn.envs import EnvKeywords
from agents.learn.loop import Loop
from agents.learn.reinforce import Reinforce
from agents.models.dram import DRAMSettings

TWO_SCALES: EnvKeywords = {"context": 25, "retina_size": 20, "scales": 2}
DRAM_ONE = Experiment(
    env_id="Glimpse/ClutteredMNIST100-v0",
    env={**TWO_SCALES, "horizon": 3},
    model=DRAMSettings(hidden=208, glimpses="wide", sigma=0.04),
    learner=Reinforce(objective="variational", sigma_start=0.1, gae_lambda=0.8, curriculum=0.15),
    loop=Loop(epochs=20, batch_size=128, learning_rate=1.5e-3),
)
# Pairs from the centre first. Blind from the start, no second digit is found.
DRAM_PAIRS_CENTER = DRAM_ONE.but(
    env_id="Glimpse/DigitPair-v0",
    env={**TWO_SCALES, "task": "unordered", "horizon": 4},
    learner={"sigma_start": 0.07, "curriculum": 0.0},
    loop={"epochs": 28},
    init="dram-cluttered100-g3",
)
# Digits close together first, and a wide sigma: so every look learns to serve, not one a digit. Half of the
# digits distorted: worth nothing to dram-sum, which keeps plain ones (results/LOG.md).
DRAM_EVERY_LOOK = DRAM_PAIRS_CENTER.but(
    model=DRAMSettings(hidden=208, glimpses="wide", sigma=0.02),
    learner={"sigma_start": 0.2, "reinforce_weight": 0.5, "curriculum": 0.3},
    init="dram-pairs-center",
)
DRAM_HOUSE = Experiment(
    env_id="Glimpse/HouseNumbers-v0",
    env={"context": 18},
    model=DRAMSettings(hidden=128, glimpses="product", sigma=0.06),
    learner=Reinforce(objective="variational", sigma_start=0.15, gae_lambda=0.8, curriculum=0.4),
    loop=Loop(epochs=25, batch_size=128, learning_rate=1e-3),
)
RAM_PAIRS = RAM_CLUTTERED100.but(
    env_id="Glimpse/DigitPair-v0",
    env={**RAM_CLUTTERED100.env, "task": "unordered", "horizon": 4},
    learner={"sigma_start": 0.2, "reinforce_weight": 0.5, "curriculum": 0.5},
    init="ram-cluttered100-g4",
    paper=9.0,
)

EXPERIMENTS = {
    "dram-cluttered100-g3": DRAM_ONE,
    "dram-read": DRAM_PAIRS_CENTER.but(
        env=TWO_SCALES,
        model=DRAMSettings(hidden=208, glimpses="wide", sigma=0.02),
        learner={"sigma_start": 0.05},
        loop={"epochs": 6},
        init="dram-pairs-center",
    ),
    "dram-pairs-center": DRAM_PAIRS_CENTER,
    "dram-pairs": DRAM_EVERY_LOOK.but(
        env={
            **DRAM_PAIRS_CENTER.env,
            "horizon": 5,
            "start_gaze": "blind",
            "distortion": 0.1,
            "distortion_share": 0.5,
        },
        loop={"epochs": 22},
        paper=5.0,
    ),
    "dram-pairs-nocontext": DRAM_EVERY_LOOK.but(
        env={**DRAM_PAIRS_CENTER.env, "context": 0},
        learner={"curriculum": 0.4},
        loop={"epochs": 16},
        init="dram-cluttered100-g3",
        paper=7.0,
    ),
    "ram-pairs": RAM_PAIRS,
    "dram-sum": DRAM_EVERY_LOOK.but(
        env_id="Glimpse/DigitSum-v0",
        env=TWO_SCALES,
        loop={"epochs": 40},
        paper=2.5,
    ),
    "dram-house": DRAM_HOUSE,
    "dram-house-backward": DRAM_HOUSE.but(
        env={**DRAM_HOUSE.env, "backward": True},
        learner={"sigma_start": 0.3},
        loop={"epochs": 20},
    ),
}
