"""Which examples the training sees at which step, and how they are cropped and flipped: a pure function of the seed.

Nothing depends on what has been drawn before, so a run that continues at step t sees what it would have seen anyway.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class View:
    """One example as it is shown: its index in the list of pairs, the crop's corner in pixels, mirrored or not."""

    index: int
    top: int
    left: int
    flip: bool


@dataclass(frozen=True)
class BatchPlan:
    """Batches of views for each step.

    Attributes:
        examples: number of pairs; every epoch is a fresh permutation of them.
        batch: examples per step over all processes.
        seed: of the permutation, the crops and the flips.
        slack: (rows, columns) by which the loaded picture is larger than the crop.
        flip: whether half of the views are mirrored.
    """

    examples: int
    batch: int
    seed: int
    slack: tuple[int, int] = (0, 0)
    flip: bool = True

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in an epoch; at least one (small sets are repeated to fill a batch)."""
        return max(1, self.examples // self.batch)

    def epoch(self, step: int) -> int:
        """The epoch, from 0, that a step (from 0) belongs to."""
        return step // self.steps_per_epoch

    def views(self, step: int) -> list[View]:
        """The ``batch`` views of a step, the same whenever asked."""
        order = np.random.default_rng([self.seed, 0, self.epoch(step)]).permutation(self.examples)
        start = (step % self.steps_per_epoch) * self.batch
        indices = np.resize(order, max(self.examples, start + self.batch))[start : start + self.batch]
        draw = np.random.default_rng([self.seed, 1, step])
        tops = draw.integers(0, self.slack[0] + 1, self.batch)
        lefts = draw.integers(0, self.slack[1] + 1, self.batch)
        flips = draw.random(self.batch) < 0.5
        return [
            View(int(index), int(top), int(left), bool(flip) and self.flip)
            for index, top, left, flip in zip(indices, tops, lefts, flips, strict=True)
        ]

    def shards(self, first: int, stop: int, rank: int, ranks: int) -> Iterator[list[View]]:
        """One process's share of the batches of steps ``first`` to ``stop``: every ``ranks``-th view."""
        for step in range(first, stop):
            yield self.views(step)[rank::ranks]
