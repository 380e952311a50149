"""Part of an open file that is looked at like a memoryview, without reading what nobody looks at."""

from __future__ import annotations

import os
from pathlib import Path
from typing import overload

from runtime.contract.errors import InputError
from runtime.contract.files import explain_read_error

_WINDOW = 1 << 16  # bytes read at once


class FileRange:
    """Bytes of a file: `len`, a byte by its index, and parts by slices, which are never copied when they are long.

    A part of up to 64 KiB is read and comes as a memoryview, a longer one is a `FileRange` again. Nothing is mapped
    into memory: a mapped file that somebody shortens ends the process, while a read of it fails.

    Raises, wherever bytes are read:
        InputError: the file became shorter, or cannot be read.
    """

    def __init__(self, handle: int, start: int, length: int, path: Path) -> None:
        self._handle = handle
        self._start = start
        self._length = length
        self._path = path
        self._window, self._window_at = memoryview(b""), 0

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, key: int) -> int: ...
    @overload
    def __getitem__(self, key: slice) -> memoryview | FileRange: ...
    def __getitem__(self, key: int | slice) -> int | memoryview | FileRange:
        if isinstance(key, int):
            if not 0 <= key < self._length:
                raise IndexError(f"byte {key} of {self._length}")
            return self._read(key, 1)[0]
        start, stop, step = key.indices(self._length)
        if step != 1:
            raise ValueError("a part of a file has no steps")
        length = max(stop - start, 0)
        if length > _WINDOW:
            return FileRange(self._handle, self._start + start, length, self._path)
        return self._read(start, length)

    def __bytes__(self) -> bytes:
        starts = range(0, self._length, _WINDOW)
        return b"".join(bytes(self._read(at, min(_WINDOW, self._length - at))) for at in starts)

    def _read(self, start: int, length: int) -> memoryview:
        """Up to 64 KiB, from the window that was read last where they lie in it."""
        at = start - self._window_at
        if at < 0 or at + length > len(self._window):
            wanted = min(_WINDOW, self._length - start)
            try:
                data = os.pread(self._handle, wanted, self._start + start)
            except OSError as error:
                raise explain_read_error(error, self._path) from error
            if len(data) < length:
                raise InputError(f"{self._path} became shorter while it was read")
            self._window, self._window_at, at = memoryview(data), start, 0
        return self._window[at : at + length]
