"""Histograms of |x|: against counting one by one, and that their sum does not depend on the order."""

from __future__ import annotations

import json
import math
import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from calibration.histogram import BINS, Histogram

FINITE = st.floats(width=32, allow_nan=False, allow_infinity=False)
FLOATS = hnp.arrays(np.float32, hnp.array_shapes(max_dims=2, max_side=20), elements=FINITE)


def counted_one_by_one(values: np.ndarray, exponent: int) -> tuple[list[int], int]:
    """Counts per bin and number of zeros, in Python's integers and fractions of powers of two."""
    counts, zeros = [0] * BINS, 0
    for value in np.abs(values.reshape(-1)).tolist():
        if value == 0:
            zeros += 1
        else:
            counts[max(math.ceil(math.ldexp(value, 11 - exponent)), 1) - 1] += 1
    return counts, zeros


@settings(max_examples=80, deadline=None)
@given(FLOATS)
def test_counts_are_those_of_counting_one_by_one(values: np.ndarray) -> None:
    found = Histogram.of(values)
    assert found.largest == float(np.abs(values).max())
    assert found.largest <= 2.0**found.exponent
    assert found.exponent == -100 or found.largest > 2.0 ** (found.exponent - 1)
    counts, zeros = counted_one_by_one(values, found.exponent)
    assert (found.counts.tolist(), found.zeros, found.total) == (counts, zeros, values.size)


@settings(max_examples=80, deadline=None)
@given(FLOATS, FLOATS, FLOATS)
def test_sums_are_exact_in_any_order(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> None:
    x, y, z = Histogram.of(a), Histogram.of(b), Histogram.of(c)
    together = Histogram.of(np.concatenate([a.reshape(-1), b.reshape(-1), c.reshape(-1)]))
    assert x.merged(y).merged(z) == together
    assert z.merged(x.merged(y)) == together
    assert y.merged(z).merged(x) == together


@settings(max_examples=50, deadline=None)
@given(FLOATS)
def test_json_brings_back_the_same(values: np.ndarray) -> None:
    found = Histogram.of(values)
    assert Histogram.from_json(json.loads(json.dumps(found.to_json(), allow_nan=False))) == found


def test_many_chunks_give_what_one_array_gives() -> None:
    values = np.random.default_rng(0).standard_t(3, 300_003).astype(np.float32).reshape(3, -1)[:, ::2]
    found = Histogram.of(values)
    scaled = np.ceil(np.abs(values.astype(np.float64)) / 2.0**found.exponent * BINS).astype(int)
    np.testing.assert_array_equal(found.counts, np.bincount(scaled.reshape(-1), minlength=BINS + 1)[1:])
    assert found.total == values.size


@pytest.mark.parametrize(
    ("largest", "exponent"),
    [
        (1.0, 0),
        (1.0000001, 1),
        (0.5, -1),
        (0.75, 0),
        (3.4028235e38, 128),
        (1e-45, -100),
        (2.0**-100, -100),
        (0.0, -100),
    ],
)
def test_exponents(largest: float, exponent: int) -> None:
    found = Histogram.of(np.array([largest, -largest / 2], np.float32))
    assert (found.largest, found.exponent) == (float(np.float32(largest)), exponent)


def test_values_that_underflow_beside_large_ones_are_not_zeros() -> None:
    found = Histogram.of(np.array([1e-45, 0.0, 3e38], np.float32))
    assert (found.zeros, int(found.counts[0])) == (1, 1)


def test_ones_and_zeros() -> None:
    found = Histogram.of(np.array([[0, 1, 0], [1, 0, -0.0]], np.float32))
    assert (found.zeros, int(found.counts[-1]), found.exponent, found.total) == (4, 2, 0, 6)
    assert found.to_json()["counts"] == "0*2047 2"
    assert found.to_json()["zero_share"] == 0.666667


def test_zeros_and_nothing_have_a_form_too() -> None:
    zeros = Histogram.of(np.zeros((2, 3), np.float32))
    assert (zeros.largest, zeros.zeros, zeros.exponent, zeros.quantile(0.999)) == (0.0, 6, -100, 0.0)
    some = Histogram.of(np.array([3.0, 0.0], np.float32))
    assert some.merged(zeros) == Histogram.of(np.array([3] + [0] * 7, np.float32))
    assert some.merged(Histogram.empty()) == some
    assert Histogram.of(np.zeros((0, 3), np.float32)) == Histogram.empty()


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 0.99, 0.999, 1.0])
def test_quantiles_are_those_of_the_sorted_values(share: float) -> None:
    values = np.maximum(np.random.default_rng(1).standard_normal(20_000), 0).astype(np.float32)
    found = Histogram.of(values)
    exact = float(np.quantile(np.abs(values), share, method="inverted_cdf"))
    assert exact <= found.quantile(share) <= min(exact + found.width, found.largest)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.array([1, np.nan, np.nan], np.float32), "2 NaN and 0 infinite values of 3"),
        (np.array([1, -np.inf], np.float32), "0 NaN and 1 infinite values of 2"),
        (np.array([np.inf, np.nan], np.float32), "1 NaN and 1 infinite values of 2"),
        (np.array([1.0]), "float64 values instead of float32"),
        (np.array([1], np.uint8), "uint8 values"),
    ],
)
def test_values_without_a_histogram(values: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Histogram.of(values)


def test_memory_does_not_grow_with_the_tensor() -> None:
    values = np.ones(4_000_000, np.float32)
    tracemalloc.start()
    Histogram.of(values)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_000_000


def change(**fields: Any) -> dict[str, Any]:
    return {**Histogram.of(np.array([0, 1, 1, 0.25], np.float32)).to_json(), **fields}


@pytest.mark.parametrize(
    "raw",
    [
        None,
        [],
        {},
        change(counts="1"),
        change(counts="0*511 1 0*1535 -2"),
        change(counts="0*511 1 0*1535 2.0"),
        change(counts="0*511 1 0*9999 2"),
        change(counts="0*511 1 0*1535 99999999999999999999"),
        change(counts=f"0*511 {9 * 10**18} 0*1535 2"),
        change(counts="0*511 1 0*1535  2"),
        change(counts="0*511 1 0*1534 0 2"),  # the same counts in another form
        change(counts="0*511 1 0*1534 2 0"),  # nothing where the largest value is
        change(counts=[2]),
        change(largest=1),
        change(largest=-1.0),
        change(largest=math.nan),
        change(largest=math.inf),
        change(largest=1e300),
        change(largest=0.25),
        change(largest=0.0),
        change(exponent=1),
        change(exponent=0.0),
        change(exponent=False),
        change(zeros=-1),
        change(zeros=2),
        change(zeros=True),
        change(total=5),
        change(p99=0.5),
        change(zero_share=0),
        change(more=1),
        {key: value for key, value in change().items() if key != "p99.9"},
    ],
)
def test_damaged_json_is_refused(raw: object) -> None:
    assert Histogram.from_json(change()).total == 4
    with pytest.raises(ValueError, match=r"."):
        Histogram.from_json(raw)


def test_it_cannot_be_changed() -> None:
    found = Histogram.of(np.ones(3, np.float32))
    with pytest.raises(ValueError, match="read-only"):
        found.counts[0] = 1
    assert found != "something else"
