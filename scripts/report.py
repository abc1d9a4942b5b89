"""Print the table of results/results.jsonl as Markdown; `--write FILE` puts it between FILE's markers.

`--pictures FOLDER` draws errors by glimpses, pixels and minutes, first looks, belief and scan paths.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import terminal

from agents.experiments import EXPERIMENTS, MODULES
from agents.learn.checkpoint import CheckpointError
from agents.learn.files import write_whole
from agents.report import results, tables
from glimpse_env.data.files import DatasetError
from glimpse_env.registry import TABLE


def main(arguments: list[str]) -> None:
    """Parse, make the table, print or write it."""
    groups = [module.__name__.rpartition(".")[2] for module in MODULES]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=results.RESULTS)
    parser.add_argument("--write", type=Path, help="put the table into this file, between its markers")
    parser.add_argument("--papers", action="store_true", help="print only rows that a paper has a figure for")
    parser.add_argument("--group", choices=groups, help="print only rows of one module of agents/experiments")
    one = parser.add_mutually_exclusive_group()
    one.add_argument("--best", action="store_true", help="print the best row of each task")
    one.add_argument("--on", metavar="ID", choices=TABLE, help="print all agents on one id, best first")
    one.add_argument("--ablations", action="store_true", help="print what each choice is worth")
    one.add_argument("--nats", action="store_true", help="print the models that draw pictures, in nats")
    one.add_argument("--memory", action="store_true", help="print what recurrent cores remember")
    one.add_argument("--sentences", action="store_true", help="print how well agents translate, parse, read")
    one.add_argument("--captions", action="store_true", help="print how well agents describe pictures")
    one.add_argument("--pictures", type=Path, help="draw the pictures into this folder")
    options = parser.parse_args(arguments)
    if options.pictures is not None and options.write is not None:
        raise ValueError("--pictures writes its own files: leave out --write")
    lines = results.read(options.results)
    if options.papers:
        lines = [line for line in lines if getattr(EXPERIMENTS.get(line["experiment"]), "paper", None)]
    if options.group:
        named = {name for name, experiment in EXPERIMENTS.items() if experiment.group == options.group}
        lines = [line for line in lines if line["experiment"].removesuffix("-both") in named]
    if not lines:
        raise ValueError(f"{options.results} has no such results: there is nothing to show")
    if options.pictures is not None:
        from agents.report.plots import draw_all  # matplotlib and torch load when something is drawn

        options.pictures.mkdir(parents=True, exist_ok=True)
        for path in draw_all(lines, options.pictures):
            print(f"wrote {path}")
        return
    which = f"report.py{' --papers' * options.papers}{f' --group {options.group}' if options.group else ''}"
    if options.ablations:
        which, table = f"{which} --ablations", tables.ablation_table(lines)
    elif options.nats:
        which, table = f"{which} --nats", tables.nats_table(lines)
    elif options.sentences:
        which, table = f"{which} --sentences", tables.sentence_table(lines)
    elif options.captions:
        judged = results.read(results.JUDGEMENTS, ())
        which = f"{which} --captions"
        table = f"{tables.caption_table(lines, judged)}\n\n{tables.judgement_table(judged)}"
    elif options.memory:
        from agents.report import memory

        which = f"{which} --memory"
        table = f"{memory.memory_tables(lines)}\n\n{memory.stages('char-lstm')}"
    elif options.on is not None:
        which = f"{which} --on {options.on}"
        table = tables.table(results.with_errors_on(lines, options.on), best_first=True)
    elif options.best:
        which, table = f"{which} --best", tables.best_table(lines)
    else:
        table = tables.table(lines)
    told = [line for line in table.splitlines() if line.startswith("|")]
    if len(told) <= 2 * sum(line.startswith("|---") for line in told):  # heads and rulers alone
        raise ValueError(f"{options.results} has no results for this table: there is nothing to show")
    if options.write is None:
        print(table)
        return
    begin, end = f"<!-- {which}: begin -->", f"<!-- {which}: end -->"
    try:
        text = options.write.read_bytes().decode("utf-8")  # its line ends as they are
    except UnicodeDecodeError as error:
        raise ValueError(f"{options.write} is not UTF-8 (byte {error.start}): convert it") from None
    before, found, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise ValueError(f"{options.write} has no line {begin} with {end} below it: add them")
    inside = f"{begin}\n{table}\n{end}"
    if "\r\n" in text:
        inside = inside.replace("\n", "\r\n")
    write_whole(options.write, lambda file: file.write_bytes(f"{before}{inside}{after}".encode()))


if __name__ == "__main__":
    terminal.run(main, (CheckpointError, DatasetError, ValueError))
