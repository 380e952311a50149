"""From files to files: what ``lggan infer`` does."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.contract.card import MAX_SIDE, ModelCard
from runtime.contract.errors import InputError, UsageError
from runtime.contract.labels import check_label_size
from runtime.contract.pictures import write_png
from runtime.contract.progress import Progress, SilentProgress
from runtime.input_files import InputFile, InputOptions, InputReader, ModelInput
from runtime.session import Session

REPORT_SCHEMA = 1


@dataclass(frozen=True)
class InferOptions(InputOptions):
    """How label maps become pictures: where the inputs lie (`InputOptions`), and what happens to the outputs.

    Attributes:
        force: replace pictures that exist.
        warmup: run once, untimed, before the first picture of every size, so that no latency holds set-up work.
    """

    force: bool = False
    warmup: bool = True


DEFAULT_OPTIONS = InferOptions()


@dataclass(frozen=True)
class ImageResult:
    """One picture: sizes in pixels, ``latency_ms`` from inputs in memory to picture in memory.

    ``source`` is the label map or strip that it was made from, ``photo`` the source photo beside a label map.
    """

    source: Path
    output: Path
    source_height: int
    source_width: int
    height: int
    width: int
    latency_ms: float
    photo: Path | None = None


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
                    "photo": None if image.photo is None else str(image.photo),
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
    file: InputFile
    output: Path


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
        inputs: label maps or strips, as `InputReader.find` lists them.
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
    if options.fit is not None:
        _check_fit(options.fit, session.card)
    reader = InputReader(session.card, options)
    works = _plan([Path(path) for path in inputs], Path(output), reader, options)
    warmed: set[tuple[int, ...]] = set()
    results = []
    with (progress or SilentProgress()).task("infer", total=len(works)) as task:
        for work in works:
            given = reader.read(work.file)
            parts = (given.label, given.instance, given.source)
            if options.warmup and given.label.shape not in warmed:
                session.generate(*parts)
                warmed.add(given.label.shape)
            begin = time.perf_counter()
            picture = session.generate(*parts)[0]  # [H, W, 3]
            latency = (time.perf_counter() - begin) * 1e3
            write_png(work.output, picture, force=options.force)
            results.append(_result(work, given, latency))
            task.advance(note=work.file.path.name)
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
        check_label_size(*fit, card.stride, "the size of --fit", card.smallest_side)
    except InputError as error:
        raise UsageError(str(error)) from error


def _plan(inputs: Sequence[Path], output: Path, reader: InputReader, options: InferOptions) -> list[_Work]:
    """Give every input its files and its output; refuse whatever could go wrong by name."""
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
    works = [_Work(*pair) for pair in zip(reader.pair(inputs), outputs, strict=True)]
    taken: dict[Path, Path] = {}
    read = {path.resolve(): path for work in works for path in work.file.files}
    for work in works:
        source, target = work.file.path, work.output
        if target in taken:
            raise UsageError(f"{taken[target]} and {source} would both become {target}; run them into two folders")
        if target.resolve() in read:
            raise UsageError(f"{target} would replace the input {read[target.resolve()]}; name another folder")
        if target.exists() and not options.force:
            raise UsageError(f"{target} exists already; pass --force to replace it or name another folder")
        taken[target] = source
    return works


def _result(work: _Work, given: ModelInput, latency: float) -> ImageResult:
    height, width = given.label.shape
    return ImageResult(work.file.path, work.output, *given.file_size, height, width, latency, work.file.source)
