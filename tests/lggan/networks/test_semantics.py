"""One-hot maps, instance edges and bytes against loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lggan.networks.semantics import decode_image, encode_semantics, instance_edges


def edges_by_loops(instance: np.ndarray) -> np.ndarray:
    n, _, height, width = instance.shape
    edges = np.zeros(instance.shape, np.float32)
    for b, y, x in np.ndindex(n, height, width):
        for dy, dx in ((-1, 0), (1, 0), (0, -1), (0, 1)):
            if 0 <= y + dy < height and 0 <= x + dx < width and instance[b, 0, y + dy, x + dx] != instance[b, 0, y, x]:
                edges[b, 0, y, x] = 1
    return edges


@pytest.mark.parametrize("size", [(6, 7), (1, 5), (5, 1), (1, 1)])
def test_instance_edges(size: tuple[int, int]) -> None:
    instance = np.random.default_rng(0).integers(0, 3, (2, 1, *size)).astype(np.int32)
    result = instance_edges(torch.from_numpy(instance))
    assert result.dtype == torch.float32
    np.testing.assert_array_equal(result.numpy(), edges_by_loops(instance))


def test_instance_ids_beyond_16_bits_stay_apart() -> None:
    instance = torch.tensor([[[[26_001, 26_001 + 65_536, 2_000_000_000, 2_000_000_000]]]], dtype=torch.int32)
    assert instance_edges(instance).flatten().tolist() == [1, 1, 1, 0]


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.int64])
def test_one_hot_of_every_id(dtype: torch.dtype) -> None:
    label = torch.arange(256).view(1, 1, 16, 16)
    result = encode_semantics(label.to(dtype), 200)
    assert result.dtype == torch.float32
    assert result.shape == (1, 200, 16, 16)
    expected = (label.flatten()[None] == torch.arange(200)[:, None]).float()  # ids from 200 on: all zero
    assert torch.equal(result.flatten(2)[0], expected)


def test_edges_are_the_last_channel() -> None:
    label = torch.zeros(1, 1, 2, 3, dtype=torch.uint8)
    instance = torch.tensor([[[[1, 1, 2], [1, 1, 2]]]], dtype=torch.int32)
    result = encode_semantics(label, 2, instance)
    assert result.shape == (1, 3, 2, 3)
    assert result[0, 2].tolist() == [[0, 1, 1], [0, 1, 1]]


def test_bytes_of_a_picture() -> None:
    values = torch.tensor([-2.0, -1.0, -0.999, 0.0, 1 / 255, 0.5, 1.0, 3.0])
    image = values.view(1, 1, 1, 8).expand(1, 3, 1, 8)
    result = decode_image(image)
    expected = [int(np.rint((min(max(float(v), -1), 1) + 1) * 127.5)) for v in values]
    assert result.shape == (1, 1, 8, 3)
    assert result.dtype == torch.uint8
    assert result[0, 0, :, 0].tolist() == expected
    assert expected[0] == expected[1] == 0
    assert expected[-2] == expected[-1] == 255


def test_bytes_survive_the_way_there_and_back() -> None:
    from lggan.data.dataset import photo_to_unit

    photo = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).expand(1, 3, 16, 16)
    unit = photo_to_unit(photo)
    assert unit.min() == -1
    assert unit.max() == 1
    assert torch.equal(decode_image(unit), photo.permute(0, 2, 3, 1))
