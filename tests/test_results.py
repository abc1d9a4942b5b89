"""What results/ holds is what the code and the data give today."""

from __future__ import annotations

import pytest
from conftest import ROOT, needs_full_mnist

from agents import results
from agents.build import load_agent
from agents.evaluate import evaluate
from agents.experiments import EXPERIMENTS

LINES = results.read(ROOT / results.RESULTS)
PUBLISHED = sorted((ROOT / results.PRETRAINED).glob("*.safetensors"))


def latest(experiment: str, mode: str) -> dict:
    return [line for line in LINES if (line["experiment"], line["mode"]) == (experiment, mode)][-1]


@pytest.mark.parametrize("path", PUBLISHED, ids=lambda p: p.stem)
def test_published_checkpoints_are_small_and_of_their_experiment(path: object) -> None:
    assert path.stat().st_size <= 3 * 2**20
    _, settings, config = load_agent(path)
    assert settings == EXPERIMENTS[config["experiment"]]
    assert config["training_minutes"] > 0
    metrics = ROOT / results.metrics_path(config["experiment"], settings.seed)
    if metrics.exists():  # those of ram-mnist were lost
        assert len(metrics.read_text().splitlines()) == getattr(settings, "epochs", 1)


@needs_full_mnist
@pytest.mark.parametrize("path", PUBLISHED, ids=lambda p: p.stem)
def test_published_figures_are_reproduced(path: object) -> None:
    agent, settings, config = load_agent(path)
    line = latest(config["experiment"], "deterministic")
    score = evaluate(agent, settings.env_id, "test", **settings.env)
    assert score.scenes == line["scenes"] >= 10_000
    # Another processor's rounding may send a gaze to the next pixel: a few scenes in 10,000.
    assert score.error == pytest.approx(line["value"], abs=0.05)


def test_every_line_has_the_promised_keys() -> None:
    keys = (
        "experiment env_id agent sees seed commit metric value ci95 mode glimpses pixels parameters minutes"
    )
    for line in LINES:
        assert {*keys.split(), "threads", "machine"} <= line.keys()
        assert line["ci95"][0] <= line["value"] <= line["ci95"][1]
        assert line["sees"] in ("glimpses", "canvas")
