"""The label maps that ranges are collected on and accuracy is measured on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np

from runtime.contract.batch import input_batch
from runtime.contract.card import ModelCard
from runtime.contract.errors import InputError
from runtime.contract.labels import check_label_map
from runtime.profiler.worker import LabelMap

FEWEST_MAPS = 4
"""Fewer label maps say too little about a network's activations."""


class CalibrationMaps:
    """Label maps, with what belongs to them, as a graph is fed with them: one after the other, nothing kept twice.

    Attributes:
        names: of the maps, in their order.
        sha256: of the contents, whatever their names and order.
    """

    def __init__(self, card: ModelCard, maps: Sequence[LabelMap], fewest: int = FEWEST_MAPS) -> None:
        """Check the maps and take their fingerprint.

        Raises:
            InputError: fewer than ``fewest``, all of several the same, or one that the model cannot take.
        """
        if len(maps) < fewest:
            raise InputError(
                f"{len(maps)} label maps are too few to know the ranges of activations; give at least {fewest}, "
                "better 20 or more that show all classes"
            )
        self._card = card
        self._maps = tuple(maps)
        self.names = tuple(one.name for one in maps)
        digests = sorted(_digest(feed) for feed in self.feeds())
        if len(maps) > 1 and len(set(digests)) == 1:
            raise InputError(f"all {len(maps)} label maps are the same; give different ones")
        self.sha256 = hashlib.sha256("".join(digests).encode()).hexdigest()

    def __len__(self) -> int:
        return len(self._maps)

    def few(self, count: int) -> CalibrationMaps:
        """So many of them, evenly spread; all where there are not as many."""
        if count >= len(self):
            return self
        return CalibrationMaps(self._card, [self._maps[index * len(self) // count] for index in range(count)], fewest=1)

    def feeds(self) -> Iterator[dict[str, np.ndarray]]:
        """Inputs of the graph by name, N = 1, in the order of the maps."""
        for one in self._maps:
            check_label_map(one.label, self._card, one.name)  # its words name the map
            yield input_batch(self._card, one.name, one.label, one.instance, one.source).feeds()


def _digest(feed: dict[str, np.ndarray]) -> str:
    found = hashlib.sha256()
    for name, array in sorted(feed.items()):
        found.update(f"{name} {array.dtype.str} {array.shape} ".encode())
        found.update(array.tobytes())
    return found.hexdigest()
