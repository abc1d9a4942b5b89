"""A window to watch an agent in, or to be the eye oneself."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
import numpy as np
import pygame
from numpy.typing import NDArray

from agents.show.playback import (
    SECONDS_A_GLIMPSE,
    SECONDS_AT_THE_END,
    Player,
    episode,
    save,
)
from glimpse_env import tasks
from glimpse_env.render import View, caption, draw_frame
from glimpse_env.render.pen import Window
from glimpse_env.single import GlimpseEnv

WATCH_KEYS = "space: pause   right: step   n: next   s: save   esc: quit"
PERSON_KEYS = "arrows or mouse: aim   enter or click: look   0-9: answer   n: next   s: save   esc: quit"
ANSWER_KEYS = {pygame.K_0 + i: str(i) for i in range(10)} | {pygame.K_e: tasks.END}
AIM_STEP = 0.05  # gaze units an arrow key moves the aim
CANVAS_AT, CANVAS_SIDE = (30, 32 + 32), 476  # the canvas in a captioned full frame


class QuitError(Exception):
    """The window was closed."""


class Viewer:
    """Shows episodes of `env` in a window until it is closed; `s` saves the episode as GIF into `folder`."""

    def __init__(self, env: GlimpseEnv, folder: Path, title: str) -> None:
        self.env = env
        self.folder = folder
        self.title = title
        self.window = Window(f"glimpse_env: {title}", fps=30)
        pygame.key.set_repeat(300, 40)  # a held arrow key keeps moving the aim
        self.views: list[View] = []
        self._hidden = False  # whether the canvas is, until the answer is given

    def watch(self, player: Player, first_index: int) -> None:
        """Play frozen scenes from `first_index` on, one after the other."""
        paused = False
        index = first_index
        try:
            while True:
                self.views, scene = [], index % self.env.vector.num_scenes
                for view in episode(player, self.env, scene):
                    self.views.append(view)
                    seconds = SECONDS_A_GLIMPSE if view.target is None else SECONDS_AT_THE_END
                    wait = pygame.time.get_ticks() + 1000 * seconds
                    text = f"{self.title}, scene {scene}      {WATCH_KEYS}"
                    moved_on = None
                    while moved_on is None and (paused or pygame.time.get_ticks() < wait):
                        self.window.show(caption(draw_frame(view), text))
                        for key in self._keys():
                            if key == pygame.K_SPACE:
                                paused = not paused
                            elif key in (pygame.K_RIGHT, pygame.K_n):
                                moved_on = key
                    if moved_on == pygame.K_n:
                        break
                index += 1
        except QuitError:
            self.window.close()

    def play(self, first_index: int) -> None:
        """Let a person move the eye and answer; only what the retina has seen is shown."""
        index, self._hidden = first_index, True
        try:
            while True:
                self._person_episode(index % self.env.vector.num_scenes)
                index += 1
        except QuitError:
            self.window.close()

    def _person_episode(self, index: int) -> None:
        self.env.reset(options={"index": index})
        self.views = [self.env.vector.view(0)]
        aim = np.zeros(2, np.float32)
        typed = ""
        while True:
            view = self.views[-1]
            left = view.horizon - len(view.path)
            if view.target is not None:
                say = "n: next   s: save   esc: quit"
            elif typed:
                say = f"answer {typed}: enter says it"
            elif self._may_look():
                say = f"{left} more to see      {PERSON_KEYS}" + self._end_key()
            else:
                say = self._what_to_type() + self._end_key()
            # The eye's canvas is hidden from a person until the answer is given.
            frame = caption(draw_frame(view, hide_canvas=view.target is None), say)
            self.window.show(frame if view.target is not None else self._with_aim(frame, aim))
            for key in self._keys(aim):
                view = self.views[-1]
                if key == pygame.K_n:
                    return
                if view.target is not None:
                    continue
                if key == pygame.K_BACKSPACE:
                    typed = typed[:-1]
                elif key in ANSWER_KEYS:
                    typed += ANSWER_KEYS[key]
                elif key == pygame.K_RETURN and not typed and self._may_look():
                    self._act(aim, self._silence())
                if typed and (key == pygame.K_RETURN or self._one_key_answers()):
                    self._answer(typed, aim)
                    typed = ""

    def _one_key_answers(self) -> bool:
        """Whether one key says any answer; where some have two digits, Enter ends them."""
        return all(len(key) == 1 or key == tasks.END for key in self._keys_of_answers())

    def _keys_of_answers(self) -> list[str]:
        """What says each answer: its digits ("37" is "3+7"), or its number where any is no number."""
        names = [name.replace("+", "") for name in self.env.vector.task.answers]
        if all(name.isdigit() or name == tasks.END for name in names):
            return names
        return [name if name == tasks.END else str(i) for i, name in enumerate(names)]

    def _what_to_type(self) -> str:
        keys, names = self._keys_of_answers(), self.env.vector.task.answers
        if keys[0] == names[0].replace("+", ""):
            return f"answer: type {names[0]} to {names[-1]}"
        return "answer: type   " + "   ".join(f"{key} {name}" for key, name in zip(keys, names, strict=True))

    def _end_key(self) -> str:
        return "   e: the end" if self.env.vector.task.end >= 0 else ""

    def _may_look(self) -> bool:
        """Whether the next step can be a look alone: no answer is due."""
        env, seen = self.env.vector, len(self.views[-1].path)
        return seen < env.horizon and (env.early_answer or seen % (env.horizon // env.task.length) != 0)

    def _silence(self) -> int:
        """The answer that says nothing: "look" where answers may come early, else any, for none is due."""
        return len(self.env.vector.answer_names) - 1 if self.env.vector.early_answer else 0

    def _answer(self, typed: str, aim: NDArray[Any]) -> None:
        """Give the answer that is `typed`, after looking on where one is until it is due."""
        keys = self._keys_of_answers()
        if typed not in keys:
            return
        while self._may_look() and not self.env.vector.early_answer:
            self._act(self.views[-1].path[-1], self._silence())
        self._act(aim, keys.index(typed))

    def _act(self, gaze: NDArray[Any], answer: int) -> None:
        if self.env.vector.relative_gaze:
            gaze = gaze - self.views[-1].path[-1]
        self.env.step({"gaze": gaze.astype(np.float32), "answer": answer})
        self.views.append(self.env.vector.view(0))

    def _keys(self, aim: NDArray[Any] | None = None) -> list[int]:
        """Keys pressed since the last call, a click as Enter; moves `aim` by arrows and mouse, in place."""
        moves = {
            pygame.K_LEFT: (-1, 0),
            pygame.K_RIGHT: (1, 0),
            pygame.K_UP: (0, -1),
            pygame.K_DOWN: (0, 1),
        }
        keys = []
        for event in pygame.event.get():
            if event.type == pygame.QUIT:
                raise QuitError
            if event.type == pygame.KEYDOWN:
                if event.key == pygame.K_ESCAPE:
                    raise QuitError
                if event.key == pygame.K_s:
                    self._save()
                elif aim is not None and event.key in moves:
                    aim[:] = np.clip(aim + AIM_STEP * np.array(moves[event.key]), -1, 1)
                else:
                    keys.append(event.key)
            elif aim is not None and event.type in (pygame.MOUSEMOTION, pygame.MOUSEBUTTONDOWN):
                gaze = self._gaze_at(event.pos)
                if np.abs(gaze).max() > 1 + 2 / self._canvas_pixels:
                    continue  # beside the canvas
                aim[:] = gaze.clip(-1, 1)
                if event.type == pygame.MOUSEBUTTONDOWN and event.button == 1:
                    keys.append(pygame.K_RETURN)
        return keys

    @property
    def _canvas_pixels(self) -> int:
        return int(self.views[-1].canvas.shape[-1])

    def _gaze_at(self, place: tuple[int, int]) -> NDArray[Any]:
        """The gaze that is drawn at this pixel of the window: ±1 are the centres of the outer pixels."""
        pixel = (np.array(place) - CANVAS_AT) / CANVAS_SIDE * self._canvas_pixels - 0.5
        return 2 * pixel / (self._canvas_pixels - 1) - 1

    def _with_aim(self, frame: NDArray[Any], aim: NDArray[Any]) -> NDArray[Any]:
        """The captioned frame with a small cross where the person aims, the inverse of `_gaze_at`."""
        frame = frame.copy()
        pixel = (aim + 1) / 2 * (self._canvas_pixels - 1) + 0.5
        x, y = (CANVAS_AT + pixel / self._canvas_pixels * CANVAS_SIDE).astype(int)
        frame[y, x - 7 : x + 8] = frame[y - 7 : y + 8, x] = (255, 255, 255)
        return frame

    def _save(self) -> None:
        if self._hidden and self.views[-1].target is None:
            print("answer first: the film shows the whole canvas")
            return
        number = next(i for i in range(10**6) if not self._film(i).exists())
        save(self._film(number), [(self.title, self.views)])
        print(f"saved {self._film(number)}")

    def _film(self, number: int) -> Path:
        return self.folder / f"episode-{number}.gif"
