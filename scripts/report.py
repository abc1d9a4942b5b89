"""Print the table of results/results.jsonl as Markdown; `--write FILE` puts it between its markers there.

`--pictures FOLDER` draws errors by glimpses, pixels and minutes, first looks, belief and scan paths.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from agents import results, runs
from agents.checkpoint import CheckpointError
from glimpse_env.files import DatasetError
from glimpse_env.registry import TABLE


def main(arguments: list[str]) -> None:
    """Parse, make the table, print or write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=results.RESULTS)
    parser.add_argument("--write", type=Path, help="a file with the lines <!-- report.py: begin --> and end")
    parser.add_argument("--papers", action="store_true", help="only rows that a paper has a figure for")
    parser.add_argument("--on", metavar="ID", choices=TABLE, help="all agents on one id, best first")
    parser.add_argument("--ablations", action="store_true", help="what each choice is worth, on validation")
    parser.add_argument("--nats", action="store_true", help="what draws pictures")
    parser.add_argument("--pictures", type=Path, help="a folder to draw the pictures to")
    options = parser.parse_args(arguments)
    lines = results.read(options.results)
    if options.papers:
        lines = [line for line in lines if line["experiment"] in results.PAPER]
    if options.pictures is not None:
        from agents.plots import draw_all  # matplotlib and torch load when something is drawn

        options.pictures.mkdir(parents=True, exist_ok=True)
        for path in draw_all(lines, options.pictures):
            print(f"wrote {path}")
        return
    which = "report.py"
    if options.ablations:
        which, table = f"{which} --ablations", results.ablation_table(lines)
    elif options.nats:
        which, table = f"{which} --nats", results.nats_table(lines)
    elif options.on is not None:
        there = results.on_problem({line["experiment"]: line for line in lines}, options.on)
        lines = [line for line in lines if line["experiment"] in there]
        which, table = f"{which} --on {options.on}", results.table(lines, best_first=True)
    else:
        which, table = f"{which}{' --papers' * options.papers}", results.table(lines)
    if options.write is None:
        print(table)
        return
    begin, end = f"<!-- {which}: begin -->", f"<!-- {which}: end -->"
    text = options.write.read_text()
    before, found, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise ValueError(f"{options.write} has no line {begin} with {end} below it: add them")
    runs.write(options.write, f"{before}{begin}\n{table}\n{end}{after}")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except (CheckpointError, DatasetError, OSError, ValueError) as error:
        sys.exit(f"report.py: {error}")
