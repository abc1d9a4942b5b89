"""What captioners learn from (agents/learn/captioning.py)."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import SAID, captioner, pictures
from torch import nn
from torch.nn import functional as F

from agents.agent import Spec
from agents.experiments import EXPERIMENTS
from agents.learn import captioning, metrics
from agents.learn.captioning import Captioning, HardCaptioning
from agents.learn.envs import spec_of
from agents.learn.loop import Loop, Task
from agents.learn.pools import Pictures, some_of
from agents.models.captioner import CaptionerSettings
from glimpse_env import make_custom
from glimpse_env.data import captions
from glimpse_env.worlds.captions import CaptionWorld

CAPTION = "Glimpse/Caption-v0"


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


def test_features_are_those_of_the_picture_that_a_caption_is_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    said = [[f"picture {word}"] for word in "abcdefghijklmnopqrst"]
    inner = make_custom(pictures(20), captions=said, split="train", canvas_size=24).unwrapped.vector
    env = {"dataset": inner.dataset, "canvas_size": 24, "glimpses_per_answer": 1}
    task = Task(CAPTION, env, Loop(batch_size=8, images_per_epoch=8), 1)
    number = torch.arange(inner.num_scenes, dtype=torch.float16)[:, None].numpy()
    monkeypatch.setattr("agents.learn.pools.known_features", lambda *_: number)
    pool = Pictures(captioner(), task)
    seen = set()
    for shown in (pool.batch([1]), pool.batch(None), pool.batch(None)):
        for (picture,), told in zip(shown.canvas.int().tolist(), shown.target.tolist(), strict=True):
            seen.add(picture)
            words = [word for word in told if 0 <= word < len(inner.world.names)]
            assert tuple(inner.world.names[word] for word in words) == inner.world.references(picture)[0]
    assert len(seen) > 5
    pool.env.close()


def test_captions_that_teach_are_drawn_alike() -> None:
    ways = torch.tensor([[[1, 0], [2, 0], [3, 0]], [[4, 0], [-1, -1], [-1, -1]]]).repeat(3000, 1, 1)
    torch.manual_seed(0)
    chosen = some_of(ways, 2)[:, :, 0]
    assert (chosen[1::2] == 4).all()
    pairs = Counter(map(tuple, chosen[::2].tolist()))
    assert len(pairs) == 6  # in either order, never the same twice
    assert all(abs(count - 500) < 4 * 21 for count in pairs.values())  # four standard deviations


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


def test_a_share_of_a_smoothed_words_probability_is_all_words() -> None:
    model = captioner(attention="general", feeding="none", dropout=0.0)
    canvas, target = torch.rand(2, 1, 44, 36), torch.tensor([[1, 2, 8], [3, 8, -1]])
    scores, _ = model.teach(canvas, target)
    log_p = scores.log_softmax(1)
    right = sum(log_p[i, word].item() for i, word in enumerate((1, 2, 8, 3, 8))) / 5
    plain, smoothed = (Captioning(label_smoothing=by).loss(model, canvas, target) for by in (0.0, 0.2))
    assert plain.item() == pytest.approx(-right, rel=1e-5)
    assert smoothed.item() == pytest.approx(-0.8 * right - 0.2 * log_p.mean().item(), rel=1e-5)


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


@pytest.mark.parametrize("feeding", ["context", "readout", "above"])
def test_hard_looks_that_are_heard_of_later_climb_what_all_words_are_paid(feeding: Any) -> None:
    """The gradient of many courses is that of all courses of two words, each by its probability."""
    torch.manual_seed(1)
    spec = Spec((1, 4, 4), (1, 16, 16), 4, (), 2, 2)
    model = (
        CaptionerSettings(
            hidden=8,
            embedding=6,
            filters=2,
            attention="general",
            feeding=feeding,
            hard=True,
            dropout=0.0,
            layers=2 if feeding == "above" else 1,
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
        fed = {"context": there, "readout": state.get("fed"), "above": word[:, :0]}[feeding]
        y, core = model.decoder(torch.cat([word, fed], 1), state["core"])
        asks = state["core"][0] if feeding == "context" else y
        weights = model._weigh(asks[:, None], state)[0, 0]
        after = {**state, "core": core}
        if feeding == "above":
            assert model.above_look is not None
            y, after["above"] = model.above_look(torch.cat([y, there], 1), state["above"])
        after["fed"] = torch.tanh(model.readout(torch.cat([y, there], 1)))
        return model._score(after["fed"]).log_softmax(1)[0], after, weights[place]

    for first in range(places):
        one, state, p1 = step(0, begun, first)
        for second in range(places):
            two, _, p2 = step(2, state, second)
            paid_1, paid_2 = one[1].detach() + 0.5 * two[2].detach(), two[2].detach()
            probability = (p1 * p2).detach()
            total = total - probability * (one[1] + two[2] + p1.log() * paid_1 + p2.log() * paid_2)
    (exact,) = torch.autograd.grad(total / 2, align)
    assert (found - exact).norm() < 0.12 * exact.norm()


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
    learner, taught, shown, paid = captioning.SelfCritical(samples=3), [], [], []
    teach = model.teach

    def noted(seen: torch.Tensor, said: torch.Tensor) -> Any:
        taught.append((model.training, said))
        return teach(seen, said)

    monkeypatch.setattr(model, "teach", noted)
    batch = Pictures.batch
    monkeypatch.setattr(Pictures, "batch", lambda *given: shown.append(batch(*given)) or shown[-1])
    monkeypatch.setattr(
        CaptionWorld, "score", lambda _, told, ways: paid.append((told, ways)) or float(len(paid))
    )
    lesson = learner.lesson(model, task)
    model.train()
    result = lesson.batch([1, 2], 0.0)
    assert torch.isfinite(result.loss)
    assert model.training
    ((training, said),) = taught
    # Three captions of each of two pictures are paid by what is right for theirs.
    assert [ways for _, ways in paid] == [ways for ways in shown[0].ways for _ in range(3)]
    assert shown[0].ways[0] != shown[0].ways[1]
    assert [told for told, _ in paid] == [[word for word in row if 0 <= word < 12] for row in said.tolist()]
    assert result.figures["paid"].item() == 3.5
    assert not training
    assert not (said == 11).any()  # <other>
    norms = [module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    before = [norm.running_mean.clone() for norm in norms]
    assert norms
    lesson.validate(model)  # by the statistics that it is trained with
    assert all(torch.equal(norm.running_mean, mean) for norm, mean in zip(norms, before, strict=True))
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
    shown = Pictures(model, experiment.task)
    convolved = torch.cat([model.cnn[0](shown.batch(None).canvas).detach() for _ in range(8)])
    shown.env.close()
    torch.testing.assert_close(first, convolved.mean((0, 2, 3)), rtol=0.1, atol=1e-3)
    learner.validation(model, experiment.task)(model)
    assert torch.equal(norms[0].running_mean, first)
