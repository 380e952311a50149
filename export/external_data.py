"""Models of more than 2 GiB: their large weights apart from the graph, in memory and in a file beside it.

A protobuf message holds less than 2 GiB, so such a model is a pair, ``FILE.onnx`` and ``FILE.onnx.data``. Nothing that
serialises a message (ONNX Runtime, the checker, shape inference, the inliner) can take it whole; each gets the graph
without the large weights, and the weights in the way that it has for them.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from runtime.contract.external_data import DATA_SHA256_KEY
from runtime.contract.onnx_safety import MAX_FILE_BYTES

_SMALLEST = 1024  # bytes; smaller weights stay in the graph, which needs the values of some to know its shapes
_ALIGNMENT = 1 << 16  # bytes; what every system can map into memory at (64 KiB on Windows, 4 KiB elsewhere)


@dataclass(frozen=True)
class Serialized:
    """A model as ONNX Runtime is given it: without a file.

    Attributes:
        data: the message, below 2 GiB.
        external: the weights that it refers to, by name; for ``SessionOptions.add_external_initializers``. They must
            stay alive as long as the session. Empty for models below 2 GiB.
    """

    data: bytes
    external: Mapping[str, np.ndarray] = field(default_factory=dict)

    def lend_to(self, options: onnxruntime.SessionOptions) -> None:
        """Let a session that is opened with these options use the weights."""
        if self.external:
            values = [onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in self.external.values()]
            options.add_external_initializers(list(self.external), values)


def is_large(model: onnx.ModelProto, limit: int = MAX_FILE_BYTES) -> bool:
    """Whether a model is too large for one message of ``limit`` bytes."""
    # ByteSize() serialises, and fails above 2 GiB: what the weights alone take comes first
    return sum(_size(tensor) for tensor in model.graph.initializer) > limit or model.ByteSize() > limit


def skeleton(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy whose large weights are inputs of the graph: small enough to be checked, inlined and have shapes inferred.

    Names, types, shapes and the values of small weights are those of the model.
    """
    bare = _without_weights(model)
    for tensor in model.graph.initializer:
        if _is_large_weight(tensor):
            bare.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)))
        else:
            bare.graph.initializer.add().CopyFrom(tensor)
    return bare


def serialized(model: onnx.ModelProto, limit: int = MAX_FILE_BYTES) -> Serialized:
    """A model for ONNX Runtime; its large weights stand apart if it has more than ``limit`` bytes."""
    if not is_large(model, limit):
        return Serialized(model.SerializeToString(deterministic=True))
    bare = _without_weights(model)
    apart: dict[str, np.ndarray] = {}
    for tensor in model.graph.initializer:
        if _is_large_weight(tensor):
            apart[tensor.name] = numpy_helper.to_array(tensor)
            bare.graph.initializer.append(_reference(tensor, "memory", 0, apart[tensor.name].nbytes))
        else:
            bare.graph.initializer.add().CopyFrom(tensor)
    return Serialized(bare.SerializeToString(deterministic=True), apart)


def write_pair(folder: Path, model: onnx.ModelProto, name: str, data_name: str) -> None:
    """Write ``folder/name`` with the graph and ``folder/data_name`` with the large weights.

    Equal models give equal bytes. The SHA-256 of the data stands in the graph's metadata.
    """
    bare = _without_weights(model)
    digest, end = hashlib.sha256(), 0
    with (folder / data_name).open("wb") as stream:
        for tensor in model.graph.initializer:
            if not _is_large_weight(tensor):
                bare.graph.initializer.add().CopyFrom(tensor)
                continue
            values = _raw_bytes(tensor)
            start = -(-end // _ALIGNMENT) * _ALIGNMENT
            for part in (bytes(start - end), values):
                stream.write(part)
                digest.update(part)
            end = start + len(values)
            bare.graph.initializer.append(_reference(tensor, data_name, start, len(values)))
    entries = {entry.key: entry.value for entry in bare.metadata_props} | {DATA_SHA256_KEY: digest.hexdigest()}
    del bare.metadata_props[:]
    for key in sorted(entries):
        bare.metadata_props.add(key=key, value=entries[key])
    (folder / name).write_bytes(bare.SerializeToString(deterministic=True))


def _without_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy without initializers, made without ever holding them twice."""
    bare = onnx.ModelProto()
    for descriptor, value in model.ListFields():
        if descriptor.name == "graph":
            continue
        if isinstance(value, (str, int)):
            setattr(bare, descriptor.name, value)
        else:  # all other fields of a model are repeated
            getattr(bare, descriptor.name).extend(value)
    for descriptor, value in model.graph.ListFields():
        if descriptor.name == "initializer":
            continue
        if isinstance(value, str):
            setattr(bare.graph, descriptor.name, value)
        else:
            getattr(bare.graph, descriptor.name).extend(value)
    return bare


def _size(tensor: TensorProto) -> int:
    """Bytes that the values take; 0 for strings. From the shape: looking at the values would copy them."""
    if tensor.data_type in (TensorProto.STRING, TensorProto.UNDEFINED):
        return 0
    return math.prod(tensor.dims) * helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize


def _is_large_weight(tensor: TensorProto) -> bool:
    return _size(tensor) >= _SMALLEST


def _raw_bytes(tensor: TensorProto) -> bytes:
    if not tensor.HasField("raw_data"):
        tensor = numpy_helper.from_array(numpy_helper.to_array(tensor))
    return bytes(tensor.raw_data)


def _reference(tensor: TensorProto, location: str, offset: int, length: int) -> TensorProto:
    """The tensor without its values."""
    reference = TensorProto(
        name=tensor.name, data_type=tensor.data_type, dims=tensor.dims, data_location=TensorProto.EXTERNAL
    )
    for key, value in (("location", location), ("offset", offset), ("length", length)):
        reference.external_data.add(key=key, value=str(value))
    return reference
