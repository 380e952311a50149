"""Whether the ONNX parser of TensorRT 10.3 would take a graph: a static check on machines that have no TensorRT.

TensorRT 10.3 is what JetPack 6 brings, and the oldest that the ``tensorrt`` target is for. The check follows the
operator table (`export.tensorrt_operators`) and what the importers of onnx-tensorrt assert (branch 10.1-GA, files
``onnxOpImporters.cpp``, ``onnxOpCheckers.cpp`` and ``ModelImporter.cpp``). It is stricter in one point: no size inside
the network may depend on the values of an input, only on its shape, so that engines have fixed buffers and can be
captured in CUDA graphs.

It does not look at what depends on the builder (memory, kernels for a combination of types and sizes). INT64 is taken
as it is: TensorRT has had it since 9.0, and casts indices to INT32 by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import onnx
from onnx import TensorProto, defs, helper, inliner, shape_inference

from export.external_data import skeleton
from export.tensorrt_operators import (
    ATTRIBUTES,
    CONSTANT_INPUTS,
    DATA_DEPENDENT,
    MAX_OPSET,
    MAX_RANK,
    MIN_OPSET,
    ONLY_SHAPE,
    OPERATORS,
    RANKS,
    SHAPE_INPUTS,
    TYPES,
)
from runtime.contract.errors import BackendError

_SHOWN = 5  # findings in an error message
_MODEL = ""  # the node of findings about the whole model


@dataclass(frozen=True)
class Finding:
    """One thing that TensorRT 10.3 does not take.

    Attributes:
        node: name of the node, or of its first output where it has no name; empty for the model as a whole.
        operator: type of the node, with its domain where that is not the standard's.
        reason: what is wrong with it.
    """

    node: str
    operator: str
    reason: str

    def __str__(self) -> str:
        return f"{self.operator} {self.node!r}: {self.reason}" if self.node else self.reason


@dataclass
class _Scope:
    """What is known of the values of one graph and of the graphs around it.

    Attributes:
        types: element type by name.
        ranks: number of dimensions by name, where known.
        constants: names whose values are there when the graph is parsed.
        from_data: names whose values depend on the values of an input.
        outputs: outputs of the whole model.
    """

    types: dict[str, int] = field(default_factory=dict)
    ranks: dict[str, int] = field(default_factory=dict)
    constants: set[str] = field(default_factory=set)
    from_data: set[str] = field(default_factory=set)
    outputs: frozenset[str] = frozenset()

    def inner(self) -> _Scope:
        return _Scope(dict(self.types), dict(self.ranks), set(self.constants), set(self.from_data), self.outputs)


def check_tensorrt_support(model: onnx.ModelProto) -> None:
    """Refuse a graph that TensorRT 10.3 would not take; see `tensorrt_findings`.

    Raises:
        BackendError: naming the first few findings.
    """
    findings = tensorrt_findings(model)
    if not findings:
        return
    listed = "; ".join(str(finding) for finding in findings[:_SHOWN])
    more = f"; and {len(findings) - _SHOWN} more" if len(findings) > _SHOWN else ""
    raise BackendError(
        f"TensorRT 10.3 would not take this graph: {listed}{more}; export it with --target cpu, or report this if it "
        "comes from a preset"
    )


def tensorrt_findings(model: onnx.ModelProto) -> list[Finding]:
    """Everything in a model that TensorRT 10.3 would not take, in the order of the graph.

    Functions are looked at where they are called, graphs inside If, Loop and Scan are looked into. A node without a
    function is taken for a plugin: it needs the attributes by which TensorRT finds one.

    Args:
        model: valid (`onnx.checker`); it is not changed. Weights are not looked at and may be of any size.

    Raises:
        BackendError: shapes cannot be inferred, so the graph is not valid.
    """
    bare = skeleton(model)
    found = [*_opset_findings(bare), *_function_findings(bare)]
    try:
        flat = shape_inference.infer_shapes(inliner.inline_local_functions(bare), data_prop=True, strict_mode=False)
    except Exception as error:  # both raise several classes of their own
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
        raise BackendError(f"the shapes of the graph cannot be inferred: {reason}") from error
    scope = _Scope(outputs=frozenset(value.name for value in flat.graph.output))
    weights = {tensor.name for tensor in model.graph.initializer}  # some of them are inputs of the skeleton
    opset = next((entry.version for entry in flat.opset_import if entry.domain in ("", "ai.onnx")), MAX_OPSET)
    for value in [*flat.graph.input, *flat.graph.output]:
        kind = value.type.tensor_type.elem_type
        if value.name not in weights and kind not in TYPES and kind != TensorProto.UINT8:
            found.append(Finding(value.name, "input or output", f"TensorRT has no {_name_of(kind)}"))
    found.extend(_weight_findings(model.graph))
    scope.from_data.update(value.name for value in flat.graph.input if value.name not in weights)
    scope.constants.update(weights)
    found.extend(_graph_findings(flat.graph, scope, min(opset, defs.onnx_opset_version())))
    return found


def _opset_findings(model: onnx.ModelProto) -> Iterator[Finding]:
    for entry in model.opset_import:
        if entry.domain in ("", "ai.onnx") and not MIN_OPSET <= entry.version <= MAX_OPSET:
            yield Finding(_MODEL, _MODEL, f"opset {entry.version} is outside of {MIN_OPSET} to {MAX_OPSET}")


def _function_findings(model: onnx.ModelProto) -> Iterator[Finding]:
    """Where the parser, which knows functions and values by their bare names, would take one for another."""
    outer = {name for node in model.graph.node for name in node.output}
    outer |= {each.name for each in [*model.graph.input, *model.graph.initializer]}
    seen: set[str] = set()
    for function in model.functions:
        operator = f"{function.domain}::{function.name}"
        if function.name in OPERATORS:
            yield Finding(function.name, operator, "a function has the name of a standard operator, which is preferred")
        if function.name in seen:
            yield Finding(function.name, operator, "two functions share a name, and domains are not looked at")
        seen.add(function.name)
        calls = [node for node in model.graph.node if (node.domain, node.op_type) == (function.domain, function.name)]
        passed = [
            name
            for index, name in enumerate(function.input)
            if all(node.input[index : index + 1] == [name] for node in calls)
        ]
        inner = {*function.input, *(name for node in function.node for name in node.output)} - {*passed, ""}
        if clash := sorted(inner & outer):
            yield Finding(
                function.name,
                operator,
                f"its value {clash[0]!r} is called like one of the graph, which TensorRT before 10.8 mixes up",
            )


def _weight_findings(graph: onnx.GraphProto) -> Iterator[Finding]:
    for weight in graph.initializer:
        if weight.data_type not in TYPES:
            yield Finding(weight.name, "initializer", f"TensorRT has no {_name_of(weight.data_type)} inside a network")


def _graph_findings(graph: onnx.GraphProto, scope: _Scope, opset: int) -> Iterator[Finding]:
    """The findings of one graph; ``scope`` learns its names."""
    for value in [*graph.input, *graph.value_info, *graph.output]:
        tensor = value.type.tensor_type
        scope.types[value.name] = tensor.elem_type
        if tensor.HasField("shape"):
            scope.ranks[value.name] = len(tensor.shape.dim)
    for weight in graph.initializer:
        scope.types[weight.name] = weight.data_type
        scope.ranks[weight.name] = len(weight.dims)
        scope.constants.add(weight.name)
    for node in graph.node:
        yield from _node_findings(node, scope, opset)
        _learn(node, scope)
        for inner in _graphs_of(node):
            below = scope.inner()
            if any(name in scope.from_data for name in node.input):
                below.from_data.update(value.name for value in inner.input)
            yield from _weight_findings(inner)
            yield from _graph_findings(inner, below, opset)


def _learn(node: onnx.NodeProto, scope: _Scope) -> None:
    """What the outputs of a node depend on."""
    if node.op_type == "Constant":
        scope.constants.update(node.output)
        return
    if node.op_type in ONLY_SHAPE:
        return
    reads = [*node.input, *(name for graph in _graphs_of(node) for inner in graph.node for name in inner.input)]
    if any(name in scope.from_data for name in reads) or node.op_type.startswith("Random"):
        scope.from_data.update(node.output)


def _node_findings(node: onnx.NodeProto, scope: _Scope, opset: int) -> Iterator[Finding]:
    name, operator = node.name or (node.output[0] if node.output else ""), node.op_type
    if node.domain not in ("", "ai.onnx"):
        given = {attribute.name for attribute in node.attribute}
        if missing := sorted({"plugin_namespace", "plugin_version"} - given):
            yield Finding(
                name,
                f"{node.domain}::{operator}",
                f"has neither a function nor the attribute {missing[0]} by which TensorRT finds a plugin",
            )
        return
    reasons: list[str] = []
    if operator in DATA_DEPENDENT:
        reasons.append("the size of its output depends on the values of its input")
    elif operator not in OPERATORS:
        reasons.append("TensorRT has no such operator")
    else:
        reasons.extend(_type_reasons(node, scope, opset))
        reasons.extend(_attribute_reasons(node))
        reasons.extend(_input_reasons(node, scope))
    reasons.extend(_rank_reasons(node, scope))
    for reason in reasons:
        yield Finding(name, operator, reason)


def _type_reasons(node: onnx.NodeProto, scope: _Scope, opset: int) -> Iterator[str]:
    allowed = OPERATORS[node.op_type]
    computed = {scope.types.get(name, 0) for name in _computed_on(node, opset)} - {0}
    for kind in sorted(computed - allowed):
        yield f"TensorRT does not compute it on {_name_of(kind)}"
    for name in node.output:
        kind = scope.types.get(name, 0)
        if kind == TensorProto.UINT8 and name not in scope.outputs:
            yield "uint8 exists at the inputs and outputs of a network only"
        elif kind == TensorProto.UINT8 and node.op_type not in ("Cast", "CastLike"):
            yield "a uint8 output must come from a Cast"
        elif kind and kind not in TYPES and kind != TensorProto.UINT8:
            yield f"TensorRT has no {_name_of(kind)}"


def _computed_on(node: onnx.NodeProto, opset: int) -> list[str]:
    """The inputs that a node computes on, as its schema tells them from shapes and indices.

    They have the type variable of the first output or, where no input has that (comparisons), of the first input.
    """
    if not node.input:
        return list(node.output) if node.op_type != "Constant" else []
    try:
        schema = defs.get_schema(node.op_type, opset, "")
    except defs.SchemaError:
        return []
    formal = [parameter.type_str for parameter in schema.inputs]
    by_input = [formal[min(index, len(formal) - 1)] for index in range(len(node.input))]  # the last may repeat
    wanted = schema.outputs[0].type_str
    if wanted not in by_input:
        wanted = by_input[0]
    if node.op_type in ("Shape", "Size"):
        return []  # of anything
    return [name for name, kind in zip(node.input, by_input, strict=True) if name and kind == wanted]


def _attribute_reasons(node: onnx.NodeProto) -> Iterator[str]:
    for attribute in node.attribute:
        if node.op_type == "Constant" and attribute.name in ("sparse_value", "value_string", "value_strings"):
            yield f"{attribute.name} is not supported"
        allowed = ATTRIBUTES.get((node.op_type, attribute.name))
        if allowed is None:
            continue
        value = helper.get_attribute_value(attribute)
        for each in value if isinstance(value, list) else [value]:
            plain = each.decode("utf-8", "replace") if isinstance(each, bytes) else each
            if plain not in allowed and not (attribute.name == "reduction" and plain == "none"):
                yield f"{attribute.name} = {plain} is not supported"
    if node.op_type == "MaxPool" and len(node.output) > 1:
        yield "its second output, indices, is not supported"
    if node.op_type == "LayerNormalization" and any(node.output[1:]):
        yield "only its first output is supported"


def _input_reasons(node: onnx.NodeProto, scope: _Scope) -> Iterator[str]:
    def given(positions: Iterable[int]) -> list[tuple[int, str]]:
        return [(index, node.input[index]) for index in positions if index < len(node.input) and node.input[index]]

    for index, name in given(CONSTANT_INPUTS.get(node.op_type, ())):
        if name not in scope.constants:
            yield f"input {index}, {name!r}, must be a constant"
    for _, name in given(SHAPE_INPUTS.get(node.op_type, ())):
        if name in scope.from_data and name not in scope.constants:
            yield f"the size of its output depends on values of an input of the network, through {name!r}"
    if node.op_type == "Conv" and len(node.input) > 1 and node.input[1] in scope.constants:
        for _, name in given((2,)):
            if name not in scope.constants:
                yield f"its bias, {name!r}, must be a constant as its weights are"


def _rank_reasons(node: onnx.NodeProto, scope: _Scope) -> Iterator[str]:
    for name in node.output:
        if scope.ranks.get(name, 0) > MAX_RANK:
            yield f"{name!r} has {scope.ranks[name]} dimensions; TensorRT has at most {MAX_RANK}"
    smallest, largest = RANKS.get(node.op_type, (0, MAX_RANK))
    rank = scope.ranks.get(node.input[0]) if node.input else None
    if rank is not None and not smallest <= rank <= largest:
        yield f"its input has {rank} dimensions; TensorRT takes {smallest} to {largest}"


def _graphs_of(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def _name_of(kind: int) -> str:
    return TensorProto.DataType.Name(kind).lower() if kind in TensorProto.DataType.values() else f"type {kind}"
