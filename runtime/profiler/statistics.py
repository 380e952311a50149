"""Figures of a set of latencies, and how many samples a figure needs before it may be shown."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from runtime.contract.errors import UsageError

CONFIDENCE = 0.99
PERCENTILES = (50.0, 90.0, 99.0)
_EXACT_PAIRS = 50


@dataclass(frozen=True)
class Percentile:
    """One percentile of a latency.

    Attributes:
        percentile: between 0 and 100, both excluded.
        value_ms: milliseconds, or None where the samples are too few to carry the figure.
        needed: number of samples from which on it is shown.
    """

    percentile: float
    value_ms: float | None
    needed: int

    @property
    def name(self) -> str:
        """``p90`` for 90.0, ``p99.9`` for 99.9."""
        return f"p{self.percentile:g}"


@dataclass(frozen=True)
class LatencyStatistics:
    """Summary of ``count`` latencies, milliseconds; ``std_ms`` is the sample standard deviation (n - 1)."""

    count: int
    mean_ms: float
    std_ms: float
    min_ms: float
    max_ms: float
    median_ms: float
    percentiles: tuple[Percentile, ...]

    @property
    def variation(self) -> float:
        """Coefficient of variation: standard deviation over mean, 0.05 for five percent."""
        return self.std_ms / self.mean_ms if self.mean_ms > 0 else 0.0

    def percentile(self, percentile: float) -> Percentile | None:
        """The entry for ``percentile``, or None where it was not asked for."""
        return next((entry for entry in self.percentiles if entry.percentile == percentile), None)

    @classmethod
    def from_samples(cls, samples_ms: Sequence[float], percentiles: Sequence[float] = PERCENTILES) -> LatencyStatistics:
        """Summarise latencies in milliseconds; the 50th percentile is the median, the others are `nearest_rank`.

        Raises:
            UsageError: no samples, a sample that is negative or not finite, or a percentile outside of (0, 100).
        """
        ordered = sorted(float(sample) for sample in samples_ms)
        if not ordered:
            raise UsageError("there is no latency to summarise; measure at least one query")
        if not all(math.isfinite(sample) and sample >= 0 for sample in ordered):
            raise UsageError("a latency is negative or not a number; measure again with a monotonic clock")
        count = len(ordered)
        mean = math.fsum(ordered) / count
        squares = math.fsum((sample - mean) ** 2 for sample in ordered)
        entries = []
        for percentile in percentiles:
            needed = needed_samples(percentile)
            value = median(ordered) if percentile == 50 else nearest_rank(ordered, percentile)
            entries.append(Percentile(percentile, value if count >= needed else None, needed))
        return cls(
            count=count,
            mean_ms=mean,
            std_ms=math.sqrt(squares / (count - 1)) if count > 1 else 0.0,
            min_ms=ordered[0],
            max_ms=ordered[-1],
            median_ms=median(ordered),
            percentiles=tuple(entries),
        )


def median(samples: Sequence[float]) -> float:
    """The middle sample, or the mean of the two in the middle."""
    ordered = sorted(samples)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def nearest_rank(ordered: Sequence[float], percentile: float) -> float:
    """Percentile of ascending samples as trtexec defines it: without the slowest floor(n * (1 - p / 100)), the slowest.

    No interpolation, so the figure is always a latency that happened. The share is computed exactly: in floating point
    ``(1 - 0.9) * 10`` falls below 1 and would move the rank.
    """
    dropped = math.floor(len(ordered) * (100 - Fraction(str(percentile))) / 100)
    return ordered[max(len(ordered) - 1 - dropped, 0)]


def needed_samples(percentile: float) -> int:
    """Samples that a percentile needs: the smallest n with P(Binomial(n, q) >= 2) >= 99 %.

    q is the smaller share that the percentile cuts off, min(p, 100 - p) / 100. With 99 % confidence at least two
    samples then lie beyond the true percentile, so that the figure is not just the extreme of the run. The closed form
    ``(1 - q)**n + n * q * (1 - q)**(n - 1) <= 0.01`` gives 11 for p50, 64 for p90, 130 for p95 and 662 for p99, the
    counts of MLPerf's early stopping.

    Raises:
        UsageError: the percentile is not between 0 and 100.
    """
    if not 0 < percentile < 100:
        raise UsageError(f"{percentile:g} is not a percentile; choose one between 0 and 100, such as 90")
    share = min(percentile, 100 - percentile) / 100

    def fewer_than_two(count: int) -> float:
        inside = math.log1p(-share)
        return math.exp(count * inside) + count * share * math.exp((count - 1) * inside)

    high = 2
    while fewer_than_two(high) > 1 - CONFIDENCE:
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        if fewer_than_two(middle) > 1 - CONFIDENCE:
            low = middle
        else:
            high = middle
    return high


def signed_rank_test(first: Sequence[float], second: Sequence[float]) -> float:
    """Two-sided p-value of Wilcoxon's signed-rank test: how surprising the pairs' differences are if both are alike.

    Pairs are taken in order as far as both reach; equal ones are dropped, tied differences share their mean rank. The
    distribution is counted exactly up to 50 pairs and taken as normal above. Without any pair left the answer is 1.
    """
    differences = sorted((a - b for a, b in zip(first, second, strict=False) if a != b), key=abs)
    count = len(differences)
    if count == 0:
        return 1.0
    sizes = [abs(difference) for difference in differences]
    ranks = [bisect_left(sizes, size) + 1 + bisect_right(sizes, size) for size in sizes]  # doubled: ties stay whole
    total = sum(ranks)
    negative = sum(rank for rank, difference in zip(ranks, differences, strict=True) if difference < 0)
    smaller = min(negative, total - negative)
    if count > _EXACT_PAIRS:
        deviation = (total / 2 - smaller) / math.sqrt(sum(rank * rank for rank in ranks) / 4)
        return math.erfc(deviation / math.sqrt(2))
    ways = [1] + [0] * total  # ways[w]: subsets of the ranks with sum w
    for rank in ranks:
        for weight in range(total, rank - 1, -1):
            ways[weight] += ways[weight - rank]
    return min(1.0, 2 * sum(ways[: smaller + 1]) / 2**count)
