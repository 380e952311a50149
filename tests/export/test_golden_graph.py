"""A new PyTorch, onnxscript or ONNX cannot change what is exported unnoticed, and neither can we."""

from __future__ import annotations

import difflib
import importlib.metadata
import json
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

from export.onnx_export import ExportResult
from tests.export.golden_graphs import COMMAND, FOLDER, GOLDEN, Golden, described
from tests.export.samples import Case, Sample
from tests.export.small_exports import exported_graph


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda golden: golden.path.stem)
def test_graph_is_the_golden_one(make_sample: Callable[[Case], Sample], golden: Golden, tmp_path: Path) -> None:
    found = described(exported_graph(make_sample(golden.case), golden.case, golden.target, tmp_path))
    kept = golden.path.read_text(encoding="utf-8") if golden.path.exists() else ""
    if found != kept:
        pytest.fail(_explanation(golden.path, kept, found), pytrace=False)


def _explanation(path: Path, golden: str, found: str) -> str:
    difference = difflib.unified_diff(golden.splitlines(), found.splitlines(), path.name, "exported now", lineterm="")
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("torch", "onnx", "onnxscript"))
    return "\n".join(
        [
            f"The exported graph has changed (with {versions}):",
            *difference,
            f"If that is meant to be, write the files anew and commit them:  {COMMAND}",
        ]
    )


def test_there_are_no_other_files() -> None:
    assert set(FOLDER.iterdir()) == {golden.path for golden in GOLDEN}


def test_every_change_is_seen(exported: ExportResult) -> None:
    """Of attributes, wiring, shapes and types; not of names, weights, or the card."""
    before = onnx.load(str(exported.path))

    def changed(change: Callable[[onnx.ModelProto], object]) -> bool:
        model = onnx.ModelProto()
        model.CopyFrom(before)
        change(model)
        return described(model) != described(before)

    def rename(model: onnx.ModelProto) -> None:
        for node in model.graph.node:
            node.name += "_renamed"
            node.input[:] = [name if name in ("", "label") else f"{name}_renamed" for name in node.input]
            node.output[:] = [name if name == "image" else f"{name}_renamed" for name in node.output]
        for tensor in model.graph.initializer:
            tensor.name += "_renamed"

    def weigh(model: onnx.ModelProto) -> None:
        weight = model.graph.initializer[0]
        weight.raw_data = bytes(len(weight.raw_data))

    def nodes(model: onnx.ModelProto, operator: str) -> onnx.NodeProto:
        return next(node for node in model.graph.node if node.op_type == operator)

    assert not changed(rename)
    assert not changed(weigh)
    assert not changed(lambda model: model.metadata_props[0].ClearField("value"))
    assert changed(lambda model: setattr(nodes(model, "LeakyRelu").attribute[0], "f", 0.3))
    assert changed(lambda model: nodes(model, "Mul").input.reverse())
    assert changed(lambda model: model.graph.node.pop())
    assert changed(lambda model: model.functions[0].node.pop())
    assert changed(lambda model: setattr(model.opset_import[0], "version", 19))
    assert changed(lambda model: setattr(model, "ir_version", 9))
    assert changed(lambda model: setattr(model.graph.input[0], "name", "labels"))
    assert changed(lambda model: setattr(model.graph.output[0].type.tensor_type, "elem_type", 1))
    assert changed(lambda model: model.graph.initializer[0].dims.insert(0, 1))


def test_the_message_shows_what_to_do(exported: ExportResult, tmp_path: Path) -> None:
    found = described(onnx.load(str(exported.path)))
    golden = found.replace('"ir_version": 8', '"ir_version": 7')
    text = _explanation(tmp_path / "case.json", golden, found)
    assert '- "ir_version": 7' in text
    assert '+ "ir_version": 8' in text
    assert COMMAND in text
    assert "torch" in text
    assert json.loads(found)["inputs"] == ["label uint8 [N, 1, H, W]"]
