"""Recurrent cores: steps against plain formulas, a sequence against its steps, any batch, long times."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from agents.cores import KINDS, Core, Elman, make_core


def core(kind: Any) -> Core:
    torch.manual_seed(0)
    return make_core(kind, 5, 4)


def flat(state: Any) -> list[torch.Tensor]:
    return [state] if isinstance(state, torch.Tensor) else list(state)


@pytest.mark.parametrize("kind", KINDS)
def test_a_sequence_is_its_steps(kind: str) -> None:
    made, xs = core(kind), torch.randn(6, 3, 5)
    ys, last = made.unroll(xs, made.initial(3))
    assert ys.shape == (6, 3, 4)
    state = made.initial(3)
    for x, wanted in zip(xs, ys, strict=True):
        y, state = made(x, state)
        torch.testing.assert_close(y, wanted)
    torch.testing.assert_close(flat(state), flat(last))


@pytest.mark.parametrize("kind", KINDS)
def test_the_initial_state_stands_for_zeros(kind: str) -> None:
    made, x = core(kind), torch.randn(3, 5)
    zeros = made.begin_from(torch.zeros(3, 4))
    torch.testing.assert_close(made(x, made.initial(3))[0], made(x, zeros)[0])


@pytest.mark.parametrize("kind", KINDS)
def test_rows_do_not_know_of_each_other(kind: str) -> None:
    made, xs = core(kind), torch.randn(4, 7, 5)
    together, _ = made.unroll(xs, made.initial(7))
    alone, _ = made.unroll(xs[:, 2:3], made.initial(1))
    torch.testing.assert_close(together[:, 2:3], alone)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_right_and_a_thousand_steps_finite(kind: str) -> None:
    made = core(kind).double()
    x = torch.randn(2, 2, 5, dtype=torch.float64, requires_grad=True)
    start = torch.rand(2, 4, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: made.unroll(x, made.begin_from(start))[0], (x,))
    with torch.no_grad():
        ys, _ = made.unroll(torch.randn(1000, 2, 5, dtype=torch.float64), made.initial(2))
    assert ys.isfinite().all()


def test_elmans_step_is_torchs() -> None:
    made = core("relu")
    assert isinstance(made, Elman)
    other = torch.nn.RNNCell(5, 4, nonlinearity="relu")
    with torch.no_grad():
        other.weight_ih.copy_(made.glimpse.weight)
        other.weight_hh.copy_(made.recurrent.weight)
        other.bias_ih.copy_(made.glimpse.bias)
        other.bias_hh.zero_()
    x, h = torch.randn(3, 5), torch.rand(3, 4)
    torch.testing.assert_close(made(x, h)[0], other(x, h))


def test_an_unknown_core_is_named() -> None:
    with pytest.raises(ValueError, match="got 'gru'"):
        make_core("gru", 3, 3)  # type: ignore[arg-type]
