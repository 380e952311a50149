"""A raster of class ids, drawn finer than the picture and reduced by majority, so that every pixel stays one id."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from streets.classes import StreetClass
from streets.noise import Field, smooth, speckle

ASPECT = 4 / 3  # picture units: y runs 0..1 downwards, x runs 0..4/3; other aspect ratios are stretched
SUPERSAMPLE = 3
WOBBLE = 0.002  # picture units, 0.4 pixels of 192 lines: the unsteady hand of an annotator

Window = tuple[slice, slice]


class Canvas:
    """Class ids at `SUPERSAMPLE` samples per pixel and side, painted over from far to near.

    Shapes are tested at slightly displaced sample positions, which gives all outlines one hand-drawn tremor.

    Attributes:
        ids: uint8 [3H, 3W], the class of every sample; begins as sky.
        x, y: float64 [3H, 3W], the displaced positions in picture units.
        pixel: height of a pixel of the reduced picture, in picture units.
    """

    def __init__(self, width: int, height: int, seed: int) -> None:
        self.width, self.height, self.seed = width, height, seed
        self.pixel = 1 / height
        columns, rows = width * SUPERSAMPLE, height * SUPERSAMPLE
        x = np.broadcast_to((np.arange(columns) + 0.5) / columns * ASPECT, (rows, columns))
        y = np.broadcast_to(((np.arange(rows) + 0.5) / rows)[:, None], (rows, columns))
        self.x: Field = x + WOBBLE * 2 * (smooth(x, y, 0.012, seed) - 0.5)
        self.y: Field = y + WOBBLE * 2 * (smooth(x, y, 0.012, seed + 1) - 0.5)
        self.ids: NDArray[np.uint8] = np.full((rows, columns), StreetClass.SKY, np.uint8)

    def window(self, left: float, top: float, right: float, bottom: float) -> Window | None:
        """The samples that a shape with these bounds (picture units) can touch; None if it is out of the picture."""
        rows, columns = self.ids.shape
        low = np.floor(np.array([(top - WOBBLE) * rows, (left - WOBBLE) / ASPECT * columns]))
        high = np.ceil(np.array([(bottom + WOBBLE) * rows, (right + WOBBLE) / ASPECT * columns])) + 1
        (y0, x0), (y1, x1) = np.clip(low, 0, None).astype(int), np.minimum(high, (rows, columns)).astype(int)
        return (slice(y0, y1), slice(x0, x1)) if y1 > y0 and x1 > x0 else None

    def polygon(self, points: Field, street_class: StreetClass) -> None:
        """Fills a closed polygon, float64 [n, 2] of (x, y), by the even-odd rule; fewer than 3 points draw nothing."""
        if len(points) < 3:
            return
        window = self.window(*points.min(0), *points.max(0))
        if window is None:
            return
        x, y = self.x[window], self.y[window]
        inside = np.zeros(x.shape, bool)
        for (ax, ay), (bx, by) in zip(points, np.roll(points, -1, axis=0), strict=True):
            if ay != by:
                inside ^= ((ay > y) != (by > y)) & (x < (bx - ax) * (y - ay) / (by - ay) + ax)
        self.ids[window][inside] = street_class

    def capsule(
        self,
        start: Sequence[float],
        end: Sequence[float],
        radii: tuple[float, float],
        street_class: StreetClass,
        gaps: float = 0.0,
        over: StreetClass | None = None,
    ) -> None:
        """A line with round ends whose radius runs from `radii[0]` to `radii[1]`, never thinner than one pixel.

        Args:
            start, end: (x, y) in picture units.
            gaps: share of the line's pixels left out, as fine poles are broken in hand-made label maps.
            over: paints only where this class is so far; None paints everywhere.
        """
        thin = self.pixel / 2
        first, last = max(radii[0], thin), max(radii[1], thin)
        (ax, ay), (bx, by) = start, end
        widest = max(first, last)
        window = self.window(min(ax, bx) - widest, min(ay, by) - widest, max(ax, bx) + widest, max(ay, by) + widest)
        if window is None:
            return
        x, y = self.x[window], self.y[window]
        length_squared = max((bx - ax) ** 2 + (by - ay) ** 2, 1e-12)
        along = np.clip(((x - ax) * (bx - ax) + (y - ay) * (by - ay)) / length_squared, 0, 1)
        distance_squared = (x - ax - along * (bx - ax)) ** 2 + (y - ay - along * (by - ay)) ** 2
        inside = distance_squared <= (first + (last - first) * along) ** 2
        if gaps > 0:
            inside &= speckle(x * 0, y, 1 / 192, self.seed + int(ax * 9973)) >= gaps
        if over is not None:
            inside &= self.ids[window] == over
        self.ids[window][inside] = street_class

    def reduce(self) -> NDArray[np.uint8]:
        """The picture: uint8 [H, W], the most frequent id among the samples of each pixel (ties: the lowest id)."""
        blocks = self.ids.reshape(self.height, SUPERSAMPLE, self.width, SUPERSAMPLE)
        counts = np.stack([(blocks == k).sum(axis=(1, 3)) for k in StreetClass])  # [K, H, W]
        label: NDArray[np.uint8] = counts.argmax(axis=0).astype(np.uint8)  # [H, W]
        return label
