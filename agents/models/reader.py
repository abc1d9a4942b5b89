"""Readers: networks that see a document and a question about it, and name the entity that is meant.

All but the deep LSTM have LSTMs that read the document and the question from both ends. "deep_lstm",
"attentive" and "impatient" are those of Hermann et al. (2015), "bilinear" is that of Chen, Bolton, Manning
(2016), "attention_sum" that of Kadlec et al. (2016). What is no entity of the document is no answer of any.
"""

from __future__ import annotations

import dataclasses
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from agents import checks
from agents.agent import Agent, Sees, Spec, Step
from agents.cores import LSTM
from agents.device import full_precision
from agents.parts.alignment import Alignment, Kind
from agents.parts.vocabulary import at, trimmed, turned
from glimpse_env.worlds.cloze import FIRST_ENTITY

ReadingKind = Literal["deep_lstm", "attentive", "impatient", "bilinear", "attention_sum"]
READINGS: tuple[ReadingKind, ...] = get_args(ReadingKind)
COMPARED: dict[ReadingKind, Kind] = {
    "attentive": "concat", "impatient": "concat", "bilinear": "general", "attention_sum": "dot",
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class ReaderSettings:
    """What a reader is built from."""

    reading: ReadingKind = "attention_sum"
    """How it reads: "deep_lstm" the question and then the document, in one go; "attentive" attends to the
    document once, "impatient" at every word of the question; "bilinear" as attentive but simpler;
    "attention_sum" adds up the attention that all mentions of an entity have."""
    hidden: int = 128
    """The width of an LSTM, or of both directions, in units."""
    embedding: int = 64
    """The width of a word's embedding, in units."""
    counts: bool = False
    """Whether an entity is also judged by how often, how early and how late it is mentioned and whether the
    question names it, as in Chen et al.'s classifier; their readers do not."""
    dropout: float = 0.3
    """The share of units that training drops, of embeddings and before the answer, in [0, 1)."""

    def __post_init__(self) -> None:
        """Raise ValueError for a number out of range or an unknown way of reading."""
        checks.positive(self, "hidden", "embedding")
        checks.share(self, "dropout")
        if self.reading not in READINGS:
            raise ValueError(f"reading must be one of {READINGS}, got {self.reading!r}")
        if self.hidden % 2:
            raise ValueError(f"hidden must be even, for two directions, got {self.hidden}")

    def build(self, spec: Spec) -> Reader:
        """The reader with fresh weights for documents of `spec`."""
        return Reader(spec, self)


class Reader(Agent):
    """Scores of the entities of a document; it never looks around.

    Raises ValueError for an environment that asks no question.
    """

    sees: Sees = "canvas"
    looks: bool = False

    def __init__(self, spec: Spec, settings: ReaderSettings) -> None:
        super().__init__()
        own = self.settings = settings
        if not spec.question:
            raise ValueError("a reader answers a question, and this environment asks none in words")
        self.entities = spec.num_answers
        self.words = nn.Embedding(spec.words, own.embedding)
        nn.init.normal_(self.words.weight, std=own.embedding**-0.5)
        self.dropout = nn.Dropout(own.dropout)
        answers = own.hidden
        if own.reading == "deep_lstm":
            self.layers = nn.ModuleList(
                [LSTM(own.embedding, own.hidden), LSTM(own.embedding + own.hidden, own.hidden)]
            )
            answers = 2 * own.hidden
        else:
            half = own.hidden // 2
            self.document = nn.ModuleList([LSTM(own.embedding, half), LSTM(own.embedding, half)])
            self.question = nn.ModuleList([LSTM(own.embedding, half), LSTM(own.embedding, half)])
            self.alignment = Alignment(COMPARED[own.reading], own.hidden, own.hidden)
        if own.reading == "impatient":
            self.asked = nn.Linear(2 * own.hidden, own.hidden, bias=False)
            self.kept = nn.Linear(own.hidden, own.hidden)
        if own.reading in ("attentive", "impatient"):
            self.joined = nn.Linear(2 * own.hidden, own.hidden)
        if own.reading != "attention_sum":
            self.answer = nn.Linear(answers, self.entities)
        if own.counts:
            self.judge = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 1))

    def initial(self, batch_size: int) -> None:
        """No answer yet."""

    def forward(
        self, observation: dict[str, Tensor], state: tuple[Tensor, Tensor] | None, sample: bool
    ) -> tuple[Step, tuple[Tensor, Tensor]]:
        """See `Agent.forward`; the state is scores and attention, which do not change in an episode."""
        if state is None:
            state = self.read(observation["canvas"], observation["question"])
        scores, attention = state
        zeros = scores.new_zeros(len(scores))
        return Step(scores.new_zeros(len(scores), 1), scores, zeros, zeros, attention=attention), state

    def read(self, document: Tensor, question: Tensor) -> tuple[Tensor, Tensor]:
        """Word ids (B, N) and (B, Q), 0 beyond their ends -> scores (B, entities), attention (B, N).

        What is no entity of the document scores -inf. The deep LSTM attends to nothing.
        """
        places = document.shape[1]
        document, question = trimmed(document), trimmed(question)
        mentions = self._mentions(document)
        if self.settings.reading == "deep_lstm":
            weights = document.new_zeros(document.shape, dtype=torch.float32)
            scores = self.answer(self.dropout(self._deep(document, question)))
        else:
            scores, weights = self._attend(document, question, mentions)
        with full_precision(scores):
            scores = scores.float()
            if self.settings.counts:
                scores = scores + self._judged(mentions, (document > 0).sum(1), question)
            scores = scores.masked_fill(~mentions.any(1), -torch.inf)
        return scores, F.pad(weights, (0, places - weights.shape[1]))

    def _mentions(self, words: Tensor) -> Tensor:
        """Which entity stands at each place: (B, N) -> bool (B, N, entities)."""
        names = torch.arange(self.entities, device=words.device) + FIRST_ENTITY
        return words[..., None] == names

    def _deep(self, document: Tensor, question: Tensor) -> Tensor:
        """The last outputs of two layers that read the question and then the document, (B, 2 hidden)."""
        asked, length = (question > 0).sum(1, keepdim=True), (document > 0).sum(1)
        place = torch.arange(question.shape[1] + document.shape[1], device=document.device)[None]
        first = question.gather(1, place.clamp_max(question.shape[1] - 1).expand(len(question), -1))
        later = document.gather(1, (place - asked).clamp(0, document.shape[1] - 1))
        words = self.dropout(self.words(torch.where(place < asked, first, later))).transpose(0, 1)
        last = asked[:, 0] + length - 1
        low, _ = self.layers[0].unroll(words, None)  # type: ignore[operator]
        high, _ = self.layers[1].unroll(torch.cat([words, low.to(words.dtype)], -1), None)  # type: ignore[operator]
        return torch.cat([at(low, last), at(high, last)], -1)

    def _attend(self, document: Tensor, question: Tensor, mentions: Tensor) -> tuple[Tensor, Tensor]:
        """Scores and attention of the readers that attend."""
        own = self.settings
        ys, _ = self._both_ways(self.document, document)
        asked, whole = self._both_ways(self.question, question)
        ys, there = ys.transpose(0, 1), document > 0
        prepared = self.alignment.prepare(ys)
        if own.reading == "impatient":
            kept, weights = torch.zeros_like(whole), torch.zeros_like(document, dtype=torch.float32)
            for word, going_on in zip(asked, (question > 0).t(), strict=True):
                query = self.asked(torch.cat([kept, word], -1))
                looked = self.alignment(query[:, None], prepared, there)[:, 0]
                seen = (looked[:, None].to(ys.dtype) @ ys)[:, 0] + torch.tanh(self.kept(kept))
                kept = torch.where(going_on[:, None], seen.to(kept.dtype), kept)
                weights = torch.where(going_on[:, None], looked, weights)
        else:
            weights = self.alignment(whole[:, None], prepared, there)[:, 0]
            if own.reading == "attention_sum":
                summed = (weights[..., None] * mentions).sum(1)
                return summed.clamp_min(1e-9).log(), weights
            kept = (weights[:, None].to(ys.dtype) @ ys)[:, 0]
        if own.reading != "bilinear":
            kept = torch.tanh(self.joined(torch.cat([kept, whole.to(kept.dtype)], -1)))
        scores: Tensor = self.answer(self.dropout(kept))
        return scores, weights

    def _both_ways(self, layers: nn.ModuleList, words: Tensor) -> tuple[Tensor, Tensor]:
        """Words (B, T) read from both ends: outputs (T, B, hidden), and the last ones of both (B, hidden)."""
        length = (words > 0).sum(1).clamp_min(1)
        xs = self.dropout(self.words(words)).transpose(0, 1)
        ahead, _ = layers[0].unroll(xs, None)  # type: ignore[operator]
        back, _ = layers[1].unroll(turned(xs, length), None)  # type: ignore[operator]
        lasts = torch.cat([at(ahead, length - 1), at(back, length - 1)], -1)
        return torch.cat([ahead, turned(back, length)], -1), lasts

    def _judged(self, mentions: Tensor, length: Tensor, question: Tensor) -> Tensor:
        """What counts and places, as shares of the length (B,), say of each entity, (B, entities)."""
        place = torch.arange(mentions.shape[1], device=mentions.device)[None, :, None]
        place = place / (length - 1).clamp_min(1)[:, None, None]
        features = torch.stack(
            [
                mentions.sum(1).float().log1p(),
                torch.where(mentions, place, 1).amin(1),
                torch.where(mentions, place, 0).amax(1),
                self._mentions(question).any(1).float(),
            ],
            -1,
        )
        judged: Tensor = self.judge(features)[..., 0]
        return judged
