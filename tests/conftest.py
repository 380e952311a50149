"""What the tests of several rooms share: a tiny preset, a tiny data set, the folder of reference numbers."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

if TYPE_CHECKING:
    from lggan.preset import Preset

REPOSITORY = Path(__file__).resolve().parents[1]
SHARED = REPOSITORY.parent / "shared"
TINY_COLOURS = np.array([[128, 128, 128], [128, 64, 128], [64, 0, 128], [0, 0, 0]], np.uint8)


# A shell starts what it runs in the background with Ctrl-C ignored, and every child inherits that; tests of Ctrl-C
# could then never see it arrive.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder of reference numbers and data beside the repository; tests that need it are skipped without it."""
    if not SHARED.is_dir():
        pytest.skip("../shared is absent: reference numbers and data sets are not part of the repository")
    return SHARED


@pytest.fixture
def tiny_preset() -> Preset:
    """The smallest preset that comes with the package: 3 classes and void, 32 x 64 pixels."""
    pytest.importorskip("torch")
    from lggan.preset import load_preset

    return load_preset("tiny")


@pytest.fixture
def tiny_dataset(tmp_path: Path) -> Path:
    """Root of a data set for the preset `tiny`, in the folder layout: 5 scenes in ``train``, 2 in ``val``."""
    return write_tiny_dataset(tmp_path / "data")


@pytest.fixture(scope="session")
def make_tiny_dataset() -> Callable[..., Path]:
    """`write_tiny_dataset`, for tests that want another place or number of scenes."""
    return write_tiny_dataset


def write_tiny_dataset(root: Path, train: int = 5, val: int = 2, size: tuple[int, int] = (48, 96)) -> Path:
    """Draw scenes of sky, ground and boxes; the photo is the label map's colours with noise. Returns ``root``."""
    for split, count, seed in (("train", train, 0), ("val", val, 1000)):
        for kind in ("images", "labels"):
            (root / split / kind).mkdir(parents=True)
        for index in range(count):
            label = _scene(np.random.default_rng(seed + index), *size)
            noise = np.random.default_rng(seed + index + 500).integers(-40, 41, (*size, 3))
            photo = np.clip(TINY_COLOURS[label].astype(np.int64) + noise, 0, 255).astype(np.uint8)
            Image.fromarray(photo).save(root / split / "images" / f"scene{index + 8}.png")
            label[:2, :2] = 255  # void as many data sets write it
            Image.fromarray(label).save(root / split / "labels" / f"scene{index + 8}.png")
    return root


def _scene(draw: np.random.Generator, height: int, width: int) -> np.ndarray:
    label = np.zeros((height, width), np.uint8)
    label[draw.integers(height // 4, 3 * height // 4) :] = 1
    for _ in range(2):
        top, left = draw.integers(0, height - 12), draw.integers(0, width - 16)
        label[top : top + draw.integers(6, 12), left : left + draw.integers(8, 16)] = 2
    return label
