"""A graph cut into pieces that run one after the other, so that few of its tensors are in memory at a time."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
from onnx import ModelProto, NodeProto, ValueInfoProto, helper

from calibration.graphs import STANDARD_DOMAINS, leading_to, refuse_control_flow

_MOST_DIMENSIONS = 8


@dataclass(frozen=True)
class Piece:
    """Consecutive nodes of a graph.

    Attributes:
        nodes: in topological order.
        inputs: tensors that they read and others make: the graph's inputs or earlier pieces.
        wanted: tensors made here that were asked for, in the order of the nodes.
        passed_on: tensors made here that later pieces read; some may be wanted as well.
        done_with: tensors that no later piece reads.
    """

    nodes: tuple[NodeProto, ...]
    inputs: tuple[str, ...]
    wanted: tuple[str, ...]
    passed_on: tuple[str, ...]
    done_with: tuple[str, ...]

    @property
    def outputs(self) -> tuple[str, ...]:
        """Every tensor that a run of the piece has to return."""
        return tuple(dict.fromkeys((*self.wanted, *self.passed_on)))


def cut(model: ModelProto, wanted: Collection[str], sizes: Mapping[str, int], budget: float) -> tuple[Piece, ...]:
    """Cut what leads to the wanted tensors, so that those of a piece take no more than the budget together.

    Args:
        model: its main graph is in topological order, without control flow.
        wanted: tensors that nodes of the main graph make.
        sizes: bytes of each of them.
        budget: bytes; a tensor that is larger alone gets a piece of its own.

    Raises:
        InputError: control flow.
    """
    refuse_control_flow(model.graph.node)
    weights = {tensor.name for tensor in model.graph.initializer}
    weights |= {tensor.values.name for tensor in model.graph.sparse_initializer}
    constants = {name: node for node in model.graph.node if _is_constant(node) for name in node.output}
    leading = leading_to(model.graph.node, wanted)
    nodes = [node for i, node in enumerate(model.graph.node) if i in leading and not _is_constant(node)]
    groups = _groups(nodes, wanted, sizes, budget)
    reads = [{name for node in group for name in node.input if name} for group in groups]
    last_reader = {name: index for index, names in enumerate(reads) for name in names}
    pieces = []
    for index, group in enumerate(groups):
        made = [name for node in group for name in node.output if name]
        needed = reads[index] - set(made) - weights
        pieces.append(
            Piece(
                nodes=(*(constants[name] for name in sorted(needed & constants.keys())), *group),
                inputs=tuple(sorted(needed - constants.keys())),
                wanted=tuple(name for name in made if name in wanted),
                passed_on=tuple(name for name in made if last_reader.get(name, index) > index),
                done_with=tuple(sorted(name for name, reader in last_reader.items() if reader == index)),
            )
        )
    return tuple(pieces)


def piece_model(model: ModelProto, piece: Piece, feeds: Mapping[str, np.ndarray]) -> ModelProto:
    """A piece as a model of its own, with copies of the weights that it reads.

    Args:
        model: that it was cut from.
        piece: see `cut`.
        feeds: at least its inputs, for their types and numbers of dimensions; the sizes stay open.
    """
    inputs = [
        helper.make_tensor_value_info(
            name, helper.np_dtype_to_tensor_dtype(feeds[name].dtype), _open_shape(feeds[name])
        )
        for name in piece.inputs
    ]
    read = {name for node in piece.nodes for name in node.input}
    graph = helper.make_graph(
        piece.nodes,
        "piece",
        inputs,
        [ValueInfoProto(name=name) for name in piece.outputs],  # whoever loads it finds out their types
        [tensor for tensor in model.graph.initializer if tensor.name in read],
        sparse_initializer=[tensor for tensor in model.graph.sparse_initializer if tensor.values.name in read],
    )
    return helper.make_model(
        graph, opset_imports=model.opset_import, functions=model.functions, ir_version=model.ir_version
    )


def _open_shape(array: np.ndarray) -> list[int | None]:
    """Sizes are left open, for label maps differ in them; but how long a computed shape is, ONNX Runtime must know."""
    if array.ndim == 1 and array.size <= _MOST_DIMENSIONS and array.dtype == np.int64:
        return [array.size]
    return [None] * array.ndim


def _is_constant(node: NodeProto) -> bool:
    return node.op_type == "Constant" and node.domain in STANDARD_DOMAINS


def _groups(
    nodes: list[NodeProto], wanted: Collection[str], sizes: Mapping[str, int], budget: float
) -> list[list[NodeProto]]:
    groups: list[list[NodeProto]] = [[]]
    taken = 0
    for node in nodes:
        size = sum(sizes[name] for name in node.output if name in wanted)
        if taken and taken + size > budget:
            groups.append([])
            taken = 0
        groups[-1].append(node)
        taken += size
    return groups
