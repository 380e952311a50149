"""Operators of our own in an exported graph: what PyTorch calls, the node it becomes, and the node's body."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import onnx
from onnx import helper
from onnxscript.values import Op, Opset

from export.names import DOMAIN, DOMAIN_VERSION
from runtime.contract.errors import BackendError

_TYPES = [f"tensor({name})" for name in ("float16", "float", "double", "int64", "int32", "uint8", "bool")]

Body = Callable[[str, "tuple[int, ...]"], onnx.FunctionProto]
"""(name of the function, values of the attributes in their order) -> the function in the domain ``lggan``."""


@dataclass(frozen=True)
class CustomOperator:
    """A PyTorch operator that becomes one node with an ONNX function beside it.

    Attributes:
        torch_op: e.g. ``torch.ops.lggan.patch_roots.default``.
        op_type: of the node, e.g. ``PatchRoots``.
        inputs: names of the operator's tensor arguments, in their order.
        outputs: names of what it gives.
        attributes: names of the whole numbers that follow the tensors in the operator's arguments.
        body: writes the function for given values of the attributes. Functions cannot unroll over attributes, so there
            is one function per distinct set of values, called ``<op_type>_<value>_<value>``.
    """

    torch_op: Any
    op_type: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: tuple[str, ...]
    body: Body

    def __post_init__(self) -> None:
        arguments = [argument.name for argument in self.torch_op._schema.arguments]
        if arguments != [*self.inputs, *self.attributes]:
            raise ValueError(f"{self.torch_op} takes {arguments}, not {[*self.inputs, *self.attributes]}")

    def translation(self) -> Callable[..., Any]:
        """What PyTorch's exporter calls to write the node."""
        schema = onnx.defs.OpSchema
        node = Op(
            Opset(DOMAIN, DOMAIN_VERSION),
            self.op_type,
            # The exporter wants to know the operator's signature; a bare name is not enough.
            schema(
                self.op_type,
                DOMAIN,
                DOMAIN_VERSION,
                inputs=[schema.FormalParameter(name, f"T_{name}") for name in self.inputs],
                outputs=[schema.FormalParameter(name, f"T_{name}") for name in self.outputs],
                type_constraints=[(f"T_{name}", _TYPES, "") for name in (*self.inputs, *self.outputs)],
                attributes=[schema.Attribute(name, schema.AttrType.INT, "") for name in self.attributes],
            ),
        )

        def translate(*arguments: Any) -> Any:
            tensors, values = arguments[: len(self.inputs)], arguments[len(self.inputs) :]
            # By position for tensors; numbers are attributes, which onnxscript takes by name alone.
            return node(*tensors, **dict(zip(self.attributes, values, strict=True)))

        return translate


def attach_bodies(model: onnx.ModelProto, operators: Sequence[CustomOperator]) -> None:
    """Give every node of these operators its function, in place; nodes of equal attributes share one.

    Raises:
        BackendError: a function body is not valid.
    """
    by_type = {operator.op_type: operator for operator in operators}
    written: dict[str, onnx.FunctionProto] = {}
    for node in model.graph.node:
        operator = by_type.get(node.op_type) if node.domain == DOMAIN else None
        if operator is None:
            continue
        given = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
        values = tuple(given[name] for name in operator.attributes)
        name = "_".join([operator.op_type, *map(str, values)])
        if name not in written:
            try:
                written[name] = operator.body(name, values)
            except onnx.parser.ParseError as error:
                raise BackendError(f"onnx {onnx.__version__} does not read the body of {name}: {error}") from error
        node.op_type = name
    model.functions.extend(written[name] for name in sorted(written))
    if written and all(entry.domain != DOMAIN for entry in model.opset_import):
        model.opset_import.append(helper.make_opsetid(DOMAIN, DOMAIN_VERSION))
