"""Exported graphs in a canonical form: equal networks give equal bytes, and names say where a node comes from.

PyTorch's exporter writes Python stack traces with the paths of the machine into every node, numbers its values by
what it happened to meet, and orders attributes by hash.
"""

from __future__ import annotations

import ast
from collections import Counter

import onnx
from onnx import helper

from export.branches import Branch
from export.names import BATCH, HEIGHT, INSTANCE, LABEL, SOURCE, WIDTH
from export.opset import IR_VERSION

_SCOPES = "pkg.torch.onnx.name_scopes"
_ROOT = "generator."
PRODUCER = "lggan-edge"


def canonicalize(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy with canonical names and order, without anything that depends on machine or run.

    Nodes are called after their module and type (``local_branch/decoder/up1/SemanticAwareUpsample``), their outputs
    likewise. Weights keep the names of the checkpoint; other constants are numbered in order of use. Intermediate
    shapes are dropped, as every reader infers them; the sizes of inputs and outputs are N, H and W.
    """
    result = onnx.ModelProto()
    result.ir_version = IR_VERSION
    result.producer_name = PRODUCER
    result.opset_import.extend(sorted(model.opset_import, key=lambda entry: entry.domain))
    graph = result.graph
    graph.name = "lggan"
    for value in model.graph.input:
        graph.input.append(_interface(value))
    for value in model.graph.output:
        graph.output.append(_interface(value))

    names = {value.name: value.name for value in [*model.graph.input, *model.graph.output]}
    names[""] = ""  # an omitted optional input
    initializers = {tensor.name: tensor for tensor in model.graph.initializer}
    used: Counter[str] = Counter()
    constants = 0
    for node in model.graph.node:
        for name in node.input:
            if name in names:
                continue
            if name.startswith(_ROOT):
                names[name] = name[len(_ROOT) :]
            else:
                names[name] = f"constant_{constants}"
                constants += 1
            tensor = graph.initializer.add()
            tensor.CopyFrom(initializers[name])
            tensor.name = names[name]
            tensor.ClearField("doc_string")
            del tensor.metadata_props[:]
        label = "/".join([*_module_of(node), node.op_type])
        used[label] += 1
        label = label if used[label] == 1 else f"{label}_{used[label]}"
        for index, name in enumerate(node.output):
            if name not in names:
                names[name] = f"{label}_output" if index == 0 else f"{label}_output_{index}"
        copy = graph.node.add(op_type=node.op_type, domain=node.domain, name=label)
        copy.input.extend(names[name] for name in node.input)
        copy.output.extend(names[name] for name in node.output)
        copy.attribute.extend(sorted(node.attribute, key=lambda attribute: attribute.name))
        for attribute in copy.attribute:
            attribute.ClearField("doc_string")
    return result


def _module_of(node: onnx.NodeProto) -> list[str]:
    """The path of the PyTorch module that the node was traced from; empty for the outermost one."""
    for entry in node.metadata_props:
        if entry.key == _SCOPES:
            scopes = ast.literal_eval(entry.value)  # a list of strings: outer modules, module, operation
            path = scopes[-2] if len(scopes) > 1 else ""
            # Shape arithmetic carries a made-up module name without dots or the root.
            return path[len(_ROOT) :].split(".") if path.startswith(_ROOT) else []
    return []


def _interface(value: onnx.ValueInfoProto) -> onnx.ValueInfoProto:
    tensor = value.type.tensor_type
    if value.name == SOURCE:
        return helper.make_tensor_value_info(value.name, tensor.elem_type, [BATCH, HEIGHT, WIDTH, 3])
    channels = 1 if value.name in (LABEL, INSTANCE, Branch.ATTENTION_LOCAL.value) else 3
    return helper.make_tensor_value_info(value.name, tensor.elem_type, [BATCH, channels, HEIGHT, WIDTH])
