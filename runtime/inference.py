"""From files to files: what ``lggan infer`` does."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from runtime.contract.card import MAX_SIDE, ModelCard
from runtime.contract.errors import InputError, UsageError
from runtime.contract.inputs import find_instance_map
from runtime.contract.labels import check_label_map, check_label_size, fit_label_map, read_instance_map, read_label_map
from runtime.contract.pictures import write_png
from runtime.contract.progress import Progress, SilentProgress
from runtime.session import Session

REPORT_SCHEMA = 1


@dataclass(frozen=True)
class InferOptions:
    """How label maps become pictures.

    Attributes:
        fit: resize every label map to this (height, width) by nearest; None takes them as they are. `parse_fit`
            makes it from text.
        instances: for models with an edge channel: the instance map (one input) or the folder of the instance maps,
            named as the label maps or with ``instanceIds`` for ``labelIds``.
        force: replace pictures that exist.
        warmup: run once, untimed, before the first picture of every size, so that no latency holds set-up work.
    """

    fit: tuple[int, int] | None = None
    instances: Path | None = None
    force: bool = False
    warmup: bool = True


DEFAULT_OPTIONS = InferOptions()


@dataclass(frozen=True)
class ImageResult:
    """One picture: sizes in pixels, ``latency_ms`` from label map in memory to picture in memory."""

    source: Path
    output: Path
    source_height: int
    source_width: int
    height: int
    width: int
    latency_ms: float


@dataclass(frozen=True)
class InferReport:
    """What was done; ``total_seconds`` holds reading, warm-up and writing as well."""

    model: Path
    backend: str
    threads: int
    warmup_excluded: bool
    total_seconds: float
    images: tuple[ImageResult, ...]

    def to_dict(self) -> dict[str, Any]:
        """The report for JSON, versioned by ``schema``."""
        latencies = [image.latency_ms for image in self.images]
        return {
            "schema": REPORT_SCHEMA,
            "model": str(self.model),
            "backend": self.backend,
            "threads": self.threads,
            "warmup_excluded": self.warmup_excluded,
            "total_seconds": self.total_seconds,
            "latency_ms": {
                "count": len(latencies),
                "min": min(latencies),
                "median": statistics.median(latencies),
                "max": max(latencies),
            },
            "images": [
                {
                    "source": str(image.source),
                    "output": str(image.output),
                    "source_size": [image.source_height, image.source_width],
                    "size": [image.height, image.width],
                    "latency_ms": image.latency_ms,
                }
                for image in self.images
            ],
        }


@dataclass(frozen=True)
class _Work:
    source: Path
    output: Path
    instance: Path | None


def infer(
    session: Session,
    inputs: Sequence[str | Path],
    output: str | Path,
    options: InferOptions = DEFAULT_OPTIONS,
    progress: Progress | None = None,
) -> InferReport:
    """Make one picture per label map.

    Names, collisions and existing pictures are checked before any work is done; every picture is whole or absent.

    Args:
        session: an open model.
        inputs: label maps, as `find_inputs` lists them.
        output: a ``.png`` name (for one label map) or a folder, in which each picture is called as its label map.
        options: see `InferOptions`.
        progress: one step per picture.

    Raises:
        UsageError: colliding or existing outputs, contradicting arguments, a size that the model cannot have.
        InputError: a label map that cannot be read or does not fit the model; the message names it.
        MissingError: pictures cannot be written.
        BackendError: the model failed.
    """
    started = time.perf_counter()
    card = session.card
    if options.fit is not None:
        _check_fit(options.fit, card)
    works = _plan([Path(path) for path in inputs], Path(output), options, card)
    warmed: set[tuple[int, ...]] = set()
    results = []
    with (progress or SilentProgress()).task("infer", total=len(works)) as task:
        for work in works:
            original = read_label_map(work.source, card.classes, card.void)  # [H, W]
            label = fit_label_map(original, *options.fit) if options.fit else original
            check_label_map(label, card, work.source)
            instance = _read_instance(work, original, label)
            if options.warmup and label.shape not in warmed:
                session.generate(label, instance)
                warmed.add(label.shape)
            begin = time.perf_counter()
            picture = session.generate(label, instance)[0]  # [H, W, 3]
            latency = (time.perf_counter() - begin) * 1e3
            write_png(work.output, picture, force=options.force)
            results.append(_result(work, original, label, latency))
            task.advance(note=work.source.name)
    seconds = time.perf_counter() - started
    return InferReport(session.path, session.backend, session.threads, options.warmup, seconds, tuple(results))


def parse_fit(text: str, card: ModelCard) -> tuple[int, int]:
    """Read the value of ``--fit``: ``HxW`` in pixels (height first), or ``model`` for the size it was trained at.

    Raises:
        UsageError: neither, or a size that the model cannot have.
    """
    if text == "model":
        return card.height, card.width
    height, cross, width = text.lower().partition("x")
    if not (cross and height.isdecimal() and width.isdecimal() and len(text) < 20):
        raise UsageError(f"--fit {text!r} is no size; write HEIGHTxWIDTH, such as {card.height}x{card.width}, or model")
    fit = (int(height), int(width))
    _check_fit(fit, card)
    return fit


def _check_fit(fit: tuple[int, int], card: ModelCard) -> None:
    if not all(1 <= side <= MAX_SIDE for side in fit):
        raise UsageError(f"--fit {fit[0]}x{fit[1]} is not possible; both sides must be between 1 and {MAX_SIDE}")
    try:
        check_label_size(*fit, card.stride, "the size of --fit")
    except InputError as error:
        raise UsageError(str(error)) from error


def _plan(inputs: Sequence[Path], output: Path, options: InferOptions, card: ModelCard) -> list[_Work]:
    """Give every label map its output and instance map; refuse whatever could go wrong by name."""
    if not inputs:
        raise UsageError("no label map was given")
    if output.suffix.lower() == ".png" and not output.is_dir():
        if len(inputs) > 1:
            raise UsageError(f"{len(inputs)} label maps do not fit into the one picture {output}; name a folder")
        outputs = [output]
    elif output.exists() and not output.is_dir():
        raise UsageError(f"{output} is a file, but no .png; name a .png file or a folder")
    else:
        outputs = [output / f"{path.stem}.png" for path in inputs]
    taken: dict[Path, Path] = {}
    sources = {path.resolve(): path for path in inputs}
    for source, target in zip(inputs, outputs, strict=True):
        if target in taken:
            raise UsageError(f"{taken[target]} and {source} would both become {target}; run them into two folders")
        if target.resolve() in sources:
            raise UsageError(f"{target} would replace the label map {sources[target.resolve()]}; name another folder")
        if target.exists() and not options.force:
            raise UsageError(f"{target} exists already; pass --force to replace it or name another folder")
        taken[target] = source
    instances = [_instance_of(path, options.instances, len(inputs), card) for path in inputs]
    return [_Work(*triple) for triple in zip(inputs, outputs, instances, strict=True)]


def _instance_of(source: Path, instances: Path | None, count: int, card: ModelCard) -> Path | None:
    if not card.instances:
        if instances is not None:
            raise UsageError(f"the model {card.name} takes no instance maps; leave --instances out")
        return None
    if instances is None:
        raise UsageError(f"the model {card.name} needs instance maps; name their file or folder with --instances")
    if not instances.is_dir():
        if count > 1:
            raise UsageError(f"{count} label maps need a folder of instance maps; {instances} is none")
        return instances
    return find_instance_map(source, instances)


def _result(work: _Work, original: np.ndarray, label: np.ndarray, latency: float) -> ImageResult:
    (source_height, source_width), (height, width) = original.shape, label.shape
    return ImageResult(work.source, work.output, source_height, source_width, height, width, latency)


def _read_instance(work: _Work, original: np.ndarray, label: np.ndarray) -> np.ndarray | None:
    if work.instance is None:
        return None
    instance = read_instance_map(work.instance)  # [H, W]
    if instance.shape != original.shape:
        raise InputError(
            f"{work.instance} is {instance.shape[0]}x{instance.shape[1]}, its label map {work.source} "
            f"{original.shape[0]}x{original.shape[1]}; they must have one size"
        )
    return fit_label_map(instance, label.shape[0], label.shape[1])
