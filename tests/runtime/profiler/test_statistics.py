"""Latency statistics against plain definitions and exact binomials."""

from __future__ import annotations

import math
import random
import statistics as standard
from fractions import Fraction

import pytest

from runtime.contract.errors import UsageError
from runtime.profiler.statistics import (
    LatencyStatistics,
    median,
    nearest_rank,
    needed_samples,
    signed_rank_test,
)


@pytest.mark.parametrize(("percentile", "needed"), [(50, 11), (90, 64), (95, 130), (99, 662), (10, 64)])
def test_needed_samples_are_the_known_ones(percentile: float, needed: int) -> None:
    assert needed_samples(percentile) == needed


@pytest.mark.parametrize("percentile", [50, 75, 90, 97.5, 99])
def test_needed_samples_is_the_smallest_count_by_exact_binomials(percentile: float) -> None:
    share = 1 - Fraction(str(percentile)) / 100

    def fewer_than_two(count: int) -> Fraction:
        return (1 - share) ** count + count * share * (1 - share) ** (count - 1)

    needed = needed_samples(percentile)
    assert fewer_than_two(needed) <= Fraction(1, 100) < fewer_than_two(needed - 1)


@pytest.mark.parametrize("percentile", [0, 100, -1, 101, math.nan])
def test_needed_samples_refuses_what_is_no_percentile(percentile: float) -> None:
    with pytest.raises(UsageError, match="percentile"):
        needed_samples(percentile)


@pytest.mark.parametrize("count", [64, 99, 100, 663, 1000])
@pytest.mark.parametrize("percentile", [90, 95, 99])
def test_percentile_drops_the_slowest_share(count: int, percentile: int) -> None:
    ordered = [float(number) for number in range(count)]
    dropped = count * (100 - percentile) // 100  # exact, in whole numbers
    assert nearest_rank(ordered, percentile) == ordered[count - 1 - dropped]


def test_percentile_does_not_fall_into_the_trap_of_floating_point() -> None:
    assert int((1 - 90 / 100) * 10) == 0  # what plain doubles would drop
    assert nearest_rank([float(n) for n in range(10)], 90) == 8.0


def test_statistics_agree_with_the_standard_library() -> None:
    generator = random.Random(3)
    samples = [generator.gauss(12, 1) for _ in range(101)]
    figures = LatencyStatistics.from_samples(samples)
    assert figures.count == 101
    assert figures.mean_ms == pytest.approx(standard.mean(samples), rel=1e-12)
    assert figures.std_ms == pytest.approx(standard.stdev(samples), rel=1e-12)
    assert figures.median_ms == standard.median(samples)
    assert (figures.min_ms, figures.max_ms) == (min(samples), max(samples))
    assert figures.variation == pytest.approx(standard.stdev(samples) / standard.mean(samples), rel=1e-12)


def test_percentiles_are_refused_one_sample_below_what_they_need() -> None:
    below = LatencyStatistics.from_samples([1.0] * 63).percentile(90.0)
    enough = LatencyStatistics.from_samples([1.0] * 64).percentile(90.0)
    assert below is not None
    assert below.value_ms is None
    assert below.needed == 64
    assert enough is not None
    assert enough.value_ms == 1.0


def test_fiftieth_percentile_is_the_median() -> None:
    samples = [1.0, 2.0, 4.0, 8.0] * 4
    figures = LatencyStatistics.from_samples(samples)
    entry = figures.percentile(50.0)
    assert entry is not None
    assert entry.value_ms == median(samples) == 3.0
    assert entry.name == "p50"
    assert figures.percentile(12.0) is None


@pytest.mark.parametrize("samples", [[], [1.0, math.nan], [1.0, math.inf], [-0.1]])
def test_impossible_samples_are_refused(samples: list[float]) -> None:
    with pytest.raises(UsageError):
        LatencyStatistics.from_samples(samples)


def test_one_sample_has_no_spread() -> None:
    figures = LatencyStatistics.from_samples([5.0])
    assert (figures.std_ms, figures.median_ms, figures.variation) == (0.0, 5.0, 0.0)


@pytest.mark.parametrize("pairs", [3, 10, 30])
def test_signed_rank_test_agrees_with_scipy(pairs: int) -> None:
    stats = pytest.importorskip("scipy.stats")
    generator = random.Random(pairs)
    first = [generator.gauss(10, 1) for _ in range(pairs)]
    second = [value + generator.gauss(0.4, 1) for value in first]
    expected = stats.wilcoxon(first, second, method="exact").pvalue
    assert signed_rank_test(first, second) == pytest.approx(expected, rel=1e-9)


def test_signed_rank_test_of_many_pairs_agrees_with_scipy() -> None:
    stats = pytest.importorskip("scipy.stats")
    generator = random.Random(9)
    first = [generator.gauss(10, 1) for _ in range(80)]
    second = [value + generator.gauss(0.2, 1) for value in first]
    expected = stats.wilcoxon(first, second, method="approx", correction=False).pvalue
    assert signed_rank_test(first, second) == pytest.approx(expected, rel=1e-9)


def test_signed_rank_test_of_ties_by_counting_all_signs() -> None:
    differences = [1.0, -1.0, 2.0, 2.0, 2.0, -3.0]
    ranks = [1.5, 1.5, 4.0, 4.0, 4.0, 6.0]
    negative = 1.5 + 6.0
    extreme = sum(
        sum(rank for bit, rank in enumerate(ranks) if signs >> bit & 1) <= min(negative, 21 - negative)
        for signs in range(64)
    )
    assert signed_rank_test(differences, [0.0] * 6) == pytest.approx(2 * extreme / 64)


def test_signed_rank_test_without_differences_is_not_surprised() -> None:
    assert signed_rank_test([1.0, 2.0], [1.0, 2.0]) == 1.0
    assert signed_rank_test([], []) == 1.0
