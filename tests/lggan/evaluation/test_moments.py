"""Streamed mean and covariance against numpy on all vectors at once."""

from __future__ import annotations

import numpy as np
import pytest

from lggan.evaluation.moments import Moments


@pytest.mark.parametrize("batch", [1, 7, 300])
def test_stream_equals_numpy(batch: int) -> None:
    vectors = np.random.default_rng(0).standard_normal((700, 9)) * np.arange(1, 10) + 1e4  # a mean far from zero
    moments = Moments()
    for first in range(0, len(vectors), batch):
        moments.add(vectors[first : first + batch])
    np.testing.assert_allclose(moments.mean(), vectors.mean(axis=0), rtol=1e-13)
    np.testing.assert_allclose(moments.covariance(), np.cov(vectors, rowvar=False), rtol=1e-9, atol=1e-11)
    assert moments.count == 700


def test_reading_in_between_changes_nothing() -> None:
    vectors = np.random.default_rng(1).standard_normal((20, 3))
    moments = Moments()
    for row in vectors:
        moments.add(row[None])
        moments.mean()
    np.testing.assert_allclose(moments.covariance(), np.cov(vectors, rowvar=False), rtol=1e-12)


def test_sums_are_float64_whatever_comes_in() -> None:
    vectors = (np.random.default_rng(2).standard_normal((1000, 2)) + 3000).astype(np.float32)
    moments = Moments()
    moments.add(vectors)
    np.testing.assert_allclose(moments.covariance(), np.cov(vectors.astype(np.float64), rowvar=False), rtol=1e-10)


def test_what_cannot_be_counted() -> None:
    moments = Moments()
    moments.add(np.zeros((1, 3)))
    with pytest.raises(ValueError, match="two vectors"):
        moments.covariance()
    with pytest.raises(ValueError, match="one D"):
        moments.add(np.zeros((1, 4)))
    with pytest.raises(ValueError, match="one D"):
        moments.add(np.zeros(3))
