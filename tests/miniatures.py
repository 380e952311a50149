"""Generated data sets in miniature: a few drawn scenes in the exact folder structure and file forms of each preset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from lggan.data.layout import Layout
from lggan.preset import Preset, load_preset

SPLITS = ("train", "val")
_BLOCKS = 6  # rectangles of a scene
_NOISE = 30  # levels by which a photo strays from the colours of its classes


@dataclass(frozen=True)
class DrawnScene:
    """What was drawn: uint8 ``photo`` [H, W, 3], uint8 ``label`` [H, W], int32 ``instance`` [H, W] numbered from 0."""

    photo: np.ndarray
    label: np.ndarray
    instance: np.ndarray


def write_miniature(
    preset: str | Preset,
    root: Path,
    size: tuple[int, int] = (64, 64),
    examples: int = 3,
    splits: Sequence[str] = SPLITS,
) -> Path:
    """Write a data set that `open_dataset` reads with the preset.

    Args:
        preset: a preset, or the name of one.
        root: folder to write into; made where it is absent.
        size: height and width of the scenes; strips are six squares of the height.
        examples: scenes of each split.
        splits: ``train``, ``val`` or both.

    Returns:
        ``root``.
    """
    preset = load_preset(preset) if isinstance(preset, str) else preset
    for number, split in enumerate(splits):
        for index in range(examples):
            seed = 1000 * number + index
            if preset.layout is Layout.STRIPS:
                suffix = ".jpg" if preset.name == "cvusa" else ".png"
                folder = "train" if split == "train" else "test"
                _save(draw_strip(preset, size[0], seed), root / folder / f"{index + 1:07d}{suffix}")
            else:
                _write_pair(preset, root, split, index, draw_scene(preset, size, seed))
    return root


def draw_scene(preset: Preset, size: tuple[int, int], seed: int) -> DrawnScene:
    """Rectangles of random classes over each other; the photo shows their colours with noise."""
    draw = np.random.default_rng(seed)
    height, width = size
    known = [index for index in range(len(preset.classes)) if index != preset.void]
    label = np.full(size, draw.choice(known), np.uint8)
    instance = np.zeros(size, np.int32)
    for number in range(1, _BLOCKS + 1):
        top, left = draw.integers(0, height - height // 4), draw.integers(0, width - width // 4)
        block = np.s_[top : top + draw.integers(height // 4, height), left : left + draw.integers(width // 4, width)]
        label[block], instance[block] = draw.choice(known), number
    colors = np.array([info.color for info in preset.classes], np.int64)
    noise = draw.integers(-_NOISE, _NOISE + 1, (*size, 3))
    return DrawnScene(np.clip(colors[label] + noise, 0, 255).astype(np.uint8), label, instance)


def draw_strip(preset: Preset, side: int, seed: int) -> np.ndarray:
    """A strip of six panels, uint8 [side, 6 side, 3]: aerial and ground photo, their class maps, their group maps."""
    views = [draw_scene(preset, (side, side), 2 * seed + view) for view in range(2)]
    colors = np.array([info.color for info in preset.classes], np.uint8)
    levels = (10 * (np.array(preset.generator.groups) + 1)).astype(np.uint8)  # type: ignore[union-attr]
    panels = [view.photo for view in views]
    panels += [colors[view.label] for view in views]
    panels += [np.repeat(levels[view.label][..., None], 3, axis=2) for view in views]
    return np.concatenate(panels, axis=1)


def _write_pair(preset: Preset, root: Path, split: str, index: int, scene: DrawnScene) -> None:
    label = scene.label.copy()
    if preset.void is not None:
        label[:2, :2] = 255  # void as the files have it
    if preset.layout is Layout.CITYSCAPES:
        frame = f"aachen/aachen_{index:06d}_000019"
        _save(scene.photo, root / "leftImg8bit" / split / f"{frame}_leftImg8bit.png")
        _save(label, root / "gtFine" / split / f"{frame}_gtFine_labelIds.png")
        numbered = np.where(label >= 24, label.astype(np.int32) * 1000 + scene.instance, label).astype(np.uint16)
        _save(numbered, root / "gtFine" / split / f"{frame}_gtFine_instanceIds.png")
    elif preset.layout is Layout.ADE20K:
        phase, name = {"train": "training", "val": "validation"}[split], f"ADE_{split}_{index + 1:08d}"
        _save(scene.photo, root / "images" / phase / f"{name}.jpg")
        _save(label, root / "annotations" / phase / f"{name}.png")
    elif preset.layout is Layout.COCO_STUFF:
        name = f"{139 + 97 * index:012d}"
        _save(scene.photo, root / f"{split}_img" / f"{name}.jpg")
        _save(label, root / f"{split}_label" / f"{name}.png")
        _save(scene.instance.astype(np.uint8), root / f"{split}_inst" / f"{name}.png")
    else:
        photos, labels = {
            Layout.FOLDER: (root / split / "images", root / split / "labels"),
            Layout.FACADES: (root / f"{split}_img", root / f"{split}_label"),
            Layout.STEMS: tuple(
                preset.folders.place(root, name, split) for name in (preset.folders.photos, preset.folders.labels)
            ),
        }[preset.layout]
        suffix = ".png" if preset.layout is Layout.FOLDER else ".jpg"
        _save(scene.photo, photos / f"scene_{index + 1}{suffix}")
        _save(label, labels / f"scene_{index + 1}.png")


def _save(array: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    quality = {"quality": 95} if path.suffix == ".jpg" else {}
    Image.fromarray(array).save(path, **quality)
