"""Files that are whole or not there, whoever else writes: temporary names, renaming and locks."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock

DENIED = "that is not permitted: see to the permissions of its folder, or name another"
WHY = {  # by the number of an error
    errno.ENOSPC: "the disk is full: free some space",
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), DENIED),
}


def write(path: Path, text: str) -> None:
    """Write a whole text file in UTF-8."""
    write_whole(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_whole(path: Path, fill: Callable[[Path], Any]) -> None:
    """Let `fill` write to a temporary name of this process with the same ending, and rename that.

    Raises FileNotFoundError for a folder that does not exist and IsADirectoryError for a path that is one.
    """
    write_together({path: fill})


def write_together(fills: Mapping[Path, Callable[[Path], Any]]) -> None:
    """As `write_whole` with each, but that nothing is renamed until all are written; then in their order.

    Of a link it is the file behind it that is written.
    """
    fills = {path.resolve() if path.is_symlink() else path: fill for path, fill in fills.items()}
    made = {path: path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}") for path in fills}
    try:
        for path, fill in fills.items():
            check_place(path)
            fill(made[path])
        for path, temporary in made.items():
            os.replace(temporary, path)
    except OSError as error:
        why = WHY.get(error.errno or 0)
        if why is None:
            if error.filename is not None:
                error.filename = str(path)  # and not the temporary name
            raise
        raise OSError(f"{path} could not be written, for {why}") from None
    finally:
        for temporary in made.values():
            with contextlib.suppress(OSError):  # what cannot be deleted either is not what went wrong first
                temporary.unlink(missing_ok=True)


def check_place(path: Path) -> None:
    """Raise what `write_whole` does for a path that no file can have, before there is anything to write."""
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {path.parent}: make it first")
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder: name a file")


def parsed(text: str | bytes) -> Any:
    """What a text says in JSON; ValueError for what is none, or is nested too deeply to be read."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("JSON that is nested too deeply") from None


def locked(path: Path) -> FileLock:
    """A context in which no other process of this project changes `path`; the system ends it with a process.

    The lock is an empty file beside it, which stays: to delete it would let two processes in.
    """
    return FileLock(path.with_name(f".{path.name}.lock"))
