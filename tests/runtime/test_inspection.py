"""Reading cards out of files of every kind, whole and damaged."""

from __future__ import annotations

import hashlib
import json
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from runtime.contract.card import CARD_KEY
from runtime.contract.errors import InputError, MissingError
from runtime.inspection import FileKind, describe, inspect_file
from tests.runtime.graph_samples import REPORT, add_report
from tests.runtime.toy_models import CARD, CROSS_VIEW_CARD, cross_view_nodes, write_model

TENSORS = {
    "a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
    "b": {"dtype": "F16", "shape": [5], "data_offsets": [24, 34]},
    "c": {"dtype": "F32", "shape": [], "data_offsets": [34, 38]},
}


def checkpoint(path: Path, tensors: dict[str, Any] | None = None, card: str | None = None, data: int = 38) -> Path:
    metadata = {CARD_KEY: CARD.to_json() if card is None else card}
    header = json.dumps({"__metadata__": metadata, **(TENSORS if tensors is None else tensors)}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(data))
    return path


def record(folder: Path, **changes: Any) -> Path:
    engine = folder / "m.engine"
    engine.write_bytes(b"plan")
    content = {
        "schema": 1,
        "engine": engine.name,
        "engine_sha256": hashlib.sha256(b"plan").hexdigest(),
        "layers": {"convolution": 3},
        "card": json.loads(CARD.to_json()),
        **changes,
    }
    path = folder / "m.engine.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def test_checkpoint(tmp_path: Path) -> None:
    path = checkpoint(tmp_path / "m.safetensors")
    found = inspect_file(path)
    assert found.kind is FileKind.CHECKPOINT
    assert found.card == CARD
    assert found.facts == {"tensors": 3, "parameters": 6 + 5 + 1, "stored as": "F16 (1), F32 (2)"}
    assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert found.size_bytes == path.stat().st_size


def test_checkpoint_written_by_safetensors(tmp_path: Path) -> None:
    """The header reader against the library that writes such files."""
    numpy = pytest.importorskip("safetensors.numpy", reason="safetensors is not installed (extra train)")
    import numpy as np

    path = tmp_path / "m.safetensors"
    numpy.save_file({"w": np.zeros((3, 4), np.float32)}, path, metadata={CARD_KEY: CARD.to_json()})
    assert inspect_file(path).facts == {"tensors": 1, "parameters": 12, "stored as": "F32 (1)"}


@pytest.mark.parametrize("length", [0, 7, 8, 40, -1])
def test_truncated_checkpoint(length: int, tmp_path: Path) -> None:
    path = checkpoint(tmp_path / "m.safetensors")
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(InputError, match=r"safetensors|bytes where"):
        inspect_file(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (struct.pack("<Q", 1 << 62) + b"{}", "cut off"),
        (struct.pack("<Q", 2) + b"[]", "no model card"),
        (struct.pack("<Q", 2) + b"\xff\xff", "header is not JSON"),
        (struct.pack("<Q", 2) + b"{}", "no model card"),
        (struct.pack("<Q", 50_000) + b"[" * 50_000, "header is not JSON"),
    ],
)
def test_foreign_checkpoint(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        inspect_file(path)


@pytest.mark.parametrize(
    "entry",
    [{}, {"dtype": "F32", "shape": 3, "data_offsets": [0, 1]}, {"dtype": "F32", "shape": [1], "data_offsets": []}, 5],
)
def test_checkpoint_with_a_damaged_tensor(entry: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not readable"):
        inspect_file(checkpoint(tmp_path / "m.safetensors", {"a": entry}))


def test_checkpoint_with_a_damaged_card(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="model card is not readable JSON"):
        inspect_file(checkpoint(tmp_path / "m.safetensors", card='{"name": '))


def test_onnx(tmp_path: Path) -> None:
    card = replace(CARD, provenance=("trained", "exported"), verification={"maps": 3, "fp16": {"psnr_db": [60, None]}})
    found = inspect_file(write_model(tmp_path / "m.onnx", card))
    assert (found.kind, found.card) == (FileKind.ONNX, card)
    lines = describe(found)
    assert ("made by", "exported") in lines
    assert ("verified", "maps 3") in lines
    assert ("verified fp16", "psnr_db (60, none)") in lines
    assert ("void", "255 counts as void") in lines


def test_foreign_onnx(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no model card"):
        inspect_file(write_model(tmp_path / "m.onnx", None))


def test_record_and_its_engine(tmp_path: Path) -> None:
    path = record(tmp_path)
    by_record, by_engine = inspect_file(path), inspect_file(tmp_path / "m.engine")
    assert by_record == by_engine
    assert by_record.kind is FileKind.ENGINE_RECORD
    assert by_record.card == CARD
    assert ("layers", "convolution 3") in describe(by_record)


def test_engine_that_is_not_the_recorded_one(tmp_path: Path) -> None:
    record(tmp_path)
    (tmp_path / "m.engine").write_bytes(b"another plan")
    with pytest.raises(InputError, match=r"not the engine that m\.engine\.json describes"):
        inspect_file(tmp_path / "m.engine")
    (tmp_path / "m.engine.json").unlink()
    with pytest.raises(InputError, match="has no record"):
        inspect_file(tmp_path / "m.engine")


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"schema": 1}', '{"engine": "x"}', "[" * 50_000])
def test_json_that_is_no_record(content: str, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=r"not readable JSON|not the record"):
        inspect_file(path)


@pytest.mark.parametrize(
    ("name", "message"),
    [("m.pth", "pickle"), ("m.txt", "none of ours"), ("absent.onnx", "does not exist"), ("folder.onnx", "is a folder")],
)
def test_other_files(name: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "m.txt").write_text("x", encoding="utf-8")
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(InputError, match=message):
        inspect_file(tmp_path / name)


def test_no_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, *_: Any, **__: Any) -> Any:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(MissingError, match="no permission to read"):
        inspect_file(tmp_path / "m.onnx")


def test_the_cost_of_a_graph(tmp_path: Path) -> None:
    found = inspect_file(add_report(write_model(tmp_path / "m.onnx")))
    assert found.graph == REPORT
    assert found.graph_problem == ""
    assert found.census is not None
    counts = {entry.op_type: entry.count for entry in found.census.operators}
    assert counts == {"Cast": 3, "Constant": 1, "Mul": 1, "Concat": 1, "Transpose": 1}
    assert found.census.places() == ["main graph"]


def test_a_graph_that_was_not_accounted(tmp_path: Path) -> None:
    """Everything else is there, with the hint."""
    found = inspect_file(write_model(tmp_path / "m.onnx"))
    assert found.graph is None
    assert found.graph_problem == "m.onnx has no account of its cost; export it again with this version"
    assert found.card == CARD
    assert found.census is not None
    assert found.census.operators


@pytest.mark.parametrize("text", ["{", "{}", '{"schema": 2}', '{"schema": 1}', "[" * 9_000])
def test_a_damaged_account_costs_nothing_else(text: str, tmp_path: Path) -> None:
    found = inspect_file(add_report(write_model(tmp_path / "m.onnx"), text))
    assert found.graph is None
    assert "account of the graph" in found.graph_problem
    assert "export m.onnx again" in found.graph_problem
    assert found.card == CARD


def test_two_accounts_are_one_too_many(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="2 entries lggan_graph"):
        inspect_file(add_report(add_report(write_model(tmp_path / "m.onnx"))))


def test_other_files_have_no_graph(tmp_path: Path) -> None:
    found = inspect_file(checkpoint(tmp_path / "m.safetensors"))
    assert (found.graph, found.census, found.graph_problem) == (None, None, "")


def test_cross_view_models_say_so(tmp_path: Path) -> None:
    lines = describe(inspect_file(write_model(tmp_path / "views.onnx", CROSS_VIEW_CARD, cross_view_nodes())))
    assert ("model", "toy, fp32") in lines
    assert ("task", "cross-view: a photo from a source photo and the label map of the view that is wanted") in lines
    assert ("void", "255 belongs to no class") in lines
    assert [value for name, value in lines if name == "inputs"] == [
        "source uint8 [N, H, W, 3]",
        "label uint8 [N, 1, H, W]",
    ]
