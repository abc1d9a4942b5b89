"""Train experiments with several seeds and settings: `python scripts/sweep.py ram-mnist --seeds 1 2 3`.

`--set learning_rate=1e-3,2e-3 model.hidden=128,256` trains every combination, each in a folder of its
own. One run follows the other; `--ray` trains them on all cores here (`pip install '.[cluster]'`), and
`--address` on a cluster that sees the same files. It may be stopped: the same command goes on with each
run after its last whole epoch. What is found lies in the sweep's folder: results.jsonl has one line per run,
and table.md the mean over the seeds of what each setting's best epoch scored on validation scenes.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
import json
import logging
import os
import re
import sys
import traceback
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import terminal
from tqdm import tqdm

from agents.experiments import EXPERIMENTS
from agents.learn import run
from agents.learn.files import locked, write
from agents.report import results
from glimpse_env.checks import did_you_mean, is_utf8

HERE = Path(__file__).parent
RESULTS, TABLE = "results.jsonl", "table.md"
KEYS = ("experiment", "settings", "seed", "best_epoch", "done", "minutes", "folder")  # of a line of results
LONGEST = 200  # bytes of the name of a run's folder
GLANCE = 1.0  # seconds between looks at how far the runs are


class Trial(NamedTuple):
    """A run of a sweep: an experiment, what is changed in it, its seed and where it is kept."""

    name: str
    changes: dict[str, str]
    seed: int
    folder: Path

    @property
    def label(self) -> str:
        """What it is, in a word."""
        return "-".join([self.name, *(f"{k}={v}" for k, v in self.changes.items()), f"s{self.seed}"])

    @property
    def arguments(self) -> list[str]:
        """What train.py is told."""
        given, env = [self.name, "--seed", str(self.seed), "--folder", str(self.folder), "--quiet"], []
        for key, value in self.changes.items():
            if key.startswith("env."):
                env.append(f"{key.removeprefix('env.')}={value}")
            else:
                given += option(key.replace("_", "-"), value)
        return [*given, *(["--env", *env] if env else [])]


def option(key: str, value: str) -> list[str]:
    """A setting as train.py takes it: what is true or false is a flag, as in --model.no-tied."""
    if value.lower() not in ("true", "false"):
        return [f"--{key}", value]
    outer, dot, inner = key.rpartition(".")
    return [f"--{outer}{dot}{'' if value.lower() == 'true' else 'no-'}{inner}"]


def train_trial(trial: Trial) -> str:
    """Train a run to its end, or go on with it; "" or, in a sentence, why that is not possible.

    What train.py prints goes to a log beside the run's folder, NAME.log.
    """
    sys.path.insert(0, str(HERE))  # for a worker, which does not run this script
    import train

    again = ["--resume"] if (trial.folder / run.CONFIG).exists() else []
    trial.folder.parent.mkdir(parents=True, exist_ok=True)
    log = trial.folder.with_name(f"{trial.folder.name}.log")
    with log.open("a", encoding="utf-8", errors="backslashreplace") as said, contextlib.redirect_stdout(said):
        try:
            with contextlib.redirect_stderr(said):
                train.main([*trial.arguments, *again])
        except train.REFUSED as error:
            return terminal.sentence(error)
        except SystemExit:  # of tyro, which has said why
            return f"train.py refused its settings: read {log}"
        except Exception as error:  # a defect, which the other runs need not share
            traceback.print_exc(file=said)
            return f"{type(error).__name__} in train.py: read {log}"
    return ""


def check(trial: Trial) -> None:
    """Raise ValueError for settings that train.py refuses."""
    import train

    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            train.parse(trial.arguments)
    except SystemExit:  # of tyro, which draws a box around what it says
        words = " ".join(re.findall(r"[^\s│╭╮╰╯─]+", said.getvalue()))
        raise ValueError(f"{trial.label} is refused by train.py: {words}") from None
    except ValueError as error:
        raise ValueError(f"{trial.label} is refused by train.py: {error}") from None


def one_by_one(plan: list[Trial]) -> Iterator[tuple[Trial, str] | None]:
    """Train the runs here, each to its end before the next begins; yields each and why it failed, or ""."""
    for trial in plan:
        yield trial, train_trial(trial)


def on_ray(plan: list[Trial], retries: int, address: str | None) -> Iterator[tuple[Trial, str] | None]:
    """Train the runs as tasks of Ray, a core each; a worker that dies is replaced `retries` times.

    Yields as `one_by_one`, and None when a second has passed in which no run has ended.
    """
    try:
        import ray
    except ImportError:
        raise ValueError("Ray is not there: pip install '.[cluster]', or leave out --ray") from None
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # Ray's coming default, else it warns
    ray.init(address, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    try:
        # Whatever fails in Python is returned as a sentence: what Ray retries is a worker that is gone.
        task = ray.remote(num_cpus=1, max_retries=retries)(train_trial)
        waiting = {task.remote(trial): trial for trial in plan}
        while waiting:
            ended, _ = ray.wait(list(waiting), timeout=GLANCE)
            for reference in ended:
                try:
                    failure = ray.get(reference)
                except ray.exceptions.RayError as error:
                    failure = f"its worker died {retries + 1} times ({str(error).splitlines()[0]})"
                yield waiting.pop(reference), failure
            if not ended:
                yield None
    finally:
        ray.shutdown()


def epochs_of(trial: Trial) -> list[dict[str, Any]]:
    """The metrics of a run's epochs so far; none of a damaged run, of which train.py says what is wrong."""
    try:
        found = run.epochs(trial.folder)
    except run.RunError:
        return []
    return found if all(map(is_scored, found)) and len(set(map(figure_of, found))) <= 1 else []


def is_done(trial: Trial) -> bool:
    """Whether the run has all its epochs."""
    try:
        config = run.config_in(trial.folder)
        wanted = config["loop"].get("epochs") if config is not None else None
        return isinstance(wanted, int) and len(epochs_of(trial)) >= wanted
    except run.RunError:
        return False


def lines_of(plan: list[Trial]) -> list[dict[str, Any]]:
    """A line for each run that has begun: what it is, and its best epoch on validation scenes."""
    lines = []
    for trial in plan:
        epochs = epochs_of(trial)
        if not epochs:
            continue
        figure = figure_of(epochs[0])
        best = min(epochs, key=lambda epoch: epoch[figure])
        lines.append(
            {
                "experiment": trial.name,
                "settings": trial.changes,
                "seed": trial.seed,
                figure: best[figure],
                "best_epoch": best["epoch"],
                "epochs": len(epochs),
                "done": is_done(trial),
                "minutes": round(sum(epoch["minutes"] for epoch in epochs), 2),
                "folder": str(trial.folder),
            }
        )
    return lines


def figure_of(line: dict[str, Any]) -> str:
    """What a run is judged by, of a line that `is_scored`."""
    return next(key for key in line if key.startswith("validation"))


def is_scored(line: dict[str, Any]) -> bool:
    """Whether a line has figures of validation, and numbers alone."""
    figures = [value for key, value in line.items() if key.startswith("validation")]
    return bool(figures) and all(isinstance(value, int | float) for value in figures)


def results_in(path: Path) -> list[dict[str, Any]]:
    """The lines of a results.jsonl of sweeps, none where there is none; ValueError for a damaged one."""
    lines = results.read(path, KEYS) if path.exists() else []
    for number, line in enumerate(lines, 1):
        if not is_scored(line):
            raise ValueError(f"line {number} of {path} has no figure of validation: restore the file")
    return lines


def table(lines: list[dict[str, Any]]) -> str:
    """The sweep as a table, the best setting of each experiment first; unfinished runs do not count."""
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for line in lines:
        if line["done"]:
            settings = ", ".join(f"{key}={value}" for key, value in line["settings"].items()) or "its own"
            groups.setdefault((line["experiment"], settings, figure_of(line)), []).append(line)
    rows = []
    for (name, settings, figure), found in groups.items():
        values = [line[figure] for line in found]
        mean = sum(values) / len(values)
        spread = f"{terminal.short(min(values))} to {terminal.short(max(values))}"
        minutes = sum(line["minutes"] for line in found)
        what = figure.replace("_", " ")
        cells = (name, settings, what, terminal.short(mean), spread, str(len(values)), f"{minutes:.1f}")
        rows.append((name, mean, cells))
    head = ("Experiment", "Settings", "Figure", "Mean", "Over seeds", "Seeds", "Minutes")
    ruler = ("---", "---", "---", "---:", "---", "---:", "---:")
    return "".join(
        f"| {' | '.join(cells)} |\n" for cells in (head, ruler, *(row for *_, row in sorted(rows)))
    )


def collect(plan: list[Trial], folder: Path) -> str:
    """Write results.jsonl and table.md, whole, with what other sweeps left in the folder; returns the table.

    Raises ValueError for a results.jsonl that is damaged.
    """
    path, ours = folder / RESULTS, lines_of(plan)
    again = {line["folder"] for line in ours}
    with locked(path):
        lines = [line for line in results_in(path) if line["folder"] not in again] + ours
        write(path, "".join(json.dumps(line) + "\n" for line in lines))
        write(folder / TABLE, table(lines))
    return table(lines)


def folder_name(label: str) -> str:
    """The name of a run's folder; a long one ends in a hash, for no file's name may be much longer."""
    name = label.replace("/", "_").replace(":", "_")
    if len(name.encode()) <= LONGEST:
        return name
    return (
        f"{name.encode()[: LONGEST - 13].decode(errors='ignore')}-{sha256(label.encode()).hexdigest()[:12]}"
    )


def plan_of(names: list[str], seeds: list[int], changes: list[str], folder: Path) -> list[Trial]:
    """Every experiment with every combination of settings and every seed; ValueError for what is unclear."""
    for name in names:
        if name not in EXPERIMENTS:
            raise ValueError(f"there is no experiment {name!r}{did_you_mean(name, EXPERIMENTS)}")
    axes: dict[str, list[str]] = {}
    for change in changes:
        if not is_utf8(change):
            raise ValueError(f"--set {change!r} is not UTF-8: type it anew")
        key, equals, values = change.partition("=")
        nothing = key.startswith("env.") and not values  # as in env.pair=, which has none
        if not (key and equals and (nothing or all(values.split(",")))):
            raise ValueError(
                f"--set {change!r} is not KEY=VALUE,VALUE…: name a setting of train.py and its values"
            )
        if not key.startswith("env."):
            key = key.replace("-", "_")  # the same to train.py
        if key in axes:
            raise ValueError(f"--set names {key!r} twice: give all its values at once")
        if key in ("seed", "folder", "resume", "overwrite", "quiet", "name"):
            raise ValueError(f"--set {key!r} is decided by the sweep: leave it out")
        axes[key] = values.split(",")
    plan = []
    for name, chosen, seed in itertools.product(names, itertools.product(*axes.values()), seeds):
        trial = Trial(name, dict(zip(axes, chosen, strict=True)), seed, folder)
        plan.append(trial._replace(folder=folder / folder_name(trial.label)))
    if len({trial.folder for trial in plan}) < len(plan):
        raise ValueError("an experiment, a value or a seed is named twice: name each once")
    return plan


def main(arguments: list[str]) -> None:
    """Parse, train what is not done, collect."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("names", nargs="+", metavar="NAME", help="experiments, as train.py names them")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1], help="1 unless given")
    parser.add_argument(
        "--set",
        dest="changes",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE,VALUE…",
        help="a setting of train.py and its values; env.KEYWORD is the environment's",
    )
    parser.add_argument("--folder", type=Path, default=Path("runs/sweep"), help="runs/sweep unless given")
    parser.add_argument("--ray", action="store_true", help="train on all cores of this machine")
    parser.add_argument("--address", help="train on the Ray cluster at this address")
    parser.add_argument("--retries", type=int, default=3, help="how often a worker that dies is replaced")
    options = parser.parse_args(arguments)
    if options.retries < 0:
        raise ValueError(f"--retries must be 0 or more, got {options.retries}")
    folder = options.folder.absolute()
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file: name a folder.")
    plan = plan_of(options.names, options.seeds, options.changes, folder)
    for trial in plan:
        check(trial)
    results_in(folder / RESULTS)  # raises now, and not after a run
    folder.mkdir(parents=True, exist_ok=True)
    rest = [trial for trial in plan if not is_done(trial)]
    runs = (
        on_ray(rest, options.retries, options.address) if options.ray or options.address else one_by_one(rest)
    )
    failures = []
    with tqdm(total=len(plan), initial=len(plan) - len(rest), unit=" runs", desc="sweep") as bar:
        for ended in runs if rest else ():
            if ended is not None:
                trial, failure = ended
                bar.update()
                collect(plan, folder)
                if failure:
                    failures.append(f"{trial.label} failed: {failure}")
            bar.set_postfix_str(f"{sum(len(epochs_of(trial)) for trial in plan)} epochs")
    print(collect(plan, folder), end="")
    if failures:
        raise ValueError(
            "\n".join([*failures, f"{len(failures)} of {len(plan)} runs failed: the same command goes on"])
        )


if __name__ == "__main__":
    terminal.run(
        main,
        (ValueError, run.RunError),
        stopped="stopped; the same command goes on after each run's last whole epoch",
    )
