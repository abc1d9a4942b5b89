"""Captions: how digits lie, said in words; people's own captions; what a caption is worth."""

from __future__ import annotations

import dataclasses
import gzip
import io
import json
import math
import os
import pickle
import re
from collections import Counter
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import prepare_flickr8k
import pytest
from conftest import SAID, assert_same, needs_data, pictures
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from agents.learn import captioning, meteor, metrics
from glimpse_env import make_custom, scores
from glimpse_env.data import captions, codraw
from glimpse_env.data.files import DatasetError
from glimpse_env.random import SPLITS
from glimpse_env.render.view import said as shown
from glimpse_env.worlds import arrangements
from glimpse_env.worlds.captions import CaptionWorld

CAPTION = "Glimpse/Caption-v0"


NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def vector(rows: int, **keywords: Any) -> Any:
    return gymnasium.make_vec(CAPTION, rows, "vector_entry_point", **keywords)


needs_flickr8k = needs_data(f"flickr8k/{captions.FLICKR8K[0]}")

# -- sentences about digits ---------------------------------------------------------------------------------


def holds(sentence: str, corners: list[tuple[str, int, int]]) -> bool:
    """Whether a sentence is true of digits (name, x, y), read with a grammar of its own."""
    digit, relation = r"an? (\w+)", r" (above|below|left of|right of) "
    found = re.fullmatch(f"{digit}(?:{relation}{digit})?(?: and{relation}{digit})?", sentence)
    if not found:
        return False
    first, *pairs = found.groups()
    others = [(pairs[i], pairs[i + 1]) for i in (0, 2) if pairs[i]]
    if any((an == "an") != (name == "eight") for an, name in re.findall(r"\b(an?) (\w+)", sentence)):
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
    mixtures = 0
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
                mixtures += 1
                said = [*(env.world.names.index(word) for word in mixed), env.task.end]
                assert played(terminal, index, said) == (0, False)
                reward, correct = played(scored, index, said)
                assert 0 < reward < 1
                assert not correct
                right = max(k for way in ways for k in range(len(mixed) + 1) if way[:k] == mixed[:k])
                assert played(env, index, said)[0] == right
        assert played(terminal, index, [env.task.end]) == (0, False)
    assert mixtures


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
    corpus = [[other.split() for other in others] for others in references]
    slowly = [slow_cider(one.split(), corpus[i], corpus) for i, one in enumerate(["a dog runs", "men talk"])]
    assert metrics.caption_cider(["a dog runs", "men talk"], references) == pytest.approx(50 * sum(slowly))
    assert ("meteor" in some) == meteor.at_hand()
    assert not meteor.at_hand() or some["meteor"].error < right["meteor"].error


# -- people's own -------------------------------------------------------------------------------------------


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
    assert known.items.tolist() == [0, 0]
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
    corpus = [[captions.caption_words(text) for text in several] for several in SAID[:3]]
    slowly = slow_cider(["a", "", "runs"], [["a", "<other>", "runs"]], corpus)
    assert said == pytest.approx(slowly / 10)
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
    (given / "Flickr_8k.devImages.txt").write_text("", encoding="utf-8")
    with pytest.raises(DatasetError, match=r"Flickr_8k\.devImages\.txt names no picture"):
        prepare_flickr8k.main([str(given), str(out)])
    (given / "Flickr_8k.devImages.txt").write_text("1.jpg\n", encoding="utf-8")
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


@pytest.mark.parametrize("shape", [(3, 1, 8), (8, 1, 3), (8, 8, 1)])
def test_thin_pictures_keep_their_colours(shape: tuple[int, ...]) -> None:
    image = np.zeros((20, *shape), np.uint8)
    image[(slice(None), 0) if shape[0] == 3 else (..., 0)] = 255  # red
    env = make_custom(image, captions=[["a dog"]] * 20, canvas_size=8).unwrapped.vector
    env.reset(seed=0)
    wanted = [1, 0, 0] if 3 in shape else [1, 1, 1]
    assert (env.canvas()[0] == np.array(wanted)[:, None, None]).all()


@needs_data(f"codraw/{codraw.SCENES}")
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
    world = CaptionWorld("codraw", "validation", 112)
    assert world.boxes is not None
    for scene in range(20):
        said = world.symbols[scene, 0][world.symbols[scene, 0] >= 0]
        known = world.boxes[scene, 0, : len(said)].copy()
        known[said == len(world.names) - 1] = 0  # a rare word, which no answer is
        assert (world.boxes_of(scene, said.tolist()) == known).all()
    assert world.boxes[:20, 0].any()
    assert (world.boxes_of(0, world.answers_of("in the for")) == 0).all()


@needs_data(f"codraw/{codraw.SCENES}")
def test_things_are_drawn_as_large_as_they_are_far_and_turned_as_they_are() -> None:
    for depth, scale in enumerate((1.0, 0.7, 0.49)):
        thing = codraw.Thing("hb0_10", 250.0, 200.0, depth, False)
        with Image.open(codraw.find("Pngs/hb0_10s.png")) as art:
            width, height = art.size
        (box,) = codraw.boxes_of(["boy"], [thing])
        assert box is not None
        assert box[2:] == pytest.approx((scale * width / 500, scale * height / 400))
        empty, seen, turned = (
            codraw.paint(things, 200).astype(int)
            for things in ((), (thing,), (dataclasses.replace(thing, turned=True),))
        )
        changed = np.argwhere((np.abs(seen - empty) > 8).any(0))
        (top, left), (bottom, right) = changed.min(0), changed.max(0)
        x, y, width, height = (200 * part for part in box)
        assert (left, right, top, bottom) == pytest.approx((x, x + width, y, y + height), abs=4)
        inside = (slice(None), slice(int(y + 2), int(y + height - 2)), slice(int(x + 2), int(x + width - 2)))
        mirrored = np.abs(turned[:, :, ::-1] - seen)[inside].mean()
        assert 3 * mirrored < np.abs(turned - seen)[inside].mean()


@needs_data(f"codraw/{codraw.SCENES}")
def test_what_is_said_of_codraw_corrects_nothing_and_names_something() -> None:
    given = captions.load("codraw", "validation")
    said = [caption for several in given.captions for caption in several]
    assert len(said) > 1000
    assert all(3 <= len(caption) <= 20 and not codraw.CORRECTING & set(caption) for caption in said)
    assert all(any(boxes) for several in given.boxes for boxes in several)


@needs_data(f"codraw/{codraw.SCENES}")
def test_the_caption_that_teaches_is_any_and_its_words_have_their_boxes() -> None:
    env = vector(300, dataset="codraw", split="validation", canvas_size=100, glimpses_per_answer=1)
    env.reset(seed=0)
    scenes, places = env.present_scenes(), []
    for item, target, boxes, ways in zip(env.items, scenes.target, scenes.boxes, env.ways, strict=True):
        places.append([row.tolist() for row in ways].index(target.tolist()))
        said = [word for word in target.tolist() if 0 <= word < env.task.end]
        wanted = env.world.boxes_of(item, said)
        known = np.array(said) < len(env.world.names) - 1  # but for rare words, which no answer is
        assert (boxes[: len(said)][known] == wanted[known]).all()
    assert len(set(places)) > 3


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
    total = meteor.whole(np.array([found, same]))
    assert min(found.score, same.score) < total < 1
    # A word that is there counts more than one that means the same, though that is nearer.
    exact = meteor.meteor(words_of("car"), [words_of("auto the car")])
    assert exact.found == pytest.approx(0.75)
    # Added up, each text is a chunk, also where it is its reference.
    ten = meteor.whole(np.array([meteor.meteor(list("bcdfghjklm"), [list("bcdfghjklm")])] * 100))
    assert ten == pytest.approx(1 - 0.6 * (1 / 10) ** 0.2)


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
    assert meteor.whole(np.array(counts)) == pytest.approx(0.25498, abs=0.003)


def test_a_word_that_is_called_as_the_end_is_shown() -> None:
    said_of = [["the end of a dog"]] * 10
    env = make_custom(pictures(10), captions=said_of, canvas_size=24, num_envs=1, split="test")
    env.reset(options={"index": 0})
    vector = env.unwrapped
    assert vector.answer_names.count("end") == 2
    for word in ("the", "end"):
        env.step({"gaze": np.zeros((1, 2)), "answer": np.array([vector.world.names.index(word)])})
        assert shown(vector.view(0), vector.view(0).answers).endswith(word)
    for answer in (*map(vector.world.names.index, ("of", "a", "dog")), vector.task.end):
        env.step({"gaze": np.zeros((1, 2)), "answer": np.array([answer])})
    assert shown(vector.view(0), vector.view(0).answers) == "the end of a dog"


@pytest.mark.parametrize("caption", ["a cat", "a dog that runs and runs"])
def test_an_env_of_captions_that_have_changed_is_not_taken_up_again(caption: str, tmp_path: Path) -> None:
    def write(said: str) -> None:
        lines = [json.dumps({"image": f"{i}.png", "captions": [said]}) for i in range(10)]
        (tmp_path / captions.LISTED).write_text("\n".join(lines), encoding="utf-8")

    for i in range(10):
        Image.new("RGB", (8, 8)).save(tmp_path / f"{i}.png")
    write("a dog")
    env = make_custom(tmp_path, num_envs=2)
    env.reset(seed=0)
    kept = pickle.dumps(env.unwrapped)
    assert_same(pickle.loads(kept).reset(seed=1)[0], env.reset(seed=1)[0])
    write(caption)
    with pytest.raises(DatasetError, match="make it anew"):
        pickle.loads(kept)


@pytest.mark.parametrize("harm", ["damaged", "lost"])
def test_a_kept_picture_that_is_damaged_or_lost_is_written_again(
    harm: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    make_custom(pictures(10), captions=[["a dog"]] * 10)
    (folder,) = (tmp_path / "glimpse_env" / "own").iterdir()
    whole = (folder / "3.png").read_bytes()
    (folder / "3.png").unlink()
    if harm == "damaged":
        (folder / "3.png").write_bytes(whole[:60])
    make_custom(pictures(10), captions=[["a dog"]] * 10).reset(seed=0)
    assert (folder / "3.png").read_bytes() == whole
    assert list(folder.parent.iterdir()) == [folder]


@pytest.mark.parametrize("harm", ["cut", "changed"])
def test_a_kept_list_of_captions_that_was_damaged_is_written_again(harm: str) -> None:
    images = pictures(12)
    said = [["a dog runs"]] * 12
    env = make_custom(images, captions=said)
    kept = Path(env.unwrapped.vector.dataset.removeprefix("folder:")) / captions.LISTED
    whole = kept.read_text(encoding="utf-8")
    harmed = whole[:100] if harm == "cut" else whole.replace("dog", "cat")
    kept.write_text(harmed, encoding="utf-8")
    again = make_custom(images, captions=said)
    assert "dog" in again.unwrapped.vector.answer_names
    assert kept.read_text(encoding="utf-8") == whole


def test_pictures_of_any_kind_and_place_are_read_anew_when_they_change(tmp_path: Path) -> None:
    folder = tmp_path / "inner"
    folder.mkdir()
    lines = [json.dumps({"image": f"../{i}.ppm", "captions": ["a dog"]}) for i in range(10)]
    (folder / captions.LISTED).write_text("\n".join(lines), encoding="utf-8")
    means = []
    for grey in (10, 200):
        for i in range(10):
            Image.fromarray(np.full((8, 8 + grey // 100, 3), grey, np.uint8)).save(tmp_path / f"{i}.ppm")
        env = make_custom(folder, canvas_size=8, retina_size=8)
        means.append(float(env.reset(seed=0)[0]["retina"].max() * 255))
    assert means == pytest.approx([10, 200])


@pytest.mark.parametrize("kind", ["captions", "sentences"])
def test_one_unit_that_is_classified_is_paid_by_its_score(kind: str) -> None:
    """A caption or sentence of one word, whose answer needs no END, is worth what it is worth with one."""
    if kind == "captions":
        words = [[word] for word in ("dog", "cat", "cow")] * 8
        env = make_custom(pictures(24), captions=words, task="classify", reward="score")
    else:
        given = [["eins", "zwei", "drei", "vier"] * 6, ["one", "two", "three", "four"] * 6]
        env = make_custom(*given, units="words", task="classify", reward="score")
    env.reset(seed=0)
    right = env.unwrapped.vector.present_scenes().target[0]
    terminated = False
    while not terminated:
        _, reward, terminated, _, info = env.step({**env.action_space.sample(), "answer": right})
    assert info["correct"]
    assert reward > 0
