from __future__ import annotations

import pytest
import torch
from torch.nn.functional import conv2d, pad

from export.rewrites.label_symbols import Alphabet
from lggan.networks.semantics import encode_semantics
from tests.export.rewrites.hard_maps import hard_maps

K = 5


@pytest.mark.parametrize("edges", [False, True])
@pytest.mark.parametrize("kernel", [1, 3, 7])
def test_looking_up_is_convolving_the_one_hot_map(edges: bool, kernel: int) -> None:
    torch.manual_seed(0)
    alphabet = Alphabet(K, edges)
    weight = torch.randn(4, K + edges, kernel, kernel, dtype=torch.float64)
    table = alphabet.table(weight)
    assert table.shape == (kernel * kernel, alphabet.size, 4)
    margin = kernel // 2
    for name, label in hard_maps(K, 9, 14).items():
        label = torch.from_numpy(label)[None, None]
        instance = label.to(torch.int32) * 7 + torch.arange(14) // 5 if edges else None
        expected = conv2d(encode_semantics(label, K, instance).double(), weight, padding=margin)
        symbols = pad(alphabet.symbols(label, instance), (margin,) * 4, value=alphabet.outside)[:, 0]
        windows = [symbols[:, dy : dy + 9, dx : dx + 14] for dy in range(kernel) for dx in range(kernel)]
        looked_up = sum(table[tap][window] for tap, window in enumerate(windows)).permute(0, 3, 1, 2)
        assert float((looked_up - expected).abs().max()) < 1e-12, name


def test_symbols_say_class_and_edge() -> None:
    label = torch.tensor([[[[0, 1], [255, 3]]]], dtype=torch.uint8)
    instance = torch.tensor([[[[5, 5], [5, 6]]]], dtype=torch.int32)
    alphabet = Alphabet(3, edges=True)
    symbols = alphabet.symbols(label, instance)
    assert symbols.tolist() == [[[[0, 3], [7, 7]]]]  # the lower right pixel is an edge; 3 and 255 are no classes
    symbols = alphabet.symbols(label, instance)
    assert alphabet.classes_of(symbols).tolist() == [[[[0, 1], [3, 3]]]]
    assert (alphabet.outside, alphabet.size) == (8, 9)
    assert Alphabet(3, edges=False).symbols(label, None).tolist() == [[[[0, 1], [3, 3]]]]
