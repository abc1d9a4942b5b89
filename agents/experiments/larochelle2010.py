"""Larochelle, Hinton (2010), "Learning to combine foveal glimpses with a third-order Boltzmann machine".

A multi-fixation RBM adds up what glimpses show, and a linear controller says where the next one goes. The
paper's data differ: on faces, 62.7 % of expressions are recognised after six glimpses. Here it stands beside
RAM, with as many glimpses through the same retina: fixation-rbm-mnist beside ram-mnist, seven glimpses of
28x28, and fixation-rbm-cluttered beside ram-cluttered, eight of a cluttered 60x60 canvas. It
trains for 30 epochs from scratch and RAM for far more, so that the rows compare these trainings, and not the
models as such.

`python scripts/train.py fixation-rbm-mnist` trains a row and `python scripts/evaluate.py` scores it.
"""

from __future__ import annotations

from agents.experiments.experiment import Experiment
from agents.experiments.mnih2014 import RAM_CLUTTERED, RAM_MNIST
from agents.learn.fixations import HybridSequential
from agents.learn.loop import Loop
from agents.models.fixation_rbm import FixationRBMSettings

LOOP = Loop(epochs=30, batch_size=128, learning_rate=5e-3)
EXPERIMENTS = {
    "fixation-rbm-mnist": Experiment(
        RAM_MNIST.env_id, FixationRBMSettings(), HybridSequential(), LOOP, RAM_MNIST.env
    ),
    "fixation-rbm-cluttered": Experiment(
        RAM_CLUTTERED.env_id,
        FixationRBMSettings(grid=10),
        HybridSequential(curriculum=0.4),
        LOOP,
        RAM_CLUTTERED.env,
    ),
}
