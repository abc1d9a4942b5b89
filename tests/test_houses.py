from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from conftest import OFFLINE, needs_data
from PIL import Image

from glimpse_env.data import files
from glimpse_env.vector import GlimpseVectorEnv
from glimpse_env.worlds import houses

HOUSES: dict[str, Any] = {"scene": "houses", "task": "read", "canvas_size": 54, "horizon": 18}


def test_the_bundled_layouts_are_svhns() -> None:
    # How many numbers of each length SVHN has; the one of six digits is left out.
    expected = {"train": [5137, 18130, 8691, 1434, 9], "test": [2483, 8356, 2081, 146, 2]}
    for part, lengths in expected.items():
        splits = ["test"] if part == "test" else ["train", "validation"]
        digits = np.concatenate([houses.load_layouts(s, pixels=False).digits for s in splits])
        assert np.bincount((digits >= 0).sum(1))[1:].tolist() == lengths


@needs_data("svhn-layout/svhn_layout.npz")
def test_the_bundled_layouts_are_made_from_the_full_file() -> None:
    with np.load(Path(os.environ["GLIMPSE_DATA"]) / "svhn-layout" / "svhn_layout.npz") as full:
        digits, boxes, _ = houses.to_layouts(
            full["test_digit"], full["test_box"], np.diff(full["test_start"])
        )
    bundled = houses.load_layouts("test", pixels=False)
    np.testing.assert_array_equal(bundled.digits, digits)
    np.testing.assert_array_equal(bundled.boxes, boxes)


def test_a_layout_by_hand() -> None:
    # Two digits side by side, 20x10: the crop is 26x13 about (20, 25), so one pixel is 64/26 and 64/13.
    digits, boxes, crops = houses.to_layouts(
        np.array([1, 9]), np.array([[10, 20, 20, 30], [20, 20, 30, 30]]), np.array([2])
    )
    assert digits.tolist() == [[1, 9, -1, -1, -1]]
    np.testing.assert_allclose(crops, [[7, 18.5, 33, 31.5]])
    assert boxes[0, :2].tolist() == [[7, 7, 25, 50], [32, 7, 25, 50]]


def test_stretch_is_torchs_interpolation() -> None:
    rng = np.random.default_rng(0)
    source = rng.integers(0, 256, (1, 28, 28)).astype(np.uint8)
    for sw, sh, w, h in [(10, 20, 17, 41), (20, 20, 8, 49), (1, 5, 6, 9), (14, 20, 14, 20)]:
        canvas = np.zeros((1, 64, 64), np.uint8)
        houses.stretch(source, 3, 4, sw, sh, canvas, 5, 6, w, h)
        piece = torch.from_numpy(source[:, 4 : 4 + sh, 3 : 3 + sw]).double()[None]
        expected = torch.nn.functional.interpolate(piece, (h, w), mode="bilinear")[0, 0]
        np.testing.assert_allclose(canvas[0, 6 : 6 + h, 5 : 5 + w], expected, atol=0.51)
        canvas[0, 6 : 6 + h, 5 : 5 + w] = 0
        assert canvas.max() == 0


def test_every_digit_fills_its_box() -> None:
    env = GlimpseVectorEnv(200, **OFFLINE, **HOUSES)
    env.reset(seed=0)
    canvas, target, boxes = env.present_scenes()
    for b in range(200):
        covered = np.zeros((54, 54), bool)
        length = int((boxes[b, :, 2] > 0).sum())
        assert target[b, length] == 10
        for x, y, w, h in boxes[b, :length]:
            inside = canvas[b, 0, max(y, 0) : y + h, max(x, 0) : x + w]
            assert inside.max() > 100
            if x >= 0 and x + w <= 54:
                assert inside[:, 0].any()  # ink reaches the box's sides
                assert inside[:, -1].any()
            covered[max(y, 0) : y + h, max(x, 0) : x + w] = True
        assert canvas[b, 0][~covered].max(initial=0) == 0


def test_difficulty_is_the_longest_number() -> None:
    env = GlimpseVectorEnv(300, **OFFLINE, **HOUSES, difficulty=0.2)
    env.reset(seed=0)
    assert (env.present_scenes().target[:, 1] == 10).all()


def test_frozen_numbers_are_in_the_middle_and_the_same_for_all() -> None:
    env = GlimpseVectorEnv(3, **OFFLINE, **HOUSES, split="test", difficulty=0.2)
    env.reset(options={"index": 100})
    layouts = houses.load_layouts("test", pixels=False)
    np.testing.assert_array_equal(env._drawn.symbols, layouts.digits[100:103])
    first = env.present_scenes().boxes[0, 0]
    assert first.tolist()[:2] == (layouts.boxes[100, 0, :2] - 5).tolist()
    assert env.num_scenes == 13_068


@pytest.fixture
def svhn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Twelve tiny photographs in SVHN's own format: pictures and a MATLAB 7.3 (HDF5) digitStruct."""
    monkeypatch.setenv("GLIMPSE_DATA", str(tmp_path))
    monkeypatch.setattr(files, "cache_folder", lambda: tmp_path / "none")
    houses.load_layouts.cache_clear()
    for part in ("train", "test"):
        folder = tmp_path / "svhn" / part
        folder.mkdir(parents=True)
        with h5py.File(folder / "digitStruct.mat", "w") as mat:
            references = {"name": [], "bbox": []}
            for i in range(12):
                color = (20 * i, 100, 255 - 20 * i)
                Image.new("RGB", (40, 30), color).save(folder / f"{i + 1}.png")
                name = mat.create_dataset(
                    f"n{i}", data=np.array([[ord(c)] for c in f"{i + 1}.png"], np.uint16)
                )
                group = mat.create_group(f"b{i}")
                count = i % 3 + 1
                for key, values in {
                    "left": [5 + 9 * k for k in range(count)],
                    "top": [6] * count,
                    "width": [8] * count,
                    "height": [16] * count,
                    "label": [10 if k == 0 else k for k in range(count)],  # SVHN's ten is a zero
                }.items():
                    if count == 1:
                        group[key] = np.array([[values[0]]], float)
                        continue
                    cells = [
                        mat.create_dataset(f"{key}{i}_{k}", data=[[float(v)]]) for k, v in enumerate(values)
                    ]
                    group[key] = np.array([[c.ref] for c in cells], dtype=h5py.ref_dtype)
                references["name"].append([name.ref])
                references["bbox"].append([group.ref])
            for key, values in references.items():
                mat[f"digitStruct/{key}"] = np.array(values, dtype=h5py.ref_dtype)
    yield tmp_path
    houses.load_layouts.cache_clear()


def test_official_pixels(svhn: Path) -> None:
    env = GlimpseVectorEnv(12, dataset="svhn", **HOUSES, split="test")
    observation, _ = env.reset(options={"index": 0})
    assert observation["retina"].shape == (12, 3, 8, 8)
    canvas, target, _ = env.present_scenes()
    for i in range(12):
        assert canvas[i, :, 30, 30].tolist() == [20 * i, 100, 255 - 20 * i]
        count = i % 3 + 1
        assert target[i].tolist() == [*range(count), 10, *[-1] * (5 - count)]
    assert GlimpseVectorEnv(1, dataset="svhn", **HOUSES, split="validation").num_scenes == 2


def test_pixels_without_their_library_say_what_to_install(
    svhn: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(files.DatasetError, match="pip install h5py"):
        GlimpseVectorEnv(1, dataset="svhn", **HOUSES, split="test")


def test_missing_or_damaged_pixels_end_in_one_sentence(svhn: Path) -> None:
    (svhn / "svhn" / "test" / "3.png").write_bytes(b"not a picture")
    with pytest.raises(files.DatasetError, match="again"):
        GlimpseVectorEnv(1, dataset="svhn", **HOUSES, split="test")
    (svhn / "svhn" / "train" / "digitStruct.mat").unlink()
    with pytest.raises(files.DatasetError, match=r"unpack train\.tar\.gz"):
        GlimpseVectorEnv(1, dataset="svhn", **HOUSES)
