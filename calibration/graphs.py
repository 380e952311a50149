"""Small questions about ONNX graphs that several files of this room ask."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import onnx
from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, numpy_helper

from runtime.contract.errors import BackendError, InputError

STANDARD_DOMAINS = ("", "ai.onnx")


def element_types(model: ModelProto) -> dict[str, int]:
    """Element type (``TensorProto.DataType``) of every tensor of the main graph, by strict inference.

    Raises:
        InputError: the graph contradicts itself.
        BackendError: inference left a tensor without a type.
    """
    try:
        inferred = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
    except (onnx.shape_inference.InferenceError, onnx.checker.ValidationError, ValueError, RuntimeError) as error:
        raise InputError(
            f"the graph contradicts itself: {str(error).splitlines()[0][:300]}; export it again"
        ) from error
    graph = inferred.graph
    types = {info.name: info.type.tensor_type.elem_type for info in (*graph.input, *graph.value_info, *graph.output)}
    types.update((tensor.name, tensor.data_type) for tensor in graph.initializer)
    unknown = [name for node in graph.node for name in node.output if name and not types.get(name)]
    if unknown:
        raise BackendError(f"ONNX could not tell the type of {len(unknown)} tensors, the first is {unknown[0]!r}")
    return types


def static_shapes(model: ModelProto) -> dict[str, tuple[int, ...]]:
    """Shape of every tensor of the main graph whose shape inference knows in numbers, initialisers included."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for info in graph.value_info:
        sides = info.type.tensor_type.shape.dim
        if info.type.tensor_type.HasField("shape") and all(side.HasField("dim_value") for side in sides):
            shapes[info.name] = tuple(side.dim_value for side in sides)
    return shapes


def refuse_control_flow(nodes: Iterable[NodeProto]) -> None:
    """Raise `InputError` for If, Loop and Scan, which no graph of this project contains."""
    for node in nodes:
        if any(attribute.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS) for attribute in node.attribute):
            raise InputError(f"node {node.name!r} ({node.op_type}) has a graph inside; such models cannot be typed")


def constants_to_initializers(model: ModelProto) -> None:
    """Turn the Constant nodes of the main graph that hold numbers into initialisers, in place."""
    kept = []
    for node in model.graph.node:
        tensor = _constant(node) if node.op_type == "Constant" and node.domain in STANDARD_DOMAINS else None
        if tensor is None:
            kept.append(node)
        else:
            model.graph.initializer.append(tensor)
            model.graph.initializer[-1].name = node.output[0]
    del model.graph.node[:]
    model.graph.node.extend(kept)


def _constant(node: NodeProto) -> TensorProto | None:
    for attribute in node.attribute:
        if attribute.name == "value":
            return attribute.t
        if attribute.name in ("value_float", "value_floats"):
            values = attribute.f if attribute.name == "value_float" else list(attribute.floats)
            return numpy_helper.from_array(np.array(values, np.float32))
        if attribute.name in ("value_int", "value_ints"):
            values = attribute.i if attribute.name == "value_int" else list(attribute.ints)
            return numpy_helper.from_array(np.array(values, np.int64))
    return None


def leading_to(nodes: Sequence[NodeProto], tensors: Iterable[str]) -> set[int]:
    """Positions of the nodes, in topological order, without which ``tensors`` cannot be computed."""
    wanted = set(tensors)
    found = set()
    for position in range(len(nodes) - 1, -1, -1):
        if not wanted.isdisjoint(nodes[position].output):
            found.add(position)
            wanted.update(name for name in nodes[position].input if name)
    return found


def float_picture(model: ModelProto, output: str) -> str:
    """The tensor in which a graph that gives bytes has its picture as float32 [N, 3, H, W], else ``output`` itself.

    `export.picture_head` calls it so.
    """
    made = {name for node in model.graph.node for name in node.output}
    return f"{output}_float" if f"{output}_float" in made else output


def is_float(data_type: int | None) -> bool:
    """Whether a tensor type is the 32-bit float that typing works on."""
    return data_type == TensorProto.FLOAT
