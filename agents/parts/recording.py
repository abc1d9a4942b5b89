"""An episode of RAM, played without a graph and differentiated over all steps at once.

A step of RAM is some twenty small operations, and autograd calls as many again on the way back. Only the
gradient that flows from one step's hidden state to the previous one must be computed step by step; the
gradient of every weight is one matrix product over all steps.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from agents.cores import Elman
from agents.cores.core import as_in_autocast
from agents.parts.glimpse_networks import GlimpseNetwork


class Layers(NamedTuple):
    """The weights of a `GlimpseNetwork` and of Elman's rectified core, or their gradients."""

    what: Tensor
    what_bias: Tensor
    where: Tensor
    where_bias: Tensor
    what_out: Tensor
    what_out_bias: Tensor
    where_out: Tensor
    glimpse: Tensor
    glimpse_bias: Tensor
    recurrent: Tensor


class Activations(NamedTuple):
    """What a step computes, (B, n), or all of them, (T, B, n): see `GlimpseNetwork` and `Elman`."""

    retina: Tensor
    gaze: Tensor
    what: Tensor
    where: Tensor
    glimpse: Tensor
    hidden: Tensor


class Recording:
    """Steps of an episode and what they computed, in the precision that matrix products have here."""

    def __init__(self, network: GlimpseNetwork, core: Elman) -> None:
        self.weights = Layers(
            network.what.weight,
            network.what.bias,
            network.where.weight,
            network.where.bias,
            network.what_out.weight,
            network.what_out.bias,
            network.where_out.weight,
            core.glimpse.weight,
            core.glimpse.bias,
            core.recurrent.weight,
        )
        self.used = Layers(*as_in_autocast(tuple(weight.detach() for weight in self.weights)))
        self.steps: list[Activations] = []

    @classmethod
    def of(cls, network: nn.Module, core: nn.Module) -> Recording | None:
        """A recording of the paper's glimpse network and core; None for any other."""
        if type(network) is GlimpseNetwork and type(core) is Elman and core.activation == "relu":
            return cls(network, core)
        return None

    def step(self, retina: Tensor, gaze: Tensor) -> Tensor:
        """The hidden state (B, hidden) after a retina (B, scales * C, s, s) and a gaze (B, 2), no graph."""
        w = self.used
        retina, gaze = retina.flatten(1).to(w.what.dtype), gaze.to(w.what.dtype)
        what = torch.addmm(w.what_bias, retina, w.what.t()).relu_()
        where = torch.addmm(w.where_bias, gaze, w.where.t()).relu_()
        glimpse = torch.addmm(w.what_out_bias, what, w.what_out.t()).addmm_(where, w.where_out.t()).relu_()
        hidden = torch.addmm(w.glimpse_bias, glimpse, w.glimpse.t())
        if self.steps:
            hidden.addmm_(self.steps[-1].hidden, w.recurrent.t())
        self.steps.append(Activations(retina, gaze, what, where, glimpse, hidden.relu_()))
        return hidden

    def hidden(self) -> Tensor:
        """All hidden states (T, B, hidden), in the weights' precision, with gradients to the weights."""
        kept = Activations(*(torch.stack(parts) for parts in zip(*self.steps, strict=True)))
        states: Tensor = _Episode.apply(kept, self.used, *self.weights)  # type: ignore[no-untyped-call]  # torch's
        return states


class _Episode(torch.autograd.Function):
    """(what was computed, with which weights, the weights) -> the hidden states (T, B, hidden)."""

    @staticmethod
    def forward(ctx: Any, kept: Activations, used: Layers, *weights: Tensor) -> Tensor:
        """Compute nothing again: return the recorded hidden states, and keep the rest for backward."""
        ctx.kept, ctx.used, ctx.dtype = kept, used, weights[0].dtype
        # A copy: were the output what is kept, each would hold the other, and every episode stay in memory.
        return kept.hidden.to(ctx.dtype, copy=True)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """(T, B, hidden) -> the gradient of each weight."""
        kept, w = ctx.kept, ctx.used
        each = gradients[0].to(kept.hidden.dtype).clone()  # becomes that of what was rectified
        after = each[-1].copy_(_rectified(each[-1], kept.hidden[-1]))
        for t in reversed(range(len(each) - 1)):
            gradient = torch.addmm(each[t], after, w.recurrent)
            after = each[t].copy_(_rectified(gradient, kept.hidden[t]))
        retina, gaze, what, where, glimpse, _ = (part.flatten(0, 1) for part in kept)
        hidden = each.flatten(0, 1)
        of_glimpse = _rectified(hidden @ w.glimpse, glimpse)
        of_what = _rectified(of_glimpse @ w.what_out, what)
        of_where = _rectified(of_glimpse @ w.where_out, where)
        found = Layers(
            what=of_what.t() @ retina,
            what_bias=of_what.sum(0),
            where=of_where.t() @ gaze,
            where_bias=of_where.sum(0),
            what_out=of_glimpse.t() @ what,
            what_out_bias=of_glimpse.sum(0),
            where_out=of_glimpse.t() @ where,
            glimpse=hidden.t() @ glimpse,
            glimpse_bias=hidden.sum(0),
            recurrent=each[1:].flatten(0, 1).t() @ kept.hidden[:-1].flatten(0, 1),
        )
        return None, None, *(gradient.to(ctx.dtype) for gradient in found)


def _rectified(gradient: Tensor, output: Tensor) -> Tensor:
    """The gradient before a rectifier from that behind it, whose output was `output`."""
    passed: Tensor = torch.ops.aten.threshold_backward(gradient, output, 0.0)
    return passed
