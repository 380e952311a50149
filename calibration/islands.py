"""Which nodes of a graph stay in FP32 when the rest becomes FP16, and why.

Four kinds of arithmetic do not survive eleven bits of mantissa and a largest value of 65504:

* sums over a whole map (the mean and variance of a normalisation): the sum overflows or stops growing;
* exponentials and the sums of a softmax;
* numbers that become integers (sizes, indices, the bytes of the picture): above 2048 FP16 skips integers, and the
  scaling by 127.5 before the final rounding would move every eighth of a grey level;
* numbers that were integers wider than a byte, and comparisons, for the same reason.

Everything here reads names and operator types alone; nothing is changed. A fifth kind needs a look at numbers: INT8
scales too small for FP16 (`calibration.scales`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from enum import Enum

from onnx import NodeProto, TensorProto

from calibration.graphs import STANDARD_DOMAINS, is_float


class IslandReason(str, Enum):
    """Why a node computes in FP32."""

    NORMALISATION = "normalisation statistics"
    SOFTMAX = "exponentials and their sums"
    INTEGERS = "conversion from or to integers"
    UNTYPED = "the operator knows no FP16"
    SCALE = "an INT8 scale that FP16 cannot hold"


_NORMALISATIONS = frozenset(
    ("InstanceNormalization", "GroupNormalization", "LayerNormalization", "BatchNormalization",
     "MeanVarianceNormalization", "LpNormalization", "RMSNormalization")
)  # fmt: skip
_SUMS = frozenset(("ReduceMean", "ReduceSum", "ReduceSumSquare", "ReduceL1", "ReduceL2", "GlobalAveragePool", "CumSum"))
_EXPONENTIALS = frozenset(("Softmax", "LogSoftmax", "Exp", "Log", "Softplus", "ReduceLogSumExp", "ReduceLogSum"))
_UNTYPED = frozenset(("Range", "NonMaxSuppression", "RandomNormal", "RandomUniform"))
_COMPARISONS = frozenset(("Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual", "OneHot", "ArgMax", "ArgMin"))
_ROOTS = frozenset(("Sqrt", "Reciprocal"))
_SHAPING = frozenset(
    ("Reshape", "Squeeze", "Unsqueeze", "Expand", "Identity", "Transpose", "Slice", "Concat", "Gather")
)
_ARITHMETIC = frozenset(
    ("Add", "Sub", "Mul", "Div", "Pow", "Neg", "Abs", "Max", "Min", "Clip", "Round", "Floor", "Ceil", "Mod", "Sqrt",
     "Reciprocal", "Where")
)  # fmt: skip
# what may lie between the last convolution and the bytes; tanh belongs to it because near one, FP16 has steps of a
# sixteenth of a grey level (measured on a trained generator: 1.4 dB)
_PICTURE = _ARITHMETIC | _SHAPING | {"Tanh"}
_EXACT_SOURCES = (TensorProto.BOOL, TensorProto.UINT8, TensorProto.INT8)  # every value exists in FP16


def find_islands(nodes: Sequence[NodeProto], types: Mapping[str, int]) -> dict[int, IslandReason]:
    """Find the nodes that must compute in FP32.

    Args:
        nodes: of the main graph, in topological order.
        types: element type of every tensor (`graphs.element_types`).

    Returns:
        Position of the node -> reason, in the order of the positions. Nodes without any float tensor are not in it.
    """
    flow = _Flow(nodes)
    found: dict[int, IslandReason] = {}
    for index in sorted(_statistics(flow)):
        found[index] = IslandReason.NORMALISATION
    for index, node in enumerate(nodes):
        if flow.standard(index, _NORMALISATIONS) or flow.standard(index, _SUMS):
            found[index] = IslandReason.NORMALISATION
        elif flow.standard(index, _EXPONENTIALS):
            found[index] = IslandReason.SOFTMAX
        elif flow.standard(index, _UNTYPED):
            found[index] = IslandReason.UNTYPED
        elif flow.standard(index, _COMPARISONS):
            found[index] = IslandReason.INTEGERS
        elif node.op_type in ("Cast", "CastLike"):
            source, target = types.get(node.input[0]), types.get(node.output[0])
            if is_float(target) and not is_float(source) and source not in _EXACT_SOURCES:
                found[index] = IslandReason.INTEGERS
            elif is_float(source) and not is_float(target) and target != TensorProto.BOOL:
                found[index] = IslandReason.INTEGERS
                chain = flow.back(index, lambda i: flow.standard(i, _PICTURE) and _yields_float(nodes[i], types))
                found.update({i: IslandReason.INTEGERS for i in chain if i not in found})
    touches = {i for i, node in enumerate(nodes) if any(is_float(types.get(t)) for t in (*node.input, *node.output))}
    return {index: found[index] for index in sorted(found) if index in touches}


class _Flow:
    """Who makes a tensor and who reads it, by the positions of the nodes."""

    def __init__(self, nodes: Sequence[NodeProto]) -> None:
        self.nodes = nodes
        self._maker = {name: i for i, node in enumerate(nodes) for name in node.output if name}
        self._readers: dict[str, list[int]] = defaultdict(list)
        for i, node in enumerate(nodes):
            for name in node.input:
                self._readers[name].append(i)

    def standard(self, index: int, operators: frozenset[str]) -> bool:
        node = self.nodes[index]
        return node.domain in STANDARD_DOMAINS and node.op_type in operators

    def before(self, index: int) -> list[int]:
        return [self._maker[name] for name in self.nodes[index].input if name in self._maker]

    def after(self, index: int) -> list[int]:
        return [reader for name in self.nodes[index].output for reader in self._readers[name]]

    def back(self, start: int, through: Callable[[int], bool]) -> set[int]:
        """Every node that leads to ``start`` by way of nodes that ``through`` admits."""
        return self._closure(start, self.before, through)

    def ahead(self, start: int, through: Callable[[int], bool]) -> set[int]:
        return self._closure(start, self.after, through)

    @staticmethod
    def _closure(start: int, step: Callable[[int], list[int]], through: Callable[[int], bool]) -> set[int]:
        seen: set[int] = set()
        todo = [i for i in step(start) if through(i)]
        while todo:
            index = todo.pop()
            if index not in seen:
                seen.add(index)
                todo.extend(i for i in step(index) if through(i))
        return seen


def _statistics(flow: _Flow) -> set[int]:
    """The arithmetic of a normalisation that was written out: ``(x - mean(x)) / sqrt(mean((x - mean(x))²) + eps)``.

    Belongs to it: what lies between a sum over a map and another sum, a root, or the division by that root; the root
    and the division themselves; and the square that feeds a sum.
    """
    sums = [i for i in range(len(flow.nodes)) if flow.standard(i, _SUMS)]

    def elementwise(index: int) -> bool:
        return flow.standard(index, _ARITHMETIC | _SHAPING)

    after_sums: set[int] = set()
    for start in sums:
        after_sums |= flow.ahead(start, elementwise)
    roots = {i for i in after_sums if flow.standard(i, _ROOTS)}
    divisions: set[int] = set()
    for root in roots:
        near = {root} | flow.ahead(root, lambda i: flow.standard(i, _SHAPING))
        divisions |= {j for i in near for j in flow.after(i) if flow.standard(j, frozenset(("Div", "Mul")))}
    # what comes after the division is the normalised map: ordinary arithmetic again
    inner: set[int] = set()
    for start in sums:
        inner |= flow.ahead(start, lambda i: elementwise(i) and i not in divisions)
    leading: set[int] = set()
    for end in (*sums, *roots, *divisions):
        leading |= flow.back(end, elementwise)
        leading |= {i for i in flow.before(end) if elementwise(i)}
    squares = {
        i
        for end in sums
        for i in flow.before(end)
        if flow.standard(i, frozenset(("Pow",)))
        or (flow.standard(i, frozenset(("Mul",))) and len(set(flow.nodes[i].input)) == 1)
    }
    return (inner & leading) | roots | divisions | squares


def _yields_float(node: NodeProto, types: Mapping[str, int]) -> bool:
    return any(is_float(types.get(name)) for name in node.output)
