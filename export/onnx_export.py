"""From a checkpoint to one verified ONNX file."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import onnx
import torch

from export.canonical import canonicalize
from export.constants import fold_gathers
from export.fold import folded
from export.graph_module import picture_graph
from export.layouts import CheckInput, built_in, from_maps, single_class
from export.names import BATCH, HEIGHT, IMAGE, INSTANCE, LABEL, SOURCE, WIDTH
from export.onnx_file import onnx_bytes
from export.opset import OPSET
from export.options import ExportOptions, OutputKind
from export.picture_head import append_picture_head
from export.sau_function import attach_sau_function
from export.trace import trace
from export.variants import Variant, to_variant
from export.verification import check_gate, compare, rounding_of_torch, to_card
from lggan.checkpoint import load_generator
from runtime.contract.card import ModelCard, TensorInfo
from runtime.contract.errors import BackendError
from runtime.contract.files import atomic_path, sha256_of, write_bytes
from runtime.contract.labels import check_label_map
from runtime.contract.onnx_safety import write_card
from runtime.contract.progress import Progress, SilentProgress


@dataclass(frozen=True)
class ExportResult:
    """What was written: the file, its card (with the figures of the verification), its size in bytes and in nodes."""

    path: Path
    card: ModelCard
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
        UsageError: the output exists and ``force`` is False, or the model does not fit into one ONNX file.
        MissingError: no permission to write there, or no space.
        BackendError: PyTorch's exporter or ONNX Runtime failed.
        GateError: the graph's pictures are not PyTorch's; nothing is written.
    """
    checkpoint, output = Path(checkpoint), Path(output)
    options = options or ExportOptions()
    _refuse_early(output, force)
    generator, card = load_generator(checkpoint)
    inputs = _check_inputs(options, card)
    with (progress or SilentProgress()).task(f"export {output.name}", total=3 + len(inputs) + 1) as task:
        traced = trace(picture_graph(folded(generator)))
        fold_gathers(traced)
        float_model = canonicalize(traced)
        attach_sau_function(float_model)
        task.advance(note="traced")
        model = append_picture_head(float_model) if options.output is OutputKind.IMAGE else float_model
        if options.variant is Variant.INLINED:
            float_model, model = (to_variant(each, Variant.INLINED) for each in (float_model, model))
        _check(model)
        task.advance(note="checked")

        float_bytes = onnx_bytes(float_model)
        image_bytes = onnx_bytes(model) if options.output is OutputKind.IMAGE else None
        difference = compare(generator, inputs, float_bytes, image_bytes, task)
        check_gate(difference, generator, inputs)
        one_class = single_class(card)
        one_class_difference = compare(generator, [one_class], float_bytes, image_bytes, task)
        card = replace(
            _described(card, options),
            checkpoint_sha256=sha256_of(checkpoint),
            verification=to_card(difference, one_class_difference, rounding_of_torch(generator, one_class)),
        )
        model = to_variant(model, options.variant) if options.variant is Variant.PLUGIN else model
        write_card(model, card)
        data = onnx_bytes(model)
        write_bytes(output, data, force=force)
        task.advance(note="written")
    return ExportResult(output, card, len(data), len(model.graph.node))


def _refuse_early(output: Path, force: bool) -> None:
    """Raise what writing would raise, before minutes of work; leaves nothing behind."""

    class _Enough(Exception):  # noqa: N818 - not an error: leaves the block so that nothing is put in place
        pass

    with suppress(_Enough), atomic_path(output, force=force):
        raise _Enough


def _check_inputs(options: ExportOptions, card: ModelCard) -> list[CheckInput]:
    if options.maps is None:
        return built_in(card)
    for index, label in enumerate(options.maps, start=1):
        check_label_map(label, card, f"given map {index}")
    return from_maps(list(options.maps), card)


def _check(model: onnx.ModelProto) -> None:
    """The standard's own checker, with shape inference, and the opset that was asked for."""
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        reason = str(error).strip().splitlines()[0][:300]
        raise BackendError(f"PyTorch {torch.__version__} exported an invalid graph: {reason}") from error
    versions = {entry.domain: entry.version for entry in model.opset_import}
    if versions.get("") != OPSET:
        raise BackendError(f"PyTorch {torch.__version__} exported opset {versions.get('')} instead of {OPSET}")


def _described(card: ModelCard, options: ExportOptions) -> ModelCard:
    """The card with the graph's interface and this step's line of provenance."""
    source = TensorInfo(SOURCE, "uint8", (BATCH, HEIGHT, WIDTH, 3))
    label = TensorInfo(LABEL, "uint8", (BATCH, 1, HEIGHT, WIDTH))
    instance = TensorInfo(INSTANCE, "int32", (BATCH, 1, HEIGHT, WIDTH))
    if options.output is OutputKind.IMAGE:
        image = TensorInfo(IMAGE, "uint8", (BATCH, HEIGHT, WIDTH, 3))
    else:
        image = TensorInfo(IMAGE, "float32", (BATCH, 3, HEIGHT, WIDTH))
    rewrites = "biases before instance norm dropped"
    if not card.wants_source:
        rewrites = f"batch norm folded into SPADE, {rewrites}"
    line = f"exported to ONNX opset {OPSET} ({options.variant.value}) with PyTorch {torch.__version__}: {rewrites}"
    wanted = ((source, card.wants_source), (label, True), (instance, card.instances))
    return replace(
        card,
        inputs=tuple(info for info, is_wanted in wanted if is_wanted),
        outputs=(image,),
        precision="fp32",
        provenance=(*card.provenance, line),
    )
