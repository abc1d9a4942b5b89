"""Print the table of results/results.jsonl as Markdown; `--write README.md` puts it between its markers."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from agents import results

BEGIN, END = "<!-- report.py: begin -->", "<!-- report.py: end -->"


def main(arguments: list[str]) -> None:
    """Parse, make the table, print or write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=results.RESULTS)
    parser.add_argument("--write", type=Path, help=f"a file with the lines {BEGIN} and {END}")
    options = parser.parse_args(arguments)
    table = results.table(results.read(options.results))
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


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except (OSError, ValueError) as error:
        sys.exit(f"report.py: {error}")
