"""From a preset and a folder to examples: every preset on a miniature of its data set, and on real samples."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lggan.data.dataset import Example
from lggan.data.layout import Layout
from lggan.data.open import open_dataset
from lggan.data.plan import View
from lggan.data.strips_dataset import CrossViewExample
from lggan.preset import load_preset, preset_names, resized
from lggan.task import Task
from runtime.contract.errors import InputError, UsageError
from tests.miniatures import draw_scene, write_miniature


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_reads_its_miniature(name: str, tmp_path: Path) -> None:
    preset = load_preset(name)
    preset = resized(preset, 64, 64)
    root = write_miniature(preset, tmp_path, size=(48, 48), examples=2)
    for split in ("train", "val"):
        data = open_dataset(preset, root, split)
        assert (len(data), len(data.names)) == (2, 2)
        assert data.slack == (preset.train.load_height - 64, preset.train.load_width - 64)
        example = data[View(1, data.slack[0], 0, True)]
        if preset.task is Task.CROSS_VIEW:
            assert isinstance(example, CrossViewExample)
            heads = preset.generator.heads
            assert set(example.group.unique().tolist()) <= {*range(heads), 255}
            assert [tuple(tensor.shape) for tensor in example] == [(3, 64, 64)] * 3 + [(1, 64, 64)]
        else:
            assert isinstance(example, Example)
            assert [tuple(tensor.shape) for tensor in example] == [(3, 64, 64), (1, 64, 64), (1, 64, 64)]
            assert int(example.label.max()) < len(preset.classes)
            assert bool(example.instance.any()) is preset.generator.edges


def test_a_miniature_holds_what_was_drawn(tmp_path: Path) -> None:
    """Ids, void and instances come back through the files of the layout with the most of them."""
    preset = resized(load_preset("coco_stuff"), 32, 64)
    preset = replace(preset, train=replace(preset.train, load_height=32, load_width=64))
    data = open_dataset(preset, write_miniature(preset, tmp_path, size=(32, 64), examples=1), "val")
    example = data[View(0, 0, 0, False)]
    assert isinstance(example, Example)
    drawn = draw_scene(preset, (32, 64), seed=1000)
    expected = drawn.label.copy()
    expected[:2, :2] = 182  # 255 in the file
    np.testing.assert_array_equal(example.label[0], expected)
    np.testing.assert_array_equal(example.instance[0], drawn.instance)
    difference = example.photo.permute(1, 2, 0).to(torch.float32).numpy() - drawn.photo
    assert np.abs(difference).mean() < 25  # JPEG of noise


@pytest.mark.parametrize("name", ["cityscapes", "coco_stuff"])
def test_missing_instance_maps_are_an_error_before_training(name: str, tmp_path: Path) -> None:
    root = write_miniature(name, tmp_path, size=(32, 32), examples=3, splits=("train",))
    victims = sorted(path for path in root.rglob("*.png") if "inst" in str(path.relative_to(root)))
    victims[1].unlink()
    with pytest.raises(InputError, match=r"1 of 3 label maps have no instance map.*edge channel"):
        open_dataset(load_preset(name), root, "train")
    generator = replace(load_preset(name).generator, edges=False)
    assert len(open_dataset(replace(load_preset(name), generator=generator), root, "train")) == 3


def test_a_data_set_of_another_preset(tmp_path: Path) -> None:
    root = write_miniature("facades", tmp_path / "facades", size=(32, 32))
    for name in ("cityscapes", "camvid", "ade20k"):
        with pytest.raises(InputError, match=f"the layout '{load_preset(name).layout.value}' is .*train_img"):
            open_dataset(load_preset(name), root, "train")
    with pytest.raises(InputError, match="the layout 'strips' is"):
        open_dataset(load_preset("dayton_a2g"), root, "train")
    data = open_dataset(load_preset("celeba_mask"), root, "train")  # the same folders; 13 classes fit into 19
    assert len(data) == 3
    deep = write_miniature("coco_stuff", tmp_path / "coco", size=(32, 32))
    data = open_dataset(load_preset("facades"), deep, "train")
    with pytest.raises(InputError, match=r"no class.*knows 0 to 12"):
        data[View(0, 0, 0, False)]


def test_an_empty_split(tmp_path: Path) -> None:
    for name in ("facades", "dayton_a2g", "cityscapes", "coco_stuff", "camvid"):
        root = write_miniature(name, tmp_path / name, size=(16, 16), examples=1)
        for path in root.rglob("*"):
            if path.is_file() and ("train" in str(path.relative_to(root))):
                path.unlink()
        with pytest.raises(InputError, match=r"holds no (photos|strips)"):
            open_dataset(load_preset(name), root, "train")
        assert len(open_dataset(load_preset(name), root, "val")) == 1


def test_a_loading_size_below_the_picture(tmp_path: Path) -> None:
    preset = load_preset("tiny")
    preset = replace(preset, train=replace(preset.train, load_height=31))
    with pytest.raises(UsageError, match="loading size 72x31 is smaller"):
        open_dataset(preset, tmp_path, "train")


@pytest.mark.parametrize("name", ["cityscapes", "ade20k", "coco_stuff", "camvid"])
@pytest.mark.parametrize("split", ["train", "val"])
def test_real_samples(name: str, split: str, shared_dir: Path) -> None:
    preset = load_preset(name)
    assert preset.layout is not Layout.STRIPS
    data = open_dataset(preset, shared_dir / "data" / name, split)
    seen: set[int] = set()
    for index in range(min(len(data), 6)):
        example = data[View(index, 0, 0, False)]
        assert isinstance(example, Example)
        height, width = preset.generator.height, preset.generator.width
        assert [tuple(tensor.shape) for tensor in example] == [(n, height, width) for n in (3, 1, 1)]
        assert bool(example.instance.any()) is preset.generator.edges
        seen |= set(example.label.unique().tolist())
    assert max(seen) < len(preset.classes)
    assert len(seen) >= 7
    if name == "coco_stuff":
        assert 182 in seen  # pixels without a label
