"""SSIM, PSNR and sharpness difference: the usual forms against scikit-image, the published ones against plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from lggan.evaluation.metric import Comparison
from lggan.evaluation.paired import PairedMetric
from lggan.evaluation.psnr import PSNR_DEFINITIONS, psnr, published_psnr
from lggan.evaluation.sharpness import SHARPNESS_DEFINITIONS, published_sharpness_difference, sharpness_difference
from lggan.evaluation.ssim import SSIM_DEFINITIONS, published_ssim, ssim


def pictures(seed: int, height: int = 19, width: int = 23) -> tuple[np.ndarray, np.ndarray]:
    """A smooth picture and a noisy one of the same scene."""
    draw = np.random.default_rng(seed)
    ramp = np.linspace(0, 200, width)[None, :, None] + np.linspace(0, 50, height)[:, None, None] + np.zeros((1, 1, 3))
    noisy = np.clip(ramp + draw.normal(0, 25, ramp.shape), 0, 255)
    return ramp.astype(np.uint8), noisy.astype(np.uint8)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("size", [(11, 11), (19, 23), (64, 48)])
def test_ssim_equals_scikit_image(seed: int, size: tuple[int, int]) -> None:
    a, b = pictures(seed, *size)
    expected = structural_similarity(
        a, b, channel_axis=-1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255
    )
    assert ssim(a, b) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_psnr_equals_scikit_image(seed: int) -> None:
    a, b = pictures(seed)
    assert psnr(a, b) == pytest.approx(peak_signal_noise_ratio(a, b, data_range=255), abs=1e-9)


def ssim_by_loops(first: np.ndarray, second: np.ndarray) -> float:
    """The script's form: luma, every window of the 'full' convolution, zeros outside, float64."""
    height, width = first.shape[:2]

    def luma(picture: np.ndarray, y: int, x: int) -> float:
        if not (0 <= y < height and 0 <= x < width):
            return 0.0
        red, green, blue = (float(c) / 255 for c in picture[y, x])
        return 255 * (0.299 * red + 0.587 * green + 0.114 * blue)

    gauss = [[math.exp(-((i - 5) ** 2 + (j - 5) ** 2) / (2 * 1.5**2)) for j in range(11)] for i in range(11)]
    total = sum(map(sum, gauss))
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    values = []
    for y in range(height + 10):
        for x in range(width + 10):
            m1 = m2 = s1 = s2 = s12 = 0.0
            for i in range(11):
                for j in range(11):
                    w = gauss[i][j] / total
                    a, b = luma(first, y - i, x - j), luma(second, y - i, x - j)
                    m1, m2, s1, s2, s12 = m1 + w * a, m2 + w * b, s1 + w * a * a, s2 + w * b * b, s12 + w * a * b
            values.append(
                (2 * m1 * m2 + c1) * (2 * (s12 - m1 * m2) + c2)
                / ((m1 * m1 + m2 * m2 + c1) * (s1 - m1 * m1 + s2 - m2 * m2 + c2))
            )  # fmt: skip
    return sum(values) / len(values)


def test_published_ssim_equals_loops() -> None:
    a, b = pictures(0, 7, 9)
    assert published_ssim(a, b) == pytest.approx(ssim_by_loops(a, b), abs=1e-9)


def psnr_by_loops(first: np.ndarray, second: np.ndarray) -> float:
    error = 0.0
    for a, b in zip(first.ravel().tolist(), second.ravel().tolist(), strict=True):
        error += (a / 255 - b / 255) ** 2
    return 10 * math.log10(255 * 255 / max(128 * 128 * error / first.size, 0.0001))


def sharpness_by_loops(first: np.ndarray, second: np.ndarray) -> float:
    height, width = first.shape[:2]
    error = 0.0
    for c in range(3):
        for y in range(1, height - 1):
            for x in range(1, width - 1):
                dx = [abs(float(p[y, x - 1, c]) - float(p[y, x, c])) / 255 for p in (first, second)]
                dy = [abs(float(p[y - 1, x, c]) - float(p[y, x, c])) / 255 for p in (first, second)]
                error += abs(dx[0] - dx[1]) + abs(dy[0] - dy[1])
    return 10 * math.log10(255 * 255 / max(128 * 128 * error / first.size, 0.0001))


def usual_sharpness_by_loops(first: np.ndarray, second: np.ndarray) -> float:
    height, width = first.shape[:2]
    error, count = 0.0, 0
    for c in range(3):
        for y in range(1, height):
            for x in range(1, width):
                both = []
                for p in (first, second):
                    above, left, here = float(p[y - 1, x, c]), float(p[y, x - 1, c]), float(p[y, x, c])
                    both.append((abs(above - here) + abs(left - here)) / 255)
                error, count = error + abs(both[0] - both[1]), count + 1
    return 10 * math.log10(1 / (error / count))


@pytest.mark.parametrize("seed", range(3))
def test_published_forms_equal_loops(seed: int) -> None:
    a, b = pictures(seed)
    assert published_psnr(a, b) == pytest.approx(psnr_by_loops(a, b), abs=1e-9)
    assert published_sharpness_difference(a, b) == pytest.approx(sharpness_by_loops(a, b), abs=1e-9)
    assert sharpness_difference(a, b) == pytest.approx(usual_sharpness_by_loops(a, b), abs=1e-9)
    assert published_psnr(a, b) - psnr(a, b) == pytest.approx(20 * math.log10(255 / 128), abs=1e-9)


def test_equal_pictures() -> None:
    a, _ = pictures(0)
    assert ssim(a, a) == pytest.approx(1.0, abs=1e-12)
    assert published_ssim(a, a) == pytest.approx(1.0, abs=1e-12)
    assert psnr(a, a) == math.inf
    assert sharpness_difference(a, a) == math.inf
    ceiling = 10 * math.log10(255 * 255 / 0.0001)  # the scripts' floor
    assert published_psnr(a, a) == pytest.approx(ceiling)
    assert published_sharpness_difference(a, a) == pytest.approx(ceiling)


def test_means_over_pictures_and_what_the_results_say() -> None:
    label = np.zeros((2, 2), np.uint8)
    pairs = [Comparison(str(seed), *pictures(seed)[::-1], pictures(seed)[0], label) for seed in (0, 1)]
    for metric, function, published, unit in (
        (PairedMetric(*SSIM_DEFINITIONS), ssim, published_ssim, "-1..1"),
        (PairedMetric(*PSNR_DEFINITIONS), psnr, published_psnr, "dB"),
        (PairedMetric(*SHARPNESS_DEFINITIONS), sharpness_difference, published_sharpness_difference, "dB"),
    ):
        metric.add(pairs[:1])
        metric.add(pairs[1:])
        for result, single in zip(metric.results(), (function, published), strict=True):
            values = [single(pair.generated, pair.photo) for pair in pairs]
            assert result.value == pytest.approx(np.mean(values), rel=1e-12)
            assert result.spread == pytest.approx(np.std(values), rel=1e-12)
            assert (result.count, result.unit, result.better.value) == (2, unit, "higher")
        assert tuple(result.name for result in metric.results()) == metric.names
        assert "SelectionGAN" in metric.results()[1].definition
