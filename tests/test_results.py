"""What results/ holds is what the code and the data give today."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from conftest import needs_full_mnist, skip_without_data
from scipy import stats

from agents.agent import count_parameters
from agents.experiments import EXPERIMENTS
from agents.experiments.experiment import load_agent
from agents.learn.evaluate import Evaluation
from agents.learn.files import locked, write, write_whole
from agents.learn.generative import Generative
from agents.learn.language import NextStep
from agents.report import results, tables

LINES = results.read()
PUBLISHED = sorted(results.PRETRAINED.glob("*.safetensors"))

# Those of the first runs were not kept.
METRICS_LOST = {"ram-mnist"}


def latest(experiment: str, seed: int) -> dict:
    """The last line of an experiment: along the mean, DRAW's only one, or a text's with the state carried."""
    learner = EXPERIMENTS[experiment].learner
    mode = {Generative: "sampled", NextStep: "carried"}.get(type(learner), "deterministic")
    wanted = (mode, seed)
    lines = [line for line in LINES if line["experiment"] == experiment]
    return [line for line in lines if (line["mode"], line["seed"]) == wanted][-1]


GROUPS_OF_TEXTS = ("memory", "reading", "sentences", "hermann2015", "xu2015")  # and of captions


def test_published_checkpoints_are_light_together() -> None:
    of_texts = {path for path in PUBLISHED if EXPERIMENTS[path.stem].group in GROUPS_OF_TEXTS}
    for paths, most in ((set(PUBLISHED) - of_texts, 40), (of_texts, 25)):
        assert sum(path.stat().st_size for path in paths) <= most * 2**20


@pytest.mark.parametrize("path", PUBLISHED, ids=lambda p: p.stem)
def test_published_checkpoints_are_small_and_of_their_experiment(path: Path) -> None:
    assert path.stat().st_size <= 3 * 2**20
    agent, experiment, config = load_agent(path)
    assert EXPERIMENTS[config["experiment"]].same_recipe(experiment)
    assert (config["experiment"], experiment.seed) == (path.stem, 1)
    assert config["training_minutes"] > 0
    assert latest(path.stem, 1)["parameters"] == count_parameters(agent)
    metrics = results.metrics_path(config["experiment"], experiment.seed)
    if path.stem not in METRICS_LOST:
        assert len(metrics.read_text(encoding="utf-8").splitlines()) == experiment.loop.epochs


def test_what_an_experiment_starts_from_is_an_experiment() -> None:
    for experiment in EXPERIMENTS.values():
        assert not experiment.init or experiment.init in EXPERIMENTS


def test_a_row_says_what_was_seen() -> None:
    """By hand: of dram-pairs four glimpses of two scales of 20x20 and a context of 25x25, none blind."""
    looks = {"dram-pairs": (4, 4 * 2 * 400 + 625), "ram-cluttered-g4": (4, 4 * 3 * 144)}
    looks |= {"edram-slim": (2, 100 * 100), "conv-cluttered": (0, 60 * 60)}
    for name, (glimpses, pixels) in looks.items():
        line = latest(name, 1)
        assert (line["glimpses"], line["pixels"]) == (glimpses, pixels), name


@pytest.mark.parametrize("path", PUBLISHED, ids=lambda p: p.stem)
@needs_full_mnist
def test_published_rows_are_what_a_row_would_be_today(path: Path) -> None:
    agent, experiment, config = load_agent(path)
    line = latest(config["experiment"], experiment.seed)
    scored = Evaluation(line["value"], tuple(line["ci95"]), line["scenes"])
    name, minutes = config["experiment"], line["minutes"]
    skip_without_data(name)
    today = results.result_line(name, experiment, agent, line["mode"], scored, minutes)
    for key in ("env_id", "env", "agent", "sees", "glimpses", "pixels", "share", "parameters", "metric"):
        assert today[key] == line[key], key


def test_a_table_names_images_that_are_not_the_ids_own() -> None:
    line = {
        "experiment": "conv-cifar10", "seed": 1, "mode": "deterministic", "sees": "canvas", "glimpses": 0,
        "pixels": 3072, "parameters": 1, "minutes": 1.0, "value": 44.0, "ci95": [43.0, 45.0],
        "env_id": "Glimpse/CIFAR10-v0", "env": {"dataset": "cifar10-jpeg"}, "metric": "test_error",
        "share": 1.0,
    }  # fmt: skip
    assert tables.table([line]).splitlines()[2].startswith("| conv-cifar10 on cifar10-jpeg | canvas ")
    assert tables.table([{**line, "env": {}}]).splitlines()[2].startswith("| conv-cifar10 | canvas ")


def test_bounds_have_a_table_of_their_own_with_the_papers() -> None:
    errors = [line for line in LINES if line["metric"] != "nats"]
    drawn = {**latest("ram-mnist", 1), "experiment": "draw-mnist", "metric": "nats", "glimpses": 16}
    drawn |= {"parameters": 1_234_567, "minutes": 99.6}
    first, last = {**drawn, "value": 99.0, "ci95": [98, 100]}, {**drawn, "value": 90.0, "ci95": [89.5, 90.5]}
    *_, row = tables.nats_table([*errors, first, last]).splitlines()
    assert row == "| draw-mnist | binary | 16 | 1,234,567 | 100 | 80.97 | **90.00** [89.50, 90.50] |"
    assert tables.table([*errors, last]) == tables.table(errors)
    shades = {**last, "experiment": "draw-house", "metric": "cross_entropy"}
    *_, row = tables.nats_table([last, shades]).splitlines()
    assert row == "| draw-house | shades: no bound | 16 | 1,234,567 | 100 | – | **90.00** [89.50, 90.50] |"
    assert tables.table([shades]) == tables.table([])


def test_only_a_bound_is_called_one() -> None:
    assert results.metric_of(EXPERIMENTS["draw-mnist"], "test", "sampled") == "nats"
    assert results.metric_of(EXPERIMENTS["draw-cifar10"], "test", "sampled") == "cross_entropy"
    assert results.metric_of(EXPERIMENTS["fc-mnist"], "validation", "deterministic") == "validation_error"


def test_attention_has_a_table_beside_looks_that_never_move() -> None:
    def line(name: str, mode: str, value: float, metric: str = "mass_on_target") -> dict[str, Any]:
        return {
            "experiment": name, "mode": mode, "metric": metric, "value": value, "ci95": [value - 1, value + 1]
        }  # fmt: skip

    lines = [
        line("old", "mass on target", 14.0),
        line("old", "mass on target, one look", 13.0),
        line("new", "mass on target, own words", 55.0),
        line("new", "mass on target, own words, one look", 22.04),
        line("new", "mass on target", 24.0),
        line("new", "mass on target, one look", 13.0),
    ]
    table = tables.caption_table(lines, [])
    assert "| old | **14.00** [13.00, 15.00] | 13.0 | – | – |" in table
    assert "| new | **24.00** [23.00, 25.00] | 13.0 | **55.00** [54.00, 56.00] | 22.0 |" in table
    assert "words on target" not in table  # which has no lines
    assert "attention of" not in tables.caption_table([], [])
    for lacking, says in (
        (lines[:1], "old has no figure 'mass on target, one look'"),
        ([line("some", "beam", 20.0, "bleu4")], "some has no figure 'greedy bleu4'"),
        ([line("some", "on target", 90.0, "on_target")], "some has no figure 'error'"),
    ):
        with pytest.raises(ValueError, match=says):
            tables.caption_table(lacking, [])
    assert "| people, Flickr8k | – | – | – | 60.0 | – |" in tables.caption_table(
        [], [{"who": "people", "bleu1": 60.0}]
    )


def test_students_quantiles_are_scipys() -> None:
    for seeds, quantile in results.STUDENT.items():
        assert quantile == pytest.approx(stats.t.ppf(0.975, seeds - 1), abs=5e-4)


def test_every_line_has_the_promised_keys() -> None:
    for line in LINES:
        assert {*results.KEYS, "commit", "threads", "machine"} <= line.keys()
        assert line["ci95"][0] <= line["value"] <= line["ci95"][1]
        assert line["sees"] in ("glimpses", "canvas", "sequence")


def add_lines(path: Path, writer: int) -> None:
    for i in range(10):
        results.append([{"writer": writer, "i": i}], path)


# Python warns of what a forked process might wait for: here it writes a file and ends.
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_lines_of_several_processes_are_all_kept(tmp_path: Path) -> None:
    """Six at once, ten lines each, and whatever a reader finds meanwhile is whole."""
    path = tmp_path / "results.jsonl"
    fork = multiprocessing.get_context("fork")
    writers = [fork.Process(target=add_lines, args=(path, n)) for n in range(6)]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
            json.loads(line)
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert sorted((line["writer"], line["i"]) for line in lines) == [
        (n, i) for n in range(6) for i in range(10)
    ]
    assert {p.name for p in tmp_path.iterdir()} == {"results.jsonl", ".results.jsonl.lock"}


def test_a_line_that_is_there_is_not_added_again(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    results.append([{"a": 1}, {"a": 2}], path)
    results.append([{"a": 2}, {"a": 3}], path)
    assert path.read_text(encoding="utf-8") == '{"a": 1}\n{"a": 2}\n{"a": 3}\n'


def test_a_file_that_an_editor_left_without_a_last_newline_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    path.write_text('{"a": 1}', encoding="utf-8")
    results.append([{"a": 2}], path)
    assert path.read_text(encoding="utf-8") == '{"a": 1}\n{"a": 2}\n'


def hold_and_die(path: Path, held: Any) -> None:
    with locked(path):
        held.set()
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_the_lock_of_a_process_that_died_is_free(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    fork = multiprocessing.get_context("fork")
    held = fork.Event()
    gone = fork.Process(target=hold_and_die, args=(path, held))
    gone.start()
    gone.join()
    assert held.is_set()
    results.append([{"a": 1}], path)
    assert path.read_text(encoding="utf-8") == '{"a": 1}\n'


def test_the_commit_is_this_projects_wherever_one_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = results.commit()
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    monkeypatch.chdir(tmp_path)
    assert results.commit() == here != "unknown"


def test_a_commit_is_dirty_by_what_was_changed_outside_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "ROOT", tmp_path)
    assert results.commit() == "unknown"

    def git(*arguments: str) -> None:
        name = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
        subprocess.run(["git", "-C", str(tmp_path), *name, *arguments], check=True, capture_output=True)

    (tmp_path / "results").mkdir()
    for file in ("code.py", "results/results.jsonl"):
        (tmp_path / file).write_text("x", encoding="utf-8")
    git("init")
    git("add", ".")
    git("commit", "-m", "all")
    clean = results.commit()
    assert re.fullmatch("[0-9a-f]{10}", clean)
    (tmp_path / "results" / "results.jsonl").write_text("y", encoding="utf-8")
    (tmp_path / "note.txt").write_text("y", encoding="utf-8")
    assert results.commit() == clean
    (tmp_path / "code.py").write_text("y", encoding="utf-8")
    assert results.commit() == f"{clean}-dirty"


def test_pixels_of_colour_are_counted_once_a_channel() -> None:
    line = latest("conv-cifar10", 1)
    assert (line["pixels"], line["share"]) == (3 * 32 * 32, 1.0)


def test_a_file_is_whole_or_what_it_was(tmp_path: Path) -> None:
    path = tmp_path / "kept.txt"
    write(path, "что было")
    assert path.read_text(encoding="utf-8") == "что было"

    def fails(temporary: Path) -> None:
        temporary.write_text("half", encoding="utf-8")
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="the disk is full"):
        write_whole(path, fails)
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(IsADirectoryError, match=r"folder\.png is a folder: name a file"):
        write(tmp_path / "folder.png", "")
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*absent: make it first"):
        write(tmp_path / "absent" / "new.txt", "")
    assert path.read_text(encoding="utf-8") == "что было"
    assert sorted(one.name for one in tmp_path.iterdir()) == ["folder.png", "kept.txt"]


def test_an_interval_over_seeds_ends_where_the_figures_do() -> None:
    errors = [{"metric": "test_error", "value": value} for value in (2.0, 90.0)]
    assert results.mean_and_interval(errors) == (46.0, (0.0, 100.0))
    nats = [{"metric": "nats", "value": value} for value in (200.0, 202.0)]
    assert results.mean_and_interval(nats)[1] == pytest.approx((201 - 12.706, 201 + 12.706), rel=1e-4)


def test_what_is_written_through_a_link_is_the_file_behind_it(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    file, link = tmp_path / "folder" / "page.md", tmp_path / "link.md"
    file.write_text("old", encoding="utf-8")
    link.symlink_to("folder/page.md")
    write(link, "new")
    assert link.is_symlink()
    assert file.read_text(encoding="utf-8") == "new"
    assert [path.name for path in tmp_path.rglob("*.md")] == ["link.md", "page.md"]


def test_a_table_of_sentences_is_of_means_over_seeds() -> None:
    line: dict[str, Any] = {
        "experiment": "parse-pointer", "env_id": "Glimpse/Parse-v0", "env": {}, "sees": "canvas",
        "metric": "f1", "mode": "deterministic", "parameters": 10, "minutes": 60.0, "seed": 1,
        "value": 70.0, "ci95": [69, 71],
    }  # fmt: skip
    older = {**line, "value": 10.0}
    second = {**line, "seed": 2, "value": 72.0, "minutes": 80.0}
    row = tables.sentence_table([older, line, second]).splitlines()[4]
    half = 12.706 * 2**0.5 / 2**0.5  # Student's, of a deviation of the square root of 2
    assert row == (
        f"| parse-pointer | gum | canvas | 10 | 70 | 2 | **71.00** [{71 - half:.2f}, {71 + half:.2f}] | – |"
    )
    assert "| 60 | 1 | **70.00** [69.00, 71.00] |" in tables.sentence_table([older, line])
    with pytest.raises(ValueError, match="parse-pointer has no figure 'deterministic'"):
        tables.sentence_table([{**line, "mode": "beam"}])
