"""Episodes to look at: an agent plays, every moment becomes a view, views become GIF, MP4 or PNG."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import imageio.v3 as iio
import numpy as np
import torch
from numpy.typing import NDArray

from agents.agent import Agent, Sees, device_of, to_action, to_tensors
from agents.learn.files import write_whole
from agents.show.page import write_html
from glimpse_env.render import View, caption, draw_frame, draw_word, said, tile
from glimpse_env.render.pen import BACKGROUND, Frame
from glimpse_env.single import GlimpseEnv

FORMATS = (".gif", ".mp4", ".png", ".html")
SECONDS_A_GLIMPSE = 0.8
SECONDS_AT_THE_END = 2.4
COLUMNS = 8  # words of a caption in a row


class Moment(NamedTuple):
    """One step of a player: its action, and what it believes (probabilities), or None.

    window, patch, attention: where it looked on the canvas, what it read, and how much it attended to each
    word, see View, or None.
    """

    action: dict[str, Any]
    belief: NDArray[np.float32] | None
    window: NDArray[np.float32] | None = None
    patch: NDArray[np.uint8] | None = None
    attention: NDArray[np.float32] | None = None


class AgentPlayer:
    """A trained agent, following its policy's mean."""

    def __init__(self, agent: Agent) -> None:
        self.agent = agent
        self.sees = agent.sees

    def begin(self) -> None:
        """Forget the last episode."""
        self.state = self.agent.initial(1)

    def act(self, observation: dict[str, NDArray[Any]]) -> Moment:
        """Observation of a single env -> what the agent does and believes."""
        batch = {key: np.ascontiguousarray(value)[None] for key, value in observation.items()}
        with torch.inference_mode():
            tensors = to_tensors(batch, device_of(self.agent))
            step, self.state = self.agent(tensors, self.state, sample=False)
        action = {key: value[0] for key, value in to_action(step).items()}
        belief: NDArray[np.float32] = step.logits.softmax(-1)[0].cpu().numpy()
        if step.attention is not None:
            return Moment(action, belief, attention=step.attention[0].float().cpu().numpy())
        if step.window is None or step.patch is None:
            return Moment(action, belief)
        patch = (255 * step.patch[0].clamp(0, 1)).round().to(torch.uint8)
        return Moment(action, belief, step.window[0].cpu().numpy(), patch.cpu().numpy())


class RandomPlayer:
    """Uniform gazes and answers."""

    sees: Sees = "glimpses"

    def __init__(self, env: GlimpseEnv, seed: int) -> None:
        self.space = env.action_space
        self.space.seed(seed)

    def begin(self) -> None:
        """Nothing to forget."""

    def act(self, observation: dict[str, NDArray[Any]]) -> Moment:
        """Any observation -> a random action, no belief."""
        return Moment(self.space.sample(), None)


Player = AgentPlayer | RandomPlayer


def episode(player: Player, env: GlimpseEnv, index: int | None = None) -> Iterator[View]:
    """Play one episode, the frozen scene `index` if given, and yield a view of every moment of it."""
    observation, _ = env.reset(options=None if index is None else {"index": index})
    player.begin()
    looks: list[Moment] = []
    done = False
    canvas = {"canvas": env.vector.canvas()[0]} if player.sees == "canvas" else {}
    while not done:
        observation = {**observation, **canvas}
        moment = player.act(observation)
        env.belief = moment.belief
        if moment.window is not None or moment.attention is not None:
            looks.append(moment)
        yield _as_played(env, looks)
        observation, _, terminated, truncated, _ = env.step(moment.action)
        done = terminated or truncated
    yield _as_played(env, looks)


def _as_played(env: GlimpseEnv, looks: list[Moment]) -> View:
    """The present view; of an agent that has placed its own windows, their middles are its gazes."""
    view = env.vector.view(0)
    if not looks:
        return view
    if looks[-1].attention is not None:
        path = view.path if view.tokens else np.stack([look.action["gaze"] for look in looks])
        return view._replace(attention=looks[-1].attention, path=path)
    windows = np.stack([look.window for look in looks if look.window is not None])
    patches = np.stack([look.patch for look in looks if look.patch is not None])
    return view._replace(path=windows[:, :, 2], windows=windows, patches=patches)


def film_strip(episodes: list[tuple[str, list[View]]]) -> Frame:
    """A row an episode, its caption above; a column a glimpse, the last one with what came of it.

    Of captions there is a picture a word, and what was said is above them.
    """
    if episodes[0][1][0].says:
        return np.concatenate([_words(text, views) for text, views in episodes])
    episodes = [(text, _each_glimpse_once(views)) for text, views in episodes]
    longest = max(len(views) for _, views in episodes)
    rows = []
    for text, views in episodes:
        frames = [draw_frame(view, "strip") for view in views]
        frames += [np.full_like(frames[0], BACKGROUND)] * (longest - len(frames))
        rows.append(caption(tile(frames, columns=longest), text))
    return np.concatenate(rows)


def _words(text: str, views: list[View]) -> Frame:
    """An episode of one caption: each word with where the eye was as it was said, COLUMNS in a row."""
    moments = [
        (view, said(after, after.answers[-1:]))
        for view, after in pairwise(views)
        if len(after.answers) > len(view.answers)
    ]
    frames = [draw_word(view, word) for view, word in moments]
    frames += [np.full_like(frames[0], BACKGROUND)] * (-len(frames) % COLUMNS)
    return caption(tile(frames, columns=COLUMNS), f"{text}: {said(views[-1], views[-1].answers)}")


def described(
    player: AgentPlayer, names: tuple[str, ...], most: int, picture: NDArray[np.uint8]
) -> Iterator[View]:
    """A view of every word that an agent which sees all says of a picture, uint8 (C, H, W), as `episode`.

    names: of its answers, END last. most: how many words it says at most.
    """
    answers: list[int] = []
    looks: list[Moment] = []
    player.begin()
    end = len(names) - 1
    canvas = picture.astype(np.float32) / 255
    while len(answers) < most and end not in answers:
        last = np.array(answers[-1:] or [-1])
        moment = player.act({"canvas": canvas, "said": last})
        looks.append(moment)
        view = View(
            canvas=picture,
            path=np.stack([look.action["gaze"] for look in looks]),
            retina_size=0,
            scales=0,
            horizon=most,
            answer_names=names,
            belief=moment.belief,
            answers=tuple(answers),
            attention=moment.attention,
            says=True,
            end=end,
        )
        yield view
        answers.append(int(moment.action["answer"]))
    yield view._replace(answers=tuple(answers), finished=True)


def _each_glimpse_once(views: list[View]) -> list[View]:
    """The views without those whose gaze is the next one's too: an answer moves no eye."""
    following = [*views[1:], None]
    return [
        view
        for view, after in zip(views, following, strict=True)
        if after is None or len(after.path) > len(view.path)
    ]


def grid(episodes: list[tuple[str, list[View]]], together: int = 1) -> list[Frame]:
    """Frames of all episodes at once, tiled; those that have ended stay at their last moment.

    together: so many neighbours never part: they share a row.
    """
    longest = max(len(views) for _, views in episodes)
    columns = math.ceil(math.sqrt(len(episodes)) / together) * together
    return [
        tile(
            [caption(draw_frame(views[min(t, len(views) - 1)], "strip"), text) for text, views in episodes],
            columns,
        )
        for t in range(longest)
    ]


def save(path: Path, episodes: list[tuple[str, list[View]]], *, together: int = 0) -> None:
    """Write episodes as .gif or .mp4, .png (a film strip) or .html, atomically.

    together: films show all episodes at once, see `grid`, and so many neighbours are players of one scene on
    the page, see `to_html`; 0 shows one after the other. Raises ValueError for another ending and OSError
    where the file cannot be written.
    """
    if path.suffix not in FORMATS:
        raise ValueError(f"{path} must end in one of {', '.join(FORMATS)}")
    if path.suffix == ".html":
        write_whole(path, lambda file: write_html(file, episodes, max(together, 1)))
    elif path.suffix == ".png":
        write_whole(path, lambda file: write_picture(file, film_strip(episodes)))
    else:
        frames, seconds = [], []
        for shown in (
            [grid(episodes, together)]
            if together
            else [[draw_frame(view) for view in views] for _, views in episodes]
        ):
            frames += shown
            seconds += [SECONDS_A_GLIMPSE] * (len(shown) - 1) + [SECONDS_AT_THE_END]
        write_whole(path, lambda file: write_film(file, frames, seconds))


def write_picture(path: Path, frame: Frame) -> None:
    """Write a .png."""
    path.write_bytes(iio.imwrite("<bytes>", frame, extension=".png"))


def write_film(path: Path, frames: list[Frame], seconds: list[float]) -> None:
    """Write a .gif or .mp4 that shows each frame for its seconds.

    It is made in memory, for a full disk does not stop those who make it. Raises OSError where it is full.
    """
    if path.suffix == ".gif":
        milliseconds = [1000 * s for s in seconds]
        duration = milliseconds if len(frames) > 1 else milliseconds[0]
        path.write_bytes(iio.imwrite("<bytes>", frames, extension=".gif", duration=duration, loop=0))
        return
    fps = 5
    film = [frame for frame, s in zip(frames, seconds, strict=True) for _ in range(round(s * fps))]
    made = iio.imwrite("<bytes>", film, extension=".mp4", fps=fps, codec="libx264", macro_block_size=2)
    if b"moov" not in made:  # its last part; ffmpeg has a temporary file of its own, and says nothing
        raise OSError(f"no film could be made in {tempfile.gettempdir()}: free some space there")
    path.write_bytes(made)
