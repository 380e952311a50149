"""Where channels may be scaled, and where not."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import NodeProto

from calibration.convolutions import find_convolutions
from calibration.equalisation import divide_sites
from calibration.equalisation_sites import Divisor, EqualisationSite, find_equalisation_sites
from tests.calibration.equalisation_toys import FIRST, PLAIN, SAME, SIDE, TOYS, FloatMaps, constants, graph, node, norm
from tests.calibration.layered_toy import layered_toy, run


def sites_of(model: onnx.ModelProto) -> tuple[EqualisationSite, ...]:
    return find_equalisation_sites(model, find_convolutions(model))


@pytest.mark.parametrize("kind", TOYS)
def test_the_site_is_found(kind: str) -> None:
    toy = TOYS[kind]()
    (site,) = sites_of(toy.model)
    assert site.channels == 6
    assert site.tensors == toy.tensors
    assert tuple(dict.fromkeys(toy.model.graph.node[each.node].name for each in site.divisors)) == toy.divided
    assert tuple(reader.name for reader in site.readers) == toy.readers


@pytest.mark.parametrize("kind", TOYS)
def test_dividing_there_changes_no_bit_of_the_result(kind: str) -> None:
    """And the tensors of the site are divided, each channel by its own factor."""
    toy = TOYS[kind]()
    (site,) = sites_of(toy.model)
    factors = np.exp2([3, -2, 0, 1, -5, 8]).astype(np.float32)
    changed = onnx.ModelProto()
    changed.CopyFrom(toy.model)
    divide_sites(changed, [(site, factors)])
    onnx.checker.check_model(changed, full_check=True)
    assert [each.name for each in changed.graph.node] == [each.name for each in toy.model.graph.node]
    inside = sorted(toy.tensors)
    for model in (toy.model, changed):
        model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in inside)
    for feed in FloatMaps((7,)).feeds():
        y, *before = run(toy.model, feed, ["y", *inside])
        z, *after = run(changed, feed, ["y", *inside])
        assert np.array_equal(z, y)
        for name, old, new in zip(inside, before, after, strict=True):
            np.testing.assert_array_equal(new, old / factors.reshape(-1, 1, 1), err_msg=name)


def test_the_halves_of_a_modulation_are_both_divided() -> None:
    for kind in ("modulation", "modulation by number"):
        (site,) = sites_of(TOYS[kind]().model)
        assert site.divisors == (Divisor(1, 0), Divisor(1, 6))


def second(x: str = "r", y: str = "y") -> NodeProto:
    return node("Conv", [x, "w_5x6"], [y], "second", **SAME)


RELU = node("Relu", ["a"], ["r"], "relu")
MEAN = node("ReduceMean", ["t"], ["u"], "mean")
SUM = node("Add", ["s", "u"], ["y"], "sum")
REFUSED: dict[str, tuple[list[NodeProto], tuple[str, ...]]] = {
    "another reader": ([FIRST, RELU, second(y="s"), node("Tanh", ["r"], ["t"], "tanh"), MEAN, SUM], ("y",)),
    "a result": ([FIRST, RELU, second()], ("y", "r")),
    "a result in between": ([FIRST, RELU, second()], ("y", "a")),
    "an input": ([node("Relu", ["x"], ["r"], "relu"), node("Conv", ["r", "w_plain"], ["y"], "second")], ("y",)),
    "not homogeneous": ([FIRST, node("Tanh", ["a"], ["r"], "tanh"), second()], ("y",)),
    "padded with ones": ([FIRST, node("Pad", ["a", "around", "one"], ["r"], "pad"), second()], ("y",)),
    "a sum with a constant": ([FIRST, node("Add", ["a", "one"], ["r"], "add"), second()], ("y",)),
    "a square": ([FIRST, node("Mul", ["a", "a"], ["r"], "square"), second()], ("y",)),
    "one channel for all": (
        [node("Conv", ["x", "w_1x4"], ["a"], "first"), node("Mul", ["a", "slope"], ["r"], "spread"), second()],
        ("y",),
    ),
    "a computed weight": (
        [node("Neg", ["w_first"], ["w"], "negate"), node("Conv", ["x", "w"], ["a"], "first"), RELU, second()],
        ("y",),
    ),
    "a computed bias": (
        [
            node("Neg", ["b_first"], ["b"], "negate"),
            node("Conv", ["x", "w_first", "b"], ["a"], "first"),
            RELU,
            second(),
        ],
        ("y",),
    ),
    "the weight of another": (
        [FIRST, RELU, second(y="s"), node("Conv", ["large", "r"], ["y"], "reads it as its weight")],
        ("s", "y"),
    ),
    "a part of what all read": (
        [
            node("Conv", ["x", "w_modulation"], ["t"], "modulation", **SAME),
            node("Split", ["t", "halves"], ["r", "q"], "split", axis=1),
            second(y="s"),
            MEAN,
            SUM,
        ],
        ("y",),
    ),
    "rows, not channels": (
        [
            node("Conv", ["x", "w_first"], ["t"], "first", **SAME),
            node("Split", ["t"], ["r", "q"], "split", axis=2, num_outputs=2),
            second(),
        ],
        ("y",),
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_no_site_where_the_factors_would_be_heard(kind: str) -> None:
    nodes, results = REFUSED[kind]
    more = {"w_1x4": np.ones((1, 4, 1, 1), np.float32), "large": np.ones((1, 6, 2 * SIDE, 2 * SIDE), np.float32)}
    model = graph(nodes, constants() | more, results)
    assert "second" in {one.name for one in find_convolutions(model)}
    assert sites_of(model) == ()


def test_a_convolution_that_stays_as_it_is_cannot_take_factors() -> None:
    model = TOYS["norm"]().model
    some = [one for one in find_convolutions(model) if one.name != "head_1"]
    assert find_equalisation_sites(model, some) == ()


def test_initialisers_that_are_inputs_are_no_constants() -> None:
    model = TOYS["convolution"]().model
    model.graph.input.append(onnx.helper.make_tensor_value_info("w_first", onnx.TensorProto.FLOAT, [6, 4, 3, 3]))
    assert sites_of(model) == ()


def test_nodes_of_other_domains_end_a_site() -> None:
    model = TOYS["convolution"]().model
    model.graph.node[1].domain = "lggan"
    assert sites_of(model) == ()


def test_sites_in_sequence_share_a_convolution() -> None:
    """It takes the factors of one in and divides for the next."""
    nodes = [FIRST, node("Relu", ["a"], ["b"], "r1"), node("Conv", ["b", "w_6x6"], ["c"], "middle", **SAME),
             norm("c", "n", "norm"), node("Relu", ["n"], ["d"], "r2"), node("Conv", ["d", "w_6x6"], ["e"], "next"),
             node("Relu", ["e"], ["f"], "r3"), node("Conv", ["f", "w_3x6"], ["y"], "last")]  # fmt: skip
    found = sites_of(graph(nodes, constants()))
    assert [[reader.name for reader in site.readers] for site in found] == [["middle"], ["next"], ["last"]]
    assert [nodes[site.divisors[0].node].name for site in found] == ["first", "norm", "next"]


def test_a_graph_without_any() -> None:
    assert sites_of(graph([PLAIN, node("Tanh", ["a"], ["y"], "tanh")], constants())) == ()


def test_a_residual_sum_of_convolutions_alone() -> None:
    """``body`` reads the sum's first term and makes its second; one that nobody hears takes part as well."""
    (site,) = sites_of(layered_toy())
    readers = [reader.name for reader in site.readers]
    assert readers == ["net/body/Conv", "net/heads/Conv", "net/heads/Conv_2", "net/dead/Conv"]
    assert [layered_toy().graph.node[each.node].name for each in site.divisors] == ["net/stem/Conv", "net/body/Conv"]
