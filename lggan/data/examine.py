"""Looking at one example of a data set: everything that is wrong with it, and what is in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from lggan.cross_view_config import CrossViewConfig
from lggan.data.dataset import same_aspect
from lggan.data.pairs import Pair
from lggan.data.strips import NO_CLASS, grey_level, group_of_level, off_grid, read_groups, read_strip
from runtime.contract.card import ClassInfo
from runtime.contract.errors import InputError
from runtime.contract.labels import VOID_VALUE, read_instance_map, read_label_map
from runtime.contract.palette import NearestColors
from runtime.contract.pictures import read_photo
from runtime.contract.strips import Direction, check_colors

_IDS = 256


@dataclass(frozen=True)
class Broken:
    """A file that cannot be used, and why."""

    path: Path
    reason: str


@dataclass(frozen=True)
class StripFinding:
    """The maps of one strip, in pixels of the wanted view.

    Attributes:
        pixels: of one panel.
        off_palette: of a colour that is far from every class, and not black.
        off_grid: of a grey level that stands for no group.
        disagree: whose class belongs to another group than their grey level says.
        lossless: whether the file is a PNG.
    """

    pixels: int
    off_palette: int
    off_grid: int
    disagree: int
    lossless: bool


@dataclass
class Finding:
    """What was found in one example.

    Attributes:
        name: of the example.
        photo, label: the files; the same one for a strip.
        photo_size, label_size: height and width, None where the file is broken.
        counts: int64 [256], pixels of each id, void pixels at the void id (255 for strips); None where not readable.
        unknown: pixels of each id that is no class.
        broken: files that cannot be used.
        mismatch: why photo and label map cannot show the same scene; empty if they can.
        strip: of strips only.
    """

    name: str
    photo: Path
    label: Path
    photo_size: tuple[int, int] | None = None
    label_size: tuple[int, int] | None = None
    counts: np.ndarray | None = None
    unknown: dict[int, int] = field(default_factory=dict)
    broken: list[Broken] = field(default_factory=list)
    mismatch: str = ""
    strip: StripFinding | None = None


class PairExaminer:
    """Examines a photo, its label map and its instance map.

    Args:
        classes, void: see `read_label_map`.
        instances: whether the instance map is looked at.
    """

    def __init__(self, classes: Sequence[ClassInfo], void: int | None, instances: bool) -> None:
        self._classes = tuple(classes)
        self._void = void
        self._instances = instances
        # Every id is a class here, so that unknown ids can be counted; no colour is added.
        self._any_id = self._classes + (self._classes[0],) * (_IDS - len(self._classes))

    def __call__(self, pair: Pair) -> Finding:
        finding = Finding(pair.name, pair.photo, pair.label)
        try:
            finding.photo_size = _size(read_photo(pair.photo))
        except InputError as error:
            finding.broken.append(Broken(pair.photo, str(error)))
        self._read_label(pair.label, finding)
        sizes = {"label map": finding.label_size}
        if self._instances and pair.instance is not None:
            try:
                sizes["instance map"] = _size(read_instance_map(pair.instance))
            except InputError as error:
                finding.broken.append(Broken(pair.instance, str(error)))
        for what, size in sizes.items():
            photo = finding.photo_size
            if photo and size and not same_aspect(photo, size):
                finding.mismatch = f"the photo is {photo[1]}x{photo[0]}, its {what} {size[1]}x{size[0]}"
                break
        return finding

    def _read_label(self, path: Path, finding: Finding) -> None:
        try:
            ids = read_label_map(path, self._classes, self._void)
        except InputError as error:
            try:
                ids = read_label_map(path, self._any_id, None)
            except InputError:
                finding.broken.append(Broken(path, str(error)))
                return
        finding.label_size = _size(ids)
        counts = np.bincount(ids.ravel(), minlength=_IDS)
        classes = len(self._classes)
        if self._void is not None and classes <= VOID_VALUE and self._void != VOID_VALUE:
            counts[self._void] += counts[VOID_VALUE]
            counts[VOID_VALUE] = 0
        finding.unknown = {id_: int(counts[id_]) for id_ in range(classes, _IDS) if counts[id_] and id_ != self._void}
        finding.counts = counts


class StripExaminer:
    """Examines a strip: its shape, and the maps of the wanted view.

    Args:
        classes: whose colours the colour panel shows.
        config: tells the groups.
        direction: which view is wanted.
        tolerance: see `StripConfig`.
    """

    def __init__(
        self, classes: Sequence[ClassInfo], config: CrossViewConfig, direction: Direction, tolerance: float
    ) -> None:
        self._nearest = NearestColors(classes, tolerance)
        self._groups = config.heads
        self._direction = direction
        self._group_of_id = np.full(_IDS, NO_CLASS, np.uint8)
        for id_, group in enumerate(config.groups):
            self._group_of_id[id_] = group if group >= 0 else NO_CLASS

    def __call__(self, name: str, path: Path) -> Finding:
        finding = Finding(name, path, path)
        try:
            strip = read_strip(path, self._direction)
        except InputError as error:
            finding.broken.append(Broken(path, str(error)))
            return finding
        ids = self._nearest.ids(strip.colors)
        level = grey_level(strip.grey)
        finding.photo_size = finding.label_size = _size(ids)
        finding.counts = np.bincount(ids.ravel(), minlength=_IDS)
        finding.strip = StripFinding(
            pixels=ids.size,
            off_palette=int(((ids == NO_CLASS) & (strip.colors.max(axis=-1) > 0)).sum()),
            off_grid=int(off_grid(level, self._groups).sum()),
            disagree=int((self._group_of_id[ids] != group_of_level(level, self._groups)).sum()),
            lossless=strip.lossless,
        )
        try:
            check_colors(ids, strip.colors, path)
            read_groups(strip.grey, self._groups, strip.lossless, path)
        except InputError as error:
            finding.broken.append(Broken(path, str(error)))
        return finding


def _size(picture: np.ndarray) -> tuple[int, int]:
    return picture.shape[0], picture.shape[1]
