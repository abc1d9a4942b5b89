"""Data files: found on disk, else downloaded from mirrors with a checksum and a progress bar.

A file `folder/name` is looked for in `$GLIMPSE_DATA`, then in the user's cache, which downloads go to.
"""

from __future__ import annotations

import contextlib
import filecmp
import gzip
import hashlib
import os
import struct
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

# Splits of every ten pictures of a class, or lines of a file, that names none, in their order. The first ones
# serve training and test, so that a class of two is in both.
TURNS = ("train", "test", "train", "train", "validation", "train", "train", "test", "train", "train")
FEWEST = 5  # as many turns as it takes until every split has one
RECENT = 8  # how many data sets of one's own stay in memory when nobody uses them


Item = TypeVar("Item")


class DatasetError(RuntimeError):
    """Data is missing or damaged; the message is one sentence that says what to do."""


class RemoteFile(NamedTuple):
    """A file that can be downloaded: SHA-256 of the file as it is published, and the URLs it is at."""

    sha256: str
    urls: tuple[str, ...]


def cache_folder() -> Path:
    """The folder that downloads, people's own arrays and compiled kernels are kept in.

    Where the user has no home, as in many containers, it is in the folder of temporary files.
    """
    import pooch

    folder = Path(pooch.os_cache("glimpse_env"))
    return folder if folder.is_absolute() else Path(tempfile.gettempdir()) / "glimpse_env"


def data_folders() -> list[Path]:
    """Where data is looked for, in this order."""
    shared = os.environ.get("GLIMPSE_DATA")
    return [*([path_of(shared)] if shared else []), cache_folder()]


def find(folder: str, name: str) -> Path | None:
    """The path of `folder/name` in the first data folder that holds it, or None."""
    for root in data_folders():
        if (root / folder / name).is_file():
            return root / folder / name
    return None


def fetch(folder: str, name: str, remote: RemoteFile, instead: str) -> Path:
    """The path of `folder/name`, after downloading it if it lies nowhere.

    Nothing half-written is kept. Raises DatasetError, ending in what to do `instead`, if no URL gives the
    right bytes.
    """
    found = find(folder, name)
    if found is not None:
        return found
    import pooch

    target = cache_folder() / folder
    failures = []
    for url in remote.urls:
        try:
            path = pooch.retrieve(
                url,
                known_hash=f"sha256:{remote.sha256}",
                fname=name,
                path=target,
                downloader=pooch.HTTPDownloader(progressbar=True, timeout=30),
            )
            return Path(path)
        except (OSError, ValueError) as error:  # requests' errors are OSErrors; a wrong hash is a ValueError
            failures.append(f"{url}: {type(error).__name__}")
    raise DatasetError(
        f"{name} could not be downloaded ({'; '.join(failures)}): put it into {target}, or set GLIMPSE_DATA "
        f"to a folder that holds {folder}/{name}, or {instead}."
    )


def changed(name: str) -> DatasetError:
    """The error of an environment that was pickled and whose data set is another one by now."""
    return DatasetError(f"{name} is not what it was when this environment was pickled: make it anew.")


@contextlib.contextmanager
def reading(path: Path, mend: str) -> Iterator[None]:
    """Turn whatever reading a damaged file raises into a DatasetError that names it and how to `mend` it.

    A photograph of 90 to 179 million pixels is read without Pillow's warning that it may be an attack.
    """
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r"Image size \(\d+ pixels\) exceeds limit")
            yield
    except DatasetError:
        raise
    except PermissionError:
        raise DatasetError(f"{path} may not be read: see to its permissions.") from None
    except Exception as error:  # libraries raise anything for a truncated or foreign file
        raise DatasetError(f"{path} cannot be read ({type(error).__name__}: {error}): {mend}.") from None


def signature(path: Path) -> tuple[int, int]:
    """When a file was written and how long it is, zeros where there is none."""
    about = path.stat() if path.is_file() else None
    return (about.st_mtime_ns, about.st_size) if about else (0, 0)


def own_file(name: str) -> Path:
    """The path in "file:PATH", as `path_of` has it."""
    return path_of(name.removeprefix("file:"))


def whole_name(dataset: str) -> str:
    """The name of a data set, with the whole path (`path_of`) where it is "file:PATH" or "folder:PATH"."""
    kind, _, path = dataset.partition(":")
    return f"{kind}:{path_of(path)}" if kind in ("file", "folder") and path else dataset


def path_of(given: str | Path) -> Path:
    """A path that a user gave, whole, so that it means the same wherever one works, with ~ as their home.

    It need not be there. Raises DatasetError for what can be no path, such as an unknown user's home or a
    name that is too long, and for one that may not be read.
    """
    if not str(given):
        raise DatasetError("a path is empty: name a file or a folder.")
    try:
        path = Path(given).expanduser().absolute()
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            path.stat()
    except (RuntimeError, ValueError, OSError) as error:
        raise DatasetError(
            f"{str(given)!r:.80} cannot be found or read ({error}): name a path that can."
        ) from None
    return path


def read_lines(path: Path, what: str) -> list[str]:
    """The lines of a file of a user's own; DatasetError for one that is missing or not UTF-8.

    what: what the file should hold, as "one tree per line".
    """
    if not path.is_file():
        raise DatasetError(f"there is no file {path}: name one with {what}.")
    try:
        text = path.read_text(encoding="utf-8-sig").removesuffix("\n")
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path} is not UTF-8 (byte {error.start}): convert it.") from None
    except OSError as error:
        raise DatasetError(f"{path} cannot be read ({error.strerror}): see to its permissions.") from None
    return text.split("\n") if text else []  # splitlines() also cuts at U+2028, which JSON has within a line


def read_shares(path: Path, what: str, parse: Callable[[str], Item]) -> dict[str, tuple[Item, ...]]:
    """The items of a user's own file, one per line, of every ten lines shared out as TURNS has it.

    what: what an item is called, as "tree". parse: an item of a line, or ValueError. Raises DatasetError for
    fewer than ten lines and for the first line that is no such item.
    """
    lines = read_lines(path, f"one {what} per line")
    if len(lines) < len(TURNS):
        raise DatasetError(f"{path} has {len(lines)} lines: give at least {len(TURNS)}, each a {what}.")
    parts: dict[str, list[Item]] = {turn: [] for turn in TURNS}
    for number, line in enumerate(lines):
        try:
            parts[TURNS[number % len(TURNS)]].append(parse(line))
        except (ValueError, RecursionError) as error:
            raise DatasetError(f"line {number + 1} of {path} is no {what} ({error}): mend it.") from None
    return {split: tuple(items) for split, items in parts.items()}


def read_shared(folder: str, name: str, sha256: str, instead: str) -> list[str]:
    """The lines of a .gz file that is found and not downloaded; DatasetError says what to do `instead`."""
    path = find(folder, name)
    if path is None:
        raise DatasetError(
            f"there is no {folder}/{name} in GLIMPSE_DATA or {cache_folder()}: put it there, or {instead}."
        )
    data = path.read_bytes()
    check_sha256(path, data, sha256, "copy it anew")
    return gzip.decompress(data).decode("utf-8").splitlines()


def keep(path: Path, save: Callable[[Path], object]) -> None:
    """Have `save` write a file that its contents name, unless it is there; DatasetError where that fails.

    One that is there and was damaged is replaced, if anything can be written. Nothing half-written is kept,
    whoever else keeps the same.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as made:
            written = Path(made) / path.name
            save(written)
            if not (path.is_file() and filecmp.cmp(written, path, shallow=False)):
                os.replace(written, path)
    except OSError as error:
        if path.is_file():  # whoever reads it says whether it is damaged
            return
        raise DatasetError(
            f"{path} could not be written ({error}): free some space, or set XDG_CACHE_HOME to a folder "
            "that can be written."
        ) from None


def read_gzip(path: Path, mend: str) -> bytes:
    """The contents of a .gz file; DatasetError, ending in how to `mend` it, if it is damaged."""
    with reading(path, mend):
        return gzip.decompress(path.read_bytes())


def check_sha256(path: Path, data: bytes, sha256: str, mend: str) -> None:
    """Raise DatasetError unless `data`, the contents of `path`, has this SHA-256."""
    if hashlib.sha256(data).hexdigest() != sha256:
        raise DatasetError(f"{path} has the wrong SHA-256, so its contents were changed: {mend}.")


def parse_idx(path: Path, data: bytes, magic: int, mend: str) -> NDArray[np.uint8]:
    """The array in an IDX file (MNIST's format): big-endian magic, one size a dimension, then bytes."""
    found = struct.unpack(">i", data[:4])[0] if len(data) >= 4 else -1
    if found != magic:
        raise DatasetError(
            f"{path} is not the file its name says (magic number {found}, not {magic}): {mend}."
        )
    dimensions = data[3]
    header = 4 + 4 * dimensions
    shape = struct.unpack(f">{dimensions}i", data[4:header]) if len(data) >= header else (-1,)
    if int(np.prod(shape)) != len(data) - header:
        raise DatasetError(f"{path} holds {len(data)} bytes, which does not fit its shape {shape}: {mend}.")
    return np.frombuffer(data, np.uint8, offset=header).reshape(shape)
