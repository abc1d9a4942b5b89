from __future__ import annotations

import resource
from pathlib import Path
from typing import Any

import gymnasium
import imageio.v3 as iio
import numpy as np
import pygame
import pytest
import torch
from conftest import OFFLINE

import glimpse_env
from agents.agent import Agent, Step
from agents.models.ram import RAM
from agents.show import viewer as viewer_module
from agents.show.playback import AgentPlayer, RandomPlayer, episode, film_strip, grid, save
from agents.show.text_viewer import TextViewer
from agents.show.viewer import CANVAS_AT, CANVAS_SIDE, Viewer
from glimpse_env.data.images import load
from glimpse_env.render import View, caption, draw_frame
from glimpse_env.render.pen import BACKGROUND


@pytest.fixture
def env() -> Any:
    return gymnasium.make("Glimpse/MNIST-v0", **OFFLINE, split="test", horizon=3).unwrapped


@pytest.fixture
def views(env: Any) -> list[View]:
    torch.manual_seed(0)
    return list(episode(AgentPlayer(RAM((1, 8, 8), 10).eval()), env, 5))


def test_an_episode_is_a_view_a_glimpse_and_its_end(env: Any, views: list[View]) -> None:
    assert [len(v.path) for v in views] == [1, 2, 3, 3]
    assert [v.target is None for v in views] == [True, True, True, False]
    assert all(v.belief is not None and v.belief.sum() == pytest.approx(1) for v in views)
    assert views[-1].answers == (int(np.argmax(views[-1].belief)),)
    assert views[-1].target == (load("mnist-5k", "test").labels[5],)
    again = list(episode(RandomPlayer(env, seed=0), env, 5))
    np.testing.assert_array_equal(again[0].canvas, views[0].canvas)
    assert again[0].belief is None


class Scripted(Agent):
    """Looks at the centre and says what it was told to, a symbol a step."""

    def __init__(self, symbols: tuple[int, ...], answers: int) -> None:
        super().__init__()
        self.logits = torch.eye(answers)[list(symbols)]

    def initial(self, batch_size: int) -> int:
        return 0

    def forward(self, observation: Any, state: int, sample: bool) -> tuple[Step, int]:
        zeros = torch.zeros(1)
        return Step(torch.zeros(1, 2), self.logits[state][None], zeros, zeros), state + 1


def test_a_backward_reader_is_right_if_it_names_the_last_digit_first() -> None:
    env = gymnasium.make(
        "Glimpse/HouseNumbers-v0", **OFFLINE, split="test", glimpses_per_answer=1, backward=True
    ).unwrapped
    end = env.vector.task.end
    for index in range(20):
        env.reset(options={"index": index})
        target = [t for t in env.vector.present_scenes().target[0].tolist() if t >= 0]
        digits = target[:-1]  # from the last to the first
        last = list(episode(AgentPlayer(Scripted((*digits, end), end + 1)), env, index))[-1]
        assert last.answers == last.target == (*digits, end)
        if digits != digits[::-1]:
            forward = list(episode(AgentPlayer(Scripted((*digits[::-1], end), end + 1)), env, index))[-1]
            assert forward.answers != forward.target


# imageio's own film reader leaves its pipes to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(("suffix", "frames"), [(".gif", 4), (".mp4", 3 * 4 + 12)])
def test_films_hold_every_moment(tmp_path: Path, views: list[View], suffix: str, frames: int) -> None:
    path = tmp_path / f"x{suffix}"
    save(path, [("RAM", views)])
    film = iio.imread(path)
    assert film.shape[1:] == (540, 960, 3)
    assert abs(len(film) - frames) <= (suffix == ".mp4")  # whose end the reader may lack
    assert np.abs(film[0].astype(int) - film[-1].astype(int)).mean() > 0.5
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_strip_has_a_row_an_episode(tmp_path: Path, views: list[View]) -> None:
    save(tmp_path / "x.png", [("a", views), ("b", views[1:])])
    strip = iio.imread(tmp_path / "x.png")
    assert strip.shape == (2 * (492 + 32), 3 * 240, 3)  # three glimpses; the end is shown with the last
    np.testing.assert_array_equal(strip, film_strip([("a", views), ("b", views[1:])]))
    np.testing.assert_array_equal(strip[32:524, 480:], draw_frame(views[-1], "strip"))
    assert (strip[560:, 480:] == BACKGROUND).all()  # the shorter episode's row ends early


def test_an_unknown_ending_is_refused(tmp_path: Path, views: list[View]) -> None:
    with pytest.raises(ValueError, match=r"\.gif, \.mp4, \.png"):
        save(tmp_path / "x.avi", [("a", views)])


def test_a_failed_film_leaves_nothing(tmp_path: Path, views: list[View]) -> None:
    path = tmp_path / "missing" / "x.png"
    with pytest.raises(OSError, match="missing"):
        save(path, [("a", views)])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="needs limits of a process")
@pytest.mark.parametrize("ending", [".gif", ".mp4", ".png", ".html"])
def test_a_film_that_does_not_fit_is_an_error_and_nothing(
    ending: str, tmp_path: Path, views: list[View], capfd: pytest.CaptureFixture[str]
) -> None:
    """A file may have no more bytes, which its writers meet as they meet a full disk."""
    most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, most[1]))
    try:
        with pytest.raises(OSError, match=r"File too large|free some space"):
            save(tmp_path / f"x{ending}", [("a", views)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, most)
    assert list(tmp_path.iterdir()) == []
    assert "Traceback" not in capfd.readouterr().err


class Script:
    """Feeds a viewer the events of one scripted person, a list a shown frame, then closes the window."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *frames: list[Any]) -> None:
        self.frames = [*frames, [pygame.event.Event(pygame.QUIT)]]
        monkeypatch.setattr(viewer_module.pygame.event, "get", self.next)
        monkeypatch.setattr(viewer_module, "SECONDS_A_GLIMPSE", 0.0)

    def next(self) -> list[Any]:
        return self.frames.pop(0) if self.frames else [pygame.event.Event(pygame.QUIT)]


def key(code: int) -> Any:
    return pygame.event.Event(pygame.KEYDOWN, key=code)


def click(x: float, y: float) -> Any:
    """A click where the gaze (x, y) is drawn: on the centre of its pixel, 28 of them on CANVAS_SIDE."""
    at = [int(CANVAS_AT[i] + ((g + 1) / 2 * 27 + 0.5) / 28 * CANVAS_SIDE) for i, g in enumerate((x, y))]
    return pygame.event.Event(pygame.MOUSEBUTTONDOWN, pos=at, button=1)


def test_a_person_looks_by_mouse_and_keys_and_answers(
    env: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    enter = key(pygame.K_RETURN)
    right = [key(pygame.K_RIGHT)] * 4
    Script(monkeypatch, [click(-0.5, 0.5)], [*right, enter], [key(pygame.K_7)], [key(pygame.K_s)])
    shown = Viewer(env, tmp_path, "person")
    shown.play(first_index=5)
    last = shown.views[-1]
    np.testing.assert_allclose(last.path, [[0, 0], [-0.5, 0.5], [-0.3, 0.5]], atol=0.01)
    assert last.answers == (7,)
    assert (tmp_path / "episode-0.gif").exists()
    assert not pygame.display.get_init()


def test_what_is_not_a_look_costs_no_glimpse(
    env: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wheel = pygame.event.Event(pygame.MOUSEBUTTONDOWN, pos=click(0, 0).pos, button=4)
    panel = pygame.event.Event(pygame.MOUSEBUTTONDOWN, pos=(800, 300), button=1)
    Script(monkeypatch, [wheel, panel], [key(pygame.K_s)])
    shown = Viewer(env, tmp_path, "person")
    shown.play(first_index=5)
    assert len(shown.views) == 1
    assert "answer first" in capsys.readouterr().out  # the film would show what the person must not see
    assert list(tmp_path.iterdir()) == []


def test_keys_of_one_frame_all_count(env: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Script(monkeypatch, [click(0.5, 0.5), key(pygame.K_7)])
    shown = Viewer(env, tmp_path, "person")
    shown.play(first_index=5)
    np.testing.assert_allclose(shown.views[-1].path[1:], [[0.5, 0.5]] * 2, atol=0.01)
    assert shown.views[-1].answers == (7,)


def test_a_single_moment_can_be_saved(tmp_path: Path, views: list[View]) -> None:
    save(tmp_path / "x.gif", [("a", views[:1])])
    assert iio.imread(tmp_path / "x.gif").shape[-3:] == (540, 960, 3)


def test_an_early_answer_ends_the_episode(env: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Script(monkeypatch, [key(pygame.K_3)], [])
    shown = Viewer(env, tmp_path, "person")
    shown.play(first_index=5)
    assert shown.views[-1].answers == (3,)
    np.testing.assert_array_equal(shown.views[-1].path, np.zeros((3, 2)))


def test_watching_pauses_steps_and_moves_on(
    env: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    space, right, following = key(pygame.K_SPACE), key(pygame.K_RIGHT), key(pygame.K_n)
    monkeypatch.setattr(viewer_module, "SECONDS_A_GLIMPSE", 30.0)
    script = Script(monkeypatch, [space], [], [], [right], [right], [following], [])
    monkeypatch.setattr(viewer_module, "SECONDS_A_GLIMPSE", 30.0)
    shown = Viewer(env, tmp_path, "random")
    shown.watch(RandomPlayer(env, 0), first_index=5)
    assert script.frames == []
    assert len(shown.views) == 1  # the first moment of the next scene
    shown._save()  # also before its end: nothing is hidden from who watches
    assert (tmp_path / "episode-0.gif").exists()
    np.testing.assert_array_equal(shown.views[0].canvas[0], env.vector.world.images.images[6, 0])


def test_a_grid_shows_all_episodes_at_once_until_the_longest_ends(tmp_path: Path) -> None:
    short = gymnasium.make("Glimpse/MNIST-v0", **OFFLINE, horizon=2).unwrapped
    long = gymnasium.make("Glimpse/MNIST-v0", **OFFLINE, horizon=4).unwrapped
    recorded = [(str(i), list(episode(RandomPlayer(e, 0), e, i))) for i, e in enumerate([short, long, long])]
    save(tmp_path / "x.gif", recorded, together=1)
    assert iio.imread(tmp_path / "x.gif").shape == (5, 2 * 524, 2 * 240, 3)
    film = grid(recorded)
    assert (film[2][:524, :240] == film[4][:524, :240]).all()  # the short one stays at its end
    assert (film[2][:524, 240:] != film[4][:524, 240:]).any()
    assert (film[0][:32, :240] != film[0][:32, 240:]).any()  # each has its own name above


def test_those_who_are_compared_share_a_row() -> None:
    env = gymnasium.make("Glimpse/MNIST-v0", **OFFLINE, horizon=1).unwrapped
    recorded = [(str(i), list(episode(RandomPlayer(env, i), env, i // 2))) for i in range(6)]
    frame = grid(recorded, together=2)[0]
    assert frame.shape == (2 * 524, 4 * 240, 3)
    for i, (text, views) in enumerate(recorded):
        y, x = 524 * (i // 4), 240 * (i % 4)
        expected = caption(draw_frame(views[0], "strip"), text)
        np.testing.assert_array_equal(frame[y : y + 524, x : x + 240], expected)


def test_a_person_types_a_sum_and_enters_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    env = gymnasium.make("Glimpse/DigitSum-v0", **OFFLINE, horizon=2, split="test").unwrapped
    keys = [[key(pygame.K_1)], [key(pygame.K_5), key(pygame.K_BACKSPACE), key(pygame.K_2)]]
    Script(monkeypatch, [click(0.5, 0.5)], *keys, [key(pygame.K_RETURN)], [])
    shown = Viewer(env, tmp_path, "person")
    shown.play(first_index=0)
    assert shown.views[-1].answers == (12,)
    np.testing.assert_allclose(shown.views[-1].path, [[0, 0], [0.5, 0.5]], atol=0.02)


def test_a_person_aims_where_a_gaze_is_a_displacement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = {"relative_gaze": True, "horizon": 4, "start_gaze": "random"}
    env = gymnasium.make("Glimpse/MNIST-v0", **OFFLINE, **moved, split="test").unwrapped
    Script(monkeypatch, [click(0.4, 0.4)], [click(0.4, 0.4)], [key(pygame.K_7)], [])
    shown = Viewer(env, tmp_path, "person")
    shown.play(first_index=5)
    np.testing.assert_allclose(shown.views[-1].path[1:], [[0.4, 0.4]] * 3, atol=0.03)


def test_a_person_says_a_name_by_its_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("1", "dog"):  # a number among names is a name too
        (tmp_path / name).mkdir()
        for i in range(10):
            iio.imwrite(tmp_path / name / f"{i}.png", np.full((9, 9), 100 + i, np.uint8))
    env = glimpse_env.make_custom(tmp_path, horizon=1).unwrapped
    said = []
    monkeypatch.setattr(
        viewer_module, "caption", lambda frame, text: said.append(text) or caption(frame, text)
    )
    Script(monkeypatch, [key(pygame.K_1)], [])
    shown = Viewer(env, tmp_path, "person")
    shown.play(first_index=0)
    assert shown.views[-1].answers == (1,)
    assert said[0] == "answer: type   0 1   1 dog"


def test_a_person_types_a_pair_as_two_digits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    env = gymnasium.make("Glimpse/DigitPair-v0", **OFFLINE, task="unordered", horizon=1).unwrapped
    said = []
    monkeypatch.setattr(viewer_module, "caption", lambda f, text: said.append(text) or caption(f, text))
    Script(monkeypatch, [key(pygame.K_3)], [key(pygame.K_7)], [key(pygame.K_RETURN)], [])
    shown = Viewer(env, tmp_path, "person")
    shown.play(first_index=0)
    assert env.vector.answer_names[shown.views[-1].answers[0]] == "3+7"
    assert said[0] == "answer: type 0+0 to 9+9"


def test_a_person_ends_a_caption(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    env = gymnasium.make("Glimpse/Caption-v0", glimpses_per_answer=1).unwrapped
    Script(
        monkeypatch, [key(pygame.K_0)], [key(pygame.K_RETURN)], [key(pygame.K_e)], [key(pygame.K_RETURN)], []
    )
    shown = Viewer(env, tmp_path, "person")
    shown.play(first_index=0)
    assert shown.views[-1].answers == (0, env.vector.task.end)


def type_text(text: str) -> list[pygame.event.Event]:
    return [pygame.event.Event(pygame.KEYDOWN, key=ord(c.lower()), unicode=c) for c in text]


def test_a_person_reads_and_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    env = gymnasium.make("Glimpse/NumberNames-v0", split="test", early_answer=True).unwrapped
    env.reset(options={"index": 1})
    target = [t for t in env.vector.present_scenes().target[0].tolist() if t >= 0]
    name = env.vector.world.write(target[:-1])
    right, enter, tab = (key(k) for k in (pygame.K_RIGHT, pygame.K_RETURN, pygame.K_TAB))
    look = [right, right, enter]
    Script(
        monkeypatch,
        look,
        look,
        [*type_text(name[:4] + "x"), key(pygame.K_BACKSPACE)],
        type_text(name[4:]),
        [tab],
    )
    shown = TextViewer(env, tmp_path, "person")
    shown.play(first_index=1)
    last = shown.views[-1]
    assert last.answers == last.target == tuple(target)
    np.testing.assert_allclose(last.path[:3, 0], [-1, -1 + 4 / 17, -1 + 8 / 17], atol=1e-6)
    lookup = gymnasium.make("Glimpse/Lookup-v0", split="test").unwrapped
    Script(monkeypatch, [right, enter], type_text("7"), [enter], [key(pygame.K_F2)])
    shown = TextViewer(lookup, tmp_path, "person")
    shown.play(first_index=0)
    assert shown.views[-1].answers == (7,)
    assert (tmp_path / "episode-0.gif").exists()


def test_the_words_that_a_person_aims_at_stay_hidden() -> None:
    env = gymnasium.make("Glimpse/Lookup-v0", split="test").unwrapped
    env.reset(options={"index": 0})
    view = env.vector.view(0)
    plain = draw_frame(view, hide_canvas=True)
    aimed = draw_frame(view._replace(aim=0.5), hide_canvas=True)
    assert (plain != aimed).any()
    other = view._replace(canvas=np.where(np.arange(10) > 0, 1 + view.canvas % 10, view.canvas), aim=0.5)
    assert (draw_frame(other, hide_canvas=True) == aimed).all()


def test_a_person_types_the_eleventh_class(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = np.random.default_rng(0).integers(0, 256, (120, 28, 28)).astype(np.uint8)
    env = glimpse_env.make_custom(images, np.arange(120) % 12, horizon=1).unwrapped
    Script(monkeypatch, [key(pygame.K_1)], [key(pygame.K_1)], [key(pygame.K_RETURN)], [])
    shown = Viewer(env, tmp_path, "person")
    shown.play(first_index=0)
    assert shown.views[-1].answers == (11,)


def test_a_person_reads_a_house_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    env = gymnasium.make("Glimpse/HouseNumbers-v0", **OFFLINE, glimpses_per_answer=1, split="test").unwrapped
    env.reset(options={"index": 0})
    target = [t for t in env.vector.present_scenes().target[0].tolist() if t >= 0]
    said = [[key(pygame.K_0 + t if t < 10 else pygame.K_e)] for t in target]
    Script(monkeypatch, *said, [])
    shown = Viewer(env, tmp_path, "person")
    shown.play(first_index=0)
    assert shown.views[-1].answers == shown.views[-1].target == tuple(target)
