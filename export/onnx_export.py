"""From a checkpoint to one verified ONNX file."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import onnx
import torch

from export.branches import without_branches
from export.external_data import serialized
from export.graph_account import graph_report, write_report
from export.layouts import CheckInput, built_in, from_maps, single_class
from export.names import BATCH, HEIGHT, IMAGE, INSTANCE, LABEL, SOURCE, WIDTH
from export.onnx_file import check_graph, write_onnx
from export.opset import OPSET
from export.options import ExportOptions, OutputKind
from export.picture_head import append_picture_head
from export.proof_graph import proof_graph
from export.rewrites.plan import rewrites_of
from export.target import Target
from export.tensorrt_support import check_tensorrt_support
from export.variants import Variant, to_variant
from export.verification import check_gate, compare, rounding_of_torch, to_card
from lggan.checkpoint import load_generator
from runtime.contract.card import ModelCard, TensorInfo
from runtime.contract.errors import BackendError, UsageError
from runtime.contract.files import check_destination, sha256_of
from runtime.contract.graph_report import GraphReport
from runtime.contract.onnx_safety import write_card
from runtime.contract.progress import Progress, SilentProgress


@dataclass(frozen=True)
class ExportResult:
    """What was written.

    Attributes:
        path: the file.
        card: inside it, with the figures of the verification.
        graph: the account of what it multiplies, inside it as well.
        size: bytes, those of a file of weights beside it included.
        nodes: of the main graph.
    """

    path: Path
    card: ModelCard
    graph: GraphReport
    size: int
    nodes: int


def export_onnx(
    checkpoint: str | Path,
    output: str | Path,
    options: ExportOptions | None = None,
    progress: Progress | None = None,
    *,
    force: bool = False,
) -> ExportResult:
    """Export a generator to ONNX, compare it with PyTorch, and write the file if they agree.

    The graph takes ``label`` uint8 [N, 1, H, W] (and ``instance`` int32 [N, 1, H, W] where the card says so) and
    gives ``image``, see `OutputKind`. That of a cross-view model takes ``source`` uint8 [N, H, W, 3] before the label.
    N is free; H and W are free multiples of the card's stride. Equal checkpoints and versions give equal bytes.

    Raises:
        InputError: the checkpoint is damaged or not ours, has weights that are not finite, or a given map is unfit.
        UsageError: the output exists and ``force`` is False, or options that exclude each other.
        MissingError: no permission to write there, or no space.
        BackendError: PyTorch's exporter or ONNX Runtime failed.
        GateError: the graph's pictures are not PyTorch's; nothing is written.
    """
    checkpoint, output = Path(checkpoint), Path(output)
    options = options or ExportOptions()
    check_destination(output, checkpoint, force=force)
    if options.target is Target.CPU and options.variant is Variant.PLUGIN:
        raise UsageError("--variant plugin is for TensorRT; the graph for the CPU (--target cpu) has no plugin")
    generator, card = load_generator(checkpoint)
    inputs = _check_inputs(options, card)
    with (progress or SilentProgress()).task(f"export {output.name}", total=5 + len(inputs)) as task:
        proof_model = proof_graph(generator, options.target)
        task.advance(note="traced")
        model = without_branches(proof_model)
        if options.output is OutputKind.IMAGE:
            model = append_picture_head(model)
        _check(model)
        if options.target is Target.TENSORRT:
            check_tensorrt_support(model)
        task.advance(note="checked")

        if options.variant is Variant.INLINED:
            proof_model = to_variant(proof_model, Variant.INLINED)
        float_model = serialized(proof_model)
        del proof_model  # each holds all weights
        written = to_variant(model, options.variant)
        # What is compared is what is written, but a node without a body can't run.
        runs = model if options.variant is Variant.PLUGIN else written
        image_model = serialized(runs) if options.output is OutputKind.IMAGE else None
        difference = compare(generator, inputs, float_model, image_model, task)
        check_gate(difference, generator, inputs)
        one_class = single_class(card)
        one_class_difference = compare(generator, [one_class], float_model, image_model, task)
        report = graph_report(model, inputs[0], generator.config, rewrites_of(options.target))
        task.advance(note="counted")
        card = replace(
            _described(card, options, report),
            checkpoint_sha256=sha256_of(checkpoint),
            verification=to_card(difference, one_class_difference, rounding_of_torch(generator, one_class)),
        )
        write_card(written, card)
        write_report(written, report)
        size = write_onnx(output, written, force=force)
        task.advance(note="written")
    return ExportResult(output, card, report, size, len(written.graph.node))


def _check_inputs(options: ExportOptions, card: ModelCard) -> list[CheckInput]:
    return built_in(card) if options.maps is None else from_maps(options.maps, card)


def _check(model: onnx.ModelProto) -> None:
    """The standard's own checker, with shape inference, and the opset that was asked for."""
    check_graph(model)
    versions = {entry.domain: entry.version for entry in model.opset_import}
    if versions.get("") != OPSET:
        raise BackendError(f"PyTorch {torch.__version__} exported opset {versions.get('')} instead of {OPSET}")


def _described(card: ModelCard, options: ExportOptions, report: GraphReport) -> ModelCard:
    """The card with the graph's interface and this step's line of provenance."""
    source = TensorInfo(SOURCE, "uint8", (BATCH, HEIGHT, WIDTH, 3))
    label = TensorInfo(LABEL, "uint8", (BATCH, 1, HEIGHT, WIDTH))
    instance = TensorInfo(INSTANCE, "int32", (BATCH, 1, HEIGHT, WIDTH))
    if options.output is OutputKind.IMAGE:
        image = TensorInfo(IMAGE, "uint8", (BATCH, HEIGHT, WIDTH, 3))
    else:
        image = TensorInfo(IMAGE, "float32", (BATCH, 3, HEIGHT, WIDTH))
    line = (
        f"exported to ONNX opset {OPSET} for {options.target.value} ({options.variant.value}) with PyTorch "
        f"{torch.__version__}; exact rewrites: {', '.join(saving.rewrite for saving in report.savings) or 'none'}"
    )
    wanted = ((source, card.wants_source), (label, True), (instance, card.instances))
    return replace(
        card,
        inputs=tuple(info for info, is_wanted in wanted if is_wanted),
        outputs=(image,),
        precision="fp32",
        target=options.target.value,
        provenance=(*card.provenance, line),
    )
