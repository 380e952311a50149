"""Lamp posts, bollards, signs, traffic lights, and the odds and ends that CamVid leaves void."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise

import numpy as np

from streets.camera import View
from streets.classes import StreetClass


@dataclass(frozen=True)
class Pole:
    """An upright pole at (x, z); `arm` is the reach of a lamp arm, metres to the right (negative: left), 0 for none."""

    x: float
    z: float
    height: float = 7.0
    arm: float = 0.0
    radius: float = 0.05
    gaps: float = 0.08

    @property
    def depth(self) -> float:
        return self.z

    def draw(self, view: View) -> None:
        unit = view.camera.scale(self.z)
        foot, top = view.point(self.x, 0, self.z), view.point(self.x, self.height, self.z)
        broken = self.gaps if self.radius * unit < view.canvas.pixel else 0.0
        view.canvas.capsule(foot, top, (1.2 * self.radius * unit, 0.8 * self.radius * unit), StreetClass.POLE, broken)
        if self.arm:
            lamp = view.point(self.x + self.arm, self.height + 0.25, self.z)
            view.canvas.capsule(top, lamp, (0.04 * unit, 0.05 * unit), StreetClass.POLE)
            tail = view.point(self.x + 0.7 * self.arm, self.height + 0.2, self.z)
            view.canvas.capsule(tail, lamp, (0.09 * unit, 0.11 * unit), StreetClass.POLE)


class Plate(Enum):
    """Outlines of signs, metres from the centre for a sign of one metre width."""

    SQUARE = "square"
    ROUND = "round"
    TRIANGLE = "triangle"
    YIELD = "yield"
    LIGHTS = "lights"


@dataclass(frozen=True)
class Sign:
    """A sign or a set of lights at (x, y, z) facing the camera, `width` metres wide, on a pole unless it hangs."""

    x: float
    z: float
    y: float = 2.3
    width: float = 0.65
    plate: Plate = Plate.ROUND
    height: float | None = None
    pole: bool = True

    @property
    def depth(self) -> float:
        return self.z

    def draw(self, view: View) -> None:
        if self.pole:
            Pole(self.x, self.z, self.y, radius=0.05, gaps=0.05).draw(view)
        half = self.width / 2
        tall = half if self.height is None else self.height / 2
        if self.plate is Plate.LIGHTS:
            tall = 1.3 * self.width
        if self.plate is Plate.ROUND:
            turns = np.linspace(0, 2 * math.pi, 14, endpoint=False)
            outline = [(half * math.cos(t), half * math.sin(t)) for t in turns]
        elif self.plate is Plate.TRIANGLE:
            outline = [(-half, -0.8 * half), (half, -0.8 * half), (0.0, half)]
        elif self.plate is Plate.YIELD:
            outline = [(-half, 0.8 * half), (half, 0.8 * half), (0.0, -half)]
        else:
            outline = [(-half, -tall), (half, -tall), (half, tall), (-half, tall)]
        corners = np.array([(self.x + dx, self.y + dy, self.z) for dx, dy in outline])
        view.polygon(corners, StreetClass.SIGN_SYMBOL)


@dataclass(frozen=True)
class Clutter:
    """Something unlabelled of this width and height at (x, z): a bin, a parked bicycle's bulk, a stall."""

    x: float
    z: float
    width: float = 0.6
    height: float = 1.1

    @property
    def depth(self) -> float:
        return self.z

    def draw(self, view: View) -> None:
        half, tall = self.width / 2, self.height
        outline = [(-0.8, 0.0), (0.8, 0.0), (1.0, 0.75), (0.9, 0.92), (0.5, 1.0), (-0.6, 1.0), (-0.95, 0.88), (-1, 0.7)]
        corners = np.array([(self.x + a * half, b * tall, self.z) for a, b in outline])
        view.polygon(corners, StreetClass.VOID)


@dataclass(frozen=True)
class ParkedBicycle:
    """A bicycle without a rider at (x, z), seen from the side; void in these label maps."""

    x: float
    z: float

    @property
    def depth(self) -> float:
        return self.z

    def draw(self, view: View) -> None:
        unit = view.camera.scale(self.z)
        frame = ((-0.5, 0.34, -0.15, 0.85), (-0.5, 0.34, 0.0, 0.3), (0.0, 0.3, -0.15, 0.9),
                 (-0.12, 0.75, 0.38, 0.8), (0.0, 0.3, 0.4, 0.8), (0.52, 0.34, 0.38, 1.0), (0.28, 1.0, 0.42, 1.0),
                 (-0.26, 0.92, -0.06, 0.92))  # fmt: skip
        turns = np.linspace(0, 2 * math.pi, 13)
        rims = [(cx + 0.32 * math.cos(a), 0.34 + 0.32 * math.sin(a), cx + 0.32 * math.cos(b), 0.34 + 0.32 * math.sin(b))
                for cx in (-0.5, 0.52) for a, b in pairwise(turns)]  # fmt: skip
        for x0, y0, x1, y1 in (*frame, *rims):
            start, end = view.point(self.x + x0, y0, self.z), view.point(self.x + x1, y1, self.z)
            view.canvas.capsule(start, end, (0.04 * unit, 0.04 * unit), StreetClass.VOID)
