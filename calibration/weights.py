"""Weights of convolutions as INT8: symmetric, one scale per output channel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from runtime.contract.errors import InputError

INT8_MAX = 127
"""Levels of symmetric INT8 on either side of zero; -128 is not used."""
# A channel this much weaker than the strongest of its convolution counts as dead: in FP32, its weights are below the
# last bit of the others. With a scale of its own it would need one that no FP16 and hardly an FP32 number can hold.
_DEAD = np.float32(2.0**-20)
_SMALLEST = np.float32(1e-30)  # no weight of a trained network; its scale is still a normal number


@dataclass(frozen=True)
class Int8Weight:
    """A quantised weight.

    Attributes:
        values: int8, -127..127, in the shape of the weight. -128 is not used: the range is symmetric.
        scales: float32 [channels], greater than zero; ``values * scales`` along ``axis`` is the weight again.
        axis: of the output channels.
    """

    values: np.ndarray
    scales: np.ndarray
    axis: int


def quantize_weight(weight: np.ndarray, axis: int, name: str) -> Int8Weight:
    """Quantise a convolution's weight, each output channel to its own range.

    ``scale = max |w| / 127`` of the channel, ``value = round(w / scale)``, halves to the even neighbour, as ONNX's
    ``QuantizeLinear`` does. A channel of zeros, or one that is weaker than a millionth of the strongest, gets the
    strongest's scale and becomes zero.

    Args:
        weight: float32 [out, in, h, w] or [in, out, h, w].
        axis: of ``out``.
        name: of the weight, for messages.

    Raises:
        InputError: the weight has values that are not finite.
    """
    finite = np.isfinite(weight)
    if not finite.all():
        raise InputError(
            f"the weight {name!r} has {int((~finite).sum())} values that are not finite; train or import again"
        )
    others = tuple(side for side in range(weight.ndim) if side != axis)
    peaks = np.abs(weight).max(axis=others, initial=0.0)
    strongest = peaks.max(initial=0.0)
    if strongest < _SMALLEST:
        strongest = np.float32(1.0)  # zeros altogether: any scale is exact
    scales = np.where(peaks > strongest * _DEAD, peaks, strongest) / np.float32(INT8_MAX)
    levels = np.rint(weight / _along(scales, axis, weight.ndim))
    return Int8Weight(np.clip(levels, -INT8_MAX, INT8_MAX).astype(np.int8), scales, axis)


def _along(scales: np.ndarray, axis: int, dimensions: int) -> np.ndarray:
    """The scales in a shape that multiplies along ``axis``."""
    shape = [1] * dimensions
    shape[axis] = -1
    return scales.reshape(shape)
