"""What a pretrained eye sees of the pictures of a data set, computed once and kept on disk."""

from __future__ import annotations

import hashlib
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from agents.parts import eye
from glimpse_env.data import captions, files

AT_ONCE = 8  # pictures; more are slower, for they leave the processor's cache


@cache
def features_of(dataset: str, split: str, size: int) -> NDArray[np.float16]:
    """The eye's features of all captioned pictures of a split, drawn `size` pixels wide, (n, eye.FEATURES).

    They are read from the user's cache, where the first call has put them: that takes a minute or two a
    thousand pictures, and a bar shows how far it is. Raises DatasetError where pictures are missing, the eye
    is not installed, or nothing can be written.
    """
    given = captions.load(dataset, split)
    hashed = hashlib.sha256(f"efficientnet-lite0 {size}".encode())
    for picture in given.pictures:
        if isinstance(picture, tuple):
            hashed.update(repr(picture).encode())
        else:
            hashed.update(picture if isinstance(picture, bytes) else picture.read_bytes())
    path = files.cache_folder() / "features" / f"{hashed.hexdigest()[:20]}.npy"
    if not path.exists():
        made = _computed(given, f"{dataset} {split}", size)
        files.keep(path, lambda file: np.save(file, made))
    with files.reading(path, "delete it, and it is made again"):
        found: NDArray[np.float16] = np.load(path, mmap_mode="r")
    return found


def _computed(given: captions.Captioned, name: str, size: int) -> NDArray[np.float16]:
    seeing = eye.pretrained(torch.device("cpu"))
    made = np.empty((len(given.pictures), eye.FEATURES), np.float16)
    for first in tqdm(range(0, len(made), AT_ONCE), f"features of {name}", unit=f"{AT_ONCE} pictures"):
        numbers = range(first, min(first + AT_ONCE, len(made)))
        pictures = np.stack([given.draw(number, size) for number in numbers])
        made[first : first + AT_ONCE] = seeing.features(torch.from_numpy(pictures) / 255).numpy()
    return made
