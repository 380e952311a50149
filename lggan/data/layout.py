"""The folder structures that data sets come in."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path, PurePosixPath

from runtime.contract.errors import UsageError


class Layout(str, Enum):
    """How a data set lies on the disk (specification D.2). SPLIT is ``train`` or ``val``.

    FOLDER: ``SPLIT/images/STEM.*`` beside ``SPLIT/labels/STEM.*`` (and ``SPLIT/instances/STEM.*``).
    CITYSCAPES: ``leftImg8bit/SPLIT/CITY/*_leftImg8bit.png``, ``gtFine/SPLIT/CITY/*_gtFine_{labelIds,instanceIds}.png``.
    ADE20K: any tree in which photos (.jpg) and label maps (.png) have ``_train_`` or ``_val_`` in their names, such as
        ``images/training/ADE_train_STEM.jpg`` beside ``annotations/training/ADE_train_STEM.png``.
    COCO_STUFF: ``SPLIT_img/STEM.jpg``, ``SPLIT_label/STEM.png``, ``SPLIT_inst/STEM.png``.
    FACADES: ``SPLIT_img/STEM.*`` beside ``SPLIT_label/STEM.png``.
    STEMS: as FACADES, in folders of any name, see `Folders`.
    STRIPS: ``{train,test}/STEM.*``, six square panels side by side in each picture, see `lggan.data.strips`.
    """

    FOLDER = "folder"
    CITYSCAPES = "cityscapes"
    ADE20K = "ade20k"
    COCO_STUFF = "coco_stuff"
    FACADES = "facades"
    STEMS = "stems"
    STRIPS = "strips"


@dataclass(frozen=True)
class Folders:
    """Names of the folders below the root, in which ``{split}`` stands for ``train`` or for ``val``.

    Attributes:
        photos, labels: of the photos and of the label maps; files with equal stems belong together.
        instances: of the instance maps; empty for none.
        val: what the data set calls the split ``val``, e.g. ``test``.
    """

    photos: str = "{split}_img"
    labels: str = "{split}_label"
    instances: str = ""
    val: str = "val"

    def __post_init__(self) -> None:
        for name in ("photos", "labels", "instances"):
            value = getattr(self, name)
            if name == "instances" and not value:
                continue
            if "{split}" not in value:
                raise UsageError(f"folders.{name} is {value!r}; {{split}} must stand in it, for train and val")
            path = PurePosixPath(value)
            if path.is_absolute() or ".." in path.parts:
                raise UsageError(f"folders.{name} is {value!r}; name a folder below the data set's root")

    def place(self, root: Path, name: str, split: str) -> Path:
        """A folder of a split; ``name`` is one of the three names above."""
        return root / name.replace("{split}", self.val if split == "val" else split)
