"""The example label maps are what `examples/draw_streets.py` draws, and what a model of CamVid's classes can read."""

from __future__ import annotations

import csv
import importlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from runtime.contract.card import ClassInfo
from runtime.contract.labels import read_label_map

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / "examples" / "draw_streets.py"
FILES = sorted((ROOT / "examples" / "labels").glob("*.png"))
CAMVID = ROOT.parent / "shared" / "data" / "camvid"
NAMES = [
    "sky",
    "building",
    "pole",
    "road",
    "pavement",
    "tree",
    "sign_symbol",
    "fence",
    "car",
    "pedestrian",
    "bicyclist",
    "void",
]
COLORS = [
    (128, 128, 128), (128, 0, 0), (192, 192, 128), (128, 64, 128), (60, 40, 222), (128, 128, 0),
    (192, 128, 128), (64, 64, 128), (64, 0, 128), (64, 64, 0), (0, 128, 192), (0, 0, 0),
]  # fmt: skip
SKY, ROAD, CAR, VOID = 0, 3, 8, 11


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=environment)


def ids(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        assert picture.mode == "P"
        return np.array(picture)


@pytest.fixture(scope="module")
def streets() -> Iterator[ModuleType]:
    """The package `streets`, importable as it is for the script, and gone from the path afterwards."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(SCRIPT.parent))
        for name in ("canvas", "camera", "people", "scene", "scenes", "vehicles"):
            importlib.import_module(f"streets.{name}")
        yield importlib.import_module("streets")


def test_eight_files() -> None:
    assert [path.stem[:2] for path in FILES] == [f"{n:02d}" for n in range(1, 9)]


def test_script_reproduces_the_committed_files(tmp_path: Path) -> None:
    result = run("--output", tmp_path)
    assert result.returncode == 0, result.stderr
    drawn = sorted(tmp_path.iterdir())
    assert [path.name for path in drawn] == [path.name for path in FILES]
    for again, committed in zip(drawn, FILES, strict=True):
        assert np.array_equal(ids(again), ids(committed)), f"{committed.name} is not what the script draws; rerun it"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_form_of_a_file(path: Path) -> None:
    with Image.open(path) as picture:
        assert (picture.format, picture.mode, picture.size) == ("PNG", "P", (256, 192))
        assert all(side % 64 == 0 for side in picture.size)  # both upsampling depths
        assert picture.info.get("transparency") is None
        assert picture.getpalette()[: 3 * 12] == [value for color in COLORS for value in color]
        rgb = np.array(picture.convert("RGB"))
    label = ids(path)
    assert label.dtype == np.uint8
    assert label.max() <= VOID
    assert np.array_equal(rgb, np.array(COLORS, np.uint8)[label])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_our_reader_gives_the_same_ids(path: Path) -> None:
    classes = [ClassInfo(name, color) for name, color in zip(NAMES, COLORS, strict=True)]
    assert np.array_equal(read_label_map(path, classes, VOID), ids(path))


def test_palette_is_that_of_the_data() -> None:
    table = CAMVID / "classes.tsv"
    if not table.exists():
        pytest.skip(f"no {table}")
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert [row["name"] for row in rows] == NAMES
    assert [(int(row["r"]), int(row["g"]), int(row["b"])) for row in rows] == COLORS


def test_every_class_occurs_in_at_least_three_scenes_and_scenes_differ() -> None:
    labels = [ids(path) for path in FILES]
    presence = np.array([[(label == k).sum() >= 12 for k in range(12)] for label in labels]).sum(axis=0)
    assert presence.min() >= 3, dict(zip(NAMES, presence.tolist(), strict=True))
    for i, first in enumerate(labels):
        for second in labels[i + 1 :]:
            assert (first != second).mean() > 0.15


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_view_of_a_street(path: Path) -> None:
    """Sky above, road below, shares and outlines within the 5th..95th percentile of real maps or close to it."""
    label = ids(path)
    assert not (label[130:] == SKY).any()
    assert not (label[:90] == ROAD).any()
    assert (label[150:160, 100:156] == ROAD).mean() > 0.5 or (label[150:160] == CAR).any()
    share = np.bincount(label.ravel(), minlength=12) / label.size
    assert 0.08 < share[SKY] < 0.35
    assert 0.18 < share[ROAD] < 0.42
    assert 0.005 < share[VOID] < 0.08
    outline = ((label[:, 1:] != label[:, :-1]).mean() + (label[1:] != label[:-1]).mean()) / 2
    assert 0.020 < outline < 0.067


def test_shares_are_close_to_those_of_real_maps() -> None:
    folder = CAMVID / "train" / "labels"
    if not folder.is_dir():
        pytest.skip(f"no {folder}")

    def shares(paths: list[Path]) -> np.ndarray:
        counts = [np.bincount(np.minimum(ids(path), VOID).ravel(), minlength=12) for path in paths]
        return np.mean([count / count.sum() for count in counts], axis=0)

    difference = np.abs(shares(FILES) - shares(sorted(folder.iterdir())))
    assert difference.sum() < 0.15, dict(zip(NAMES, difference.round(3).tolist(), strict=True))


def test_other_sizes_keep_the_layout(tmp_path: Path) -> None:
    assert run("--size", "128x96", "--output", tmp_path).returncode == 0
    for path in FILES:
        small = ids(tmp_path / path.name)
        assert small.shape == (96, 128)
        agreement = (small == ids(path)[1::2, 1::2]).mean()
        assert agreement > 0.93, f"{path.name}: {agreement:.3f}"


@pytest.mark.parametrize("size", ["256", "250x192", "256x-192", "0x192", "4096x4096", "²56x192", "256x192x3"])
def test_sizes_that_are_refused(size: str, tmp_path: Path) -> None:
    result = run(f"--size={size}", "--output", tmp_path / "new")
    assert result.returncode == 2
    assert "--size" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "new").exists()


def test_output_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    result = run("--output", tmp_path / "file")
    assert result.returncode == 3
    assert "--output" in result.stderr
    assert "Traceback" not in result.stderr
    assert (tmp_path / "file").read_text() == "in the way"


def test_majority_decides_a_pixel(streets: ModuleType) -> None:
    canvas = streets.canvas.Canvas(32, 32, seed=0)
    canvas.ids[:3, :3] = [[5, 5, 5], [5, 8, 8], [8, 3, 5]]  # five, three, one
    canvas.ids[3:6, :3] = [[2, 2, 2], [2, 1, 1], [1, 1, 7]]  # a tie: the lower id
    label = canvas.reduce()
    assert label.shape == (32, 32)
    assert label[:3, 0].tolist() == [5, 1, SKY]


def test_perspective(streets: ModuleType) -> None:
    camera = streets.camera.Camera(horizon=0.5, vanishing=0.6, focal=1.0, eye=1.5)
    projected = camera.project(np.array([[0.0, 1.5, 10.0], [2.0, 0.0, 10.0], [2.0, 0.0, 20.0]]))
    assert np.allclose(projected, [[0.6, 0.5], [0.8, 0.65], [0.7, 0.575]])


def test_a_solid_through_the_near_plane_is_cut_there(streets: ModuleType) -> None:
    """A wall from behind the camera to 4 m ahead: its outline is that of the part from the near plane on."""
    near = streets.camera.NEAR

    def drawn(z0: float) -> np.ndarray:
        view = streets.camera.View(streets.canvas.Canvas(64, 64, seed=1), streets.camera.Camera())
        corners = [(-1.0, y, z) for y in (0.0, 2.0) for z in (z0, 4.0)]
        view.solid(np.array(corners), streets.classes.StreetClass.CAR)
        return view.canvas.ids

    assert np.array_equal(drawn(-3.0), drawn(near))
    assert (drawn(-3.0) == CAR).any()


def test_vehicles_shrink_with_distance_and_stay_on_the_ground(streets: ModuleType) -> None:
    def rows(z: float) -> np.ndarray:
        view = streets.camera.View(streets.canvas.Canvas(256, 192, seed=1), streets.camera.Camera())
        streets.vehicles.Vehicle(0.0, z).draw(view)
        return np.flatnonzero((view.canvas.reduce() == CAR).any(axis=1))

    for z in (10.0, 20.0):
        tail = z - 4.1 / 2
        bottom = 192 * (0.52 + 1.35 * 1.15 / (tail + 0.19 * 4.1))  # where the rear wheels stand
        height = 192 * 1.47 * 1.15 / z
        assert rows(z)[-1] == pytest.approx(bottom, abs=1.5)
        assert len(rows(z)) == pytest.approx(height, rel=0.25)
