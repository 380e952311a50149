"""What the histogram of a tensor means for INT8, in a few figures."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from calibration.histogram import Histogram
from calibration.ranges import Ranges
from calibration.thresholds import RangeMethod
from runtime.contract.errors import InputError


@dataclass(frozen=True)
class TensorSummary:
    """What one tensor's histogram says of it.

    Attributes:
        tensor: its name.
        values: how many were counted.
        largest: the largest |x|.
        p999: what 99.9 % of |x| do not exceed.
        zero_share: 0..1.
        outlier_bits: log2(largest / p999): the bits of a level that the last thousandth of the values costs all others.
        threshold: where the INT8 range ends; None where `lggan calibrate` would refuse the tensor.
        kept: threshold / largest.
    """

    tensor: str
    values: int
    largest: float
    p999: float
    zero_share: float
    outlier_bits: float
    threshold: float | None
    kept: float | None


def summarise(found: Ranges, name: str, method: RangeMethod, percentile: float) -> TensorSummary:
    """What the ranges say of one tensor. Raises `UsageError` for an impossible percentile."""
    histogram = found.tensors[name]
    try:
        threshold = replace(found, tensors={name: histogram}).thresholds(method, percentile)[name]
    except InputError:  # zero everywhere, or too small: here that is a finding like others
        threshold = None
    return TensorSummary(
        tensor=name,
        values=histogram.total,
        largest=histogram.largest,
        p999=histogram.quantile(0.999),
        zero_share=histogram.zeros / max(histogram.total, 1),
        outlier_bits=outlier_bits(histogram),
        threshold=threshold,
        kept=None if threshold is None else threshold / histogram.largest,
    )


def outlier_bits(histogram: Histogram) -> float:
    """Infinite where the values other than zero are less than a thousandth; 0 where there are none."""
    if histogram.largest == 0:
        return 0.0
    p999 = histogram.quantile(0.999)
    return math.log2(histogram.largest / p999) if p999 else math.inf
