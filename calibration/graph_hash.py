"""What tells one graph from another, whatever is written beside it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence

from onnx import ModelProto, NodeProto, OperatorSetIdProto, TensorProto, ValueInfoProto


def graph_sha256(model: ModelProto) -> str:
    """SHA-256 of what a model computes: nodes, weights, inputs, outputs, functions, operator sets.

    Metadata (the model card among it), the producer and comments do not count; the names of nodes and tensors do. The
    weights are hashed one by one, so that no second model is made in memory. They must lie in the message.
    """
    digest = _Digest()
    digest.add_opsets(model.opset_import)
    for function in sorted(model.functions, key=lambda one: (one.domain, one.name)):
        signature = (
            function.domain,
            function.name,
            function.overload,
            *function.input,
            "->",
            *function.output,
            *function.attribute,
        )
        digest.add("function", json.dumps(signature).encode())
        for default in function.attribute_proto:
            digest.add("attribute", default.SerializeToString(deterministic=True))
        digest.add_opsets(function.opset_import)
        digest.add_plain("node", function.node)
    graph = model.graph
    digest.add_plain("input", graph.input)
    digest.add_plain("output", graph.output)
    digest.add_plain("node", graph.node)
    for tensor in sorted(graph.initializer, key=lambda one: one.name):
        digest.add("tensor", json.dumps([tensor.name, tensor.data_type, list(tensor.dims)]).encode())
        digest.add("values", _values(tensor))
    for sparse in graph.sparse_initializer:
        digest.add("sparse", sparse.SerializeToString(deterministic=True))
    return digest.hexdigest()


class _Digest:
    """Of a sequence of parts, each with its kind and length, so that no two sequences look alike."""

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()

    def add(self, kind: str, data: bytes) -> None:
        self._sha256.update(f"{kind} {len(data)} ".encode())
        self._sha256.update(data)

    def add_opsets(self, opsets: Iterable[OperatorSetIdProto]) -> None:
        for opset in sorted(opsets, key=lambda one: one.domain):
            self.add("opset", f"{opset.domain} {opset.version}".encode())

    def add_plain(self, kind: str, messages: Sequence[NodeProto] | Sequence[ValueInfoProto]) -> None:
        """Add messages without their comments."""
        for message in messages:
            plain = type(message)()
            plain.CopyFrom(message)
            plain.ClearField("doc_string")
            plain.ClearField("metadata_props")
            self.add(kind, plain.SerializeToString(deterministic=True))

    def hexdigest(self) -> str:
        return self._sha256.hexdigest()


def _values(tensor: TensorProto) -> bytes:
    if tensor.data_location == TensorProto.EXTERNAL:
        raise ValueError(f"the values of {tensor.name!r} are not in the message; load the model with its external data")
    data: bytes = tensor.raw_data if tensor.HasField("raw_data") else tensor.SerializeToString(deterministic=True)
    return data
