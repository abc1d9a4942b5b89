"""What each choice is worth: ram-cluttered-g4, shortened, and variants of it that train as many minutes.

The base is ram-cluttered-g4 for ten epochs with a shorter curriculum (its own is "long-curriculum"). Four
rollouts an image come with a fourth of the images, so that a batch plays as many episodes. They are there to
choose by, and so are compared on validation scenes and never see the test scenes.

`python scripts/train.py ablation-base` trains a row; `python scripts/report.py --ablations` compares them.
"""

from __future__ import annotations

from typing import Any

from agents.experiments.experiment import Experiment
from agents.experiments.mnih2014 import RAM_CLUTTERED
from agents.learn.loop import Loop
from agents.models.ram import RAMSettings

BASE = RAM_CLUTTERED.but(
    env={**RAM_CLUTTERED.env, "horizon": 4},
    learner={"curriculum": 0.15},
    loop={"epochs": 10},
)


def changed(
    model: dict[str, Any] | None = None,
    learner: dict[str, Any] | None = None,
    loop: dict[str, Any] | None = None,
    speed: float = 1.0,
) -> Experiment:
    """The base with other settings. speed: its images a second over the base's, measured side by side."""
    images = round(Loop().images_per_epoch * speed)
    return BASE.but(
        model=model or {},
        learner=learner or {},
        loop={"images_per_epoch": images, **(loop or {})},
    )


SMALL = {"batch_size": 32}
EXPERIMENTS = {
    f"ablation-{name}": experiment
    for name, experiment in {
        "base": BASE,
        "reinforce": changed(learner={"objective": "reinforce"}),
        "trace-1": changed(learner={"gae_lambda": 1.0}),
        "detached": changed(model={"detach": True}),
        "leave-one-out-4": changed(
            learner={"baseline": "leave_one_out", "rollouts": 4}, loop=SMALL, speed=0.25
        ),
        "rollouts-4": changed(learner={"rollouts": 4}, loop=SMALL, speed=0.25),
        "sigma-fixed": changed(model={"sigma": 0.08}, learner={"sigma_start": None}),
        "sigma-learned": BASE.but(
            model=RAMSettings(hidden=256, glimpses="conv", sigma=0.12, learn_sigma=True),
            learner={"sigma_start": None, "entropy_weight": 0.01},
        ),
        "no-curriculum": changed(learner={"curriculum": 0.0}),
        "long-curriculum": changed(learner={"curriculum": 0.4}),
        "lstm": changed(model={"core": "lstm"}, speed=0.6),
        "product": changed(model={"glimpses": "product"}),
        "fc": changed(model={"glimpses": "fc"}, speed=1.4),
    }.items()
}
