"""When a sequence ends: what columns and lines are, each way's loss by hand, and completed lengths."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch.nn import functional as F

from agents.agent import SequenceSpec
from agents.learn.loop import Loop, Task
from agents.learn.sequences import Columns, Ended, Lines, make_sequences
from agents.learn.stopping import (
    WhenToStop,
    between_distributions,
    completed_lengths,
    ending,
    losses_of,
)
from agents.models.stopper import Stopper, StopperSettings
from glimpse_env.data.files import DatasetError
from glimpse_env.data.images import load

WAYS: Any = ("symbol", "coin", "countdown")


def test_columns_are_a_digits_ink_from_edge_to_edge() -> None:
    made = Columns("mnist-5k")
    pixels = load("mnist-5k", "test").images[:, 0] > 127
    widths = []
    for i in range(len(pixels)):
        ink = [x for x in range(28) if pixels[i][:, x].any()]
        width = ink[-1] - ink[0] + 1
        if width > made.shown:
            widths.append(width)
            steps, length = made.ended("test", torch.tensor([len(widths) - 1]))
            assert length.item() == width
            wanted = torch.from_numpy(pixels[i][:, ink[0] : ink[-1] + 1].T.copy()).float()
            assert torch.equal(steps[:width, 0], wanted)
            assert not steps[width:].any()
    assert made.frozen("test") == len(widths) > 900


def test_lines_are_the_texts_of_middling_length(tmp_path: Any) -> None:
    lines = ["x" * n for n in (3, 11, 64, 65, 20)]
    (tmp_path / "t.txt").write_text("\n".join(lines * 200), encoding="utf-8")
    made = Lines(f"file:{tmp_path / 't.txt'}")
    drawn = made.first("train", 3)
    assert drawn.length.tolist() == [11, 64, 20]
    assert drawn.steps.shape == (64, 3)
    x = made.spec.alphabet.index("x")
    assert (drawn.steps[:11, 0] == x).all()
    (tmp_path / "short.txt").write_text("ab\n" * 5000, encoding="utf-8")
    with pytest.raises(DatasetError, match="no line of 11 to 64"):
        Lines(f"file:{tmp_path / 'short.txt'}")


def sequences(symbols: bool) -> tuple[SequenceSpec, Ended]:
    torch.manual_seed(0)
    length = torch.tensor([5, 3, 8])
    if symbols:
        steps = torch.randint(4, (8, 3))
        return SequenceSpec(4, 4, 8, symbols=True), Ended(steps, length)
    return SequenceSpec(6, 6, 8), Ended((torch.rand(8, 3, 6) > 0.5).float(), length)


@pytest.mark.parametrize("symbols", [True, False])
@pytest.mark.parametrize("way", WAYS)
def test_each_ways_loss_by_hand(way: Any, symbols: bool) -> None:
    """Sequence by sequence and step by step; shown are two steps."""
    spec, batch = sequences(symbols)
    model = Stopper(spec, StopperSettings(way, hidden=5))
    content, end = losses_of(model, batch, shown=2)

    def nats(y: torch.Tensor, step: torch.Tensor) -> float:
        scores = model.head(y)
        if symbols:
            return -scores.log_softmax(0)[step].item()
        return F.binary_cross_entropy_with_logits(scores, step, reduction="sum").item()

    of_steps = of_end = 0.0
    for b, length in enumerate(batch.length.tolist()):
        state = None
        for t in range(length):
            left = length - t - 1 if way == "countdown" and t >= 2 else -1
            ys, state = model(batch.steps[t : t + 1, b : b + 1], torch.tensor([[left]]), state)
            y = ys[0, 0]
            if t + 1 < length:
                of_steps += nats(y, batch.steps[t + 1, b])
            if way == "symbol" and t + 1 == length:
                of_end += nats(y, torch.tensor(4) if symbols else torch.ones(6))
            if way == "coin":
                p = torch.sigmoid(model.coin(y)).item()
                of_end -= math.log(p if t + 1 == length else 1 - p)
            if way == "countdown" and t == 1:
                of_end -= model.left(y).log_softmax(0)[length - 2].item()
    assert content.item() == pytest.approx(of_steps / 3, rel=1e-4)
    assert end.item() == pytest.approx(of_end / 3, rel=1e-4)


def test_who_always_says_so_ends_at_once_and_who_never_does_goes_to_the_end() -> None:
    made = Columns("mnist-5k")
    for way, layer, bias, lengths in (
        ("coin", "coin", [50.0], 4),
        ("coin", "coin", [-50.0], 28),
        ("symbol", "head", [50.0] * 28, 4),
        ("symbol", "head", [-50.0] * 28, 28),
        ("countdown", "left", [50.0] + [0.0] * 28, 4),
        ("countdown", "left", [0.0] * 9 + [50.0] + [0.0] * 19, 13),
        ("countdown", "left", [0.0] * 24 + [50.0] + [0.0] * 4, 28),
    ):
        model = Stopper(made.spec, StopperSettings(way, hidden=4))
        with torch.no_grad():
            getattr(model, layer).weight.zero_()
            getattr(model, layer).bias.copy_(torch.tensor(bias))
        said, true = completed_lengths(model, made, "validation")
        assert (said == lengths).all()
        assert torch.equal(true, made.first("validation", 2000).length)


def test_figures_are_errors_in_length_and_of_all_lengths() -> None:
    task = Task("columns", {"dataset": "mnist-5k"}, Loop(), 1)
    model = Stopper(ending(task).spec, StopperSettings("countdown", hidden=4))
    with torch.no_grad():
        model.left.weight.zero_()
        model.left.bias.copy_(torch.tensor([0.0] * 9 + [50.0] + [0.0] * 19))
    figures = WhenToStop().figures(model, task, "validation")
    true = Columns("mnist-5k").first("validation", 2000).length
    wanted = (true - 13).abs().float().mean().item()
    assert figures["deterministic"].error == pytest.approx(wanted)
    assert figures["distribution"].error == pytest.approx(wanted)  # all are alike: no pairing is better
    assert between_distributions(torch.arange(1, 11), torch.arange(12, 2, -1)).error == 2


def test_the_interval_of_a_distance_is_that_of_means_where_samples_lie_apart() -> None:
    generator = torch.Generator().manual_seed(1)
    near, far = torch.randn(2, 2000, generator=generator) * torch.tensor([[3.0], [4.0]])
    found = between_distributions(near, far + 100)
    # The distance is then that of the means, whose variances are 9 and 16 in 2,000.
    half = 1.96 * math.sqrt((near.var() + far.var()).item() / 2000)
    assert found.error == pytest.approx((far.mean() + 100 - near.mean()).item(), rel=1e-5)
    assert found.ci95[1] - found.error == pytest.approx(half, rel=0.2)
    assert found.error - found.ci95[0] == pytest.approx(half, rel=0.2)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=2, max_size=40))
def test_the_distance_of_lengths_is_scipys(pairs: list[tuple[int, int]]) -> None:
    said, true = torch.tensor(pairs).t().contiguous()
    found = between_distributions(said, true)
    assert found.error == pytest.approx(stats.wasserstein_distance(said, true), abs=1e-5)
    assert found.scenes == len(pairs)


def test_the_interval_of_a_distance_holds_it_as_often_as_it_says() -> None:
    """Of lengths from 10 on, each as likely as the next: of 10 and of 20 of them, whose distance is 5."""
    generator = torch.Generator().manual_seed(2)
    held = 0
    for _ in range(400):
        said = 10 + torch.randint(10, (200,), generator=generator)
        true = 10 + torch.randint(20, (200,), generator=generator)
        low, high = between_distributions(said, true).ci95
        held += low <= 5 <= high
    assert 0.92 < held / 400 < 0.98


def test_stopping_is_asked_of_sequences_that_end(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="asked of 'columns' or 'lines', got 'adding'"):
        ending(Task("adding", {}, Loop(), 1))
    colour = np.zeros((100, 28, 28, 3), np.uint8)
    np.savez(tmp_path / "own.npz", images=colour, labels=np.arange(100) % 10)
    with pytest.raises(ValueError, match="grey images of 28x28"):
        make_sequences("columns", {"dataset": f"file:{tmp_path}/own.npz"})
