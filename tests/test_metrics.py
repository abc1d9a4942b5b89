"""How sentences are judged (agents/learn/metrics.py), and its word vectors (agents/learn/vectors.py)."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from conftest import needs_data

from agents.learn import meteor, metrics, vectors
from agents.learn.evaluate import Evaluation
from agents.learn.judging import by_length
from glimpse_env.data import pairs
from glimpse_env.worlds.sentences import SentenceWorld


def test_bleu_of_each_length_is_that_of_its_sentences() -> None:
    world = SentenceWorld("number-names", "de-en", "test", 64)
    world.texts = pairs.Pairs(
        tuple(" ".join("x" * n) for n in (8, 9) * 60), tuple(f"one two three four {i}" for i in range(120))
    )
    said = [
        world.encode(text if i % 4 < 2 else "nothing like it") for i, text in enumerate(world.texts.target)
    ]
    found = by_length(world, said)
    assert list(found) == ["up to 8 words", "9 to 11 words"]
    short = [world.write(one) for one in said[::2]]
    assert found["up to 8 words"].error == metrics.plain_bleu(short, world.texts.target[::2])
    assert found["9 to 11 words"].scenes == 60


def test_bleu_by_hand() -> None:
    """4 of 5 words are right, 3 of 4 pairs, 2 of 3 triples, 1 of 2 fours, and the lengths are the same."""
    by_hand = 100 * (4 / 5 * 3 / 4 * 2 / 3 * 1 / 2) ** 0.25
    assert metrics.plain_bleu(["a b c d x"], ["a b c d e"]) == pytest.approx(by_hand)
    same = metrics.bleu(["One dog runs fast here."], ["One dog runs fast here."])
    assert same.error == pytest.approx(100)
    assert metrics.bleu(["ONE DOG RUNS FAST"], ["one dog runs fast"], lowercase=True).error == pytest.approx(
        100
    )
    short = metrics.plain_bleu(["a b c d"], ["a b c d e"])
    assert short == pytest.approx(100 * math.exp(1 - 5 / 4))
    with pytest.raises(ValueError, match="a reference for each"):
        metrics.bleu(["a"], [])


def texts(count: int) -> tuple[list[str], list[str]]:
    """Texts of nine words, many of which are those of their references."""
    rng = np.random.default_rng(0)
    right = rng.choice(list("abcdefgh"), (count, 9))
    other = rng.random((count, 9)) < 0.6 * rng.random((count, 1))
    said = np.where(other, rng.choice(list("abcdefgh"), (count, 9)), right)
    return [" ".join(one) for one in said], [" ".join(one) for one in right]


def half_interval(score: Callable[[list[int]], float], count: int) -> float:
    """Of a score of texts, by the spread that it has over samples of them, drawn with replacement."""
    rng = np.random.default_rng(1)
    return 1.96 * float(np.std([score(rng.integers(count, size=count).tolist()) for _ in range(200)]))


def halves(figure: Evaluation) -> tuple[float, float]:
    low, high = figure.ci95
    middle = (low + high) / 2
    assert abs(middle - figure.error) < (high - low) / 4
    return middle - low, high - middle


def test_intervals_of_bleu_are_those_of_other_samples_of_texts() -> None:
    said, right = texts(50)
    half = half_interval(
        lambda rows: metrics.plain_bleu([said[i] for i in rows], [right[i] for i in rows]), 50
    )
    assert halves(metrics.bleu(said, right)) == pytest.approx((half, half), rel=0.2)
    others = [[one, "a b"] for one in right]
    of_captions = half_interval(
        lambda rows: metrics.caption_bleu([said[i] for i in rows], [others[i] for i in rows]), 50
    )
    assert halves(metrics.bleu_of_captions(said, others)) == pytest.approx((of_captions,) * 2, rel=0.2)


def test_the_interval_of_f1_is_that_of_a_mean_where_all_trees_are_alike_large() -> None:
    """F1 is then the mean over trees of how many of ten brackets agree."""
    agree = np.random.default_rng(0).binomial(10, 0.7, 500)
    found = metrics.f1(np.stack([agree, np.full(500, 10), np.full(500, 10)], 1))
    half = 1.96 * 10 * agree.std() / math.sqrt(500)
    assert found.error == pytest.approx(10 * agree.mean())
    assert halves(found) == pytest.approx((half, half), rel=0.15)


@needs_data("meteor")
def test_the_interval_of_meteor_is_that_of_other_samples_of_captions() -> None:
    said, right = texts(50)
    counts = np.array(
        [meteor.meteor(one.split(), [other.split()]) for one, other in zip(said, right, strict=True)]
    )
    half = half_interval(lambda rows: 100 * meteor.whole(counts[rows]), 50)
    found = metrics.captions(said, [[one] for one in right])["meteor"]
    assert halves(found) == pytest.approx((half, half), rel=0.2)


def test_other_metrics_by_hand_and_by_their_libraries() -> None:
    written, right = ["my cat sat on the mat"], ["my cat sat on a mat"]
    found = metrics.by_other_metrics(written, right)
    assert found["TER"] == pytest.approx(100 / 6)  # one word of six is another
    assert found["ROUGE-L"] == pytest.approx(100 * 5 / 6)
    # Five of six match in two runs: F = P = R = 5/6, and the penalty is half of (2/5)^3.
    assert found["METEOR"] == pytest.approx(100 * 5 / 6 * (1 - 0.5 * (2 / 5) ** 3))
    same = metrics.by_other_metrics(right, right)
    assert {name: round(value, 6) for name, value in same.items() if name != "METEOR"} == {
        "chrF": 100, "TER": 0, "ROUGE-L": 100, "LEPOR": 100,
    }  # fmt: skip


def test_metrics_know_all_letters() -> None:
    found = metrics.by_other_metrics(["ein Mädchen schläft"], ["ein Mädchen schläft"])
    assert found["ROUGE-L"] == pytest.approx(100)


def test_lepor_by_hand() -> None:
    assert metrics.lepor(["a", "b", "c"], ["a", "b", "c"]) == 1
    assert metrics.lepor(["a", "b"], ["c"]) == metrics.lepor([], ["a"]) == 0
    # Two of three words of two: the length's penalty, no distance but 1 - 2/3 and 1/2 - 1/3, P = 1, R = 2/3.
    away = (abs(1 / 2 - 1 / 3) + abs(1 - 2 / 3)) / 2
    expected = math.exp(1 - 3 / 2) * math.exp(-away) * 10 / (9 / (2 / 3) + 1)
    assert metrics.lepor(["a", "b"], ["a", "b", "c"]) == pytest.approx(expected)
    # The second "a" goes with its neighbour, not with the nearer place.
    assert metrics._places(["x", "a", "c"], ["a", "a", "q", "a", "c"])[1] == 3
    turned_round = metrics.lepor(["b", "a"], ["a", "b"])
    assert turned_round == pytest.approx(math.exp(-0.5))


def test_word_vectors_factor_pointwise_information() -> None:
    """Of a and b, who stand together six times of 13 in either order: log(6 * 26 / (7 * 6))."""
    table = vectors.Vectors(["a b"] * 3 + ["b a"] * 3 + ["c d"] * 6 + ["a c"])
    information = np.zeros((4, 4))
    together = {(0, 1): 6, (2, 3): 6, (0, 2): 1}
    total = np.array([7, 6, 7, 6])
    for (i, j), n in together.items():
        information[i, j] = information[j, i] = max(np.log(n * 26 / (total[i] * total[j])), 0)
    u, s, _ = np.linalg.svd(information)
    expected = u * np.sqrt(s)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(table.table @ table.table.T, expected @ expected.T, atol=1e-6)


def test_word_vectors_know_what_stands_in_the_same_places() -> None:
    frames = ["a {} runs over the grass", "the {} sleeps near a tree", "one sees a {} in the park"]
    animals, things = ["dog", "cat"], ["car", "bus"]
    roads = ["a {} drives along the road", "the {} waits at a light", "he parks a {} in town"]
    texts = [f.format(w) for f in frames for w in animals] + [f.format(w) for f in roads for w in things]
    table = vectors.Vectors(texts * 3)

    def like(a: str, b: str) -> float:
        return float((table.of(a) @ table.of(b).T)[0, 0])

    assert like("dog", "cat") > 0.9
    assert like("dog", "cat") > like("dog", "car") + 0.3
    found = table.likeness(["a dog runs"], ["a dog runs"])
    assert {name: round(value, 6) for name, value in found.items()} == {
        "average": 100,
        "extrema": 100,
        "greedy": 100,
        "weighted": 100,
    }
    assert table.likeness(["qqq"], ["a dog"]) == dict.fromkeys(vectors.WAYS, 0)
    a, b = table.of("a dog"), table.of("the cat sleeps")
    each = [[float(x @ y) for y in b] for x in a]
    greedy = (
        np.mean([max(row) for row in each]) + np.mean([max(column) for column in zip(*each, strict=True)])
    ) / 2
    assert table.likeness(["a dog"], ["the cat sleeps"])["greedy"] == pytest.approx(100 * greedy)
    texts *= 3
    rare = [
        [math.log(len(texts) / sum(word in text.split() for text in texts)) for word in one.split()]
        for one in ("a dog", "the cat sleeps")
    ]
    near = [max(row) for row in each], [max(column) for column in zip(*each, strict=True)]
    weighted = np.mean([np.dot(n, r) / sum(r) for n, r in zip(near, rare, strict=True)])
    assert table.likeness(["a dog"], ["the cat sleeps"])["weighted"] == pytest.approx(100 * weighted)
    extreme = [[max(column, key=abs) for column in zip(*rows, strict=True)] for rows in (a, b)]
    cosine = np.dot(*extreme) / np.linalg.norm(extreme[0]) / np.linalg.norm(extreme[1])
    assert table.likeness(["a dog"], ["the cat sleeps"])["extrema"] == pytest.approx(100 * cosine)
