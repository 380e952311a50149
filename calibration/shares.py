"""What a typed graph computes in which type, read from the graph alone.

These are the types that the graph asks for. A backend without a kernel for one of them computes more precisely and
slower: `calibration.convolutions` says where that is known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from onnx import ModelProto, TensorProto

from calibration.graphs import STANDARD_DOMAINS, element_types
from runtime.contract.errors import InputError

_INT8 = (TensorProto.INT8, TensorProto.UINT8)
_NAMES: dict[int, str] = {TensorProto.FLOAT: "fp32", TensorProto.FLOAT16: "fp16"}


@dataclass(frozen=True)
class PrecisionShares:
    """Multiply-accumulates by type.

    Attributes:
        macs: ``int8``, ``fp16``, ``fp32``, all three always there -> multiply-accumulates for one picture.
        convolutions: the same types -> number of convolutions.
    """

    macs: Mapping[str, int]
    convolutions: Mapping[str, int]

    @property
    def total(self) -> int:
        """Multiply-accumulates in all types."""
        return sum(self.macs.values())

    @property
    def shares(self) -> dict[str, float]:
        """Part of the multiply-accumulates in each type, 0..1; zeros if there are none."""
        return {name: count / self.total if self.total else 0.0 for name, count in self.macs.items()}


def precision_shares(model: ModelProto, macs: Mapping[str, int]) -> PrecisionShares:
    """Add up the convolutions' work by the type that they compute in.

    A convolution is INT8 if its data and its weight both come out of a ``DequantizeLinear`` of 8-bit integers, with
    nothing in between; else its type is that of its data.

    Args:
        model: typed graph, whose nodes have the names that they had in FP32.
        macs: name of a convolution -> its multiply-accumulates (`calibration.convolutions.count_macs` of the FP32
            graph). The shares are those of these convolutions.

    Raises:
        InputError: the graph contradicts itself, lacks one of the convolutions, or has one in another type.
    """
    types = element_types(model)
    nodes = [node for node in model.graph.node if node.domain in STANDARD_DOMAINS]
    restored = {
        node.output[0] for node in nodes if node.op_type == "DequantizeLinear" and types.get(node.input[0]) in _INT8
    }
    convolutions = {node.name: node for node in nodes if node.op_type in ("Conv", "ConvTranspose")}
    work = dict.fromkeys(("int8", "fp16", "fp32"), 0)
    count = dict.fromkeys(work, 0)
    for name, each in macs.items():
        node = convolutions.get(name)
        if node is None:
            raise InputError(f"the typed graph has no convolution {name!r}: it was made from another model")
        data, weight = node.input[0], node.input[1]
        kind = "int8" if data in restored and weight in restored else _NAMES.get(types[data])
        if kind is None:
            raise InputError(f"the convolution {name!r} computes in {TensorProto.DataType.Name(types[data])}")
        work[kind] += each
        count[kind] += 1
    return PrecisionShares(work, count)
