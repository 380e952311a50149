"""The further outputs of a graph for the proof, and their removal, against graphs written by hand and a real one."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper, parser

import export.proof_graph
from export.branches import Branch, GraphOutputs, tensors_by_name, without_branches
from export.canonical import canonicalize
from export.graph_module import picture_graph
from export.onnx_export import ExportResult
from export.rewrites.plan import rewritten
from export.sau_function import attach_sau_function
from export.target import Target
from lggan.networks.semantics import encode_semantics
from runtime.contract.errors import BackendError
from tests.export.samples import Sample

TOY = """
<ir_version: 8, opset_import: ["" : 18, "lggan" : 1], producer_name: "toy">
toy (float[N, 1, H, W] label, float[N, 1, H, W] unused)
  => (float[N, 3, H, W] image, float[N, 3, H, W] global_image, float[N, 1, H, W] attention_local)
<float three = {3.0}, float four = {4.0}, float dead = {5.0}>
{
  wide = Concat <axis = 1> (label, label, label)
  global_image = lggan.Twice (wide)
  spoilt = Mul (label, dead)
  attention_local = lggan.Fourfold (spoilt)
  kept = Add (wide, three)
  lonely = Dropout (label)
  image = Clip (kept, , four)
}
<domain: "lggan", opset_import: ["" : 18]> Twice (x) => (y) { y = Add (x, x) }
<domain: "lggan", opset_import: ["" : 18, "lggan" : 1]> Fourfold (x) => (y) { z = lggan.Twice (x)  y = lggan.Twice (z) }
"""


def _toy() -> onnx.ModelProto:
    model = parser.parse_model(TOY)
    onnx.checker.check_model(model, full_check=True)
    return model


def _session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def test_only_what_the_image_needs_is_left() -> None:
    model = _toy()
    before = model.SerializeToString()
    result = without_branches(model)
    onnx.checker.check_model(result, full_check=True)
    assert [value.name for value in result.graph.output] == ["image"]
    assert [node.op_type for node in result.graph.node] == ["Concat", "Add", "Clip"]  # "" in Clip is no value
    assert {tensor.name for tensor in result.graph.initializer} == {"three", "four"}
    assert [value.name for value in result.graph.input] == ["label", "unused"]
    assert not result.functions
    assert model.SerializeToString() == before
    feeds = {name: np.linspace(-1, 3, 8, dtype=np.float32).reshape(1, 1, 2, 4) for name in ("label", "unused")}
    np.testing.assert_array_equal(_session(result).run(["image"], feeds)[0], _session(model).run(["image"], feeds)[0])


def test_functions_that_functions_call_stay() -> None:
    model = _toy()
    model.graph.node[4].CopyFrom(helper.make_node("Fourfold", ["wide"], ["kept"], domain="lggan"))
    result = without_branches(model)
    assert [function.name for function in result.functions] == ["Twice", "Fourfold"]
    model.graph.node[4].CopyFrom(helper.make_node("Twice", ["wide"], ["kept"], domain="lggan"))
    assert [function.name for function in without_branches(model).functions] == ["Twice"]


def test_values_that_nested_graphs_read_stay() -> None:
    """However deep the graph that reads them."""
    wide, image = (helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("double", "image"))
    then = helper.make_graph([helper.make_node("Add", ["outer", "weight"], ["double"])], "then", [], [wide])
    inner = helper.make_graph([helper.make_node("If", ["yes"], ["deep"], then_branch=then, else_branch=then)], "x", [],
                              [helper.make_tensor_value_info("deep", TensorProto.FLOAT, None)])  # fmt: skip
    same = helper.make_tensor_value_info("same", TensorProto.FLOAT, None)
    other = helper.make_graph([helper.make_node("Identity", ["through"], ["same"])], "else", [], [same])
    nodes = [
        helper.make_node("Neg", ["label"], ["outer"]),
        helper.make_node("Abs", ["label"], ["through"]),
        helper.make_node("Exp", ["label"], ["global_image"]),
        helper.make_node("If", ["yes"], ["image"], then_branch=inner, else_branch=other),
    ]
    label = helper.make_tensor_value_info("label", TensorProto.FLOAT, [2])
    yes = helper.make_tensor_value_info("yes", TensorProto.BOOL, [])
    weights = [numpy_helper.from_array(np.ones(2, np.float32), name) for name in ("weight", "dead")]
    overall = helper.make_tensor_value_info("global_image", TensorProto.FLOAT, [2])
    graph = helper.make_graph(nodes, "g", [label, yes], [image, overall], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    result = without_branches(model)
    assert [node.op_type for node in result.graph.node] == ["Neg", "Abs", "If"]
    assert [tensor.name for tensor in result.graph.initializer] == ["weight"]
    feeds = {"label": np.array([1, -2], np.float32), "yes": np.array(True)}
    np.testing.assert_array_equal(_session(result).run(None, feeds)[0], [0, 3])
    np.testing.assert_array_equal(_session(result).run(None, {**feeds, "yes": np.array(False)})[0], [1, 2])


def test_a_graph_without_the_image_is_refused() -> None:
    model = _toy()
    model.graph.output[0].name = "kept"
    with pytest.raises(BackendError, match="`image`"):
        without_branches(model)


def test_names_are_those_of_the_networks_own_result(sample: Sample) -> None:
    semantics = encode_semantics(torch.zeros((1, 1, 32, 32), dtype=torch.uint8), 4, None)
    with torch.no_grad():
        synthesis = sample.generator(semantics)
    assert GraphOutputs.IMAGE.names == ["image"]
    assert GraphOutputs.BRANCHES.names == ["image", *(branch.value for branch in Branch)]
    for branch in Branch:
        tensor = tensors_by_name(synthesis)[branch.value]
        assert tensor is getattr(synthesis, branch.value)
        assert tensor.shape == (1, branch.channels, 32, 32)
    for name, tensor in zip(GraphOutputs.BRANCHES.names, GraphOutputs.BRANCHES.of(synthesis), strict=True):
        assert tensor is tensors_by_name(synthesis)[name]
    assert GraphOutputs.IMAGE.of(synthesis) == (synthesis.final,)


def test_branches_of_a_generator(sample: Sample, exported: ExportResult) -> None:
    """The graph of the proof gives PyTorch's branches; the file is the same graph but for them."""
    traced = export.proof_graph.trace(
        picture_graph(rewritten(sample.generator, Target.TENSORRT), Target.TENSORRT, GraphOutputs.BRANCHES)
    )
    proof = canonicalize(traced)
    attach_sau_function(proof)
    onnx.checker.check_model(proof, full_check=True)
    shapes = {
        value.name: [side.dim_param or side.dim_value for side in value.type.tensor_type.shape.dim]
        for value in proof.graph.output
    }
    assert shapes == {"image": ["N", 3, "H", "W"], **{b.value: ["N", b.channels, "H", "W"] for b in Branch}}
    label = np.random.default_rng(0).integers(0, 4, (2, 1, 8, 16), dtype=np.uint8).repeat(8, axis=2).repeat(8, axis=3)
    found = _session(proof).run(None, {"label": label})
    with torch.no_grad():
        expected = sample.generator(encode_semantics(torch.from_numpy(label), 4, None))
    for name, array in zip(GraphOutputs.BRANCHES.names, found, strict=True):
        np.testing.assert_allclose(array, tensors_by_name(expected)[name].numpy(), rtol=0, atol=1e-4)

    alone = without_branches(proof)
    onnx.checker.check_model(alone, full_check=True)
    np.testing.assert_array_equal(_session(alone).run(None, {"label": label})[0], found[0])
    shipped = onnx.load(str(exported.path))
    assert [node.op_type for node in shipped.graph.node][: len(alone.graph.node)] == [
        node.op_type for node in alone.graph.node
    ]
    assert [value.name for value in shipped.graph.output] == ["image"]
    assert {"global_image", "local_image", "attention_local"} == exported.card.verification["branches"].keys()
