"""Dropout drops: with the same weights and the same scenes, the loss is another one."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from conftest import OFFLINE

from agents.experiments import EXPERIMENTS, Experiment
from agents.learn.loop import LoopLearner
from agents.models.transformer import TransformerSettings

WORDS = {"hidden": 16, "embedding": 16}
ROWS: list[tuple[str, str, dict[str, Any], dict[str, Any]]] = [
    # A row, which share of it, what makes its model small, and keywords of what every machine has.
    ("fc-mnist", "dropout", {"hidden": 16}, OFFLINE),
    ("conv-mnist", "dropout", {"hidden": 16}, OFFLINE),
    ("seq2seq-attention-house", "dropout", {"hidden": 16}, OFFLINE),
    ("stories-attentive", "dropout", WORDS, {}),
    ("stories-impatient", "dropout", WORDS, {}),
    ("stories-deep-lstm", "dropout", WORDS, {}),
    ("stories-attention-sum", "dropout", WORDS, {}),
    ("luong-numbers", "dropout", WORDS, {}),
    ("transformer", "dropout", {}, {}),
    ("gaze-numbers", "dropout", WORDS, {}),
    ("gaze-digits", "dropout", WORDS, {"dataset": "digits"}),
    ("soft-digits", "dropout", {"hidden": 16, "filters": 4}, {"dataset": "digits"}),
    ("soft-digits", "pictures_dropout", {"hidden": 16, "filters": 4}, {"dataset": "digits"}),
    ("char-lstm", "input_dropout", WORDS, {"dataset": "python-docs"}),
    ("char-lstm", "output_dropout", WORDS, {"dataset": "python-docs"}),
    ("char-lstm", "weight_dropout", WORDS, {"dataset": "python-docs"}),
]


def experiment_of(name: str, model: dict[str, Any], env: dict[str, Any]) -> Experiment:
    if name == "transformer":
        row = EXPERIMENTS["luong-numbers"]
        return row.but(model=TransformerSettings(width=16, layers=1, inner=16, tied=False))
    row = EXPERIMENTS[name]
    return row.but(model=model, env={**row.env, **env}, loop={"batch_size": 4})


def loss_of(experiment: Experiment, **shares: float) -> float:
    """The loss of the first batch, all its dropout being 0 but for `shares`."""
    none = {name: 0.0 for name in vars(experiment.model) if name.endswith("dropout")}
    assert set(shares) <= set(none)
    experiment = experiment.but(model={**none, **shares})
    torch.manual_seed(0)
    agent = experiment.build(experiment.spec()).train()
    assert isinstance(experiment.learner, LoopLearner)
    lesson = experiment.learner.lesson(agent, experiment.task)
    torch.manual_seed(1)
    loss = lesson.batch(list(range(experiment.loop.batch_size)), 0.5).loss.item()
    lesson.close()
    return loss


@pytest.mark.parametrize(("name", "share", "model", "env"), ROWS)
def test_what_drops_out_changes_the_loss(
    name: str, share: str, model: dict[str, Any], env: dict[str, Any]
) -> None:
    experiment = experiment_of(name, model, env)
    whole = loss_of(experiment)
    assert loss_of(experiment) == whole
    assert abs(loss_of(experiment, **{share: 0.5}) - whole) > 1e-4 * abs(whole)
