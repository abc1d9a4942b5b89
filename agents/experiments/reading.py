"""An eye over words: RAM where the canvas is a text.

lookup-N is the smallest task that needs the eye to go where it was told to, p[p[0]] of N numbers, which
LSTM-Jump (Yu, Lee, Le 2017) begins with: one look at the first number, one at the place that it names. The
paper has no figure for it; an eye that does not understand errs 90 % with ten numbers and 99 % with a
hundred. ppo-lookup-10 is Stable-Baselines3's own PPO, through the adapter (learn/sb3.py), taught by the
reward alone.

`python scripts/train.py lookup-10` trains a row and `python scripts/evaluate.py` scores it; published rows
are in `python scripts/report.py --group reading`.
"""

from __future__ import annotations

from typing import Literal

from agents.experiments.experiment import Experiment
from agents.learn.loop import Loop
from agents.learn.ppo import PPOLearner, PPOLoop
from agents.learn.reinforce import Reinforce
from agents.models.ram import RAMSettings
from agents.models.sb3_policy import SB3PolicySettings
from glimpse_env.registry import TABLE

LOOKUP = "Glimpse/Lookup-v0"
Decay = Literal["linear", "geometric"]


def lookup(places: int, sigma: float, epochs: int, decay: Decay = "linear") -> Experiment:
    """RAM on `places` numbers; in the end a gaze is `sigma` gaze units off."""
    return Experiment(
        env_id=LOOKUP,
        env={} if places == TABLE[LOOKUP].canvas_size else {"canvas_size": places},
        model=RAMSettings(hidden=256, sigma=sigma),
        learner=Reinforce(reinforce_weight=1.0, sigma_start=0.6, sigma_decay=decay),
        loop=Loop(epochs=epochs, learning_rate=1e-3, weight_decay=0.0),
    )


PPO = Experiment(
    LOOKUP,
    SB3PolicySettings(cells=10),
    PPOLearner(num_envs=256, n_steps=8, batch_size=512, entropy_weight=0.02),
    PPOLoop(epochs=3, steps_per_epoch=102_400),
)
EXPERIMENTS = {
    "lookup-10": lookup(10, 0.03, 10),
    # Smaller steps and larger batches: at 1e-3 and 512 the eye never finds what some of the numbers name.
    "lookup-100": lookup(100, 0.006, 320, "geometric").but(loop={"learning_rate": 3e-4, "batch_size": 1024}),
    "ppo-lookup-10": PPO,
}
