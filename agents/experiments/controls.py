"""Controls and yardsticks: gazes that nobody chose, the whole canvas, and PPO.

random-TASK looks at uniform points, raster-TASK at a 3x3 grid line by line, center-TASK at the centre:
with RAM's network, so that a table tells what choosing where to look is worth. conv-TASK is Mnih et al.'s
small convolutional network on the whole canvas, a weak yardstick; convnet-TASK is Ba et al.'s, widened to
as many parameters as the agent that it stands beside. seq2seq-TASK reads a raster of glimpses with one
LSTM and answers with another, seq2seq-attention-TASK attends to the glimpses at every answer. PPO
(Stable-Baselines3) learns gaze and answer from the reward alone, with as many environment steps as ten
epochs of RAM (ram-mnist-e10) play.

`python scripts/train.py random-mnist` trains a row, `python scripts/evaluate.py` scores it; published rows
are in `python scripts/report.py --group controls`. Gazes that nobody chose are trained from scratch on
MNIST, for 100 epochs, on HouseNumbers, for six, and on CIFAR-10, for three; all others start from a trained
RAM and are trained for two to six epochs. More epochs would lower all but the first.
"""

from __future__ import annotations

from agents.experiments.experiment import Experiment
from agents.experiments.mnih2014 import (
    RAM_CLUTTERED,
    RAM_CLUTTERED100,
    RAM_MNIST,
    RAM_TRANSLATED,
    whole_canvas,
)
from agents.learn.differentiable import CrossEntropy
from agents.learn.loop import Loop
from agents.learn.ppo import PPOLearner, PPOLoop
from agents.learn.reinforce import GivenGaze, Reinforce
from agents.models.ram import GivenGazeSettings, Policy, RAMSettings
from agents.models.raster import RasterSettings
from agents.models.sb3_policy import SB3PolicySettings
from agents.models.whole_canvas import WholeCanvasSettings

RAM_READ = RAM_CLUTTERED100.but(env_id="Glimpse/DigitPair-v0")
RAM_SUM = RAM_CLUTTERED100.but(env_id="Glimpse/DigitSum-v0")
RAM_HOUSE = RAM_CLUTTERED100.but(env_id="Glimpse/HouseNumbers-v0", env={"start_gaze": "random"})
RAM_CIFAR10 = RAM_TRANSLATED.but(
    env_id="Glimpse/CIFAR10-v0",
    env={"start_gaze": "random", "dataset": "cifar10-jpeg", "jitter": 2},
    learner={"curriculum": 0.0},
)


def controls(
    task: str,
    recipe: Experiment,
    epochs: int,
    init: str = "",
    looks_at_the_center: int | None = 1,
    paper: float | None = None,
) -> dict[str, Experiment]:
    """The recipe with gazes that nobody chose: random-TASK, raster-TASK and center-TASK.

    init: where they start from; an eye that knows digits learns in a few epochs what such gazes are worth.
    The centre shows the same at every glimpse: one for each answer is enough; None is the id's own horizon.
    paper: the paper's figure for random gazes.
    """
    model, learner = recipe.model, recipe.learner
    assert isinstance(model, RAMSettings)
    assert isinstance(learner, Reinforce)

    def looking(policy: Policy) -> Experiment:
        return recipe.but(
            model=GivenGazeSettings(policy, model.hidden, model.glimpses, model.core),
            learner=GivenGaze(curriculum=0.0 if init else learner.curriculum),
            loop={"epochs": epochs, **({"learning_rate": 5e-4} if init else {})},
            init=init,
        )

    env = {key: value for key, value in recipe.env.items() if key != "start_gaze"}
    if looks_at_the_center is not None:
        env["glimpses_per_answer"] = looks_at_the_center
    return {
        f"random-{task}": looking("random").but(paper=paper),
        f"raster-{task}": looking("raster"),
        f"center-{task}": looking("center").but(env=env),
    }


def convnet(recipe: Experiment, epochs: int, hidden: int, paper: float | None = None) -> Experiment:
    """Ba et al.'s convnet, of any width, on the scenes of `recipe`."""
    env = {key: value for key, value in recipe.env.items() if key in ("dataset", "distortion")}
    loop = Loop(epochs=epochs, batch_size=128, learning_rate=1e-3, warm_up=0.1, weight_decay=1e-2)
    model = WholeCanvasSettings("convnet", hidden)
    return Experiment(recipe.env_id, model, CrossEntropy(), loop, env, paper=paper)


def seq2seq(task: str, recipe: Experiment, epochs: int, size: int, stride: int) -> dict[str, Experiment]:
    """A raster of glimpses on the scenes of `recipe`: seq2seq-TASK and seq2seq-attention-TASK."""
    loop = Loop(epochs=epochs, batch_size=128, learning_rate=2e-3, warm_up=0.1, weight_decay=1e-2)
    env = {key: value for key, value in recipe.env.items() if key in ("dataset", "distortion")}
    learner = CrossEntropy(curriculum=0.3)
    return {
        f"{name}-{task}": Experiment(
            recipe.env_id, RasterSettings(size, stride, attention=attention), learner, loop, env
        )
        for name, attention in (("seq2seq", False), ("seq2seq-attention", True))
    }


AUGMENTED = whole_canvas(RAM_MNIST, 100).but(env={"jitter": 1, "distortion": 0.15}, loop=Loop())
PPO = Experiment(RAM_MNIST.env_id, SB3PolicySettings(), PPOLearner(), PPOLoop(), {**RAM_MNIST.env})

EXPERIMENTS = {
    **controls("mnist", RAM_MNIST, 100, looks_at_the_center=None),
    "ppo-mnist": PPO,
    "recurrent-ppo-mnist": PPO.but(model=SB3PolicySettings(recurrent=True)),
    "ram-mnist-e10": RAM_MNIST.but(loop={"epochs": 10}),
    "fc-mnist-augmented": AUGMENTED.but(model=WholeCanvasSettings("fc")),
    "conv-mnist-augmented": AUGMENTED,
    **controls("translated", RAM_TRANSLATED, 6, "ram-translated-g4"),
    **controls("cluttered", RAM_CLUTTERED, 6, "ram-cluttered-g4", paper=14.4),
    "convnet-cluttered": convnet(RAM_CLUTTERED, 20, 384),  # as large as ram-cluttered
    **controls("cluttered100", RAM_CLUTTERED100, 6, "ram-cluttered100-g4", paper=28.4),
    "convnet-cluttered100": convnet(RAM_CLUTTERED100, 20, 640),  # as large as edram-slim
    **controls("read", RAM_READ, 2, "ram-cluttered100-g4"),
    "conv-read": whole_canvas(RAM_READ, 20),
    **seq2seq("read", RAM_READ, 12, 16, 12),
    **controls("sum", RAM_SUM, 2, "ram-cluttered100-g4"),
    "conv-sum": whole_canvas(RAM_SUM, 20),
    "convnet-sum": convnet(RAM_SUM, 20, 640, paper=3.2),  # as large as dram-sum
    # Without attention a sum is not learned from fresh weights (results/LOG.md).
    **{
        name: experiment.but(init=name.replace("sum", "read"))
        for name, experiment in seq2seq("sum", RAM_SUM, 12, 16, 12).items()
    },
    **controls("house", RAM_HOUSE, 6),
    "conv-house": whole_canvas(RAM_HOUSE, 20),
    "convnet-house": convnet(RAM_HOUSE, 16, 1280),  # as large as edram-house
    **seq2seq("house", RAM_HOUSE, 12, 12, 6),
    **controls("cifar10", RAM_CIFAR10, 3),
    "conv-cifar10": whole_canvas(RAM_CIFAR10, 20),
}
