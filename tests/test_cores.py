"""Recurrent cores: steps against torch or plain formulas, a sequence against its steps, gradients."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from agents.cores import (
    BNLSTM,
    GRU,
    KINDS,
    LNLSTM,
    LSTM,
    SCRN,
    Bidirectional,
    Core,
    DeepOutput,
    DeepTransition,
    Elman,
    IdentityContext,
    Jordan,
    OrthogonalRNN,
    Stack,
    UnitaryRNN,
    detached,
    make_core,
)
from agents.cores.regulariser import carry_back, omega

every_kind = pytest.mark.parametrize("kind", KINDS)
STEPS = 6


def core(kind: Any, inputs: int = 5, width: int = 4) -> Core:
    """One of that kind, in evaluation: only BN-LSTM is another in training."""
    torch.manual_seed(0)
    return make_core(kind, inputs, width, STEPS).eval()


def flat(state: Any) -> list[torch.Tensor]:
    if isinstance(state, tuple):
        return [leaf for part in state for leaf in flat(part)]
    return [state] if isinstance(state, torch.Tensor) else []


@every_kind
def test_a_sequence_is_its_steps(kind: str) -> None:
    made, xs = core(kind), torch.randn(STEPS, 3, 5)
    ys, last = made.unroll(xs, made.initial(3))
    assert ys.shape == (STEPS, 3, 4)
    state = None
    for x, wanted in zip(xs, ys, strict=True):
        y, state = made(x, state)
        torch.testing.assert_close(y, wanted)
    torch.testing.assert_close(flat(state), flat(last))
    # And goes on where it stopped.
    halfway = made.unroll(xs[:2], None)[1]
    torch.testing.assert_close(made.unroll(xs[2:], detached(halfway))[0], ys[2:])
    assert not any(leaf.requires_grad for leaf in flat(detached(halfway)))


@every_kind
def test_the_weights_gradients_of_a_sequence_are_those_of_its_steps(kind: str) -> None:
    made, xs = core(kind).double(), torch.randn(STEPS, 3, 5, dtype=torch.float64)
    twin = copy.deepcopy(made)
    made.unroll(xs, None)[0].square().sum().backward()
    Core.unroll(twin, xs, None)[0].square().sum().backward()
    for (name, weight), other in zip(made.named_parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(weight.grad, other.grad, msg=lambda text, name=name: f"{name}: {text}")


@every_kind
def test_a_state_of_its_own_begins_a_sequence(kind: str) -> None:
    made, x = core(kind), torch.randn(3, 5)
    one, other = (made(x, made.begin_from(y))[0] for y in (torch.zeros(3, 4), torch.rand(3, 4)))
    assert one.shape == other.shape == (3, 4)
    assert not torch.allclose(one, other)


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"urnn", "ln-lstm"}))
def test_the_initial_state_stands_for_zeros(kind: str) -> None:
    made, x = core(kind), torch.randn(3, 5)
    zeros = made.begin_from(torch.zeros(3, 4))
    torch.testing.assert_close(made(x, made.initial(3))[0], made(x, zeros)[0])


@every_kind
def test_rows_do_not_know_of_each_other(kind: str) -> None:
    made, xs = core(kind), torch.randn(4, 7, 5)
    together, _ = made.unroll(xs, made.initial(7))
    alone, _ = made.unroll(xs[:, 2:3], made.initial(1))
    torch.testing.assert_close(together[:, 2:3], alone)


@every_kind
def test_gradients_are_right_and_a_thousand_steps_finite(kind: str) -> None:
    made = core(kind).double()
    x = torch.randn(2, 2, 5, dtype=torch.float64, requires_grad=True)
    start = torch.rand(2, 4, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: made.unroll(x, made.begin_from(start))[0], (x,))
    ys, _ = made.unroll(torch.randn(1000, 2, 5, dtype=torch.float64), made.initial(2))
    assert ys.isfinite().all()
    ys[-1].sum().backward()
    assert all(weight.grad is None or weight.grad.isfinite().all() for weight in made.parameters())


@every_kind
def test_a_long_blank_beginning_has_finite_gradients(kind: str) -> None:
    made = core(kind, inputs=1, width=8).train()
    ys, _ = made.unroll(torch.zeros(200, 4, 1), None)
    ys[-1].sum().backward()
    assert all(weight.grad is None or weight.grad.isfinite().all() for weight in made.parameters())


@every_kind
def test_it_runs_on_meta_and_in_bfloat16(kind: str) -> None:
    made = core(kind)
    with torch.autocast("cpu", torch.bfloat16):
        ys, state = made.unroll(torch.randn(3, 2, 5), None)
        y, _ = made(torch.randn(2, 5), state)
    assert ys.isfinite().all()
    assert y.isfinite().all()
    there = made.to("meta")
    ys, state = there.unroll(torch.randn(3, 2, 5, device="meta"), None)
    assert ys.shape == (3, 2, 4)
    assert there(torch.randn(2, 5, device="meta"), state)[0].shape == (2, 4)


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"ln-lstm"}))
def test_long_memory_survives_bfloat16(kind: str) -> None:
    """784 steps in mixed precision end near those in full precision; bfloat16 has two digits and a half.

    In an LN-LSTM every small difference grows (docs/memory.md).
    """
    made, xs = core(kind, width=32), torch.randn(784, 4, 5)
    with torch.no_grad():
        exact = made.unroll(xs, None)[0][-1]
        with torch.autocast("cpu", torch.bfloat16):
            rounded = made.unroll(xs, None)[0][-1]
    assert (rounded - exact).norm() < 0.03 * exact.norm()


def copy_into(cell: torch.nn.Module, **weights: torch.Tensor) -> None:
    with torch.no_grad():
        for name, weight in weights.items():
            getattr(cell, name).copy_(weight)


@pytest.mark.parametrize(("kind", "nonlinearity"), [("relu", "relu"), ("elman", "tanh"), ("irnn", "relu")])
def test_simple_steps_are_torchs(kind: str, nonlinearity: str) -> None:
    made = core(kind)
    assert isinstance(made, Elman)
    other = torch.nn.RNNCell(5, 4, nonlinearity=nonlinearity)
    ih, hh, bias = made.glimpse.weight, made.recurrent.weight, made.glimpse.bias
    copy_into(other, weight_ih=ih, weight_hh=hh, bias_ih=bias, bias_hh=torch.zeros(4))
    x, h = torch.randn(3, 5), torch.rand(3, 4)
    torch.testing.assert_close(made(x, h)[0], other(x, h))


def test_irnn_keeps_what_it_holds_while_nothing_comes() -> None:
    made, h = core("irnn"), torch.rand(2, 4)
    ys, _ = made.unroll(torch.zeros(50, 2, 5), h)
    torch.testing.assert_close(ys[-1], h)


def test_the_grus_step_is_torchs() -> None:
    made, other = core("gru"), torch.nn.GRUCell(5, 4)
    assert isinstance(made, GRU)
    # Torch's order is that of ours: reset, keep, new.
    copy_into(
        other,
        weight_ih=made.input.weight,
        weight_hh=made.recurrent.weight,
        bias_ih=made.input.bias,
        bias_hh=made.recurrent.bias,
    )
    x, h = torch.randn(3, 5), torch.rand(3, 4)
    torch.testing.assert_close(made(x, h)[0], other(x, h))


def test_a_chrono_lstm_remembers_as_long_as_it_is_told() -> None:
    made = make_core("chrono-lstm", 2, 1000, 101)
    let_in, keep, let_out, new = made.glimpse.bias.detach().chunk(4)
    torch.testing.assert_close(let_in, -keep)
    assert (torch.cat([let_out, new]) == 0).all()
    # A gate of σ(log u) forgets within about u + 1 steps, u uniform from 1 to 100.
    spans = 1 / (1 - torch.sigmoid(keep)) - 1
    assert 1 <= spans.min() < 2
    assert 99 < spans.max() <= 100.01
    assert spans.mean().item() == pytest.approx(50.5, abs=3)


def test_jordans_context_halves_what_was_said() -> None:
    made = core("jordan")
    assert isinstance(made, Jordan)
    xs, c = torch.randn(3, 2, 5), torch.zeros(2, 4)
    ys, _ = made.unroll(xs, None)
    for x, y in zip(xs, ys, strict=True):
        h = torch.tanh(x @ made.input.weight.T + made.input.bias + c @ made.context.weight.T)
        said = torch.tanh(h @ made.output.weight.T + made.output.bias)
        torch.testing.assert_close(y, said)
        c = said + 0.5 * c


def test_the_identity_context_is_the_sum_of_all_inputs() -> None:
    made = core("identity-context")
    assert isinstance(made, IdentityContext)
    xs = torch.randn(100, 2, 5, requires_grad=True)
    _, c = made.unroll(xs, None)
    torch.testing.assert_close(c, xs.sum(0) @ made.gather.weight.T)
    # The carousel of constant error: the first input moves the last context as much as the last one does.
    (moved,) = torch.autograd.grad(c.sum(), xs)
    torch.testing.assert_close(moved[0], moved[-1])


def test_half_of_a_holding_scrn_holds_what_it_is_given() -> None:
    """Near its middle σ(4 s - 2) is s less (4 d)³ / 48, d from the middle: 0.0000107 a step at d = 0.02."""
    made = make_core("holding-scrn", 2, 64, 100)
    half = made.fast // 2
    with torch.no_grad():
        made.recurrent.weight[:half, half:] = 0  # what the others tell it, by and by
    given = 0.5 + 0.02 * torch.randn(1, half).sign()
    _, (s, _) = made.unroll(torch.zeros(50, 1, 2), (torch.cat([given, given], 1), torch.zeros(1, made.slow)))
    torch.testing.assert_close(s[:, :half], given, rtol=0, atol=50 * 1.1e-5)


def test_scrn_is_a_plain_network_with_one_block_matrix() -> None:
    made = core("scrn", width=8).double()
    assert isinstance(made, SCRN)
    assert (made.fast, made.slow) == (6, 2)
    x, y = torch.randn(3, 5).double(), torch.rand(3, 8).double()
    a, p, u = made.gather.weight, made.context.weight, made.input
    seen = 0.05 * x @ a.T
    z = y @ made.block_matrix().T + torch.cat([u(x) + seen @ p.T, seen], 1)
    wanted = torch.cat([torch.sigmoid(z[:, :6]), z[:, 6:]], 1)
    torch.testing.assert_close(made(x, made.begin_from(y))[0], wanted)
    # The lecture's picture of it: nothing of the fast units goes into the slow ones.
    assert (made.block_matrix()[6:, :6] == 0).all()
    torch.testing.assert_close(made.block_matrix()[6:, 6:], 0.95 * torch.eye(2).double())


def test_the_unitary_matrix_is_its_factors_and_unitary() -> None:
    made = core("urnn", width=16).double()
    assert isinstance(made, UnitaryRNN)
    n = 8
    k = torch.arange(n, dtype=torch.float64)
    fourier = torch.exp(-2j * torch.pi * torch.outer(k, k) / n) / n**0.5
    d1, d2, d3 = (torch.diag(torch.exp(1j * phases)) for phases in made.phases)
    r1, r2 = (
        torch.eye(n, dtype=torch.complex128) - 2 * torch.outer(v, v.conj()) / (v.conj() @ v)
        for v in (real + 1j * imaginary for real, imaginary in made.reflections)
    )
    turn = torch.eye(n, dtype=torch.complex128)[made.permutation]
    w = d3 @ r2 @ fourier.conj().T @ d2 @ turn @ r1 @ fourier @ d1
    torch.testing.assert_close(w @ w.conj().T, torch.eye(n, dtype=torch.complex128), atol=1e-5, rtol=0)
    z = torch.randn(5, n, dtype=torch.complex128)
    torch.testing.assert_close(made.rotate(z), z @ w.T)
    row = torch.cat([z.real, z.imag], 1)
    turned = row @ made.real_matrix()
    torch.testing.assert_close(turned, torch.cat([(z @ w.T).real, (z @ w.T).imag], 1))
    torch.testing.assert_close(turned.norm(dim=1), row.norm(dim=1))
    with pytest.raises(ValueError, match="width must be even, got 5"):
        UnitaryRNN(2, 5)


def test_modrelu_shortens_and_keeps_the_direction() -> None:
    made = core("urnn")
    assert isinstance(made, UnitaryRNN)
    copy_into(made, bias=torch.tensor([-1.0, -6.0]))
    torch.testing.assert_close(
        made._rectify(torch.tensor([[3.0, 3.0, 4.0, 4.0]])), torch.tensor([[2.4, 0, 3.2, 0]])
    )  # 3 + 4i is 5 long: 4/5 of it is left, or nothing


def test_the_orthogonal_matrix_stays_so_while_it_learns() -> None:
    made = core("orthogonal", width=6)
    assert isinstance(made, OrthogonalRNN)
    optimizer = torch.optim.Adam(made.parameters(), 0.1)
    for _ in range(5):
        made.unroll(torch.randn(4, 3, 5), None)[0].sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    q = made.recurrent.weight
    torch.testing.assert_close(q @ q.T, torch.eye(6), atol=1e-5, rtol=0)


def lstm_step(gates: torch.Tensor, c: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    let_in, keep, let_out, new = gates.chunk(4, -1)
    c = torch.sigmoid(keep) * c + torch.sigmoid(let_in) * torch.tanh(new)
    return c, torch.sigmoid(let_out)


def test_ln_lstm_is_its_formula() -> None:
    made = core("ln-lstm")
    assert isinstance(made, LNLSTM)

    def norm(z: torch.Tensor) -> torch.Tensor:
        mean, variance = z.mean(-1, keepdim=True), z.var(-1, keepdim=True, correction=0)
        return (z - mean) / (variance + made.EPSILON).sqrt()

    x, h, c = torch.randn(3, 5), torch.rand(3, 4), torch.rand(3, 4)
    gates = norm(x @ made.input.weight.T) + norm(h @ made.recurrent.weight.T) + made.bias
    wanted, let_out = lstm_step(gates, c)
    y, (_, cell) = made(x, (h, c))
    torch.testing.assert_close(cell, wanted)
    torch.testing.assert_close(y, let_out * torch.tanh(norm(wanted)))


def test_bn_lstm_is_its_formula_with_statistics_of_each_step() -> None:
    made = core("bn-lstm").train()
    assert isinstance(made, BNLSTM)

    def norm(z: torch.Tensor) -> torch.Tensor:
        return (z - z.mean(0)) / (z.var(0, correction=0) + made.EPSILON).sqrt()

    x, h, c = torch.randn(50, 5), torch.rand(50, 4), torch.rand(50, 4)
    gates = 0.1 * norm(x @ made.input.weight.T) + 0.1 * norm(h @ made.recurrent.weight.T) + made.input.bias
    wanted, let_out = lstm_step(gates, c)
    y, (_, cell, step) = made(x, (h, c, 2))
    assert step == 3
    torch.testing.assert_close(cell, wanted)
    torch.testing.assert_close(y, let_out * torch.tanh(0.1 * norm(wanted)))
    # Of step 2 alone the running statistics moved, by a twentieth.
    moved = 0.05 * (x @ made.input.weight.T).mean(0)
    torch.testing.assert_close(made.mean_x[2], moved)
    assert (made.mean_x[[0, 1, 3, 4, 5]] == 0).all()
    # Beyond the last step the last one's statistics serve, and in evaluation the batch does not.
    made.eval()
    copy_into(made, mean_x=torch.arange(6.0)[:, None].expand(6, 16))
    late, last = (made(x, (h, c, step))[0] for step in (100, 5))
    torch.testing.assert_close(late, last)
    torch.testing.assert_close(made(x[:1], (h[:1], c[:1], 1))[0], made(x, (h, c, 1))[0][:1])


def test_the_noise_that_a_batch_normalised_sequence_begins_with() -> None:
    """Its variance is 0.01, and of it a twentieth is in what is kept: the gates are four copies of h."""
    made = core("bn-lstm").train()
    assert isinstance(made, BNLSTM)
    made(torch.randn(5000, 5), None)
    noise = (made.variance_h[0] - 0.95) / 0.05
    torch.testing.assert_close(noise, torch.full((16,), 0.01), rtol=0.1, atol=0)
    made.eval()
    x = torch.randn(3, 5)
    assert torch.equal(made(x, None)[0], made(x, (torch.zeros(3, 4), torch.zeros(3, 4), 0))[0])


def test_a_layer_normalised_cell_begins_as_its_weight_says() -> None:
    made = core("ln-lstm")
    assert isinstance(made, LNLSTM)
    h, c = made.begin_from(torch.rand(3, 4))
    assert torch.equal(c, made.begin[1].expand(3, 4))
    assert torch.equal(torch.cat(made.initial(2)), made.begin.repeat_interleave(2, 0))
    assert c.abs().min() > 0
    assert h.shape == c.shape


def test_the_deep_steps_are_their_formulas() -> None:
    x, h = torch.randn(3, 5), torch.rand(3, 4)
    for shortcut in (True, False):
        made = DeepTransition(5, 4, shortcut)
        first = torch.tanh(x @ made.input.weight.T + made.input.bias + h @ made.recurrent.weight.T)
        z = first @ made.above.weight.T + made.above.bias
        if shortcut:
            z = z + h @ made.shortcut.weight.T
        torch.testing.assert_close(made(x, h)[0], torch.tanh(z))
    dot = DeepOutput(5, 4)
    y, state = dot(x, h)
    torch.testing.assert_close(state, dot.transition(x, h)[0])
    torch.testing.assert_close(y, torch.tanh(state @ dot.output.weight.T + dot.output.bias))


def test_a_plain_stack_is_torchs_lstm_of_three_layers() -> None:
    made, other = core("stacked"), torch.nn.LSTM(5, 4, 3)
    order = torch.cat([torch.arange(8), torch.arange(12, 16), torch.arange(8, 12)])
    for k, layer in enumerate(made.cores()):
        copy_into(
            other,
            **{
                f"weight_ih_l{k}": layer.glimpse.weight[order],
                f"weight_hh_l{k}": layer.recurrent.weight[order],
                f"bias_ih_l{k}": layer.glimpse.bias[order],
                f"bias_hh_l{k}": torch.zeros(16),
            },
        )
    xs = torch.randn(7, 2, 5)
    torch.testing.assert_close(made.unroll(xs, None)[0], other(xs)[0])


def test_stacks_join_their_layers_as_they_say() -> None:
    xs = torch.randn(7, 2, 4)
    for joined in ("residual", "skip"):
        seen = [4, 8, 8] if joined == "skip" else [4, 4, 4]
        layers = [LSTM(n, 4) for n in seen]
        y1 = layers[0].unroll(xs, None)[0]
        if joined == "residual":
            y2 = y1 + layers[1].unroll(y1, None)[0]
            y3 = y2 + layers[2].unroll(y2, None)[0]
        else:
            y2 = layers[1].unroll(torch.cat([y1, xs], -1), None)[0]
            y3 = layers[2].unroll(torch.cat([y2, y1], -1), None)[0]
        torch.testing.assert_close(Stack(layers, joined).unroll(xs, None)[0], y3)


def test_bidirectional_is_torchs() -> None:
    made, other = Bidirectional(GRU(5, 4), GRU(5, 4)), torch.nn.GRU(5, 4, bidirectional=True)
    for end, one in (("", made.forwards), ("_reverse", made.backwards)):
        copy_into(
            other,
            **{
                f"weight_ih_l0{end}": one.input.weight,
                f"weight_hh_l0{end}": one.recurrent.weight,
                f"bias_ih_l0{end}": one.input.bias,
                f"bias_hh_l0{end}": one.recurrent.bias,
            },
        )
    xs = torch.randn(6, 3, 5)
    torch.testing.assert_close(made.unroll(xs), other(xs)[0])


def test_omega_is_zero_for_errors_that_keep_their_length_and_literal_otherwise() -> None:
    error = torch.tensor([[[3.0, 4.0]], [[1.0, 0.0]], [[0.0, 0.0]]])
    carried = torch.tensor([[[0.0, 10.0]], [[0.0, 0.5]], [[0.0, 0.0]]])
    assert omega(error, carried).item() == pytest.approx((2 - 1) ** 2 + (0.5 - 1) ** 2)
    assert omega(error, error.flip(-1)).item() == 0


def test_omega_is_that_of_explicit_jacobians() -> None:
    made = core("elman").double()
    assert isinstance(made, Elman)
    xs, error = torch.randn(3, 2, 5).double(), torch.randn(3, 2, 4).double()
    states, h = [], torch.rand(2, 4).double()
    for x in xs:
        states.append(h)
        h = made(x, h)[0]
    before = torch.stack(states)
    carried = carry_back(made, xs, before, error)
    total = 0.0
    for t in range(3):
        for b in range(2):
            jacobian = torch.autograd.functional.jacobian(
                lambda s, t=t, b=b: made(xs[t, b : b + 1], s[None])[0][0], before[t, b]
            )
            back = error[t, b] @ jacobian
            torch.testing.assert_close(carried[t, b], back)
            total += (back.norm() / error[t, b].norm() - 1) ** 2 / 2
    regulariser = omega(error, carried)
    torch.testing.assert_close(regulariser, total)
    # It teaches the recurrent weights: a step against its gradient lowers it.
    regulariser.backward()
    with torch.no_grad():
        made.recurrent.weight -= 0.01 * made.recurrent.weight.grad
    assert omega(error, carry_back(made, xs, before, error)) < regulariser


def test_an_unknown_core_is_named() -> None:
    with pytest.raises(ValueError, match="got 'gur'"):
        make_core("gur", 3, 3, 1)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "torchs"), [("relu", "rnn_relu"), ("elman", "rnn_tanh"), ("irnn", "rnn_relu")]
)
def test_a_core_in_eval_keeps_what_a_gpu_needs_to_go_backward(
    kind: str, torchs: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[bool] = []
    run = getattr(torch, torchs)

    def spy(*given: object) -> object:
        told.append(bool(given[6]))  # torch's flag of training, without which cuDNN cannot go backward
        return run(*given)

    monkeypatch.setattr(torch, torchs, spy)
    made, xs = core(kind).eval(), torch.randn(STEPS, 3, 5)
    made.unroll(xs, None)
    with torch.no_grad():
        made.unroll(xs, None)
    assert told == [True, False]
