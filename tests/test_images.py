from __future__ import annotations

import gzip
import hashlib
import http.server
import io
import struct
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import needs_data, needs_full_mnist
from scipy.io import savemat

from glimpse_env.data import files
from glimpse_env.data import images as datasets
from glimpse_env.data.files import DatasetError, RemoteFile
from glimpse_env.data.images import IdxFile, load

LABELS = "t10k-labels-idx1-ubyte.gz"


@needs_full_mnist
def test_mnist_splits_have_the_official_class_counts() -> None:
    # Literal counts: how often each class occurs in MNIST, as published.
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
        (b"not gzip at all", "cannot be read"),
        (gzip.compress(idx(2049, bytes(5000)), mtime=0)[:-20], "cannot be read"),
        (gzip.compress(idx(2051, bytes(10)), mtime=0), "magic number 2051, not 2049"),
        (gzip.compress(b"", mtime=0), "magic number -1"),
        (gzip.compress(idx(2049, bytes(10_000)), mtime=0), "wrong SHA-256"),
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


def test_fashion_mnist_is_read_like_mnist(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The official names, checked by the SHA-256 of the .gz, in a folder of its own."""
    rng = np.random.default_rng(0)
    pixels, kinds = rng.integers(0, 256, (20, 28, 28)).astype(np.uint8), np.arange(20, dtype=np.uint8) % 10
    (folder / "data" / "fashion-mnist").mkdir()
    contents = {
        "t10k-images-idx3-ubyte.gz": struct.pack(">iiii", 2051, 20, 28, 28) + pixels.tobytes(),
        LABELS: struct.pack(">ii", 2049, 20) + kinds.tobytes(),
    }
    for name, content in contents.items():
        packed = gzip.compress(content)
        (folder / "data" / "fashion-mnist" / name).write_bytes(packed)
        wanted = datasets.IDX_FILES["fashion-mnist"][name]._replace(
            sha256_gz=hashlib.sha256(packed).hexdigest()
        )
        monkeypatch.setitem(datasets.IDX_FILES["fashion-mnist"], name, wanted)
    images, labels = datasets.LOADERS["fashion-mnist"]("test")
    np.testing.assert_array_equal(images, pixels)
    assert labels.tolist() == kinds.tolist()
    (folder / "data" / "fashion-mnist" / LABELS).write_bytes(gzip.compress(contents[LABELS], mtime=1))
    datasets._read_idx.cache_clear()
    with pytest.raises(DatasetError, match="wrong SHA-256"):
        datasets.LOADERS["fashion-mnist"]("test")


def cifar_archive(path: Path) -> dict[str, bytes]:
    """Six batches of three records each, packed as the official archive is."""
    rng = np.random.default_rng(0)
    names = ["test_batch.bin", *(f"data_batch_{i}.bin" for i in range(1, 6))]
    batches = {}
    with tarfile.open(path, "w:gz") as archive:
        for name in names:
            records = rng.integers(0, 256, (3, 3073)).astype(np.uint8)
            records[:, 0] %= 10
            batches[name] = records.tobytes()
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(batches[name])
            archive.addfile(member, io.BytesIO(batches[name]))
    return batches


def test_cifar10_from_the_official_binary_archive(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "data" / "cifar10").mkdir()
    path = folder / "data" / "cifar10" / datasets.CIFAR10_ARCHIVE
    batches = cifar_archive(path)
    monkeypatch.setattr(datasets, "CIFAR10_SHA256", hashlib.sha256(path.read_bytes()).hexdigest())
    monkeypatch.setattr(datasets, "VALIDATION_IMAGES", 4)
    datasets._read_cifar10.cache_clear()
    images, labels = datasets.LOADERS["cifar10"]("test")
    assert images.shape == (3, 3, 32, 32)
    record = np.frombuffer(batches["test_batch.bin"], np.uint8)[3073 : 2 * 3073]
    assert labels[1] == record[0]
    assert images[1, 2, 5, 7] == record[1 + 2 * 1024 + 5 * 32 + 7]  # blue, line 5, column 7
    assert len(datasets.LOADERS["cifar10"]("train")[0]) == 11
    last = np.frombuffer(batches["data_batch_5.bin"], np.uint8)[2 * 3073]
    assert datasets.LOADERS["cifar10"]("validation")[1][-1] == last
    path.write_bytes(b"x")
    datasets._read_cifar10.cache_clear()
    with pytest.raises(DatasetError, match="wrong SHA-256"):
        datasets.LOADERS["cifar10"]("train")
    path.unlink()
    datasets._read_cifar10.cache_clear()
    monkeypatch.setattr(datasets, "CIFAR10_MIRRORS", ("http://127.0.0.1:9/",))
    with pytest.raises(DatasetError, match="cifar10-jpeg"):
        datasets.LOADERS["cifar10"]("train")


@needs_data("cifar10/cifar10_jpeg.npz")
def test_cifar10_jpeg_has_the_documented_means() -> None:
    # Channel means of CIFAR-10's training images, as published.
    parts = [load("cifar10-jpeg", split) for split in ("train", "validation")]
    assert [p.images.shape for p in parts] == [(45000, 3, 32, 32), (5000, 3, 32, 32)]
    mean = sum(p.images.mean((0, 2, 3)) * len(p.images) for p in parts) / 50000 / 255
    np.testing.assert_allclose(mean, [0.4913, 0.4821, 0.4465], atol=1e-4)
    assert (parts[1].labels == np.arange(45_000, 50_000) % 10).all()  # classes are interleaved
    assert np.bincount(load("cifar10-jpeg", "test").labels).tolist() == [1000] * 10


def test_cifar10_jpeg_missing_or_damaged(folder: Path) -> None:
    with pytest.raises(DatasetError, match="use dataset='cifar10'"):
        datasets.LOADERS["cifar10-jpeg"]("test")
    (folder / "data" / "cifar10").mkdir()
    (folder / "data" / "cifar10" / "cifar10_jpeg.npz").write_bytes(b"no archive")
    with pytest.raises(DatasetError, match="cannot be read"):
        datasets.LOADERS["cifar10-jpeg"]("test")


def test_svhn_cropped_from_the_official_mat_file(folder: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (32, 32, 3, 6)).astype(np.uint8)
    (folder / "data" / "svhn").mkdir()
    path = folder / "data" / "svhn" / "test_32x32.mat"
    with pytest.raises(DatasetError, match="ufldl"):
        datasets.LOADERS["svhn-cropped"]("test")
    savemat(path, {"X": x, "y": np.array([[1], [10], [3], [9], [10], [2]], np.uint8)})
    images, labels = datasets.LOADERS["svhn-cropped"]("test")
    assert labels.tolist() == [1, 0, 3, 9, 0, 2]  # SVHN's ten is a zero
    assert images[4, 2, 7, 9] == x[7, 9, 2, 4]
    path.write_bytes(b"no mat file")
    with pytest.raises(DatasetError, match="cannot be read"):
        datasets.LOADERS["svhn-cropped"]("test")
