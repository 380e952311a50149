"""Bias correction: the mean of INT8's error is gone, channel by channel."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from calibration.bias_correction import bias_corrected
from calibration.convolutions import find_convolutions
from calibration.qdq import Placement, insert_qdq, quantized_tensors
from runtime.contract.errors import InputError
from runtime.contract.progress import SilentProgress
from tests.calibration.equalisation_toys import FIRST, PLAIN, SAME, FloatMaps, constants, graph, node, norm
from tests.calibration.layered_toy import run
from tests.quantized_toys import largest_values

MAPS = FloatMaps()


def biased_model() -> onnx.ModelProto:
    """Positive values meet weights most of which INT8 rounds far, next to a large one."""
    draw = np.random.default_rng(2)
    weight = draw.uniform(0.5, 1.4, (5, 6, 3, 3)) / 127
    weight[:, 0, 1, 1] = 1
    tensors = constants() | {"w_5x6": weight.astype(np.float32), "b_5": np.arange(5, dtype=np.float32)}
    tensors["w_first"] = constants()["w_plain"]
    nodes = [
        FIRST,
        node("Sigmoid", ["a"], ["r"], "sigmoid"),
        node("Conv", ["r", "w_5x6", "b_5"], ["y"], "second", **SAME),
    ]
    return graph(nodes, tensors)


def thresholds(model: onnx.ModelProto, names: list[str]) -> dict[str, float]:
    tensors = quantized_tensors(model, names, Placement.TENSORRT)
    runs = [largest_values(model, tensors, feed) for feed in MAPS.feeds()]
    return {name: max(each[name] for each in runs) for name in tensors}


def corrected(model: onnx.ModelProto, names: list[str]) -> onnx.ModelProto:
    chosen = [one for one in find_convolutions(model) if one.name in names]
    return bias_corrected(model, chosen, thresholds(model, names), MAPS, SilentProgress(), threads=1)  # type: ignore[arg-type]


def mean_errors(model: onnx.ModelProto, given: onnx.ModelProto, names: list[str], maps: FloatMaps) -> np.ndarray:
    """Per channel of ``y``: INT8 of the graph ``given`` against ``model``, [C]."""
    typed = insert_qdq(given, names, thresholds(model, names), Placement.TENSORRT)
    return np.mean([(run(typed, feed)[0] - run(model, feed)[0]).mean(axis=(0, 2, 3)) for feed in maps.feeds()], axis=0)


def test_the_mean_of_the_error_is_gone() -> None:
    model = biased_model()
    before = model.SerializeToString()
    fixed = corrected(model, ["second"])
    assert model.SerializeToString() == before
    errors = mean_errors(model, model, ["second"], MAPS)
    assert np.abs(errors).max() > 1e-2
    np.testing.assert_allclose(mean_errors(model, fixed, ["second"], MAPS), 0, atol=1e-5)
    biases = [numpy_helper.to_array(t) for m in (model, fixed) for t in m.graph.initializer if t.name == "b_5"]
    np.testing.assert_allclose(biases[1] - biases[0], -errors, atol=1e-5)
    elsewhere = FloatMaps((20, 21))
    assert np.abs(mean_errors(model, fixed, ["second"], elsewhere)).max() < 0.2 * np.abs(errors).max()


def test_a_bias_is_made_where_there_is_none() -> None:
    model = biased_model()
    del model.graph.node[2].input[2]
    fixed = corrected(model, ["second"])
    assert list(fixed.graph.node[2].input) == ["r", "w_5x6", "second/bias"]
    onnx.checker.check_model(fixed, full_check=True)
    np.testing.assert_allclose(mean_errors(model, fixed, ["second"], MAPS), 0, atol=1e-5)


def test_a_shared_bias_is_changed_for_one_alone() -> None:
    model = biased_model()
    model.graph.node.append(node("Conv", ["r", "w_5x6", "b_5"], ["z"], "third"))
    model.graph.output.append(onnx.helper.make_tensor_value_info("z", onnx.TensorProto.FLOAT, [None] * 4))
    fixed = corrected(model, ["second"])
    assert fixed.graph.node[3].input[2] == "b_5"
    assert fixed.graph.node[2].input[2] not in ("b_5", "")
    np.testing.assert_allclose(mean_errors(model, fixed, ["second"], MAPS), 0, atol=1e-5)


def test_what_a_norm_subtracts_again_is_left_alone() -> None:
    tensors = constants()
    nodes = [PLAIN, norm("a", "n", "norm"), node("Conv", ["n", "w_6x6"], ["b"], "inner"), norm("b", "y", "norm_2")]
    model = graph(nodes, tensors)
    assert corrected(model, ["plain", "inner"]) == model
    nodes = [PLAIN, norm("a", "n", "norm"), node("Add", ["n", "a"], ["y"], "sum")]
    fixed = corrected(graph(nodes, tensors), ["plain"])
    assert fixed.graph.node[0].input[2] == "plain/bias"


def test_a_computed_bias_is_left_alone() -> None:
    nodes = [node("Neg", ["b_first"], ["b"], "negate"), node("Conv", ["x", "w_first", "b"], ["y"], "first")]
    model = graph(nodes, constants())
    assert corrected(model, ["first"]) == model


def test_a_missing_range_is_an_error() -> None:
    model = biased_model()
    with pytest.raises(InputError, match="'r'"):
        bias_corrected(model, find_convolutions(model)[1:], {}, MAPS, SilentProgress())  # type: ignore[arg-type]
