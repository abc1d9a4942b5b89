"""A parse tree that was said: in the terminal, or as a PNG above what each of its symbols looked at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib

from agents.learn.files import write_whole
from agents.show.alignment import Aligned
from glimpse_env.data.trees import LEAVES, brackets

matplotlib.use("Agg")
from matplotlib import pyplot


class Node(NamedTuple):
    """A bracket with what is in it, or a word: then there is nothing in it and `place` is where it stands."""

    name: str
    children: tuple[Node, ...]
    place: int = -1

    @property
    def height(self) -> int:
        """How many brackets lie above each other in it."""
        return 1 + max(child.height for child in self.children) if self.children else 0

    @property
    def middle(self) -> float:
        """The mean of the middles of its first and its last child; of a word, its place."""
        if len(self.children) < 2:
            return self.children[0].middle if self.children else float(self.place)
        return (self.children[0].middle + self.children[-1].middle) / 2


def grown(words: Sequence[str], symbols: Sequence[str]) -> Node | None:
    """The tree that symbols say of a sentence, or None where they are no tree of it."""
    if brackets(symbols, [LEAVES[0]] * len(words)) is None:
        return None
    coming = iter(enumerate(words))

    def children(rest: Iterator[str]) -> Iterator[Node]:
        for symbol in rest:
            if symbol in LEAVES:
                place, word = next(coming)
                yield Node(word, (), place)
            elif symbol[0] == "(":
                yield Node(symbol[1:], tuple(children(rest)))
            else:
                return

    (top,) = children(iter(symbols))
    return top


def in_terminal(tree: Node, before: str = "") -> str:
    """A line a bracket or word, what is in it below it and further right."""
    lines = [tree.name]
    for i, child in enumerate(tree.children):
        last = i + 1 == len(tree.children)
        lines.append(
            f"{before}{'└─' if last else '├─'} {in_terminal(child, before + ('   ' if last else '│  '))}"
        )
    return "\n".join(lines)


def save(path: Path, aligned: Aligned, tree: Node) -> None:
    """Write the tree over its words, and below them which of them each symbol looked at, as a PNG."""
    words, symbols = len(aligned.read), len(aligned.said)
    figure, (above, below) = pyplot.subplots(
        2,
        1,
        sharex=True,
        figsize=(max(0.75 * words + 1.6, 5), 0.42 * tree.height + 0.2 * symbols + 2),
        gridspec_kw={"height_ratios": [0.42 * tree.height + 0.8, 0.2 * symbols]},
        layout="constrained",
    )

    def draw(node: Node) -> None:
        above.text(
            node.middle, node.height, node.name, ha="center", va="center", fontsize=10,
            color="tab:blue" if node.children else "black",
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5},
        )  # fmt: skip
        for child in node.children:
            above.plot(  # slanted for one row, then straight down: a longer slant could cross other brackets
                [node.middle, child.middle, child.middle],
                [node.height, node.height - 1, child.height],
                color="0.7",
                linewidth=1,
                zorder=0,
            )
            draw(child)

    draw(tree)
    above.set(ylim=(-0.5, tree.height + 0.5))
    above.axis("off")
    below.imshow(aligned.weights, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    below.set_xticks([])
    below.set_yticks(range(symbols), aligned.said, fontsize=7)
    below.tick_params(length=0)
    write_whole(path, lambda file: figure.savefig(file, dpi=110, format="png"))
    pyplot.close(figure)
