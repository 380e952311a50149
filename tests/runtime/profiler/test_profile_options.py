"""Settings that make no sense are refused by name."""

from __future__ import annotations

import math
from typing import Any

import pytest

from runtime.contract.errors import UsageError
from runtime.profiler.options import ProfileOptions


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"iterations": 0}, "iterations"),
        ({"rounds": 0}, "rounds"),
        ({"warmup_iterations": -1}, "warm-up iterations"),
        ({"seconds": -1.0}, "seconds"),
        ({"seconds": math.inf}, "seconds"),
        ({"warmup_seconds": math.nan}, "warm-up"),
        ({"deadline_seconds": 0.0}, "deadline"),
        ({"timeout_seconds": math.nan}, "timeout"),
        ({"strips": -1}, "strips"),
        ({"percentiles": (50.0, 100.0)}, "100"),
    ],
)
def test_refused(settings: dict[str, Any], name: str) -> None:
    with pytest.raises(UsageError, match=name):
        ProfileOptions(**settings).check()


def test_defaults_carry_a_p90() -> None:
    options = ProfileOptions()
    options.check()
    assert options.iterations >= 64
