"""Where captioners look: on what they name, how far, how evenly (agents/learn/looks.py)."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from conftest import OFFLINE, SAID, captioner, pictures
from torch.nn import functional as F

from agents.agent import Agent, Spec, Step
from agents.learn import captioning, envs
from agents.learn.captioning import Captioning
from agents.learn.envs import make_env
from agents.learn.looks import looks_while, mass_on_target, movement, on_target, own_mass_on_target
from agents.learn.loop import Loop, Task
from agents.models.captioner import CaptionerSettings
from glimpse_env import make_custom

CAPTION = "Glimpse/Caption-v0"


def test_a_gaze_is_the_middle_of_the_place() -> None:
    model = captioner(attention="general")
    assert (model.lines, model.columns) == (6, 5)  # of 44 x 36 pixels, eight each
    weights = torch.zeros(2, 30)
    weights[0, 0] = weights[1, 7] = 1  # the first place, and the third of the second line
    gaze = model.gaze_of(weights)
    size = torch.tensor([36, 44])
    torch.testing.assert_close((gaze + 1) / 2 * (size - 1), torch.tensor([[3.5, 3.5], [19.5, 11.5]]))
    assert model.gaze_of(torch.zeros(1, 30)).tolist() == [[0, 0]]
    # A bright place moves the numbers of the grid around that place alone.
    canvas = torch.zeros(1, 1, 44, 36)
    lit = canvas.clone()
    lit[0, 0, 11, 19] = 1
    moved = (model.cnn(lit) - model.cnn(canvas)).abs().sum(1).flatten()
    assert moved.argmax() in (7, 6, 8, 2, 12)
    assert moved[29] == 0


def test_a_place_is_covered_as_far_as_a_box_goes() -> None:
    model = captioner(attention="general")  # 6 x 5 places of eight pixels
    boxes = torch.tensor([[8.0, 0, 8, 8], [4, 4, 8, 8], [0, 0, 36, 44], [35, 43, 50, 50]])
    cover = model.covered(boxes).view(4, 6, 5)
    assert cover[0].sum() == cover[0, 0, 1] == 1
    assert cover[1, :2, :2].tolist() == [[0.25, 0.25], [0.25, 0.25]]
    assert cover[1].sum() == 1
    assert cover[2].sum() == 5.5 * 4.5
    assert cover[3, 5, 4] == pytest.approx(5 * 5 / 64)  # the last place goes beyond the canvas
    assert (cover >= 0).all()


def test_who_looks_nowhere_is_not_on_target(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(captioning, "evaluate", lambda *_, **__: "alone")
    task = Task("Glimpse/HouseNumbers-v0", OFFLINE, Loop(), 1)
    assert Captioning().figures(captioner(attention="none"), task, "test") == {"deterministic": "alone"}


class Pointing(Agent):
    """Says the target of each scene and looks at the middle of what it names, or beside it, or early."""

    sees = "canvas"

    def __init__(self, beside: bool, early: int = 0) -> None:
        super().__init__()
        self.beside, self.early = beside, early

    def initial(self, batch_size: int) -> int:
        return 0

    def forward(self, observation: dict[str, torch.Tensor], state: int, sample: bool) -> tuple[Step, int]:
        answer = observation["target"][:, state].clamp_min(0)
        box = observation["boxes"][:, min(state + self.early, 10)].float()
        pixel = box[:, :2] + (box[:, 2:] - 1) / 2 + (20 if self.beside else 0)
        zeros = torch.zeros(len(answer))
        return Step(2 * pixel / 99 - 1, F.one_hot(answer, 19).float(), zeros, zeros), state + 1


@pytest.mark.parametrize("beside", [False, True])
def test_on_target_is_within_the_box_of_what_is_named(beside: bool) -> None:
    task = Task(CAPTION, {"glimpses_per_answer": 1}, Loop(), 1)
    found = on_target(Pointing(beside), task, "test")["on target"]  # type: ignore[arg-type]
    assert found.error == 100 if not beside else found.error < 1  # in another of that name
    env = gymnasium.make_vec(CAPTION, 1000, "vector_entry_point", split="test", glimpses_per_answer=1)
    assert env.unwrapped.num_scenes == 1000
    env.reset(options={"index": np.arange(1000)})
    assert found.scenes == env.present_scenes().boxes.any(-1).sum()  # words that name something


def test_a_look_may_be_a_word_before_what_is_named() -> None:
    task = Task(CAPTION, {"glimpses_per_answer": 1}, Loop(), 1)
    found = on_target(Pointing(False, early=1), task, "test")  # type: ignore[arg-type]
    assert found["on target, a word before"].error == 100
    assert found["on target"].error < 10  # where nothing is named next it looks into the corner
    early = on_target(Pointing(False, early=2), task, "test")  # type: ignore[arg-type]
    assert early["on target, a word before"].error < 10


def test_looks_of_every_scene_count_once_whatever_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    task = Task(CAPTION, {"glimpses_per_answer": 1}, Loop(), 1)
    torch.manual_seed(0)
    model = CaptionerSettings(hidden=8, embedding=6, filters=2).build(
        Spec((4, 12, 12), (1, 100, 100), 19, (), 12, 12)
    )
    found = []
    for rows in (1000, 300):  # of 1,000 scenes, so that the last of four batches is filled up
        monkeypatch.setattr(envs, "MOST_ROWS", rows)
        said = Captioning().answers(model, task, "test", 1)
        looks = list(looks_while(model, task, "test", said))
        scenes = [len(words) for _, words, _, _ in looks]
        assert sum(scenes) == len(said) == 1000
        found.append((on_target(model, task, "test"), mass_on_target(model, task, "test"), said))
    assert found[0][2] == found[1][2]
    for one, other in zip(found[0][:2], found[1][:2], strict=True):
        assert one.keys() == other.keys()
        for mode in one:
            assert one[mode].scenes == other[mode].scenes
            assert one[mode].error == pytest.approx(other[mode].error, rel=1e-4)


def test_attention_on_target_is_counted_word_by_word(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a model that looks at one place alone the mass is how much of that place the boxes cover."""
    task = Task(CAPTION, {"glimpses_per_answer": 1}, Loop(), 1)
    spec = Spec((4, 12, 12), (1, 100, 100), 19, (), 12, 12)
    torch.manual_seed(0)
    model = CaptionerSettings(hidden=8, embedding=6, filters=2, attention="general").build(spec).eval()

    def teach(canvas: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        looks = torch.zeros(*target.shape, 169)
        looks[..., 13 * 6 + 6] = 1  # pixels 48 to 55, both ways
        return torch.zeros(0), looks

    monkeypatch.setattr(model, "teach", teach)
    monkeypatch.setattr("agents.learn.looks.frozen_batches", lambda env: iter([np.arange(50)]))
    small = make_env(model, CAPTION, 50, split="test", boxes=True, glimpses_per_answer=1)
    monkeypatch.setattr("agents.learn.looks.frozen_env", lambda *_, **__: small)
    found = mass_on_target(model, task, "test")
    env = gymnasium.make_vec(CAPTION, 50, "vector_entry_point", split="test", glimpses_per_answer=1)
    env.reset(options={"index": np.arange(50)})
    boxes = [box for box in env.present_scenes().boxes.reshape(-1, 4).tolist() if box[2]]

    def mean_mass(left: int, top: int) -> float:
        """Of a look at the eight by eight pixels that begin there."""
        return 100 * np.mean([
            math.prod(
                max(0, min(first + side, begin + 8) - max(first, begin)) / 8
                for first, side, begin in ((x, width, left), (y, height, top))
            )
            for x, y, width, height in boxes
        ])  # fmt: skip

    assert found["mass on target"].error == pytest.approx(mean_mass(48, 48), rel=1e-4)
    assert found["mass on target"].scenes == len(boxes)
    best = max(mean_mass(8 * i, 8 * j) for i in range(13) for j in range(13))
    assert found["mass on target, one look"].error == pytest.approx(best, rel=1e-4)
    assert best > mean_mass(48, 48)


def test_attention_on_what_a_captioner_names_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    inner = make_custom(pictures(30), captions=SAID, canvas_size=24).unwrapped.vector
    task = Task(CAPTION, {"dataset": inner.dataset, "canvas_size": 24, "glimpses_per_answer": 1}, Loop(), 1)
    spec = Spec((12, 12, 12), (3, 24, 24), 13, (), 5, 5)
    model = CaptionerSettings(hidden=16, embedding=12, filters=4).build(spec)  # 3 x 3 places of eight pixels
    lies = {7: (0, 0, 12, 8), 8: (16, 16, 8, 8)}
    monkeypatch.setattr(
        type(inner.world), "boxes_of", lambda _, scene, said: np.array([lies.get(i, (0,) * 4) for i in said])
    )
    looks = torch.zeros(3, 4, 9)
    looks[:, :, 8] = 1.0
    looks[0, 1] = torch.tensor([0.25, 0.5, 0, 0, 0, 0, 0, 0, 0.25])
    said = [[1, 7, 2], [8], [3, 2]]
    words = torch.tensor([[1, 7, 2, -1], [8, -1, -1, -1], [3, 2, -1, -1]])
    monkeypatch.setattr("agents.learn.looks.looks_while", lambda *_: iter([(0, words, looks, looks)]))
    found = own_mass_on_target(model, task, "validation", said)
    mass, still = found["mass on target, own words"], found["mass on target, own words, one look"]
    assert mass.error == pytest.approx((100 * (0.25 + 0.5 * 0.5) + 100) / 2)
    assert still.error == pytest.approx(100 / 2)  # always on all of the one and none of the other
    assert (mass.scenes, still.scenes) == (2, 2)
    nothing = (0, words[2:], looks[2:], looks[2:])
    monkeypatch.setattr("agents.learn.looks.looks_while", lambda *_: iter([nothing]))
    assert own_mass_on_target(model, task, "validation", said[2:]) == {}


def test_looks_are_those_of_a_captioner_that_says_what_was_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """As it is taught by, all words at once."""
    model = captioner(attention="general", feeding="above", layers=2, hard=True)
    views = [torch.rand(2, 1, 44, 36), torch.rand(1, 1, 44, 36)]
    monkeypatch.setattr("agents.learn.looks.frozen_views", lambda *_: iter(views))
    said = [[1, 2], [3], [4, 5, 6]]
    found = list(looks_while(model, Task(CAPTION, {}, Loop(), 1), "test", said))
    assert [first for first, *_ in found] == [0, 2]
    for (first, words, weights, looks), view in zip(found, views, strict=True):
        assert [[w for w in row if w >= 0] for row in words.tolist()] == said[first : first + len(view)]
        _, taught = model.teach(view, words)
        assert torch.equal(looks[words >= 0], taught[words >= 0])
        assert torch.equal(weights.argmax(2)[words >= 0], taught.argmax(2)[words >= 0])
        assert (weights.amax(2) < 1).all()  # what a hard look is drawn by


def test_movement_is_that_of_looks_one_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a model that looks at one place, then at two alike, and so on, whatever it hears."""
    model = captioner(attention="general")
    step = 0

    def looks(heard: torch.Tensor, state: Any) -> tuple[Any, Any, torch.Tensor]:
        nonlocal step
        weights = torch.zeros(len(heard), 30)
        weights[:, 0] = 1.0 if step % 2 == 0 else 0.0
        if step % 2:
            weights[:, [4, 29]] = 0.5
        step += 1
        return None, {"weights": weights}, weights

    monkeypatch.setattr(model, "step", looks)
    monkeypatch.setattr("agents.learn.looks.frozen_views", lambda *_: iter([torch.rand(2, 1, 44, 36)]))
    found = movement(model, Task(CAPTION, {}, Loop(), 1), "test", [[1, 2], [3, 1]])
    assert found["entropy"].error == pytest.approx(math.log(2) / 2)
    assert found["entropy"].scenes == 4
    assert found["travel"].error == pytest.approx(float((model.middle[4] - model.middle[0])[0]) / 2)
    assert found["travel"].scenes == 2


def test_captions_of_one_word_have_all_figures_but_travel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    made = make_custom(pictures(30), captions=[["dog"], ["cat"], ["cow"]] * 10, canvas_size=24)
    inner = made.unwrapped.vector
    env = {"dataset": inner.dataset, "canvas_size": 24, "glimpses_per_answer": 1}
    task = Task(CAPTION, env, Loop(batch_size=2, images_per_epoch=4), 1)
    spec = Spec((3, 12, 12), (3, 24, 24), 5, (), 2, 2)
    torch.manual_seed(0)
    model = CaptionerSettings(hidden=16, embedding=12, filters=4, attention="general").build(spec)
    figures = Captioning(beams=2).figures(model, task, "test")
    assert figures["entropy"].scenes >= 1
    assert all(math.isfinite(one.error) for one in figures.values())
    monkeypatch.setattr(captioning.beam, "search", lambda *a, **k: [[0] for _ in a[1]])
    assert "travel" not in Captioning(beams=2).figures(model, task, "test")
