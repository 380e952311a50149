"""Q/DQ in a graph: where they stand, what the graph then computes, and what ONNX Runtime makes of it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from onnx import TensorProto, helper, numpy_helper

from calibration.convolutions import find_convolutions
from calibration.emulation import emulate_half
from calibration.graphs import element_types
from calibration.half import check_typed, to_half
from calibration.qdq import Placement, insert_qdq, quantized_tensors
from runtime.contract.errors import InputError
from tests.onnx_toys import CARD, toy_model
from tests.quantized_toys import (
    EVERY,
    all_cases,
    case_inputs,
    exported_generator,
    largest_values,
    run,
    tiny_label,
    weights_of_cases,
)

TENSORRT, ONNX_RUNTIME = Placement.TENSORRT, Placement.ONNX_RUNTIME
FEEDS = case_inputs()


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> onnx.ModelProto:
    return exported_generator(tmp_path_factory.mktemp("exported"))


def thresholds(placement: Placement, model: onnx.ModelProto | None = None) -> dict[str, float]:
    model = model or all_cases()
    return largest_values(model, quantized_tensors(model, EVERY, placement), FEEDS)


def quantised(placement: Placement, chosen: tuple[str, ...] = EVERY) -> onnx.ModelProto:
    return insert_qdq(all_cases(), chosen, thresholds(placement), placement)


def nodes_of(model: onnx.ModelProto) -> dict[str, onnx.NodeProto]:
    return {node.name: node for node in model.graph.node}


# ---- what the graph computes: written again in numpy, float64


def fake(x: np.ndarray, largest: float, low: int = -128, high: int = 127) -> np.ndarray:
    step = float(np.float32(largest / high))
    return np.clip(np.rint(x / step), low, high) * step


def fake_weight(w: np.ndarray, axis: int = 0) -> np.ndarray:
    peak = np.abs(w).max(axis=tuple(i for i in range(4) if i != axis), keepdims=True) / np.float32(127)
    return np.clip(np.rint(w / peak), -127, 127) * peak.astype(np.float64)


def conv(x: np.ndarray, w: np.ndarray, pad: int = 0) -> np.ndarray:
    x = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    return np.einsum("nchwij,ocij->nohw", sliding_window_view(x, w.shape[2:], axis=(2, 3)), w)


def conv_transpose(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Stride 2, padding 1, kernel 4: zeros between the pixels, then a convolution with the mirrored kernel."""
    n, c, height, width = x.shape
    spread = np.zeros((n, c, 2 * height - 1, 2 * width - 1))
    spread[:, :, ::2, ::2] = x
    return conv(spread, w[:, :, ::-1, ::-1].swapaxes(0, 1), pad=2)


def expected(largest: dict[str, float], placement: Placement) -> dict[str, np.ndarray]:
    weights = {name: value.astype(np.float64) for name, value in weights_of_cases().items()}
    fakes = {
        name: fake_weight(value.astype(np.float32), int(name == "w_up"))
        for name, value in weights_of_cases().items()
        if name.startswith("w_")
    }
    on_cpu = placement is ONNX_RUNTIME

    def behind(name: str, x: np.ndarray) -> np.ndarray:
        return fake(x, largest[name]) if on_cpu else x

    def bias(name: str, of: str, levels: int = 127) -> np.ndarray:
        """On the CPU in units of the sums; ``of`` is what the convolution reads."""
        weight = weights_of_cases()[name.replace("b_", "w_")]
        unit = largest[of] / levels * np.abs(weight).max(axis=(1, 2, 3)) / 127
        value = np.rint(weights[name] / unit) * unit if on_cpu else weights[name]
        return value.reshape(1, -1, 1, 1)

    positive = (0, 255) if on_cpu else (-128, 127)  # where nothing is negative, uint8 has 255 steps
    x, mask = FEEDS["x"].astype(np.float64), FEEDS["mark"] > 0
    ra = np.maximum(conv(fake(x, largest["x"]), fakes["w_first"], 1) + bias("b_first", "x"), 0)
    ra8 = fake(ra, largest["ra"], *positive)
    rest = ra8 if on_cpu else ra  # who reads a convolution's result on the CPU reads what is quantised
    features = np.tanh(behind("l", conv(ra8, fakes["w_left"])) + rest)
    heads = []
    for index, shown in enumerate((mask, ~mask)):
        padded = np.pad(features * shown, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="reflect")
        head = conv(fake(padded, largest["features"]), fakes[f"w_head_{index}"]) + (
            bias("b_head_0", "features") if not index else 0
        )
        heads.append(behind(f"h{index}", head))
    r8 = fake(conv(ra8, fakes["w_right"], 1) + bias("b_right", "ra", positive[1]), largest["r"])
    wide = np.zeros((6, 6, 5, 5))  # one kernel per channel, with gaps
    wide[np.arange(6), np.arange(6), ::2, ::2] = fakes["w_depthwise"][:, 0]
    d8 = fake(conv(fake(features, largest["features"]), wide, 2), largest["d"])
    return {
        "heads": np.concatenate(heads, axis=1),
        "up": conv_transpose(r8, fakes["w_up"]) + weights["b_up"].reshape(1, -1, 1, 1),
        "picture": conv(d8, fakes["w_last"]) + bias("b_last", "d"),
    }


@pytest.mark.parametrize("placement", list(Placement))
def test_the_graph_computes_fake_quantisation(placement: Placement) -> None:
    found = dict(zip(("heads", "up", "picture"), run(quantised(placement), FEEDS), strict=True))
    plain = dict(zip(found, run(all_cases(), FEEDS), strict=True))
    for name, values in expected(thresholds(placement), placement).items():
        np.testing.assert_allclose(found[name], values, atol=1e-5, rtol=0, err_msg=name)
        assert np.abs(found[name] - plain[name]).max() > 1e-3, name  # it is not the FP32 result


# ---- where they stand


def test_ranges_are_asked_for_in_the_order_of_the_graph() -> None:
    model = all_cases()
    assert quantized_tensors(model, EVERY, TENSORRT) == ("x", "ra", "features", "r", "d")
    assert quantized_tensors(model, ["last", "head_1"], TENSORRT) == ("features", "d")
    assert set(quantized_tensors(model, EVERY, ONNX_RUNTIME)) == {"x", "ra", "l", "r", "features", "h0", "h1", "d"}
    assert quantized_tensors(model, [], TENSORRT) == ()


def test_pairs_for_tensorrt() -> None:
    model = quantised(TENSORRT)
    nodes, tensors = nodes_of(model), {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    pairs = [node for node in model.graph.node if node.op_type == "QuantizeLinear"]
    # one for each tensor that is read, behind the Pads; "ra" has one for two convolutions
    assert [node.input[0] for node in pairs] == ["x", "ra", "padded_0", "padded_1", "features", "r", "d"]
    assert [node.name for node in pairs][:2] == ["x/quantize", "ra/quantize"]
    assert nodes["left"].input[0] == nodes["right"].input[0] == "ra/dequantized"
    for pair in pairs:
        restore = nodes[pair.name.replace("/quantize", "/dequantize")]
        assert list(restore.input) == [f"{pair.input[0]}/int8", *pair.input[1:]]
        assert tensors[pair.input[2]] == 0
        assert tensors[pair.input[2]].dtype == np.int8
    found = thresholds(TENSORRT)
    assert tensors["ra/scale"] == np.float32(found["ra"] / 127)
    assert tensors["padded_0/scale"] == tensors["padded_1/scale"] == np.float32(found["features"] / 127)
    # everybody else reads floats
    assert list(nodes["residual"].input) == ["l", "ra"]
    assert list(nodes["mask_features_0"].input) == ["features", "mask_0"]
    assert {list(nodes[name].input)[2] for name in ("first", "right", "head_0", "last")} == {
        "b_first", "b_right", "b_head_0", "b_last",
    }  # fmt: skip


def test_weights_are_int8_in_the_file() -> None:
    model = quantised(TENSORRT)
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    for name, weight in weights_of_cases().items():
        if name.startswith("w_"):
            axis = int(name == "w_up")
            restore = nodes_of(model)[f"{name}/dequantize"]
            assert tensors[f"{name}/int8"].dtype == np.int8
            assert tensors[f"{name}/scales"].shape == (weight.shape[axis],)
            assert helper.get_attribute_value(restore.attribute[0]) == axis
            assert name not in tensors
        else:
            np.testing.assert_array_equal(tensors[name], weight)


def test_a_weight_that_others_read_stays() -> None:
    model = all_cases()
    next(node for node in model.graph.node if node.name == "head_1").input[1] = "w_head_0"
    found = insert_qdq(model, ["head_0"], thresholds(TENSORRT), TENSORRT)
    assert {"w_head_0", "w_head_0/int8"} <= {tensor.name for tensor in found.graph.initializer}
    both = insert_qdq(model, ["head_0", "head_1"], thresholds(TENSORRT), TENSORRT)
    names = [tensor.name for tensor in both.graph.initializer]
    assert "w_head_0" not in names
    assert names.count("w_head_0/int8") == 1


def test_pairs_for_onnx_runtime() -> None:
    model = quantised(ONNX_RUNTIME)
    nodes, tensors = nodes_of(model), {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    pairs = {node.input[0]: node for node in model.graph.node if node.op_type == "QuantizeLinear"}
    # behind "first" comes its Relu; behind "up" and "last", which make results, nothing
    assert set(pairs) == {"x", "ra", "l", "r", "features", "padded_0", "padded_1", "h0", "h1", "d"}
    zero_points = {name: tensors[node.input[2]] for name, node in pairs.items()}
    assert {zero.dtype for zero in zero_points.values()} == {np.dtype(np.uint8)}
    assert {name: int(zero) for name, zero in zero_points.items() if zero != 128} == {"ra": 0}
    assert tensors["ra/scale"] == np.float32(thresholds(ONNX_RUNTIME)["ra"] / 255)
    assert list(nodes["residual"].input) == ["l/dequantized", "ra/dequantized"]
    bias = tensors["first/bias/int32"]
    units = tensors["x/scale"] * tensors["w_first/scales"]
    np.testing.assert_array_equal(bias, np.rint(weights_of_cases()["b_first"] / units.astype(np.float64)))


def test_a_choice_leaves_the_others_alone() -> None:
    model = quantised(TENSORRT, ("right", "last"))
    assert Counter(node.op_type for node in model.graph.node)["DequantizeLinear"] == 4
    nodes, before = nodes_of(model), nodes_of(all_cases())
    for name in set(EVERY) - {"right", "last"}:
        assert nodes[name] == before[name]


def test_the_relu_is_passed_only_if_nobody_else_reads_in_between() -> None:
    model = all_cases()
    model.graph.node.append(helper.make_node("Neg", ["a"], ["n"], "negative"))
    model.graph.output.append(helper.make_tensor_value_info("n", TensorProto.FLOAT, None))
    assert "a" in quantized_tensors(model, ["first"], ONNX_RUNTIME)
    assert "ra" not in quantized_tensors(model, ["first"], ONNX_RUNTIME)
    model = all_cases()
    model.graph.output.append(helper.make_tensor_value_info("a", TensorProto.FLOAT, None))
    assert quantized_tensors(model, ["first"], ONNX_RUNTIME) == ("x",)


@pytest.mark.parametrize("placement", list(Placement))
def test_the_result_is_valid_and_repeats(placement: Placement) -> None:
    model, again = quantised(placement), quantised(placement, tuple(reversed(EVERY)))
    onnx.checker.check_model(model, full_check=True)
    onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
    assert model.SerializeToString() == again.SerializeToString()
    names = [name for node in model.graph.node for name in node.output] + [t.name for t in model.graph.initializer]
    assert len(names) == len(set(names))
    assert len({node.name for node in model.graph.node}) == len(model.graph.node)


def test_taken_names_are_not_taken_again() -> None:
    model = all_cases()
    model.graph.initializer.append(numpy_helper.from_array(np.zeros(1, np.float32), "x/int8"))
    model.graph.node.append(helper.make_node("Identity", ["x/int8"], ["x/dequantized"], "odd"))
    found = insert_qdq(model, EVERY, thresholds(TENSORRT), TENSORRT)
    onnx.checker.check_model(found, full_check=True)
    assert nodes_of(found)["first"].input[0] == "x/dequantized_"


def test_the_original_its_functions_and_its_card_are_untouched() -> None:
    model = toy_model()
    before = model.SerializeToString()
    found = insert_qdq(model, ["conv1", "conv2", "conv3"], {"layout": 1.0, "r1": 4.0, "up": 4.0}, TENSORRT)
    assert model.SerializeToString() == before
    assert (found.functions, found.metadata_props) == (model.functions, model.metadata_props)
    assert (found.graph.input, found.graph.output) == (model.graph.input, model.graph.output)
    assert found.opset_import == model.opset_import
    assert nodes_of(found)["sau"] == nodes_of(model)["sau"]
    assert list(nodes_of(found)["norm"].input) == ["c1", "one", "zero"]
    onnx.checker.check_model(found, full_check=True)
    label = np.random.default_rng(1).integers(0, 4, (1, 1, CARD.height, CARD.width)).astype(np.uint8)
    difference = run(found, {"label": label})[0].astype(int) - run(model, {"label": label})[0]
    assert 0 < np.abs(difference).mean() < 2


# ---- what ONNX Runtime makes of it


def optimised(model: onnx.ModelProto, folder: Path) -> Counter[str]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    options.optimized_model_filepath = str(folder / "optimised.onnx")
    onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return Counter(node.op_type for node in onnx.load(folder / "optimised.onnx").graph.node)


def test_onnx_runtime_computes_in_int8_what_is_placed_for_it(tmp_path: Path) -> None:
    kinds = optimised(quantised(ONNX_RUNTIME), tmp_path)
    assert kinds["QLinearConv"] == 6  # all but the one that makes a result
    assert kinds["Conv"] + kinds["FusedConv"] == 1
    assert kinds["ConvTranspose"] == 1
    assert kinds["Relu"] == 0  # uint8 ends at zero anyway
    kinds = optimised(quantised(TENSORRT), tmp_path)
    assert kinds["QLinearConv"] < 6


def test_its_integers_give_the_same_result() -> None:
    model = quantised(ONNX_RUNTIME)
    exact, fast = run(model, FEEDS), run(model, FEEDS, optimise=True)
    largest = thresholds(ONNX_RUNTIME)
    # a value may fall to the other side of a rounding: one step of what is quantised last
    assert np.abs(exact[0] - fast[0]).max() <= 1.01 * max(largest["h0"], largest["h1"]) / 127
    for one, other in zip(exact, fast, strict=True):
        assert np.mean(np.abs(one - other)) < 2e-3


def test_a_bias_that_int32_cannot_hold_stays_float() -> None:
    model = all_cases()
    for tensor in model.graph.initializer:
        if tensor.name == "w_first":
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(1e-9), tensor.name))
    largest = thresholds(ONNX_RUNTIME, model)
    nodes = nodes_of(insert_qdq(model, EVERY, largest, ONNX_RUNTIME))
    assert nodes["first"].input[2] == "b_first"
    assert nodes["right"].input[2] == "right/bias/dequantized"


# ---- what is refused


def test_quantised_graphs_are_refused() -> None:
    for again in (quantised(TENSORRT), quantised(ONNX_RUNTIME)):
        with pytest.raises(InputError, match=r"quantised already \(node '.*/.*quantize'\); give the FP32 model"):
            insert_qdq(again, ["first"], {}, TENSORRT)
        with pytest.raises(InputError, match="quantised already"):
            quantized_tensors(again, ["first"], TENSORRT)


@pytest.mark.parametrize("name", ["relu", "nothing", ""])
def test_names_that_are_no_convolutions(name: str) -> None:
    with pytest.raises(InputError, match=f"'{name}' is no convolution that INT8 could compute; 8 are"):
        insert_qdq(all_cases(), ["first", name], thresholds(TENSORRT), TENSORRT)


@pytest.mark.parametrize("value", [0.0, -1.0, np.nan, np.inf, 1e-50, 1e300])
def test_impossible_ranges_name_the_tensor(value: float) -> None:
    with pytest.raises(InputError, match="range of the tensor 'features' is"):
        insert_qdq(all_cases(), EVERY, thresholds(TENSORRT) | {"features": value}, TENSORRT)


def test_a_missing_range_names_the_tensor() -> None:
    found = thresholds(TENSORRT)
    del found["d"]
    with pytest.raises(InputError, match="no range for the tensor 'd'"):
        insert_qdq(all_cases(), EVERY, found, TENSORRT)
    insert_qdq(all_cases(), ["first"], found, TENSORRT)  # where it is not needed


def test_weights_that_are_not_finite_name_the_weight() -> None:
    model = all_cases()
    values = weights_of_cases()["w_up"].copy()
    values[0, 0, 0, 0] = np.nan
    next(t for t in model.graph.initializer if t.name == "w_up").CopyFrom(numpy_helper.from_array(values, "w_up"))
    with pytest.raises(InputError, match="'w_up' has 1 values that are not finite"):
        insert_qdq(model, EVERY, thresholds(TENSORRT), TENSORRT)


def test_control_flow_is_refused() -> None:
    model = all_cases()
    body = helper.make_graph([helper.make_node("Identity", ["a"], ["o"])], "b", [], [])
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "yes"))
    model.graph.node.append(helper.make_node("If", ["yes"], ["unused"], "if", then_branch=body, else_branch=body))
    with pytest.raises(InputError, match="has a graph inside"):
        insert_qdq(model, EVERY, thresholds(TENSORRT), TENSORRT)


# ---- an exported generator


@pytest.mark.parametrize("placement", list(Placement))
def test_an_exported_generator_in_int8(exported: onnx.ModelProto, placement: Placement) -> None:
    every = [one.name for one in find_convolutions(exported)]
    assert len(every) == sum(node.op_type in ("Conv", "ConvTranspose") for node in exported.graph.node) > 40
    feeds = {"label": tiny_label(64)}
    picture = run(exported, feeds)[0].astype(np.float64)
    largest = largest_values(exported, quantized_tensors(exported, every, placement), feeds)
    found = insert_qdq(exported, every, largest, placement)
    onnx.checker.check_model(found, full_check=True)
    assert element_types(found)[nodes_of(found)[every[0]].input[0]] == TensorProto.FLOAT
    assert 25 < psnr(run(found, feeds)[0], picture) < 60
    if placement is TENSORRT:
        typed, facts = to_half(found)
        check_typed(typed)
        assert not any(island.operator == "Conv" for island in facts.islands)
        assert abs(psnr(run(emulate_half(typed), feeds)[0], picture) - psnr(run(found, feeds)[0], picture)) < 1


def psnr(found: np.ndarray, picture: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean((found - picture) ** 2)))
