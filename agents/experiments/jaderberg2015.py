"""Jaderberg, Simonyan, Zisserman, Kavukcuoglu (2015), "Spatial Transformer Networks": one window, one answer.

Test error in percent on 60x60 canvases with sixteen distractors of 6x6, as the paper has it: FCN 13.2,
CNN 3.5, ST-FCN 2.0, ST-CNN 1.7.

`python scripts/train.py st-cnn` trains a row and `python scripts/evaluate.py` scores it; published rows
stand beside the paper's in `python scripts/report.py --group jaderberg2015`. Expect all but
st-fcn at the paper's figures or below. cnn-cluttered16 has a few more parameters than st-cnn. On 100x100
a spatial transformer needs a curriculum: without it, its first window meets too few digits to learn from.
"""

from __future__ import annotations

from agents.experiments.experiment import Experiment
from agents.learn.differentiable import CrossEntropy, Windows
from agents.learn.loop import Loop
from agents.models.stn import SpatialTransformerSettings
from agents.models.whole_canvas import CNNSettings, WholeCanvasSettings

ST_CNN = Experiment(
    env_id="Glimpse/ClutteredMNIST-v0",
    env={"distractors": 16, "distractor_size": 6, "distortion": 0.1, "horizon": 1},
    model=SpatialTransformerSettings("cnn"),
    learner=Windows(),
    loop=Loop(epochs=36, batch_size=128, learning_rate=2e-3, warm_up=0.1),
    paper=1.7,
)
ST_CNN100 = ST_CNN.but(
    env_id="Glimpse/ClutteredMNIST100-v0",
    env={"distortion": 0.1, "horizon": 1},
    learner=Windows(curriculum=0.15),
    loop={"epochs": 30},
    paper=None,
)


def longer(experiment: Experiment, epochs: int, **changes: object) -> Experiment:
    """The same experiment for so many epochs, with other parts."""
    loop = {"epochs": epochs}
    return experiment.but(loop=loop, **changes)


FCN = SpatialTransformerSettings("fcn")
EXPERIMENTS = {
    "st-cnn": ST_CNN,
    "st-fcn": longer(ST_CNN, 1200, model=FCN, paper=2.0),
    "cnn-cluttered16": longer(ST_CNN, 16, model=CNNSettings(), learner=CrossEntropy(), paper=3.5),
    "fcn-cluttered16": longer(
        ST_CNN, 2200, model=WholeCanvasSettings("fc"), learner=CrossEntropy(), paper=13.2
    ),
    "st-cnn-cluttered100": ST_CNN100,
    "st-fcn-cluttered100": longer(ST_CNN100, 100, model=FCN),
    "cnn-cluttered100": longer(ST_CNN100, 3, model=CNNSettings(), learner=CrossEntropy()),
    "fcn-cluttered100": longer(ST_CNN100, 100, model=WholeCanvasSettings("fc"), learner=CrossEntropy()),
}
