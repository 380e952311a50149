"""Cars, vans and buses as solids, so that their outlines are right from every side."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise

import numpy as np

from streets.camera import View
from streets.classes import StreetClass
from streets.noise import Field


class Body(Enum):
    """Cross-sections from the tail to the nose, metres: (position along the car, underside, top)."""

    HATCHBACK = (
        (0.00, 0.38, 0.75), (0.10, 0.30, 1.00), (0.50, 0.25, 1.36), (1.00, 0.24, 1.46), (2.00, 0.24, 1.47),
        (2.55, 0.24, 1.40), (3.20, 0.24, 0.99), (3.85, 0.25, 0.86), (4.05, 0.30, 0.70), (4.10, 0.36, 0.60),
    )  # fmt: skip
    SALOON = (
        (0.00, 0.40, 0.72), (0.10, 0.32, 0.94), (0.75, 0.25, 1.01), (1.35, 0.24, 1.34), (1.90, 0.24, 1.42),
        (2.65, 0.24, 1.40), (3.35, 0.24, 0.98), (4.25, 0.25, 0.84), (4.47, 0.32, 0.68), (4.52, 0.38, 0.58),
    )  # fmt: skip
    VAN = (
        (0.00, 0.42, 1.85), (0.10, 0.34, 2.08), (3.30, 0.30, 2.12), (3.80, 0.30, 2.00), (4.40, 0.30, 1.25),
        (4.95, 0.32, 1.02), (5.05, 0.40, 0.80),
    )  # fmt: skip
    BUS = ((0.0, 0.45, 2.75), (0.15, 0.38, 3.0), (9.7, 0.38, 3.0), (9.9, 0.42, 2.7))


_WIDTH = {Body.HATCHBACK: 1.72, Body.SALOON: 1.78, Body.VAN: 1.95, Body.BUS: 2.5}
_ROOF_SHARE = {Body.HATCHBACK: 0.70, Body.SALOON: 0.66, Body.VAN: 0.86, Body.BUS: 0.95}
_WHEEL = {Body.HATCHBACK: 0.31, Body.SALOON: 0.32, Body.VAN: 0.35, Body.BUS: 0.48}
_BELT = 0.92  # height of the lower edge of the windows, metres: above it the sides lean inwards


@dataclass(frozen=True)
class Vehicle:
    """One vehicle: centre (x, z) in metres, heading in degrees clockwise (0 drives away, 180 towards the camera)."""

    x: float
    z: float
    heading: float = 0.0
    body: Body = Body.HATCHBACK
    size: float = 1.0

    @property
    def depth(self) -> float:
        return self.z

    def draw(self, view: View) -> None:
        sections = np.array(self.body.value)
        length, width, roof = sections[-1, 0], _WIDTH[self.body], float(sections[:, 2].max())
        for (a0, low0, top0), (a1, low1, top1) in pairwise(sections):
            corners = self._section(a0, low0, top0, length, roof) + self._section(a1, low1, top1, length, roof)
            view.solid(self._world(np.array(corners), length), StreetClass.CAR)
        radius = _WHEEL[self.body]
        angles = np.linspace(0, 2 * math.pi, 12, endpoint=False)
        for axle in (0.19 * length, 0.81 * length):
            for outside, inside in ((-width / 2, -width / 2 + 0.24), (width / 2 - 0.24, width / 2)):
                rim = [(axle + radius * math.cos(t), b, radius + radius * math.sin(t))
                       for t in angles for b in (outside, inside)]  # fmt: skip
                view.solid(self._world(np.array(rim), length), StreetClass.CAR)
        for side in (-1, 1):  # mirrors
            mirror = [(0.66 * length + da, side * (width / 2 + db), _BELT + dy)
                      for da in (-0.06, 0.06) for db in (-0.05, 0.16) for dy in (0.0, 0.17)]  # fmt: skip
            view.solid(self._world(np.array(mirror), length), StreetClass.CAR)

    def _section(
        self, along: float, low: float, top: float, length: float, roof: float
    ) -> list[tuple[float, float, float]]:
        """Rounded cross-section as (along, across, up): sills, belt, shoulders and roof on both sides."""
        to_end = min(along, length - along)
        half = _WIDTH[self.body] / 2 * (1 - 0.16 * max(0.0, 1 - to_end / 0.45) ** 2)  # corners drawn in
        lean = max(0.0, (top - _BELT) / (roof - _BELT)) * (1 - _ROOF_SHARE[self.body])
        belt = min(_BELT, top - 0.05)
        shoulder = belt + 0.8 * (top - belt)
        profile = ((0.93, low), (1.0, (low + belt) / 2), (0.98, belt), (1 - 0.75 * lean, shoulder), (0.88 - lean, top))
        return [(along, side * share * half, up) for side in (-1, 1) for share, up in profile]

    def _world(self, local: Field, length: float) -> Field:
        """(along, across, up) from the tail's centre on the ground, [n, 3], to (x, y, z)."""
        turn = math.radians(self.heading)
        along, across = (local[:, 0] - length / 2) * self.size, local[:, 1] * self.size
        x = self.x + along * math.sin(turn) + across * math.cos(turn)
        z = self.z + along * math.cos(turn) - across * math.sin(turn)
        return np.stack([x, local[:, 2] * self.size, z], axis=1)
