"""Print the table of results/results.jsonl as Markdown; `--write README.md` puts it between its markers.

`--picture FILE.png` draws RAM's error against its glimpses, beside the paper's.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np

from agents import results
from agents.experiments import EXPERIMENTS
from agents.ppo import horizon_of

BEGIN, END = "<!-- report.py: begin -->", "<!-- report.py: end -->"


def main(arguments: list[str]) -> None:
    """Parse, make the table, print or write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=results.RESULTS)
    parser.add_argument("--write", type=Path, help=f"a file with the lines {BEGIN} and {END}")
    parser.add_argument("--picture", type=Path, help="a PNG to draw the error by glimpses to")
    options = parser.parse_args(arguments)
    lines = results.read(options.results)
    if options.picture is not None:
        draw_glimpses(lines, options.picture)
        return
    table = results.table(lines)
    if options.write is None:
        print(table)
        return
    text = options.write.read_text()
    if BEGIN not in text or END not in text:
        raise ValueError(f"{options.write} has no lines {BEGIN} and {END}: add them")
    before, rest = text.split(BEGIN, 1)
    temporary = options.write.with_name(options.write.name + ".tmp")
    temporary.write_text(f"{before}{BEGIN}\n{table}\n{END}{rest.split(END, 1)[1]}")
    os.replace(temporary, options.write)


SCENES = ("mnist", "translated", "cluttered", "cluttered100")


def by_glimpses(lines: list[dict[str, Any]], scene: str) -> dict[int, dict[str, Any]]:
    """The latest deterministic line of RAM on `scene` at each budget of glimpses."""
    mine = [line for line in lines if line["mode"] == "deterministic"]
    named = re.compile(rf"ram-{scene}(-g\d+)?")
    found = {line["glimpses"]: line for line in mine if named.fullmatch(line["experiment"])}
    return dict(sorted(found.items()))


def draw_glimpses(lines: list[dict[str, Any]], path: Path) -> None:
    """Draw a panel a scene: error in percent by glimpses, ours with its interval and the paper's."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, len(SCENES), figsize=(12, 3.2), layout="constrained")
    for panel, scene in zip(panels, SCENES, strict=True):
        ours = by_glimpses(lines, scene)
        paper = {
            horizon_of(EXPERIMENTS[name].env_id, EXPERIMENTS[name].env): error
            for name, error in results.PAPER.items()
            if re.fullmatch(rf"ram-{scene}(-g\d+)?", name)
        }
        panel.plot(*zip(*sorted(paper.items()), strict=True), "s--", color="0.55", label="Mnih et al. (2014)")
        value = np.array([line["value"] for line in ours.values()])
        bounds = np.array([line["ci95"] for line in ours.values()]).reshape(-1, 2).T
        panel.errorbar(list(ours), value, abs(bounds - value), fmt="o-", capsize=3, label="ours, 95 %")
        panel.set(title=f"ram-{scene}", xlabel="glimpses")
        panel.set_ylim(0, 1.1 * panel.get_ylim()[1])
        panel.xaxis.get_major_locator().set_params(integer=True)
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("test error, %")
    panels[0].legend(frameon=False)
    temporary = path.with_name(path.name + ".tmp")
    figure.savefig(temporary, format="png", dpi=110)
    pyplot.close(figure)
    os.replace(temporary, path)
    print(f"wrote {path}")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except (OSError, ValueError) as error:
        sys.exit(f"report.py: {error}")
