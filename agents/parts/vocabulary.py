"""What models of sentences share: embeddings of words heard and read, texts turned round, mean looks."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from agents.agent import Spec


def embeddings(spec: Spec, width: int, tied: bool) -> tuple[nn.Embedding, nn.Embedding | None]:
    """Embeddings of what is heard, 0 being nothing and n + 1 answer n, and of what is read, None if tied.

    Vectors are `width` wide and about one long. Raises ValueError for one embedding of two vocabularies.
    """
    if tied and spec.words != spec.num_answers:
        raise ValueError(
            f"one embedding is for one vocabulary, and there are {spec.words} words to read and "
            f"{spec.num_answers} to say: set tied to False"
        )
    heard = nn.Embedding(spec.num_answers + 1, width)
    read = None if tied else nn.Embedding(spec.words, width)
    for table in (heard, read):
        if table is not None:
            nn.init.normal_(table.weight, std=width**-0.5)
    return heard, read


def check_answers_every_glimpse(spec: Spec) -> None:
    """Raise ValueError for an environment with more than one glimpse an answer."""
    if spec.horizon != spec.length:
        raise ValueError(
            f"it answers at every glimpse, and there are {spec.horizon} for {spec.length} answers: "
            "set glimpses_per_answer to 1"
        )


def mean_place(weights: Tensor) -> Tensor:
    """The mean place of attention weights (B, N) as a gaze (B, 1), detached; the first where all are 0."""
    place = torch.arange(weights.shape[1], device=weights.device, dtype=weights.dtype)
    mean = (weights * place).sum(1, keepdim=True) / weights.sum(1, keepdim=True).clamp_min(1e-9)
    gaze: Tensor = (2 * mean / max(weights.shape[1] - 1, 1) - 1).detach()
    return gaze


def turned(xs: Tensor, length: Tensor) -> Tensor:
    """Sequences xs (T, B, n) from their ends, each of `length` (B,); what lies beyond stays where it is."""
    place = torch.arange(len(xs), device=xs.device)[:, None]
    source = torch.where(place < length, length - 1 - place, place)
    return xs.gather(0, source[..., None].expand_as(xs))


def at(xs: Tensor, place: Tensor) -> Tensor:
    """The step `place` (B,) of each sequence of xs (T, B, n): (B, n)."""
    return xs[place, torch.arange(xs.shape[1], device=xs.device)]


def trimmed(words: Tensor) -> Tensor:
    """Texts (B, N), 0 beyond their ends, without the places beyond the longest; at least one place."""
    if words.is_meta:  # which has no values
        return words
    return words[:, : max(int((words > 0).sum(1).max()), 1)]
