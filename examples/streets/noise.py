"""Lattice noise that is the same on every machine and at every picture size: integer hashing, no random generator."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float64]


def _hash(i: NDArray[np.int64], j: NDArray[np.int64], seed: int) -> Field:
    """Uniform in [0, 1) for every lattice point (i, j); 32-bit multiply-xorshift mixing."""
    mask = np.uint64(0xFFFFFFFF)
    mixed = (i.astype(np.uint64) * np.uint64(0x9E3779B1)) ^ (j.astype(np.uint64) * np.uint64(0x85EBCA77))
    mixed = (mixed ^ np.uint64(seed * 0xC2B2AE3D & 0xFFFFFFFF)) & mask
    for multiplier in (0x7FEB352D, 0x846CA68B):
        mixed ^= mixed >> np.uint64(16)
        mixed = (mixed * np.uint64(multiplier)) & mask
    mixed ^= mixed >> np.uint64(15)
    return mixed.astype(np.float64) / 2.0**32


def speckle(x: Field, y: Field, cell: float, seed: int) -> Field:
    """White noise in [0, 1), constant over square cells of side `cell`; same shape as `x` and `y`."""
    return _hash(np.floor(x / cell).astype(np.int64), np.floor(y / cell).astype(np.int64), seed)


def smooth(x: Field, y: Field, cell: float, seed: int) -> Field:
    """Value noise in [0, 1): lattice values of spacing `cell`, blended with a smoothstep."""
    i, j = np.floor(x / cell), np.floor(y / cell)
    s, t = x / cell - i, y / cell - j
    s, t = s * s * (3 - 2 * s), t * t * (3 - 2 * t)
    i, j = i.astype(np.int64), j.astype(np.int64)
    top = _hash(i, j, seed) * (1 - s) + _hash(i + 1, j, seed) * s
    bottom = _hash(i, j + 1, seed) * (1 - s) + _hash(i + 1, j + 1, seed) * s
    return top * (1 - t) + bottom * t


def fractal(x: Field, y: Field, cell: float, octaves: int, seed: int) -> Field:
    """Octaves of `smooth`, each of half the spacing and 0.6 of the weight of the one before; in [0, 1)."""
    total, weight_sum = np.zeros(np.broadcast(x, y).shape), 0.0
    for octave in range(octaves):
        weight = 0.6**octave
        total = total + weight * smooth(x, y, cell / 2**octave, seed + 101 * octave)
        weight_sum += weight
    return total / weight_sum


def pick(seed: int, index: int) -> float:
    """One number in [0, 1) from two integers: the scatter of layouts (heights, gaps, poses)."""
    return float(_hash(np.array([index], np.int64), np.array([seed], np.int64), 7)[0])
