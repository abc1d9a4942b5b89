from __future__ import annotations

import gc
import itertools
import json
import os
import pickle
import shutil
import subprocess
import sys
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from PIL import Image

import glimpse_env
from glimpse_env.data import files, own
from glimpse_env.data.files import DatasetError
from glimpse_env.data.images import load

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


def test_a_file_that_was_edited_or_lies_elsewhere_is_read_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def first_word() -> str:
        env = gymnasium.make("Glimpse/Translate-v0", dataset="file:my.tsv", pair="", units="words")
        env.reset(options={"index": 0})
        world = env.unwrapped.vector.world
        return world.tokens[env.unwrapped.vector.canvas()[0, 0]].removeprefix("\u2581")

    for folder, word in (("one", "Hund"), ("other", "Katze")):
        (tmp_path / folder).mkdir()
        monkeypatch.chdir(tmp_path / folder)
        for said in (word, f"{word}s"):
            lines = "".join(f"{said} {i}\t{said} {i}\n" for i in range(20))
            Path("my.tsv").write_text(lines, encoding="utf-8")
            assert first_word() == said


def test_lines_of_a_file_are_sentences() -> None:
    sides = [[f"{word} {i}\n" for i in range(20)] for word in ("Hund", "dog")]
    env = glimpse_env.make_custom(*sides, num_envs=2)
    assert all(len(line.splitlines()) == 1 for line in env.unwrapped.world.texts.source)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"images": [np.zeros((4, 4)), np.zeros((5, 5))], "labels": [0, 1]}, "must be of one shape"),
        ({"images": IMAGES, "labels": [[0], [1, 2]]}, "labels must be one an image"),
        ({"images": IMAGES, "labels": LABELS, "names": "abc"}, "names must be a list"),
        ({"images": IMAGES, "labels": LABELS, "names": 5}, "names must be a list"),
        ({"images": IMAGES, "captions": 5}, "train captions must be a list for each picture, got 5"),
        ({"images": ["a b"] * 20, "labels": 5}, "train must be two lists of sentences"),
        (
            {"images": ["a b"] * 20, "labels": ["c"] * 20, "validation": 5, "test": 5},
            "two lists of sentences",
        ),
        (
            {"images": np.zeros((20, 4, 5000), np.uint8), "labels": LABELS[:20]},
            "4096 pixels a side, got 5000",
        ),
    ],
)
def test_what_is_no_data_is_said(given: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        glimpse_env.make_custom(**given)


def test_large_captioned_photographs_are_squashed_and_broken_ones_named(tmp_path: Path) -> None:
    for i in range(10):
        Image.fromarray(np.zeros((30, 1200, 3), np.uint8)).save(tmp_path / f"{i}.png")
    lines = "".join(f'{{"image": "{i}.png", "captions": ["a dog"]}}\n' for i in range(10))
    (tmp_path / "captions.jsonl").write_text(lines, encoding="utf-8")
    env = glimpse_env.make_custom(tmp_path)
    assert env.unwrapped.vector.canvas().shape[-1] == 1024
    (tmp_path / "7.png").write_bytes((tmp_path / "7.png").read_bytes()[:60])
    with pytest.raises(DatasetError, match=r"7\.png cannot be read"):
        glimpse_env.make_custom(tmp_path)


def test_a_registered_name_works_with_make_and_shares_out_each_class() -> None:
    env_id = glimpse_env.register_custom("Noise", IMAGES, LABELS)
    assert glimpse_env.register_custom("Noise", IMAGES, LABELS) == env_id
    dataset = gymnasium.spec(env_id).kwargs["dataset"]
    splits = {split: load(dataset, split) for split in ("train", "validation", "test")}
    assert {k: np.bincount(v.labels).tolist() for k, v in splits.items()} == {
        "train": [14, 14, 14],
        "validation": [2, 2, 2],
        "test": [4, 4, 4],
    }
    everything = np.concatenate([v.images for v in splits.values()])
    assert sorted(i.tobytes() for i in everything) == sorted(i.tobytes() for i in IMAGES)
    assert gymnasium.make(env_id, split="test").unwrapped.vector.num_scenes == 12
    for other in ({"images": 255 - IMAGES}, {"images": IMAGES, "horizon": 2}):
        with pytest.raises(ValueError, match="choose another name"):
            glimpse_env.register_custom("Noise", labels=LABELS, **other)


def test_arrays_reach_another_process_and_are_forgotten() -> None:
    """A spec is all that the other process is given; here one file, and no copy once nobody uses it."""
    env = glimpse_env.make_custom(IMAGES, LABELS, retina_size=4)
    again = glimpse_env.make_custom(IMAGES, LABELS, retina_size=6)
    assert again.unwrapped.vector.world.images is env.unwrapped.vector.world.images
    code = (
        "import sys, gymnasium, glimpse_env\n"
        "spec = gymnasium.envs.registration.EnvSpec.from_json(sys.argv[1])\n"
        "print(gymnasium.make(spec).reset(seed=3)[0]['retina'].sum())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, env.spec.to_json()], capture_output=True, text=True, check=True
    )
    assert float(done.stdout) == pytest.approx(float(env.reset(seed=3)[0]["retina"].sum()))
    images = weakref.ref(env.unwrapped.vector.world.images)
    del env, again
    gc.collect()
    assert images() is None


def test_a_split_of_ones_own_stays_as_it_is() -> None:
    test = (IMAGES[:7], ["b"] * 7)
    env = glimpse_env.make_custom(IMAGES, np.array(["a", "b", "c"])[LABELS], test=test, split="test")
    vector = env.unwrapped.vector
    assert vector.answer_names == ("a", "b", "c")
    assert (vector.num_scenes, set(vector.world.images.labels.tolist())) == (7, {1})
    train = glimpse_env.make_custom(IMAGES, np.array(["a", "b", "c"])[LABELS], test=test)
    held_out = glimpse_env.make_custom(
        IMAGES, np.array(["a", "b", "c"])[LABELS], test=test, split="validation"
    )
    sizes = [e.unwrapped.vector.num_scenes for e in (train, held_out)]
    assert sizes == [54, 6]  # validation is a tenth of the training side
    with pytest.raises(ValueError, match="test has the class 'd', which is not in training"):
        glimpse_env.make_custom(IMAGES, np.array(["a", "b", "c"])[LABELS], test=(IMAGES[:1], ["d"]))


def test_what_people_have_is_taken() -> None:
    """Floats, bools, a channel axis, labels that are names or leave gaps: all the same pictures."""
    plain = glimpse_env.make_custom(IMAGES, LABELS, retina_size=4).reset(seed=0)[0]["retina"]
    for images in (IMAGES / 255, IMAGES.astype(np.int64), IMAGES[..., None], IMAGES[:, None]):
        same = glimpse_env.make_custom(images, LABELS, retina_size=4).reset(seed=0)[0]["retina"]
        np.testing.assert_array_equal(same, plain)
    white = glimpse_env.make_custom(IMAGES > 0, LABELS, retina_size=4)
    assert white.unwrapped.vector.world.images.images.min() == 255
    for labels, names in [
        (10 + 10 * LABELS, ("10", "20", "30")),
        (1 + LABELS, ("1", "2", "3")),
        (["2", "10", "x"] * 20, ("2", "10", "x")),
    ]:
        env = glimpse_env.make_custom(IMAGES, labels, retina_size=4)
        assert env.unwrapped.vector.answer_names == names
    env = glimpse_env.make_custom(IMAGES, LABELS, names=["cat", "dog", "eel"], retina_size=4)
    assert env.unwrapped.vector.answer_names == ("cat", "dog", "eel")
    tiny = glimpse_env.make_custom(IMAGES[:, :4, :4], LABELS, retina_size=2)
    assert tiny.reset(seed=0)[0]["retina"].shape == (1, 2, 2)


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


def test_large_photographs_are_no_attack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("L", (12, 12), 40).save(tmp_path / "1.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)  # Pillow warns from there on, else from 90 million
    assert own.read_picture(tmp_path / "1.png").shape == (1, 12, 12)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)  # half of what it refuses
    with pytest.raises(DatasetError, match="decompression bomb"):
        own.read_picture(tmp_path / "1.png")


def test_tensors_are_taken_as_they_are() -> None:
    images = torch.from_numpy(IMAGES / 255).requires_grad_()
    made, plain = glimpse_env.make_custom(images, LABELS), glimpse_env.make_custom(IMAGES, LABELS)
    assert made.spec.id == plain.spec.id
    learned = torch.tensor(LABELS, dtype=torch.float64).requires_grad_()  # as on a GPU, no array of its own
    with pytest.raises(ValueError, match="labels must be integers or names, got float64"):
        glimpse_env.make_custom(IMAGES, learned)


def test_what_cannot_be_kept_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    for given in ((IMAGES[::-1], LABELS), (["a b"] * 10, ["c"] * 10)):
        with pytest.raises(DatasetError, match=r"could not be written .*set XDG_CACHE_HOME"):
            glimpse_env.make_custom(*given)


def test_a_folder_of_ones_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for i in range(10):
        Image.fromarray(IMAGES[i]).save(tmp_path / f"{i}.png")
    lines = "".join(f'{{"image": "{i}.png", "captions": ["a dog"]}}\r\n' for i in range(10))
    (tmp_path / "captions.jsonl").write_bytes(lines.encode())  # as Windows ends lines
    assert glimpse_env.make_custom("~").unwrapped.vector.world.references(0) == (("a", "dog"),)
    (tmp_path / "pairs.tsv").write_bytes(b"".join(b"Hund %d\tdog %d\r\n" % (i, i) for i in range(20)))
    world = glimpse_env.make_custom("~/pairs.tsv", units="words").unwrapped.vector.world
    assert world.texts.target[0] == "dog 0"
    np.savez(tmp_path / "mine.npz", images=IMAGES, labels=LABELS)
    assert len(load("file:~/mine.npz", "test").images) == 12


def test_names_of_classes_may_have_any_letters(tmp_path: Path) -> None:
    names = ["10²", "9", "b", "٣"]
    env = glimpse_env.make_custom(IMAGES, np.array(names)[np.arange(len(IMAGES)) % 4])
    assert set(env.unwrapped.vector.answer_names) == set(names)
    (tmp_path / "a").mkdir()
    Image.new("L", (8, 8)).save(os.fsencode(tmp_path / "a") + b"/\xff.png", "PNG")
    with pytest.raises(DatasetError, match="is not UTF-8: rename it"):
        glimpse_env.make_custom(tmp_path)
    broken = os.fsdecode(b"\xff")
    with pytest.raises(ValueError, match=r"train labels must be UTF-8, got .* at place 0"):
        glimpse_env.make_custom(IMAGES, [broken] * len(IMAGES))
    with pytest.raises(ValueError, match="train sentence 1 is not UTF-8"):
        glimpse_env.make_custom([broken] * 10, ["a"] * 10)


def test_bad_pictures_are_named(tmp_path: Path) -> None:
    for arrays, says in [
        ((IMAGES.astype(float), LABELS), "from 0 to 1, got 1.0 to 255.0"),
        ((IMAGES * np.nan, LABELS), "must not hold NaN"),
        ((IMAGES.astype(np.int64) - 2, LABELS), "from 0 to 255, got -1"),
        ((IMAGES[0], LABELS), "must have shape"),
        ((IMAGES, LABELS[:3]), r"one an image, got 60 images and labels of shape \(3,\)"),
        ((IMAGES, LABELS - 1), "must not be negative, got -1 at place 0"),
        ((IMAGES, LABELS / 2), "integers or names, got float64"),
        ((IMAGES[:5], LABELS[:5]), "at least 10"),
        ((IMAGES[:20], ["a", float("nan")] * 10), "integers or names, got nan at place 1"),
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
    with pytest.raises(DatasetError, match=r"2\.png has shape \(1, 8, 9\)"):
        glimpse_env.make_custom(tmp_path)
    (tmp_path / "a" / "2.png").write_bytes(b"no")
    with pytest.raises(DatasetError, match="cannot be read"):
        glimpse_env.make_custom(tmp_path)


def test_pictures_are_read_as_other_loaders_read_them(tmp_path: Path) -> None:
    """Sixteen bits, a camera's orientation, a palette; hidden files and folders are passed over."""
    folder = tmp_path / "a"
    folder.mkdir()
    ramp = np.arange(64, dtype=np.uint8).reshape(8, 8) * 4
    deep = Image.fromarray(ramp.astype(np.uint16) * 257)
    upright = Image.fromarray(ramp)
    turned = upright.transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 270 degrees to be upright
    for i in range(9):
        upright.save(folder / f"{i}.png")
    deep.save(folder / "deep.tif")
    turned.save(folder / "turned.png", exif=exif)
    upright.save(folder / "._hidden.png")
    (tmp_path / ".ipynb_checkpoints").mkdir()
    upright.save(tmp_path / ".ipynb_checkpoints" / "0.png")
    splits = own.read_folder(tmp_path)
    assert splits.names == ("a",)
    images = np.concatenate([pictures.images for pictures in splits.of.values()])
    assert len(images) == 11
    assert (images == ramp).all()


@pytest.mark.parametrize("fault", ["transparent", "frames", "float", "32 bits"])
def test_pictures_that_cannot_be_read_rightly_are_refused(fault: str, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    path = tmp_path / "a" / ("x.gif" if fault == "frames" else "x.png" if fault == "transparent" else "x.tif")
    if fault == "transparent":  # black ink on nothing
        Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(path)
    elif fault == "frames":
        Image.new("L", (8, 8)).save(path, save_all=True, append_images=[Image.new("L", (8, 8), 9)])
    elif fault == "float":
        Image.new("F", (8, 8), 0.5).save(path)
    else:
        Image.fromarray(np.full((8, 8), 200, np.int32)).save(path)
    with pytest.raises(DatasetError, match=path.name):
        own.read_folder(tmp_path)


def test_folders_have_their_own_splits_and_natural_order(tmp_path: Path) -> None:
    for split, count in (("train", 12), ("test", 3)):
        for name in ("10", "2"):
            (tmp_path / split / name).mkdir(parents=True)
            for i in range(count):
                Image.new("L", (8, 8), 10 * i).save(tmp_path / split / name / f"{i}.png")
    dataset = f"folder:{tmp_path}"
    assert load(dataset, "test").names == ("2", "10")
    assert [len(load(dataset, s).images) for s in ("train", "validation", "test")] == [22, 2, 6]
    Image.new("L", (8, 8)).save(tmp_path / "test" / "2" / "new.png")
    assert len(load(dataset, "test").images) == 7  # what is added is seen
    (tmp_path / "test" / "x").mkdir()
    Image.new("L", (8, 8)).save(tmp_path / "test" / "x" / "0.png")
    with pytest.raises(DatasetError, match="the class 'x', which is not in training"):
        load(dataset, "test")


def test_a_relative_folder_is_looked_for_where_one_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for where, shade in (("one", 50), ("two", 90)):
        (tmp_path / where / "d" / "a").mkdir(parents=True)
        for i in range(10):
            Image.new("L", (8, 8), shade).save(tmp_path / where / "d" / "a" / f"{i}.png")
        monkeypatch.chdir(tmp_path / where)
        assert load("folder:d", "train").images.max() == shade


def test_a_file_of_arrays(tmp_path: Path) -> None:
    path = tmp_path / "mine.npz"
    np.savez(path, images=IMAGES, labels=LABELS, test_images=IMAGES[:2], test_labels=LABELS[:2])
    assert len(load(f"file:{path}", "test").images) == 2
    for damage in (b"", b"no archive", path.read_bytes()[:400]):
        broken = tmp_path / f"{len(damage)}.npz"
        broken.write_bytes(damage)
        with pytest.raises(DatasetError, match=broken.name):
            load(f"file:{broken}", "train")
    before = load(f"file:{path}", "train")
    np.savez(path, images=255 - IMAGES, labels=LABELS)
    assert (load(f"file:{path}", "train").images[0] != before.images[0]).any()  # read anew
    np.savez(path, pictures=IMAGES)
    with pytest.raises(DatasetError, match="must hold images and labels, and holds pictures"):
        own.read_file(path)


def test_pictures_larger_than_the_canvas_say_what_to_pass() -> None:
    big = glimpse_env.register_custom("Big", np.zeros((20, 40, 40), np.uint8), np.arange(20) % 2)
    with pytest.raises(ValueError, match="pass canvas_size=40"):
        gymnasium.make(big, canvas_size=28)


def test_no_split_is_empty_and_no_label_missing(tmp_path: Path) -> None:
    ten, classes = IMAGES[:10], np.arange(10)
    bad: list[tuple[dict[str, Any], str]] = [
        ({"images": ten, "labels": classes}, "for a validation split"),
        ({"images": IMAGES, "labels": LABELS, "test": (IMAGES[:0], LABELS[:0])}, "test has no images"),
        ({"images": IMAGES, "labels": LABELS, "test": IMAGES}, "test must be a pair"),
        ({"images": IMAGES, "labels": LABELS, "test": (IMAGES,)}, "test must be a pair"),
        ({"images": IMAGES, "labels": LABELS, "dataset": "mnist-5k"}, "leave it out"),
        ({"images": ten, "labels": ["a", "b", None] * 3 + ["a"]}, "got None at place 2"),
        ({"images": ten, "labels": ["a", ""] * 5}, "got '' at place 1"),
    ]
    for keywords, says in bad:
        for _ in range(2):  # as clear the second time
            with pytest.raises(ValueError, match=says):
                glimpse_env.make_custom(**keywords)


def test_a_folder_with_training_pictures_alone_is_told_what_it_lacks(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / "train" / name).mkdir(parents=True)
        for i in range(6):
            Image.fromarray(IMAGES[i]).save(tmp_path / "train" / name / f"{i}.png")
    with pytest.raises(DatasetError, match="has train/ and no test/"):
        glimpse_env.make_custom(tmp_path)
    for split in ("test", "val"):
        shutil.copytree(tmp_path / "train", tmp_path / split)
    with pytest.raises(DatasetError, match="val stands beside train and test: call it validation"):
        glimpse_env.make_custom(tmp_path)


def test_what_a_file_has_that_is_not_known_is_named(tmp_path: Path) -> None:
    for more, says in (
        ({"test_image": IMAGES, "test_labels": LABELS}, "holds 'test_image': it may have images, labels"),
        ({"test_labels": LABELS}, "holds test_labels without images"),
    ):
        np.savez(tmp_path / "own.npz", images=IMAGES, labels=LABELS, **more)
        with pytest.raises(DatasetError, match=says):
            glimpse_env.make_custom(tmp_path / "own.npz")
    for arrays, says in (
        ({"images": IMAGES, "train_images": IMAGES, "labels": LABELS}, "images and train_images, which are"),
        ({"images": IMAGES, "labels": LABELS, "channels_first": np.array([1, 0])}, "must be True or False"),
        ({"images": IMAGES, "labels": LABELS, "channels_first": np.array("False")}, "must be True or False"),
    ):
        np.savez(tmp_path / "own.npz", **arrays)
        with pytest.raises(DatasetError, match=says):
            glimpse_env.make_custom(tmp_path / "own.npz")
    (tmp_path / "own.npz").write_bytes(pickle.dumps(IMAGES))
    with pytest.raises(DatasetError, match=r"own\.npz cannot be read .* it is no \.npz file"):
        glimpse_env.make_custom(tmp_path / "own.npz")
    np.save(tmp_path / "own.npy", IMAGES)
    with pytest.raises(DatasetError, match="is a file and none that is known"):
        glimpse_env.make_custom(tmp_path / "own.npy")
    with pytest.raises(DatasetError, match="a path is empty"):
        glimpse_env.make_custom("")


@pytest.mark.parametrize("names", [{"a", "b"}, {0: "a", 1: "b"}, [None, "b"], ["", "b"], iter(["a", "b"])])
def test_names_are_a_list_of_texts(names: Any) -> None:
    with pytest.raises(ValueError, match="names must be"):
        glimpse_env.make_custom(IMAGES, LABELS, names=names)


def test_keywords_of_numpy_can_be_told_as_json() -> None:
    env = glimpse_env.make_custom(IMAGES, LABELS, horizon=np.int64(3), step_cost=np.float32(0.5))
    made: Any = gymnasium.make(gymnasium.envs.registration.EnvSpec.from_json(env.spec.to_json()))
    assert made.unwrapped.vector.horizon == 3


def test_keywords_are_one_value_and_texts_are_not_too_long(tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(ValueError, match=r"canvas_size must be one value, got array\(\[9, 9\]\)"):
            glimpse_env.make_custom(IMAGES, LABELS, canvas_size=np.array([9, 9]))
    with pytest.raises(ValueError, match="a sentence may have 4096 pieces, got one of"):
        glimpse_env.make_custom(["a b " * 3000] * 20, ["c d"] * 20)
    with pytest.raises(ValueError, match="12289 answers are too many for the 10000 glimpses"):
        gymnasium.make("Glimpse/Parse-v0", dataset="grammar", canvas_size=4096, glimpses_per_answer=1)
    for name in "ab":
        (tmp_path / "x.tsv" / name).mkdir(parents=True)
        for i in range(10):
            Image.new("L", (8, 8), i).save(tmp_path / "x.tsv" / name / f"{i}.png")
    assert glimpse_env.make_custom(tmp_path / "x.tsv").unwrapped.vector.answer_names == ("a", "b")


def test_a_sum_is_of_several_digits() -> None:
    with pytest.raises(ValueError, match="needs scenes of several digits"):
        glimpse_env.make_custom(IMAGES, LABELS, task="sum")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"images": "~nosuchuser/x"}, "cannot be found or read"),
        ({"images": "x" * 5000}, "cannot be found or read .*File name too long"),
        ({"images": "a\0b"}, "cannot be found or read .*null"),
        ({"images": IMAGES, "labels": np.array([b"\xe9"] * 60)}, "labels must be UTF-8"),
        ({"images": IMAGES, "labels": LABELS, "names": ["a", "b", "\udcff"]}, "names must be UTF-8"),
        ({"images": IMAGES, "labels": LABELS.astype(np.uint64) + np.uint64(2**63)}, "below 2"),
        ({"images": IMAGES[:3], "captions": [["a dog"]] * 3}, "3 captioned pictures: give 5, or all three"),
        ({"images": ["a", "b"], "labels": ["c", "d"]}, "2 pairs: give 5, or all three splits"),
        (
            {"images": np.zeros((40, 1, 100, 3), np.uint8), "labels": [0, 1] * 20},
            r"\(N, C, h, w\) or \(N, h, w, C\)",
        ),
        ({"images": Path("nowhere.npz"), "labels": [0]}, "leave out labels"),
        ({"images": Path("nowhere.npz")}, "there is no file .*nowhere.npz"),
    ],
)
def test_what_cannot_be_found_or_read_is_one_sentence(given: dict[str, Any], told: str) -> None:
    with pytest.raises((ValueError, DatasetError), match=told) as raised:
        glimpse_env.make_custom(**given)
    assert len(str(raised.value).splitlines()) == 1


def test_names_may_be_bytes_and_a_file_of_arrays_a_path(tmp_path: Path) -> None:
    env = glimpse_env.make_custom(IMAGES, LABELS, names=np.array([b"cat", b"dog", "é".encode()]))
    assert env.unwrapped.vector.answer_names == ("cat", "dog", "é")
    np.savez(tmp_path / "own.npz", images=IMAGES, labels=LABELS)
    env = glimpse_env.make_custom(tmp_path / "own.npz")
    assert env.unwrapped.vector.answer_names == ("0", "1", "2")
    texts = np.array([f"a {i}" for i in range(6)])
    glimpse_env.make_custom(texts, texts, validation=(texts, texts), test=(texts, texts)).reset(seed=0)


def test_a_name_that_is_no_id_is_refused() -> None:
    with pytest.raises(ValueError, match="name must be of letters"):
        glimpse_env.register_custom("my data", IMAGES, LABELS)
    with pytest.raises(ValueError, match="name must be of letters"):  # Gymnasium has it for module:id
        glimpse_env.register_custom("my:data", IMAGES, LABELS)


def test_classes_that_are_one_number_have_one_order() -> None:
    for names in itertools.permutations(["7", "007", "10", "07", "b"]):
        assert sorted(names, key=own.natural) == ["007", "07", "7", "10", "b"]


def test_a_kept_file_that_was_damaged_is_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    glimpse_env.make_custom(IMAGES, LABELS)
    (kept,) = (tmp_path / "glimpse_env" / "own").iterdir()
    whole, written = kept.read_bytes(), kept.stat().st_mtime_ns
    glimpse_env.make_custom(IMAGES, LABELS)
    assert kept.stat().st_mtime_ns == written
    kept.write_bytes(whole[:1000])
    glimpse_env.make_custom(IMAGES, LABELS).reset(seed=0)
    assert kept.read_bytes() == whole
    assert list(kept.parent.iterdir()) == [kept]


def test_captioned_pictures_that_would_be_refused_later_are_refused_at_once(tmp_path: Path) -> None:
    lines = [json.dumps({"image": f"{i}.png", "captions": ["a dog"]}) for i in range(10)]
    (tmp_path / "captions.jsonl").write_text("\n".join(lines), encoding="utf-8")
    for i in range(10):
        Image.new("RGBA", (8, 8), (9, 9, 9, 0 if i == 7 else 255)).save(tmp_path / f"{i}.png")
    with pytest.raises(DatasetError, match=r"7\.png has transparent pixels"):
        glimpse_env.make_custom(tmp_path)


def test_captioned_pictures_of_ones_own_are_not_kept_for_ever(tmp_path: Path) -> None:
    kept = []
    for i in range(files.RECENT + 2):
        env = glimpse_env.make_custom(np.full((10, 8, 8, 3), i, np.uint8), captions=[["a dog"]] * 10)
        kept.append(weakref.ref(env.unwrapped.vector.world._kept))
        del env
    gc.collect()
    assert kept[0]() is None


@pytest.mark.parametrize("shape", [(40, 20, 3), (40, 20, 1), (40, 20, 3, 3), (40, 1, 20, 4)])
def test_thin_pictures_are_kept_as_they_are(shape: tuple[int, ...]) -> None:
    """Whose shape, once they are kept as (N, C, h, w), may be read in two ways."""
    images = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    inner = glimpse_env.make_custom(images, np.arange(40) % 2, split="test").unwrapped.vector
    inner.reset(options={"index": 0})
    (x, y, width, height) = inner.present_scenes().boxes[0]
    shown = inner.present_scenes().canvas[0, :, y : y + height, x : x + width]
    wanted = images[:, None] if len(shape) == 3 else images.transpose(0, 3, 1, 2) if shape[3] == 3 else images
    assert any((shown == one).all() for one in wanted)


def test_data_is_found_in_a_cache_that_cannot_be_written_and_by_many_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with ThreadPoolExecutor(4) as pool:
        names = set(pool.map(lambda _: own.store(IMAGES, LABELS), range(20)))
    (name,) = names
    folder = tmp_path / "glimpse_env" / "own"
    assert [f"file:{path}" for path in folder.iterdir()] == [name]

    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.tempfile, "TemporaryDirectory", full)
    assert own.store(IMAGES, LABELS) == name
    with pytest.raises(DatasetError, match="free some space"):
        own.store(IMAGES[::-1], LABELS)


def test_a_folder_may_be_called_as_a_file_is(tmp_path: Path) -> None:
    for label in "ab":
        (tmp_path / "own.npz" / label).mkdir(parents=True)
        for i in range(10):
            Image.new("L", (8, 8), i).save(tmp_path / "own.npz" / label / f"{i}.png")
    assert glimpse_env.make_custom(tmp_path / "own.npz").unwrapped.vector.answer_names == ("a", "b")


def test_an_environment_survives_a_change_of_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for label in "ab":
        (tmp_path / "here" / "cls" / label).mkdir(parents=True)
        for i in range(10):
            Image.fromarray(IMAGES[i]).save(tmp_path / "here" / "cls" / label / f"{i}.png")
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    env = gymnasium.make("Glimpse/MNIST-v0", dataset="folder:cls")
    kept = pickle.dumps(env.unwrapped)
    monkeypatch.chdir(tmp_path / "there")
    again = pickle.loads(kept)
    assert (again.reset(seed=0)[0]["retina"] == env.reset(seed=0)[0]["retina"]).all()


def test_numbers_in_columns_of_objects_are_numbers() -> None:
    column = np.array(LABELS.tolist(), object)
    envs = [glimpse_env.make_custom(IMAGES, labels, names=["a", "b", "c"]) for labels in (LABELS, column)]
    assert envs[0].unwrapped.spec.kwargs == envs[1].unwrapped.spec.kwargs


def test_a_file_that_the_system_will_not_read_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one without the permission is, which root reads all the same."""

    def refused(*_: Any, **__: Any) -> Any:
        raise PermissionError(13, "Permission denied")

    file = tmp_path / "s.tsv"
    file.write_text("a\tb\n" * 10, encoding="utf-8")
    monkeypatch.setattr(Path, "read_text", refused)
    monkeypatch.setattr(Path, "iterdir", refused)
    for read in (lambda: files.read_lines(file, "x"), lambda: own.read_folder(tmp_path)):
        with pytest.raises(DatasetError, match=r"cannot be read \(Permission denied\)"):
            read()
