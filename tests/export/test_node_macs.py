from __future__ import annotations

import pytest

from export.node_macs import Shape, node_macs

# operator, inputs, outputs, MACs counted by hand
CASES: list[tuple[str, list[Shape], list[Shape], int]] = [
    ("Conv", [(1, 3, 8, 8), (5, 3, 3, 3), (5,)], [(1, 5, 6, 6)], 6 * 6 * 5 * 27),
    ("Conv", [(2, 3, 8, 8), (5, 3, 1, 1)], [(2, 5, 8, 8)], 2 * 64 * 5 * 3),
    ("FusedConv", [(1, 4, 8, 8), (4, 1, 3, 3)], [(1, 4, 8, 8)], 64 * 4 * 9),  # depthwise
    ("Conv", [(1, 4, 8, 8), (6, 2, 3, 3)], [(1, 6, 4, 4)], 16 * 6 * 18),  # two groups, stride two
    ("ConvTranspose", [(1, 4, 5, 7), (4, 6, 3, 3)], [(1, 6, 10, 14)], 5 * 7 * 4 * 6 * 9),
    ("ConvTranspose", [(1, 4, 5, 7), (4, 3, 3, 3)], [(1, 6, 10, 14)], 5 * 7 * 4 * 3 * 9),  # two groups
    ("MatMul", [(7, 3), (3, 5)], [(7, 5)], 7 * 3 * 5),
    ("MatMul", [(2, 36, 4, 3), (36, 3, 5)], [(2, 36, 4, 5)], 2 * 36 * 4 * 3 * 5),  # batched
    ("MatMul", [(3,), (3, 5)], [(5,)], 15),
    ("MatMul", [(7, 3)], [(7, 5)], 105),  # a profile without the shape of the weight
    ("Gemm", [(7, 3), (3, 5), (5,)], [(7, 5)], 105),
    ("Gemm", [(3, 7), (3, 5)], [(7, 5)], 105),  # transposed
    ("Add", [(7, 3), (7, 3)], [(7, 3)], 0),
    ("Gather", [(7, 3), (2,)], [(2, 3)], 0),
    ("MatMul", [(0, 3), (3, 5)], [(0, 5)], 0),  # no such patch in this label map
]


@pytest.mark.parametrize(("op_type", "inputs", "outputs", "macs"), CASES)
def test_counted_by_hand(op_type: str, inputs: list[Shape], outputs: list[Shape], macs: int) -> None:
    assert node_macs(op_type, inputs, outputs) == macs
