"""The check of an ONNX file on a machine without the ``onnx`` package: self-contained, sane, carrying our card.

ONNX Runtime opens whatever files the tensors of a model name. A device that only runs models cannot parse them with
``onnx`` first, so this walks the protobuf encoding itself, as far as the question needs: varints, lengths, and the
dozen field numbers of ``onnx.proto`` behind which a tensor can stand. Where a model of more than 2 GiB keeps weights
in the file beside it, they are read here and handed to ONNX Runtime as arrays; the one file that it may open by itself
is the model, held open since before the check.
Encoding: https://protobuf.dev/programming-guides/encoding
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from runtime.contract.card import CARD_KEY, ModelCard
from runtime.contract.errors import InputError
from runtime.contract.external_data import DATA_SHA256_KEY, DataFiles
from runtime.contract.file_range import FileRange
from runtime.contract.onnx_safety import (
    MAX_DIMENSION,
    MAX_NESTING,
    MAX_NODES,
    MAX_TENSOR_BYTES,
    MAX_TOTAL_BYTES,
    read_model_file,
)

Span = memoryview | FileRange
"""The bytes of a message, or of anything in it."""

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
_DIMS, _DATA_TYPE, _NAME, _EXTERNAL_DATA, _DATA_LOCATION = 1, 2, 8, 13, 14  # of a tensor
_MAX_RANK = 32  # of a numpy array
_DTYPES = {1: "float32", 2: "uint8", 3: "int8", 6: "int32", 7: "int64", 10: "float16", 11: "float64"}


@dataclass(frozen=True)
class ModelFile:
    """A model file as it was checked; give these, not the path, to the backend.

    Attributes:
        data: bytes of the ``.onnx`` file.
        card: the model card in it.
        external: weights of the graph that lie in the file beside it, by name; empty for nearly all models.
    """

    data: bytes
    card: ModelCard
    external: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class _Outside:
    """A weight whose values lie in another file, as the model describes it."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    fields: list[tuple[str, str]]

    @property
    def size(self) -> int:
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


def read_model(path: str | Path) -> ModelFile:
    """Read an ONNX file, its card, and the weights that it keeps in a file beside it.

    Raises:
        InputError: no such file, damaged, too many nodes, nested too deeply, without a card; or external values that
            are not weights of the main graph, lie elsewhere than in a plain file beside the model, or are not those
            that were written with it.
        MissingError: no permission to read it.
    """
    path = Path(path)
    return check_model(read_model_file(path), path)


def check_model(data: bytes, path: Path) -> ModelFile:
    """Check the bytes of a model file, and read the weights that it keeps in a file beside it.

    Raises:
        InputError: see `read_model`.
    """
    entries, outside = _walk(memoryview(data), path)
    card = _card(entries, path)
    values: dict[str, np.ndarray] = {}
    if sum(weight.size for weight in outside) > MAX_TOTAL_BYTES:
        raise InputError(f"the tensors of {path} take more than {MAX_TOTAL_BYTES} bytes")
    with DataFiles(path) as files:
        for weight in outside:
            raw = files.read(weight.name, weight.fields, weight.size)
            if weight.name in values:
                raise InputError(f"{path} has two weights called {weight.name[:80]!r}; export it again")
            values[weight.name] = np.frombuffer(raw, np.dtype(weight.dtype).newbyteorder("<")).reshape(weight.shape)
        if outside and DATA_SHA256_KEY in (digests := dict(entries)):
            files.check_digest(digests[DATA_SHA256_KEY])
    return ModelFile(data, card, values)


def self_contained_card(span: Span, path: Path) -> ModelCard | None:
    """Check a model as `check_model` does, but pass over all weights; None where it keeps some in another file.

    Raises:
        InputError: see `read_model`.
    """
    entries, outside = _walk(span, path)
    return None if outside else _card(entries, path)


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
    card = self_contained_card(memoryview(data), path)
    if card is None:
        raise _elsewhere(path)
    return data, card


def _walk(whole: Span, path: Path) -> tuple[list[tuple[str, str]], list[_Outside]]:
    """The metadata, and the weights of the main graph whose values lie in other files."""
    nodes = 0
    entries: list[tuple[str, str]] = []
    outside: list[_Outside] = []
    todo: list[tuple[str, Span, int, bool]] = [("model", whole, 0, False)]
    while todo:
        message, view, depth, is_weight = todo.pop()
        if depth > MAX_NESTING:
            raise InputError(f"{path} nests graphs more than {MAX_NESTING} deep")
        if message == "training":
            raise InputError(f"{path} carries training graphs, which this project neither writes nor reads")
        if message == "entry":
            entries.append(_pair(view, path))
            continue
        known = _FIELDS[message]
        is_outside = False
        for number, value in fields(view, path):
            is_outside |= message == "tensor" and (
                number == _EXTERNAL_DATA or (number == _DATA_LOCATION and bool(value))
            )
            inner = known.get(number)
            if inner is None:
                continue
            if isinstance(value, int):
                raise InputError(f"{path} is damaged or not an ONNX model; export it again")
            nodes += inner == "node"
            if nodes > MAX_NODES:
                raise InputError(f"{path} has more than {MAX_NODES} nodes")
            in_main_graph = message == "graph" and depth == 1 and inner == "tensor"
            todo.append((inner, value, depth + (inner == "graph"), in_main_graph))
        if is_outside:
            if not is_weight:
                raise _elsewhere(path)
            outside.append(_outside(view, path))
    if nodes == 0:
        raise InputError(f"{path} is damaged or not an ONNX model (it has no nodes); export it again")
    return entries, outside


def _card(entries: list[tuple[str, str]], path: Path) -> ModelCard:
    cards = [value for key, value in entries if key == CARD_KEY]
    if not cards:
        raise InputError(f"{path} was not exported by lggan: it has no model card; make one with `lggan export`")
    if len(cards) > 1:
        raise InputError(f"{path} has {len(cards)} model cards; export it again")
    return ModelCard.from_json(cards[0])


def _elsewhere(path: Path) -> InputError:
    return InputError(f"{path} keeps tensors in other files; export it again into one file")


def _pair(view: Span, path: Path) -> tuple[str, str]:
    """A key and its value; the last one counts where a field is repeated."""
    pair = {number: bytes(value) for number, value in fields(view, path) if not isinstance(value, int)}
    key = pair.get(1, b"").decode("utf-8", "replace")
    try:
        return key, pair.get(2, b"").decode("utf-8")
    except UnicodeDecodeError as error:
        if key == CARD_KEY:
            raise InputError(f"the model card of {path} is not UTF-8; export it again") from error
        return key, ""


def _outside(view: Span, path: Path) -> _Outside:
    """Read the description of a tensor whose values are elsewhere."""
    shape: list[int] = []
    kind, name, location = 0, "", 0
    described: list[tuple[str, str]] = []
    for number, value in fields(view, path):
        if number == _DIMS and not isinstance(value, int):  # packed
            at = 0
            while at < len(value):
                side, at = _varint(value, at, path)
                shape.append(side)
        elif number == _DIMS and isinstance(value, int):
            shape.append(value)
        elif number == _DATA_TYPE and isinstance(value, int):
            kind = value
        elif number == _NAME and not isinstance(value, int):
            name = bytes(value).decode("utf-8", "replace")
        elif number == _DATA_LOCATION and isinstance(value, int):
            location = value
        elif number == _EXTERNAL_DATA and not isinstance(value, int):
            described.append(_pair(value, path))
    where = f"tensor {name[:80]!r} of {path}"
    if location != 1 or not name or kind not in _DTYPES:
        raise InputError(f"{where} describes its external values in a way that this project does not write")
    if len(shape) > _MAX_RANK or any(side > MAX_DIMENSION for side in shape):
        raise InputError(f"{where} has the dimensions {shape[:8]}, each must be 0 .. {MAX_DIMENSION}")
    weight = _Outside(name, tuple(shape), _DTYPES[kind], described)
    if weight.size > MAX_TENSOR_BYTES:
        raise InputError(f"{where} takes {weight.size} bytes, more than {MAX_TENSOR_BYTES}")
    return weight


def fields(view: Span, path: Path) -> Iterator[tuple[int, int | Span]]:
    """The fields of one protobuf message: (number, value), an int for numbers, a slice for all that has a length.

    Args:
        view: the message's bytes, in memory or in an open file.
        path: what error messages call the file.

    Raises:
        InputError: no such message, or cut off.
    """
    at, end = 0, len(view)
    while at < end:
        tag, at = _varint(view, at, path)
        number, kind = tag >> 3, tag & 7
        value: int | Span
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


def _varint(view: Span, at: int, path: Path) -> tuple[int, int]:
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
