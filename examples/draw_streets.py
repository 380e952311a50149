#!/usr/bin/env python3
"""Draws the eight street layouts under ``examples/labels`` as label maps in CamVid classes.

Every scene is a list of objects with sizes in metres (`streets/scenes.py`) seen by a pinhole camera; ragged outlines
come from integer noise. Needs numpy and Pillow. The output is the same on every run:

    python examples/draw_streets.py
    python examples/draw_streets.py --size 512x384 --output /tmp/labels
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from streets.classes import PALETTE
from streets.scene import draw_scene
from streets.scenes import all_scenes

STRIDE = 32
MAX_SIDE = 2048


def parse_size(text: str) -> tuple[int, int]:
    """``WxH`` to (width, height), pixels.

    Raises:
        argparse.ArgumentTypeError: not two numbers, or not multiples of 32 within 32..2048.
    """
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(part.isascii() and part.isdigit() for part in parts):
        raise argparse.ArgumentTypeError(f"{text!r} is not a size; write WIDTHxHEIGHT, for example 256x192")
    width, height = int(parts[0]), int(parts[1])
    for side in (width, height):
        if side % STRIDE or not STRIDE <= side <= MAX_SIDE:
            raise argparse.ArgumentTypeError(f"{text}: sides must be multiples of {STRIDE} from {STRIDE} to {MAX_SIDE}")
    return width, height


def save_label_map(path: Path, label: NDArray[np.uint8]) -> None:
    """Writes uint8 [H, W] ids as a paletted PNG (index = id), all at once or not at all."""
    picture = Image.fromarray(label)
    picture.putpalette([value for color in PALETTE for value in color])  # mode L becomes P
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        picture.save(unfinished, format="PNG", optimize=True)
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def main(arguments: list[str] | None = None) -> int:
    """Draws the maps; returns the exit code (0, or 3 if a file cannot be written)."""
    parser = argparse.ArgumentParser(description="Draw the example label maps.")
    parser.add_argument("--size", type=parse_size, default=(256, 192), metavar="WxH", help="pixels (default 256x192)")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "labels", help="folder for the PNGs")
    options = parser.parse_args(arguments)
    width, height = options.size
    try:
        options.output.mkdir(parents=True, exist_ok=True)
        for number, scene in enumerate(all_scenes(), start=1):
            path = options.output / f"{number:02d}_{scene.name}.png"
            save_label_map(path, draw_scene(scene, width, height))
            sys.stdout.write(f"{path}\n")
    except OSError as error:
        sys.stderr.write(f"cannot write to {options.output}: {error.strerror}; choose another folder with --output\n")
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
