"""How much of a label map repeats itself: distinct neighbourhoods, classes per window."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]
_WORD = 2**62  # keys stay below


def symbol_map(label: NDArray[np.uint8], classes: int, instance: NDArray[np.int32] | None) -> Ids:
    """One number per pixel that says what a network with an edge channel sees there: class and edge.

    Args:
        label: [H, W]; ids from ``classes`` on belong to no class.
        classes: K.
        instance: [H, W], or None where there is no edge channel.

    Returns:
        [H, W] of 0..K, with edges of 0..2K+1.
    """
    ids: Ids = np.minimum(label.astype(np.int64), classes)
    return ids if instance is None else 2 * ids + _edges(instance)


def distinct_patches(symbols: Ids, height: int, width: int) -> int:
    """How many distinct patches of odd height and width there are around the pixels of a map [H, W].

    What lies outside of the map is a symbol of its own.
    """
    around = np.pad(symbols, ((height // 2,) * 2, (width // 2,) * 2), constant_values=int(symbols.max(initial=0)) + 1)
    return distinct_windows(around, height, width)


def distinct_windows(around: Ids, height: int, width: int) -> int:
    """How many distinct windows of the given size there are within a map."""
    rows = _joined([around[:, left : around.shape[1] - width + 1 + left] for left in range(width)])
    whole = _joined([rows[top : rows.shape[0] - height + 1 + top] for top in range(height)])
    return int(whole.max()) + 1


def class_windows(heads: Ids, count: int, kernel: int) -> int:
    """Pairs of a pixel and a class that occurs in the window around it, the map reflected at its borders.

    Args:
        heads: [H, W] of 0..count-1, or ``count`` for none.
        count: of heads.
        kernel: side of the window, odd.
    """
    around = np.pad(heads, kernel // 2, mode="reflect")
    height, width = heads.shape
    pairs = 0
    for head in np.unique(heads[heads < count]):
        here = around == head
        rows = np.logical_or.reduce([here[:, left : left + width] for left in range(kernel)])
        pairs += int(np.logical_or.reduce([rows[top : top + height] for top in range(kernel)]).sum())
    return pairs


def _joined(maps: list[Ids]) -> Ids:
    """A map of numbers 0, 1, … without a gap that are equal exactly where all of the given maps are."""
    key, bound = maps[0], int(maps[0].max()) + 1
    for other in maps[1:]:
        size = int(other.max()) + 1
        if bound * size > _WORD:
            key = _numbered(key)
            bound = int(key.max()) + 1
        key, bound = key * size + other, bound * size
    return _numbered(key)


def _numbered(ids: Ids) -> Ids:
    numbers: Ids = np.unique(ids, return_inverse=True)[1].reshape(ids.shape).astype(np.int64)
    return numbers


def _edges(instance: NDArray[np.int32]) -> Ids:
    """1 where a neighbour above, below, to the left or to the right is another instance."""
    edges = np.zeros(instance.shape, np.int64)
    across, down = instance[:, 1:] != instance[:, :-1], instance[1:] != instance[:-1]
    edges[:, 1:] |= across
    edges[:, :-1] |= across
    edges[1:] |= down
    edges[:-1] |= down
    return edges
