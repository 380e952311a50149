"""Weights that the exporter left to be cut out at run time become weights of their own."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper


def fold_gathers(model: onnx.ModelProto) -> None:
    """Replace every ``Gather`` of one entry of a weight's first axis by the gathered weight, in place.

    The exporter folds small constants only. A bank of per-class weights is one large tensor, out of which it would
    gather each class's weights anew for every picture, and quantisation looks for weights that are constants.
    Entry i of ``name`` is called ``name.i``.
    """
    graph = model.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    folded: list[onnx.NodeProto] = []
    for node in graph.node:
        if (node.domain, node.op_type) != ("", "Gather") or not all(name in weights for name in node.input):
            continue
        index = numpy_helper.to_array(weights[node.input[1]])
        axis = next((helper.get_attribute_value(attribute) for attribute in node.attribute), 0)
        if index.ndim or axis:
            continue
        name = f"{node.input[0]}.{int(index)}"
        if name not in weights:
            entry = numpy_helper.to_array(weights[node.input[0]])[int(index)]
            weights[name] = numpy_helper.from_array(np.ascontiguousarray(entry), name)
            graph.initializer.append(weights[name])
        _rename_input(graph, node.output[0], name)
        folded.append(node)
    for node in folded:
        graph.node.remove(node)


def _rename_input(graph: onnx.GraphProto, before: str, after: str) -> None:
    for node in graph.node:
        for position, name in enumerate(node.input):
            if name == before:
                node.input[position] = after
