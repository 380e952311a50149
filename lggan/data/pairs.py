"""Finding the photo, label map and instance map that belong together, for the layouts that data sets come in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lggan.data.files import LABEL_SUFFIXES as LABEL_SUFFIXES
from lggan.data.files import PHOTO_SUFFIXES as PHOTO_SUFFIXES
from lggan.data.files import FoundFiles, find_files, natural
from lggan.data.layout import Folders
from lggan.data.layout import Layout as Layout
from runtime.contract.errors import InputError


@dataclass(frozen=True)
class Pair:
    """One training example: a photo, its label map, its instance map if the layout has one."""

    name: str
    photo: Path
    label: Path
    instance: Path | None = None


def find_pairs(
    root: str | Path, split: str, layout: Layout = Layout.FOLDER, folders: Folders | None = None
) -> list[Pair]:
    """All examples of a split (``train`` or ``val``), in natural order of their names.

    Args:
        layout: every one but STRIPS, which has no pairs.
        folders: names of the folders, for the layout STEMS.

    Raises:
        InputError: the folder is absent or empty, or photos and label maps do not match up.
    """
    found = find_files(Path(root), split, layout, folders or Folders())
    _check(found)
    return [
        Pair(name, found.photos[name], found.labels[name], found.instances.get(name))
        for name in sorted(found.photos, key=natural)
    ]


def _check(found: FoundFiles) -> None:
    if found.duplicates:
        first, second = found.duplicates[0]
        raise InputError(f"{first} and {second} have the same name; keep one of them")
    if not found.photos:
        raise InputError(f"{found.photo_place} holds no photos; is the data set unpacked?")
    if not found.labels:
        raise InputError(f"{found.label_place} holds no label maps; is the data set unpacked?")
    lonely_photos, lonely_labels = found.unmatched()
    for lonely, of, place in (
        (lonely_photos, found.photos, found.label_place),
        (lonely_labels, found.labels, found.photo_place),
    ):
        if lonely:
            raise InputError(
                f"{len(lonely)} of {len(of)} files have no partner in {place}, the first is {lonely[0]!r}; "
                "remove them or add the partners (lggan data check lists them)"
            )
