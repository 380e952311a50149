"""Sharpness difference (Mathieu et al. 2016): how far apart the gradients of two pictures are, as a ratio in dB."""

from __future__ import annotations

import math

import numpy as np

from lggan.evaluation.paired import Definition
from lggan.evaluation.psnr import PUBLISHED_FLOOR, PUBLISHED_SCALE

_COMMON = (
    "10 log10(1 / e) of values in 0..1, e = mean of |(gx + gy) - (gx' + gy')| with gx, gy the absolute differences to "
    "the pixel on the left and above, over all channels and all pixels that have both; mean over pictures"
)
_PUBLISHED = (
    "as SelectionGAN's script: 10 log10(255^2 / (128^2 e)) of values in 0..1, e = sum of |gx - gx'| + |gy - gy'| "
    "inside a border of one pixel, divided by all pixels and channels, 128^2 e at least 1e-4; mean over pictures"
)


def sharpness_difference(first: np.ndarray, second: np.ndarray) -> float:
    """The measure as the paper writes it, values in 0..1, in dB; infinite where no gradient differs.

    Args:
        first, second: uint8 [H, W, 3], sides of 2 and more.
    """
    sums = []
    for picture in (first, second):
        across, down = _gradients(picture)  # [H, W-1, 3], [H-1, W, 3]
        sums.append(across[1:] + down[:, 1:])  # [H-1, W-1, 3]
    error = float(np.abs(sums[0] - sums[1]).sum()) / sums[0].size / 255.0
    return 10 * math.log10(1.0 / error) if error else math.inf


def published_sharpness_difference(first: np.ndarray, second: np.ndarray) -> float:
    """The script's measure in dB.

    Args:
        first, second: uint8 [H, W, 3], sides of 3 and more.
    """
    (across1, down1), (across2, down2) = _gradients(first), _gradients(second)
    height, width = first.shape[:2]
    inside_x = np.abs(across1 - across2)[1 : height - 1, : width - 2]  # pixels 1 .. W-2
    inside_y = np.abs(down1 - down2)[: height - 2, 1 : width - 1]  # pixels 1 .. H-2
    error = PUBLISHED_SCALE * float(inside_x.sum() + inside_y.sum()) / 255.0 / first.size
    return 10 * math.log10(255.0**2 / max(error, PUBLISHED_FLOOR))


SHARPNESS_DEFINITIONS = (
    Definition("sharpness_difference", "dB", _COMMON, sharpness_difference),
    Definition("sharpness_difference_published", "dB", _PUBLISHED, published_sharpness_difference),
)


def _gradients(picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Absolute differences to the left and upper neighbour, in bytes: int64 [H, W-1, 3] and [H-1, W, 3]."""
    values = picture.astype(np.int64)
    return np.abs(np.diff(values, axis=1)), np.abs(np.diff(values, axis=0))
