"""From what somebody typed (files, folders, globs) to the list of inputs, in the order a person counts."""

from __future__ import annotations

import glob
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from runtime.contract.errors import InputError

LABEL_SUFFIXES = (".png", ".npy")
PHOTO_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".ppm")
STRIP_SUFFIXES = (".png", ".jpg", ".jpeg")


@dataclass(frozen=True)
class InputForm:
    """What to look for in folders and globs: a name for the messages, and the endings of the files, in lower case."""

    name: str
    suffixes: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.name} ({', '.join(self.suffixes[:-1])} or {self.suffixes[-1]})"


LABEL_MAPS = InputForm("label map", LABEL_SUFFIXES)
STRIPS = InputForm("strip", STRIP_SUFFIXES)


def find_inputs(paths: Sequence[str | Path], form: InputForm = LABEL_MAPS) -> list[Path]:
    """List the label maps (or other inputs) that ``paths`` name; nothing is opened.

    A file stands for itself, whatever its suffix. A folder stands for the files of the form's suffixes directly
    inside, a glob (``*``, ``?``, ``[...]``, ``**``) for the matching ones, hidden files left out. The order of
    ``paths`` is kept, within a folder or glob it is natural (``2`` before ``10``); a file named twice is listed once.

    Raises:
        InputError: nothing was named, a file is absent, a folder holds no such file, a glob matches none.
    """
    if not paths:
        raise InputError(f"no {form.name} was named; give files, folders or globs")
    found: dict[Path, Path] = {}
    for path in paths:
        for file in _expand(Path(path), form):
            found.setdefault(file.absolute(), file)
    return list(found.values())


def find_instance_map(label: str | Path, folder: str | Path) -> Path:
    """The instance map that belongs to a label map: in ``folder``, of the same name, ``.png`` or ``.npy``.

    ``labelIds`` in the name becomes ``instanceIds``, as in Cityscapes.

    Raises:
        InputError: there is none.
    """
    stem = Path(label).stem.replace("labelIds", "instanceIds")
    for suffix in LABEL_SUFFIXES:
        candidate = Path(folder) / f"{stem}{suffix}"
        if candidate.is_file():
            return candidate
    raise InputError(f"{folder} holds no instance map {stem}.png or .npy for {label}")


def find_source_photo(label: str | Path, folder: str | Path) -> Path:
    """The source photo that belongs to a label map: in ``folder``, of the same name but for its ending.

    Raises:
        InputError: there is none, or more than one.
    """
    stem = Path(label).stem
    found = [path for suffix in PHOTO_SUFFIXES if (path := Path(folder) / f"{stem}{suffix}").is_file()]
    if not found:
        raise InputError(f"{folder} holds no source photo {stem} ({', '.join(PHOTO_SUFFIXES)}) for {label}")
    if len(found) > 1:
        raise InputError(f"{found[0]} and {found[1]} could both be the source photo of {label}; keep one of them")
    return found[0]


def natural_key(path: str | Path) -> tuple[tuple[int, int, str], ...]:
    """Key for sorting names with numbers by their value: ``a2`` before ``a10``."""
    parts = re.split(r"([0-9]+)", str(path))
    return tuple((0, int(part), part) if part.isdecimal() else (1, 0, part) for part in parts if part)


def _expand(path: Path, form: InputForm) -> list[Path]:
    text = str(path)
    try:
        if path.is_dir():
            files = sorted((entry for entry in path.iterdir() if _matches(entry, form)), key=natural_key)
            if not files:
                raise InputError(f"the folder {path} holds no {form}; name another one")
            return files
        if path.exists() or path.is_symlink():  # a name with brackets that exists is a name, not a glob
            return [path]
        if glob.has_magic(text):
            files = sorted((Path(hit) for hit in glob.glob(text, recursive=True)), key=natural_key)
            files = [file for file in files if _matches(file, form)]
            if not files:
                raise InputError(f"no {form} matches {text}; check the pattern")
            return files
    except (OSError, ValueError, re.error) as error:
        raise InputError(f"{text!r} cannot be searched: {getattr(error, 'strerror', None) or error}") from error
    raise InputError(f"{path} does not exist; check the name")


def _matches(path: Path, form: InputForm) -> bool:
    return path.suffix.lower() in form.suffixes and not path.name.startswith(".") and not path.is_dir()
