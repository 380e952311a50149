"""How many multiply-accumulates a node performs, from the shapes that it worked on."""

from __future__ import annotations

import math
from collections.abc import Sequence

Shape = tuple[int, ...]

_CONVOLUTIONS = ("Conv", "FusedConv", "NhwcFusedConv", "ConvInteger")
_PRODUCTS = ("MatMul", "FusedMatMul", "MatMulInteger")
_GEMMS = ("Gemm", "FusedGemm")


def node_macs(op_type: str, inputs: Sequence[Shape], outputs: Sequence[Shape]) -> int:
    """Multiply-accumulates of a convolution or a matrix product; 0 for every other operator.

    Zeros are multiplied like other numbers. Grouped convolutions count what their groups do; a transposed convolution
    is counted per input pixel, its output's overlaps are sums.

    Args:
        op_type: of ONNX or of ONNX Runtime's fusions.
        inputs: shapes in the operator's order; of a convolution [N, C, ...], [M, C / group, ...].
        outputs: shapes.
    """
    if op_type in _CONVOLUTIONS:
        return math.prod(outputs[0]) * math.prod(inputs[1][1:])
    if op_type == "ConvTranspose":
        return math.prod(inputs[0]) * math.prod(inputs[1][1:])  # weight [C, M / group, ...]
    if op_type in _PRODUCTS:
        return math.prod(outputs[0]) * inputs[0][-1]
    if op_type in _GEMMS:
        return outputs[0][1] * math.prod(inputs[0])  # A is [rows, K] or, transposed, [K, rows]
    return 0
