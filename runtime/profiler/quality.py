"""How close a picture is to its reference: PSNR and SSIM in numpy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from runtime.contract.errors import InputError, UsageError

PEAK = 255.0
WINDOW = 11
SIGMA = 1.5
K1, K2 = 0.01, 0.03


@dataclass(frozen=True)
class PictureQuality:
    """One picture against its reference.

    Attributes:
        mean_square: mean squared difference over all pixels and channels, grey levels squared.
        ssim: structural similarity, 1 for equal pictures.
        largest: largest difference of any channel of any pixel, 0..255.
    """

    mean_square: float
    ssim: float
    largest: int

    @property
    def identical(self) -> bool:
        return self.largest == 0

    @property
    def psnr_db(self) -> float:
        """Peak signal-to-noise ratio, dB, peak 255; infinite for identical pictures."""
        return psnr_of(self.mean_square)


@dataclass(frozen=True)
class QualitySummary:
    """A variant's pictures against the reference's.

    Attributes:
        pictures: how many were compared.
        identical: how many of them are equal to the last byte.
        psnr_db: of the mean squared difference over all pictures (so that identical ones do not make it infinite),
            dB; infinite when all are identical.
        worst_psnr_db: of the worst picture, dB.
        ssim, worst_ssim: mean over the pictures, and the worst picture's.
        largest: largest difference of any channel of any pixel, 0..255.
    """

    pictures: int
    identical: int
    psnr_db: float
    worst_psnr_db: float
    ssim: float
    worst_ssim: float
    largest: int

    @classmethod
    def of(cls, qualities: Sequence[PictureQuality]) -> QualitySummary:
        """Pool the qualities of at least one picture."""
        if not qualities:
            raise UsageError("there is no picture to compare; name at least one label map")
        count = len(qualities)
        return cls(
            pictures=count,
            identical=sum(quality.identical for quality in qualities),
            psnr_db=psnr_of(math.fsum(quality.mean_square for quality in qualities) / count),
            worst_psnr_db=min(quality.psnr_db for quality in qualities),
            ssim=math.fsum(quality.ssim for quality in qualities) / count,
            worst_ssim=min(quality.ssim for quality in qualities),
            largest=max(quality.largest for quality in qualities),
        )


def compare_pictures(reference: NDArray[np.uint8], picture: NDArray[np.uint8]) -> PictureQuality:
    """Compare two uint8 pictures [H, W, 3].

    Raises:
        InputError: the sizes differ, or a side is smaller than the 11 pixels of the SSIM window.
    """
    _check_pair(reference, picture)
    difference = reference.astype(np.int32) - picture.astype(np.int32)
    return PictureQuality(
        mean_square=float(np.sum(difference * difference, dtype=np.int64)) / difference.size,
        ssim=ssim(reference, picture),
        largest=int(np.abs(difference).max()),
    )


def psnr_of(mean_square: float) -> float:
    """PSNR in dB of a mean squared difference at peak 255; infinite for 0."""
    return 10 * math.log10(PEAK * PEAK / mean_square) if mean_square > 0 else math.inf


def ssim(reference: NDArray[np.uint8], picture: NDArray[np.uint8]) -> float:
    """Mean structural similarity of two uint8 pictures [H, W, C], averaged over the channels.

    Wang et al. 2004: Gaussian window of 11 x 11 with sigma 1.5, K1 = 0.01, K2 = 0.03, peak 255, population
    (co)variances, only windows that lie inside the picture. The same definition as scikit-image with
    ``gaussian_weights=True, use_sample_covariance=False, data_range=255, channel_axis=-1``.
    """
    _check_pair(reference, picture)
    c1, c2 = (K1 * PEAK) ** 2, (K2 * PEAK) ** 2
    total = 0.0
    for channel in range(reference.shape[2]):
        x = reference[:, :, channel].astype(np.float64)  # [H, W]
        y = picture[:, :, channel].astype(np.float64)
        mean_x, mean_y, mean_xx, mean_yy, mean_xy = _blur(np.stack([x, y, x * x, y * y, x * y]))  # [5, H-10, W-10]
        product, square_x, square_y = mean_x * mean_y, mean_x * mean_x, mean_y * mean_y
        likeness = (2 * product + c1) * (2 * (mean_xy - product) + c2)
        likeness /= (square_x + square_y + c1) * ((mean_xx - square_x) + (mean_yy - square_y) + c2)
        total += float(likeness.mean())
    return total / reference.shape[2]


def error_map(reference: NDArray[np.uint8], picture: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    """Largest difference over the channels times ``factor``, cut at 255, as a grey uint8 picture [H, W, 3]."""
    _check_pair(reference, picture)
    difference = np.abs(reference.astype(np.int32) - picture.astype(np.int32)).max(axis=2)  # [H, W]
    grey = np.minimum(difference * factor, 255).astype(np.uint8)
    return np.repeat(grey[:, :, None], 3, axis=2)  # [H, W, 3]


def _blur(planes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Gaussian window over the last two axes, [P, H, W] -> [P, H-10, W-10], as two one-dimensional passes."""
    return _blur_along(_blur_along(planes, axis=1), axis=2)


def _blur_along(planes: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    reach = WINDOW // 2
    weights = np.exp(-0.5 * (np.arange(reach + 1) / SIGMA) ** 2)
    weights /= weights[0] + 2 * weights[1:].sum()
    length = planes.shape[axis] - 2 * reach

    def shifted(offset: int) -> NDArray[np.float64]:
        window = slice(reach + offset, reach + offset + length)
        return planes[:, window] if axis == 1 else planes[:, :, window]

    blurred = weights[0] * shifted(0)
    for offset in range(1, reach + 1):  # the window is symmetric: one multiplication for two taps
        blurred += weights[offset] * (shifted(-offset) + shifted(offset))
    return blurred


def _check_pair(reference: NDArray[np.uint8], picture: NDArray[np.uint8]) -> None:
    for image in (reference, picture):
        if image.dtype != np.uint8 or image.ndim != 3:
            raise InputError(f"pictures are compared as uint8 [H, W, 3]; got {image.dtype} {list(image.shape)}")
    if reference.shape != picture.shape:
        raise InputError(
            f"the picture is {_size(picture)}, its reference {_size(reference)}; compare variants of one model"
        )
    if min(reference.shape[:2]) < WINDOW:
        raise InputError(f"SSIM looks through a window of {WINDOW} x {WINDOW} pixels; {_size(picture)} is too small")


def _size(image: NDArray[np.uint8]) -> str:
    return f"{image.shape[1]}x{image.shape[0]} with {image.shape[2]} channels"
