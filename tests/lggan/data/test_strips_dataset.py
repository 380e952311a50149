"""Strips as examples: every panel pixel on pixel, both readings against independent ones, the real samples."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from math import floor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import lggan.data.strips_dataset as module
from lggan.data.dataset import DataConfig
from lggan.data.open import open_dataset
from lggan.data.plan import View
from lggan.data.strips import LabelReading, StripConfig
from lggan.data.strips_dataset import CrossViewExample, StripDataset
from lggan.preset import Preset, load_preset
from runtime.contract.errors import InputError
from runtime.contract.strips import Direction
from tests.miniatures import draw_strip, write_miniature

PRESET = load_preset("dayton_a2g")
COLORS = np.array([info.color for info in PRESET.classes], np.int64)
GROUPS = np.array([*PRESET.generator.groups, 255])
# D.2 of the specification, independent of the preset's file: grey level by colour.
LEVEL_OF_COLOR = {
    10: [(0, 0, 142), (0, 0, 70), (0, 60, 100), (0, 80, 100), (0, 0, 230), (119, 11, 32)],
    20: [(128, 64, 128), (244, 35, 232), (152, 251, 152)],
    30: [(153, 153, 153), (250, 170, 30), (220, 220, 0), (220, 20, 60), (255, 0, 0)],
    40: [(70, 70, 70), (102, 102, 156), (190, 153, 153)],
    50: [(70, 130, 180)],
    60: [(107, 142, 35)],
}


def save(path: Path, strip: np.ndarray) -> Path:
    Image.fromarray(strip).save(path)
    return path


def dataset(paths: list[Path], strip: StripConfig, config: DataConfig, **options: int) -> StripDataset:
    return StripDataset(paths, PRESET.classes, 6, config, strip, **options)


def as_image(tensor: torch.Tensor) -> np.ndarray:
    return tensor.permute(1, 2, 0).numpy()


@pytest.mark.parametrize("direction", list(Direction))
@pytest.mark.parametrize("view", [View(0, 0, 0, False), View(0, 3, 9, False), View(0, 5, 2, True)])
def test_crop_and_mirror_move_all_panels_alike(tmp_path: Path, direction: Direction, view: View) -> None:
    strip = draw_strip(PRESET, 48, seed=3)
    data = dataset([save(tmp_path / "a.png", strip)], StripConfig(direction), DataConfig(32, 32, 48, 48))
    example = data[view]
    panels = [strip[:, 48 * index : 48 * (index + 1)] for index in range(6)]
    given, wanted = (panels[0::2], panels[1::2]) if direction is Direction.A2G else (panels[1::2], panels[0::2])
    crop = np.s_[view.top : view.top + 32, view.left : view.left + 32]

    def shown(panel: np.ndarray) -> np.ndarray:
        return panel[crop][:, ::-1] if view.flip else panel[crop]

    np.testing.assert_array_equal(as_image(example.source), shown(given[0]))
    np.testing.assert_array_equal(as_image(example.photo), shown(wanted[0]))
    np.testing.assert_array_equal(as_image(example.guide), shown(wanted[1]))
    np.testing.assert_array_equal(example.group[0], shown(wanted[2])[..., 0] // 10 - 1)
    assert all(tensor.dtype == torch.uint8 for tensor in example)
    assert [tuple(tensor.shape) for tensor in example] == [(3, 32, 32)] * 3 + [(1, 32, 32)]
    assert (data.slack, data.names, len(data)) == ((16, 16), ["a"], 1)


def test_labels_are_resized_by_nearest(tmp_path: Path) -> None:
    """64 -> 72 and 64 -> 48: only colours of the palette, only whole groups, and the two agree."""
    strip = draw_strip(PRESET, 64, seed=5)
    path = save(tmp_path / "a.png", strip)
    for side in (72, 48):
        example = dataset([path], StripConfig(), DataConfig(side, side, side, side))[View(0, 0, 0, False)]
        guide = as_image(example.guide).reshape(-1, 3)
        level = {color: level for level, colors in LEVEL_OF_COLOR.items() for color in colors}
        expected = [level[tuple(color)] // 10 - 1 for color in guide.tolist()]
        np.testing.assert_array_equal(example.group.reshape(-1), expected)
        taken = [floor(Fraction(2 * index + 1, 2) * 64 / side) for index in range(side)]  # centre of the pixel
        np.testing.assert_array_equal(as_image(example.guide), strip[:, 3 * 64 : 4 * 64][taken][:, taken])


def test_the_published_reading(tmp_path: Path) -> None:
    """Every panel through Pillow's bicubic filter by itself, groups by equality afterwards."""
    strip = draw_strip(PRESET, 64, seed=7)
    path = save(tmp_path / "a.png", strip)
    config = StripConfig(reading=LabelReading.BICUBIC)
    example = dataset([path], config, DataConfig(64, 64, 72, 72))[View(0, 4, 6, False)]
    panels = [
        np.asarray(Image.fromarray(strip[:, 64 * n : 64 * (n + 1)]).resize((72, 72), Image.Resampling.BICUBIC))
        for n in range(6)
    ]
    crop = np.s_[4:68, 6:70]
    for tensor, panel in ((example.source, 0), (example.photo, 1), (example.guide, 3)):
        np.testing.assert_array_equal(as_image(tensor), panels[panel][crop])
    levels = panels[5][crop][..., 0]
    expected = np.full((64, 64), 255)
    for group in range(6):
        expected[levels == 10.0 * (group + 1)] = group
    np.testing.assert_array_equal(example.group[0], expected)
    assert 0.01 < (expected == 255).mean() < 0.5  # borders belong to no group
    np.testing.assert_array_equal(dataset([path], config, DataConfig(64, 64, 64, 64))[View(0, 0, 0, True)].group[0],
                                  strip[:, 5 * 64 :, 0][:, ::-1] // 10 - 1)  # fmt: skip


def test_void_is_black_and_of_no_group(tmp_path: Path) -> None:
    strip = draw_strip(PRESET, 32, seed=1)
    strip[:9, 3 * 32 : 4 * 32] = 0
    strip[:9, 5 * 32 :] = 0
    for reading in LabelReading:
        data = dataset([save(tmp_path / "a.png", strip)], StripConfig(reading=reading), DataConfig(32, 32, 32, 32))
        example = data[View(0, 0, 0, False)]
        assert (example.group[0, :9] == 255).all()
        assert (example.guide[:, :9] == 0).all()
        assert (example.group[0, 9:] < 6).all()


def test_strips_are_read_once_while_memory_lasts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [save(tmp_path / f"{n}.png", draw_strip(PRESET, 16, seed=n)) for n in range(3)]
    read: list[str] = []
    original = module.read_strip
    monkeypatch.setattr(module, "read_strip", lambda path, way: (read.append(path.stem), original(path, way))[1])
    data = dataset(paths, StripConfig(), DataConfig(16, 16, 16, 16), cache_bytes=2 * 16 * 16 * 8)
    first = data[View(0, 0, 0, False)]
    data[View(0, 0, 0, True)].guide.zero_()
    for index in (1, 1, 2, 2):
        data[View(index, 0, 0, False)]
    assert read == ["0", "1", "2", "2"]  # there was room for two
    assert all(torch.equal(one, other) for one, other in zip(data[View(0, 0, 0, False)], first, strict=True))


@pytest.mark.parametrize(
    ("fault", "message"),
    [("width", "48x8"), ("grid", r"grid.* 44 \("), ("colours", "colour panel"), ("truncated", "truncated|damaged")],
)
def test_bad_strips(tmp_path: Path, fault: str, message: str) -> None:
    strip = draw_strip(PRESET, 8, seed=2)
    if fault == "width":
        strip = strip[:, :-1]
    if fault == "grid":
        strip[3, -1] = 44
    if fault == "colours":
        strip[:, 24:32] = (200, 255, 255)  # far from every class
    path = save(tmp_path / "bad.png", strip)
    if fault == "truncated":
        path.write_bytes(path.read_bytes()[:-30])
    data = dataset([path], StripConfig(), DataConfig(8, 8, 8, 8))
    with pytest.raises(InputError, match=message) as caught:
        data[View(0, 0, 0, False)]
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_jpeg_is_read_in_spite_of_its_noise(tmp_path: Path) -> None:
    """The same scenes as PNG and as JPEG: nearly all pixels get the same colour and the same group."""
    pairs = []
    for name in ("cvusa", "dayton_a2g"):
        root = write_miniature(name, tmp_path / name, size=(64, 64), examples=4)
        data = open_dataset(load_preset(name), root, "train")
        pairs.append([data[View(index, 8, 8, False)] for index in range(4)])
    same_guide = np.mean([np.mean((j.guide == p.guide).all(dim=0).numpy()) for j, p in zip(*pairs, strict=True)])
    same_group = np.mean([np.mean((j.group == p.group).numpy()) for j, p in zip(*pairs, strict=True)])
    assert same_guide > 0.9
    assert same_group > 0.9


REAL = [("dayton_a2g", "dayton"), ("dayton_g2a", "dayton"), ("dayton_a2g_64", "dayton"), ("dayton_g2a_64", "dayton"),
        ("cvusa", "cvusa"), ("sva", "sva")]  # fmt: skip


@pytest.mark.parametrize(("name", "folder"), REAL)
@pytest.mark.parametrize("split", ["train", "val"])
def test_real_samples(name: str, folder: str, split: str, shared_dir: Path) -> None:
    preset = load_preset(name)
    root = shared_dir / "data" / "cross_view" / folder
    data = open_dataset(preset, root, split)
    assert len(data) == len(list((root / ("test" if split == "val" else split)).iterdir()))
    side = preset.generator.height
    assert data.slack == ({64: 8, 256: 30}[side],) * 2
    for index in range(len(data)):
        example = data[View(index, 4, 2, False)]
        assert isinstance(example, CrossViewExample)
        assert [tuple(tensor.shape) for tensor in example] == [(3, side, side)] * 3 + [(1, side, side)]
        painted = as_image(example.guide).reshape(-1, 3)
        matches = (painted[:, None].astype(np.int64) == COLORS[None]).all(-1)  # [h*w, K]
        ids = np.where(matches.any(-1), matches.argmax(-1), len(COLORS))
        agreement = (GROUPS[ids] == example.group.numpy().ravel()).mean()
        assert agreement == 1.0 if folder != "cvusa" else agreement > 0.94


def test_the_published_reading_of_the_real_samples_loses_borders(shared_dir: Path) -> None:
    """Specification G19: 3.7 % of Dayton's and 5.2 % of SVA's pixels belong to no class after the bicubic resize."""
    for name, folder, expected in (("dayton_a2g", "dayton", 0.037), ("sva", "sva", 0.052)):
        preset = _bicubic(load_preset(name))
        lost = []
        for split in ("train", "val"):
            data = open_dataset(preset, shared_dir / "data" / "cross_view" / folder, split)
            lost += [np.mean((data[View(n, 0, 0, False)].group == 255).numpy()) for n in range(len(data))]
        assert np.mean(lost) == pytest.approx(expected, abs=0.002)


def _bicubic(preset: Preset) -> Preset:
    assert preset.strips is not None
    generator = replace(preset.generator, height=284, width=284)  # nearly the whole loaded strip of 286
    return replace(preset, generator=generator, strips=replace(preset.strips, reading=LabelReading.BICUBIC))
