"""INT8 weights: the formula in float64, and what ONNX Runtime makes of it."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from calibration.weights import quantize_weight
from runtime.contract.errors import InputError

SHAPE = (5, 3, 2, 2)


def draw(seed: int = 0, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return (generator.standard_normal(shape) * generator.lognormal(-3, 2, (shape[0], 1, 1, 1))).astype(np.float32)


@pytest.mark.parametrize("axis", [0, 1])
def test_the_formula(axis: int) -> None:
    weight = draw()
    found = quantize_weight(weight, axis, "w")
    wide = np.moveaxis(weight.astype(np.float64), axis, 0)
    values = np.moveaxis(found.values, axis, 0)
    assert found.values.dtype == np.int8
    assert found.scales.dtype == np.float32
    assert found.scales.shape == (SHAPE[axis],)
    assert found.axis == axis
    for channel, scale, levels in zip(wide, found.scales, values, strict=True):
        exact = np.abs(channel).max() / 127
        np.testing.assert_allclose(scale, exact, rtol=1e-7)
        np.testing.assert_array_equal(levels, np.clip(np.rint(channel / exact), -127, 127))
        assert np.abs(levels).max() == 127
        assert np.abs(levels * float(scale) - channel).max() <= exact * 0.5000001


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.sampled_from([0, 1]))
def test_onnxruntime_quantises_to_the_same_integers(seed: int, axis: int) -> None:
    weight = draw(seed)
    found = quantize_weight(weight, axis, "w")
    zeros = np.zeros(SHAPE[axis], np.int8)
    nodes = [
        helper.make_node("QuantizeLinear", ["w", "s", "z"], ["q"], axis=axis),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"], axis=axis),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("w", TensorProto.FLOAT, list(SHAPE))],
        [
            helper.make_tensor_value_info("q", TensorProto.INT8, list(SHAPE)),
            helper.make_tensor_value_info("d", TensorProto.FLOAT, list(SHAPE)),
        ],
        [numpy_helper.from_array(found.scales, "s"), numpy_helper.from_array(zeros, "z")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.checker.check_model(model)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    quantised, restored = session.run(None, {"w": weight})
    np.testing.assert_array_equal(quantised, found.values)
    shape = [1, 1, 1, 1]
    shape[axis] = -1
    np.testing.assert_array_equal(restored, found.values * found.scales.reshape(shape))


def test_halves_go_to_the_even_neighbour() -> None:
    weight = np.array([127, 0.5, 1.5, 2.5, -0.5, -1.5, -127], np.float32).reshape(1, 7, 1, 1)
    assert quantize_weight(weight, 0, "w").values.ravel().tolist() == [127, 0, 2, 2, 0, -2, -127]


def test_channels_of_zeros_and_dead_ones_become_zero() -> None:
    weight = draw()
    weight[1] = 0
    weight[3] = 1e-12
    weight[4] = 1e-42
    found = quantize_weight(weight, 0, "w")
    assert not found.values[[1, 3, 4]].any()
    assert (found.scales[[1, 3, 4]] == found.scales[[0, 2]].max()).all()
    assert np.abs(found.values[[0, 2]]).max(axis=(1, 2, 3)).tolist() == [127, 127]


@pytest.mark.parametrize("value", [0.0, 1e-42])
def test_a_weight_of_zeros_stays_zero(value: float) -> None:
    found = quantize_weight(np.full(SHAPE, value, np.float32), 1, "w")
    assert not found.values.any()
    assert (found.scales > 1e-3).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_named(value: float) -> None:
    weight = draw()
    weight[2, 1] = value
    with pytest.raises(InputError, match=r"'layer\.weight' has 4 values that are not finite"):
        quantize_weight(weight, 0, "layer.weight")
