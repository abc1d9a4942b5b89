from __future__ import annotations

import dataclasses
import json
import math
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import OFFLINE, ROOT
from torch import Tensor

from agents import checkpoint, policy_gradient, supervised, training
from agents.build import Shapes, build_agent, load_agent, to_config, train_experiment
from agents.evaluate import evaluate, make_env
from agents.experiments import EXPERIMENTS, Experiment
from agents.layers import GazePolicy
from agents.policy_gradient import PolicyGradient
from agents.rollout import Trajectory
from agents.runs import Run, RunError
from agents.training import (
    BatchResult,
    error_on_validation,
    parse_keyword,
    schedule,
    train,
    update_average,
)

SHAPES = Shapes((1, 8, 8), (1, 28, 28), 10)
TINY = PolicyGradient(
    env_id="Glimpse/MNIST-v0",
    env={**OFFLINE, "horizon": 3},
    epochs=3,
    images_per_epoch=128,
    batch_size=32,
    curriculum=0.5,
    rollouts=2,
    baseline="leave_one_out",
)

FC = dataclasses.replace(EXPERIMENTS["fc-mnist"], env=OFFLINE, epochs=3, images_per_epoch=512)


def run_all(folder: Path, settings: Experiment, stop_after: int = 99, resume: bool = False) -> list[dict]:
    run = Run(folder, to_config("test", settings, SHAPES), resume=resume, overwrite=False)
    out = []
    for metrics in train_experiment(run, settings, build_agent(settings, SHAPES), quiet=True):
        out.append(metrics)
        if len(out) == stop_after:
            break
    return out


def same_tensors(a: Path, b: Path) -> bool:
    (x, _), (y, _) = checkpoint.load(a), checkpoint.load(b)
    return x.keys() == y.keys() and all(torch.equal(x[k], y[k]) for k in x)


@pytest.mark.parametrize(
    "settings",
    [TINY, FC, dataclasses.replace(FC, optimizer="muon")],
)
def test_a_stopped_run_resumes_to_the_same_weights(tmp_path: Path, settings: Experiment) -> None:
    whole = run_all(tmp_path / "whole", settings)
    run_all(tmp_path / "parts", settings, stop_after=1)
    rest = run_all(tmp_path / "parts", settings, resume=True)
    assert [m["epoch"] for m in whole] == [1, 2, 3]
    assert [m["epoch"] for m in rest] == [2, 3]
    assert [m["loss"] for m in rest] == [m["loss"] for m in whole[1:]]
    for name in ("last", "best"):
        path = f"{name}.safetensors"
        assert same_tensors(tmp_path / "whole" / path, tmp_path / "parts" / path)
    lines = (tmp_path / "parts" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2, 3]


def test_a_killed_run_resumes_to_the_same_weights(tmp_path: Path) -> None:
    def command(folder: str, *more: str) -> list[str]:
        options = (
            "--env dataset=mnist-5k horizon=3 --epochs 6 --images-per-epoch 1500 --batch-size 32 --quiet"
        )
        script = [sys.executable, "scripts/train.py", "ram-mnist", "--folder", str(tmp_path / folder)]
        return [*script, *options.split(), *more]

    process = subprocess.Popen(command("killed"), cwd=ROOT, stdout=subprocess.DEVNULL)
    metrics = tmp_path / "killed" / "metrics.jsonl"
    deadline = time.monotonic() + 120
    while not metrics.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.3)  # somewhere inside an epoch
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert 1 <= len(metrics.read_text().splitlines()) < 6
    subprocess.run(command("killed", "--resume"), cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    subprocess.run(command("whole"), cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    for name in ("last.safetensors", "best.safetensors"):
        assert same_tensors(tmp_path / "killed" / name, tmp_path / "whole" / name)


def test_a_folder_in_use_is_refused_unless_told(tmp_path: Path) -> None:
    config = to_config("test", TINY, SHAPES)
    run_all(tmp_path, TINY, stop_after=1)
    with pytest.raises(RunError, match="already holds files"):
        Run(tmp_path, config, resume=False, overwrite=False)
    other = to_config("test", dataclasses.replace(TINY, learning_rate=0.5), SHAPES)
    with pytest.raises(RunError, match=r"learning_rate=0\.002, not 0\.5"):
        Run(tmp_path, other, resume=True, overwrite=False)
    with pytest.raises(RunError, match="no run to resume"):
        Run(tmp_path / "new", config, resume=True, overwrite=False)
    with pytest.raises(RunError, match="one of them"):
        Run(tmp_path, config, resume=True, overwrite=True)
    assert (tmp_path / "last.safetensors").exists()


def test_an_overwritten_run_stays_until_the_new_one_has_an_epoch(tmp_path: Path) -> None:
    config = to_config("test", TINY, SHAPES)
    run_all(tmp_path, TINY, stop_after=1)
    old = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    other = {**config, "experiment": "other"}
    run = Run(tmp_path, other, resume=False, overwrite=True)
    assert run.load_last() == {}
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == old
    run.finish_epoch({"minutes": 1.0}, 5.0, {"w": torch.ones(1)}, {"w": torch.ones(1)})
    assert json.loads((tmp_path / "config.json").read_text()) == other
    assert run.load_last().keys() == {"w"}
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 1


def test_a_run_that_never_finished_an_epoch_is_in_nobodys_way(tmp_path: Path) -> None:
    for learning_rate in (0.1, 0.2):
        config = to_config("test", dataclasses.replace(TINY, learning_rate=learning_rate), SHAPES)
        Run(tmp_path, config, resume=False, overwrite=False)
    assert json.loads((tmp_path / "config.json").read_text()) == config


def test_a_resumed_run_keeps_what_it_started_from(tmp_path: Path) -> None:
    config = to_config("test", TINY, SHAPES)
    Run(tmp_path, {**config, "init_minutes": 7.0}, resume=False, overwrite=False)
    assert Run(tmp_path, config, resume=True, overwrite=False).config["init_minutes"] == 7.0


def test_a_training_that_diverges_says_so_and_keeps_what_was_written(tmp_path: Path) -> None:
    settings = dataclasses.replace(TINY, epochs=2)
    agent = build_agent(settings, SHAPES)
    losses_to_come = iter([1.0] * 3 + [float("nan")] * 3)
    settings = dataclasses.replace(settings, images_per_epoch=3 * settings.batch_size)

    def batch(seeds: list[int] | None, progress: float) -> BatchResult:
        return BatchResult(next(losses_to_come) * agent.baseline.bias.sum(), {})

    run = Run(tmp_path / "run", {}, resume=False, overwrite=False)
    epochs = train(run, settings, agent, batch, lambda _: {"validation_error": 1.0}, quiet=True)
    next(epochs)
    before = run.last.read_bytes()
    with pytest.raises(ValueError, match="not finite in epoch 2"):
        next(epochs)
    assert run.last.read_bytes() == before


def test_overwriting_deletes_nothing_but_a_run(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("three years")
    with pytest.raises(RunError, match="already holds files"):
        Run(tmp_path, to_config("test", TINY, SHAPES), resume=False, overwrite=True)
    assert (tmp_path / "thesis.txt").exists()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"sigma": 0.0}, "sigma"),
        ({"epochs": 0}, "epochs"),
        ({"curriculum": 1.0}, "curriculum"),
        ({"rollouts": 1}, "leave_one_out"),
        ({"weight_decay": -1.0}, "weight_decay"),
        ({"reinforce_weight": -1.0}, "reinforce_weight"),
        ({"trace": 2.0}, "trace"),
        ({"model": "dram", "glimpses": "conv", "policy": "random"}, "of model 'ram'"),
        ({"model": "dram", "glimpses": "conv", "core": "lstm"}, "of model 'ram'"),
        ({"model": "dram", "glimpses": "conv", "detach": True}, "of model 'ram'"),
        ({"env": {"split": "test"}}, "split"),
        ({"env": {"max_episode_steps": 2}}, "max_episode_steps"),
    ],
)
def test_bad_settings_are_named_before_anything_is_written(changes: dict, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        dataclasses.replace(TINY, **changes)


def test_keywords_from_the_command_line() -> None:
    pairs = ["horizon=4", "difficulty=0.5", "dataset=mnist-5k"]
    assert dict(map(parse_keyword, pairs)) == {"horizon": 4, "difficulty": 0.5, "dataset": "mnist-5k"}
    with pytest.raises(ValueError, match="KEYWORD=VALUE"):
        parse_keyword("horizon")


def test_one_glimpse_trains_without_a_gaze_to_choose(tmp_path: Path) -> None:
    settings = dataclasses.replace(TINY, env={**OFFLINE, "horizon": 1}, baseline="learned", epochs=1)
    (metrics,) = run_all(tmp_path, settings)
    assert math.isfinite(metrics["loss"])


def test_best_is_the_lowest_validation_error_and_loads(tmp_path: Path) -> None:
    metrics = run_all(tmp_path, TINY)
    agent, settings, config = load_agent(tmp_path / "best.safetensors")
    assert settings == TINY
    best = min(m["validation_error"] for m in metrics)
    assert config["validation_error"] == best
    assert evaluate(agent, settings.env_id, "validation", **settings.env).error == best


def test_learning_lowers_the_error(tmp_path: Path) -> None:
    settings = PolicyGradient(
        env_id="Glimpse/MNIST-v0",
        env={**OFFLINE, "horizon": 4},
        epochs=3,
        images_per_epoch=7000,
        batch_size=64,
        learning_rate=1e-3,
        bfloat16=False,
    )
    metrics = run_all(tmp_path, settings)
    assert metrics[-1]["validation_error"] < 40  # chance is 90
    assert metrics[-1]["reward"] > metrics[0]["reward"]


@pytest.mark.parametrize(
    ("able", "wanted", "used"),
    [({"avx2": True}, True, False), ({"avx512_bf16": True}, True, True), ({"amx_bf16": True}, False, False)],
)
def test_bfloat16_only_where_the_processor_computes_in_it(
    able: dict[str, bool], wanted: bool, used: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)
    settings = dataclasses.replace(TINY, epochs=1, bfloat16=wanted)
    agent = build_agent(settings, SHAPES)
    seen = []

    def batch(seeds: list[int] | None, progress: float) -> BatchResult:
        seen.append(torch.is_autocast_enabled("cpu"))
        return BatchResult(agent.baseline.bias.sum(), {})

    run = Run(tmp_path / "run", {}, resume=False, overwrite=False)
    list(train(run, settings, agent, batch, error_on_validation(settings), quiet=True))
    assert set(seen) == {used}


def test_schedule_by_hand() -> None:
    assert [schedule(d, 0.0) for d in (0.0, 0.5)] == pytest.approx([1.0, 0.5])
    assert schedule(1.0, 0.0) == pytest.approx(0.0)
    assert [schedule(d, 0.2) for d in (0.0, 0.1, 0.2, 0.6)] == pytest.approx([0.0, 0.5, 1.0, 0.5])
    assert schedule(1 / 3, 0.0) == pytest.approx(0.5 * (1 + math.cos(math.pi / 3)))


def test_the_average_follows_the_weights() -> None:
    mean, now = (build_agent(dataclasses.replace(TINY, seed=s), SHAPES) for s in (1, 2))
    before = mean.classifier.bias.clone()
    update_average(mean, now, decay=0.9, updates=10**6)
    torch.testing.assert_close(mean.classifier.bias, 0.9 * before + 0.1 * now.classifier.bias)
    update_average(mean, now, decay=0.9, updates=0)  # young: 1 / 10 of what was
    expected = 0.1 * (0.9 * before + 0.1 * now.classifier.bias) + 0.9 * now.classifier.bias
    torch.testing.assert_close(mean.classifier.bias, expected)


def test_the_seed_decides_the_run(tmp_path: Path) -> None:
    run_all(tmp_path / "a", TINY)
    run_all(tmp_path / "b", TINY)
    run_all(tmp_path / "c", dataclasses.replace(TINY, seed=2))
    a, b, c = (tmp_path / name / "last.safetensors" for name in "abc")
    assert same_tensors(a, b)
    assert not same_tensors(a, c)


@pytest.mark.parametrize(
    ("module", "settings", "first"),
    [
        (policy_gradient, TINY, "random"),
        (policy_gradient, dataclasses.replace(TINY, first_gaze="center"), "center"),
        (policy_gradient, dataclasses.replace(TINY, env={**TINY.env, "start_gaze": "blind"}), "blind"),
        (supervised, dataclasses.replace(EXPERIMENTS["fc-mnist"], env=OFFLINE), None),
    ],
)
def test_training_plays_training_scenes(
    module: Any, settings: Any, first: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    monkeypatch.setattr(module, "make_env", lambda *a, **k: made.append(k) or make_env(*a, **k))
    run_all(tmp_path, dataclasses.replace(settings, epochs=1, images_per_epoch=32))
    assert [(k["split"], k.get("start_gaze")) for k in made] == [("train", first)]


def test_progress_rate_and_scenes_of_every_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two epochs of three batches: one schedule, seeds at an epoch's first, other scenes each."""
    settings = dataclasses.replace(
        TINY, epochs=2, images_per_epoch=96, learning_rate=0.1, warm_up=0.5, clip=1.0, average=0.5
    )
    agent = build_agent(settings, SHAPES)
    start = agent.baseline.bias.detach().clone()
    told: list[tuple[list[int] | None, float]] = []
    rates, norms, ages = [], [], []
    step = torch.optim.AdamW.step

    def spy(optimizer: torch.optim.AdamW) -> None:
        rates.append(optimizer.param_groups[0]["lr"])
        norms.append(agent.baseline.bias.grad.norm().item())
        step(optimizer)

    def batch(seeds: list[int] | None, progress: float) -> BatchResult:
        told.append((seeds, progress))
        return BatchResult(100 * agent.baseline.bias.sum(), {})

    monkeypatch.setattr(torch.optim.AdamW, "step", spy)
    monkeypatch.setattr(training, "update_average", lambda *a: ages.append(a[3]) or update_average(*a))
    run = Run(tmp_path / "run", {}, resume=False, overwrite=False)
    list(train(run, settings, agent, batch, lambda _: {"validation_error": 1.0}, quiet=True))
    assert [progress for _, progress in told] == pytest.approx([k / 6 for k in range(6)])
    assert rates == pytest.approx([0.1 * schedule(k / 6, 0.5) for k in range(6)])
    assert norms == pytest.approx([1.0] * 6, abs=1e-5)  # 100, clipped
    assert ages == list(range(6))
    seeds = [s for s, _ in told]
    assert [s is None for s in seeds] == [False, True, True] * 2
    assert len({*seeds[0], *seeds[3]}) == 2 * settings.batch_size
    assert agent.baseline.bias.item() < start.item()


def test_muon_steps_as_far_in_every_direction_and_leaves_the_rest_to_adam() -> None:
    """The singular values of a step are alike, whatever the gradient's; as long as Adam's, 0.2 a weight."""
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(48, 64), torch.nn.Linear(64, 10))
    settings = dataclasses.replace(TINY, optimizer="muon", learning_rate=0.01, weight_decay=0.0)
    optimizers = training.optimizers_of(network, settings)
    sides = [[tuple(p.shape) for p in o.param_groups[0]["params"]] for o in optimizers.values()]
    assert sides == [[(64,), (10, 64), (10,)], [(64, 48)]]
    (matrix,) = optimizers["muon."].param_groups[0]["params"]
    before = matrix.detach().clone()
    left, _, right = torch.linalg.svd(torch.randn(64, 48), full_matrices=False)
    matrix.grad = left @ torch.diag(torch.logspace(0, -1.5, 48)) @ right  # up to 30 times as steep
    optimizers["muon."].step()
    lengths = torch.linalg.svdvals((matrix - before).detach() / (0.01 * 0.2 * 8))  # 8 = sqrt(64)
    assert ((lengths > 0.6) & (lengths < 1.3)).all()
    plain = training.optimizers_of(network, dataclasses.replace(settings, optimizer="adamw"))
    assert {name: len(o.param_groups[0]["params"]) for name, o in plain.items()} == {"optimizer.": 4}
    with pytest.raises(ValueError, match="'adamw' or 'muon', got 'sgd'"):
        dataclasses.replace(settings, optimizer="sgd")


def test_running_statistics_are_averaged_by_copying() -> None:
    mean, now = torch.nn.BatchNorm1d(2), torch.nn.BatchNorm1d(2)
    now(torch.rand(9, 2) + 3)
    update_average(mean, now, 0.9, 10**6)
    assert (mean.running_mean > 0.2).all()
    assert torch.equal(mean.running_mean, now.running_mean)


class Fixed(torch.nn.Module):
    """Stands for an agent in `hybrid_batch`, which asks it for no more than these."""

    def __init__(self) -> None:
        super().__init__()
        self.locator = GazePolicy(4, 0.1, learn_sigma=True)


def play_fixed(**changes: Any) -> tuple[Tensor, Trajectory, Fixed, Any]:
    """The loss that `hybrid_batch` makes of one literal trajectory: two answers of two glimpses, B = 2.

    The second scene's number ends after its first answer.
    """
    torch.manual_seed(0)
    settings = dataclasses.replace(
        TINY, **{"rollouts": 1, "baseline": "learned", "curriculum": 0.0, "trace": 0.5, **changes}
    )
    played = Trajectory(
        gaze=torch.zeros(4, 2, 2),
        logits=torch.randn(4, 2, 3),
        log_prob=torch.randn(3, 2, requires_grad=True),
        baseline=torch.randn(3, 2, requires_grad=True),
        target=torch.tensor([[1, 2], [0, -1]]),
    )
    # The first scene's first answer is right, its second is not; the second scene's only one is right.
    played.logits[1] = torch.tensor([[0.0, 3.0, 1.0], [2.0, 1.0, 0.0]])
    played.logits[3, 0] = torch.tensor([4.0, 0.0, 1.0])
    played.logits.requires_grad_()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(policy_gradient, "rollout", lambda *a, **k: played)
        agent = Fixed()
        result = policy_gradient.hybrid_batch(settings, agent, None)(None, 0.5)
    return result.loss, played, agent, result.figures


@pytest.mark.parametrize("objective", ["reinforce", "variational"])
def test_the_hybrid_loss_by_hand(objective: str) -> None:
    loss, played, _, figures = play_fixed(objective=objective)
    log_p = played.logits.log_softmax(-1)
    first, second, only = log_p[1, 0, 1], log_p[3, 0, 2], log_p[1, 1, 0]
    entropy = -(first + second + only) / 2
    paid = [p.item() for p in (first, second, only)] if objective == "variational" else [1.0, 0.0, 1.0]
    # Gazes 1 and 2 follow glimpses 1 and 2, so that answer 1, after glimpse 2, is earned by the first.
    reward = torch.tensor([[paid[0], paid[2]], [0, 0], [paid[1], 0]])
    value = played.baseline * torch.tensor([[1, 1], [1, 0], [1, 0]])
    following = torch.cat([value[1:], torch.zeros(1, 2)])
    advantage = (reward + following - value).detach()
    advantage[1] += 0.5 * advantage[2]
    advantage[0] += 0.5 * advantage[1]
    asked = torch.tensor([[1, 1], [1, 0], [1, 0]])
    gaze = -(played.log_prob * asked * advantage).sum() / 2
    returns = torch.stack([reward.sum(0), reward[1:].sum(0), reward[2]])
    error = ((value - returns) ** 2).mean()
    wanted = entropy + error + 0.1 * gaze
    assert loss.item() == pytest.approx(wanted.item(), rel=1e-5)
    parts = (played.logits, played.log_prob, played.baseline)
    for ours, theirs in zip(
        torch.autograd.grad(loss, parts), torch.autograd.grad(wanted, parts), strict=True
    ):
        torch.testing.assert_close(ours, theirs)
    assert figures["train_error"].item() == pytest.approx(50)


def test_a_learned_sigma_is_kept_wide_by_its_entropy() -> None:
    plain, *_ = play_fixed()
    kept, _, agent, _ = play_fixed(entropy_weight=0.25)
    # Of one Gaussian gaze in the plane: 1 + log(2 pi sigma²).
    assert (plain - kept).item() == pytest.approx(0.25 * (1 + math.log(2 * math.pi * 0.1**2)), rel=1e-4)
    assert agent.locator.entropy().item() == pytest.approx(1 + math.log(2 * math.pi * 0.1**2))


def test_rollouts_of_one_scene_are_neighbours_in_every_batch() -> None:
    settings = dataclasses.replace(TINY, batch_size=2, rollouts=3)
    agent = build_agent(settings, SHAPES)
    env = make_env(agent, settings.env_id, 6, split="train", **settings.env)
    batch = policy_gradient.hybrid_batch(settings, agent, env)
    for seeds in ([7, 8], None):
        batch(seeds, 0.0)
        canvas = env.unwrapped.present_scenes().canvas
        assert (canvas[:3] == canvas[0]).all()
        assert (canvas[3:] == canvas[3]).all()
        assert (canvas[0] != canvas[3]).any()
