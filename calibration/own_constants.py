"""Changing the constants of single nodes of a graph, others that share them left alone."""

from __future__ import annotations

from collections import Counter

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper

from calibration.convolutions import Convolution


class OwnConstants:
    """The initialisers of a graph, each node's as its own; `write` puts the changed ones into the graph."""

    def __init__(self, model: ModelProto) -> None:
        """Take a model that may be changed; its constants are initialisers."""
        self._graph = model.graph
        self._tensors: dict[str, TensorProto] = {tensor.name: tensor for tensor in model.graph.initializer}
        self._uses = Counter(name for node in model.graph.node for name in node.input)
        self._uses.update(value.name for value in model.graph.output)
        self._taken = {name for node in model.graph.node for name in (*node.input, *node.output)} | set(self._tensors)
        self._changed: dict[str, np.ndarray] = {}

    def multiply_outputs(self, node: NodeProto, first: int, factors: np.ndarray) -> None:
        """Multiply what a convolution or an instance normalisation makes.

        Args:
            node: of the graph; all its inputs but the first are initialisers.
            first: output channel that the factors begin at.
            factors: float32 [C], greater than zero.
        """
        for position in range(1, len(node.input)):
            if not node.input[position]:
                continue
            values = self._own(node, position)
            axis = 1 if node.op_type == "ConvTranspose" and position == 1 else 0
            rows = np.moveaxis(values, axis, 0)[first : first + len(factors)]  # a view
            rows *= factors.reshape(-1, *[1] * (rows.ndim - 1))

    def multiply_inputs(self, node: NodeProto, convolution: Convolution, factors: np.ndarray) -> None:
        """Multiply the weight of a convolution along its input channels.

        Args:
            node: of the graph, which is ``convolution``.
            convolution: see `calibration.convolutions`.
            factors: float32 [C], greater than zero.
        """
        weight = self._own(node, 1)
        weight *= along_inputs(convolution, factors, weight)

    def write(self) -> None:
        """Put the changed constants into the graph."""
        for name, values in self._changed.items():
            tensor = numpy_helper.from_array(values, name)
            if name in self._tensors:
                self._tensors[name].CopyFrom(tensor)
            else:
                self._graph.initializer.append(tensor)
        self._changed.clear()

    def _own(self, node: NodeProto, position: int) -> np.ndarray:
        """The constant at an input of ``node``, which nobody else reads; it may be changed in place."""
        name = node.input[position]
        if name in self._changed and self._uses[name] == 1:
            return self._changed[name]
        values = numpy_helper.to_array(self._tensors[name]).copy()
        if self._uses[name] > 1:
            self._uses[name] -= 1
            name = self._fresh(f"{name}/of/{node.name or node.output[0]}")
            self._uses[name] = 1
            node.input[position] = name
        self._changed[name] = values
        return values

    def _fresh(self, name: str) -> str:
        while name in self._taken:
            name += "_"
        self._taken.add(name)
        return name


def along_inputs(convolution: Convolution, factors: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Factors of the input channels, float32 [C], in a shape that multiplies the convolution's ``weight``."""
    if convolution.op_type == "ConvTranspose":
        return factors.reshape(-1, 1, 1, 1)
    groups = factors.reshape(convolution.group, -1)
    return np.repeat(groups, len(weight) // convolution.group, axis=0)[:, :, None, None]
