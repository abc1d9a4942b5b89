"""Trees: what a line says, brackets counted by hand, the world, well-formed answers."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import gymnasium
import imageio.v3 as iio
import numpy as np
import pytest
import torch
from conftest import needs_data
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from agents.agent import Spec
from agents.experiments import EXPERIMENTS
from agents.learn import metrics
from agents.learn.judging import judged, world_of
from agents.learn.loop import Loop, Task
from agents.learn.pools import Texts
from agents.learn.sentences import HardLooks, TeacherForcing, translate
from agents.learn.swaps import Swaps
from agents.models.seq2seq import Seq2SeqSettings
from agents.parts import beam, brackets
from agents.show import alignment
from agents.show import tree as show_tree
from glimpse_env.data import trees, words
from glimpse_env.data.files import DatasetError
from glimpse_env.worlds.trees import TreeWorld

PARSE = "Glimpse/Parse-v0"
OFFLINE: dict[str, Any] = {"dataset": "grammar"}
EYE = "(ROOT (S (NP-SBJ (DT The) (NN eye)) (VP (VBZ moves) (PRT (RP on))) (. .)))"


def test_a_line_becomes_words_and_symbols() -> None:
    tree = trees.parse(EYE)
    assert tree.words == ("The", "eye", "moves", "on", ".")
    assert " ".join(tree.symbols) == "(S (NP XX XX ) (VP XX (ADVP XX ) ) . )"
    assert tree.parts == ("DT", "NN", "VBZ", "RP", ".")
    assert trees.parse("( (S (UH Yes)))") == (("Yes",), ("(S", "XX", ")"), ("UH",))
    assert trees.parse("(ROOT (UH Yes))") == (("Yes",), ("XX",), ("UH",))
    several = ("(ROOT", "(NP", "XX", ")", "(VP", "XX", ")", ")")  # a root of several stays, to hold them
    assert trees.parse("(ROOT (NP (NN a)) (VP (VB b)))").symbols == several


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("(S (NP (NN a))", "not closed"),
        ("(S (NN a)) )", "outside"),
        ("(S (NN a b))", "brackets of its own"),
        ("", "no words"),
        ("(S ())", "no label"),
        ("word", "outside"),
        ("(ROOT (NP (DT a))) (ROOT (NP (DT b)))", "more than one tree"),
        ("(S (DT a)) (S (DT b))", "more than one tree"),
        ("(NN a) (NN b)", "more than one tree"),
        ("(S (NP ) (VP (VBZ runs)))", "holds no word"),
    ],
)
def test_what_is_no_tree_is_named(line: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        trees.parse(line)


def counts(said: str, right: str) -> tuple[int, int, int]:
    return trees.matched(said.split(), right.split())


def test_brackets_counted_by_hand() -> None:
    right = "(S (NP XX XX ) (VP XX (NP XX ) ) . )"  # S 0-4, NP 0-2, VP 2-4, NP 3-4
    assert counts(right, right) == (4, 4, 4)
    assert counts("(S (NP XX XX ) (VP XX XX ) . )", right) == (3, 3, 4)
    assert counts("(S (NP XX ) (VP XX XX (NP XX ) ) . )", right) == (2, 4, 4)
    # The mark counts for nothing: a bracket may close before or after it, and around it alone is none.
    assert counts("(S (NP XX XX ) (VP XX (NP XX ) . ) )", right) == (4, 4, 4)
    assert counts("(S (NP XX XX ) (VP XX (NP XX ) ) (NP . ) )", right) == (4, 4, 4)
    # Of the same bracket twice, as many agree as both have.
    twice = "(S (NP (NP XX ) ) (VP XX ) )"
    assert counts(twice, twice) == (4, 4, 4)
    assert counts("(S (NP XX ) (VP XX ) )", twice) == (3, 3, 4)
    # What is no tree of this sentence has none.
    for broken in (
        "(S (NP XX XX ) XX XX . ) )",
        "(S XX XX XX . )",
        "(S XX XX XX XX .",
        "",
        "(S (NP ) )",
    ):
        assert counts(broken, right) == (0, 0, 4)


def test_f1_by_hand() -> None:
    table = np.array([[4, 4, 4], [3, 3, 4], [0, 0, 2]])
    assert metrics.plain_f1(table) == pytest.approx(100 * 2 * 7 / (7 + 10))
    found = metrics.f1(np.tile([3, 4, 5], (50, 1)))
    assert found.error == found.ci95[0] == found.ci95[1] == pytest.approx(100 * 6 / 9)
    assert found.scenes == 50


def spans(line: str) -> Counter[tuple[str, str]]:
    """The labels and the words of all brackets, by reading the line with a stack of its own."""
    found: Counter[tuple[str, str]] = Counter()
    stack: list[tuple[str, list[str]]] = []
    for label, leaf, word, close in re.findall(r"\((\S+) (?=\()|\((\S+) ([^()]+)\)|(\))", line):
        if label:
            stack.append((re.split("[-=]", label)[0], []))
        elif leaf and leaf not in (",", ":", ".", "``", "''"):
            for _, inner in stack:
                inner.append(word)
        elif close:
            name, inner = stack.pop()
            if name != "ROOT" and inner:
                found[name, " ".join(inner)] += 1
    return found


def test_brackets_are_those_of_another_reader() -> None:
    for tree in trees.load("grammar", "test")[:200]:
        own = trees.brackets(tree.symbols, [s for s in tree.symbols if s in trees.LEAVES])
        spoken = [
            word
            for word, leaf in zip(tree.words, (s for s in tree.symbols if s in trees.LEAVES), strict=True)
            if leaf == "XX"
        ]
        assert own is not None
        named = Counter({(label, " ".join(spoken[a:b]), a): n for (label, a, b), n in own.items()})
        line, word = "(ROOT ", iter(tree.words)
        for symbol in tree.symbols:
            if symbol in trees.LEAVES:
                line += f"({'NN' if symbol == 'XX' else '.'} {next(word)}) "
            else:
                line = line + f"{symbol} " if symbol[0] == "(" else line.rstrip() + ") "
        theirs = spans(line.rstrip() + ")")
        ours: Counter[tuple[str, str]] = Counter()
        for (label, text, _), n in named.items():
            ours[label, text] += n
        assert ours == theirs


def test_unknown_words_are_read_as_classes() -> None:
    lexicon = words.Lexicon([["the", "Eye", "sees", "the", "Eye", "once"]])
    read = {
        "The": "the", "Eye": "Eye", "eye": "<a>", "once": "<a>", "Running": "<Aing>", "12": "<number>",
        "x2": "<mixed>", "?!": "<mark>",
    }  # fmt: skip
    assert [lexicon.names[i] for i in lexicon.encode(list(read))] == list(read.values())
    assert lexicon.seen[lexicon.encode(["the"])[0]] == 2


def test_frozen_scenes_are_the_trees_and_training_hides_rare_words() -> None:
    env: Any = gymnasium.make_vec(PARSE, 20, "vector_entry_point", split="test", **OFFLINE)
    env.reset(options={"index": 100})
    scenes, world = env.present_scenes(), env.world
    for row, tree in enumerate(trees.load("grammar", "test")[100:120]):
        assert [world.tokens[i] for i in scenes.canvas[row] if i] == list(tree.words)
        said = [int(i) for i in scenes.target[row] if i >= 0]
        assert said[-1] == env.task.end
        assert world.write(said[:-1]) == " ".join(tree.symbols)
        assert world.answers_of(" ".join(tree.symbols)) == said[:-1]
    assert (world.hidden == 0).all()
    train: Any = gymnasium.make_vec(PARSE, 500, "vector_entry_point", **OFFLINE)
    world = train.world
    the = world.encode("the")[0]
    assert world.hidden[the + 1] == 0.1 / (1 + world.lexicon.seen[the] / 20)
    assert world.hidden[: len(words.CLASSES) + 1].max() <= 0.1
    train.reset(seed=0)
    before = train.present_scenes().canvas
    world.hidden = np.full(len(world.hidden), 0.3)
    train.reset(seed=0)
    after = train.present_scenes().canvas
    read, changed = before > 0, before != after
    assert changed[read].mean() == pytest.approx(0.3, abs=0.02)
    assert (after[changed] == world.of_class[before[changed]]).all()
    again = " ".join(world.tokens[i] for i in scenes.canvas[0] if i)
    assert world.encode(again) == [i - 1 for i in scenes.canvas[0] if i]


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("(S XX (NP XX ) )", {("S", 0, 2): 1, ("NP", 1, 2): 1}),
        ("XX (NP XX )", None),  # a word outside
        ("(NP XX ) (NP XX )", None),  # two trees
        ("(NP XX XX ) )", None),
        ("(NP XX XX", None),
        ("(NP XX )", None),  # a word left out
        ("(NP XX XX XX )", None),
        ("(NP (NP ) XX XX )", None),
        ("", None),
    ],
)
def test_a_tree_is_one_bracket_with_all_words(
    said: str, found: dict[tuple[str, int, int], int] | None
) -> None:
    assert trees.brackets(said.split(), ["XX", "XX"]) == found


def test_a_tree_is_paid_by_its_brackets() -> None:
    env: Any = gymnasium.make_vec(PARSE, 2, "vector_entry_point", split="test", reward="score", **OFFLINE)
    env.reset(options={"index": 3})
    target = env.present_scenes().target
    paid, ended = np.zeros(2), np.zeros(2, bool)
    for t in range(target.shape[1]):
        answer = target[:, t].clip(0)
        if t == 0:
            answer[1] = 0  # a word too many
        _, reward, terminated, *_ = env.step({"gaze": np.zeros((2, 1), np.float32), "answer": answer})
        paid += reward * ~ended
        ended |= terminated
        if ended.all():
            break
    assert paid.tolist() == [1, 0]


class Anything:
    """A speaker whose scores are drawn, whatever it hears."""

    def __init__(self, answers: int, seed: int) -> None:
        self.generator, self.answers = torch.Generator().manual_seed(seed), answers

    def read(self, canvas: Tensor) -> dict[str, Any]:
        return {"there": canvas > 0, "weights": torch.zeros(canvas.shape)}

    def say(self, heard: Tensor, state: dict[str, Any]) -> tuple[Tensor, dict[str, Any]]:
        return 3 * torch.randn(len(heard), self.answers, generator=self.generator), state


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 9), st.integers(0, 1000), st.integers(1, 4), st.integers(0, 30) | st.just(400))
def test_well_formed_answers_are_trees_of_the_sentence(
    length: int, seed: int, beams: int, spare: int
) -> None:
    labels, most = 4, length + 3 + spare  # one bracket around all, and END
    speaker = brackets.WellFormed(Anything(2 + labels + 2, seed), 2, labels, most)
    canvas = torch.zeros(3, 10, dtype=torch.long)
    canvas[:, :length] = 1
    names = ["XX", ".", *(f"({i}" for i in range(labels)), ")"]
    for answer in beam.search(speaker, canvas, 2 + labels + 1, most, beams=beams):
        symbols = [names[i] for i in answer]
        assert trees.brackets(symbols, ["XX"] * length) is not None


def test_dead_beams_leave_the_others_alone() -> None:
    """The search ends when it has what it wants, and finds what listing all answers of a text finds."""

    class Table(Anything):
        calls = 0

        def say(self, heard: Tensor, state: dict[str, Any]) -> tuple[Tensor, dict[str, Any]]:
            self.calls += 1
            state = {**state, "step": state.get("step", heard * 0) + 1}
            return table[heard, state["step"].clamp_max(5)], state

    table = torch.randn(6, 6, 5, generator=torch.Generator().manual_seed(0))  # one leaf kind, one label, END
    speaker = Table(5, 0)
    constrained = brackets.WellFormed(speaker, 2, 1, 30)
    canvas = torch.ones(1, 1, dtype=torch.long)
    (found,) = beam.search(constrained, canvas, 4, 30, beams=5)
    assert speaker.calls < 12

    def value(answer: list[int]) -> float:
        heard, total = 0, 0.0
        state = constrained.read(canvas)
        for word in [*answer, 4]:
            scores, state = constrained.say(torch.tensor([heard]), state)
            total += float(scores.log_softmax(-1)[0, word])
            heard = word + 1
        return total / ((5 + len(answer) + 1) / 6)

    answers = [[2] * n + [leaf] + [3] * n for n in range(4) for leaf in (0, 1)]
    assert value(found) == pytest.approx(max(map(value, answers)), abs=1e-4)


def test_typed_words_are_cut_as_the_treebank_cuts_them() -> None:
    assert words.treebank_words("The dog's tail isn't 3,000 well-known U.S. miles (long).") == [
        "The", "dog", "'s", "tail", "is", "n't", "3,000", "well", "-", "known", "U.S.", "miles",
        "-LRB-", "long", "-RRB-", ".",
    ]  # fmt: skip
    assert words.treebank_words("@entity3 can’t.") == ["@entity3", "ca", "n't", "."]


def test_the_pointer_shows_the_next_word() -> None:
    spec = Spec((5,), (20,), 9, (), 12, 12, 30, 1)
    torch.manual_seed(0)
    model = Seq2SeqSettings(hidden=16, embedding=12, pointer=2, tied=False).build(spec).eval()
    canvas = torch.zeros(1, 20, dtype=torch.long)
    canvas[0, :4] = torch.tensor([3, 4, 5, 6])
    state = model.read(canvas)
    keys = state["keys"][0]
    heard = torch.tensor(
        [[0, 3, 1, 2, 5, 1, 1, 1]]
    )  # nothing, a bracket, two leaves, a bracket, three leaves
    seen, named = model._hear(heard, state)
    assert named is not None
    assert named.tolist() == [[0, 0, 1, 2, 2, 3, 4, 5]]
    for step, place in enumerate([0, 0, 1, 2, 2, 3, None, None]):
        expected = torch.zeros(16) if place is None else keys[place]
        torch.testing.assert_close(seen[0, step, 12:], expected)


def test_trees_are_scored_as_they_are_said() -> None:
    task = Task(PARSE, OFFLINE, Loop(), 1)
    world = world_of(task, "validation")
    assert isinstance(world, TreeWorld)
    right = [[int(i) for i in row if i >= 0] for row in world.target]
    assert judged(world, right).error == 100
    assert judged(world, [[]] * len(right)).error == 0
    half = [one if i % 2 else [] for i, one in enumerate(right)]
    table = np.array([world.matched(one, one) for one in right]).sum(1) / 3
    said = table[1::2].sum()
    assert judged(world, half).error == pytest.approx(100 * 2 * said / (said + table.sum()))
    with pytest.raises(ValueError, match="constrained is of trees"):
        translate(
            Seq2SeqSettings(hidden=8, embedding=8).build(Spec((5,), (64,), 1535, (), 65, 65, 1535, 1)),
            Task("Glimpse/Translate-v0", {"dataset": "number-names", "pair": "de-en"}, Loop(), 1),
            "test",
            1,
            constrained=True,
        )
    assert TeacherForcing().metric(task, "beam") == "f1"


@pytest.mark.parametrize(("backward", "paid"), [(True, 1.0), (False, 0.0)])
def test_a_tree_said_backward_is_scored_as_the_tree_it_is(backward: bool, paid: float) -> None:
    """What is right is said from its end on; said from its beginning it is no tree, and earns nothing."""
    env: Any = gymnasium.make(PARSE, **OFFLINE, backward=True, reward="score", glimpses_per_answer=1)
    env.reset(seed=0)
    inner = env.unwrapped.vector
    said = [int(answer) for answer in inner.present_scenes().target[0] if 0 <= answer < inner.task.end]
    reward, terminated = 0.0, False
    for answer in [*(said if backward else reversed(said)), inner.task.end]:
        assert not terminated
        _, reward, terminated, _, _ = env.step({"gaze": np.zeros(1, np.float32), "answer": answer})
    assert terminated
    assert reward == paid


def test_a_tree_is_drawn_over_its_words(tmp_path: Path) -> None:
    read = trees.parse(EYE)
    grown = show_tree.grown(read.words, read.symbols)
    assert grown is not None
    assert show_tree.in_terminal(grown).splitlines() == [
        "S", "├─ NP", "│  ├─ The", "│  └─ eye", "├─ VP", "│  ├─ moves", "│  └─ ADVP", "│     └─ on", "└─ .",
    ]  # fmt: skip
    assert [child.middle for child in grown.children] == [0.5, 2.5, 4]
    assert grown.height == 3
    assert show_tree.grown(read.words, read.symbols[:-1]) is None
    assert show_tree.grown(["a", "b"], ["XX", "(NP", "XX", ")"]) is None  # two trees
    deep = show_tree.grown(["a", "b"], [*["(NP"] * 60, "XX", "XX", *[")"] * 60])
    assert deep is not None
    assert (deep.middle, deep.height) == (0.5, 60)
    looks = np.eye(len(read.symbols) + 1, len(read.words), dtype=np.float32)
    show_tree.save(
        tmp_path / "tree.png", alignment.Aligned(read.words, (*read.symbols, "end"), looks, ""), grown
    )
    assert iio.imread(tmp_path / "tree.png").std() > 10


def test_a_file_of_trees(tmp_path: Path) -> None:
    path = tmp_path / "trees.txt"
    path.write_text("\n".join([EYE] * 10), encoding="utf-8")
    env: Any = gymnasium.make(PARSE, dataset=f"file:{path}", canvas_size=6, horizon=19)
    env.reset(seed=0)
    path = tmp_path / "other.txt"
    path.write_text("\n".join([EYE] * 9 + ["(S (NN a"]), encoding="utf-8")
    with pytest.raises(DatasetError, match=r"line 10 of .* is no tree"):
        gymnasium.make(PARSE, dataset=f"file:{path}")
    path = tmp_path / "few.txt"
    path.write_text(EYE, encoding="utf-8")
    with pytest.raises(DatasetError, match="has 1 lines"):
        gymnasium.make(PARSE, dataset=f"file:{path}")
    path.write_text("", encoding="utf-8")
    with pytest.raises(DatasetError, match="has 0 lines"):
        gymnasium.make(PARSE, dataset=f"file:{tmp_path}/../{tmp_path.name}/few.txt")
    path = tmp_path / "label.txt"
    path.write_text("\n".join([EYE, "(ROOT (X (NN a)))", *[EYE] * 8]), encoding="utf-8")
    with pytest.raises(DatasetError, match="bracket 'X', which is not in training"):
        gymnasium.make(PARSE, dataset=f"file:{path}", split="test")
    with pytest.raises(DatasetError, match="there is no file"):
        gymnasium.make(PARSE, dataset=f"file:{tmp_path}/none.txt")
    with pytest.raises(DatasetError, match="room for 3 and 9: raise canvas_size"):
        gymnasium.make(PARSE, canvas_size=3, horizon=10, **OFFLINE)
    with pytest.raises(ValueError, match="did you mean 'grammar'"):
        gymnasium.make(PARSE, dataset="gramar")


@needs_data("gum_const")
def test_gum_is_what_its_page_says() -> None:
    assert [len(trees.load("gum", split)) for split in ("train", "validation", "test")] == [
        10224,
        1575,
        1464,
    ]
    assert trees.load("gum", "train")[0].words == (
        "Aesthetic",
        "Appreciation",
        "and",
        "Spanish",
        "Art",
        ":",
    )


def test_gum_that_is_missing_says_where_it_should_be(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    trees._gum.cache_clear()
    monkeypatch.setenv("GLIMPSE_DATA", str(tmp_path))
    with pytest.raises(DatasetError, match="dataset='grammar'"):
        trees.load("gum", "test")
    trees._gum.cache_clear()


def test_what_is_no_tree_is_worth_nothing_where_there_is_no_bracket_either(tmp_path: Path) -> None:
    path = tmp_path / "trees.txt"
    path.write_text("(NN eye)\n" * 10, encoding="utf-8")
    world = TreeWorld(f"file:{path}", "test", 5)
    bare = [world.names.index(trees.WORD)]
    assert world.score(bare, [bare]) == 1
    assert world.score([*bare, *bare], [bare]) == 0
    assert world.score([], [bare]) == 0


PART_OF = {word: part for part, several in trees.WORDS.items() for word in several}  # each has one


@pytest.mark.parametrize("reverse", [False, True])
def test_parts_of_speech_are_taught_with_the_words_that_have_them(reverse: bool) -> None:
    task = Task(PARSE, OFFLINE, Loop(batch_size=8), 1)
    world = world_of(task, "train")
    assert world.part_names == tuple(sorted(set(PART_OF.values())))
    experiment = EXPERIMENTS["parse-pointer"].but(
        env=OFFLINE, model={"hidden": 16, "reverse": reverse, "parts": 9}
    )
    torch.manual_seed(0)
    model = experiment.build(experiment.spec()).eval()
    pool = Texts(model, task)
    drawn = pool.batch([3])
    pool.env.close()
    known = 0
    for canvas, parts in zip(drawn.canvas.tolist(), drawn.parts.tolist(), strict=True):
        for word, part in zip(canvas, parts, strict=True):
            assert (word == 0) == (part == -1)
            name = world.tokens[word]
            if name in PART_OF:  # else it is read as its class
                assert world.part_names[part] == PART_OF[name]
                known += 1
    assert known > 20
    _, scores = model.read_parts(drawn.canvas)
    total, words = 0.0, 0
    for row, (canvas, parts) in enumerate(zip(drawn.canvas, drawn.parts, strict=True)):
        long = int((canvas > 0).sum())
        _, alone = model.read_parts(canvas[None, :long])
        torch.testing.assert_close(alone[0], scores[row, :long])
        total -= alone[0].log_softmax(1).gather(1, parts[:long, None]).sum().item()
        words += long
    learner = experiment.learner
    both = learner.loss_with_parts(model, drawn) - learner.loss(model, drawn.canvas, drawn.target)
    assert both.item() == pytest.approx(total / words, rel=1e-4)


def test_swapped_constituents_obey_the_grammar() -> None:
    world = TreeWorld("grammar", "train", 136)
    swaps, generator, changed = Swaps(world), np.random.default_rng(0), 0
    for tree in range(500):
        read, said, parts = (row[tree].copy() for row in (world.source, world.target, world.parts))
        before = said.copy()
        swaps.swap(tree, read, said, parts, generator)
        changed += not np.array_equal(before, said)
        names = [world.names[symbol] for symbol in said if symbol >= 0]
        told = [world.part_names[part] for part in parts if part >= 0]
        assert [len(told)] * 2 == [int((read > 0).sum()), sum(name in trees.LEAVES for name in names)]
        coming, stack = iter(told), list[tuple[str, list[str]]]([("", [])])
        for name in names:
            if name in trees.LEAVES:
                stack[-1][1].append(next(coming))
            elif name != trees.CLOSE:
                stack[-1][1].append(name[1:])
                stack.append((name[1:], []))
            else:
                label, children = stack.pop()
                assert tuple(children) in trees.GRAMMAR[label]
        for word, part in zip(read, told, strict=False):
            assert PART_OF.get(world.tokens[word], part) == part
    assert changed > 200


def test_a_constituent_is_swapped_for_one_of_its_kind(tmp_path: Path) -> None:
    one, two = "(S (NP (DT the) (NN eye)) (VP (VB is)))", "(S (NP (DT a) (JJ big) (NN dog)) (VP (VB is)))"
    path = tmp_path / "trees.txt"
    path.write_text("\n".join([one, two] * 10), encoding="utf-8")
    world = TreeWorld(f"file:{path}", "train", 6)
    swaps, generator = Swaps(world), np.random.default_rng(0)
    world.hidden[:] = 0
    first = world.encode("the eye is")
    tree = next(i for i, row in enumerate(world.source) if row[:3].tolist() == [word + 1 for word in first])
    seen = set()
    for _ in range(50):
        read, said, parts = (row[tree].copy() for row in (world.source, world.target, world.parts))
        swaps.swap(tree, read, said, parts, generator)
        told = " ".join(world.part_names[part] for part in parts if part >= 0)
        seen.add((
            " ".join(world.tokens[word] for word in read if word), world.write(said[said >= 0].tolist()), told
        ))  # fmt: skip
    assert seen == {
        ("the eye is", "(S (NP XX XX ) (VP XX ) )", "DT NN VB"),
        ("a big dog is", "(S (NP XX XX XX ) (VP XX ) )", "DT JJ NN VB"),
    }
    world.hidden[:] = 1
    for _ in range(20):  # what is new is read as its class, what was there as it is
        read, said, parts = (row[tree].copy() for row in (world.source, world.target, world.parts))
        swaps.swap(tree, read, said, parts, generator)
        if (read > 0).sum() == 4:
            assert " ".join(world.tokens[word] for word in read if word) == "<a> <a> <a> is"
    read, said, parts = world.source[tree, :3].copy(), world.target[tree].copy(), world.parts[tree, :3].copy()
    for _ in range(20):  # there is no room for the longer one
        swaps.swap(tree, read, said, parts, generator)
        assert said[said >= 0].tolist() == world.answers_of("(S (NP XX XX ) (VP XX ) )")


def test_training_draws_swapped_trees_and_tells_what_is_none() -> None:
    task = Task(PARSE, OFFLINE, Loop(batch_size=8), 1)
    experiment = EXPERIMENTS["parse-luong"].but(env=OFFLINE, model={"hidden": 8})
    model = experiment.build(experiment.spec())
    world = world_of(task, "train")
    assert isinstance(world, TreeWorld)
    known = {tuple(one[one >= 0].tolist()) for one in world.target}
    for swapped, least, most in ((0.0, 0, 0), (0.9, 50, 256)):
        torch.manual_seed(0)
        pool = Texts(model, task, swapped)
        said = [
            row[row >= 0].tolist()
            for number in range(32)
            for row in pool.batch(None if number else [1]).target
        ]
        pool.env.close()
        assert len(said) == 256
        assert least <= sum(tuple(one[:-1]) not in known for one in said) <= most
    numbers = EXPERIMENTS["luong-numbers"]
    with pytest.raises(ValueError, match="constituents are swapped in trees"):
        TeacherForcing(swapped=0.5).lesson(model, Task(numbers.env_id, {}, Loop(), 1))


def test_pointers_and_parts_of_speech_are_of_trees_and_of_soft_looks() -> None:
    parser = EXPERIMENTS["parse-pointer"].but(env=OFFLINE)
    for experiment, told in (
        (parser.but(model={"parts": 8}), "there are 9 parts of speech: set parts to 9"),
        (EXPERIMENTS["luong-numbers"].but(model={"parts": 9}), "there are 0 parts of speech"),
        (EXPERIMENTS["luong-numbers"].but(model={"pointer": 2}), "pointer is of trees"),
        (parser.but(model={"pointer": 3}), "pointer is of trees, which have 2 kinds of leaves"),
    ):
        model = experiment.build(experiment.spec())
        with pytest.raises(ValueError, match=told):
            experiment.learner.lesson(model, experiment.task)
    with pytest.raises(ValueError, match="set parts to 0"):
        HardLooks().check(Seq2SeqSettings(hard=True, parts=9))


def test_trees_say_which_they_are() -> None:
    env: Any = gymnasium.make_vec(PARSE, 3, "vector_entry_point", split="test", **OFFLINE).unwrapped
    env.reset(options={"index": [4, 0, 7]})
    assert env.items.tolist() == [4, 0, 7]
    env.reset(seed=0)
    symbols = env.world.target[env.items]
    assert (symbols == env.present_scenes().target[:, :-1])[symbols >= 0].all()
