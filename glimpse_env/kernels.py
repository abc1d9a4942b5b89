"""How the project's loops are compiled: `@kernel` is numba's njit with a cache that cannot go stale.

numba's own cache looks at the file of a function alone, so that a function inlined from another file stays
as it was compiled first. Here the cache of every kernel is named by the contents of all files that hold
kernels. It is kept beside the package, or where that is read-only in the user's cache, or in the folder of
temporary files; `NUMBA_CACHE_DIR` comes before all of them. Where none can be written, kernels are compiled
anew in every process. Of processes that start at once, one compiles and the others wait for it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle
import stat
import sys
import tempfile
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import IO, Any, Literal, TypeVar

import numba
from numba.core import caching

from glimpse_env.data.files import cache_folder

try:
    import fcntl
except ImportError:  # on Windows: there every process compiles for itself
    fcntl = None  # type: ignore[assignment]

PATIENCE = 60.0  # seconds that a process waits for another one that compiles
PACKAGE = Path(__file__).parent
Function = TypeVar("Function", bound=Callable[..., Any])


@cache
def source_hash() -> str:
    """A hash of the contents of every Python file of the package that mentions a kernel."""
    hashed = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        text = path.read_bytes()
        if b"@kernel" in text or b"@inlined" in text:
            hashed.update(text)
    return hashed.hexdigest()[:16]


@cache
def kernel_folder() -> Path | None:
    """The first folder that compiled kernels can be kept in, or None."""
    told, shared = os.environ.get("NUMBA_CACHE_DIR"), Path(tempfile.gettempdir())
    trusted = [*([Path(told)] if told else []), PACKAGE / "__pycache__"]
    others = [cache_folder() / "kernels"]
    if hasattr(os, "getuid"):
        others.append(shared / f"glimpse_env-kernels-{os.getuid()}")
    for folder in trusted + others:
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()
        except OSError:
            continue
        if folder in trusted or _only_mine(folder, shared):
            return folder
    return None


def _only_mine(folder: Path, shared: Path) -> bool:
    """Whether nobody else can have put a compiled kernel, which is run as it is, into this folder.

    shared: where everybody may write; only what lies below is asked whose it is.
    """
    within = [part for part in (folder, *folder.parents) if part != shared and part.is_relative_to(shared)]
    about = [part.lstat() for part in within]
    return all(stat.S_ISDIR(a.st_mode) and a.st_uid == os.getuid() and not a.st_mode & 0o022 for a in about)


class _Locator(caching._CacheLocator):
    """Says where a kernel is kept and by what its file is known to be fresh."""

    def __init__(self, folder: Path, function: Callable[..., Any]) -> None:
        self._folder = str(folder)
        self._line = function.__code__.co_firstlineno

    def get_cache_path(self) -> str:
        return self._folder

    def get_source_stamp(self) -> str:
        return source_hash()

    def get_disambiguator(self) -> str:
        return f"{self._line}.{source_hash()}"

    @classmethod
    def from_function(cls, py_func: Callable[..., Any], py_file: str) -> _Locator | None:
        folder = kernel_folder()
        return None if folder is None else cls(folder, py_func)


class _CacheFiles(caching.CompileResultCacheImpl):
    """numba's files of a function, placed by `_Locator`."""

    _locator_classes = [_Locator]  # noqa: RUF012 (numba's own form)


class _Turn:
    """Whose turn it is to compile: processes that start at once wait for the first, and load what it kept.

    Where compiling fails the turn is kept until the process ends; others wait for it once, for PATIENCE.
    """

    def __init__(self) -> None:
        self._kernels = 0  # in the making: one may ask for another
        self._lock: IO[str] | None = None
        self._patience = PATIENCE

    def take(self) -> None:
        """Wait until no other process compiles; one that takes too long is not waited for again."""
        self._kernels += 1
        folder = kernel_folder()
        if self._kernels > 1 or folder is None or fcntl is None:
            return
        until = time.monotonic() + self._patience
        with contextlib.suppress(OSError):  # without locks, as on some network disks, all compile
            self._lock = (folder / "compiling.lock").open("w", encoding="utf-8")
            while time.monotonic() < until:
                try:
                    fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    return
                except BlockingIOError:
                    time.sleep(0.02)
            self._patience = 0.0

    def give(self) -> None:
        """Let the next process compile, once nothing is in the making."""
        self._kernels = max(0, self._kernels - 1)
        if self._kernels == 0 and self._lock is not None:
            self._lock.close()
            self._lock = None


_TURN = _Turn()


class _KernelCache(caching.FunctionCache):
    """numba's cache of a function, whose files may be damaged, full or written by others at the same time."""

    _impl_class = _CacheFiles

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The compiled kernel for `sig`, or None where it is this process's turn to compile it."""
        found = self._kept(sig, target_context)
        if found is None:
            _TURN.take()
            found = self._kept(sig, target_context)  # by another process, meanwhile
            if found is None:
                _say_that_it_compiles()
            else:
                _TURN.give()
        return found

    def _kept(self, sig: Any, target_context: Any) -> Any:
        try:
            found: Any = super().load_overload(sig, target_context)  # type: ignore[no-untyped-call]  # numba's
        except Exception:  # whatever unpickling a half-written or foreign file raises
            found = None
        # Two processes that start on an empty cache may give one file name to two signatures.
        if found is not None and tuple(found.signature.args) == tuple(sig):
            return found
        return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep the compiled kernel, where that is possible; an index that is damaged is begun anew."""
        try:
            with contextlib.suppress(OSError):
                try:
                    super().save_overload(sig, data)  # type: ignore[no-untyped-call]  # numba's
                except (pickle.UnpicklingError, EOFError, ValueError):
                    self.flush()  # type: ignore[no-untyped-call]  # numba's
        finally:
            _TURN.give()


@cache
def _say_that_it_compiles() -> None:
    """Once a process, for who waits wants to know why."""
    print(
        "glimpse_env compiles the loops of this kind of scene: some seconds, the first time",
        file=sys.stderr,
        flush=True,
    )


def kernel(function: Function) -> Function:
    """Compile `function` when it is first called, and keep it for the next process."""
    return _compiled(function, inline="never")


def inlined(function: Function) -> Function:
    """As `kernel`, for a few operations that become part of whichever kernel calls them."""
    return _compiled(function, inline="always")


def _compiled(function: Function, inline: Literal["never", "always"]) -> Function:
    dispatcher: Any = numba.njit(inline=inline)(function)
    if kernel_folder() is not None:
        dispatcher._cache = _KernelCache(function)  # type: ignore[no-untyped-call]  # numba's
    compiled: Function = dispatcher  # it is called as the function is
    return compiled
