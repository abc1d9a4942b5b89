"""Make Flickr8k's two files for `dataset="flickr8k"` from what its owners send to whoever asks them.

    python scripts/prepare_flickr8k.py FOLDER OUT

FOLDER holds Flicker8k_Dataset/ with the photographs, and Flickr8k.token.txt, Flickr_8k.trainImages.txt,
Flickr_8k.devImages.txt and Flickr_8k.testImages.txt, wherever below it they lie. OUT is a folder
"flickr8k" in $GLIMPSE_DATA or in the user's cache; pictures are squashed to 224 x 224 pixels.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
from pathlib import Path

import numpy as np
import terminal
from PIL import Image
from tqdm import tqdm

from agents.learn.files import write_whole
from glimpse_env.data import files
from glimpse_env.data.captions import FLICKR8K, PARTS
from glimpse_env.data.files import DatasetError

SIDE, QUALITY = 224, 85
LONGEST_NAME = 64  # characters of a picture's name


def main(arguments: list[str]) -> None:
    """Read the folder, write the two files."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="where the owners' files lie")
    parser.add_argument("out", type=Path, help="where to write the two files")
    options = parser.parse_args(arguments)
    captions: dict[str, list[str]] = {}
    for line in _lines(options.folder, "Flickr8k.token.txt"):
        name, tab, caption = line.partition("\t")
        if not tab:
            raise DatasetError(
                f"Flickr8k.token.txt has the line {line!r}, which is no name, tab and caption."
            )
        captions.setdefault(name.partition("#")[0], []).append(caption)
    split = {
        name: number
        for number, part in enumerate(PARTS)
        for name in _lines(options.folder, f"Flickr_8k.{part}Images.txt")
    }
    unnamed = sorted(split.keys() - captions.keys())
    if unnamed:
        raise DatasetError(f"{unnamed[0]} is in a split and has no caption: get the files anew.")
    pictures = {path.name: path for path in options.folder.rglob("*.jpg")}
    names = sorted(captions.keys() & pictures.keys())
    missing = sorted(split.keys() - pictures.keys())
    if missing:
        raise DatasetError(
            f"{missing[0]} is not below {options.folder}: {len(missing)} pictures are missing."
        )
    odd = [name for name in names if not name.isascii() or len(name) > LONGEST_NAME]
    if odd:
        raise DatasetError(
            f"the picture {odd[0]!r} must have a name of at most {LONGEST_NAME} ASCII characters: rename it."
        )
    for number, part in enumerate(PARTS):
        if number not in split.values():
            raise DatasetError(f"Flickr_8k.{part}Images.txt names no picture: get the files anew.")
    encoded = [_squashed(pictures[name]) for name in tqdm(names, "pictures", unit=" pictures")]
    offset = np.cumsum([0, *map(len, encoded)])
    lines = [
        {"image": name, "split": (*PARTS, "none")[split.get(name, 3)], "captions": captions[name]}
        for name in names
    ]
    options.out.mkdir(parents=True, exist_ok=True)
    write_whole(
        options.out / FLICKR8K[0],
        lambda file: np.savez(
            file, jpeg=np.frombuffer(b"".join(encoded), np.uint8), offset=offset,
            name=np.array(names, f"S{LONGEST_NAME}"),
            split=np.array([split.get(name, 3) for name in names], np.int8),
        ),
    )  # fmt: skip
    text = "".join(json.dumps(line) + "\n" for line in lines)
    write_whole(options.out / FLICKR8K[1], lambda file: file.write_bytes(gzip.compress(text.encode("utf-8"))))
    print(f"{len(names):,} pictures: {options.out / FLICKR8K[0]} and {FLICKR8K[1]}")


def _lines(folder: Path, name: str) -> list[str]:
    """The lines of a file somewhere below a folder; DatasetError where it is missing."""
    found = sorted(folder.rglob(name)) if folder.is_dir() else []
    if not found:
        raise DatasetError(f"there is no {name} below {folder}: name the folder of the owners' files.")
    return files.read_lines(found[0], "what Flickr8k's owners send")


def _squashed(path: Path) -> bytes:
    """A photograph as a JPEG of SIDE x SIDE pixels."""
    with files.reading(path, "get it anew"), Image.open(path) as opened:
        squashed = opened.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    kept = io.BytesIO()
    squashed.save(kept, "JPEG", quality=QUALITY)
    return kept.getvalue()


if __name__ == "__main__":
    terminal.run(main, (DatasetError,))
