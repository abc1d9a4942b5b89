"""Pictures of episodes. Environments import this, and with it pygame, when something is drawn."""

from glimpse_env.render.frames import caption, draw_frame, draw_word, tile
from glimpse_env.render.parts import Layout
from glimpse_env.render.picture import assembled, parallelogram
from glimpse_env.render.view import View, name_of, outcome, said

__all__ = [
    "Layout",
    "View",
    "assembled",
    "caption",
    "draw_frame",
    "draw_word",
    "name_of",
    "outcome",
    "parallelogram",
    "said",
    "tile",
]
