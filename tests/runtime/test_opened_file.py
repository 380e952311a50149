"""Files that are opened once: what they are afterwards, whatever happens at their path."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runtime.contract.errors import InputError, MissingError
from runtime.contract.opened_file import OpenedFile

LINUX = pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="this system has no paths of handles")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "m.onnx"
    path.write_bytes(b"content")
    os.utime(path, (1, 1))  # so that a write of now shows, however coarse the clock of the file system
    return path


def test_content(path: Path) -> None:
    with OpenedFile(path, 7) as file:
        assert (file.size, file.read(), file.read()) == (7, b"content", b"content")
        with file.unchanged():
            pass


@LINUX
def test_parts_and_link(path: Path) -> None:
    with OpenedFile(path, 100) as file:
        link = file.link()
        assert link is not None
        assert bytes(file.parts()[2:5]) == b"nte"
        other = path.with_name("other")
        other.write_bytes(b"another")
        with file.unchanged():
            os.replace(other, path)
            assert Path(link).read_bytes() == bytes(file.parts()) == file.read() == b"content"
            path.unlink()
            assert Path(link).read_bytes() == b"content"
    with pytest.raises(FileNotFoundError):
        Path(link).read_bytes()


@pytest.mark.parametrize("content", [b"CONTENT", b"cont", b"content and more"])
def test_a_write_in_place_is_noticed(path: Path, content: bytes) -> None:
    message = r"m\.onnx was changed while it was being opened"
    with OpenedFile(path, 100) as file:
        with pytest.raises(InputError, match=message), file.unchanged():
            path.write_bytes(content)
        with pytest.raises(InputError, match=message) as caught, file.unchanged():
            raise InputError("what came of it")
        assert str(caught.value.__cause__) == "what came of it"
        with pytest.raises(ZeroDivisionError), file.unchanged():
            raise ZeroDivisionError
        if len(content) != file.size:
            with pytest.raises(InputError, match=message):
                file.read()


def test_errors_of_the_block_stay_what_they_are(path: Path) -> None:
    def chmod_and_fail(file: OpenedFile) -> None:
        with file.unchanged():
            path.chmod(0o600)  # no change of what is in it
            raise InputError("mine")

    with OpenedFile(path, 100) as file, pytest.raises(InputError, match=r"^mine$"):
        chmod_and_fail(file)


def test_files_that_it_refuses(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").touch()
    for name, message in [
        ("none", "none does not exist"),
        ("empty", "empty has 0 bytes"),
        ("m.onnx", "has 7 bytes; an ONNX file has between 1 and 6"),
        (".", "is a folder"),
        ("m.onnx/x", "Not a directory"),
    ]:
        with pytest.raises(InputError, match=message):
            OpenedFile(tmp_path / name, 6)
    if Path("/dev/null").exists():
        with pytest.raises(InputError, match="not a regular file"):
            OpenedFile(Path("/dev/null"), 6)

    def denied(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)
    with pytest.raises(MissingError, match="no permission"):
        OpenedFile(path, 100)


def test_no_handle_is_left_open(path: Path, tmp_path: Path) -> None:
    folder = Path("/proc/self/fd")
    if not folder.is_dir():
        pytest.skip("this system does not list handles")
    before = len(list(folder.iterdir()))
    for most in (1, 100):
        try:
            with OpenedFile(path, most):
                pass
        except InputError:
            pass
    assert len(list(folder.iterdir())) == before
