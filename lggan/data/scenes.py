"""The scenes of a data set as they lie in its files, for evaluation: no crop, no resize, no cache."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from lggan.data.layout import Folders, Layout
from lggan.data.pairs import Pair, find_pairs
from lggan.data.strips import StripConfig, find_strips, read_strip
from runtime.contract.card import ClassInfo
from runtime.contract.errors import UsageError
from runtime.contract.labels import read_instance_map, read_label_map
from runtime.contract.palette import NearestColors
from runtime.contract.pictures import read_photo
from runtime.contract.strips import Direction, check_colors


@dataclass(frozen=True)
class Scene:
    """One photo and what a generator needs to paint it.

    Attributes:
        name: of the file, without its ending.
        photo: uint8 [H, W, 3]; in cross-view translation the wanted view.
        label: uint8 [H', W'] ids of the photo's pixels. Photo and label map may differ in size.
        instance: int32 [H', W'], or None where the data set has none.
        source: uint8 [H, W, 3], the given view; None in semantic synthesis.
    """

    name: str
    photo: np.ndarray
    label: np.ndarray
    instance: np.ndarray | None = None
    source: np.ndarray | None = None


class SceneList(Protocol):
    """Scenes by their index, read when they are asked for; files that are bad raise `InputError` then."""

    @property
    def names(self) -> list[str]:
        """In the order of the indices."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Scene: ...


def scenes(
    root: str | Path,
    split: str,
    layout: Layout,
    classes: Sequence[ClassInfo],
    void: int | None,
    direction: Direction | None = None,
    folders: Folders | None = None,
) -> SceneList:
    """The scenes of a split (``train`` or ``val``), in natural order of their names.

    Args:
        classes: K classes of the label maps; for strips their colours are what ids are read from.
        void: id of the label value 255, see `read_label_map`.
        direction: of strips; must be given for them, and only for them.
        folders: names of the folders, for the layout STEMS.

    Raises:
        InputError: folders are absent or empty, files do not match up.
        UsageError: a direction is missing or superfluous.
    """
    if (layout is Layout.STRIPS) != (direction is not None):
        raise UsageError(f"layout {layout.value} and direction {direction and direction.value}; strips need one")
    if direction is not None:
        return _StripScenes(list(find_strips(root, split).values()), classes, direction)
    return _PairScenes(find_pairs(root, split, layout, folders), classes, void)


class _PairScenes:
    def __init__(self, pairs: Sequence[Pair], classes: Sequence[ClassInfo], void: int | None) -> None:
        self._pairs = pairs
        self._classes = classes
        self._void = void

    @property
    def names(self) -> list[str]:
        return [pair.name for pair in self._pairs]

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, index: int) -> Scene:
        pair = self._pairs[index]
        return Scene(
            name=pair.name,
            photo=read_photo(pair.photo),
            label=read_label_map(pair.label, self._classes, self._void),
            instance=read_instance_map(pair.instance) if pair.instance is not None else None,
        )


class _StripScenes:
    def __init__(self, strips: Sequence[Path], classes: Sequence[ClassInfo], direction: Direction) -> None:
        self._strips = strips
        self._direction = direction
        self._nearest = NearestColors(classes, StripConfig().tolerance)

    @property
    def names(self) -> list[str]:
        return [path.stem for path in self._strips]

    def __len__(self) -> int:
        return len(self._strips)

    def __getitem__(self, index: int) -> Scene:
        path = self._strips[index]
        strip = read_strip(path, self._direction)
        label = self._nearest.ids(strip.colors)
        check_colors(label, strip.colors, path)
        return Scene(name=path.stem, photo=strip.target, label=label, source=strip.source)
