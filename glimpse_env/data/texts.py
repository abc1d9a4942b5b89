"""Texts by name: one that is downloaded or found, one that comes with Python, and anybody's own.

A text is cut into contiguous parts: the first 2 % are for validation, the last 10 % for the test, which is
where the public figures on tiny Shakespeare are counted, and what lies between is for training. It reaches up
to the test, as in public code: most of tiny Shakespeare's last tenth goes on with a play that begins at
87.7 %, and a model that has not read its beginning has not met its names.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from glimpse_env import checks
from glimpse_env.data import files
from glimpse_env.data.files import DatasetError, RemoteFile
from glimpse_env.random import SPLITS

TINY_SHAKESPEARE = RemoteFile(
    "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
    (
        "https://raw.githubusercontent.com/karpathy/char-rnn/6f9487a6fe5b420b7ca9afb0d7c078e37c1d1b4e/"
        "data/tinyshakespeare/input.txt",
    ),
)
TEXTS = ("tiny-shakespeare", "python-docs")
CUTS = (0.02, 0.90)  # where validation ends, and where the test begins


def load(name: str, split: str) -> str:
    """The part of text `name` that `split` is: "tiny-shakespeare", "python-docs" or "file:PATH".

    python-docs is the language reference that `help()` shows, another in every version of Python. Raises
    ValueError for an unknown name or split, DatasetError for a file that is missing, empty or not UTF-8.
    """
    checks.choice("split", split, SPLITS)
    name = str(name)
    if name == "tiny-shakespeare":
        text = _tiny_shakespeare()
    elif name == "python-docs":
        text = _python_docs()
    elif name.startswith("file:") and name != "file:":
        text = _read(files.path_of(name.removeprefix("file:")))
    else:
        raise ValueError(
            f"there is no text {name!r}{checks.did_you_mean(name, TEXTS) or ':'} use one of "
            f"{', '.join(map(repr, TEXTS))}, or 'file:PATH' for a text of your own"
        )
    first, second = (round(cut * len(text)) for cut in CUTS)
    return {"validation": text[:first], "train": text[first:second], "test": text[second:]}[split]


def _read(path: Path) -> str:
    if not path.is_file():
        raise DatasetError(f"there is no text at {path}: name a file.")
    try:
        text = path.read_text(encoding="utf-8-sig")  # a mark of byte order is no letter
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path} is not UTF-8 (byte {error.start}): convert it.") from None
    if not text:
        raise DatasetError(f"{path} is empty: name a file with a text in it.")
    return text


@cache
def _tiny_shakespeare() -> str:
    path = files.fetch(
        "tinyshakespeare", "input.txt", TINY_SHAKESPEARE, "use dataset='python-docs', which comes with Python"
    )
    mend = "delete it, and the next run downloads it again"
    data = path.read_bytes()
    files.check_sha256(path, data, TINY_SHAKESPEARE.sha256, mend)
    return data.decode("utf-8")


@cache
def _python_docs() -> str:
    from pydoc_data.topics import topics  # half a megabyte, read when it is wanted

    text = "\n\n".join(topics[name] for name in sorted(topics))
    for fancy, plain in (("“”", '"'), ("‘’", "'"), ("–—", "-")):
        for mark in fancy:
            text = text.replace(mark, plain)
    return text.encode("ascii", "ignore").decode("ascii")
