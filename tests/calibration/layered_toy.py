"""A small graph with what cutting has to cope with: a residual addition, class heads, two branches, a dead end.

label uint8 [N, 1, H, W] -> one-hot -> stem -> body (residual) -> heads a, b -> join with a side branch -> image
float32 [N, 3, H, W].
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from calibration.maps import CalibrationMaps
from runtime.contract.card import TensorInfo
from runtime.profiler.worker import LabelMap
from tests.onnx_toys import CARD, CLASSES

WIDTH = 12
FLOAT_CARD = replace(CARD, outputs=(TensorInfo("image", "float32", ("N", 3, "H", "W")),))
NAMES = ("net/stem/Conv", "net/body/Conv", "net/side/Conv", "net/heads/Conv", "net/heads/Conv_2", "net/dead/Conv",
         "net/out/Conv")  # fmt: skip


def layered_toy() -> onnx.ModelProto:
    """FP32 graph; every convolution is eligible, ``net/dead/Conv`` without influence on the picture."""
    draw = np.random.default_rng(3)

    def weight(out: int, into: int, side: int) -> np.ndarray:
        return (draw.standard_normal((out, into, side, side)) / np.sqrt(into * side * side)).astype(np.float32)

    tensors = {
        "ids": np.arange(CLASSES, dtype=np.int32).reshape(1, CLASSES, 1, 1),
        "w_stem": weight(WIDTH, CLASSES, 3),
        "b_stem": draw.standard_normal(WIDTH).astype(np.float32) * 0.1,
        "w_body": weight(WIDTH, WIDTH, 3),
        "w_side": weight(WIDTH, CLASSES, 3),
        "w_heads": weight(WIDTH, WIDTH, 1),
        "w_heads2": weight(WIDTH, WIDTH, 1),
        "w_dead": weight(WIDTH, WIDTH, 1),
        "w_out": weight(3, 3 * WIDTH, 3),
        "back": np.array([0, 0, -1, -1], np.int64),
    }

    def node(kind: str, inputs: list[str], output: str, **attributes: object) -> onnx.NodeProto:
        return helper.make_node(kind, inputs, [output], name=output, **attributes)

    def conv(name: str, inputs: list[str], output: str, pad: int) -> onnx.NodeProto:
        return helper.make_node("Conv", inputs, [output], name=name, pads=[pad] * 4)

    nodes = [
        node("Cast", ["label"], "wide", to=TensorProto.INT32),
        node("Equal", ["wide", "ids"], "hot"),
        node("Cast", ["hot"], "onehot", to=TensorProto.FLOAT),
        conv(NAMES[0], ["onehot", "w_stem", "b_stem"], "stem", 1),
        node("Relu", ["stem"], "active"),
        conv(NAMES[1], ["active", "w_body"], "body", 1),
        node("Add", ["active", "body"], "features"),
        conv(NAMES[2], ["onehot", "w_side"], "side", 1),
        node("Sigmoid", ["side"], "gate"),
        conv(NAMES[3], ["features", "w_heads"], "head_a", 0),
        conv(NAMES[4], ["features", "w_heads2"], "head_b", 0),
        conv(NAMES[5], ["features", "w_dead"], "dead", 0),
        node("Shape", ["gate"], "gate_shape"),
        node("Reshape", ["gate", "gate_shape"], "gate_again"),
        node("Concat", ["head_a", "head_b", "gate_again"], "joined", axis=1),
        conv(NAMES[6], ["joined", "w_out"], "last", 1),
        node("Tanh", ["last"], "image"),
    ]
    used = {name for one in nodes for name in one.input}
    graph = helper.make_graph(
        nodes,
        "layered",
        [helper.make_tensor_value_info("label", TensorProto.UINT8, ["N", 1, "H", "W"])],
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, "H", "W"])],
        [numpy_helper.from_array(value, name) for name, value in tensors.items() if name in used],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def calibration_maps(count: int = 3, seed: int = 0) -> CalibrationMaps:
    """Drawn label maps of 16 x 24 pixels."""
    draw = np.random.default_rng(seed)
    labels = [draw.integers(0, CLASSES, (8, 12)).repeat(2, 0).repeat(2, 1).astype(np.uint8) for _ in range(count)]
    return CalibrationMaps(FLOAT_CARD, [LabelMap(f"map {i}", label) for i, label in enumerate(labels)], fewest=1)


def run(model: onnx.ModelProto, feed: Mapping[str, np.ndarray], names: list[str] | None = None) -> list[np.ndarray]:
    """Outputs of a graph computed as it is written."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(names, {value.name: feed[value.name] for value in session.get_inputs()})


def thresholds_of(model: onnx.ModelProto, maps: CalibrationMaps) -> dict[str, float]:
    """Largest |x| of every float tensor, over all maps."""
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    types = {i.name: i.type.tensor_type.elem_type for i in onnx.shape_inference.infer_shapes(model).graph.value_info}
    names = [name for name, kind in types.items() if kind == TensorProto.FLOAT]
    probe.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names)
    found = dict.fromkeys(names, 0.0)
    for feed in maps.feeds():
        for name, value in zip(names, run(probe, feed, names), strict=True):
            found[name] = max(found[name], float(np.abs(value).max()))
    return found
