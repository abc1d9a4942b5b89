"""Sentences: names of numbers, pairs and their pieces, and the two worlds that are made of them."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from num2words import num2words

import glimpse_env
from glimpse_env import scores
from glimpse_env.data import numbers, pairs, units
from glimpse_env.data.files import DatasetError
from glimpse_env.data.pieces import Pieces
from glimpse_env.data.units import WordUnits
from glimpse_env.worlds.numbers import NumberWorld
from glimpse_env.worlds.sentences import SentenceWorld

NUMBERS, TRANSLATE = "Glimpse/NumberNames-v0", "Glimpse/Translate-v0"
OFFLINE = {"dataset": "number-names", "pair": "de-en"}


def some_numbers() -> list[int]:
    drawn = np.random.default_rng(0).integers(0, 10 ** np.arange(3, 10)[:, None], (7, 300))
    return [*range(1100), *drawn.ravel().tolist(), numbers.MOST - 1]


@pytest.mark.parametrize("language", ["en", "de"])
def test_names_are_num2words_own(language: str) -> None:
    made = numbers.names(language)
    for number in some_numbers():
        assert made.of(number) == numbers.spell(num2words(number, lang=language), language)


def test_a_name_spelled_and_written_is_the_same_word() -> None:
    world = NumberWorld("train", 18)
    for number in some_numbers():
        assert world.write(numbers.names("de").of(number)) == num2words(number, lang="de")
        typed = num2words(number, lang="de").title().replace("ß", "ss")
        assert tuple(world.answers_of(typed)) == numbers.names("de").of(number)


SMALL = {num2words(number): number for number in range(100)}


def value(words: list[str]) -> int:
    """What an English name says, by adding up: an independent way back."""
    total = group = 0
    for word in words:
        if word == "hundred":
            group *= 100
        elif word in ("thousand", "million"):
            total += group * {"thousand": 1000, "million": 1_000_000}[word]
            group = 0
        elif word != "and":
            group += SMALL[word]
    return total + group


def numbers_of(split: str, count: int, **reset: Any) -> list[int]:
    env: Any = gymnasium.make_vec(NUMBERS, count, "vector_entry_point", split=split)
    env.reset(**reset)
    scenes, world = env.present_scenes(), env.world
    found = []
    for canvas, target in zip(scenes.canvas, scenes.target, strict=True):
        number = value([world.tokens[i] for i in canvas if i])
        ends = target.tolist().index(env.task.end)
        assert world.write(target[:ends]) == num2words(number, lang="de")
        assert (target[ends + 1 :] == -1).all()
        found.append(number)
    return found


def test_no_number_is_in_two_splits() -> None:
    train = set(numbers_of("train", 1000, seed=0))
    test = set(numbers_of("test", 600, options={"index": 0}))
    validation = set(numbers_of("validation", 600, options={"index": 0}))
    assert not train & test
    assert not train & validation
    assert not test & validation
    assert min(test | validation) >= 1000
    assert min(train) < 10
    lengths = np.bincount([len(str(n)) for n in test])[4:]
    np.testing.assert_allclose(lengths, len(test) / 6, rtol=0.25)  # of four to nine digits, alike likely


def test_frozen_sentences_are_the_pairs_in_their_order() -> None:
    env: Any = gymnasium.make_vec(TRANSLATE, 5, "vector_entry_point", split="test", **OFFLINE)
    assert env.num_scenes == 500
    env.reset(options={"index": 490})
    scenes, world = env.present_scenes(), env.world
    texts = pairs.load("number-names", "de-en", "test")
    for row in range(5):
        source = [int(i) - 1 for i in scenes.canvas[row] if i]
        target = [int(i) for i in scenes.target[row] if i >= 0]
        assert world.write(source) == texts.source[490 + row]
        assert target[-1] == env.task.end
        assert world.write(target[:-1]) == texts.target[490 + row]


def test_who_says_the_sentence_is_paid() -> None:
    env: Any = gymnasium.make_vec(TRANSLATE, 3, "vector_entry_point", split="test", **OFFLINE)
    env.reset(options={"index": 0})
    target = env.present_scenes().target
    paid, ended = np.zeros(3), np.zeros(3, bool)
    for t in range(target.shape[1]):
        answer = np.where(target[:, t] < 0, 0, target[:, t])
        answer[2] = 5 if t == 0 else answer[2]  # the last row says one word wrong
        observation, reward, terminated, *_ = env.step(
            {"gaze": np.zeros((3, 1), np.float32), "answer": answer}
        )
        paid += reward * ~ended
        ended |= terminated
        if ended.all():
            break
        np.testing.assert_array_equal(observation["said"][~ended, 0], answer[~ended])
    assert paid.tolist() == [1, 1, 0]


def test_pieces_that_come_out_otherwise_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def learn() -> None:
        train = pairs.load("number-names", "en-de", "train")
        pairs._learned.__wrapped__(train, "pieces", "number-names", "en-de")

    learn()  # as the installed version learns them
    monkeypatch.setattr(pairs, "Pieces", lambda texts, most: Pieces(texts, 600))
    with pytest.raises(DatasetError, match="learns other word pieces of number-names"):
        learn()


@pytest.mark.parametrize("text", ["zwei Hunde", "日本語 und 한국어", "🙂", "a\tb"])
def test_every_text_has_pieces(text: str) -> None:
    vocabulary = pairs.vocabulary_of("number-names", "de-en")
    assert vocabulary.decode(vocabulary.encode([text])[0]) == text
    twin = Pieces(["one two", "two three"], 300)
    assert twin.names == Pieces(["one two", "two three"], 300).names


TEXTS = ["the cat sat .", "the dog sat , twice", "a  cat, and 12 dogs"]


@pytest.mark.parametrize("text", ["the cat sat .", "The zebra's", "日本 cat 🙂", ""])
def test_a_mixed_text_is_spelled_and_put_together_again(text: str) -> None:
    vocabulary = WordUnits(TEXTS, 400, spelled=True)
    assert vocabulary.decode(vocabulary.encode([text])[0]) == text


def test_words_are_kept_spelled_or_unknown() -> None:
    spelled, plain = WordUnits(TEXTS, 315, spelled=True), WordUnits(TEXTS, 4, spelled=False)
    assert plain.names == ("▁�", "▁cat", "▁sat", "▁the")  # of those that occur twice, in their order
    assert [plain.names[i] for i in plain.encode(["the cat ran"])[0]] == ["▁the", "▁cat", "▁�"]
    assert plain.decode(plain.encode(["the cat ran"])[0]) == "the cat �"
    assert [spelled.names[i] for i in spelled.encode(["the tac"])[0]] == [
        "▁the", "<B>▁", "<M>t", "<M>a", "<E>c",
    ]  # fmt: skip
    assert [spelled.names[i] for i in spelled.encode(["é"])[0]] == ["<B>▁", "<0xC3>", "<0xA9>"]
    assert len(spelled.names) == 315
    assert units.split("a b,c  d") == ["▁a", "▁b", ",", "c", "▁d"]
    assert spelled.encode(["", " the  cat "]) == [[], spelled.encode(["the cat"])[0]]


@pytest.mark.parametrize("kind", ["words", "mixed"])
def test_an_environment_in_other_units(kind: str) -> None:
    env: Any = gymnasium.make_vec(
        TRANSLATE, 4, "vector_entry_point", split="test", units=kind, canvas_size=200, horizon=201, **OFFLINE
    )
    env.reset(options={"index": 5})
    texts = pairs.load("number-names", "de-en", "test")
    for row, canvas in enumerate(env.present_scenes().canvas):
        read = env.world.write([int(i) - 1 for i in canvas if i])
        source = texts.source[5 + row]
        known = set(units.split(read)) - {units.UNKNOWN}
        assert read == source if kind == "mixed" else known <= set(units.split(source))
    with pytest.raises(ValueError, match="units must be one of"):
        gymnasium.make(TRANSLATE, units="letters", **OFFLINE)
    with pytest.raises(ValueError, match="has units of its own"):
        gymnasium.make(NUMBERS, units="words")


def test_numbers_of_the_pairs_differ_between_splits() -> None:
    sides = [
        set(pairs.load("number-names", "en-de", split).source) for split in ("train", "validation", "test")
    ]
    assert len(sides[0] | sides[1] | sides[2]) == sum(map(len, sides)) == 4000


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "pairs.tsv"
    lines = [f"ein Hund {i}\ta dog {i}" for i in range(20)]
    path.write_text("\n".join(lines), encoding="utf-8")
    assert [len(pairs.load(f"file:{path}", "", s).source) for s in ("train", "validation", "test")] == [
        14,
        2,
        4,
    ]
    env: Any = gymnasium.make(TRANSLATE, dataset=f"file:{path}", pair="", canvas_size=12, horizon=13)
    env.reset(seed=0)
    named = tmp_path / "named.tsv"
    named.write_text("a\tb\ttrain\nc\td\ttest\ne\tf\tvalidation\n", encoding="utf-8-sig")
    assert pairs.load(f"file:{named}", "", "test") == (("c",), ("d",))


def test_ones_own_sentences_in_a_line(tmp_path: Path) -> None:
    source, target = [f"猫が{i}匹" for i in range(20)], [f"{i} кошек" for i in range(20)]
    env: Any = glimpse_env.make_custom(source, target)
    vector = env.unwrapped.vector
    assert vector.horizon == vector.world.canvas_shape[0] + 1
    env.reset(seed=0)
    shown = [int(i) - 1 for i in vector.present_scenes().canvas[0] if i]
    assert vector.world.write(shown) in source
    assert glimpse_env.make_custom(source, target).spec.id == env.spec.id
    assert glimpse_env.make_custom(np.array(source), np.array(target)).spec.id == env.spec.id
    with pytest.raises(ValueError, match="canvas_size must be an integer of at least 1, got None"):
        glimpse_env.make_custom(source, target, canvas_size=None)
    envs: Any = glimpse_env.make_custom(
        source,
        target,
        test=(["犬"], ["пёс"]),
        validation=(["鳥"], ["птица"]),
        num_envs=2,
        split="test",
        canvas_size=9,
    )
    envs.reset(options={"index": [0, 0]})
    assert envs.unwrapped.num_scenes == 1
    assert envs.unwrapped.horizon == 10
    path = tmp_path / "pairs.tsv"
    path.write_text("".join(f"{a}\t{b}\n" for a, b in zip(source, target, strict=True)), encoding="utf-8")
    assert glimpse_env.make_custom(path).unwrapped.vector.world.source.shape[0] == 14


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ((["a", "b"], ["c"]), "as many sentences on both sides, got 2 and 1"),
        ((["a"], None), "need labels"),
        ((["a", " "], ["b", "c"]), "sentence 2 must be a line of text"),
        ((["a\nb"], ["c"]), "must be a line of text"),
        ((["a\tb"], ["c"]), "no tab"),
    ],
)
def test_bad_sentences_are_named(given: tuple[Any, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        glimpse_env.make_custom(*given)
    with pytest.raises(ValueError, match="both to validate and to test"):
        glimpse_env.make_custom(["a"], ["b"], test=(["a"], ["b"]))


def test_a_sentence_is_paid_by_how_good_it_is() -> None:
    """chrF by hand, of three and four letters: n-grams up to three, of which recall counts four times."""
    assert scores.chrf("abcd", ["abcd"]) == 1
    assert scores.chrf("", ["abcd"]) == scores.chrf("xyz", ["abcd"]) == 0
    right, said, whole = np.array([3, 2, 1]), np.array([3, 2, 1]), np.array([4, 3, 2])
    precision, recall = (right / said).mean(), (right / whole).mean()
    by_hand = 5 * precision * recall / (4 * precision + recall)
    assert scores.chrf("abc", ["abcd"]) == pytest.approx(by_hand)
    assert scores.chrf("abc", ["xyz", "abcd"]) == pytest.approx(by_hand)  # the closest counts
    env: Any = gymnasium.make(TRANSLATE, split="test", reward="score", step_cost=0.01, **OFFLINE)
    env.reset(options={"index": 3})
    target = [int(i) for i in env.unwrapped.vector.present_scenes().target[0] if i >= 0]
    gaze, rewards = np.zeros(1, np.float32), []
    said_words = [*target[:-2], target[-1]]  # all but the last piece
    for word in said_words:
        rewards.append(env.step({"gaze": gaze, "answer": word})[1])
    world = env.unwrapped.vector.world
    expected = scores.chrf(world.write(said_words[:-1]), [world.write(target[:-1])])
    assert 0.3 < expected < 1
    assert rewards == pytest.approx([-0.01] * (len(said_words) - 1) + [expected - 0.01])
    looking: Any = gymnasium.make(TRANSLATE, split="test", reward="score", early_answer=True, **OFFLINE)
    looking.reset(options={"index": 3})
    look, paid, ended = len(looking.unwrapped.vector.answer_names) - 1, 0.0, False
    for word in [*target[:-1], *[look] * looking.unwrapped.vector.horizon]:  # says all but END, and looks on
        if not ended:
            _, reward, ended, _, _ = looking.step({"gaze": gaze, "answer": word})
            paid += reward
    assert ended
    assert paid == 0
    with pytest.raises(ValueError, match="reward 'score' is of sentences"):
        gymnasium.make("Glimpse/Lookup-v0", reward="score")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"one\tzwei\nthree\n", "line 2 of .*two sentences with a tab"),
        (b"one\tzwei\n\t\n", "line 2 of"),
        (b"one\tzwei\tdev\n", "names the split 'dev'"),
        (b"one\tzwei\n", "no pairs in its validation split"),
        (b"\xff\xfe\n", "not UTF-8"),
    ],
)
def test_bad_files_are_named(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "bad.tsv"
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=says):
        pairs.load(f"file:{path}", "", "train")


def test_other_faults_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DatasetError, match="no file"):
        pairs.load(f"file:{tmp_path / 'none'}", "", "train")
    with pytest.raises(ValueError, match="did you mean 'multi30k'"):
        pairs.load("multi3k", "de-en", "train")
    with pytest.raises(ValueError, match="pair must be one of"):
        pairs.load("multi30k", "de-de", "train")
    with pytest.raises(ValueError, match="a file has its own two languages: pass pair=''"):
        pairs.load("file:x", "de-en", "train")
    with pytest.raises(DatasetError, match="raise canvas_size"):
        SentenceWorld("number-names", "de-en", "train", 5)
    with pytest.raises(ValueError, match="canvas_size must be an integer from 18"):
        gymnasium.make(NUMBERS, canvas_size=17)
    with pytest.raises(ValueError, match="leave out pair"):
        gymnasium.make(NUMBERS, pair="de-en")
    with pytest.raises(DatasetError, match="no word pieces"):
        Pieces([""], 100)
    folder = tmp_path / "multi30k"
    folder.mkdir()
    (folder / "train.fr.gz").write_bytes(gzip.compress(b"un chien\n"))
    monkeypatch.setenv("GLIMPSE_DATA", str(tmp_path))
    with pytest.raises(DatasetError, match=r"train.fr.gz has the wrong SHA-256"):
        pairs.load("multi30k", "fr-en", "train")
