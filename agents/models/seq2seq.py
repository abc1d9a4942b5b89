"""Sequence to sequence: a network that reads a text and one that says another, word by word.

What was read is said by a voice (parts/voice.py), without attention, with it, or looking hard. Stacks may be
residual, above a bidirectional layer, as in GNMT (Wu et al. 2016).
"""

from __future__ import annotations

import dataclasses
from itertools import zip_longest

import torch
from torch import Tensor, nn

from agents import checks
from agents.agent import Spec
from agents.cores import LSTM, State
from agents.parts.vocabulary import at, embeddings, mean_place, turned
from agents.parts.voice import Voice, VoiceSettings


@dataclasses.dataclass(frozen=True)
class Seq2SeqSettings(VoiceSettings):
    """What the encoder and the decoder are built from; both are as deep and as wide."""

    bidirectional: bool = True
    """Whether the encoder's first layer reads from both ends, half as wide each way."""
    deep_bidirectional: bool = False
    """Whether all other layers of it do, too."""
    reverse: bool = False
    """Whether the text is read from its end."""
    local: int = 0
    """The width of local attention's window (local-p), two standard deviations, in words; 0 is global."""
    moves: bool = False
    """Whether the window of local attention goes on at each answer by a learned step of at most one word, and
    is not placed anew (parts/alignment.py)."""
    pointer: int = 0
    """The decoder also sees the next word that it has not named: each of so many answers, the first ones,
    names one, as the leaves of a tree do. 0 is no such pointer."""
    parts: int = 0
    """How many parts of speech the lowest layer that reads can tell of each word, which training asks of it
    (Søgaard and Goldberg 2016); 0 is none."""
    tied: bool = True
    """Whether words that are read, heard and said have one embedding; both sides need one vocabulary."""

    def __post_init__(self) -> None:
        """Raise ValueError for a number out of range and for parts that do not fit each other."""
        super().__post_init__()
        checks.not_negative(self, "local", "pointer", "parts")
        if self.deep_bidirectional and not (self.bidirectional and self.layers > 1):
            raise ValueError("deep_bidirectional needs a bidirectional layer and others above it")
        if self.hidden % 2 and self.bidirectional:
            raise ValueError(f"hidden must be even where the encoder reads from both ends, got {self.hidden}")
        if self.local and self.attention in ("none", "last"):
            raise ValueError("local is of attention: leave it out, or choose dot, general or concat")
        if self.moves and not self.local:
            raise ValueError("moves is of local attention: set local, too")
        if self.hard and self.local:
            raise ValueError("hard is of one place alone: leave out local")

    def build(self, spec: Spec) -> Seq2Seq:
        """The model with fresh weights for texts of `spec`."""
        return Seq2Seq(spec, self)


class Seq2Seq(Voice):
    """Encoder and voice: see the settings. Raises ValueError for one embedding of two vocabularies."""

    settings: Seq2SeqSettings

    def __init__(self, spec: Spec, settings: Seq2SeqSettings) -> None:
        super().__init__(spec)
        own = settings
        heard, words = embeddings(spec, own.embedding, own.tied)
        self.heard, self.words = heard, words
        half = own.hidden // 2
        self.ahead = LSTM(own.embedding, half if own.bidirectional else own.hidden)
        self.back = LSTM(own.embedding, half) if own.bidirectional else None
        self.above = _Above(own) if own.layers > 1 else None
        self.parts = nn.Linear(own.hidden, own.parts) if own.parts else None
        self._build_voice(spec, own, heard, own.local, own.pointer, moves=own.moves)

    def gaze_of(self, weights: Tensor) -> Tensor:
        """The mean of the places that a word looked at, (B, 1)."""
        return mean_place(weights)

    def read(self, canvas: Tensor) -> State:
        """Texts int64 (B, N), 0 beyond their ends -> the state before the first word."""
        return self._read(canvas)[0]

    def read_parts(self, canvas: Tensor) -> tuple[State, Tensor]:
        """As `read`, and scores of the parts of speech of every word, (B, N, parts)."""
        assert self.parts is not None
        state, lowest = self._read(canvas)
        scores: Tensor = self.parts(self.dropout(lowest)).float()
        return state, scores

    def _read(self, canvas: Tensor) -> tuple[State, Tensor]:
        """The state before the first word, and what the lowest layer made of each, (B, N, hidden)."""
        there = (
            torch.cat([torch.ones_like(canvas[:, :1]), canvas[:, 1:]], 1) > 0
        )  # of nothing, its first place
        length = there.sum(1)
        table = self.heard if self.words is None else self.words
        words = self.dropout(table(canvas)).transpose(0, 1)
        if self.settings.reverse:
            words = turned(words, length)
        ys, last = _read(self.ahead, self.back, words, length)
        lowest = turned(ys, length) if self.settings.reverse else ys
        lasts = [last]
        if self.above is not None:
            ys, higher = self.above.unroll(ys, length)
            lasts += higher
        if self.settings.reverse:
            ys = turned(ys, length)
        return self.begin(ys.transpose(0, 1), there, lasts), lowest.transpose(0, 1)


class _Above(nn.Module):
    """The encoder's layers above the first, each over the whole text."""

    def __init__(self, own: Seq2SeqSettings) -> None:
        super().__init__()
        self.dropout, self.residual, each = nn.Dropout(own.dropout), own.residual, range(own.layers - 1)
        half = own.hidden // 2
        self.layers = nn.ModuleList(
            LSTM(own.hidden, half if own.deep_bidirectional else own.hidden) for _ in each
        )
        self.backs = nn.ModuleList(LSTM(own.hidden, half) for _ in each if own.deep_bidirectional)

    def unroll(self, xs: Tensor, length: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Outputs of the highest (T, B, n), and of every layer the one at the text's end (B, n)."""
        lasts = []
        for layer, back in zip_longest(self.layers, self.backs):
            assert isinstance(layer, LSTM)
            assert back is None or isinstance(back, LSTM)
            ys, last = _read(layer, back, self.dropout(xs), length)
            lasts.append(last)
            xs = xs + ys if self.residual else ys
        return xs, lasts


def _read(ahead: LSTM, back: LSTM | None, xs: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
    """Outputs (T, B, n) to a text (T, B, m), and those at its end; with `back` it is read from both ends."""
    ys, _ = ahead.unroll(xs, None)
    last = at(ys, length - 1)
    if back is None:
        return ys, last
    backwards, _ = back.unroll(turned(xs, length), None)
    last = torch.cat([last, at(backwards, length - 1)], -1)
    return torch.cat([ys, turned(backwards, length)], -1), last
