"""The record beside an engine: what was built, from what, by what, for what.

An engine is executable code, so that one without a matching record is not to be loaded. The record proves that the
plan is the one that was built here from a known model; it is no signature: whoever can exchange the plan can exchange
the record too.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from engines.options import EngineBackend, Shape, ShapeProfile, Target
from runtime.contract.card import ModelCard, TensorInfo
from runtime.contract.errors import InputError
from runtime.contract.files import sha256_of

RECORD_SCHEMA = 1
MAX_RECORD_BYTES = 4 << 20


class SauImplementation(str, Enum):
    """How the engine computes the nodes ``lggan::SemanticAwareUpsample``."""

    NONE = "none"  # the model has no such node
    FUNCTION_BODY = "function body"
    PLUGIN = "plugin"


@dataclass(frozen=True)
class EngineRecord:
    """Everything known about one engine.

    Attributes:
        backend, backend_version: e.g. tensorrt-rtx, 1.7.1.116.
        engine, engine_bytes, engine_sha256: name of the plan's file, its size and hash.
        onnx, onnx_sha256: name and hash of the ONNX file it was built from.
        checkpoint_sha256: of the checkpoint behind the ONNX file, from its card.
        targets: compute capabilities that the plan is for.
        profile: shapes that it accepts.
        inputs, outputs: as TensorRT sees them; -1 is a size that the profile leaves open.
        precision: the types that the ONNX file says it holds.
        convolutions: how many convolutions compute in which type, counted in TensorRT's network.
        layers: TensorRT's layers by kind, before it fuses them.
        sau: how semantic-aware upsampling is computed.
        warnings: TensorRT's warnings and errors, without repetition.
        host: where it was built.
        tool: name and version of this program.
        created: UTC, ISO 8601.
        seconds: wall time of the steps, by name.
        statement: what is and what is not known about this engine.
        card: of the ONNX file.
    """

    backend: EngineBackend
    backend_version: str
    engine: str
    engine_bytes: int
    engine_sha256: str
    onnx: str
    onnx_sha256: str
    checkpoint_sha256: str
    targets: tuple[Target, ...]
    profile: ShapeProfile
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    precision: str
    convolutions: dict[str, int]
    layers: dict[str, int]
    sau: SauImplementation
    warnings: tuple[str, ...]
    host: dict[str, str]
    tool: str
    created: str
    seconds: dict[str, float]
    statement: str
    card: ModelCard
    schema: int = field(default=RECORD_SCHEMA)

    def to_json(self) -> str:
        """The record as indented JSON with sorted keys."""
        raw = {**asdict(self), "card": json.loads(self.card.to_json())}
        return json.dumps(raw, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def record_path(engine: str | Path) -> Path:
    """Where the record of an engine lies: beside it, ``.json`` appended to its whole name."""
    engine = Path(engine)
    return engine.with_name(engine.name + ".json")


def read_record(path: str | Path) -> EngineRecord:
    """Read and check a record (not whether the engine matches it: `verify_record`).

    Args:
        path: of the ``.engine.json`` file.

    Raises:
        InputError: absent, unreadable, damaged, or of another schema version.
    """
    path = Path(path)
    try:
        if path.stat().st_size > MAX_RECORD_BYTES:
            raise InputError(f"{path} is larger than {MAX_RECORD_BYTES} bytes; that is no engine record")
        raw = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read the engine record {path}: {error.strerror}; build the engine again") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not readable JSON; build the engine again") from error
    if not isinstance(raw, dict) or raw.get("schema") is True or raw.get("schema") != RECORD_SCHEMA:
        found = raw.get("schema") if isinstance(raw, dict) else type(raw).__name__
        raise InputError(f"{path} has schema {found!r}, this version reads {RECORD_SCHEMA}; build the engine again")
    try:
        return _from_raw(raw)
    except (KeyError, TypeError, ValueError) as error:
        detail = f"field {error} is missing" if isinstance(error, KeyError) else str(error)
        raise InputError(f"the engine record {path} is damaged: {detail}; build the engine again") from error


def verify_record(engine: str | Path) -> EngineRecord:
    """Check that an engine is the one that its record describes; call it before loading the engine.

    Raises:
        InputError: no engine, no record beside it, or another hash than the record's.
    """
    engine = Path(engine)
    if not engine.is_file():
        raise InputError(f"{engine} is not a file; build an engine with `lggan build`")
    beside = record_path(engine)
    if not beside.is_file():
        raise InputError(
            f"{engine} has no record ({beside.name}) beside it; engines are executable code, so build it again with "
            "`lggan build`"
        )
    record = read_record(beside)
    found = sha256_of(engine)
    if found != record.engine_sha256:
        raise InputError(
            f"{engine} is not the engine that {beside.name} describes (SHA-256 {found[:12]}… instead of "
            f"{record.engine_sha256[:12]}…); build it again with `lggan build`"
        )
    return record


def _from_raw(raw: dict[str, Any]) -> EngineRecord:
    profile = _object(raw["profile"])
    return EngineRecord(
        backend=EngineBackend(raw["backend"]),
        backend_version=_text(raw["backend_version"]),
        engine=_text(raw["engine"]),
        engine_bytes=_count(raw["engine_bytes"]),
        engine_sha256=_hash(raw["engine_sha256"]),
        onnx=_text(raw["onnx"]),
        onnx_sha256=_hash(raw["onnx_sha256"]),
        checkpoint_sha256=_text(raw["checkpoint_sha256"]) and _hash(raw["checkpoint_sha256"]),
        targets=tuple(Target(name) for name in _list(raw["targets"])),
        profile=ShapeProfile(*(_shape(profile[name]) for name in ("minimum", "optimum", "maximum"))),
        inputs=tuple(_tensor(tensor) for tensor in _list(raw["inputs"])),
        outputs=tuple(_tensor(tensor) for tensor in _list(raw["outputs"])),
        precision=_text(raw["precision"]),
        convolutions={_text(key): _count(value) for key, value in _object(raw["convolutions"]).items()},
        layers={_text(key): _count(value) for key, value in _object(raw["layers"]).items()},
        sau=SauImplementation(raw["sau"]),
        warnings=tuple(_text(line) for line in _list(raw["warnings"])),
        host={_text(key): _text(value) for key, value in _object(raw["host"]).items()},
        tool=_text(raw["tool"]),
        created=_text(raw["created"]),
        seconds={_text(key): float(value) for key, value in _object(raw["seconds"]).items()},
        statement=_text(raw["statement"]),
        card=ModelCard.from_json(json.dumps(raw["card"])),
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{str(value)[:40]!r} is not a text")
    return value


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise TypeError(f"{str(value)[:40]!r} is not a count")
    return value


def _hash(value: object) -> str:
    text = _text(value)
    if len(text) != 64 or set(text) - set("0123456789abcdef"):
        raise ValueError(f"{text[:40]!r} is not a SHA-256")
    return text


def _list(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError(f"{str(value)[:40]!r} is not a list")
    return value


def _object(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError(f"{str(value)[:40]!r} is not an object")
    return value


def _shape(raw: object) -> Shape:
    value = _object(raw)
    return Shape(_count(value["batch"]), _count(value["height"]), _count(value["width"]))


def _tensor(raw: object) -> TensorInfo:
    value = _object(raw)
    return TensorInfo(_text(value["name"]), _text(value["dtype"]), tuple(int(side) for side in _list(value["shape"])))
