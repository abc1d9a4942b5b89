"""The pages of docs/ are what scripts/docs.py makes of the registry today."""

from __future__ import annotations

import json
from collections import Counter
from types import ModuleType

import docs_ids
import gallery
import pin
import pytest
import torch
from conftest import ROOT, needs_full_mnist

import docs
from agents.experiments.experiment import load_agent
from agents.report import results
from agents.report.results import find_checkpoint
from glimpse_env import TABLE
from glimpse_env.worlds.houses import load_layouts


@pytest.mark.parametrize("env_id", sorted(TABLE))
def test_page_is_up_to_date(env_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    text = docs_ids.page_path(env_id).read_text(encoding="utf-8")
    assert text == docs_ids.page(env_id), "run `python scripts/docs.py`"
    if TABLE[env_id].scene in docs_ids.TEXTS:
        assert f"of the {TABLE[env_id].canvas_size} at the gaze" in text
    else:
        assert f"{TABLE[env_id].canvas_size}x{TABLE[env_id].canvas_size} canvas" in text
        assert f"`{TABLE[env_id].dataset}`" in text


@pytest.mark.parametrize("module", docs.PAPERS, ids=docs.group_of)
def test_the_page_of_a_paper_is_up_to_date(module: ModuleType) -> None:
    text = (ROOT / "docs" / f"{docs.group_of(module)}.md").read_text(encoding="utf-8")
    assert text == docs.paper_page(module), "run `python scripts/docs.py`"
    measured = {line["experiment"] for line in results.read()} & module.EXPERIMENTS.keys()
    assert measured
    assert all(f"| {name}" in text for name in measured)


def test_the_best_guess_without_looking() -> None:
    assert docs_ids.blind("Glimpse/MNIST-v0") == docs_ids.blind("Glimpse/Lookup-v0") == 90
    assert docs_ids.blind("Glimpse/DigitPair-v0") == 99
    sums = [a + b for a in range(10) for b in range(10)]
    assert docs_ids.blind("Glimpse/DigitSum-v0") == 100 - sums.count(9)
    numbers = Counter(map(tuple, load_layouts("test", pixels=False).digits.tolist()))
    (_, most), *_ = numbers.most_common(1)
    assert docs_ids.blind("Glimpse/HouseNumbers-v0") == pytest.approx(100 * (1 - most / numbers.total()))


def test_bounds_of_every_id(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other horizons and other modes stay out, and what nobody measured is a dash."""
    pair, cifar = "Glimpse/DigitPair-v0", "Glimpse/CIFAR10-v0"
    line = {"env_id": "Glimpse/MNIST-v0", "mode": "deterministic", "env": {}, "metric": "test_error"}
    line |= {"seed": 1, "minutes": 1, "ci95": [0, 100]}
    lines = [
        {**line, "experiment": "random-mnist", "value": 9.0},
        {**line, "experiment": "random-mnist", "value": 8.0, "mode": "sampled"},
        {**line, "experiment": "ram-mnist-g4", "value": 5.0, "env": {"horizon": 4}},
        {**line, "experiment": "center-mnist", "value": 81.0, "metric": "nats"},
        {**line, "experiment": "raster-mnist", "value": 7.125},
        {**line, "experiment": "dram-pairs", "value": 6.0, "env_id": pair, "env": {"task": "unordered"}},
        {**line, "experiment": "conv-cifar10", "value": 30.0, "env_id": cifar, "env": {"dataset": "copy"}},
    ]
    monkeypatch.setattr(docs_ids.results, "read", lambda: lines)
    table = docs_ids.bounds()
    assert "upper bound" in table.splitlines()[-1]
    rows = dict(row.split(" | ", 1) for row in table.splitlines()[2:-2])
    assert rows.keys() == {f"| {env_id}" for env_id in TABLE}
    assert rows["| Glimpse/MNIST-v0"] == "90.0 | – | 9.00 | 7.12 | – | – | – |"
    assert rows[f"| {pair}"] == "99.0 | – | – | – | – | – | – |"
    assert rows[f"| {cifar}"] == "90.0 | – | – | – | 30.00 (copy) | – | – |"
    assert "| conv-cifar10 on copy | 30.00 |" in docs_ids.page(cifar)


def test_the_gallery_shows_who_it_says() -> None:
    assert (ROOT / "docs" / "gallery.md").read_text(encoding="utf-8") == gallery.page()
    for name in gallery.WHO:
        assert all((ROOT / "docs" / gallery.picture(name, how)).is_file() for how in ("right", "wrong"))
    assert gallery.chosen(torch.tensor([True, False, True, True, False]), 2) == ([0, 2], [1, 4])


@needs_full_mnist
def test_the_gallery_knows_what_is_wrong() -> None:
    agent, experiment, _ = load_agent(find_checkpoint("soft-house"))
    right = gallery.correct(agent, experiment)[: pin.SCENES]
    pinned = json.loads(pin.PINS.read_text(encoding="utf-8"))["checkpoints"]["soft-house"]["wrong"]
    assert int((~right).sum()) == pinned
