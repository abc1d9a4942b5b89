"""One's own pictures as an environment, in a line."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from glimpse_env import datasets
from glimpse_env.registry import SINGLE, VECTOR


def register_custom(name: str, images: Any, labels: Any = None, **keywords: Any) -> str:
    """Register `Glimpse/NAME-v0` over one's own pictures and return that id, for `make` and `make_vec`.

    images: uint8 (N, h, w), (N, C, h, w) or (N, h, w, 3) with labels (N,), or the path of a folder with
    one sub-folder a class. Of every ten pictures seven train, one validates, two test. keywords: as of
    `GlimpseVectorEnv`; the canvas is as large as the pictures unless canvas_size says otherwise. Arrays
    are known to this process alone; a folder works in any.
    Raises ValueError or DatasetError for pictures that cannot be used and for a name that is taken.
    """
    if isinstance(images, str | Path):
        if labels is not None:
            raise ValueError("labels of a folder are its sub-folders: leave labels out")
        dataset = f"folder:{Path(images).expanduser().resolve()}"
    else:
        dataset = f"custom:{name}"
        datasets.register(dataset, images, labels)
    height, width = datasets.load(dataset, "train").images.shape[2:]
    kwargs = {"dataset": dataset, "canvas_size": max(height, width), **keywords}
    env_id = f"Glimpse/{name}-v0"
    known = gymnasium.registry.get(env_id)
    if known is not None and known.kwargs != kwargs:
        raise ValueError(f"{env_id} is registered with {known.kwargs}: choose another name")
    if known is None:
        gymnasium.register(env_id, entry_point=SINGLE, vector_entry_point=VECTOR, kwargs=kwargs)
    return env_id


def make_custom(images: Any, labels: Any = None, *, num_envs: int | None = None, **keywords: Any) -> Any:
    """An environment over one's own pictures; with `num_envs` a vector env. See `register_custom`."""
    if isinstance(images, str | Path):
        content = str(Path(images).resolve()).encode()
    else:
        images = np.ascontiguousarray(images)
        content = repr(images.shape).encode() + images.tobytes() + np.ascontiguousarray(labels).tobytes()
    name = "Custom" + hashlib.sha256(content + repr(sorted(keywords.items())).encode()).hexdigest()[:12]
    env_id = register_custom(name, images, labels, **keywords)
    if num_envs is None:
        return gymnasium.make(env_id)
    return gymnasium.make_vec(env_id, num_envs=num_envs)
