"""Strips: one picture with six square panels, the form in which the cross-view data sets come (specification D.2).

From left to right: aerial photo, ground photo, their coloured class maps, their grey maps of groups. A grey level of
10 times n stands for the n-th group of classes; 0 and black stand for no class.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import numpy as np

from lggan.data.files import PHOTO_SUFFIXES, files_by_stem, natural
from runtime.contract.errors import InputError, UsageError
from runtime.contract.pictures import read_photo
from runtime.contract.raster import PNG_MAGIC
from runtime.contract.strips import TOLERANCE, Direction, cut_strip

GREY_STEP = 10  # between the levels of two groups
NO_CLASS = 255  # id and group of pixels that belong to none
_NOISE = 2  # grey levels; farther from a multiple of ten, a lossless map is wrong
_NO_MAP = 0.3  # share of such pixels beyond which not even a JPEG can be a map
_SHOWN = 5  # offending values named in a message


class LabelReading(str, Enum):
    """How the maps of a strip become labels of the training size.

    NEAREST: classes are the nearest colours of the palette, groups the nearest multiples of ten; both are resized by
        the nearest pixel, and the map is painted anew in the colours of the palette.
    BICUBIC: as the published training read them. Both maps are resized as if they were photos, and a pixel belongs to
        a group only if its level is exact after that: 4 to 5 % of the pixels, along the borders, belong to none.
    """

    NEAREST = "nearest"
    BICUBIC = "bicubic"


@dataclass(frozen=True)
class StripConfig:
    """How strips are read.

    Attributes:
        direction: see `Direction`.
        reading: see `LabelReading`.
        tolerance: a colour farther than this from every class, as a distance in RGB (levels of 0..255), is of no
            class. Colours of PNG strips are exact; those of JPEG strips stray at every border.
    """

    direction: Direction = Direction.A2G
    reading: LabelReading = LabelReading.NEAREST
    tolerance: float = TOLERANCE

    def __post_init__(self) -> None:
        if self.tolerance < 0:
            raise UsageError(f"strips.tolerance is {self.tolerance}; it must not be negative")


@dataclass(frozen=True)
class Strip:
    """The panels that one direction needs, uint8 [S, S, 3] each.

    Attributes:
        source, target: the photos of the given and of the wanted view.
        colors, grey: coloured class map and grey map of groups of the wanted view.
        lossless: whether the file can hold exact values (PNG) or not (JPEG).
    """

    source: np.ndarray
    target: np.ndarray
    colors: np.ndarray
    grey: np.ndarray
    lossless: bool


def find_strips(root: str | Path, split: str) -> dict[str, Path]:
    """Strips of a split by their stems, in natural order; ``val`` is the folder ``test``.

    Raises:
        InputError: the folder is absent or empty.
    """
    root = Path(root)
    if not root.is_dir():
        raise InputError(f"{root} is not a folder; give the data set's root with --data")
    folder = root / strip_folder(split)
    if not folder.is_dir():
        raise InputError(f"{folder} is absent; the layout 'strips' is {root}/train/*.png or .jpg and {root}/test")
    found, duplicates = files_by_stem(folder, PHOTO_SUFFIXES)
    if duplicates:
        raise InputError(f"{duplicates[0][0]} and {duplicates[0][1]} have the same name; keep one of them")
    if not found:
        raise InputError(f"{folder} holds no strips ({', '.join(PHOTO_SUFFIXES)})")
    return {stem: found[stem] for stem in sorted(found, key=natural)}


def strip_folder(split: str) -> str:
    """The name of a split's folder."""
    return "test" if split == "val" else split


def read_strip(path: Path, direction: Direction) -> Strip:
    """Read a strip and pick the panels of a direction.

    Raises:
        InputError: no picture, damaged, or not six square panels side by side.
    """
    panels = cut_strip(read_photo(path), direction, path)
    with open(path, "rb") as file:
        lossless = file.read(len(PNG_MAGIC)) == PNG_MAGIC
    used = (panels.source_photo, panels.target_photo, panels.target_colors, panels.target_groups)
    source, target, colors, grey = (np.ascontiguousarray(panel) for panel in used)
    return Strip(source, target, colors, grey, lossless)


def read_groups(grey: np.ndarray, groups: int, lossless: bool, path: str | Path) -> np.ndarray:
    """Groups from grey levels, each rounded to the nearest multiple of ten.

    Args:
        grey: uint8 [H, W, 3], R = G = B but for the noise of JPEG.
        groups: G, number of groups.
        lossless: whether levels off the grid are faults; in a JPEG they are its noise.

    Returns:
        uint8 [H, W]: 0..G-1, `NO_CLASS` for level 0 and, in a JPEG, for levels beyond the last group.

    Raises:
        InputError: levels that no map of groups has: which, and how many pixels.
    """
    level = grey_level(grey)
    off = off_grid(level, groups)
    if off.any() and (lossless or off.mean() > _NO_MAP):
        values, counts = np.unique(level[off], return_counts=True)
        order = np.argsort(-counts, kind="stable")[:_SHOWN]
        listed = ", ".join(f"{values[index]} ({counts[index]} px)" for index in order)
        more = f" and {len(values) - _SHOWN} more" if len(values) > _SHOWN else ""
        raise InputError(
            f"{path}: {int(off.sum())} of {level.size} pixels of the grey panel are off the grid "
            f"0, {GREY_STEP}, ... {GREY_STEP * groups}: {listed}{more}; the panel must hold {GREY_STEP} x group"
        )
    return group_of_level(level, groups)


def exact_groups(grey: np.ndarray, groups: int) -> np.ndarray:
    """Groups from grey levels by equality, of the first channel, as published (specification A.7).

    Args:
        grey: uint8 [H, W, 3].

    Returns:
        uint8 [H, W]: 0..G-1, `NO_CLASS` for every level that is not 10, 20, ... 10 G.
    """
    tens, rest = np.divmod(grey[..., 0], GREY_STEP)
    return np.where((rest == 0) & (tens >= 1) & (tens <= groups), tens - 1, NO_CLASS).astype(np.uint8)


def grey_level(grey: np.ndarray) -> np.ndarray:
    """Brightness of each pixel, uint8 [H, W]: a JPEG keeps it better than a single channel."""
    weights = np.array([299, 587, 114], dtype=np.int64)
    level: np.ndarray = ((grey.astype(np.int64) @ weights + 500) // 1000).astype(np.uint8)
    return level


def group_of_level(level: np.ndarray, groups: int) -> np.ndarray:
    """The group of the nearest multiple of ten: uint8 [H, W], `NO_CLASS` for 0 and beyond the last group."""
    tens = _nearest_ten(level)
    return np.where((tens >= 1) & (tens <= groups), tens - 1, NO_CLASS).astype(np.uint8)


def off_grid(level: np.ndarray, groups: int) -> np.ndarray:
    """Pixels whose level stands neither for a group nor for none: bool [H, W]."""
    tens = _nearest_ten(level)
    distance = np.abs(level.astype(np.int64) - GREY_STEP * tens)
    return (distance > _NOISE) | (tens > groups)


def _nearest_ten(level: np.ndarray) -> np.ndarray:
    """The nearest multiple of ten, as a multiple: int64 [H, W], 0..26."""
    return (level.astype(np.int64) + GREY_STEP // 2) // GREY_STEP
