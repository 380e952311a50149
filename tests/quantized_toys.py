"""Graphs to quantise: one by hand that has every case in it, and what a calibration would find in a graph."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

SIDE = 12
EVERY = ("first", "left", "right", "head_0", "head_1", "depthwise", "up", "last")


def weights_of_cases() -> dict[str, np.ndarray]:
    """float32; ``w_*`` [out, in / group, h, w] (``w_up`` [in, out, h, w]), ``b_*`` [out]."""
    draw = np.random.default_rng(11)
    shapes = {
        "w_first": (6, 4, 3, 3),
        "w_left": (6, 6, 1, 1),
        "w_right": (4, 6, 3, 3),
        "w_head_0": (2, 6, 3, 3),
        "w_head_1": (2, 6, 3, 3),
        "w_depthwise": (6, 1, 3, 3),
        "w_up": (4, 3, 4, 4),
        "w_last": (2, 6, 1, 1),
    }
    weights = {
        name: (draw.standard_normal(shape) * np.prod(shape[1:]) ** -0.5).astype(np.float32)
        for name, shape in shapes.items()
    }
    biases = {"b_first": 6, "b_right": 4, "b_head_0": 2, "b_up": 3, "b_last": 2}
    return weights | {name: draw.standard_normal(size).astype(np.float32) for name, size in biases.items()}


def all_cases() -> onnx.ModelProto:
    """x [N, 4, H, W] and mark [N, 1, H, W] float -> heads [N, 4, H, W], up [N, 3, 2H, 2W], picture [N, 2, H, W].

    A convolution with ``Relu`` behind it, two that read the same tensor, a residual addition into a ``Tanh``, heads
    behind masks and ``Pad``, one in groups, a transposed one, one that makes a result; with bias and without.
    """
    node = helper.make_node
    same = {"pads": [1, 1, 1, 1]}
    nodes = [
        node("Greater", ["mark", "zero"], ["is_0"], "compare"),
        node("Not", ["is_0"], ["is_1"], "other"),
        node("Cast", ["is_0"], ["mask_0"], "mask_0", to=TensorProto.FLOAT),
        node("Cast", ["is_1"], ["mask_1"], "mask_1", to=TensorProto.FLOAT),
        node("Conv", ["x", "w_first", "b_first"], ["a"], "first", **same),
        node("Relu", ["a"], ["ra"], "relu"),
        node("Conv", ["ra", "w_left"], ["l"], "left"),
        node("Add", ["l", "ra"], ["sum"], "residual"),
        node("Tanh", ["sum"], ["features"], "tanh"),
        node("Conv", ["ra", "w_right", "b_right"], ["r"], "right", **same),
        node("Mul", ["features", "mask_0"], ["masked_0"], "mask_features_0"),
        node("Mul", ["mask_1", "features"], ["masked_1"], "mask_features_1"),
        node("Pad", ["masked_0", "around"], ["padded_0"], "pad_0", mode="reflect"),
        node("Pad", ["masked_1", "around"], ["padded_1"], "pad_1", mode="reflect"),
        node("Conv", ["padded_0", "w_head_0", "b_head_0"], ["h0"], "head_0"),
        node("Conv", ["padded_1", "w_head_1"], ["h1"], "head_1"),
        node("Concat", ["h0", "h1"], ["heads"], "join", axis=1),
        node("Conv", ["features", "w_depthwise"], ["d"], "depthwise", group=6, dilations=[2, 2], pads=[2, 2, 2, 2]),
        node("ConvTranspose", ["r", "w_up", "b_up"], ["up"], "up", strides=[2, 2], pads=[1, 1, 1, 1]),
        node("Conv", ["d", "w_last", "b_last"], ["picture"], "last"),
    ]
    constants = {"zero": np.array(0, np.float32), "around": np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64)}
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "cases",
        [info("x", TensorProto.FLOAT, ["N", 4, "H", "W"]), info("mark", TensorProto.FLOAT, ["N", 1, "H", "W"])],
        [
            info("heads", TensorProto.FLOAT, ["N", 4, "H", "W"]),
            info("up", TensorProto.FLOAT, ["N", 3, "2H", "2W"]),
            info("picture", TensorProto.FLOAT, ["N", 2, "H", "W"]),
        ],
        [numpy_helper.from_array(value, name) for name, value in (weights_of_cases() | constants).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def case_inputs(seed: int = 5) -> dict[str, np.ndarray]:
    """Inputs of `all_cases`, N = 1."""
    draw = np.random.default_rng(seed)
    return {
        "x": draw.standard_normal((1, 4, SIDE, SIDE)).astype(np.float32),
        "mark": draw.standard_normal((1, 1, SIDE, SIDE)).astype(np.float32),
    }


def run(
    model: onnx.ModelProto, feeds: Mapping[str, np.ndarray], names: Sequence[str] | None = None, optimise: bool = False
) -> list[np.ndarray]:
    """Outputs of a graph; node by node as it is written, unless ONNX Runtime may ``optimise`` it."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    if not optimise:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return list(session.run(names, dict(feeds)))


def largest_values(model: onnx.ModelProto, tensors: Iterable[str], feeds: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Largest |x| of each tensor in one run."""
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    names = list(tensors)
    given = {value.name for value in (*model.graph.output, *model.graph.input)}
    for name in names:
        if name not in given:
            probe.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    inside = [name for name in names if name not in feeds]
    found = dict(feeds) | dict(zip(inside, run(probe, feeds, inside) if inside else [], strict=True))
    return {name: float(np.abs(found[name]).max()) for name in names}


def exported_generator(folder: Path) -> onnx.ModelProto:
    """The preset `tiny` with random weights, exported for TensorRT; a picture of bytes. Skips without PyTorch."""
    pytest.importorskip("torch")
    pytest.importorskip("onnxscript")
    from export.target import Target
    from lggan.checkpoint import save_generator
    from tests.export.samples import Case, Sample, random_generator
    from tests.export.small_exports import exported_graph

    generator, card = random_generator(Case())
    save_generator(folder / "tiny.safetensors", generator, card)
    model = onnx.ModelProto()
    sample = Sample(folder / "tiny.safetensors", generator, card)
    model.CopyFrom(exported_graph(sample, Case(), Target.TENSORRT, folder))
    return model


def tiny_label(side: int, seed: int = 3) -> np.ndarray:
    """A label map of blocks for `exported_generator`, uint8 [1, 1, side, side]."""
    blocks = np.random.default_rng(seed).integers(0, 3, (1, 1, -(-side // 8), -(-side // 8))).astype(np.uint8)
    return np.ascontiguousarray(blocks.repeat(8, axis=2).repeat(8, axis=3)[:, :, :side, :side])
