"""The figures of a report as a table of text; the terminal and the page draw it their own way."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.profiler import units
from runtime.profiler.report import ProfileReport, VariantReport


@dataclass(frozen=True)
class Column:
    """Heading, unit (may be empty), and whether the cells are figures to align right."""

    title: str
    unit: str = ""
    numeric: bool = True


@dataclass(frozen=True)
class Table:
    """``rows[i][j]`` belongs to ``columns[j]``; ``notes`` explain what the headings cannot."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]


def report_table(report: ProfileReport) -> Table:
    """One row per variant, in the order they were named."""
    percentiles = report.options.percentiles
    columns = (
        Column("variant", numeric=False),
        Column("backend", numeric=False),
        *(Column(f"p{percentile:g}", "ms") for percentile in percentiles),
        Column("throughput", "1/s"),
        Column("speed", "×"),
        Column("peak memory", "MiB"),
        Column("file", "MiB"),
        Column("PSNR", "dB"),
        Column("SSIM"),
    )
    base = _base(report)
    rows = tuple(_row(variant, base, percentiles) for variant in report.variants)
    return Table(columns, rows, _notes(report, base))


def _base(report: ProfileReport) -> VariantReport:
    """What speeds are relative to: the reference if it was measured, else the first variant."""
    return next((variant for variant in report.variants if variant.quality is None), report.variants[0])


def _row(variant: VariantReport, base: VariantReport, percentiles: tuple[float, ...]) -> tuple[str, ...]:
    cells = []
    for percentile in percentiles:
        entry = variant.latency.percentile(percentile)
        if entry is None or entry.value_ms is None:
            cells.append(f"n<{entry.needed}" if entry else "")
        else:
            cells.append(units.three_digits(entry.value_ms))
    quality = variant.quality
    return (
        variant.name,
        variant.backend,
        *cells,
        units.three_digits(variant.throughput),
        f"{base.latency.median_ms / variant.latency.median_ms:.2f}",
        units.mebibytes(variant.peak_bytes),
        units.mebibytes(variant.file_bytes),
        "reference" if quality is None else units.decibels(quality.psnr_db),
        "reference" if quality is None else units.similarity(quality.ssim),
    )


def _notes(report: ProfileReport, base: VariantReport) -> tuple[str, ...]:
    notes = [
        "Latency: one picture at a time, label map to picture, both in host memory.",
        f"Speed: median latency of {base.name} over the variant's." if len(report.variants) > 1 else "",
        "Peak memory: largest resident host memory of the variant's own process, libraries included.",
        f"PSNR and SSIM: against the pictures of {report.reference.name} on {report.reference.backend}, "
        f"{report.data.count} label map{'s' if report.data.count != 1 else ''}; PSNR of the mean squared error of all."
        if any(variant.quality is not None for variant in report.variants)
        else "",
        "n<...: not shown, because it takes that many samples."
        if any(entry.value_ms is None for variant in report.variants for entry in variant.latency.percentiles)
        else "",
    ]
    return tuple(note for note in notes if note)
