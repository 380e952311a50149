"""PSNR and SSIM of pictures as bytes and as floats, against scikit-image."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from calibration.quality import MapQuality, Quality, mean_square, picture_quality, psnr_of, relative_error
from runtime.contract.errors import InputError, UsageError

metrics = pytest.importorskip("skimage.metrics")


def pair(noise: float, count: int = 1, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Smooth float pictures [N, 3, 20, 30] in [-1, 1], and the same with noise."""
    draw = np.random.default_rng(seed)
    rows, columns = np.mgrid[:20, :30]
    phase = draw.uniform(0, 6, (count, 3, 1, 1))
    reference = (0.9 * np.sin(rows / 3 + columns / 5 + phase)).astype(np.float32)
    return reference, np.clip(reference + noise * draw.standard_normal(reference.shape), -1, 1).astype(np.float32)


def as_bytes(picture: np.ndarray) -> np.ndarray:
    return np.clip(np.round((picture + 1) * 127.5), 0, 255).astype(np.uint8).transpose(0, 2, 3, 1)


def ssim(reference: np.ndarray, picture: np.ndarray) -> float:
    return metrics.structural_similarity(
        reference, picture, gaussian_weights=True, use_sample_covariance=False, data_range=255, channel_axis=-1
    )


def test_floats_are_compared_as_floats_and_ssim_as_bytes() -> None:
    reference, picture = pair(0.05)
    found = picture_quality(reference, picture)
    assert found.psnr_db == pytest.approx(metrics.peak_signal_noise_ratio(reference, picture, data_range=2), abs=1e-4)
    assert found.ssim == pytest.approx(ssim(as_bytes(reference)[0], as_bytes(picture)[0]), abs=1e-6)
    assert found.largest_difference == pytest.approx(np.abs(reference.astype(float) - picture).max())


def test_bytes() -> None:
    reference, picture = (as_bytes(one) for one in pair(0.05))
    found = picture_quality(reference, picture)
    assert found.psnr_db == pytest.approx(metrics.peak_signal_noise_ratio(reference, picture), abs=1e-9)
    assert found.ssim == pytest.approx(ssim(reference[0], picture[0]), abs=1e-9)
    assert found.largest_difference == np.abs(reference.astype(int) - picture).max()


def test_differences_below_a_grey_level_count_for_floats() -> None:
    reference, _ = pair(0)
    found = picture_quality(reference, reference + np.float32(1e-4))
    assert found.psnr_db == pytest.approx(20 * math.log10(2 / 1e-4), abs=0.01)


def test_several_pictures_at_once() -> None:
    reference, picture = pair(0.05, count=3)
    found = picture_quality(reference, picture)
    assert found.psnr_db == pytest.approx(metrics.peak_signal_noise_ratio(reference, picture, data_range=2), abs=1e-4)
    alone = [picture_quality(reference[i : i + 1], picture[i : i + 1]).ssim for i in range(3)]
    assert found.ssim == pytest.approx(np.mean(alone))


def test_equal_pictures() -> None:
    reference, _ = pair(0)
    assert picture_quality(reference, reference.copy()) == MapQuality(math.inf, 1.0, 0.0)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_picture_that_is_not_finite_is_the_worst(value: float) -> None:
    reference, picture = pair(0.01)
    picture[0, 1, 2, 3] = value
    assert picture_quality(reference, picture) == MapQuality(-math.inf, 0.0, math.inf)
    assert mean_square(reference, picture) == math.inf
    with pytest.raises(InputError, match="FP32 picture has values that are not finite"):
        picture_quality(picture, reference)


def test_over_several_maps() -> None:
    pairs = [pair(noise, seed=i) for i, noise in enumerate((0.02, 0.1, 0.05))]
    found = Quality.of([picture_quality(*one) for one in pairs])
    assert found.worst_psnr_db == found.psnr[1] == min(found.psnr)
    assert found.worst_ssim == found.ssim[1] == min(found.ssim)
    assert found.mean_ssim == pytest.approx(np.mean(found.ssim))
    together = np.concatenate([a for a, _ in pairs]), np.concatenate([b for _, b in pairs])
    assert found.psnr_db == pytest.approx(metrics.peak_signal_noise_ratio(*together, data_range=2), abs=1e-4)
    assert found.largest_difference == pytest.approx(np.abs(together[0] - together[1]).max())


def test_one_equal_picture_does_not_make_the_mean_infinite() -> None:
    quality = Quality.of([MapQuality(math.inf, 1.0, 0.0), MapQuality(40.0, 0.9, 0.1)])
    assert quality.psnr_db == pytest.approx(40 + 10 * math.log10(2))
    assert (quality.worst_psnr_db, quality.worst_ssim) == (40.0, 0.9)


def test_plain_values_for_json() -> None:
    quality = Quality.of([MapQuality(math.inf, 1.0, 0.0)])
    content = json.loads(json.dumps(quality.to_json(), allow_nan=False))
    assert content["psnr_db"] is None
    assert content["psnr_db_per_map"] == [None]
    assert (content["ssim"], content["worst_ssim"], content["largest_difference"]) == (1.0, 1.0, 0.0)
    broken = Quality.of([MapQuality(-math.inf, 0.0, math.inf), MapQuality(30.0, 0.5, 1.0)])
    assert broken.psnr_db == broken.worst_psnr_db == -math.inf
    json.dumps(broken.to_json(), allow_nan=False)


@pytest.mark.parametrize("error", [0.0, 1e-9, 3.7, math.inf])
def test_psnr_and_back(error: float) -> None:
    assert relative_error(psnr_of(error, 2.0)) == pytest.approx(error / 4)


def test_what_cannot_be_compared() -> None:
    reference, picture = pair(0.1)
    for broken in (picture[:, :, 1:], as_bytes(picture), picture.astype(np.float64), picture[0], picture[:, :2]):
        with pytest.raises(InputError, match="compare"):
            picture_quality(reference, broken)
    small = reference[:, :, :10]
    with pytest.raises(InputError, match="window of 11"):
        picture_quality(small, small)
    with pytest.raises(UsageError, match="at least one label map"):
        Quality.of([])
