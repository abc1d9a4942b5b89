from __future__ import annotations

import itertools

import pytest
import torch
from conftest import OFFLINE

from agents import ensemble
from agents.dram import DRAM
from agents.ensemble import evaluate_both, most_probable
from agents.evaluate import evaluate, make_env
from agents.rollout import backwards, rollout

END = 3


def test_a_number_backwards() -> None:
    target = torch.tensor([[1, 2, 0, END], [1, 2, END, -1], [2, END, -1, -1], [0, 1, 2, -1]])
    expected = [[0, 2, 1, END], [2, 1, END, -1], [2, END, -1, -1], [2, 1, 0, -1]]
    assert backwards(target, END).tolist() == expected
    assert (backwards(backwards(target, END), END) == target).all()


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


def reader(*, backward: bool) -> DRAM:
    torch.manual_seed(0)
    return DRAM((2, 12, 12), (1, 18, 18), 11, hidden=8, backward=backward)


def test_a_backward_reader_is_asked_for_the_last_digit_first() -> None:
    agents = [reader(backward=b) for b in (False, True)]
    played = [
        rollout(
            agent,
            make_env(agent, "Glimpse/HouseNumbers-v0", 50, context=18, **OFFLINE),
            sample=False,
            seed=0,
        )
        for agent in agents
    ]
    assert (played[1].target == backwards(played[0].target, 10)).all()
    assert (played[1].target != played[0].target).any()
    assert (played[1].answers == played[0].answers).all()


def test_both_together_are_scored_on_every_scene() -> None:
    one, other = reader(backward=False), reader(backward=True)
    house = "Glimpse/HouseNumbers-v0"
    both = evaluate_both(one, other, house, "validation", "deterministic", context=18, **OFFLINE)
    assert both.scenes == evaluate(one, house, "validation", context=18, **OFFLINE).scenes
    assert both.error > 90
    with pytest.raises(ValueError, match="backward"):
        evaluate_both(one, one, house, "validation", "deterministic", context=18, **OFFLINE)


def test_nothing_tells_the_readers_where_the_target_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Places beyond the target's END that nobody played would be uniform, and longer numbers improbable."""
    tables = []
    monkeypatch.setattr(
        ensemble, "most_probable", lambda *both: tables.append(both[:2]) or most_probable(*both)
    )
    one, other = reader(backward=False), reader(backward=True)
    evaluate_both(one, other, "Glimpse/HouseNumbers-v0", "validation", "deterministic", context=18, **OFFLINE)
    ((forward, backward),) = tables
    assert forward.std(-1).min() > 1e-4
    assert backward.std(-1).min() > 1e-4
