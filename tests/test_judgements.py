"""How metrics of captions agree with people, of made-up judgements, beside pairs counted one by one."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from agents.learn import meteor, metrics
from agents.learn.evaluate import Evaluation
from agents.parts.eye import WHOLE
from agents.report import judgements
from agents.report.judgements import Judged, agreement
from glimpse_env.data.captions import Captioned

REFERENCE = "a brown dog runs over the green grass"


def tau_c(one: list[float], other: list[int]) -> float:
    """Stuart's tau_c: pairs that agree less those that do not, by as many as there could be."""
    balance = sum(
        np.sign(a - b) * np.sign(x - y)
        for (a, x), (b, y) in itertools.combinations(zip(one, other, strict=True), 2)
    )
    least = min(len(set(one)), len(set(other)))
    return float(200 * balance / (len(one) ** 2 * (least - 1) / least))


def judged(*scores: tuple[int, int, int]) -> list[Judged]:
    return [Judged(("a",), (("a",),), three) for three in scores]


def test_agreement_is_that_of_pairs_counted_one_by_one() -> None:
    rng = np.random.default_rng(0)
    people = judged(*(tuple(rng.integers(1, 5, 3).tolist()) for _ in range(12)))
    values = rng.integers(0, 6, 12).astype(float)
    each = [score for one in people for score in one.scores]
    expected = tau_c(np.repeat(values, 3).tolist(), each)
    assert agreement(values, people) == pytest.approx(expected)
    assert agreement(-values, people) == pytest.approx(-expected)


def test_who_orders_captions_as_people_do_agrees_wholly() -> None:
    people = judged((1, 1, 1), (2, 2, 2), (3, 3, 3), (4, 4, 4))
    assert agreement(np.array([0.1, 0.2, 0.5, 3.0]), people) == pytest.approx(100)


@pytest.mark.parametrize("name", sorted(metrics.of_one_caption()))
def test_a_metric_prefers_what_people_wrote(name: str) -> None:
    if name == "METEOR" and not meteor.at_hand():
        pytest.skip("needs METEOR's lists: set GLIMPSE_DATA to what has meteor/")
    value = metrics.of_one_caption()[name]
    others = ["two cats sleep", REFERENCE]
    right, near, wrong = (
        value(said, others) for said in (REFERENCE, REFERENCE.replace("brown", "black"), "one bird sings")
    )
    assert right > near > wrong


def test_one_wrong_word_of_eight_is_an_eighth() -> None:
    of = metrics.of_one_caption()
    near = REFERENCE.replace("brown", "black")
    assert of["TER"](near, [REFERENCE]) == pytest.approx(-100 / 8)
    assert of["BLEU-1"](near, [REFERENCE]) == pytest.approx(100 * 7 / 8)
    assert of["ROUGE-L"](near, [REFERENCE]) == pytest.approx(7 / 8)


def test_people_are_compared_with_the_others_and_neighbours_with_each_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    known = (("a dog runs", "a dog runs fast"), ("a dog runs", "cats sleep"), ("a red car", "a car"))
    asked = (("one", "two", "three"), ("four", "five", "six"))
    said = {
        split: tuple(tuple(tuple(one.split()) for one in several) for several in given)
        for split, given in (("train", known), ("test", asked))
    }
    given = {split: Captioned(("p",) * len(several), several) for split, several in said.items()}
    seen = {"train": np.zeros((3, 10 + WHOLE)), "test": np.zeros((2, 10 + WHOLE))}
    seen["train"][:, -WHOLE:][:, :2] = [[1, 0.1], [5, -0.5], [0, 1]]
    seen["test"][:, -WHOLE:][:, :2] = [[0.1, 0], [0.1, 3]]
    compared: list[tuple[list[str], list[list[str]]]] = []

    def noted(written: list[str], references: list[list[str]]) -> dict[str, Evaluation]:
        compared.append((list(written), [list(others) for others in references]))
        return {"bleu1": Evaluation(float(len(compared)), (0.0, 2.0 * len(compared)), 2)}

    monkeypatch.setattr(judgements.captions, "load", lambda _, split: given[split])
    monkeypatch.setattr(judgements, "features_of", lambda _, split, size: seen[split].astype(np.float16))
    monkeypatch.setattr(judgements.metrics, "captions", noted)
    assert judgements.people("test") == {"bleu1": Evaluation(2.0, (0.0, 4.0), 2)}  # of 1, 2 and 3
    assert compared == [
        (["one", "four"], [["two", "three"], ["five", "six"]]),
        (["two", "five"], [["one", "three"], ["four", "six"]]),
        (["three", "six"], [["one", "two"], ["four", "five"]]),
    ]
    del compared[:]
    judgements.neighbours("test", near=2)
    # The first picture is like the two of dogs, whatever their brightness; the second like a car, then a dog.
    ((written, references),) = compared
    assert written[0] == "a dog runs"
    assert written[1] in ("a car", "a red car", "a dog runs", "a dog runs fast")
    assert references == [["one", "two", "three"], ["four", "five", "six"]]
