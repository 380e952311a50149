"""Strips: panels, directions, groups from grey levels, and files that are no strips."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lggan.data.strips import StripConfig, exact_groups, find_strips, read_groups, read_strip
from runtime.contract.errors import InputError, LgganError
from runtime.contract.strips import Direction, check_colors

SIDE = 8


def grey(levels: np.ndarray) -> np.ndarray:
    return np.repeat(levels.astype(np.uint8)[..., None], 3, axis=-1)


def numbered_strip() -> np.ndarray:
    """Panel n is all n + 1 (times 10)."""
    return np.concatenate([np.full((SIDE, SIDE, 3), 10 * (panel + 1), np.uint8) for panel in range(6)], axis=1)


def save(path: Path, strip: np.ndarray, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(strip).save(path, **options)
    return path


@pytest.mark.parametrize(
    ("direction", "panels"), [(Direction.A2G, (1, 2, 4, 6)), (Direction.G2A, (2, 1, 3, 5))], ids=["a2g", "g2a"]
)
def test_a_direction_picks_its_panels(tmp_path: Path, direction: Direction, panels: tuple[int, ...]) -> None:
    strip = read_strip(save(tmp_path / "a.png", numbered_strip()), direction)
    found = tuple(int(panel[0, 0, 0]) // 10 for panel in (strip.source, strip.target, strip.colors, strip.grey))
    assert found == panels
    assert all(panel.shape == (SIDE, SIDE, 3) for panel in (strip.source, strip.target, strip.colors, strip.grey))
    assert strip.lossless
    assert not read_strip(save(tmp_path / "a.jpg", numbered_strip()), direction).lossless


def test_the_name_does_not_decide_what_a_file_is(tmp_path: Path) -> None:
    assert not read_strip(save(tmp_path / "a.png", numbered_strip(), format="JPEG"), Direction.A2G).lossless


@pytest.mark.parametrize("width", [6 * SIDE - 1, 6 * SIDE + 6, 5 * SIDE, 1])
def test_a_wrong_width_names_the_right_one(tmp_path: Path, width: int) -> None:
    path = save(tmp_path / "bad.png", np.zeros((SIDE, width, 3), np.uint8))
    with pytest.raises(InputError, match=rf"bad\.png is {SIDE}x{width} .*6 square panels.*{SIDE}x{6 * SIDE}"):
        read_strip(path, Direction.A2G)


def test_truncated_and_empty_files(tmp_path: Path) -> None:
    for suffix in (".png", ".jpg"):
        noise = np.random.default_rng(0).integers(0, 256, (32, 192, 3), dtype=np.uint8)
        path = save(tmp_path / f"cut{suffix}", noise)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with pytest.raises(InputError, match=r"cut.*(truncated|damaged)"):
            read_strip(path, Direction.A2G)
    (tmp_path / "none.png").touch()
    with pytest.raises(InputError, match="empty"):
        read_strip(tmp_path / "none.png", Direction.A2G)


def test_strips_of_a_split_in_natural_order(tmp_path: Path) -> None:
    for name in ("train/s10.png", "train/s9.jpg", "train/.s1.png", "train/notes.txt", "test/s1.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert list(find_strips(tmp_path, "train")) == ["s9", "s10"]
    assert find_strips(tmp_path, "val") == find_strips(tmp_path, "test") == {"s1": tmp_path / "test" / "s1.png"}
    (tmp_path / "train" / "s9.png").touch()
    with pytest.raises(InputError, match="same name"):
        find_strips(tmp_path, "train")


@pytest.mark.parametrize(
    ("folders", "message"),
    [([], "train is absent.*train.*test"), (["train"], "holds no strips"), (None, "not a folder")],
)
def test_folders_without_strips(tmp_path: Path, folders: list[str] | None, message: str) -> None:
    for name in folders or []:
        (tmp_path / name).mkdir()
    with pytest.raises(InputError, match=message):
        find_strips(tmp_path / "absent" if folders is None else tmp_path, "train")


def test_groups_are_the_nearest_tens() -> None:
    levels = np.arange(256)[None]
    expected = [round_half_up - 1 if 1 <= (round_half_up := (level + 5) // 10) <= 6 else 255 for level in range(256)]
    tens = np.array([[0, 10, 20, 30, 40, 50, 60, 2, 8, 12, 58, 62]])
    np.testing.assert_array_equal(read_groups(grey(tens), 6, True, "x"), [[255, 0, 1, 2, 3, 4, 5, 255, 0, 0, 5, 5]])
    # a JPEG may hold any level, as long as most are near the grid
    mostly = np.concatenate([levels, np.full((9, 256), 20)])
    np.testing.assert_array_equal(read_groups(grey(mostly), 6, False, "x")[0], expected)


@pytest.mark.parametrize("lossless", [True, False])
def test_levels_off_the_grid_are_named(lossless: bool) -> None:
    levels = np.full((10, 10), 20)
    levels[0, :7], levels[1, :3], levels[2, 0] = 25, 33, 70
    if lossless:
        with pytest.raises(InputError, match=r"x\.png: 11 of 100 pixels.*25 \(7 px\), 33 \(3 px\), 70 \(1 px\)"):
            read_groups(grey(levels), 6, True, "x.png")
    else:
        assert read_groups(grey(levels), 6, False, "x.png")[0, 0] == 2  # 25 is as near to 30
    photo = np.random.default_rng(0).integers(0, 256, (10, 10))
    with pytest.raises(InputError, match=r"off the grid.* and .* more"):
        read_groups(grey(photo), 6, lossless, "x.png")


def test_the_published_reading_wants_exact_levels() -> None:
    levels = np.array([[0, 9, 10, 11, 20, 30, 40, 50, 60, 61, 70, 255]])
    expected = [[level // 10 - 1 if level in (10, 20, 30, 40, 50, 60) else 255 for level in levels[0]]]
    np.testing.assert_array_equal(exact_groups(grey(levels), 6), expected)


def test_a_photo_in_place_of_the_colours() -> None:
    colors = np.random.default_rng(0).integers(1, 256, (10, 10, 3), dtype=np.uint8)
    ids = np.full((10, 10), 255, np.uint8)
    ids[:4] = 3
    with pytest.raises(InputError, match=r"x\.png: 60% of the colour panel"):
        check_colors(ids, colors, "x.png")
    ids[:6] = 3
    check_colors(ids, colors, "x.png")
    check_colors(np.full((10, 10), 255, np.uint8), np.zeros((10, 10, 3), np.uint8), "x.png")  # black: no class at all


def test_settings_without_sense() -> None:
    with pytest.raises(LgganError, match="tolerance"):
        StripConfig(tolerance=-1.0)
