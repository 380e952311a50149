"""Which variants are worth having: no other is both faster and closer to the reference."""

from __future__ import annotations

from collections.abc import Sequence

from runtime.profiler.report import VariantReport


def pareto_front(variants: Sequence[VariantReport]) -> list[int]:
    """Indices of the variants that no other one beats, fastest first.

    One variant beats another when its median latency and its PSNR are at least as good and one of them is better.
    """
    front = [
        index
        for index, variant in enumerate(variants)
        if not any(_beats(other, variant) for other in variants if other is not variant)
    ]
    return sorted(front, key=lambda index: (variants[index].latency.median_ms, -variants[index].closeness))


def _beats(first: VariantReport, second: VariantReport) -> bool:
    faster = first.latency.median_ms - second.latency.median_ms
    at_least = faster <= 0 and first.closeness >= second.closeness
    return at_least and (faster < 0 or first.closeness > second.closeness)
