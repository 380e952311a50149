"""Two models, the same label maps: how far apart are their pictures?"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from runtime.contract.errors import GateError, InputError
from runtime.contract.progress import Progress, SilentProgress
from runtime.profiler.worker import LabelMap

Generate = Callable[[NDArray[np.uint8], "NDArray[np.int32] | None", "NDArray[np.uint8] | None"], NDArray[np.uint8]]
"""(label uint8 [H, W], instance int32 [H, W] or None, source uint8 [H, W, 3] or None) -> uint8 [1, H, W, 3]."""


@dataclass(frozen=True)
class Difference:
    """How two pictures, or two series of them, differ; in levels of 0..255.

    Attributes:
        max_levels: largest absolute difference of one value.
        mean_levels: mean absolute difference.
        psnr_db: peak signal-to-noise ratio over all values, infinite for equal pictures.
    """

    max_levels: int
    mean_levels: float
    psnr_db: float


@dataclass(frozen=True)
class Comparison:
    """The difference over all label maps, and of each one by its name."""

    overall: Difference
    pictures: tuple[tuple[str, Difference], ...]

    @property
    def worst(self) -> tuple[str, Difference]:
        """The label map with the lowest PSNR."""
        return min(self.pictures, key=lambda entry: entry[1].psnr_db)


def compare(
    first: Generate,
    second: Generate,
    label_maps: Sequence[LabelMap],
    progress: Progress | None = None,
) -> Comparison:
    """Run both models on every label map and compare their pictures.

    Args:
        first, second: the models; neither counts as the right one.
        label_maps: at least one.
        progress: where to tell how far it is.

    Raises:
        InputError: no label map, or pictures of different sizes.
    """
    if not label_maps:
        raise InputError("there is no label map to compare the models on; name a folder that holds some with --data")
    sums = _Sums()
    pictures: list[tuple[str, Difference]] = []
    with (progress or SilentProgress()).task("compare", len(label_maps)) as task:
        for entry in label_maps:
            one, other = (make(entry.label, entry.instance, entry.source) for make in (first, second))  # [1, H, W, 3]
            if one.shape != other.shape:
                raise InputError(
                    f"{entry.name}: one model gives a picture of {_shape(one)}, the other of {_shape(other)}; "
                    "compare models of the same task and size"
                )
            of_this = _Sums()
            of_this.add(one, other)
            sums.add(one, other)
            pictures.append((entry.name, of_this.difference()))
            task.advance(note=entry.name)
    return Comparison(sums.difference(), tuple(pictures))


def check_limits(
    comparison: Comparison, *, max_levels: int | None = None, min_psnr: float | None = None
) -> GateError | None:
    """The error that says which limit the comparison breaks, or None if it keeps both; None as a limit is no limit."""
    overall = comparison.overall
    faults = []
    if max_levels is not None and overall.max_levels > max_levels:
        faults.append(f"the largest difference is {overall.max_levels} levels, {max_levels} were allowed")
    name, worst = comparison.worst
    if min_psnr is not None and worst.psnr_db < min_psnr:
        faults.append(f"the lowest PSNR is {worst.psnr_db:.1f} dB ({name}), {min_psnr:g} dB were asked for")
    return GateError("; ".join(faults)) if faults else None


class _Sums:
    """Running totals of integers: exact, whatever the number of pictures."""

    def __init__(self) -> None:
        self.count = self.absolute = self.squared = self.largest = 0

    def add(self, one: NDArray[np.uint8], other: NDArray[np.uint8]) -> None:
        gap = np.abs(one.astype(np.int64) - other.astype(np.int64))
        self.count += gap.size
        self.absolute += int(gap.sum())
        self.squared += int((gap * gap).sum())
        self.largest = max(self.largest, int(gap.max(initial=0)))

    def difference(self) -> Difference:
        mean_square = self.squared / self.count if self.count else 0.0
        psnr = 10 * math.log10(255**2 / mean_square) if mean_square else math.inf
        return Difference(self.largest, self.absolute / self.count if self.count else 0.0, psnr)


def _shape(picture: NDArray[np.uint8]) -> str:
    return "x".join(str(side) for side in picture.shape)
