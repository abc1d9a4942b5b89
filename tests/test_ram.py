from __future__ import annotations

import gc
import weakref
from typing import Any

import numpy as np
import pytest
import torch
from conftest import OFFLINE

from agents.agent import count_parameters
from agents.experiments import EXPERIMENTS
from agents.learn import losses
from agents.learn.envs import make_env
from agents.learn.rollout import Trajectory, rollout
from agents.models.ram import RAM, GivenGazeSettings
from agents.parts.gaze import GazePolicy, gaussian_log_prob
from agents.parts.recording import Recording


def make(policy: Any = "learned", **keywords: Any) -> RAM:
    torch.manual_seed(0)
    return RAM((1, 8, 8), 10, policy=policy, **keywords)


def play(agent: RAM, num_envs: int = 16, sample: bool = True, seed: int = 0) -> Trajectory:
    env = make_env(agent, "Glimpse/MNIST-v0", num_envs, **OFFLINE)
    return rollout(agent, env, sample=sample, seed=seed)


def test_log_prob_is_torchs_gaussian() -> None:
    value, mean = torch.randn(7, 2), torch.randn(7, 2)
    normal = torch.distributions.Normal(mean, 0.3)
    log_sigma = torch.tensor(0.3).log()
    torch.testing.assert_close(gaussian_log_prob(value, mean, log_sigma), normal.log_prob(value).sum(-1))
    torch.testing.assert_close(GazePolicy(3, 0.3, learn_sigma=True).entropy(), 2 * normal.entropy()[0, 0])


def test_the_network_is_the_papers() -> None:
    # 64-128, 2-128, 128-256, 128-256 without bias, 256-256, 256-256 without bias, 256-10, 256-1, 256-2.
    parts = [65 * 128, 3 * 128, 129 * 256, 128 * 256, 257 * 256, 256 * 256, 257 * 10, 257, 257 * 2]
    assert count_parameters(make()) == sum(parts)


def test_a_trajectory_scores_all_gazes_but_the_last() -> None:
    agent = make()
    played = play(agent)
    assert played.gaze.shape == (7, 16, 2)
    assert played.log_prob.shape == played.baseline.shape == (7, 16)
    assert played.looked.shape == (6, 16)
    assert played.looked.all()
    assert (played.gaze[0] == 0).all()
    assert (played.gaze[1:].abs() <= 1).all()
    assert played.logits.shape == (7, 16, 10)
    assert played.answered.tolist() == [6]
    assert (played.correct == (played.logits[-1].argmax(-1) == played.target[:, 0])).all()
    assert (played.reward.sum(0) == played.correct).all()
    assert played.target.shape == (16, 1)


def test_the_same_seed_gives_the_same_trajectory() -> None:
    agent = make()
    a, b = (play(agent, seed=3, sample=False) for _ in range(2))
    torch.testing.assert_close(a.logits, b.logits, rtol=0, atol=0)
    # A row's episode does not depend on the batch it is played in.
    c = play(agent, num_envs=4, seed=3, sample=False)
    torch.testing.assert_close(a.logits[:, :4], c.logits, rtol=1e-5, atol=1e-6)


def gaze_loss(played: Trajectory) -> torch.Tensor:
    return losses.reinforce(played.log_prob[:-1], played.reward[1:], played.baseline[:-1])


def value_error(played: Trajectory) -> torch.Tensor:
    return losses.baseline_error(played.baseline[:-1], losses.returns(played.reward[1:]))


def gradients(agent: RAM, loss: torch.Tensor) -> dict[str, bool]:
    """For each part of the agent, whether `loss` moves it."""
    agent.zero_grad()
    loss.backward()
    parts = dict(agent.named_children())
    return {
        name: any(p.grad is not None and p.grad.abs().max() > 0 for p in part.parameters())
        for name, part in parts.items()
    }


def test_each_loss_trains_its_own_parts() -> None:
    """The answer trains all that leads to it; REINFORCE the locator alone; the squared error the baseline."""
    agent = make(detach=True)
    played = play(agent)
    answer = gradients(agent, losses.cross_entropy(played.logits[-1:], played.target.t()))
    assert answer == {
        "glimpse_network": True,
        "core": True,
        "classifier": True,
        "baseline": False,
        "locator": False,
    }
    played = play(agent)
    assert played.reward.std() > 0
    gaze = gradients(agent, gaze_loss(played))
    assert [name for name, moved in gaze.items() if moved] == ["locator"]
    played = play(agent)
    value = gradients(agent, value_error(played))
    assert [name for name, moved in value.items() if moved] == ["baseline"]


def test_undetached_all_losses_train_what_the_core_remembers() -> None:
    agent = make(detach=False)
    played = play(agent)
    gaze = gradients(agent, gaze_loss(played))
    assert [name for name, moved in gaze.items() if moved] == ["glimpse_network", "core", "locator"]
    played = play(agent)
    value = gradients(agent, value_error(played))
    assert [name for name, moved in value.items() if moved] == ["glimpse_network", "core", "baseline"]


def test_raw_samples_are_scored_though_the_eye_clips_them() -> None:
    agent = make(sigma=2.0)
    observation = {"retina": torch.zeros(500, 1, 8, 8), "gaze": torch.zeros(500, 2)}
    step, state = agent(observation, agent.initial(500), sample=True)
    assert step.gaze.abs().max() > 1
    mean = torch.tanh(agent.locator(state))
    torch.testing.assert_close(step.log_prob, gaussian_log_prob(step.gaze, mean, torch.tensor(2.0).log()))
    assert not step.gaze.requires_grad
    assert step.log_prob.requires_grad


def test_deterministic_gaze_is_the_mean_and_samples_spread_by_sigma() -> None:
    agent = make(sigma=0.2)
    observation = {"retina": torch.rand(1, 1, 8, 8).expand(20_000, 1, 8, 8), "gaze": torch.zeros(20_000, 2)}
    with torch.no_grad():
        mean = agent(observation, None, sample=False)[0].gaze
        spread = agent(observation, None, sample=True)[0].gaze - mean
    assert (mean == mean[0]).all()
    assert spread.std(0).tolist() == pytest.approx([0.2, 0.2], rel=0.03)
    assert spread.mean(0).tolist() == pytest.approx([0, 0], abs=0.006)


def test_controls_look_at_random_or_at_the_centre() -> None:
    assert (play(make("center")).gaze == 0).all()
    gaze = play(make("random"), num_envs=500).gaze[1:].reshape(-1, 2)
    assert np.histogram(gaze[:, 0], 4, (-1, 1))[0].min() > 600  # 3,000 gazes, 750 expected in each quarter
    assert gaze.min() < -0.9
    assert gaze.max() > 0.9


def test_reinforce_finds_where_the_reward_is() -> None:
    """The policy's mean walks to a rewarded place: the gradient of the mean is not stopped by accident."""
    agent = make(sigma=0.2)
    observation = {"retina": torch.zeros(256, 1, 8, 8), "gaze": torch.zeros(256, 2)}
    place = torch.tensor([0.5, -0.4])
    optimizer = torch.optim.Adam(agent.parameters(), 3e-3)
    for _ in range(300):
        step, _ = agent(observation, None, sample=True)
        reward = -(step.gaze - place).square().sum(-1)
        baseline = step.baseline[None]
        loss = losses.reinforce(step.log_prob[None], reward[None], baseline)
        loss = loss + losses.baseline_error(baseline, reward[None])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    gaze = agent(observation, None, sample=False)[0].gaze[0]
    torch.testing.assert_close(gaze, place, atol=0.05, rtol=0)


@pytest.mark.parametrize(("entropy_weight", "wider"), [(1.0, True), (1e-6, False)])
def test_a_learned_sigma_grows_by_its_bonus_and_shrinks_by_reward(entropy_weight: float, wider: bool) -> None:
    """The reward is 1 within 0.1 of the mean: narrower pays, unless the bonus pays more."""
    torch.manual_seed(0)
    locator = GazePolicy(1, 0.2, learn_sigma=True)
    for parameter in (locator.weight, locator.bias):
        torch.nn.init.zeros_(parameter)
    optimizer = torch.optim.SGD([locator.log_sigma], 0.05)
    for _ in range(100):
        gaze, log_prob = locator.look(torch.ones(512, 1), sample=True)
        reward = (gaze.norm(dim=1) < 0.1).float()
        loss = losses.reinforce(log_prob[None], reward[None], reward.mean().expand(1, 512))
        optimizer.zero_grad()
        (loss - entropy_weight * locator.entropy()).backward()
        optimizer.step()
    assert (locator.log_sigma.exp().item() > 0.2) == wider


def test_bad_settings_are_named() -> None:
    with pytest.raises(ValueError, match="policy"):
        make("best")
    with pytest.raises(ValueError, match="sigma"):
        make(sigma=0.0)


def test_the_raster_goes_line_by_line_from_where_the_eye_is() -> None:
    """By hand: the nine middles in order, then the first again; a start between them goes to the first."""
    third = 2 / 3
    middles = [(x, y) for y in (-third, 0, third) for x in (-third, 0, third)]
    env = make_env(make(), "Glimpse/MNIST-v0", 3, start_gaze="random", horizon=12, **OFFLINE)
    played = rollout(make("raster"), env, sample=True, seed=0)
    assert played.gaze.shape == (12, 3, 2)
    for row in range(3):
        expected = [middles[t % 9] for t in range(11)]
        torch.testing.assert_close(played.gaze[1:, row], torch.tensor(expected), atol=1e-5, rtol=0)


def test_the_centre_shows_the_same_at_every_glimpse() -> None:
    """So one glimpse tells what eight do, and that is the budget of the controls `center-…`."""
    env = make_env(make(), "Glimpse/MNIST-v0", 5, **OFFLINE)
    first = env.reset(seed=0)[0]["retina"]
    for _ in range(6):
        later = env.step({"gaze": np.zeros((5, 2), np.float32), "answer": np.zeros(5, int)})[0]["retina"]
        np.testing.assert_array_equal(later, first)
    central = [
        experiment
        for experiment in EXPERIMENTS.values()
        if experiment.model == GivenGazeSettings("center", 256, "conv") and experiment.group == "controls"
    ]
    assert central
    for experiment in central:
        assert experiment.env["glimpses_per_answer"] == 1
        assert not experiment.learner.start_gaze
        assert "start_gaze" not in experiment.env


@pytest.mark.parametrize("detach", [False, True])
@pytest.mark.parametrize("policy", ["learned", "random"])
def test_a_recorded_episode_has_the_gradients_of_autograd(
    policy: Any, detach: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bit by bit the same actions, and gradients that differ by rounding, with all losses at once."""

    def trained() -> tuple[Trajectory, dict[str, torch.Tensor]]:
        agent = make(policy, detach=detach, sigma=0.2)
        torch.manual_seed(1)
        played = play(agent)
        weights = torch.linspace(0.5, 1.5, 16)
        loss = (
            losses.cross_entropy(played.logits[played.answered], played.target.T)
            + played.logits[2].sum() / 99
        )
        loss = loss + (weights * (played.baseline.square() - 0.1 * played.log_prob)).mean()
        loss.backward()
        return played, {name: weight.grad for name, weight in agent.named_parameters()}

    played, gradients = trained()
    monkeypatch.setattr(RAM, "recording", lambda agent: None)
    expected, by_autograd = trained()
    assert (played.gaze == expected.gaze).all()
    for part in ("logits", "log_prob", "baseline", "reward"):
        torch.testing.assert_close(getattr(played, part), getattr(expected, part))
    for name, gradient in by_autograd.items():
        if gradient is None or (policy == "random" and name.startswith("locator")):
            continue
        assert gradient.abs().max() > 0
        torch.testing.assert_close(gradients[name], gradient, rtol=1e-4, atol=1e-6, msg=name)


def test_a_recorded_episode_in_bfloat16_is_near_autograds(monkeypatch: pytest.MonkeyPatch) -> None:
    def gradient() -> torch.Tensor:
        agent = make()
        with torch.autocast("cpu", torch.bfloat16):
            played = play(agent, num_envs=64)
            loss = losses.cross_entropy(played.logits[played.answered], played.target.T)
        loss.backward()
        return torch.cat([w.grad.flatten() for w in agent.parameters() if w.grad is not None])

    recorded = gradient()
    monkeypatch.setattr(RAM, "recording", lambda agent: None)
    assert torch.nn.functional.cosine_similarity(recorded, gradient(), dim=0) > 0.999


def test_a_recorded_episode_is_let_go_after_its_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the garbage collector, which would come late: in float32 nothing may hold itself."""
    made: list[Any] = []
    hidden = Recording.hidden

    def remembered(recording: Recording) -> torch.Tensor:
        made.append(weakref.ref(recording.steps[0].hidden))
        made.append(weakref.ref(states := hidden(recording)))
        return states

    monkeypatch.setattr(Recording, "hidden", remembered)
    gc.collect()
    gc.disable()
    try:
        play(make()).logits.sum().backward()
        assert [reference() for reference in made] == [None, None]
    finally:
        gc.enable()


def test_other_networks_and_rows_that_end_early_are_played_with_a_graph() -> None:
    assert make(glimpses="conv").recording() is None
    assert make(core="lstm").recording() is None
    assert make(core="elman").recording() is None
    assert make(core="irnn").recording() is None
    env = make_env(make(), "Glimpse/MNIST-v0", 8, **OFFLINE, early_answer=True)
    agent = RAM((1, 8, 8), 11)
    played = rollout(agent, env, sample=True, seed=0)
    assert played.logits.requires_grad
