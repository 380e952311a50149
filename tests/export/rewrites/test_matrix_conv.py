from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import conv2d

from export.rewrites.matrix_conv import MATRIX_CONVOLUTION, MatrixConv2d, as_matrix, matrix_pays, use_matrices
from lggan.config import UpsamplingDepth
from lggan.networks.generator import LGGANGenerator
from lggan.networks.semantics import encode_semantics
from tests.export.rewrites.hard_maps import hard_maps
from tests.export.rewrites.onnx_runs import run_body
from tests.export.samples import Case, random_generator


def _conv(bias: bool = True) -> nn.Conv2d:
    torch.manual_seed(0)
    return nn.Conv2d(5, 3, 3, padding=1, bias=bias).double().requires_grad_(False)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("size", [(1, 1), (1, 4), (2, 2), (8, 8), (5, 9)])
def test_any_size_gives_the_direct_convolution(bias: bool, size: tuple[int, int]) -> None:
    conv = _conv(bias)
    x = torch.randn(2, 5, *size, dtype=torch.float64)
    torch.testing.assert_close(MatrixConv2d(conv)(x), conv(x), rtol=1e-12, atol=1e-13)


def test_on_one_hot_maps() -> None:
    conv = nn.Conv2d(4, 3, 3, padding=1).double().requires_grad_(False)
    for name, label in hard_maps(4, 9, 14).items():
        x = encode_semantics(torch.from_numpy(label)[None, None], 4).double()
        assert float((MatrixConv2d(conv)(x) - conv(x)).abs().max()) < 1e-13, name


@pytest.mark.parametrize("size", [(1, 1), (3, 7), (8, 8)])
def test_the_body_is_the_operator(size: tuple[int, int]) -> None:
    conv = _conv().float()
    x = torch.randn(2, 5, *size)
    (actual,) = run_body(MATRIX_CONVOLUTION, [x, as_matrix(conv.weight)], ())
    expected = conv2d(x, conv.weight, padding=1).numpy()
    assert actual.shape == expected.shape
    np.testing.assert_allclose(actual, expected, atol=1e-5)


@pytest.mark.parametrize(
    "conv", [nn.Conv2d(2, 2, 3), nn.Conv2d(2, 2, 1), nn.Conv2d(2, 2, 3, padding=1, stride=2)], ids=str
)
def test_other_convolutions_are_refused(conv: nn.Conv2d) -> None:
    with pytest.raises(ValueError, match="is no 3x3 convolution of stride one with a margin"):
        MatrixConv2d(conv)


def test_where_it_pays() -> None:
    assert matrix_pays(1024, 1024, 16 * 16)
    assert not matrix_pays(1024, 1024, 16 * 32)
    assert not matrix_pays(512, 512, 64)


@pytest.mark.parametrize("depth", UpsamplingDepth)
def test_it_replaces_the_widest_convolutions_where_their_map_is_small(depth: UpsamplingDepth) -> None:
    generator, _ = random_generator(Case())
    assert isinstance(generator, LGGANGenerator)
    with torch.device("meta"):
        wide = LGGANGenerator(replace(generator.config, ngf=64, depth=depth, height=256, width=256))
    use_matrices(wide)
    # 1024 channels at 8x8, 16x16 and 16x16 pixels, or at 4x4, 8x8 and 16x16; then fewer channels and more pixels
    for name in ("conv_0", "conv_1"):
        replaced = [isinstance(getattr(block, name), MatrixConv2d) for block in wide.global_branch.blocks]
        assert replaced == [True] * 3 + [False] * 4


def test_it_leaves_larger_maps_alone() -> None:
    generator, _ = random_generator(Case())
    assert isinstance(generator, LGGANGenerator)
    with torch.device("meta"):
        wide = LGGANGenerator(replace(generator.config, ngf=64, height=256, width=512))
    use_matrices(wide)
    assert [isinstance(block.conv_1, MatrixConv2d) for block in wide.global_branch.blocks] == [True] + [False] * 6
