"""Steps of a sequence that a model predicts: symbols, or rows of pixels that are 0 or 1."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def surprise(scores: Tensor, steps: Tensor) -> Tensor:
    """-log p of the steps that came, (T, B), in nats: of symbols int64 (T, B), or of all pixels (T, B, n).

    scores: (T, B, n), a softmax's of symbols, a sigmoid's of each pixel.
    """
    if steps.is_floating_point():
        return F.binary_cross_entropy_with_logits(scores, steps, reduction="none").sum(-1)
    return F.cross_entropy(scores.flatten(0, 1), steps.flatten(), reduction="none").view(steps.shape)


def drawn(probabilities: Tensor, samples: int = 1) -> Tensor:
    """Indices that are drawn of probabilities (B, n), with replacement: int64 (B, samples).

    Raises ValueError for what is not finite.
    """
    return torch.multinomial(_finite(probabilities), samples, replacement=True)


def _finite(probabilities: Tensor) -> Tensor:
    if not probabilities.isfinite().all():
        raise ValueError(
            "what is drawn from is not finite: train anew with a lower learning_rate or clip; what the "
            "epochs before this one wrote is kept."
        )
    return probabilities


def draw(scores: Tensor, symbols: bool, temperature: float = 1.0) -> Tensor:
    """A step drawn from scores (B, n): symbols (B,), or pixels (B, n).

    temperature: what scores are divided by, at least 0; at 0, or so near to it that float32 has no such
    number, it is the most probable step. Raises ValueError for scores that are not finite.
    """
    if 0 < temperature < torch.finfo(torch.float32).tiny:
        temperature = 0
    if symbols:
        if temperature == 0:
            return scores.argmax(-1)
        below = scores - scores.amax(-1, keepdim=True)  # which a small temperature leaves finite at the top
        return drawn((below / temperature).softmax(-1))[:, 0]
    if temperature == 0:
        return (scores > 0).float()
    return torch.bernoulli(_finite(torch.sigmoid(scores / temperature)))
