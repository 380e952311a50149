"""How long and how carefully to measure."""

from __future__ import annotations

import math
from dataclasses import dataclass

from runtime.contract.errors import UsageError
from runtime.profiler.statistics import PERCENTILES, needed_samples


@dataclass(frozen=True)
class ProfileOptions:
    """Settings of a measurement; all times in seconds.

    Attributes:
        iterations: least number of timed queries per variant (64 carry a p90, 662 a p99).
        seconds: least timed time per variant; a variant is measured until both are reached.
        rounds: into how many turns per variant the work is cut; the variants take turns, so that a machine that
            slows down while it warms up slows all of them down alike.
        warmup_iterations, warmup_seconds: queries before the first round that are not counted; both are reached.
        deadline_seconds: most time that the rounds of all variants may take together, or None. Every variant runs at
            least one query whatever it says.
        timeout_seconds: a variant that gives no sign of life for so long counts as hung.
        strips: label maps whose pictures are kept for the report.
        percentiles: of the latency.
    """

    iterations: int = 64
    seconds: float = 3.0
    rounds: int = 10
    warmup_iterations: int = 3
    warmup_seconds: float = 0.5
    deadline_seconds: float | None = None
    timeout_seconds: float = 120.0
    strips: int = 8
    percentiles: tuple[float, ...] = PERCENTILES

    def check(self) -> None:
        """Raise UsageError for a value that makes no sense, naming it."""
        for name, count, least in (
            ("iterations", self.iterations, 1),
            ("rounds", self.rounds, 1),
            ("warm-up iterations", self.warmup_iterations, 0),
            ("strips", self.strips, 0),
        ):
            if count < least:
                raise UsageError(f"{name} is {count}; it must be at least {least}")
        for name, seconds in (("seconds", self.seconds), ("warm-up seconds", self.warmup_seconds)):
            if not (math.isfinite(seconds) and seconds >= 0):
                raise UsageError(f"{name} is {seconds}; it must be 0 or more")
        for name, limit in (("deadline", self.deadline_seconds), ("timeout", self.timeout_seconds)):
            if limit is not None and not (math.isfinite(limit) and limit > 0):
                raise UsageError(f"the {name} is {limit} s; it must be more than 0")
        for percentile in self.percentiles:
            needed_samples(percentile)
