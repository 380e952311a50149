"""What every metric tells of itself: name, value, unit, which direction is better, over how many pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

import numpy as np


class Better(str, Enum):
    """Which direction of a metric is the good one."""

    HIGHER = "higher"
    LOWER = "lower"


@dataclass(frozen=True)
class MetricResult:
    """One figure of an evaluation.

    Attributes:
        name: lower case with underscores; what gates and JSON call it.
        value: the figure; may be infinite (PSNR of equal pictures).
        unit: ``dB``, ``0..1``, ... ; empty where the figure has none.
        better: the good direction.
        count: pictures that went into it.
        definition: in one sentence what was computed, with everything that other programs do differently.
        spread: standard deviation, of what the definition says; None where it has no meaning.
        note: a warning about this very figure; usually empty.
    """

    name: str
    value: float
    unit: str
    better: Better
    count: int
    definition: str
    spread: float | None = None
    note: str = ""


@dataclass(frozen=True)
class LeftOut:
    """A metric that was not computed, and what it would have needed."""

    name: str
    reason: str


@dataclass(frozen=True)
class Comparison:
    """One generated picture beside what it should have been.

    Attributes:
        name: of the example.
        generated: uint8 [h, w, 3], R, G, B, as the model gave it.
        photo: uint8 [h, w, 3], the real photo, brought to the same size by Pillow's bicubic filter.
        full_photo: uint8 [H, W, 3], the real photo as it is in the file.
        label: uint8 [H, W], the label map as it is in the file, ids of the model.
    """

    name: str
    generated: np.ndarray
    photo: np.ndarray
    full_photo: np.ndarray
    label: np.ndarray


class Metric(Protocol):
    """Looks at comparisons as they come, keeps what it needs, and tells its figures at the end."""

    @property
    def names(self) -> tuple[str, ...]:
        """The figures that `results` will hold, so that a gate can be refused before the work."""

    def add(self, batch: Sequence[Comparison]) -> None:
        """Take in one batch."""

    def results(self) -> tuple[MetricResult | LeftOut, ...]:
        """The figures over everything taken in, or why there is none."""


def mean_and_spread(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean and population standard deviation; the latter None where a value is infinite."""
    mean = math.fsum(values) / len(values)
    spread = float(np.std(np.asarray(values, dtype=np.float64))) if math.isfinite(mean) else None
    return mean, spread
