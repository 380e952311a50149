"""Pictures in and out: photos as uint8 [H, W, 3], PNG files, and sheets that put many pictures side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from runtime.contract.errors import InputError
from runtime.contract.files import atomic_path
from runtime.contract.raster import PHOTO_FORMATS, decode, read_file

_GAP = 4  # pixels between the pictures of a sheet
_TITLE_HEIGHT = 14


def read_photo(path: str | Path) -> np.ndarray:
    """Read a photo of any usual format as RGB.

    The pixels are taken as they are stored: an EXIF orientation is ignored, because label maps are aligned with the
    stored pixels. Alpha is dropped, grey is repeated, 16 bit grey keeps its upper 8 bits.

    Returns:
        uint8 [H, W, 3], C-contiguous, 0..255.

    Raises:
        InputError: absent, no picture, damaged, truncated or too large.
    """
    picture = decode(read_file(path), path, PHOTO_FORMATS)
    try:
        if picture.mode.startswith("I"):  # 16 bit; Pillow's own conversion would clip instead of scale
            grey = np.clip(np.asarray(picture).astype(np.int64) >> 8, 0, 255).astype(np.uint8)  # [H, W]
            return np.repeat(grey[..., None], 3, axis=-1)  # [H, W, 3]
        return np.array(picture.convert("RGB"), order="C")
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: a picture of mode {picture.mode} cannot be read as RGB ({error})") from error


def write_png(path: str | Path, image: np.ndarray, *, force: bool = False) -> None:
    """Write an RGB picture as PNG, whole or not at all.

    Args:
        image: uint8 [H, W, 3].

    Raises:
        UsageError: ``path`` exists and ``force`` is False.
        MissingError: no space, no permission.
        ValueError: ``image`` is not uint8 [H, W, 3] (a mistake of the caller, not of the user).
    """
    _check_image(image)
    with atomic_path(path, force=force) as temporary:
        Image.fromarray(np.ascontiguousarray(image)).save(temporary, format="PNG")


def write_grid(
    path: str | Path,
    rows: Sequence[Sequence[np.ndarray | None]],
    titles: Sequence[str] | None = None,
    *,
    force: bool = False,
) -> None:
    """Write pictures as one sheet, PNG: every inner sequence is a row, from left to right.

    Every column is as wide as its widest picture, every row as high as its highest; pictures keep their size.

    Args:
        rows: uint8 [H, W, 3] each; None leaves a cell white. Rows may differ in length.
        titles: one per column, written above it.

    Raises:
        UsageError, MissingError: as `write_png`.
    """
    write_png(path, compose_grid(rows, titles), force=force)


def compose_grid(rows: Sequence[Sequence[np.ndarray | None]], titles: Sequence[str] | None = None) -> np.ndarray:
    """The sheet of `write_grid` as uint8 [H, W, 3]."""
    pictures = [picture for row in rows for picture in row if picture is not None]
    if not pictures:
        raise ValueError("a sheet needs at least one picture")
    for picture in pictures:
        _check_image(picture)
    columns = max(len(row) for row in rows)
    sizes = [[(0, 0) if cell is None else (cell.shape[0], cell.shape[1]) for cell in row] for row in rows]
    heights = [max((height for height, _ in row), default=0) for row in sizes]
    widths = [max(row[c][1] for row in sizes if c < len(row)) for c in range(columns)]
    top = _GAP + (_TITLE_HEIGHT if titles else 0)
    sheet = np.full((top + sum(heights) + _GAP * len(rows), sum(widths) + _GAP * (columns + 1), 3), 255, dtype=np.uint8)
    lefts = [_GAP + sum(widths[:c]) + _GAP * c for c in range(columns)]
    y = top
    for row, height in zip(rows, heights, strict=True):
        for x, cell in zip(lefts, row, strict=False):
            if cell is not None:
                sheet[y : y + cell.shape[0], x : x + cell.shape[1]] = cell
        y += height + _GAP
    return _with_titles(sheet, titles, lefts) if titles else sheet


def resize_photo(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize a photo by Pillow's bicubic filter (a = -0.5, widened when shrinking, so that nothing aliases).

    Args:
        image: uint8 [H, W, 3].

    Returns:
        uint8 [height, width, 3]; ``image`` itself where it has that size already.
    """
    _check_image(image)
    if image.shape[:2] == (height, width):
        return image
    resized = Image.fromarray(np.ascontiguousarray(image)).resize((width, height), Image.Resampling.BICUBIC)
    return np.array(resized, order="C")


def _with_titles(sheet: np.ndarray, titles: Sequence[str], lefts: Sequence[int]) -> np.ndarray:
    picture = Image.fromarray(sheet)
    draw = ImageDraw.Draw(picture)
    font = ImageFont.load_default()
    for title, x in zip(titles, lefts, strict=False):
        draw.text((x, _GAP // 2), title, fill=(0, 0, 0), font=font)
    return np.array(picture)


def _check_image(image: np.ndarray) -> None:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise ValueError(f"a picture is uint8 [H, W, 3], this is {image.dtype} {list(image.shape)}")
