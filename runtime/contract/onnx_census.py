"""What is in an ONNX file, read without the ``onnx`` package: operators, bytes of weights, entries of metadata."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from runtime.contract.errors import InputError
from runtime.contract.onnx_wire import ModelFile, fields

_MAIN = "main graph"
_STANDARD = "ai.onnx"
# names of TensorProto.DataType; others are shown by their number
_TYPES = {1: "FP32", 2: "UINT8", 3: "INT8", 6: "INT32", 7: "INT64", 9: "BOOL", 10: "FP16", 11: "FP64", 16: "BF16"}
_ARRAYS = {"float32": "FP32", "float16": "FP16", "float64": "FP64"}  # others are called as in numpy, in capitals
_VALUES = (4, 5, 6, 7, 9, 10, 11)  # fields of TensorProto that hold values: packed lists, or raw bytes
_LONGEST = 200  # letters of a name


@dataclass(frozen=True)
class OperatorCount:
    """How many nodes of one type there are.

    Attributes:
        place: ``main graph``, or the function, e.g. ``lggan::SemanticAwareUpsample``, in whose body they are. Graphs
            nested in a node count to the place of the node.
        domain: of the operator; ``ai.onnx`` for the standard's.
        op_type: of the operator.
        count: of nodes; a function's body counts once, however often it is called.
    """

    place: str
    domain: str
    op_type: str
    count: int


@dataclass(frozen=True)
class Census:
    """The content of an ONNX file.

    Attributes:
        operators: by place, the main graph first; within a place the most frequent first.
        weight_bytes: of the main graph's weights by type, e.g. ``{"FP32": 1024}``, those in a file beside it included.
    """

    operators: tuple[OperatorCount, ...]
    weight_bytes: dict[str, int]

    def places(self) -> list[str]:
        """The main graph and the functions, in their order."""
        return list(dict.fromkeys(entry.place for entry in self.operators))


def take_census(model: ModelFile, path: str | Path) -> Census:
    """Count what is in a file.

    Args:
        model: as `runtime.contract.onnx_wire.read_model` gives it.
        path: what messages call it.

    Raises:
        InputError: damaged.
    """
    path = Path(path)
    weights: Counter[str] = Counter()
    main: Counter[tuple[str, str]] = Counter()
    functions: dict[str, Counter[tuple[str, str]]] = {}
    for array in model.external.values():
        weights[_ARRAYS.get(array.dtype.name, array.dtype.name.upper())] += array.nbytes
    for number, value in fields(memoryview(model.data), path):
        if not isinstance(value, memoryview):
            continue
        if number == 7:
            _count_nodes(value, 1, main, path)
            _weigh(value, weights, path)
        elif number == 25:
            texts = _texts(value, (1, 10), path)
            _count_nodes(value, 7, functions.setdefault(_called(texts[10], texts[1]), Counter()), path)
    places = [(_MAIN, main), *sorted(functions.items())]
    operators = tuple(
        OperatorCount(place, domain, op_type, count)
        for place, counts in places
        for (domain, op_type), count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    )
    return Census(operators, dict(sorted(weights.items())))


def metadata_entry(model: ModelFile, path: str | Path, key: str) -> str | None:
    """The entry of this name in the metadata of a file; None where there is none.

    Raises:
        InputError: damaged, or two entries of this name.
    """
    path = Path(path)
    entries = (value for number, value in fields(memoryview(model.data), path) if number == 14)
    pairs = [_texts(entry, (1, 2), path) for entry in entries if isinstance(entry, memoryview)]
    found = [pair[2] for pair in pairs if pair[1] == key]
    if len(found) > 1:
        raise InputError(f"{path} has {len(found)} entries {key}; export it again")
    return found[0] if found else None


def _count_nodes(scope: memoryview, node_field: int, counts: Counter[tuple[str, str]], path: Path) -> None:
    """Count the nodes of a graph (field 1) or a function (field 7), those of nested graphs included."""
    todo = [(scope, node_field)]
    while todo:
        scope, node_field = todo.pop()
        for number, node in fields(scope, path):
            if number != node_field or not isinstance(node, memoryview):
                continue
            texts = _texts(node, (4, 7), path)
            counts[(texts[7] or _STANDARD, texts[4])] += 1
            for field, attribute in fields(node, path):
                if field == 5 and isinstance(attribute, memoryview):
                    graphs = (inner for name, inner in fields(attribute, path) if name in (6, 11))
                    todo.extend((inner, 1) for inner in graphs if isinstance(inner, memoryview))


def _weigh(graph: memoryview, weights: Counter[str], path: Path) -> None:
    """Add the bytes of a graph's initialisers to those of their types."""
    for number, tensor in fields(graph, path):
        if number != 5 or not isinstance(tensor, memoryview):
            continue
        kind, size = 0, 0
        for field, value in fields(tensor, path):
            if field == 2 and isinstance(value, int):
                kind = value
            elif field in _VALUES and isinstance(value, memoryview):
                size += len(value)
        weights[_TYPES.get(kind, f"type {kind}")] += size


def _texts(message: memoryview, numbers: tuple[int, ...], path: Path) -> dict[int, str]:
    """The text fields of these numbers; empty where there are none."""
    found = dict.fromkeys(numbers, "")
    for number, value in fields(message, path):
        if number in found and isinstance(value, memoryview):
            try:
                found[number] = bytes(value).decode("utf-8")
            except UnicodeDecodeError as error:
                raise InputError(f"{path} is damaged: a name in it is not UTF-8; export it again") from error
    return found


def _called(domain: str, name: str) -> str:
    return f"{domain or _STANDARD}::{name}"[:_LONGEST]
