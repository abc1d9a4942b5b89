"""A window in which a person reads a text through a few words at a time, and types what is asked."""

from __future__ import annotations

import numpy as np
import pygame

from agents.show.viewer import QuitError, Viewer
from glimpse_env.render import View, caption, draw_frame
from glimpse_env.worlds.cloze import ClozeWorld
from glimpse_env.worlds.lookup import LookupWorld
from glimpse_env.worlds.numbers import NumberWorld
from glimpse_env.worlds.sentences import SentenceWorld
from glimpse_env.worlds.trees import TreeWorld

KEYS = "left, right: aim   enter: look, or say what you typed   page down: next   F2: save   esc: quit"
TEXTS = LookupWorld | NumberWorld | SentenceWorld | TreeWorld | ClozeWorld


class TextViewer(Viewer):
    """As `Viewer`, but letters are typed, and the eye is aimed by two arrows."""

    def _person_episode(self, index: int) -> None:
        self.env.reset(options={"index": index})
        self.views = [self.env.vector.view(0)]
        aim, typed = self.views[-1].path[-1].copy(), ""
        place = 2 / max(self._canvas_pixels - 1, 1)
        while True:
            view = self.views[-1]
            over = view.target is not None
            # The words that were not seen are hidden from a person until the answer is given.
            shown = view if over else view._replace(aim=float(aim[0]))
            self.window.show(caption(draw_frame(shown, hide_canvas=not over), self._hint(view, typed)))
            for event in pygame.event.get():
                if event.type not in (pygame.QUIT, pygame.KEYDOWN):
                    continue
                if event.type == pygame.QUIT or event.key == pygame.K_ESCAPE:
                    raise QuitError
                if event.key == pygame.K_PAGEDOWN:
                    return
                if event.key == pygame.K_F2:
                    self._save()
                elif self.views[-1].target is not None:
                    continue
                elif event.key in (pygame.K_LEFT, pygame.K_RIGHT):
                    way = place if event.key == pygame.K_RIGHT else -place
                    aim[:] = np.clip(aim + way, -1, 1)
                elif event.key == pygame.K_BACKSPACE:
                    typed = typed[:-1]
                elif event.key in (pygame.K_RETURN, pygame.K_TAB):
                    if event.key == pygame.K_RETURN and not typed:
                        if self._may_look():
                            self._act(aim, self._silence())
                        continue
                    end = [self.env.vector.task.end] if event.key == pygame.K_TAB else []
                    self._say([*self._answers(typed), *end], aim)
                    typed = ""
                elif event.unicode and event.unicode.isprintable():
                    typed += event.unicode

    def _hint(self, view: View, typed: str) -> str:
        if view.target is not None:
            return "page down: next   F2: save   esc: quit"
        end = "   tab: the end" if self.env.vector.task.end >= 0 else ""
        return f"{typed}_   enter says it{end}" if typed else KEYS + end

    def _answers(self, typed: str) -> list[int]:
        """The answers that spell what was typed; what is no answer is left out."""
        world = self.env.vector.world
        assert isinstance(world, TEXTS)
        return world.answers_of(typed)

    def _say(self, answers: list[int], aim: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> None:
        """Give answers one after the other, until the episode ends; END where there is none is left out."""
        for answer in answers:
            while self._may_look() and not self.env.vector.early_answer:
                self._act(self.views[-1].path[-1], self._silence())
            if answer >= 0 and self.views[-1].target is None:
                self._act(aim, answer)
