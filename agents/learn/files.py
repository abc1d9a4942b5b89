"""Files that are whole or not there, whoever else writes: temporary names, renaming and locks."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

STALE = 60.0  # seconds after which a lock whose process is gone is taken over


def write(path: Path, text: str) -> None:
    """Write a whole text file in UTF-8."""
    write_whole(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_whole(path: Path, fill: Callable[[Path], Any]) -> None:
    """Let `fill` write to a temporary name of this process with the same ending, and rename that.

    Raises FileNotFoundError for a folder that does not exist.
    """
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {path.parent}: make it first")
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")
    try:
        fill(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """A context in which no other process of this project changes `path`.

    The lock is a file beside it that is created exclusively and holds the number of its process; one whose
    process has died is taken over.
    """
    lock = path.with_name(f".{path.name}.lock")
    while True:
        try:
            with lock.open("x", encoding="utf-8") as file:
                file.write(str(os.getpid()))
            break
        except FileExistsError:
            if _abandoned(lock):
                lock.unlink(missing_ok=True)
            else:
                time.sleep(0.05)
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)


def _abandoned(lock: Path) -> bool:
    """Whether the process that made the lock is gone, or nobody can tell and the lock is old."""
    try:
        os.kill(int(lock.read_text(encoding="utf-8")), 0)
    except ProcessLookupError:
        return True
    except (ValueError, OSError):
        with contextlib.suppress(OSError):
            return time.time() - lock.stat().st_mtime > STALE
    return False
