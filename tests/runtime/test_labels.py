"""Label maps in every form, and every way in which they can be wrong."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from runtime.contract.card import ClassInfo, ModelCard
from runtime.contract.errors import InputError
from runtime.contract.inputs import natural_key
from runtime.contract.labels import (
    check_label_map,
    colorize,
    find_inputs,
    fit_label_map,
    read_instance_map,
    read_label_map,
)

CLASSES = (
    ClassInfo("sky", (128, 128, 128)),
    ClassInfo("road", (128, 64, 128)),
    ClassInfo("car", (64, 0, 128)),
    ClassInfo("void", (0, 0, 0)),
)
VOID = 3
CARD = ModelCard("toy", "semantic-synthesis", CLASSES, VOID, 8, 16, 4)
SHARED_LABELS = Path(__file__).parents[2].parent / "shared" / "data" / "camvid" / "val" / "labels"


@pytest.fixture
def ids() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 4, (12, 20), dtype=np.uint8)


def save(array: np.ndarray, path: Path) -> Path:
    Image.fromarray(array).save(path)
    return path


def save_paletted(indices: np.ndarray, palette: dict[int, tuple[int, int, int]], path: Path) -> Path:
    picture = Image.frombytes("P", indices.shape[::-1], indices.tobytes())
    flat = [1] * 768  # a colour that no class has
    for index, color in palette.items():
        flat[3 * index : 3 * index + 3] = color
    picture.putpalette(flat)
    picture.save(path)
    return path


def raw_png(width: int, height: int, bits: int, color_type: int, rows: bytes) -> bytes:
    """A PNG by the letter of the specification, for forms that Pillow does not write."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, bits, color_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def check(label: np.ndarray, expected: np.ndarray) -> None:
    assert label.dtype == np.uint8
    assert label.flags.c_contiguous
    assert label.flags.owndata
    np.testing.assert_array_equal(label, expected)


# --- forms -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_grey_values_are_ids(tmp_path: Path, ids: np.ndarray, dtype: type) -> None:
    check(read_label_map(save(ids.astype(dtype), tmp_path / "a.png"), CLASSES, VOID), ids)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_greys_of_few_bits_are_not_stretched(tmp_path: Path, bits: int) -> None:
    """Pillow alone would read 0, 85, 170, 255 for the ids 0..3 in 2 bits."""
    values = np.arange(8, dtype=np.uint8).reshape(1, 8) % min(2**bits, 4)
    packed = np.packbits(np.unpackbits(values[..., None], axis=-1)[..., 8 - bits :].ravel())
    (tmp_path / "a.png").write_bytes(raw_png(8, 1, bits, 0, b"\0" + packed.tobytes()))
    check(read_label_map(tmp_path / "a.png", CLASSES, VOID), values)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int16, np.uint16, np.int32, np.int64, np.uint64, ">u2"])
@pytest.mark.parametrize("shape", [(12, 20), (1, 12, 20), (12, 20, 1)])
def test_npy(tmp_path: Path, ids: np.ndarray, dtype: str, shape: tuple[int, ...]) -> None:
    np.save(tmp_path / "a.npy", ids.astype(dtype).reshape(shape))
    check(read_label_map(tmp_path / "a.npy", CLASSES, VOID), ids)


def test_npy_in_fortran_order(tmp_path: Path, ids: np.ndarray) -> None:
    np.save(tmp_path / "a.npy", np.asfortranarray(ids))
    check(read_label_map(tmp_path / "a.npy", CLASSES, VOID), ids)


@pytest.mark.parametrize("alpha", [False, True])
def test_rgb_is_read_by_colour(tmp_path: Path, ids: np.ndarray, alpha: bool) -> None:
    colors = np.array([[CLASSES[i].color for i in row] for row in ids], dtype=np.uint8)  # plain loops
    np.testing.assert_array_equal(colorize(ids, CLASSES), colors)
    if alpha:
        colors = np.concatenate([colors, np.full((12, 20, 1), 7, np.uint8)], axis=-1)
    check(read_label_map(save(colors, tmp_path / "a.png"), CLASSES, VOID), ids)


def test_first_of_equal_colours_wins(tmp_path: Path) -> None:
    classes = (ClassInfo("a", (0, 0, 0)), ClassInfo("b", (9, 9, 9)), ClassInfo("c", (0, 0, 0)))
    path = save(np.zeros((4, 4, 3), np.uint8), tmp_path / "a.png")
    check(read_label_map(path, classes, None), np.zeros((4, 4)))


def test_palette_in_order_of_the_classes(tmp_path: Path, ids: np.ndarray) -> None:
    path = save_paletted(ids, {i: c.color for i, c in enumerate(CLASSES)}, tmp_path / "a.png")
    check(read_label_map(path, CLASSES, VOID), ids)


def test_palette_that_a_paint_program_sorted_is_read_by_colour(tmp_path: Path, ids: np.ndarray) -> None:
    order = np.array([5, 9, 0, 2], dtype=np.uint8)  # id -> index in the file
    path = save_paletted(order[ids], {int(order[i]): c.color for i, c in enumerate(CLASSES)}, tmp_path / "a.png")
    check(read_label_map(path, CLASSES, VOID), ids)


def test_palette_of_foreign_colours_is_read_by_index(tmp_path: Path, ids: np.ndarray) -> None:
    path = save_paletted(ids, {0: (1, 2, 3), 1: (4, 5, 6), 2: (7, 8, 9), 3: (10, 11, 12)}, tmp_path / "a.png")
    check(read_label_map(path, CLASSES, VOID), ids)


def test_grey_ramp_as_palette_is_read_by_index(tmp_path: Path) -> None:
    """Index 0 is black there, which is the colour of void; alone in a map it must stay sky."""
    path = save_paletted(np.zeros((4, 4), np.uint8), {i: (i, i, i) for i in range(256)}, tmp_path / "a.png")
    check(read_label_map(path, CLASSES, VOID), np.zeros((4, 4)))


def test_palette_with_equal_colours_at_their_own_ids(tmp_path: Path) -> None:
    """Cityscapes has many black classes; indices that fit their own colours keep their ids."""
    classes = (ClassInfo("a", (0, 0, 0)), ClassInfo("b", (0, 0, 0)), ClassInfo("c", (1, 2, 3)))
    ids = np.arange(6, dtype=np.uint8).reshape(2, 3) % 3
    path = save_paletted(ids, {i: c.color for i, c in enumerate(classes)}, tmp_path / "a.png")
    check(read_label_map(path, classes, None), ids)


def test_mostly_known_palette_with_a_strange_colour_is_refused(tmp_path: Path, ids: np.ndarray) -> None:
    indices = ids + 10
    indices[0, :3] = 77
    palette = {i + 10: c.color for i, c in enumerate(CLASSES)} | {77: (255, 0, 0)}
    with pytest.raises(InputError, match=r"3 of 240 pixels .*#ff0000 \(255, 0, 0\) on 3 px"):
        read_label_map(save_paletted(indices, palette, tmp_path / "a.png"), CLASSES, VOID)


def test_void_value(tmp_path: Path, ids: np.ndarray) -> None:
    marked = ids.copy()
    marked[2:5, 3:9] = 255
    expected = np.where(marked == 255, VOID, ids)
    np.save(tmp_path / "a.npy", marked.astype(np.int64))
    check(read_label_map(tmp_path / "a.npy", CLASSES, VOID), expected)
    check(read_label_map(save(marked, tmp_path / "grey.png"), CLASSES, VOID), expected)
    palette = {i: c.color for i, c in enumerate(CLASSES)} | {255: (224, 224, 192)}
    check(read_label_map(save_paletted(marked, palette, tmp_path / "p.png"), CLASSES, VOID), expected)
    order = np.zeros(256, np.uint8)
    order[[0, 1, 2, 3, 255]] = [3, 2, 1, 0, 255]
    palette = {3 - i: c.color for i, c in enumerate(CLASSES)} | {255: (224, 224, 192)}
    check(read_label_map(save_paletted(order[marked], palette, tmp_path / "q.png"), CLASSES, VOID), expected)
    with pytest.raises(InputError, match=r"18 of 240 pixels .*255 \(18 px\).* 0 to 3; 255 is no void here"):
        read_label_map(tmp_path / "grey.png", CLASSES, None)


def test_void_beside_the_classes(tmp_path: Path) -> None:
    """K = 3 classes and void = 3: the id that has no channel is legal, too."""
    ids = np.array([[0, 1, 2, 3, 255]], np.uint8)
    check(read_label_map(save(ids, tmp_path / "a.png"), CLASSES[:3], 3), np.array([[0, 1, 2, 3, 3]]))


def test_255_is_a_class_where_there_are_256(tmp_path: Path) -> None:
    classes = tuple(ClassInfo(str(i), (i, 0, 0)) for i in range(256))
    ids = np.array([[0, 255]], np.uint8)
    check(read_label_map(save(ids, tmp_path / "a.png"), classes, 0), ids)


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_every_form_says_the_same(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 255))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    colors = rng.choice(1 << 24, count, replace=False)
    classes = [ClassInfo(str(i), (int(c) >> 16, int(c) >> 8 & 255, int(c) & 255)) for i, c in enumerate(colors)]
    ids = rng.integers(0, count, (5, 7)).astype(np.uint8)
    folder = tmp_path_factory.mktemp("forms")
    np.save(folder / "n.npy", ids)
    shuffle = rng.permutation(256).astype(np.uint8)
    files = [
        save(ids, folder / "l.png"),
        save(colorize(ids, classes), folder / "rgb.png"),
        save_paletted(ids, {i: c.color for i, c in enumerate(classes)}, folder / "p.png"),
        save_paletted(shuffle[ids], {int(shuffle[i]): c.color for i, c in enumerate(classes)}, folder / "s.png"),
        folder / "n.npy",
    ]
    for file in files:
        check(read_label_map(file, classes, None), ids)


@pytest.mark.skipif(not SHARED_LABELS.is_dir(), reason="the CamVid data set is not beside the repository")
def test_camvid_ids_equal_the_palette_indices() -> None:
    table = (SHARED_LABELS.parents[1] / "classes.tsv").read_text().splitlines()[1:]
    classes = [ClassInfo(n, (int(r), int(g), int(b))) for _, n, r, g, b in (line.split("\t") for line in table)]
    for file in sorted(SHARED_LABELS.glob("*.png"))[:3]:
        with Image.open(file) as picture:
            check(read_label_map(file, classes, 11), np.asarray(picture))


# --- what is refused -------------------------------------------------------------------------------------------------


def test_unknown_colours_are_named_with_count_and_nearest_class(tmp_path: Path, ids: np.ndarray) -> None:
    rgb = colorize(ids, CLASSES)
    rgb[0, :5] = (66, 2, 130)
    rgb[1, :2] = (255, 0, 0)
    with pytest.raises(InputError) as caught:
        read_label_map(save(rgb, tmp_path / "map.png"), CLASSES, VOID)
    text = str(caught.value)
    assert "map.png: 7 of 240 pixels" in text
    assert "#420282 (66, 2, 130) on 5 px (nearest class: 'car' #400080 (64, 0, 128))" in text
    assert text.index("on 5 px") < text.index("#ff0000 (255, 0, 0) on 2 px")
    assert "\n" not in text


def test_many_unknown_colours_make_a_short_message(tmp_path: Path) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    with pytest.raises(InputError, match=r"4096 of 4096 .* other colours") as caught:
        read_label_map(save(noise, tmp_path / "a.png"), CLASSES, VOID)
    assert len(str(caught.value)) < 600


def test_ids_saved_as_rgb_get_a_hint(tmp_path: Path) -> None:
    rgb = np.repeat(np.array([[[1], [2]]], np.uint8), 3, axis=-1)
    with pytest.raises(InputError, match="ids saved as RGB"):
        read_label_map(save(rgb, tmp_path / "a.png"), CLASSES, VOID)


def test_ids_out_of_range_are_named(tmp_path: Path, ids: np.ndarray) -> None:
    ids[0, 0] = 200
    ids[1, :2] = 4
    with pytest.raises(InputError, match=r"3 of 240 pixels .*: 4 \(2 px\), 200 \(1 px\); this model knows 0 to 3"):
        read_label_map(save(ids, tmp_path / "a.png"), CLASSES, VOID)


def test_sixteen_bit_and_negative_ids_out_of_range(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"26001 \(1 px\)"):
        read_label_map(save(np.array([[1, 26001]], np.uint16), tmp_path / "a.png"), CLASSES, VOID)
    np.save(tmp_path / "a.npy", np.array([[-1, 3, 300]], np.int16))
    with pytest.raises(InputError, match=r"-1 \(1 px\), 300 \(1 px\)"):
        read_label_map(tmp_path / "a.npy", CLASSES, VOID)


def test_jpeg_is_refused_whatever_its_name(tmp_path: Path) -> None:
    Image.new("L", (8, 8)).save(tmp_path / "a.png", format="JPEG")
    with pytest.raises(InputError, match="JPEG file: lossy"):
        read_label_map(tmp_path / "a.png", CLASSES, VOID)


def test_every_truncation_is_refused(tmp_path: Path, ids: np.ndarray) -> None:
    whole = save(ids, tmp_path / "a.png").read_bytes()
    for length in range(0, len(whole), 7):
        (tmp_path / "cut.png").write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"truncated|empty|neither"):
            read_label_map(tmp_path / "cut.png", CLASSES, VOID)


def test_every_flipped_bit_is_refused(tmp_path: Path, ids: np.ndarray) -> None:
    whole = save(ids, tmp_path / "a.png").read_bytes()
    for position in range(len(whole)):
        bad = bytearray(whole)
        bad[position] ^= 1 << position % 8
        (tmp_path / "bad.png").write_bytes(bad)
        with pytest.raises(InputError):
            read_label_map(tmp_path / "bad.png", CLASSES, VOID)


def test_flipped_bits_of_npy_never_give_another_error(tmp_path: Path, ids: np.ndarray) -> None:
    np.save(tmp_path / "a.npy", ids)
    whole = (tmp_path / "a.npy").read_bytes()
    refused = 0
    for position in range(128):  # the header; values carry no checksum
        bad = bytearray(whole)
        bad[position] ^= 1 << position % 8
        (tmp_path / "bad.npy").write_bytes(bad)
        try:
            read_label_map(tmp_path / "bad.npy", CLASSES, VOID)
        except InputError:
            refused += 1
    assert refused > 30


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"hello, I am a text", "neither a PNG nor a .npy"),
        (b"GIF89a" + bytes(50), "neither a PNG nor a .npy"),
        (b"\x89PNG\r\n\x1a\n", "truncated"),
        (raw_png(0, 4, 8, 0, b""), "0x4 pixels"),
        (raw_png(100_000, 4, 8, 0, b""), "100000x4 pixels"),
        (raw_png(16_000, 16_000, 8, 0, b""), "16000x16000 pixels, more than"),
        (raw_png(4, 4, 8, 0, b"\0"), "damaged or truncated"),
        (raw_png(4, 1, 16, 4, b"\0" + bytes(16)), "no label map"),
        (b"\x93NUMPY\x01\x00", "not a readable .npy"),
    ],
)
def test_foreign_and_broken_files(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.png").write_bytes(content)
    for read in (lambda p: read_label_map(p, CLASSES, VOID), read_instance_map):
        with pytest.raises(InputError, match=message):
            read(tmp_path / "a.png")


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((4, 4), np.float32), "holds float32"),
        (np.zeros((4, 4), bool), "holds bool"),
        (np.zeros((2, 4, 4), np.uint8), r"shape \[2, 4, 4\]"),
        (np.zeros(4, np.uint8), r"shape \[4\]"),
        (np.zeros((0, 4), np.uint8), r"not a readable|0 pixels|between 1"),
        (np.zeros((1, 20_000), np.uint8), "20000x1"),
    ],
)
def test_wrong_npy(tmp_path: Path, array: np.ndarray, message: str) -> None:
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(InputError, match=message):
        read_label_map(tmp_path / "a.npy", CLASSES, VOID)


def test_pickles_are_not_opened(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {tmp_path}/exploded",)

    array = np.empty((2, 2), object)
    array[:] = Bomb()
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    with pytest.raises(InputError, match=r"not a readable \.npy"):
        read_label_map(tmp_path / "a.npy", CLASSES, VOID)
    assert not (tmp_path / "exploded").exists()


def test_header_that_promises_gigabytes_costs_nothing(tmp_path: Path) -> None:
    header = "{'descr': '|u1', 'fortran_order': False, 'shape': (16384, 16384)}".ljust(117) + "\n"
    magic = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header))
    (tmp_path / "a.npy").write_bytes(magic + header.encode() + b"\0" * 9)
    with pytest.raises(InputError, match=r"not a readable \.npy"):
        read_label_map(tmp_path / "a.npy", CLASSES, VOID)


def test_absent_and_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        read_label_map(tmp_path / "none.png", CLASSES, VOID)
    with pytest.raises(InputError, match="is a folder"):
        read_label_map(tmp_path, CLASSES, VOID)
    with pytest.raises(InputError, match=r"cannot be read|does not exist"):
        read_label_map("a\0b.png", CLASSES, VOID)


def test_no_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ids: np.ndarray) -> None:
    path = save(ids, tmp_path / "a.png")

    def refuse(self: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(InputError, match=r"a\.png cannot be read: Permission denied"):
        read_label_map(path, CLASSES, VOID)


# --- instance maps ---------------------------------------------------------------------------------------------------


def test_instance_maps(tmp_path: Path, ids: np.ndarray) -> None:
    wide = ids.astype(np.uint16) * 9000
    rgb = np.stack([ids, ids + 1, ids + 2], axis=-1)
    np.save(tmp_path / "a.npy", wide.astype(np.int64))
    cases = {
        save(ids, tmp_path / "8.png"): ids,
        save(wide, tmp_path / "16.png"): wide,
        save_paletted(ids, {}, tmp_path / "p.png"): ids,
        save(rgb, tmp_path / "rgb.png"): ids + 256 * (ids.astype(int) + 1) + 65536 * (ids.astype(int) + 2),
        tmp_path / "a.npy": wide,
    }
    for path, expected in cases.items():
        instance = read_instance_map(path)
        assert instance.dtype == np.int32
        assert instance.flags.c_contiguous
        np.testing.assert_array_equal(instance, expected)


def test_instance_numbers_beyond_int32(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([[0, 1 << 31]], np.int64))
    with pytest.raises(InputError, match="2147483648, beyond int32"):
        read_instance_map(tmp_path / "a.npy")


# --- sizes and checks ------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(*[st.integers(1, 40)] * 4)
def test_fit_takes_the_pixel_under_the_centre(h: int, w: int, height: int, width: int) -> None:
    label = (np.arange(h * w) % 251).astype(np.uint8).reshape(h, w)
    expected = np.empty((height, width), np.uint8)
    for y in range(height):
        for x in range(width):
            expected[y, x] = label[(2 * y + 1) * h // (2 * height), (2 * x + 1) * w // (2 * width)]
    fitted = fit_label_map(label, height, width)
    assert fitted.flags.c_contiguous
    np.testing.assert_array_equal(fitted, expected)


@pytest.mark.parametrize("size", [(360, 480), (96, 128), (128, 96), (7, 5), (32, 97)])
def test_fit_equals_pillow(size: tuple[int, int]) -> None:
    label = np.random.default_rng(0).integers(0, 200, (90, 121), dtype=np.uint8)
    fitted = fit_label_map(label, *size)
    pillow = np.asarray(Image.fromarray(label).resize(size[::-1], Image.Resampling.NEAREST))
    np.testing.assert_array_equal(fitted, pillow)


def test_fit_of_the_same_size_is_no_copy(ids: np.ndarray) -> None:
    assert fit_label_map(ids, 12, 20) is ids


def test_check_accepts_and_names_both_nearest_sizes(ids: np.ndarray) -> None:
    check_label_map(ids, CARD, "a.png")
    check_label_map(np.full((2, 1, 4, 8), 3, np.uint8), CARD, "a.png")
    with pytest.raises(InputError, match=r"a\.png is 11x18 .* multiples of 4; resize it with --fit 8x16 or 12x20"):
        check_label_map(ids[:11, :18], CARD, "a.png")
    with pytest.raises(InputError, match=r"--fit 4x4$"):  # smaller than the stride: there is only one
        check_label_map(ids[:3, :4], CARD, "a.png")


@pytest.mark.parametrize(
    ("label", "message"),
    [
        (np.zeros((4, 4), np.int32), "this is int32"),
        (np.zeros(4, np.uint8), "uint8"),
        (np.zeros((0, 4), np.uint8), "empty"),
        (np.full((4, 4), 4, np.uint8), r"4 \(16 px\)"),
        (np.full((4, 4), 255, np.uint8), r"255 \(16 px\)"),
    ],
)
def test_check_refuses(label: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_label_map(label, CARD, "a.png")


def test_colorize_paints_foreign_ids_black() -> None:
    painted = colorize(np.array([[0, 4, 255, -1]], np.int64), CLASSES)
    assert painted.tolist() == [[[128, 128, 128], [0, 0, 0], [0, 0, 0], [0, 0, 0]]]


# --- finding ---------------------------------------------------------------------------------------------------------


def test_find_inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "maps"
    (folder / "sub.png").mkdir(parents=True)
    for name in ("m10.png", "m2.PNG", "m1.npy", "photo.jpg", ".hidden.png", "notes.txt", "x[1].png"):
        (folder / name).touch()
    natural = ["m1.npy", "m2.PNG", "m10.png", "x[1].png"]
    assert [path.name for path in find_inputs(["maps"])] == natural
    assert [path.name for path in find_inputs(["maps/m*"])] == natural[:3]
    assert [path.name for path in find_inputs(["**/m?.*"])] == ["m1.npy", "m2.PNG"]
    assert find_inputs(["maps/x[1].png"]) == [Path("maps/x[1].png")]
    assert find_inputs(["maps/photo.jpg"]) == [Path("maps/photo.jpg")]  # reading it explains what is wrong
    twice = find_inputs([folder / "m10.png", "maps", Path("maps/m2.PNG")])
    assert [path.name for path in twice] == ["m10.png", "m1.npy", "m2.PNG", "x[1].png"]


def test_find_inputs_refuses(tmp_path: Path) -> None:
    (tmp_path / "only.jpg").touch()
    for paths, message in [
        ([], "no label map was named"),
        ([tmp_path], "holds no label map"),
        ([tmp_path / "*.png"], "matches"),
        ([tmp_path / "*.jpg"], "no label map"),
        ([tmp_path / "none.png"], "does not exist"),
    ]:
        with pytest.raises(InputError, match=message):
            find_inputs(paths)


def test_natural_order() -> None:
    names = ["b", "a10", "a2", "a", "10", "9", "a2b", "a02"]
    assert sorted(names, key=natural_key) == ["9", "10", "a", "a02", "a2", "a2b", "a10", "b"]


# --- void as a value of its own ---------------------------------------------------------------------------------------

OWN_VOID = ModelCard("views", "cross-view", CLASSES[:3], void=255, height=8, width=16, stride=4)


def test_own_void_is_a_value_beside_the_classes(tmp_path: Path) -> None:
    label = np.array([[0, 1, 2, 255]] * 8, np.uint8).repeat(2, axis=1)
    assert OWN_VOID.own_void
    check_label_map(label, OWN_VOID, "x")
    np.save(tmp_path / "a.npy", label.astype(np.int64))
    Image.fromarray(label).save(tmp_path / "grey.png")
    Image.fromarray(colorize(label, OWN_VOID.classes)).save(tmp_path / "colours.png")
    for name in ("a.npy", "grey.png", "colours.png"):
        read = read_label_map(tmp_path / name, OWN_VOID.classes, OWN_VOID.void)
        assert read.dtype == np.uint8
        np.testing.assert_array_equal(read, label, err_msg=name)


@pytest.mark.parametrize("value", [3, 77, 254])
def test_own_void_is_no_licence_for_other_values(tmp_path: Path, value: int) -> None:
    label = np.array([[0, value], [255, 255]], np.uint8)
    with pytest.raises(InputError, match=rf"{value} \(1 px\); this model knows 0 to 2"):
        check_label_map(label, OWN_VOID, "x")
    np.save(tmp_path / "a.npy", label)
    with pytest.raises(InputError, match=rf"{value} \(1 px\)"):
        read_label_map(tmp_path / "a.npy", OWN_VOID.classes, OWN_VOID.void)


def test_black_is_void_only_where_no_class_is_black(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / "black.png")
    assert read_label_map(tmp_path / "black.png", OWN_VOID.classes, 255).max() == 255
    black = (*OWN_VOID.classes, ClassInfo("night", (0, 0, 0)))
    assert read_label_map(tmp_path / "black.png", black, 255).max() == 3
    with pytest.raises(InputError, match="colour of no class"):
        read_label_map(tmp_path / "black.png", OWN_VOID.classes, None)


def test_sizes_have_a_smallest() -> None:
    for height, width, nearest in ((4, 16, "8x16"), (2, 2, "8x8"), (9, 4, "8x8 or 12x8")):
        with pytest.raises(InputError, match=rf"multiples of 4 from 8 on; resize it with --fit {nearest}$"):
            check_label_map(np.zeros((height, width), np.uint8), OWN_VOID, "x")
