"""Compare metrics of captions with what people say: `python scripts/judge.py` prints Kendall's tau_c.

`--publish` keeps the figures in results/judgements.jsonl, which docs/captions.md is printed from.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from agents.learn.files import write
from agents.report import judgements, results
from glimpse_env.data.files import DatasetError

RESULTS = Path(__file__).resolve().parents[1] / "results" / "judgements.jsonl"


def main(arguments: list[str]) -> None:
    """Score every metric, print, and keep the figures where asked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--publish", action="store_true", help="keep the figures")
    options = parser.parse_args(arguments)
    judged = judgements.load()
    lines = []
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
        write(RESULTS, "".join(json.dumps(line) + "\n" for line in lines))
        print(f"wrote {RESULTS}")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except (DatasetError, OSError) as error:
        sys.exit(f"judge.py: {error}")
