"""PSNR and SSIM against scikit-image and plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest

from runtime.contract.errors import InputError, UsageError
from runtime.profiler.quality import QualitySummary, compare_pictures, error_map, psnr_of, ssim


def _pair(height: int, width: int, noise: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:height, 0:width]
    smooth = 127 + 90 * np.sin(rows / 7)[..., None] * np.cos(columns / 5)[..., None] * np.array([1, 0.5, -0.8])
    reference = np.clip(smooth + generator.normal(0, 6, smooth.shape), 0, 255).astype(np.uint8)
    picture = np.clip(reference + generator.normal(0, noise, smooth.shape), 0, 255).astype(np.uint8)
    return reference, picture


@pytest.mark.parametrize(("height", "width", "noise"), [(11, 11, 4.0), (37, 64, 1.0), (48, 33, 25.0), (40, 40, 90.0)])
def test_ssim_and_psnr_agree_with_scikit_image(height: int, width: int, noise: float) -> None:
    metrics = pytest.importorskip("skimage.metrics")
    reference, picture = _pair(height, width, noise)
    quality = compare_pictures(reference, picture)
    expected = metrics.structural_similarity(
        reference,
        picture,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=255,
        channel_axis=-1,
    )
    assert quality.ssim == pytest.approx(expected, abs=1e-9)
    assert quality.psnr_db == pytest.approx(
        metrics.peak_signal_noise_ratio(reference, picture, data_range=255), abs=1e-9
    )


def test_ssim_agrees_with_plain_loops() -> None:
    reference, picture = _pair(13, 14, 10.0)
    offsets = range(-5, 6)
    window = np.array([[math.exp(-(y * y + x * x) / (2 * 1.5**2)) for x in offsets] for y in offsets])
    window /= window.sum()
    values = []
    for channel in range(3):
        for top in range(13 - 10):
            for left in range(14 - 10):
                x = reference[top : top + 11, left : left + 11, channel].astype(float)
                y = picture[top : top + 11, left : left + 11, channel].astype(float)
                mean_x, mean_y = (window * x).sum(), (window * y).sum()
                variance_x, variance_y = (window * (x - mean_x) ** 2).sum(), (window * (y - mean_y) ** 2).sum()
                covariance = (window * (x - mean_x) * (y - mean_y)).sum()
                values.append(
                    (2 * mean_x * mean_y + 2.55**2)
                    * (2 * covariance + 7.65**2)
                    / ((mean_x**2 + mean_y**2 + 2.55**2) * (variance_x + variance_y + 7.65**2))
                )
    assert ssim(reference, picture) == pytest.approx(np.mean(values), abs=1e-9)


def test_identical_pictures_are_infinitely_close() -> None:
    reference, _ = _pair(20, 20, 1.0)
    quality = compare_pictures(reference, reference.copy())
    assert quality.identical
    assert quality.psnr_db == math.inf
    assert quality.ssim == 1.0
    assert quality.largest == 0


def test_opposite_pictures_have_no_signal() -> None:
    black = np.zeros((16, 16, 3), np.uint8)
    quality = compare_pictures(black, np.full_like(black, 255))
    assert quality.psnr_db == 0.0
    assert quality.largest == 255
    assert quality.ssim < 1e-4


def test_one_wrong_byte_is_seen() -> None:
    reference, _ = _pair(16, 16, 1.0)
    picture = reference.copy()
    picture[3, 4, 1] ^= 1
    quality = compare_pictures(reference, picture)
    assert not quality.identical
    assert quality.largest == 1
    assert quality.psnr_db == pytest.approx(10 * math.log10(255**2 * 16 * 16 * 3))


def test_summary_pools_the_squared_errors() -> None:
    reference, picture = _pair(24, 24, 8.0)
    equal, different = compare_pictures(reference, reference), compare_pictures(reference, picture)
    summary = QualitySummary.of([equal, different])
    assert summary.psnr_db == pytest.approx(psnr_of(different.mean_square / 2))
    assert summary.worst_psnr_db == different.psnr_db
    assert summary.ssim == pytest.approx((1 + different.ssim) / 2)
    assert summary.worst_ssim == different.ssim
    assert (summary.pictures, summary.identical, summary.largest) == (2, 1, different.largest)
    assert QualitySummary.of([equal, equal]).psnr_db == math.inf
    with pytest.raises(UsageError):
        QualitySummary.of([])


def test_error_map_amplifies_and_saturates() -> None:
    reference = np.full((11, 12, 3), 100, np.uint8)
    picture = reference.copy()
    picture[0, 0] = (101, 98, 100)
    picture[0, 1] = (100, 100, 20)
    grey = error_map(reference, picture, 8)
    assert grey.shape == (11, 12, 3)
    assert grey.dtype == np.uint8
    assert grey[0, 0].tolist() == [16, 16, 16]
    assert grey[0, 1].tolist() == [255, 255, 255]
    assert grey[1:].max() == 0


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (np.zeros((20, 21, 3), np.uint8), "21x20"),
        (np.zeros((20, 20, 3), np.float32), "float32"),
        (np.zeros((20, 20), np.uint8), r"\[20, 20\]"),
    ],
)
def test_pictures_that_do_not_fit_are_refused(picture: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        compare_pictures(np.zeros((20, 20, 3), np.uint8), picture)


def test_pictures_below_the_window_are_refused() -> None:
    tiny = np.zeros((10, 40, 3), np.uint8)
    with pytest.raises(InputError, match="too small"):
        compare_pictures(tiny, tiny)
