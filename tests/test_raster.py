"""A raster of glimpses read like a sentence, against plain loops."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from conftest import OFFLINE
from torch import Tensor

from agents.agent import Spec
from agents.experiments import EXPERIMENTS
from agents.learn.differentiable import CrossEntropy
from agents.learn.loop import Loop, Task
from agents.models.raster import Raster, RasterSettings, places

SPEC = Spec((1, 12, 12), (1, 30, 30), 7, length=3, horizon=3)


def reader_of(**settings: Any) -> Raster:
    torch.manual_seed(0)
    return RasterSettings(size=12, stride=7, hidden=16, **settings).build(SPEC).eval()


def test_the_raster_covers_the_canvas_line_by_line() -> None:
    assert places(30, 12, 7) == [0, 7, 14, 18]
    assert places(12, 12, 7) == [0]
    assert places(54, 12, 6) == [0, 6, 12, 18, 24, 30, 36, 42]
    model = reader_of()
    assert model.corners[:5] == [(0, 0), (0, 7), (0, 14), (0, 18), (7, 0)]
    # In gaze units, the first glimpse's middle is pixel 5.5 and the last one's 23.5 of 0 to 29.
    torch.testing.assert_close(model.gaze[0], torch.full((2,), 2 * 5.5 / 29 - 1))  # type: ignore[index]
    torch.testing.assert_close(model.gaze[1], torch.tensor([2 * 12.5 / 29 - 1, 2 * 5.5 / 29 - 1]))  # type: ignore[index]
    torch.testing.assert_close(model.gaze[-1], torch.full((2,), 2 * 23.5 / 29 - 1))  # type: ignore[index]


@pytest.mark.parametrize("attention", [True, False])
def test_answers_are_those_of_a_loop(attention: bool) -> None:
    model = reader_of(attention=attention)
    canvas = torch.rand(2, 1, 30, 30)
    found, looks = model.read(canvas)
    own = dict(model.named_parameters())
    for row in range(2):
        seen: list[Tensor] = []
        for (y, x), gaze in zip(model.corners, model.gaze, strict=True):  # type: ignore[call-overload]
            patch = canvas[row : row + 1, :, y : y + 12, x : x + 12]
            seen.append(model.glimpse(patch, gaze[None]))
        passes = []
        for layer, order in ((model.ahead, seen), (model.back, seen[::-1])):
            state, ys = layer.initial(1), []
            for one in order:
                y, state = layer(one, state)
                ys.append(y[0])
            passes.append(ys)
        keys = torch.stack([torch.cat(pair) for pair in zip(passes[0], passes[1][::-1], strict=True)])
        state = model.decoder.begin_from(torch.cat([passes[0][-1], passes[1][-1]])[None])
        read = torch.zeros(1, 16)
        for t in range(3):
            y, state = model.decoder(read, state)
            parts = [y]
            if attention:
                inner = own["alignment.query.weight"] @ y[0] + own["alignment.query.bias"]
                scores = (
                    torch.tanh(keys @ own["alignment.key.weight"].t() + inner)
                    @ own["alignment.score.weight"][0]
                )
                torch.testing.assert_close(looks[row, t], scores.softmax(0), atol=1e-5, rtol=1e-5)
                parts.append((scores.softmax(0) @ keys)[None])
            read = torch.tanh(model.readout(torch.cat(parts, 1)))
            torch.testing.assert_close(found[row, t], model.classifier(read)[0], atol=1e-5, rtol=1e-5)


def test_it_answers_as_they_are_due() -> None:
    model = reader_of()
    canvas = torch.rand(2, 1, 30, 30)
    state = model.initial(2)
    for t in range(3):
        time = torch.full((2, 1), (t + 1) / 3)
        step, state = model({"canvas": canvas, "time": time}, state, False)
        torch.testing.assert_close(step.logits, model.answers(canvas)[:, t])


def test_bad_settings_are_named() -> None:
    for wrong, says in (({"size": 0}, "size"), ({"hidden": 15}, "even"), ({"dropout": 1.0}, "dropout")):
        with pytest.raises(ValueError, match=says):
            RasterSettings(**wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at most the canvas's 30"):
        RasterSettings(size=31).build(SPEC)


@pytest.mark.parametrize("name", ["seq2seq-house", "seq2seq-attention-sum", "seq2seq-read"])
def test_a_step_of_learning(name: str) -> None:
    experiment = EXPERIMENTS[name].but(
        env={**EXPERIMENTS[name].env, **OFFLINE}, model={"hidden": 16}, loop={"batch_size": 8}
    )
    agent = experiment.build(experiment.spec())
    assert isinstance(experiment.learner, CrossEntropy)
    lesson = experiment.learner.lesson(agent, Task(experiment.env_id, experiment.env, Loop(batch_size=8), 1))
    result = lesson.batch(list(range(8)), 0.5)
    result.loss.backward()
    lesson.close()
    unused = [key for key, weight in agent.named_parameters() if weight.grad is None]
    assert not unused
