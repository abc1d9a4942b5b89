"""How sentences are judged (agents/learn/metrics.py), and its word vectors (agents/learn/vectors.py)."""

from __future__ import annotations

import math

import numpy as np
import pytest

from agents.learn import metrics, vectors
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
