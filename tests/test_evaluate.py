from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import OFFLINE
from scipy import stats
from torch import Tensor, nn

import glimpse_env
from agents.agent import Agent, Step
from agents.learn import envs
from agents.learn.evaluate import evaluate, mean_of, scoring, wilson
from agents.learn.rollout import learning, rollout
from agents.models.whole_canvas import WholeCanvasClassifier
from agents.parts.convolutions import PatchConv2d
from glimpse_env.data.images import load
from glimpse_env.vector import GlimpseVectorEnv
from glimpse_env.wrappers import VectorSupervision

MNIST = "Glimpse/MNIST-v0"


class Constant(Agent):
    """Answers `answer` always, but flips a coin when it samples."""

    def __init__(self, answer: int, answers: int = 10) -> None:
        super().__init__()
        self.answer, self.answers = answer, answers

    def initial(self, batch_size: int) -> None:
        pass

    def forward(self, observation: dict[str, Tensor], state: None, sample: bool) -> tuple[Step, None]:
        batch = len(observation["gaze"])
        logits = torch.zeros(batch, self.answers)
        logits[:, self.answer] = 1.0
        if sample:
            logits[torch.rand(batch) < 0.15, (self.answer + 1) % 10] = 2.0
        zeros = torch.zeros(batch)
        return Step(torch.zeros(batch, 2), logits, zeros, zeros), None


def test_in_training_an_early_end_is_wrong_but_ends_nothing() -> None:
    env = envs.make_env(Constant(10, 11), "Glimpse/HouseNumbers-v0", 50, **OFFLINE)
    ending = Constant(10, 11)
    played = rollout(ending, env, sample=False, seed=0)
    assert played.due.sum() == 50  # one answer each: END
    taught = rollout(learning(ending, env), env, sample=False, seed=0)
    assert torch.equal(taught.target, played.target)
    # Every digit and END were asked, the digits were answered wrongly, and nobody was paid.
    assert torch.equal(taught.due.sum(0), (played.target >= 0).sum(1))
    assert not taught.correct.any()
    assert (taught.reward == 0).all()
    assert learning(ending, envs.make_env(Constant(3), MNIST, 2, **OFFLINE)) is ending


def test_who_is_over_is_paid_no_more() -> None:
    env = envs.make_env(Constant(1, 11), "Glimpse/HouseNumbers-v0", 50, step_cost=0.125, **OFFLINE)
    played = rollout(learning(Constant(1, 11), env), env, sample=False, seed=0)
    assert (~played.playing).any()
    assert (played.reward[~played.playing] == 0).all()
    assert (played.reward[played.playing] != 0).all()  # each glimpse costs


def test_an_episode_that_is_cut_off_is_not_right() -> None:
    env = VectorSupervision(GlimpseVectorEnv(20, max_episode_steps=2, **OFFLINE))
    assert not rollout(Constant(3), env, sample=False, seed=0).correct.any()


def test_a_score_that_fails_leaves_a_model_as_it_was() -> None:
    model = nn.Dropout()
    failing = scoring(model, 0)
    failing.__enter__()
    assert not model.training
    assert not failing.__exit__(KeyError, KeyError(), None)  # it goes on
    assert model.training


@pytest.mark.parametrize(("wrong", "total"), [(0, 10), (1, 1000), (107, 10_000), (500, 1000), (10, 10)])
def test_interval_is_scipys_wilson(wrong: int, total: int) -> None:
    theirs = stats.binomtest(wrong, total).proportion_ci(0.95, method="wilson")
    assert wilson(wrong, total) == pytest.approx((100 * theirs.low, 100 * theirs.high), abs=1e-9)


def test_the_interval_of_a_mean_is_scipys() -> None:
    figures = torch.tensor([1.0, 2.0, 4.0, 8.0])
    low, high = stats.norm.interval(0.95, loc=3.75, scale=stats.sem(figures.numpy()))
    found = mean_of(figures)
    assert (found.error, found.scenes) == (3.75, 4)
    assert found.ci95 == pytest.approx((low, high), rel=1e-4)
    assert mean_of(figures[:1]).ci95 == (1.0, 1.0)


@pytest.mark.parametrize("batch", [1000, 300])
def test_each_scene_counts_once_whatever_the_batch(batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(envs, "MOST_ROWS", batch)
    labels = load("mnist-5k", "test").labels
    score = evaluate(Constant(3), MNIST, "test", **OFFLINE)
    assert score.scenes == 1000
    assert score.error == 100 * (labels != 3).mean()


def test_modes_and_the_global_generator() -> None:
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (510, 28, 28)).astype(np.uint8)
    threes = (pictures[10:], [3] * 500)  # all validation pictures are threes
    env_id = glimpse_env.register_custom(
        "Threes", pictures[:10], np.arange(10), validation=threes, test=threes
    )
    agent = Constant(3)
    agent.train()
    torch.manual_seed(5)
    before = torch.get_rng_state()
    assert evaluate(agent, env_id, "validation").error == 0
    one = evaluate(agent, env_id, "validation", "sampled")
    again = evaluate(agent, env_id, "validation", "sampled")
    assert one == again
    assert agent.training
    assert torch.equal(before, torch.get_rng_state())
    # 15 draws in 100 favour the wrong class. The mean of ten does if four or more do: 5 times in 100.
    assert one.error == pytest.approx(15, abs=4.8)  # three standard deviations of 500 draws
    assert evaluate(agent, env_id, "validation", "mc10").error == pytest.approx(5, abs=2.9)
    with pytest.raises(ValueError, match="mode"):
        evaluate(agent, env_id, "validation", "best")


def test_canvas_agents_are_scored_through_the_same_environment() -> None:
    agent = WholeCanvasClassifier((1, 28, 28), 10, "conv", 32)
    canvases = torch.from_numpy(load("mnist-5k", "validation").images / 255).float()
    with torch.no_grad():
        expected = agent.network(canvases).argmax(-1)
    wrong = (expected != torch.tensor(load("mnist-5k", "validation").labels)).double().mean()
    score = evaluate(agent, MNIST, "validation", **OFFLINE)
    assert score.error == pytest.approx(100 * wrong.item())


def test_a_convolution_by_patches_is_torchs() -> None:
    torch.manual_seed(0)
    ours, theirs = PatchConv2d(3, 8, 10, stride=5), nn.Conv2d(3, 8, 10, stride=5)
    theirs.load_state_dict(ours.state_dict())
    x = torch.rand(4, 3, 60, 53)
    torch.testing.assert_close(ours(x), theirs(x))
    for layer in (ours, theirs):
        layer(x).square().sum().backward()
    torch.testing.assert_close(ours.weight.grad, theirs.weight.grad)
    torch.testing.assert_close(ours.bias.grad, theirs.bias.grad)


def test_the_papers_baselines() -> None:
    fc = WholeCanvasClassifier((1, 28, 28), 10, "fc", 256)
    conv = WholeCanvasClassifier((1, 60, 60), 10, "conv", 256)
    shapes = [tuple(p.shape) for p in fc.parameters() if p.ndim > 1]
    assert shapes == [(256, 784), (256, 256), (10, 256)]
    shapes = [tuple(p.shape) for p in conv.parameters() if p.ndim > 1]
    assert shapes == [(8, 1, 10, 10), (256, 8 * 11 * 11), (10, 256)]
    with pytest.raises(ValueError, match="network"):
        WholeCanvasClassifier((1, 28, 28), 10, "mlp", 256)
