"""The multi-fixation RBM, against sums over all states of its hidden units."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from conftest import OFFLINE
from torch import Tensor

from agents.agent import Agent, Spec
from agents.experiments import EXPERIMENTS
from agents.learn import fixations
from agents.learn.fixations import HybridSequential
from agents.learn.loop import Loop, Task
from agents.learn.rollout import Trajectory, rollout
from agents.models.fixation_rbm import Episode, FixationRBM, FixationRBMSettings
from glimpse_env.wrappers import glimpse_env_of

SPEC = Spec((1, 2, 2), (1, 6, 6), 3, horizon=4)


def machine(spec: Spec = SPEC, **settings: int) -> FixationRBM:
    """A small one, with every weight drawn so that each matters."""
    torch.manual_seed(1)
    model = FixationRBMSettings(**{"hidden": 4, "filters": 5, "grid": 3, **settings}).build(spec)
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.7)
    return model


def bits(count: int) -> Tensor:
    return torch.tensor(list(itertools.product((0.0, 1.0), repeat=count)))


def energy(model: FixationRBM, answer: int, h: Tensor, xs: list[Tensor], places: list[int]) -> Tensor:
    """E(y, h, x) as the paper has it, with the matrix of every place written out."""
    found = -model.label_bias[answer] - model.hidden_bias @ h - h @ model.label[:, answer]
    for x, place in zip(xs, places, strict=True):
        z = model.gates[0, :, place // 3, place % 3]
        matrix = model.pool.weight @ torch.diag(z) @ model.filter.weight
        found = found - model.pixel_bias @ x - h @ matrix @ x
    return found


def log_sum(model: FixationRBM, answer: int, xs: list[Tensor], places: list[int]) -> Tensor:
    """Log of the sum over all hidden states of e^-E."""
    return torch.stack([-energy(model, answer, h, xs, places) for h in bits(4)]).logsumexp(0)


def test_answers_are_those_of_a_sum_over_hidden_states() -> None:
    model = machine()
    places = [4, 0, 7]
    xs = [torch.rand(4) for _ in places]
    state = None
    for k, (x, place) in enumerate(zip(xs, places, strict=True), start=1):
        gaze = model.middle(torch.tensor([place]))
        step, state = model({"retina": x.view(1, 1, 2, 2), "gaze": gaze}, state, False)
        joint = torch.stack([log_sum(model, answer, xs[:k], places[:k]) for answer in range(3)])
        torch.testing.assert_close(step.logits[0].log_softmax(0), joint.log_softmax(0), atol=1e-5, rtol=1e-5)
        # What the controller sees of the hidden units: how probable each is.
        weight = torch.stack(
            [-energy(model, y, h, xs[:k], places[:k]) for y in range(3) for h in bits(4)]
        ).softmax(0)
        hidden = (weight[:, None] * bits(4).repeat(3, 1)).sum(0)
        seen = torch.cat([hidden, torch.bincount(torch.tensor(places[:k]), minlength=9).float()])
        expected = model.controller(seen)
        torch.testing.assert_close(step.baseline[0], expected.max(), atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(step.gaze, model.middle(expected.argmax()[None]))


def test_the_energy_of_a_glimpse_given_those_before() -> None:
    model = machine()
    places = [2, 5]
    xs = [torch.rand(4) for _ in places]
    gaze = model.middle(torch.tensor(places))
    each = model.evidence(torch.stack(xs).view(2, 1, 2, 2), gaze)
    for answer in range(3):
        found = model.free_energy(each.sum(0, keepdim=True), xs[1][None], torch.tensor([answer]))
        # Before it the first glimpse is given: its own part of the energy is the same for all answers.
        wanted = -log_sum(model, answer, xs, places) + model.pixel_bias @ xs[0]
        torch.testing.assert_close(found[0], wanted, atol=1e-5, rtol=1e-5)


def test_contrastive_divergence_makes_what_is_seen_more_probable() -> None:
    model = machine()
    torch.manual_seed(0)
    xs, answers = torch.tensor([[1.0, 0, 1, 0], [0, 1, 0, 1]]), torch.tensor([0, 2])
    places = torch.tensor([4, 4])
    gaze, before = model.middle(places), torch.zeros(2, 4)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    @torch.no_grad()
    def log_likelihood() -> float:
        every = torch.stack([log_sum(model, y, [x], [4]) for y in range(3) for x in bits(4)]).logsumexp(0)
        one = [log_sum(model, int(y), [x], [4]) - every for x, y in zip(xs, answers, strict=True)]
        return float(torch.stack(one).mean())

    untrained = log_likelihood()
    for _ in range(400):
        model.zero_grad()
        model.contrast(before, xs, gaze, answers).mean().backward()
        optimizer.step()
    # Two patterns of 48 are taught: no model can give them more than log 1/2 on the average.
    assert untrained < -4
    assert -2 < log_likelihood() <= -0.69


def test_an_episode_at_once_is_the_episode_step_by_step() -> None:
    model = machine()
    retina, gaze = torch.rand(4, 6, 1, 2, 2), torch.rand(4, 6, 2) * 2 - 1
    seen = model.episode(retina, gaze, torch.randint(3, (6,)))
    state = None
    for t in range(4):
        step, state = model({"retina": retina[t], "gaze": gaze[t]}, state, False)
        torch.testing.assert_close(seen.logits[t], step.logits)
        torch.testing.assert_close(seen.expected[t].max(1).values, step.baseline)


def test_the_cost_of_an_episode_is_that_of_its_glimpses() -> None:
    model = machine()
    retina, gaze = torch.rand(3, 5, 1, 2, 2), torch.rand(3, 5, 2) * 2 - 1
    answer = torch.randint(3, (5,))
    before, given = torch.zeros(5, 4), []
    for t in range(3):
        given.append(before)
        before = before + model.evidence(retina[t], gaze[t])
    everything = retina.flatten(0, 1).flatten(1), gaze.flatten(0, 1), torch.cat([answer] * 3)
    torch.manual_seed(7)
    wanted = model.contrast(torch.cat(given), *everything).view(3, 5)
    torch.manual_seed(7)
    torch.testing.assert_close(model.episode(retina, gaze, answer).contrast, wanted)
    found = []
    for weight in (0.5, 0.0):
        torch.manual_seed(7)
        found.append(HybridSequential(generative_weight=weight).loss(model, retina, gaze, answer))
    torch.testing.assert_close(found[0] - found[1], 0.5 * wanted.mean())


def test_an_episode_is_in_full_precision_under_autocast() -> None:
    model = machine()
    shown = torch.rand(3, 5, 1, 2, 2), torch.rand(3, 5, 2) * 2 - 1, torch.randint(3, (5,))
    outside = model.episode(*shown).logits
    with torch.autocast("cpu", torch.bfloat16):
        inside = model.episode(*shown).logits
    assert torch.equal(inside, outside)


def test_the_gradient_is_near_that_of_the_likelihood_given_earlier_glimpses() -> None:
    model = machine()
    for weight in model.parameters():
        weight.data.mul_(0.6)  # weak: CD-1 is biased where one step of sampling moves little
    gaze = model.middle(torch.tensor([5]))
    first, second, answer = torch.tensor([[1.0, 0, 1, 1]]), torch.tensor([[0.0, 1, 1, 0]]), 1
    weights = {name: w for name, w in model.named_parameters() if not name.startswith("controller")}

    def gradient(loss: Tensor) -> dict[str, Tensor]:
        return dict(zip(weights, torch.autograd.grad(loss, list(weights.values())), strict=True))

    # Exactly: -log p(y, x_2 | x_1), over all answers and all binary glimpses at the same gaze.
    before = model.evidence(first.view(1, 1, 2, 2), model.middle(torch.tensor([2])))

    def minus_energy(x: Tensor, y: int) -> Tensor:
        inputs = before + model.evidence(x.view(1, 1, 2, 2), gaze)
        return -model.free_energy(inputs, x, torch.tensor([y]))[0]

    every = torch.stack([minus_energy(x[None], y) for y in range(3) for x in bits(4)])
    exact = gradient(every.logsumexp(0) - minus_energy(second, answer))
    before = model.evidence(first.view(1, 1, 2, 2), model.middle(torch.tensor([2])))
    rows = 20_000
    found = gradient(
        model.contrast(
            before.expand(rows, -1),
            second.expand(rows, -1),
            gaze.expand(rows, -1),
            torch.full((rows,), answer),
        ).mean()
    )
    for name, wanted in exact.items():
        assert torch.cosine_similarity(found[name].flatten(), wanted.flatten(), 0) > 0.9, name


def test_diverged_weights_are_named() -> None:
    model = machine()
    model.pool.weight.data.fill_(float("nan"))
    with pytest.raises(ValueError, match="not finite: train anew"):
        model.episode(torch.rand(2, 3, 1, 2, 2), torch.zeros(2, 3, 2), torch.tensor([0, 1, 2]))


def test_weights_of_filters_are_interpolated_between_the_middles_of_places() -> None:
    model = machine()
    middles = model.middle(torch.arange(9))
    torch.testing.assert_close(model.place(middles), torch.arange(9))
    torch.testing.assert_close(middles[0], torch.tensor([-2 / 3, -2 / 3]))
    torch.testing.assert_close(middles[5], torch.tensor([2 / 3, 0.0]))
    table = model.gates[0].flatten(1).t()
    torch.testing.assert_close(model._gates_at(middles), table, atol=1e-5, rtol=1e-5)
    between = (middles[3] + middles[4])[None] / 2
    torch.testing.assert_close(model._gates_at(between)[0], (table[3] + table[4]) / 2, atol=1e-5, rtol=1e-5)
    corner = torch.tensor([[1.0, -1.0]])
    assert model.place(corner) == 2
    torch.testing.assert_close(model._gates_at(corner)[0], table[2])


def test_the_controller_teaches_nobody_else() -> None:
    model = machine()
    seen = model.episode(torch.rand(3, 5, 1, 2, 2), torch.rand(3, 5, 2) * 2 - 1, torch.randint(3, (5,)))
    seen.expected.sum().backward()
    assert {name for name, weight in model.named_parameters() if weight.grad is not None} == {
        "controller.weight",
        "controller.bias",
    }


def test_a_share_of_sampled_gazes_is_drawn_from_the_grid() -> None:
    model = machine()
    rows = 9000
    view = {"retina": torch.rand(1, 1, 2, 2).expand(rows, -1, -1, -1), "gaze": torch.zeros(rows, 2)}
    usual = model(view, None, False)[0].gaze
    assert (usual == usual[0]).all()
    assert model.explore == 0.1
    model.explore = 0.5
    place = model.place(model(view, None, True)[0].gaze)
    found = torch.bincount(place, minlength=9) / rows
    best = model.place(usual[0])
    for other in range(9):
        assert abs(found[other] - (0.5 / 9 + 0.5 * (other == best))) < 0.02
    assert (model(view, None, False)[0].gaze == usual).all()


def test_a_batch_of_learning(monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = EXPERIMENTS["fixation-rbm-cluttered"]
    env = {**experiment.env, **OFFLINE, "horizon": 3}
    experiment = experiment.but(env=env, model={"hidden": 8, "filters": 8, "grid": 4})
    agent = experiment.build(experiment.spec())
    learner = experiment.learner
    assert isinstance(learner, HybridSequential)
    played: list[Trajectory] = []
    made: list[Any] = []

    def watched(agent: Agent, env: Any, **keywords: Any) -> Trajectory:
        made.append(env)
        played.append(rollout(agent, env, **keywords))
        return played[-1]

    learned: list[Episode] = []
    whole = agent.episode

    def kept(*shown: Tensor) -> Episode:
        learned.append(whole(*shown))
        return learned[-1]

    monkeypatch.setattr(fixations, "rollout", watched)
    monkeypatch.setattr(agent, "episode", kept)
    lesson = learner.lesson(agent, Task(experiment.env_id, env, Loop(batch_size=8), 1))
    for progress, explore, difficulty in ((0.0, 1.0, 0.0), (0.25, 0.55, 0.625), (0.75, 0.1, 1.0)):
        result = lesson.batch(list(range(8)), progress)
        assert agent.explore == pytest.approx(explore)
        assert glimpse_env_of(made[-1]).difficulty == pytest.approx(difficulty)
        # What is learned from is what was played.
        torch.testing.assert_close(learned[-1].logits, played[-1].logits)
    result.loss.backward()
    lesson.close()
    assert not [name for name, weight in agent.named_parameters() if weight.grad is None]


def test_the_controllers_error_is_of_what_the_look_brought() -> None:
    model, learner = machine(), HybridSequential(generative_weight=0.0)
    retina, gaze = torch.rand(2, 1, 1, 2, 2), model.middle(torch.tensor([[1], [6]]))
    answer = torch.tensor([2])
    seen = model.episode(retina, gaze, answer)
    log_p = seen.logits.log_softmax(-1)[:, 0, 2]
    wanted = -log_p.mean() + (seen.expected[0, 0, 6] - log_p[1]) ** 2
    torch.testing.assert_close(learner.loss(model, retina, gaze, answer), wanted)


def test_bad_settings_are_named() -> None:
    for name in ("hidden", "filters", "grid"):
        with pytest.raises(ValueError, match=name):
            FixationRBMSettings(**{name: 0})
    with pytest.raises(ValueError, match="explore"):
        FixationRBMSettings(explore=1.0)
    for name, value in (
        ("generative_weight", -1.0),
        ("generative_weight", float("inf")),
        ("explore_start", 1.1),
        ("curriculum", 1.0),
    ):
        with pytest.raises(ValueError, match=name):
            HybridSequential(**{name: value})
    with pytest.raises(ValueError, match="one answer a scene, and here are up to 2"):
        FixationRBMSettings().build(SPEC._replace(length=2))
