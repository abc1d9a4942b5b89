"""Training in several processes: each plays its share of every batch, and their gradients are averaged.

`torchrun --nproc-per-node 2 scripts/train.py NAME` starts them, here or on several machines, and tells each
its rank. They meet over gloo, or over nccl where GPUs compute. What is drawn for the gazes is drawn for the
whole batch by all of them, so that N processes train as one would on the same batch; what depends on how
rows are grouped does not: dropout, batch normalisation, padding, and episodes that are not equally long. Each
process also draws its own pixels of binarised pictures, reconstructions of a Boltzmann machine, hard looks at
texts and pictures, and sequences without an environment.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import signal
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, distributed, nn

PATIENCE = datetime.timedelta(hours=2)  # while the first process validates, the others wait
SPREAD = 0x9E3779B9  # between the seeds of ranks, of which torch heeds the lower 32 bits
_drawn: torch.Generator | None = None  # what all ranks draw alike, while they train together


class RankError(RuntimeError):
    """Training together is not possible, or has ended because another process did; the message says so."""


def ranks() -> int:
    """How many processes train together."""
    return distributed.get_world_size() if _drawn is not None else 1


def rank() -> int:
    """Which of them this is; 0 validates and writes."""
    return distributed.get_rank() if _drawn is not None else 0


@contextlib.contextmanager
def together(device: torch.device) -> Iterator[None]:
    """A context in which the processes that torchrun started train together; without it one trains alone.

    Raises RankError where they cannot meet, and, in what it holds too, when another process has ended.
    """
    global _drawn
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        yield
        return
    nccl = device.type == "cuda"
    if nccl:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    usual = signal.signal(signal.SIGTERM, _stopped)  # with which torchrun ends the others
    try:
        _meet("nccl" if nccl else "gloo")
        _drawn = torch.Generator(device)
        yield
    except distributed.DistError as error:
        raise RankError(f"another rank has ended ({_first_line(error)}); {GO_ON}") from None
    except RuntimeError as error:
        if type(error) is not RuntimeError or not _is_of_a_peer(error):
            raise
        raise RankError(f"another rank has ended; {GO_ON}") from None
    finally:
        _drawn = None
        signal.signal(signal.SIGTERM, usual)
        if distributed.is_initialized():
            distributed.destroy_process_group()


GO_ON = "--resume goes on after the last whole epoch, with any number of ranks"


def _meet(backend: str) -> None:
    try:
        distributed.init_process_group(backend, timeout=PATIENCE)
    except (RuntimeError, ValueError) as error:
        place = ":".join(os.environ.get(key, "?") for key in ("MASTER_ADDR", "MASTER_PORT"))
        raise RankError(
            f"the ranks cannot meet at {place} ({_first_line(error)}): "
            "give torchrun a --master-port that is free"
        ) from None


def _stopped(*_: object) -> None:
    raise RankError(f"told to stop, as torchrun does when another rank has ended; {GO_ON}")


def _is_of_a_peer(error: RuntimeError) -> bool:
    """Whether gloo says that it has lost another process, which it does in words alone."""
    return any(part in str(error) for part in ("gloo", "peer", "Connection"))


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]


def share_of(batch_size: int) -> int:
    """How many rows of a batch are this process's own; ValueError where they cannot be shared evenly."""
    if batch_size % ranks():
        raise ValueError(
            f"a batch_size of {batch_size} cannot be shared among {ranks()} ranks: choose a multiple of it"
        )
    return batch_size // ranks()


def own(rows: list[int]) -> list[int]:
    """Of what a whole batch has, a row each, what this process's share has."""
    share = share_of(len(rows))
    return rows[rank() * share : (rank() + 1) * share]


def seed(number: int) -> None:
    """Seed what all ranks draw alike with `number`, as one process would, and the rest by rank."""
    if _drawn is not None:
        _drawn.manual_seed(number)
    torch.manual_seed(number + SPREAD * rank())


def randn_like(like: Tensor) -> Tensor:
    """Normal noise for the rows of `like`; in training, these rows' part of the whole batch's."""
    if _drawn is None or torch.is_inference_mode_enabled():
        return torch.randn_like(like)
    return _rows(torch.randn(_whole(like), generator=_drawn, device=like.device, dtype=like.dtype))


def rand_like(like: Tensor) -> Tensor:
    """The same, uniform in [0, 1)."""
    if _drawn is None or torch.is_inference_mode_enabled():
        return torch.rand_like(like)
    return _rows(torch.rand(_whole(like), generator=_drawn, device=like.device, dtype=like.dtype))


def _whole(like: Tensor) -> tuple[int, ...]:
    return (ranks() * like.shape[0], *like.shape[1:])


def _rows(drawn: Tensor) -> Tensor:
    return drawn.tensor_split(ranks())[rank()]


def copy_from_first(model: nn.Module) -> None:
    """Give the model the weights that it has on the first rank."""
    if ranks() > 1:
        model.load_state_dict(from_first(model.state_dict()))


def average_gradients(model: nn.Module) -> None:
    """Replace every gradient by the mean over the ranks; a weight that none of them used keeps None."""
    if ranks() == 1:
        return
    weights = list(model.parameters())
    used = torch.tensor([w.grad is not None for w in weights], dtype=torch.float32, device=weights[0].device)
    parts = [torch.zeros_like(w) if w.grad is None else w.grad for w in weights]
    flat = torch.cat([used, *(part.flatten().float() for part in parts)])
    distributed.all_reduce(flat)
    used, flat = flat[: len(weights)], flat[len(weights) :] / ranks()
    means = torch.split(flat, [w.numel() for w in weights])
    for w, mean, count in zip(weights, means, used.tolist(), strict=True):
        # In memory as the weight is, channels last or not: fused optimisers go through both alike.
        w.grad = torch.empty_like(w).copy_(mean.view(w.shape)) if count else None


def mean(figure: Tensor) -> Tensor:
    """The mean of a figure over the ranks."""
    if ranks() > 1:
        figure = figure.detach().float().clone()
        distributed.all_reduce(figure)
        figure /= ranks()
    return figure


def from_first(what: Any) -> Any:
    """What the first rank has, on all."""
    if ranks() == 1:
        return what
    held = [what]
    distributed.broadcast_object_list(held)
    return held[0]
