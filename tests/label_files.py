"""Label maps on the disk for tests of the command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def write_labels(folder: Path, count: int, height: int, width: int) -> Path:
    """``count`` PNG files of one class each, ``0.png`` of class 0 and so on; returns the folder, which it makes."""
    folder.mkdir()
    for index in range(count):
        Image.fromarray(np.full((height, width), index, np.uint8)).save(folder / f"{index}.png")
    return folder
