"""What a file says of itself, read without PyTorch, onnx or a GPU: checkpoints, ONNX models, records of engines."""

from __future__ import annotations

import json
import math
import os
import struct
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, BinaryIO

from runtime.contract.card import CARD_KEY, CROSS_VIEW, MAX_CARD_BYTES, SEMANTIC_SYNTHESIS, ModelCard
from runtime.contract.errors import InputError
from runtime.contract.files import explain_read_error, sha256_of
from runtime.contract.graph_report import GRAPH_KEY, GraphReport
from runtime.contract.onnx_census import Census, metadata_entry, take_census
from runtime.contract.onnx_wire import ModelFile, read_model

_MAX_HEADER = 100_000_000  # bytes; the safetensors library refuses longer ones, too
_MAX_RECORD = 1 << 24
_SHORT = 400  # letters of one value
_SAID_BY_THE_CARD = ("schema", "inputs", "outputs", "checkpoint_sha256", "precision")  # entries of a record
_ENGINE_SUFFIXES = (".engine", ".plan", ".trt", ".rtx")
_PICKLE_SUFFIXES = (".pth", ".pt", ".ckpt")
_TASKS = {
    SEMANTIC_SYNTHESIS: "a photo from a label map",
    CROSS_VIEW: "a photo from a source photo and the label map of the view that is wanted",
}


class FileKind(str, Enum):
    """What sort of file was found."""

    CHECKPOINT = "checkpoint"
    ONNX = "onnx"
    ENGINE_RECORD = "engine record"


@dataclass(frozen=True)
class Inspection:
    """One file.

    Attributes:
        path, kind, size_bytes, sha256: of the file.
        card: the model card inside; None in a record that carries none.
        facts: further readings by name, in the order to be shown: tensors and parameters of a checkpoint, the entries
            of a record.
        graph: what an ONNX file's graph costs, counted when it was exported; None elsewhere, and in files of versions
            that did not count.
        graph_problem: why there is no ``graph`` in an ONNX file, with the cure; empty where there is one.
        census: operators and weights of an ONNX file; None elsewhere.
    """

    path: Path
    kind: FileKind
    size_bytes: int
    sha256: str
    card: ModelCard | None
    facts: dict[str, Any] = field(default_factory=dict)
    graph: GraphReport | None = None
    graph_problem: str = ""
    census: Census | None = None


def inspect_file(path: str | Path) -> Inspection:
    """Read the card and the facts of a checkpoint (.safetensors), a model (.onnx) or an engine's record (.json).

    For an engine itself, the record beside it is read, and whether it describes these very bytes: an engine is
    executable code, and is not opened to look at it.

    Raises:
        InputError: absent, damaged, or none of these; an engine without a record, or with that of another one.
        MissingError: no permission to read it.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix in _ENGINE_SUFFIXES:
        inspection = inspect_file(_record_of(path))
        _check_engine(path, inspection)
        return inspection
    if suffix in _PICKLE_SUFFIXES:
        raise InputError(
            f"{path} is a pickle of PyTorch, which can run code when it is opened; "
            f"convert it: lggan import-weights {path} --preset NAME -o {path.with_suffix('.safetensors')}"
        )
    card: ModelCard | None
    facts: dict[str, Any] = {}
    census, graph, problem = None, None, ""
    with _opened(path) as stream:
        size = os.fstat(stream.fileno()).st_size
        if suffix == ".safetensors":
            kind = FileKind.CHECKPOINT
            card, facts = _checkpoint(stream, size, path)
        elif suffix == ".json":
            kind = FileKind.ENGINE_RECORD
            card, facts = _record(stream.read(_MAX_RECORD + 1), path)
        elif suffix == ".onnx":
            kind = FileKind.ONNX
            model = read_model(path)
            card, census = model.card, take_census(model, path)
            graph, problem = _graph_report(model, path)
        else:
            raise InputError(f"{path} is none of ours; name a .safetensors, an .onnx, an engine or its .json record")
    return Inspection(path, kind, size, sha256_of(path), card, facts, graph, problem, census)


def describe(inspection: Inspection) -> list[tuple[str, str]]:
    """What was found as names and values for a person; values come from the file and are not yet safe to print.

    A checkpoint has no graph yet; what its graph will take follows from the task.
    """
    lines = [("kind", inspection.kind.value), ("SHA-256", inspection.sha256)]
    card = inspection.card
    if card is not None:
        lines += [
            ("model", f"{card.name}, {card.precision}"),
            ("task", f"{card.task}: {_TASKS.get(card.task, 'not known to this version')}"),
            ("classes", f"{len(card.classes)}: {', '.join(info.name for info in card.classes)}"),
            ("void", _void(card)),
            ("size", f"{card.height}x{card.width} (height x width), multiples of {card.stride}"),
        ]
        for title, tensors in (("inputs", card.inputs), ("outputs", card.outputs)):
            for tensor in tensors:
                sides = ", ".join(str(side) for side in tensor.shape)
                lines.append((title, f"{tensor.name} {tensor.dtype} [{sides}]"))
        lines += [("made by", line) for line in card.provenance]
        plain = {name: value for name, value in card.verification.items() if not isinstance(value, dict)}
        nested = [(name, value) for name, value in card.verification.items() if isinstance(value, dict)]
        lines += [("verified", _short(plain))] if plain else []
        lines += [(f"verified {name.replace('_', ' ')}", _short(value)) for name, value in nested]
        lines.append(("licence", card.licence or "not stated"))
        if card.checkpoint_sha256:
            lines.append(("checkpoint", card.checkpoint_sha256))
    hidden = () if card is None else _SAID_BY_THE_CARD
    return lines + [
        (name.replace("_", " "), _short(value)) for name, value in inspection.facts.items() if name not in hidden
    ]


def _void(card: ModelCard) -> str:
    if card.void is None:
        return "none"
    return "255 belongs to no class" if card.own_void else f"255 counts as {card.classes[card.void].name}"


def _short(value: object) -> str:
    if isinstance(value, dict):
        text = ", ".join(
            f"{name} ({_short(item)})" if isinstance(item, dict | list) else f"{name} {_short(item)}"
            for name, item in value.items()
        )
    elif isinstance(value, list | tuple):
        text = ", ".join(_short(item) for item in value) or "none"
    else:
        text = "none" if value is None else str(value)
    return text if len(text) <= _SHORT else f"{text[: _SHORT - 1]}…"


def _graph_report(model: ModelFile, path: Path) -> tuple[GraphReport | None, str]:
    """The account in an ONNX file, or why there is none; what else the file says is worth showing without it."""
    text = metadata_entry(model, path, GRAPH_KEY)
    if text is None:
        return None, f"{path.name} has no account of its cost; export it again with this version"
    try:
        return GraphReport.from_json(text), ""
    except InputError as error:
        return None, f"{error}; export {path.name} again with this version"


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    try:
        with path.open("rb") as stream:
            yield stream
    except OSError as error:
        raise explain_read_error(error, path) from error


def _record_of(engine: Path) -> Path:
    record = engine.with_suffix(f"{engine.suffix}.json")
    if not record.exists():
        raise InputError(f"the engine {engine} has no record {record}; build it again with `lggan build`")
    return record


def _check_engine(engine: Path, record: Inspection) -> None:
    with _opened(engine):
        found = sha256_of(engine)
    said = str(record.facts.get("engine_sha256"))
    if found != said:
        raise InputError(
            f"{engine} is not the engine that {record.path.name} describes (SHA-256 {found[:12]}… instead of "
            f"{said[:12]}…); build it again with `lggan build`"
        )


def _checkpoint(stream: BinaryIO, size: int, path: Path) -> tuple[ModelCard, dict[str, Any]]:
    """Card and tensor counts from the header of a safetensors file: eight bytes of length, then JSON."""
    foreign = f"{path} is not a safetensors checkpoint"
    if size < 8:
        raise InputError(f"{foreign} (only {size} bytes); copy it again")
    (length,) = struct.unpack("<Q", stream.read(8))
    if length > min(size - 8, _MAX_HEADER):
        raise InputError(f"{foreign}, or it is cut off; copy it again")
    try:
        header = json.loads(stream.read(length))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{foreign}: its header is not JSON; copy it again") from error
    metadata = header.pop("__metadata__", None) if isinstance(header, dict) else None
    text = metadata.get(CARD_KEY) if isinstance(metadata, dict) else None
    if not isinstance(text, str):
        raise InputError(f"{path} holds no model card of lggan; only files of `lggan train` and `import-weights` do")
    card = ModelCard.from_json(text)
    parameters, end = 0, 0
    types: Counter[str] = Counter()
    try:
        for entry in header.values():
            parameters += math.prod(int(side) for side in entry["shape"])
            types[str(entry["dtype"])] += 1
            end = max(end, int(entry["data_offsets"][1]))
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise InputError(f"{path} is damaged: a tensor of its header is not readable; copy it again") from error
    if 8 + length + end != size:
        raise InputError(f"{path} has {size} bytes where its header needs {8 + length + end}; copy it again")
    stored = ", ".join(f"{name} ({count})" for name, count in sorted(types.items()))
    return card, {"tensors": len(header), "parameters": parameters, "stored as": stored}


def _record(data: bytes, path: Path) -> tuple[ModelCard | None, dict[str, Any]]:
    """The entries of an engine's record, and the card among them."""
    if len(data) > _MAX_RECORD:
        raise InputError(f"{path} is longer than {_MAX_RECORD} bytes; it is no record of an engine")
    try:
        record = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not readable JSON ({error}); build the engine again") from error
    if not isinstance(record, dict) or "schema" not in record or not any(key.startswith("engine") for key in record):
        raise InputError(f"{path} is not the record of an engine; `lggan build` writes them beside the engines")
    raw = record.pop("card", None)
    if raw is None:
        return None, record
    text = raw if isinstance(raw, str) else json.dumps(raw)
    if len(text) > MAX_CARD_BYTES:
        raise InputError(f"the model card in {path} is too long; build the engine again")
    return ModelCard.from_json(text), record
