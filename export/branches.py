"""The network's intermediate pictures as further outputs of a graph: for the proof alone, the file has none of them.

The final picture is a mixture, in which a fault of one branch can hide behind the weight of the other. So the graph is
traced with both pictures and the weight beside the mixture, compared with PyTorch in that form, and written without.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import Any

import onnx
from torch import Tensor

from export.names import IMAGE
from lggan.networks.generator import Synthesis
from runtime.contract.errors import BackendError


class Branch(str, Enum):
    """An intermediate picture, float32; the value is its name in the graph and in the card.

    GLOBAL_IMAGE: [N, 3, H, W] in [-1, 1].
    LOCAL_IMAGE: [N, 3, H, W], in [-1, 1] but for cross-view, where it is a sum over the heads.
    ATTENTION_LOCAL: [N, 1, H, W] in [0, 1], the share of the local picture in the final one.
    """

    GLOBAL_IMAGE = "global_image"
    LOCAL_IMAGE = "local_image"
    ATTENTION_LOCAL = "attention_local"

    @property
    def peak(self) -> float:
        """Width of the range, as PSNR takes it."""
        return 1.0 if self is Branch.ATTENTION_LOCAL else 2.0

    @property
    def channels(self) -> int:
        return 1 if self is Branch.ATTENTION_LOCAL else 3


class GraphOutputs(str, Enum):
    """What a traced graph gives.

    IMAGE: the final picture alone.
    BRANCHES: the final picture, then every `Branch` in the order of their definition.
    """

    IMAGE = "image"
    BRANCHES = "branches"

    @property
    def names(self) -> list[str]:
        """Names of the graph's outputs, in their order."""
        return [IMAGE] if self is GraphOutputs.IMAGE else [IMAGE, *(branch.value for branch in Branch)]

    def of(self, synthesis: Synthesis) -> tuple[Tensor, ...]:
        """The generator's tensors that the graph gives, in the order of `names`."""
        if self is GraphOutputs.IMAGE:
            return (synthesis.final,)
        by_name = tensors_by_name(synthesis)
        return tuple(by_name[name] for name in self.names)


def tensors_by_name(synthesis: Synthesis) -> dict[str, Tensor]:
    """The final picture and the branches by the names that they have in a graph."""
    return {
        IMAGE: synthesis.final,
        Branch.GLOBAL_IMAGE.value: synthesis.global_image,
        Branch.LOCAL_IMAGE.value: synthesis.local_image,
        Branch.ATTENTION_LOCAL.value: synthesis.attention_local,
    }


def without_branches(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy that gives the output ``image`` alone, less the nodes, weights and functions that nothing needs any more.

    Inputs stay, used or not: they are the model's contract. Nodes stay in their order.

    Raises:
        BackendError: the graph has no output ``image``.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    _keep(graph.output, {IMAGE})
    if not graph.output:
        raise BackendError(f"PyTorch exported a graph without the output `{IMAGE}`")
    needed = {IMAGE}
    for index in reversed(range(len(graph.node))):  # from the end: users come before what they use
        node = graph.node[index]
        if needed.isdisjoint(node.output):
            del graph.node[index]
        else:
            needed.update(name for name in _names_read(node) if name)  # "" stands for an omitted input
    made = {name for node in graph.node for name in node.output}
    _keep(graph.initializer, needed)
    _keep(graph.value_info, needed | made)
    for index in reversed(range(len(graph.sparse_initializer))):
        if graph.sparse_initializer[index].values.name not in needed:
            del graph.sparse_initializer[index]
    _drop_unused_functions(result)
    return result


def _keep(entries: Any, names: set[str]) -> None:
    """Drop the entries of a repeated field that have other names, in place."""
    for index in reversed(range(len(entries))):
        if entries[index].name not in names:
            del entries[index]


def _names_read(node: onnx.NodeProto) -> Iterator[str]:
    """Values that a node reads, those included that its nested graphs take from around them."""
    yield from node.input
    for graph in _nested(node):
        yield from (value.name for value in graph.output)  # may be a value from around, passed through
        for inner in graph.node:
            yield from _names_read(inner)


def _nested(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            yield attribute.g
        yield from attribute.graphs


def _drop_unused_functions(model: onnx.ModelProto) -> None:
    functions = {(function.domain, function.name): function for function in model.functions}
    called: set[tuple[str, str]] = set()
    todo = list(model.graph.node)
    while todo:
        node = todo.pop()
        todo.extend(inner for graph in _nested(node) for inner in graph.node)
        key = (node.domain, node.op_type)
        if key in functions and key not in called:
            called.add(key)
            todo.extend(functions[key].node)
    for index in reversed(range(len(model.functions))):
        if (model.functions[index].domain, model.functions[index].name) not in called:
            del model.functions[index]
