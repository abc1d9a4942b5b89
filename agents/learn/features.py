"""What captioners are given of pictures; what a pretrained eye sees of them is computed once and kept."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from agents.agent import device_of
from agents.learn.envs import frozen_batches, frozen_env, single_env
from agents.learn.loop import Task
from agents.models.captioner import Captioner
from agents.parts import eye
from glimpse_env.data import captions, files
from glimpse_env.worlds.captions import CaptionWorld
from glimpse_env.wrappers import glimpse_env_of

AT_ONCE = 100  # pictures that are described side by side
SEEN_AT_ONCE = 8  # by the eye; more are slower, for they leave the processor's cache


def features_of(dataset: str, split: str, size: int) -> NDArray[np.float16]:
    """The eye's features of all captioned pictures of a split, drawn `size` pixels wide, (n, eye.FEATURES).

    They are read from the user's cache, where the first call has put them: that takes a minute or two a
    thousand pictures, and a bar shows how far it is. Raises DatasetError where pictures are missing, the eye
    is not installed, or nothing can be written.
    """
    return _features(captions.load(dataset, split), f"{dataset} {split}", size)


@lru_cache(files.RECENT)
def _features(given: captions.Captioned, name: str, size: int) -> NDArray[np.float16]:
    hashed = hashlib.sha256(f"efficientnet-lite0 {size}".encode())
    for picture in given.pictures:
        if isinstance(picture, tuple):
            hashed.update(repr(picture).encode())
        else:
            hashed.update(picture if isinstance(picture, bytes) else picture.read_bytes())
    path = files.cache_folder() / "features" / f"{hashed.hexdigest()[:20]}.npy"
    if not path.exists():
        made = _computed(given, name, size)
        files.keep(path, lambda file: np.save(file, made))
    with files.reading(path, "delete it, and it is made again"):
        found: NDArray[np.float16] = np.load(path, mmap_mode="r")
    return found


def _computed(given: captions.Captioned, name: str, size: int) -> NDArray[np.float16]:
    seeing = eye.pretrained(torch.device("cpu"))
    made = np.empty((len(given.pictures), eye.FEATURES), np.float16)
    with tqdm(total=len(made), desc=f"features of {name}", unit=" pictures") as bar:
        for first in range(0, len(made), SEEN_AT_ONCE):
            numbers = range(first, min(first + SEEN_AT_ONCE, len(made)))
            pictures = np.stack([given.draw(number, size) for number in numbers])
            made[first : first + SEEN_AT_ONCE] = seeing.features(torch.from_numpy(pictures) / 255).numpy()
            bar.update(len(numbers))
    return made


def known_features(model: Captioner, task: Task, split: str) -> NDArray[np.float16] | None:
    """What the pretrained eye sees of n pictures, (n, FEATURES), if the model has it and they are kept."""
    if model.cnn is not None:
        return None
    world = single_env(task.env_id, task.env, split=split).vector.world
    return features_of(*world.named, world.canvas_shape[1]) if isinstance(world, CaptionWorld) else None


def frozen_views(model: Captioner, task: Task, split: str) -> Iterator[Tensor]:
    """What a captioner is given of the frozen scenes of a split, AT_ONCE at a time: features, or canvases."""
    features = known_features(model, task, split)
    if features is not None:
        for first in range(0, len(features), AT_ONCE):
            yield torch.tensor(features[first : first + AT_ONCE]).to(device_of(model)).float()
        return
    env = frozen_env(model, task.env_id, split, **task.env)
    left = glimpse_env_of(env).num_scenes
    for index in frozen_batches(env):
        observation, _ = env.reset(options={"index": index})
        canvas = torch.from_numpy(observation["canvas"])[:left]
        left -= len(canvas)
        for part in torch.split(canvas, AT_ONCE):
            yield part.to(device_of(model))
    env.close()
