"""Recurrent cores, one interface: see `core.Core`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

from agents.cores.core import Core, State, detached
from agents.cores.deep import Bidirectional, DeepOutput, DeepTransition, Joined, Stack
from agents.cores.elman import IRNN, Elman, IdentityContext, Jordan
from agents.cores.lstm import GRU, LSTM, ChronoLSTM
from agents.cores.normalised import BNLSTM, LNLSTM
from agents.cores.scrn import SCRN, HoldingSCRN
from agents.cores.unitary import OrthogonalRNN, UnitaryRNN

Kind = Literal[
    "relu", "elman", "identity-context", "jordan", "irnn", "scrn", "holding-scrn", "urnn", "orthogonal",
    "gru", "lstm", "chrono-lstm", "ln-lstm", "bn-lstm", "deep-transition", "deep-output", "stacked",
    "residual", "skip",
]  # fmt: skip
KINDS: tuple[Kind, ...] = get_args(Kind)
LAYERS = 3  # of a stack of LSTMs


def make_core(kind: Kind, inputs: int, width: int, steps: int) -> Core:
    """The core of that kind, with `inputs` inputs and `width` outputs; ValueError for another kind.

    steps: how many steps a sequence of training has: a chrono-LSTM begins by remembering as many, and a
    BN-LSTM keeps statistics of each.
    """
    if kind not in KINDS:
        raise ValueError(f"core must be one of {KINDS}, got {kind!r}")
    if kind == "elman":
        return Elman(inputs, width, "tanh")
    if kind == "bn-lstm":
        return BNLSTM(inputs, width, steps)
    if kind == "chrono-lstm":
        return ChronoLSTM(inputs, width, steps)
    if kind in ("stacked", "residual", "skip"):
        return stack_of_lstms(inputs, width, "plain" if kind == "stacked" else kind)
    return SIMPLE[kind](inputs, width)


SIMPLE: dict[str, Callable[[int, int], Core]] = {
    "relu": Elman,
    "identity-context": IdentityContext,
    "jordan": Jordan,
    "irnn": IRNN,
    "scrn": SCRN,
    "holding-scrn": HoldingSCRN,
    "urnn": UnitaryRNN,
    "orthogonal": OrthogonalRNN,
    "gru": GRU,
    "lstm": LSTM,
    "ln-lstm": LNLSTM,
    "deep-transition": DeepTransition,
    "deep-output": DeepOutput,
}


def stack_of_lstms(inputs: int, width: int, joined: Joined) -> Stack:
    """LAYERS LSTMs of `width` units above each other."""
    skip = [inputs, width + inputs] + [2 * width] * (LAYERS - 2)
    plain = [inputs] + [width] * (LAYERS - 1)
    return Stack([LSTM(seen, width) for seen in (skip if joined == "skip" else plain)], joined)


__all__ = [
    "BNLSTM",
    "GRU",
    "IRNN",
    "KINDS",
    "LNLSTM",
    "LSTM",
    "SCRN",
    "Bidirectional",
    "ChronoLSTM",
    "Core",
    "DeepOutput",
    "DeepTransition",
    "Elman",
    "HoldingSCRN",
    "IdentityContext",
    "Jordan",
    "Kind",
    "OrthogonalRNN",
    "Stack",
    "State",
    "UnitaryRNN",
    "detached",
    "make_core",
]
