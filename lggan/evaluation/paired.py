"""A figure that compares generated picture and photo one by one, in several named definitions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from lggan.evaluation.metric import Better, Comparison, MetricResult, mean_and_spread


@dataclass(frozen=True)
class Definition:
    """One way to compute a figure: ``compare`` takes two pictures uint8 [H, W, 3]; the more alike, the higher."""

    name: str
    unit: str
    text: str
    compare: Callable[[np.ndarray, np.ndarray], float]


class PairedMetric:
    """The mean over all pictures, once by each definition."""

    def __init__(self, *definitions: Definition) -> None:
        self._definitions = definitions
        self._values: list[list[float]] = [[] for _ in definitions]

    @property
    def names(self) -> tuple[str, ...]:
        """One for each definition."""
        return tuple(definition.name for definition in self._definitions)

    def add(self, batch: Sequence[Comparison]) -> None:
        """Compare each generated picture with its photo."""
        for definition, values in zip(self._definitions, self._values, strict=True):
            values += [definition.compare(pair.generated, pair.photo) for pair in batch]

    def results(self) -> tuple[MetricResult, ...]:
        """Mean and deviation over the pictures, in the order of the definitions."""
        found = []
        for definition, values in zip(self._definitions, self._values, strict=True):
            mean, spread = mean_and_spread(values)
            entry = MetricResult(
                definition.name, mean, definition.unit, Better.HIGHER, len(values), definition.text, spread=spread
            )
            found.append(entry)
        return tuple(found)
