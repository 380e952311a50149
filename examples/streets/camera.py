"""A dash-cam: points of the street in metres to points of the picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from streets.canvas import Canvas
from streets.classes import StreetClass
from streets.noise import Field

NEAR = 0.9  # metres; nothing closer is drawn


@dataclass(frozen=True)
class Camera:
    """A pinhole camera that looks straight ahead along a flat street.

    World axes: x to the right and z ahead of the camera, y up from the ground; metres.

    Attributes:
        horizon: picture height at which level ground ends, picture units from the top.
        vanishing: where straight-ahead meets the horizon, picture units from the left (the middle is 2/3).
        focal: focal length in picture heights; 1.15 makes a horizontal field of view of 60 degrees.
        eye: height of the camera above the road, metres.
    """

    horizon: float = 0.52
    vanishing: float = 0.66
    focal: float = 1.15
    eye: float = 1.35

    def project(self, points: Field) -> Field:
        """Points [n, 3] with z >= NEAR to picture units [n, 2]."""
        scale = self.focal / points[:, 2]
        return np.stack([self.vanishing + points[:, 0] * scale, self.horizon + (self.eye - points[:, 1]) * scale], 1)

    def scale(self, z: float) -> float:
        """Picture units per metre at distance z."""
        return self.focal / max(z, NEAR)


@dataclass(frozen=True)
class View:
    """What an object needs to draw itself: where to and how it is seen."""

    canvas: Canvas
    camera: Camera

    def point(self, x: float, y: float, z: float) -> tuple[float, float]:
        """One world point in picture units."""
        px, py = self.camera.project(np.array([[x, y, max(z, NEAR)]]))[0]
        return float(px), float(py)

    def polygon(self, points: Field, street_class: StreetClass) -> None:
        """Fills a flat polygon of world points [n, 3], cut off at the near plane (Sutherland-Hodgman)."""
        kept: list[Field] = []
        for a, b in zip(points, np.roll(points, -1, axis=0), strict=True):
            if a[2] >= NEAR:
                kept.append(a)
            if (a[2] >= NEAR) != (b[2] >= NEAR):
                kept.append(a + (b - a) * (NEAR - a[2]) / (b[2] - a[2]))
        if len(kept) >= 3:
            self.canvas.polygon(self.camera.project(np.array(kept)), street_class)

    def solid(self, corners: Field, street_class: StreetClass) -> None:
        """Fills the outline of a convex solid given by its corners [n, 3], cut off at the near plane.

        Every segment between a corner in front of the plane and one behind it lies in the solid, so the points where
        these segments cross the plane span the cut exactly.
        """
        front, behind = corners[corners[:, 2] >= NEAR], corners[corners[:, 2] < NEAR]
        if len(behind) and len(front):
            a, b = np.repeat(front, len(behind), axis=0), np.tile(behind, (len(front), 1))
            front = np.concatenate([front, a + (b - a) * ((NEAR - a[:, 2]) / (b[:, 2] - a[:, 2]))[:, None]])
        if len(front) >= 3:
            self.canvas.polygon(convex_hull(self.camera.project(front)), street_class)


def convex_hull(points: Field) -> Field:
    """Corners of the convex hull of points [n, 2] in order (Andrew's monotone chain)."""
    ordered = sorted({(float(x), float(y)) for x, y in points})
    chains: list[list[tuple[float, float]]] = []
    for sequence in (ordered, ordered[::-1]):
        chain: list[tuple[float, float]] = []
        for p in sequence:
            while len(chain) > 1 and _turn(chain[-2], chain[-1], p) <= 0:
                chain.pop()
            chain.append(p)
        chains.append(chain[:-1])
    return np.array(chains[0] + chains[1])


def _turn(o: tuple[float, float], a: tuple[float, float], b: tuple[float, float]) -> float:
    return (a[0] - o[0]) * (b[1] - o[1]) - (a[1] - o[1]) * (b[0] - o[0])
