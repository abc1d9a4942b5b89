from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import gymnasium
import matplotlib
import numpy as np
import pygame
import pytest
from conftest import OFFLINE, assert_same
from gymnasium.error import ResetNeeded

import glimpse_env
from glimpse_env.render import View, assembled, caption, draw_frame, pen, picture, tile
from glimpse_env.render.pen import SCALES, Window, readable
from glimpse_env.vector import GlimpseVectorEnv


def view(**changes: object) -> View:
    canvas = np.full((1, 8, 8), 100, np.uint8)
    canvas[0, :, 4:] = 200
    whole = View(canvas, np.array([[-1, -1]], np.float32), 2, 1, 3, ("0", "1", "2", "3"), None)
    return whole._replace(**changes)


def test_what_is_unseen_is_dark_and_what_is_seen_is_the_canvas() -> None:
    picture = assembled(view())
    seen = (picture != pen.UNSEEN).any(-1)
    assert np.argwhere(seen).tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]  # size 2 at the first pixel
    assert (picture[:2, :2] == 100).all()
    picture = assembled(view(path=np.array([[-1, -1], [1, 1]], np.float32)))
    assert (picture[7, 7] == 200).all()


def test_the_finest_glimpse_of_a_pixel_wins() -> None:
    picture = assembled(view(path=np.array([[0, 0], [-1, 0]], np.float32), scales=2))
    # From the centre the fine patch shows 100 | 200; the coarse one at the left edge would blur column 4.
    assert picture[4, 3:5, 0].tolist() == [100, 200]


def test_a_shut_eye_shows_nothing() -> None:
    first, path = np.array([[-1, -1]], np.float32), np.array([[-1, -1], [1, 1]], np.float32)
    assert (assembled(view(path=first, blind=True)) == pen.UNSEEN).all()
    once = assembled(view(path=path[1:]))
    assert (assembled(view(path=path, blind=True)) == once).all()
    assert (assembled(view(path=path)) != once).any()
    frame, other = (
        draw_frame(view(path=first, blind=True, canvas=canvas))
        for canvas in (view().canvas, view().canvas[..., ::-1].copy())
    )
    assert not (frame == pen.SCALES[0]).all(-1)[32:508, 30:506].any()  # neither a dot nor a square
    assert (frame[:, :512] != other[:, :512]).any()  # the canvas beside the eye is drawn
    assert (frame[:, 512:] == other[:, 512:]).all()
    assert (draw_frame(view())[:, 512:] != frame[:, 512:]).any()


def test_a_frame_draws_pixels_squares_and_the_verdict() -> None:
    frame = draw_frame(view())
    assert frame.shape == (540, 960, 3)
    # Canvas 30..506 x 32..508: one pixel of 8 is 59.5 wide; right half brighter than the left.
    assert frame[400, 100].tolist() == [100, 100, 100]
    assert frame[400, 400].tolist() == [200, 200, 200]
    right = draw_frame(view(answers=(1,), target=(1,)))
    wrong = draw_frame(view(answers=(1,), target=(2,)))
    assert right[270, 28].tolist() == list(pen.RIGHT)
    assert wrong[270, 28].tolist() == list(pen.WRONG)


def test_belief_bars_grow_with_belief() -> None:
    def bright(p: float) -> int:
        belief = np.array([p, (1 - p) / 3, (1 - p) / 3, (1 - p) / 3], np.float32)
        area = draw_frame(view(belief=belief))[222:262, 764:928]
        return int((area == pen.SCALES[0]).all(-1).sum())

    assert 0 < bright(0.3) < bright(0.6) < bright(0.9)


def test_of_many_answers_the_most_probable_are_shown() -> None:
    names = tuple(map(str, range(40)))
    belief = np.full(40, 0.01, np.float32)
    belief[33] = 0.61
    moved = belief.copy()
    moved[[33, 38]] = moved[[38, 33]]

    def first_bar(belief: np.ndarray) -> np.ndarray:
        return draw_frame(view(belief=belief, answer_names=names))[222:234, 790:928]

    assert (first_bar(belief) == pen.SCALES[0]).all(-1).mean() > 0.3
    np.testing.assert_array_equal(first_bar(belief), first_bar(moved))  # the leader is on top, whoever it is


def test_a_long_name_leaves_room_for_its_bar() -> None:
    belief = np.array([0.4, 0.3, 0.2, 0.1], np.float32)
    names = ("a", "b", "c", "an answer whose name would cover all of the panel")
    area = draw_frame(view(belief=belief, answer_names=names))[222:262, 764:928]
    assert (area == pen.SCALES[0]).all(-1).any(0).sum() > 20  # columns of the leading bar


def test_the_context_is_shown_beside_the_glimpse() -> None:
    small = np.array([[[10, 20], [30, 40]]], np.uint8)
    with_it, without = draw_frame(view(context=small)), draw_frame(view())
    # The eye's patch is 118 wide at 540, the context as wide 132 further; 52 from the top.
    assert [with_it[y, x, 0] for y in (80, 140) for x in (700, 760)] == [10, 20, 30, 40]
    assert (without[80:140, 700:760] == pen.BACKGROUND).all()
    env = GlimpseVectorEnv(2, **OFFLINE, context=7)
    observation, _ = env.reset(seed=0)
    np.testing.assert_allclose(env.view(1).context / 255, observation["context"][1], atol=0.002)


def test_the_upright_frame_tells_what_was_answered() -> None:
    """In the bright colour of the verdict, in place of the time left."""
    for target, color in ((1, pen.RIGHT), (2, pen.WRONG)):
        line = draw_frame(view(answers=(1,), target=(target,)), "strip")[238:256, 8:232]
        assert (np.abs(line.astype(int) - color).sum(-1) < 60).sum() > 30
    longest = draw_frame(view(answers=(1,) * 9, target=(2,) * 9), "strip")[238:256]
    assert (longest[:, 232:] == pen.BACKGROUND).all()  # however long


def test_a_person_sees_no_more_than_the_retina() -> None:
    shown = draw_frame(view(), hide_canvas=True)
    assert shown[400, 400].tolist() == list(pen.UNSEEN)
    other = view(canvas=np.where(np.arange(8) < 2, 100, 7).astype(np.uint8)[None, None].repeat(8, 1))
    np.testing.assert_array_equal(shown, draw_frame(other, hide_canvas=True))


def test_colour_canvases_are_drawn_in_colour() -> None:
    canvas = np.zeros((3, 8, 8), np.uint8)
    canvas[0] = 250
    assert draw_frame(view(canvas=canvas))[400, 100].tolist() == [250, 0, 0]


def test_tiles_and_captions_have_the_expected_shape() -> None:
    frames = [np.full((4, 6, 3), i, np.uint8) for i in range(5)]
    sheet = tile(frames)
    assert sheet.shape == (8, 18, 3)
    assert sheet[5, 7, 0] == 4
    assert tile(frames, columns=5).shape == (4, 30, 3)
    assert caption(np.zeros((4, 60, 3), np.uint8), "text").shape == (36, 60, 3)


def test_human_mode_opens_one_window_and_closes_it() -> None:
    import pygame

    env = GlimpseVectorEnv(3, **OFFLINE, render_mode="human")
    env.reset(seed=0)
    assert pygame.display.get_surface().get_size() == (480, 984)
    env.step(env.action_space.sample())
    env.close()
    assert not pygame.display.get_init()
    Window("again", 30).close()


def test_a_window_survives_what_others_do_to_pygame() -> None:
    import pygame

    first, second = (GlimpseVectorEnv(1, **OFFLINE, render_mode="human") for _ in range(2))
    first.reset(seed=0)
    second.reset(seed=0)
    first.close()
    assert pygame.display.get_surface() is not None  # the second's
    second.step(second.action_space.sample())
    pygame.quit()  # as CartPole's close does
    second.step(second.action_space.sample())
    second.close()


def test_fonts_survive_what_others_do_to_pygame() -> None:
    """In a process of its own, for a font that outlives pygame's end crashes the interpreter."""
    program = """
import gymnasium, pygame, glimpse_env
from glimpse_env.render.pen import readable
from glimpse_env.render import draw_frame
env = gymnasium.make("Glimpse/Lookup-v0").unwrapped
env.reset(seed=0)
before = draw_frame(env.vector.view(0))
for again in (pygame.font.init, lambda: readable("x", 1)):
    pygame.quit()
    again()
    assert (draw_frame(env.vector.view(0)) == before).all()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_crowd_fits_on_the_screen() -> None:
    import pygame

    env = GlimpseVectorEnv(36, **OFFLINE, render_mode="human")
    env.reset(seed=0)
    width, height = pygame.display.get_surface().get_size()
    assert width <= 1600
    assert height <= 1000
    env.close()


def test_render_says_what_it_needs() -> None:
    env = gymnasium.make("Glimpse/MNIST-v0", **OFFLINE, render_mode="rgb_array")
    with pytest.raises(ResetNeeded, match="reset"):
        env.unwrapped.render()


def test_rendering_changes_nothing() -> None:
    env, twin = (GlimpseVectorEnv(2, **OFFLINE, render_mode="rgb_array") for _ in range(2))
    env.reset(seed=0)
    twin.reset(seed=0)
    action = {"gaze": np.full((2, 2), 0.2), "answer": np.zeros(2, int)}
    for _ in range(9):  # seven glimpses, and what follows them
        env.render()
        assert_same(env.step(action), twin.step(action))


def test_a_window_that_an_agent_placed_is_drawn_in_place_of_the_retina() -> None:
    """A window over the lower right quarter of the canvas, read as 2x2: that is all that is seen."""
    canvas = np.random.default_rng(0).integers(0, 256, (1, 20, 20), np.uint8)
    quarter = np.array([[0.5, 0, 2 * 14.5 / 19 - 1], [0, 0.5, 2 * 14.5 / 19 - 1]], np.float32)
    patch = np.array([[[10, 20], [30, 40]]], np.uint8)
    looking = view(canvas=canvas, windows=quarter[None], path=quarter[None, :, 2], patches=patch[None])
    seen = assembled(looking)
    np.testing.assert_array_equal(seen[10:, 10:, 0], patch[0].repeat(5, 0).repeat(5, 1))
    assert (seen[:10] == pen.UNSEEN).all()
    assert (seen[:, :10] == pen.UNSEEN).all()
    # A later, coarser window paints around what was read more finely, never over it.
    whole = np.array([[1, 0, 0], [0, 1, 0]], np.float32)
    blurred = np.full((1, 2, 2), 90, np.uint8)
    both = assembled(looking._replace(windows=np.stack([quarter, whole]), patches=np.stack([patch, blurred])))
    np.testing.assert_array_equal(both[10:, 10:], seen[10:, 10:])
    assert (both[:10] == 90).all()
    # Canvas 30..506 x 32..508: the window's left edge is the canvas's middle, in the eye's colour.
    assert (draw_frame(looking)[340:480, 268] == pen.SCALES[0]).all(-1).mean() > 0.9
    # The eye sees the patch, 118 wide at (540, 52).
    assert draw_frame(looking)[80, 570].tolist() == [10, 10, 10]
    assert draw_frame(looking)[140, 630].tolist() == [40, 40, 40]


SIGNS = ["\u200b", "\u00ad", "\ufeff", "\u200e", "\u2764\ufe0f", "\u200d", "\x00", "\u034f", "\u180b"]


@pytest.mark.parametrize("sign", [*SIGNS, "\U000e0100", "葛\U000e0100"])
@pytest.mark.parametrize("units", ["pieces", "words"])
def test_signs_that_leave_no_ink_are_passed_over(sign: str, units: str) -> None:
    sides = [[f"{sign} {word}{sign}n {i}" for i in range(20)] for word in ("Hau", "hou")]
    env = glimpse_env.make_custom(*sides, units=units, render_mode="rgb_array")
    env.reset(seed=0)
    assert env.render().shape == (540, 960, 3)


def test_many_glimpses_leave_a_bar_of_time() -> None:
    frames = []
    for horizon in (1, 2_000):
        env = gymnasium.make("Glimpse/MNIST-v0", **OFFLINE, horizon=horizon, render_mode="rgb_array")
        env.reset(seed=0)
        frames.append((env.render() == SCALES[0]).all(-1).sum())
    assert frames[1] > 1000 + frames[0]  # with one glimpse none is left


def test_names_that_no_font_can_write_are_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Boxes tell nobody anything: where this machine has no letters for a name, the answer's number does."""
    pen._font_file.cache_clear()
    monkeypatch.setattr(pygame.font, "get_fonts", list)
    assert [readable(name, i) for i, name in enumerate(("cat", "Äpfel", "猫"))] == ["cat", "Äpfel", "#2"]
    pen._font_file.cache_clear()


def test_names_are_written_by_a_font_that_has_their_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    """matplotlib brings DejaVu, whose letters are more than those of pygame's own font."""
    dejavu = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    pen._font_file.cache_clear()
    monkeypatch.setattr(pygame.font, "get_fonts", lambda: ["dejavu"])
    monkeypatch.setattr(pygame.font, "match_font", lambda name: str(dejavu))
    assert readable("☃", 0) == "☃"
    assert pen._font_file("☃") == str(dejavu)
    pen._font_file.cache_clear()


@pytest.mark.parametrize("driver", ["x11", "nonsense"])
def test_a_screen_that_is_not_there_is_one_sentence(driver: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pygame.display.quit()
    monkeypatch.setenv("SDL_VIDEODRIVER", driver)
    monkeypatch.delenv("DISPLAY", raising=False)
    with pytest.raises(pen.NoDisplayError, match=r"play\.py with --out"):
        pen.Window("x", 3).show(np.zeros((8, 8, 3), np.uint8))


def test_looks_that_are_made_in_parts_put_together_one_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    env = GlimpseVectorEnv(1, **OFFLINE, horizon=7, scales=2, canvas_size=40)
    env.reset(seed=0)
    rng = np.random.default_rng(0)
    for _ in range(6):
        env.step({"gaze": rng.uniform(-1, 1, (1, 2)), "answer": np.zeros(1, int)})
    whole = assembled(env.view(0))
    monkeypatch.setattr(picture, "AT_ONCE", 3)
    assert (assembled(env.view(0)) == whole).all()
    assert len(np.unique(whole)) > 10
