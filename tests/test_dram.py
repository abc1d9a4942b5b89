"""DRAM: what each of its parts can see, and sequences of answers played through the environment."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from conftest import OFFLINE

from agents import losses
from agents.build import build_agent, shapes_of
from agents.dram import DRAM
from agents.evaluate import evaluate, make_env
from agents.layers import ConvGlimpseNetwork, Convolutions, LSTMCore
from agents.playback import AgentPlayer
from agents.policy_gradient import PolicyGradient
from agents.ppo import PPOAgent
from agents.ram import RAM
from agents.rollout import rollout

PAIRS = "Glimpse/DigitPair-v0"
HOUSES = "Glimpse/HouseNumbers-v0"


def make(context: tuple[int, int, int] | None = (1, 25, 25)) -> DRAM:
    torch.manual_seed(0)
    return DRAM((2, 12, 12), context, 10, hidden=32)


def look(agent: DRAM, context: torch.Tensor, gazes: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """The logits after the last of `gazes`, all of them forced, and the gaze it would choose."""
    torch.manual_seed(1)
    state = None
    for gaze in gazes:
        observation = {"retina": torch.rand(8, 2, 12, 12), "gaze": gaze, "context": context}
        step, state = agent(observation, state, sample=False)
    return step.logits, step.gaze


def test_the_classifier_sees_the_context_only_through_the_gaze() -> None:
    """Along forced gazes another context changes no answer, though it changes where the eye would look."""
    agent = make()
    gazes = [torch.rand(8, 2) for _ in range(3)]
    here, there = torch.rand(2, 8, 1, 25, 25)
    logits, gaze = look(agent, here, gazes)
    other_logits, other_gaze = look(agent, there, gazes)
    assert (logits == other_logits).all()
    assert (gaze != other_gaze).all()


def test_the_answers_loss_does_not_train_what_chooses_the_gaze() -> None:
    agent = make()
    logits, _ = look(agent, torch.rand(8, 1, 25, 25), [torch.rand(8, 2) for _ in range(3)])
    losses.cross_entropy(logits[:, None], torch.zeros(8, 1, dtype=torch.long)).backward()
    moved = {
        name
        for name, part in agent.named_children()
        if any(p.grad is not None and p.grad.abs().max() > 0 for p in part.parameters())
    }
    assert moved == {"glimpse_network", "lower", "classifier"}


def test_long_numbers_teach_after_short_ones_have_ended() -> None:
    torch.manual_seed(0)
    agent = DRAM((2, 12, 12), (1, 18, 18), 11, hidden=16)
    env = make_env(agent, HOUSES, 64, context=18, **OFFLINE)
    played = rollout(agent, env, sample=True, seed=0)
    lengths = (played.target >= 0).sum(1)
    row = int(lengths.argmax())
    assert lengths[row] > lengths.min()
    last = int(lengths[row]) - 1
    moved = torch.autograd.grad(played.answers[row, last].max(), agent.classifier.bias, retain_graph=True)
    assert moved[0].abs().sum() == 1
    share = len(played.gaze) // played.target.shape[1]
    (moved,) = torch.autograd.grad(played.log_prob[last * share, row], agent.locator.weight)
    assert moved.abs().max() > 0


def test_a_context_that_is_too_small_is_named() -> None:
    with pytest.raises(ValueError, match="context"):
        make((1, 4, 4))
    with pytest.raises(ValueError, match="retina of 8 or more, got 7"):
        ConvGlimpseNetwork((1, 7, 7), 8)
    with pytest.raises(ValueError, match="retina of 12 or more, got 11"):
        ConvGlimpseNetwork((1, 11, 11), 8, "wide")


def test_an_unknown_glimpse_network_is_named() -> None:
    with pytest.raises(ValueError, match=r"'conv', 'wide', 'product'.*got 'fc'"):
        ConvGlimpseNetwork((1, 20, 20), 8, "fc")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"model 'dram'.*'conv', 'wide', 'product'.*got 'fc'"):
        PolicyGradient(env_id=PAIRS, model="dram", glimpses="fc")


def test_the_lstm_is_torchs() -> None:
    core, other = LSTMCore(5, 4), torch.nn.LSTMCell(5, 4)
    assert (core.glimpse.bias[4:8] == 1).all()
    # Ours has input, forget, output, new; torch's input, forget, new, output.
    order = torch.cat([torch.arange(8), torch.arange(12, 16), torch.arange(8, 12)])
    with torch.no_grad():
        other.weight_ih.copy_(core.glimpse.weight[order])
        other.weight_hh.copy_(core.recurrent.weight[order])
        other.bias_ih.copy_(core.glimpse.bias[order])
        other.bias_hh.zero_()
    state, theirs = None, None
    for g in torch.randn(3, 7, 5):
        state = core(g, state)
        theirs = other(g, theirs)
        torch.testing.assert_close(state, theirs)


@pytest.mark.parametrize(("kind", "convolutions"), [("conv", 2), ("wide", 3)])
@pytest.mark.parametrize("size", [12, 13, 20])
def test_where_is_added_to_what(kind: Convolutions, convolutions: int, size: int) -> None:
    network = ConvGlimpseNetwork((2, size, size), 16, kind)
    assert sum(isinstance(layer, torch.nn.Conv2d) for layer in network.what) == convolutions
    retina, gaze = torch.rand(3, 2, size, size), torch.rand(3, 2)
    here = network(retina, torch.zeros(3, 2))
    torch.testing.assert_close(here, network.what(retina).relu())
    by_hand = network.what(retina) + gaze @ network.where.weight.t()
    torch.testing.assert_close(network(retina, gaze), by_hand.clamp(min=0))


def test_where_multiplies_what() -> None:
    """Equation of g: with the gaze's half at zero nothing is seen, at one all of what."""
    network = ConvGlimpseNetwork((2, 12, 12), 16, "product")
    retina, gaze = torch.rand(3, 2, 12, 12), torch.rand(3, 2)
    torch.testing.assert_close(network(retina, gaze), network.what(retina).relu())
    with torch.no_grad():
        network.where.bias.zero_()
    assert (network(retina, gaze) == 0).all()


@pytest.mark.parametrize(
    ("env_id", "env", "length", "num_answers"),
    [
        (PAIRS, {"context": 25}, 2, 10),
        (PAIRS, {"task": "unordered", "horizon": 4}, 1, 55),
        (HOUSES, {"context": 18}, 6, 11),
    ],
)
def test_sequences_are_scored_as_the_environment_scores_them(
    env_id: str, env: dict[str, Any], length: int, num_answers: int
) -> None:
    """Played one by one, END ending them, episodes are right exactly where a rollout says so."""
    env = {**env, **OFFLINE}
    settings = PolicyGradient(env_id=env_id, env=env, model="dram", glimpses="product", hidden=16)
    agent = build_agent(settings, shapes_of(env_id, env))
    with torch.no_grad():
        agent.classifier.weight.mul_(30)  # so that it says many things, END among them
    scenes = 200
    played = rollout(
        agent, make_env(agent, env_id, scenes, split="test", **env), sample=False, options={"index": 0}
    )
    assert played.answers.shape == (scenes, length, num_answers)
    single = gymnasium.make(env_id, split="test", **env)
    rng = np.random.default_rng(0)
    with torch.no_grad():
        # Some answers are made right: an untrained agent names no whole number.
        right = torch.from_numpy(rng.random((scenes, length)) < 0.9) & (played.target >= 0)
        said = torch.where(right, played.target, played.answers.argmax(-1))
    logits = torch.nn.functional.one_hot(said, num_answers).float()
    expected = losses.right_so_far(logits, played.target)[:, -1]
    assert 0 < expected.float().mean() < 1
    share = single.unwrapped.vector.horizon // length
    for index in range(scenes):
        single.reset(options={"index": index})
        terminated, time = False, 0
        while not terminated:
            time += 1
            answer = said[index, max(0, time // share - 1)]
            _, _, terminated, _, info = single.step({"gaze": np.zeros(2, np.float32), "answer": int(answer)})
        assert info["correct"] == bool(expected[index])


def test_the_gaze_path_is_the_environments_until_end() -> None:
    """A player that says END sees until then what the rollout, which never does, saw."""
    env = {"context": 18, **OFFLINE}
    settings = PolicyGradient(env_id=HOUSES, env=env, model="dram", glimpses="product", hidden=16)
    agent = build_agent(settings, shapes_of(HOUSES, env))
    with torch.no_grad():
        agent.locator.weight.mul_(30)
        agent.classifier.weight.mul_(30)
    played = rollout(
        agent, make_env(agent, HOUSES, 20, split="test", **env), sample=False, options={"index": 0}
    )
    single = gymnasium.make(HOUSES, split="test", **env)
    player = AgentPlayer(agent)
    lengths = set()
    for index in range(20):
        observation, _ = single.reset(options={"index": index})
        player.begin()
        time, terminated = 0, False
        last = 3 * int((played.target[index] >= 0).sum())  # what follows END is not played
        while not terminated and time < last:
            expected = played.gaze[time, index].numpy()
            np.testing.assert_allclose(observation["gaze"], expected, atol=1e-5)
            observation, _, terminated, _, _ = single.step(player.act(observation).action)
            time += 1
        lengths.add(time)
    assert len(lengths) > 1


def test_rewards_of_a_sequence_reach_the_gazes_before_each_answer() -> None:
    agent = RAM((4, 12, 12), 10, hidden=16)
    env = make_env(agent, PAIRS, 3, **OFFLINE)
    played = rollout(agent, env, sample=True, seed=0)
    assert played.gaze.shape == (8, 3, 2)
    paid = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    # Answers after glimpses 4 and 8; the first gaze is the environment's, so gazes 2 to 8 are scored.
    expected = [[0.0] * 3] * 2 + [[1.0, 3.0, 5.0]] + [[0.0] * 3] * 3 + [[2.0, 4.0, 6.0]]
    assert played.earned(paid).tolist() == expected
    ended = played._replace(target=torch.tensor([[1, 2], [1, -1], [-1, -1]]))
    assert ended.asked().sum(0).tolist() == [7, 3, 0]


def test_an_untrained_readers_error_is_a_sequences() -> None:
    agent = RAM((4, 12, 12), 10, hidden=16)
    env = {**OFFLINE, "horizon": 2}
    scored = evaluate(agent, PAIRS, "validation", **env)
    assert scored.error > 95
    assert evaluate(agent, PAIRS, "validation", "mc10", **env).error > 95


@pytest.mark.parametrize("kind", ["dram", "recurrent ppo", "ppo"])
def test_what_follows_end_is_not_played(kind: str) -> None:
    """Numbers of all lengths together, and each with those of its length: the same answers."""
    torch.manual_seed(0)
    if kind == "dram":
        agent: Any = DRAM((2, 12, 12), (1, 18, 18), 11, hidden=16)
    else:
        agent = PPOAgent((2, 12, 12), 11, 18, 3, recurrent=kind == "recurrent ppo")
    keywords = {"split": "test", "context": 18, **OFFLINE}
    together = rollout(agent, make_env(agent, HOUSES, 40, **keywords), sample=False, options={"index": 0})
    asked = (together.target >= 0).sum(1)
    assert len(asked.unique()) > 2
    for length in asked.unique().tolist():
        index = torch.nonzero(asked == length)[:, 0]
        env = make_env(agent, HOUSES, len(index), **keywords)
        alike = rollout(agent, env, sample=False, options={"index": index.numpy()})
        torch.testing.assert_close(together.answers[index, :length], alike.answers[:, :length])
        if length < asked.max():
            assert (together.answers[index, length:] == 0).all()
        torch.testing.assert_close(together.gaze[: 3 * length, index], alike.gaze[: 3 * length])
