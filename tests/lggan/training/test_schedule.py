"""The learning rate over the epochs."""

from __future__ import annotations

from itertools import pairwise

import pytest

from lggan.training.schedule import early_rate_factor, rate_factor


def test_published_schedule() -> None:
    """100 epochs at the full rate, then 100 in which it falls by one hundredth per epoch (epochs from 0 here)."""
    factors = [rate_factor(epoch, 100, 100) for epoch in range(200)]
    assert factors[:101] == [1.0] * 101
    assert factors[101] == pytest.approx(0.99)
    assert factors[150] == pytest.approx(0.5)
    assert factors[199] == pytest.approx(0.01)
    assert all(a >= b for a, b in pairwise(factors))
    assert min(factors) > 0


def test_without_decay() -> None:
    assert [rate_factor(epoch, 3, 0) for epoch in (0, 2, 3, 10)] == [1.0] * 4


def test_decay_from_the_beginning() -> None:
    assert [rate_factor(epoch, 0, 4) for epoch in range(4)] == [1.0, 0.75, 0.5, 0.25]


def test_a_prolonged_run_keeps_the_last_rate() -> None:
    """Steps beyond the schedule must not be trained at a rate of zero, in silence."""
    assert rate_factor(4, 0, 4) == rate_factor(400, 0, 4) == 0.25


def test_published_cross_view_schedule() -> None:
    """20 and 15 epochs: the rate falls from the epoch before the twentieth is over on, by a sixteenth per epoch."""
    factors = [early_rate_factor(epoch, 20, 15) for epoch in range(35)]
    assert factors[:19] == [1.0] * 19
    assert factors[19:] == pytest.approx([1 - step / 16 for step in range(1, 17)])
    assert factors[-1] == 0


def test_cross_view_without_decay_and_beyond() -> None:
    assert [early_rate_factor(epoch, 2, 0) for epoch in (0, 1, 5)] == [1.0] * 3
    assert early_rate_factor(99, 2, 2) == 0
