"""Every run of every node of an exported graph on one input, with the shapes: `profiled`.

The shapes inside a graph for the CPU follow from the label map, so no inference can tell them. ONNX Runtime runs the
graph with all of its own optimisations off, node by node as it was exported, and its profile tells the shapes.

ONNX Runtime puts function bodies in place of their nodes and calls the nodes inside after the function. To know which
call a node ran for, a copy of the graph is run in which every call has a function of its own, whose nodes are called
after the calling node.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
import torch

from export.external_data import serialized
from export.layouts import CheckInput
from export.node_macs import Shape, node_macs
from runtime.contract.errors import BackendError
from runtime.contract.graph_report import Activation

_MARK = "@"  # starts our name within the name that ONNX Runtime makes of it
_ENDING = "_kernel_time"
_VIEWS = ("Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity", "Shape", "Size")
_CONTROL = ("If", "Loop", "Scan")  # what they give was written inside them
_BYTES = {
    **dict.fromkeys(("double", "int64", "uint64"), 8),
    **dict.fromkeys(("float", "int32", "uint32"), 4),
    **dict.fromkeys(("float16", "bfloat16", "int16", "uint16"), 2),
    **dict.fromkeys(("bool", "int8", "uint8"), 1),
}


@dataclass(frozen=True)
class NodeRun:
    """One run of one node.

    Attributes:
        name: of a node of the main graph, or ``caller/…`` for a node in its function or nested graph.
        caller: the node of the main graph.
        op_type: of the operator that ran.
        inputs: shapes.
        outputs: (type, shape) of each.
    """

    name: str
    caller: str
    op_type: str
    inputs: tuple[Shape, ...]
    outputs: tuple[tuple[str, Shape], ...]

    @property
    def macs(self) -> int:
        """See `export.node_macs.node_macs`."""
        return node_macs(self.op_type, self.inputs, [shape for _, shape in self.outputs])

    @property
    def written(self) -> list[Activation]:
        """The tensors that it writes; a change of shape alone writes nothing."""
        if self.op_type in _VIEWS or self.op_type in _CONTROL:
            return []
        return [
            Activation(self.name, self.op_type, dtype, shape, math.prod(shape) * _BYTES.get(dtype, 0))
            for dtype, shape in self.outputs
        ]


def profiled(model: onnx.ModelProto, check: CheckInput) -> list[NodeRun]:
    """Run a graph once in ONNX Runtime on the CPU.

    Raises:
        BackendError: ONNX Runtime does not take or run the graph.
    """
    callers = set(node_names(model.graph))
    with tempfile.TemporaryDirectory(prefix="lggan-account-") as folder:
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "run")
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3  # errors only; they are raised as well
        # Of weights that a kernel has taken over in a form of its own, the profile would not tell the shape.
        options.add_session_config_entry("session.disable_prepacking", "1")
        graph = serialized(labelled(model))
        graph.lend_to(options)
        try:
            session = onnxruntime.InferenceSession(graph.data, options, providers=["CPUExecutionProvider"])
            session.run(None, check.batch.feeds())
            events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
        except Exception as error:  # ONNX Runtime's exceptions share no base class
            reason = (str(error) or type(error).__name__).splitlines()[0][:300]
            raise BackendError(f"ONNX Runtime could not run the exported graph to count it: {reason}") from error
    return list(read_events(events, callers))


def labelled(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy for profiles: every node has a name that ONNX Runtime keeps, every call a function of its own."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    del copy.functions[:]
    functions = {(function.domain, function.name): function for function in model.functions}
    for name, node in zip(node_names(copy.graph), copy.graph.node, strict=True):
        _label(node, name, functions, copy)
    return copy


def node_names(graph: onnx.GraphProto) -> list[str]:
    """The names of a graph's nodes; those that have none are called by type and place."""
    return [node.name or f"{node.op_type}_{index}" for index, node in enumerate(graph.node)]


def read_events(events: Iterable[Mapping[str, Any]], callers: set[str]) -> Iterator[NodeRun]:
    """The node runs in ONNX Runtime's profile of a `labelled` graph.

    Some standard operators, ``CastLike`` for one, are functions too, and what ONNX Runtime puts in their place has no
    name of ours: such nodes are taken to the call that ran before them.

    Args:
        events: of the profile, in the order of time.
        callers: names of the nodes of the main graph.
    """
    latest = ""
    for event in events:
        if event.get("cat") != "Node" or not str(event.get("name")).endswith(_ENDING):
            continue
        name = str(event["name"]).removesuffix(_ENDING).rpartition(_MARK)[2]
        caller = name
        while caller not in callers and caller:
            caller = caller.rpartition("/")[0]
        if not caller:
            if not latest:
                continue
            caller, name = latest, f"{latest}/{name}"
        latest = caller
        arguments = event["args"]
        yield NodeRun(
            name=name,
            caller=caller,
            op_type=str(arguments["op_name"]),
            inputs=tuple(shape for _, shape in _tensors(arguments.get("input_type_shape") or ())),
            outputs=tuple(_tensors(arguments.get("output_type_shape") or ())),
        )


def _label(
    node: onnx.NodeProto,
    name: str,
    functions: Mapping[tuple[str, str], onnx.FunctionProto],
    model: onnx.ModelProto,
) -> None:
    """Name a node and what is inside it; give a call a copy of its function, which is added to the model."""
    node.name = _MARK + name
    inside: list[onnx.NodeProto] = [
        inner
        for attribute in node.attribute
        for graph in ([attribute.g] if attribute.HasField("g") else attribute.graphs)
        for inner in graph.node
    ]
    function = functions.get((node.domain, node.op_type))
    if function is not None:
        body = model.functions.add()
        body.CopyFrom(function)
        node.op_type = body.name = f"{function.name}_call{len(model.functions)}"
        inside += body.node
    for index, inner in enumerate(inside):
        _label(inner, f"{name}/{inner.op_type}_{index}", functions, model)


def _tensors(entries: Iterable[Any]) -> Iterator[tuple[str, Shape]]:
    """(type, shape) of the entries ``{"float": [1, 3, 32, 32]}``."""
    for entry in entries:
        for dtype, shape in entry.items() if isinstance(entry, dict) else ():
            yield str(dtype), tuple(int(side) for side in shape)
