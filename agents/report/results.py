"""results.jsonl: one line an evaluated run, and the checkpoints and metrics that are published with it."""

from __future__ import annotations

import json
import math
import os
import platform
import statistics
import subprocess
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import gymnasium
import torch
from torch import Tensor

from agents import checks
from agents.agent import SequenceSpec, count_parameters, device_of
from agents.experiments import EXPERIMENTS, Experiment
from agents.learn import run
from agents.learn.envs import single_env
from agents.learn.evaluate import Evaluation, Mode
from agents.learn.files import locked, parsed, write
from agents.learn.loop import Scorer
from agents.models.draw import DRAWSettings
from glimpse_env.checks import did_you_mean
from glimpse_env.registry import SCENES_WITHOUT_DATA

Line = dict[str, Any]
ROOT = Path(__file__).resolve().parents[2]
HOME = ROOT / "results"  # from wherever a script is called
RESULTS, PRETRAINED, METRICS = HOME / "results.jsonl", HOME / "pretrained", HOME / "metrics"
JUDGEMENTS = HOME / "judgements.jsonl"  # of scripts/judge.py
LARGEST = 3 * 2**20 - 2**14  # bytes of a published checkpoint's weights, its config beside them
WORDS = "answer_names"  # where a published captioner's config has the words that it says
VARIANTS = (
    "task",
    "distractors",
    "distractor_size",
    "canvas_size",
    "length",
    "pair",
    "units",
)  # keywords that make another problem

# What a reader of results.jsonl needs of every line.
KEYS = {"experiment", "env_id", "env", "agent", "sees", "seed", "metric", "value", "ci95", "mode", "glimpses"}
KEYS |= {"pixels", "share", "parameters", "minutes"}


def result_line(
    name: str,
    experiment: Experiment,
    agent: Any,
    mode: Mode,
    evaluation: Evaluation,
    minutes: float,
    split: str = "test",
) -> Line:
    """One line of results.jsonl: what was measured, on what, at what cost, by which commit.

    pixels: the numbers that the agent saw; share: for each number of the canvas.
    """
    looks, pixels, canvas = seen_by(experiment, agent, split)
    return {
        "experiment": name,
        "env_id": experiment.env_id,
        "env": experiment.env,
        "agent": type(agent).__name__,
        "sees": agent.sees,
        "seed": experiment.seed,
        "commit": commit(),
        "metric": metric_of(experiment, split, mode),
        "value": round(evaluation.error, 6),
        "ci95": [round(bound, 6) for bound in evaluation.ci95],
        "scenes": evaluation.scenes,
        "mode": mode,
        "glimpses": looks,
        "pixels": pixels,
        "share": round(pixels / canvas, 4),
        "parameters": count_parameters(agent),
        "minutes": round(minutes, 1),
        "threads": torch.get_num_threads(),
        "device": device_of(agent).type,
        "machine": machine(),
    }


def metric_of(experiment: Experiment, split: str, mode: Mode) -> str:
    """What a line measures: an error in percent, or what the learner says."""
    if isinstance(experiment.learner, Scorer):
        return experiment.learner.metric(experiment.task, mode)
    return f"{split}_error"


def seen_by(experiment: Experiment, agent: Any, split: str) -> tuple[int, int, int]:
    """How often an agent looks, how many numbers it sees, and how many there are."""
    if isinstance(experiment.spec(), SequenceSpec):
        numbers = agent.spec.length * (1 if agent.spec.symbols else agent.spec.inputs)
        return 0, numbers, numbers
    env = single_env(experiment.env_id, experiment.env, split=split).vector
    canvas = math.prod(env.world.canvas_shape)
    views: Any = env.single_observation_space
    looks = env.horizon - (env.start_gaze == "blind")
    seen = looks * math.prod(views["retina"].shape)
    if "context" in views.spaces:
        seen += math.prod(views["context"].shape)
    if isinstance(experiment.model, DRAWSettings):
        looks = experiment.model.steps
    return looks if agent.looks else 0, seen if agent.sees == "glimpses" else canvas, canvas


def append(lines: list[Line], path: Path = RESULTS) -> None:
    """Add lines that are not there; the file is replaced as a whole, and whoever else adds lines waits.

    Who was killed after adding them, and begins again, adds nothing twice.
    """
    with locked(path):
        before = path.read_text(encoding="utf-8") if path.exists() else ""
        if before and not before.endswith("\n"):  # as some editors leave it
            before += "\n"
        there = set(before.splitlines())
        new = [text for text in map(json.dumps, lines) if text not in there]
        write(path, before + "".join(text + "\n" for text in new))


def read(path: Path = RESULTS, keys: Collection[str] = KEYS) -> list[Line]:
    """All lines; ValueError naming the first that is not a JSON object with these keys, of a result."""
    lines = []
    for number, text in enumerate(path.read_bytes().splitlines(), 1):
        try:
            line = parsed(text)
        except ValueError:  # no JSON, or no UTF-8
            line = None
        if not (isinstance(line, dict) and line.keys() >= set(keys) and _is_told(line)):
            raise ValueError(
                f"line {number} of {path} is not a JSON object with {', '.join(sorted(keys))}, each of its "
                "kind: restore the file"
            )
        lines.append(line)
    return lines


def _is_told(line: Line) -> bool:
    """Whether what stands in a line is of the kind that its key says, and finite where it is a number."""
    finite = checks.finite
    kinds: dict[str, Callable[[Any], bool]] = {
        **dict.fromkeys(("value", "minutes", "share", "seed", "pixels", "parameters"), finite),
        **dict.fromkeys(
            ("experiment", "env_id", "agent", "sees", "metric", "mode", "folder"), lambda v: type(v) is str
        ),
        **dict.fromkeys(("env", "settings"), lambda v: type(v) is dict),
        "ci95": lambda v: isinstance(v, list) and len(v) == 2 and all(map(finite, v)),
    }
    return all(holds(line[key]) for key, holds in kinds.items() if key in line)


def split_of(name: str) -> str:
    """The frozen scenes that an experiment is scored on: of an ablation, which one chooses by, validation."""
    return "validation" if name in EXPERIMENTS and EXPERIMENTS[name].group == "ablations" else "test"


def check_publishable(name: str, experiment: Experiment) -> None:
    """Raise ValueError unless this is, but for the seed, the experiment `name`."""
    own = EXPERIMENTS.get(name)
    if own is None or not own.same_recipe(experiment):
        raise ValueError(f"this run's settings are not those of {name!r}: retrain it, or name the experiment")


def pretrained_path(name: str, seed: int) -> Path:
    """Where the published checkpoint of an experiment is kept; seed 1 has the plain name."""
    return PRETRAINED / (f"{name}.safetensors" if seed == 1 else f"{name}-s{seed}.safetensors")


def metrics_path(name: str, seed: int) -> Path:
    """Where the metrics of a published run are kept, a line an epoch."""
    return METRICS / (pretrained_path(name, seed).stem + ".jsonl")


def compact(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights as they are published: in float16."""
    return {name: t.half() if t.dtype == torch.float32 else t for name, t in tensors.items()}


def on_dataset(line: Line) -> str:
    """What a table adds to the name where the images are not the id's own, as CIFAR-10's JPEG copy: or ""."""
    dataset = dataset_of(line["env_id"], line["env"])
    return "" if dataset == dataset_of(line["env_id"], {}) else f" on {dataset}"


def dataset_of(env_id: str, env: Mapping[str, Any]) -> str:
    """The data set of `env_id` with keywords `env`, or the kind of its scenes where they have none."""
    try:
        own = gymnasium.spec(env_id).kwargs
    except gymnasium.error.Error as error:
        raise ValueError(
            f"a result is of {env_id!r}, which is no environment ({error}): restore the file"
        ) from None
    keywords = {"dataset": "mnist", **own, **env}
    if keywords.get("scene") in SCENES_WITHOUT_DATA:
        return str(keywords["scene"])
    return str(keywords["dataset"])


def problem(line: Line) -> str:
    """What a line was scored on: the id, and what its environment changes of the id's problem."""
    changed = [f"{key}={line['env'][key]}" for key in VARIANTS if key in line["env"]]
    return " ".join([line["env_id"], *changed])


def with_errors_on(lines: list[Line], name: str) -> list[Line]:
    """All lines of the experiments whose errors on the test scenes of one `problem` are among them."""
    there = {line["experiment"] for line in lines if problem(line) == name and line["metric"] == "test_error"}
    return [line for line in lines if line["experiment"] in there]


def on_problem(latest: dict[str, Line], name: str) -> dict[str, Line]:
    """Those of the lines, by experiment, that are errors on the test scenes of one `problem`."""
    return {
        experiment: line
        for experiment, line in latest.items()
        if problem(line) == name and line["metric"] == "test_error"
    }


STUDENT = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776}  # 97.5 % quantile of t for so many seeds, one less free


def mean_and_interval(seeds: list[Line]) -> tuple[float, tuple[float, float]]:
    """The mean of up to five seeds' figures with a 95 % interval; one seed has that of its scenes."""
    values = [line["value"] for line in seeds]
    mean = statistics.mean(values)
    if len(values) == 1:
        low, high = seeds[0]["ci95"]
        return mean, (low, high)
    if len(values) not in STUDENT:
        raise ValueError(
            f"intervals are for up to {max(STUDENT)} seeds, got {len(values)}: extend results.STUDENT"
        )
    half = STUDENT[len(values)] * statistics.stdev(values) / math.sqrt(len(values))
    most = 100.0 if seeds[0].get("metric") in ("test_error", "validation_error") else math.inf
    return mean, (max(0.0, mean - half), min(most, mean + half))


def over_seeds(lines: list[Line]) -> Line:
    """The first of the lines of several seeds, with their mean figure, its interval and the mean minutes."""
    value, interval = mean_and_interval(lines)
    minutes = statistics.mean(line["minutes"] for line in lines)
    return {**lines[0], "value": value, "ci95": interval, "minutes": minutes, "seeds": len(lines)}


def latest_over_seeds(lines: list[Line]) -> dict[str, Line]:
    """The latest deterministic figures of each experiment, over its seeds."""
    seeds: dict[str, dict[int, Line]] = {}
    for line in lines:
        if line["mode"] == "deterministic":
            seeds.setdefault(line["experiment"], {})[line["seed"]] = line
    return {experiment: over_seeds(list(by_seed.values())) for experiment, by_seed in seeds.items()}


def find_checkpoint(source: str, seed: int = 1, others: Sequence[str] = ()) -> Path:
    """The best checkpoint that `source` names: a file, a run folder or an experiment.

    An experiment's is the published one, else that of its run here. others: further names that the user may
    have meant. Raises ValueError for what is none of these, and for an experiment that has neither.
    """
    path = Path(source)
    if source and path.is_dir():  # "" is no name, though its path is this folder's
        return path / run.BEST
    if path.is_file() or path.suffix == ".safetensors":
        return path
    published = pretrained_path(source, seed)
    if not published.exists():
        own = Path("runs") / f"{source}-s{seed}" / run.BEST
        if source in EXPERIMENTS and own.is_file():
            return own
        if source in EXPERIMENTS:
            which = source if seed == 1 else f"{source} --seed {seed}"
            raise ValueError(
                f"no checkpoint of {which} is published: `python scripts/train.py {which}` makes one"
            )
        meant = did_you_mean(source, [*others, *EXPERIMENTS])
        raise ValueError(f"{source!r} is no run folder, no checkpoint and no experiment{meant}")
    return published


def training_minutes(path: Path, config: dict[str, Any]) -> float:
    """Minutes that a checkpoint with `config` took, with those of the one that it started from."""
    published = config.get("training_minutes")
    return float(published or config.get("init_minutes", 0.0) + run.minutes(path.parent))


def commit() -> str:
    """The commit of this project, whatever folder a script is called in; "unknown" outside a checkout.

    It ends in "-dirty" where files were changed that git knows, but for those of results/: a row that was
    published a moment ago changes nothing of the next.
    """

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(ROOT), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!results")
        return git("rev-parse", "--short=10", "HEAD") + ("-dirty" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def machine() -> str:
    """The processor, or the GPU, and the number of cores."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    return f"{model}, {os.cpu_count()} cores"
