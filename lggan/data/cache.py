"""Prepared examples kept in memory, so that a small data set is read from the disk once."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Generic, TypeVar

from torch.utils.data import get_worker_info

Example = TypeVar("Example")


class ExampleCache(Generic[Example]):
    """Keeps the first examples that are asked for, as long as the budget lasts.

    The budget is that of the whole machine: every process that ``torchrun`` started here, and every loading process of
    each, has an equal share of it, as each of them keeps examples of its own.

    Args:
        budget: bytes.
        each: bytes of an example.
    """

    def __init__(self, budget: int, each: int) -> None:
        self._keep = budget // max(each, 1)
        self._kept: dict[int, Example] = {}

    def get(self, index: int, prepare: Callable[[], Example]) -> Example:
        """The example, from memory or freshly prepared."""
        if index in self._kept:
            return self._kept[index]
        example = prepare()
        if len(self._kept) < self._keep // _sharers():
            self._kept[index] = example
        return example


def _sharers() -> int:
    """How many processes of this machine keep examples."""
    worker = get_worker_info()
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1")) * (worker.num_workers if worker is not None else 1)
