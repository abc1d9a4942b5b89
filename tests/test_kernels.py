"""Compiled kernels: never stale, wherever they may be kept, and many processes at once."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

from glimpse_env import kernels

SHOW = (
    "import glimpse_env, gymnasium; "
    "env = gymnasium.make('Glimpse/Lookup-v0', split='test'); "
    "print(env.reset(options={'index': 5})[0]['retina'], env.unwrapped.vector.canvas())"
)


QUICK = (
    "import numpy as np; from glimpse_env.random import row_keys; "
    "print(row_keys(np.arange(3, dtype=np.uint64)))"
)


def show(package: Path, code: str = QUICK, **environment: str | None) -> subprocess.Popen[str]:
    """A process that draws a frozen scene with the copy of the library in `package`."""
    env = {**os.environ, "PYTHONPATH": str(package), **environment}
    return subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=package,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={key: value for key, value in env.items() if value is not None},
    )


def seen(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return out


@pytest.fixture
def package(tmp_path: Path) -> Path:
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "glimpse_env", tmp_path / "lib" / "glimpse_env", ignore=ignore)
    return tmp_path / "lib"


def test_it_says_once_that_it_compiles_and_is_silent_afterwards(package: Path, tmp_path: Path) -> None:
    for lines in (1, 0):
        process = show(package, QUICK, NUMBA_CACHE_DIR=str(tmp_path / "kernels"))
        _, err = process.communicate(timeout=300)
        assert (
            err.splitlines()
            == ["glimpse_env compiles the loops of this kind of scene: some seconds, the first time"] * lines
        )


def test_an_edit_of_an_inlined_function_and_its_revert_are_seen(package: Path) -> None:
    """The random stream lives in one file and is inlined into the worlds of others."""
    stream = package / "glimpse_env" / "random.py"
    text, about = stream.read_text(encoding="utf-8"), stream.stat()
    first = seen(show(package, SHOW, PYTHONDONTWRITEBYTECODE="1"))
    stream.write_text(text.replace("np.uint64(30)", "np.uint64(29)"), encoding="utf-8")
    # As some tools leave it. Python's own bytecode, which is left out here, would not notice.
    os.utime(stream, ns=(about.st_atime_ns, about.st_mtime_ns))
    edited = seen(show(package, SHOW, PYTHONDONTWRITEBYTECODE="1"))
    assert edited != first
    stream.write_text(text, encoding="utf-8")
    assert seen(show(package, SHOW, PYTHONDONTWRITEBYTECODE="1")) == first


def test_of_processes_that_start_at_once_on_an_empty_cache_one_compiles(package: Path) -> None:
    ended = [process.communicate(timeout=300) for process in [show(package) for _ in range(4)]]
    assert len({out for out, _ in ended}) == 1
    assert "[" in ended[0][0]
    assert sum("compiles the loops" in err for _, err in ended) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="there every process compiles for itself")
def test_a_process_that_never_ends_is_not_waited_for_for_ever(package: Path) -> None:
    import fcntl

    folder = package / "glimpse_env" / "__pycache__"
    folder.mkdir(exist_ok=True)
    with (folder / "compiling.lock").open("w", encoding="utf-8") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        impatient = "from glimpse_env import kernels; kernels._TURN._patience = 0.3; " + QUICK
        assert seen(show(package, impatient)).startswith("[")


def test_without_a_home_or_a_place_to_write_kernels_still_work(package: Path, tmp_path: Path) -> None:
    """A file where the cache would be stands for a disk that cannot be written: root may write anywhere."""
    (package / "glimpse_env" / "__pycache__").write_text("", encoding="utf-8")
    out = seen(show(package, HOME=None, XDG_CACHE_HOME=None, PYTHONDONTWRITEBYTECODE="1"))
    (tmp_path / "blocked").write_text("", encoding="utf-8")
    nowhere = {"XDG_CACHE_HOME": str(tmp_path / "blocked"), "TMPDIR": str(tmp_path / "blocked")}
    assert seen(show(package, PYTHONDONTWRITEBYTECODE="1", **nowhere)) == out
    assert not (package / "~").exists()


def test_the_folder_that_numba_is_told_comes_first(package: Path, tmp_path: Path) -> None:
    seen(show(package, NUMBA_CACHE_DIR=str(tmp_path / "told")))
    assert list((tmp_path / "told").glob("*.nbi"))
    assert not list((package / "glimpse_env" / "__pycache__").glob("*.nbi"))


def test_a_damaged_cache_is_compiled_anew(package: Path) -> None:
    first = seen(show(package, NUMBA_CACHE_DIR=None))
    kept = list((package / "glimpse_env" / "__pycache__").glob("*.nb[ic]"))
    assert kept
    for path in kept:
        path.write_bytes(path.read_bytes()[:100])
    assert seen(show(package, NUMBA_CACHE_DIR=None)) == first


def test_every_kernel_counts_for_the_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = {path.parent.name for path in kernels.PACKAGE.rglob("*.py") if b"@kernel" in path.read_bytes()}
    assert {"worlds", "sensors", "glimpse_env"} <= folders
    monkeypatch.setattr(kernels, "PACKAGE", tmp_path)
    (tmp_path / "worlds").mkdir()
    files = {"worlds/a.py": "@kernel", "b.py": "@inlined", "c.py": "neither"}
    hashes = []
    for name in ("", *files):  # written, and then changed one after the other
        for file, text in files.items():
            (tmp_path / file).write_text(text + "\n" * (file == name), encoding="utf-8")
        hashes.append(kernels.source_hash.__wrapped__())
    assert hashes[0] == hashes[3]
    assert len({*hashes}) == 3


def test_a_folder_that_others_may_write_to_is_not_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Compiled kernels are run as they are found, and the folder of temporary files is everyone's."""
    monkeypatch.setattr(kernels.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(kernels, "PACKAGE", tmp_path / "file" / "x")
    monkeypatch.setattr(kernels, "cache_folder", lambda: tmp_path / "file" / "x")
    (tmp_path / "file").write_text("", encoding="utf-8")
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    mine = tmp_path / f"glimpse_env-kernels-{os.getuid()}"
    assert kernels.kernel_folder.__wrapped__() == mine
    mine.chmod(0o777)
    assert kernels.kernel_folder.__wrapped__() is None
    mine.rmdir()
    mine.symlink_to(tmp_path)
    assert kernels.kernel_folder.__wrapped__() is None


def test_a_cache_below_the_folder_of_temporary_files_is_asked_whose_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As that of a user without a home is."""
    monkeypatch.setattr(kernels.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(kernels, "PACKAGE", tmp_path / "file" / "x")
    (tmp_path / "file").write_text("", encoding="utf-8")
    cache = tmp_path / "glimpse_env"
    monkeypatch.setattr(kernels, "cache_folder", lambda: cache)
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    cache.mkdir(mode=0o700)
    assert kernels.kernel_folder.__wrapped__() == cache / "kernels"
    cache.chmod(0o777)  # so that others could put another folder in its place
    assert kernels.kernel_folder.__wrapped__() == tmp_path / f"glimpse_env-kernels-{os.getuid()}"
