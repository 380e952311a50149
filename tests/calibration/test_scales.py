"""INT8 scales that FP16 cannot hold keep their convolutions in FP32."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from calibration.qdq import Placement, insert_qdq, quantized_tensors
from calibration.scales import float_scaled
from tests.quantized_toys import EVERY, all_cases, case_inputs, largest_values


def quantised(**changed: float) -> onnx.ModelProto:
    """`all_cases` in INT8; scales by the names of their initialisers, the last channel's where there are several."""
    model = all_cases()
    largest = largest_values(model, quantized_tensors(model, EVERY, Placement.TENSORRT), case_inputs())
    found = insert_qdq(model, EVERY, largest, Placement.TENSORRT)
    for tensor in found.graph.initializer:
        if tensor.name in changed:
            values = numpy_helper.to_array(tensor).copy()
            values[(-1,) if values.ndim else ()] = changed[tensor.name]
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    return found


def names(model: onnx.ModelProto) -> set[str]:
    return {model.graph.node[index].name for index in float_scaled(model)}


def test_ordinary_scales_are_no_trouble() -> None:
    assert names(quantised()) == set()
    assert names(quantised(**{"x/scale": 6.2e-5, "w_up/scales": 6.2e-5})) == set()


def test_a_small_weight_scale_takes_its_convolution_and_its_pair() -> None:
    assert names(quantised(**{"w_first/scales": 1e-6})) == {
        "first", "x/quantize", "x/dequantize", "w_first/dequantize",
    }  # fmt: skip


def test_who_shares_the_pair_comes_along_and_nobody_else() -> None:
    assert names(quantised(**{"w_left/scales": 1e-6})) == {
        "left", "right", "ra/quantize", "ra/dequantize", "w_left/dequantize", "w_right/dequantize",
    }  # fmt: skip
    assert names(quantised(**{"ra/scale": 1e-7})) == names(quantised(**{"w_left/scales": 1e-6}))


@pytest.mark.parametrize(
    ("scale", "fits"), [(6.2e-5, True), (3.3e-5, True), (1.23e-5, False), (1e-8, False), (1e5, False)]
)
def test_the_limit(scale: float, fits: bool) -> None:
    error = abs(float(np.float16(np.float32(scale).clip(max=65504))) / scale - 1)
    assert (error <= 2**-10) is fits
    assert bool(names(quantised(**{"d/scale": scale}))) is not fits


def test_graphs_without_int8() -> None:
    assert float_scaled(all_cases()) == frozenset()
