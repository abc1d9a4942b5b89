"""Text on any terminal."""

from __future__ import annotations

import errno
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


WRONG = {  # by the number of an error of the system: what is wrong, and what to do
    errno.ENOENT: "there is none: name another",
    errno.EEXIST: "it is a file, where a folder is needed: name another",
    errno.ENOTDIR: "a file stands where a folder is needed: name another",
    errno.EISDIR: "it is a folder, where a file is needed: name another",
    errno.ENAMETOOLONG: "the name is too long: choose a shorter one",
    errno.ENOSPC: "the disk is full: free some space",
    errno.EPIPE: "who read what is printed has stopped",
    **dict.fromkeys(
        (errno.EACCES, errno.EPERM, errno.EROFS), "that is not permitted: see to its permissions"
    ),
}


def sentence(error: Exception) -> str:
    """What an error says; of the system's own errors, which have a number and a file, what is to be done."""
    if not isinstance(error, OSError) or error.errno not in WRONG:
        return str(error)
    where = "the terminal" if error.filename is None else error.filename
    return f"{where}: {WRONG[error.errno]}"


def short(figure: float) -> str:
    """A figure with two decimals, or with three digits where those would hide it."""
    return f"{figure:,.2f}" if abs(figure) >= 1 or figure == 0 else f"{figure:.3g}"
