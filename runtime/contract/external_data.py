"""Values of a model's tensors in a file beside it ("external data"): which files are acceptable, and reading them.

A model file of more than 2 GiB cannot exist, so the values of larger ones lie in ``FILE.onnx.data`` beside
``FILE.onnx``. The model says which bytes of which file are whose, and it may come from anywhere: accepted is one plain
file in the model's own folder. It is opened once, and what is read comes from the handle that was checked.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from runtime.contract.errors import InputError

DATA_SUFFIX = ".data"
DATA_SHA256_KEY = "lggan_data_sha256"
"""Metadata of a model: SHA-256 of the one file that its external values lie in, 64 hexadecimal digits."""

_FIELDS = ("location", "offset", "length", "checksum")
_MAX_FILES = 64
_CHUNK = 1 << 22


def data_path(model: Path) -> Path:
    """Where this project keeps the external values of a model file."""
    return model.with_name(model.name + DATA_SUFFIX)


class DataFiles:
    """The data files of one model file; a context manager, which closes them.

    A tensor is described by its name, the ``key, value`` pairs of its ``external_data``, and the bytes that its shape
    and type need.
    """

    def __init__(self, model: str | Path) -> None:
        self._model = Path(model)
        self._handles: dict[str, int] = {}

    def check(self, name: str, fields: Sequence[tuple[str, str]], size: int) -> None:
        """Check that the values of a tensor are where its fields say.

        Raises:
            InputError: a location that is not a plain file beside the model, a link, too short, or fields that
                contradict the shape.
        """
        self._locate(name, fields, size)

    def read(self, name: str, fields: Sequence[tuple[str, str]], size: int) -> bytes:
        """The values of a tensor, checked as in `check`.

        Raises:
            InputError: as in `check`, or the file became shorter in between.
        """
        handle, offset = self._locate(name, fields, size)
        parts, missing = [], size
        while missing:
            os.lseek(handle, offset + size - missing, os.SEEK_SET)
            part = os.read(handle, missing)  # Linux gives at most 2 GiB at once
            if not part:
                raise InputError(f"the external data of {self._model} became shorter while it was read")
            parts.append(part)
            missing -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def check_digest(self, expected: str) -> None:
        """Compare the one file that was used with the SHA-256 that the model carries.

        Raises:
            InputError: another file, or not exactly one was used.
        """
        if len(self._handles) != 1:
            raise InputError(
                f"{self._model} names one data file in its metadata and {len(self._handles)} in its tensors; "
                "export it again"
            )
        ((location, handle),) = self._handles.items()
        digest = hashlib.sha256()
        os.lseek(handle, 0, os.SEEK_SET)
        while chunk := os.read(handle, _CHUNK):
            digest.update(chunk)
        if digest.hexdigest() != expected:
            raise InputError(
                f"{location[:200]!r} beside {self._model} is not the file that was written with it (its SHA-256 is "
                "another); keep the two together, or export the model again"
            )

    def __enter__(self) -> DataFiles:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for handle in self._handles.values():
            os.close(handle)
        self._handles.clear()

    def _locate(self, name: str, fields: Sequence[tuple[str, str]], size: int) -> tuple[int, int]:
        """Handle and offset of a tensor's values."""
        where = f"tensor {name[:80]!r} of {self._model}"
        entries: dict[str, str] = {}
        for key, value in fields:
            if key in entries or key not in _FIELDS:
                raise InputError(f"{where} has the unexpected external data field {key[:40]!r}")
            entries[key] = value
        location = entries.get("location", "")
        if location in ("", ".", "..") or set(location) & set("/\\:\0"):
            raise InputError(
                f"{where} wants its values from {location[:200]!r}; external data must be a plain file beside the model"
            )
        offset = _whole_number(entries.get("offset", "0"), where)
        length = _whole_number(entries.get("length", str(size)), where)
        if length != size:
            raise InputError(f"{where} announces {length} bytes of external data where its shape needs {size}")
        handle = self._handles.get(location)
        if handle is None:
            if len(self._handles) >= _MAX_FILES:
                raise InputError(f"the tensors of {self._model} lie in more than {_MAX_FILES} files")
            handle = self._handles[location] = _open_plain(self._model.parent / location, where)
        there = os.fstat(handle).st_size
        if offset + size > there:
            raise InputError(f"{where}: external data {location!r} has {there} bytes where {offset + size} are needed")
        return handle, offset


def _open_plain(file: Path, where: str) -> int:
    """Open a regular file that is no link of either kind."""
    try:
        # O_NOFOLLOW: a symbolic link is an error; O_NONBLOCK: a named pipe must not hang us; O_BINARY: Windows
        flags = (getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"))
        handle = os.open(file, os.O_RDONLY | sum(flags))
    except OSError as error:
        raise InputError(
            f"{where}: external data {file.name!r} cannot be opened as a plain file ({error.strerror})"
        ) from error
    status = os.fstat(handle)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1 or file.is_symlink():
        os.close(handle)
        raise InputError(f"{where}: external data {file.name!r} is a link or not a regular file")
    return handle


def _whole_number(text: str, where: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise InputError(f"{where} has {text[:40]!r} where a number of bytes belongs")
    return int(text)
