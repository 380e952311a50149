"""Tiny ONNX files with a card, for tests of the runtime: pictures that are a plain function of the label."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from runtime.contract.card import CARD_KEY, ClassInfo, ModelCard, TensorInfo

SOURCE = TensorInfo("source", "uint8", ("N", "H", "W", 3))
LABEL = TensorInfo("label", "uint8", ("N", 1, "H", "W"))
INSTANCE = TensorInfo("instance", "int32", ("N", 1, "H", "W"))
IMAGE = TensorInfo("image", "uint8", ("N", "H", "W", 3))
FLOAT_IMAGE = TensorInfo("image", "float32", ("N", 3, "H", "W"))

CLASSES = (
    ClassInfo("sky", (128, 128, 128)),
    ClassInfo("road", (128, 64, 128)),
    ClassInfo("car", (64, 0, 128)),
    ClassInfo("void", (0, 0, 0)),
)
CARD = ModelCard(
    name="toy",
    task="semantic-synthesis",
    classes=CLASSES,
    void=3,
    height=8,
    width=16,
    stride=4,
    inputs=(LABEL,),
    outputs=(IMAGE,),
)
FLOAT_CARD = replace(CARD, outputs=(FLOAT_IMAGE,))
INSTANCE_CARD = replace(CARD, inputs=(LABEL, INSTANCE), instances=True)
CROSS_VIEW_CARD = replace(CARD, task="cross-view", classes=CLASSES[:3], void=255, inputs=(SOURCE, LABEL))

_TYPES = {"uint8": TensorProto.UINT8, "int32": TensorProto.INT32, "float32": TensorProto.FLOAT}


def byte_nodes() -> list[onnx.NodeProto]:
    """image[n, y, x] = (10 id, 10 id, 10 id); with an instance input its value is added."""
    return [
        helper.make_node("Cast", ["label"], ["wide"], to=TensorProto.INT32),
        helper.make_node("Constant", [], ["ten"], value_int=10),
        helper.make_node("Cast", ["ten"], ["ten32"], to=TensorProto.INT32),
        helper.make_node("Mul", ["wide", "ten32"], ["scaled"]),
        helper.make_node("Concat", ["scaled"] * 3, ["nchw"], axis=1),
        helper.make_node("Transpose", ["nchw"], ["nhwc"], perm=[0, 2, 3, 1]),
        helper.make_node("Cast", ["nhwc"], ["image"], to=TensorProto.UINT8),
    ]


def instance_nodes() -> list[onnx.NodeProto]:
    """image = 10 id + instance, in every channel."""
    nodes = byte_nodes()
    nodes[3].output[0] = "alone"
    nodes.insert(4, helper.make_node("Add", ["alone", "instance"], ["scaled"]))
    return nodes


def cross_view_nodes() -> list[onnx.NodeProto]:
    """image = the larger of source and 10 id in every channel, 245 at most."""
    return [
        helper.make_node("Cast", ["source"], ["photo"], to=TensorProto.INT32),
        helper.make_node("Cast", ["label"], ["ids"], to=TensorProto.INT32),
        helper.make_node("Transpose", ["ids"], ["plane"], perm=[0, 2, 3, 1]),
        helper.make_node("Constant", [], ["ten"], value_int=10),
        helper.make_node("Cast", ["ten"], ["ten32"], to=TensorProto.INT32),
        helper.make_node("Mul", ["plane", "ten32"], ["scaled"]),
        helper.make_node("Constant", [], ["limit"], value_int=245),
        helper.make_node("Cast", ["limit"], ["limit32"], to=TensorProto.INT32),
        helper.make_node("Max", ["photo", "scaled"], ["larger"]),
        helper.make_node("Min", ["larger", "limit32"], ["cut"]),
        helper.make_node("Cast", ["cut"], ["image"], to=TensorProto.UINT8),
    ]


def cross_view_picture(label: np.ndarray, source: np.ndarray) -> np.ndarray:
    """What `cross_view_nodes` gives for [H, W] and [H, W, 3]."""
    return np.minimum(np.maximum(source, 10 * label.astype(np.int64)[..., None]), 245).astype(np.uint8)


def float_nodes(divisor: float) -> list[onnx.NodeProto]:
    """image[n, c] = id / divisor - 1; a divisor of 0 gives infinity and not-a-number."""
    return [
        helper.make_node("Cast", ["label"], ["wide"], to=TensorProto.FLOAT),
        helper.make_node("Constant", [], ["divisor"], value_float=divisor),
        helper.make_node("Constant", [], ["one"], value_float=1.0),
        helper.make_node("Div", ["wide", "divisor"], ["ratio"]),
        helper.make_node("Sub", ["ratio", "one"], ["grey"]),
        helper.make_node("Concat", ["grey"] * 3, ["image"], axis=1),
    ]


def write_model(
    path: Path,
    card: ModelCard | None = CARD,
    nodes: list[onnx.NodeProto] | None = None,
    inputs: tuple[TensorInfo, ...] | None = None,
    outputs: tuple[TensorInfo, ...] | None = None,
) -> Path:
    """Write a model; ``inputs`` and ``outputs`` of the graph are those of the card unless given."""
    shown = card or CARD
    graph = helper.make_graph(
        nodes or byte_nodes(),
        "toy",
        [_value(info) for info in inputs or shown.inputs],
        [_value(info) for info in outputs or shown.outputs],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    if card is not None:
        entry = model.metadata_props.add()
        entry.key, entry.value = CARD_KEY, card.to_json()
    path.write_bytes(model.SerializeToString())
    return path


def _value(info: TensorInfo) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(info.name, _TYPES[info.dtype], list(info.shape))
