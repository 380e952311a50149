"""Which nodes stay in FP32."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from calibration.graphs import element_types
from calibration.islands import IslandReason, find_islands
from tests.onnx_toys import toy_model

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
node = helper.make_node


def islands_of(model: onnx.ModelProto) -> dict[str, IslandReason]:
    nodes = model.graph.node
    return {nodes[i].name: reason for i, reason in find_islands(nodes, element_types(model)).items()}


def model_of(nodes: list[onnx.NodeProto], output: int = FLOAT, **tensors: np.ndarray) -> onnx.ModelProto:
    """x float [2, 3, 8, 8] -> ... -> y."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", FLOAT, [2, 3, 8, 8])],
        [helper.make_tensor_value_info("y", output, None)],
        [numpy_helper.from_array(value, name) for name, value in tensors.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def test_the_toy_keeps_its_norm_and_its_way_to_bytes() -> None:
    assert islands_of(toy_model()) == {
        "norm": IslandReason.NORMALISATION,
        **dict.fromkeys(("tanh", "lift", "level", "clip", "round", "pack", "to_bytes"), IslandReason.INTEGERS),
    }


def test_with_float_output_there_are_no_bytes_to_protect() -> None:
    assert islands_of(toy_model(float_output=True)) == {"norm": IslandReason.NORMALISATION}


def test_a_normalisation_written_out_is_an_island_as_a_whole() -> None:
    found = islands_of(toy_model(float_output=True, decomposed_norm=True))
    assert found == dict.fromkeys(
        ("mean", "centre", "square", "variance", "epsilon", "root", "divide"), IslandReason.NORMALISATION
    )


def test_variance_as_mean_of_squares_and_a_reciprocal_root() -> None:
    axes, eps = np.array([2, 3]), np.array(1e-5, np.float32)
    nodes = [
        node("Mul", ["x", "x"], ["xx"], "square"),
        node("ReduceMean", ["xx", "axes"], ["m2"], "mean_square"),
        node("ReduceMean", ["x", "axes"], ["m"], "mean"),
        node("Mul", ["m", "m"], ["mm"], "squared_mean"),
        node("Sub", ["m2", "mm"], ["v"], "difference"),
        node("Add", ["v", "eps"], ["ve"], "epsilon"),
        node("Sqrt", ["ve"], ["d"], "root"),
        node("Reciprocal", ["d"], ["r"], "reciprocal"),
        node("Sub", ["x", "m"], ["c"], "centre"),
        node("Mul", ["c", "r"], ["n"], "scale"),
        node("Mul", ["n", "gain"], ["g"], "gain"),
        node("Relu", ["g"], ["y"], "relu"),
    ]
    found = islands_of(model_of(nodes, axes=axes, eps=eps, gain=np.full((1, 3, 1, 1), 2, np.float32)))
    assert set(found) == {n.name for n in nodes} - {"gain", "relu"}


def test_ordinary_arithmetic_is_no_island() -> None:
    nodes = [
        node("Conv", ["x", "w"], ["c"], "conv"),
        node("Add", ["c", "x"], ["a"], "residual"),
        node("Mul", ["a", "a"], ["s"], "gate"),
        node("MaxPool", ["s"], ["p"], "pool", kernel_shape=[2, 2]),
        node("Tanh", ["p"], ["y"], "tanh"),
    ]
    assert islands_of(model_of(nodes, w=np.ones((3, 3, 1, 1), np.float32))) == {}


@pytest.mark.parametrize(
    ("operator", "reason"),
    [
        ("Softmax", IslandReason.SOFTMAX),
        ("Exp", IslandReason.SOFTMAX),
        ("GlobalAveragePool", IslandReason.NORMALISATION),
        ("ReduceSum", IslandReason.NORMALISATION),
        ("Relu", None),
        ("ReduceMax", None),
    ],
)
def test_operators_by_kind(operator: str, reason: IslandReason | None) -> None:
    assert islands_of(model_of([node(operator, ["x"], ["y"], "n")])).get("n") is reason


def test_sizes_computed_in_float_stay_exact() -> None:
    """4097 does not exist in FP16: an index computed there would be another one."""
    nodes = [
        node("Shape", ["x"], ["s"], "shape"),
        node("Cast", ["s"], ["f"], "to_float", to=FLOAT),
        node("Mul", ["f", "k"], ["t"], "times"),
        node("Floor", ["t"], ["fl"], "floor"),
        node("Cast", ["fl"], ["y"], "to_index", to=INT64),
    ]
    found = islands_of(model_of(nodes, INT64, k=np.array(512.125, np.float32)))
    assert found == dict.fromkeys(("to_float", "times", "floor", "to_index"), IslandReason.INTEGERS)


def test_quantising_is_no_island() -> None:
    nodes = [
        node("QuantizeLinear", ["x", "s", "z"], ["q"], "quantize"),
        node("DequantizeLinear", ["q", "s", "z"], ["y"], "dequantize"),
    ]
    assert islands_of(model_of(nodes, s=np.array(0.1, np.float32), z=np.array(0, np.int8))) == {}


def test_one_hot_from_a_comparison_is_exact_in_fp16() -> None:
    assert "one_hot" not in islands_of(toy_model())
