"""Inputs that every export is checked on: made here, the same in every run, of the shapes that real maps have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from runtime.contract.batch import InputBatch
from runtime.contract.card import ModelCard
from runtime.contract.errors import InputError
from runtime.contract.labels import check_label_map
from runtime.profiler.worker import LabelMap


@dataclass(frozen=True)
class CheckInput:
    """One batch to run: ``label`` uint8 [N, 1, H, W]; where the model wants them, ``instance`` int32 [N, 1, H, W] and
    ``source`` uint8 [N, H, W, 3].
    """

    name: str
    label: np.ndarray
    instance: np.ndarray | None = None
    source: np.ndarray | None = None

    @property
    def batch(self) -> InputBatch:
        """The arrays, as a generator takes them."""
        return InputBatch(self.label, self.instance, self.source)


def built_in(card: ModelCard) -> list[CheckInput]:
    """A street-like picture at the model's own size, a batch of two at half size, and a taller one: four maps."""
    height, width = (
        max(card.smallest_side, side // 2 // card.stride * card.stride) for side in (card.height, card.width)
    )
    classes = len(card.classes)
    street, taller = _street(card.height, card.width, classes, 1), _regions(height + card.stride, width, classes, 3)
    if card.own_void and card.void is not None:
        street[: card.height // 8] = card.void
        taller[:, : width // 4] = card.void
    return [
        _check_input("bands and blocks", [street], card),
        _check_input("stripes, regions", [_stripes(height, width, classes), _regions(height, width, classes, 2)], card),
        _check_input("regions", [taller], card),
    ]


def from_maps(maps: Sequence[LabelMap | np.ndarray], card: ModelCard) -> list[CheckInput]:
    """One batch per given label map; a bare array, uint8 [H, W], is called ``given map 1`` and so on.

    Instance maps and photos that the model wants and that are not given are made up.

    Raises:
        InputError: a label map that cannot enter the model, see `check_label_map`; or none at all.
    """
    if not maps:
        raise InputError("there is no label map to compare PyTorch with ONNX Runtime on; name one, or leave the choice")
    checks = []
    for index, given in enumerate(maps, start=1):
        entry = LabelMap(f"given map {index}", given) if isinstance(given, np.ndarray) else given
        check_label_map(entry.label, card, entry.name)
        made_up = _check_input(entry.name, [entry.label], card)
        instance = made_up.instance if entry.instance is None else entry.instance[None, None]  # [1, 1, H, W]
        source = made_up.source if entry.source is None else entry.source[None]  # [1, H, W, 3]
        checks.append(CheckInput(entry.name, made_up.label, instance, source))
    return checks


def single_class(card: ModelCard) -> CheckInput:
    """One class everywhere: a map whose instance norms divide by a standard deviation of zero."""
    side = max(2 * card.stride, card.smallest_side)
    label = np.zeros((side, side), np.uint8)
    return _check_input("one class", [label], card)


def _street(height: int, width: int, classes: int, seed: int) -> np.ndarray:
    """Horizontal bands like sky, buildings and road, with blocks like cars and poles on them."""
    random = np.random.default_rng(seed)
    label = np.empty((height, width), np.uint8)
    bands = min(classes, 4)
    for band in range(bands):
        label[band * height // bands : (band + 1) * height // bands] = band
    for number in range(3 * classes):
        top, left = random.integers(0, height), random.integers(0, width)
        tall, broad = random.integers(1, max(2, height // 3)), random.integers(1, max(2, width // 6))
        label[top : top + tall, left : left + broad] = number % classes
    return label


def _stripes(height: int, width: int, classes: int) -> np.ndarray:
    rows, columns = np.indices((height, width))
    return ((rows + 2 * columns) // 5 % classes).astype(np.uint8)


def _regions(height: int, width: int, classes: int, seed: int) -> np.ndarray:
    """Each pixel belongs to the nearest of a few random points (Voronoi cells)."""
    random = np.random.default_rng(seed)
    count = max(8, 2 * classes)
    points = random.random((count, 2)) * (height, width)
    owners = random.permutation(count) % classes
    rows, columns = np.indices((height, width))
    best = np.full((height, width), np.inf)
    label = np.zeros((height, width), np.uint8)
    for (row, column), owner in zip(points, owners, strict=True):  # one plane at a time: the maps can be large
        distance = (rows - row) ** 2 + (columns - column) ** 2
        closer = distance < best
        best[closer], label[closer] = distance[closer], owner
    return label


def _check_input(name: str, labels: list[np.ndarray], card: ModelCard) -> CheckInput:
    label = np.stack(labels)[:, None]  # [N, 1, H, W]
    if card.wants_source:
        return CheckInput(name, label, source=_photos(len(label), *label.shape[2:]))
    if not card.instances:
        return CheckInput(name, label)
    rows, columns = np.indices(label.shape[2:])
    blocks = (rows // 12) * 100 + columns // 20  # several instances of each class
    return CheckInput(name, label, (label.astype(np.int32) * 100_000 + blocks).astype(np.int32))


def _photos(count: int, height: int, width: int) -> np.ndarray:
    """Smooth waves of colour with grain on them, uint8 [N, H, W, 3], each picture another."""
    random = np.random.default_rng(4)
    rows, columns = np.indices((height, width))
    photos = []
    for number in range(count):
        phases = random.random(3) * 2 * np.pi
        waves = [np.sin(rows / (9 + 4 * c) + columns / (13 + 3 * number) + phases[c]) for c in range(3)]
        grain = random.integers(-12, 13, (height, width, 3))
        photos.append(np.clip(128 + 100 * np.stack(waves, axis=-1) + grain, 0, 255).astype(np.uint8))
    return np.stack(photos)
