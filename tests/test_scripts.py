"""The scripts as a user runs them: real processes, tiny settings, exit codes and messages."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import math
import os
import re
import runpy
import shutil
import signal
import subprocess
import sys
import types
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bench_choices
import bench_soak
import bench_train
import demo
import evaluate
import imageio.v3 as iio
import numpy as np
import play
import pygame
import pytest
import reproduce
import terminal
import torch
from conftest import ROOT
from PIL import Image

from agents.agent import Agent
from agents.experiments import EXPERIMENTS
from agents.experiments.experiment import load_agent
from agents.learn import checkpoint
from agents.learn import run as runs
from agents.learn.evaluate import Evaluation
from agents.report import results
from glimpse_env.data.files import DatasetError
from glimpse_env.registry import TABLE
from glimpse_env.render.frames import SIZES

ENDS = (checkpoint.CheckpointError, DatasetError, runs.RunError, OSError, ValueError)  # as every script
TINY = "--env dataset=mnist-5k horizon=2 --epochs 2 --images-per-epoch 64 --batch-size 32 --quiet".split()  # noqa: SIM905


def run(script: str, *arguments: object, fails: bool = False) -> str:
    """Call the main of scripts/`script` in this process; its output, or the error's if it is to fail."""
    module = importlib.import_module(script)
    out, err, failed = io.StringIO(), io.StringIO(), False
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), contextlib.chdir(ROOT):
        try:
            module.main([str(argument) for argument in arguments])
        except SystemExit as error:
            failed = error.code not in (0, None)
        except ENDS as error:  # as every script ends
            failed = True
            print(terminal.sentence(error), file=sys.stderr)
    assert failed == fails, err.getvalue()
    return err.getvalue() if fails else out.getvalue()


def process(script: str, *arguments: object, fails: bool = False, **environment: str) -> str:
    """Run scripts/`script` as a user does; its output, or the error's if it is to fail."""
    command = [sys.executable, f"scripts/{script}.py", *map(str, arguments)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, **environment}
    )
    assert (done.returncode != 0) == fails, done.stderr
    if fails:
        assert "Traceback" not in done.stderr
        return done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "ram"
    out = run("train", "ram-mnist", "--folder", folder, *TINY)
    assert out.count("validation error") == 2  # a line an epoch
    assert "best on validation" in out
    return folder


def test_a_run_leaves_config_metrics_and_checkpoints(trained: Path) -> None:
    assert sorted(p.name for p in trained.iterdir()) == [
        "best.safetensors",
        "config.json",
        "last.safetensors",
        "metrics.jsonl",
    ]
    config = json.loads((trained / "config.json").read_text(encoding="utf-8"))
    assert config["experiment"] == "ram-mnist"
    own = EXPERIMENTS["ram-mnist"].env
    assert config["env"] == {**own, "dataset": "mnist-5k", "horizon": 2}


def test_evaluate_prints_error_and_interval(trained: Path) -> None:
    out = run("evaluate", trained)
    assert out.count("% error on 1,000 test scenes of mnist-5k, 95% interval") == 3
    assert run("evaluate", trained / "best.safetensors") == out


def test_data_that_changed_since_is_refused(tmp_path: Path) -> None:
    for name in ("b", "c"):
        (tmp_path / "own" / name).mkdir(parents=True)
        for i in range(10):
            Image.new("L", (16, 16), 10 * i).save(tmp_path / "own" / name / f"{i}.png")
    env = ["--env", f"dataset=folder:{tmp_path / 'own'}", "canvas_size=20"]
    short = ["--epochs", "1", "--images-per-epoch", "40", "--batch-size", "20", "--model.hidden", "8"]
    run("train", "ram-mnist", *short, *env, "--folder", tmp_path / "run")
    assert "% error on 4 test scenes" in run("evaluate", tmp_path / "run", "--mode", "deterministic")
    (tmp_path / "own" / "c").rename(tmp_path / "own" / "d")
    for script, more in (("evaluate", []), ("play", ["--out", tmp_path / "x.png"])):
        assert "other names of answers" in run(script, tmp_path / "run", *more, fails=True)
    shutil.copytree(tmp_path / "own" / "b", tmp_path / "own" / "a")
    assert "was made for num_answers 2" in run("evaluate", tmp_path / "run", fails=True)


def test_what_a_run_goes_on_from_is_no_agent(trained: Path) -> None:
    said = run("evaluate", trained / "last.safetensors", fails=True)
    assert "is what a run goes on from: name the run's folder" in said


def test_evaluate_on_another_environment(trained: Path) -> None:
    """RAM does not know how large the canvas is; the other shapes must fit."""
    out = run("evaluate", trained, "--on", "Glimpse/MNIST-v0", "--mode", "sampled", "--env", "canvas_size=40")
    assert "on Glimpse/MNIST-v0 (glimpses, sampled)" in out
    assert out != run("evaluate", trained, "--mode", "sampled")
    elsewhere = ["--on", "Glimpse/TranslatedMNIST-v0", "--env", "dataset=mnist-5k"]
    error = run("evaluate", trained, *elsewhere, fails=True)
    assert "was made for retina (1, 8, 8) and Glimpse/TranslatedMNIST-v0 has (3, 12, 12)" in error
    assert "leave out" in run("evaluate", trained, "--env", "horizon=3", "--publish", fails=True)
    assert "KEYWORD=VALUE" in run("evaluate", trained, "--env", "horizon", fails=True)
    assert "tint" in run("evaluate", trained, "--env", "tint=3", fails=True)


def test_another_id_has_its_own_keywords(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Digits that it was trained on are no test on Fashion-MNIST."""
    asked: list[Any] = []

    def stop(agent: Agent, name: str, made_for: object, env_id: str, env: dict[str, Any]) -> None:
        asked.append((env_id, env))
        raise ValueError("asked")

    monkeypatch.setattr(evaluate, "check_fits", stop)
    fashion = "Glimpse/FashionMNIST-v0"
    for arguments in (["--on", fashion], ["--on", fashion, "--env", "horizon=3"], ["--env", "horizon=3"]):
        assert "asked" in run("evaluate", trained, *arguments, fails=True)
    own = json.loads((trained / "config.json").read_text(encoding="utf-8"))["env"]
    assert asked == [(fashion, {}), (fashion, {"horizon": 3}), ("Glimpse/MNIST-v0", {**own, "horizon": 3})]


def test_what_is_damaged_is_seen_before_scoring(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = tmp_path / "results.jsonl"
    kept.write_bytes(b"\xff\xfe\n")
    monkeypatch.setattr(evaluate.results.read, "__defaults__", (kept, results.KEYS))
    monkeypatch.setattr(evaluate.results, "check_publishable", lambda *_: None)
    monkeypatch.setattr(evaluate, "keep", lambda *_: pytest.fail("kept"))
    said = run("evaluate", trained, "--publish", fails=True)
    assert f"line 1 of {kept} is not" in said
    assert kept.read_bytes() == b"\xff\xfe\n"


@pytest.mark.parametrize("suffix", ["png", "gif", "mp4"])
def test_play_records_without_a_display(trained: Path, tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"x.{suffix}"
    assert str(out) in run("play", trained, "--out", out, "--episodes", 2)
    assert out.stat().st_size > 5_000


def test_play_needs_a_display_for_a_window() -> None:
    environment = {k: v for k, v in os.environ.items() if k not in ("SDL_VIDEODRIVER", "DISPLAY")}
    command = [sys.executable, "scripts/play.py", "random", "--dataset", "mnist-5k"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment, timeout=60)
    assert done.returncode == 1
    assert "no display" in done.stderr


@pytest.mark.parametrize(
    ("script", "arguments", "says"),
    [
        ("train", ["ram-mnits"], "no experiment 'ram-mnits': did you mean 'ram-mnist'"),
        ("train", ["ram-mnist", "--env", "horizon=3", "--env", "dataset=mnist-5k"], "--env is given twice"),
        ("train", ["ram-mnist", "--env=horizon=3", "--env", "dataset=mnist-5k"], "--env is given twice"),
        ("train", ["ram-mnist", "--env", "horizon=3", "horizon=4"], "horizon is given twice, as 3 and as 4"),
        ("train", ["ram-mnist", "--env-id", "CartPole-v1"], "CartPole-v1 is none of our environments"),
        ("train", ["ram-mnist", "--env-id", "nope:Glimpse/MNIST-v0"], "nope"),
        (
            "evaluate",
            ["lookup-10", "--on", "Glimpse/Looku-v0"],
            "environments: did you mean 'Glimpse/Lookup-v0'",
        ),
        ("evaluate", ["lookup-10", "--on", ""], "'' is none of our environments: choose one of Glimpse/…"),
        ("evaluate", [""], "'' is no run folder, no checkpoint and no experiment"),
        (
            "play",
            ["luong-numbers", "--text", "two", "--out", "none/x.png"],
            "there is no folder none: make it",
        ),
        ("play", ["luong-numbers", "--text", "three\udcff"], "is not UTF-8"),
        ("train", ["ram-mnist", *TINY[:2], "scale=2"], "no keyword 'scale': did you mean 'scales'"),
        ("train", ["ram-mnist", "--epochs", "many"], "epochs"),
        ("train", ["random-mnist", "--model.policy", "best"], "policy"),
        ("train", ["ram-mnist", "--env", "horizon"], "KEYWORD=VALUE"),
        ("train", ["ram-mnist", "--env", "horizn=3", "dataset=mnist-5k"], "horizn"),
        ("train", ["ram-mnist", "--env", "split=test"], "split"),
        ("train", ["ram-mnist", "--env-id", "Glimpse/Nope-v0"], "Nope"),
        ("train", ["ram-mnist", "--learner.sigma-start", "0"], "sigma"),
        ("train", ["ram-mnist", "--model.nope", "3"], "nope"),
        ("train", ["ram-mnist", "--seed", "-1"], "seed must be from 0 to 4294967295, got -1"),
        ("train", ["ram-mnist", "--seed", str(2**64)], "from 0 to 4294967295"),
        ("train", ["ram-mnist", "--device", "tpu"], "device must be one of"),
        ("train", ["cnn-cluttered16", "--model.hidden", "3"], "hidden"),
        ("train", ["ram-mnist", *TINY, "--resume", "--overwrite"], "one of them"),
        ("train", ["ram-mnist", *TINY, "--folder", "README.md"], "README.md"),
        ("train", ["ram-mnist", *TINY, "--resume", "--folder", "nowhere/run"], "no run to resume"),
        ("evaluate", ["ram-mnits"], "no experiment: did you mean 'ram-mnist'"),
        ("evaluate", ["edram"], "no checkpoint of edram is published: `python scripts/train.py edram`"),
        ("evaluate", ["README.md"], "README.md"),
        ("evaluate", ["pyproject.toml"], "pyproject"),
        ("play", ["random", "--out", "x.avi"], ".gif, .mp4, .png"),
        ("play", ["random", "--dataset", "mnits", "--out", "x.gif"], "mnits"),
        ("play", ["random", "--dataset", "mnist-5k", "--out", "nowhere/x.gif"], "nowhere"),
        ("play", ["random", "--dataset", "mnist-5k", "--index", "1000", "--out", "x.gif"], "0 to 999"),
        ("play", ["person", "--out", "x.gif"], "window"),
        ("play", ["random", "--index", "-1", "--out", "x.gif"], "--index"),
        ("play", ["char-lstm", "--index", str(2**63)], "from 0 to 2**63 - 1"),
        ("play", ["random", "--dataset", "mnist", "--env", "dataset=mnist-5k"], "is given twice, by"),
        ("report", ["--on", "Glimpse/Translate-v0"], "has no results for this table"),
        ("report", ["--group", "mnih2014", "--nats"], "has no results for this table"),
        ("play", ["random", "--episodes", "0", "--out", "x.gif"], "--episodes"),
        ("play", ["random", "--compare", "person", "--out", "x.gif"], "alone"),
        ("play", ["randm", "--out", "x.gif"], "did you mean 'random'"),
        ("play", ["random", "--compare", "randm", "--out", "x.gif"], "did you mean 'random'"),
        ("play", ["random", "--prompt", "x", "--out", "x.gif"], "plays episodes: leave out --prompt"),
        ("play", ["random", "--temperature", "2", "--length", "3"], "leave out --temperature, --length"),
        ("play", ["random", "--grid", "--out", "x.html"], "--grid is for films"),
        ("play", ["random", "--episodes", "2"], "--episodes is for what is recorded"),
        ("play", ["lookup-10", "--dream"], "leave out --dream"),
        ("play", ["random", "--dream", "--out", "x.gif"], "dream"),
        ("play", ["random", "--env", "tint=3", "dataset=mnist-5k", "--out", "x.gif"], "tint"),
        ("play", ["random", "--env", "split=train", "--out", "x.gif"], "split"),
        ("play", ["draw-mnist", "--env", "tint=3", "dataset=mnist-5k", "--out", "x.gif"], "tint"),
        ("bench", ["env", "--dataset", "nope"], "there is no dataset 'nope'"),
        ("train", ["draw-mnist", "--model.steps", "0"], "steps"),
        ("train", ["ram-mnist", "--learner.baseline", "leave_one_out"], "set rollouts to 2 or more"),
        ("train", ["lookup-10", "--learner.curriculum", "0.3"], "curriculum is of pictures"),
        ("train", ["rows-lstm", "--env-id", "sketch"], "choose one of adding, copying, rows"),
        ("train", ["char-lstm", "--env-id", "rows"], "choose one of characters, sketch"),
        ("train", ["show-tell-digits", "--learner.coverage-weight", "1"], "coverage_weight is of attention"),
        ("train", ["draw-mnist", "--model.brightness", "1"], "brightness"),
        ("train", ["draw-classifier", "--model.hidden", "0"], "hidden"),
        ("train", ["edram-slim", "--learner.theta-weight", "-1"], "theta_weight"),
        ("train", ["st-cnn", "--env-id", "Glimpse/MNIST-v0", "--env", "dataset=mnist-5k"], "32 pixels"),
        ("train", ["fc-mnist", "--env-id", "CartPole-v1"], "CartPole-v1 is none of our environments"),
        ("train", ["ppo-mnist", "--learner.batch-size", "1"], "batch_size"),
        ("train", ["ppo-mnist", "--env", "dataset=mnist-5k", "context=12"], "leave out env context"),
        ("train", ["ram-mnist", "--env", "dataset=mnist-5k", "context=12"], "leave out env context"),
        ("evaluate", ["ram-mnist", "--publish"], "metrics.jsonl"),
        ("report", ["--results", "nowhere.jsonl"], "nowhere.jsonl"),
        ("report", ["--results", "results/metrics/ram-cluttered.jsonl"], "line 1 of"),
        ("report", ["--write", "pyproject.toml"], "report.py: begin"),
        (
            "report",
            ["--best", "--group", "memory", "--write", "README.md"],
            "report.py --group memory --best: begin",
        ),
        ("report", ["--best", "--nats"], "not allowed with argument"),
        ("report", ["--pictures", "x", "--write", "y.md"], "leave out --write"),
        ("evaluate", ["lookup-10", "--figures-only"], "give both"),
        ("play", ["random", "--episodes", "1001", "--out", "x.gif"], "--episodes 1 to 1,000"),
    ],
)
def test_bad_arguments_are_named(script: str, arguments: list[str], says: str) -> None:
    assert says in " ".join(run(script, *arguments, fails=True).replace("│", " ").split())


@pytest.mark.parametrize("script", ["train", "evaluate", "play", "report"])
def test_what_main_raises_is_one_sentence_and_an_exit_code(
    script: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = {"report": ["--results", "nowhere.jsonl"]}.get(script, ["ram-mnits"])
    monkeypatch.setattr(sys, "argv", [script, *arguments])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(ROOT / "scripts" / f"{script}.py"), run_name="__main__")
    error = ended.value.code  # a text is printed on the standard error, and the status is 1
    assert isinstance(error, str)
    assert error.startswith(f"{script}.py: ")
    assert len(error.splitlines()) == 1


def test_what_a_terminal_cannot_show_is_a_question_mark() -> None:
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    said = process("play", "luong-numbers", "--text", "forty two", **ascii_only)
    assert said.startswith("zweiundvierzig")
    assert "?" in said


@pytest.mark.parametrize(
    ("into", "arguments", "says"),
    [
        ("/dev/full", ["--nats"], "report.py: the terminal: the disk is full: free some space"),
        ("/dev/full", [], "report.py: the terminal: the disk is full: free some space"),
        (None, ["--nats"], "report.py: the terminal: who read what is printed has stopped"),
        (None, ["--help"], "report.py: the terminal: who read what is printed has stopped"),
    ],
)
def test_what_cannot_be_printed_is_told_in_one_sentence(
    into: str | None, arguments: list[str], says: str
) -> None:
    """Also where it is so short that Python writes it only when it ends."""
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "scripts/report.py", *arguments]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}
    with open(into or writer, "w", encoding="utf-8") as full:
        done = subprocess.run(
            command, cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True, env=environment
        )
    if into is not None:
        os.close(writer)
    assert done.returncode == 1
    assert done.stderr == f"{says}\n"


def test_training_that_is_stopped_says_how_to_go_on(tmp_path: Path) -> None:
    settings = "fc-mnist --images-per-epoch 500 --env dataset=mnist-5k --folder"
    command = [sys.executable, "scripts/train.py", *settings.split(), tmp_path / "x"]
    started = subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Whatever runs the tests in the background may have taught its children to ignore it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    started.stdout.readline()  # its first epoch
    started.send_signal(signal.SIGINT)
    _, says = started.communicate(timeout=60)
    assert started.returncode != 0
    assert says.splitlines()[-1] == "train.py: stopped; --resume goes on after the last whole epoch"
    assert "Traceback" not in says


def test_every_setting_is_told_what_it_is() -> None:
    told = run("train", "ram-mnist", "--help")
    for option, explained in (
        ("--images-per-epoch", "How many images, or sequences, are drawn"),
        ("--learner.reinforce-weight", "The weight of REINFORCE"),
        ("--model.core", "The recurrent core"),
        ("--overwrite", "Whether to replace"),
    ):
        assert option in told
        assert explained in " ".join(told.replace("│", " ").split())
    assert "--paper" not in told
    assert "ram-translated-g4" in run("train", "--help")


def test_digits_that_an_agent_was_trained_on_are_said_to_be(tmp_path: Path) -> None:
    """From another folder, and with keywords in two parts."""
    command = [sys.executable, ROOT / "scripts/evaluate.py", "ram-mnist", "--mode", "deterministic"]
    command += ["--env", "dataset=mnist-5k", "--env", "horizon=1"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "1,000 test scenes of mnist-5k" in done.stdout
    assert float(re.findall(r"([\d.]+)% error", done.stdout)[0]) > 20  # one glimpse: the horizon holds too
    assert "mnist-5k is of MNIST's training digits" in done.stderr


def test_a_reader_taught_blind_can_be_scored_with_its_eye_open() -> None:
    changes = ["start_gaze=center", "horizon=4", "dataset=mnist-5k"]
    out = run("evaluate", "dram-pairs", "--mode", "deterministic", "--env", *changes)
    assert "on 1,000 test scenes of mnist-5k" in out


def test_training_without_data_says_what_to_do(tmp_path: Path) -> None:
    environment = {"GLIMPSE_DATA": "", "XDG_CACHE_HOME": str(tmp_path), "https_proxy": "http://127.0.0.1:9"}
    error = process("train", "ram-mnist", "--folder", tmp_path / "run", fails=True, **environment)
    assert "mnist-5k" in error


def test_the_report_is_a_table_of_the_latest_figures(tmp_path: Path) -> None:
    line = {
        "experiment": "ram-mnist", "seed": 1, "mode": "deterministic", "sees": "glimpses", "glimpses": 7,
        "pixels": 448, "parameters": 238349, "minutes": 12.3, "value": 2.0, "ci95": [1.7, 2.3],
        "env_id": "Glimpse/MNIST-v0", "env": {}, "metric": "test_error", "agent": "RAM", "share": 0.571,
    }  # fmt: skip
    path = tmp_path / "results.jsonl"
    for changes in ({}, {"value": 1.0, "ci95": [0.8, 1.2]}, {"mode": "mc10", "value": 0.9}):
        results.append([{**line, **changes}], path)
    rows = run("report", "--results", path).splitlines()
    assert len(rows) == 3
    assert rows[2] == (
        "| ram-mnist | glimpses | labels | 7 | 448 | 57 % | 238,349 | 12 | 1 | 1.07 | 0.67 "
        "| **1.00** [0.80, 1.20] | – | 0.90 |"
    )
    # Three seeds of 1.0, 1.3 and 1.6: a standard error of .3 / sqrt(3), times t = 4.303.
    results.append([{**line, "seed": 2, "value": 1.3}, {**line, "seed": 3, "value": 1.6}], path)
    assert "| 3 | 1.07 | 0.67 | **1.30** [0.55, 2.05] |" in run("report", "--results", path)
    (merged,) = results.latest_over_seeds(results.read(path)).values()
    assert (merged["seed"], merged["value"]) == (1, pytest.approx(1.3))
    assert merged["ci95"] == pytest.approx((0.5547, 2.0453), abs=1e-3)
    results.append([{**line, "experiment": "raster-mnist"}], path)
    assert "raster" not in run("report", "--results", path, "--papers")
    path.write_text("\n".join(path.read_text(encoding="utf-8").splitlines()[:3]) + "\n")
    page = tmp_path / "page.md"
    page.write_text(
        "above\n<!-- report.py: begin -->\nold\n<!-- report.py: end -->\nbelow\n", encoding="utf-8"
    )
    run("report", "--results", path, "--write", page)
    assert page.read_text(encoding="utf-8").splitlines() == [
        "above", "<!-- report.py: begin -->", *rows, "<!-- report.py: end -->", "below",
    ]  # fmt: skip
    page.write_bytes(b"a\r\n<!-- report.py: begin -->\r\n<!-- report.py: end -->\r\nb\r\n")
    run("report", "--results", path, "--write", page)
    assert page.read_bytes().count(b"\r\n") == page.read_bytes().count(b"\n") == len(rows) + 4
    page.write_bytes(b"\xe9")
    assert f"{page} is not UTF-8 (byte 0)" in run("report", "--results", path, "--write", page, fails=True)
    none = tmp_path / "none.jsonl"
    none.touch()
    assert "has no such results" in run("report", "--results", none, fails=True)
    better = {**line, "experiment": "conv-mnist", "sees": "canvas", "value": 0.4}
    results.append([better, {**better, "experiment": "st-cnn", "env": {"distractors": 16}}], path)
    there = run("report", "--results", path, "--on", "Glimpse/MNIST-v0").splitlines()
    assert [row.split(" | ")[0] for row in there[2:]] == ["| conv-mnist", "| ram-mnist"]
    path.write_text("\n".join(path.read_text(encoding="utf-8").splitlines()[:3]) + "\n")
    ablation = {**line, "experiment": "ablation-fc", "metric": "validation_error", "value": 8.0}
    results.append([ablation, {**ablation, "experiment": "ablation-base", "value": 7.0}], path)
    assert run("report", "--results", path).splitlines() == rows
    best, other = run("report", "--results", path, "--ablations").splitlines()[2:]
    assert best.startswith("| base | – | 550,000 |")
    assert other == "| fc | model.glimpses fc | 770,000 | 12.3 | **8.00** [1.70, 2.30] |"
    path.write_text("\n".join(path.read_text(encoding="utf-8").splitlines()[:3]) + "\n")
    wrong = [{"value": None}, {"value": math.nan}, {"env": None}, {"ci95": [1]}, {"mode": 3}]
    for broken in ("half a li", "3", *(json.dumps(line | one) for one in wrong)):
        page.write_text(path.read_text(encoding="utf-8") + broken)
        assert "line 4" in run("report", "--results", page, fails=True)


def test_only_the_experiment_itself_is_published(trained: Path) -> None:
    error = run("evaluate", trained, "--publish", fails=True)
    assert "settings are not those of 'ram-mnist'" in error
    assert "--mode" in run("evaluate", trained, "--publish", "--mode", "sampled", fails=True)


def test_publishing_adds_lines_and_a_checkpoint(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is scored is what is kept, in float16, or what was trained where nothing is."""
    scored = []
    score = evaluate.evaluate

    def spy(agent: Agent, *arguments: object, **keywords: object) -> object:
        scored.append(agent.state_dict())
        return score(agent, *arguments, **keywords)

    monkeypatch.setattr(evaluate, "evaluate", spy)
    _, experiment, _ = load_agent(trained / "best.safetensors")
    monkeypatch.setitem(EXPERIMENTS, "ram-mnist", experiment)
    monkeypatch.setattr(results, "PRETRAINED", tmp_path / "pretrained")
    monkeypatch.setattr(results, "METRICS", tmp_path / "metrics")
    monkeypatch.setattr(results.append, "__defaults__", (tmp_path / "results.jsonl",))
    evaluate.main([str(trained), "--publish"])
    lines = results.read(tmp_path / "results.jsonl")
    assert [line["mode"] for line in lines] == ["deterministic", "sampled", "mc10"]
    keys = "experiment env_id agent sees seed commit metric value ci95 mode glimpses pixels share minutes"
    assert {*keys.split(), "threads", "machine", "device"} <= lines[0].keys()
    assert (lines[0]["glimpses"], lines[0]["pixels"], lines[0]["sees"]) == (2, 128, "glimpses")
    assert lines[0]["minutes"] >= 0
    out = capsys.readouterr().out
    tensors, _ = checkpoint.load(tmp_path / "pretrained" / "ram-mnist.safetensors")
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float16}
    assert all(torch.equal(scored[0][name], tensor.float()) for name, tensor in tensors.items())
    metrics = (tmp_path / "metrics" / "ram-mnist.jsonl").read_text(encoding="utf-8")
    assert len(metrics.splitlines()) == experiment.loop.epochs
    evaluate.main([str(tmp_path / "pretrained" / "ram-mnist.safetensors")])
    assert capsys.readouterr().out == out
    mode = (tmp_path / "pretrained" / "ram-mnist.safetensors").stat().st_mode
    assert mode & 0o777 == 0o666 & ~checkpoint.umask()  # for whoever may read what one writes
    evaluate.main([str(trained), "--publish", "--figures-only"])
    tensors, _ = checkpoint.load(trained / "best.safetensors")
    assert all(torch.equal(scored[-1][name], tensor) for name, tensor in tensors.items())


def test_a_run_can_start_from_a_checkpoint(trained: Path, tmp_path: Path) -> None:
    best = trained / "best.safetensors"
    still = ["--init", best, "--learning-rate", "1e-9"]
    run("train", "ram-mnist", *TINY, "--folder", tmp_path / "more", *still)
    before, after = (
        load_agent(p)[0].core.recurrent.weight for p in (best, tmp_path / "more/best.safetensors")
    )
    torch.testing.assert_close(before, after, atol=1e-5, rtol=0)
    _, origin = checkpoint.load(best)
    _, config = checkpoint.load(tmp_path / "more/best.safetensors")
    assert config["init_minutes"] == results.training_minutes(best, origin) > 0
    stopped = tmp_path / "stopped in its first epoch"
    stopped.mkdir()
    (stopped / "config.json").write_text((tmp_path / "more/config.json").read_text(encoding="utf-8"))
    run("train", "ram-mnist", *TINY, "--folder", stopped, *still, "--resume")
    again = load_agent(stopped / "best.safetensors")[0].core.recurrent.weight
    torch.testing.assert_close(again, after, atol=0, rtol=0)
    total = config["init_minutes"] + runs.minutes(tmp_path / "more")
    assert results.training_minutes(tmp_path / "more/best.safetensors", config) == total
    error = run("train", "fc-mnist", *TINY, "--folder", tmp_path / "other", "--init", best, fails=True)
    assert "does not fit" in error
    assert not (tmp_path / "other").exists()


def test_an_agent_is_not_shown_a_retina_it_does_not_know(trained: Path, tmp_path: Path) -> None:
    arguments = [
        "--env-id",
        "Glimpse/ClutteredMNIST-v0",
        "--dataset",
        "mnist-5k",
        "--out",
        tmp_path / "x.gif",
    ]
    assert "retina" in run("play", trained, *arguments, fails=True)


def test_two_players_are_compared_on_the_same_scenes(trained: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.gif"
    for own in (
        ["luong-numbers", "--env", "glimpses_per_answer=2"],
        ["gaze-stories", "--env", "canvas_size=74"],
    ):
        assert "was made for" in run("play", *own, "--out", out, fails=True)
    run("play", trained, "--compare", "random", "--out", out)  # on the digits that `trained` knows
    frames = iio.imread(out)
    width, height = SIZES["strip"]
    assert frames.shape[1:3] == (32 + height, 2 * width)  # their names above them
    # Both canvases, but for what is drawn on them, are the same: bright where the other is.
    left, right = (half[40:264, 8:232].min(-1) > 200 for half in np.split(frames[0], 2, 1))
    assert (left & right).sum() > 0.5 * left.sum() > 100
    run("play", "st-cnn", "--env", "dataset=mnist-5k", "distractors=2", "--out", out)  # on other clutter
    other = ["--env-id", "Glimpse/DigitSum-v0", "--dataset", "mnist-5k", "--out", out]
    assert "was made for" in run("play", "ram-cluttered100", *other, fails=True)
    fewer = ["--env", "dataset=mnist-5k", "distractors=1", "horizon=2"]
    run("train", "ram-cluttered", *TINY[3:], *fewer, "--folder", tmp_path / "fewer", "--init", "")
    beside = ["--compare", "ram-cluttered", "--dataset", "mnist-5k", "--out", out]
    assert "other scenes" in run("play", tmp_path / "fewer", *beside, fails=True)


def test_a_film_in_a_window_pauses_steps_and_closes(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[int] = []
    closed: list[bool] = []
    window = SimpleNamespace(show=shown.append, close=lambda: closed.append(True))
    space, right, other = (
        [pygame.event.Event(pygame.KEYDOWN, key=key)] for key in (pygame.K_SPACE, pygame.K_RIGHT, pygame.K_q)
    )
    presses = iter([space, [], right, [], right, other])
    monkeypatch.setattr(play, "Window", lambda *_, **__: window)
    monkeypatch.setattr(pygame.event, "get", lambda *_: next(presses))
    play.show((frame, 0.0 if frame == 2 else 1e6) for frame in range(9))  # type: ignore[arg-type, misc]
    assert shown == [0, 0, 0, 1, 1, 2]  # paused, the third stays although its time is over
    assert closed == [True]


def test_a_language_model_is_trained_scored_and_writes(tmp_path: Path) -> None:
    folder, text = tmp_path / "char", tmp_path / "text.txt"
    text.write_text("the eye sees what it looks at, and looks where it sees.\n" * 300, encoding="utf-8")
    tiny = ["--epochs", 2, "--images-per-epoch", 128, "--batch-size", 16, "--model.hidden", 16]
    out = run("train", "char-lstm", "--folder", folder, *tiny, "--env", f"dataset=file:{text}", "--quiet")
    assert out.count("validation nats") == 2
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    assert all(len(line["sample"]) == 300 for line in lines)
    scored = run("evaluate", folder)
    assert re.findall(r"char-lstm \((\w+)\): [\d.]+ nats \[", scored) == ["carried", "windows", "written"]
    written = run("play", folder, "--prompt", "the eye", "--length", 50, "--index", 4)
    assert written.startswith("the eye")
    assert written == run("play", folder, "--prompt", "the eye", "--length", 50, "--index", 4)
    _, _, shown, bars, _ = written.rsplit("\n", 4)
    assert len(shown) == len(bars) == 57
    assert "█" in bars  # what moved the state most
    for arguments, says in (
        (["--prompt", "the £"], "the prompt has '£'"),
        (["--prompt", ""], "the prompt is empty"),
        (["--temperature", "-1"], "temperature must be"),
        (["--out", tmp_path / "x.gif"], "writes in the terminal: leave out --out"),
    ):
        assert says in run("play", folder, *arguments, fails=True)
    text.write_text("", encoding="utf-8")
    assert "is empty" in run(
        "train", "char-lstm", "--folder", tmp_path / "no", *tiny, "--env", f"dataset=file:{text}", fails=True
    )


def test_ctrl_d_ends_a_conversation(monkeypatch: pytest.MonkeyPatch) -> None:
    def ended(prompt: str) -> str:
        raise EOFError

    monkeypatch.setattr("builtins.input", ended)
    monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(isatty=lambda: True))
    assert run("play", "luong-numbers", "--interactive") == ""
    asked: list[str] = []
    monkeypatch.setattr("builtins.input", lambda prompt: asked.append(prompt) or "")
    assert run("play", "luong-numbers", "--text", "two", "--interactive").startswith("zwei")
    assert asked == ["> "]  # also after a text that was given
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(ValueError, match="standard input is closed"):
        play.main(["luong-numbers", "--interactive"])


def test_what_is_typed_in_another_encoding_ends_no_conversation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    typed = io.TextIOWrapper(io.BytesIO(b"\xff\xfe\ntwo\n"), encoding="utf-8", errors="strict")
    monkeypatch.setattr(sys, "stdin", typed)
    told = run("play", "luong-numbers", "--interactive")
    assert told.index("is not UTF-8") < told.index("zwei")


def test_what_is_beyond_all_scenes_or_text_is_named() -> None:
    many = run(
        "play", "draw-mnist", "--dataset", "mnist-5k", "--index", 2**63 - 1, "--out", "d.png", fails=True
    )
    assert "--index and --episodes must stay within the test scenes" in many
    assert "from 1 to 1,000,000" in run("play", "char-lstm", "--length", 10**21, fails=True)
    assert "there is no dataset ''" in run("play", "random", "--dataset", "", "--out", "x.png", fails=True)


def test_errors_of_the_system_say_what_to_do(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    for script, arguments, says in (
        (
            "report",
            ["--write", tmp_path],
            f"{tmp_path}: it is a folder, where a file is needed: name another",
        ),
        ("report", ["--write", tmp_path / "no.md"], f"{tmp_path}/no.md: there is none: name another"),
        ("report", ["--results", tmp_path / "no"], f"{tmp_path}/no: there is none: name another"),
        ("report", ["--pictures", file], f"{file}: it is a file, where a folder is needed: name another"),
        (
            "sweep",
            ["ram-demo", "--folder", file / "x"],
            "a file stands where a folder is needed: name another",
        ),
        ("play", ["random", "--out", tmp_path / f"{'n' * 300}.png"], "the name is too long"),
    ):
        assert says in run(script, *arguments, fails=True)
    assert terminal.sentence(BrokenPipeError(32, "Broken pipe")).startswith("the terminal: who read what")
    assert terminal.sentence(OSError("as it is")) == "as it is"


def test_what_is_not_published_cannot_be_reproduced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reproduce.results, "read", lambda: [])
    assert "lookup-10 of seed 1 is not published" in run("reproduce", "lookup-10", fails=True)


@pytest.mark.parametrize(
    ("difference", "same"), [(0.04, True), (-0.04, True), (0.06, False), (np.nan, False)]
)
def test_a_figure_that_is_not_reproduced_is_named(
    difference: float, same: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    (*_, line) = [
        line
        for line in results.read()
        if (line["experiment"], line["seed"], line["mode"]) == ("lookup-10", 1, "deterministic")
    ]
    today = Evaluation(line["value"] + difference, (0, 1), 1000)
    monkeypatch.setattr(reproduce, "evaluate", lambda *_, **__: today)
    told = run("reproduce", "lookup-10", fails=not same)
    assert ("lookup-10 differ by more" in told) is not same


def test_sequences_are_trained_and_scored(tmp_path: Path) -> None:
    folder = tmp_path / "adding"
    tiny = ["--epochs", 1, "--images-per-epoch", 640, "--quiet", "--model.hidden", 8]
    run("train", "adding-100-lstm", "--folder", folder, *tiny, "--env", "length=5")
    assert "mean squared error [" in run("evaluate", folder)
    assert "cannot be watched" in run("play", folder, fails=True)
    wrong = ["--env", "length=1"]
    assert "length must be an integer from 2" in run("train", "adding-100-lstm", *wrong, fails=True)
    assert "does not teach on" in run("train", "ram-mnist", "--env-id", "adding", fails=True)
    digits = ["--env-id", "Glimpse/MNIST-v0", "--env", "dataset=mnist-5k", "retina_size=20"]
    told = run("train", "gaze-digits", *digits, "--folder", tmp_path / "gaze", fails=True)
    assert "shows no words that were said" in told
    captions = ["--env-id", "Glimpse/Caption-v0", "--env", "dataset=digits"]
    told = run("train", "ppo-lookup-10", *captions, "--folder", tmp_path / "ppo", fails=True)
    assert (
        "this policy sees gaze, retina, time, and Glimpse/Caption-v0 shows gaze, retina, said, time" in told
    )
    assert "nvalid choice" in run("train", "ram-mnist", "--model.core", "scrm", fails=True)
    diverging = [
        "--folder",
        tmp_path / "nan",
        *tiny,
        "--learner.omega-weight",
        "1e38",
        "--model.core",
        "relu",
    ]
    assert "the loss is not finite" in run("train", "adding-100-lstm", *diverging, fails=True)


def test_draw_is_trained_scored_and_shown(tmp_path: Path) -> None:
    folder = tmp_path / "draw"
    tiny = [
        "--epochs",
        "1",
        "--images-per-epoch",
        "256",
        "--model.steps",
        "4",
        "--model.hidden",
        "16",
        "--env",
        "dataset=mnist-5k",
    ]
    assert "validation nats" in run("train", "draw-mnist", "--folder", folder, *tiny)
    assert "nats [" in run("evaluate", folder)
    assert "is scored by its learner" in run("evaluate", folder, "--mode", "mc10", fails=True)
    for name, arguments in (("x.gif", []), ("dream.png", ["--dream"])):
        run("play", folder, "--episodes", 4, "--out", tmp_path / name, *arguments)
        assert (tmp_path / name).stat().st_size > 2_000
    meaningless = ["--dream", "--dataset", "nonsense", "--split", "train", "--out", tmp_path / "z.png"]
    assert "leave out --dataset, --split" in run("play", folder, *meaningless, fails=True)
    beside = ["--dataset", "mnist-5k", "--compare", folder, "--out", tmp_path / "y.gif"]
    assert "draws" in run("play", "random", *beside, fails=True)
    assert "leave out" in run("play", folder, "--grid", "--out", tmp_path / "y.gif", fails=True)
    assert "settings are not those" in run("evaluate", folder, "--publish", fails=True)
    colour = tmp_path / "colour"
    for label in ("red", "green"):
        (colour / label).mkdir(parents=True)
        for i in range(10):
            Image.new("RGB", (28, 28), label).save(colour / label / f"{i}.png")
    other = ["--dataset", f"folder:{colour}", "--out", tmp_path / "y.png"]
    assert "pictures of shape (1, 28, 28)" in run("play", folder, *other, fails=True)


def test_the_demo_runs_to_its_end(tmp_path: Path) -> None:
    tiny = ["--epochs", 1, "--images-per-epoch", 512]
    out = process("demo", "--folder", tmp_path / "a demo", *tiny)
    assert len(re.findall(r"\d to [\d.]+ \|", out)) == 3
    for name in ("episode.gif", "episode.mp4", "episode.png"):
        assert (tmp_path / "a demo" / name).stat().st_size > 10_000
    assert list((tmp_path / "a demo").glob(".*"))  # locks
    assert not demo.strangers(tmp_path / "a demo")  # the next demo may replace it
    (tmp_path / "a demo" / "thesis.txt").touch()
    assert "holds 'thesis.txt', which is no demo's" in process(
        "demo", "--folder", tmp_path / "a demo", fails=True
    )


def test_bench_prints_ratios() -> None:
    out = run("bench", "env", "--ids", "Glimpse/MNIST-v0", "--batches", 16)
    _, _, batch, ours, _, reference, ratio, *_ = (cell.strip() for cell in out.splitlines()[-1].split("|"))
    assert batch == "16"
    wanted = float(ours.replace(",", "")) / float(reference.replace(",", ""))
    assert float(ratio.removesuffix("x")) == pytest.approx(wanted, abs=0.06)


def test_a_short_soak_refuses_every_malformed_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_soak, "ROWS", 64)
    out = run("bench", "soak", "--steps", 9_000, "--calls", 2_000, "--moments", 0)
    assert "2,000 malformed calls: 2,000 refused" in out
    assert out.count("| Glimpse/") == len(TABLE)


def test_the_products_of_a_step_are_all_of_its_products() -> None:
    first, second, x = torch.nn.Linear(3, 4), torch.nn.Linear(4, 2), torch.randn(5, 3)
    products = bench_train.Products(lambda: second(first(x)).sum().backward(), size=5)
    # Forwards one a layer; backwards the second's weights and inputs, and the first's weights.
    assert [operation.overloadpacket.__name__ for operation, _ in products.calls] == ["addmm"] * 2 + [
        "mm"
    ] * 3
    shapes = [[tuple(t.shape) for t in operands if t.dim() == 2] for _, operands in products.calls]
    assert shapes[:2] == [[(5, 3), (3, 4)], [(5, 4), (4, 2)]]
    assert sorted(map(sorted, shapes[2:])) == sorted(
        map(sorted, [[(2, 5), (5, 4)], [(5, 2), (2, 4)], [(4, 5), (5, 3)]])
    )
    products.batch()
    in_place = bench_train.Products(lambda: torch.zeros(2, 2).addmm_(torch.ones(2, 3), torch.ones(3, 2)), 2)
    ((operation, operands),) = in_place.calls
    assert operation(*operands).shape == (2, 2)


def test_bench_of_the_sb3_adapter_prints_ratios() -> None:
    lines = run("bench", "sb3", "--ids", "Glimpse/MNIST-v0").splitlines()[-2:]
    for line in lines:
        ours, theirs, ratio = (cell.strip(" x").replace(",", "") for cell in line.split("|")[4:7])
        assert float(ratio) == pytest.approx(float(ours) / float(theirs), abs=0.06)


@pytest.mark.parametrize(
    ("experiment", "choose", "key", "shape"),
    [
        ("dram-sum", bench_choices.channels_last, "retina", (2, 2, 20, 20)),
        ("draw-classifier-g4", bench_choices.exponents, "canvas", (2, 1, 100, 100)),
        ("conv-cluttered", bench_choices.patches, "canvas", (2, 1, 60, 60)),
    ],
)
def test_choices_for_speed_answer_the_same(
    experiment: str, choose: bench_choices.Choice, key: str, shape: tuple[int, ...]
) -> None:
    step, agent, _ = bench_choices.training_step(experiment, "mnist-5k")
    step()
    seen = {
        key: torch.rand(shape),
        "gaze": torch.zeros(2, 2),
        "context": torch.rand(2, 1, 25, 25),
        "time": torch.ones(2, 1),
    }
    logits = []
    for chosen in (False, True):
        choose(agent, chosen)
        logits.append(agent(seen, agent.initial(2), False)[0].logits)
    torch.testing.assert_close(logits[0], logits[1], rtol=1e-4, atol=1e-4)


def test_what_one_types_is_said_in_german(tmp_path: Path) -> None:
    picture = tmp_path / "alignment.png"
    said = run("play", "luong-numbers", "--text", "forty two", "--out", picture)
    assert said.startswith("zweiundvierzig\n")
    assert picture.stat().st_size > 5000
    assert "is not typed to" in run("play", "lookup-10", "--text", "x", fails=True)
    assert "drawn as .png" in run("play", "luong-numbers", "--text", "one", "--out", "x.gif", fails=True)


def test_metrics_that_were_edited_are_gone_on_with_or_named(tmp_path: Path) -> None:
    options = [
        "fc-mnist",
        "--folder",
        tmp_path,
        "--quiet",
        "--images-per-epoch",
        256,
        "--env",
        "dataset=mnist-5k",
    ]
    run("train", *options, "--epochs", 1)
    path = tmp_path / "metrics.jsonl"
    config = (tmp_path / "config.json").read_text(encoding="utf-8")
    (tmp_path / "config.json").write_text(config.replace('"epochs": 1', '"epochs": 2'), encoding="utf-8")
    path.write_text(path.read_text(encoding="utf-8").rstrip(), encoding="utf-8")  # as some editors leave it
    run("train", *options, "--epochs", 2, "--resume")
    assert [json.loads(line)["epoch"] for line in path.read_text(encoding="utf-8").splitlines()] == [1, 2]
    path.write_text('{"epoch": 1, "minutes"', encoding="utf-8")
    for script, arguments in (("evaluate", [tmp_path]), ("train", [*options, "--epochs", 2, "--resume"])):
        assert "is not the metrics of an epoch" in process(script, *arguments, fails=True)


def test_seconds_to_the_first_step_are_printed() -> None:
    *_, line = run("bench", "first", "--ids", "Glimpse/Lookup-v0").splitlines()
    name, compiled, already, ratio = (cell.strip() for cell in line.strip("|").split("|"))
    assert name == "Glimpse/Lookup-v0"
    least, most = (
        (float(compiled) - 0.05) / (float(already) + 0.05),
        (float(compiled) + 0.05) / (float(already) - 0.05),
    )
    assert least - 0.05 <= float(ratio.removesuffix("x")) <= most + 0.05  # all three are rounded


def test_the_readmes_players_are_shown_beside_each_other(tmp_path: Path) -> None:
    beside = ["--compare", "dram-cluttered100-g3", "--dataset", "mnist-5k", "--index", 1]
    run("play", "edram-slim", *beside, "--out", tmp_path / "compare.png")
    alone = ["--dataset", "mnist-5k", "--index", 1, "--out", tmp_path / "alone.png"]
    run("play", "edram-slim", *alone)
    both, one = (iio.imread(tmp_path / f"{name}.png") for name in ("compare", "alone"))
    assert both.shape[0] > one.shape[0]
    assert both.shape[1] >= one.shape[1]
