"""Peak signal-to-noise ratio, in the usual form and in that of the published cross-view scripts."""

from __future__ import annotations

import math

import numpy as np

from lggan.evaluation.paired import Definition

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


PSNR_DEFINITIONS = (
    Definition("psnr", "dB", _COMMON, psnr),
    Definition("psnr_published", "dB", _PUBLISHED, published_psnr),
)


def _mean_square(first: np.ndarray, second: np.ndarray) -> float:
    difference = first.astype(np.int64) - second.astype(np.int64)
    return int((difference * difference).sum()) / difference.size  # whole numbers: no rounding in the sum
