"""The index lists of the class heads against masks."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import pad

from lggan.networks import head_routes
from lggan.networks.head_routes import find_routes
from tests.lggan.networks.head_maps import HEADS, head_maps, one_hot


@pytest.mark.parametrize("kernel", [3, 7])
@pytest.mark.parametrize("name", head_maps())
def test_every_place_is_listed_once_in_its_segment(name: str, kernel: int) -> None:
    heads = head_maps()[name]
    _, height, width = heads.shape
    margin = kernel // 2
    padded = pad(one_hot(heads), (margin,) * 4, mode="reflect").bool()  # [N, K, H + 2m, W + 2m]
    shows = pad(torch.arange(height * width).double().view(1, 1, height, width), (margin,) * 4, mode="reflect").long()
    routes = find_routes(heads, HEADS, kernel)
    assert (routes.stride, routes.area) == (width + 2 * margin, (width + 2 * margin) * (height + 2 * margin))
    assert [[s.image, s.head] for s in routes.segments] == one_hot(heads).amax(dim=(2, 3)).nonzero().tolist()
    for segment in routes.segments:
        mask = padded[segment.image, segment.head]
        across = mask.unfold(1, kernel, 1).any(dim=2)  # [H + 2m, W]
        around = across.unfold(0, kernel, 1).any(dim=2)  # [H, W]

        def places(of: torch.Tensor) -> list[int]:
            y, x = of.nonzero(as_tuple=True)
            return (y * routes.stride + x).tolist()

        pixels = slice(segment.bands[0].pixels.start, segment.bands[-1].pixels.stop)
        assert routes.stretches.pixels[pixels].tolist() == places(mask)
        assert routes.stretches.shown[pixels].tolist() == shows[0, 0][mask].tolist()
        assert routes.stretches.rows[segment.rows].tolist() == places(across)
        assert routes.stretches.windows[segment.windows].tolist() == places(around)
        assert routes.pixel[segment.windows].tolist() == around.flatten().nonzero().flatten().tolist()
        assert set(routes.image[segment.windows].tolist()) == {segment.image}
        assert set(routes.head[segment.windows].tolist()) == {segment.head}
    assert len(routes.stretches.windows) == sum(s.windows.stop - s.windows.start for s in routes.segments)


@pytest.mark.parametrize("portion", [1, 5, 40])
@pytest.mark.parametrize("name", head_maps())
def test_bands_follow_each_other_line_by_line(name: str, portion: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head_routes, "_PORTION_CPU", portion)
    routes = find_routes(head_maps()[name], HEADS, 7)
    for segment in routes.segments:
        assert segment.bands[0].rows.start == segment.rows.start
        assert segment.bands[-1].rows.stop == segment.rows.stop
        for before, after in zip(segment.bands, segment.bands[1:], strict=False):
            assert before.pixels.stop == after.pixels.start
            assert before.rows.stop == after.rows.start
            assert before.places.stop <= after.places.start
        for places, pixels, rows in segment.bands:
            assert places.start % routes.stride == places.stop % routes.stride == 0
            for inside in (routes.stretches.pixels[pixels], routes.stretches.rows[rows]):
                assert len(inside) > 0
                assert places.start <= inside.min()
                assert inside.max() < places.stop
            lines = routes.stretches.pixels[pixels].div(routes.stride, rounding_mode="floor").unique()
            assert pixels.stop - pixels.start <= portion or len(lines) == 1
