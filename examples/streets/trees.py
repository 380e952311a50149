"""Trees and hedges with ragged outlines: noise decides what is leaf, gap, and left-out twig."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streets.camera import View
from streets.classes import StreetClass
from streets.noise import Field, fractal, pick, smooth, speckle

GRAIN = 1 / 190  # picture units: the size of single leaves and gaps in hand-made label maps


@dataclass(frozen=True)
class Tree:
    """A tree in leaf at (x, z): trunk and a lobed crown whose rim dissolves into the sky.

    Attributes:
        height, radius: of the tree and of its crown, metres.
        openness: 0..1, how much sky shows through the crown's rim.
    """

    x: float
    z: float
    height: float = 8.0
    radius: float = 2.8
    openness: float = 0.5

    @property
    def depth(self) -> float:
        return self.z

    def draw(self, view: View) -> None:
        seed = _seed(self.x, self.z)
        unit = view.camera.scale(self.z)
        crown_half = min(self.radius * 1.15, self.height * 0.42)
        middle = self.height - crown_half
        base = view.point(self.x, 0, self.z)
        fork = view.point(self.x + 0.3 * (pick(seed, 1) - 0.5), middle - crown_half * 0.3, self.z)
        view.canvas.capsule(base, fork, (0.18 * unit, 0.13 * unit), StreetClass.TREE)
        cx, cy = view.point(self.x, middle, self.z)
        _crown(view, (cx, cy), (self.radius * unit, crown_half * unit), self.openness, seed)


def _crown(view: View, centre: tuple[float, float], radii: tuple[float, float], openness: float, seed: int) -> None:
    """An ellipse distorted by lobes (coarse noise) and leaves (fine noise), in picture units."""
    reach = 1.45
    (cx, cy), (rx, ry) = centre, radii
    window = view.canvas.window(cx - reach * rx, cy - reach * ry, cx + reach * rx, cy + reach * ry)
    if window is None:
        return
    x, y = view.canvas.x[window], view.canvas.y[window]
    rho = np.hypot((x - cx) / rx, (y - cy) / ry)
    density = 1 - rho + 0.85 * (fractal(x - cx, y - cy, 0.55 * rx, 4, seed) - 0.5)
    rim = min(0.45, 0.07 / max(rx, ry) * (0.4 + openness))  # depth of the ragged rim, share of the radius
    density = density + rim * 0.9 * (fractal(x, y, 5 * GRAIN, 3, seed + 11) - 0.5)
    _paint_foliage(view.canvas.ids[window], x, y, density / rim, openness, seed)


def _paint_foliage(ids: NDArray[np.uint8], x: Field, y: Field, depth: Field, openness: float, seed: int) -> None:
    """Leaves where `depth` > 0; against the sky the rim (depth within -1..1.5) is pierced and sprinkled with twigs."""
    sky = ids == StreetClass.SKY
    leaves = depth > 0
    grain = 0.7 * speckle(x, y, GRAIN, seed + 21) + 0.3 * smooth(x, y, 6 * GRAIN, seed + 23)
    gaps = leaves & sky & (grain < openness * 0.42 * np.clip(1.5 - depth, 0, 1))
    twigs = ~leaves & sky & (depth > -1.1) & (grain > 0.95 - 0.30 * openness * np.clip(1.1 + depth, 0, 1))
    ids[leaves & ~gaps] = StreetClass.TREE
    ids[gaps & (speckle(x, y, GRAIN, seed + 25) < 0.45)] = StreetClass.VOID
    ids[twigs] = np.where(speckle(x, y, GRAIN, seed + 27) < 0.6, StreetClass.VOID, StreetClass.TREE)[twigs]


@dataclass(frozen=True)
class BareTree:
    """A tree in winter at (x, z): trunk and branches that fork into twigs."""

    x: float
    z: float
    height: float = 9.0

    @property
    def depth(self) -> float:
        return self.z

    def draw(self, view: View) -> None:
        seed = _seed(self.x, self.z)
        self._branch(view, seed, (self.x, 0.0), 90.0, self.height * 0.3, 0.015 * self.height, 0)

    def _branch(
        self, view: View, seed: int, foot: tuple[float, float], angle: float, length: float, width: float, level: int
    ) -> None:
        """Draws one branch in the plane z = self.z and recurses; angles in degrees from the horizontal."""
        tip = (foot[0] + length * math.cos(math.radians(angle)), foot[1] + length * math.sin(math.radians(angle)))
        unit = view.camera.scale(self.z)
        twig = level >= 3
        street_class = StreetClass.VOID if level >= 4 and pick(seed, 3) < 0.4 else StreetClass.TREE
        over = StreetClass.SKY if twig else None  # nobody labels twigs before a wall
        start, end = view.point(*foot, self.z), view.point(*tip, self.z)
        view.canvas.capsule(start, end, (width * unit, 0.65 * width * unit), street_class, 0.2 if twig else 0.0, over)
        if level == 5 or length * unit < 1.5 * GRAIN:
            return
        for child in range(3 if level in (1, 2) else 2):
            spread = (38.0 if level else 26.0) * (child - (1.0 if level in (1, 2) else 0.5)) * 1.3
            bend = spread + 24 * (pick(seed, 10 + child) - 0.5) + 0.12 * (90 - angle)
            reach = length * (0.62 + 0.26 * pick(seed, 20 + child))
            self._branch(view, seed * 5 + child + 1 & 0xFFFFFFF, tip, angle + bend, reach, 0.62 * width, level + 1)


@dataclass(frozen=True)
class Hedge:
    """A hedge or a row of bushes along the ground from (x0, z0) to (x1, z1), metres."""

    x0: float
    z0: float
    x1: float
    z1: float
    height: float = 1.6

    @property
    def depth(self) -> float:
        return max(self.z0, self.z1)

    def draw(self, view: View) -> None:
        seed = _seed(self.x0 + self.x1, self.z0)
        steps = np.linspace(0, 1, 72)
        ends = np.clip(np.minimum(steps, 1 - steps) * 14, 0, 1) ** 0.5  # rounded at both ends
        top = self.height * (0.35 + 0.65 * ends) * (0.7 + 0.6 * fractal(steps * 9, steps * 0, 1.5, 4, seed))
        x, z = self.x0 + (self.x1 - self.x0) * steps, self.z0 + (self.z1 - self.z0) * steps
        upper, lower = np.stack([x, top, z], 1), np.stack([x, np.zeros_like(x), z], 1)
        view.polygon(np.concatenate([upper, lower[::-1]]), StreetClass.TREE)


def _seed(x: float, z: float) -> int:
    return int(1_000_003 + x * 613 + z * 1877) & 0xFFFFFF
