from __future__ import annotations

from pathlib import Path

import gymnasium
import numpy as np
import pytest
from PIL import Image

import glimpse_env
from glimpse_env.datasets import load
from glimpse_env.files import DatasetError

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(1, 256, (60, 12, 10)).astype(np.uint8)
LABELS = np.repeat([0, 1, 2], 20)


def test_arrays_become_an_environment_in_a_line() -> None:
    env = glimpse_env.make_custom(IMAGES, LABELS, retina_size=4, horizon=3)
    assert env.action_space["answer"].n == 3
    env.reset(seed=0)
    inner = env.unwrapped.vector
    canvas = inner.present_scenes().canvas[0, 0]
    assert canvas.shape == (12, 12)
    x, y, w, h = inner.present_scenes().boxes[0]
    shown = canvas[y : y + h, x : x + w]
    (which,) = [i for i in range(60) if (IMAGES[i] == shown).all()]
    assert inner.present_scenes().target[0] == LABELS[which]
    assert glimpse_env.make_custom(IMAGES, LABELS, num_envs=5).num_envs == 5


def test_a_registered_name_works_with_make_and_shares_out_each_class() -> None:
    env_id = glimpse_env.register_custom("Noise", IMAGES, LABELS)
    assert glimpse_env.register_custom("Noise", IMAGES, LABELS) == env_id
    splits = {split: load("custom:Noise", split) for split in ("train", "validation", "test")}
    assert {k: np.bincount(v.labels).tolist() for k, v in splits.items()} == {
        "train": [14, 14, 14],
        "validation": [2, 2, 2],
        "test": [4, 4, 4],
    }
    assert gymnasium.make(env_id, split="test").unwrapped.vector.num_scenes == 12
    with pytest.raises(ValueError, match="other arrays"):
        glimpse_env.register_custom("Noise", 255 - IMAGES, LABELS)
    with pytest.raises(ValueError, match="choose another name"):
        glimpse_env.register_custom("Noise", IMAGES, LABELS, horizon=2)


def test_colour_in_both_layouts() -> None:
    channels_last = RNG.integers(0, 256, (20, 9, 9, 3)).astype(np.uint8)
    labels = np.arange(20) % 2
    a = glimpse_env.make_custom(channels_last, labels, retina_size=4)
    b = glimpse_env.make_custom(channels_last.transpose(0, 3, 1, 2), labels, retina_size=4)
    x, y = (env.reset(seed=3)[0]["retina"] for env in (a, b))
    assert x.shape == (3, 4, 4)
    np.testing.assert_array_equal(x, y)


def test_a_folder_of_pictures(tmp_path: Path) -> None:
    for name in ("cats", "dogs"):
        (tmp_path / name).mkdir()
        for i in range(10):
            color = (10 * i, 0, 200) if name == "cats" else (10 * i, 200, 0)
            Image.new("RGB", (16, 16), color).save(tmp_path / name / f"{i}.png")
    env = glimpse_env.make_custom(tmp_path, num_envs=8)
    env.reset(seed=0)
    canvas, target, _ = env.unwrapped.present_scenes()
    assert (canvas[:, 1, 8, 8] == np.where(target == 1, 200, 0)).all()
    assert env.unwrapped.answer_names == ("cats", "dogs")
    (tmp_path / "ants").mkdir()  # no pictures, no class
    same = gymnasium.make("Glimpse/MNIST-v0", dataset=f"folder:{tmp_path}/.")
    assert same.unwrapped.vector.answer_names == ("cats", "dogs")
    assert same.reset(seed=0)[0]["retina"].shape == (3, 8, 8)
    with pytest.raises(ValueError, match="labels"):
        glimpse_env.make_custom(tmp_path, [0])


def test_bad_pictures_are_named(tmp_path: Path) -> None:
    for arrays, says in [
        ((IMAGES.astype(float), LABELS), "uint8"),
        ((IMAGES[0], LABELS), "uint8"),
        ((IMAGES, LABELS[:3]), "labels must be 60"),
        ((IMAGES, LABELS - 1), "labels"),
        ((IMAGES, 10**9 * LABELS), "2000000000 among 60 images"),
        ((IMAGES[:5], LABELS[:5]), "ten"),
        ((RNG.integers(0, 9, (20, 2, 9, 9)).astype(np.uint8), np.arange(20)), "channels"),
    ]:
        with pytest.raises(ValueError, match=says):
            glimpse_env.make_custom(*arrays)
    with pytest.raises(DatasetError, match="holds no pictures"):
        glimpse_env.make_custom(tmp_path)
    with pytest.raises(DatasetError, match="there is no folder"):
        glimpse_env.make_custom(tmp_path / "nope")
    (tmp_path / "a").mkdir()
    Image.new("L", (8, 8)).save(tmp_path / "a" / "1.png")
    Image.new("L", (9, 8)).save(tmp_path / "a" / "2.png")
    with pytest.raises(DatasetError, match=r"2\.png is \(8, 9\)"):
        glimpse_env.make_custom(tmp_path)
    (tmp_path / "a" / "2.png").write_bytes(b"no")
    with pytest.raises(DatasetError, match="cannot be read"):
        glimpse_env.make_custom(tmp_path)
