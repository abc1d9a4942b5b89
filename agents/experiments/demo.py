"""`make demo`: RAM on 3,500 real digits, beside two that cannot choose where to look.

`python scripts/demo.py` trains all three at once, scores them and films a scene; expect RAM to err about half
as often as random gazes.
"""

from __future__ import annotations

from agents.experiments.experiment import Experiment
from agents.learn.loop import Loop
from agents.learn.reinforce import GivenGaze, Reinforce
from agents.models.ram import GivenGazeSettings, RAMSettings

DEMO = Experiment(
    env_id="Glimpse/TranslatedMNIST-v0",
    env={"dataset": "mnist-5k", "horizon": 6},
    model=RAMSettings(),
    learner=Reinforce(start_gaze="random", sigma_start=0.2, curriculum=0.4),
    loop=Loop(epochs=40, images_per_epoch=20_000, batch_size=256, learning_rate=1.5e-3),
)
GIVEN = GivenGaze(start_gaze="random", curriculum=0.4, objective="reinforce")

EXPERIMENTS = {
    "ram-demo": DEMO,
    "random-demo": DEMO.but(model=GivenGazeSettings("random"), learner=GIVEN),
    "center-demo": DEMO.but(
        model=GivenGazeSettings("center"), learner=GivenGaze(curriculum=0.4, objective="reinforce")
    ),
}
