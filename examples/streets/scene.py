"""A street scene and how it becomes a label map."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from streets.camera import Camera, View
from streets.canvas import ASPECT, Canvas
from streets.classes import StreetClass
from streets.noise import fractal, speckle
from streets.townscape import Ground

SEAM_SHARE = 0.02  # of the pixels on outlines; annotators leave slivers between objects unlabelled


class Upright(Protocol):
    """Anything that stands in the street."""

    @property
    def depth(self) -> float:
        """Distance of the farthest part from the camera, metres: the order of drawing."""

    def draw(self, view: View) -> None:
        """Paints itself over what is behind it."""


@dataclass(frozen=True)
class Scene:
    """A view of a street; everything not covered is road below the horizon and sky above.

    Attributes:
        name: of the file.
        ground: patches on the road in the order of drawing.
        objects: sorted by depth before drawing.
        bonnet: height of the camera car's bonnet at the right edge, share of the picture height; 0 hides it.
        seed: of the outlines' tremor and the slivers.
    """

    name: str
    seed: int
    camera: Camera
    ground: tuple[Ground, ...]
    objects: tuple[Upright, ...]
    bonnet: float = 0.0


def draw_scene(scene: Scene, width: int, height: int) -> NDArray[np.uint8]:
    """Label map of the scene, uint8 [height, width], ids of `StreetClass`; the same at any time and place."""
    canvas = Canvas(width, height, scene.seed)
    view = View(canvas, scene.camera)
    canvas.ids[canvas.y > scene.camera.horizon] = StreetClass.ROAD
    for patch in scene.ground:
        patch.draw(view)
    for item in sorted(scene.objects, key=lambda each: -each.depth):
        item.draw(view)
    if scene.bonnet:
        _draw_bonnet(canvas, scene.bonnet)
    return _leave_slivers(canvas.reduce(), scene.seed)


def _draw_bonnet(canvas: Canvas, rise: float) -> None:
    """The camera car's own bonnet, rising to the right edge, with a washer nozzle; void."""
    x = np.linspace(0.52, ASPECT + 0.05, 24)
    share = (x - x[0]) / (x[-1] - x[0])
    edge = np.stack([x, 1 - rise * (0.22 * np.sqrt(share) + 0.78 * share**1.7)], 1)
    canvas.polygon(np.concatenate([edge, [[x[-1], 1.05], [x[0], 1.05]]]), StreetClass.VOID)
    canvas.capsule((0.66, 0.985), (0.67, 1.02), (0.018, 0.024), StreetClass.VOID)


def _leave_slivers(label: NDArray[np.uint8], seed: int) -> NDArray[np.uint8]:
    """Turns a scatter of outline pixels, and a few specks of the ground, to void."""
    rows, columns = label.shape
    x = np.broadcast_to((np.arange(columns) + 0.5) / columns * ASPECT, label.shape)
    y = np.broadcast_to(((np.arange(rows) + 0.5) / rows)[:, None], label.shape)
    outline = np.zeros(label.shape, bool)
    outline[:, :-1] |= label[:, :-1] != label[:, 1:]
    outline[:-1] |= label[:-1] != label[1:]
    clumps = fractal(x, y, 0.05, 2, seed + 5)  # slivers come in runs
    left_out = outline & (speckle(x, y, 1 / 192, seed + 6) < 4 * SEAM_SHARE * np.clip(clumps - 0.4, 0, 1) / 0.25)
    left_out |= (label == StreetClass.ROAD) & (speckle(x, y, 1 / 192, seed + 7) < 0.02 * np.clip(clumps - 0.72, 0, 1))
    left_out &= (label != StreetClass.POLE) & (label != StreetClass.SIGN_SYMBOL)
    result = label.copy()
    result[left_out] = StreetClass.VOID
    return result
