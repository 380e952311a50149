"""Resizing conventions against PyTorch, Pillow and loops; normalisation and orders against plain formulas."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from lggan.evaluation.network_file import AxisOrder, ChannelOrder, InputSpec, Resize
from lggan.evaluation.preprocessing import bilinear, prepare, resize

PICTURE = np.random.default_rng(0).integers(0, 256, (21, 34, 3), dtype=np.uint8)
PLAIN = InputSpec(AxisOrder.NCHW, ChannelOrder.RGB, 1.0, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


@pytest.mark.parametrize("size", [(10, 9), (40, 50), (21, 60), (1, 1)])
def test_torch_bilinear(size: tuple[int, int]) -> None:
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(PICTURE).permute(2, 0, 1)[None].double(), size, mode="bilinear", align_corners=False
    )[0].permute(1, 2, 0)
    np.testing.assert_allclose(resize(PICTURE, *size, Resize.TORCH_BILINEAR), expected.numpy(), atol=1e-4)


def test_tensorflow_bilinear_by_loops() -> None:
    """TensorFlow 1 without aligned corners: output pixel i lies at i * old / new."""
    height, width = 40, 13
    expected = np.zeros((height, width, 3))
    for i in range(height):
        for j in range(width):
            y, x = i * 21 / height, j * 34 / width
            top, left = int(y), int(x)
            below, right = min(top + 1, 20), min(left + 1, 33)
            dy, dx = y - top, x - left
            p = PICTURE.astype(np.float64)
            upper = p[top, left] * (1 - dx) + p[top, right] * dx
            lower = p[below, left] * (1 - dx) + p[below, right] * dx
            expected[i, j] = upper * (1 - dy) + lower * dy
    np.testing.assert_allclose(resize(PICTURE, height, width, Resize.TENSORFLOW_BILINEAR), expected, atol=1e-3)


def test_pillow_on_bytes_and_on_floats() -> None:
    on_bytes = np.asarray(Image.fromarray(PICTURE).resize((12, 8), Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(resize(PICTURE, 8, 12, Resize.PILLOW_BICUBIC), on_bytes)
    as_float = resize(PICTURE, 8, 12, Resize.PILLOW_BICUBIC_FLOAT)
    assert np.abs(as_float - np.rint(as_float)).max() > 0.1  # not rounded
    np.testing.assert_allclose(np.clip(as_float, 0, 255), on_bytes, atol=1.5)


def test_interpolating_to_the_same_size_changes_nothing() -> None:
    values = PICTURE.astype(np.float32)
    np.testing.assert_array_equal(bilinear(values, 21, 34), values)


def test_normalisation_and_orders() -> None:
    spec = replace(PLAIN, scale=255.0, mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7), channels=ChannelOrder.BGR)
    batch = prepare([PICTURE, PICTURE[::-1]], spec)
    assert (batch.dtype, batch.shape) == (np.float32, (2, 3, 21, 34))
    for channel, source in enumerate((2, 1, 0)):
        expected = (PICTURE[..., source] / 255 - spec.mean[channel]) / spec.std[channel]
        np.testing.assert_allclose(batch[0, channel], expected, atol=1e-6)
    last = prepare([PICTURE], replace(spec, axes=AxisOrder.NHWC))
    np.testing.assert_array_equal(last[0].transpose(2, 0, 1), batch[0])


def test_multiples_continue_the_border() -> None:
    batch = prepare([PICTURE], replace(PLAIN, multiple=8))
    assert batch.shape == (1, 3, 24, 40)
    np.testing.assert_array_equal(batch[0, :, :21, :34], PICTURE.transpose(2, 0, 1))
    np.testing.assert_array_equal(batch[0, :, 23, :34], PICTURE[20].T)


def test_shorter_side_and_centre() -> None:
    """As torchvision's Resize and CenterCrop on a PIL picture: 21x34 -> 28x45 -> the middle 24x24."""
    spec = replace(PLAIN, height=24, width=24, shorter_side=28, resize=Resize.PILLOW_BILINEAR)
    scaled = np.asarray(Image.fromarray(PICTURE).resize((45, 28), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(prepare([PICTURE], spec)[0], scaled[2:26, 10:34].transpose(2, 0, 1))
