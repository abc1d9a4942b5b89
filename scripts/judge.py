"""What captions of Flickr8k are compared with: `python scripts/judge.py`.

It prints, by the captioners' metrics, how well people describe the test pictures and how well captions of
similar pictures do; then every metric's Kendall tau_c with experts' scores. `--publish` keeps the figures
in results/judgements.jsonl, which docs/xu2015.md is printed from.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import terminal

from agents.learn.files import write
from agents.report import judgements, results
from glimpse_env.data.files import DatasetError


def main(arguments: list[str]) -> None:
    """Score every metric, print, and keep the figures where asked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--publish", action="store_true", help="keep the figures")
    options = parser.parse_args(arguments)
    lines: list[dict[str, Any]] = []
    yardsticks = {"one person": judgements.people, "the consensus of 12 neighbours": judgements.neighbours}
    for who, of in yardsticks.items():
        scored = {name: round(figure.error, 3) for name, figure in of("test").items()}
        print(f"{who}: " + ", ".join(f"{name} {value:.1f}" for name, value in scored.items()))
        lines.append({"who": who, **scored, "commit": results.commit()})
    judged = judgements.load()
    for metric, values in judgements.values_of(judged).items():
        tau = judgements.agreement(values, judged)
        published = judgements.PUBLISHED.get(metric)
        print(f"{metric}: tau_c {tau:.1f}" + (f", published {published}" if published else ""))
        lines.append(
            {
                "metric": metric,
                "tau_c": round(tau, 3),
                "published": published,
                "captions": len(judged),
                "commit": results.commit(),
            }
        )
    if options.publish:
        write(results.JUDGEMENTS, "".join(json.dumps(line) + "\n" for line in lines))
        print(f"wrote {results.JUDGEMENTS}")


if __name__ == "__main__":
    terminal.run(main, (DatasetError,))
