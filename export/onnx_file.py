"""Exported models on the disk: read with suspicion, written whole or not at all."""

from __future__ import annotations

from pathlib import Path

import onnx

from runtime.contract.card import ModelCard
from runtime.contract.errors import UsageError
from runtime.contract.files import write_bytes
from runtime.contract.onnx_safety import MAX_FILE_BYTES, load_checked, read_card


def read_onnx(path: str | Path) -> tuple[onnx.ModelProto, ModelCard]:
    """Read an ONNX file and its card, checked before any tensor is used.

    Raises:
        InputError: absent, damaged, unsafe external data, or not exported by this project.
        MissingError: no permission to read it.
    """
    model = load_checked(path, onnx)
    return model, read_card(model, path)


def onnx_bytes(model: onnx.ModelProto) -> bytes:
    """The file's content; equal models give equal bytes.

    Raises:
        UsageError: larger than the 2 GiB that a single ONNX file can have.
    """
    size = model.ByteSize()
    if size > MAX_FILE_BYTES:
        raise UsageError(f"the graph has {size} bytes, more than the 2 GiB of one ONNX file; lower ngf")
    return model.SerializeToString(deterministic=True)


def write_onnx(path: str | Path, model: onnx.ModelProto, *, force: bool = False) -> None:
    """Write a model atomically as one file.

    Raises:
        UsageError: the file exists and ``force`` is False, or the model is larger than 2 GiB.
        MissingError: full disk, no permission.
    """
    write_bytes(path, onnx_bytes(model), force=force)
