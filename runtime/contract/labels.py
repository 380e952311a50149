"""Label maps: from any file form to ids, sizes that fit a model, and back to colours.

A label map gives every pixel one class: uint8 [H, W], ids 0..K-1, the position of the class in ``classes``.
The value 255 in a file stands for the void class where the model has one. Where void is a value of its own
(`ModelCard.own_void`), 255 stays 255, and belongs to no class.
"""

from __future__ import annotations

import struct
import tokenize
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from runtime.contract.card import ClassInfo, ModelCard
from runtime.contract.errors import InputError
from runtime.contract.inputs import find_inputs as find_inputs
from runtime.contract.palette import ids_of_palette, ids_of_rgb
from runtime.contract.raster import PNG_MAGIC, check_png, check_sides, decode, read_file

VOID_VALUE = 255
_NPY_MAGIC = b"\x93NUMPY"
_LOSSY = {b"\xff\xd8\xff": "JPEG", b"\x00\x00\x00\x0cjP": "JPEG 2000"}
_GREY_ALPHA = 4  # colour type in the header of a PNG
_SHOWN = 5  # offending ids named in a message


def read_label_map(path: str | Path, classes: Sequence[ClassInfo], void: int | None) -> np.ndarray:
    """Read a label map in any of its forms.

    * grey PNG (1 to 16 bits): the value is the id;
    * paletted PNG: read by index or by colour, see `runtime.contract.palette.ids_of_palette`;
    * RGB or RGBA PNG: the colour is looked up among ``classes`` (the first of equal colours wins), alpha is ignored;
      black is void where void is a value of its own and no class is black, as `colorize` paints it;
    * ``.npy`` of any integer type, [H, W], [1, H, W] or [H, W, 1]: the value is the id.

    Args:
        path: the file; its content decides, not its name.
        classes: K classes.
        void: id for the value 255 (only if 255 is not a class itself), or None where 255 is an error.

    Returns:
        uint8 [H, W], C-contiguous, ids 0..K-1 or ``void``.

    Raises:
        InputError: absent, damaged, lossy or foreign file; an id out of range; a colour of no class.
    """
    data = read_file(path)
    if data.startswith(_NPY_MAGIC):
        return _checked_ids(_read_npy(path), path, len(classes), void)
    picture, bits = _open_png(data, path)
    if picture.mode == "P":
        indices = np.asarray(picture)  # [H, W] uint8
        ids = ids_of_palette(indices, _palette_of(picture), classes, void, path)
    elif picture.mode in ("RGB", "RGBA"):
        ids = _ids_of_colors(np.asarray(picture)[..., :3], classes, void, path)
    else:
        ids = _grey_values(picture, bits, path)
    return _checked_ids(ids, path, len(classes), void)


def read_instance_map(path: str | Path) -> np.ndarray:
    """Read an instance map: pixels of the same thing share a number.

    Grey PNG (1 to 16 bits), the indices of a paletted PNG, an RGB PNG as R + 256 G + 65536 B (the COCO panoptic
    form), or an integer ``.npy`` as in `read_label_map`.

    Returns:
        int32 [H, W], C-contiguous.

    Raises:
        InputError: absent, damaged, lossy or foreign file; a number beyond int32.
    """
    data = read_file(path)
    if data.startswith(_NPY_MAGIC):
        ids = _read_npy(path)
        limits = np.iinfo(np.int32)
        if int(ids.min()) < limits.min or int(ids.max()) > limits.max:
            raise InputError(f"{path}: instances number {ids.min()} to {ids.max()}, beyond int32; renumber them")
        return np.array(ids, dtype=np.int32, order="C")
    picture, bits = _open_png(data, path)
    if picture.mode in ("RGB", "RGBA"):
        rgb = np.asarray(picture)[..., :3].astype(np.int32)  # [H, W, 3]
        return rgb[..., 0] + 256 * rgb[..., 1] + 65536 * rgb[..., 2]
    if picture.mode == "P":
        return np.asarray(picture).astype(np.int32)
    return _grey_values(picture, bits, path).astype(np.int32)


def fit_label_map(label: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize a label or instance map to [height, width] by the nearest pixel; no new id can appear.

    Pixel centres are aligned: output pixel i takes input pixel floor((i + 1/2) * size_in / size_out), computed in
    whole numbers. (Pillow's nearest does the same in floating point; torch calls it ``nearest-exact``.)

    Args:
        label: [H, W], any dtype.

    Returns:
        [height, width], the same dtype, C-contiguous; ``label`` itself where it has that size already.
    """
    if label.shape == (height, width):
        return label
    rows, columns = (
        (2 * np.arange(new) + 1) * old // (2 * new) for old, new in zip(label.shape, (height, width), strict=True)
    )
    return np.ascontiguousarray(label[rows[:, None], columns])


def check_label_map(label: np.ndarray, card: ModelCard, name: str | Path) -> None:
    """Check that a label map can enter a model as it is: type, ids and size.

    Args:
        label: uint8 [H, W] or with leading axes, [..., H, W].
        name: what the messages call it.

    Raises:
        InputError: another dtype, an id that is neither a class nor ``card.void``, a size off the model's stride.
    """
    if label.dtype != np.uint8 or label.ndim < 2:
        raise InputError(f"{name}: a label map is uint8 [H, W], this is {label.dtype} {list(label.shape)}")
    if label.size == 0:
        raise InputError(f"{name}: the label map is empty, {list(label.shape)}")
    if label.max() >= len(card.classes):
        _refuse_ids(label, name, len(card.classes), card.void)
    check_label_size(label.shape[-2], label.shape[-1], card.stride, name, card.smallest_side)


def check_label_size(height: int, width: int, stride: int, name: str | Path, smallest: int = 1) -> None:
    """Check that both sides are multiples of ``stride`` and not below ``smallest``, a multiple of it.

    Raises:
        InputError: naming the nearest sizes that are.
    """
    if height % stride == 0 and width % stride == 0 and min(height, width) >= smallest:
        return
    least = max(smallest, stride)
    smaller = [max(side // stride * stride, least) for side in (height, width)]
    larger = [max(-(-side // stride) * stride, least) for side in (height, width)]
    nearest = f"{smaller[0]}x{smaller[1]}" + (f" or {larger[0]}x{larger[1]}" if larger != smaller else "")
    wish = f"multiples of {stride}" + (f" from {smallest} on" if smallest > stride else "")
    raise InputError(
        f"{name} is {height}x{width} (height x width), this model needs {wish}; resize it with --fit {nearest}"
    )


def colorize(label: np.ndarray, classes: Sequence[ClassInfo]) -> np.ndarray:
    """Paint a label map in the colours of its classes.

    Args:
        label: integer [H, W]; ids that are no class (such as a void id of its own) become black.

    Returns:
        uint8 [H, W, 3].
    """
    table = np.zeros((len(classes) + 1, 3), dtype=np.uint8)
    if classes:
        table[:-1] = [info.color for info in classes]
    if label.dtype.kind == "i":
        label = np.where(label < 0, len(classes), label)
    painted: np.ndarray = table[np.minimum(label, len(classes))]
    return painted


def _open_png(data: bytes, path: str | Path) -> tuple[Image.Image, int]:
    """The decoded PNG in its own mode, and its bits per channel."""
    for magic, name in _LOSSY.items():
        if data.startswith(magic):
            raise InputError(
                f"{path} is a {name} file: lossy compression blurs class ids and colours at every edge, so it cannot "
                "be a label map; use the PNG that it was made from"
            )
    if not data.startswith(PNG_MAGIC):
        raise InputError(f"{path} is neither a PNG nor a .npy file; save the label map as one of them")
    header = check_png(data, path)
    if header.color_type == _GREY_ALPHA and header.bit_depth > 8:  # Pillow would halve the values without a word
        raise InputError(f"{path}: a 16 bit PNG with alpha is no label map; save it as 8 bit grey without alpha")
    return decode(data, path, ("PNG",)), header.bit_depth


def _ids_of_colors(rgb: np.ndarray, classes: Sequence[ClassInfo], void: int | None, path: str | Path) -> np.ndarray:
    """Ids from colours; black comes after all classes, so that it is void only where no class is black."""
    if void is None or void < len(classes):
        return ids_of_rgb(rgb, classes, path)
    ids = ids_of_rgb(rgb, [*classes, ClassInfo("void", (0, 0, 0))], path)  # ids 0..K, K for black
    return np.where(ids == len(classes), np.uint8(void), ids)


def _grey_values(picture: Image.Image, bits: int, path: str | Path) -> np.ndarray:
    """Grey values as they stand in the file, [H, W].

    Pillow stretches 1, 2 and 4 bit greys to 0..255, and optimisers such as optipng write ids below 16 in 4 bits.
    """
    if picture.mode == "1":
        return np.asarray(picture).astype(np.uint8)
    if picture.mode == "L":
        return np.asarray(picture) // (255 // (2**bits - 1)) if bits < 8 else np.asarray(picture)
    if picture.mode in ("I", "I;16"):
        return np.asarray(picture)
    if picture.mode == "LA":
        return np.asarray(picture)[..., 0]
    raise InputError(f"{path}: a PNG of mode {picture.mode} is no label map; save it as 8 bit grey")


def _palette_of(picture: Image.Image) -> np.ndarray:
    """The palette as uint8 [256, 3]; entries that the file leaves out are black."""
    flat = np.asarray(picture.getpalette("RGB") or [], dtype=np.uint8)[:768]
    return np.pad(flat, (0, 768 - flat.size)).reshape(256, 3)


def _read_npy(path: str | Path) -> np.ndarray:
    """An integer array [H, W] of a .npy file, mapped, not loaded: a header that promises gigabytes costs nothing."""
    try:
        array: np.ndarray = np.lib.format.open_memmap(path, mode="r")
    except (OSError, ValueError, TypeError, SyntaxError, EOFError, OverflowError, KeyError, MemoryError, RecursionError,
            struct.error, tokenize.TokenError) as error:  # fmt: skip
        raise InputError(f"{path} is not a readable .npy array ({error}); write it again with numpy.save") from error
    if array.dtype.kind not in "iu":
        raise InputError(f"{path} holds {array.dtype}, ids are whole numbers; save it with .astype('uint8')")
    shape = array.shape
    if array.ndim == 3 and shape[0] == 1:
        array = array[0]  # [1, H, W] -> [H, W]
    elif array.ndim == 3 and shape[2] == 1:
        array = array[..., 0]  # [H, W, 1] -> [H, W]
    if array.ndim != 2:
        raise InputError(f"{path} has shape {list(shape)}; a label map is [H, W], [1, H, W] or [H, W, 1]")
    check_sides(array.shape[1], array.shape[0], path)
    return np.asarray(array)


def _checked_ids(ids: np.ndarray, path: str | Path, classes: int, void: int | None) -> np.ndarray:
    """Replace 255 by ``void``, refuse what is no class, and return uint8 [H, W] in memory of its own."""
    if int(ids.min()) >= 0 and int(ids.max()) < classes:
        return np.array(ids, dtype=np.uint8, order="C")
    if void is not None and classes <= VOID_VALUE <= int(ids.max()):
        ids = np.where(ids == VOID_VALUE, np.asarray(void, dtype=ids.dtype), ids)
    _refuse_ids(ids, path, classes, void)
    return np.array(ids, dtype=np.uint8, order="C")


def _refuse_ids(ids: np.ndarray, name: str | Path, classes: int, void: int | None) -> None:
    wrong = (ids < 0) | (ids >= classes)
    if void is not None:
        wrong &= ids != void
    if not wrong.any():
        return
    values, counts = np.unique(ids[wrong], return_counts=True)
    listed = ", ".join(f"{value} ({count} px)" for value, count in zip(values[:_SHOWN], counts[:_SHOWN], strict=True))
    more = f" and {len(values) - _SHOWN} others" if len(values) > _SHOWN else ""
    hint = "; 255 is no void here, the model has none" if void is None and VOID_VALUE in values else ""
    raise InputError(
        f"{name}: {int(wrong.sum())} of {ids.size} pixels have ids that are no class: {listed}{more}; "
        f"this model knows 0 to {classes - 1}{hint}"
    )
