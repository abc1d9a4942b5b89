"""Mnih, Heess, Graves, Kavukcuoglu (2014), "Recurrent Models of Visual Attention", tables 1 and 2.

Test error in percent, as the paper has it:

| task | FC, 64 and 256 units | conv | RAM by glimpses | random gaze |
|---|---|---|---|---|
| 28x28, 8x8 retina | 1.69 (256) | 1.21 | 2: 3.79, 3: 1.51, 4: 1.54, 5: 1.34, 6: 1.12, 7: 1.07 | - |
| 60x60 translated, 12x12, 3 scales | 6.42, 2.63 | 1.62 | 4: 1.54, 6: 1.22, 8: 1.20 | - |
| 60x60 cluttered | 28.58, 11.96 | 8.09 | 4: 4.96, 6: 4.08, 8: 4.04 | 14.4 |
| 100x100 cluttered, 4 scales | - | 14.35 | 4: 9.41, 6: 8.31, 8: 8.11 | 28.4 |

`python scripts/train.py ram-mnist` trains a row and `python scripts/evaluate.py` scores it; published rows
stand beside the paper's in `python scripts/report.py --group mnih2014`. Expect RAM to err less than the
paper's, except on 28x28 with two glimpses from a random first gaze and with three from any. The first gaze
is random, and the centre in rows named -center. Above 28x28 RAM with more glimpses starts from the weights
of RAM with fewer (ram-cluttered-g4, then -g6, then ram-cluttered): the cost of training grows with the
number of glimpses, and most of it uses four. RAM trains on distorted digits; the paper, and the rows fc and
conv, train on plain ones. Above 28x28 the glimpse network is convolutional, and batches are small, which
errs less after the same number of images (results/LOG.md).
"""

from __future__ import annotations

from agents.experiments.experiment import Experiment
from agents.learn.differentiable import CrossEntropy
from agents.learn.envs import EnvKeywords
from agents.learn.loop import Loop
from agents.learn.reinforce import Reinforce
from agents.models.ram import RAMSettings
from agents.models.whole_canvas import WholeCanvasSettings

# The first gaze of every episode is uniform, frozen with its scene in evaluation.
RAM_MNIST = Experiment(
    env_id="Glimpse/MNIST-v0",
    env={"start_gaze": "random", "jitter": 1, "distortion": 0.1},
    model=RAMSettings(hidden=512, sigma=0.07),
    learner=Reinforce(objective="variational", sigma_start=0.15, gae_lambda=0.8),
    loop=Loop(epochs=500),
)
FROM_THE_CENTER = RAM_MNIST.but(env={**RAM_MNIST.env, "start_gaze": "center"})
RAM_TRANSLATED = Experiment(
    env_id="Glimpse/TranslatedMNIST-v0",
    env={"start_gaze": "random", "distortion": 0.1},
    model=RAMSettings(hidden=256, glimpses="conv", sigma=0.05),
    learner=Reinforce(objective="variational", sigma_start=0.12, gae_lambda=0.8, curriculum=0.4),
    loop=Loop(epochs=80, batch_size=128, learning_rate=1e-3),
)
RAM_CLUTTERED = RAM_TRANSLATED.but(
    env_id="Glimpse/ClutteredMNIST-v0",
    loop={"epochs": 120},
)
RAM_CLUTTERED100 = RAM_CLUTTERED.but(
    env_id="Glimpse/ClutteredMNIST100-v0",
    model=RAMSettings(hidden=256, glimpses="conv", sigma=0.03),
    learner=Reinforce(objective="variational", sigma_start=0.1, gae_lambda=0.8, curriculum=0.4),
    loop={"epochs": 100},
)


def with_glimpses(experiment: Experiment, glimpses: int, epochs: int, **changes: object) -> Experiment:
    """The same experiment with another horizon."""
    loop = {"epochs": epochs}
    env: EnvKeywords = {**experiment.env, "horizon": glimpses}
    return experiment.but(env=env, loop=loop, **changes)


def budgets(
    name: str,
    recipe: Experiment,
    six: int,
    eight: int,
    papers: tuple[float, float, float],
    best_public: float,
    share: float = 1.0,
) -> dict[str, Experiment]:
    """NAME-g4 from scratch, NAME-g6 from that and NAME, of eight glimpses, from that.

    six, eight: epochs of the last two. papers: the paper's figures. share: of the digits that are distorted
    with six.
    """
    learner = recipe.learner
    assert isinstance(learner, Reinforce)
    assert isinstance(recipe.model, RAMSettings)
    assert learner.sigma_start is not None
    halfway = (learner.sigma_start + recipe.model.sigma) / 2
    more = recipe.but(
        learner={"sigma_start": halfway, "curriculum": 0.0},
        loop={"learning_rate": 5e-4, "epochs": eight},
    )
    bent = more if share == 1 else more.but(env={**more.env, "distortion_share": share})
    return {
        f"{name}-g4": with_glimpses(recipe, 4, recipe.loop.epochs, paper=papers[0]),
        f"{name}-g6": with_glimpses(bent, 6, six, init=f"{name}-g4", paper=papers[1]),
        name: more.but(init=f"{name}-g6", paper=papers[2], best_public=best_public),
    }


def whole_canvas(
    recipe: Experiment, epochs: int, learning_rate: float = 1e-3, paper: float | None = None
) -> Experiment:
    """The paper's convolutional baseline on the scenes of `recipe`, as they are."""
    env = {key: value for key, value in recipe.env.items() if key == "dataset"}
    return Experiment(
        env_id=recipe.env_id,
        env=env,
        model=WholeCanvasSettings("conv"),
        learner=CrossEntropy(),
        loop=Loop(epochs=epochs, batch_size=128, learning_rate=learning_rate),
        paper=paper,
    )


def fully_connected(recipe: Experiment, hidden: int, paper: float) -> Experiment:
    """The paper's baseline of two hidden layers on the scenes of `recipe`, as they are."""
    conv = whole_canvas(recipe, 300, paper=paper)
    return conv.but(model=WholeCanvasSettings("fc", hidden))


EXPERIMENTS = {
    **{
        f"ram-mnist-g{n}": with_glimpses(RAM_MNIST, n, 250, paper=paper)
        for n, paper in ((2, 3.79), (3, 1.51), (4, 1.54), (5, 1.34), (6, 1.12))
    },
    **{
        f"ram-mnist-g{n}-center": with_glimpses(FROM_THE_CENTER, n, 250, paper=paper)
        for n, paper in ((2, 3.79), (3, 1.51))
    },
    "ram-mnist": RAM_MNIST.but(paper=1.07, best_public=0.67),
    "fc-mnist": Experiment(
        RAM_MNIST.env_id, WholeCanvasSettings("fc", dropout=0.5), CrossEntropy(), Loop(), paper=1.69
    ),
    "conv-mnist": whole_canvas(RAM_MNIST, 200, paper=1.21).but(
        model=WholeCanvasSettings("conv", dropout=0.2), loop={"weight_decay": 1e-2}
    ),
    **budgets("ram-translated", RAM_TRANSLATED, 16, 12, (1.54, 1.22, 1.20), 0.94, share=0.5),
    "fc-translated-64": fully_connected(RAM_TRANSLATED, 64, paper=6.42),
    "fc-translated-256": fully_connected(RAM_TRANSLATED, 256, paper=2.63),
    "conv-translated": whole_canvas(RAM_TRANSLATED, 1000, 2e-3, paper=1.62),
    **budgets("ram-cluttered", RAM_CLUTTERED, 20, 40, (4.96, 4.08, 4.04), 2.63),
    "fc-cluttered-64": fully_connected(RAM_CLUTTERED, 64, paper=28.58),
    "fc-cluttered-256": fully_connected(RAM_CLUTTERED, 256, paper=11.96),
    "conv-cluttered": whole_canvas(RAM_CLUTTERED, 300, paper=8.09),
    **budgets("ram-cluttered100", RAM_CLUTTERED100, 10, 22, (9.41, 8.31, 8.11), 5.9),
    "conv-cluttered100": whole_canvas(RAM_CLUTTERED100, 160, 2e-3, paper=14.35),
}
