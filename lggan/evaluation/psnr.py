"""Peak signal-to-noise ratio, in the usual form and in that of the published cross-view scripts."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from lggan.evaluation.metric import Better, Comparison, MetricResult, mean_and_spread

PUBLISHED_SCALE = 128.0**2  # the scripts take values of 0..1 for values of -1..1
PUBLISHED_FLOOR = 1e-4  # of the scaled error
_COMMON = "10 log10(255^2 / MSE) of all channels of a picture, mean over pictures; infinite where one is equal"
_PUBLISHED = (
    "as SelectionGAN's script: 10 log10(255^2 / e), e = 128^2 times the MSE of values in 0..1, at least 1e-4; mean "
    "over pictures; 20 log10(255/128) = 5.99 dB above the usual definition"
)


def psnr(first: np.ndarray, second: np.ndarray) -> float:
    """The usual ratio in dB, peak 255; infinite for equal pictures. Both are uint8 [H, W, 3]."""
    error = _mean_square(first, second)
    return 10 * math.log10(255.0**2 / error) if error else math.inf


def published_psnr(first: np.ndarray, second: np.ndarray) -> float:
    """The script's ratio in dB. Both are uint8 [H, W, 3]."""
    error = PUBLISHED_SCALE * _mean_square(first, second) / 255.0**2
    return 10 * math.log10(255.0**2 / max(error, PUBLISHED_FLOOR))


class Psnr:
    """Both forms, as ``psnr`` and ``psnr_published``."""

    names = ("psnr", "psnr_published")

    def __init__(self) -> None:
        self._common: list[float] = []
        self._published: list[float] = []

    def add(self, batch: Sequence[Comparison]) -> None:
        for pair in batch:
            self._common.append(psnr(pair.generated, pair.photo))
            self._published.append(published_psnr(pair.generated, pair.photo))

    def results(self) -> tuple[MetricResult, ...]:
        found = []
        for name, values, definition in zip(
            self.names, (self._common, self._published), (_COMMON, _PUBLISHED), strict=True
        ):
            mean, spread = mean_and_spread(values)
            found.append(MetricResult(name, mean, "dB", Better.HIGHER, len(values), definition, spread=spread))
        return tuple(found)


def _mean_square(first: np.ndarray, second: np.ndarray) -> float:
    difference = first.astype(np.int64) - second.astype(np.int64)
    return int((difference * difference).sum()) / difference.size  # whole numbers: no rounding in the sum
