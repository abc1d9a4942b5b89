from __future__ import annotations

import gzip
import hashlib
import http.server
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import needs_full_mnist

from glimpse_env import datasets, files
from glimpse_env.datasets import IdxFile, load
from glimpse_env.files import DatasetError, RemoteFile

LABELS = "t10k-labels-idx1-ubyte.gz"


@needs_full_mnist
def test_mnist_splits_have_the_official_class_counts() -> None:
    # Literal counts: the table of MNIST's distribution, as in SOURCE.md of the data folder.
    train, validation, test = (load("mnist", split) for split in datasets.SPLITS)
    assert train.images.shape == (55000, 1, 28, 28)
    assert validation.images.shape == (5000, 1, 28, 28)
    counts = np.bincount(np.concatenate([train.labels, validation.labels]))
    assert counts.tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(test.labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


def test_offline_digits_are_balanced_disjoint_and_read_only() -> None:
    splits = [load("mnist-5k", split) for split in datasets.SPLITS]
    assert [len(s.labels) for s in splits] == [3500, 500, 1000]
    for s in splits:
        assert np.bincount(s.labels).tolist() == [len(s.labels) // 10] * 10
        assert s.images.dtype == np.uint8
        assert not s.images.flags.writeable
    seen = [{image.tobytes() for image in s.images} for s in splits]
    assert not seen[0] & seen[2]
    assert not seen[0] & seen[1]
    assert not seen[1] & seen[2]


@needs_full_mnist
def test_offline_digits_are_real_mnist_training_digits() -> None:
    full = {i.tobytes() for split in ("train", "validation") for i in load("mnist", split).images}
    assert {i.tobytes() for i in load("mnist-5k", "test").images} <= full


@pytest.mark.parametrize(("name", "split", "says"), [("mnits", "train", "mnits"), ("mnist", "dev", "dev")])
def test_unknown_names_are_named(name: str, split: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        load(name, split)


def idx(magic: int, payload: bytes) -> bytes:
    return struct.pack(">ii", magic, len(payload)) + payload


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty GLIMPSE_DATA, an empty cache and no mirror."""
    monkeypatch.setenv("GLIMPSE_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(files, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setitem(datasets.IDX_MIRRORS, "mnist", ())
    datasets._read_idx.cache_clear()
    (tmp_path / "data" / "mnist").mkdir(parents=True)
    yield tmp_path
    datasets._read_idx.cache_clear()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"not gzip at all", "damaged or truncated"),
        (gzip.compress(idx(2049, bytes(5000)))[:-20], "damaged or truncated"),
        (gzip.compress(idx(2051, bytes(10))), "magic number 2051, not 2049"),
        (gzip.compress(b""), "magic number -1"),
        (gzip.compress(idx(2049, bytes(10_000))), "wrong SHA-256"),
    ],
)
def test_damaged_files_end_in_one_sentence(folder: Path, content: bytes, says: str) -> None:
    path = folder / "data" / "mnist" / LABELS
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=says) as caught:
        datasets._read_idx("mnist", LABELS)
    assert str(path) in str(caught.value)
    assert "delete it" in str(caught.value)


def test_the_cache_is_second_in_line(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = idx(2049, bytes(range(10)))
    wanted = IdxFile(2049, "", hashlib.sha256(content).hexdigest())
    monkeypatch.setitem(datasets.IDX_FILES["mnist"], LABELS, wanted)
    (folder / "cache" / "mnist").mkdir(parents=True)
    (folder / "cache" / "mnist" / LABELS).write_bytes(gzip.compress(content))
    assert datasets._read_idx("mnist", LABELS).tolist() == list(range(10))


CONTENT = gzip.compress(idx(2049, bytes(range(256)) * 400), compresslevel=0)


class Mirror(http.server.BaseHTTPRequestHandler):
    """Serves CONTENT under /good/; under /cut/ closes the line half-way; under /wrong/ sends other bytes."""

    def do_GET(self) -> None:
        kind = self.path.split("/")[1]
        if kind == "missing":
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        if kind == "cut":
            self.wfile.write(CONTENT[: len(CONTENT) // 2])
            self.close_connection = True
        else:
            self.wfile.write(CONTENT if kind == "good" else bytes(len(CONTENT)))

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Mirror) as httpd:
        thread = threading.Thread(target=httpd.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()
        thread.join()


GOOD_SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.mark.parametrize("first", ["cut", "wrong", "missing"])
def test_a_bad_mirror_gives_way_to_the_next(first: str, server: str, folder: Path) -> None:
    remote = RemoteFile(GOOD_SHA256, (f"{server}/{first}/x", f"{server}/good/x"))
    path = files.fetch("mnist", LABELS, remote, "")
    assert path.read_bytes() == CONTENT
    assert [p.name for p in (folder / "cache" / "mnist").iterdir()] == [LABELS]


@pytest.mark.parametrize("kind", ["cut", "wrong", "missing"])
def test_no_good_mirror_says_what_to_do_and_leaves_nothing(kind: str, server: str, folder: Path) -> None:
    remote = RemoteFile(GOOD_SHA256, (f"{server}/{kind}/x", "http://127.0.0.1:9/x"))
    with pytest.raises(DatasetError, match="could not be downloaded") as caught:
        files.fetch("mnist", LABELS, remote, "use dataset='mnist-5k'")
    assert "mnist-5k" in str(caught.value)
    assert list((folder / "cache" / "mnist").iterdir()) == []


def test_the_whole_way_from_an_empty_machine(
    folder: Path, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = gzip.decompress(CONTENT)
    wanted = IdxFile(2049, hashlib.sha256(CONTENT).hexdigest(), hashlib.sha256(contents).hexdigest())
    monkeypatch.setitem(datasets.IDX_FILES["mnist"], LABELS, wanted)
    monkeypatch.setitem(datasets.IDX_MIRRORS, "mnist", (f"{server}/good/",))
    assert datasets._read_idx("mnist", LABELS).tolist() == list(range(256)) * 400
    assert (folder / "cache" / "mnist" / LABELS).exists()
