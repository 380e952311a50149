"""Walking a whole data set before training, without stopping at the first fault."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from lggan.cross_view_config import CrossViewConfig
from lggan.data.examine import Finding, PairExaminer, StripExaminer
from lggan.data.files import find_files, natural
from lggan.data.layout import Layout
from lggan.data.pairs import Pair
from lggan.data.report import ClassCount, DataReport, Sample, SizeCount, SplitReport, StripShares, UnknownId
from lggan.data.strips import NO_CLASS, StripConfig, find_strips
from lggan.preset import Preset
from runtime.contract.errors import InputError
from runtime.contract.progress import Progress, SilentProgress

SPLITS = ("train", "val")
_FIRST = 20  # names that a report keeps of each kind of fault
_MOST_THREADS = 8

Item = TypeVar("Item")


def check_data(
    preset: Preset,
    root: str | Path,
    splits: Sequence[str] = SPLITS,
    limit: int | None = None,
    progress: Progress | None = None,
    required: Sequence[str] = ("train",),
) -> DataReport:
    """Look at every file of a data set as the training would.

    Args:
        preset: tells layout, classes, void and whether instance maps are used.
        root: the data set's folder.
        splits: which to look at.
        limit: open only so many examples of each split, evenly spread; names are matched for all of them.
        required: splits whose absence is a fault.

    Raises:
        InputError: ``root`` is not a folder. Everything else stands in the report.
    """
    root = Path(root)
    if not root.is_dir():
        raise InputError(f"{root} is not a folder; give the data set's root")
    progress = progress or SilentProgress()
    look = _check_strips if preset.layout is Layout.STRIPS else _check_pairs
    reports = []
    for split in splits:
        try:
            reports.append(look(preset, root, split, limit, progress))
        except InputError as error:
            reports.append(SplitReport(split, absent=str(error)))
    return DataReport(str(root), preset.name, preset.layout.value, tuple(reports), tuple(required))


def _check_pairs(preset: Preset, root: Path, split: str, limit: int | None, progress: Progress) -> SplitReport:
    found = find_files(root, split, preset.layout, preset.folders)
    instances = preset.generator.edges
    names = sorted(found.photos.keys() & found.labels.keys(), key=natural)
    pairs = [Pair(name, found.photos[name], found.labels[name], found.instances.get(name)) for name in names]
    without_label, without_photo = found.unmatched()
    without_instance = [pair.name for pair in pairs if pair.instance is None] if instances else []
    examiner = PairExaminer(preset.classes, preset.void, instances)
    chosen = _spread(pairs, limit)
    with progress.task(f"checking {split}", len(chosen)) as task:
        report = _gather(preset, root, split, _each(examiner, chosen, task.advance))
    return replace(
        report,
        photos=len(found.photos),
        labels=len(found.labels),
        instances=len(found.instances) if instances else None,
        examples=len(pairs),
        without_label=_sample(without_label),
        without_photo=_sample(without_photo),
        without_instance=_sample(without_instance),
        duplicates=_sample([f"{_below(root, one)} and {_below(root, other)}" for one, other in found.duplicates]),
    )


def _check_strips(preset: Preset, root: Path, split: str, limit: int | None, progress: Progress) -> SplitReport:
    strips = find_strips(root, split)
    config = preset.generator
    if not isinstance(config, CrossViewConfig):
        raise TypeError(f"layout strips with a {type(config).__name__}")  # a preset refuses that
    settings = preset.strips or StripConfig()
    examiner = StripExaminer(preset.classes, config, settings.direction, settings.tolerance)
    chosen = _spread(list(strips.items()), limit)
    with progress.task(f"checking {split}", len(chosen)) as task:
        report = _gather(preset, root, split, _each(lambda item: examiner(*item), chosen, task.advance))
    return replace(report, photos=len(strips), labels=len(strips), examples=len(strips))


def _each(examine: Callable[[Item], Finding], items: Sequence[Item], advance: Callable[[], None]) -> Iterator[Finding]:
    """Findings in order; decoding releases the interpreter's lock, so threads help."""
    pool = ThreadPoolExecutor(min(_MOST_THREADS, os.cpu_count() or 1))
    try:
        for finding in pool.map(examine, items):
            advance()
            yield finding
    finally:
        pool.shutdown(cancel_futures=True)  # Ctrl-C must not wait for 100000 pictures


def _gather(preset: Preset, root: Path, split: str, findings: Iterable[Finding]) -> SplitReport:
    classes = len(preset.classes)
    photo_sizes: Counter[tuple[int, int]] = Counter()
    label_sizes: Counter[tuple[int, int]] = Counter()
    pixels = np.zeros(256, np.int64)
    files = np.zeros(256, np.int64)
    unknown_pixels: Counter[int] = Counter()
    unknown_files: dict[int, list[str]] = {}
    broken: list[str] = []
    mismatched: list[str] = []
    strips: list[Finding] = []
    checked = 0
    for finding in findings:
        checked += 1
        if finding.photo_size:
            photo_sizes[finding.photo_size] += 1
        if finding.label_size:
            label_sizes[finding.label_size] += 1
        if finding.counts is not None:
            pixels += finding.counts
            files += finding.counts > 0
        for id_, count in finding.unknown.items():
            unknown_pixels[id_] += count
            unknown_files.setdefault(id_, []).append(_below(root, finding.label))
        broken += [fault.reason.replace(f"{root}{os.sep}", "") for fault in finding.broken]
        if finding.mismatch:
            mismatched.append(f"{finding.name}: {finding.mismatch}")
        if finding.strip is not None:
            strips.append(finding)
    total = max(int(pixels.sum()), 1)
    return SplitReport(
        split=split,
        checked=checked,
        broken=_sample(broken),
        mismatched=_sample(mismatched),
        photo_sizes=_sizes(photo_sizes),
        label_sizes=_sizes(label_sizes),
        classes=tuple(
            ClassCount(id_, info.name, int(pixels[id_]), float(pixels[id_] / total), int(files[id_]))
            for id_, info in enumerate(preset.classes)
        ),
        void=float(pixels[NO_CLASS] / total) if preset.void is not None and preset.void >= classes else None,
        unknown=tuple(
            UnknownId(id_, count, _sample(unknown_files[id_])) for id_, count in sorted(unknown_pixels.items())
        ),
        strips=_strip_shares(strips) if strips else None,
    )


def _strip_shares(findings: Sequence[Finding]) -> StripShares:
    found = [(finding.name, finding.strip) for finding in findings if finding.strip is not None]
    pixels = sum(strip.pixels for _, strip in found)
    worst, strip = max(found, key=lambda item: item[1].disagree / item[1].pixels)
    return StripShares(
        lossless=sum(strip.lossless for _, strip in found),
        off_palette=sum(strip.off_palette for _, strip in found) / pixels,
        off_grid=sum(strip.off_grid for _, strip in found) / pixels,
        disagree=sum(strip.disagree for _, strip in found) / pixels,
        worst=worst,
        worst_disagree=strip.disagree / strip.pixels,
    )


def _spread(items: Sequence[Item], limit: int | None) -> list[Item]:
    """``limit`` of the items, evenly spaced."""
    count = len(items) if limit is None else min(limit, len(items))
    return [items[index * len(items) // count] for index in range(count)]


def _sample(names: Sequence[str]) -> Sample:
    return Sample(len(names), tuple(names[:_FIRST]))


def _sizes(counted: Counter[tuple[int, int]]) -> tuple[SizeCount, ...]:
    return tuple(SizeCount(height, width, count) for (height, width), count in counted.most_common())


def _below(root: Path, path: Path) -> str:
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)
