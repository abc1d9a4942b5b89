"""Text on any terminal."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Callable
from pathlib import Path

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


def run(
    main: Callable[[list[str]], object], refused: tuple[type[Exception], ...], stopped: str = "stopped"
) -> None:
    """Run a script's `main` on the options it was called with; what goes wrong ends it in one sentence.

    refused: the errors that tell a user what is wrong; OSError always does. stopped: what Ctrl-C is answered.
    What is printed stands as "?" where the terminal's encoding lacks it, in place of an error.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    known: tuple[type[Exception], ...] = (OSError, *refused)
    name = Path(sys.argv[0]).name + (f", rank {os.environ['RANK']}" if "RANK" in os.environ else "")
    try:
        try:
            main(sys.argv[1:])
        except SystemExit:  # of --help
            sys.stdout.flush()
            raise
        sys.stdout.flush()  # here, for what fails when Python ends is no sentence
    except KeyboardInterrupt:
        _drop_what_cannot_be_printed()
        sys.exit(f"{name}: {stopped}")
    except known as error:
        _drop_what_cannot_be_printed()
        sys.exit(f"{name}: {sentence(error)}")


def _drop_what_cannot_be_printed() -> None:
    """Print what is left, or let it go where it cannot be printed: Python tries once more when it ends."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def sentence(error: Exception) -> str:
    """What an error says; of the system's own errors, which have a number and a file, what is to be done."""
    if not isinstance(error, OSError) or error.errno not in WRONG:
        return str(error)
    where = "the terminal" if error.filename is None else error.filename
    return f"{where}: {WRONG[error.errno]}"


def short(figure: float) -> str:
    """A figure with two decimals, or with three digits where those would hide it."""
    return f"{figure:,.2f}" if abs(figure) >= 1 or figure == 0 else f"{figure:.3g}"
