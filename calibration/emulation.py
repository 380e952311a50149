"""What FP16 arithmetic does to a model, on a machine whose ONNX Runtime has none.

ONNX Runtime's CPU provider runs FP16 models in FP32: it puts casts around each operator and then removes every pair of
casts between two of them, so that nothing is rounded and nothing overflows (measured with 1.32: 1 · 300 · 300 / 300 in
FP16 gives 300, not infinity). Accuracy measured that way is that of the rounded weights alone.

`emulate_half` therefore writes the rounding out: an FP32 graph in which the result of every FP16 operator passes
through a pair of explicit casts, FP32 to FP16 and back, which ONNX Runtime keeps because they lose precision. Sums
inside an operator stay in FP32, as in tensor cores with FP32 accumulation. A backend that fuses operators rounds less
often; the emulation is the cautious side. ``QuantizeLinear`` and ``DequantizeLinear`` stay where they are, with the
FP16 values of their scales in FP32: between them the arithmetic is that of integers.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from onnx import FunctionProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from calibration.graphs import STANDARD_DOMAINS, element_types

# operators that only move values: their results need no rounding
_MOVES = frozenset(
    ("Reshape", "Squeeze", "Unsqueeze", "Expand", "Identity", "Transpose", "Slice", "Concat", "Gather", "Split", "Pad",
     "Flatten", "DepthToSpace", "SpaceToDepth", "Tile", "Relu", "Neg", "Abs", "Max", "Min", "MaxPool", "Where")
)  # fmt: skip
# what these give is never rounded to FP16: a convolution between them multiplies the integers and sums them exactly
_INT8_EDGES = frozenset(("QuantizeLinear", "DequantizeLinear"))


def emulate_half(model: ModelProto) -> ModelProto:
    """Make the FP32 graph that computes what the FP16-typed ``model`` computes, rounding included.

    Inputs and outputs keep their names and types. Tensors keep their names; those that were FP16 are FP32 holding
    values of FP16.
    """
    types = element_types(model)
    result = ModelProto()
    result.CopyFrom(model)
    functions = {(function.domain, function.name) for function in result.functions}
    for function in result.functions:
        _emulate_body(function)
    nodes: list[NodeProto] = []
    for node in result.graph.node:
        half = [name for name in node.output if types.get(name) == TensorProto.FLOAT16]
        called = (node.domain, node.op_type) in functions  # rounds inside
        moves = node.op_type in _MOVES | _INT8_EDGES and node.domain in STANDARD_DOMAINS
        nodes.extend([node] if called or moves or not half else _rounded(node, half))
    for node in nodes:
        _widen_attributes(node)
    widened = [_widened(tensor) for tensor in result.graph.initializer]
    copies = [NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del result.graph.node[:], result.graph.initializer[:], result.graph.value_info[:]
    result.graph.node.extend(copies)
    result.graph.initializer.extend(widened)
    return result


def _emulate_body(function: FunctionProto) -> None:
    """Bodies compute in FP32 between casts (see `calibration.half`); the cast at the end becomes a pair."""
    nodes: list[NodeProto] = []
    for node in function.node:
        nodes.extend(_rounded(node, node.output) if _target(node) == TensorProto.FLOAT16 else [node])
    copies = [NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del function.node[:], function.value_info[:]
    function.node.extend(copies)


def _rounded(node: NodeProto, names: Iterable[str]) -> list[NodeProto]:
    """``node`` followed by the rounding of the outputs ``names``."""
    exact = NodeProto()
    exact.CopyFrom(node)
    pairs = []
    for name in names:
        position = list(node.output).index(name)
        exact.output[position] = f"{name}/exact"
        pairs.append(helper.make_node("Cast", [f"{name}/exact"], [f"{name}/half"], to=TensorProto.FLOAT16))
        pairs.append(helper.make_node("Cast", [f"{name}/half"], [name], to=TensorProto.FLOAT))
    _widen_attributes(exact)
    return [exact, *pairs]


def _target(node: NodeProto) -> int | None:
    """Element type that a Cast makes; None for every other node."""
    if node.op_type != "Cast" or node.domain not in STANDARD_DOMAINS:
        return None
    return next((attribute.i for attribute in node.attribute if attribute.name == "to"), None)


def _widen_attributes(node: NodeProto) -> None:
    """FP16 targets and values become FP32, except in the casts that round."""
    rounding = bool(node.output) and node.output[0].endswith("/half")
    for attribute in node.attribute:
        if attribute.name == "to" and attribute.i == TensorProto.FLOAT16 and not rounding:
            attribute.i = TensorProto.FLOAT
        elif attribute.t.data_type == TensorProto.FLOAT16:
            attribute.t.CopyFrom(_widened(attribute.t))


def _widened(tensor: TensorProto) -> TensorProto:
    if tensor.data_type != TensorProto.FLOAT16:
        return tensor
    return numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name)
