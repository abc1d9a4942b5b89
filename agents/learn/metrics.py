"""How good a text is that was written, beside one that a person wrote: figures over a whole test."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from agents.learn import meteor
from agents.learn.evaluate import Evaluation, mean_of
from glimpse_env.data import trees
from glimpse_env.data.files import DatasetError
from glimpse_env.scores import Cider

RESAMPLES = 1000  # of the bootstrap


def bleu(written: Sequence[str], references: Sequence[str], *, lowercase: bool = False) -> Evaluation:
    """SacreBLEU (Post 2018) in percent, tokenised as 13a does, cased unless `lowercase`, one reference each.

    The interval is that of a bootstrap over sentences. Raises DatasetError where sacrebleu is not installed
    and ValueError for lists that are empty or of different lengths.
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


def caption_bleu(written: Sequence[str], references: Sequence[Sequence[str]], order: int = 4) -> float:
    """BLEU of captions with n-grams up to `order`, in percent, without smoothing, several references each.

    Words are taken as they are, and of the references that which is closest in length counts.
    """
    score: float = _bleu_of_captions(order).corpus_score(list(written), _streams(references)).score
    return score


def caption_cider(written: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """CIDEr-D of captions, several references each, in which it counts how common n-grams are.

    In percent: a CIDEr-D of 1, of at most 10, is 100.
    """
    return float(_ciders(written, references).mean())


def bleu_of_captions(
    written: Sequence[str], references: Sequence[Sequence[str]], order: int = 4
) -> Evaluation:
    """BLEU of captions (`caption_bleu`), with the interval of a bootstrap over captions."""
    scored = _bleu_of_captions(order).corpus_score(list(written), _streams(references), n_bootstrap=RESAMPLES)
    return Evaluation(scored.score, (scored._mean - scored._ci, scored._mean + scored._ci), len(written))


def captions(written: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, Evaluation]:
    """BLEU-1 to BLEU-4, METEOR and CIDEr-D of captions, several references each, by name, in percent.

    METEOR (learn/meteor.py) is left out where its lists are not at hand. CIDEr-D (`glimpse_env.scores`)
    counts how common n-grams are in these references; 100 is a CIDEr-D of 1. The intervals of
    BLEU and METEOR, which add up before they divide, are those of a bootstrap over captions.
    """
    found = {}
    for order in range(1, 5):
        found[f"bleu{order}"] = bleu_of_captions(written, references, order)
    pairs = [
        (one.split(), [other.split() for other in others])
        for one, others in zip(written, references, strict=True)
    ]
    if meteor.at_hand():
        counts = np.array([meteor.meteor(one, others) for one, others in pairs])
        drawn = np.random.default_rng(0).integers(len(counts), size=(RESAMPLES, len(counts)))
        scores = [100 * meteor.whole(counts[rows]) for rows in (slice(None), *drawn)]
        low, high = np.percentile(scores[1:], [2.5, 97.5])
        found["meteor"] = Evaluation(scores[0], (float(low), float(high)), len(written))
    return found | {"cider": mean_of(_ciders(written, references))}


def of_one_caption() -> dict[str, Callable[[str, list[str]], float]]:
    """Metrics of one caption beside several references, the higher the better, by name.

    BLEU counts where no n-gram matches as if a billionth did, so that captions can be compared; TER has its
    sign changed. Raises DatasetError where a library is not installed.
    """
    sacrebleu, rouge = _sacrebleu(), _rouge()

    def bleu_of(order: int) -> Callable[[str, list[str]], float]:
        scorer = sacrebleu.BLEU(
            tokenize="none", smooth_method="floor", smooth_value=1e-9, max_ngram_order=order
        )
        scorer.effective_order = False
        return lambda said, others: float(scorer.corpus_score([said], [[other] for other in others]).score)

    chrf, ter = sacrebleu.CHRF(), sacrebleu.TER()
    return {
        **{f"BLEU-{order}": bleu_of(order) for order in range(1, 5)},
        "METEOR": lambda said, others: meteor.meteor(said.split(), [other.split() for other in others]).score,
        "TER": lambda said, others: -float(ter.sentence_score(said, others).score),
        "LEPOR": lambda said, others: max(lepor(said.split(), other.split()) for other in others),
        "ROUGE-L": lambda said, others: float(rouge.score_multi(others, said)["rougeL"].fmeasure),
        "chrF": lambda said, others: float(chrf.sentence_score(said, others).score),
    }


def _ciders(written: Sequence[str], references: Sequence[Sequence[str]]) -> Tensor:
    """CIDEr-D of each caption, (n,)."""
    split = [[other.split() for other in others] for others in references]
    cider = Cider(split)
    pairs = zip(written, split, strict=True)
    return 100 * torch.tensor([cider(one.split(), others) for one, others in pairs])


def _bleu_of_captions(order: int) -> Any:
    return _sacrebleu().BLEU(tokenize="none", smooth_method="none", max_ngram_order=order)


def _streams(references: Sequence[Sequence[str]]) -> list[list[str | None]]:
    """References as sacrebleu has them: of all pictures the first ones, the second ones, and so on."""
    most = max(map(len, references))
    return [[others[i] if i < len(others) else None for others in references] for i in range(most)]


def by_other_metrics(written: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """Texts by the other metrics of the literature, one reference each, by name, in percent.

    chrF (Popović 2015) and TER (Snover et al. 2006; the lower the better) of all texts at once by sacrebleu;
    means over texts of ROUGE-L (Lin 2004) by rouge-score, METEOR (Banerjee, Lavie 2005, nltk's, of equal
    words and English stems without synonyms, which is not METEOR 1.5) and LEPOR. Raises DatasetError where a
    library is not installed.
    """
    sacrebleu, rouge, meteor_of = _sacrebleu(), _rouge(), _meteor()
    both = [(tokens(one), tokens(other)) for one, other in zip(written, references, strict=True)]
    means = {
        "ROUGE-L": [
            rouge.score(other, one)["rougeL"].fmeasure for one, other in zip(written, references, strict=True)
        ],
        "METEOR": [meteor_of([other], one, wordnet=_NoSynonyms()) for one, other in both],
        "LEPOR": [lepor(one, other) for one, other in both],
    }
    return {
        "chrF": sacrebleu.CHRF().corpus_score(list(written), [list(references)]).score,
        "TER": sacrebleu.TER().corpus_score(list(written), [list(references)]).score,
        **{name: 100 * sum(values) / len(values) for name, values in means.items()},
    }


def lepor(written: Sequence[str], reference: Sequence[str], alpha: float = 9.0, beta: float = 1.0) -> float:
    """LEPOR (Han, Wong, Chao 2012) of a text's words beside a reference's, from 0 to 1.

    The product of a penalty for another length, exp(1 - longer / shorter), one for words at other places,
    exp of minus the mean distance of the places that match, as shares of the lengths, and the harmonic mean
    of recall and precision, weighted alpha to beta. A word matches one of the reference that no other has:
    of several the one whose neighbour matches too, else the nearest.
    """
    if not written or not reference:
        return 0.0
    matched = _places(written, reference)
    if not matched:
        return 0.0
    short, long = sorted((len(written), len(reference)))
    away = sum(abs((i + 1) / len(written) - (j + 1) / len(reference)) for i, j in matched.items())
    precision, recall = len(matched) / len(written), len(matched) / len(reference)
    harmonic = (alpha + beta) / (alpha / recall + beta / precision)
    return math.exp(1 - long / short) * math.exp(-away / len(written)) * harmonic


def _places(written: Sequence[str], reference: Sequence[str]) -> dict[int, int]:
    """Which place of the reference each place of a text matches."""
    taken: dict[int, int] = {}

    def like(i: int, j: int) -> bool:
        return 0 <= i < len(written) and 0 <= j < len(reference) and written[i] == reference[j]

    for i, word in enumerate(written):
        free = [j for j, other in enumerate(reference) if other == word and j not in taken.values()]
        near = [j for j in free if like(i - 1, j - 1) or like(i + 1, j + 1)] or free
        if near:
            share = (i + 1) / len(written)
            taken[i] = min(near, key=lambda j: abs((j + 1) / len(reference) - share))
    return taken


class _NoSynonyms:
    """What METEOR asks for synonyms, where WordNet is not at hand."""

    def synsets(self, word: str) -> list[Any]:
        return []


class _Tokens:
    """Words for rouge-score, whose own are of the letters a to z alone."""

    def tokenize(self, text: str) -> list[str]:
        return tokens(text)


def tokens(text: str) -> list[str]:
    """Words and punctuation in lower case."""
    return re.findall(r"\w+|[^\w\s]", text.lower())


def _meteor() -> Any:
    try:
        from nltk.translate.meteor_score import meteor_score
    except ImportError:
        raise DatasetError("METEOR needs nltk: pip install 'glimpse_env[text]', or nltk.") from None
    return meteor_score


def _rouge() -> Any:
    try:
        from rouge_score.rouge_scorer import RougeScorer
    except ImportError:
        raise DatasetError("ROUGE needs rouge-score: pip install 'glimpse_env[text]'.") from None
    return RougeScorer(["rougeL"], tokenizer=_Tokens())


def _sacrebleu() -> Any:
    try:
        import sacrebleu
    except ImportError:
        raise DatasetError("BLEU needs sacrebleu: pip install 'glimpse_env[text]', or sacrebleu.") from None
    return sacrebleu
