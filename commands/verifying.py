"""`lggan verify`: two model files and label maps in, how far their pictures are apart out."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

from commands.models import card_of, engine_source, gives_floats, open_model
from runtime.comparison import Comparison, Difference, Generate, Limits, check_limits, compare, default_limits
from runtime.console import Column, Console, plain
from runtime.contract.card import ModelCard
from runtime.contract.errors import GateError, MissingError, UsageError
from runtime.contract.labels import check_label_map
from runtime.contract.progress import Progress
from runtime.contract.strips import Direction
from runtime.inference import parse_fit
from runtime.input_files import InputOptions
from runtime.label_maps import load_label_maps

_NO_LIMITS = Limits()


@dataclass(frozen=True)
class VerifyRequest:
    """What to compare on what.

    Attributes:
        first, second: checkpoints or ONNX files of the same task and classes.
        data: label maps: files, folders, globs.
        limits: what to keep to; without any, `default_limits` of the two models.
        count: take so many label maps, evenly spread; None takes all.
        fit: resize label maps: ``HxW`` or ``model``; None takes them as they are.
        instances: folder of the instance maps, for models that want them.
        source: folder of the source photos, for cross-view models.
        strips: for cross-view models: ``data`` are strips, to be read in this direction.
        device, threads: where and on how many CPU threads the models run.
    """

    first: Path
    second: Path
    data: tuple[Path, ...]
    limits: Limits = _NO_LIMITS
    count: int | None = None
    fit: str | None = None
    instances: Path | None = None
    source: Path | None = None
    strips: Direction | None = None
    device: str = "auto"
    threads: int | None = None


@dataclass(frozen=True)
class Verification:
    """What was found: names of the backends, the limits that were kept to or not, and what broke them, if anything."""

    backends: tuple[str, str]
    limits: Limits
    comparison: Comparison
    failure: GateError | None


def verify_models(request: VerifyRequest, progress: Progress) -> Verification:
    """Run both models on the same label maps and compare.

    Where both give floats, each runs once, and its bytes are the rounded floats.

    Raises:
        UsageError: models that cannot be compared, contradicting options.
        InputError: a file is absent or damaged, label maps do not fit the models.
        MissingError: an engine or a model of the variant ``plugin``: this version has no backend for them.
        BackendError: a model failed, or gave values that are not numbers.
    """
    _refuse_engines(request)
    cards = card_of(request.first), card_of(request.second)
    _check_alike(request, *cards)
    floats = all(gives_floats(path, card) for path, card in zip((request.first, request.second), cards, strict=True))
    if request.limits.max_abs is not None and not floats:
        raise UsageError(
            "--tolerance compares float pictures, which checkpoints and files of `lggan export --output float` give; "
            "use --max-difference or --min-psnr for models that give bytes"
        )
    limits = request.limits
    if limits == _NO_LIMITS:
        limits = default_limits(*cards)
        limits = limits if floats else replace(limits, max_abs=None)  # there will be nothing to hold against it
    fit = parse_fit(request.fit, cards[0]) if request.fit else None
    inputs = InputOptions(fit, request.instances, request.source, request.strips)
    maps = load_label_maps(request.data, cards[0], inputs, limit=request.count)
    for entry in maps:
        check_label_map(entry.label, cards[1], f"{entry.name} for {request.second}")
    one, other = (_opened(path, request, floats) for path in (request.first, request.second))
    comparison = compare(one[1], other[1], maps, progress)
    return Verification((one[0], other[0]), limits, comparison, check_limits(comparison, limits))


def show_verification(request: VerifyRequest, found: Verification, console: Console) -> None:
    """Print the result: one document, or a table with a line per label map and the worst one named."""
    comparison = found.comparison
    console.document(
        "lggan-verify",
        {
            "backends": dict(zip(map(str, (request.first, request.second)), found.backends, strict=True)),
            "passed": found.failure is None,
            "limits": found.limits,
            "worst": comparison.worst[0],
            "overall": comparison.overall,
            "pictures": [{"name": name, **plain(each)} for name, each in comparison.pictures],
        },
    )
    titles = ["largest", "mean", "PSNR dB"]
    if comparison.overall.floats is not None:
        titles += ["float largest", "float mean", "float PSNR dB"]
    rows = [[name, *_cells(each)] for name, each in (*comparison.pictures, ("all", comparison.overall))]
    console.table([Column("label map"), *(Column(title, right=True) for title in titles)], rows)
    units = "in levels of 0..255" + (", floats in [-1, 1]" if comparison.overall.floats is not None else "")
    first, second = found.backends
    console.line(f"{request.first} ({first}) and {request.second} ({second}), {units}")
    console.line(f"worst: {comparison.worst[0]}; allowed: {_allowed(found.limits)}")


def _refuse_engines(request: VerifyRequest) -> None:
    """Say which command compares what an engine was built from.

    Raises:
        MissingError: one of the two is an engine, or the record of one.
    """
    sources = [engine_source(path) for path in (request.first, request.second)]
    engines = [
        path for path, source in zip((request.first, request.second), sources, strict=True) if source is not None
    ]
    if engines:
        first, second = (source or path for path, source in zip((request.first, request.second), sources, strict=True))
        data = " ".join(f"--data {path}" for path in request.data)
        raise MissingError(
            f"{engines[0]} is a TensorRT engine; to run it takes a GPU and a TensorRT backend, which this version does "
            "not have. The ONNX file that an engine was built from has the same weights and types: "
            f"lggan verify {first} {second} {data}"
        )


def _check_alike(request: VerifyRequest, first: ModelCard, second: ModelCard) -> None:
    """Check that one set of inputs serves both models.

    Raises:
        UsageError: another task, other classes, instance maps for one of them only, ``--fit model`` for two sizes.
    """
    names = f"{request.first} and {request.second}"
    if first.task != second.task:
        raise UsageError(f"{names} have different tasks, {first.task} and {second.task}; compare models of one task")
    if len(first.classes) != len(second.classes):
        raise UsageError(
            f"{names} have {len(first.classes)} and {len(second.classes)} classes; compare models of one data set"
        )
    for index, (one, other) in enumerate(zip(first.classes, second.classes, strict=True)):
        if one != other:
            raise UsageError(
                f"{names} have different classes: {index} is {one.name} {one.color} in the first, "
                f"{other.name} {other.color} in the second; compare models of one data set"
            )
    if first.void != second.void:
        raise UsageError(
            f"{names} read the label 255 as {first.void} and {second.void}; compare models of one data set"
        )
    if first.instances != second.instances:
        with_instances = request.first if first.instances else request.second
        raise UsageError(f"of {names}, {with_instances} alone wants instance maps; compare models with the same inputs")
    sizes = [f"{card.height}x{card.width}" for card in (first, second)]
    if request.fit == "model" and sizes[0] != sizes[1]:
        raise UsageError(
            f"{names} were trained at different sizes, {sizes[0]} and {sizes[1]}; name one of them, such as "
            f"--fit {sizes[0]}"
        )


def _opened(path: Path, request: VerifyRequest, floats: bool) -> tuple[str, Generate]:
    """Name of the backend, and what makes a picture."""
    model = open_model(path, request.device, request.threads)
    return model.backend, model.generate_floats if floats else model.generate


def _allowed(limits: Limits) -> str:
    parts = (
        None if limits.max_levels is None else f"{limits.max_levels} level{'' if limits.max_levels == 1 else 's'}",
        None if limits.max_abs is None else f"{limits.max_abs:g} between floats",
        None if limits.min_psnr is None else f"{limits.min_psnr:g} dB or more",
    )
    return ", ".join(part for part in parts if part is not None)


def _cells(difference: Difference) -> list[str]:
    cells = [str(difference.max_levels), f"{difference.mean_levels:.4f}", _decibels(difference.psnr_db)]
    if difference.floats is not None:
        floats = difference.floats
        cells += [f"{floats.max_abs:.2e}", f"{floats.mean_abs:.2e}", _decibels(floats.psnr_db)]
    return cells


def _decibels(value: float) -> str:
    return f"{value:.1f}" if math.isfinite(value) else "identical"
