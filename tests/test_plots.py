"""The report's pictures of made-up figures and of an untrained agent: each shows something, none fails."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import pytest
import torch
from conftest import OFFLINE, ROOT
from matplotlib import pyplot

from agents.experiments import Experiment
from agents.experiments.experiment import to_config
from agents.learn import checkpoint
from agents.learn.envs import make_env
from agents.learn.loop import Loop
from agents.learn.reinforce import Reinforce
from agents.learn.rollout import Trajectory, rollout
from agents.models.ram import RAMSettings
from agents.report import plots, results

LINE: dict[str, Any] = {
    "experiment": "ram-mnist", "seed": 1, "mode": "deterministic", "sees": "glimpses", "glimpses": 7,
    "pixels": 448, "share": 0.5714, "agent": "RAM", "value": 1.0, "ci95": [0.8, 1.2],
    "env_id": "Glimpse/MNIST-v0", "env": {},
    "metric": "test_error", "minutes": 1.5,
}  # fmt: skip


@pytest.fixture
def played(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Trajectory:
    """An untrained agent published as ram-mnist in an empty folder, and its episodes."""
    monkeypatch.setattr(results, "PRETRAINED", tmp_path / "pretrained")
    monkeypatch.setattr(results, "METRICS", tmp_path / "metrics")
    model = RAMSettings(hidden=16)
    experiment = Experiment("Glimpse/MNIST-v0", model, Reinforce(), Loop(), dict(OFFLINE))
    spec = experiment.spec()
    agent = experiment.build(spec)
    path = results.pretrained_path("ram-mnist", 1)
    path.parent.mkdir(parents=True)
    checkpoint.save(path, agent.state_dict(), to_config("ram-mnist", experiment, spec))
    results.metrics_path("ram-mnist", 1).parent.mkdir()
    epochs = [{"minutes": 0.5, "validation_error": error} for error in (50, 20, 10)]
    results.metrics_path("ram-mnist", 1).write_text(
        "".join(json.dumps(e) + "\n" for e in epochs), encoding="utf-8"
    )
    env = make_env(agent, experiment.env_id, 500, split="test", **OFFLINE)
    with torch.inference_mode():
        return rollout(agent, env, sample=False, options={"index": 0})


def test_every_picture_is_drawn(played: Trajectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plots, "play_test_scenes", lambda name: played)
    others = [  # which have no panel of minutes
        {**LINE, "experiment": "pixels-urnn", "env_id": "pixels"},
        {**LINE, "experiment": "luong-de-en", "env_id": "Glimpse/Translate-v0", "metric": "bleu"},
    ]
    written = plots.draw_all([LINE, *others], tmp_path)
    assert [path.stem for path in written] == [
        "glimpses", "pixels", "minutes", "first-look", "belief", "memory-gradients", "memory-adding",
        "lengths", "scan-paths",
    ]  # fmt: skip
    for path in written:
        assert iio.imread(path)[..., :3].std() > 5, path


def test_minutes_add_up(played: Trajectory) -> None:
    results.metrics_path("ram-mnist", 1).rename(results.metrics_path("ram-translated", 2))  # it has an init
    (curve,) = plots.draw_minutes({"ram-translated": {**LINE, "minutes": 5.5}}).axes[0].lines
    np.testing.assert_allclose(curve.get_xydata(), [[4.5, 50], [5.0, 20], [5.5, 10]])
    pyplot.close("all")


def test_every_problem_has_a_panel(played: Trajectory) -> None:
    """Eleven, one more than two rows of five hold."""
    latest = {f"ram-{n}": {**LINE, "experiment": f"ram-{n}", "env": {"distractors": n}} for n in range(11)}
    panels = plots.draw_minutes(latest).axes
    assert [panel.get_title() for panel in panels if panel.axison] == sorted(
        f"MNIST-v0 distractors={n}" for n in range(11)
    )
    pyplot.close("all")


def test_pixels_show_every_agent_of_a_scene_but_not_of_its_variants(played: Trajectory) -> None:
    window = {
        **LINE,
        "experiment": "edram-slim",
        "sees": "canvas",
        "pixels": 784,
        "share": 1.0,
        "glimpses": 2,
        "value": 0.5,
    }
    variant = {**window, "experiment": "st-cnn", "env": {"distractors": 16}}
    less = {**LINE, "experiment": "ram-mnist-g4", "pixels": 256, "share": 256 / 784, "value": 2.0}
    alone = {**LINE, "experiment": "dram-mnist-g3", "pixels": 192, "share": 192 / 784, "value": 3.0}
    close = {**window, "experiment": "edram-slim-labels", "value": 0.52}
    latest = {line["experiment"]: line for line in (LINE, window, variant, less, alone, close)}
    (panel,) = plots.draw_pixels(latest).axes
    points = sorted(tuple(p) for c in panel.collections for p in np.asarray(c.get_offsets()) if len(p))
    shares = (192 / 784, 256 / 784, 0.5714, 1, 1)
    expected = zip(np.multiply(100, shares), (3, 2, 1, 0.5, 0.52), strict=True)
    np.testing.assert_allclose(points, list(expected))
    assert [text.get_text() for text in panel.texts] == ["dram-g3", "ram", "edram-slim, edram-slim-labels"]
    pyplot.close("all")


def test_belief_is_the_targets_probability_after_each_glimpse(played: Trajectory) -> None:
    """By hand: certain of the right digit from the third glimpse on, undecided between two before."""
    logits = torch.full((4, 3, 10), -1e9)
    logits[:, :, 5] = 0
    logits[:2, :, 4] = 0  # equal, and the lower index is the answer
    fake = played._replace(logits=logits, target=torch.full((3, 1), 5))
    left, right = plots.draw_belief({"ram-mnist": fake}).axes
    np.testing.assert_allclose(left.lines[0].get_ydata(), [100, 100, 0, 0])
    np.testing.assert_allclose(right.lines[0].get_ydata(), [0.5, 0.5, 1, 1])
    pyplot.close("all")


def test_the_gallery_has_right_and_wrong_scenes(played: Trajectory) -> None:
    picture = plots.scan_paths("ram-mnist", played, each=2)
    assert picture.shape[1] >= 2 * 240
    assert picture.std() > 5


def test_pictures_are_kept_where_the_results_show_them() -> None:
    text = (ROOT / "results" / "RESULTS.md").read_text(encoding="utf-8")
    for name in ("glimpses", "pixels", "minutes", "first-look", "belief", "scan-paths"):
        assert f"docs/{name}.png" in text
        assert (ROOT / "docs" / f"{name}.png").exists()
