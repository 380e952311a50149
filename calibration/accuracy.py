"""How far a typed graph is from the FP32 graph it was made from, measured with ONNX Runtime on the CPU."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from onnx import ModelProto, TensorProto, helper

from calibration.emulation import emulate_half
from calibration.graphs import STANDARD_DOMAINS, static_shapes
from calibration.quality import Quality, picture_quality
from calibration.sessions import open_session, run_session
from runtime.contract.batch import INSTANCE, LABEL, SOURCE
from runtime.contract.card import ModelCard
from runtime.contract.progress import Progress


@dataclass(frozen=True)
class Peak:
    """The largest absolute value that a tensor reached; ``inf`` where FP16 overflowed."""

    tensor: str
    value: float


@dataclass(frozen=True)
class Accuracy:
    """Typed against FP32 graph, on the same label maps.

    Attributes:
        quality: of the pictures, map by map.
        peaks: of every FP16 tensor, in the order of the graph.
        macs: multiply-accumulates of the convolutions for one map, and of those that compute in FP16.
    """

    quality: Quality
    peaks: tuple[Peak, ...]
    macs: int
    half_macs: int

    @property
    def largest_peak(self) -> Peak:
        """The FP16 tensor that came closest to the end of FP16's range."""
        return max(self.peaks, key=lambda peak: peak.value, default=Peak("", 0.0))


def measure(
    reference: ModelProto,
    typed: ModelProto,
    card: ModelCard,
    half_nodes: Sequence[str],
    inputs: Iterable[Mapping[str, np.ndarray]],
    count: int,
    progress: Progress,
) -> Accuracy:
    """Run both graphs on ``count`` inputs; the typed one with FP16 rounding emulated.

    Raises:
        BackendError: ONNX Runtime cannot load or run one of the graphs.
    """
    emulated = emulate_half(typed)
    convolutions = _probe(emulated, half_nodes)
    half = set(half_nodes)
    exact, rounded = open_session(reference, "the FP32 graph"), open_session(emulated, "the FP16 graph")
    output = card.outputs[0].name if card.outputs else reference.graph.output[0].name
    pictures, peaks = [], dict.fromkeys(half_nodes, 0.0)
    macs = half_macs = 0
    with progress.task("compare FP16 with FP32", count) as task:
        for feeds in inputs:
            expected = run_session(exact, [output], feeds)[0]
            names = [output, *(f"{name}/peak" for name in half_nodes), *(c.shape_output for c in convolutions)]
            values = dict(zip(names, run_session(rounded, names, feeds), strict=True))
            pictures.append(picture_quality(expected, values[output]))
            for name in half_nodes:
                peak = float(values[f"{name}/peak"])
                peaks[name] = max(peaks[name], math.inf if math.isnan(peak) else peak)
            per_conv = [(c.output in half, math.prod(values[c.shape_output].tolist()) * c.factor) for c in convolutions]
            macs, half_macs = sum(n for _, n in per_conv), sum(n for flag, n in per_conv if flag)
            task.advance(1, f"{pictures[-1].psnr_db:.1f} dB")
    in_order = tuple(Peak(name, value) for name, value in peaks.items())
    return Accuracy(Quality.of(pictures), in_order, macs, half_macs)


def draw_inputs(card: ModelCard, seed: int) -> dict[str, np.ndarray]:
    """One input of the card's size, of random blocks, by the names of the graph's inputs.

    ``label`` uint8 [1, 1, H, W] (with void, where that is a value of its own), and where the model wants them
    ``instance`` int32 [1, 1, H, W] and ``source`` uint8 [1, H, W, 3], blocks of colour with grain on them.
    """
    generator = np.random.default_rng(seed)
    cell = max(card.stride // 4, 4)
    rows, columns = -(-card.height // cell), -(-card.width // cell)

    def blocks(grid: np.ndarray) -> np.ndarray:
        return grid.repeat(cell, axis=0).repeat(cell, axis=1)[: card.height, : card.width]

    values = generator.integers(0, len(card.classes) + int(card.own_void), (rows, columns)).astype(np.uint8)
    label = blocks(values)
    if card.own_void and card.void is not None:
        label = np.where(label == len(card.classes), np.uint8(card.void), label)
    feeds: dict[str, np.ndarray] = {LABEL: label[None, None]}
    if card.instances:
        feeds[INSTANCE] = blocks(generator.integers(0, 1 << 20, (rows, columns)).astype(np.int32))[None, None]
    if card.wants_source:
        colors = blocks(generator.integers(0, 256, (rows, columns, 3)))
        grain = generator.integers(-12, 13, colors.shape)
        feeds[SOURCE] = np.clip(colors + grain, 0, 255).astype(np.uint8)[None]
    return {name: np.ascontiguousarray(array) for name, array in feeds.items()}


@dataclass(frozen=True)
class _Convolution:
    output: str
    shape_output: str
    factor: int  # multiply-accumulates per element of the tensor whose shape is asked for


def _probe(model: ModelProto, half_nodes: Sequence[str]) -> list[_Convolution]:
    """Add outputs to ``model``: the peak of every FP16 tensor and the shapes that count the convolutions' work."""
    weights = static_shapes(model)  # not of initialisers alone: a weight can be cut out of a larger one
    convolutions = []
    for node in list(model.graph.node):
        if node.domain in STANDARD_DOMAINS and node.op_type in ("Conv", "ConvTranspose") and node.input[1] in weights:
            # Conv: weight [M, C/group, k, k] at each output element; ConvTranspose: [C, M/group, k, k] at each input's
            counted = node.output[0] if node.op_type == "Conv" else node.input[0]
            made = node.output[0].removesuffix("/exact")
            convolutions.append(_Convolution(made, f"{made}/shape", math.prod(weights[node.input[1]][1:])))
            model.graph.node.append(helper.make_node("Shape", [counted], [f"{made}/shape"]))
            model.graph.output.append(helper.make_tensor_value_info(f"{made}/shape", TensorProto.INT64, None))
    for name in half_nodes:
        model.graph.node.append(helper.make_node("Abs", [name], [f"{name}/abs"]))
        model.graph.node.append(helper.make_node("ReduceMax", [f"{name}/abs"], [f"{name}/peak"], keepdims=0))
        model.graph.output.append(helper.make_tensor_value_info(f"{name}/peak", TensorProto.FLOAT, None))
    return convolutions
