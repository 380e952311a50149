"""One convolution of a graph, run alone with other inputs and weights: what quantising it does to its output."""

from __future__ import annotations

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper

from calibration.sessions import open_session, run_session
from calibration.weights import INT8_MAX, quantize_weight


class SingleConvolution:
    """A ``Conv`` or ``ConvTranspose`` without its bias, as a function of input and weight."""

    def __init__(self, model: ModelProto, node: NodeProto, threads: int | None = None) -> None:
        """Take the convolution ``node`` of ``model``.

        Raises:
            BackendError: ONNX Runtime does not take it.
        """
        alone = helper.make_node(node.op_type, ["x", "w"], ["y"])
        alone.attribute.extend(node.attribute)
        values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * 4) for name in ("x", "w", "y")]
        graph = helper.make_graph([alone], "convolution", values[:2], values[2:])
        opsets = [opset for opset in model.opset_import if not opset.domain]
        part = helper.make_model(graph, opset_imports=opsets, ir_version=model.ir_version)
        self._session = open_session(part, f"the convolution {node.name!r} alone", threads)

    def __call__(self, values: np.ndarray, weight: np.ndarray) -> np.ndarray:
        """Float32 output, [N, C, H, W], of a float32 input [N, C, H, W] and a weight of the convolution's shape."""
        return run_session(self._session, ["y"], {"x": values, "w": weight})[0]


def rounded_activation(values: np.ndarray, threshold: float) -> np.ndarray:
    """What is left of float32 ``values`` in INT8: 127 levels on either side of zero, up to ``threshold`` > 0."""
    step = np.float32(threshold / INT8_MAX)
    levels = np.rint(values / step)
    return np.clip(levels, -INT8_MAX, INT8_MAX, out=levels) * step


def rounded_weight(weight: np.ndarray, axis: int, name: str) -> np.ndarray:
    """What is left of a float32 weight in INT8 with a scale for each of its output channels, which ``axis`` counts.

    Raises:
        InputError: the weight ``name`` has values that are not finite.
    """
    quantized = quantize_weight(weight, axis, name)
    shape = [1] * weight.ndim
    shape[axis] = -1
    return quantized.values * quantized.scales.reshape(shape)
