"""The cross-view generator's inputs from bytes, against a loop over the pixels."""

from __future__ import annotations

import numpy as np
import torch

from lggan.cross_view_config import CrossViewConfig
from lggan.networks.cross_view_inputs import NO_HEAD, bytes_to_unit, encode_cross_view, lookup_tables

CONFIG = CrossViewConfig(
    classes=4, height=8, width=8, colors=((1, 2, 3), (255, 0, 128), (7, 7, 7), (9, 8, 7)), groups=(1, 0, -1, 1)
)


def test_against_a_loop() -> None:
    draw = np.random.default_rng(0)
    source = draw.integers(0, 256, (2, 3, 5, 3), dtype=np.uint8)
    label = draw.choice(np.array([0, 1, 2, 3, 4, 77, 255], np.uint8), (2, 1, 3, 5))
    conditions, groups = encode_cross_view(torch.from_numpy(source), torch.from_numpy(label), CONFIG)
    assert conditions.shape == (2, 6, 3, 5)
    assert conditions.dtype == torch.float32
    assert groups.dtype == torch.uint8
    for n, y, x in np.ndindex(2, 3, 5):
        value = int(label[n, 0, y, x])
        color = CONFIG.colors[value] if value < 4 else (0, 0, 0)
        expected = [part / 127.5 - 1 for part in (*(int(v) for v in source[n, y, x]), *color)]
        np.testing.assert_allclose(conditions[n, :, y, x].numpy(), expected, atol=1e-6)
        group = CONFIG.groups[value] if value < 4 else -1
        assert int(groups[n, 0, y, x]) == (NO_HEAD if group < 0 else group)


def test_every_byte_has_an_entry() -> None:
    colors, groups = lookup_tables(CONFIG)
    assert colors.shape == (256, 3)
    assert not colors[4:].any()
    assert set(groups[4:].tolist()) == {NO_HEAD}
    assert groups[:4].tolist() == [1, 0, NO_HEAD, 1]


def test_the_range_is_reached() -> None:
    assert bytes_to_unit(torch.tensor([0, 255], dtype=torch.uint8)).tolist() == [-1.0, 1.0]
