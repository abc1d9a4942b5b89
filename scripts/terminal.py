"""Text on any terminal."""

from __future__ import annotations

import io
import sys


def show_what_it_can() -> None:
    """Let what is printed stand as "?" where the terminal's encoding lacks it, in place of an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def short(figure: float) -> str:
    """A figure with two decimals, or with three digits where those would hide it."""
    return f"{figure:,.2f}" if abs(figure) >= 1 or figure == 0 else f"{figure:.3g}"
