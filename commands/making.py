"""Two verbs that make one model file of another: export and build. `commands.calibrating` has the third."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from runtime.command_line import (
    PATH,
    force_option,
    given_maps_options,
    out_option,
    verb,
)
from runtime.console import Console, size

if TYPE_CHECKING:
    from engines.options import ShapeProfile

DATA_HELP = "Label maps (or strips) to prove it on: a folder, file or glob; repeatable.  [default: drawn ones]"


@verb(extra="export", example="lggan export runs/camvid/generator.safetensors -o camvid.onnx")
@click.argument("checkpoint", type=PATH)
@out_option("Model to write, .onnx.")
@click.option(
    "--target",
    type=click.Choice(["tensorrt", "cpu"]),
    default="tensorrt",
    show_default=True,
    help="A graph for TensorRT, which runs everywhere, or the fast one for ONNX Runtime on a CPU.",
)
@click.option(
    "--output",
    type=click.Choice(["image", "float"]),
    default="image",
    show_default=True,
    help="uint8 [N,H,W,3], or float32 [N,3,H,W] in [-1,1].",
)
@click.option(
    "--variant",
    type=click.Choice(["full", "plugin", "inlined"]),
    default="full",
    show_default=True,
    help="Upsampling as node with body, as node alone (TensorRT 10.3 to 10.6 with the plugin), or as plain operators.",
)
@given_maps_options(DATA_HELP)
@force_option
def export(
    console: Console,
    checkpoint: Path,
    out: Path,
    target: str,
    output: str,
    variant: str,
    data: tuple[Path, ...],
    limit: int | None,
    fit: str | None,
    instances: Path | None,
    source: Path | None,
    strips: str | None,
    force: bool,
) -> None:
    """Write a checkpoint as one ONNX file and prove that it gives PyTorch's pictures.

    The proof is made on label maps drawn for it, or on your own with --data: final picture and branches.
    """
    from commands.given_maps import GivenMaps
    from commands.models import card_of
    from export.onnx_export import export_onnx
    from export.options import ExportOptions, OutputKind
    from export.target import Target
    from export.variants import Variant
    from runtime.graph_words import macs_text

    given = GivenMaps(data, limit, fit, instances, source, strips)
    maps = given.load(card_of(checkpoint)) if data else None
    options = ExportOptions(Target(target), OutputKind(output), Variant(variant), maps)
    result = export_onnx(checkpoint, out, options, console, force=force)
    console.document("lggan-export", result)
    proof = result.card.verification
    console.line(f"{result.path}  {size(result.size)}, {result.nodes} nodes")
    console.line(
        f"differs from PyTorch by at most {proof['max_abs']:.1e} in [-1, 1] on {proof['maps']} label maps "
        f"(limit {proof['tolerance']:.0e})"
    )
    branches = (f"{name.replace('_', ' ')} {each['max_abs']:.1e}" for name, each in proof["branches"].items())
    console.line(f"its branches: {', '.join(branches)}")
    graph = result.graph
    console.line(
        f"{macs_text(graph.total().macs)} for a picture of {graph.height}x{graph.width} ({graph.label_map}), "
        f"as published {macs_text(graph.published_macs)}; lggan inspect {result.path} tells where"
    )


@verb(extra="tensorrt-rtx", example="lggan build camvid.fp16.onnx --target sm86,sm89 -o engines/camvid.engine")
@click.argument("model", type=PATH)
@out_option("Engine to write; its record comes beside it, .json appended.")
@click.option("--backend", type=click.Choice(["tensorrt-rtx"]), default="tensorrt-rtx", show_default=True)
@click.option("--target", default="sm86,sm89,sm120", show_default=True, metavar="LIST", help="Compute capabilities.")
@click.option("--shape", metavar="NxHxW", help="Input to tune for.  [default: one of the trained size]")
@click.option("--min-shape", metavar="NxHxW", help="Smallest input shape.  [default: --shape]")
@click.option("--max-shape", metavar="NxHxW", help="Largest input shape.  [default: --shape]")
@click.option("--keep-log", is_flag=True, help="Write TensorRT's whole log beside the engine.")
@force_option
def build(
    console: Console,
    model: Path,
    out: Path,
    backend: str,
    target: str,
    shape: str | None,
    min_shape: str | None,
    max_shape: str | None,
    keep_log: bool,
    force: bool,
) -> None:
    """Build an engine from an ONNX model; no GPU is needed."""
    from engines.build import build_engine, engine_path
    from engines.options import BuildOptions, EngineBackend, Target

    options = BuildOptions(
        targets=Target.parse_list(target),
        profile=_shape_profile(shape, min_shape, max_shape),
        backend=EngineBackend(backend),
        keep_log=keep_log,
    )
    record = build_engine(model, out, options, console, force=force)
    console.document("lggan-build", record)
    console.line(f"{engine_path(out, model, options)}  {size(record.engine_bytes)}")
    console.line(f"{record.backend.value} {record.backend_version} for {', '.join(t.value for t in record.targets)}")
    console.line(f"convolutions: {', '.join(f'{n} in {kind}' for kind, n in record.convolutions.items())}")
    console.line(f"semantic-aware upsampling: {record.sau.value}")
    for warning in record.warnings:
        console.note(f"TensorRT: {warning}")
    console.note(record.statement)


def _shape_profile(shape: str | None, smallest: str | None, largest: str | None) -> ShapeProfile | None:
    """One shape, or a range around an optimum; None for the size that the model was trained at."""
    from engines.options import Shape, ShapeProfile
    from runtime.contract.errors import UsageError

    if shape is None and smallest is None and largest is None:
        return None
    if shape is None:
        raise UsageError("--min-shape and --max-shape need --shape, the shape that the engine is tuned for")
    optimum = Shape.parse(shape)
    return ShapeProfile(
        Shape.parse(smallest) if smallest else optimum, optimum, Shape.parse(largest) if largest else optimum
    )
