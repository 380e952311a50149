"""The FP16 types in the graph: valid, complete, the same numbers."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from calibration.graphs import element_types
from calibration.half import check_typed, to_half
from calibration.islands import IslandReason
from calibration.qdq import Placement, insert_qdq, quantized_tensors
from runtime.contract.errors import InputError
from tests.onnx_toys import sau_function, toy_model
from tests.quantized_toys import EVERY, all_cases, case_inputs, largest_values

FLOAT, HALF = TensorProto.FLOAT, TensorProto.FLOAT16


def with_weight(name: str, change) -> onnx.ModelProto:
    model = toy_model()
    for tensor in model.graph.initializer:
        if tensor.name == name:
            values = numpy_helper.to_array(tensor).copy()
            change(values)
            tensor.CopyFrom(numpy_helper.from_array(values, name))
    return model


@pytest.mark.parametrize("kind", [{}, {"float_output": True}, {"decomposed_norm": True}])
def test_the_typed_graph_is_valid_and_keeps_its_contract(kind: dict[str, bool]) -> None:
    model = toy_model(**kind)
    typed, _ = to_half(model)
    check_typed(typed)
    assert typed.graph.input == model.graph.input
    assert typed.graph.output == model.graph.output
    assert typed.metadata_props == model.metadata_props
    types = element_types(typed)
    for node in typed.graph.node:
        if node.op_type in ("Conv", "LeakyRelu", "SemanticAwareUpsample"):
            assert {types[name] for name in (*node.input, *node.output)} == {HALF}, node.name
        if node.op_type in ("InstanceNormalization", "ReduceMean", "Sqrt", "Round"):
            assert HALF not in {types[name] for name in (*node.input, *node.output)}, node.name
    assert {types[name] for name in ("ids", "axes") if name in types} <= {TensorProto.INT32, TensorProto.INT64}


def test_the_original_is_untouched() -> None:
    model = toy_model()
    before = model.SerializeToString()
    to_half(model)
    assert model.SerializeToString() == before


def test_weights_are_rounded_to_the_nearest_half() -> None:
    model = toy_model()
    typed, facts = to_half(model)
    old = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    new = {t.name: numpy_helper.to_array(t) for t in typed.graph.initializer}
    for name in ("w1", "b1", "w2", "w3"):
        np.testing.assert_array_equal(new[f"{name}/fp16"], old[name].astype(np.float16))
    assert new["one"].dtype == new["half"].dtype == np.float32  # of the islands
    assert new["scales"].dtype == np.float32  # Resize wants its scales in float32
    assert facts.half_bytes == sum(2 * old[name].size for name in ("w1", "b1", "w2", "w3"))
    assert (facts.flushed, facts.subnormal) == (0, 0)


def test_a_cast_is_made_once_per_tensor_and_direction() -> None:
    typed, _ = to_half(toy_model(decomposed_norm=True))  # "centre" and "mean" both read the first convolution
    casts = [node.input[0] for node in typed.graph.node if node.op_type == "Cast" and node.name.endswith("/to_fp32")]
    assert casts == ["c1", "c3"]


def test_small_weights_are_counted() -> None:
    def change(values: np.ndarray) -> None:
        values.flat[:4] = (1e-9, -1e-9, 0.0, 1e-6)

    _, facts = to_half(with_weight("w1", change))
    assert (facts.flushed, facts.subnormal) == (2, 1)


@pytest.mark.parametrize("value", [70000.0, -65536.0, np.inf, np.nan])
def test_weights_that_fp16_cannot_hold_are_named(value: float) -> None:
    def change(values: np.ndarray) -> None:
        values.flat[3] = value

    with pytest.raises(InputError, match="'w1'"):
        to_half(with_weight("w1", change))


def test_a_large_weight_of_an_island_is_no_problem() -> None:
    def change(values: np.ndarray) -> None:
        values[()] = 70000.0

    to_half(with_weight("half", change))


def test_typed_models_are_refused() -> None:
    typed, _ = to_half(toy_model())
    with pytest.raises(InputError, match="typed FP16 already"):
        to_half(typed)


def test_contradicting_graphs_are_refused() -> None:
    model = toy_model()
    model.graph.node[4].input[0] = "label"  # a convolution of bytes
    with pytest.raises(InputError, match="contradicts itself"):
        to_half(model)


def test_control_flow_is_refused() -> None:
    model = toy_model()
    body = helper.make_graph([helper.make_node("Identity", ["c1"], ["o"])], "b", [], [])
    condition = numpy_helper.from_array(np.array(True), "yes")
    model.graph.initializer.append(condition)
    model.graph.node.insert(5, helper.make_node("If", ["yes"], ["unused"], "if", then_branch=body, else_branch=body))
    with pytest.raises(InputError, match=r"'if' \(If\) has a graph inside"):
        to_half(model)


def test_constants_in_nodes_become_typed_weights() -> None:
    nodes = [
        helper.make_node("Constant", [], ["a"], value_float=1.5),
        helper.make_node("Constant", [], ["b"], value=numpy_helper.from_array(np.array([2.5], np.float32))),
        helper.make_node("ConstantOfShape", ["shape"], ["z"]),
        helper.make_node("Sum", ["x", "a", "b", "z"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", FLOAT, [1])],
        [helper.make_tensor_value_info("y", FLOAT, [1])],
        [numpy_helper.from_array(np.array([1], np.int64), "shape")],
    )
    typed, facts = to_half(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8))
    check_typed(typed)
    assert facts.half_bytes == 4
    assert element_types(typed)["z"] == HALF


def test_the_function_body_computes_in_fp32_between_fp16_edges() -> None:
    """logits whose exponentials overflow FP16's mantissa and sums: only an FP32 softmax gets them right."""
    graph = helper.make_graph(
        [
            helper.make_node("Relu", ["f"], ["feature"]),
            helper.make_node("Neg", ["l"], ["logits"]),
            helper.make_node("SemanticAwareUpsample", ["feature", "logits"], ["up"], "sau", domain="lggan"),
            helper.make_node("Identity", ["up"], ["y"]),
        ],
        "g",
        [
            helper.make_tensor_value_info("f", FLOAT, [1, 2, 3, 3]),
            helper.make_tensor_value_info("l", FLOAT, [1, 4, 3, 3]),
        ],
        [helper.make_tensor_value_info("y", FLOAT, [1, 2, 6, 6])],
    )
    imports = [helper.make_opsetid("", 18), helper.make_opsetid("lggan", 1)]
    typed, facts = to_half(helper.make_model(graph, opset_imports=imports, functions=[sau_function()], ir_version=8))
    check_typed(typed)
    assert [island.node for island in facts.islands] == ["sau"]
    body = typed.functions[0]
    assert [n.op_type for n in body.node][:2] == ["Cast", "Cast"]
    assert [helper.get_attribute_value(n.attribute[0]) for n in body.node if n.op_type == "Cast"] == [
        FLOAT,
        FLOAT,
        HALF,
    ]

    generator = np.random.default_rng(0)
    feature = np.abs(generator.standard_normal((1, 2, 3, 3))).astype(np.float16)
    logits = (generator.standard_normal((1, 4, 3, 3)) * 20).astype(np.float16)
    session = onnxruntime.InferenceSession(typed.SerializeToString(), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"f": feature.astype(np.float32), "l": -logits.astype(np.float32)})
    expected = np.empty((1, 2, 6, 6))
    for c, y, x in np.ndindex(2, 3, 3):
        wide = np.exp(logits[0, :, y, x].astype(np.float64) - float(logits[0, :, y, x].max()))
        for tap in range(4):
            value = float(feature[0, c, y, x]) * wide[tap] / wide.sum()
            expected[0, c, 2 * y + tap // 2, 2 * x + tap % 2] = value
    np.testing.assert_allclose(found, expected, rtol=2**-11, atol=2**-24)


# ---- INT8 in the graph


def int8_cases(chosen: tuple[str, ...] = EVERY, **scales: float) -> onnx.ModelProto:
    """`all_cases` for TensorRT; some scales set to other values."""
    model = all_cases()
    largest = largest_values(model, quantized_tensors(model, chosen, Placement.TENSORRT), case_inputs())
    found = insert_qdq(model, chosen, largest, Placement.TENSORRT)
    for tensor in found.graph.initializer:
        if tensor.name in scales:
            tensor.CopyFrom(numpy_helper.from_array(np.full(tensor.dims, scales[tensor.name], np.float32), tensor.name))
    return found


def test_int8_convolutions_have_fp16_on_both_sides_and_no_casts() -> None:
    typed, facts = to_half(int8_cases())
    check_typed(typed)
    types = element_types(typed)
    makers = {name: node for node in typed.graph.node for name in node.output}
    for node in typed.graph.node:
        if node.op_type in ("Conv", "ConvTranspose"):
            assert {types[name] for name in (*node.input, *node.output)} == {HALF}, node.name
            data, weight = makers[node.input[0]], makers[node.input[1]]
            assert data.op_type == weight.op_type == "DequantizeLinear"
            assert types[data.input[0]] == types[weight.input[0]] == TensorProto.INT8
            assert types[data.input[1]] == types[weight.input[1]] == HALF
            assert makers[data.input[0]].op_type == "QuantizeLinear"
            assert makers[data.input[0]].input[1] == data.input[1]  # both halves of a pair use the same scale
    # casts at the graph's inputs and results alone
    casts = [node.name for node in typed.graph.node if node.op_type == "Cast" and node.name[:5] != "mask_"]
    assert casts == ["x/to_fp16", "heads/to_fp32", "picture/to_fp32", "up/to_fp32"]
    assert [island.node for island in facts.islands] == ["compare"]
    assert not any("dequantized" in name for name in facts.half_nodes)
    assert {"a", "up/fp16", "features"} <= set(facts.half_nodes)


def test_fp16_scales_are_those_of_fp32_rounded() -> None:
    model = int8_cases()
    old = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    new = {tensor.name: numpy_helper.to_array(tensor) for tensor in to_half(model)[0].graph.initializer}
    for name, values in old.items():
        if values.dtype == np.int8:
            np.testing.assert_array_equal(new[name], values)
        elif name.endswith(("/scale", "/scales")):
            np.testing.assert_array_equal(new[f"{name}/fp16"], values.astype(np.float16))
            assert name not in new


def test_fp16_scales_need_a_later_opset_everywhere() -> None:
    model = insert_qdq(toy_model(), ["conv1", "conv3"], {"layout": 1.0, "up": 3.0}, Placement.TENSORRT)
    typed, _ = to_half(model)
    check_typed(typed)
    imports = {(entry.domain, entry.version) for part in (typed, *typed.functions) for entry in part.opset_import}
    assert imports == {("", 19), ("lggan", 1)}
    assert typed.ir_version == 9
    assert {(entry.domain, entry.version) for entry in to_half(toy_model())[0].opset_import} == {("", 18), ("lggan", 1)}
    for entry in model.opset_import:
        entry.version = 21 if not entry.domain else 1
    assert {entry.version for entry in to_half(model)[0].opset_import} == {21, 1}


def test_int8_below_opset_18_is_refused() -> None:
    model = int8_cases()
    model.opset_import[0].version = 17
    with pytest.raises(InputError, match=r"opset 17.*needs 18"):
        to_half(model)


def test_scales_that_fp16_cannot_hold_keep_fp32_around_their_integers() -> None:
    typed, facts = to_half(int8_cases(**{"ra/scale": 1e-7}))
    check_typed(typed)
    assert {island.node for island in facts.islands if island.reason is IslandReason.SCALE} == {
        "left", "right", "ra/quantize", "ra/dequantize", "w_left/dequantize", "w_right/dequantize",
    }  # fmt: skip
    types = element_types(typed)
    for node in typed.graph.node:
        if node.op_type in ("Conv", "ConvTranspose"):
            kind = FLOAT if node.name in ("left", "right") else HALF
            assert {types[name] for name in (*node.input, *node.output)} == {kind}, node.name
    everywhere = {tensor.name: 1e-7 for tensor in int8_cases().graph.initializer if tensor.name.endswith("/scale")}
    typed, _ = to_half(int8_cases(**everywhere))
    check_typed(typed)
    assert typed.opset_import[0].version == 18  # nobody needs more


def test_half_around_int8_is_refused_the_second_time() -> None:
    with pytest.raises(InputError, match="typed FP16 already"):
        to_half(to_half(int8_cases())[0])
