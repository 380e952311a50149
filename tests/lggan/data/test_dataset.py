"""Examples: photo, label map and instance map stay pixel on pixel through resize, crop and mirror."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import lggan.data.dataset as module
from lggan.data.dataset import DataConfig, PairDataset, photo_to_unit
from lggan.data.pairs import Pair, find_pairs
from lggan.data.plan import View
from lggan.preset import load_preset
from runtime.contract.card import ClassInfo
from runtime.contract.errors import InputError

CLASSES = tuple(ClassInfo(f"class {index}", (index, index, index)) for index in range(200))


def write_pair(folder: Path, label: np.ndarray, photo: np.ndarray, instance: np.ndarray | None = None) -> Pair:
    Image.fromarray(photo).save(folder / "photo.png")
    Image.fromarray(label).save(folder / "label.png")
    if instance is not None:
        np.save(folder / "instance.npy", instance)
    path = folder / "instance.npy"
    return Pair("one", folder / "photo.png", folder / "label.png", path if instance is not None else None)


@pytest.fixture
def numbered(tmp_path: Path) -> Pair:
    """Every pixel has its own id, which stands in the photo and in the instance map too: 10 x 20 pixels."""
    label = np.arange(200, dtype=np.uint8).reshape(10, 20)
    return write_pair(tmp_path, label, np.stack([label, 255 - label, label], axis=2), label.astype(np.int32) * 1000)


@pytest.mark.parametrize("view", [View(0, 0, 0, False), View(0, 2, 12, False), View(0, 1, 3, True)])
def test_crop_and_mirror_move_all_three_alike(numbered: Pair, view: View) -> None:
    dataset = PairDataset([numbered], CLASSES, None, DataConfig(8, 8, 10, 20, instances=True))
    example = dataset[view]
    columns = np.arange(view.left, view.left + 8)
    expected = np.arange(view.top, view.top + 8)[:, None] * 20 + (columns[::-1] if view.flip else columns)
    np.testing.assert_array_equal(example.label[0], expected)
    np.testing.assert_array_equal(example.instance[0], expected * 1000)
    np.testing.assert_array_equal(example.photo, np.stack([expected, 255 - expected, expected]))
    assert (example.label.dtype, example.photo.dtype, example.instance.dtype) == (torch.uint8, torch.uint8, torch.int32)
    assert all(tensor.is_contiguous() or tensor is example.photo for tensor in example)


def test_resize_keeps_photo_and_label_aligned(tmp_path: Path) -> None:
    """A photo that shows the label map as grey values, at twice and at half its size: classes stay where they were."""
    label = np.kron(np.array([[0, 100, 0, 50], [150, 0, 199, 0]], np.uint8), np.ones((8, 8), np.uint8))  # 16 x 32
    for factor in (1, 3):
        large = np.kron(label, np.ones((factor, factor), np.uint8))
        pair = write_pair(tmp_path, label, np.stack([large] * 3, axis=2))
        for height, width in ((32, 64), (8, 16), (24, 40)):
            example = PairDataset([pair], CLASSES, None, DataConfig(height, width, height, width))[View(0, 0, 0, False)]
            assert set(np.unique(example.label)) == {0, 50, 100, 150, 199}
            centres_y, centres_x = (np.arange(n) * side // n + side // n // 2 for n, side in ((2, height), (4, width)))
            centre = example.label[0][centres_y][:, centres_x]
            np.testing.assert_array_equal(centre, [[0, 100, 0, 50], [150, 0, 199, 0]])
            photo, ids = example.photo[0].float(), example.label[0].float()
            aligned = (photo - ids).abs().mean()
            for shift, axis in ((1, 0), (-1, 0), (1, 1), (-1, 1)):
                assert aligned < 0.6 * (photo - ids.roll(shift, axis)).abs().mean()


def test_void_value_becomes_the_void_class(tiny_dataset: Path) -> None:
    preset = load_preset("tiny")
    dataset = PairDataset(find_pairs(tiny_dataset, "train"), preset.classes, preset.void, DataConfig(32, 64, 48, 96))
    label = dataset[View(0, 0, 0, False)].label
    assert label[0, 0, 0] == 3
    assert label.max() == 3


def test_instance_is_zero_where_unused(numbered: Pair) -> None:
    example = PairDataset([numbered], CLASSES, None, DataConfig(8, 8, 10, 20))[View(0, 0, 0, False)]
    assert example.instance.shape == (1, 8, 8)
    assert example.instance.abs().sum() == 0


def test_files_are_read_once_while_memory_lasts(tiny_dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    preset, pairs = load_preset("tiny"), find_pairs(tiny_dataset, "train")
    read: list[str] = []
    original = module.read_photo
    monkeypatch.setattr(module, "read_photo", lambda path: (read.append(path.name), original(path))[1])
    dataset = PairDataset(pairs, preset.classes, preset.void, DataConfig(32, 64, 48, 96), cache_bytes=2 * 48 * 96 * 4)
    first = dataset[View(0, 0, 0, False)]
    dataset[View(0, 3, 5, True)]
    for index in (1, 1, 2, 2):
        dataset[View(index, 0, 0, False)]
    assert read == ["scene8.png", "scene9.png", "scene10.png", "scene10.png"]  # there was room for two
    assert torch.equal(dataset[View(0, 0, 0, False)].photo, first.photo)
    assert len(dataset) == 5


def test_a_mirrored_view_does_not_spoil_the_cached_one(numbered: Pair) -> None:
    dataset = PairDataset([numbered], CLASSES, None, DataConfig(10, 20, 10, 20))
    first = dataset[View(0, 0, 0, False)]
    before = first.photo.clone()
    dataset[View(0, 0, 0, True)].photo.zero_()
    assert torch.equal(dataset[View(0, 0, 0, False)].photo, before)


def test_photo_to_unit() -> None:
    assert photo_to_unit(torch.tensor([0, 255, 51], dtype=torch.uint8)).tolist() == pytest.approx([-1, 1, -0.6])


def test_sizes_that_cannot_show_the_same_scene(tmp_path: Path) -> None:
    pair = write_pair(tmp_path, np.zeros((10, 20), np.uint8), np.zeros((20, 20, 3), np.uint8))
    with pytest.raises(InputError, match=r"20x20 .* 20x10"):
        PairDataset([pair], CLASSES, None, DataConfig(8, 8, 10, 20))[View(0, 0, 0, False)]


def test_a_rounded_size_is_no_other_scene(tmp_path: Path) -> None:
    """360 x 480 halved and thirded need not divide evenly: a pixel more or less is tolerated."""
    pair = write_pair(tmp_path, np.zeros((24, 31), np.uint8), np.zeros((71, 93, 3), np.uint8))
    assert PairDataset([pair], CLASSES, None, DataConfig(8, 8, 10, 20))[View(0, 0, 0, False)].photo.shape == (3, 8, 8)


@pytest.mark.parametrize("fault", ["id", "photo", "label", "instance", "instance file"])
def test_bad_files(tmp_path: Path, fault: str) -> None:
    label = np.full((10, 20), 250 if fault == "id" else 3, np.uint8)
    photo = np.random.default_rng(0).integers(0, 256, (10, 20, 3), dtype=np.uint8)
    pair = write_pair(tmp_path, label, photo, np.zeros((10, 20), np.int32))
    if fault in ("photo", "label"):
        path = getattr(pair, fault)
        path.write_bytes(path.read_bytes()[:60])
    elif fault == "instance":
        pair = Pair(pair.name, pair.photo, pair.label)
    elif fault == "instance file":
        (tmp_path / "instance.npy").write_bytes(b"no array")
    dataset = PairDataset([pair], CLASSES, None, DataConfig(8, 8, 10, 20, instances=True))
    with pytest.raises(InputError, match=str(tmp_path)) as caught:
        dataset[View(0, 0, 0, False)]
    assert "\n" not in str(caught.value)
