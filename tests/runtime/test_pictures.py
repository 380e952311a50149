"""Photos in, PNG files and sheets out."""

from __future__ import annotations

import errno
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from runtime.contract.errors import InputError, MissingError, UsageError
from runtime.contract.pictures import compose_grid, read_photo, resize_photo, write_grid, write_png
from runtime.contract.raster import check_png


@pytest.fixture
def photo() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (9, 14, 3), dtype=np.uint8)


@pytest.mark.parametrize("suffix", ["png", "bmp", "tiff", "ppm", "webp"])
def test_lossless_formats_keep_every_value(tmp_path: Path, photo: np.ndarray, suffix: str) -> None:
    Image.fromarray(photo).save(tmp_path / f"a.{suffix}", **({"lossless": True} if suffix == "webp" else {}))
    read = read_photo(tmp_path / f"a.{suffix}")
    assert read.dtype == np.uint8
    assert read.flags.c_contiguous
    np.testing.assert_array_equal(read, photo)


def test_jpeg(tmp_path: Path) -> None:
    flat = np.full((16, 16, 3), (200, 100, 50), np.uint8)
    Image.fromarray(flat).save(tmp_path / "a.jpg", quality=95)
    assert np.abs(read_photo(tmp_path / "a.jpg").astype(int) - flat).max() <= 2


def test_exif_orientation_is_ignored(tmp_path: Path, photo: np.ndarray) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned by 90 degrees
    Image.fromarray(photo).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(read_photo(tmp_path / "a.png"), photo)


def test_other_modes_become_rgb(tmp_path: Path, photo: np.ndarray) -> None:
    grey = photo[..., 0]
    expected = np.stack([grey] * 3, axis=-1)
    cases = {
        "L": Image.fromarray(grey),
        "I;16": Image.fromarray(grey.astype(np.uint16) * 257),
        "RGBA": Image.fromarray(np.concatenate([expected, photo[..., 1:2]], axis=-1)),
        "P": Image.fromarray(grey).convert("P"),
    }
    for mode, picture in cases.items():
        picture.save(tmp_path / "a.png")
        with Image.open(tmp_path / "a.png") as saved:
            assert saved.mode == mode
        np.testing.assert_array_equal(read_photo(tmp_path / "a.png"), expected)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_truncated_photos(tmp_path: Path, photo: np.ndarray, suffix: str) -> None:
    Image.fromarray(photo).save(tmp_path / f"a.{suffix}")
    whole = (tmp_path / f"a.{suffix}").read_bytes()
    for part in (0.9, 0.5, 0.1, 0.01):
        (tmp_path / "cut").write_bytes(whole[: int(len(whole) * part)])
        with pytest.raises(InputError, match=r"cut is (damaged|not a picture|empty)"):
            read_photo(tmp_path / "cut")


def test_foreign_and_absent_files(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("a text")
    postscript = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n%%EOF\n"
    (tmp_path / "b.png").write_bytes(postscript)  # Pillow would start another program for this one
    for name, message in [("a.png", "not a picture"), ("b.png", "not a picture"), ("c.png", "does not exist")]:
        with pytest.raises(InputError, match=message):
            read_photo(tmp_path / name)
    with pytest.raises(InputError, match="is a folder"):
        read_photo(tmp_path)


def test_oversized_photos_are_refused_before_decoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("L", (64, 64)).save(tmp_path / "a.png")
    for limit in (3000, 100):  # Pillow warns about the one and raises on the other
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises(InputError, match=r"more than 3000 in all|too large to decode"):
                read_photo(tmp_path / "a.png")
    monkeypatch.undo()
    Image.new("1", (16385, 1)).save(tmp_path / "wide.png")
    with pytest.raises(InputError, match="16385x1 pixels"):
        read_photo(tmp_path / "wide.png")


def test_write_png(tmp_path: Path, photo: np.ndarray) -> None:
    path = tmp_path / "new" / "a.png"
    write_png(path, photo[::-1])  # not contiguous
    np.testing.assert_array_equal(read_photo(path), photo[::-1])
    check_png(path.read_bytes(), path)
    with pytest.raises(UsageError, match="--force"):
        write_png(path, photo)
    write_png(path, photo, force=True)
    np.testing.assert_array_equal(read_photo(path), photo)
    assert list(path.parent.iterdir()) == [path]


def test_full_disk_leaves_the_old_picture(tmp_path: Path, photo: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    write_png(path, photo)
    before = path.read_bytes()

    def full(self: Image.Image, stream: Path, format: str) -> None:  # noqa: A002
        Path(stream).write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(MissingError, match="no space left"):
        write_png(path, photo, force=True)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_only_pictures_are_written(tmp_path: Path, photo: np.ndarray) -> None:
    for wrong in (photo.astype(np.float32), photo[..., 0], photo[..., :2], photo[:0]):
        with pytest.raises(ValueError, match="uint8"):
            write_png(tmp_path / "a.png", wrong)
    assert not list(tmp_path.iterdir())


def test_grid_places_every_picture(tmp_path: Path, photo: np.ndarray) -> None:
    small = np.zeros((4, 6, 3), np.uint8)
    write_grid(tmp_path / "a.png", [[photo, small], [None, photo, small]])
    sheet = read_photo(tmp_path / "a.png")
    gap = 4
    assert sheet.shape == (9 + 9 + 3 * gap, 14 + 14 + 6 + 4 * gap, 3)
    expected = np.full_like(sheet, 255)
    expected[4:13, 4:18] = photo
    expected[4:8, 22:28] = 0
    expected[17:26, 22:36] = photo
    expected[17:21, 40:46] = 0
    np.testing.assert_array_equal(sheet, expected)


def test_grid_titles_stand_above_their_columns(photo: np.ndarray) -> None:
    wide = np.repeat(photo, 5, axis=1)  # [9, 70, 3]
    plain = compose_grid([[wide, wide]])
    titled = compose_grid([[wide, wide]], ["label", "photo"])
    band = titled.shape[0] - plain.shape[0]
    np.testing.assert_array_equal(titled[band + 4 :], plain[4:])
    dark = (titled[: band + 4].min(axis=-1) < 128).any(axis=0)
    assert dark[4:40].any()
    assert dark[78:114].any()
    assert not dark[50:78].any()


def test_grid_needs_a_picture() -> None:
    for rows in ([], [[]], [[None]]):
        with pytest.raises(ValueError, match="at least one"):
            compose_grid(rows)


def test_resize(photo: np.ndarray) -> None:
    assert resize_photo(photo, 9, 14) is photo
    flat = np.full((30, 40, 3), (10, 200, 90), np.uint8)
    resized = resize_photo(flat, 12, 70)
    assert resized.shape == (12, 70, 3)
    assert (resized == (10, 200, 90)).all()


def test_resize_equals_the_bicubic_formula() -> None:
    """Doubling one row against a plain float64 loop with the Keys kernel, a = -0.5."""
    row = np.random.default_rng(3).integers(60, 190, 12).astype(np.uint8)

    def kernel(t: float) -> float:
        t = abs(t)
        if t < 1:
            return 1.5 * t**3 - 2.5 * t**2 + 1
        return -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2 if t < 2 else 0.0

    expected = []
    for i in range(24):
        center = (i + 0.5) / 2 - 0.5
        weights = {j: kernel(center - j) for j in range(12)}
        expected.append(sum(weights[j] * float(row[j]) for j in weights) / sum(weights.values()))
    image = np.repeat(row[None, :, None], 3, axis=-1)  # [1, 12, 3]
    resized = resize_photo(image, 1, 24)
    assert np.abs(resized[0, :, 0] - np.array(expected)).max() <= 0.51
