"""How close a typed graph's pictures are to those of the FP32 graph: bytes or floats, over several label maps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from runtime.contract.errors import InputError, UsageError
from runtime.profiler.quality import ssim as ssim_of_bytes

BYTE_PEAK, FLOAT_PEAK = 255.0, 2.0
"""Width of the range of values: of uint8, and of floats in [-1, 1]."""


@dataclass(frozen=True)
class MapQuality:
    """One label map's picture against its reference.

    Attributes:
        psnr_db: peak signal-to-noise ratio, dB; ``inf`` where equal, ``-inf`` where the picture is not finite.
        ssim: structural similarity of what they are as bytes, 1 where equal; 0 where the picture is not finite.
        largest_difference: grey levels (bytes) or units of [-1, 1] (floats).
    """

    psnr_db: float
    ssim: float
    largest_difference: float


@dataclass(frozen=True)
class Quality:
    """The same over several label maps.

    Attributes:
        psnr: dB per map.
        ssim: per map.
        largest_difference: over all maps, grey levels (bytes) or units of [-1, 1] (floats).
    """

    psnr: tuple[float, ...]
    ssim: tuple[float, ...]
    largest_difference: float

    @classmethod
    def of(cls, maps: Sequence[MapQuality]) -> Quality:
        """Gather at least one map's figures.

        Raises:
            UsageError: there is none.
        """
        if not maps:
            raise UsageError("there is no picture to compare; name at least one label map")
        return cls(
            tuple(one.psnr_db for one in maps),
            tuple(one.ssim for one in maps),
            max(one.largest_difference for one in maps),
        )

    @property
    def worst_psnr_db(self) -> float:
        """Of the worst map, dB."""
        return min(self.psnr)

    @property
    def psnr_db(self) -> float:
        """Of the mean squared error over all maps, so that equal pictures do not make it infinite; dB."""
        return psnr_of(math.fsum(relative_error(psnr) for psnr in self.psnr) / len(self.psnr), 1.0)

    @property
    def worst_ssim(self) -> float:
        return min(self.ssim)

    @property
    def mean_ssim(self) -> float:
        return math.fsum(self.ssim) / len(self.ssim)

    def to_json(self) -> dict[str, object]:
        """Plain values for a JSON document; None for a number of dB that is not finite."""
        return {
            "psnr_db": _finite(self.psnr_db),
            "worst_psnr_db": _finite(self.worst_psnr_db),
            "ssim": self.mean_ssim,
            "worst_ssim": self.worst_ssim,
            "largest_difference": _finite(self.largest_difference),
            "psnr_db_per_map": [_finite(psnr) for psnr in self.psnr],
            "ssim_per_map": list(self.ssim),
        }


def picture_quality(reference: NDArray[np.generic], picture: NDArray[np.generic]) -> MapQuality:
    """Compare a picture with its reference.

    Args:
        reference, picture: uint8 [N, H, W, 3], or float [N, 3, H, W] in [-1, 1]; sides of 11 pixels or more. PSNR has
            the peak 255 or 2 and is of all N together; SSIM is the mean over them, of floats that were brought to bytes
            as the graph's own last nodes do it.

    Raises:
        InputError: of different types or sizes, not of these forms, too small for SSIM; or the reference is not finite.
    """
    error = mean_square(reference, picture)
    if not math.isfinite(error):
        return MapQuality(-math.inf, 0.0, math.inf)
    similar = [ssim_of_bytes(*pair) for pair in zip(_as_bytes(reference), _as_bytes(picture), strict=True)]
    return MapQuality(
        psnr_of(error, peak_of(reference)),
        math.fsum(similar) / len(similar),
        float(np.abs(picture.astype(np.float64) - reference.astype(np.float64)).max()),
    )


def mean_square(reference: NDArray[np.generic], picture: NDArray[np.generic]) -> float:
    """Mean squared difference in grey levels squared (bytes) or units of [-1, 1] squared; ``inf`` for NaN and infinity.

    Raises:
        InputError: of different types or sizes, not a picture; or the reference is not finite.
    """
    for image in (reference, picture):
        channels = {np.dtype(np.uint8): 3, np.dtype(np.float32): 1}.get(image.dtype)
        if image.ndim != 4 or image.size == 0 or channels is None or image.shape[channels] != 3:
            raise InputError(
                "pictures are compared as uint8 [N, H, W, 3] or float32 [N, 3, H, W]; "
                f"got {image.dtype} {list(image.shape)}"
            )
    if reference.shape != picture.shape or reference.dtype != picture.dtype:
        raise InputError(
            f"the picture is {picture.dtype} {list(picture.shape)}, its reference {reference.dtype} "
            f"{list(reference.shape)}; compare graphs made from one model"
        )
    if reference.dtype != np.uint8 and not np.isfinite(reference).all():
        raise InputError("the FP32 picture has values that are not finite; train or import the model again")
    with np.errstate(invalid="ignore", over="ignore"):
        error = float(np.mean((picture.astype(np.float64) - reference.astype(np.float64)) ** 2))
    return error if math.isfinite(error) else math.inf


def peak_of(picture: NDArray[np.generic]) -> float:
    """What PSNR refers to: 255 for uint8, 2 for floats in [-1, 1]."""
    return BYTE_PEAK if picture.dtype == np.uint8 else FLOAT_PEAK


def psnr_of(error: float, peak: float) -> float:
    """PSNR in dB of a mean squared error; ``inf`` for 0, ``-inf`` for ``inf``."""
    if error == 0:
        return math.inf
    return 10 * math.log10(peak**2 / error) if math.isfinite(error) else -math.inf


def relative_error(psnr_db: float) -> float:
    """The mean squared error behind a PSNR, in squared peaks: the inverse of `psnr_of`."""
    return math.inf if psnr_db == -math.inf else 10 ** (-psnr_db / 10)


def _as_bytes(picture: NDArray[np.generic]) -> NDArray[np.uint8]:
    """uint8 [N, H, W, 3]."""
    if picture.dtype == np.uint8:
        return picture.astype(np.uint8, copy=False)
    levels = np.clip((picture.astype(np.float32) + 1) * np.float32(127.5), 0, 255)
    return np.ascontiguousarray(np.rint(levels).transpose(0, 2, 3, 1).astype(np.uint8))


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
