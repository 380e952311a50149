"""Houses, walls, fences, distant skylines and the ground: everything large that stands still."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np

from streets.camera import View
from streets.classes import StreetClass
from streets.noise import Field, fractal, pick


class Roof(Enum):
    """Shapes of roofs: a parapet, a ridge across the view, a gable towards the camera, a point."""

    FLAT = "flat"
    ALONG = "along"
    GABLE = "gable"
    SPIRE = "spire"


@dataclass(frozen=True)
class House:
    """A house over the ground rectangle x0..x1, z0..z1; `height` is that of the eaves, metres."""

    x0: float
    x1: float
    z0: float
    z1: float
    height: float
    roof: Roof = Roof.FLAT
    chimneys: int = 0

    @property
    def depth(self) -> float:
        return self.z1

    def draw(self, view: View) -> None:
        x0, x1, z0, z1, eaves = self.x0, self.x1, self.z0, self.z1, self.height
        self._box(view, x0, x1, z0, z1, 0, eaves)
        ridge = eaves + 0.55 * min(abs(x1 - x0), 8.0)
        if self.roof is Roof.SPIRE:
            ridge = eaves + 1.9 * abs(x1 - x0)
            ends = [((x0 + x1) / 2, ridge, (z0 + z1) / 2)]
        elif self.roof is Roof.GABLE:
            ends = [((x0 + x1) / 2, ridge, z0), ((x0 + x1) / 2, ridge, z1)]
        elif self.roof is Roof.ALONG:
            middle, ridge = (z0 + z1) / 2, eaves + 0.36 * min(z1 - z0, 9.0)
            ends = [(x0, ridge, middle), (x1, ridge, middle)]
        else:
            self._box(view, x0, x1, z0, z0 + 0.4, eaves, eaves + 0.35)
            ends, ridge = [], eaves
        if ends:
            base = [(x, eaves, z) for x in (x0 - 0.3, x1 + 0.3) for z in (z0, z1)]
            view.solid(np.array(base + ends), StreetClass.BUILDING)
        for i in range(self.chimneys):
            cz = z0 + (z1 - z0) * (0.12 + 0.76 * (i + 0.5 * pick(i, int(z0 * 7))) / max(self.chimneys, 1))
            cx = x0 + (x1 - x0) * (0.25 + 0.5 * pick(i + 3, int(z0 * 7)))
            self._box(view, cx - 0.5, cx + 0.5, cz - 0.35, cz + 0.35, eaves - 1, ridge + 1.1)
            self._box(view, cx - 0.3, cx - 0.1, cz - 0.1, cz + 0.1, eaves, ridge + 1.5)

    @staticmethod
    def _box(view: View, x0: float, x1: float, z0: float, z1: float, low: float, high: float) -> None:
        corners = [(x, y, z) for x in (x0, x1) for y in (low, high) for z in (z0, z1)]
        view.solid(np.array(corners), StreetClass.BUILDING)


@dataclass(frozen=True)
class Wall:
    """An upright strip from (x0, z0) to (x1, z1) between two heights: garden wall, fence, hoarding, bridge deck."""

    x0: float
    z0: float
    x1: float
    z1: float
    top: float
    bottom: float = 0.0
    street_class: StreetClass = StreetClass.FENCE

    @property
    def depth(self) -> float:
        return max(self.z0, self.z1)

    def draw(self, view: View) -> None:
        ends = [(x, y, z) for x, z in ((self.x0, self.z0), (self.x1, self.z1)) for y in (self.bottom, self.top)]
        view.solid(np.array(ends), self.street_class)


@dataclass(frozen=True)
class Skyline:
    """A distant band from x0 to x1 at distance z with an uneven top: far trees, far roofs, clutter nobody labelled.

    Attributes:
        low, high: least and greatest height of the top, metres.
        step: width of the unevenness, metres.
        blocky: roofs (steps) instead of foliage (fractal).
    """

    x0: float
    x1: float
    z: float
    low: float
    high: float
    step: float
    street_class: StreetClass
    blocky: bool = False

    @property
    def depth(self) -> float:
        return self.z

    def draw(self, view: View) -> None:
        seed = int(abs(self.x0) * 31 + self.z * 17) + self.street_class
        x = np.linspace(self.x0, self.x1, 160)
        if self.blocky:
            level = np.array([pick(seed, int(np.floor(v / self.step))) for v in x])
        else:
            level = np.clip(1.6 * fractal(x, x * 0, self.step, 5, seed) - 0.3, 0, 1)
        top = self.low + (self.high - self.low) * level
        upper = np.stack([x, top, np.full_like(x, self.z)], 1)
        feet = np.array([[self.x1, 0, self.z], [self.x0, 0, self.z]])
        view.polygon(np.concatenate([upper, feet]), self.street_class)


@dataclass(frozen=True)
class Ground:
    """A patch of level ground with the corners (x, z), metres, at a height of 0; drawn before everything upright."""

    corners: tuple[tuple[float, float], ...]
    street_class: StreetClass = StreetClass.PAVEMENT

    def draw(self, view: View) -> None:
        view.polygon(np.array([(x, 0.0, z) for x, z in self.corners]), self.street_class)


def ellipse(x: float, z: float, half_width: float, half_depth: float) -> tuple[tuple[float, float], ...]:
    """Corners of a round island, for `Ground`."""
    angles = np.linspace(0, 2 * np.pi, 28, endpoint=False)
    return tuple((float(x + half_width * np.cos(t)), float(z + half_depth * np.sin(t))) for t in angles)


def bend(distances: Field, curvature: float) -> Field:
    """Sideways offset of a road of constant curvature (1/m, right positive) at these distances ahead, metres."""
    return 0.5 * curvature * distances**2
