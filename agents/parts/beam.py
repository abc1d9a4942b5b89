"""Beam search: the best whole answers that a model of words can find, in place of each best next word."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from agents.agent import State, select


class Speaker(Protocol):
    """A model that reads texts once and then says words one by one, as models.seq2seq has it."""

    def read(self, canvas: Tensor) -> State:
        """Texts (B, N) -> the state before the first word, a dict: `weights` (B, N) are its last look."""

    def say(self, heard: Tensor, state: State) -> tuple[Tensor, State]:
        """The word said last, one more than its answer or 0, (B,) -> scores (B, n) and the state."""


@torch.inference_mode()
def search(
    model: Speaker,
    canvas: Tensor,
    end: int,
    most: int,
    *,
    beams: int = 5,
    length_weight: float = 1.0,
    coverage_weight: float = 0.0,
    never: Sequence[int] = (),
) -> list[list[int]]:
    """The best answers to texts (B, N) that are found with so many beams, `end` left out.

    Of finished answers Y to X that one is the best whose log p / ((5 + |Y|) / 6)^length_weight +
    coverage_weight * sum_i log min(sum_j weights_ij, 1) is the highest (Wu et al. 2016, equation 14); with
    one beam that is the most probable word at every step. most: how many words an answer may have, `end`
    included; one that has not ended by then is cut. never: words that no answer may have.
    """
    batch, device = len(canvas), canvas.device
    state = select(model.read(canvas), torch.arange(batch, device=device).repeat_interleave(beams))
    heard = torch.zeros(batch * beams, dtype=torch.long, device=device)
    total = torch.full((batch, beams), -torch.inf, device=device)
    total[:, 0] = 0  # all beams begin alike: one is enough
    words = torch.zeros(batch, beams, 0, dtype=torch.long, device=device)
    covered = torch.zeros(batch, beams, 0, device=device)
    best = torch.full((batch,), -torch.inf, device=device)
    answers: list[list[int]] = [[] for _ in range(batch)]
    finished = torch.zeros(batch, dtype=torch.long, device=device)
    likeliest, done = torch.full_like(best, -torch.inf), torch.zeros(batch, dtype=torch.bool, device=device)
    first = torch.arange(batch, device=device)[:, None] * beams
    for step in range(1, most + 1):
        scores, state = model.say(heard, state)
        log_p = scores.float().log_softmax(-1).view(batch, beams, -1)
        log_p[..., list(never)] = -torch.inf
        n = log_p.shape[-1]
        looks = state["weights"].view(batch, beams, -1)
        covered = looks if step == 1 else covered + looks
        # A beam that died may have no word that it is allowed to say, whose log p is then no number.
        dead = total[..., None].isneginf()
        candidates, places = (
            (total[..., None] + log_p).masked_fill(dead, -torch.inf).flatten(1).topk(2 * beams)
        )
        beam, word = places // n, places % n
        ends = word == end
        if step == most:
            ends = torch.ones_like(ends)
        # An end counts if it is among the best `beams`, as fairseq and others have it. A text with as many
        # answers is done, however long the others of its batch are searched, unless what goes on is likelier
        # than all of them: who is sure of its words has ends among its best that it hardly believes.
        among = torch.arange(2 * beams, device=device) < beams
        counted = ends & among & candidates.isfinite() & ~done[:, None]
        penalty = ((5 + step) / 6) ** length_weight
        reached = covered.gather(1, beam[..., None].expand(-1, -1, covered.shape[-1]))
        cover = reached.clamp(1e-9, 1).log().masked_fill(~_there(state, batch, beams), 0).sum(-1)
        value = (candidates / penalty + coverage_weight * cover).masked_fill(~counted, -torch.inf)
        top, which = value.max(1)
        for b in (top > best).nonzero()[:, 0].tolist():
            k = int(which[b])
            last = [] if int(word[b, k]) == end else [int(word[b, k])]
            answers[b] = words[b, beam[b, k]].tolist() + last
        best = torch.maximum(best, top)
        finished += counted.sum(1)
        likeliest = torch.maximum(likeliest, candidates.masked_fill(~counted, -torch.inf).amax(1))
        candidates = candidates.masked_fill(ends, -torch.inf)
        done |= (finished >= beams) & (candidates.amax(1) <= likeliest)
        if bool(done.all()) or step == most or bool(candidates.isneginf().all()):
            break
        total, chosen = candidates.topk(beams)
        beam, word = beam.gather(1, chosen), word.gather(1, chosen)
        words = torch.cat(
            [words.gather(1, beam[..., None].expand(-1, -1, words.shape[-1])), word[..., None]], -1
        )
        covered = covered.gather(1, beam[..., None].expand(-1, -1, covered.shape[-1]))
        state = select(state, (first + beam).flatten())
        heard = word.flatten() + 1
    return answers


def _there(state: State, batch: int, beams: int) -> Tensor:
    """Which words of each text there are, (B, 1, N)."""
    there: Tensor = state["there"].view(batch, beams, -1)[:, :1]
    return there
