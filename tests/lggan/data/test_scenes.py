"""Scenes at the size of their files, for every layout."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lggan.data.layout import Folders, Layout
from lggan.data.scenes import SceneList, scenes
from lggan.preset import Preset, load_preset, preset_names
from runtime.contract.errors import InputError, UsageError
from runtime.contract.strips import Direction
from tests.miniatures import draw_scene, draw_strip, write_miniature


def of(preset: Preset, root: Path, split: str) -> SceneList:
    direction = preset.strips.direction if preset.strips else None
    return scenes(root, split, preset.layout, preset.classes, preset.void, direction, preset.folders)


@pytest.mark.parametrize("name", preset_names())
def test_every_preset(name: str, tmp_path: Path) -> None:
    preset = load_preset(name)
    found = of(preset, write_miniature(preset, tmp_path, size=(32, 48), examples=2), "val")
    assert len(found) == len(found.names) == 2
    scene = found[1]
    assert scene.name == found.names[1]
    if preset.layout is not Layout.STRIPS:
        drawn = draw_scene(preset, (32, 48), seed=1001)
        assert scene.photo.shape == (32, 48, 3)
        np.testing.assert_array_equal(scene.label[2:, 2:], drawn.label[2:, 2:])
        assert scene.label[0, 0] == (drawn.label[0, 0] if preset.void is None else preset.void)
        assert (scene.instance is not None) is (preset.layout in (Layout.CITYSCAPES, Layout.COCO_STUFF))
        assert scene.source is None
    elif name != "cvusa":
        strip = draw_strip(preset, 32, seed=1001)
        given, wanted = (0, 1) if preset.strips and preset.strips.direction is Direction.A2G else (1, 0)
        assert scene.source is not None
        np.testing.assert_array_equal(scene.source, strip[:, 32 * given : 32 * (given + 1)])
        np.testing.assert_array_equal(scene.photo, strip[:, 32 * wanted : 32 * (wanted + 1)])
        colors = np.array([info.color for info in preset.classes])[scene.label]
        np.testing.assert_array_equal(colors, strip[:, 32 * (2 + wanted) : 32 * (3 + wanted)])


def test_strips_need_a_direction_and_nothing_else_does(tmp_path: Path) -> None:
    preset = load_preset("tiny_cross_view")
    root = write_miniature(preset, tmp_path, size=(16, 16))
    with pytest.raises(UsageError, match="direction"):
        scenes(root, "val", Layout.STRIPS, preset.classes, 255)
    with pytest.raises(UsageError, match="direction"):
        scenes(root, "val", Layout.FOLDER, preset.classes, 255, Direction.A2G)


def test_folders_of_any_name(tmp_path: Path) -> None:
    for folder in ("photos/test", "maps/test"):
        (tmp_path / folder).mkdir(parents=True)
        Image.fromarray(np.ones((4, 6), np.uint8)).save(tmp_path / folder / "a.png")
    folders = Folders("photos/{split}", "maps/{split}", val="test")
    preset = load_preset("deepfashion")
    (scene,) = scenes(tmp_path, "val", Layout.STEMS, preset.classes, None, folders=folders)  # by __getitem__
    assert scene.label.tolist() == [[1] * 6] * 4


def test_a_bad_file_is_named(tmp_path: Path) -> None:
    root = write_miniature("facades", tmp_path, size=(16, 16), examples=2)
    (root / "val_label" / "scene_2.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    found = of(load_preset("facades"), root, "val")
    assert found[0].label.shape == (16, 16)
    with pytest.raises(InputError, match=r"scene_2\.png is truncated"):
        found[1]


@pytest.mark.parametrize(
    ("name", "folder"),
    [("cityscapes", "cityscapes"), ("ade20k", "ade20k"), ("coco_stuff", "coco_stuff"), ("camvid", "camvid"),
     ("dayton_g2a", "cross_view/dayton"), ("cvusa", "cross_view/cvusa"), ("sva", "cross_view/sva")],
)  # fmt: skip
def test_real_samples(name: str, folder: str, shared_dir: Path) -> None:
    preset = load_preset(name)
    found = of(preset, shared_dir / "data" / folder, "val")
    scene = found[0]
    assert scene.photo.shape[:2] == scene.label.shape
    assert int(scene.label.max()) < len(preset.classes) or preset.void == 255
    assert (scene.source is not None) is (preset.layout is Layout.STRIPS)
