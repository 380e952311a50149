"""Where the class-specific heads have something to see: index lists instead of masks (specification F.4)."""

from __future__ import annotations

from bisect import bisect_right
from typing import NamedTuple

import torch
from torch import Tensor

# Pixels to be worked on at a time. On a CPU, what they give rise to should stay in the cache; elsewhere, few large
# steps are better than many small ones.
_PORTION_CPU = 4096
_PORTION = 65536


class Band(NamedTuple):
    """Some lines of the padded picture: all their places, and their stretches of the lists in `Stretches`."""

    places: slice
    pixels: slice
    rows: slice


class Segment(NamedTuple):
    """One head in one picture, and its stretches of the lists in `Stretches`; the bands follow each other."""

    image: int
    head: int
    rows: slice
    windows: slice
    bands: tuple[Band, ...]


class Stretches(NamedTuple):
    """Lists over all segments, ascending within each. Places are indices into the padded picture, y * stride + x.

    Attributes:
        pixels: int32 [P], places of the segment's class.
        shown: int64 [P], the pixel y * W + x of the unpadded picture that stands there.
        rows: int32 [R], first places of the 1 x k windows that meet the class.
        windows: int32 [J], first places of the k x k windows that meet the class. The window of pixel (y, x) of the
            unpadded picture is the one that starts at (y, x) of the padded one.
    """

    pixels: Tensor
    shown: Tensor
    rows: Tensor
    windows: Tensor


class HeadRoutes(NamedTuple):
    """What a k x k convolution per head has to look at when each head sees the pixels of its class alone.

    Heads whose class a picture lacks have no segment there, so that all sizes go with the classes present.

    Attributes:
        segments: sorted by image, then head.
        stretches: what the segments' slices are cut from.
        image, pixel, head: int64 [J], the windows as index in the batch, y * W + x and head.
        kernel: k.
        stride: width of the picture after reflect padding, W + k - 1.
        area: of that picture, in pixels.
    """

    segments: tuple[Segment, ...]
    stretches: Stretches
    image: Tensor
    pixel: Tensor
    head: Tensor
    kernel: int
    stride: int
    area: int


def find_routes(heads: Tensor, count: int, kernel: int) -> HeadRoutes:
    """Index a head map for all heads at once.

    Args:
        heads: int64 [N, H, W], 0..count-1, or ``count`` for none; H and W at least (kernel + 1) / 2.
        count: K.
        kernel: k, odd.
    """
    n, height, width = heads.shape
    ys, xs = (_reflected(side, kernel // 2, heads.device) for side in (height, width))
    padded = heads.to(torch.int16)[:, ys][:, :, xs]  # [N, H + k - 1, W + k - 1]
    high, wide = padded.shape[1:]

    offsets = (count + 1) * torch.arange(n, device=heads.device).view(n, 1, 1)
    histogram = torch.bincount((heads + offsets).flatten(), minlength=n * (count + 1)).view(n, count + 1)
    images, present = histogram[:, :count].nonzero(as_tuple=True)  # [S] each
    seen = padded[images] == present.to(torch.int16).view(-1, 1, 1)  # [S, H + k - 1, W + k - 1]
    along = _any_of_next(seen, 2, kernel)  # [S, H + k - 1, W]
    near = _any_of_next(along, 1, kernel)  # [S, H, W]

    (pixels, pixel_cuts), (rows, row_cuts), (windows, window_cuts) = (_listed(m, wide) for m in (seen, along, near))
    shown = (ys.view(-1, 1) * width + xs).flatten().index_select(0, pixels)
    counts = window_cuts[::height].diff()  # [S]
    image, head = (torch.repeat_interleave(of, counts, output_size=len(windows)) for of in (images, present))
    pixel = windows.div(wide, rounding_mode="floor").long() * width + windows % wide
    # The only numbers that the host needs, in one transfer.
    table = torch.cat([images, present, pixel_cuts, row_cuts, window_cuts[::height]]).tolist()
    s = len(images)
    lines = s * high + 1
    portion = _PORTION_CPU if heads.device.type == "cpu" else _PORTION
    segments = []
    for index in range(s):
        first = 2 * s + index * high
        pixel_borders, row_borders = table[first : first + high + 1], table[first + lines : first + lines + high + 1]
        border = 2 * s + 2 * lines + index
        segments.append(
            Segment(
                image=table[index],
                head=table[s + index],
                rows=slice(row_borders[0], row_borders[-1]),
                windows=slice(table[border], table[border + 1]),
                bands=tuple(_bands(pixel_borders, row_borders, wide, portion)),
            )
        )
    stretches = Stretches(pixels, shown, rows, windows)
    return HeadRoutes(tuple(segments), stretches, image, pixel, head, kernel, wide, high * wide)


def _reflected(side: int, margin: int, device: torch.device) -> Tensor:
    """Which pixel each place of a line shows after reflect padding: int64 [side + 2 margin]."""
    places = torch.arange(-margin, side + margin, device=device).abs()
    return torch.minimum(places, 2 * (side - 1) - places)


def _any_of_next(mask: Tensor, dim: int, count: int) -> Tensor:
    """Whether any of ``count`` consecutive entries is set, for each entry that as many follow; by doubling."""
    reach = 1
    while reach < count:
        step = min(reach, count - reach)
        length = mask.shape[dim] - step
        mask = mask.narrow(dim, 0, length) | mask.narrow(dim, step, length)
        reach += step
    return mask


def _listed(masks: Tensor, stride: int) -> tuple[Tensor, Tensor]:
    """The set entries of masks [S, h, w] as int32 places y * stride + x, and where in that list each line begins.

    The latter are S * h + 1 numbers, as the end of the list is among them.
    """
    count, height, width = masks.shape
    flat = masks.flatten().nonzero().squeeze(1)
    cuts = torch.searchsorted(flat, torch.arange(count * height + 1, device=masks.device) * width)
    inside = flat % (height * width)
    return (inside + inside.div(width, rounding_mode="floor") * (stride - width)).to(torch.int32), cuts


def _bands(pixel_borders: list[int], row_borders: list[int], stride: int, portion: int) -> list[Band]:
    """Cut a segment into bands of at most ``portion`` pixels, but of one line at least; lines without pixels drop out.

    Args:
        pixel_borders, row_borders: where in the lists each line of the padded picture begins, and the last one ends.
    """
    bands = []
    line, lines = 0, len(pixel_borders) - 1
    while pixel_borders[line] < pixel_borders[lines]:
        start = bisect_right(pixel_borders, pixel_borders[line]) - 1  # skip lines without pixels
        end = max(start + 1, bisect_right(pixel_borders, pixel_borders[start] + portion) - 1)
        end = min(end, lines)
        bands.append(
            Band(
                places=slice(start * stride, end * stride),
                pixels=slice(pixel_borders[start], pixel_borders[end]),
                rows=slice(row_borders[start], row_borders[end]),
            )
        )
        line = end
    return bands
