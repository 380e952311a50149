"""Exported models on the disk: read with suspicion, written whole or not at all.

A model of up to 2 GiB is one file. A larger one is a pair: the graph in ``FILE.onnx``, its large weights in
``FILE.onnx.data`` beside it (`export.external_data`). Both are written and checked in a hidden folder beside the
destination, ``.FILE-XXXXXXXX``, and then moved, the data first:

* killed before the moves, the destination is as it was, and the hidden folder is left behind: it may be deleted;
* killed between the moves, there is ``FILE.onnx.data`` without a ``FILE.onnx``, which nothing reads, or, where an older
  pair was being replaced, a ``FILE.onnx`` whose metadata name another SHA-256 than the data has, which every reader of
  this project refuses. ``--force`` on the next export replaces either.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import onnx

from export.external_data import is_large, skeleton, write_pair
from runtime.contract.card import ModelCard
from runtime.contract.errors import BackendError, MissingError, UsageError
from runtime.contract.external_data import data_path
from runtime.contract.files import explain_os_error, write_bytes
from runtime.contract.onnx_safety import MAX_FILE_BYTES, load_checked, read_card


def read_onnx(path: str | Path) -> tuple[onnx.ModelProto, ModelCard]:
    """Read an ONNX file, with the data file that may belong to it, and its card, checked before any tensor is used.

    Raises:
        InputError: absent, damaged, unsafe external data or other than was written, or not exported by this project.
        MissingError: no permission to read it.
    """
    model = load_checked(path, onnx)
    return model, read_card(model, path)


def onnx_bytes(model: onnx.ModelProto, limit: int = MAX_FILE_BYTES) -> bytes:
    """The content of a single file; equal models give equal bytes.

    Raises:
        UsageError: larger than the 2 GiB that a single ONNX file can have; `write_onnx` writes such a model as a pair,
            and `export.external_data.serialized` hands it to ONNX Runtime.
    """
    if is_large(model, limit):
        raise UsageError("the model takes more than the 2 GiB of one ONNX file; lower ngf")
    return model.SerializeToString(deterministic=True)


def write_onnx(path: str | Path, model: onnx.ModelProto, *, force: bool = False, limit: int = MAX_FILE_BYTES) -> int:
    """Write a model atomically, as one file or, above ``limit`` bytes, as a pair (see the module).

    Returns:
        How many bytes were written, in both files together.

    Raises:
        UsageError: a file exists and ``force`` is False.
        MissingError: full disk, no permission.
        BackendError: the pair that was written is not a valid model.
    """
    path = Path(path)
    if not is_large(model, limit):
        data = onnx_bytes(model, limit)
        write_bytes(path, data, force=force)
        if force:
            with suppress(OSError):  # of a larger model that stood here before
                data_path(path).unlink(missing_ok=True)
        return len(data)
    if path.is_dir():
        raise MissingError(f"{path} is a folder; name a file inside it")
    for file in (path, data_path(path)):
        if file.exists() and not force:
            raise UsageError(f"{file} exists already; pass --force to replace it")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{path.stem}-", dir=path.parent) as name:
            return _publish_pair(Path(name), path, model)
    except OSError as error:
        raise explain_os_error(error, path) from error


def check_graph(model: onnx.ModelProto) -> None:
    """The standard's own checker, with shape inference; for models of any size.

    Raises:
        BackendError: the graph is not valid.
    """
    with _explained("the graph"):
        onnx.checker.check_model(skeleton(model), full_check=True)


def check_written(path: str | Path) -> None:
    """The same check on a file, its data file included.

    Raises:
        BackendError: the model is not valid.
    """
    with _explained(f"{path}"):
        onnx.checker.check_model(str(path), full_check=True)


def _publish_pair(folder: Path, path: Path, model: onnx.ModelProto) -> int:
    """Write and check the pair in ``folder``, then move it to its place."""
    data = data_path(path)
    write_pair(folder, model, path.name, data.name)
    check_written(folder / path.name)
    files = (folder / data.name, data), (folder / path.name, path)
    size = sum(temporary.stat().st_size for temporary, _ in files)
    for temporary, destination in files:
        os.replace(temporary, destination)
    return size


@contextmanager
def _explained(what: str) -> Iterator[None]:
    try:
        yield
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
        raise BackendError(f"{what} is not valid ONNX: {reason}") from error
