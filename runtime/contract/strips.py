"""Six-panel strips, the file form of the cross-view data sets (specification D.2).

One picture, six square panels side by side: photo of view a, photo of view g, colour map of a, colour map of g, grey
group map of a, grey group map of g. One view is the source, the other the target.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import numpy as np

from runtime.contract.errors import InputError
from runtime.contract.labels import VOID_VALUE
from runtime.contract.palette import NearestColors
from runtime.contract.pictures import read_photo

PANELS = 6
TOLERANCE = 48.0  # distance in RGB, levels of 0..255, at which a colour still belongs to a class
_NO_MAP = 0.5  # share of colours far from every class beyond which a panel is no class map
_SHOWN = 3  # colours named in a message


class Direction(str, Enum):
    """Which of a strip's two views is given and which is made: A2G aerial to ground, G2A ground to aerial."""

    A2G = "a2g"
    G2A = "g2a"


@dataclass(frozen=True)
class Strip:
    """The panels of one strip, uint8 [S, S, 3] each, views of one array.

    Attributes:
        source_photo, target_photo: the two photos.
        source_colors, target_colors: their label maps in colours.
        source_groups, target_groups: their group maps, grey.
    """

    source_photo: np.ndarray
    target_photo: np.ndarray
    source_colors: np.ndarray
    target_colors: np.ndarray
    source_groups: np.ndarray
    target_groups: np.ndarray


def read_strip(path: str | Path, direction: Direction) -> Strip:
    """Read a strip whose first panel is the aerial photo, and order its panels by ``direction``.

    Raises:
        InputError: absent, no picture, damaged, or not six squares wide.
    """
    return cut_strip(read_photo(path), direction, path)


def cut_strip(picture: np.ndarray, direction: Direction, path: str | Path) -> Strip:
    """Cut a strip into its panels; nothing is copied.

    Args:
        picture: uint8 [S, 6 S, 3].
        path: what messages call it.

    Raises:
        InputError: it is not six times as wide as high.
    """
    side, width = picture.shape[:2]
    if width != PANELS * side:
        raise InputError(
            f"{path} is {side}x{width} (height x width); a strip is {PANELS} square panels side by side, "
            f"{side}x{PANELS * side} at this height"
        )
    panels = [picture[:, index * side : (index + 1) * side] for index in range(PANELS)]
    if direction is Direction.G2A:
        panels = [panels[index ^ 1] for index in range(PANELS)]  # 1 0 3 2 5 4
    return Strip(*panels)


def ids_of_panel(colors: np.ndarray, nearest: NearestColors, path: str | Path) -> np.ndarray:
    """Read a panel's colours as classes.

    Args:
        colors: uint8 [S, S, 3].
        nearest: the classes' colours.
        path: what messages call the strip.

    Returns:
        uint8 [S, S], ids 0..K-1, 255 for black and for colours far from every class (the borders in a JPEG).

    Raises:
        InputError: most of the panel is far from every class, so that it is no class map.
    """
    ids = nearest.ids(colors)
    check_colors(ids, colors, path)
    return ids


def check_colors(ids: np.ndarray, colors: np.ndarray, path: str | Path) -> None:
    """Refuse a colour panel most of which is of no class, but for black.

    Args:
        ids: uint8 [S, S], what the colours were read as.
        colors: uint8 [S, S, 3].
        path: what messages call the strip.

    Raises:
        InputError: the share of such pixels, and some of their colours.
    """
    strange = (ids == VOID_VALUE) & (colors.max(axis=-1) > 0)
    if strange.mean() <= _NO_MAP:
        return
    found, counts = np.unique(colors[strange], axis=0, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:_SHOWN]
    names = ", ".join(str(tuple(found[index].tolist())) for index in order)
    raise InputError(
        f"{path}: {strange.mean():.0%} of the colour panel is far from every class's colour, {names} for example; "
        "panels 3 and 4 must hold class maps in the colours of the model"
    )
