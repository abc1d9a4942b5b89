"""Episodes as one self-contained web page, page.html: frames inside, players of a scene side by side."""

from __future__ import annotations

import base64
import html
import json
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np

from glimpse_env.render import View, draw_frame, name_of, outcome, said
from glimpse_env.render.pen import Frame

MOST_BARS = 13  # so many beliefs are all shown; of more, the highest TOP
TOP = 8


def to_html(episodes: list[tuple[str, list[View]]], together: int = 1) -> str:
    """The page of episodes, each a title and its views; it loads nothing from elsewhere.

    together: so many neighbours are players of one scene; their titles are "player, scene".
    """
    groups = [episodes[i : i + together] for i in range(0, len(episodes), together)]
    data = [
        {
            "title": group[0][0] if together == 1 else group[0][0].rpartition(", ")[2],
            "players": [
                {"name": title.rpartition(", ")[0], "moments": [_moment(view) for view in views]}
                for title, views in group
            ],
        }
        for group in groups
    ]
    names = dict.fromkeys(title.rpartition(", ")[0] for title, _ in episodes)
    heading = episodes[0][0] if together == 1 else " and ".join(names)
    # "</" would end the script element, and "<!--" change how the rest is read.
    text = json.dumps(data).replace("<", "\\u003c")
    page = files("agents.show").joinpath("page.html").read_text(encoding="utf-8")
    filled = {"@TITLE@": html.escape(heading), "@DATA@": text}
    return re.sub("@TITLE@|@DATA@", lambda found: filled[found[0]], page)  # at once: a name may hold either


def write_html(path: Path, episodes: list[tuple[str, list[View]]], together: int = 1) -> None:
    """Write the page to `path`."""
    path.write_text(to_html(episodes, together), encoding="utf-8")


def _moment(view: View) -> dict[str, Any]:
    return {"frame": _png(draw_frame(view)), "words": in_words(view), "belief": _belief(view)}


def _belief(view: View) -> list[tuple[str, float]] | None:
    """The names and probabilities of all answers, or of the likeliest; None without a belief."""
    if view.belief is None:
        return None
    count = len(view.belief)
    shown = range(count) if count <= MOST_BARS else np.argsort(-view.belief, kind="stable")[:TOP].tolist()
    return [(name_of(view.answer_names, i), round(float(view.belief[i]), 4)) for i in shown]


def in_words(view: View) -> str:
    """The moment in a sentence or two, for those who do not see the frame."""
    gaze = ", ".join(f"{round(float(axis), 2) + 0.0:.2f}" for axis in view.path[-1])
    parts = [f"Look {len(view.path)}, at {gaze}."]
    if view.belief is not None:
        best = int(view.belief.argmax())
        parts.append(f"Believes {name_of(view.answer_names, best)}, {100 * float(view.belief[best]):.0f} %.")
    if view.target is not None:
        parts.append(f"At the end: {outcome(view)}.")
    elif view.answers:
        parts.append(f"Has said {said(view, view.answers)}.")
    return " ".join(parts)


def _png(frame: Frame) -> str:
    return base64.b64encode(iio.imwrite("<bytes>", frame, extension=".png")).decode()
