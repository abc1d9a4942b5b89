"""Which device computes, in which precision, and with which random numbers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

DEVICES = ("auto", "cpu", "cuda")


def choose(name: str) -> torch.device:
    """The device of that name; "auto" is a GPU where there is one. ValueError for one that is not there."""
    if name not in DEVICES:
        raise ValueError(f"device must be one of {DEVICES}, got {name!r}")
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("device 'cuda' is not available, for torch sees no GPU: use --device cpu or auto")
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(name)


def computes_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16; a CPU that only imitates it takes 66 times as long (AVX2)."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    able = torch.cpu.get_capabilities()
    return bool(able.get("avx512_bf16") or able.get("amx_bf16"))


def mixed_precision(device: torch.device, wanted: bool) -> Any:
    """A context in which matrix products are in bfloat16, if that is wanted and the device can."""
    return torch.autocast(device.type, torch.bfloat16, enabled=wanted and computes_bfloat16(device))


def full_precision(like: Tensor) -> Any:
    """A context, inside `mixed_precision` too, in which all is computed as precisely as its operands are.

    A gaze in bfloat16 is up to 0.2 pixels off.
    """
    kind = like.device.type
    return torch.autocast(kind if kind == "cuda" else "cpu", enabled=False)


@contextlib.contextmanager
def seeded(seed: int, device: torch.device | None = None) -> Iterator[None]:
    """A context with torch's generator seeded; afterwards it goes on as if nothing had been drawn.

    device: whose generator is seeded, too, if it is a GPU.
    """
    gpus = [device] if device is not None and device.type == "cuda" else []
    with torch.random.fork_rng(gpus):
        torch.default_generator.manual_seed(seed)  # and no GPU's, whose state would not be put back
        for gpu in gpus:
            with torch.cuda.device(gpu):
                torch.cuda.manual_seed(seed)
        yield
