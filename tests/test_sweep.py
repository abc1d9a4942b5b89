"""Sweeps: every combination once, and nothing is lost whoever is killed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import sweep
import train

from agents.learn import checkpoint

ROOT = Path(__file__).parents[1]
SMALL = ["env.dataset=mnist-5k", "batch_size=32", "model.hidden=16"]


def started(*arguments):
    return subprocess.Popen(
        [sys.executable, "scripts/sweep.py", *map(str, arguments)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_for_epoch(folder, process):
    """The folder of a run that has an epoch and is not done."""
    while process.poll() is None:
        for path in folder.glob("*/last.safetensors"):
            return path.parent
        time.sleep(0.05)
    raise AssertionError(process.communicate())


def whole_epochs(folder):
    """The lines of the epochs that are saved; a run killed before that has one line more, and repeats it."""
    epochs = checkpoint.load(folder / "last.safetensors")[1]["epoch"]
    return (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()[:epochs]


def weights(folder):
    return checkpoint.load(folder / "last.safetensors")[0]


def assert_as_if_never_stopped(folder, tmp_path):
    """Each run of a sweep of ram-mnist has the weights that train.py gives it alone."""
    for line in map(json.loads, (folder / "results.jsonl").read_text(encoding="utf-8").splitlines()):
        assert line["done"]
        alone = tmp_path / "alone"
        settings = {k.replace("_", "-"): v for k, v in line["settings"].items() if not k.startswith("env.")}
        options = [part for k, v in settings.items() for part in (f"--{k}", v)]
        env = ["--env", "dataset=mnist-5k"]
        seed = ["--seed", str(line["seed"])]
        train.main(["ram-mnist", *options, *env, *seed, "--folder", str(alone), "--quiet", "--overwrite"])
        found, wanted = weights(Path(line["folder"])), weights(alone)
        assert found.keys() == wanted.keys()
        assert all(found[key].equal(wanted[key]) for key in wanted)


def test_a_driver_that_is_killed_loses_at_most_an_epoch(tmp_path):
    folder = tmp_path / "sweep"
    arguments = ["ram-mnist", "--set", *SMALL, "images_per_epoch=512", "epochs=4", "--folder", folder]
    driver = started(*arguments)
    run = wait_for_epoch(folder, driver)
    os.killpg(driver.pid, signal.SIGKILL)
    driver.communicate()
    before = whole_epochs(run)
    assert 1 <= len(before) < 4
    again = started(*arguments)
    out, err = again.communicate(timeout=100)
    assert again.returncode == 0, err
    assert whole_epochs(run)[: len(before)] == before  # none was trained again
    assert "| ram-mnist | env.dataset=mnist-5k, batch_size=32" in out
    assert (folder / "table.md").read_text(encoding="utf-8") == out
    assert_as_if_never_stopped(folder, tmp_path)


def test_a_worker_that_is_killed_is_replaced(tmp_path):
    pytest.importorskip("ray", reason="the extra 'cluster' is not installed")
    folder = tmp_path / "sweep"
    driver = started(
        "ram-mnist", "--set", *SMALL, "images_per_epoch=512", "epochs=4", "--folder", folder, "--ray"
    )
    run = wait_for_epoch(folder, driver)
    worker = int((folder / f".{run.name}.training").read_text(encoding="utf-8"))
    assert worker != driver.pid
    os.kill(worker, signal.SIGKILL)
    before = whole_epochs(run)
    assert 1 <= len(before) < 4
    _, err = driver.communicate(timeout=100)
    assert driver.returncode == 0, err
    assert whole_epochs(run)[: len(before)] == before
    assert_as_if_never_stopped(folder, tmp_path)


@pytest.mark.parametrize(("change", "says"), [("clip=1,-1", "clip must be"), ("nosuch=1", "nosuch")])
def test_settings_are_refused_before_a_run_is_trained(change: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"is refused by train\.py") as refused:
        sweep.main(["ram-mnist", "--set", *SMALL, change, "--folder", str(tmp_path / "sweep")])
    assert says in str(refused.value)
    assert not (tmp_path / "sweep").exists()


def test_one_that_fails_does_not_stop_the_others(tmp_path, capsys):
    folder = tmp_path / "sweep"
    command = ["ram-mnist", "--set", *SMALL, "images_per_epoch=64", "epochs=1", "--folder", str(folder)]
    with pytest.raises(ValueError, match="1 of 2 runs failed") as failed:
        sweep.main([*command, "--set", "learning_rate=1e30,1e-3"])
    assert "ram-mnist-" in str(failed.value)
    assert "diverged" in str(failed.value)
    lines = [json.loads(line) for line in (folder / "results.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [line["settings"]["learning_rate"] for line in lines] == ["1e-3"]
    assert capsys.readouterr().out == (folder / "table.md").read_text(encoding="utf-8")


def test_a_defect_in_a_run_is_told_and_does_not_stop_the_others(tmp_path, monkeypatch):
    def broken(arguments):
        print("begun")
        raise ZeroDivisionError("of no kind that train.py knows")

    monkeypatch.setattr(train, "main", broken)
    plan = sweep.plan_of(["ram-mnist"], [1, 2], [], tmp_path)
    ended = list(sweep.one_by_one(plan))
    assert [trial for trial, _ in ended] == plan
    for trial, failure in ended:
        log = tmp_path / f"{trial.folder.name}.log"
        assert failure == f"ZeroDivisionError in train.py: read {log}"
        told = log.read_text(encoding="utf-8")
        assert told.startswith("begun")
        assert "of no kind that train.py knows" in told


def test_the_plan_is_every_combination():
    plan = sweep.plan_of(["ram-mnist", "edram"], [1, 2], ["a=1,2", "env.horizon=4"], Path("f"))
    assert len(plan) == 8
    assert len({trial.folder for trial in plan}) == 8
    first = plan[0]
    assert first.folder == Path("f/ram-mnist-a=1-env.horizon=4-s1")
    assert first.arguments == [
        "ram-mnist", "--seed", "1", "--folder", "f/ram-mnist-a=1-env.horizon=4-s1", "--quiet", "--a", "1",
        "--env", "horizon=4",
    ]  # fmt: skip


def test_what_is_true_or_false_is_a_flag_to_train():
    plan = sweep.plan_of(["ram-mnist"], [1], ["model.detach=True,False", "bfloat16=False"], Path("f"))
    assert [trial.arguments[6:] for trial in plan] == [
        ["--model.detach", "--no-bfloat16"],
        ["--model.no-detach", "--no-bfloat16"],
    ]
    for trial in plan:  # train.py knows them
        with pytest.raises(train.REFUSED, match="no keyword 'tint'"):
            train.main([*trial.arguments, "--env", "tint=1"])


@pytest.mark.parametrize(
    ("names", "seeds", "changes", "told"),
    [
        (["ram-mnis"], [1], [], "there is no experiment 'ram-mnis'.*ram-mnist"),
        (["edram", "edram"], [1], [], "named twice"),
        (["edram"], [1, 1], [], "named twice"),
        (["edram"], [1], ["clip"], "'clip' is not KEY=VALUE"),
        (["edram"], [1], ["model.core=\udcff"], "is not UTF-8"),
        (["edram"], [1], ["clip=1,,2"], "is not KEY=VALUE"),
        (["edram"], [1], ["clip=1", "clip=2"], "names 'clip' twice"),
        (["edram"], [1], ["learning_rate=1", "learning-rate=2"], "names 'learning_rate' twice"),
        (["edram"], [1], ["seed=1,2"], "'seed' is decided by the sweep"),
    ],
)
def test_what_is_unclear_is_said(names, seeds, changes, told):
    with pytest.raises(ValueError, match=told):
        sweep.plan_of(names, seeds, changes, Path("f"))


def test_a_second_sweep_in_a_folder_adds_to_the_first(tmp_path):
    command = ["adding-100-lstm", "--set", "epochs=1", "images_per_epoch=64", "model.hidden=8"]
    for seed in "1", "2":
        sweep.main([*command, "--seeds", seed, "--folder", str(tmp_path)])
    lines = list(map(json.loads, (tmp_path / "results.jsonl").read_text(encoding="utf-8").splitlines()))
    assert [line["seed"] for line in lines] == [1, 2]
    assert " | 2 | " in (tmp_path / "table.md").read_text(encoding="utf-8")
    figures = sorted(line["validation_squared_error"] for line in lines)
    assert f"{figures[0]:.3g} to {figures[1]:.3g}" in sweep.table(lines)  # not 0.00, where they are small


def test_a_run_whose_config_is_damaged_does_not_stop_the_others(tmp_path):
    plan = sweep.plan_of(["adding-100-lstm"], [1], ["epochs=1", "images_per_epoch=64"], tmp_path)
    plan[0].folder.mkdir()
    for damaged in ("{", '{"a": 1}', "[1]"):
        (plan[0].folder / "config.json").write_text(damaged, encoding="utf-8")
        assert not sweep.is_done(plan[0])
        ((_, failure),) = sweep.one_by_one(plan)
        assert "config.json is not the config of a run" in failure
    (plan[0].folder / "config.json").unlink()
    (plan[0].folder / "metrics.jsonl").write_text("{", encoding="utf-8")
    assert not sweep.is_done(plan[0])
    assert sweep.collect(plan, tmp_path) == sweep.table([])  # and the others are trained
    (tmp_path / "results.jsonl").write_text('{"folder": "x", "done": true}\n', encoding="utf-8")
    with pytest.raises(ValueError, match=r"line 1 of .*results\.jsonl is not a JSON object with"):
        sweep.collect(plan, tmp_path)


def test_a_run_that_lost_epochs_is_told_and_keeps_its_result(tmp_path):
    command = ["adding-100-lstm", "--set", "epochs=2", "images_per_epoch=64", "model.hidden=8"]
    sweep.main([*command, "--folder", str(tmp_path)])
    table, results = ((tmp_path / name).read_text(encoding="utf-8") for name in ("table.md", "results.jsonl"))
    (metrics,) = tmp_path.glob("*/metrics.jsonl")
    whole = metrics.read_text(encoding="utf-8")
    metrics.write_text("", encoding="utf-8")
    with pytest.raises(ValueError, match="has 0 of 2 epochs: restore it"):
        sweep.main([*command, "--folder", str(tmp_path)])
    assert (tmp_path / "table.md").read_text(encoding="utf-8") == table
    for damaged in (whole.replace("validation", "other"), whole.replace("validation", "validation_other", 1)):
        metrics.write_text(damaged, encoding="utf-8")
        assert sweep.epochs_of(sweep.Trial("", {}, 1, metrics.parent)) == []
    metrics.write_text(whole, encoding="utf-8")
    config = metrics.with_name("config.json")
    config.write_text(config.read_text(encoding="utf-8").replace('"epochs": 2', '"epochs": "x"'), "utf-8")
    assert not sweep.is_done(sweep.Trial("", {}, 1, metrics.parent))
    line = json.dumps({**json.loads(results.splitlines()[0]), "folder": []})
    (tmp_path / "results.jsonl").write_text(line, encoding="utf-8")
    with pytest.raises(ValueError, match=r"line 1 of .* is not a JSON object .* each of its kind"):
        sweep.main([*command, "--folder", str(tmp_path)])
    (tmp_path / "results.jsonl").write_text(results.replace("validation", "other"), encoding="utf-8")
    with pytest.raises(ValueError, match=r"line 1 of .* has no figure of validation"):
        sweep.main([*command, "--folder", str(tmp_path)])


def test_long_settings_have_folders_too():
    changes = [
        f"env.dataset=folder:/{'a' * 150},folder:/{'a' * 149}b",
        "learning_rate=1,2",
        f"init={'é' * 60}",
    ]
    plan = sweep.plan_of(["ram-mnist"], [1], [*changes, "env.pair="], Path("f"))
    assert len({trial.folder for trial in plan}) == 4
    assert all(len(trial.folder.name.encode()) <= sweep.LONGEST for trial in plan)
    assert plan[0].arguments[-1] == "pair="


def test_the_table_is_of_finished_runs_by_their_mean():
    line = {"experiment": "x", "settings": {"clip": "1"}, "minutes": 1.0, "done": True}
    lines = [
        {**line, "seed": 1, "validation_error": 2.0},
        {**line, "seed": 2, "validation_error": 3.0},
        {**line, "seed": 1, "validation_error": 0.1, "settings": {"clip": "2"}, "done": False},
        {**line, "seed": 1, "validation_error": 2.25, "settings": {}},
        {
            **line,
            "seed": 3,
            "validation_reward": 0.5,
        },  # what was trained when it was judged by another figure
    ]
    assert sweep.table(lines).splitlines()[2:] == [
        "| x | clip=1 | validation reward | 0.5 | 0.5 to 0.5 | 1 | 1.0 |",
        "| x | its own | validation error | 2.25 | 2.25 to 2.25 | 1 | 1.0 |",
        "| x | clip=1 | validation error | 2.50 | 2.00 to 3.00 | 2 | 2.0 |",
    ]
