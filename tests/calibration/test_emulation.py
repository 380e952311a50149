"""FP16 arithmetic on a runtime that has none: compared with numpy's float16, which rounds after every operation."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from calibration.emulation import emulate_half
from calibration.half import to_half
from calibration.qdq import Placement, insert_qdq
from tests.onnx_toys import CARD, toy_model
from tests.quantized_toys import EVERY, all_cases, case_inputs
from tests.quantized_toys import run as run_all

node = helper.make_node
K = 300.0


def chain() -> onnx.ModelProto:
    """y = tanh?(x * k * k / k + 2048 - 2048): overflows and loses bits in FP16, does nothing in FP32."""
    nodes = [
        node("Mul", ["x", "k"], ["a"]),
        node("Mul", ["a", "k"], ["b"]),
        node("Div", ["b", "k"], ["c"]),
        node("Add", ["x", "large"], ["d"]),
        node("Sub", ["d", "large"], ["e"]),
        node("Transpose", ["e"], ["f"], perm=[0]),
        node("Add", ["c", "f"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["L"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["L"])],
        [numpy_helper.from_array(np.array(v, np.float32), n) for n, v in (("k", K), ("large", 2048.0))],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def run(model: onnx.ModelProto, **feeds: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, feeds)[0]


def test_every_operation_rounds_and_overflows_as_in_numpy() -> None:
    typed, _ = to_half(chain())
    x = np.concatenate([np.random.default_rng(0).standard_normal(1000) * 0.3, [0.7, 1.0, 300.0, -1.0]]).astype(
        np.float32
    )
    half, k, large = x.astype(np.float16), np.float16(K), np.float16(2048)
    with np.errstate(over="ignore"):
        expected = half * k * k / k + ((half + large) - large)
    assert np.isinf(expected[-3])  # 1 · 300 · 300 is beyond 65504
    np.testing.assert_array_equal(run(emulate_half(typed), x=x), expected.astype(np.float32))


def test_onnxruntime_alone_would_not_have_told() -> None:
    """Why the emulation exists. Should this ever fail, ONNX Runtime has learnt to round and the emulation can go."""
    typed, _ = to_half(chain())
    assert np.isfinite(run(typed, x=np.array([1.0], np.float32))).all()


def test_functions_and_bytes_run_and_stay_close() -> None:
    typed, _ = to_half(toy_model())
    emulated = emulate_half(typed)
    onnx.checker.check_model(emulated, full_check=True)
    assert {t.data_type for t in emulated.graph.initializer} & {TensorProto.FLOAT16} == set()
    label = np.random.default_rng(1).integers(0, 4, (1, 1, CARD.height, CARD.width)).astype(np.uint8)
    difference = run(emulated, label=label).astype(int) - run(toy_model(), label=label).astype(int)
    assert np.abs(difference).max() <= 1


def test_int8_convolutions_multiply_integers_between_fp16_scales() -> None:
    """x -> first -> Relu, in numpy: integers, one product of scales at the end, then FP16."""
    model = all_cases()
    largest = {"x": 3.0, "ra": 2.5, "features": 1.0, "r": 4.0, "d": 4.0}
    typed, _ = to_half(insert_qdq(model, EVERY, largest, Placement.TENSORRT))
    emulated = emulate_half(typed)
    onnx.checker.check_model(emulated, full_check=True)
    kinds = [node.op_type for node in emulated.graph.node]
    assert (kinds.count("QuantizeLinear"), kinds.count("DequantizeLinear")) == (7, 15)
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in typed.graph.initializer}
    feeds = case_inputs()

    scale, scales = tensors["x/scale/fp16"].astype(np.float64), tensors["w_first/scales/fp16"].astype(np.float64)
    integers = np.clip(np.rint(feeds["x"].astype(np.float16) / scale), -128, 127).astype(np.int64)
    padded = np.pad(integers, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
    sums = np.einsum("nchwij,ocij->nohw", windows, tensors["w_first/int8"].astype(np.int64))
    bias = tensors["b_first/fp16"].astype(np.float64)
    expected = (sums * (scale * scales)[:, None, None] + bias[:, None, None]).astype(np.float16)

    emulated.graph.output.append(helper.make_tensor_value_info("a", TensorProto.FLOAT, None))
    (found,) = run_all(emulated, feeds, ["a"])
    # FP32 sums the same numbers in another order: now and then the last bit of FP16 falls the other way
    assert np.mean(found == expected) > 0.99
    np.testing.assert_allclose(found, expected.astype(np.float64), rtol=2**-10, atol=2**-14)


def test_int8_and_fp16_together_stay_close_to_int8_alone() -> None:
    largest = {"x": 3.0, "ra": 2.5, "features": 1.0, "r": 4.0, "d": 4.0}
    quantised = insert_qdq(all_cases(), EVERY, largest, Placement.TENSORRT)
    emulated = emulate_half(to_half(quantised)[0])
    for one, other in zip(run_all(quantised, case_inputs()), run_all(emulated, case_inputs()), strict=True):
        assert 0 < np.abs(one - other).mean() < 0.01
        assert np.abs(one - other).max() < 0.2
