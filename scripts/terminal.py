"""Text on any terminal."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from types import TracebackType


def show_what_it_can() -> None:
    """Let what is printed stand as "?" where the terminal's encoding lacks it, in place of an error.

    Whoever presses Ctrl-C in a script that says nothing else is told that it stopped.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    sys.excepthook = _stopped


def _stopped(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print what ended a script: of Ctrl-C a line, else as Python does."""
    if issubclass(kind, KeyboardInterrupt):
        print(f"{Path(sys.argv[0]).name}: stopped", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


def short(figure: float) -> str:
    """A figure with two decimals, or with three digits where those would hide it."""
    return f"{figure:,.2f}" if abs(figure) >= 1 or figure == 0 else f"{figure:.3g}"
