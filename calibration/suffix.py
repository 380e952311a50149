"""The part of a graph behind a change, as a model of its own.

Where one node of a graph becomes another, only what lies behind it can give other numbers. `cut_behind` finds these
nodes and the tensors that they read from outside, the frontier; `suffix_model` makes a model of them that takes the
frontier as its inputs. Fed with the tensors of a run of the unchanged graph it gives, bit for bit, what the whole
changed graph would give, provided that both are computed node by node as they are written. `prefix_model` is the other
part: what it takes to make the frontier.

Graphs are cut without their weights (`without_weights`), which are put back into what is run: a cut costs
milliseconds, whatever the model weighs.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper

from calibration.graphs import leading_to, refuse_control_flow

_LEAST_WEIGHT = 256  # elements; fewer may be constants that shapes and operators depend on


@dataclass(frozen=True)
class Cut:
    """Where a graph is cut.

    Attributes:
        nodes: positions of the nodes behind the cut that the output depends on, ascending; none where the change does
            not reach it.
        frontier: names of the tensors, graph inputs among them, that these nodes read and do not make; each once.
    """

    nodes: tuple[int, ...]
    frontier: tuple[str, ...]


def without_weights(model: ModelProto, kept: Collection[str] = ()) -> ModelProto:
    """A copy in which the large float weights of the main graph, except those named ``kept``, are inputs of the graph.

    Args:
        model: its weights are not copied.
        kept: names of initialisers that stay what they are.

    Raises:
        InputError: the graph has If, Loop or Scan in it.
    """
    refuse_control_flow(model.graph.node)
    bare = _empty_like(model)
    bare.graph.node.extend(model.graph.node)
    bare.graph.input.extend(model.graph.input)
    bare.graph.output.extend(model.graph.output)
    bare.graph.value_info.extend(model.graph.value_info)
    present = {value.name for value in model.graph.input}
    for tensor in model.graph.initializer:
        large = tensor.data_type == TensorProto.FLOAT and math.prod(tensor.dims) >= _LEAST_WEIGHT
        if not large or tensor.name in kept:
            bare.graph.initializer.append(tensor)
        elif tensor.name not in present:
            bare.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)))
    bare.functions.extend(model.functions)
    return bare


def changed_tensors(original: ModelProto, changed: ModelProto) -> frozenset[str]:
    """Tensors of ``changed`` that another node makes, or that hold other constants, than in ``original``.

    What depends on them is not in it: see `cut_behind`.
    """
    nodes = {node.SerializeToString(deterministic=True) for node in original.graph.node}
    constants = {tensor.name: tensor for tensor in original.graph.initializer}
    found = {
        name
        for node in changed.graph.node
        if node.SerializeToString(deterministic=True) not in nodes
        for name in node.output
        if name
    }
    for tensor in changed.graph.initializer:
        if tensor.name in constants and tensor != constants[tensor.name]:
            found.add(tensor.name)
    return frozenset(found)


def cut_behind(model: ModelProto, changed: Collection[str], output: str, weights: Collection[str]) -> Cut:
    """Cut off everything that makes or depends on ``changed``, as far as ``output`` depends on it.

    Args:
        model: main graph in topological order.
        changed: names of tensors.
        output: name of a tensor of the main graph.
        weights: names of what was taken out by `without_weights`; the initialisers of the model are known.
    """
    reached = set(changed)
    behind = set()
    for position, node in enumerate(model.graph.node):
        if not reached.isdisjoint(node.input) or not reached.isdisjoint(node.output):
            behind.add(position)
            reached.update(name for name in node.output if name)
    needed = behind & leading_to(model.graph.node, [output])
    return _cut(model.graph, needed, weights)


def cut_to_fit(model: ModelProto, cut: Cut, weights: Collection[str], sizes: Mapping[str, int], budget: int) -> Cut:
    """Move a cut towards the inputs until its frontier is not larger than ``budget``.

    The largest tensor goes first: instead of being kept, it is computed again from what its node reads. In the end
    only inputs of the graph would be left.

    Args:
        model, weights: as for `cut_behind`.
        cut: to start from.
        sizes: bytes of every tensor; those that are not in it count nothing.
        budget: bytes.
    """
    maker = {name: position for position, node in enumerate(model.graph.node) for name in node.output if name}
    nodes = set(cut.nodes)
    while sum(sizes.get(name, 0) for name in cut.frontier) > budget:
        made = [name for name in cut.frontier if name in maker and sizes.get(name, 0) > 0]
        if not made:
            break
        nodes.add(maker[max(made, key=lambda name: sizes[name])])
        cut = _cut(model.graph, nodes, weights)
    return cut


def suffix_model(
    model: ModelProto,
    cut: Cut,
    output: str,
    types: Mapping[str, int],
    shapes: Mapping[str, Sequence[int | None]],
    weights: Mapping[str, TensorProto],
) -> ModelProto:
    """The nodes behind a cut as a model.

    Args:
        model: that was cut.
        cut: through it.
        output: what the new model gives.
        types, shapes: element type, and sides as far as they are known (None: open), of the frontier and of ``output``.
        weights: by name, what was taken out by `without_weights`.

    Returns:
        A model with the inputs ``cut.frontier``, the output ``output`` and the initialisers and functions used.
    """
    inputs = [helper.make_tensor_value_info(name, types[name], shapes.get(name)) for name in cut.frontier]
    made = [helper.make_tensor_value_info(output, types[output], shapes.get(output))]
    return _part(model, [model.graph.node[position] for position in cut.nodes], inputs, made, weights)


def prefix_model(
    model: ModelProto, tensors: Sequence[str], types: Mapping[str, int], shapes: Mapping[str, Sequence[int | None]]
) -> ModelProto:
    """What it takes to compute ``tensors``: a model with them as its outputs; it has the inputs that they depend on.

    Args:
        model: whole, weights included.
        tensors: of its main graph, none of them an input; each once.
        types, shapes: element type, and sides as far as they are known (None: open), of them.
    """
    kept = leading_to(model.graph.node, tensors)
    nodes = [node for position, node in enumerate(model.graph.node) if position in kept]
    read = {name for node in nodes for name in node.input}
    inputs = [value for value in model.graph.input if value.name in read]
    outputs = [helper.make_tensor_value_info(name, types[name], shapes.get(name)) for name in tensors]
    return _part(model, nodes, inputs, outputs, {})


def _part(
    model: ModelProto,
    nodes: Sequence[NodeProto],
    inputs: Iterable[ValueInfoProto],
    outputs: Iterable[ValueInfoProto],
    weights: Mapping[str, TensorProto],
) -> ModelProto:
    part = _empty_like(model)
    part.graph.node.extend(nodes)
    part.graph.input.extend(inputs)
    part.graph.output.extend(outputs)
    read = {name for node in nodes for name in node.input}
    present = {tensor.name for tensor in model.graph.initializer}
    part.graph.initializer.extend(tensor for tensor in model.graph.initializer if tensor.name in read)
    part.graph.initializer.extend(weights[name] for name in sorted(read - present) if name in weights)
    functions = {(function.domain, function.name): function for function in model.functions}
    used, todo = set(), [(node.domain, node.op_type) for node in nodes]
    while todo:
        key = todo.pop()
        if key in functions and key not in used:
            used.add(key)
            todo.extend((node.domain, node.op_type) for node in functions[key].node)
    part.functions.extend(function for key, function in functions.items() if key in used)
    return part


def _empty_like(model: ModelProto) -> ModelProto:
    """Versions, domains and name without any content."""
    empty = ModelProto()
    empty.ir_version = model.ir_version
    empty.opset_import.extend(model.opset_import)
    empty.graph.name = model.graph.name
    return empty


def _cut(graph: GraphProto, nodes: set[int], weights: Collection[str]) -> Cut:
    constants = {tensor.name for tensor in graph.initializer} | set(weights)
    made = {name for position in nodes for name in graph.node[position].output}
    read: dict[str, None] = {}  # a set that keeps its order
    for position in sorted(nodes):
        read.update((name, None) for name in graph.node[position].input if name)
    frontier = tuple(name for name in read if name not in made and name not in constants)
    return Cut(tuple(sorted(nodes)), frontier)
