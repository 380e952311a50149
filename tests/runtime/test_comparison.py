"""Differences between two models against loops in float64."""

from __future__ import annotations

import math

import numpy as np
import pytest

from runtime.comparison import check_limits, compare
from runtime.contract.errors import InputError
from runtime.profiler.worker import LabelMap

MAPS = [LabelMap(name, np.full((4, 6), value, np.uint8)) for name, value in (("a", 0), ("b", 1))]


def constant(level: int):  # type: ignore[no-untyped-def]
    return lambda label, instance, source: np.full((1, *label.shape, 3), level, np.uint8)


def noisy(seed: int):  # type: ignore[no-untyped-def]
    def make(label: np.ndarray, instance: np.ndarray | None, source: np.ndarray | None) -> np.ndarray:
        draw = np.random.default_rng(seed + int(label[0, 0]))
        return draw.integers(0, 256, (1, *label.shape, 3)).astype(np.uint8)

    return make


def test_equal_models() -> None:
    result = compare(noisy(1), noisy(1), MAPS)
    assert result.overall.max_levels == 0
    assert result.overall.mean_levels == 0
    assert result.overall.psnr_db == math.inf
    assert check_limits(result, max_levels=0, min_psnr=200.0) is None


def test_figures_against_loops() -> None:
    result = compare(noisy(1), noisy(2), MAPS)
    gaps = []
    for entry in MAPS:
        one, other = noisy(1)(entry.label, None, None), noisy(2)(entry.label, None, None)
        gaps += [abs(int(a) - int(b)) for a, b in zip(one.ravel(), other.ravel(), strict=True)]
    assert result.overall.max_levels == max(gaps)
    assert result.overall.mean_levels == pytest.approx(sum(gaps) / len(gaps), rel=1e-12)
    mean_square = sum(gap * gap for gap in gaps) / len(gaps)
    assert result.overall.psnr_db == pytest.approx(10 * math.log10(255 * 255 / mean_square), rel=1e-12)
    assert [name for name, _ in result.pictures] == ["a", "b"]
    assert result.worst[1].psnr_db == min(each.psnr_db for _, each in result.pictures)


def test_bytes_do_not_wrap_around() -> None:
    assert compare(constant(0), constant(255), MAPS).overall.max_levels == 255
    assert compare(constant(255), constant(0), MAPS).overall.psnr_db == pytest.approx(0.0)


def test_limits_name_what_broke_them() -> None:
    result = compare(constant(0), constant(3), MAPS)
    assert check_limits(result) is None
    assert check_limits(result, max_levels=3) is None
    error = check_limits(result, max_levels=2, min_psnr=60.0)
    assert error is not None
    assert "the largest difference is 3 levels, 2 were allowed" in str(error)
    assert "38.6 dB" in str(error)  # 20 log10(255 / 3)


def test_pictures_of_different_sizes_and_no_label_maps() -> None:
    with pytest.raises(InputError, match="1x4x6x3, the other of 1x2x3x3"):
        compare(constant(0), lambda label, instance, source: np.zeros((1, 2, 3, 3), np.uint8), MAPS)
    with pytest.raises(InputError, match="no label map"):
        compare(constant(0), constant(0), [])
