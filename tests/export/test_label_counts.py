"""The counts against plain loops over the pixels."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from export.label_counts import class_windows, distinct_patches, distinct_windows, symbol_map


def _map(seed: int, classes: int, size: tuple[int, int] = (9, 7)) -> NDArray[np.int64]:
    draw = np.random.default_rng(seed)
    if classes == 1:
        return np.zeros(size, np.int64)
    coarse = draw.integers(0, classes, (5, 4))
    return coarse.repeat(2, axis=0).repeat(2, axis=1)[: size[0], : size[1]]


@pytest.mark.parametrize("classes", [1, 2, 3, 500])
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("size", [(1, 1), (3, 3), (5, 5), (7, 1)])
def test_distinct_patches(classes: int, seed: int, size: tuple[int, int]) -> None:
    symbols = _map(seed, classes)
    height, width = size
    around = np.pad(symbols, ((height // 2,) * 2, (width // 2,) * 2), constant_values=-1)
    patches = {around[y : y + height, x : x + width].tobytes() for y in range(9) for x in range(7)}
    assert distinct_patches(symbols, height, width) == len(patches)


def test_one_class_has_border_states_alone() -> None:
    """Five states per direction: two at each border, one inside; fewer where the map is small."""
    assert distinct_patches(np.zeros((20, 30), np.int64), 5, 5) == 25
    assert distinct_patches(np.zeros((20, 30), np.int64), 3, 3) == 9
    assert distinct_patches(np.zeros((2, 4), np.int64), 5, 5) == 2 * 4


def test_distinct_windows_stay_inside() -> None:
    symbols = np.arange(20).reshape(4, 5)
    assert distinct_windows(symbols, 3, 1) == 2 * 5
    assert distinct_windows(symbols % 1, 3, 3) == 1


def test_numbers_that_do_not_fit_into_one_word() -> None:
    """All different, and so many that keys have to be numbered on the way."""
    symbols = np.random.default_rng(0).permutation(64 * 64).reshape(64, 64).astype(np.int64)
    assert distinct_patches(symbols, 5, 5) == 64 * 64
    assert distinct_patches(symbols // 4096 * 7, 5, 5) == 25


@pytest.mark.parametrize("classes", [1, 3])
@pytest.mark.parametrize("kernel", [3, 7])
def test_class_windows(classes: int, kernel: int) -> None:
    heads = _map(5, classes)
    heads[2:4, :3] = classes  # none
    around = np.pad(heads, kernel // 2, mode="reflect")
    pairs = sum(
        len(set(around[y : y + kernel, x : x + kernel].flatten().tolist()) - {classes})
        for y in range(9)
        for x in range(7)
    )
    assert class_windows(heads, classes, kernel) == pairs


def test_symbols_tell_class_and_edge() -> None:
    label = np.array([[0, 0, 1, 255]], np.uint8)
    assert symbol_map(label, 2, None).tolist() == [[0, 0, 1, 2]]
    instance = np.array([[7, 7, 7, 9]], np.int32)
    assert symbol_map(label, 2, instance).tolist() == [[0, 0, 3, 5]]
    column = np.array([[1], [1], [2]], np.int32)
    assert symbol_map(np.zeros((3, 1), np.uint8), 2, column).tolist() == [[0], [1], [1]]
