"""The twelve classes of the label maps (CamVid's eleven and void): the id is the value of a pixel."""

from __future__ import annotations

from enum import IntEnum


class StreetClass(IntEnum):
    """Class ids as in CamVid's eleven-class form; `VOID` is what an annotator left out."""

    SKY = 0
    BUILDING = 1
    POLE = 2
    ROAD = 3
    PAVEMENT = 4
    TREE = 5
    SIGN_SYMBOL = 6
    FENCE = 7
    CAR = 8
    PEDESTRIAN = 9
    BICYCLIST = 10
    VOID = 11


PALETTE: tuple[tuple[int, int, int], ...] = (
    (128, 128, 128),
    (128, 0, 0),
    (192, 192, 128),
    (128, 64, 128),
    (60, 40, 222),
    (128, 128, 0),
    (192, 128, 128),
    (64, 64, 128),
    (64, 0, 128),
    (64, 64, 0),
    (0, 128, 192),
    (0, 0, 0),
)
"""(R, G, B), 0..255, at the index of the class id."""
