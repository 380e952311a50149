"""What an ONNX file must satisfy before this project works with it, and the model card inside it.

An ONNX file comes from somewhere. Its tensors may name other files of the disk ("external data"), its sizes may be
invented, its graph may be nested without end. Everything is checked on the parsed message before a single tensor is
used, and external data is read by `external_data`, from the very file handle that was checked, so that nothing can be
exchanged in between. Background: the advisories CVE-2022-25882, CVE-2024-27318, CVE-2026-27489, -34445, -34446, -34447.

Duck-typed: the message is used through its fields alone and the ``onnx`` package is passed in by the caller, because
this room is also installed where ``onnx`` is not. `onnx_wire.check_model_file` is the check for such machines.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from runtime.contract.card import CARD_KEY, ModelCard
from runtime.contract.errors import InputError, UsageError
from runtime.contract.external_data import DATA_SHA256_KEY, DataFiles
from runtime.contract.opened_file import OpenedFile

MAX_FILE_BYTES = (1 << 31) - 1  # what a protobuf message can hold at most
MAX_NODES = 100_000
MAX_TENSORS = 100_000
MAX_NESTING = 16
MAX_DIMENSION = 1 << 31
MAX_TENSOR_BYTES = 1 << 31
MAX_TOTAL_BYTES = 1 << 32

_EXTERNAL = 1  # TensorProto.DataLocation.EXTERNAL
_STRING = 8
# bits per element by the number of TensorProto.DataType (onnx.proto); strings have no fixed size
_BITS = {
    **dict.fromkeys((2, 3, 9, 17, 18, 19, 20, 24), 8),  # uint8, int8, bool, the float8 family
    **dict.fromkeys((4, 5, 10, 16), 16),  # uint16, int16, float16, bfloat16
    **dict.fromkeys((1, 6, 12), 32),  # float, int32, uint32
    **dict.fromkeys((7, 11, 13, 14), 64),  # int64, double, uint64, complex64
    15: 128,  # complex128
    **dict.fromkeys((21, 22, 23), 4),  # uint4, int4, float4
    **dict.fromkeys((25, 26), 2),  # uint2, int2
    **dict.fromkeys((27, 28), 6),  # the float6 family
}


def load_checked(path: str | Path, onnx: Any) -> Any:
    """Read an ONNX file, check it, and bring its external data (if any) into the message.

    Args:
        path: of the ``.onnx`` file.
        onnx: the imported ``onnx`` package.

    Returns:
        ``onnx.ModelProto`` without references to other files.

    Raises:
        InputError: no such file, not an ONNX model, or one that `check_model_proto` refuses.
        MissingError: no permission to read it.
    """
    path = Path(path)
    data = read_model_file(path)
    try:
        model = onnx.load_model_from_string(data)
    except Exception as error:  # DecodeError of whichever protobuf implementation is installed
        raise InputError(f"{path} is damaged or not an ONNX model ({_one_line(error)}); export it again") from error
    check_model_proto(model, path)
    _embed_external_data(model, path)
    return model


def read_model_file(path: str | Path) -> bytes:
    """The bytes of a model file, its size checked before it is read.

    Raises:
        InputError: absent, empty, not a regular file, or larger than `MAX_FILE_BYTES`.
        MissingError: no permission.
    """
    with OpenedFile(Path(path), MAX_FILE_BYTES) as file:
        return file.read()


def check_model_proto(model: Any, path: str | Path) -> None:
    """Check a parsed message (loaded with ``load_external_data=False``): structure, sizes, external data.

    Covers the main graph, nested graphs in attributes, sparse tensors and model-local functions.

    Raises:
        InputError: naming what was found where.
    """
    path = Path(path)
    if model.ir_version < 1 or not model.opset_import or not model.graph.node:
        raise InputError(f"{path} is not an ONNX model (no version, operator set or nodes); export it again")
    if len(model.training_info):
        raise InputError(f"{path} carries training graphs, which this project neither writes nor reads")
    nodes, tensors, total = 0, 0, 0
    with DataFiles(path) as files:
        for kind, item in _walk(model, path):
            if kind == "node":
                nodes += 1
                if nodes > MAX_NODES:
                    raise InputError(f"{path} has more than {MAX_NODES} nodes")
                continue
            tensors += 1
            if tensors > MAX_TENSORS:
                raise InputError(f"{path} has more than {MAX_TENSORS} tensors")
            size = _check_tensor(item, path, files)
            total += size
            if total > MAX_TOTAL_BYTES:
                raise InputError(f"the tensors of {path} take more than {MAX_TOTAL_BYTES} bytes")


def message_bytes(model: Any, path: str | Path) -> bytes:
    """A model as one message, for what takes nothing else; equal models give equal bytes.

    Raises:
        UsageError: it has more than the 2 GiB that a message can have.
    """
    try:
        data: bytes = model.SerializeToString(deterministic=True)
    except Exception as error:  # EncodeError of whichever protobuf implementation is installed
        raise _too_large(path) from error
    if len(data) > MAX_FILE_BYTES:
        raise _too_large(path)
    return data


def read_card(model: Any, path: str | Path) -> ModelCard:
    """The `ModelCard` in the metadata of an ONNX model.

    Raises:
        InputError: there is none (the file was not exported by lggan), there are two, or it is damaged.
    """
    found = [entry.value for entry in model.metadata_props if entry.key == CARD_KEY]
    if not found:
        raise InputError(f"{path} was not exported by lggan: it has no model card; make one with `lggan export`")
    if len(found) > 1:
        raise InputError(f"{path} has {len(found)} model cards; export it again")
    return ModelCard.from_json(found[0])


def write_card(model: Any, card: ModelCard) -> None:
    """Put ``card`` into the metadata of an ONNX model in place of the one that is there."""
    kept = [(entry.key, entry.value) for entry in model.metadata_props if entry.key != CARD_KEY]
    del model.metadata_props[:]
    for key, value in sorted([*kept, (CARD_KEY, card.to_json())]):
        model.metadata_props.add(key=key, value=value)


def _too_large(path: str | Path) -> UsageError:
    return UsageError(f"{path} has more than 2 GiB of weights, which this step does not take; lower ngf")


def _walk(model: Any, path: Path) -> Iterator[tuple[str, Any]]:
    """Every node and every tensor of the model as ("node" | "tensor", message), without recursion."""
    todo: list[tuple[int, Any]] = [(0, model.graph), *((0, function) for function in model.functions)]
    while todo:
        depth, scope = todo.pop()
        if depth > MAX_NESTING:
            raise InputError(f"{path} nests graphs more than {MAX_NESTING} deep")
        if hasattr(scope, "initializer"):  # a graph; functions have none
            for tensor in scope.initializer:
                yield "tensor", tensor
            for sparse in scope.sparse_initializer:
                yield "tensor", sparse.values
                yield "tensor", sparse.indices
        attributes = list(getattr(scope, "attribute_proto", ()))  # defaults of a function's attributes
        for node in scope.node:
            yield "node", node
            attributes.extend(node.attribute)
        for attribute in attributes:
            if attribute.HasField("t"):
                yield "tensor", attribute.t
            for tensor in attribute.tensors:
                yield "tensor", tensor
            for sparse in (
                *((attribute.sparse_tensor,) if attribute.HasField("sparse_tensor") else ()),
                *attribute.sparse_tensors,
            ):
                yield "tensor", sparse.values
                yield "tensor", sparse.indices
            if attribute.HasField("g"):
                todo.append((depth + 1, attribute.g))
            todo.extend((depth + 1, graph) for graph in attribute.graphs)


def _check_tensor(tensor: Any, path: Path, files: DataFiles) -> int:
    """Size of the tensor in bytes (0 for strings), after checking its dimensions and where its values are."""
    where = f"tensor {tensor.name[:80]!r} of {path}"
    if any(not 0 <= side <= MAX_DIMENSION for side in tensor.dims):
        raise InputError(f"{where} has the dimensions {list(tensor.dims)[:8]}, each must be 0 .. {MAX_DIMENSION}")
    count = math.prod(tensor.dims)  # Python integers: cannot overflow
    external = tensor.data_location == _EXTERNAL or len(tensor.external_data) > 0
    if tensor.data_type == _STRING and not external:
        return 0
    if tensor.data_type not in _BITS:
        raise InputError(f"{where} has the data type {tensor.data_type}, which is unknown or has no fixed size")
    size = -(-count * _BITS[tensor.data_type] // 8)
    if size > MAX_TENSOR_BYTES:
        raise InputError(f"{where} takes {size} bytes, more than {MAX_TENSOR_BYTES}")
    if external:
        if tensor.data_location != _EXTERNAL:
            raise InputError(
                f"{where} names a plain file beside the model for its values, but is not marked as external"
            )
        files.check(tensor.name, _fields_of(tensor, path), size)
    elif len(tensor.raw_data) and len(tensor.raw_data) != size:
        raise InputError(f"{where} holds {len(tensor.raw_data)} bytes where its shape needs {size}")
    return int(size)


def _embed_external_data(model: Any, path: Path) -> None:
    """Replace every reference to external data by the values themselves."""
    with DataFiles(path) as files:
        for kind, tensor in _walk(model, path):
            if kind == "node" or tensor.data_location != _EXTERNAL:
                continue
            size = -(-math.prod(tensor.dims) * _BITS[tensor.data_type] // 8)
            tensor.raw_data = files.read(tensor.name, _fields_of(tensor, path), size)
            tensor.ClearField("data_location")
            tensor.ClearField("external_data")
        digests = [entry.value for entry in model.metadata_props if entry.key == DATA_SHA256_KEY]
        if digests:
            files.check_digest(digests[0])
    kept = [(entry.key, entry.value) for entry in model.metadata_props if entry.key != DATA_SHA256_KEY]
    if len(kept) != len(model.metadata_props):  # no data file belongs to what is returned
        del model.metadata_props[:]
        for key, value in kept:
            model.metadata_props.add(key=key, value=value)


def _fields_of(tensor: Any, path: Path) -> list[tuple[str, str]]:
    fields = [(entry.key, entry.value) for entry in tensor.external_data]
    if any(isinstance(text, bytes) for pair in fields for text in pair):  # what protobuf gives where it is not UTF-8
        raise InputError(f"tensor {tensor.name[:80]!r} of {path} names its external data in damaged text")
    return fields


def _one_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:200]
