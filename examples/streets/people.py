"""Pedestrians and cyclists built from tapered limbs, standing upright and facing the picture."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from streets.camera import View
from streets.classes import StreetClass

Limb = tuple[float, float, float, float, float, float]
"""(across, up) of one end, of the other end, and the two radii, metres on a person of 1.75 m."""


def _limbs(view: View, x: float, z: float, scale: float, limbs: list[Limb], street_class: StreetClass) -> None:
    unit = view.camera.scale(z) * scale
    for x0, y0, x1, y1, r0, r1 in limbs:
        start, end = view.point(x + x0 * scale, y0 * scale, z), view.point(x + x1 * scale, y1 * scale, z)
        view.canvas.capsule(start, end, (r0 * unit, r1 * unit), street_class)


@dataclass(frozen=True)
class Pedestrian:
    """Somebody on foot at (x, z), metres.

    Attributes:
        stride: -1..1, how far the legs are apart and to which side the walker leans; 0 stands.
        height: metres.
        bag: carries one on the left.
    """

    x: float
    z: float
    stride: float = 0.5
    height: float = 1.74
    bag: bool = False

    @property
    def depth(self) -> float:
        return self.z

    def draw(self, view: View) -> None:
        s = self.stride
        limbs: list[Limb] = [
            (0.03 * s, 1.62, 0.04 * s, 1.60, 0.11, 0.115),  # head
            (0.03 * s, 1.52, 0.02 * s, 1.40, 0.06, 0.09),  # neck
            (-0.13, 1.36, 0.13, 1.36, 0.10, 0.10),  # shoulders
            (0.01 * s, 1.32, 0.0, 0.95, 0.20, 0.17),  # trunk, coat
            (0.0, 0.95, 0.0, 0.80, 0.18, 0.16),
            (-0.07, 0.85, -0.09 - 0.16 * s, 0.45, 0.10, 0.075),  # legs
            (-0.09 - 0.16 * s, 0.45, -0.10 - 0.34 * s, 0.06, 0.075, 0.05),
            (0.07, 0.85, 0.09 + 0.20 * s, 0.45, 0.10, 0.075),
            (0.09 + 0.20 * s, 0.45, 0.09 + 0.24 * s, 0.06, 0.075, 0.05),
            (-0.21, 1.34, -0.25 + 0.14 * s, 1.05, 0.065, 0.055),  # arms
            (-0.25 + 0.14 * s, 1.05, -0.23 + 0.30 * s, 0.82, 0.05, 0.05),
            (0.21, 1.34, 0.25 - 0.14 * s, 1.05, 0.065, 0.055),
            (0.25 - 0.14 * s, 1.05, 0.24 - 0.24 * s, 0.82, 0.05, 0.05),
        ]
        if self.bag:
            limbs += [(-0.30, 0.78, -0.30, 0.55, 0.10, 0.13)]
        _limbs(view, self.x, self.z, self.height / 1.75, limbs, StreetClass.PEDESTRIAN)


class Side(Enum):
    """From where a cyclist is seen."""

    END = "end"
    LEFT = "left"
    RIGHT = "right"


@dataclass(frozen=True)
class Cyclist:
    """Rider and bicycle at (x, z), metres; `side` is END (from behind or ahead) or the direction of travel."""

    x: float
    z: float
    side: Side = Side.END

    @property
    def depth(self) -> float:
        return self.z

    def draw(self, view: View) -> None:
        flip = -1 if self.side is Side.LEFT else 1
        limbs = _END if self.side is Side.END else [(flip * a, b, flip * c, d, e, f) for a, b, c, d, e, f in _ACROSS]
        _limbs(view, self.x, self.z, 1.0, limbs, StreetClass.BICYCLIST)


_END: list[Limb] = [
    (0.0, 0.08, 0.0, 0.62, 0.055, 0.06),  # wheel
    (-0.27, 1.02, 0.27, 1.02, 0.035, 0.035),  # handlebar
    (-0.11, 0.92, -0.14, 0.55, 0.11, 0.085),  # legs, one down
    (-0.14, 0.55, -0.11, 0.22, 0.08, 0.06),
    (0.11, 0.92, 0.17, 0.68, 0.11, 0.09),
    (0.17, 0.68, 0.11, 0.38, 0.08, 0.06),
    (0.0, 0.95, 0.0, 1.36, 0.18, 0.20),  # trunk
    (-0.16, 1.40, 0.16, 1.40, 0.09, 0.09),
    (-0.22, 1.36, -0.29, 1.06, 0.065, 0.05),  # arms
    (0.22, 1.36, 0.29, 1.06, 0.065, 0.05),
    (0.0, 1.50, 0.0, 1.66, 0.09, 0.115),  # head
]
_ACROSS: list[Limb] = [
    (-0.52, 0.34, -0.52, 0.341, 0.34, 0.34),  # wheels
    (0.52, 0.34, 0.52, 0.341, 0.34, 0.34),
    (-0.52, 0.34, 0.0, 0.32, 0.04, 0.05),  # frame
    (0.0, 0.32, -0.16, 0.90, 0.05, 0.04),
    (-0.12, 0.75, 0.40, 0.80, 0.04, 0.04),
    (0.0, 0.32, 0.40, 0.80, 0.05, 0.04),
    (0.52, 0.34, 0.38, 1.02, 0.04, 0.04),
    (-0.16, 0.95, 0.18, 0.66, 0.11, 0.09),  # legs
    (0.18, 0.66, 0.06, 0.22, 0.08, 0.06),
    (-0.16, 0.95, 0.10, 0.56, 0.11, 0.085),
    (0.10, 0.56, -0.08, 0.40, 0.08, 0.06),
    (-0.17, 0.98, 0.10, 1.40, 0.16, 0.16),  # trunk, leaning
    (0.12, 1.38, 0.38, 1.05, 0.07, 0.05),  # arms
    (0.17, 1.56, 0.19, 1.62, 0.10, 0.115),  # head
]
