"""What follows for a tensor's values from the nodes that made it."""

from __future__ import annotations

import onnx
import pytest
from onnx import TensorProto, helper

from calibration.origins import Origins
from tests.quantized_toys import all_cases

node = helper.make_node


def test_copies_have_the_range_of_what_they_copy() -> None:
    origins = Origins(all_cases().graph.node)
    assert {name: origins.range_source(name) for name in ("padded_0", "masked_1", "ra", "heads", "x", "d")} == {
        "padded_0": "features", "masked_1": "features", "ra": "ra", "heads": "heads", "x": "x", "d": "d",
    }  # fmt: skip


def chain(*nodes: onnx.NodeProto) -> Origins:
    """Behind ``x``; ``mask`` is 0 or 1."""
    made = (node("Equal", ["ids", "i"], ["is"]), node("Cast", ["is"], ["mask"], to=TensorProto.FLOAT))
    return Origins([*made, node("Relu", ["x"], ["r"]), *nodes])


@pytest.mark.parametrize(
    ("made", "source"),
    [
        (node("Mul", ["x", "mask"], ["y"]), "x"),
        (node("Mul", ["mask", "x"], ["y"]), "x"),
        (node("Mul", ["mask", "mask"], ["y"]), "y"),
        (node("Mul", ["x", "x"], ["y"]), "y"),
        (node("Reshape", ["x", "s"], ["y"]), "x"),
        (node("Slice", ["x", "a", "b"], ["y"]), "y"),  # the largest value may not be in it
        (node("Pad", ["x", "p"], ["y"]), "x"),
        (node("Pad", ["x", "p", ""], ["y"], mode="constant"), "x"),
        (node("Pad", ["x", "p", "v"], ["y"]), "y"),
        (node("Pad", ["x", "p", "v"], ["y"], mode="edge"), "x"),
        (node("Reshape", ["x", "s"], ["y"], domain="elsewhere"), "y"),
    ],
)
def test_range_sources(made: onnx.NodeProto, source: str) -> None:
    assert chain(made).range_source("y") == source


@pytest.mark.parametrize(
    ("made", "never"),
    [
        (node("Identity", ["x"], ["y"]), False),
        (node("Identity", ["r"], ["y"]), True),
        (node("Pad", ["r", "p", "v"], ["y"]), False),
        (node("Pad", ["r", "p"], ["y"], mode="reflect"), True),
        (node("Mul", ["r", "mask"], ["y"]), True),
        (node("Mul", ["x", "mask"], ["y"]), False),
        (node("Add", ["r", "x"], ["y"]), False),
        (node("Concat", ["r", "mask"], ["y"], axis=1), True),
        (node("Sub", ["r", "mask"], ["y"]), False),
        (node("Slice", ["mask", "a", "b"], ["y"]), True),
        (node("Sigmoid", ["x"], ["y"]), True),
        (node("LeakyRelu", ["r"], ["y"]), False),  # true, but not worth knowing
        (node("Resize", ["r", "", "s"], ["y"], mode="linear"), True),
        (node("Resize", ["mask", "", "s"], ["y"]), True),
        (node("Resize", ["r", "", "s"], ["y"], mode="cubic"), False),  # swings below zero at edges
    ],
)
def test_what_cannot_be_negative(made: onnx.NodeProto, never: bool) -> None:
    assert chain(made).never_negative("y") is never


def test_deep_and_branching_graphs() -> None:
    nodes = [node("Add", [f"t{i}", f"t{i}"], [f"t{i + 1}"]) for i in range(2000)]
    assert Origins([node("Relu", ["x"], ["t0"]), *nodes]).never_negative("t2000")
    nodes = [node("Identity", [f"t{i}"], [f"t{i + 1}"]) for i in range(2000)]
    assert Origins(nodes).range_source("t2000") == "t0"


@pytest.mark.parametrize("operator", ["Max", "Min", "Mul", "Concat"])
def test_masks_made_of_masks_are_masks(operator: str) -> None:
    """The edge channel beside one-hot classes is a maximum of comparisons, and class masks are cut out of both."""
    both = node(operator, ["mask", "mask"], ["joined"])
    origins = chain(both, node("Slice", ["joined", "a", "b"], ["part"]), node("Mul", ["x", "part"], ["y"]))
    assert origins.range_source("y") == "x"
    assert origins.never_negative("joined")
