from __future__ import annotations

import errno
import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import train as train_script
from conftest import OFFLINE, ROOT
from torch import Tensor

from agents.agent import Agent, SequenceSpec, Spec, Step
from agents.experiments import EXPERIMENTS, Experiment
from agents.experiments.experiment import from_config, load_agent, to_config
from agents.learn import checkpoint, loop
from agents.learn.envs import make_env, parse_keyword, parse_keywords
from agents.learn.evaluate import evaluate
from agents.learn.loop import (
    BatchResult,
    Lesson,
    Loop,
    check_finite,
    optimizers_of,
    schedule,
    train,
    update_average,
)
from agents.learn.ppo import PPOLoop
from agents.learn.reinforce import GivenGaze, Reinforce
from agents.learn.run import Run, RunError, epochs, minutes
from agents.models.ram import GivenGazeSettings, RAMSettings
from agents.models.whole_canvas import WholeCanvasSettings
from agents.parts.gaze import GazePolicy
from glimpse_env.wrappers import glimpse_env_of

SPEC = Spec((1, 8, 8), (1, 28, 28), 10, horizon=3)
TINY = Experiment(
    "Glimpse/MNIST-v0",
    RAMSettings(),
    Reinforce(sigma_start=0.15, curriculum=0.5, rollouts=2, baseline="leave_one_out"),
    Loop(epochs=3, images_per_epoch=128, batch_size=32),
    {**OFFLINE, "horizon": 3},
)
FC = EXPERIMENTS["fc-mnist"].but(env=OFFLINE, loop={"epochs": 3, "images_per_epoch": 512})


def open_run(folder: Path, **options: bool) -> Run:
    return Run(folder, to_config("test", TINY, SPEC), **{"resume": False, "overwrite": False, **options})


def run_all(folder: Path, experiment: Experiment, stop_after: int = 99, resume: bool = False) -> list[dict]:
    run = Run(folder, to_config("test", experiment, SPEC), resume=resume, overwrite=False)
    out = []
    for metrics in experiment.train(run, experiment.build(SPEC), quiet=True):
        out.append(metrics)
        if len(out) == stop_after:
            break
    run.close()
    return out


def same_tensors(a: Path, b: Path) -> bool:
    (x, _), (y, _) = checkpoint.load(a), checkpoint.load(b)
    return x.keys() == y.keys() and all(torch.equal(x[k], y[k]) for k in x)


@pytest.mark.parametrize("settings", [TINY, FC, FC.but(loop={"optimizer": "muon"})])
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
    lines = (tmp_path / "parts" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2, 3]


def test_an_optimizer_is_restored_to_weights_that_lie_channels_last(tmp_path: Path) -> None:
    """Fused AdamW goes through weights and moments as they lie in memory; files hold them channels first."""
    torch.manual_seed(0)
    images = torch.randn(4, 3, 6, 6)
    whole, resumed = (torch.nn.Conv2d(3, 5, 3).to(memory_format=torch.channels_last) for _ in range(2))
    optimizers = [optimizers_of(net, Loop(epochs=1))["optimizer."] for net in (whole, resumed)]

    def step(net: torch.nn.Module, optimizer: torch.optim.Optimizer) -> None:
        optimizer.zero_grad()
        net(images).square().mean().backward()
        optimizer.step()

    step(whole, optimizers[0])
    state = {**checkpoint.flatten_optimizer(optimizers[0]), **checkpoint.with_prefix(whole, "agent.")}
    checkpoint.save(tmp_path / "x.safetensors", state, {})
    tensors, _ = checkpoint.load(tmp_path / "x.safetensors")
    resumed.load_state_dict(checkpoint.part(tensors, "agent."))
    checkpoint.restore_optimizer(optimizers[1], tensors)
    step(whole, optimizers[0])
    step(resumed, optimizers[1])
    assert torch.equal(whole.weight, resumed.weight)


def test_a_killed_run_resumes_to_the_same_weights(tmp_path: Path) -> None:
    def options(folder: str) -> list[str]:
        told = "--env dataset=mnist-5k horizon=3 --epochs 5 --images-per-epoch 1000 --batch-size 32 --quiet"
        return ["ram-mnist", "--folder", str(tmp_path / folder), *told.split()]

    command = [sys.executable, "scripts/train.py", *options("killed")]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    metrics = tmp_path / "killed" / "metrics.jsonl"
    deadline = time.monotonic() + 120
    while not metrics.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.3)  # somewhere inside an epoch
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert 1 <= len(metrics.read_text(encoding="utf-8").splitlines()) < 5
    train_script.main([*options("killed"), "--resume"])
    train_script.main(options("whole"))
    for name in ("last.safetensors", "best.safetensors"):
        assert same_tensors(tmp_path / "killed" / name, tmp_path / "whole" / name)


def test_a_folder_in_use_is_refused_unless_told(tmp_path: Path) -> None:
    run_all(tmp_path, TINY, stop_after=1)
    with pytest.raises(RunError, match="already holds a run"):
        open_run(tmp_path)
    other = to_config("test", TINY.but(loop={"learning_rate": 0.5}), SPEC)
    with pytest.raises(RunError, match=r"learning_rate=0\.002, not 0\.5"):
        Run(tmp_path, other, resume=True, overwrite=False)
    other = to_config("test", TINY.but(model={"hidden": 64}), SPEC)
    with pytest.raises(RunError, match=r"model\.hidden=256, not 64"):
        Run(tmp_path, other, resume=True, overwrite=False)
    with pytest.raises(RunError, match="no run to resume"):
        open_run(tmp_path / "new", resume=True)
    with pytest.raises(RunError, match="one of them"):
        open_run(tmp_path, resume=True, overwrite=True)
    assert (tmp_path / "last.safetensors").exists()


def test_an_overwritten_run_stays_until_the_new_one_has_an_epoch(tmp_path: Path) -> None:
    config = to_config("test", TINY, SPEC)
    run_all(tmp_path, TINY, stop_after=1)
    old = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    other = {**config, "experiment": "other"}
    run = Run(tmp_path, other, resume=False, overwrite=True)
    assert run.load_last() == {}
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == old
    run.finish_epoch({"epoch": 1, "minutes": 1.0}, 5.0, {"w": torch.ones(1)}, {"w": torch.ones(1)})
    assert json.loads((tmp_path / "config.json").read_text(encoding="utf-8")) == other
    assert run.load_last().keys() == {"w"}
    assert len((tmp_path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()) == 1


FIRST = ({"epoch": 1, "minutes": 1.0}, 5.0, {"w": torch.ones(1)}, {"w": torch.ones(1)})


@pytest.mark.parametrize("name", ["best.safetensors", "last.safetensors"])
def test_an_overwritten_run_stays_where_the_new_one_cannot_be_written(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_all(tmp_path, TINY, stop_after=1)
    old = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    run = Run(tmp_path, {**to_config("test", TINY, SPEC), "seed": 7}, resume=False, overwrite=True)
    save = checkpoint.save_file

    def full(tensors: Any, path: Path, metadata: Any) -> None:
        if path.name.startswith(f".{name.split('.')[0]}."):
            raise OSError(errno.EFBIG, "File too large")
        save(tensors, path, metadata)

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(OSError, match="File too large"):
        run.finish_epoch(*FIRST)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == old


@pytest.mark.parametrize("renamed", [1, 2, 3])
def test_a_run_killed_while_it_replaces_another_begins_anew(
    renamed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After so many of four files are renamed; never with the weights or metrics of the other."""
    run_all(tmp_path, TINY)
    other = {**to_config("test", TINY, SPEC), "seed": 7}
    run = Run(tmp_path, other, resume=False, overwrite=True)
    done: list[Any] = []

    def killed(source: Path, target: Path) -> None:
        if len(done) == renamed:
            raise KeyboardInterrupt
        done.append(target)
        source.rename(target)

    with monkeypatch.context() as patch:
        patch.setattr("os.replace", killed)
        with pytest.raises(KeyboardInterrupt):
            run.finish_epoch(*FIRST)
    run.close()
    again = Run(tmp_path, other, resume=True, overwrite=False)
    assert again.load_last() == {}
    assert again.epoch == 0
    again.finish_epoch(*FIRST)
    assert [line["epoch"] for line in epochs(tmp_path)] == [1]
    assert checkpoint.load(tmp_path / "best.safetensors")[1]["seed"] == 7


def test_what_is_left_without_its_config_is_overwritten_and_not_gone_on_with(tmp_path: Path) -> None:
    run_all(tmp_path, TINY, stop_after=1)
    (tmp_path / "config.json").unlink()
    with pytest.raises(RunError, match=r"whose config\.json is missing: use --overwrite"):
        open_run(tmp_path)
    run = open_run(tmp_path, overwrite=True)
    assert run.load_last() == {}
    run.finish_epoch(*FIRST)
    assert len(epochs(tmp_path)) == 1


def test_a_run_that_never_finished_an_epoch_is_in_nobodys_way(tmp_path: Path) -> None:
    for learning_rate in (0.1, 0.2):
        config = to_config("test", TINY.but(loop={"learning_rate": learning_rate}), SPEC)
        Run(tmp_path, config, resume=False, overwrite=False)
    assert json.loads((tmp_path / "config.json").read_text(encoding="utf-8")) == config


def test_a_resumed_run_keeps_what_it_started_from(tmp_path: Path) -> None:
    config = to_config("test", TINY, SPEC)
    Run(tmp_path, {**config, "init_minutes": 7.0}, resume=False, overwrite=False)
    assert Run(tmp_path, config, resume=True, overwrite=False).config["init_minutes"] == 7.0


@pytest.mark.parametrize("kind", ["stray config", "folder of runs", "thesis", "link", "file"])
def test_overwriting_removes_nothing_but_a_run(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "x"
    if kind == "file":
        folder.write_text("three years", encoding="utf-8")
    else:
        (tmp_path / "real").mkdir()
        folder.symlink_to(tmp_path / "real") if kind == "link" else folder.mkdir()
    if kind == "stray config":
        (folder / "config.json").write_text('{"port": 80}', encoding="utf-8")
    elif kind in ("thesis", "link"):
        run_all(folder, TINY, stop_after=1)
        (folder / "thesis.txt").write_text("three years", encoding="utf-8")
    elif kind == "folder of runs":
        run_all(folder / "one", TINY, stop_after=1)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(RunError, match="x"):
        open_run(folder, overwrite=True)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_an_overwritten_run_behind_a_link_stays_behind_it(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    run_all(tmp_path / "link", TINY, stop_after=1)
    run = open_run(tmp_path / "link", overwrite=True)
    run.finish_epoch({"epoch": 1, "minutes": 1.0}, 5.0, {"w": torch.ones(1)}, {"w": torch.ones(1)})
    assert (tmp_path / "link").is_symlink()
    assert len((tmp_path / "real" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()) == 1


def test_what_a_killed_process_was_writing_is_cleared_away(tmp_path: Path) -> None:
    run_all(tmp_path / "x", TINY, stop_after=1)
    before = {path.name: path.read_bytes() for path in (tmp_path / "x").iterdir()}
    for name in (".last.123.tmp.safetensors", ".metrics.123.tmp.jsonl", ".config.9.tmp.json"):
        (tmp_path / "x" / name).write_text("half", encoding="utf-8")
    open_run(tmp_path / "x", resume=True).close()
    assert {path.name: path.read_bytes() for path in (tmp_path / "x").iterdir()} == before
    (tmp_path / "x" / ".notes.tmp.json").write_text("mine", encoding="utf-8")
    with pytest.raises(RunError, match=r"holds '\.notes\.tmp\.json', which is no run's"):
        open_run(tmp_path / "x", overwrite=True)


@pytest.mark.parametrize("name", [".x.training", "config.json"])
def test_a_full_disk_is_named_and_the_folder_let_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def full(self: Path, *args: Any, **kwargs: Any) -> None:
        if self.name.startswith(f".{Path(name).stem}."):
            raise OSError(errno.ENOSPC, "No space left on device")
        write_text(self, *args, **kwargs)

    write_text = Path.write_text
    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match=rf"{name} could not be written, for the disk is full"):
        open_run(tmp_path / "x")
    monkeypatch.undo()
    assert not (tmp_path / ".x.training").exists()
    open_run(tmp_path / "x").close()


def test_damaged_runs_are_named(tmp_path: Path) -> None:
    run_all(tmp_path, TINY, stop_after=1)
    last, metrics = tmp_path / "last.safetensors", tmp_path / "metrics.jsonl"
    kept = last.read_bytes()
    last.write_bytes((tmp_path / "best.safetensors").read_bytes())
    with pytest.raises(checkpoint.CheckpointError, match="not one to resume from"):
        run_all(tmp_path, TINY, resume=True)
    last.write_bytes(kept)
    tensors, config = checkpoint.load(last)
    for change in ({"epoch": "x"}, {"epoch": None}, {"epoch": 1.5}, {"epoch": -1}, {"best": "x"}):
        checkpoint.save(last, tensors, {**config, **change})
        with pytest.raises(checkpoint.CheckpointError, match="not one to resume from"):
            run_all(tmp_path, TINY, resume=True)
    last.write_bytes(kept)
    good = metrics.read_bytes()
    many = b'{"epoch": 1, "minutes": 1' + b"0" * 400 + b"}"
    for line in (
        b'{"epoch": 1, "lo', b"\xff\xfe", b'{"epoch": 1}', b"[1]", b"x", many, b"[" * 200_000,
        b'{"epoch": 1, "minutes": NaN}',
    ):  # fmt: skip
        metrics.write_bytes(good + line)
        with pytest.raises(RunError, match=rf"line 2 of {metrics} is not the metrics of an epoch"):
            minutes(tmp_path)


def test_a_model_too_large_for_memory_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def build(self: Any, spec: Any) -> None:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:127] can't allocate memory: you tried 9 bytes")

    monkeypatch.setattr(RAMSettings, "build", build)
    with pytest.raises(ValueError, match="RAMSettings does not fit into memory: choose smaller settings"):
        TINY.build(SPEC)


def test_two_trainings_never_share_a_folder(tmp_path: Path) -> None:
    """Another process that holds the folder is named; one that has died is not in the way."""
    hold = (
        "import sys, time; sys.path[:0] = ['tests', 'scripts']\n"
        "from pathlib import Path; from test_loop import open_run\n"
        "run = open_run(Path(sys.argv[1])); print('open', flush=True); time.sleep(60)"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", hold, str(tmp_path / "x")], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout.readline() == "open\n"
    with pytest.raises(RunError, match=f"trained by process {other.pid}"):
        open_run(tmp_path / "x")
    (tmp_path / ".x.training").unlink()
    with pytest.raises(RunError, match="trained by another process: wait"):
        open_run(tmp_path / "x")
    other.kill()
    other.communicate()
    # The number of a process that has ended may be another's since.
    (tmp_path / ".x.training").write_text(str(os.getppid()), encoding="utf-8")
    open_run(tmp_path / "x").close()


def test_a_training_that_diverges_says_so_and_keeps_what_was_written(tmp_path: Path) -> None:
    agent = TINY.build(SPEC)
    losses_to_come = iter([1.0] * 3 + [float("nan")] * 3)

    def batch(seeds: list[int] | None, progress: float) -> BatchResult:
        return BatchResult(next(losses_to_come) * agent.baseline.bias.sum(), {})

    run = open_run(tmp_path / "run")
    lesson = Lesson(batch, lambda _: {"validation_error": 1.0}, lambda: None)
    epochs = train(run, Loop(epochs=2, images_per_epoch=96, batch_size=32), 1, agent, lesson, quiet=True)
    next(epochs)
    before = run.last.read_bytes()
    with pytest.raises(ValueError, match="not finite in epoch 2"):
        next(epochs)
    assert run.last.read_bytes() == before


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"learner": {"sigma_start": 0.0}}, "sigma_start"),
        ({"learner": {"sigma_start": None, "sigma_decay": "geometric"}}, "sigma_decay is of a schedule"),
        ({"loop": {"epochs": 0}}, "epochs"),
        ({"learner": {"curriculum": 1.0}}, "curriculum"),
        ({"loop": {"weight_decay": -1.0}}, "weight_decay"),
        ({"learner": {"reinforce_weight": -1.0}}, "reinforce_weight"),
        ({"learner": {"gae_lambda": 2.0}}, "gae_lambda"),
        ({"learner": {"baseline": "leave-one-out"}}, "baseline must be one of"),
        ({"learner": {"baseline": "leave_one_out", "rollouts": 1}}, "set rollouts to 2"),
        ({"learner": {"objective": "foo"}}, "objective must be one of"),
        ({"learner": {"sigma_decay": "lineer"}}, "sigma_decay must be one of"),
        ({"learner": {"entropy_weight": 0.1}}, "learn_sigma"),
        ({"model": {"learn_sigma": True}}, "sigma_start is a schedule"),
        ({"model": GivenGazeSettings("center")}, "Reinforce teaches RAMSettings or DRAMSettings"),
        ({"learner": GivenGaze()}, "GivenGaze teaches GivenGazeSettings, not RAMSettings"),
        ({"model": WholeCanvasSettings("fc")}, "not WholeCanvasSettings"),
        ({"env": {"split": "test"}}, "split"),
        ({"env": {"max_episode_steps": 2}}, "max_episode_steps"),
        ({"env": {"horizn": 2}}, "did you mean 'horizon'"),
        ({"seed": -1}, "seed"),
        ({"loop": PPOLoop()}, "Reinforce does not learn by a PPOLoop"),
    ],
)
def test_bad_settings_are_named_before_anything_is_written(changes: dict, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        TINY.but(**changes)


@pytest.mark.parametrize("name", sorted(EXPERIMENTS))
def test_every_experiment_comes_back_from_its_record(name: str) -> None:
    """What a checkpoint's header holds, through JSON, is the experiment; nothing in it is left out."""
    experiment = EXPERIMENTS[name]
    made_for = SequenceSpec(3, 3, 4, True, "abc") if experiment.is_sequence else SPEC
    record = json.loads(json.dumps(to_config(name, experiment, made_for)))
    again, spec = from_config(record)
    assert spec == made_for
    assert (
        again.but(group=experiment.group, paper=experiment.paper, best_public=experiment.best_public)
        == experiment
    )
    assert not again.same_recipe(experiment.but(loop={"epochs": experiment.loop.epochs + 1}))


def test_keywords_from_the_command_line() -> None:
    pairs = ["horizon=4", "difficulty=0.5", "dataset=mnist-5k"]
    assert parse_keywords(pairs) == {"horizon": 4, "difficulty": 0.5, "dataset": "mnist-5k"}
    with pytest.raises(ValueError, match="KEYWORD=VALUE"):
        parse_keyword("horizon")


def test_one_glimpse_trains_without_a_gaze_to_choose(tmp_path: Path) -> None:
    experiment = TINY.but(env={**OFFLINE, "horizon": 1}, learner={"baseline": "learned"}, loop={"epochs": 1})
    (metrics,) = run_all(tmp_path, experiment)
    assert math.isfinite(metrics["loss"])


def test_best_is_the_lowest_validation_error_and_loads(tmp_path: Path) -> None:
    metrics = run_all(tmp_path, TINY)
    agent, experiment, config = load_agent(tmp_path / "best.safetensors")
    assert experiment == TINY
    best = min(m["validation_error"] for m in metrics)
    assert config["validation_error"] == best
    assert evaluate(agent, experiment.env_id, "validation", **experiment.env).error == best


def test_sigma_falls_by_as_much_or_to_the_same_share() -> None:
    agent = TINY.but(model={"sigma": 0.01}).build(SPEC)
    for decay, halfway in (("linear", 0.085), ("geometric", 0.04)):
        learner = Reinforce(sigma_start=0.16, sigma_decay=decay)
        for progress, sigma in ((0.0, 0.16), (0.5, halfway), (1.0, 0.01)):
            learner.prepare(agent, progress)
            assert agent.locator.sigma == pytest.approx(sigma)


def test_scenes_become_as_difficult_as_they_are_over_a_share_of_training() -> None:
    env = make_env(TINY.build(SPEC), "Glimpse/MNIST-v0", 2, **OFFLINE)
    found = []
    for progress in (0.0, 0.1, 0.25, 0.75):
        Reinforce(curriculum=0.25).batch(TINY.build(SPEC), env, [1, 2], progress)
        found.append(glimpse_env_of(env).difficulty)
    assert found == [0.0, 0.4, 1.0, 1.0]


def test_learning_lowers_the_error(tmp_path: Path) -> None:
    loop = Loop(epochs=3, images_per_epoch=7000, batch_size=64, learning_rate=1e-3, bfloat16=False)
    learner = Reinforce(sigma_start=0.15)
    metrics = run_all(tmp_path, TINY.but(env={**OFFLINE, "horizon": 4}, learner=learner, loop=loop))
    assert metrics[-1]["validation_error"] < 40  # chance is 90
    assert metrics[-1]["reward"] > metrics[0]["reward"]


@pytest.mark.parametrize("env", [{"step_cost": 0.1}, {"reward": "per_answer", "step_cost": 0.1}])
def test_what_the_environment_pays_changes_what_is_learned(tmp_path: Path, env: dict) -> None:
    plain = TINY.but(learner=Reinforce(sigma_start=0.15), loop={"epochs": 1})
    paid = run_all(tmp_path / "paid", plain.but(env={**plain.env, **env}))
    free = run_all(tmp_path / "free", plain)
    assert paid[0]["reward"] == pytest.approx(free[0]["reward"] - 0.3, abs=0.1)  # three steps
    assert not same_tensors(*(tmp_path / name / "last.safetensors" for name in ("paid", "free")))


@pytest.mark.parametrize(
    ("able", "wanted", "used"),
    [({"avx2": True}, True, False), ({"avx512_bf16": True}, True, True), ({"amx_bf16": True}, False, False)],
)
def test_bfloat16_only_where_the_processor_computes_in_it(
    able: dict[str, bool], wanted: bool, used: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)
    agent = TINY.build(SPEC)
    seen = []

    def batch(seeds: list[int] | None, progress: float) -> BatchResult:
        seen.append(torch.is_autocast_enabled("cpu"))
        return BatchResult(agent.baseline.bias.sum(), {})

    lesson = Lesson(batch, lambda _: {"validation_error": 1.0}, lambda: None)
    few = Loop(epochs=1, images_per_epoch=96, batch_size=32, bfloat16=wanted)
    list(train(open_run(tmp_path / "run"), few, 1, agent, lesson, quiet=True))
    assert set(seen) == {used}


def test_schedule_by_hand() -> None:
    assert [schedule(d, 0.0) for d in (0.0, 0.5)] == pytest.approx([1.0, 0.5])
    assert schedule(1.0, 0.0) == pytest.approx(0.0)
    assert [schedule(d, 0.2) for d in (0.0, 0.1, 0.2, 0.6)] == pytest.approx([0.0, 0.5, 1.0, 0.5])
    assert schedule(1 / 3, 0.0) == pytest.approx(0.5 * (1 + math.cos(math.pi / 3)))


def test_the_average_follows_the_weights() -> None:
    mean, now = (TINY.but(seed=s).build(SPEC) for s in (1, 2))
    before = mean.classifier.bias.clone()
    update_average(mean, now, decay=0.9, updates=10**6)
    torch.testing.assert_close(mean.classifier.bias, 0.9 * before + 0.1 * now.classifier.bias)
    update_average(mean, now, decay=0.9, updates=0)  # young: 1 / 10 of what was
    expected = 0.1 * (0.9 * before + 0.1 * now.classifier.bias) + 0.9 * now.classifier.bias
    torch.testing.assert_close(mean.classifier.bias, expected)


def test_the_seed_decides_the_run(tmp_path: Path) -> None:
    run_all(tmp_path / "a", TINY)
    run_all(tmp_path / "b", TINY)
    run_all(tmp_path / "c", TINY.but(seed=2))
    a, b, c = (tmp_path / name / "last.safetensors" for name in "abc")
    assert same_tensors(a, b)
    assert not same_tensors(a, c)


@pytest.mark.parametrize(
    ("changes", "first"),
    [
        ({"learner": {"start_gaze": "random"}}, "random"),
        ({}, "center"),
        ({"env": {**TINY.env, "start_gaze": "blind"}}, "blind"),
    ],
)
def test_training_plays_training_scenes(changes: dict, first: str) -> None:
    experiment = TINY.but(**changes)
    agent = experiment.build(SPEC)
    seen: list[Any] = []
    forward = agent.forward
    agent.forward = lambda *a: seen.append(a[0]) or forward(*a)
    task = loop.Task(experiment.env_id, experiment.env, experiment.loop, 1)
    lesson = experiment.learner.lesson(agent, task)
    lesson.batch(list(range(32)), 1.0)
    gaze, retina = seen[0]["gaze"], seen[0]["retina"]
    assert (gaze == 0).all() == (first != "random")
    assert (retina == 0).all() == (first == "blind")
    env = make_env(agent, experiment.env_id, 32, split="train", **experiment.env)
    env.reset(seed=list(range(32)))
    wanted = torch.from_numpy(glimpse_env_of(env).present_scenes().target).repeat_interleave(2)
    assert (seen[0]["target"][:, 0] == wanted).all()  # each scene twice, side by side


def test_progress_rate_and_scenes_of_every_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two epochs of three batches: one schedule, seeds at an epoch's first, other scenes each."""
    settings = Loop(
        epochs=2, images_per_epoch=96, batch_size=32, learning_rate=0.1, warm_up=0.5, clip=1.0, average=0.5
    )
    agent = TINY.build(SPEC)
    start = agent.baseline.bias.detach().clone()
    told: list[tuple[list[int] | None, float]] = []
    rates, norms = [], []
    step = torch.optim.AdamW.step

    def spy(optimizer: torch.optim.AdamW) -> None:
        rates.append(optimizer.param_groups[0]["lr"])
        norms.append(agent.baseline.bias.grad.norm().item())
        step(optimizer)

    def batch(seeds: list[int] | None, progress: float) -> BatchResult:
        told.append((seeds, progress))
        return BatchResult(100 * agent.baseline.bias.sum(), {})

    monkeypatch.setattr(torch.optim.AdamW, "step", spy)
    lesson = Lesson(batch, lambda _: {"validation_error": 1.0}, lambda: None)
    list(train(open_run(tmp_path / "run"), settings, 1, agent, lesson, quiet=True))
    assert [progress for _, progress in told] == pytest.approx([k / 6 for k in range(6)])
    assert rates == pytest.approx([0.1 * schedule(k / 6, 0.5) for k in range(6)])
    assert norms == pytest.approx([1.0] * 6, abs=1e-5)  # 100, clipped
    seeds = [s for s, _ in told]
    assert [s is None for s in seeds] == [False, True, True] * 2
    assert len({*seeds[0], *seeds[3]}) == 2 * settings.batch_size
    assert agent.baseline.bias.item() < start.item()


def test_figures_of_few_bits_add_up(tmp_path: Path) -> None:
    """In bfloat16 adding 7.5 to 2,048 changes nothing."""
    agent = TINY.build(SPEC)

    def batch(seeds: list[int] | None, progress: float) -> BatchResult:
        return BatchResult(agent.baseline.bias.sum(), {"omega": torch.tensor(7.53125, dtype=torch.bfloat16)})

    lesson = Lesson(batch, lambda _: {"validation_error": 1.0}, lambda: None)
    settings = Loop(epochs=1, images_per_epoch=400, batch_size=1, average=0.9)
    (metrics,) = train(open_run(tmp_path / "run"), settings, 1, agent, lesson, quiet=True)
    assert metrics["omega"] == 7.53125


@pytest.mark.parametrize(("name", "again"), [("ram-mnist", False), ("dram-house", True)])
def test_rollouts_are_of_one_image_in_every_batch(name: str, again: bool) -> None:
    """Where numbers differ in length rows end apart, and each batch tells them anew what to begin with."""
    told = []

    class Told(Reinforce):
        def batch(self, agent: Any, env: Any, seeds: list[int] | None, progress: float) -> BatchResult:
            told.append(self.begin(agent, glimpse_env_of(env), seeds, progress))
            return BatchResult(torch.zeros(()), {})

    experiment = EXPERIMENTS[name].but(
        env={"dataset": "mnist-5k"}, loop={"batch_size": 3}, learner=Told(rollouts=2)
    )
    lesson = experiment.learner.lesson(experiment.build(experiment.spec()), experiment.task)
    for seeds in ([7, 8, 9], None, None):
        lesson.batch(seeds, 0.0)
    lesson.close()
    assert told[0] == [7, 7, 8, 8, 9, 9]
    for rows in told[1:]:
        assert (rows is not None) == again
        if again:
            assert rows[::2] == rows[1::2]
            assert len({*rows, *told[0]}) == 6
    assert (told[1] != told[2]) == again


def test_who_hears_no_question_is_not_asked_one() -> None:
    asked = EXPERIMENTS["lookup-10"].but(env_id="Glimpse/Cloze-v0", env={"dataset": "stories"})
    with pytest.raises(ValueError, match="RAMSettings builds an agent that hears no question"):
        asked.build(asked.spec())


def test_muon_leaves_embeddings_and_heads_to_adam() -> None:
    text = EXPERIMENTS["char-lstm"].but(env={"dataset": "python-docs"}, model={"hidden": 64, "embedding": 48})
    model = text.build(text.spec())
    muons = {id(p) for p in optimizers_of(model, Loop(optimizer="muon"))["muon."].param_groups[0]["params"]}
    names = {name for name, p in model.named_parameters() if id(p) in muons}
    assert names
    assert not {name for name in names if "embedding" in name or "head" in name}


def test_muon_steps_as_far_in_every_direction_and_leaves_the_rest_to_adam() -> None:
    """The singular values of a step are alike, whatever the gradient's; as long as Adam's, 0.2 a weight."""
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(48, 64), torch.nn.Linear(64, 10))
    settings = Loop(optimizer="muon", learning_rate=0.01, weight_decay=0.0)
    optimizers = optimizers_of(network, settings)
    sides = [[tuple(p.shape) for p in o.param_groups[0]["params"]] for o in optimizers.values()]
    assert sides == [[(64,), (10, 64), (10,)], [(64, 48)]]
    (matrix,) = optimizers["muon."].param_groups[0]["params"]
    before = matrix.detach().clone()
    left, _, right = torch.linalg.svd(torch.randn(64, 48), full_matrices=False)
    matrix.grad = left @ torch.diag(torch.logspace(0, -1.5, 48)) @ right  # up to 30 times as steep
    optimizers["muon."].step()
    lengths = torch.linalg.svdvals((matrix - before).detach() / (0.01 * 0.2 * 8))  # 8 = sqrt(64)
    assert ((lengths > 0.6) & (lengths < 1.3)).all()
    plain = optimizers_of(network, Loop())
    assert {name: len(o.param_groups[0]["params"]) for name, o in plain.items()} == {"optimizer.": 4}
    with pytest.raises(ValueError, match="'adamw' or 'muon', got 'sgd'"):
        Loop(optimizer="sgd")  # type: ignore[arg-type]


def test_what_no_gradient_moves_shrinks_by_the_decay() -> None:
    """By the learning rate times the decay, whoever moves it (Loshchilov, Hutter 2019)."""
    network = torch.nn.Sequential(torch.nn.Linear(48, 64), torch.nn.Linear(64, 10))
    before = [p.detach().clone() for p in network.parameters()]
    optimizers = optimizers_of(network, Loop(optimizer="muon", learning_rate=0.1, weight_decay=0.5))
    assert len(optimizers) == 2
    for p in network.parameters():
        p.grad = torch.zeros_like(p)
    for optimizer in optimizers.values():
        optimizer.step()
    for p, was in zip(network.parameters(), before, strict=True):
        torch.testing.assert_close(p.detach(), 0.95 * was)


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_no_number_is_refused(loss: float) -> None:
    with pytest.raises(ValueError, match="not finite in epoch 3: train anew with a lower learning_rate"):
        check_finite(torch.tensor(loss), 2)
    check_finite(torch.tensor(1e30), 2)


def test_running_statistics_are_averaged_by_copying() -> None:
    mean, now = torch.nn.BatchNorm1d(2), torch.nn.BatchNorm1d(2)
    now(torch.rand(9, 2) + 3)
    update_average(mean, now, 0.9, 10**6)
    assert (mean.running_mean > 0.2).all()
    assert torch.equal(mean.running_mean, now.running_mean)


class Scripted(Agent):
    """Gives literal answers, log-densities and values, a step each, and looks at the centre."""

    def __init__(self, logits: Tensor, log_prob: Tensor, baseline: Tensor) -> None:
        super().__init__()
        self.logits, self.log_prob, self.baseline = logits, log_prob, baseline  # time first
        self.locator = GazePolicy(4, 0.1, learn_sigma=True)

    def initial(self, batch_size: int) -> Any:
        return torch.arange(batch_size), torch.zeros(batch_size, dtype=torch.long)

    def forward(self, observation: Any, state: Any, sample: bool) -> Any:
        row, time = state
        gaze = torch.zeros(len(row), 2)
        parts = (part[time, row] for part in (self.logits, self.log_prob, self.baseline))
        return Step(gaze, *parts), (row, time + 1)


def play_literal(learner: GivenGaze) -> tuple[Tensor, Scripted, Any, Any]:
    """The loss of house numbers, two glimpses an answer, played by literal steps: B = 6.

    Most answers are made right; one says a wrong digit, one END too early.
    """
    torch.manual_seed(0)
    env = make_env(
        TINY.build(SPEC),
        "Glimpse/HouseNumbers-v0",
        6,
        glimpses_per_answer=2,
        reward="per_answer",
        **OFFLINE,
    )
    observation, _ = env.reset(seed=[5, 6, 7, 8, 9, 10])
    target = torch.from_numpy(observation["target"])
    logits = torch.randn(12, 6, 11)
    for b in range(6):
        for k in range(6):
            if target[b, k] >= 0:
                logits[2 * k + 1, b, target[b, k]] += 9
    logits[1, 0, (target[0, 0] + 1) % 10] += 30
    logits[1, 1, 10] += 30
    agent = Scripted(
        logits.requires_grad_(),
        torch.randn(12, 6, requires_grad=True),
        torch.randn(12, 6, requires_grad=True),
    )
    result = learner.batch(agent, env, [5, 6, 7, 8, 9, 10], 0.5)
    return result.loss, agent, target, result.figures


@pytest.mark.parametrize("objective", ["reinforce", "variational"])
def test_the_hybrid_loss_by_hand(objective: Any) -> None:
    """Episode by episode and step by step, in plain Python: what is asked, earned, expected and said."""
    loss, agent, target, figures = play_literal(Reinforce(objective=objective, gae_lambda=0.5))
    log_p = agent.logits.log_softmax(-1)
    entropy, gaze, error, right, steps = 0.0, 0.0, 0.0, 0, 0
    for b in range(6):
        answers = [a for a in target[b].tolist() if a >= 0]
        said = []
        paid = [0.0] * 12
        good = True
        for k, wanted in enumerate(answers):
            answer = int(agent.logits[2 * k + 1, b].argmax())
            said.append(answer)
            entropy = entropy - log_p[2 * k + 1, b, wanted]
            good &= answer == wanted
            paid[2 * k + 1] = (
                log_p[2 * k + 1, b, wanted].item() if objective == "variational" else float(good)
            )
        played = 2 * len(said)
        steps = max(steps, played)
        right += said == answers
        # The gaze chosen after step t earns what step t + 1 is paid; the last one is never looked through.
        value = [agent.baseline[t, b] if t < played - 1 else torch.zeros(()) for t in range(12)]
        advantage = [0.0] * 13
        for t in reversed(range(played - 1)):
            gain = paid[t + 1] + value[t + 1].item() - value[t].item()
            advantage[t] = gain + 0.5 * advantage[t + 1]
            gaze = gaze - agent.log_prob[t, b] * advantage[t]
        error = error + sum((value[t] - sum(paid[t + 1 :])) ** 2 for t in range(11))
    wanted = (entropy + 0.1 * gaze) / 6 + error / (6 * (steps - 1))
    assert loss.item() == pytest.approx(wanted.item(), rel=1e-4)
    parts = (agent.logits, agent.log_prob, agent.baseline)
    for ours, theirs in zip(
        torch.autograd.grad(loss, parts), torch.autograd.grad(wanted, parts), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)
    assert right == 4
    assert figures["train_error"].item() == pytest.approx(100 * (1 - right / 6))


@pytest.mark.parametrize("objective", ["reinforce", "variational"])
def test_given_gazes_teach_the_answers_and_the_value_alone(objective: Any) -> None:
    given, *_ = play_literal(GivenGaze(objective=objective))
    unpaid, *_ = play_literal(Reinforce(objective=objective, reinforce_weight=0.0))
    assert given.item() == unpaid.item()


def test_a_learned_sigma_is_kept_wide_by_its_entropy() -> None:
    plain, *_ = play_literal(Reinforce())
    kept, agent, *_ = play_literal(Reinforce(entropy_weight=0.25))
    # Of one Gaussian gaze in the plane: 1 + log(2 pi sigma²).
    assert (plain - kept).item() == pytest.approx(0.25 * (1 + math.log(2 * math.pi * 0.1**2)), rel=1e-3)
    assert agent.locator.entropy().item() == pytest.approx(1 + math.log(2 * math.pi * 0.1**2))
