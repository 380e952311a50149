"""Two models, the same label maps: how far apart are their pictures?"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.contract.card import ModelCard
from runtime.contract.errors import BackendError, GateError, InputError
from runtime.contract.progress import Progress, SilentProgress
from runtime.profiler.worker import LabelMap

Generate = Callable[[NDArray[np.uint8], "NDArray[np.int32] | None", "NDArray[np.uint8] | None"], NDArray[Any]]
"""(label uint8 [H, W], instance int32 [H, W] or None, source uint8 [H, W, 3] or None) -> a picture: uint8
[1, H, W, 3], or float32 [1, 3, H, W] in [-1, 1] (a cross-view model's may reach beyond it).
"""

FLOAT_TOLERANCE = 1e-3  # what an export keeps to: an eighth of one of the 255 steps between two byte values
LEVEL_TOLERANCE = 1  # a value half-way between two levels can fall to either side
PSNR_TOLERANCE = 30.0  # dB; what a conversion to fewer bits keeps to
_FULL_PRECISION = "fp32"
_PEAK = 2.0  # from -1 to 1


@dataclass(frozen=True)
class FloatDifference:
    """How two float pictures, or two series of them, differ; the range is [-1, 1], nothing is clamped.

    Attributes:
        max_abs: largest absolute difference of one value.
        mean_abs: mean absolute difference.
        psnr_db: 10 log10(2² / mean squared difference), infinite for equal pictures.
    """

    max_abs: float
    mean_abs: float
    psnr_db: float


@dataclass(frozen=True)
class Difference:
    """How two pictures, or two series of them, differ; in levels of 0..255.

    Attributes:
        max_levels: largest absolute difference of one value.
        mean_levels: mean absolute difference.
        psnr_db: peak signal-to-noise ratio over all values, infinite for equal pictures.
        floats: of the float pictures, before they were rounded to levels; None unless both models give them.
    """

    max_levels: int
    mean_levels: float
    psnr_db: float
    floats: FloatDifference | None = None


@dataclass(frozen=True)
class Comparison:
    """The difference over all label maps, and of each one by its name."""

    overall: Difference
    pictures: tuple[tuple[str, Difference], ...]

    @property
    def worst(self) -> tuple[str, Difference]:
        """The label map with the lowest PSNR; among equal ones, the float pictures decide."""
        return min(self.pictures, key=lambda entry: (entry[1].psnr_db, _float_psnr(entry[1])))


@dataclass(frozen=True)
class Limits:
    """What a comparison must keep to; None is no limit.

    Attributes:
        max_levels: largest difference of one value, in levels of 0..255.
        min_psnr: lowest PSNR of a single picture, dB.
        max_abs: largest difference of one value of the float pictures, where both models give them.
    """

    max_levels: int | None = None
    min_psnr: float | None = None
    max_abs: float | None = None


def default_limits(first: ModelCard, second: ModelCard) -> Limits:
    """What two models of one network are expected to keep to.

    Two in FP32 compute the same function, up to the order of sums: one level, and 0.001 in [-1, 1] where both give
    floats, as an export. Where one has other types in its graph, only the eye can tell what is too much: 30 dB.
    """
    if first.precision == second.precision == _FULL_PRECISION:
        return Limits(max_levels=LEVEL_TOLERANCE, max_abs=FLOAT_TOLERANCE)
    return Limits(min_psnr=PSNR_TOLERANCE)


def compare(
    first: Generate,
    second: Generate,
    label_maps: Sequence[LabelMap],
    progress: Progress | None = None,
) -> Comparison:
    """Run both models on every label map and compare their pictures.

    Float pictures are compared as they are if both models give them, and in levels in any case.

    Args:
        first, second: the models; neither counts as the right one.
        label_maps: at least one.
        progress: where to tell how far it is.

    Raises:
        InputError: no label map, or pictures of different sizes.
        BackendError: a model gives values that are not numbers.
    """
    if not label_maps:
        raise InputError("there is no label map to compare the models on; name a folder that holds some with --data")
    overall = _Sums()
    pictures: list[tuple[str, Difference]] = []
    with (progress or SilentProgress()).task("compare", len(label_maps)) as task:
        for entry in label_maps:
            one, other = (
                _checked(make(entry.label, entry.instance, entry.source), which, entry.name)
                for which, make in (("first", first), ("second", second))
            )
            of_this = _Sums()
            for sums in (of_this, overall):
                sums.add(one, other, entry.name)
            pictures.append((entry.name, of_this.difference()))
            task.advance(note=entry.name)
    return Comparison(overall.difference(), tuple(pictures))


def check_limits(comparison: Comparison, limits: Limits) -> GateError | None:
    """The error that says which limit the comparison breaks, or None if it keeps all of them."""
    overall = comparison.overall
    faults = []
    if limits.max_levels is not None and overall.max_levels > limits.max_levels:
        where = max(comparison.pictures, key=lambda entry: entry[1].max_levels)[0]
        faults.append(
            f"the largest difference is {overall.max_levels} levels ({where}), {limits.max_levels} were allowed"
        )
    if limits.max_abs is not None and overall.floats is not None and overall.floats.max_abs > limits.max_abs:
        where = max(comparison.pictures, key=lambda entry: entry[1].floats.max_abs if entry[1].floats else 0.0)[0]
        faults.append(
            f"the largest difference of the float pictures is {overall.floats.max_abs:.2e} ({where}), "
            f"{limits.max_abs:g} was allowed"
        )
    name, worst = comparison.worst
    if limits.min_psnr is not None and worst.psnr_db < limits.min_psnr:
        faults.append(f"the lowest PSNR is {worst.psnr_db:.1f} dB ({name}), {limits.min_psnr:g} dB were asked for")
    return GateError("; ".join(faults)) if faults else None


def to_levels(picture: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Float pictures [N, 3, H, W] in [-1, 1] as bytes [N, H, W, 3], halves rounded to even, as everywhere else."""
    scaled = np.rint((picture.transpose(0, 2, 3, 1) + np.float32(1)) * np.float32(127.5))
    return np.clip(scaled, 0, 255).astype(np.uint8)


class _Sums:
    """Running totals: of the levels in integers, exact whatever the number of pictures; of the floats in float64."""

    def __init__(self) -> None:
        self.count = self.absolute = self.squared = self.largest = 0
        self.float_count = 0  # pixels' values of pictures that both models gave as floats
        self.float_absolute = self.float_squared = self.float_largest = 0.0

    def add(self, one: NDArray[Any], other: NDArray[Any], name: str) -> None:
        levels = [picture if picture.dtype == np.uint8 else to_levels(picture) for picture in (one, other)]
        if levels[0].shape != levels[1].shape:
            raise InputError(
                f"{name}: one model gives a picture of {_shape(levels[0])}, the other of {_shape(levels[1])}; "
                "compare models of the same task and size"
            )
        gap = np.abs(levels[0].astype(np.int64) - levels[1].astype(np.int64))
        self.count += gap.size
        self.absolute += int(gap.sum())
        self.squared += int((gap * gap).sum())
        self.largest = max(self.largest, int(gap.max(initial=0)))
        if one.dtype != np.uint8 and other.dtype != np.uint8:
            difference = np.abs(one.astype(np.float64) - other.astype(np.float64))
            self.float_count += difference.size
            self.float_absolute += float(difference.sum())
            self.float_squared += float((difference * difference).sum())
            self.float_largest = max(self.float_largest, float(difference.max(initial=0.0)))

    def difference(self) -> Difference:
        mean_square = self.squared / self.count if self.count else 0.0
        mean = self.absolute / self.count if self.count else 0.0
        return Difference(self.largest, mean, _psnr(255.0, mean_square), self._floats())

    def _floats(self) -> FloatDifference | None:
        if not self.float_count:
            return None
        psnr = _psnr(_PEAK, self.float_squared / self.float_count)
        return FloatDifference(self.float_largest, self.float_absolute / self.float_count, psnr)


def _checked(picture: NDArray[Any], which: str, name: str) -> NDArray[Any]:
    """The picture, if all of it is numbers: no limit would catch one that is not, as every comparison with it fails."""
    if picture.dtype != np.uint8 and not np.isfinite(picture).all():
        wrong = int((~np.isfinite(picture)).sum())
        raise BackendError(
            f"{name}: the {which} model gives {wrong} of {picture.size} values that are not numbers: its weights are "
            "damaged or a type in its graph overflowed; make it again"
        )
    return picture


def _psnr(peak: float, mean_square: float) -> float:
    return 10 * math.log10(peak**2 / mean_square) if mean_square else math.inf


def _float_psnr(difference: Difference) -> float:
    return math.inf if difference.floats is None else difference.floats.psnr_db


def _shape(picture: NDArray[Any]) -> str:
    return "x".join(str(side) for side in picture.shape)
