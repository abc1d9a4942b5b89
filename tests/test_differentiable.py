"""Agents that see the canvas and look by differentiable windows: what they may see, learn and answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import OFFLINE, look_through
from safetensors.torch import load_file

import glimpse_env
from agents.agent import Agent, Spec, count_parameters, soft_step
from agents.experiments import Experiment
from agents.experiments.experiment import to_config
from agents.learn import losses
from agents.learn.differentiable import (
    STATISTICS,
    CrossEntropy,
    Windows,
    measure_statistics,
    windows_around,
)
from agents.learn.envs import make_env
from agents.learn.evaluate import believed, scoring
from agents.learn.loop import Loop, Task
from agents.learn.rollout import rollout
from agents.learn.run import Run
from agents.models.draw import DRAWClassifier, DRAWClassifierSettings
from agents.models.edram import EDRAM, IDENTITY, EDRAMSettings, SlimEDRAM, SlimEDRAMSettings
from agents.models.stn import SpatialTransformer, SpatialTransformerSettings
from agents.models.whole_canvas import WholeCanvasClassifier, WholeCanvasSettings
from agents.parts.convolutions import keep_variance
from agents.parts.windows import affine_read
from glimpse_env.wrappers import glimpse_env_of

SOFT = ("draw", "edram", "edram-slim", "st-cnn", "st-fcn")
PLACES_WINDOWS = {
    "draw": {"filters", "core"},
    "edram": {"emission", "upper", "lower", "context"},
    "edram-slim": {"emission", "upper", "lower", "context", "heat", "start"},
    "st-cnn": {"localiser", "theta"},
    "st-fcn": {"localiser", "theta"},
}
MODELS: dict[str, Any] = {
    "draw": DRAWClassifierSettings(hidden=32),
    "edram": EDRAMSettings(),
    "edram-slim": SlimEDRAMSettings(hidden=32),
    "st-cnn": SpatialTransformerSettings("cnn"),
    "st-fcn": SpatialTransformerSettings("fcn"),
}
CLUTTERED = Experiment(
    "Glimpse/ClutteredMNIST-v0", MODELS["draw"], Windows(), Loop(), {**OFFLINE, "horizon": 2}
)


def make(network: str, **changes: Any) -> tuple[Any, Experiment]:
    experiment = CLUTTERED.but(model=MODELS[network]).but(**changes)
    return experiment.build(experiment.spec()), experiment


def task_of(experiment: Experiment) -> Task:
    return Task(experiment.env_id, experiment.env, experiment.loop, experiment.seed)


def shaken(agent: Agent) -> Agent:
    """With random weights where zeros would make all scenes look alike."""
    torch.manual_seed(0)
    for parameter in agent.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    return agent.eval()


def test_no_scene_drowns_the_others_in_what_draws_windows_learn() -> None:
    """A row of B moves the windows by 2 / B at most, so three moves of them by 6 |h|, and |h| < sqrt(32)."""
    agent, _ = make("draw", env={**OFFLINE, "horizon": 4}, model={"window_clip": 2.0})
    logits, _ = look_through(shaken(agent), torch.rand(16, 1, 60, 60), 4)
    (1e6 * losses.cross_entropy(logits[None, :, -1], torch.arange(16)[None] % 10)).backward()
    assert isinstance(agent, DRAWClassifier)
    assert 0.1 < agent.filters.weight.grad.norm() <= 6 * 32**0.5


def test_no_scene_drowns_the_others_in_edram_either() -> None:
    """Four windows, each moved by 2 / B at most by each row of B: 8 in all."""
    agent, _ = make("edram", env={**OFFLINE, "horizon": 4}, model={"window_clip": 2.0})
    logits, _ = look_through(shaken(agent), torch.rand(8, 1, 60, 60), 4)
    (1e6 * losses.cross_entropy(logits[None, :, -1], torch.arange(8)[None])).backward()
    assert isinstance(agent, EDRAM)
    assert 0.1 < agent.emission.bias.grad.norm() <= 8


@pytest.mark.parametrize("network", SOFT)
def test_soft_agents_are_played_through_the_environment_glimpse_by_glimpse(network: str) -> None:
    """What a rollout records is what the agent says of the canvas when it is asked outright."""
    agent, experiment = make(network)
    env = make_env(shaken(agent), experiment.env_id, 50, split="test", **experiment.env)
    with torch.inference_mode():
        played = rollout(agent, env, sample=False, options={"index": 0})
        canvas = torch.from_numpy(glimpse_env_of(env).present_scenes().canvas) / 255
        logits, windows = look_through(agent, canvas, 2)
    torch.testing.assert_close(played.logits, logits.transpose(0, 1))
    torch.testing.assert_close(played.window, windows.transpose(0, 1))
    belief = logits.softmax(-1)
    assert belief[:, 1].std(0).max() > 1e-3  # scenes differ
    if network not in ("st-cnn", "st-fcn"):  # which look but once
        assert not torch.allclose(belief[:, 0], belief[:, 1], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("network", SOFT)
def test_every_part_learns_from_the_labels_and_the_windows(network: str) -> None:
    agent, _ = make(network)
    torch.manual_seed(0)
    for parameter in agent.parameters():  # zero weights, where a window begins, hide what lies below them
        if not parameter.abs().max() > 0:
            torch.nn.init.normal_(parameter, std=0.01)
    canvas, target = torch.rand(16, 1, 60, 60), torch.randint(0, 10, (2, 16))
    logits, theta = look_through(agent, canvas, 2)
    losses.cross_entropy(logits.transpose(0, 1), target).backward(retain_graph=True)
    still = {name for name, p in agent.named_parameters() if p.grad is None or not p.grad.abs().max() > 0}
    assert not still
    agent.zero_grad()
    losses.theta_error(theta, torch.zeros_like(theta)).backward()
    moved = {
        name.split(".")[0] for name, p in agent.named_parameters() if p.grad is not None and p.grad.any()
    }
    assert moved >= PLACES_WINDOWS[network]
    assert "classifier" not in moved


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"model": WholeCanvasSettings("conv")}, "Windows teaches"),
        ({"learner": CrossEntropy()}, "CrossEntropy teaches WholeCanvasSettings or CNNSettings"),
        ({"learner": {"theta_weight": -1.0}}, "theta_weight"),
        ({"env": {"context": 12}}, "leave out env context"),
    ],
)
def test_what_does_not_go_together_is_refused(changes: dict, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        CLUTTERED.but(**changes)


@pytest.mark.parametrize(("network", "least"), [("fc", 1), ("conv", 10), ("cnn", 24), ("convnet", 25)])
def test_the_least_canvas_of_each_whole_canvas_network(network: Any, least: int) -> None:
    """One pixel less has no feature left, which torch itself says where ours does not."""
    torch.manual_seed(0)
    canvas = torch.rand(2, 1, least, least)
    logits = WholeCanvasClassifier((1, least, least), 10, network, 16).answers(canvas)
    assert logits.var(0).min() > 0
    if least > 1:
        with pytest.raises(ValueError, match=f"canvas of {least} pixels or more"):
            WholeCanvasClassifier((1, least - 1, least - 1), 10, network, 16)


def test_an_untrained_eye_zooms_from_the_canvas_to_a_digit() -> None:
    """Twelve filters from border to border are 99 / 11 * 12 = 108 pixels wide; a digit is .28 of that."""
    torch.manual_seed(0)
    agent = DRAWClassifier((1, 100, 100), 10, 8, hidden=16)
    _, windows = look_through(agent, torch.zeros(2, 1, 100, 100), 8)
    width = 100 * windows[0, :, 0, 0].detach()
    wanted = [108 * 0.28 ** (t / 7) for t in range(8)]
    torch.testing.assert_close(width, torch.tensor(wanted), rtol=0.02, atol=0)
    assert windows[..., 2].abs().max() < 0.05  # and looks at the middle


def test_an_agent_is_made_for_the_horizon_that_an_id_leaves_out() -> None:
    images = np.random.default_rng(0).integers(0, 256, (20, 28, 28)).astype(np.uint8)
    env_id = glimpse_env.register_custom("ForTraining", images, np.arange(20) % 2)
    agent, _ = make("draw", env_id=env_id, env={})
    assert len(agent.biases) == 7  # a glimpse each: the environment's own horizon, which the id leaves out


@pytest.mark.parametrize("network", ["fc", "conv"])
def test_dropped_units_are_missing_in_training_alone(network: Any) -> None:
    """The mean over many drops of logits that are linear in the last layer's units is what no drop gives."""
    spec = Spec((1, 12, 12), (1, 28, 28), 10, (), 1, 1)
    torch.manual_seed(0)
    whole = WholeCanvasSettings(network, 16).build(spec)
    dropping = WholeCanvasSettings(network, 16, dropout=0.5).build(spec)
    dropping.load_state_dict(dict(zip(dropping.state_dict(), whole.state_dict().values(), strict=True)))
    canvas = torch.rand(1, 1, 28, 28)
    torch.testing.assert_close(dropping.eval().answers(canvas), whole.answers(canvas))
    logits = dropping.train().answers(canvas.expand(8, -1, -1, -1))[:, 0]
    assert len(logits.unique(dim=0)) > 1
    units = dropping.network[:-2](canvas.expand(8, -1, -1, -1))  # the first units are dropped here, too
    expected = dropping.network[-1](units)
    torch.manual_seed(0)
    mean = torch.stack([dropping.network[-1](dropping.network[-2](units)) for _ in range(2000)]).mean(0)
    torch.testing.assert_close(mean, expected, atol=0.05, rtol=0)
    with pytest.raises(ValueError, match="dropout"):
        WholeCanvasSettings(network, dropout=1.0)


@pytest.mark.parametrize("network", ["st-cnn", "st-fcn"])
def test_one_window_cannot_read_a_sequence(network: str) -> None:
    with pytest.raises(ValueError, match="one window and one answer"):
        make(network, env_id="Glimpse/DigitPair-v0", env=OFFLINE)


@pytest.mark.parametrize("network", SOFT)
def test_a_soft_agent_sees_only_what_its_windows_show(network: str) -> None:
    """With the context held still, ink outside every window changes no answer."""
    agent, _ = make(network)
    agent.eval()
    if isinstance(agent, DRAWClassifier):
        agent.biases.data[:] = torch.tensor([0, 0, -3.0, -2.0, 0])
    elif isinstance(agent, SpatialTransformer):
        agent.theta.bias.data = torch.tensor([0.2, 0, 0, 0, 0.2, 0])
    elif isinstance(agent, EDRAM):
        agent.emission.bias.data = torch.tensor([0.2, 0, 0, 0, 0.2, 0])
        agent.context.requires_grad_(False)
        for part in agent.context:
            if hasattr(part, "weight"):
                torch.nn.init.zeros_(part.weight)
    elif isinstance(agent, SlimEDRAM):
        for part in (agent.heat, agent.start):
            torch.nn.init.zeros_(part.weight)
    canvas = torch.zeros(1, 1, 60, 60)
    canvas[:, :, 25:35, 25:35] = torch.rand(10, 10, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        before, windows = look_through(agent, canvas, 2)
        assert (windows[..., 0, 0] < 0.5).all()
        inked = canvas.clone()
        inked[:, :, :4] = inked[:, :, -4:] = 1
        after, _ = look_through(agent, inked, 2)
        inked[:, :, 28:32, 28:32] = 1
        seen, _ = look_through(agent, inked, 2)
    torch.testing.assert_close(before, after)
    assert not torch.allclose(before, seen)


@pytest.mark.parametrize("network", SOFT)
def test_bfloat16_says_what_float32_says(network: str) -> None:
    """Loss and windows within bfloat16's noise, its eight bits; windows that differ between scenes."""
    agent = shaken(make(network)[0])
    canvas, target = torch.rand(32, 1, 60, 60), torch.randint(0, 10, (32, 2))
    logits, windows = look_through(agent, canvas, 2)
    with torch.autocast("cpu", torch.bfloat16):
        cast_logits, cast_windows = look_through(agent, canvas, 2)
    torch.testing.assert_close(
        losses.cross_entropy(cast_logits, target), losses.cross_entropy(logits, target), rtol=0.05, atol=0.02
    )
    assert cast_windows.dtype == torch.float32
    noise = (cast_windows - windows).abs().mean()
    assert noise < 0.2 * windows.std(0).mean()


def test_edram_is_the_papers() -> None:
    """Shapes, the first theta, and about 10.7 million parameters."""
    agent = EDRAM((1, 100, 100), 10, glimpses=6)
    assert count_parameters(agent) == pytest.approx(10.7e6, rel=0.03)
    _, windows = look_through(agent.eval(), torch.rand(2, 1, 100, 100), 1)
    wanted = torch.tanh(torch.tensor(IDENTITY)).view(2, 3).expand(2, 1, 2, 3)
    torch.testing.assert_close(windows, wanted)
    assert len(agent.norms) == 6


def test_the_slim_one_begins_where_its_heat_map_is_hottest() -> None:
    agent = SlimEDRAM((1, 100, 100), 10)
    with torch.no_grad():
        agent.heat.weight.mul_(0)
    _, windows = look_through(agent, torch.rand(2, 1, 100, 100), 1)
    # A flat map's mean is its middle cell, the seventh of 13, around pixel 49.5.
    torch.testing.assert_close(windows[0, 0], torch.tensor([[0.3, 0, 0], [0, 0.3, 0]]))


def test_the_slim_ones_window_goes_on_from_where_it_was() -> None:
    agent = SlimEDRAM((1, 100, 100), 10)
    move = torch.tensor([0.01, 0, 0.1, 0, -0.02, -0.2])
    with torch.no_grad():
        agent.emission.bias.copy_(move)  # its weights begin at 0
    _, windows = look_through(agent, torch.rand(2, 1, 100, 100), 4)
    torch.testing.assert_close(windows[:, 1:] - windows[:, :-1], move.view(2, 3).expand(2, 3, 2, 3))


def test_edrams_window_is_neither_mirrored_nor_wider_than_the_canvas() -> None:
    agent = EDRAM((1, 60, 60), 10, glimpses=2).eval()
    with torch.no_grad():
        agent.emission.bias.copy_(torch.tensor([-1.0, -1, 0.5, 0.5, 9, 9]))
    _, windows = look_through(agent, torch.rand(2, 1, 60, 60), 2)
    half, one = torch.tanh(torch.tensor([0.5, 1.0])).tolist()
    wanted = torch.tensor([[0, -one, half], [half, 1, 1]])
    torch.testing.assert_close(windows, wanted.expand(2, 2, 2, 3))


def test_rectified_layers_keep_the_variance_of_what_they_see() -> None:
    """Ten of 256 units: pre-activations with twice the mean square of unit inputs, at the end as at first."""
    torch.manual_seed(0)
    layers = [torch.nn.Linear(256, 256) for _ in range(10)]
    keep_variance(layers)
    h, squares = torch.randn(2000, 256), []
    for layer in layers:
        assert not layer.bias.any()
        z = layer(h)
        squares.append(z.square().mean().item())
        h = z.relu()
    assert squares[0] == pytest.approx(2, rel=0.05)
    assert squares[-1] == pytest.approx(2, rel=0.4)


def test_draw_begins_with_the_whole_canvas_and_ends_with_a_digit() -> None:
    agent = DRAWClassifier((1, 100, 100), 10, glimpses=3)
    torch.nn.init.zeros_(agent.filters.weight)
    _, windows = look_through(agent, torch.rand(2, 1, 100, 100), 4)
    # 12 filters, 9 pixels apart, on 100 pixels; 28 % of that in the end, and its square root in between.
    spans = 1.08 * torch.tensor([1, 0.28**0.5, 0.28, 0.28])
    torch.testing.assert_close(windows[0], spans[:, None, None] * torch.eye(2, 3))
    small = DRAWClassifier((1, 28, 28), 10, glimpses=3)
    assert (small.biases[:, 3] == 0).all()  # a digit is all there is


def test_windows_around_boxes_show_exactly_them() -> None:
    """The theta of a 28-pixel digit at (10, 51) on 100 pixels, and what it reads."""
    canvas = torch.rand(1, 1, 100, 100)
    boxes = torch.tensor([[[10, 51, 28, 28]]])
    theta = windows_around(boxes, canvas.shape[2:], 1)[0]
    assert theta[0, 0, 0] == theta[0, 1, 1] == pytest.approx(0.28)
    # In torch's own terms, (x + 14 - 50) / 50, ±1 are the outer edges; a gaze's ±1 are 99 pixels apart.
    assert theta[0, 0, 2].item() * 99 / 100 == pytest.approx((10 + 14 - 50) / 50)
    assert theta[0, 1, 2].item() * 99 / 100 == pytest.approx((51 + 14 - 50) / 50)
    torch.testing.assert_close(affine_read(canvas, theta, 28), canvas[:, :, 51:79, 10:38], rtol=0, atol=1e-4)


def test_windows_of_numbers_shorter_than_the_longest_are_free() -> None:
    boxes = torch.tensor([[[1, 2, 10, 20], [0, 0, 0, 0]]])
    theta = windows_around(boxes, torch.Size([54, 54]), 3)
    assert theta.shape == (1, 3, 2, 3)
    assert theta.isnan().flatten(2).all(2).tolist() == [[False, True, True]]
    off = theta.nan_to_num(7.0) + 1
    # Each of six numbers is off by one: 1 + .5 + 1 + .5 + 1 + 1, in the first window alone.
    assert losses.theta_error(off.transpose(0, 1), theta.transpose(0, 1)).item() == pytest.approx(5)


def test_more_symbols_than_answers_cannot_be_shown_to_windows() -> None:
    experiment = CLUTTERED.but(
        env_id="Glimpse/DigitSum-v0", env=OFFLINE, learner={"theta_weight": 1.0}, loop=Loop(batch_size=2)
    )
    with pytest.raises(ValueError, match="an answer for each box, got 2 and 1"):
        experiment.learner.lesson(experiment.build(experiment.spec()), task_of(experiment))


def test_what_draw_shows_does_not_depend_on_its_gain() -> None:
    agent, _ = make("draw")
    assert isinstance(agent, DRAWClassifier)
    canvas = torch.rand(2, 1, 60, 60)
    plain, _ = agent({"canvas": canvas}, agent.initial(len(canvas)), False)
    agent.biases.data[:, 4] += 1.0
    loud, _ = agent({"canvas": canvas}, agent.initial(len(canvas)), False)
    torch.testing.assert_close(loud.patch, plain.patch)
    assert not torch.allclose(loud.logits, plain.logits)


def test_measured_statistics_are_those_of_the_batches() -> None:
    """In evaluation a batch that all was measured on is then normalised as in training, by itself."""
    agent, experiment = make("edram")
    shaken(agent).train()
    env = make_env(agent, experiment.env_id, 64, split="train", **experiment.env)
    canvas = torch.from_numpy(env.reset(seed=0)[0]["canvas"])
    expected, _ = look_through(agent, canvas, 2)
    measure_statistics(agent, lambda: rollout(agent, Again(env), sample=False))
    told, _ = look_through(agent.eval(), canvas, 2)
    assert expected.std() > 0.01
    torch.testing.assert_close(told, expected, rtol=0.02, atol=0.02 * expected.std().item())
    with pytest.raises(ValueError, match="in training mode"):  # and nothing is emptied
        measure_statistics(agent, lambda: None)
    torch.testing.assert_close(look_through(agent, canvas, 2)[0], told)


class Again:
    """A vector env that begins the same scenes at every reset."""

    def __init__(self, env: Any) -> None:
        self.env, self.num_envs, self.step = env, env.num_envs, env.step

    def reset(self, **keywords: Any) -> Any:
        return self.env.reset(seed=0)


def test_the_averaged_weights_are_scored_with_statistics_of_their_own(tmp_path: Path) -> None:
    agent, experiment = make("edram", loop={"epochs": 1, "images_per_epoch": 4, "batch_size": 2})
    run = Run(tmp_path / "run", to_config("x", experiment, None), resume=False, overwrite=False)
    list(experiment.train(run, agent, quiet=True))
    kept = load_file(tmp_path / "run" / "best.safetensors")
    counts = [int(kept[name]) for name in kept if name.endswith("num_batches_tracked")]
    assert counts
    assert set(counts) == {STATISTICS}


@pytest.mark.parametrize("env_id", ["Glimpse/DigitPair-v0", "Glimpse/HouseNumbers-v0"])
@pytest.mark.parametrize("network", ["edram-slim", "draw"])
def test_sequences_are_read_one_glimpse_or_more_an_answer(network: str, env_id: str) -> None:
    agent, experiment = make(network, env_id=env_id, env={**OFFLINE, "glimpses_per_answer": 2})
    shaken(agent)
    env = make_env(agent, env_id, 40, split="validation", **experiment.env)
    with scoring(agent, 0):
        told = believed(agent, env, {"index": 0})
        canvas = torch.from_numpy(glimpse_env_of(env).canvas())
        logits, _ = look_through(agent, canvas, glimpse_env_of(env).horizon)
    torch.testing.assert_close(told, logits[:, 1::2].softmax(-1), rtol=1e-3, atol=1e-5)


class Wandering(Agent):
    """Says and sees what it was told to, a literal a step; of scenes that are over it is not asked."""

    sees = "canvas"

    def __init__(self, logits: torch.Tensor, theta: torch.Tensor) -> None:
        super().__init__()
        self.logits, self.theta = logits, theta  # (T, B, n) and (T, B, 2, 3)

    def initial(self, batch_size: int) -> Any:
        return torch.arange(batch_size), torch.zeros(batch_size, dtype=torch.long)

    def forward(self, observation: Any, state: Any, sample: bool) -> Any:
        row, time = state
        logits, theta = self.logits[time, row], self.theta[time, row]
        step = soft_step(logits, theta, torch.zeros(len(row), 1, 2, 2), theta)
        return step, (row, time + 1)


def test_the_loss_of_windows_by_hand() -> None:
    """House numbers, two windows an answer: every glimpse is asked for its own answer and box.

    Half of the answers are made right, so that numbers go on for a while; one that says END is over.
    """
    env_id, keywords = "Glimpse/HouseNumbers-v0", {**OFFLINE, "glimpses_per_answer": 2}
    torch.manual_seed(1)
    logits, theta = 3 * torch.randn(12, 8, 11), 0.3 * torch.randn(12, 8, 2, 3)
    agent = Wandering(logits, theta)
    env = make_env(agent, env_id, 8, boxes=True, **keywords)
    env.reset(seed=3)
    scenes = glimpse_env_of(env).present_scenes()
    for b in range(4):
        for t in range(12):
            if scenes.target[b, t // 2] >= 0:
                logits[t, b, scenes.target[b, t // 2]] += 9
    played = rollout(agent, env, sample=False, seed=3)
    loss = Windows(every_glimpse=True, theta_weight=3.0).loss(played, env)
    plain = Windows().loss(played, env)

    beta = torch.tensor([[1.0, 0.5, 1.0], [0.5, 1.0, 1.0]])
    answers, due, windows, right = 0.0, 0.0, 0.0, []
    for b in range(8):
        said = []
        for t in range(12):
            target = scenes.target[b, t // 2]
            if target < 0 or 10 in said:
                break
            cost = -logits[t, b].log_softmax(-1)[target].item()
            answers += cost / 2
            if t % 2:
                due += cost
                said.append(logits[t, b].argmax().item())
            if target < 10:
                x, y, w, h = scenes.boxes[b, t // 2].tolist()
                gaze = [2 * (x + (w - 1) / 2) / 53 - 1, 2 * (y + (h - 1) / 2) / 53 - 1]
                wanted = torch.tensor([[w / 54, 0, gaze[0]], [0, h / 54, gaze[1]]])
                windows += (beta * (theta[t, b] - wanted) ** 2).sum().item() / 2
        right.append(said == [s for s in scenes.target[b].tolist() if s >= 0])
    assert loss.item() == pytest.approx((answers + 3 * windows) / 8, rel=1e-5)
    assert plain.item() == pytest.approx(due / 8, rel=1e-5)
    assert played.correct.tolist() == right
    assert 0 < sum(right) < 8


def test_windows_begin_as_their_papers_say() -> None:
    """A spatial transformer's window spans `share` of the canvas; EDRAM's scales stay within [0, 1]."""
    _, windows = look_through(SpatialTransformer((1, 60, 60), 10, "cnn"), torch.rand(2, 1, 60, 60), 1)
    torch.testing.assert_close(windows[0, 0], torch.tensor([[0.6, 0, 0], [0, 0.6, 0]]))
    agent = EDRAM((1, 60, 60), 10, glimpses=1).eval()
    agent.emission.bias.data[0] = -1.0
    with torch.no_grad():
        agent.where_out.weight.zero_()
        agent.where_out.bias.zero_()
        _, windows = look_through(agent, torch.rand(2, 1, 60, 60), 1)
        seen = agent._glimpse(torch.rand(2, 1, 26, 26), torch.rand(2, 2, 3), 0)
    assert (windows[:, 0, 0, 0] == 0).all()
    assert (seen == 0).all()  # what times where


def test_unknown_kinds_and_too_many_glimpses_are_named() -> None:
    with pytest.raises(ValueError, match="6 glimpses"):
        look_through(EDRAM((1, 100, 100), 10, glimpses=6).eval(), torch.rand(1, 1, 100, 100), 7)
    with pytest.raises(ValueError, match="cnn"):
        SpatialTransformer((1, 60, 60), 10, "rnn")  # type: ignore[arg-type]
