"""How good a text is that was written, beside one that a person wrote: figures over a whole test."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.learn.evaluate import Evaluation
from glimpse_env.data import trees
from glimpse_env.data.files import DatasetError

RESAMPLES = 1000  # of the bootstrap


def bleu(written: Sequence[str], references: Sequence[str], *, lowercase: bool = False) -> Evaluation:
    """SacreBLEU (Post 2018) in percent, tokenised as 13a does, cased unless `lowercase`, one reference each.

    The interval is that of a bootstrap over sentences. Raises DatasetError where sacrebleu is not installed.
    """
    if not written or len(written) != len(references):
        raise ValueError(
            f"BLEU needs a reference for each text, got {len(written)} texts and {len(references)} references"
        )
    scorer = _sacrebleu().BLEU(lowercase=lowercase)
    scored = scorer.corpus_score(list(written), [list(references)], n_bootstrap=RESAMPLES)
    mean, half = scored._mean, scored._ci
    return Evaluation(scored.score, (mean - half, mean + half), len(written))


def plain_bleu(written: Sequence[str], references: Sequence[str]) -> float:
    """The same without the interval, which takes a while."""
    score: float = _sacrebleu().BLEU().corpus_score(list(written), [list(references)]).score
    return score


def f1(counts: NDArray[np.int64]) -> Evaluation:
    """F1 of brackets in percent, over all trees, from how many agree, were said and are right, (n, 3).

    The interval is that of a bootstrap over trees.
    """
    generator = np.random.default_rng(0)
    drawn = generator.integers(len(counts), size=(RESAMPLES, len(counts)))
    low, high = np.percentile([plain_f1(counts[rows]) for rows in drawn], [2.5, 97.5])
    return Evaluation(plain_f1(counts), (float(low), float(high)), len(counts))


def plain_f1(counts: NDArray[np.int64]) -> float:
    """The same without the interval."""
    return 100 * trees.f1(*counts.sum(0).tolist())


def _sacrebleu() -> Any:
    try:
        import sacrebleu
    except ImportError:
        raise DatasetError("BLEU needs sacrebleu: pip install 'glimpse_env[text]', or sacrebleu.") from None
    return sacrebleu
