from __future__ import annotations

import pytest
import torch
from torch import nn

from export.rewrites.label_stem import CONVOLVE_LABELS, LabelConvolution, convolve_labels
from export.rewrites.label_symbols import Alphabet
from lggan.networks.semantics import encode_semantics
from tests.export.rewrites.hard_maps import hard_maps
from tests.export.rewrites.onnx_runs import run_body

K = 5


@pytest.mark.parametrize("edges", [False, True])
@pytest.mark.parametrize("size", [(4, 4), (9, 14)])  # a reflection of three needs four pixels
def test_it_is_the_convolution_of_the_reflected_one_hot_map(edges: bool, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    alphabet = Alphabet(K, edges)
    conv = nn.Conv2d(K + edges, 4, 7, padding=3, padding_mode="reflect", bias=False).double()
    rewritten = LabelConvolution(conv, alphabet)
    for name, label in hard_maps(K, *size).items():
        labels = torch.from_numpy(label)[None, None].repeat(2, 1, 1, 1)
        labels[1] = labels[1].flip(-1)
        instance = labels.to(torch.int32) * 7 + torch.arange(size[1]) // 5 if edges else None
        with torch.no_grad():
            expected = conv(encode_semantics(labels, K, instance).double())
            symbols = alphabet.symbols(labels, instance)
            assert float((rewritten(symbols) - expected).abs().max()) < 1e-12, name
            (body,) = run_body(CONVOLVE_LABELS, [symbols[:, 0], rewritten.taps.data], (alphabet.size,))
        assert float((torch.from_numpy(body) - expected).abs().max()) < 1e-12, name


def test_more_classes_than_one_word_has_room_for() -> None:
    torch.manual_seed(0)
    alphabet = Alphabet(256, edges=True)  # seven symbols of 515 each are more than 2**62
    symbols = torch.randint(0, alphabet.outside, (1, 8, 12))
    taps = torch.randn(49, alphabet.size, 2, dtype=torch.float64)
    (body,) = run_body(CONVOLVE_LABELS, [symbols, taps], (alphabet.size,))
    assert float((torch.from_numpy(body) - convolve_labels(symbols, taps, alphabet.size)).abs().max()) < 1e-12
