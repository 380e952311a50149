"""Equalisation as a whole: the same pictures in FP32, better ones in INT8."""

from __future__ import annotations

import math

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from calibration.convolutions import find_convolutions
from calibration.equalisation import EqualisedSite, equalised
from calibration.equalisation_factors import candidate_factors
from calibration.qdq import Placement, insert_qdq, quantized_tensors
from runtime.contract.errors import InputError
from runtime.contract.progress import SilentProgress
from tests.calibration.equalisation_toys import FIRST, OUTLIERS, TOYS, FloatMaps, constants, graph, node
from tests.calibration.layered_toy import run
from tests.calibration.toy_maps import toy_maps
from tests.onnx_toys import toy_model
from tests.quantized_toys import largest_values

MAPS = FloatMaps()
QUIET = SilentProgress()


def equalise(model: onnx.ModelProto, maps: object = MAPS) -> tuple[onnx.ModelProto, tuple[EqualisedSite, ...]]:
    return equalised(model, find_convolutions(model), maps, QUIET, threads=1)  # type: ignore[arg-type]


def thresholds(model: onnx.ModelProto, names: list[str]) -> dict[str, float]:
    """Largest |x| over the label maps, from whole runs."""
    found: dict[str, float] = {}
    for feed in MAPS.feeds():
        for name, value in largest_values(model, quantized_tensors(model, names, Placement.TENSORRT), feed).items():
            found[name] = max(found.get(name, 0.0), value)
    return found


def int8_error_db(model: onnx.ModelProto, names: list[str]) -> float:
    """Power of the result over that of its error with these convolutions in INT8, on other inputs than calibration."""
    typed = insert_qdq(model, names, thresholds(model, names), Placement.TENSORRT)
    signal = error = 0.0
    for feed in FloatMaps((8, 9)).feeds():
        exact, rounded = run(model, feed)[0], run(typed, feed)[0]
        signal, error = signal + float(np.square(exact).sum()), error + float(np.square(rounded - exact).sum())
    return 10 * math.log10(signal / error)


@pytest.mark.parametrize("kind", TOYS)
def test_int8_is_closer_and_fp32_the_same_bit_by_bit(kind: str) -> None:
    toy = TOYS[kind]()
    readers = list(toy.readers)
    before = toy.model.SerializeToString()
    result, (site,) = equalise(toy.model)
    assert toy.model.SerializeToString() == before
    onnx.checker.check_model(result, full_check=True)
    assert [n.name for n in result.graph.node] == [n.name for n in toy.model.graph.node]
    assert [n.output for n in result.graph.node] == [n.output for n in toy.model.graph.node]
    for feed in FloatMaps((0, 5, 6)).feeds():
        np.testing.assert_array_equal(run(result, feed)[0], run(toy.model, feed)[0])
    assert (site.convolutions, site.divided) == (toy.readers, toy.divided)
    assert site.alpha in (0.25, 0.5, 0.75, 1.0)
    assert math.log2(site.largest_factor) in range(1, 17)
    assert site.after_db > site.before_db + 3
    gain = int8_error_db(result, readers) - int8_error_db(toy.model, readers)
    assert gain > 3, f"{gain:.1f} dB"


def test_what_is_reported_is_what_the_convolution_loses_alone() -> None:
    """Against the graph with Q/DQ, on the two label maps that are measured, without its bias."""
    model = TOYS["convolution"]().model
    result, (site,) = equalise(model)
    for graph_, reported in ((model, site.before_db), (result, site.after_db)):
        typed = insert_qdq(graph_, ["second"], thresholds(graph_, ["second"]), Placement.TENSORRT)
        runs = [(run(graph_, feed)[0], run(typed, feed)[0]) for feed in MAPS.few(2).feeds()]
        error = sum(np.square(rounded - exact).sum() for exact, rounded in runs)
        signal = sum(np.square(exact).sum() for exact, _ in runs)
        assert reported == pytest.approx(10 * math.log10(signal / error), abs=0.05)


def test_a_place_without_outliers_may_stay_as_it_is() -> None:
    """One-hot like values, 0 and 1, and weights of one size: exact in INT8 already."""
    tensors = constants() | {
        "w_first": np.zeros((6, 4, 3, 3), np.float32),
        "b_first": np.ones(6, np.float32),
        "w_5x6": np.where(np.random.default_rng(0).random((5, 6, 3, 3)) < 0.5, -1, 1).astype(np.float32),
    }
    model = graph([FIRST, node("Conv", ["a", "w_5x6"], ["y"], "second")], tensors)
    result, (site,) = equalise(model)
    assert (site.alpha, site.largest_factor) == (0, 1)
    assert site.before_db == site.after_db > 120
    assert result.graph == model.graph


def test_channels_that_are_always_zero_are_left_alone() -> None:
    tensors = constants()
    tensors["w_first"][2], tensors["b_first"][2] = 0, -1
    tensors["w_5x6"][:, 4] = 0
    nodes = [FIRST, node("Relu", ["a"], ["r"], "relu"), node("Conv", ["r", "w_5x6"], ["y"], "second")]
    model = graph(nodes, tensors)
    result, (site,) = equalise(model)
    assert site.largest_factor > 1
    weights = {t.name: numpy_helper.to_array(t) for t in result.graph.initializer}
    for channel in (2, 4):
        np.testing.assert_array_equal(weights["w_first"][channel], tensors["w_first"][channel])
        np.testing.assert_array_equal(weights["w_5x6"][:, channel], tensors["w_5x6"][:, channel])


def test_a_tensor_that_is_always_zero() -> None:
    tensors = constants() | {"w_first": np.zeros((6, 4, 3, 3), np.float32), "b_first": np.zeros(6, np.float32)}
    _, (site,) = equalise(graph([FIRST, node("Conv", ["a", "w_5x6"], ["y"], "second")], tensors))
    assert (site.alpha, site.before_db, site.after_db) == (0, math.inf, math.inf)


def test_shared_constants_get_a_changed_copy() -> None:
    toy = TOYS["norm"]()
    result, _ = equalise(toy.model)
    nodes = {each.name: each for each in result.graph.node}
    tensors = {t.name: numpy_helper.to_array(t) for t in result.graph.initializer}
    np.testing.assert_array_equal(tensors[nodes["other norm"].input[1]], OUTLIERS)
    assert nodes["norm"].input[1] != "gain"
    factors = OUTLIERS / tensors[nodes["norm"].input[1]]
    assert set(np.log2(factors) % 1) == {0.0}
    heads = [nodes[f"head_{i}"].input[1] for i in range(2)]
    assert heads[0] != heads[1]
    for name in heads:
        np.testing.assert_array_equal(tensors[name], constants()["w_5x6"] * factors.reshape(1, -1, 1, 1))
    assert "gain" in tensors
    assert set(tensors) == {name for each in result.graph.node for name in each.input} & set(tensors)


def test_constant_nodes_are_constants_too() -> None:
    model = TOYS["convolution"]().model
    tensor = next(t for t in model.graph.initializer if t.name == "w_first")
    model.graph.node.insert(0, onnx.helper.make_node("Constant", [], ["w_first"], value=tensor))
    model.graph.initializer.remove(tensor)
    result, (site,) = equalise(model)
    assert site.alpha > 0
    for feed in MAPS.feeds():
        np.testing.assert_array_equal(run(result, feed)[0], run(model, feed)[0])


def test_a_label_model_without_a_place() -> None:
    """Everything but convolutions reads its features: a copy comes back."""
    model = toy_model()
    result, sites = equalise(model, toy_maps(4))
    assert sites == ()
    assert result == model
    assert result is not model


def test_values_that_are_not_finite_are_named() -> None:
    tensors = constants() | {"w_first": np.full((6, 4, 3, 3), 3e38, np.float32)}
    model = graph([FIRST, node("Conv", ["a", "w_5x6"], ["y"], "second")], tensors)
    with pytest.raises(InputError, match=r"'a'.*not finite.*map 0"):
        equalise(model)


def test_candidates_bring_ranges_together() -> None:
    peaks = np.array([64, 1, 1, 0.125, 0, 4], np.float32)
    weights = np.array([0.5, 0.5, 0.5, 0.5, 1, 0], np.float32).reshape(6, 1)
    found = {each.alpha: each.values for each in candidate_factors([weights], [peaks])}
    assert set(found) == {0, 0.25, 0.5, 0.75, 1}
    assert all(values.dtype == np.float32 and (values[4:] == 1).all() for values in found.values())
    assert (found[0] == 1).all()
    divided = (peaks / found[1])[:4]
    assert divided.max() / divided.min() == 1  # powers of two already: exactly the same range
    half = (peaks / found[0.5])[:4]
    assert 64 / 0.125 > half.max() / half.min() > 8
    alone = candidate_factors([np.zeros((3, 2), np.float32)], [np.ones(3, np.float32)])
    assert [each.alpha for each in alone] == [0]


def test_candidates_stay_in_bounds() -> None:
    peaks = np.array([1e20, 1, 1e-20], np.float32)
    for each in candidate_factors([np.ones((3, 1), np.float32)], [peaks]):
        assert each.values.max() <= 256
        assert each.values.min() >= 1 / 256
