"""Photos and label maps as tensors of the training size, read once and kept as bytes while memory allows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from lggan.data.cache import ExampleCache
from lggan.data.pairs import Pair
from lggan.data.plan import View
from runtime.contract.card import ClassInfo
from runtime.contract.errors import InputError
from runtime.contract.labels import fit_label_map, read_instance_map, read_label_map
from runtime.contract.pictures import read_photo, resize_photo


class Example(NamedTuple):
    """``photo`` uint8 [3, h, w], ``label`` uint8 [1, h, w], ``instance`` int32 [1, h, w] (zeros where unused)."""

    photo: Tensor
    label: Tensor
    instance: Tensor


@dataclass(frozen=True)
class DataConfig:
    """How examples are prepared.

    Attributes:
        height, width: of the crop that the network sees.
        load_height, load_width: the photo is brought to this size first (bicubic; label maps nearest). Where it is
            larger than the crop, crops are random.
        instances: whether instance maps are read.
    """

    height: int
    width: int
    load_height: int
    load_width: int
    instances: bool = False

    @property
    def slack(self) -> tuple[int, int]:
        """How many rows and columns the crop can move."""
        return self.load_height - self.height, self.load_width - self.width


_Arrays = tuple[np.ndarray, np.ndarray, "np.ndarray | None"]  # photo, label map, instance map, at the loading size


class PairDataset(Dataset[Example]):
    """Examples by `View`; keeps what it read as long as ``cache_bytes`` last (see `ExampleCache`).

    Raises (from ``__getitem__``):
        InputError: a file is broken, sizes of photo and label map disagree, ids out of range.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        classes: Sequence[ClassInfo],
        void: int | None,
        config: DataConfig,
        cache_bytes: int = 4 << 30,
    ) -> None:
        self._pairs = list(pairs)
        self._classes = tuple(classes)
        self._void = void
        self._config = config
        each = config.load_height * config.load_width * (4 + 4 * int(config.instances))
        self._cache: ExampleCache[_Arrays] = ExampleCache(cache_bytes, each)

    def __len__(self) -> int:
        return len(self._pairs)

    @property
    def names(self) -> list[str]:
        """Of the pairs."""
        return [pair.name for pair in self._pairs]

    @property
    def slack(self) -> tuple[int, int]:
        """How many rows and columns the crop can move."""
        return self._config.slack

    def __getitem__(self, view: View) -> Example:
        photo, label, instance = self._cache.get(view.index, lambda: self._load(view.index))
        rows = slice(view.top, view.top + self._config.height)
        columns = slice(view.left, view.left + self._config.width)
        if instance is None:
            instance = np.zeros(label.shape, np.int32)
        parts = [array[rows, columns] for array in (photo, label, instance)]
        if view.flip:
            parts = [array[:, ::-1] for array in parts]
        photo, label, instance = (np.ascontiguousarray(array) for array in parts)
        return Example(
            torch.from_numpy(photo).permute(2, 0, 1),
            torch.from_numpy(label).unsqueeze(0),
            torch.from_numpy(instance).unsqueeze(0),
        )

    def _load(self, index: int) -> _Arrays:
        pair, config = self._pairs[index], self._config
        photo = read_photo(pair.photo)
        label = read_label_map(pair.label, self._classes, self._void)
        if photo.shape[:2] != label.shape and not same_aspect(photo.shape[:2], label.shape):
            raise InputError(
                f"{pair.photo} is {photo.shape[1]}x{photo.shape[0]} but its label map {pair.label} is "
                f"{label.shape[1]}x{label.shape[0]}; they must show the same scene"
            )
        instance = None
        if config.instances:
            if pair.instance is None:
                raise InputError(f"{pair.label} has no instance map, which this preset's edge channel needs")
            instance = fit_label_map(read_instance_map(pair.instance), config.load_height, config.load_width)
        return (
            resize_photo(photo, config.load_height, config.load_width),
            fit_label_map(label, config.load_height, config.load_width),
            instance,
        )


def photo_to_unit(photo: Tensor) -> Tensor:
    """uint8 0..255 -> float32 [-1, 1]."""
    return photo.to(torch.float32) / 127.5 - 1.0


def same_aspect(first: tuple[int, ...], second: tuple[int, ...]) -> bool:
    """Whether two sizes (height, width) can be those of one scene: their proportions agree up to a rounded pixel."""
    return abs(first[0] * second[1] - first[1] * second[0]) <= max(first[0], second[0])
