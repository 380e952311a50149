"""The graphs that `rewrites.py` times: every node called after its module, and beside each file what row it is of."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
from published_form import plain_export
from rewrite_rows import PLAIN, Attribution, Row, row_of
from weights import write_checkpoint

from export.branches import without_branches
from export.canonical import canonicalize
from export.graph_blocks import INPUTS, blocks_of
from export.graph_profile import labelled, node_names
from export.proof_graph import proof_graph
from export.target import Target
from lggan.checkpoint import load_generator
from lggan.preset import Preset


def write_labelled_graph(form: str, preset: Preset, file: Path) -> None:
    """Write a graph of the preset's generator with drawn weights to ``file``, its `Attribution` to the .json beside it.

    Args:
        form: PLAIN, or the value of a target; the latter's graph gives the float picture.
        preset: of a semantic generator.
        file: whose folder exists; replaced if it does.
    """
    checkpoint, unfinished = file.with_suffix(".safetensors"), file.with_suffix(".part")
    write_checkpoint(preset, checkpoint)
    if form == PLAIN:
        plain_export(checkpoint, unfinished)
        model = _named(onnx.load(str(unfinished)))
    else:
        model = without_branches(proof_graph(load_generator(checkpoint)[0], Target(form)))
    checkpoint.unlink()
    graph = labelled(model)
    rows = json.dumps(_attribution(model.graph, graph.graph).to_plain())
    file.with_suffix(".json").write_text(rows, encoding="utf-8")
    onnx.save(graph, str(unfinished), format="protobuf")
    unfinished.replace(file)


def _named(exported: onnx.ModelProto) -> onnx.ModelProto:
    """With nodes called after their modules, but for pictures of one size, as before."""
    model = canonicalize(exported)
    for mine, theirs in ((model.graph.input, exported.graph.input), (model.graph.output, exported.graph.output)):
        del mine[:]
        mine.extend(theirs)
    return model


def _attribution(graph: onnx.GraphProto, labelled_graph: onnx.GraphProto) -> Attribution:
    names = node_names(graph)
    blocks = blocks_of(graph, names)
    found = Attribution()
    for name, node, own in zip(names, graph.node, labelled_graph.node, strict=True):
        block = blocks[name]
        # Of those without a module, some stand before the network and some behind it, others are splits of scale and
        # shift, which belong to where their input comes from.
        modules = name.split("/")[:-1] or (f"{block.branch}_branch", *block.path)
        row = Row.INPUTS if block.branch == INPUTS else row_of(modules, node.op_type)
        found.nodes[name] = row
        found.values.update(dict.fromkeys(node.output, row))
        if own.op_type != node.op_type:
            found.functions[own.op_type] = row
    return found
