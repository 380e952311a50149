"""The cache of prepared examples: what it keeps, and how processes share one budget."""

from __future__ import annotations

import pytest
from torch.utils.data import DataLoader, Dataset

from lggan.data.cache import ExampleCache


def prepared(cache: ExampleCache[int], indices: list[int]) -> list[int]:
    """The indices that were prepared anew."""
    anew: list[int] = []

    def prepare(index: int) -> int:
        anew.append(index)
        return 10 * index

    assert [cache.get(i, lambda i=i: prepare(i)) for i in indices] == [10 * i for i in indices]  # type: ignore[misc]
    return anew


def test_the_first_examples_are_kept_while_the_budget_lasts() -> None:
    assert prepared(ExampleCache(budget=25, each=10), [0, 1, 2, 0, 1, 2]) == [0, 1, 2, 2]
    assert prepared(ExampleCache(budget=9, each=10), [0, 0]) == [0, 0]


def test_processes_of_a_machine_share_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert prepared(ExampleCache(budget=40, each=10), [0, 1, 2, 0, 1, 2]) == [0, 1, 2, 2]


class _Counting(Dataset[int]):
    """Gives how many of two examples, asked for twice, were prepared anew."""

    def __init__(self) -> None:
        self.cache: ExampleCache[int] = ExampleCache(budget=20, each=10)

    def __len__(self) -> int:
        return 2

    def __getitem__(self, _: int) -> int:
        return len(prepared(self.cache, [1, 2, 1, 2]))


def test_loading_processes_share_the_budget() -> None:
    assert list(DataLoader(_Counting(), batch_size=None, num_workers=0)) == [2, 0]
    assert list(DataLoader(_Counting(), batch_size=None, num_workers=2)) == [3, 3]  # one example each
