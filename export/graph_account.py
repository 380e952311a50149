"""What an exported graph costs, and what the rewrites saved: `graph_report`; and its place in the file."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import onnx

from export.graph_blocks import Block, blocks_of, branch_edges
from export.graph_profile import NodeRun, node_names, profiled
from export.layouts import CheckInput
from export.node_macs import Shape
from export.rewrites.names import Rewrite
from export.savings import published_macs, savings
from lggan.task import AnyConfig
from runtime.contract.graph_report import GRAPH_KEY, Activation, BlockCost, GraphReport, Saving

LARGEST = 12  # activations that are listed
_FEW_BYTES = 1024  # of weights: a module that has no more and multiplies nothing is no block of its own
_FEW_ELEMENTS = 16  # a value that has no more is a size or the like


@dataclass
class _Sum:
    """A block while it is counted."""

    macs: int = 0
    weight_bytes: int = 0
    activation_bytes: int = 0
    nodes: set[str] = field(default_factory=set)
    output: tuple[int, ...] = ()

    def add(self, other: _Sum) -> None:
        self.macs += other.macs
        self.weight_bytes += other.weight_bytes
        self.activation_bytes += other.activation_bytes
        self.nodes |= other.nodes
        self.output = other.output or self.output

    def cost(self, block: Block) -> BlockCost:
        return BlockCost(
            name=block.name,
            branch=block.branch,
            nodes=len(self.nodes),
            macs=self.macs,
            weight_bytes=self.weight_bytes,
            activation_bytes=self.activation_bytes,
            output=self.output,
        )


def graph_report(
    model: onnx.ModelProto, check: CheckInput, config: AnyConfig, rewrites: Collection[Rewrite]
) -> GraphReport:
    """`account` of an exported graph, beside the published formulation and the ledger of its rewrites.

    Args:
        model, check: see `account`.
        config: of the generator; the ledger is for the size of ``check``.
        rewrites: that were applied.

    Raises:
        BackendError: ONNX Runtime does not take or run the graph.
    """
    label, instance = check.label[0, 0], None if check.instance is None else check.instance[0, 0]
    config = replace(config, height=label.shape[0], width=label.shape[1])
    return account(model, check, published_macs(config), savings(config, rewrites, label, instance))


def write_report(model: onnx.ModelProto, report: GraphReport) -> None:
    """Put the account into the metadata of a model in place of the one that is there."""
    kept = [(entry.key, entry.value) for entry in model.metadata_props if entry.key != GRAPH_KEY]
    del model.metadata_props[:]
    for key, value in sorted([*kept, (GRAPH_KEY, report.to_json())]):
        model.metadata_props.add(key=key, value=value)


def account(
    model: onnx.ModelProto,
    check: CheckInput,
    published_macs: int = 0,
    savings: Sequence[Saving] = (),
    runs: Sequence[NodeRun] | None = None,
) -> GraphReport:
    """Count what a graph multiplies, weighs and writes for one picture.

    Args:
        model: exported, with the bodies of its functions: FULL or INLINED, not PLUGIN.
        check: the picture, a batch of one.
        published_macs, savings: to be reported beside the count, see `GraphReport` and `export.savings`.
        runs: of the graph's nodes on this picture, where they are known; else the graph is run.

    Raises:
        BackendError: ONNX Runtime does not take or run the graph.
    """
    graph = model.graph
    names = node_names(graph)
    blocks = blocks_of(graph, names)
    runs = profiled(model, check) if runs is None else runs
    sums = {block: _Sum() for block in blocks.values()}
    for run in runs:
        sums[blocks[run.caller]].add(_of_run(run))
    outputs = _outputs(graph, names, runs)
    values: set[str] = set()
    weights = {tensor.name: _weight_bytes(tensor) for tensor in graph.initializer}
    for name, node in zip(names, graph.node, strict=True):
        block = sums[blocks[name]]
        block.weight_bytes += sum(weights.pop(value, 0) for value in node.input)  # of the first reader
        for value, (_, shape) in zip(node.output, outputs.get(name, ()), strict=False):
            if math.prod(shape) > _FEW_ELEMENTS:
                values.add(value)
                block.output = shape
    return GraphReport(
        height=check.label.shape[2],
        width=check.label.shape[3],
        label_map=check.name,
        blocks=_merged(sums),
        edges=branch_edges(graph, [blocks[name] for name in names], values),
        largest=_largest(runs, blocks),
        published_macs=published_macs,
        savings=tuple(savings),
    )


def _outputs(
    graph: onnx.GraphProto, names: Sequence[str], runs: Sequence[NodeRun]
) -> dict[str, Sequence[tuple[str, Shape]]]:
    """(type, shape) of what each node of the main graph gives; all of a call's outputs pass for its last node's."""
    found: dict[str, Sequence[tuple[str, Shape]]] = {}
    own: set[str] = set()
    for run in runs:
        if run.name == run.caller:
            own.add(run.name)
        elif run.caller in own:
            continue
        found[run.caller] = run.outputs
    for name, node in zip(names, graph.node, strict=True):
        if name not in own and found.get(name):
            found[name] = [found[name][0]] * len(node.output)
    return found


def _of_run(run: NodeRun) -> _Sum:
    written = sum(tensor.size_bytes for tensor in run.written)
    return _Sum(macs=run.macs, activation_bytes=written, nodes={run.name})


def _weight_bytes(tensor: onnx.TensorProto) -> int:
    return len(tensor.raw_data) or tensor.ByteSize()


def _largest(runs: Sequence[NodeRun], blocks: Mapping[str, Block]) -> tuple[Activation, ...]:
    """The largest tensors, each node's largest one only; nodes without a module are named after their block."""
    found: dict[str, Activation] = {}
    for run in runs:
        for tensor in run.written:
            if tensor.name not in found or tensor.size_bytes > found[tensor.name].size_bytes:
                found[tensor.name] = tensor
    largest = sorted(found.values(), key=lambda one: (-one.size_bytes, one.name))[:LARGEST]
    callers = {run.name: run.caller for run in runs}
    return tuple(
        one if "/" in callers[one.name] else replace(one, name=f"{blocks[callers[one.name]].name}/{one.name}")
        for one in largest
    )


def _merged(sums: dict[Block, _Sum]) -> tuple[BlockCost, ...]:
    """The blocks, small ones added to the one before them in their branch, or to the one behind the first."""
    costs: list[BlockCost] = []
    for branch in dict.fromkeys(block.branch for block in sums):
        own = [(block, total) for block, total in sums.items() if block.branch == branch]
        kept = [pair for pair in own if not _is_small(*pair)] or own[:1]
        into, output = kept[0][1], kept[0][1].output
        for _, total in own:
            if any(total is keeper for _, keeper in kept):
                into, into.output = total, total.output or output
            else:
                into.add(total)
        costs += [total.cost(block) for block, total in kept]
    return tuple(costs)


def _is_small(block: Block, total: _Sum) -> bool:
    return total.macs == 0 and (not block.path or total.weight_bytes <= _FEW_BYTES)
