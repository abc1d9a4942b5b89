"""Recurrent cores, one interface: see `core.Core`."""

from __future__ import annotations

from typing import Literal, get_args

from agents.cores.core import Core
from agents.cores.elman import Elman
from agents.cores.lstm import LSTM

Kind = Literal["relu", "lstm"]
KINDS: tuple[Kind, ...] = get_args(Kind)


def make_core(kind: Kind, inputs: int, width: int) -> Core:
    """The core of that kind, with `inputs` inputs and `width` outputs; ValueError for another kind."""
    if kind not in KINDS:
        raise ValueError(f"core must be one of {KINDS}, got {kind!r}")
    return Elman(inputs, width) if kind == "relu" else LSTM(inputs, width)


__all__ = ["KINDS", "LSTM", "Core", "Elman", "Kind", "make_core"]
