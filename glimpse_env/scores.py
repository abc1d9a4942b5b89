"""How good a text is that was said, beside the right one: from 0 to 1, 1 for the same text."""

from __future__ import annotations

from glimpse_env.data.files import DatasetError


def chrf(said: str, right: str) -> float:
    """The F score of character n-grams up to six, recall counting twice (chrF2, Popović 2015), by sacrebleu.

    Raises DatasetError where sacrebleu is not installed.
    """
    try:
        from sacrebleu.metrics.chrf import CHRF
    except ImportError:
        raise DatasetError(
            "reward 'score' needs sacrebleu: pip install 'glimpse_env[text]', or sacrebleu."
        ) from None
    score: float = CHRF().sentence_score(said, [right]).score / 100
    return min(score, 1.0)
