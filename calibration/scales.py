"""Which INT8 convolutions must keep FP32 scales when the graph around them becomes FP16.

A scale in FP16 makes a Q/DQ pair, and the convolution between them, FP16 on both sides without a cast. It has eleven
bits, of which a scale needs few: quantiser and dequantiser use the same rounded one, and a weight's scale that is off
by 2⁻¹¹ is off by less than the weights themselves were in FP16. Below 6.1e-5 FP16 loses bit after bit, and below 3e-8
it has only zero left, which would divide by zero or silence a channel. A convolution with such a scale stays FP32
around its INT8: TensorRT-RTX builds the same INT8 kernel for it.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper

from calibration.graphs import STANDARD_DOMAINS, is_float

_TOLERANCE = 2.0**-10  # twice what a normal FP16 number is off by
_PAIR = ("QuantizeLinear", "DequantizeLinear")
_CONVOLUTIONS = ("Conv", "ConvTranspose")


def float_scaled(model: ModelProto) -> frozenset[int]:
    """Positions of the nodes that keep FP32 scales: whole groups of Q/DQ and the convolutions that they feed.

    A group is what shares a pair or a weight: if one convolution needs FP32, so does its pair, and everybody who reads
    it.
    """
    nodes = model.graph.node
    tensors = {tensor.name: tensor for tensor in model.graph.initializer if is_float(tensor.data_type)}
    members = [i for i, node in enumerate(nodes) if _is(node, _PAIR) or _is(node, _CONVOLUTIONS)]
    makers = {nodes[i].output[0]: i for i in members if _is(nodes[i], _PAIR)}
    neighbours: dict[int, set[int]] = defaultdict(set)
    todo = []
    for i in members:
        if _is(nodes[i], _PAIR) and nodes[i].input[1] in tensors and not _holds(tensors[nodes[i].input[1]]):
            todo.append(i)
        # a QuantizeLinear reads floats that may come from anywhere: the group ends there
        for name in nodes[i].input if nodes[i].op_type != "QuantizeLinear" else ():
            if name in makers:
                neighbours[i].add(makers[name])
                neighbours[makers[name]].add(i)
    found: set[int] = set()
    while todo:
        i = todo.pop()
        if i not in found:
            found.add(i)
            todo.extend(neighbours[i])
    return frozenset(found)


def _holds(tensor: TensorProto) -> bool:
    """Whether FP16 holds all the scales in ``tensor`` precisely enough."""
    scales = numpy_helper.to_array(tensor).astype(np.float64)
    with np.errstate(over="ignore"):
        rounded = scales.astype(np.float16).astype(np.float64)
    return bool(np.all(np.abs(rounded - scales) <= _TOLERANCE * scales))


def _is(node: NodeProto, operators: tuple[str, ...]) -> bool:
    return node.domain in STANDARD_DOMAINS and node.op_type in operators
