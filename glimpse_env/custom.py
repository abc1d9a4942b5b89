"""One's own pictures, captioned pictures or sentences as an environment, in a line."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from glimpse_env import checks
from glimpse_env.data import captions as captioned
from glimpse_env.data import files, own, pairs
from glimpse_env.data import images as data
from glimpse_env.registry import SINGLE, VECTOR
from glimpse_env.worlds import digits
from glimpse_env.worlds.captions import MAX_CANVAS
from glimpse_env.worlds.sentences import MOST_PLACES


def register_custom(
    name: str,
    images: Any,
    labels: Any = None,
    *,
    names: Iterable[str] | None = None,
    captions: Any = None,
    validation: own.Pair | None = None,
    test: own.Pair | None = None,
    **keywords: Any,
) -> str:
    """Register `Glimpse/NAME-v0` over one's own data and return that id, for `make` and `make_vec`.

    images: arrays as `data.own.to_splits` takes them, with labels (N,), integers or names; or the path of a
    folder with one sub-folder per class, or with such folders below train/ and test/, or of a .npz file
    (`data.own`). names: of the classes.
    validation, test: images and labels of these splits; without them each class is shared out, seven of ten
    to train, one to validate, two to test. keywords: as of `GlimpseVectorEnv`; the canvas is as large as the
    pictures unless canvas_size says otherwise. Pixels outside a picture are 0.

    Captions: of each picture a list, in place of labels; or images is the path of a folder with pictures and
    a file captions.jsonl (`data.captions`). validation, test: pictures and captions, both or neither. Unless
    keywords say otherwise, an answer is asked at every glimpse.

    Sentences: images is a list of them and labels another, as long, of what they become; or images is the
    path of a .tsv file (`data.pairs`). validation, test: such pairs, both or neither. Unless keywords say
    otherwise the canvas is as long as the longest sentence, and an answer is asked at every glimpse.

    Arrays are kept once, in a file of the user's cache that is named by their contents, so that the id's
    data set (`file:PATH`) is found by every process of this machine.
    Raises ValueError or DatasetError for data that cannot be used and for a name that is taken.
    """
    if not isinstance(name, str) or not re.fullmatch(r"[\w.-]+", name):
        raise ValueError(f"name must be of letters, digits, and the signs _ . -, got {name!r}")
    made = _made(images, labels, names, captions, validation, test, keywords)
    return _register(f"Glimpse/{name}-v0", *made)


def make_custom(
    images: Any,
    labels: Any = None,
    *,
    names: Iterable[str] | None = None,
    captions: Any = None,
    validation: own.Pair | None = None,
    test: own.Pair | None = None,
    num_envs: int | None = None,
    **keywords: Any,
) -> Any:
    """An environment over one's own pictures, captioned or not, or sentences; with `num_envs` a vector env.

    See `register_custom`.
    """
    dataset, keywords = _made(images, labels, names, captions, validation, test, keywords)
    hashed = hashlib.sha256(f"{dataset} {sorted(keywords.items())!r}".encode()).hexdigest()[:12]
    env_id = _register(f"Glimpse/Custom{hashed}-v0", dataset, keywords)
    if num_envs is None:
        return gymnasium.make(env_id)
    return gymnasium.make_vec(env_id, num_envs=num_envs)


def _made(
    given: Any,
    labels: Any,
    names: Iterable[str] | None,
    captions: Any,
    validation: own.Pair | None,
    test: own.Pair | None,
    keywords: dict[str, Any],
) -> tuple[str, dict[str, Any]]:
    """The name of a data set, and the keywords of an environment of its kind."""
    keywords = {key: one.item() if isinstance(one, np.generic) else one for key, one in keywords.items()}
    for key, one in keywords.items():
        if isinstance(one, np.ndarray):
            raise ValueError(f"{key} must be one value, got {one!r}")
    if "dataset" in keywords:
        raise ValueError("dataset is made of what is given: leave it out")
    if isinstance(given, np.ndarray) and given.dtype.kind in "UO" and given.ndim == 1:
        given = given.tolist()
    if isinstance(labels, np.ndarray) and _is_text(given):
        labels = labels.tolist()
    if isinstance(given, str | Path):
        given = files.path_of(given)
    listed = isinstance(given, Path) and (given / captioned.LISTED).is_file()
    if captions is not None or listed:
        return _captioned(given, labels, names, captions, validation, test, keywords)
    in_file = isinstance(given, Path) and given.suffix.lower() == ".tsv" and not given.is_dir()
    if not in_file and (isinstance(given, Path) or not _is_text(given)):
        dataset = _dataset(given, labels, names, validation, test)
        side = max(data.load(dataset, "train").images.shape[2:])
        if side > digits.MAX_CANVAS:
            raise ValueError(
                f"pictures may have {digits.MAX_CANVAS} pixels a side, got {side}: make them smaller"
            )
        return dataset, {"canvas_size": side, **keywords}
    if names is not None or (in_file and (labels is not None or validation or test)):
        raise ValueError("sentences need no names, and a .tsv file has its own splits: leave them out")
    if in_file:
        dataset = f"file:{given.resolve()}"
    else:
        if labels is None:
            raise ValueError("sentences need labels: what each of them becomes")
        dataset = pairs.store(given, labels, validation, test)
    made = {"scene": "sentences", "task": "read", "start_gaze": "begin", "retina_size": 5, **keywords}
    longest = pairs.longest(dataset, "", made.get("units", "pieces"))
    if longest > MOST_PLACES:
        raise ValueError(f"a sentence may have {MOST_PLACES} pieces, got one of {longest}: make it shorter")
    made.setdefault("canvas_size", longest)
    if "glimpses_per_answer" not in made:
        made.setdefault("horizon", checks.integer("canvas_size", made["canvas_size"], 1) + 1)
    return dataset, made


def _captioned(
    given: Any,
    labels: Any,
    names: Iterable[str] | None,
    captions: Any,
    validation: own.Pair | None,
    test: own.Pair | None,
    keywords: dict[str, Any],
) -> tuple[str, dict[str, Any]]:
    """The same of captioned pictures."""
    if labels is not None or names is not None:
        raise ValueError("captioned pictures need no labels and no names: leave them out")
    in_folder = isinstance(given, Path)
    if in_folder and any(part is not None for part in (captions, validation, test)):
        raise ValueError(
            f"a folder has captions and splits in {captioned.LISTED}: leave out captions, validation, test"
        )
    dataset = f"folder:{given.resolve()}" if in_folder else captioned.store(given, captions, validation, test)
    made = {"scene": "captions", "task": "read", "retina_size": 12, "scales": 3, **keywords}
    if "canvas_size" not in made:
        made["canvas_size"] = min(captioned.side(dataset), MAX_CANVAS)
    if "horizon" not in made:
        made.setdefault("glimpses_per_answer", 1)
    return dataset, made


def _is_text(given: Any) -> bool:
    """Whether these are sentences and not arrays."""
    return isinstance(given, list | tuple) and len(given) > 0 and isinstance(given[0], str)


def _dataset(
    images: Any,
    labels: Any,
    names: Iterable[str] | None,
    validation: own.Pair | None,
    test: own.Pair | None,
) -> str:
    """The name of a data set of one's own: that of a folder or a file, or of one that arrays are kept in."""
    if not isinstance(images, Path):
        return own.store(images, labels, names, validation, test)
    if any(given is not None for given in (labels, names, validation, test)):
        raise ValueError(
            "a folder names its classes and splits by sub-folders, and a .npz file has its own: leave out "
            "labels, names and splits"
        )
    in_file = images.suffix.lower() == ".npz" and not images.is_dir()
    return f"{'file' if in_file else 'folder'}:{images.resolve()}"


def _register(env_id: str, dataset: str, keywords: dict[str, Any]) -> str:
    """Register the id, once; ValueError if it is registered otherwise."""
    kwargs = {"dataset": dataset, **keywords}
    known = gymnasium.registry.get(env_id)
    if known is not None and known.kwargs != kwargs:
        raise ValueError(f"{env_id} is registered with {known.kwargs}: choose another name")
    if known is None:
        gymnasium.register(env_id, entry_point=SINGLE, vector_entry_point=VECTOR, kwargs=kwargs)
    return env_id
