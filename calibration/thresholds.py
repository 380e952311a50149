"""From the values that a tensor took to the largest one that INT8 shall tell apart."""

from __future__ import annotations

import io
from contextlib import redirect_stdout
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.histogram import Histogram
from calibration.weights import INT8_MAX
from runtime.contract.errors import MissingError, UsageError

# ONNX Runtime compares a distribution with what is left of it in 128 levels over both signs (its default). It judges
# a range rightly only where its bins are a multiple of the levels, so the whole range must be one; and its time grows
# with the square of the bins: 384 for |x| take 0.1 to 0.2 s a tensor, 2048 several seconds.
_ENTROPY_LEVELS = 128
_ENTROPY_BINS = 384


class RangeMethod(str, Enum):
    """How the range of a tensor follows from its histogram.

    MIN_MAX: all of it; nothing is clipped.
    PERCENTILE: what the given share of the values does not exceed (ONNX Runtime's calibration).
    ENTROPY: the range whose quantised distribution tells least apart from the whole one, by the Kullback-Leibler
        divergence (ONNX Runtime's calibration, as TensorRT's had it).
    MSE: the range with the least mean square of rounding and clipping together.
    """

    MIN_MAX = "minmax"
    PERCENTILE = "percentile"
    ENTROPY = "entropy"
    MSE = "mse"


def threshold(histogram: Histogram, method: RangeMethod, percentile: float = 99.99) -> float:
    """The absolute value at which the INT8 range of a tensor ends, in the tensor's unit: its scale times 127.

    Args:
        histogram: of the tensor; not all zero.
        method: see `RangeMethod`.
        percentile: per cent of all values, zeros included, for `RangeMethod.PERCENTILE`. Where so many values are zero
            that the percentile is zero itself, nothing is clipped.

    Returns:
        Greater than zero, at most ``histogram.largest``.

    Raises:
        ValueError: there is nothing but zeros.
        UsageError: ``percentile`` is no percentage above 0.
        MissingError: ONNX Runtime's calibration does not load.
    """
    if histogram.largest == 0:
        raise ValueError("there is nothing but zeros")
    check_percentile(percentile)
    if method is RangeMethod.MIN_MAX:
        return histogram.largest
    if method is RangeMethod.PERCENTILE:
        found = _percentile(histogram, percentile)
    elif method is RangeMethod.ENTROPY:
        found = _entropy(histogram)
    else:
        found = _least_square_error(histogram)
    return min(found, histogram.largest) if found > 0 else histogram.largest


def check_percentile(percentile: float) -> None:
    """Refuse what is no percentage above 0.

    Raises:
        UsageError: it is none.
    """
    if not 0 < percentile <= 100:
        raise UsageError(f"the percentile is {percentile:g}; give one above 0 and up to 100, such as 99.99")


def _percentile(histogram: Histogram, percentile: float) -> float:
    """ONNX Runtime answers with the lower edge of the bin that the percentile falls into, which would clip values that
    belong to it. It is given upper edges for lower ones, the zeros as a bin of their own.
    """
    counts = np.concatenate([[histogram.zeros], histogram.counts])
    edges = np.arange(counts.size + 1) * histogram.width
    return _ask_onnxruntime("percentile", counts, edges, percentile=percentile)


def _entropy(histogram: Histogram) -> float:
    """Both signs get the counts of |x|, as the range is symmetric whatever the signs were. Zeros are left out: they are
    exact in every range, and a tensor behind a ReLU would be judged by them alone.
    """
    used = int(np.flatnonzero(histogram.counts)[-1]) + 1
    joined = -(-used // _ENTROPY_BINS)
    fine = np.zeros(_ENTROPY_BINS * joined, np.int64)
    fine[:used] = histogram.counts[:used]
    half = fine.reshape(-1, joined).sum(axis=1)
    edges = np.arange(-half.size, half.size + 1) * (histogram.width * joined)
    return _ask_onnxruntime("entropy", np.concatenate([half[::-1], half]), edges)


def _ask_onnxruntime(method: str, counts: NDArray[np.int64], edges: NDArray[Any], percentile: float = 100.0) -> float:
    """The upper end of the range that ONNX Runtime's calibration chooses for a finished histogram."""
    try:
        from onnxruntime.quantization.calibrate import HistogramCollector
    except ImportError as error:
        raise MissingError(
            f"ONNX Runtime's calibration does not load ({error}); pip install '.[export]' in the clone, or choose the "
            "method minmax or mse"
        ) from error
    collector: Any = HistogramCollector(
        method=method,
        symmetric=True,
        num_bins=counts.size,
        num_quantized_bins=_ENTROPY_LEVELS,
        percentile=percentile,
        scenario="same",
    )
    end = edges[-1]
    collector.histogram_dict["x"] = (counts, edges, -end, end, end)
    with redirect_stdout(io.StringIO()):  # it tells what it does
        return float(collector.compute_collection_result()["x"][1])


def _least_square_error(histogram: Histogram) -> float:
    """Try every bin's upper edge, and the largest value itself.

    Within a bin the values are taken as spread evenly, so that rounding is integrated exactly, however the levels lie
    to the bins. The values of the last bin are taken as the largest one: where a tensor has few different values, as a
    one-hot map has, that one shall stay exact. Zeros are exact in every range.
    """
    last = int(np.flatnonzero(histogram.counts)[-1])
    counts, clipped = histogram.counts[:last].astype(np.float64), float(histogram.counts[last])
    largest = histogram.largest / histogram.width  # from here on the unit is one bin
    ends = np.append(np.arange(1.0, last + 1), largest)
    start = np.arange(last)
    # sums over the whole bins below an edge: of 1, x and x²
    ones, firsts, seconds = (
        np.concatenate([[0.0], np.cumsum(counts * moment)])
        for moment in (np.ones(last), start + 1 / 2, start * (start + 1) + 1 / 3)
    )
    step = ends / INT8_MAX
    level = np.arange(INT8_MAX)
    between = np.minimum(np.outer(step, level + 0.5), last)  # [ends, 127]: where rounding goes over to the next level
    whole = between.astype(np.intp)
    inside = np.append(counts, 0.0)[whole]
    ones_below = ones[whole] + inside * (between - whole)
    firsts_below = firsts[whole] + inside * (between - whole) * (between + whole) / 2
    # Σ (x - level * step)², summed by parts over the levels 0..127, the last of which takes all that lies above
    error = (
        seconds[-1]
        - 2 * step * (INT8_MAX * firsts[-1] - firsts_below.sum(axis=1))
        + step**2 * (INT8_MAX**2 * ones[-1] - ones_below @ (2.0 * level + 1))
        + clipped * (largest - ends) ** 2
    )
    least = ends.size - 1 - int(np.argmin(error[::-1]))  # of equal ones the widest
    return float(ends[least] * histogram.width)
