"""What frames are drawn with and shown in: colours, a pen, a font for every script, and a window.

Only this module knows pygame.
"""

from __future__ import annotations

import os
import re
import unicodedata
from functools import cache
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
import pygame

Color = tuple[int, int, int]
Frame = NDArray[np.uint8]

LARGEST_WINDOW = (1600, 1000)
NO_DISPLAY = "there is no display to open a window on: use render_mode='rgb_array', or play.py with --out"
NOT_DRAWN = ("Cc", "Cf", "Cs", "Zl", "Zp")  # categories of characters
VARIANT = re.compile("[\u034f\u180b-\u180d\u180f\ufe00-\ufe0f\U000e0100-\U000e01ef]")  # of the sign before
SHARPNESS = 2  # frames are drawn this many times larger and then smoothed down

BACKGROUND: Color = (14, 17, 23)
PANEL: Color = (27, 32, 42)
UNSEEN: Color = (34, 40, 54)
TEXT: Color = (226, 231, 240)
FAINT: Color = (128, 138, 156)
PATH: Color = (255, 255, 255)
BELIEF: Color = (92, 142, 222)
RIGHT: Color = (74, 201, 126)
WRONG: Color = (239, 90, 90)
SCALES: tuple[Color, ...] = (
    (255, 194, 64),
    (77, 200, 233),
    (176, 137, 255),
    (255, 122, 172),
    (130, 220, 130),
)


class Pen:
    """Draws on a sheet of width x height frame pixels, whatever the sharpness."""

    def __init__(self, width: int, height: int) -> None:
        self.size = (width, height)
        self.surface = pygame.Surface((width * SHARPNESS, height * SHARPNESS))
        self.surface.fill(BACKGROUND)

    def frame(self) -> Frame:
        """What is drawn, smoothed: uint8 (height, width, 3)."""
        small = pygame.transform.smoothscale(self.surface, self.size)
        frame: Frame = pygame.surfarray.array3d(small).swapaxes(0, 1).copy()
        return frame

    def image(self, picture: Frame, at: tuple[float, float], side: float) -> None:
        """A square picture, enlarged without smoothing so that one sees its pixels."""
        scaled = pygame.transform.scale(_surface(picture), (_up(side), _up(side)))
        self.surface.blit(scaled, (_up(at[0]), _up(at[1])))

    def box(self, x: float, y: float, w: float, h: float, color: Color, line: float = 0) -> None:
        """A rectangle, filled unless a line width is given."""
        rectangle = pygame.Rect(_up(x), _up(y), _up(w), _up(h))
        pygame.draw.rect(self.surface, color, rectangle, _up(line), border_radius=_up(2))

    def path(self, points: list[tuple[float, float]], color: Color, line: float) -> None:
        """A line through the points."""
        if len(points) > 1:
            pygame.draw.lines(self.surface, color, False, [(_up(x), _up(y)) for x, y in points], _up(line))

    def dot(self, x: float, y: float, radius: float, color: Color) -> None:
        """A filled circle."""
        pygame.draw.circle(self.surface, color, (_up(x), _up(y)), _up(radius))

    def text(self, text: str, x: float, y: float, size: float, color: Color, *, center: bool = False) -> None:
        """A line of text, its top left corner or its middle at (x, y)."""
        text = inked(text)
        if not text:
            return
        try:
            drawn = _font(_up(size), text).render(text, True, color)
        except pygame.error:  # all of it takes no room, as some fonts have it
            return
        place = drawn.get_rect()
        if center:
            place.center = (_up(x), _up(y))
        else:
            place.topleft = (_up(x), _up(y))
        self.surface.blit(drawn, place)

    @staticmethod
    def width(text: str, size: float) -> float:
        """How wide a line of text is."""
        text = inked(text)
        return float(_font(_up(size), text).size(text)[0]) / SHARPNESS

    def clip(self, x: float, y: float, w: float, h: float) -> None:
        """Draw only inside this rectangle until `unclip`."""
        self.surface.set_clip(pygame.Rect(_up(x), _up(y), _up(w), _up(h)))

    def unclip(self) -> None:
        """Draw everywhere again."""
        self.surface.set_clip(None)


class NoDisplayError(RuntimeError):
    """There is no screen to open a window on; the message says what to do instead."""


class Window:
    """A pygame window that shows frames at `fps` and never blocks on its events.

    pygame has one window: the last to show a frame has it.
    Raises NoDisplayError where there is no screen.
    """

    _owner: ClassVar[Window | None] = None  # whose frame was shown last

    def __init__(self, title: str, fps: float) -> None:
        asked = os.environ.get("SDL_VIDEODRIVER")
        try:
            pygame.display.init()
            driver = pygame.display.get_driver()
        except pygame.error as error:
            raise NoDisplayError(f"{NO_DISPLAY} ({error})") from None
        # SDL falls back on drawing to nowhere; whoever asks for that by name gets it.
        if driver in ("offscreen", "dummy") and driver != asked:
            pygame.display.quit()
            raise NoDisplayError(NO_DISPLAY)
        self.title = title
        self.fps = fps
        self.clock = pygame.time.Clock()
        self.screen: pygame.Surface | None = None

    def show(self, frame: Frame) -> None:
        """Show `frame` (H, W, 3), made smaller if it is larger than LARGEST_WINDOW."""
        picture = _surface(frame)
        shrink = min(
            1.0, *(most / side for most, side in zip(LARGEST_WINDOW, picture.get_size(), strict=True))
        )
        if shrink < 1:
            picture = pygame.transform.smoothscale_by(picture, shrink)
        if not self._is_open() or self.screen is None or self.screen.get_size() != picture.get_size():
            pygame.display.init()
            try:
                self.screen = pygame.display.set_mode(picture.get_size())
            except pygame.error as error:
                raise NoDisplayError(f"{NO_DISPLAY} ({error})") from None
            Window._owner = self
            pygame.display.set_caption(self.title)
        assert self.screen is not None
        self.screen.blit(picture, (0, 0))
        pygame.event.pump()
        pygame.display.flip()
        self.clock.tick(self.fps)

    def close(self) -> None:
        """Close the window, unless another has taken its place."""
        if self._is_open() or pygame.display.get_surface() is None:
            pygame.display.quit()
        self.screen = None

    def _is_open(self) -> bool:
        shown = self.screen is not None and pygame.display.get_surface() is self.screen
        return shown and Window._owner is self  # another's may be the same object to pygame


def _surface(picture: Frame) -> pygame.Surface:
    return pygame.surfarray.make_surface(picture.swapaxes(0, 1))


def _up(length: float) -> int:
    return round(length * SHARPNESS)


def _font(size: int, text: str = "") -> pygame.font.Font:
    """Pygame's own font, or one of this machine's that has all letters of `text` where that has not."""
    _ready()
    return _open_font(size, _font_file("".join(sorted({c for c in text if ord(c) > 0x24F}))))


def _ready() -> None:
    if not pygame.font.get_init():  # not yet, or someone has called pygame.quit since
        pygame.font.init()
        _open_font.cache_clear()


@cache
def _open_font(size: int, file: str | None) -> pygame.font.Font:
    # A font from before pygame.quit crashes the interpreter, also after someone else has called pygame.init.
    pygame.register_quit(_open_font.cache_clear)
    return pygame.font.Font(file, size)


@cache
def _font_file(letters: str) -> str | None:
    """The file of a font that has these letters, None for pygame's own or where no font has them."""
    if not letters or _has(pygame.font.Font(None, 12), letters):
        return None
    for name in pygame.font.get_fonts():
        file = pygame.font.match_font(name)
        try:
            if file and _has(pygame.font.Font(file, 12), letters):
                return file
        except (OSError, pygame.error):  # a kind of font that SDL cannot open
            continue
    return None


def _has(font: pygame.font.Font, letters: str) -> bool:
    """Whether a font draws these letters otherwise than what it does not know."""

    def drawn(letter: str) -> bytes:
        try:
            return pygame.image.tobytes(font.render(letter, True, TEXT), "RGBA")
        except pygame.error:  # a sign that takes no room of its own
            return b""

    unknown = drawn("\uffff")  # which is no letter in any script
    return all(drawn(letter) != unknown for letter in letters)


def inked(text: str) -> str:
    """A text without what is not drawn: control and format characters, breaks, surrogates, variants."""
    return "".join(c for c in text if unicodedata.category(c) not in NOT_DRAWN and not VARIANT.match(c))


def readable(name: str, number: int) -> str:
    """The name of an answer, or its number where no font of this machine has its letters."""
    _ready()
    name = inked(name)
    strange = "".join(sorted({c for c in name if ord(c) > 0x24F}))
    if strange and _font_file(strange) is None and not _has(pygame.font.Font(None, 12), strange):
        return f"#{number}"
    return name
