"""Parts of a graph give, bit for bit, what the whole graph gives."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from calibration.graphs import element_types
from calibration.suffix import (
    Cut,
    changed_tensors,
    cut_behind,
    cut_to_fit,
    prefix_model,
    suffix_model,
    without_weights,
)
from runtime.contract.errors import InputError
from tests.calibration.layered_toy import NAMES, calibration_maps, layered_toy, run
from tests.onnx_toys import toy_model

TOYS = {"layered": layered_toy, "bytes": toy_model, "floats": lambda: toy_model(float_output=True)}


def weights_of(model: onnx.ModelProto) -> dict[str, TensorProto]:
    return {tensor.name: tensor for tensor in model.graph.initializer}


def with_shift_before(model: onnx.ModelProto, name: str) -> onnx.ModelProto:
    """A copy whose convolution ``name`` reads its input with every value shifted."""
    changed = onnx.ModelProto.FromString(model.SerializeToString())
    nodes = list(changed.graph.node)
    position = next(i for i, node in enumerate(nodes) if node.name == name)
    nodes.insert(position, helper.make_node("Add", [nodes[position].input[0], "offset"], ["shifted"], "shift"))
    nodes[position + 1].input[0] = "shifted"
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del changed.graph.node[:]
    changed.graph.node.extend(copies)
    changed.graph.initializer.append(numpy_helper.from_array(np.array(1.25, np.float32), "offset"))
    return changed


def cut_of(model: onnx.ModelProto, name: str) -> tuple[onnx.ModelProto, Cut]:
    bare = without_weights(model)
    changed = with_shift_before(bare, name)
    return changed, cut_behind(changed, changed_tensors(bare, changed), "image", weights_of(model))


def sizes_of(model: onnx.ModelProto, feed: dict[str, np.ndarray]) -> dict[str, int]:
    types = element_types(without_weights(model))
    names = [name for node in model.graph.node for name in node.output]
    values = run(prefix_model(model, names, types, {}), feed, names)
    return {name: value.nbytes for name, value in zip(names, values, strict=True)}


@pytest.mark.parametrize("toy", TOYS)
@pytest.mark.parametrize("budget", [1 << 30, 6000, 0])
def test_a_part_fed_with_the_unchanged_tensors_gives_the_changed_picture(toy: str, budget: int) -> None:
    model = TOYS[toy]()
    types = element_types(without_weights(model))
    feed = next(calibration_maps(1).feeds())
    before = run(model, feed)[0]
    for name in [node.name for node in model.graph.node if node.op_type == "Conv"]:
        whole = run(with_shift_before(model, name), feed, ["image"])[0]
        changed, cut = cut_of(model, name)
        if name == "net/dead/Conv":
            assert cut == Cut((), ())
            np.testing.assert_array_equal(whole, before)
            continue
        cut = cut_to_fit(changed, cut, weights_of(model), sizes_of(model, feed), budget)
        fetched = [tensor for tensor in cut.frontier if tensor not in feed]
        assert (budget > 0) or not fetched
        kept = dict(feed)
        if fetched:
            kept.update(zip(fetched, run(prefix_model(model, fetched, types, {}), feed, fetched), strict=True))
        part = suffix_model(changed, cut, "image", types, {}, weights_of(model))
        found = run(part, kept)[0]
        np.testing.assert_array_equal(found, whole)
        assert (found != before).any()


def test_the_frontier_is_what_the_part_reads_and_does_not_make() -> None:
    model = layered_toy()
    changed, cut = cut_of(model, "net/heads/Conv")
    assert set(cut.frontier) == {"features", "head_b", "gate_again"}
    made = [changed.graph.node[position].output[0] for position in cut.nodes]
    assert made == ["shifted", "head_a", "joined", "last", "image"]
    assert set(cut_of(model, "net/body/Conv")[1].frontier) == {"active", "gate_again"}
    assert set(cut_of(model, "net/stem/Conv")[1].frontier) == {"onehot", "gate_again"}


def test_a_part_has_only_the_weights_and_functions_it_uses() -> None:
    model = toy_model()
    types = element_types(without_weights(model))
    parts = {}
    for name in ("conv2", "conv3"):
        changed, cut = cut_of(model, name)
        parts[name] = suffix_model(changed, cut, "image", types, {}, weights_of(model))
    assert [function.name for function in parts["conv2"].functions] == ["SemanticAwareUpsample"]
    assert not parts["conv3"].functions
    constants = {"offset", "w3", "unit", "half", "low", "high"}
    assert {tensor.name for tensor in parts["conv3"].graph.initializer} == constants
    assert {tensor.name for tensor in parts["conv2"].graph.initializer} == constants | {"w2"}
    assert [value.name for value in parts["conv3"].graph.input] == ["up"]
    for name, value in weights_of(model).items():
        for tensor in parts["conv3"].graph.initializer:
            assert tensor.name != name or tensor == value


def test_shapes_are_written_where_they_are_known() -> None:
    model = layered_toy()
    changed, cut = cut_of(model, "net/out/Conv")
    types = element_types(without_weights(model))
    shapes = {"joined": (1, 36, None, 24), "image": (1, 3, None, 24)}
    part = suffix_model(changed, cut, "image", types, shapes, weights_of(model))
    onnx.checker.check_model(part, full_check=True)
    sides = part.graph.input[0].type.tensor_type.shape.dim
    assert [side.dim_value if side.HasField("dim_value") else None for side in sides] == [1, 36, None, 24]
    unknown = suffix_model(changed, cut, "image", types, {}, weights_of(model))
    assert not unknown.graph.input[0].type.tensor_type.HasField("shape")


def test_a_prefix_has_what_it_needs_and_no_more() -> None:
    model = layered_toy()
    types = element_types(without_weights(model))
    prefix = prefix_model(model, ["gate"], types, {})
    assert [node.output[0] for node in prefix.graph.node] == ["wide", "hot", "onehot", "side", "gate"]
    assert {tensor.name for tensor in prefix.graph.initializer} == {"ids", "w_side"}


def test_weights_become_inputs_and_come_back() -> None:
    model = layered_toy()
    before = model.SerializeToString()
    bare = without_weights(model, {"w_body"})
    large = {"w_stem", "w_side", "w_out"}  # w_heads and the like have few enough elements to be constants of shapes
    assert {value.name for value in bare.graph.input} == {"label", *large}
    assert "w_body" in weights_of(bare)
    assert element_types(bare).keys() == element_types(model).keys()
    assert model.SerializeToString() == before


def test_changed_constants_change_their_readers() -> None:
    model = layered_toy()
    changed = onnx.ModelProto.FromString(model.SerializeToString())
    for tensor in changed.graph.initializer:
        if tensor.name == "w_side":
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * 2, tensor.name))
    assert changed_tensors(model, model) == frozenset()
    found = changed_tensors(model, changed)
    assert found == {"w_side"}
    cut = cut_behind(changed, found, "image", ())
    assert [changed.graph.node[position].output[0] for position in cut.nodes][:2] == ["side", "gate"]


def test_every_name_of_the_toy_is_there() -> None:
    assert [node.name for node in layered_toy().graph.node if node.op_type == "Conv"] == list(NAMES)


def test_graphs_inside_nodes_are_refused() -> None:
    model = layered_toy()
    body = helper.make_graph([helper.make_node("Identity", ["stem"], ["o"])], "b", [], [])
    model.graph.node.append(helper.make_node("If", ["hot"], ["x"], "if", then_branch=body, else_branch=body))
    with pytest.raises(InputError, match="has a graph inside"):
        without_weights(model)
