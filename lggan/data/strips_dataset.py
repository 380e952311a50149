"""Strips as tensors of the training size, read once and kept as bytes while memory allows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from lggan.data.cache import ExampleCache
from lggan.data.dataset import DataConfig
from lggan.data.plan import View
from lggan.data.strips import LabelReading, StripConfig, exact_groups, read_groups, read_strip
from runtime.contract.card import ClassInfo
from runtime.contract.labels import colorize, fit_label_map
from runtime.contract.palette import NearestColors
from runtime.contract.pictures import resize_photo
from runtime.contract.strips import check_colors


class CrossViewExample(NamedTuple):
    """``photo``: the wanted view; ``source``: the given one; ``guide``: the wanted view's painted label map.

    All three uint8 [3, h, w]. ``group`` uint8 [1, h, w]: the head that paints each pixel, 0..G-1, or 255 for none.
    """

    photo: Tensor
    source: Tensor
    guide: Tensor
    group: Tensor


_Panels = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]  # wanted, given, ids or painted map, groups


class StripDataset(Dataset[CrossViewExample]):
    """Examples by `View`; keeps what it read as long as ``cache_bytes`` last (see `ExampleCache`).

    All panels share the crop and the mirroring of the view (the published loader would mirror the photos alone).

    Raises (from ``__getitem__``):
        InputError: a file is broken, is no strip, or its maps are none.
    """

    def __init__(
        self,
        strips: Sequence[Path],
        classes: Sequence[ClassInfo],
        groups: int,
        config: DataConfig,
        strip: StripConfig,
        cache_bytes: int = 4 << 30,
    ) -> None:
        self._strips = list(strips)
        self._classes = tuple(classes)
        self._groups = groups
        self._config = config
        self._strip = strip
        self._nearest = NearestColors(self._classes, strip.tolerance)
        map_bytes = 1 if strip.reading is LabelReading.NEAREST else 3
        each = config.load_height * config.load_width * (3 + 3 + 1 + map_bytes)
        self._cache: ExampleCache[_Panels] = ExampleCache(cache_bytes, each)

    def __len__(self) -> int:
        return len(self._strips)

    @property
    def names(self) -> list[str]:
        """Of the strips, without their folder and ending."""
        return [path.stem for path in self._strips]

    @property
    def slack(self) -> tuple[int, int]:
        """How many rows and columns the crop can move."""
        return self._config.slack

    def __getitem__(self, view: View) -> CrossViewExample:
        panels = self._cache.get(view.index, lambda: self._load(view.index))
        rows = slice(view.top, view.top + self._config.height)
        columns = slice(view.left, view.left + self._config.width)
        photo, source, guide, group = (panel[rows, columns] for panel in panels)
        if guide.ndim == 2:  # ids
            guide = colorize(guide, self._classes)  # [h, w] -> [h, w, 3]
        parts = [photo, source, guide, group[..., None]]
        if view.flip:
            parts = [part[:, ::-1] for part in parts]
        return CrossViewExample(*(torch.from_numpy(np.ascontiguousarray(part)).permute(2, 0, 1) for part in parts))

    def _load(self, index: int) -> _Panels:
        path, height, width = self._strips[index], self._config.load_height, self._config.load_width
        strip = read_strip(path, self._strip.direction)
        if self._strip.reading is LabelReading.NEAREST:
            ids = self._nearest.ids(strip.colors)  # [S, S]
            check_colors(ids, strip.colors, path)
            groups = read_groups(strip.grey, self._groups, strip.lossless, path)  # [S, S]
            guide, group = (fit_label_map(part, height, width) for part in (ids, groups))
        else:
            guide = resize_photo(strip.colors, height, width)
            group = exact_groups(resize_photo(strip.grey, height, width), self._groups)
        return resize_photo(strip.target, height, width), resize_photo(strip.source, height, width), guide, group
