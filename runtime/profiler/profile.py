"""The verb: measure variants of one model side by side."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from runtime.contract.card import ClassInfo
from runtime.contract.errors import InputError, UsageError
from runtime.contract.files import sha256_of
from runtime.contract.labels import colorize
from runtime.contract.progress import Progress, SilentProgress
from runtime.profiler.diagnosis import diagnose
from runtime.profiler.machine import MachineInfo
from runtime.profiler.measure import Timing, measure, warm_up
from runtime.profiler.options import ProfileOptions
from runtime.profiler.process import VariantProcess
from runtime.profiler.quality import PictureQuality, QualitySummary, compare_pictures
from runtime.profiler.report import DataInfo, PictureStrip, ProfileReport, ReferenceInfo, VariantReport
from runtime.profiler.statistics import LatencyStatistics
from runtime.profiler.summary import summarize
from runtime.profiler.text import printable
from runtime.profiler.variant import Variant
from runtime.profiler.worker import LabelMap, Opened

TIMED_MAPS = 32
_PATH_LIMIT = 400


def profile(
    variants: Sequence[Variant],
    label_maps: Sequence[LabelMap],
    reference: Variant | None,
    options: ProfileOptions,
    classes: Sequence[ClassInfo],
    progress: Progress | None = None,
) -> ProfileReport:
    """Measure latency, throughput, memory and closeness to the reference of every variant.

    Each variant lives in a fresh process. First all make the picture of every label map, which is compared with the
    reference's; then they warm up and take turns in timed rounds that cycle through the first 32 label maps.

    Args:
        variants: at least one; their names, made printable, must differ.
        label_maps: at least one.
        reference: whose pictures count as right, often the FP32 checkpoint; None takes the first variant. It is timed
            only if it is among ``variants``.
        options: how long and how carefully.
        classes: for the colours of the label maps in the report.
        progress: where to tell.

    Raises:
        UsageError: no variants, no label maps, equal names, options that make no sense.
        InputError: a file is absent, or pictures of different sizes come out of the variants.
        LgganError: a variant failed; its error class is kept, its name leads the message.
    """
    progress = progress if progress is not None else SilentProgress()
    options.check()
    _check_variants(variants, reference)
    maps = tuple(entry._replace(name=printable(entry.name)) for entry in label_maps)
    data = _describe_data(maps)
    files = [_describe_file(variant) for variant in variants]
    machine = MachineInfo.here()  # before the work, for its load
    reference = variants[0] if reference is None else reference
    with ExitStack() as stack:
        bench = _open_all(stack, variants, reference, maps, options, progress)
        pictures = _compare(bench, maps, options.strips, classes, progress)
        if bench.extra is not None:
            bench.extra.close()  # its memory is not needed while the others are timed
        warm_up(bench.processes, options, progress)
        timings = measure(bench.processes, options, progress)
        peaks = [process.peak_memory() for process in bench.processes]
    reports = tuple(
        _variant_report(variant, files[i], bench.opened[i], timings[i], peaks[i], pictures.qualities[i], options)
        for i, variant in enumerate(variants)
    )
    about_reference = ReferenceInfo(
        name=printable(reference.name),
        path=printable(str(reference.path), _PATH_LIMIT),
        kind=reference.kind.value,
        backend=printable(bench.reference_backend),
        measured=bench.reference_index is not None,
    )
    return ProfileReport(
        machine=machine,
        options=options,
        data=data,
        reference=about_reference,
        variants=reports,
        diagnoses=diagnose(reports, timings, machine, data),
        summary=summarize(reports, about_reference),
        strips=tuple(pictures.strips),
    )


@dataclass
class _Bench:
    """The open processes, and who of them makes the reference pictures."""

    processes: list[VariantProcess]
    opened: list[Opened]
    reference_process: VariantProcess
    reference_backend: str
    reference_index: int | None
    extra: ExitStack | None


@dataclass
class _Pictures:
    """Per variant its qualities (empty for the reference), and the strips to keep."""

    qualities: list[list[PictureQuality]]
    strips: list[PictureStrip] = field(default_factory=list)


def _open_all(
    stack: ExitStack,
    variants: Sequence[Variant],
    reference: Variant,
    maps: tuple[LabelMap, ...],
    options: ProfileOptions,
    progress: Progress,
) -> _Bench:
    index = next((i for i, variant in enumerate(variants) if variant == reference), None)
    extra = stack.enter_context(ExitStack()) if index is None else None
    processes: list[VariantProcess] = []
    opened: list[Opened] = []
    with progress.task("open", len(variants) + (index is None)) as task:
        for variant in variants:
            process = VariantProcess(variant, maps[:TIMED_MAPS], options.timeout_seconds)
            processes.append(stack.enter_context(process))
            opened.append(process.open())
            task.advance(note=process.name)
        if extra is None:
            assert index is not None
            return _Bench(processes, opened, processes[index], opened[index].backend, index, None)
        process = extra.enter_context(VariantProcess(reference, maps[:1], options.timeout_seconds))
        backend = process.open().backend
        task.advance(note=process.name)
    return _Bench(processes, opened, process, backend, None, extra)


def _compare(
    bench: _Bench, maps: Sequence[LabelMap], strips: int, classes: Sequence[ClassInfo], progress: Progress
) -> _Pictures:
    """Every variant's picture of every label map against the reference's; only the strips' pixels are kept."""
    found = _Pictures([[] for _ in bench.processes])
    with progress.task("compare pictures", len(maps) * len(bench.processes)) as task:
        for number, label_map in enumerate(maps):
            expected = bench.reference_process.picture(label_map)
            pictures: list[NDArray[np.uint8]] = []
            qualities: list[PictureQuality | None] = []
            for index, process in enumerate(bench.processes):
                if index == bench.reference_index:
                    pictures.append(expected)
                    qualities.append(None)
                else:
                    picture = process.picture(label_map)
                    quality = _quality(expected, picture, process.name, label_map.name)
                    found.qualities[index].append(quality)
                    pictures.append(picture)
                    qualities.append(quality)
                task.advance(note=process.name)
            if number < strips:
                shown = _shown_input(label_map, classes)
                found.strips.append(PictureStrip(label_map.name, shown, expected, tuple(pictures), tuple(qualities)))
    return found


def _shown_input(label_map: LabelMap, classes: Sequence[ClassInfo]) -> NDArray[np.uint8]:
    """The label map in colours, [H, W, 3], to the right of the source photo where there is one, [H, 2 W, 3]."""
    colors = colorize(label_map.label, classes)
    return colors if label_map.source is None else np.concatenate([label_map.source, colors], axis=1)


def _quality(expected: NDArray[np.uint8], picture: NDArray[np.uint8], variant: str, label_map: str) -> PictureQuality:
    try:
        return compare_pictures(expected, picture)
    except InputError as error:
        raise InputError(f"variant '{variant}', label map {label_map}: {error}") from error


def _variant_report(
    variant: Variant,
    file: tuple[int, str],
    opened: Opened,
    timing: Timing,
    peak_bytes: int,
    qualities: Sequence[PictureQuality],
    options: ProfileOptions,
) -> VariantReport:
    return VariantReport(
        name=printable(variant.name),
        path=printable(str(variant.path), _PATH_LIMIT),
        kind=variant.kind.value,
        backend=printable(opened.backend),
        precision=opened.precision and printable(opened.precision),
        threads=opened.threads,
        file_bytes=file[0],
        file_sha256=file[1],
        open_seconds=opened.seconds,
        latency=LatencyStatistics.from_samples(timing.samples_ms, options.percentiles),
        throughput=timing.throughput,
        baseline_bytes=opened.baseline_bytes,
        peak_bytes=peak_bytes,
        quality=QualitySummary.of(qualities) if qualities else None,
        round_medians_ms=timing.round_medians_ms,
        samples_ms=timing.samples_ms,
    )


def _check_variants(variants: Sequence[Variant], reference: Variant | None) -> None:
    if not variants:
        raise UsageError("there is nothing to profile; name at least one model")
    everyone = list(variants)
    if reference is not None and reference not in everyone:
        everyone.append(reference)
    names = [printable(variant.name) for variant in everyone]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"{names.count(name)} variants are called '{name}'; give each a name of its own")


def _describe_file(variant: Variant) -> tuple[int, str]:
    """Size in bytes and SHA-256."""
    path = Path(variant.path)
    try:
        return path.stat().st_size, sha256_of(path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"variant '{printable(variant.name)}': cannot read {path} ({reason})") from error


def _describe_data(maps: Sequence[LabelMap]) -> DataInfo:
    if not maps:
        raise UsageError("there is no label map to profile with; name a folder that has some")
    digest = hashlib.sha256()
    sizes: dict[tuple[int, int], None] = {}
    for item in maps:
        for plane in (item.label, item.instance):
            if plane is not None and (plane.ndim != 2 or plane.dtype.kind not in "iu"):
                raise InputError(f"label map {item.name} is {plane.dtype} {list(plane.shape)}; expected whole [H, W]")
        height, width = item.label.shape
        sizes[(width, height)] = None
        digest.update(f"{item.name}\0{item.label.dtype.str}\0{height}x{width}\0".encode())
        digest.update(np.ascontiguousarray(item.label).tobytes())
        for extra in (item.instance, item.source):
            if extra is not None:
                digest.update(f"\0{extra.dtype.str}\0".encode())
                digest.update(np.ascontiguousarray(extra).tobytes())
    return DataInfo(len(maps), digest.hexdigest(), tuple(sizes))
