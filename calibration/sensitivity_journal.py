"""Errors of single layers on disk, a line for each step of the measurement: what was interrupted goes on."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from runtime.contract.errors import InputError
from runtime.contract.files import explain_os_error, explain_read_error

_KIND = "lggan layer errors 1"


class ErrorJournal:
    """Mean squared errors by layer and label map, kept in memory and, where a path is given, in a file of JSON lines.

    The first line says what was measured. Each further one holds a layer's errors on some of the label maps and is on
    disk before `add` returns. A last line that a kill cut off is dropped. For use in a ``with`` block.
    """

    def __init__(self, path: Path | None, header: Mapping[str, str]) -> None:
        """Open the file, or make it, and read what it holds.

        Args:
            path: of the file; None keeps the errors in memory alone.
            header: what the errors depend on, name -> value.

        Raises:
            InputError: the file belongs to another measurement, or is not such a file.
            MissingError: it cannot be written.
        """
        self._errors: dict[tuple[str, ...], dict[int, float]] = {}
        self._path = path
        self._stream: BinaryIO | None = None
        if path is None:
            return
        whole = self._read(path, dict(header)) if path.exists() else 0
        with self._explained(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._stream = path.open("ab")
            self._stream.truncate(whole)
        if whole == 0:
            self._write({"kind": _KIND, **header})

    def errors_of(self, names: tuple[str, ...]) -> Mapping[int, float]:
        """Of the layer made of these convolutions: position of the label map -> mean squared error."""
        return self._errors.get(names, {})

    def add(self, names: tuple[str, ...], errors: Mapping[int, float]) -> None:
        """Keep a layer's errors on some label maps.

        Raises:
            MissingError: the disk is full.
        """
        self._write({"names": list(names), "errors": {str(index): _plain(error) for index, error in errors.items()}})
        self._errors.setdefault(names, {}).update(errors)

    def __enter__(self) -> ErrorJournal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._stream is not None:
            self._stream.close()

    def _write(self, line: Mapping[str, object]) -> None:
        if self._stream is None or self._path is None:
            return
        with self._explained(self._path):
            self._stream.write(json.dumps(line, allow_nan=False).encode() + b"\n")
            self._stream.flush()
            os.fsync(self._stream.fileno())

    def _read(self, path: Path, header: dict[str, str]) -> int:
        """Take in the whole lines of the file; returns their bytes."""
        try:
            data = path.read_bytes()
        except OSError as error:
            raise explain_read_error(error, path) from error
        whole = data.rfind(b"\n") + 1
        lines = data[:whole].splitlines()
        if not lines:
            if data and not data.startswith(b'{"kind"'[: len(data)]):
                raise _foreign(path, 1)
            return 0
        for number, line in enumerate(lines, start=1):
            try:
                content = json.loads(line)
                if number == 1:
                    _check_header(content, header, path)
                else:
                    self._take(content)
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
                raise _foreign(path, number) from error
        return whole

    def _take(self, content: dict[str, Any]) -> None:
        names = tuple(str(name) for name in content["names"])
        errors = {int(index): math.inf if error is None else float(error) for index, error in content["errors"].items()}
        if any(not error >= 0 for error in errors.values()):
            raise ValueError("an error is not a number of zero or more")
        self._errors.setdefault(names, {}).update(errors)

    @staticmethod
    @contextmanager
    def _explained(path: Path) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise explain_os_error(error, path) from error


def _check_header(content: dict[str, object], header: dict[str, str], path: Path) -> None:
    if content.pop("kind", None) != _KIND:
        raise ValueError("another kind of file")
    different = [name for name in {**header, **content} if content.get(name) != header.get(name)]
    if different:
        raise InputError(
            f"{path} holds the errors of another measurement ({', '.join(different)} differ); delete it to measure "
            "again, or name another file"
        )


def _plain(error: float) -> float | None:
    return error if math.isfinite(error) else None


def _foreign(path: Path, line: int) -> InputError:
    return InputError(
        f"{path} is not a journal of layer errors, or it is damaged (line {line}); delete it to measure again, "
        "or name another file"
    )
