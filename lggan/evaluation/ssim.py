"""Structural similarity (Wang et al. 2004), in the usual form and in that of the published cross-view scripts."""

from __future__ import annotations

import numpy as np

from lggan.evaluation.paired import Definition

WINDOW, SIGMA = 11, 1.5
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
_LUMA = np.array([0.299, 0.587, 0.114])
_COMMON = (
    "mean over pictures; Gaussian window 11x11, sigma 1.5, data range 255, K 0.01 and 0.03, population covariance, "
    "only windows that lie inside the picture ('valid'), mean of the channels R, G, B"
)
_PUBLISHED = (
    "as SelectionGAN's script: luma 0.299 R + 0.587 G + 0.114 B of range 255, Gaussian window 11x11, sigma 1.5, "
    "'full' convolution with zeros around the picture, mean over the enlarged map and over pictures"
)


def ssim(first: np.ndarray, second: np.ndarray) -> float:
    """The usual index: valid windows, mean over channels.

    Args:
        first, second: uint8 [H, W, 3], sides of 11 and more.
    """
    channels = (_index(first[..., c], second[..., c]).mean() for c in range(3))
    return float(np.mean(list(channels)))


def published_ssim(first: np.ndarray, second: np.ndarray) -> float:
    """The script's index: luma, zeros around the picture. The border, mostly zeros against zeros, raises it.

    Args:
        first, second: uint8 [H, W, 3].
    """
    border = WINDOW - 1  # a 'full' convolution is a 'valid' one of the padded picture
    return float(_index(*(np.pad(picture @ _LUMA, border) for picture in (first, second))).mean())


SSIM_DEFINITIONS = (
    Definition("ssim", "-1..1", _COMMON, ssim),
    Definition("ssim_published", "-1..1", _PUBLISHED, published_ssim),
)


def _index(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Index of every window of two planes [H, W] -> float64 [H-10, W-10]."""
    first, second = first.astype(np.float64), second.astype(np.float64)
    mean1, mean2 = _smoothed(first), _smoothed(second)
    square1 = _smoothed(first * first) - mean1 * mean1
    square2 = _smoothed(second * second) - mean2 * mean2
    product = _smoothed(first * second) - mean1 * mean2
    above = (2 * mean1 * mean2 + _C1) * (2 * product + _C2)
    below = (mean1 * mean1 + mean2 * mean2 + _C1) * (square1 + square2 + _C2)
    ratio: np.ndarray = above / below
    return ratio


def _smoothed(plane: np.ndarray) -> np.ndarray:
    """Gaussian means of the 11x11 windows: [H, W] -> [H-10, W-10], along one axis after the other."""
    offsets = np.arange(WINDOW) - WINDOW // 2
    weights = np.exp(-(offsets**2) / (2 * SIGMA**2))
    weights /= weights.sum()
    rows, columns = plane.shape[0] - WINDOW + 1, plane.shape[1] - WINDOW + 1
    across = sum(weight * plane[:, i : i + columns] for i, weight in enumerate(weights))
    down: np.ndarray = sum(weight * across[i : i + rows] for i, weight in enumerate(weights))
    return down
