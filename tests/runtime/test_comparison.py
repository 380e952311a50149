"""Differences between two models against loops in float64."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from runtime.comparison import Comparison, Difference, FloatDifference, Limits, check_limits, compare, default_limits
from runtime.comparison import to_levels as rounded
from runtime.contract.errors import BackendError, InputError
from runtime.profiler.worker import LabelMap
from tests.runtime.toy_models import CARD

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
    assert result.overall.floats is None
    assert check_limits(result, Limits(max_levels=0, min_psnr=200.0, max_abs=0.0)) is None


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
    assert check_limits(result, Limits()) is None
    assert check_limits(result, Limits(max_levels=3, max_abs=0.0)) is None  # no floats, nothing to exceed
    error = check_limits(result, Limits(max_levels=2, min_psnr=60.0))
    assert error is not None
    assert "the largest difference is 3 levels (a), 2 were allowed" in str(error)
    assert "38.6 dB" in str(error)  # 20 log10(255 / 3)


def test_pictures_of_different_sizes_and_no_label_maps() -> None:
    with pytest.raises(InputError, match="1x4x6x3, the other of 1x2x3x3"):
        compare(constant(0), lambda label, instance, source: np.zeros((1, 2, 3, 3), np.uint8), MAPS)
    with pytest.raises(InputError, match="no label map"):
        compare(constant(0), constant(0), [])


# --- float pictures ---


def byte(value: float) -> int:
    return round(127.5 * (min(max(value, -1.0), 1.0) + 1))


def waves(seed: int, spread: float):  # type: ignore[no-untyped-def]
    """Float pictures a little beyond [-1, 1]."""

    def make(label: np.ndarray, instance: np.ndarray | None, source: np.ndarray | None) -> np.ndarray:
        draw = np.random.default_rng(int(label[0, 0]))
        picture = draw.uniform(-1.2, 1.2, (1, 3, *label.shape))
        return (picture + spread * np.random.default_rng(seed).standard_normal(picture.shape)).astype(np.float32)

    return make


def test_float_figures_against_loops() -> None:
    result = compare(waves(1, 0.05), waves(2, 0.02), MAPS)
    gaps, levels = [], []
    for entry in MAPS:
        pair = [make(entry.label, None, None).ravel().tolist() for make in (waves(1, 0.05), waves(2, 0.02))]
        for a, b in zip(*pair, strict=True):
            gaps.append(abs(a - b))
            levels.append(abs(byte(a) - byte(b)))
    floats = result.overall.floats
    assert floats is not None
    assert floats.max_abs == pytest.approx(max(gaps), rel=1e-12)
    assert floats.mean_abs == pytest.approx(sum(gaps) / len(gaps), rel=1e-12)
    assert floats.psnr_db == pytest.approx(10 * math.log10(4 * len(gaps) / sum(gap * gap for gap in gaps)), rel=1e-12)
    assert result.overall.max_levels == max(levels)
    assert result.overall.mean_levels == pytest.approx(sum(levels) / len(levels), rel=1e-12)


def test_levels_of_floats() -> None:
    values = [-9.0, -1.0, -0.999, 0.0, 1 / 255, 0.5, 1.0, 3.0]
    picture = np.array(values, np.float32).reshape(1, 1, 2, 4).repeat(3, axis=1)
    assert rounded(picture).shape == (1, 2, 4, 3)
    assert rounded(picture)[0, :, :, 0].ravel().tolist() == [0, 0, 0, 128, 128, 191, 255, 255]


def test_floats_and_bytes_are_compared_in_levels() -> None:
    def grey(label: np.ndarray, instance: np.ndarray | None, source: np.ndarray | None) -> np.ndarray:
        return np.full((1, 3, *label.shape), 0.0, np.float32)  # level 128

    result = compare(grey, constant(125), MAPS)
    assert result.overall.floats is None
    assert result.overall.max_levels == 3


def test_the_float_limit() -> None:
    def off(by: float):  # type: ignore[no-untyped-def]
        return lambda label, instance, source: np.full((1, 3, *label.shape), by * label[0, 0], np.float32)

    result = compare(off(0.0), off(0.002), MAPS)
    assert result.overall.max_levels <= 1
    error = check_limits(result, Limits(max_levels=1, max_abs=0.001))
    assert error is not None
    assert str(error) == "the largest difference of the float pictures is 2.00e-03 (b), 0.001 was allowed"
    assert check_limits(result, Limits(max_abs=0.0021)) is None


@pytest.mark.parametrize(("bad", "which"), [(0, "first"), (1, "second")])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_values_that_are_no_numbers_never_pass(value: float, bad: int, which: str) -> None:
    def broken(label: np.ndarray, instance: np.ndarray | None, source: np.ndarray | None) -> np.ndarray:
        picture = np.zeros((1, 3, *label.shape), np.float32)
        picture[0, 1, 2, 3] = value
        return picture

    models = [waves(1, 0.0), waves(1, 0.0)]
    models[bad] = broken
    with pytest.raises(BackendError, match=f"a: the {which} model gives 1 of 72 values that are not numbers"):
        compare(*models, MAPS)


def test_the_worst_map_among_equal_levels_is_told_by_the_floats() -> None:
    pictures = tuple(
        (name, Difference(0, 0.0, math.inf, FloatDifference(gap, gap, -20 * math.log10(gap / 2))))
        for name, gap in (("a", 1e-6), ("b", 1e-4), ("c", 1e-5))
    )
    assert Comparison(pictures[0][1], pictures).worst[0] == "b"


def test_what_is_allowed_follows_from_the_precisions() -> None:
    half = replace(CARD, precision="fp16")
    assert default_limits(CARD, CARD) == Limits(max_levels=1, max_abs=1e-3)
    assert default_limits(CARD, half) == default_limits(half, CARD) == default_limits(half, half) == Limits(min_psnr=30)
