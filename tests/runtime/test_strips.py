"""Cutting six-panel strips and reading their colours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from runtime.contract.errors import InputError
from runtime.contract.palette import NearestColors
from runtime.contract.strips import TOLERANCE, Direction, cut_strip, ids_of_panel, read_strip
from tests.runtime.toy_models import CROSS_VIEW_CARD

SIDE = 8
PANELS = [np.full((SIDE, SIDE, 3), 40 * index, np.uint8) for index in range(6)]
STRIP = np.concatenate(PANELS, axis=1)


def test_panels_of_both_directions() -> None:
    there, back = cut_strip(STRIP, Direction.A2G, "s"), cut_strip(STRIP, Direction.G2A, "s")
    names = ("source_photo", "target_photo", "source_colors", "target_colors", "source_groups", "target_groups")
    assert [getattr(there, name)[0, 0, 0] // 40 for name in names] == [0, 1, 2, 3, 4, 5]
    assert [getattr(back, name)[0, 0, 0] // 40 for name in names] == [1, 0, 3, 2, 5, 4]
    assert {getattr(there, name).shape for name in names} == {(SIDE, SIDE, 3)}


@pytest.mark.parametrize("width", [SIDE, 5 * SIDE, 6 * SIDE - 6, 6 * SIDE + 6, 12 * SIDE])
def test_strips_of_a_wrong_width(tmp_path: Path, width: int) -> None:
    path = tmp_path / "strip.png"
    Image.fromarray(np.zeros((SIDE, width, 3), np.uint8)).save(path)
    with pytest.raises(InputError, match=rf"strip\.png is 8x{width} .* 8x48 at this height"):
        read_strip(path, Direction.A2G)


def test_reading_from_files(tmp_path: Path) -> None:
    Image.fromarray(STRIP).save(tmp_path / "s.png")
    np.testing.assert_array_equal(read_strip(tmp_path / "s.png", Direction.A2G).target_photo, PANELS[1])
    (tmp_path / "s.png").write_bytes(b"\x89PNG\r\n\x1a\n cut")
    with pytest.raises(InputError):
        read_strip(tmp_path / "s.png", Direction.A2G)


def test_colours_become_ids_within_a_tolerance() -> None:
    classes = CROSS_VIEW_CARD.classes
    nearest = NearestColors(classes, TOLERANCE)
    panel = np.array([[info.color for info in classes] + [(0, 0, 0)]], np.uint8).repeat(4, axis=0)
    noisy = np.clip(panel + np.random.default_rng(0).integers(-9, 10, panel.shape), 0, 255).astype(np.uint8)
    for colors in (panel, noisy):
        np.testing.assert_array_equal(ids_of_panel(colors, nearest, "s"), np.array([[0, 1, 2, 255]] * 4))
    panel[0, 0] = (255, 255, 0)  # far from every class
    assert ids_of_panel(panel, nearest, "s")[0, 0] == 255


def test_a_panel_that_is_no_class_map() -> None:
    nearest = NearestColors(CROSS_VIEW_CARD.classes, TOLERANCE)
    with pytest.raises(InputError, match=r"s\.png: 100% of the colour panel .* \(255, 255, 0\) for example"):
        ids_of_panel(np.full((4, 4, 3), (255, 255, 0), np.uint8), nearest, "s.png")
    black = np.zeros((4, 4, 3), np.uint8)
    assert (ids_of_panel(black, nearest, "s.png") == 255).all()  # void everywhere is a map


def test_real_strips_match_their_grey_panel(shared_dir: Path) -> None:
    """Ids from the colour panel, put into the six groups, are the grey panel to the pixel in a PNG strip."""
    pytest.importorskip("torch")
    from lggan.preset import load_preset

    preset = load_preset("dayton_a2g")
    groups = np.array([*preset.generator.groups, *[-1] * (256 - len(preset.classes))])  # type: ignore[union-attr]
    nearest = NearestColors(preset.classes, TOLERANCE)
    strips = sorted((shared_dir / "data" / "cross_view" / "dayton" / "test").glob("*.png"))
    assert strips
    for path in strips[:2]:
        for direction in Direction:
            strip = read_strip(path, direction)
            ids = ids_of_panel(strip.target_colors, nearest, path)
            np.testing.assert_array_equal(10 * (groups[ids] + 1), strip.target_groups[..., 0])
