"""Where files are written: looked at before the work that makes them."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

import pytest

from runtime.contract.errors import MissingError, UsageError
from runtime.contract.files import check_destination


def test_destinations_are_looked_at_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "source.safetensors"
    source.write_bytes(b"weights")
    link = tmp_path / "link.onnx"
    link.symlink_to(source)
    for path in (source, link, tmp_path / "." / "source.safetensors"):
        with pytest.raises(UsageError, match="made from it"):
            check_destination(path, source, force=True)
    link.unlink()
    taken = tmp_path / "taken.onnx"
    taken.write_bytes(b"mine")
    with pytest.raises(UsageError, match="--force"):
        check_destination(taken, source)
    check_destination(taken, source, force=True)
    with pytest.raises(MissingError, match="is a folder"):
        check_destination(tmp_path, source)
    with pytest.raises(MissingError, match="not a folder"):
        check_destination(taken / "model.onnx", source)
    check_destination(tmp_path / "new" / "folders" / "model.onnx", source)
    monkeypatch.chdir(tmp_path)
    check_destination("model.onnx", source)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source.safetensors", "taken.onnx"]

    def refused(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(tempfile, "TemporaryFile", refused)
    with pytest.raises(MissingError, match="no permission"):
        check_destination(tmp_path / "model.onnx", source)
