"""A file that is opened once, so that what is checked and what is used afterwards is the same file."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from runtime.contract.errors import InputError
from runtime.contract.file_range import FileRange
from runtime.contract.files import explain_read_error


class OpenedFile:
    """A regular file, open for reading; a context manager, which closes it.

    Whoever moves another file to its path does not change what is read here. Whoever writes into it does: see
    `unchanged`.

    Attributes:
        path: what messages call it.
        size: bytes.
    """

    def __init__(self, path: Path, most_bytes: int) -> None:
        """Open ``path``.

        Raises:
            InputError: absent, empty, not a regular file, or larger than ``most_bytes``.
            MissingError: no permission.
        """
        self.path = path
        try:
            self._stream = path.open("rb")
        except OSError as error:
            raise explain_read_error(error, path) from error
        status = os.fstat(self._stream.fileno())
        self.size = status.st_size
        self._before = _identity(status)
        if not stat.S_ISREG(status.st_mode):
            self._stream.close()
            raise InputError(f"{path} is not a regular file")
        if not 0 < self.size <= most_bytes:
            self._stream.close()
            raise InputError(f"{path} has {self.size} bytes; an ONNX file has between 1 and {most_bytes}")

    def link(self) -> str | None:
        """A path under which a library opens this very file, whatever lies at its own path by now; while it is open.

        None where the system has none: Linux shows the handles of a process as links.
        """
        handle = self._stream.fileno()
        link = f"/proc/self/fd/{handle}"
        try:
            return link if os.path.samestat(os.stat(link), os.fstat(handle)) else None
        except OSError:
            return None

    def parts(self) -> FileRange:
        """The content, to be read part by part, where `link` is not None; while the file is open."""
        return FileRange(self._stream.fileno(), 0, self.size, self.path)

    def read(self) -> bytes:
        """The whole content.

        Raises:
            InputError: it cannot be read, or is not of the size that it had.
        """
        try:
            self._stream.seek(0)
            data = self._stream.read(self.size + 1)
        except OSError as error:
            raise explain_read_error(error, self.path) from error
        if len(data) != self.size:
            raise self._changed()
        return data

    @contextmanager
    def unchanged(self) -> Iterator[None]:
        """A block in which the file is read more than once, and must not change between.

        Raises:
            InputError: somebody wrote into it since it was opened; also in place of the `InputError` that the block
                raised because of it.
        """
        try:
            yield
        except InputError as error:
            if self._is_changed():
                raise self._changed() from error
            raise
        if self._is_changed():
            raise self._changed()

    def __enter__(self) -> OpenedFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()

    def _is_changed(self) -> bool:
        return _identity(os.fstat(self._stream.fileno())) != self._before

    def _changed(self) -> InputError:
        return InputError(f"{self.path} was changed while it was being opened; open it again when it is complete")


def _identity(status: os.stat_result) -> tuple[int, ...]:
    """What differs after a write; not the time of the last change of status, which a new name alone alters."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
