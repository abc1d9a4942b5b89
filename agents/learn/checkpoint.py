"""Weights and config in one safetensors file: no pickle, written to a temporary name and renamed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save_file
from torch import Tensor, nn

from agents.learn.files import parsed, write_whole

PACKAGES = ("glimpse_env", "gymnasium", "numpy", "torch")


class CheckpointError(RuntimeError):
    """A checkpoint is missing, damaged or does not fit; the message says which and what to do."""


def save(path: Path, tensors: dict[str, Tensor], config: dict[str, Any]) -> None:
    """Write `tensors` and the JSON-serialisable `config`, beside the versions that made them."""
    write_whole(path, writer(path, tensors, config))


def writer(path: Path, tensors: dict[str, Tensor], config: dict[str, Any]) -> Callable[[Path], None]:
    """A function that writes what `save` does to a temporary file, which is to be renamed `path`.

    It raises OSError, naming `path`, where that cannot be written.
    """

    def fill(temporary: Path) -> None:
        versions = {name: version(name) for name in PACKAGES}
        metadata = {"config": json.dumps(config), "versions": json.dumps(versions)}
        try:
            save_file({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, temporary, metadata)
        except SafetensorError as error:
            raise OSError(f"{path} could not be written: {error}") from None
        temporary.chmod(0o666 & ~umask())  # safetensors lets nobody else read its files

    return fill


def load(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return (tensors, config) of a file that `save` wrote, or raise CheckpointError."""
    if not path.is_file():
        raise CheckpointError(f"there is no checkpoint at {path}: train one with scripts/train.py.")
    try:
        # Read at once, for a training may replace the file, and nowhere replaces one that is mapped.
        data = path.read_bytes()
        header = parsed(data[8 : 8 + int.from_bytes(data[:8], "little")])
        return load_tensors(data), parsed(header["__metadata__"]["config"])
    except PermissionError:
        raise CheckpointError(f"{path} may not be read: see to its permissions.") from None
    except (SafetensorError, KeyError, TypeError, ValueError, OSError) as error:
        raise CheckpointError(
            f"{path} is not a checkpoint of this project or is damaged "
            f"({type(error).__name__}): restore or retrain it."
        ) from None


def umask() -> int:
    """The permissions that this process takes from new files."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def load_weights(module: nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    """Copy `tensors` into `module`, or raise CheckpointError naming the first that does not fit."""
    own = module.state_dict()
    for name in own.keys() | tensors.keys():
        here = tuple(own[name].shape) if name in own else None
        there = tuple(tensors[name].shape) if name in tensors else None
        if here != there:
            raise CheckpointError(
                f"{path} does not fit this agent: {name} is {there} in the file and {here} here; "
                "use the environment and settings it was trained with."
            )
    module.load_state_dict(tensors)


def start_from(agent: nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    """Copy `tensors` into `agent`; a classifier of other answers keeps its fresh weights.

    A part that `agent` does not have at all, as DRAM without context has no context network, is left out.
    Raises CheckpointError naming the first tensor that does not fit.
    """
    parts = {name.split(".")[0] for name in agent.state_dict()}
    tensors = {k: v for k, v in tensors.items() if k.split(".")[0] in parts}
    fresh = {k: v for k, v in agent.state_dict().items() if k.startswith("classifier.")}
    other = {k: v for k, v in fresh.items() if k in tensors and tensors[k].shape != v.shape}
    load_weights(agent, {**tensors, **other}, path)


def flatten_optimizer(optimizer: torch.optim.Optimizer, prefix: str = "optimizer.") -> dict[str, Tensor]:
    """The optimiser's per-weight state as flat tensors, so that it fits into a safetensors file."""
    state = optimizer.state_dict()["state"]
    return {f"{prefix}{i}.{name}": value for i, own in state.items() for name, value in own.items()}


def restore_optimizer(
    optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor], prefix: str = "optimizer."
) -> None:
    """Undo `flatten_optimizer`; the learning rate is the schedule's business."""
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in part(tensors, prefix).items():
        index, name = key.split(".")
        weight = weights[int(index)]
        if value.shape == weight.shape:
            # In memory as the weight is, channels last or not: fused optimisers go through both alike.
            value = torch.empty_like(weight, dtype=value.dtype).copy_(value)
        state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose name begins with `prefix`, without it."""
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def with_prefix(module: nn.Module, prefix: str) -> dict[str, Tensor]:
    """The module's tensors, each name after `prefix`."""
    return {prefix + name: value for name, value in module.state_dict().items()}
