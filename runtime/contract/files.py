"""Files that are either whole or absent: written beside their destination, then moved there in one step."""

from __future__ import annotations

import errno
import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from runtime.contract.errors import InputError, LgganError, MissingError, UsageError

_CHUNK = 1 << 20


@contextmanager
def atomic_path(destination: str | Path, *, force: bool = False) -> Iterator[Path]:
    """Yield a temporary path in the destination's folder; move it over ``destination`` if the block succeeds.

    Parent folders are made. When the block raises, nothing is left behind. The suffix of the destination is kept
    so that libraries that choose a format by name work on the temporary file.

    Raises:
        UsageError: the destination exists and ``force`` is False.
        MissingError: the disk is full, the folder is read-only, or the destination is a folder.
    """
    destination = Path(destination)
    if destination.is_dir():
        raise MissingError(f"{destination} is a folder; name a file inside it")
    if destination.exists() and not force:
        raise UsageError(f"{destination} exists already; pass --force to replace it")
    temporary: Path | None = None
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        prefix = f".{destination.stem}-"
        handle, name = tempfile.mkstemp(prefix=prefix, suffix=destination.suffix, dir=destination.parent)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        _make_readable_as_usual(temporary)
        os.replace(temporary, destination)
    except OSError as error:
        raise explain_os_error(error, destination) from error
    finally:
        if temporary is not None:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)


def check_destination(path: str | Path, source: str | Path, *, force: bool = False) -> None:
    """Raise what writing would raise, before minutes of work; leaves nothing behind, not even a folder.

    Args:
        path: where a file is to be written.
        source: what it is made from; must not be replaced, whatever ``force`` says.
        force: whether an existing file may be replaced.

    Raises:
        UsageError: ``path`` exists and ``force`` is False, or it is ``source``.
        MissingError: it is a folder or below a file, or its folder cannot be written to.
    """
    path, source = Path(path), Path(source)
    if path.exists() and source.exists() and path.samefile(source):
        raise UsageError(f"{path} would be replaced by what is made from it; choose another name")
    if path.is_dir():
        raise MissingError(f"{path} is a folder; name a file inside it")
    if path.exists() and not force:
        raise UsageError(f"{path} exists already; pass --force to replace it")
    folder = next(parent for parent in (path.parent, *path.parent.absolute().parents) if parent.exists())
    try:
        with tempfile.TemporaryFile(prefix=f".{path.stem}-", dir=folder):
            pass
    except OSError as error:
        raise explain_os_error(error, path) from error


def write_bytes(destination: str | Path, data: bytes, *, force: bool = False) -> None:
    """Write ``data`` atomically (see `atomic_path`)."""
    with atomic_path(destination, force=force) as temporary:
        temporary.write_bytes(data)


def write_text(destination: str | Path, text: str, *, force: bool = False) -> None:
    """Write ``text`` as UTF-8 atomically (see `atomic_path`)."""
    write_bytes(destination, text.encode("utf-8"), force=force)


def sha256_of(path: str | Path) -> str:
    """SHA-256 of a file's bytes as 64 hexadecimal digits, read in chunks."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def explain_os_error(error: OSError, path: Path) -> LgganError:
    """Turn the operating system's refusal into an error of this project that names the cure."""
    if error.errno == errno.ENOSPC:
        return MissingError(f"no space left on the disk of {path.parent}; free some or choose another folder")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return MissingError(f"no permission to write {path}; choose a folder that you own")
    if error.errno in (errno.ENOTDIR, errno.EEXIST):
        return MissingError(f"{path.parent} is not a folder; choose another destination")
    return MissingError(f"cannot write {path}: {error.strerror or error}")


def explain_read_error(error: OSError, path: Path) -> LgganError:
    """The same for a file that was to be read."""
    if isinstance(error, FileNotFoundError):
        return InputError(f"{path} does not exist; check the name")
    if isinstance(error, IsADirectoryError):
        return InputError(f"{path} is a folder; name a file inside it")
    if isinstance(error, PermissionError):
        return MissingError(f"no permission to read {path}")
    return InputError(f"cannot read {path}: {error.strerror or error}")


def _make_readable_as_usual(path: Path) -> None:
    """Give the file the permissions that open() would have given; mkstemp makes it private."""
    mask = os.umask(0)
    os.umask(mask)
    path.chmod(0o666 & ~mask)
