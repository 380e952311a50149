"""Where the INT8 range of a tensor ends: against the error of real quantisation and ONNX Runtime on the raw values."""

from __future__ import annotations

import contextlib
import io
import sys
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibration.histogram import Histogram
from calibration.thresholds import RangeMethod, threshold
from runtime.contract.errors import MissingError, UsageError

DRAW = np.random.default_rng(3)
VALUES = {
    "normal": DRAW.standard_normal(60_000) * 3,
    "laplace": DRAW.laplace(size=60_000),
    "heavy": DRAW.standard_t(3, 60_000),
    "outlier": np.append(DRAW.standard_normal(60_000), 100),
    "relu": np.maximum(DRAW.standard_normal(60_000), 0),
    "uniform": DRAW.random(60_000) * 2 - 1,
    "tanh": np.tanh(DRAW.standard_normal(60_000) * 2),
    "one-hot": (DRAW.random(60_000) < 0.03) * 1.0,
    "constant": np.full(100, 0.7),
}
SHAPES = {name: values.astype(np.float32) for name, values in VALUES.items()}


def square_error(values: np.ndarray, end: float) -> float:
    """Mean square of what symmetric INT8 does to the values."""
    scale = end / 127
    wide = values.astype(np.float64)
    return float(np.mean((np.clip(np.rint(wide / scale), -127, 127) * scale - wide) ** 2))


@pytest.mark.parametrize("values", SHAPES.values(), ids=SHAPES.keys())
def test_mse_is_the_least_of_real_quantisation(values: np.ndarray) -> None:
    histogram = Histogram.of(values)
    found = threshold(histogram, RangeMethod.MSE)
    least = min(square_error(values, histogram.largest * share) for share in np.linspace(0.02, 1, 99))
    assert square_error(values, found) <= least * 1.02


def test_mse_clips_where_it_pays() -> None:
    share = {name: threshold(Histogram.of(v), RangeMethod.MSE) / float(np.abs(v).max()) for name, v in SHAPES.items()}
    assert share["outlier"] < 0.8
    assert share["heavy"] < 0.9
    assert share["uniform"] > 0.99
    assert share["one-hot"] == share["constant"] == 1


@pytest.mark.parametrize("values", SHAPES.values(), ids=SHAPES.keys())
@pytest.mark.parametrize("percentile", [90, 99.9, 99.99, 100])
def test_percentiles_are_those_of_the_values(values: np.ndarray, percentile: float) -> None:
    histogram = Histogram.of(values)
    found = threshold(histogram, RangeMethod.PERCENTILE, percentile)
    one = 1 / values.size  # at a share that falls between two values, ONNX Runtime's sum of floats may take either
    low, high = np.quantile(np.abs(values), [percentile / 100, min(percentile / 100 + one, 1)], method="inverted_cdf")
    assert (low or histogram.largest) <= found <= (high or histogram.largest) + histogram.width


@pytest.mark.parametrize("kind", ["normal", "laplace", "outlier"])
def test_entropy_is_that_of_onnxruntime_on_the_raw_values(kind: str) -> None:
    from onnxruntime.quantization.calibrate import HistogramCollector

    values = SHAPES[kind] * (np.float32(1.125) / np.abs(SHAPES[kind]).max())  # so that both have equal bins
    collector = HistogramCollector("entropy", True, 768, 128, 0, "same")
    with contextlib.redirect_stdout(io.StringIO()):
        collector.collect({"x": np.concatenate([values, -values])})
        reference = float(collector.compute_collection_result()["x"][1])
    assert threshold(Histogram.of(values), RangeMethod.ENTROPY) == pytest.approx(reference, abs=2 * 1.125 / 384)


def test_entropy_clips_outliers_and_keeps_what_is_even() -> None:
    share = {
        name: threshold(Histogram.of(v), RangeMethod.ENTROPY) / float(np.abs(v).max()) for name, v in SHAPES.items()
    }
    assert share["outlier"] < 0.5
    assert share["uniform"] == share["one-hot"] == share["constant"] == 1
    assert square_error(SHAPES["relu"], share["relu"] * SHAPES["relu"].max()) < 1e-4  # zeros do not decide


def test_entropy_is_fast_enough() -> None:
    threshold(Histogram.of(SHAPES["normal"]), RangeMethod.ENTROPY)  # imports
    start = time.process_time()
    threshold(Histogram.of(SHAPES["laplace"]), RangeMethod.ENTROPY)
    assert time.process_time() - start < 1.5  # 0.15 s on a free core


@pytest.mark.parametrize("method", list(RangeMethod))
def test_one_hot_maps_stay_exact(method: RangeMethod) -> None:
    end = threshold(Histogram.of(SHAPES["one-hot"]), method)
    assert end == 1.0
    assert square_error(SHAPES["one-hot"], end) == 0


@pytest.mark.parametrize("method", list(RangeMethod))
def test_nothing_is_printed(method: RangeMethod, capfd: pytest.CaptureFixture[str]) -> None:
    threshold(Histogram.of(SHAPES["relu"]), method)
    assert capfd.readouterr() == ("", "")


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=30).filter(any),
    st.sampled_from([RangeMethod.MIN_MAX, RangeMethod.PERCENTILE, RangeMethod.MSE]),
    st.floats(0.001, 100),
)
def test_always_above_zero_and_never_beyond_the_values(values: list[float], method: RangeMethod, share: float) -> None:
    histogram = Histogram.of(np.array(values, np.float32))
    assert 0 < threshold(histogram, method, share) <= histogram.largest


@pytest.mark.parametrize("values", [[1e-45], [3.4e38, 1e-3], [1.0, 0.5000001], [-(2.0**-99), 0, 0]])
def test_entropy_of_odd_values(values: list[float]) -> None:
    histogram = Histogram.of(np.array(values, np.float32))
    assert 0 < threshold(histogram, RangeMethod.ENTROPY) <= histogram.largest


def test_a_percentile_that_is_zero_clips_nothing() -> None:
    histogram = Histogram.of(np.append(np.zeros(100_000), [0.3, 0.7]).astype(np.float32))
    assert threshold(histogram, RangeMethod.PERCENTILE, 99.9) == np.float32(0.7)


def test_zeros_alone_have_no_range() -> None:
    with pytest.raises(ValueError, match="nothing but zeros"):
        threshold(Histogram.of(np.zeros(3, np.float32)), RangeMethod.MIN_MAX)


@pytest.mark.parametrize("percentile", [0.0, -1.0, 100.1, float("nan")])
def test_percentiles_outside_of_the_scale(percentile: float) -> None:
    with pytest.raises(UsageError, match=r"99\.99"):
        threshold(Histogram.of(SHAPES["constant"]), RangeMethod.PERCENTILE, percentile)


def test_a_calibration_that_does_not_load(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime.quantization.calibrate", None)
    with pytest.raises(MissingError, match="pip install"):
        threshold(Histogram.of(SHAPES["normal"]), RangeMethod.ENTROPY)
    assert threshold(Histogram.of(SHAPES["normal"]), RangeMethod.MSE) > 0
