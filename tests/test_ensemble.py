from __future__ import annotations

import itertools

import pytest
import torch
from conftest import OFFLINE
from torch.nn import functional as F

from agents.agent import Agent, Step
from agents.learn import ensemble
from agents.learn.ensemble import evaluate_both, most_probable
from agents.learn.envs import make_env
from agents.learn.evaluate import evaluate
from agents.models.dram import DRAM

HOUSE = "Glimpse/HouseNumbers-v0"
END = 3


def log_p(table: torch.Tensor, number: tuple[int, ...]) -> float:
    return float(sum(table[i, symbol].log() for i, symbol in enumerate((*number, END))))


def test_the_most_probable_number_is_that_of_enumeration() -> None:
    """Every number of one to three digits of three kinds, scored by both readers."""
    torch.manual_seed(0)
    forward, backward = torch.randn(2, 50, 4, 4).mul(1.5).softmax(-1)
    numbers = [n for k in (1, 2, 3) for n in itertools.product(range(3), repeat=k)]
    lengths = set()
    for row, said in enumerate(most_probable(forward, backward, END)):
        best = max(numbers, key=lambda n: log_p(forward[row], n) + log_p(backward[row], n[::-1]))
        assert said.tolist() == [*best, END] + [-1] * (3 - len(best))
        lengths.add(len(best))
    assert len(lengths) > 1


def reader() -> DRAM:
    torch.manual_seed(0)
    return DRAM((2, 12, 12), (1, 18, 18), 11, hidden=8)


def test_read_backward_the_last_digit_is_asked_for_first_and_the_scene_is_the_same() -> None:
    views = [
        make_env(reader(), HOUSE, 50, backward=b, boxes=True, **OFFLINE).reset(seed=0)[0]
        for b in (False, True)
    ]
    assert (views[0]["retina"] == views[1]["retina"]).all()
    for forward, backward in zip(views[0]["target"].tolist(), views[1]["target"].tolist(), strict=True):
        digits = forward[: forward.index(10)]
        assert backward == [*digits[::-1], *forward[len(digits) :]]
    for row, (forward, backward) in enumerate(zip(views[0]["boxes"], views[1]["boxes"], strict=True)):
        digits = views[0]["target"][row].tolist().index(10)
        assert (backward[:digits] == forward[:digits][::-1]).all()
        assert not backward[digits:].any()


class Telling(Agent):
    """Says the target, or beside it, and believes it by so much more than all else."""

    def __init__(self, beside: int, sure: float) -> None:
        super().__init__()
        self.beside, self.sure = beside, sure

    def initial(self, batch_size: int) -> int:
        return 0

    def forward(self, observation: dict[str, torch.Tensor], state: int, sample: bool) -> tuple[Step, int]:
        symbol = observation["next"]
        digit = torch.where(symbol < 10, (symbol + self.beside) % 10, symbol)  # END where it is
        zeros = torch.zeros(len(symbol))
        return Step(torch.zeros(len(symbol), 2), self.sure * F.one_hot(digit, 11).float(), zeros, zeros), 0


@pytest.mark.parametrize(
    ("one", "other", "error"),
    [
        (Telling(0, 25), Telling(0, 25), 0),
        (Telling(0, 25), Telling(1, 4), 0),  # who is surer
        (Telling(1, 4), Telling(0, 25), 0),
        (Telling(0, 4), Telling(1, 25), 100),
        (Telling(1, 25), Telling(0, 4), 100),
    ],
)
def test_who_is_surer_of_the_two_is_heard(one: Telling, other: Telling, error: float) -> None:
    assert evaluate_both(one, other, HOUSE, "validation", "deterministic", **OFFLINE).error == error


def test_both_together_are_scored_on_every_scene() -> None:
    one, other = reader(), reader()
    both = evaluate_both(one, other, HOUSE, "validation", "deterministic", context=18, **OFFLINE)
    assert both.scenes == evaluate(one, HOUSE, "validation", context=18, **OFFLINE).scenes
    assert both.error > 90
    with pytest.raises(ValueError, match="forward and then one that reads backward"):
        evaluate_both(one, other, HOUSE, "validation", "deterministic", context=18, backward=True, **OFFLINE)
    with pytest.raises(ValueError, match="mode must be one of"):
        evaluate_both(one, other, HOUSE, "validation", "beam", context=18, **OFFLINE)


def test_nothing_tells_the_readers_where_the_target_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Places beyond the target's END that nobody played would be uniform, and longer numbers improbable."""
    tables = []
    monkeypatch.setattr(
        ensemble, "most_probable", lambda *both: tables.append(both[:2]) or most_probable(*both)
    )
    evaluate_both(reader(), reader(), HOUSE, "validation", "deterministic", context=18, **OFFLINE)
    assert tables
    for forward, backward in tables:
        assert forward.std(-1).min() > 1e-4
        assert backward.std(-1).min() > 1e-4
