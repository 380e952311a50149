"""Pictures as an evaluator wants them: size, colour order, normalisation, order of axes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from lggan.evaluation.network_file import AxisOrder, ChannelOrder, InputSpec, Resize

_PILLOW = {Resize.PILLOW_BILINEAR: Image.Resampling.BILINEAR, Resize.PILLOW_BICUBIC: Image.Resampling.BICUBIC}


def prepare(pictures: Sequence[np.ndarray], spec: InputSpec) -> np.ndarray:
    """A batch for the network.

    Args:
        pictures: uint8 [h, w, 3] each, R, G, B; of one size where ``spec`` keeps the size.

    Returns:
        float32 [N, 3, H, W] or [N, H, W, 3], C-contiguous.
    """
    sized = np.stack([_at_size(picture, spec) for picture in pictures])  # [N, H, W, 3] float32, 0..255
    if spec.channels is ChannelOrder.BGR:
        sized = sized[..., ::-1]
    mean, std = (np.array(part, dtype=np.float32) for part in (spec.mean, spec.std))
    values = (sized / np.float32(spec.scale) - mean) / std
    if spec.axes is AxisOrder.NCHW:
        values = values.transpose(0, 3, 1, 2)
    return np.ascontiguousarray(values, dtype=np.float32)


def resize(picture: np.ndarray, height: int, width: int, method: Resize) -> np.ndarray:
    """A picture uint8 [h, w, 3] in another size, float32 [height, width, 3] on the scale of bytes."""
    if method in _PILLOW:
        return np.asarray(Image.fromarray(picture).resize((width, height), _PILLOW[method]), dtype=np.float32)
    if method is Resize.PILLOW_BICUBIC_FLOAT:
        planes = (Image.fromarray(picture[..., c].astype(np.float32)) for c in range(3))
        return np.stack([np.asarray(p.resize((width, height), Image.Resampling.BICUBIC)) for p in planes], axis=-1)
    offset = 0.5 if method is Resize.TORCH_BILINEAR else 0.0
    return bilinear(picture.astype(np.float32), height, width, offset)


def bilinear(values: np.ndarray, height: int, width: int, offset: float = 0.5) -> np.ndarray:
    """Interpolate between the two nearest pixels along each axis, without widening when shrinking.

    Output pixel i lies at (i + offset) * old / new - offset: offset 0.5 aligns the outer edges (PyTorch's
    ``align_corners=False``), 0 the first pixels (TensorFlow 1).

    Args:
        values: float [h, w, ...].

    Returns:
        [height, width, ...], the same dtype.
    """
    for axis, new in ((0, height), (1, width)):
        old = values.shape[axis]
        place = np.maximum((np.arange(new) + offset) * (old / new) - offset, 0.0)
        low = np.minimum(place.astype(np.int64), old - 1)
        high = np.minimum(low + 1, old - 1)
        share = (place - low).astype(values.dtype).reshape([-1 if a == axis else 1 for a in range(values.ndim)])
        first, second = values.take(low, axis), values.take(high, axis)
        values = first + (second - first) * share
    return values


def _at_size(picture: np.ndarray, spec: InputSpec) -> np.ndarray:
    if spec.size is None or spec.resize is None:
        bottom, right = -picture.shape[0] % spec.multiple, -picture.shape[1] % spec.multiple
        return np.pad(picture, ((0, bottom), (0, right), (0, 0)), mode="edge").astype(np.float32)
    height, width = spec.size
    if spec.shorter_side is None:
        return resize(picture, height, width, spec.resize)
    short = min(picture.shape[:2])
    tall, wide = (spec.shorter_side * side // short for side in picture.shape[:2])
    scaled = resize(picture, tall, wide, spec.resize)
    top, left = round((tall - height) / 2), round((wide - width) / 2)
    return scaled[top : top + height, left : left + width]
