"""`lggan profile`: model files and label maps in, a written report out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from commands.models import CHECKPOINT_SUFFIX, as_variants, card_of
from runtime.contract.errors import UsageError
from runtime.contract.progress import Progress
from runtime.contract.strips import Direction
from runtime.inference import parse_fit
from runtime.input_files import InputOptions
from runtime.label_maps import load_label_maps
from runtime.profiler.folder import check_report_folder, write_report
from runtime.profiler.options import ProfileOptions
from runtime.profiler.profile import profile
from runtime.profiler.report import ProfileReport


@dataclass(frozen=True)
class ProfileRequest:
    """What to measure on what.

    Attributes:
        models: checkpoints and ONNX files, in the order of the report.
        data: label maps: files, folders, globs.
        out: folder of the report.
        reference: whose pictures count as right; None takes the first checkpoint, or else the first model.
        limit: take so many label maps, evenly spread; None takes all.
        fit: resize label maps: ``HxW`` or ``model``; None takes them as they are.
        instances: folder of the instance maps, for models that want them.
        source: folder of the source photos, for cross-view models.
        strips: for cross-view models: ``data`` are strips, to be read in this direction.
        device, threads: where and on how many CPU threads the models run.
        force: replace an older report.
    """

    models: tuple[Path, ...]
    data: tuple[Path, ...]
    out: Path
    reference: Path | None = None
    limit: int | None = None
    fit: str | None = None
    instances: Path | None = None
    source: Path | None = None
    strips: Direction | None = None
    device: str = "auto"
    threads: int | None = None
    force: bool = False


def profile_models(request: ProfileRequest, options: ProfileOptions, progress: Progress) -> tuple[ProfileReport, Path]:
    """Measure and write the report; returns it and the path of its page.

    Raises:
        UsageError: a model named twice, an impossible option, an existing report without ``force``.
        InputError: a file is absent or damaged, label maps do not fit the models.
        MissingError: Jinja2 is not installed, or the folder cannot be written.
        LgganError: a model failed; its error class is kept, its name leads the message.
    """
    check_report_folder(request.out, force=request.force)
    variants = as_variants(request.models, request.device, request.threads)
    reference_path = request.reference or _first_checkpoint(request.models)
    reference = next((variant for variant in variants if variant.path == reference_path), None)
    if reference is None:
        (reference,) = as_variants([reference_path], request.device, request.threads)
        if reference.name in [variant.name for variant in variants]:
            raise UsageError(f"--reference {reference_path} has the file name of another model; rename one of them")
    cards = [card_of(path) for path in request.models]
    for path, card in zip(request.models, cards, strict=True):
        if card.task != cards[0].task:
            raise UsageError(f"{path} is for {card.task}, {request.models[0]} for {cards[0].task}; profile them apart")
        if card.classes != cards[0].classes:
            raise UsageError(f"{path} has other classes than {request.models[0]}; profile models of one task together")
    fit = parse_fit(request.fit, cards[0]) if request.fit else None
    inputs = InputOptions(fit, request.instances, request.source, request.strips)
    maps = load_label_maps(request.data, cards[0], inputs, limit=request.limit)
    report = profile(variants, maps, reference, options, cards[0].classes, progress)
    return report, write_report(report, request.out, force=request.force)


def _first_checkpoint(models: Sequence[Path]) -> Path:
    return next((path for path in models if path.suffix.lower() == CHECKPOINT_SUFFIX), models[0])
