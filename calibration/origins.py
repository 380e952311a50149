"""What can be said of a tensor's values from the nodes that made it, without running the graph."""

from __future__ import annotations

from collections.abc import Iterable

from onnx import NodeProto

from calibration.graphs import STANDARD_DOMAINS

# every value of the result is a value of the first input, and every value of that input is still there
_REARRANGING = frozenset(("Identity", "Reshape", "Squeeze", "Unsqueeze", "Transpose", "Flatten"))
# every value of the result is a value of the first input
_SELECTING = _REARRANGING | {"Slice", "Split", "Gather", "Expand", "Tile", "MaxPool"}
_RECTIFYING = frozenset(("Relu", "Sigmoid", "Softmax", "Abs"))
_COMPARING = frozenset(("Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual", "And", "Or", "Not", "Xor"))


class Origins:
    """What follows from the nodes of a graph, given in topological order."""

    def __init__(self, nodes: Iterable[NodeProto]) -> None:
        self._sources: dict[str, str] = {}
        self._compared: set[str] = set()  # truth values
        self._masks: set[str] = set()  # numbers that are 0 or 1
        self._positive: set[str] = set()  # or zero
        for node in nodes:
            if node.domain in STANDARD_DOMAINS:
                self._follow(node)

    def range_source(self, name: str) -> str:
        """The tensor whose range serves for ``name``: the one that it is a padded, reshaped or masked copy of.

        Copies masked by class are the reason: each shows a part of the same values, some classes are rare, and a
        range that rests on few pixels, or on none, is no range.
        """
        return self._sources.get(name, name)

    def never_negative(self, name: str) -> bool:
        """Whether the nodes that made ``name`` give no value below zero, whatever they read."""
        return name in self._positive or name in self._masks

    def _follow(self, node: NodeProto) -> None:
        copied = self._copied(node)
        for name in node.output:
            if copied is not None:
                self._sources[name] = self.range_source(copied)
            if node.op_type in _COMPARING:
                self._compared.add(name)
            if self._is_mask(node):
                self._masks.add(name)
            if self._is_positive(node):
                self._positive.add(name)

    def _copied(self, node: NodeProto) -> str | None:
        """The input that all outputs of ``node`` have the range of."""
        if node.op_type in _REARRANGING or _pads_within_range(node):
            return node.input[0]
        if node.op_type == "Mul":
            values = [name for name in node.input if name not in self._masks]
            return values[0] if len(values) == 1 else None
        return None

    def _is_mask(self, node: NodeProto) -> bool:
        if node.op_type == "Cast":
            return node.input[0] in self._compared
        if node.op_type in ("Mul", "Concat", "Max", "Min"):
            return all(name in self._masks for name in node.input)
        return _selects(node) and node.input[0] in self._masks

    def _is_positive(self, node: NodeProto) -> bool:
        if node.op_type in ("Mul", "Add", "Concat", "Max", "Min"):
            return all(self.never_negative(name) for name in node.input)
        averages = node.op_type == "Resize" and _text(node, "mode") == b"linear"
        return node.op_type in _RECTIFYING or ((averages or _selects(node)) and self.never_negative(node.input[0]))


def _selects(node: NodeProto) -> bool:
    """Whether every value of the result is one of the first input's, or zero."""
    nearest = node.op_type == "Resize" and _text(node, "mode") in (b"", b"nearest")
    return nearest or node.op_type in _SELECTING or _pads_within_range(node)


def _pads_within_range(node: NodeProto) -> bool:
    """Whether a Pad adds nothing but zeros and copies."""
    return node.op_type == "Pad" and (_text(node, "mode") not in (b"", b"constant") or not any(node.input[2:3]))


def _text(node: NodeProto, attribute: str) -> bytes:
    """Value of an attribute that is a text; empty if it is not there."""
    return next((each.s for each in node.attribute if each.name == attribute), b"")
