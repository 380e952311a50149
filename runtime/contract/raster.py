"""Opening picture files that may be anything: every way in which they can be broken ends in one `InputError`."""

from __future__ import annotations

import struct
import threading
import warnings
import zlib
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from runtime.contract.card import MAX_SIDE
from runtime.contract.errors import InputError

PHOTO_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "PPM", "GIF", "JPEG2000")
"""Formats that Pillow decodes by itself; EPS and its like, which start other programs, stay shut."""

MAX_FILE_BYTES = 1 << 30
PNG_MAGIC = b"\x89PNG\r\n\x1a\n"

# What Pillow, zlib and struct raise on broken files, MemoryError for sizes that only the header knows of.
_BROKEN = (OSError, SyntaxError, ValueError, TypeError, EOFError, IndexError, KeyError, OverflowError, MemoryError,
           struct.error, zlib.error)  # fmt: skip
_warnings_lock = threading.Lock()  # warnings.catch_warnings changes the state of the whole process


@dataclass(frozen=True)
class PngHeader:
    """The IHDR chunk: ``bit_depth`` 1, 2, 4, 8 or 16; ``color_type`` 0 grey, 2 RGB, 3 palette, 4 grey+alpha, 6 RGBA."""

    width: int
    height: int
    bit_depth: int
    color_type: int


def read_file(path: str | Path) -> bytes:
    """Read a whole file.

    Raises:
        InputError: absent, a folder, unreadable, empty, or larger than `MAX_FILE_BYTES`.
    """
    path = Path(path)
    try:
        if path.is_dir():
            raise InputError(f"{path} is a folder, a file was expected; name a file inside it")
        if not path.exists():
            raise InputError(f"{path} does not exist; check the name")
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise InputError(f"{path} has {size >> 20} MiB, more than {MAX_FILE_BYTES >> 20}; it is not one picture")
        data = path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a zero byte inside the name
        raise InputError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if not data:
        raise InputError(f"{path} is empty; write it again")
    return data


def check_png(data: bytes, path: str | Path) -> PngHeader:
    """Walk through the chunks of a PNG and compare every checksum.

    Pillow skips the checksums of pixel data, so that a flipped bit can pass as another class; here it cannot.

    Raises:
        InputError: truncated, a checksum that does not fit, or sides beyond `MAX_SIDE` or the pixel limit of Pillow.
    """
    truncated = InputError(f"{path} is truncated: it ends in the middle ({len(data)} bytes); copy or write it again")
    header: PngHeader | None = None
    position = len(PNG_MAGIC)
    while True:
        if position + 12 > len(data):
            raise truncated
        (length,) = struct.unpack_from(">I", data, position)
        kind = data[position + 4 : position + 8]
        end = position + 8 + length
        if end + 4 > len(data):
            raise truncated
        (checksum,) = struct.unpack_from(">I", data, end)
        if zlib.crc32(data[position + 4 : end]) != checksum:
            raise InputError(
                f"{path} is damaged: the checksum of its chunk {kind.decode('ascii', 'replace')!r} at byte {position} "
                "does not fit; copy or write it again"
            )
        if header is None:
            if kind != b"IHDR" or length != 13:
                raise InputError(f"{path} is not a valid PNG: it does not begin with a header; write it again")
            width, height, bit_depth, color_type = struct.unpack_from(">IIBB", data, position + 8)
            check_sides(width, height, path)
            header = PngHeader(width, height, bit_depth, color_type)
        if kind == b"IEND":
            return header
        position = end + 4


def check_sides(width: int, height: int, path: str | Path) -> None:
    """Refuse sizes that are empty or too large to decode, before anything is decoded.

    Raises:
        InputError: a side of 0 or beyond `MAX_SIDE`, or more pixels than Pillow's decompression-bomb limit.
    """
    if not (1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE):
        raise InputError(f"{path} is {width}x{height} pixels; both sides must be between 1 and {MAX_SIDE}")
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and width * height > limit:
        raise InputError(f"{path} is {width}x{height} pixels, more than {limit} in all; cut it into tiles")


def decode(data: bytes, path: str | Path, formats: tuple[str, ...]) -> Image.Image:
    """Decode a picture completely, keeping its mode; the first frame where there are several.

    Raises:
        InputError: not of these formats, broken, truncated or too large.
    """
    try:
        with _warnings_lock, warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # check_sides is stricter
            picture = Image.open(BytesIO(data), formats=formats)
        check_sides(picture.width, picture.height, path)
        picture.load()
    except Image.DecompressionBombError as error:
        raise InputError(f"{path} is too large to decode safely: {error}") from error
    except UnidentifiedImageError as error:
        raise InputError(f"{path} is not a picture of a known format ({', '.join(formats)}), or is damaged") from error
    except _BROKEN as error:
        raise InputError(f"{path} is damaged or truncated ({error}); copy or write it again") from error
    return picture
