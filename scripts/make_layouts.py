"""Make glimpse_env/worlds/svhn_layouts.npz, the compact copy of SVHN's layouts.

Reads svhn-layout/svhn_layout.npz in the folder GLIMPSE_DATA names. Not needed to use the project.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import terminal

from glimpse_env.data.files import DatasetError, find, reading
from glimpse_env.worlds import houses


def main(arguments: list[str]) -> None:
    """Read, compact, write beside the library."""
    argparse.ArgumentParser(description=__doc__).parse_args(arguments)
    source = find("svhn-layout", "svhn_layout.npz")
    if source is None:
        raise DatasetError("svhn-layout/svhn_layout.npz is not in the folder GLIMPSE_DATA names.")
    compact: dict[str, Any] = {}
    with reading(source, "get it anew"), np.load(source, allow_pickle=False) as data:
        for part in ("train", "test"):
            digits, boxes, _ = houses.to_layouts(
                data[f"{part}_digit"], data[f"{part}_box"], np.diff(data[f"{part}_start"])
            )
            compact[f"{part}_digits"], compact[f"{part}_boxes"] = digits, boxes
    temporary = Path(houses.BUNDLED).with_suffix(".tmp.npz")
    np.savez_compressed(temporary, **compact)
    temporary.replace(houses.BUNDLED)
    print(f"wrote {houses.BUNDLED}")


if __name__ == "__main__":
    terminal.run(main, (DatasetError,))
