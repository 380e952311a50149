"""Writing FP16 into an ONNX graph: initialisers, casts, function bodies.

Why not ``onnxruntime.transformers.float16`` or ``onnxconverter-common``: both skip model-local functions (so that
the body of ``SemanticAwareUpsample`` would contradict its FP16 inputs), append casts behind the nodes that need them
(``onnx.checker`` then refuses the order), raise weights that FP16 flushes to zero and clip those that overflow without
telling, and know no islands but by operator name. What is left to do is short.

Every node either computes in FP16 or belongs to an island (`calibration.islands`) and computes in FP32. A tensor keeps
the type that its producer gave it; a cast is inserted before the first consumer that wants the other one, once.

In a graph with INT8 in it (`calibration.qdq`), Q/DQ become FP16 like everything else, scales included, so that an INT8
convolution has FP16 on both sides and no cast near it; opset 18 knows such scales not yet, so the graph becomes opset
19. Casts around FP32 scales would do: TensorRT-RTX 1.7 builds the same INT8 kernels for both forms (seen in its log).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import FunctionProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from calibration.graphs import STANDARD_DOMAINS, constants_to_initializers, element_types, is_float, refuse_control_flow
from calibration.islands import IslandReason, find_islands
from calibration.scales import float_scaled
from runtime.contract.errors import InputError

HALF_MAX = 65504.0
# inputs that stay float32 whatever the first input is (onnx operator schemas)
_ALWAYS_FLOAT = {"Resize": (2,)}
_HALF_SCALES = 19  # the first opset whose Q/DQ take FP16
_SAME_OPERATORS = 18  # the first opset whose operators mean the same in 19: that one added types and options alone
_HALF_SCALES_IR = 9  # the format that came with it


@dataclass(frozen=True)
class Island:
    """A node that computes in FP32."""

    node: str
    operator: str
    reason: IslandReason


@dataclass
class HalfFacts:
    """What the conversion did.

    Attributes:
        islands: nodes left in FP32; a function call is listed with the reason of its body.
        half_nodes: outputs' names of the nodes that compute in FP16, without those of ``DequantizeLinear``.
        flushed: weights that were not zero and became zero.
        subnormal: weights that fell into FP16's subnormal range (fewer than eleven bits left).
        half_bytes, float_bytes: size of the initialisers after the conversion, by type.
    """

    islands: list[Island] = field(default_factory=list)
    half_nodes: list[str] = field(default_factory=list)
    flushed: int = 0
    subnormal: int = 0
    half_bytes: int = 0
    float_bytes: int = 0


def to_half(model: ModelProto) -> tuple[ModelProto, HalfFacts]:
    """Make an FP16-typed copy of an FP32 model with the same inputs and outputs.

    Raises:
        InputError: the model has FP16 tensors already, control flow, weights that FP16 cannot hold, or INT8 below
            opset 18.
    """
    result = ModelProto()
    result.CopyFrom(model)
    refuse_control_flow([*result.graph.node, *(node for f in result.functions for node in f.node)])
    constants_to_initializers(result)
    types = element_types(result)
    if TensorProto.FLOAT16 in types.values():
        raise InputError("the model is typed FP16 already; give the FP32 model that it was made from")
    facts = HalfFacts()
    _Rewriter(result, types, facts).run()
    return result, facts


class _Rewriter:
    """Builds the new list of nodes; ``_made`` says in which type each float tensor exists under which name."""

    def __init__(self, model: ModelProto, types: Mapping[str, int], facts: HalfFacts) -> None:
        self._model = model
        self._types = types
        self._facts = facts
        self._weights = {t.name: t for t in model.graph.initializer if is_float(t.data_type)}
        self._outputs = {output.name for output in model.graph.output}
        self._taken = set(types)
        self._made: dict[tuple[str, int], str] = {}
        self._nodes: list[NodeProto] = []
        self._tensors: list[TensorProto] = []
        self._functions = {(f.domain, f.name): f for f in model.functions}
        self._typed_functions: dict[tuple[str, str], tuple[tuple[bool, ...], tuple[bool, ...]]] = {}
        self._half_scales = False

    def run(self) -> None:
        graph = self._model.graph
        for value in graph.input:
            if is_float(self._types[value.name]):
                self._made[value.name, TensorProto.FLOAT] = value.name
        islands = find_islands(graph.node, self._types)
        islands.update(dict.fromkeys(sorted(float_scaled(self._model)), IslandReason.SCALE))
        for index, node in enumerate(graph.node):
            self._rewrite(node, islands.get(index))
        for name in sorted(self._outputs):
            if is_float(self._types[name]) and (name, TensorProto.FLOAT) not in self._made:
                half = self._made[name, TensorProto.FLOAT16]
                self._nodes.append(helper.make_node("Cast", [half], [name], f"{name}/to_fp32", to=TensorProto.FLOAT))
        others = [tensor for tensor in graph.initializer if tensor.name not in self._weights]
        del graph.node[:], graph.initializer[:], graph.value_info[:]
        graph.node.extend(self._nodes)
        graph.initializer.extend([*others, *self._tensors])
        if self._half_scales:
            _raise_opset(self._model)

    def _rewrite(self, node: NodeProto, island: IslandReason | None) -> None:
        floats_in = [is_float(self._types.get(name)) for name in node.input]
        floats_out = [is_float(self._types.get(name)) for name in node.output]
        if not any(floats_in) and not any(floats_out):
            self._nodes.append(node)
            return
        kind = TensorProto.FLOAT if island else TensorProto.FLOAT16
        function = self._functions.get((node.domain, node.op_type))
        if function is not None:
            self._widen_body(function, tuple(floats_in), tuple(floats_out))
            self._facts.islands.append(Island(node.name or node.output[0], node.op_type, IslandReason.SOFTMAX))
        elif island:
            self._facts.islands.append(Island(node.name or node.output[0], node.op_type, island))
        always = _ALWAYS_FLOAT.get(node.op_type, ()) if node.domain in STANDARD_DOMAINS else ()
        for position, name in enumerate(node.input):
            if floats_in[position]:
                node.input[position] = self._want(name, TensorProto.FLOAT if position in always else kind)
        for position, name in enumerate(node.output):
            if floats_out[position]:
                node.output[position] = self._give(name, kind)
        if kind == TensorProto.FLOAT16:
            _retype_attributes(node)
            scaled = node.domain in STANDARD_DOMAINS and node.op_type in ("QuantizeLinear", "DequantizeLinear")
            self._half_scales |= scaled
            if not scaled:
                self._facts.half_nodes.extend(name for name, flag in zip(node.output, floats_out, strict=True) if flag)
        self._nodes.append(node)

    def _want(self, name: str, kind: int) -> str:
        """The name under which the float tensor ``name`` exists in type ``kind``; makes it if it doesn't yet."""
        if (name, kind) not in self._made:
            if name in self._weights:
                self._made[name, kind] = self._weight(name, kind)
            else:
                other = TensorProto.FLOAT if kind == TensorProto.FLOAT16 else TensorProto.FLOAT16
                source = self._made[name, other]
                suffix = "fp16" if kind == TensorProto.FLOAT16 else "fp32"
                # a graph output made in FP16 gets its own name with the cast
                target = name if suffix == "fp32" and name in self._outputs else self._fresh(f"{name}/{suffix}")
                self._nodes.append(helper.make_node("Cast", [source], [target], f"{name}/to_{suffix}", to=kind))
                self._made[name, kind] = target
        return self._made[name, kind]

    def _give(self, name: str, kind: int) -> str:
        renamed = kind == TensorProto.FLOAT16 and name in self._outputs
        self._made[name, kind] = self._fresh(f"{name}/fp16") if renamed else name
        return self._made[name, kind]

    def _weight(self, name: str, kind: int) -> str:
        values = numpy_helper.to_array(self._weights[name])
        if kind == TensorProto.FLOAT:
            self._facts.float_bytes += values.nbytes
            self._tensors.append(self._weights[name])
            return name
        half = _checked_half(values, name)
        self._facts.flushed += int(np.count_nonzero((half == 0) & (values != 0)))
        self._facts.subnormal += int(np.count_nonzero((half != 0) & (np.abs(half) < np.finfo(np.float16).tiny)))
        self._facts.half_bytes += half.nbytes
        target = self._fresh(f"{name}/fp16")  # a name of its own: a later node may want the weight in FP32
        self._tensors.append(numpy_helper.from_array(half, target))
        return target

    def _fresh(self, name: str) -> str:
        while name in self._taken:
            name += "_"
        self._taken.add(name)
        return name

    def _widen_body(self, function: FunctionProto, floats_in: tuple[bool, ...], floats_out: tuple[bool, ...]) -> None:
        """Give the function FP16 inputs and outputs; its body computes in FP32 between casts, as the kernels do."""
        key = (function.domain, function.name)
        if key in self._typed_functions:
            if self._typed_functions[key] != (floats_in, floats_out):
                raise InputError(f"the function {function.name} is called with different types; export the model again")
            return
        self._typed_functions[key] = (floats_in, floats_out)
        taken = {name for node in function.node for name in (*node.input, *node.output)} | {
            *function.input,
            *function.output,
        }
        renamed = {}
        before, after = [], []
        for name, flag in zip(function.input, floats_in, strict=False):
            if flag:
                renamed[name] = _unused(f"{name}_fp32", taken)
                before.append(helper.make_node("Cast", [name], [renamed[name]], to=TensorProto.FLOAT))
        for name, flag in zip(function.output, floats_out, strict=False):
            if flag:
                renamed[name] = _unused(f"{name}_fp32", taken)
                after.append(helper.make_node("Cast", [renamed[name]], [name], to=TensorProto.FLOAT16))
        for node in function.node:
            node.input[:] = [renamed.get(name, name) for name in node.input]
            node.output[:] = [renamed.get(name, name) for name in node.output]
        body = [*before, *function.node, *after]
        copies = [NodeProto.FromString(node.SerializeToString()) for node in body]
        del function.node[:], function.value_info[:]
        function.node.extend(copies)


def _checked_half(values: np.ndarray, name: str) -> np.ndarray:
    """``values`` as float16; refuses what float16 cannot hold."""
    finite = np.isfinite(values)
    if not finite.all():
        raise InputError(
            f"the weight {name!r} has {int((~finite).sum())} values that are not finite; train or import again"
        )
    largest = float(np.abs(values).max(initial=0.0))
    if largest > HALF_MAX:
        raise InputError(f"the weight {name!r} reaches {largest:g}, FP16 ends at {HALF_MAX:g}; keep this model in FP32")
    return values.astype(np.float16)


def _retype_attributes(node: NodeProto) -> None:
    """Element types that a node names itself: the target of a Cast, the value of a ConstantOfShape."""
    for attribute in node.attribute:
        if node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT:
            attribute.i = TensorProto.FLOAT16
        elif node.op_type == "ConstantOfShape" and attribute.name == "value" and is_float(attribute.t.data_type):
            half = _checked_half(numpy_helper.to_array(attribute.t), node.name)
            attribute.t.CopyFrom(numpy_helper.from_array(half, attribute.t.name))
    if node.op_type == "ConstantOfShape" and not node.attribute:
        node.attribute.append(helper.make_attribute("value", numpy_helper.from_array(np.zeros(1, np.float16))))


def _raise_opset(model: ModelProto) -> None:
    """Let Q/DQ take FP16 scales; functions follow, because the checker wants one meaning of an operator in a model."""
    imports = [entry for part in (model, *model.functions) for entry in part.opset_import]
    for entry in imports:
        if entry.domain in STANDARD_DOMAINS:
            if entry.version < _SAME_OPERATORS:
                raise InputError(
                    f"the quantised model is of opset {entry.version}, FP16 around INT8 needs {_SAME_OPERATORS}; "
                    "export it again"
                )
            entry.version = max(entry.version, _HALF_SCALES)
    model.ir_version = max(model.ir_version, _HALF_SCALES_IR)


def _unused(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    taken.add(name)
    return name


def check_typed(model: ModelProto) -> None:
    """Full check of a typed graph: structure, order, and types by strict inference.

    Raises:
        InputError: the graph contradicts itself.
    """
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise InputError(f"the typed graph is not valid: {str(error).splitlines()[0][:300]}") from error
