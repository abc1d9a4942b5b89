"""DRAM: what each of its parts can see, and sequences of answers played through the environment."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from conftest import OFFLINE
from torch.nn import functional as F

from agents.agent import Agent, Spec, Step
from agents.cores import LSTM
from agents.learn import losses
from agents.learn.envs import make_env, spec_of
from agents.learn.evaluate import believed, evaluate, scoring
from agents.learn.reinforce import asked, earned
from agents.learn.rollout import Trajectory, rollout, say
from agents.models.dram import DRAM, DRAMSettings
from agents.models.ram import RAM
from agents.models.sb3_policy import SB3Policy
from agents.parts.glimpse_networks import ConvGlimpseNetwork, Convolutions
from agents.show.playback import AgentPlayer

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
    losses.cross_entropy(logits[None], torch.zeros(1, 8, dtype=torch.long)).backward()
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
    steps = played.playing.sum(0)
    row = int(steps.argmax())
    assert steps[row] > steps.min()
    last = int(steps[row]) - 1
    moved = torch.autograd.grad(played.logits[last, row].max(), agent.classifier.bias, retain_graph=True)
    assert moved[0].abs().sum() == 1
    (moved,) = torch.autograd.grad(played.log_prob[last - 1, row], agent.locator.weight)
    assert moved.abs().max() > 0
    assert (played.logits[steps.min() :, steps.argmin()] == 0).all()


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
    with pytest.raises(ValueError, match=r"'conv', 'wide', 'product'.*got 'fc'"):
        DRAMSettings(glimpses="fc").build(spec_of(PAIRS, OFFLINE))  # type: ignore[arg-type]


def test_the_lstm_is_torchs() -> None:
    core, other = LSTM(5, 4), torch.nn.LSTMCell(5, 4)
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
        y, state = core(g, state)
        theirs = other(g, theirs)
        torch.testing.assert_close(state, theirs)
        assert y is state[0]


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


def talkative(env_id: str, env: dict[str, Any]) -> DRAM:
    """A reader with random weights that says many things, END among them."""
    torch.manual_seed(1)
    agent = DRAMSettings(hidden=16).build(spec_of(env_id, env))
    with torch.no_grad():
        agent.classifier.weight.mul_(30)
        agent.locator.weight.mul_(30)
    return agent


@pytest.mark.parametrize(
    ("env_id", "env", "length", "num_answers"),
    [
        (PAIRS, {"context": 25}, 2, 10),
        (PAIRS, {"task": "unordered", "horizon": 4}, 1, 55),
        (HOUSES, {"context": 18}, 6, 11),
        (HOUSES, {"context": 18, "backward": True}, 6, 11),
    ],
)
def test_answers_found_otherwise_are_scored_by_the_environment(
    env_id: str, env: dict[str, Any], length: int, num_answers: int
) -> None:
    """`say` of many half-right sequences, and one by one through the single env, against the target."""
    env = {**env, **OFFLINE}
    agent = talkative(env_id, env)
    vector = make_env(agent, env_id, 200, split="test", **env)
    options = {"index": np.arange(200)}
    with scoring(agent, 0):
        belief = believed(agent, vector, options)
    assert belief.shape == (200, length, num_answers)
    target = vector.reset(options=options)[0]["target"]
    right = np.random.default_rng(0).random((200, length)) < 0.9
    said = np.where(right & (target >= 0), target, belief.argmax(-1).numpy())
    expected = ((said == target) | (target < 0)).all(1)
    assert 0 < expected.mean() < 1
    np.testing.assert_array_equal(say(vector, said, options).numpy(), expected)
    single = gymnasium.make(env_id, split="test", **env)
    share = single.unwrapped.vector.horizon // length
    for index in range(200):
        single.reset(options={"index": index})
        terminated, time = False, 0
        while not terminated:
            time += 1
            answer = said[index, max(0, time // share - 1)]
            _, _, terminated, _, info = single.step({"gaze": np.zeros(2, np.float32), "answer": int(answer)})
        assert info["correct"] == expected[index]


def test_a_rollout_is_what_a_player_sees_and_says() -> None:
    """END included: the agent says it, and the environment ends the episode and judges it."""
    env = {"context": 18, **OFFLINE}
    agent = talkative(HOUSES, env)
    played = rollout(
        agent, make_env(agent, HOUSES, 30, split="test", **env), sample=False, options={"index": 0}
    )
    single = gymnasium.make(HOUSES, split="test", **env)
    player = AgentPlayer(agent)
    lengths = set()
    for index in range(30):
        observation, _ = single.reset(options={"index": index})
        player.begin()
        time, terminated, info = 0, False, {"correct": False}
        # A number whose END was missed is wrong already, and is not played on.
        while not terminated and played.playing[time, index]:
            np.testing.assert_allclose(observation["gaze"], played.gaze[time, index].numpy(), atol=1e-5)
            observation, _, terminated, _, info = single.step(player.act(observation).action)
            time += 1
            if time == len(played.playing):
                break
        assert time == played.playing[:, index].sum()
        assert played.correct[index] == bool(info.get("correct", False))
        lengths.add(time)
    assert len(lengths) > 1


def test_rewards_of_a_sequence_reach_the_gazes_before_each_answer() -> None:
    """Answers after glimpses 4 and 8: what they earn is paid to the gazes before them, less the costs."""
    agent = RAM((4, 12, 12), 10, hidden=16)
    env = make_env(agent, PAIRS, 3, reward="per_answer", step_cost=0.25, **OFFLINE)
    played = rollout(agent, env, sample=True, seed=0)
    assert played.gaze.shape == (8, 3, 2)
    assert played.answered.tolist() == [3, 7]
    assert (earned(played, "reinforce", 0.25) == played.reward[1:]).all()
    log_p = losses.log_likelihood(played.logits.detach(), asked(played))
    assert (log_p[[3, 7]] < 0).all()
    expected = log_p[1:] - 0.25
    torch.testing.assert_close(earned(played, "variational", 0.25), expected)
    paid = torch.zeros(8, 3)
    right = (played.logits.argmax(-1) == played.next)[[3, 7]]
    paid[3], paid[7] = right[0].float(), (right[0] & right[1]).float()
    torch.testing.assert_close(played.reward, paid - 0.25)


def test_an_untrained_readers_error_is_a_sequences() -> None:
    agent = RAM((4, 12, 12), 10, hidden=16)
    env = {**OFFLINE, "horizon": 2}
    scored = evaluate(agent, PAIRS, "validation", **env)
    assert scored.error > 95
    assert evaluate(agent, PAIRS, "validation", "mc10", **env).error > 95


class Told(Agent):
    """Says what is asked, or in 15 of 100 sampled looks something else, surely."""

    def initial(self, batch_size: int) -> None:
        return None

    def forward(self, observation: dict[str, torch.Tensor], state: None, sample: bool) -> tuple[Step, None]:
        right = F.one_hot(observation["next"], 10).float()
        wrong = (torch.rand(len(right)) < 0.15) & torch.tensor(sample)
        logits = 20 * torch.where(wrong[:, None], right.roll(1, 1), right)
        zeros = torch.zeros(len(right))
        return Step(torch.zeros(len(right), 2), logits, zeros, zeros), None


def test_an_answer_is_what_most_of_ten_looks_say() -> None:
    env = {**OFFLINE, "horizon": 2}
    assert evaluate(Told(), PAIRS, "validation", **env).error == 0
    # Either of two answers is wrong in 15 of 100; of ten looks, where five or more are: once in a
    # hundred.
    assert evaluate(Told(), PAIRS, "validation", "sampled", **env).error == pytest.approx(27.75, abs=6)
    assert evaluate(Told(), PAIRS, "validation", "mc10", **env).error < 4


@pytest.mark.parametrize("kind", ["dram", "recurrent ppo", "ppo"])
def test_rows_that_are_over_leave_the_others_alone(kind: str) -> None:
    """Numbers of all lengths together, and each with those of its length: the same answers."""
    torch.manual_seed(0)
    if kind == "dram":
        agent: Any = talkative(HOUSES, {"context": 18, **OFFLINE})
    else:
        agent = SB3Policy(Spec((2, 12, 12), (1, 54, 54), 11, (), 6, 18), 3, recurrent=kind == "recurrent ppo")
    keywords = {"split": "test", "context": 18, **OFFLINE}

    def play(index: np.ndarray) -> Trajectory:
        with scoring(agent, 0):
            env = make_env(agent, HOUSES, len(index), **keywords)
            return rollout(agent, env, sample=False, options={"index": index})

    together = play(np.arange(40))
    steps = together.playing.sum(0)
    assert len(steps.unique()) > 1
    for length in steps.unique().tolist():
        index = torch.nonzero(steps == length)[:, 0]
        alike = play(index.numpy())
        assert len(alike.logits) == length
        torch.testing.assert_close(together.logits[:length, index], alike.logits, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(together.gaze[:length, index], alike.gaze, rtol=1e-4, atol=1e-4)
        assert (together.logits[length:, index] == 0).all()
