"""The convolutions of a graph that INT8 can compute, and how much work each of them is.

Eligible is a ``Conv`` or ``ConvTranspose`` of the main graph with a constant float32 weight. Left out, because TensorRT
has no INT8 kernel for them or because this project never makes them:

* weights that are computed: INT8 wants them, and their scales, when the engine is built;
* one and three spatial dimensions: the kernels are made for pictures;
* ``ConvTranspose`` in groups: its output channels are spread over two axes of the weight, a scale has only one;
* inputs that are constants: such a convolution is folded away before anything runs;
* bodies of functions: their arithmetic is a kernel of its own, with types of its own.

Strides, dilations, and groups of a ``Conv``, one per channel included, are no obstacle. A ``ConvTranspose`` gains
less: TensorRT has INT8 kernels for it, but TensorRT-RTX 1.7 (seen in its log) and ONNX Runtime have none, and compute
it from the rounded values in the type around it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper

from calibration.graphs import STANDARD_DOMAINS
from calibration.sessions import open_session, run_session
from runtime.contract.errors import InputError

_OPERATORS = ("Conv", "ConvTranspose")
_SPATIAL = 2


@dataclass(frozen=True)
class Convolution:
    """One eligible convolution.

    Attributes:
        name: of its node.
        op_type: ``Conv`` or ``ConvTranspose``.
        input, weight, output: names of its tensors.
        bias: name of the bias, None without one.
        axis: of the weight that counts output channels: 0 for ``Conv``, whose weight is [out, in / group, h, w], and 1
            for ``ConvTranspose``, [in, out, h, w].
        group: 1 or more.
        channels: of the output.
        macs_per_element: multiply-accumulates for each element of ``counted``.
        counted: the tensor whose elements count the work: the output of a ``Conv``, the input of a ``ConvTranspose``.
    """

    name: str
    op_type: str
    input: str
    weight: str
    bias: str | None
    output: str
    axis: int
    group: int
    channels: int
    macs_per_element: int

    @property
    def counted(self) -> str:
        return self.output if self.op_type == "Conv" else self.input


def find_convolutions(model: ModelProto) -> tuple[Convolution, ...]:
    """Find the eligible convolutions of the main graph, in its order.

    Raises:
        InputError: one of them has no name, or two of them have the same.
    """
    weights = _constant_tensors(model.graph)
    found = []
    for node in model.graph.node:
        weight = weights.get(node.input[1]) if _is_convolution(node) else None
        if weight is None or weight.data_type != TensorProto.FLOAT or len(weight.dims) != _SPATIAL + 2:
            continue
        group = next((attribute.i for attribute in node.attribute if attribute.name == "group"), 1)
        if node.input[0] in weights or (node.op_type == "ConvTranspose" and group != 1):
            continue
        found.append(
            Convolution(
                name=node.name,
                op_type=node.op_type,
                input=node.input[0],
                weight=node.input[1],
                bias=node.input[2] if len(node.input) > 2 and node.input[2] else None,
                output=node.output[0],
                axis=0 if node.op_type == "Conv" else 1,
                group=group,
                channels=weight.dims[0] if node.op_type == "Conv" else weight.dims[1],
                macs_per_element=math.prod(weight.dims[1:]),
            )
        )
    _refuse_unclear_names(found)
    return tuple(found)


def count_macs(
    model: ModelProto, convolutions: Iterable[Convolution], feed: Mapping[str, np.ndarray]
) -> dict[str, int]:
    """Multiply-accumulates of each convolution for one picture of the size of ``feed``.

    The graph runs once: sizes in it may depend on anything.

    Args:
        model: FP32 graph.
        convolutions: of that graph.
        feed: its inputs by name, N pictures.

    Returns:
        Name of the convolution -> multiply-accumulates, in the given order.

    Raises:
        BackendError: ONNX Runtime cannot load or run the graph.
    """
    convolutions = tuple(convolutions)
    if not convolutions:
        return {}
    counted = tuple(dict.fromkeys(convolution.counted for convolution in convolutions))
    probe = ModelProto()
    probe.CopyFrom(model)
    del probe.graph.output[:]
    names = [f"{tensor}/counted_shape" for tensor in counted]
    for tensor, name in zip(counted, names, strict=True):
        probe.graph.node.append(helper.make_node("Shape", [tensor], [name]))
        probe.graph.output.append(helper.make_tensor_value_info(name, TensorProto.INT64, [_SPATIAL + 2]))
    shapes = dict(zip(counted, run_session(open_session(probe, "the FP32 graph"), names, feed), strict=True))
    # elements of one picture: without the first side, the number of pictures
    return {
        convolution.name: math.prod(shapes[convolution.counted].tolist()[1:]) * convolution.macs_per_element
        for convolution in convolutions
    }


def _is_convolution(node: NodeProto) -> bool:
    return node.domain in STANDARD_DOMAINS and node.op_type in _OPERATORS


def _constant_tensors(graph: GraphProto) -> dict[str, TensorProto]:
    """Initialisers that no input can replace, and the tensors in Constant nodes."""
    replaceable = {value.name for value in graph.input}
    tensors = {tensor.name: tensor for tensor in graph.initializer if tensor.name not in replaceable}
    for node in graph.node:
        if node.op_type == "Constant" and node.domain in STANDARD_DOMAINS:
            tensors.update((node.output[0], attribute.t) for attribute in node.attribute if attribute.name == "value")
    return tensors


def _refuse_unclear_names(found: list[Convolution]) -> None:
    for name, count in Counter(convolution.name for convolution in found).items():
        if not name or count > 1:
            what = f"{count} convolutions are called {name!r}" if name else f"{count} convolutions have no name"
            raise InputError(f"{what}; export the model again, `lggan export` names every node once")
