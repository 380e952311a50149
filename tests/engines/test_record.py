"""The record beside an engine, and what it refuses."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from engines.options import EngineBackend, ShapeProfile, Target
from engines.record import EngineRecord, SauImplementation, read_record, record_path, verify_record
from runtime.contract.card import TensorInfo
from runtime.contract.errors import InputError
from tests.onnx_toys import CARD

PLAN = b"an engine, as it were"
RECORD = EngineRecord(
    backend=EngineBackend.TENSORRT_RTX,
    backend_version="1.7.1.116",
    engine="toy.engine",
    engine_bytes=len(PLAN),
    engine_sha256=hashlib.sha256(PLAN).hexdigest(),
    onnx="toy.onnx",
    onnx_sha256="1" * 64,
    checkpoint_sha256="",
    targets=(Target.SM86, Target.SM120),
    profile=ShapeProfile.of_card(CARD),
    inputs=(TensorInfo("label", "uint8", (-1, 1, -1, -1)),),
    outputs=(TensorInfo("image", "uint8", (-1, -1, -1, 3)),),
    precision="fp16",
    convolutions={"fp16": 3},
    layers={"convolution": 3, "cast": 5},
    sau=SauImplementation.FUNCTION_BODY,
    warnings=("warning: something",),
    host={"system": "Linux"},
    tool="lggan-edge 0.1.0",
    created="2026-01-02T03:04:05+00:00",
    seconds={"build": 0.25},
    statement="not executed",
    card=CARD,
)


@pytest.fixture
def engine(tmp_path: Path) -> Path:
    path = tmp_path / "toy.engine"
    path.write_bytes(PLAN)
    record_path(path).write_text(RECORD.to_json())
    return path


def test_a_matching_record_is_read_back_whole(engine: Path) -> None:
    assert verify_record(engine) == RECORD
    assert record_path(engine).name == "toy.engine.json"


@pytest.mark.parametrize("change", [b"", PLAN[:-1], PLAN + b"\0", bytes([PLAN[0] ^ 1]) + PLAN[1:]])
def test_a_changed_engine_is_refused(engine: Path, change: bytes) -> None:
    engine.write_bytes(change)
    with pytest.raises(InputError, match="is not the engine"):
        verify_record(engine)


def test_an_engine_without_record_is_refused(engine: Path) -> None:
    record_path(engine).unlink()
    with pytest.raises(InputError, match=r"no record \(toy.engine.json\)"):
        verify_record(engine)


def test_an_absent_engine_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a file"):
        verify_record(tmp_path / "none.engine")


@pytest.mark.parametrize("field", sorted(json.loads(RECORD.to_json())))
def test_every_field_is_needed_and_checked(engine: Path, field: str) -> None:
    raw = json.loads(RECORD.to_json())
    damaged = [{key: value for key, value in raw.items() if key != field}]
    damaged += [{**raw, field: value} for value in (None, [[]], True, -1, {"x": {}})]
    if not isinstance(raw[field], str) or "sha256" in field:
        damaged.append({**raw, field: "x"})
    for content in damaged:
        record_path(engine).write_text(json.dumps(content))
        with pytest.raises(InputError, match=r"damaged|schema|card"):
            read_record(record_path(engine))


def test_damaged_files_are_one_error(engine: Path) -> None:
    path = record_path(engine)
    text = RECORD.to_json()
    for damaged in (b"", b"[]", b"3", text[: len(text) // 2].encode(), b"\xff\xfe", b"[" * 100_000):
        path.write_bytes(damaged)
        with pytest.raises(InputError):
            read_record(path)


def test_oversize_record_is_not_read(engine: Path) -> None:
    with record_path(engine).open("wb") as stream:
        stream.truncate(5 << 20)
    with pytest.raises(InputError, match="larger than"):
        read_record(record_path(engine))


def test_another_schema_names_both(engine: Path) -> None:
    record_path(engine).write_text(replace(RECORD, schema=2).to_json())
    with pytest.raises(InputError, match="schema 2, this version reads 1"):
        read_record(record_path(engine))
