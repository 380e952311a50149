"""What a profile says, in words."""

from __future__ import annotations

import math
from collections.abc import Sequence

from runtime.profiler import units
from runtime.profiler.pareto import pareto_front
from runtime.profiler.report import ReferenceInfo, VariantReport
from runtime.profiler.statistics import signed_rank_test

SURPRISING = 0.05
MOST_CLOSER = 2


def summarize(variants: Sequence[VariantReport], reference: ReferenceInfo) -> tuple[str, ...]:
    """One to four sentences: who is the fastest, how close its pictures are, and who is faster among the closer ones.

    "Faster" is said only where the rounds bear it out: a signed-rank test over the medians of the rounds at 5 %.
    """
    if len(variants) == 1:
        return _alone(variants[0], reference)
    by_speed = sorted(variants, key=lambda variant: variant.latency.median_ms)
    tied = [variant for variant in by_speed if variant is by_speed[0] or not _distinct(by_speed[0], variant)]
    tied.sort(key=lambda variant: -variant.closeness)  # among equally fast ones the closest counts
    best = tied[0]
    closer = [variants[index] for index in pareto_front(variants) if variants[index].closeness > best.closeness]
    sentences = [_fastest(tied, by_speed), _pictures(best, reference)]
    for variant in closer[:MOST_CLOSER]:
        if variant.quality is None:
            sentences.append(f"{variant.name}, the reference itself, takes {_median(variant)}.")
        else:
            sentences.append(f"Closer to it, but slower: {variant.name}, {_median(variant)}, {_closeness(variant)}.")
    return tuple(sentences)


def _fastest(tied: Sequence[VariantReport], by_speed: Sequence[VariantReport]) -> str:
    if len(tied) > 1:
        names = " and ".join([", ".join(variant.name for variant in tied[:-1]), tied[-1].name])
        medians = " and ".join(units.three_digits(variant.latency.median_ms) for variant in tied)
        backends = ", ".join(sorted({variant.backend for variant in tied}))
        return f"{names} are the fastest, and this run cannot tell them apart: medians of {medians} ms on {backends}."
    best = tied[0]
    other = next((variant for variant in by_speed if variant.quality is None and variant is not best), by_speed[-1])
    ratio = other.latency.median_ms / best.latency.median_ms
    return f"{best.name} is the fastest: {_median(best)}, {ratio:.2f} times the speed of {other.name}."


def _alone(variant: VariantReport, reference: ReferenceInfo) -> tuple[str, ...]:
    figures = (
        f"{variant.name} takes {_median(variant)} per picture: {units.three_digits(variant.throughput)} pictures "
        f"per second, {units.mebibytes(variant.peak_bytes)} MiB of host memory at its peak."
    )
    if variant.quality is None:
        return (figures, "There is no second variant to compare its pictures with.")
    return figures, _pictures(variant, reference)


def _pictures(variant: VariantReport, reference: ReferenceInfo) -> str:
    quality = variant.quality
    if quality is None:
        return f"{variant.name} is also the reference for the pictures."
    number = f"{quality.pictures} picture{'s' if quality.pictures != 1 else ''}"
    if not math.isfinite(quality.psnr_db):
        return f"The pictures of {variant.name} are identical to those of {reference.name} ({number}, every byte)."
    worst = f"; the worst has {units.decibels(quality.worst_psnr_db)} dB" if quality.pictures > 1 else ""
    return f"Against {reference.name} the pictures of {variant.name} have {_closeness(variant)} ({number}{worst})."


def _closeness(variant: VariantReport) -> str:
    return "the reference" if variant.quality is None else units.closeness(variant.quality)


def _median(variant: VariantReport) -> str:
    return f"a median of {units.three_digits(variant.latency.median_ms)} ms on {variant.backend}"


def _distinct(first: VariantReport, second: VariantReport) -> bool:
    return signed_rank_test(first.round_medians_ms, second.round_medians_ms) <= SURPRISING
