"""Make docs/: a page and a picture for each id, a page for each paper, `python scripts/docs.py [--pictures]`.

Pages are made from the registry, the environment's own spaces, the docstrings of agents/experiments and
results.jsonl; a test holds them to it. `--pictures` also films a random episode of each id (needs the data).
"""

from __future__ import annotations

import argparse
import inspect
from types import ModuleType

import docs_ids as ids
import terminal

from agents.experiments import MODULES, ablations, controls, demo, memory, reading, xu2015
from agents.learn.files import write
from agents.report import results, tables
from glimpse_env.data.files import DatasetError
from glimpse_env.registry import TABLE

PAPERS = [module for module in MODULES if module not in (controls, ablations, memory, reading, demo)]
PICTURES = {
    "mnih2014": [("glimpses.png", "Error by number of glimpses, ours and the paper's")],
    "larochelle2010": [
        ("fixation-rbm.png", "The machine adds up seven glimpses of a nine; the bars are what it believes")
    ],
    "ba2015": [("dram-pairs.png", "DRAM looks at the eight, then at the four")],
    "gregor2015": [("draw.png", "DRAW dreams of four digits, a row each, through the yellow window")],
    "sentences": [
        (
            "translation.png",
            "Attention goes to each word in turn; the eye reads ahead and remembers the rest",
        ),
        ("reading.gif", "An eye that sees five word pieces at a time reads, and translates as it reads"),
        ("alignment.png", "Attention on names of numbers, whose parts change order"),
        ("lengths.png", "BLEU by the length of the sentence"),
        ("parse.png", "parse-luong says a tree, and looks at one word after the other"),
    ],
    "xu2015": [
        (
            "soft-digits.png",
            "Each word looks after hearing the one before: a digit is looked at while it is named",
        )
    ],
    "ablavatski2017": [("edram-house.png", "EDRAM reads a house number through its windows")],
}
COLUMNS_OF_CAPTIONS = """Captions of photographs and of clip art are found by a beam search with five
beams; "greedy" takes the most probable word each time. A look is an attention over N places: its entropy
is ln N where all count alike (3.89 for the 49 places of Flickr8k, 5.28 for the 196 of CoDraw) and 0
where one counts alone, and its travel is from the place that counts most to the next word's. "Words on
target" (the pointing game) are those that name a digit while the place that counts most lies in that
digit's box; "a word before" counts instead whether the look of the word before it, such as "an" in "an
eight", was already in that digit's box; house numbers have no such words, and are low there. For CoDraw
the table has the share of attention that lies in the box of the thing that a word names, once in people's
captions, each word being given those before it, and once in the captioner's own. In the former it must look
before it is told the word, and cannot know which thing a person will name. "Of one look" is the highest share
that a single fixed place could reach, chosen with the boxes known. Intervals of looks and of attention take
all words as independent, which those about one picture are not, and are somewhat too narrow."""
METRICS_AND_PEOPLE = """METEOR is that of version 1.5 without its table of paraphrases; CIDEr is 100 times
CIDEr-D, whose maximum is 10. People's row is the mean over the five captions of a picture, each against
the other four; the neighbours' is that caption of the twelve training pictures most like it which is most
like the others of them. Both are of Flickr8k, as are all rows but soft-codraw, which compares with none.

## Metrics against people

Kendall's tau_c, in percent, with what three experts say of 5,664 captions of Flickr8k, each beside a
picture that it was not written for (`python scripts/judge.py`). Published figures are those of Hessel et
al. (2021). Word vectors, and how rare a word is, are learned from Flickr8k's training captions;
"combined" is the sum of the ranks of CIDEr and of the weighted word vectors."""


def main(arguments: list[str]) -> None:
    """Write every page, and with --pictures every film."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", action="store_true")
    parser.add_argument(
        "--bounds", action="store_true", help="print what is known of every id, write nothing"
    )
    options = parser.parse_args(arguments)
    if options.bounds:
        print(ids.bounds())
        return
    for env_id in TABLE:
        if options.pictures:
            ids.film(env_id)
        path = ids.page_path(env_id)
        write(path, ids.page(env_id))
        print(f"wrote {path}")
    for module in PAPERS:
        path = ids.DOCS / f"{group_of(module)}.md"
        write(path, paper_page(module))
        print(f"wrote {path}")


def group_of(module: ModuleType) -> str:
    """The name of a module of agents/experiments."""
    return module.__name__.rpartition(".")[2]


def paper_page(module: ModuleType) -> str:
    """The page of a paper, Markdown: what its module says, our rows beside the paper's, the film if any."""
    title, _, about = inspect.cleandoc(module.__doc__ or "").partition("\n")
    lines = results.read()
    names = [f"{name}{both}" for name in module.EXPERIMENTS for both in ("", "-both")]
    mine = [line for line in lines if line["experiment"] in names]
    parts = [f"# {title.rstrip('.')}", about.strip()]
    parts += [f"![{text}]({name})\n\n*{text}.*" for name, text in PICTURES.get(group_of(module), ())]
    parts += [
        "## Rows",
        "[results/RESULTS.md](../results/RESULTS.md) explains the columns.",
    ]
    if any(line["metric"] == "test_error" for line in mine):
        parts.append(tables.table(mine))
    if any(line["metric"] in ("nats", "cross_entropy") for line in mine):
        parts.append(tables.nats_table(mine))
    if any(line["metric"] in tables.TEXT_COLUMNS for line in mine):
        parts.append(tables.sentence_table(mine))
    if module is xu2015:
        judged = results.read(results.JUDGEMENTS, ())
        parts += [
            COLUMNS_OF_CAPTIONS,
            tables.caption_table(mine, judged),
            METRICS_AND_PEOPLE,
            tables.judgement_table(judged),
        ]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    terminal.run(main, (DatasetError, ValueError))
