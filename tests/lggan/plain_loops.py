"""The layers' arithmetic once more, in float64 and plain loops: the tests' reference, written from the formulas."""

from __future__ import annotations

import numpy as np


def convolution(
    x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None = None, stride: int = 1, padding: int = 0
) -> np.ndarray:
    """[N, C, H, W], [O, C, k, k], [O] -> [N, O, H', W'], zero padding."""
    x = np.pad(x.astype(np.float64), ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    out_channels, _, k, _ = weight.shape
    height, width = ((side - k) // stride + 1 for side in x.shape[2:])
    output = np.zeros((x.shape[0], out_channels, height, width))
    for n in range(x.shape[0]):
        for row in range(height):
            for column in range(width):
                patch = x[n, :, row * stride : row * stride + k, column * stride : column * stride + k]
                for o in range(out_channels):
                    output[n, o, row, column] = float((patch * weight[o]).sum())
    return output if bias is None else output + bias[None, :, None, None]


def reflect(index: int, size: int) -> int:
    """The pixel that stands at ``index`` when a row of ``size`` pixels is mirrored at its ends, ends not repeated."""
    if index < 0:
        return -index
    return 2 * (size - 1) - index if index >= size else index


def softmax(values: np.ndarray, axis: int) -> np.ndarray:
    """Along one axis, shifted so that nothing overflows."""
    shifted = np.exp(values - values.max(axis=axis, keepdims=True))
    return shifted / shifted.sum(axis=axis, keepdims=True)


def carafe(feature: np.ndarray, logits: np.ndarray, k: int, s: int) -> np.ndarray:
    """Reassembly as CARAFE defines it: a k x k window of source pixels around the output pixel's source cell."""
    n, channels, h, w = feature.shape
    output = np.zeros((n, channels, s * h, s * w))
    for b in range(n):
        for py in range(s * h):
            for px in range(s * w):
                sub = (py % s) * s + px % s
                taps = softmax(np.array([logits[b, t * s * s + sub, py // s, px // s] for t in range(k * k)]), 0)
                for iy in range(k):
                    for ix in range(k):
                        y, x = py // s + iy - (k - 1) // 2, px // s + ix - (k - 1) // 2
                        if 0 <= y < h and 0 <= x < w:
                            output[b, :, py, px] += taps[iy * k + ix] * feature[b, :, y, x]
    return output


def unfold_of_enlarged(feature: np.ndarray, logits: np.ndarray, k: int, s: int, dilation: int) -> np.ndarray:
    """The long way round: enlarge by nearest neighbour, pad with zeros, take every k x k window, weigh, add."""
    n, channels, h, w = feature.shape
    reach = k // 2 * dilation
    enlarged = feature.repeat(s, axis=2).repeat(s, axis=3)
    padded = np.pad(enlarged, ((0, 0), (0, 0), (reach, reach), (reach, reach)))
    grid = logits.reshape(n, k * k, s, s, h, w).transpose(0, 1, 4, 2, 5, 3).reshape(n, k * k, s * h, s * w)
    weights = softmax(grid, axis=1)  # [N, k², sH, sW]
    output = np.zeros((n, channels, s * h, s * w))
    for iy in range(k):
        for ix in range(k):
            y, x = iy * dilation, ix * dilation
            output += weights[:, iy * k + ix, None] * padded[:, :, y : y + s * h, x : x + s * w]
    return output
