"""Which files of a data set belong together, by their names alone."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from lggan.data.layout import Folders, Layout
from runtime.contract.errors import InputError

PHOTO_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
LABEL_SUFFIXES = (".png", ".npy")
_ADE_PHOTO_SUFFIXES = (".jpg", ".jpeg")
_ADE_LABEL_SUFFIXES = (".png",)


@dataclass
class FoundFiles:
    """Photos, label maps and instance maps of one split; equal keys belong together.

    Attributes:
        photos, labels, instances: paths by the name of the example.
        photo_place, label_place: where they were looked for, for messages.
        duplicates: pairs of files that claim the same name; the first one counts.
    """

    photo_place: str
    label_place: str
    photos: dict[str, Path] = field(default_factory=dict)
    labels: dict[str, Path] = field(default_factory=dict)
    instances: dict[str, Path] = field(default_factory=dict)
    duplicates: list[tuple[Path, Path]] = field(default_factory=list)

    def unmatched(self) -> tuple[list[str], list[str]]:
        """Names of the photos without a label map, and of the label maps without a photo, in natural order."""
        photos, labels = self.photos.keys(), self.labels.keys()
        return sorted(photos - labels, key=natural), sorted(labels - photos, key=natural)


def find_files(root: Path, split: str, layout: Layout, folders: Folders) -> FoundFiles:
    """Look for the files of a split in a layout of photos and label maps (every one but STRIPS).

    Raises:
        InputError: a folder that the layout has is absent.
    """
    if not root.is_dir():
        raise InputError(f"{root} is not a folder; give the data set's root with --data")
    if layout is Layout.CITYSCAPES:
        return _cityscapes(root, split)
    if layout is Layout.ADE20K and not _ade_folders(root, split)[0].is_dir():
        return _ade_tree(root, split)
    photos, labels, instances = _folders(root, split, layout, folders)
    found = FoundFiles(str(photos), str(labels))
    _demand(photos, "photos", root, layout)
    _demand(labels, "label maps", root, layout)
    for prefix, suffix in (("", ""), ("portrait/", "_portrait")) if layout is Layout.COCO_STUFF else (("", ""),):
        for kind, folder, suffixes in (
            (found.photos, photos, PHOTO_SUFFIXES),
            (found.labels, labels, LABEL_SUFFIXES),
            (found.instances, instances, LABEL_SUFFIXES),
        ):
            place = folder.with_name(folder.name + suffix) if folder else None
            if place is not None and place.is_dir():
                by_stem, duplicates = files_by_stem(place, suffixes)
                kind.update({prefix + stem: path for stem, path in by_stem.items()})
                found.duplicates += duplicates
    return found


def files_by_stem(folder: Path, suffixes: tuple[str, ...]) -> tuple[dict[str, Path], list[tuple[Path, Path]]]:
    """Files with one of the suffixes by their stems, and pairs of files with the same stem; hidden files are passed."""
    return _by_stem(
        path for path in folder.iterdir() if path.suffix.lower() in suffixes and not path.name.startswith(".")
    )


def natural(text: str) -> list[tuple[int, int | str]]:
    """Sort key under which ``b2`` comes before ``b10``."""
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in re.split(r"(\d+)", text)]


def _by_stem(paths: Iterable[Path]) -> tuple[dict[str, Path], list[tuple[Path, Path]]]:
    found: dict[str, Path] = {}
    duplicates = []
    for path in sorted(paths):
        if path.stem in found:
            duplicates.append((found[path.stem], path))
        else:
            found[path.stem] = path
    return found, duplicates


def _folders(root: Path, split: str, layout: Layout, folders: Folders) -> tuple[Path, Path, Path | None]:
    """Folders of photos, label maps and instance maps."""
    if layout is Layout.FOLDER:
        return root / split / "images", root / split / "labels", root / split / "instances"
    if layout is Layout.ADE20K:
        return *_ade_folders(root, split), None
    if layout is Layout.COCO_STUFF:
        return root / f"{split}_img", root / f"{split}_label", root / f"{split}_inst"
    if layout is Layout.FACADES:
        return root / f"{split}_img", root / f"{split}_label", None
    instances = folders.place(root, folders.instances, split) if folders.instances else None
    return folders.place(root, folders.photos, split), folders.place(root, folders.labels, split), instances


def _ade_folders(root: Path, split: str) -> tuple[Path, Path]:
    phase = {"train": "training", "val": "validation"}.get(split, split)
    return root / "images" / phase, root / "annotations" / phase


def _ade_tree(root: Path, split: str) -> FoundFiles:
    """Every file whose name tells its split, wherever it lies."""
    tag = f"_{split}_"
    found = FoundFiles(f"{root} (*{tag}*.jpg)", f"{root} (*{tag}*.png)")
    paths = [
        Path(folder, name)
        for folder, _, names in os.walk(root)
        for name in names
        if tag in name and not name.startswith(".")
    ]
    found.photos, doubled = _by_stem(path for path in paths if path.suffix.lower() in _ADE_PHOTO_SUFFIXES)
    found.labels, more = _by_stem(path for path in paths if path.suffix.lower() in _ADE_LABEL_SUFFIXES)
    found.duplicates = doubled + more
    if not found.photos and not found.labels:
        _demand(_ade_folders(root, split)[0], f"photos (or files with {tag} in their names)", root, Layout.ADE20K)
    return found


def _cityscapes(root: Path, split: str) -> FoundFiles:
    photos, labels = root / "leftImg8bit" / split, root / "gtFine" / split
    for folder, what in ((photos, "photos"), (labels, "label maps")):
        _demand(folder, what, root, Layout.CITYSCAPES)
    found = FoundFiles(f"{photos} (*_leftImg8bit.png)", f"{labels} (*_gtFine_labelIds.png)")
    for kind, folder, ending in (
        (found.photos, photos, "leftImg8bit"),
        (found.labels, labels, "gtFine_labelIds"),
        (found.instances, labels, "gtFine_instanceIds"),
    ):
        for path in sorted(folder.glob(f"*/*_{ending}.png")):
            frame = "_".join(path.name.split("_")[:3])  # city, sequence, frame
            if frame in kind:
                found.duplicates.append((kind[frame], path))
            else:
                kind[frame] = path
    return found


_SHAPES = {
    Layout.FOLDER: "SPLIT/images, SPLIT/labels",
    Layout.CITYSCAPES: "leftImg8bit/SPLIT/CITY, gtFine/SPLIT/CITY",
    Layout.ADE20K: "images/training, annotations/training, or names with _train_ and _val_",
    Layout.COCO_STUFF: "SPLIT_img, SPLIT_label, SPLIT_inst",
    Layout.FACADES: "SPLIT_img, SPLIT_label",
    Layout.STEMS: "the folders that the preset names",
    Layout.STRIPS: "train, test with strips",
}


def _demand(folder: Path, what: str, root: Path, layout: Layout) -> None:
    if folder.is_dir():
        return
    below = sorted(path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    listed = ", ".join(below[:6]) + (" ..." if len(below) > 6 else "")
    raise InputError(
        f"{folder} is absent; {what} are expected there: the layout '{layout.value}' is {_SHAPES[layout]}, "
        f"{root} holds {listed or 'no folders'}"
    )
