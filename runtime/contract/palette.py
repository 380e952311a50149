"""Class ids from colours: for label maps that people look at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from runtime.contract.card import ClassInfo
from runtime.contract.errors import InputError

_VOID_VALUE = 255
_NOT_MET = 254  # in the table of `NearestColors`
_SHOWN = 3  # unknown colours named in a message


class NearestColors:
    """Class ids from colours that stray from the palette, as those of JPEG files do.

    Black is a colour of no class, unless a class has it. What a colour means is worked out when it is first met, and
    kept in a table over all colours (16 MiB).

    Args:
        classes: K classes, at most 254; the first of equal colours wins.
        tolerance: largest distance in RGB, in levels of 0..255, at which a colour still belongs to a class.
    """

    def __init__(self, classes: Sequence[ClassInfo], tolerance: float) -> None:
        if not 1 <= len(classes) <= _NOT_MET:
            raise ValueError(f"{len(classes)} classes; 1 to {_NOT_MET} are possible")
        self._palette = np.array([*(info.color for info in classes), (0, 0, 0)], dtype=np.int64)  # [K + 1, 3]
        self._tolerance = tolerance
        self._table = np.full(1 << 24, _NOT_MET, dtype=np.uint8)

    def ids(self, rgb: np.ndarray) -> np.ndarray:
        """Look every pixel up.

        Args:
            rgb: uint8 [H, W, 3].

        Returns:
            uint8 [H, W], ids 0..K-1, or 255 where no class's colour is near.
        """
        codes = _pack(rgb)  # [H, W]
        ids = self._table[codes]
        new = ids == _NOT_MET
        if new.any():
            colors = np.unique(codes[new])  # [U]
            parts = np.stack([colors >> 16, colors >> 8 & 255, colors & 255], axis=-1).astype(np.int64)  # [U, 3]
            squared = ((parts[:, None] - self._palette) ** 2).sum(axis=-1)  # [U, K + 1]
            nearest = squared.argmin(axis=-1)  # [U]
            far = squared.min(axis=-1) > self._tolerance**2
            self._table[colors] = np.where(far | (nearest == len(self._palette) - 1), _VOID_VALUE, nearest)
            ids = self._table[codes]
        return ids


def ids_of_rgb(rgb: np.ndarray, classes: Sequence[ClassInfo], path: str | Path) -> np.ndarray:
    """Look every pixel's colour up among the classes.

    Where two classes share a colour, the first one wins: the colours of such a list cannot be told apart again.

    Args:
        rgb: uint8 [H, W, 3].
        classes: K classes.
        path: what messages call the map.

    Returns:
        uint8 [H, W], ids 0..K-1.

    Raises:
        InputError: colours that no class has: which, how many pixels, and the class that comes nearest.
    """
    keys, first = np.unique(_pack(np.array([info.color for info in classes], dtype=np.uint8)), return_index=True)
    codes = _pack(rgb).ravel()  # [H*W]
    # Neighbours are mostly equal: look up once per run of equal pixels instead of once per pixel.
    starts = np.flatnonzero(np.diff(codes, prepend=~codes[:1]))
    runs = codes[starts]
    lengths = np.diff(starts, append=codes.size)
    position = np.minimum(np.searchsorted(keys, runs), len(keys) - 1)
    known = keys[position] == runs
    if not known.all():
        values, inverse = np.unique(runs[~known], return_inverse=True)
        counts = np.bincount(inverse, weights=lengths[~known]).astype(np.int64)
        _refuse_colors(values, counts, codes.size, classes, path)
    return np.repeat(first[position].astype(np.uint8), lengths).reshape(rgb.shape[:2])


def ids_of_palette(
    indices: np.ndarray, palette: np.ndarray, classes: Sequence[ClassInfo], void: int | None, path: str | Path
) -> np.ndarray:
    """Decide whether a paletted map means its indices or its colours, and read it so.

    Only entries in use count. A grey ramp as palette says nothing: index. Index, too, where no more than a part of
    the colours are colours of classes and those stand at their own ids, or where less than half of them are known.
    Colours decide where all are known, which covers palettes sorted by a paint program; where all are known and stand
    at their own ids both readings agree. Otherwise it is a coloured map with strange colours, and refused as such.

    Args:
        indices: uint8 [H, W].
        palette: uint8 [256, 3].
        void: id of the value 255, or None; entries 255 and ``void`` may have any colour then.

    Returns:
        uint8 [H, W]; range and the value 255 are not yet looked at.

    Raises:
        InputError: a coloured map in which some colours belong to no class.
    """
    counts = np.bincount(indices.ravel(), minlength=256)
    used = np.flatnonzero(counts)
    if (palette[used] == used[:, None]).all():
        return indices
    by_color = {info.color: index for index, info in reversed(list(enumerate(classes)))}  # the first of equals stays
    by_index = {index: info.color for index, info in enumerate(classes)}
    colors = {int(index): tuple(palette[index].tolist()) for index in used}
    ids = np.array([by_color.get(color, -1) for color in colors.values()])  # [used]
    own = np.array([by_index.get(index) == color for index, color in colors.items()])  # [used]
    exempt = np.isin(used, [_VOID_VALUE, void]) & (ids < 0) if void is not None else np.zeros(len(used), dtype=bool)
    known = ids >= 0
    if (own | ~known).all() or 2 * known.sum() < (~exempt).sum():
        return indices
    if not (known | exempt).all():
        strange = used[~known & ~exempt]
        _refuse_colors(_pack(palette[strange]), counts[strange], indices.size, classes, path)
    table = np.full(256, _VOID_VALUE, dtype=np.uint8)
    table[used[known]] = ids[known]
    painted: np.ndarray = table[indices]
    return painted


def _pack(rgb: np.ndarray) -> np.ndarray:
    """Colours [..., 3] as one number each, 0xRRGGBB."""
    wide = rgb.astype(np.uint32)
    return wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2]


def _refuse_colors(
    values: np.ndarray, counts: np.ndarray, pixels: int, classes: Sequence[ClassInfo], path: str | Path
) -> None:
    rgb = np.stack([values >> 16, values >> 8 & 255, values & 255], axis=-1).astype(np.int64)  # [U, 3]
    palette = np.array([info.color for info in classes], dtype=np.int64)  # [K, 3]
    shown = np.argsort(-counts, kind="stable")[:_SHOWN]
    lines = []
    for index in shown:
        nearest = int(((palette - rgb[index]) ** 2).sum(axis=-1).argmin())
        closest = f"{classes[nearest].name!r} {_name(palette[nearest])}"
        lines.append(f"{_name(rgb[index])} on {counts[index]} px (nearest class: {closest})")
    more = f", and {len(values) - _SHOWN} other colours" if len(values) > _SHOWN else ""
    grey = bool((rgb == rgb[:, :1]).all()) and int(rgb.max()) <= max(len(classes), 16)
    hint = "these look like ids saved as RGB: save one channel" if grey else "repaint them, or save ids as grey values"
    raise InputError(
        f"{path}: {int(counts.sum())} of {pixels} pixels have a colour of no class: {', '.join(lines)}{more}; {hint}"
    )


def _name(color: np.ndarray) -> str:
    red, green, blue = (int(part) for part in color)
    return f"#{red:02x}{green:02x}{blue:02x} ({red}, {green}, {blue})"
