from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, defs, helper, numpy_helper, parser

from engines.child import Job, run_child
from export.target import Target
from export.tensorrt_operators import DATA_DEPENDENT, OPERATORS
from export.tensorrt_support import Finding, check_tensorrt_support, tensorrt_findings
from export.variants import Variant, to_variant
from lggan.config import SauMask, SauPlacement
from runtime.contract.errors import BackendError
from runtime.contract.progress import SilentProgress
from tests.export.samples import Case, Sample
from tests.export.small_exports import exported_graph
from tests.onnx_toys import cross_view_toy, toy_model

CASES = [
    Case(),
    Case(SauPlacement.NONE),
    Case(SauPlacement.ENCODER, mask=SauMask.SAME_CLASS),
    Case(SauPlacement.GLOBAL, edges=True),
    Case(cross_view=True),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.placement.value}{'-cross' * case.cross_view}")
def test_exports_for_tensorrt_pass(make_sample: Callable[[Case], Sample], case: Case, tmp_path: Path) -> None:
    model = exported_graph(make_sample(case), case, Target.TENSORRT, tmp_path)
    for variant in Variant:
        assert tensorrt_findings(to_variant(model, variant)) == []
    check_tensorrt_support(model)


def test_toys_pass() -> None:
    for model in (toy_model(), toy_model(decomposed_norm=True), cross_view_toy()):
        assert tensorrt_findings(to_variant(model, Variant.INLINED)) == []


@pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx") is None, reason="tensorrt_rtx is not installed: nothing is parsed"
)
def test_what_passes_is_parsed_and_built(make_sample: Callable[[Case], Sample], tmp_path: Path) -> None:
    """TensorRT-RTX 1.7 is newer than 10.3 and takes more, but nothing less."""
    model = exported_graph(make_sample(Case()), Case(), Target.TENSORRT, tmp_path)
    assert tensorrt_findings(model) == []
    shape = (1, 1, 32, 64)
    job = Job(tmp_path / "model.engine", ("sm86",), {"label": (shape, shape, (2, 1, 64, 64))})
    facts = run_child(job, model.SerializeToString(), SilentProgress())
    assert facts.convolutions.keys() == {"fp32"}
    assert (tmp_path / "model.engine").stat().st_size > 10_000


def test_the_table_names_operators_of_the_standard() -> None:
    known = {schema.name for schema in defs.get_all_schemas_with_history() if schema.domain == ""}
    assert OPERATORS.keys() <= known
    assert not OPERATORS.keys() & DATA_DEPENDENT
    assert len(OPERATORS) == 143  # 150 in the table, less the two above and five that are not in the standard


def graph(body: str, inputs: str = "float[N, 4, H, W] x", outputs: str = "float[A, B, C, D] y") -> onnx.ModelProto:
    """A model of the given nodes; its initializers ``two`` and ``axis``."""
    weights = "<int64[1] two = {2}, int64[1] axis = {1}, int64[4] quad = {1, 4, 6, 6}, float one = {1.0}>"
    model = parser.parse_model(
        f'<ir_version: 8, opset_import: ["" : 18]> g ({inputs}) => ({outputs}) {weights} {{ {body} }}'
    )
    names = {name for node in model.graph.node for name in node.input}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in names]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    return model


BYTES = "uint8[N, 4, H, W] x"
LONG = "int64[N] y"
GOOD = {
    "sizes from shapes": graph("s = Shape (x) t = Mul (s, two) z = ConstantOfShape (t) y = Identity (z)"),
    "bytes at the edges": graph("f = Cast <to = 1> (x) g = Relu (f) y = Cast <to = 2> (g)", BYTES, BYTES[:-1] + "y"),
    "reflected border": graph(
        "p = Concat <axis = 0> (axis, axis, axis, axis, quad) y = Pad <mode = \"reflect\"> (x, p)"
    ),
    "a condition on values": graph(
        "m = ReduceMax <keepdims = 0> (x) c = Greater (m, one)"
        " y = If (c) <then_branch = a () => (float[N, 4, H, W] u) { u = Relu (x) },"
        " else_branch = b () => (float[N, 4, H, W] v) { v = Neg (x) }>"
    ),
}  # fmt: skip
BAD = {
    "NonZero": (graph("y = NonZero (x)", outputs="int64[4, M] y"), "depends on the values"),
    "Unique": (graph("y = Unique (x)", outputs="float[M] y"), "depends on the values"),
    "Compress": (graph("c = Cast <to = 9> (two) y = Compress (x, c)"), "depends on the values"),
    "Det": (graph("y = Det (x)", outputs="float[N, 4] y"), "no such operator"),
    "CenterCropPad": (graph("y = CenterCropPad (x, quad)"), "no such operator"),
    "Resize": (graph('y = Resize <mode = "linear", antialias = 1> (x, , , quad)'), "antialias = 1"),
    "Pad": (graph("a = Shape (x) p = Concat <axis = 0> (two, two) y = Pad (x, p, , a)"), "'a', must be a constant"),
    "Reshape": (graph("m = Cast <to = 7> (x) s = ReduceMax <keepdims = 0> (m) t = Unsqueeze (s, axis)"
                      " y = Reshape (x, t)"), "values of an input of the network, through 't'"),
    "Range": (graph("r = ReduceMax <keepdims = 0> (x) y = Range (one, r, one)", outputs="float[M] y"), "through 'r'"),
    "Loop": (graph("m = ReduceMax <keepdims = 0> (x) n = Cast <to = 7> (m) t = Cast <to = 9> (one)"
                   " y = Loop (n, t, x) <body = b (int64 i, bool c, float[N, 4, H, W] v)"
                   " => (bool d, float[N, 4, H, W] w) { d = Identity (c) w = Relu (v) }>"), "through 'n'"),
    "MatMul": (graph("i = Cast <to = 6> (x) y = MatMul (i, i)", outputs="int32[A, B, C, D] y"), "on int32"),
    "CumSum": (graph("i = Cast <to = 7> (x) y = CumSum (i, axis)", outputs="int64[A, B, C, D] y"), "on int64"),
    "Relu": (graph("d = Cast <to = 11> (x) y = Relu (d)", outputs="double[A, B, C, D] y"), "on double"),
    "Equal": (graph("y = Equal (x, x)", BYTES, "bool[N, 4, H, W] y"), "on uint8"),
    "Cast": (graph("b = Cast <to = 2> (x) y = Cast <to = 1> (b)"), "inputs and outputs of a network only"),
    "Add": (graph("y = Add (x, x)", BYTES, BYTES[:-1] + "y"), "must come from a Cast"),
    "MaxPool": (graph("y, i = MaxPool <kernel_shape = [2, 2]> (x)"), "second output"),
    "AveragePool": (graph("y = AveragePool <kernel_shape = [2, 2], dilations = [2, 2]> (x)"), "dilations = 2"),
    "ScatterND": (graph("s = Shape (x) i = Unsqueeze (s, axis) f = Flatten (x)"
                        " y = ScatterND <reduction = \"add\"> (f, i, f)"), "reduction = add"),
    "DepthToSpace": (graph("z = Unsqueeze (x, axis) y = DepthToSpace <blocksize = 2> (z)"), "5 dimensions"),
    "Transpose": (graph("a = Unsqueeze (x, axis) b = Unsqueeze (a, axis) c = Unsqueeze (b, axis)"
                        " d = Unsqueeze (c, axis) e = Unsqueeze (d, axis) y = Transpose (e)",
                        outputs="float[A, B, C, D, E, F, G, H, I] y"), "9 dimensions"),
    "If": (graph("m = ReduceMax <keepdims = 0> (x) c = Greater (m, one)"
                 " y = If (c) <then_branch = a () => (float[M] u) { u = Unique (x) },"
                 " else_branch = b () => (float[M] v) { v = Unique (x) }>", outputs="float[M] y"),
           "depends on the values"),
}  # fmt: skip


@pytest.mark.parametrize("name", GOOD)
def test_good_graphs(name: str) -> None:
    assert tensorrt_findings(GOOD[name]) == []


@pytest.mark.parametrize("operator", BAD)
def test_bad_graphs(operator: str) -> None:
    model, words = BAD[operator]
    found = tensorrt_findings(model)
    wanted = "Unique" if operator == "If" else operator
    assert any(finding.operator == wanted and words in finding.reason for finding in found), found
    with pytest.raises(BackendError, match=r"TensorRT 10\.3 would not take this graph"):
        check_tensorrt_support(model)


def test_only_the_bad_node_is_named() -> None:
    model = graph("a = Relu (x) b = Det (a) y = Relu (b)", outputs="float[N, 4] y")
    model.graph.node[1].name = "middle"
    assert tensorrt_findings(model) == [Finding("middle", "Det", "TensorRT has no such operator")]
    with pytest.raises(BackendError, match="Det 'middle': TensorRT has no such operator; export it"):
        check_tensorrt_support(model)


def test_only_the_first_few_are_listed() -> None:
    model = graph(" ".join(f"d{i} = Det (x)" for i in range(9)) + " y = Relu (d0)", outputs="float[N, 4] y")
    with pytest.raises(BackendError, match=r"(Det 'd\d'.*){5}; and 4 more; export"):
        check_tensorrt_support(model)


@pytest.mark.parametrize("opset", [8, 21])
def test_opsets_out_of_range(opset: int) -> None:
    model = graph("y = Relu (x)")
    model.opset_import[0].version = opset
    assert tensorrt_findings(model)[0].reason == f"opset {opset} is outside of 9 to 20"


def test_computed_biases() -> None:
    model = graph("b = Add (w1, w1) y = Conv (x, w, b)")
    model.graph.initializer.extend(
        numpy_helper.from_array(np.ones(shape, np.float32), name) for name, shape in (("w", (4, 4, 1, 1)), ("w1", (4,)))
    )
    assert [finding.reason for finding in tensorrt_findings(model)] == [
        "its bias, 'b', must be a constant as its weights are"
    ]


@pytest.mark.parametrize("count", [3, 5000])
def test_weights_of_types_that_do_not_exist_inside(count: int) -> None:
    """Small ones and those that are set apart; the values of strings cannot be bytes either."""
    model = graph("b = Cast <to = 1> (w) y = Concat <axis = 0> (b, b)", outputs="float[M] y")
    model.graph.initializer.append(numpy_helper.from_array(np.ones(count, np.uint8), "w"))
    assert Finding("w", "initializer", "TensorRT has no uint8 inside a network") in tensorrt_findings(model)


def test_strings_at_the_edge() -> None:
    model = graph("y = Identity (x)", "string[N] x", "string[N] y")
    assert [finding.reason for finding in tensorrt_findings(model)][:2] == ["TensorRT has no string"] * 2


def test_plugins_are_found_by_two_attributes() -> None:
    model = to_variant(toy_model(), Variant.PLUGIN)
    node = next(node for node in model.graph.node if node.domain)
    kept = [attribute for attribute in node.attribute if attribute.name != "plugin_namespace"]
    del node.attribute[:]
    node.attribute.extend(kept)
    assert [(f.node, f.operator) for f in tensorrt_findings(model)] == [("sau", "lggan::SemanticAwareUpsample")]
    assert "plugin_namespace" in tensorrt_findings(model)[0].reason


def test_functions_that_the_parser_would_mix_up() -> None:
    model = toy_model()
    body = model.functions[0]
    outer = model.graph.node[0].output[0]
    body.node.append(helper.make_node("Identity", [body.input[0]], [outer]))
    twin = model.functions.add()
    twin.CopyFrom(body)
    twin.domain = "other"
    model.opset_import.append(helper.make_opsetid("other", 1))
    reasons = [finding.reason for finding in tensorrt_findings(model)]
    assert sum("is called like one of the graph" in reason for reason in reasons) == 2
    assert sum("two functions share a name" in reason for reason in reasons) == 1
    renamed = toy_model()
    renamed.functions[0].name = "Relu"
    for node in renamed.graph.node:
        node.op_type = "Relu" if node.domain else node.op_type
    assert "the name of a standard operator" in tensorrt_findings(renamed)[0].reason


def test_faults_inside_functions_are_found_where_they_are_called() -> None:
    model = toy_model()
    body = model.functions[0]
    body.node.append(helper.make_node("NonZero", [body.input[0]], ["places"]))
    assert [finding.operator for finding in tensorrt_findings(model) if not finding.operator.startswith("lggan")] == [
        "NonZero"
    ]


def test_a_graph_without_sense_is_one_error() -> None:
    model = toy_model()
    model.functions[0].node[0].op_type = "NoSuchOperator"
    assert any(finding.operator == "NoSuchOperator" for finding in tensorrt_findings(model))
    model = graph("y = Relu (x)")
    model.graph.node[0].input[0] = "nothing"
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.UNDEFINED
    with pytest.raises(BackendError):
        check_tensorrt_support(model)
