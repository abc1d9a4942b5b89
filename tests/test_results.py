"""What results/ holds is what the code and the data give today."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from conftest import ROOT, needs_full_mnist
from scipy import stats

from agents import results
from agents.build import load_agent
from agents.evaluate import Evaluation, evaluate
from agents.experiments import EXPERIMENTS
from agents.generative import Generative, bound

LINES = results.read(ROOT / results.RESULTS)
PUBLISHED = sorted((ROOT / results.PRETRAINED).glob("*.safetensors"))


# Those of the first runs were not kept.
METRICS_LOST = {"fc-mnist", "conv-mnist", "fc-mnist-augmented", "conv-mnist-augmented"}
METRICS_LOST |= {"ram-mnist", "random-mnist", "center-mnist"}


def latest(experiment: str, seed: int) -> dict:
    """The last line of an experiment: along the mean, or DRAW's only one."""
    wanted = ("sampled" if isinstance(EXPERIMENTS[experiment], Generative) else "deterministic", seed)
    lines = [line for line in LINES if line["experiment"] == experiment]
    return [line for line in lines if (line["mode"], line["seed"]) == wanted][-1]


@pytest.mark.parametrize("path", PUBLISHED, ids=lambda p: p.stem)
def test_published_checkpoints_are_small_and_of_their_experiment(path: object) -> None:
    assert path.stat().st_size <= 3 * 2**20
    _, settings, config = load_agent(path)
    own = EXPERIMENTS[config["experiment"]]
    assert dataclasses.replace(settings, seed=own.seed) == own
    assert config["training_minutes"] > 0
    metrics = ROOT / results.metrics_path(config["experiment"], settings.seed)
    if path.stem not in METRICS_LOST:
        assert len(metrics.read_text().splitlines()) == getattr(settings, "epochs", 1)


@needs_full_mnist
@pytest.mark.parametrize("path", PUBLISHED, ids=lambda p: p.stem)
def test_published_figures_are_reproduced(path: object) -> None:
    agent, settings, config = load_agent(path)
    line = latest(config["experiment"], settings.seed)
    if isinstance(settings, Generative):
        score = bound(agent, settings, "test")
    else:
        score = evaluate(agent, settings.env_id, "test", **settings.env)
    assert score.scenes == line["scenes"] >= 10_000
    # Another processor's rounding may send a gaze to the next pixel: a few scenes in 10,000.
    assert score.error == pytest.approx(line["value"], abs=0.05)


def test_a_row_says_what_was_seen() -> None:
    """By hand: of dram-pairs four glimpses of two scales of 20x20 and a context of 25x25, none blind."""
    looks = {"dram-pairs": (4, 4 * 2 * 400 + 625), "ram-cluttered-g4": (4, 4 * 3 * 144)}
    looks |= {"edram-slim": (2, 100 * 100), "conv-cluttered": (0, 60 * 60)}
    for name, (glimpses, pixels) in looks.items():
        line = latest(name, 1)
        assert (line["glimpses"], line["pixels"]) == (glimpses, pixels), name


@pytest.mark.parametrize("path", PUBLISHED, ids=lambda p: p.stem)
@needs_full_mnist
def test_published_rows_are_what_a_row_would_be_today(path: Path) -> None:
    agent, settings, config = load_agent(path)
    line = latest(config["experiment"], settings.seed)
    scored = Evaluation(line["value"], tuple(line["ci95"]), line["scenes"])
    today = results.result_line(config["experiment"], settings, agent, line["mode"], scored, line["minutes"])
    for key in ("env_id", "env", "agent", "sees", "glimpses", "pixels", "parameters", "metric"):
        assert today[key] == line[key], key


def test_a_table_names_images_that_are_not_the_ids_own() -> None:
    """And a canvas of another size than the id's is what was not all seen."""
    line = {
        "experiment": "conv-cifar10", "seed": 1, "mode": "deterministic", "sees": "canvas", "glimpses": 0,
        "pixels": 3072, "parameters": 1, "minutes": 1.0, "value": 44.0, "ci95": [43.0, 45.0],
        "env_id": "Glimpse/CIFAR10-v0", "env": {"dataset": "cifar10-jpeg"}, "metric": "test_error",
    }  # fmt: skip
    assert results.table([line]).splitlines()[2].startswith("| conv-cifar10 on cifar10-jpeg | canvas ")
    assert results.table([{**line, "env": {}}]).splitlines()[2].startswith("| conv-cifar10 | canvas ")
    assert results.share_seen({**line, "env": {"canvas_size": 64}}) == 0.25  # of 3 * 64**2


def test_bounds_have_a_table_of_their_own_with_the_papers() -> None:
    errors = [line for line in LINES if line["metric"] != "nats"]
    drawn = {**latest("ram-mnist", 1), "experiment": "draw-mnist", "metric": "nats", "glimpses": 16}
    drawn |= {"parameters": 1_234_567, "minutes": 99.6}
    first, last = {**drawn, "value": 99.0, "ci95": [98, 100]}, {**drawn, "value": 90.0, "ci95": [89.5, 90.5]}
    *_, row = results.nats_table([*errors, first, last]).splitlines()
    assert row == "| draw-mnist | binary | 16 | 1,234,567 | 100 | 80.97 | **90.00** [89.50, 90.50] |"
    assert results.table([*errors, last]) == results.table(errors)
    shades = {**last, "experiment": "draw-house", "metric": "cross_entropy"}
    *_, row = results.nats_table([last, shades]).splitlines()
    assert row == "| draw-house | shades: no bound | 16 | 1,234,567 | 100 | – | **90.00** [89.50, 90.50] |"
    assert results.table([shades]) == results.table([])


def test_only_a_bound_is_called_one() -> None:
    drawn = Generative(env_id="Glimpse/MNIST-v0")
    assert results.metric_of(drawn, "test") == "nats"
    assert results.metric_of(dataclasses.replace(drawn, binary=False), "test") == "cross_entropy"
    assert results.metric_of(EXPERIMENTS["fc-mnist"], "validation") == "validation_error"


def test_students_quantiles_are_scipys() -> None:
    for seeds, quantile in results.STUDENT.items():
        assert quantile == pytest.approx(stats.t.ppf(0.975, seeds - 1), abs=5e-4)


def test_every_line_has_the_promised_keys() -> None:
    keys = (
        "experiment env_id agent sees seed commit metric value ci95 mode glimpses pixels parameters minutes"
    )
    for line in LINES:
        assert {*keys.split(), "threads", "machine"} <= line.keys()
        assert line["ci95"][0] <= line["value"] <= line["ci95"][1]
        assert line["sees"] in ("glimpses", "canvas")
