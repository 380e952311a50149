"""Finding the photo, label map and instance map that belong together, for the layouts that data sets come in."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from runtime.contract.errors import InputError

PHOTO_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
LABEL_SUFFIXES = (".png", ".npy")


class Layout(str, Enum):
    """How a data set lies on the disk.

    FOLDER: ``SPLIT/images/STEM.*`` beside ``SPLIT/labels/STEM.*`` (and ``SPLIT/instances/STEM.*``).
    CITYSCAPES: ``leftImg8bit/SPLIT/CITY/*_leftImg8bit.png``, ``gtFine/SPLIT/CITY/*_gtFine_{labelIds,instanceIds}.png``.
    ADE20K: ``images/{training,validation}/STEM.jpg`` beside ``annotations/{training,validation}/STEM.png``.
    """

    FOLDER = "folder"
    CITYSCAPES = "cityscapes"
    ADE20K = "ade20k"


@dataclass(frozen=True)
class Pair:
    """One training example: a photo, its label map, its instance map if the layout has one."""

    name: str
    photo: Path
    label: Path
    instance: Path | None = None


def find_pairs(root: str | Path, split: str, layout: Layout = Layout.FOLDER) -> list[Pair]:
    """All examples of a split (``train`` or ``val``), in natural order of their names.

    Raises:
        InputError: the folder is absent or empty, or photos and label maps do not match up.
    """
    root = Path(root)
    if not root.is_dir():
        raise InputError(f"{root} is not a folder; give the data set's root with --data")
    pairs = _cityscapes(root, split) if layout is Layout.CITYSCAPES else _by_stem(root, split, layout)
    return sorted(pairs, key=lambda pair: _natural(pair.name))


def _by_stem(root: Path, split: str, layout: Layout) -> list[Pair]:
    if layout is Layout.ADE20K:
        phase = {"train": "training", "val": "validation"}.get(split, split)
        photos, labels, instances = root / "images" / phase, root / "annotations" / phase, root / "none"
    else:
        photos, labels, instances = (root / split / kind for kind in ("images", "labels", "instances"))
    photo_of = _files(photos, PHOTO_SUFFIXES, "photos")
    label_of = _files(labels, LABEL_SUFFIXES, "label maps")
    _check_match(photo_of, label_of, photos, labels)
    instance_of = _files(instances, LABEL_SUFFIXES, "instance maps") if instances.is_dir() else {}
    return [Pair(stem, photo_of[stem], label_of[stem], instance_of.get(stem)) for stem in photo_of]


def _cityscapes(root: Path, split: str) -> list[Pair]:
    photos, labels = root / "leftImg8bit" / split, root / "gtFine" / split
    for folder in (photos, labels):
        if not folder.is_dir():
            raise InputError(f"{folder} is absent; --data must hold leftImg8bit/ and gtFine/ of Cityscapes")
    photo_of = {_frame(path): path for path in photos.glob("*/*_leftImg8bit.png")}
    label_of = {_frame(path): path for path in labels.glob("*/*_gtFine_labelIds.png")}
    instance_of = {_frame(path): path for path in labels.glob("*/*_gtFine_instanceIds.png")}
    if not photo_of:
        raise InputError(f"{photos} holds no *_leftImg8bit.png")
    _check_match(photo_of, label_of, photos, labels)
    return [Pair(frame, photo_of[frame], label_of[frame], instance_of.get(frame)) for frame in photo_of]


def _frame(path: Path) -> str:
    return "_".join(path.name.split("_")[:3])  # city, sequence, frame


def _files(folder: Path, suffixes: tuple[str, ...], what: str) -> dict[str, Path]:
    if not folder.is_dir():
        raise InputError(f"{folder} is absent; {what} are expected there")
    found: dict[str, Path] = {}
    for path in folder.iterdir():
        if path.suffix.lower() in suffixes and not path.name.startswith("."):
            if path.stem in found:
                raise InputError(f"{found[path.stem]} and {path} have the same name; keep one of them")
            found[path.stem] = path
    if not found:
        raise InputError(f"{folder} holds no {what} ({', '.join(suffixes)})")
    return found


def _check_match(photo_of: dict[str, Path], label_of: dict[str, Path], photos: Path, labels: Path) -> None:
    for have, other, folder in ((photo_of, label_of, labels), (label_of, photo_of, photos)):
        missing = sorted(set(have) - set(other), key=_natural)
        if missing:
            raise InputError(
                f"{len(missing)} of {len(have)} files have no partner in {folder}, the first is {missing[0]!r}; "
                "remove them or add the partners"
            )


def _natural(text: str) -> list[tuple[int, int | str]]:
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in re.split(r"(\d+)", text)]
