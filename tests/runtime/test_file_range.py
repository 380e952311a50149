"""Parts of an open file: the bytes that a memoryview of the whole would show, and errors where they are gone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from runtime.contract import file_range
from runtime.contract.errors import InputError
from runtime.contract.file_range import FileRange

CONTENT = np.random.default_rng(0).bytes(5000)


@pytest.fixture(params=[16, 100, 1 << 16])
def content(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileRange]:
    """The same bytes as `CONTENT`, of a file, read through windows of several sizes."""
    monkeypatch.setattr(file_range, "_WINDOW", request.param)
    path = tmp_path / "file"
    path.write_bytes(b"before" + CONTENT + b"after")
    with path.open("rb") as stream:
        yield FileRange(stream.fileno(), 6, len(CONTENT), path)


def test_bytes_and_parts_are_those_of_the_file(content: FileRange) -> None:
    draw = np.random.default_rng(1)
    assert len(content) == len(CONTENT)
    assert bytes(content) == CONTENT
    for at in draw.integers(0, len(CONTENT), 200):
        assert content[int(at)] == CONTENT[at]
    for start, stop in draw.integers(0, len(CONTENT) + 50, (200, 2)).tolist():
        part = content[start:stop]
        assert len(part) == len(CONTENT[start:stop])
        assert bytes(part) == CONTENT[start:stop]
        inner = part[7:60]
        assert bytes(inner) == CONTENT[start:stop][7:60]
    assert bytes(content[-10:]) == CONTENT[-10:]


def test_long_parts_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    with path.open("wb") as stream:
        stream.truncate(1 << 40)  # a terabyte of nothing
    with path.open("rb") as stream:
        part = FileRange(stream.fileno(), 0, 1 << 40, path)[5:]
        assert isinstance(part, FileRange)
        assert len(part) == (1 << 40) - 5
        assert part[1 << 39] == 0


def test_outside_of_it_there_is_nothing(content: FileRange) -> None:
    for at in (-1, len(CONTENT)):
        with pytest.raises(IndexError):
            content[at]
    with pytest.raises(ValueError, match="no steps"):
        content[::2]


def test_a_file_that_became_shorter(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(1000))
    with path.open("rb") as stream:
        content = FileRange(stream.fileno(), 0, 1000, path)
        os.truncate(path, 10)
        assert content[9] == 0
        with pytest.raises(InputError, match="became shorter"):
            content[10]
        with pytest.raises(InputError, match="became shorter"):
            bytes(content)


def test_a_disk_that_fails(content: FileRange, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "pread", broken)
    with pytest.raises(InputError, match="Input/output error"):
        content[0]
