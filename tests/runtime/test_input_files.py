"""From files to inputs: label maps with source photos, strips, and the mistakes one can make with them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from runtime.contract.errors import InputError, UsageError
from runtime.contract.pictures import resize_photo
from runtime.contract.strips import Direction
from runtime.input_files import InputFile, InputOptions, InputReader
from runtime.label_maps import load_label_maps
from tests.runtime.toy_models import CARD, CLASSES, CROSS_VIEW_CARD

SIDE = 16


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    """Two label maps of 8 x 16 with a void corner."""
    folder = tmp_path / "labels"
    folder.mkdir()
    for name, value in (("a", 1), ("b", 2)):
        label = np.full((8, 16), value, np.uint8)
        label[:2, :3] = 255
        Image.fromarray(label).save(folder / f"{name}.png")
    return folder


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A photo per label map, of the same size; one of them a JPEG."""
    folder = tmp_path / "photos"
    folder.mkdir()
    draw = np.random.default_rng(0)
    for name in ("a.png", "b.jpg", "other.png"):
        Image.fromarray(draw.integers(0, 256, (8, 16, 3), dtype=np.uint8)).save(folder / name)
    return folder


@pytest.fixture
def strips(tmp_path: Path) -> Path:
    """Two strips, whose aerial view is road and sky, and whose ground view is car and void."""
    folder = tmp_path / "strips"
    folder.mkdir()
    halves = np.zeros((2, SIDE, SIDE, 3), np.uint8)
    halves[0, : SIDE // 2], halves[0, SIDE // 2 :] = CLASSES[1].color, CLASSES[0].color
    halves[1, : SIDE // 2] = CLASSES[2].color
    for name, level in (("s10.png", 10), ("s9.jpg", 9)):
        aerial, ground = (np.full((SIDE, SIDE, 3), 20 * level + extra, np.uint8) for extra in (0, 5))
        grey = np.zeros((SIDE, SIDE, 3), np.uint8)
        strip = np.concatenate([aerial, ground, *halves, grey, grey], axis=1)
        Image.fromarray(strip).save(folder / name, quality=95)
    return folder


def test_photos_are_found_by_the_stem(labels: Path, photos: Path) -> None:
    reader = InputReader(CROSS_VIEW_CARD, InputOptions(source=photos))
    files = reader.pair(reader.find([labels]))
    assert files == [
        InputFile(labels / "a.png", None, photos / "a.png"),
        InputFile(labels / "b.png", None, photos / "b.jpg"),
    ]
    given = reader.read(files[0])
    np.testing.assert_array_equal(given.source, np.asarray(Image.open(photos / "a.png")))
    assert np.unique(given.label).tolist() == [1, 255]
    assert (given.instance, given.file_size) == (None, (8, 16))


def test_one_photo_for_one_label_map(labels: Path, photos: Path) -> None:
    reader = InputReader(CROSS_VIEW_CARD, InputOptions(source=photos / "other.png"))
    assert reader.pair([labels / "a.png"])[0].source == photos / "other.png"
    with pytest.raises(UsageError, match=r"2 label maps need a folder of source photos; .*other\.png is none"):
        reader.pair([labels / "a.png", labels / "b.png"])


def test_photos_that_are_not_there_or_twice(labels: Path, photos: Path) -> None:
    reader = InputReader(CROSS_VIEW_CARD, InputOptions(source=photos))
    (photos / "b.png").write_bytes((photos / "a.png").read_bytes())
    with pytest.raises(InputError, match=r"b\.png and .*b\.jpg could both be the source photo"):
        reader.pair([labels / "b.png"])
    (photos / "a.png").unlink()
    with pytest.raises(InputError, match=r"holds no source photo a \(\.png, \.jpg.*for .*labels/a\.png"):
        reader.pair([labels / "a.png"])


def test_sizes_are_equal_or_fitted(labels: Path, photos: Path) -> None:
    """Maps by the nearest pixel, photos by bicubic as Pillow has it."""
    big = np.random.default_rng(1).integers(0, 256, (24, 20, 3), dtype=np.uint8)
    Image.fromarray(big).save(photos / "a.png")
    file = InputFile(labels / "a.png", None, photos / "a.png")
    with pytest.raises(InputError, match=r"a\.png is 24x20, its label map .*a\.png 8x16 .*--fit 8x16"):
        InputReader(CROSS_VIEW_CARD, InputOptions(source=photos)).read(file)
    given = InputReader(CROSS_VIEW_CARD, InputOptions(fit=(12, 8), source=photos)).read(file)
    assert given.label.shape == (12, 8)
    assert set(np.unique(given.label)) == {1, 255}
    expected = np.asarray(Image.fromarray(big).resize((8, 12), Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(given.source, expected)
    assert given.file_size == (8, 16)


@pytest.mark.parametrize("direction", list(Direction))
def test_strips_in_both_directions(strips: Path, direction: Direction) -> None:
    reader = InputReader(CROSS_VIEW_CARD, InputOptions(strips=direction))
    files = reader.find([strips])
    assert [path.name for path in files] == ["s9.jpg", "s10.png"]
    for file, level, tolerance in zip(reader.pair(files), (9, 10), (2, 0), strict=True):
        given = reader.read(file)
        assert given.source is not None
        photo, ids = (20 * level, [2, 255]) if direction is Direction.A2G else (20 * level + 5, [1, 0])
        assert np.abs(given.source.astype(int)[4:-4, 4:-4] - photo).max() <= tolerance
        assert given.label[3].tolist() == [ids[0]] * SIDE
        assert given.label[-3].tolist() == [ids[1]] * SIDE


def test_fitted_strips(strips: Path) -> None:
    maps = load_label_maps([strips / "s10.png"], CROSS_VIEW_CARD, InputOptions(fit=(8, 24), strips=Direction.A2G))
    assert maps[0].name == "s10.png"
    assert maps[0].label.shape == (8, 24)
    assert np.unique(maps[0].label).tolist() == [2, 255]
    assert maps[0].source is not None
    full = np.asarray(Image.open(strips / "s10.png"))[:, :SIDE]
    np.testing.assert_array_equal(maps[0].source, resize_photo(full, 8, 24))


def test_strips_that_are_none(strips: Path, labels: Path) -> None:
    reader = InputReader(CROSS_VIEW_CARD, InputOptions(strips=Direction.A2G))
    with pytest.raises(InputError, match=r"a\.png is 8x16 .*six|a\.png is 8x16 .*6 square panels"):
        reader.read(InputFile(labels / "a.png"))
    empty = strips / "empty"
    empty.mkdir()
    with pytest.raises(InputError, match=r"holds no strip \(\.png, \.jpg or \.jpeg\)"):
        reader.find([empty])


def test_ids_that_are_no_class(labels: Path, photos: Path) -> None:
    np.save(labels / "a.npy", np.full((8, 16), 77, np.uint8))
    reader = InputReader(CROSS_VIEW_CARD, InputOptions(source=photos))
    with pytest.raises(InputError, match=r"a\.npy: 128 of 128 pixels .* 77 \(128 px\); this model knows 0 to 2"):
        reader.read(InputFile(labels / "a.npy", None, photos / "a.png"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (InputOptions(), "name the photo or the folder of photos with --source, or give strips"),
        (InputOptions(source=Path("p"), strips=Direction.A2G), "strips hold their own source photos"),
        (InputOptions(source=Path("p"), instances=Path("i")), "takes no instance maps"),
    ],
)
def test_options_that_do_not_fit_a_cross_view_model(options: InputOptions, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        InputReader(CROSS_VIEW_CARD, options)


@pytest.mark.parametrize("options", [InputOptions(source=Path("p")), InputOptions(strips=Direction.G2A)])
def test_options_for_the_other_task(options: InputOptions) -> None:
    with pytest.raises(UsageError, match="from label maps alone; leave --source and --strips out"):
        InputReader(CARD, options)
