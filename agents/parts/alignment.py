"""Alignment: how much each word that was read counts for the word that is to be said.

A query is compared with the key of every word (`Kind`), and a softmax over the words that are there makes
weights of the scores. Dot, general and concat are Luong, Pham, Manning (2015), equation 8; concat is also
the additive alignment of Bahdanau, Cho, Bengio (2015).
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from agents.device import full_precision

Kind = Literal["dot", "general", "concat"]
KINDS: tuple[Kind, ...] = get_args(Kind)


class Alignment(nn.Module):
    """Attention weights of queries (B, T, query) over keys (B, N, key).

    "dot": q · k. "general": q · W k. "concat": v · tanh(W q + U k), `query` wide. width: of local attention,
    0 is global: then a place p = N sigmoid(v · tanh(W q)) is predicted of a text of N words, and the weights
    are multiplied by a Gaussian around it whose standard deviation is half of `width` (local-p, equations 9
    and 10). moves: of local attention, p is where the last query's was and sigmoid(v · tanh(W q)) further, as
    a window moves over a text in Graves (2013), equation 51; the Gaussian is then part of the softmax, so
    that a window that has gone astray still learns. Raises ValueError for an unknown kind, for the dot of
    unlike widths and for a window that moves and has no width.
    """

    def __init__(self, kind: Kind, query: int, key: int, width: int = 0, *, moves: bool = False) -> None:
        super().__init__()
        if kind not in KINDS:
            raise ValueError(f"attention must be one of {KINDS}, got {kind!r}")
        if kind == "dot" and query != key:
            raise ValueError(f"attention 'dot' needs queries as wide as keys, got {query} and {key}")
        if moves and not width:
            raise ValueError("moves is of local attention: set its width, too")
        self.kind, self.width, self.moves = kind, width, moves
        self.key = nn.Identity() if kind == "dot" else nn.Linear(key, query, bias=False)
        self.query = nn.Linear(query, query) if kind == "concat" else nn.Identity()
        self.score = nn.Linear(query, 1, bias=False) if kind == "concat" else None
        self.place = nn.Sequential(nn.Linear(query, query), nn.Tanh(), nn.Linear(query, 1)) if width else None

    def prepare(self, keys: Tensor) -> Tensor:
        """Keys (B, N, key) -> what queries are compared with, (B, N, query), once a text."""
        prepared: Tensor = self.key(keys)
        return prepared

    def advance(self, query: Tensor) -> Tensor:
        """How many places a window that moves goes on at queries (…, query): (…) in [0, 1]."""
        with full_precision(query):
            return self._placed(query)

    def forward(self, query: Tensor, prepared: Tensor, there: Tensor, centre: Tensor | None = None) -> Tensor:
        """Queries (B, T, query), prepared keys, which words are there -> weights (B, T, N).

        there: bool (B, N), or (B, T, N) where that changes from query to query. centre: of a window that
        moves, where it is by then, (B, T).
        """
        compared = self.query(query)
        if self.score is None:
            scores = compared @ prepared.transpose(1, 2).to(compared.dtype)
        else:
            scores = self.score(torch.tanh(compared[:, :, None] + prepared[:, None]))[..., 0]
        with full_precision(query):
            there = there if there.ndim == 3 else there[:, None]
            scores = scores.float().masked_fill(~there, -torch.inf)
            beside = None
            if self.place is not None:
                if centre is None:
                    assert not self.moves
                    centre = there.sum(2) * self._placed(query)
                place = torch.arange(there.shape[2], device=there.device)
                beside = -2 * ((place - centre[..., None]) / self.width).square()
                scores = scores + beside if self.moves else scores
            weights: Tensor = scores.softmax(-1)
            return weights if beside is None or self.moves else weights * beside.exp()

    def _placed(self, query: Tensor) -> Tensor:
        """sigmoid(v · tanh(W q)) of queries (…, query), (…)."""
        assert self.place is not None
        own = next(self.place.parameters()).dtype
        placed: Tensor = torch.sigmoid(self.place(query.to(own)))[..., 0]
        return placed
