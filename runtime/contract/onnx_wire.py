"""The check of an ONNX file on a machine without the ``onnx`` package: self-contained, sane, carrying our card.

ONNX Runtime opens whatever files the tensors of a model name. A device that only runs models cannot parse them with
``onnx`` first, so this walks the protobuf encoding itself, as far as the question needs: varints, lengths, and the
dozen field numbers of ``onnx.proto`` behind which a tensor can stand.
Encoding: https://protobuf.dev/programming-guides/encoding
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from runtime.contract.card import CARD_KEY, ModelCard
from runtime.contract.errors import InputError
from runtime.contract.onnx_safety import MAX_NESTING, MAX_NODES, read_model_file

# message -> {field number: message behind it}; fields that cannot lead to a tensor or the card are left out
_FIELDS = {
    "model": {7: "graph", 14: "entry", 20: "training", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
    "entry": {},
    "training": {},
}
_TENSOR_EXTERNAL_DATA, _TENSOR_DATA_LOCATION = 13, 14


def check_model_file(path: str | Path) -> tuple[bytes, ModelCard]:
    """Read an ONNX file, check that it needs no other file, and find its card.

    Returns:
        The bytes that were checked (give these, not the path, to the backend) and the card.

    Raises:
        InputError: no such file, damaged, with external data, too many nodes, nested too deeply, or without a card.
        MissingError: no permission to read it.
    """
    path = Path(path)
    data = read_model_file(path)
    nodes = 0
    cards: list[bytes] = []
    todo: list[tuple[str, memoryview, int]] = [("model", memoryview(data), 0)]
    while todo:
        message, view, depth = todo.pop()
        if depth > MAX_NESTING:
            raise InputError(f"{path} nests graphs more than {MAX_NESTING} deep")
        if message == "training":
            raise InputError(f"{path} carries training graphs, which this project neither writes nor reads")
        if message == "entry":
            pair = {number: bytes(value) for number, value in _fields(view, path) if isinstance(value, memoryview)}
            if pair.get(1) == CARD_KEY.encode():
                cards.append(pair.get(2, b""))
            continue
        known = _FIELDS[message]
        for number, value in _fields(view, path):
            if message == "tensor" and (number == _TENSOR_EXTERNAL_DATA or (number == _TENSOR_DATA_LOCATION and value)):
                raise InputError(f"{path} keeps tensors in other files; export it again into one file")
            inner = known.get(number)
            if inner is None:
                continue
            if not isinstance(value, memoryview):
                raise InputError(f"{path} is damaged or not an ONNX model; export it again")
            nodes += inner == "node"
            if nodes > MAX_NODES:
                raise InputError(f"{path} has more than {MAX_NODES} nodes")
            todo.append((inner, value, depth + (inner == "graph")))
    if nodes == 0:
        raise InputError(f"{path} is damaged or not an ONNX model (it has no nodes); export it again")
    if not cards:
        raise InputError(f"{path} was not exported by lggan: it has no model card; make one with `lggan export`")
    if len(cards) > 1:
        raise InputError(f"{path} has {len(cards)} model cards; export it again")
    try:
        return data, ModelCard.from_json(cards[0].decode("utf-8"))
    except UnicodeDecodeError as error:
        raise InputError(f"the model card of {path} is not UTF-8; export it again") from error


def _fields(view: memoryview, path: Path) -> Iterator[tuple[int, int | memoryview]]:
    """The fields of one message: (number, value), an int for numbers and a slice for everything with a length."""
    at, end = 0, len(view)
    while at < end:
        tag, at = _varint(view, at, path)
        number, kind = tag >> 3, tag & 7
        value: int | memoryview
        if kind == 0:
            value, at = _varint(view, at, path)
        elif kind == 2:
            length, at = _varint(view, at, path)
            value, at = view[at : at + length], at + length
        elif kind in (1, 5):
            length = 8 if kind == 1 else 4
            value, at = int.from_bytes(view[at : at + length], "little"), at + length
        else:
            raise InputError(f"{path} is damaged or not an ONNX model; export it again")
        if at > end or number == 0:
            raise InputError(f"{path} is damaged or truncated; export it again")
        yield number, value


def _varint(view: memoryview, at: int, path: Path) -> tuple[int, int]:
    """The variable-length number at ``at`` and the position behind it."""
    result = 0
    for shift in range(0, 70, 7):
        if at >= len(view):
            break
        byte = view[at]
        at += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result, at
    raise InputError(f"{path} is damaged or truncated; export it again")
