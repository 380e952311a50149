"""Class ids from colours that stray: against plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest

from runtime.contract.card import ClassInfo
from runtime.contract.palette import NearestColors

CLASSES = (
    ClassInfo("road", (128, 64, 128)),
    ClassInfo("car", (0, 0, 142)),
    ClassInfo("truck", (0, 0, 70)),
    ClassInfo("twin of road", (128, 64, 128)),
    ClassInfo("sign", (220, 220, 0)),
)


def by_hand(color: tuple[int, ...], tolerance: float) -> int:
    """The nearest class, 255 where none is near or where black is nearer."""
    distances = [math.dist(color, info.color) for info in CLASSES]
    best = min(distances)
    return 255 if best > tolerance or math.dist(color, (0, 0, 0)) < best else distances.index(best)


@pytest.mark.parametrize("tolerance", [0.0, 20.0, 48.0, 500.0])
def test_every_pixel_gets_the_nearest_class(tolerance: float) -> None:
    draw = np.random.default_rng(0)
    palette = np.array([info.color for info in CLASSES] + [(0, 0, 0)])
    near = np.clip(palette[draw.integers(0, 6, (20, 30))] + draw.integers(-30, 31, (20, 30, 3)), 0, 255)
    rgb = np.concatenate([near, draw.integers(0, 256, (20, 30, 3)), palette[None].repeat(5, 0).reshape(-1, 30, 3)])
    rgb = rgb.astype(np.uint8)
    expected = [[by_hand(tuple(color), tolerance) for color in row] for row in rgb.tolist()]
    nearest = NearestColors(CLASSES, tolerance)
    ids = nearest.ids(rgb)
    assert ids.dtype == np.uint8
    np.testing.assert_array_equal(ids, expected)
    np.testing.assert_array_equal(nearest.ids(rgb), expected)  # now from the table
    np.testing.assert_array_equal(nearest.ids(rgb[:3, ::-1]), np.array(expected)[:3, ::-1])


def test_black_can_be_a_class() -> None:
    black = (ClassInfo("night", (0, 0, 0)), ClassInfo("day", (255, 255, 255)))
    rgb = np.array([[[0, 0, 5], [250, 250, 250], [99, 99, 99]]], np.uint8)
    assert NearestColors(black, 10.0).ids(rgb).tolist() == [[0, 1, 255]]


def test_as_many_classes_as_ids_allow() -> None:
    classes = tuple(ClassInfo(str(index), (index, 0, 9)) for index in range(254))
    colors = np.array([info.color for info in classes], np.uint8)[None]
    np.testing.assert_array_equal(NearestColors(classes, 0.0).ids(colors), np.arange(254)[None])
    for wrong in ((), (*classes, ClassInfo("one too many", (255, 0, 9)))):
        with pytest.raises(ValueError, match="classes"):
            NearestColors(wrong, 0.0)
