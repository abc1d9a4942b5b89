"""results.jsonl: one line an evaluated run, and the table that a report makes of them."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import platform
import statistics
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gymnasium
import torch
from torch import Tensor

from agents import runs
from agents.draw import DRAW
from agents.evaluate import Evaluation, Mode
from agents.experiments import EXPERIMENTS, Experiment
from agents.generative import Generative
from agents.interface import Agent, count_parameters
from agents.supervised import Supervised
from glimpse_env.checks import did_you_mean
from glimpse_env.registry import TABLE

HOME = Path(__file__).resolve().parents[1] / "results"  # from wherever a script is called
RESULTS, PRETRAINED, METRICS = HOME / "results.jsonl", HOME / "pretrained", HOME / "metrics"
LARGEST = 3 * 2**20 - 2**14  # bytes of a published checkpoint's weights, its config beside them

# Test error in percent: Mnih et al. (2014), tables 1 and 2; the plain name is the largest budget of glimpses.
PAPER = {
    **{
        f"ram-mnist-g{n}": error for n, error in zip(range(2, 7), (3.79, 1.51, 1.54, 1.34, 1.12), strict=True)
    },
    "ram-mnist": 1.07,
    "fc-mnist": 1.69,
    "conv-mnist": 1.21,
    "ram-translated-g4": 1.54,
    "ram-translated-g6": 1.22,
    "ram-translated": 1.20,
    "conv-translated": 1.62,
    "ram-cluttered-g4": 4.96,
    "ram-cluttered-g6": 4.08,
    "ram-cluttered": 4.04,
    "random-cluttered": 14.4,
    "conv-cluttered": 8.09,
    "ram-cluttered100-g4": 9.41,
    "ram-cluttered100-g6": 8.31,
    "ram-cluttered100": 8.11,
    "random-cluttered100": 28.4,
    "conv-cluttered100": 14.35,
    # Ba et al. (2015), section 4.1, and the lecture's table of SVHN.
    "ram-pairs": 9.0,
    "dram-pairs-nocontext": 7.0,
    "dram-pairs": 5.0,
    "dram-sum": 2.5,
    "convnet-sum": 3.2,
    # The lecture's table of DRAW; Jaderberg et al. (2015), cluttered 60x60. EDRAM's 0.6 has five distractors
    # and test canvases of training digits (PAPERS.md): no row of ours is that task.
    "draw-classifier-g4": 4.18,
    "draw-classifier": 3.36,
    "st-cnn": 1.7,
    "st-fcn": 2.0,
    "cnn-cluttered16": 3.5,
    "fcn-cluttered16": 13.2,
    "draw-mnist": 80.97,
    "draw-mnist-noattention": 87.40,
}

# What the best public replication of each states of itself.
BEST_PUBLIC = {"ram-mnist": 0.67, "ram-translated": 0.94, "ram-cluttered": 2.63, "ram-cluttered100": 5.9}


def result_line(
    experiment: str,
    settings: Experiment,
    agent: Agent | DRAW,
    mode: Mode,
    evaluation: Evaluation,
    minutes: float,
    split: str = "test",
) -> dict[str, Any]:
    """One line of results.jsonl: what was measured, on what, how dearly, by which commit."""
    env = gymnasium.make(settings.env_id, **settings.env, split=split).unwrapped.vector  # type: ignore[attr-defined]
    canvas = env.present_scenes().canvas.shape[1:]
    views = env.single_observation_space
    looks = env.horizon - (env.start_gaze == "blind")
    seen = looks * math.prod(views["retina"].shape)
    if env.context:
        seen += math.prod(views["context"].shape)
    if isinstance(settings, Generative):
        looks = settings.steps
    return {
        "experiment": experiment,
        "env_id": settings.env_id,
        "env": settings.env,
        "agent": type(agent).__name__,
        "sees": agent.sees,
        "seed": settings.seed,
        "commit": _commit(),
        "metric": metric_of(settings, split),
        "value": round(evaluation.error, 4),
        "ci95": [round(bound, 4) for bound in evaluation.ci95],
        "scenes": evaluation.scenes,
        "mode": mode,
        "glimpses": looks if agent.looks else 0,
        "pixels": seen if agent.sees == "glimpses" else math.prod(canvas),
        "parameters": count_parameters(agent),
        "minutes": round(minutes, 1),
        "threads": torch.get_num_threads(),
        "machine": _machine(),
    }


def metric_of(settings: Experiment, split: str) -> str:
    """What a line measures: an error in percent, DRAW's bound in nats, or a loss that bounds nothing."""
    if isinstance(settings, Generative):
        return "nats" if settings.binary else "cross_entropy"
    return f"{split}_error"


# What a reader of results.jsonl needs of every line.
KEYS = {
    "experiment",
    "env_id",
    "env",
    "sees",
    "seed",
    "metric",
    "value",
    "ci95",
    "mode",
    "glimpses",
    "pixels",
}
KEYS |= {"parameters", "minutes"}


def append(lines: list[dict[str, Any]], path: Path = RESULTS) -> None:
    """Add lines; the file is replaced as a whole, so that it never holds half of one."""
    before = path.read_text() if path.exists() else ""
    runs.write(path, before + "".join(json.dumps(line) + "\n" for line in lines))


def read(path: Path = RESULTS) -> list[dict[str, Any]]:
    """All lines; ValueError naming the first that is not a JSON object with the keys of a result."""
    lines = []
    for number, text in enumerate(path.read_text().splitlines(), 1):
        try:
            line = json.loads(text)
        except json.JSONDecodeError:
            line = None
        if not (isinstance(line, dict) and line.keys() >= KEYS):
            raise ValueError(
                f"line {number} of {path} is not a JSON object with {', '.join(sorted(KEYS))}: restore "
                "the file"
            )
        lines.append(line)
    return lines


def is_ablation(name: str) -> bool:
    """Whether an experiment is there to choose by, and so must not see the test scenes."""
    return name.startswith("ablation-")


def check_publishable(name: str, settings: Experiment) -> None:
    """Raise ValueError unless `settings` are, but for the seed, those of the experiment `name`."""
    own = EXPERIMENTS.get(name)
    if own is None or dataclasses.replace(settings, seed=own.seed) != own:
        raise ValueError(f"this run's settings are not those of {name!r}: retrain it, or name the experiment")


def pretrained_path(name: str, seed: int) -> Path:
    """Where the published checkpoint of an experiment is kept; seed 1 has the plain name."""
    return PRETRAINED / (f"{name}.safetensors" if seed == 1 else f"{name}-s{seed}.safetensors")


def compact(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights as they are published: halved to float16 where they would not fit into LARGEST bytes."""
    if sum(tensor.nbytes for tensor in tensors.values()) <= LARGEST:
        return tensors
    return {name: t.half() if t.dtype == torch.float32 else t for name, t in tensors.items()}


def metrics_path(name: str, seed: int) -> Path:
    """Where the metrics of a published run are kept, a line an epoch."""
    return METRICS / (pretrained_path(name, seed).stem + ".jsonl")


def share_seen(line: dict[str, Any]) -> float:
    """Numbers seen for each pixel of the canvas; scales count as they come, so that it may exceed one."""
    config = TABLE[line["env_id"]]
    channels = 3 if "cifar10" in (config.dataset, line["env"].get("dataset", "")[:7]) else 1
    size = line["env"].get("canvas_size", config.canvas_size)
    return float(line["pixels"] / (channels * size**2))


def on_dataset(line: dict[str, Any]) -> str:
    """What a table adds to the name where the images are not the id's own, as CIFAR-10's JPEG copy: or ""."""
    dataset = dataset_of(line["env_id"], line["env"])
    return "" if dataset == TABLE[line["env_id"]].dataset else f" on {dataset}"


def dataset_of(env_id: str, env: Mapping[str, Any]) -> str:
    """The data set of `env_id` with keywords `env`."""
    keywords = {"dataset": "mnist", **gymnasium.spec(env_id).kwargs, **env}
    return str(keywords["dataset"])


VARIANTS = ("task", "distractors", "distractor_size", "canvas_size")  # keywords that make another problem


def problem(line: dict[str, Any]) -> str:
    """What a line was scored on: the id, and what its environment changes of the id's problem."""
    changed = [f"{key}={line['env'][key]}" for key in VARIANTS if key in line["env"]]
    return " ".join([line["env_id"], *changed])


def on_problem(latest: dict[str, dict[str, Any]], name: str) -> dict[str, dict[str, Any]]:
    """Those of the lines, by experiment, that are errors on the test scenes of one `problem`."""
    return {
        experiment: line
        for experiment, line in latest.items()
        if problem(line) == name and line["metric"] == "test_error"
    }


def taught_by(experiment: str) -> str:
    """What an experiment learned from beside the labels of its own scenes, for the tables."""
    settings = EXPERIMENTS.get(experiment)
    if settings is None:
        return "–"
    boxes = " and boxes" if isinstance(settings, Supervised) and settings.theta_weight > 0 else ""
    return f"labels{boxes}" + (f", from {settings.init}" if settings.init else "")


def table(lines: list[dict[str, Any]], best_first: bool = False) -> str:
    """A Markdown table, a row an experiment in their order: the latest figure of each seed and mode.

    One seed's interval is that of its test scenes (Wilson); of several seeds the row has the mean and
    Student's interval over seeds.
    """
    rows: dict[str, dict[str, dict[int, dict[str, Any]]]] = {}
    for line in lines:
        if line["metric"] != "test_error":
            continue
        rows.setdefault(line["experiment"], {}).setdefault(line["mode"], {})[line["seed"]] = line
    out = [
        "| experiment | sees | taught by | glimpses | pixels | of canvas | parameters | minutes | seeds "
        "| paper | best public | test error % [95 % interval] | one sample | mean of 10 |",
        "|---|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    order = {name: i for i, name in enumerate(EXPERIMENTS)}
    names = sorted(rows, key=lambda name: order.get(name, len(order)))
    if best_first:
        names.sort(key=lambda name: mean_and_interval(list(rows[name]["deterministic"].values()))[0])
    for experiment in names:
        modes = rows[experiment]
        seeds = modes["deterministic"]
        line = next(iter(seeds.values()))
        value, (low, high) = mean_and_interval(list(seeds.values()))
        sampled, mc10 = (
            f"{mean_and_interval(list(modes[mode].values()))[0]:.2f}" if mode in modes else "–"
            for mode in ("sampled", "mc10")
        )
        paper, public = (
            f"{known[experiment]:.2f}" if experiment in known else "–" for known in (PAPER, BEST_PUBLIC)
        )
        minutes = statistics.mean(line["minutes"] for line in seeds.values())
        out.append(
            f"| {experiment}{on_dataset(line)} "
            f"| {line['sees']}{' + context' if line['env'].get('context') else ''} "
            f"| {taught_by(experiment)} | {line['glimpses'] or '–'} | {line['pixels']:,} "
            f"| {100 * share_seen(line):.0f} % | {line['parameters']:,} | {minutes:.0f} | {len(seeds)} "
            f"| {paper} | {public} | **{value:.2f}** [{low:.2f}, {high:.2f}] | {sampled} | {mc10} |"
        )
    return "\n".join(out)


def ablation_table(lines: list[dict[str, Any]]) -> str:
    """A Markdown table of the ablations, best first: the latest of each, and what it changes of the base."""
    latest = {line["experiment"]: line for line in lines if is_ablation(line["experiment"])}
    base = dataclasses.asdict(EXPERIMENTS["ablation-base"])
    out = [
        "| ablation | changes | images | minutes | validation error % [95 % interval] |",
        "|---|---|---:|---:|---:|",
    ]
    for name, line in sorted(latest.items(), key=lambda item: item[1]["value"]):
        settings = EXPERIMENTS[name]
        own = dataclasses.asdict(settings)
        changes = [f"{key} {own[key]}" for key in own if own[key] != base[key] and key != "images_per_epoch"]
        low, high = line["ci95"]
        out.append(
            f"| {name.removeprefix('ablation-')} | {', '.join(changes) or '–'} "
            f"| {settings.epochs * settings.images_per_epoch:,} | {line['minutes']:.1f} "
            f"| **{line['value']:.2f}** [{low:.2f}, {high:.2f}] |"
        )
    return "\n".join(out)


def nats_table(lines: list[dict[str, Any]]) -> str:
    """A Markdown table of DRAW's losses in nats a picture: the latest of each, and whether it is a bound.

    The paper's have 64 steps and Larochelle's binarised MNIST; ours are drawn anew (BINARY_SEED).
    """
    latest = {line["experiment"]: line for line in lines if line["metric"] in ("nats", "cross_entropy")}
    out = [
        "| experiment | pixels | steps | parameters | minutes | paper, 64 steps | nats [95 % interval] |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for name, line in latest.items():
        paper = f"{PAPER[name]:.2f}" if name in PAPER else "–"
        low, high = line["ci95"]
        out.append(
            f"| {name}{on_dataset(line)} | {'binary' if line['metric'] == 'nats' else 'shades: no bound'} "
            f"| {line['glimpses']} | {line['parameters']:,} | {line['minutes']:.0f} | {paper} "
            f"| **{line['value']:.2f}** [{low:.2f}, {high:.2f}] |"
        )
    return "\n".join(out)


STUDENT = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776}  # 97.5 % quantile of t for so many seeds, one less free


def mean_and_interval(seeds: list[dict[str, Any]]) -> tuple[float, tuple[float, float]]:
    """The mean of up to five seeds' figures with a 95 % interval; one seed has that of its scenes."""
    values = [line["value"] for line in seeds]
    mean = statistics.mean(values)
    if len(values) == 1:
        return mean, tuple(seeds[0]["ci95"])
    if len(values) not in STUDENT:
        raise ValueError(
            f"intervals are for up to {max(STUDENT)} seeds, got {len(values)}: extend results.STUDENT"
        )
    half = STUDENT[len(values)] * statistics.stdev(values) / math.sqrt(len(values))
    return mean, (max(0.0, mean - half), mean + half)


def over_seeds(lines: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The latest deterministic figure of each experiment: its first seed's line, value and ci95 over all."""
    seeds: dict[str, dict[int, dict[str, Any]]] = {}
    for line in lines:
        if line["mode"] == "deterministic":
            seeds.setdefault(line["experiment"], {})[line["seed"]] = line
    merged = {}
    for experiment, by_seed in seeds.items():
        value, interval = mean_and_interval(list(by_seed.values()))
        merged[experiment] = {**by_seed[min(by_seed)], "value": value, "ci95": interval}
    return merged


def find_checkpoint(source: str, seed: int = 1) -> Path:
    """The best checkpoint that `source` names: a file, a run folder or a published experiment.

    Raises ValueError for what is none of them.
    """
    path = Path(source)
    if path.is_dir():
        return path / "best.safetensors"
    if path.is_file() or path.suffix == ".safetensors":
        return path
    published = pretrained_path(source, seed)
    if source not in EXPERIMENTS and not published.exists():
        raise ValueError(
            f"{source!r} is no run folder, no checkpoint and no experiment{did_you_mean(source, EXPERIMENTS)}"
        )
    return published


def training_minutes(path: Path, config: dict[str, Any]) -> float:
    """Minutes that a checkpoint with `config` took, with those of the one that it started from."""
    return config.get("training_minutes") or config.get("init_minutes", 0.0) + runs.minutes(path.parent)


def _commit() -> str:
    try:
        command = ["git", "describe", "--always", "--dirty", "--abbrev=10"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _machine() -> str:
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    return f"{model}, {os.cpu_count()} cores"
