"""The verbs that run models: infer, profile, verify, demo."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from runtime.command_line import (
    PATH,
    device_option,
    fit_option,
    force_option,
    instances_option,
    out_option,
    source_option,
    strips_option,
    threads_option,
    verb,
)
from runtime.console import Column, Console, plain, size

if TYPE_CHECKING:
    from runtime.contract.card import ModelCard
    from runtime.profiler.report import ProfileReport

LABELS_HELP = "Label maps (or strips): a folder, file or glob; repeatable."
EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


@verb(
    example="lggan infer camvid.onnx examples/labels -o pictures\n"
    "lggan infer camvid.onnx street.png -o street_photo.png --fit model\n"
    "lggan infer dayton.onnx data/dayton/test --strips a2g -o pictures",
)
@click.argument("model", type=PATH)
@click.argument("inputs", nargs=-1, required=True, type=PATH, metavar="LABELS...")
@out_option("Folder of the pictures, or a .png for one label map.")
@fit_option
@instances_option
@source_option
@strips_option
@device_option
@threads_option
@force_option
def infer(
    console: Console,
    model: Path,
    inputs: tuple[Path, ...],
    out: Path,
    fit: str | None,
    instances: Path | None,
    source: Path | None,
    strips: str | None,
    device: str,
    threads: int | None,
    force: bool,
) -> None:
    """Make a photo from every label map: files, folders, globs; PNG (ids, palette, colours) or .npy.

    Cross-view models want a source photo beside every label map (--source), or strips that hold both (--strips).
    """
    from runtime.backend import Device, SessionOptions
    from runtime.contract.strips import Direction
    from runtime.inference import InferOptions, parse_fit
    from runtime.inference import infer as run_inference
    from runtime.input_files import InputReader
    from runtime.session import Session

    with Session.open(model, SessionOptions(device=Device(device), threads=threads)) as session:
        size_wanted = parse_fit(fit, session.card) if fit else None
        direction = Direction(strips) if strips else None
        options = InferOptions(size_wanted, instances, source, direction, force=force)
        files = InputReader(session.card, options).find(inputs)
        _note_targets(console, [(model, session.card, session.backend)])
        report = run_inference(session, files, out, options, console)
    console.document("lggan-infer", report.to_dict())
    columns = [Column("picture"), Column("height x width", right=True), Column("ms", right=True)]
    rows = [[image.output, f"{image.height}x{image.width}", f"{image.latency_ms:.1f}"] for image in report.images]
    console.table(columns, rows)
    console.line(f"{len(report.images)} pictures, {report.backend}, {report.threads} threads")


@verb(
    extra="report",
    example="lggan profile camvid.safetensors camvid.onnx camvid.fp16.onnx --data examples/labels -o report",
)
@click.argument("models", nargs=-1, required=True, type=PATH, metavar="MODELS...")
@click.option("--data", type=PATH, required=True, multiple=True, metavar="LABELS", help=LABELS_HELP)
@out_option("Folder of the report.")
@click.option("--reference", type=PATH, metavar="MODEL", help="Counts as right.  [default: the first checkpoint]")
@click.option(
    "--iterations", type=click.IntRange(min=1), metavar="N", default=64, show_default=True, help="Least queries each."
)
@click.option(
    "--seconds", type=click.FloatRange(min=0), metavar="S", default=3.0, show_default=True, help="Least timing each."
)
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Take so many label maps.  [default: all]")
@fit_option
@instances_option
@source_option
@strips_option
@device_option
@threads_option
@force_option
def profile(
    console: Console,
    models: tuple[Path, ...],
    data: tuple[Path, ...],
    out: Path,
    reference: Path | None,
    iterations: int,
    seconds: float,
    limit: int | None,
    fit: str | None,
    instances: Path | None,
    source: Path | None,
    strips: str | None,
    device: str,
    threads: int | None,
    force: bool,
) -> None:
    """Measure models side by side: latency, throughput, memory, size, and closeness to the reference's pictures."""
    from commands.models import card_of
    from commands.profiling import ProfileRequest, profile_models
    from runtime.contract.strips import Direction
    from runtime.profiler.options import ProfileOptions

    direction = Direction(strips) if strips else None
    request = ProfileRequest(
        models, data, out, reference, limit, fit, instances, source, direction, device, threads, force
    )
    report, page = profile_models(request, ProfileOptions(iterations=iterations, seconds=seconds), console)
    console.document("lggan-profile", {**report.to_dict(), "page": page})
    _show_profile(console, report)
    graphs = [item for item in zip(models, report.variants, strict=True) if item[0].suffix.lower() == ".onnx"]
    _note_targets(console, [(path, card_of(path), variant.backend) for path, variant in graphs])
    console.line(f"report {page}")


@verb(
    example="lggan verify camvid.safetensors camvid.onnx --data examples/labels\n"
    "lggan verify camvid.onnx camvid.fp16.onnx --data examples/labels --min-psnr 35",
)
@click.argument("first", type=PATH)
@click.argument("second", type=PATH)
@click.option("--data", type=PATH, required=True, multiple=True, metavar="LABELS", help=LABELS_HELP)
@click.option("--max-difference", type=click.IntRange(0, 255), metavar="LEVELS", help="Exit code 1 above it.")
@click.option("--min-psnr", type=float, metavar="DB", help="Exit code 1 for any picture below it.")
@click.option(
    "--tolerance", type=click.FloatRange(min=0), metavar="X", help="Exit code 1 above it, between float pictures."
)
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Take so many label maps.  [default: all]")
@fit_option
@instances_option
@source_option
@strips_option
@device_option
@threads_option
def verify(
    console: Console,
    first: Path,
    second: Path,
    data: tuple[Path, ...],
    max_difference: int | None,
    min_psnr: float | None,
    tolerance: float | None,
    limit: int | None,
    fit: str | None,
    instances: Path | None,
    source: Path | None,
    strips: str | None,
    device: str,
    threads: int | None,
) -> None:
    """Compare the pictures of two models: checkpoints (PyTorch) and ONNX files, in any combination.

    Without limits of your own: 1 level and, where both give floats, 0.001 between FP32 models; 30 dB otherwise.
    """
    from commands.verifying import VerifyRequest, show_verification, verify_models
    from runtime.comparison import Limits
    from runtime.contract.strips import Direction

    limits = Limits(max_difference, min_psnr, tolerance)
    direction = Direction(strips) if strips else None
    request = VerifyRequest(first, second, data, limits, limit, fit, instances, source, direction, device, threads)
    found = verify_models(request, console)
    show_verification(request, found, console)
    if found.failure:
        raise found.failure


@verb(extra="dev", example="lggan demo -o demo")
@click.option(
    "--examples",
    type=PATH,
    metavar="DIR",
    default=EXAMPLES,
    help="Folder with camvid.safetensors and labels/.  [default: examples/ of the clone]",
)
@out_option("Folder for everything that is made.")
@force_option
def demo(console: Console, examples: Path, out: Path, force: bool) -> None:
    """Lead the shipped model the whole way: export, FP16, engine, pictures, report."""
    from commands.demo import run_demo

    result = run_demo(examples, out, console, force=force)
    console.document("lggan-demo", {**plain(result), "profile": result.profile.to_dict()})
    _show_profile(console, result.profile)
    record = result.engine_record
    engine = f"{result.engine}  {size(record.engine_bytes)}" if record else "none: TensorRT-RTX is not installed"
    made = [
        ("FP32 model", f"{result.exported.path}  {size(result.exported.size)}"),
        ("for this CPU", f"{result.exported_for_cpu.path}  {size(result.exported_for_cpu.size)}"),
        ("FP16 model", f"{result.fp16.output}  {size(result.fp16.output_bytes)}"),
        ("engine", engine),
        ("pictures", f"{result.pictures}  ({len(result.inference.images)} of {result.inference.backend})"),
        ("report", result.page),
    ]
    console.line()
    console.fields("made", made)


def _note_targets(console: Console, graphs: Sequence[tuple[Path, ModelCard, str]]) -> None:
    """One remark on the files (path, card, backend) that would run faster here if they were exported for the CPU.

    Silent on a file whose twin for the CPU runs beside it, and on FP16, which the graph for the CPU does not come in.
    """
    from runtime.backends.onnxruntime_cpu import OnnxRuntimeCpu
    from runtime.contract.card import CPU, TENSORRT

    known = {card.checkpoint_sha256 for _, card, _ in graphs if card.target == CPU}
    slow = [
        str(path)
        for path, card, backend in graphs
        if card.target == TENSORRT and card.precision == "fp32" and card.checkpoint_sha256 not in known
        if backend == OnnxRuntimeCpu.name
    ]
    if slow:
        console.note(
            f"{', '.join(slow)}: exported for TensorRT; on this CPU a file exported with --target cpu is faster, "
            "a large model several times"
        )


def _show_profile(console: Console, report: ProfileReport) -> None:
    from runtime.profiler.table import report_table

    table = report_table(report)
    columns = [Column(" ".join(filter(None, (c.title, c.unit))), right=c.numeric) for c in table.columns]
    console.table(columns, table.rows)
    for line in (*report.summary, *table.notes):
        console.line(line)
    for diagnosis in report.diagnoses:
        console.note(f"{', '.join(diagnosis.variants) or 'measurement'}: {diagnosis.message}")
