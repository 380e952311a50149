"""A small generator written node by node, in the form that exported models have: for tests of what comes after export.

label uint8 [N, 1, H, W] -> one-hot by comparison -> convolutions, instance normalisation, a node
``lggan::SemanticAwareUpsample`` with a function body -> tanh -> image uint8 [N, H, W, 3].
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from runtime.contract.card import ClassInfo, ModelCard, TensorInfo
from runtime.contract.onnx_safety import write_card

CLASSES = 4
CHANNELS = 8
CARD = ModelCard(
    name="toy",
    task="semantic-synthesis",
    classes=tuple(ClassInfo(f"class {i}", (i, 2 * i, 3 * i)) for i in range(CLASSES)),
    void=None,
    height=16,
    width=24,
    stride=4,
    inputs=(TensorInfo("label", "uint8", ("N", 1, "H", "W")),),
    outputs=(TensorInfo("image", "uint8", ("N", "H", "W", 3)),),
    provenance=("drawn by hand",),
    checkpoint_sha256="0" * 64,
)
CROSS_VIEW_CARD = replace(
    CARD,
    task="cross-view",
    void=255,
    inputs=(TensorInfo("source", "uint8", ("N", "H", "W", 3)), *CARD.inputs),
)


def toy_model(scale: float = 1.0, float_output: bool = False, decomposed_norm: bool = False) -> onnx.ModelProto:
    """The toy; ``scale`` multiplies the first convolution's weights."""
    generator = np.random.default_rng(7)
    tensors = {
        "ids": np.arange(CLASSES, dtype=np.int32).reshape(1, CLASSES, 1, 1),
        "w1": (generator.standard_normal((CHANNELS, CLASSES, 3, 3)) * 0.3 * scale).astype(np.float32),
        "b1": generator.standard_normal(CHANNELS).astype(np.float32) * 0.1,
        "one": np.ones(CHANNELS, np.float32),
        "zero": np.zeros(CHANNELS, np.float32),
        "eps": np.array(1e-5, np.float32),
        "two": np.array(2.0, np.float32),
        "axes": np.array([2, 3], np.int64),
        "w2": (generator.standard_normal((4, CHANNELS, 1, 1)) * 0.5).astype(np.float32),
        "w3": (generator.standard_normal((3, CHANNELS, 3, 3)) * 0.2).astype(np.float32),
        "half": np.array(127.5, np.float32),
        "unit": np.array(1.0, np.float32),
        "low": np.array(0.0, np.float32),
        "high": np.array(255.0, np.float32),
        "scales": np.array([1, 1, 0.5, 0.5], np.float32),
    }
    node = helper.make_node
    nodes = [
        node("Cast", ["label"], ["wide"], "widen", to=TensorProto.INT32),
        node("Equal", ["wide", "ids"], ["hot"], "compare"),
        node("Cast", ["hot"], ["onehot"], "one_hot", to=TensorProto.FLOAT),
        node("Resize", ["onehot", "", "scales"], ["layout"], "shrink", mode="nearest", nearest_mode="floor",
             coordinate_transformation_mode="asymmetric"),
        node("Conv", ["layout", "w1", "b1"], ["c1"], "conv1", pads=[1, 1, 1, 1]),
        *(_written_out_norm() if decomposed_norm else _norm()),
        node("LeakyRelu", ["n1"], ["r1"], "leak", alpha=0.2),
        node("Conv", ["r1", "w2"], ["logits"], "conv2"),
        node("SemanticAwareUpsample", ["r1", "logits"], ["up"], "sau", domain="lggan", kernel=1, scale=2, dilation=1,
             plugin_namespace="lggan", plugin_version="1"),
        node("Conv", ["up", "w3"], ["c3"], "conv3", pads=[1, 1, 1, 1]),
        node("Tanh", ["c3"], ["image" if float_output else "t"], "tanh"),
    ]  # fmt: skip
    output = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, "H", "W"])
    if not float_output:
        nodes += [
            node("Add", ["t", "unit"], ["lifted"], "lift"),
            node("Mul", ["lifted", "half"], ["levels"], "level"),
            node("Clip", ["levels", "low", "high"], ["clipped"], "clip"),
            node("Round", ["clipped"], ["rounded"], "round"),
            node("Transpose", ["rounded"], ["pixels"], "pack", perm=[0, 2, 3, 1]),
            # last of all: TensorRT has uint8 at the edges of a network only
            node("Cast", ["pixels"], ["image"], "to_bytes", to=TensorProto.UINT8),
        ]
        output = helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", "H", "W", 3])
    used = {name for n in nodes for name in n.input}
    graph = helper.make_graph(
        nodes,
        "toy",
        [helper.make_tensor_value_info("label", TensorProto.UINT8, ["N", 1, "H", "W"])],
        [output],
        [numpy_helper.from_array(value, name) for name, value in tensors.items() if name in used],
    )
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", 18), helper.make_opsetid("lggan", 1)],
        functions=[sau_function()],
        ir_version=8,
        producer_name="test",
    )
    card = CARD if not float_output else replace(CARD, outputs=(TensorInfo("image", "float32", ("N", 3, "H", "W")),))
    write_card(model, card)
    return model


def cross_view_toy() -> onnx.ModelProto:
    """The toy behind a cross-view model's inputs: source uint8 [N, H, W, 3], and label through a table of colours."""
    model = toy_model()
    draw = np.random.default_rng(8)
    colors = np.full((256, 3), -1, np.float32)  # black
    colors[:CLASSES] = draw.uniform(-1, 1, (CLASSES, 3))
    tensors = {
        "colors": colors,
        "zero_index": np.array(0, np.int64),
        "range": np.array(127.5, np.float32),
        "w1": (draw.standard_normal((CHANNELS, 6, 3, 3)) * 0.3).astype(np.float32),
    }
    node = helper.make_node
    head = [
        node("Cast", ["source"], ["photo"], "photo", to=TensorProto.FLOAT),
        node("Div", ["photo", "range"], ["lit"], "light"),
        node("Sub", ["lit", "unit"], ["view"], "view"),
        node("Cast", ["label"], ["wide"], "widen", to=TensorProto.INT32),
        node("Gather", ["wide", "zero_index"], ["plane"], "plane", axis=1),
        node("Gather", ["colors", "plane"], ["painted"], "paint"),
        node("Concat", ["view", "painted"], ["both"], "join", axis=3),
        node("Transpose", ["both"], ["conditions"], "pack_in", perm=[0, 3, 1, 2]),
        node("Conv", ["conditions", "w1", "b1"], ["c1"], "conv1", pads=[1, 1, 1, 1], strides=[2, 2]),
    ]
    tail = list(model.graph.node)[5:]
    kept = [tensor for tensor in model.graph.initializer if tensor.name not in ("w1", "ids", "scales")]
    del model.graph.node[:], model.graph.initializer[:], model.graph.input[:]
    model.graph.node.extend([*head, *tail])
    model.graph.initializer.extend([*kept, *(numpy_helper.from_array(value, name) for name, value in tensors.items())])
    for info in CROSS_VIEW_CARD.inputs:
        model.graph.input.append(helper.make_tensor_value_info(info.name, TensorProto.UINT8, list(info.shape)))
    write_card(model, CROSS_VIEW_CARD)
    return model


def sau_function() -> onnx.FunctionProto:
    """feature [N, C, H, W], logits [N, 4, H, W] -> [N, C, 2H, 2W]: sub-pixel i is feature * softmax(logits)[i]."""
    node = helper.make_node
    nodes = [
        node("Softmax", ["logits"], ["weights"], axis=1),
        node("Constant", [], ["one"], value_ints=[1]),
        node("Unsqueeze", ["feature", "one"], ["column"]),  # [N, 1, C, H, W]
        node("Constant", [], ["two"], value_ints=[2]),
        node("Unsqueeze", ["weights", "two"], ["row"]),  # [N, 4, 1, H, W]
        node("Mul", ["column", "row"], ["parts"]),  # [N, 4, C, H, W]
        node("Shape", ["feature"], ["n"], start=0, end=1),
        node("Constant", [], ["rest"], value_ints=[-1]),
        node("Shape", ["feature"], ["size"], start=2, end=4),
        node("Concat", ["n", "rest", "size"], ["shape"], axis=0),
        node("Reshape", ["parts", "shape"], ["flat"]),  # [N, 4C, H, W]
        node("DepthToSpace", ["flat"], ["output"], blocksize=2, mode="DCR"),
    ]
    return helper.make_function(
        "lggan",
        "SemanticAwareUpsample",
        ["feature", "logits"],
        ["output"],
        nodes,
        [helper.make_opsetid("", 18)],
        ["kernel", "scale", "dilation", "plugin_namespace", "plugin_version"],
    )


def save(model: onnx.ModelProto, path: Path) -> Path:
    path.write_bytes(model.SerializeToString())
    return path


def _norm() -> list[onnx.NodeProto]:
    return [helper.make_node("InstanceNormalization", ["c1", "one", "zero"], ["n1"], "norm")]


def _written_out_norm() -> list[onnx.NodeProto]:
    """Instance normalisation from elementary operators, as exporters decompose it."""
    node = helper.make_node
    return [
        node("ReduceMean", ["c1", "axes"], ["mean"], "mean"),
        node("Sub", ["c1", "mean"], ["centred"], "centre"),
        node("Pow", ["centred", "two"], ["squares"], "square"),
        node("ReduceMean", ["squares", "axes"], ["variance"], "variance"),
        node("Add", ["variance", "eps"], ["safe"], "epsilon"),
        node("Sqrt", ["safe"], ["deviation"], "root"),
        node("Div", ["centred", "deviation"], ["n1"], "divide"),
    ]
