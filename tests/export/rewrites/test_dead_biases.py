from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch

from export.rewrites.batch_norm import fold_batch_norms
from export.rewrites.dead_biases import drop_dead_biases
from lggan.config import SauPlacement, UpsamplingDepth
from lggan.networks.build import AnyGenerator
from lggan.networks.cross_view import CrossViewGenerator
from lggan.networks.generator import LGGANGenerator
from lggan.networks.semantics import encode_semantics
from tests.export.samples import Case, random_generator


def _inputs(generator: AnyGenerator) -> tuple[torch.Tensor, ...]:
    torch.manual_seed(0)
    if isinstance(generator, CrossViewGenerator):
        return torch.randn(2, 6, 32, 48).double(), torch.randint(0, 3, (2, 1, 32, 48))
    return (
        encode_semantics(
            torch.randint(0, generator.config.classes, (2, 1, 64, 128)), generator.config.classes
        ).double(),
    )


def _semantic(placement: SauPlacement, depth: UpsamplingDepth = UpsamplingDepth.NORMAL) -> LGGANGenerator:
    """With biases of the size of the values, so that none can be lost unnoticed."""
    generator = random_generator(Case(placement=placement))[0]
    assert isinstance(generator, LGGANGenerator)
    deep = LGGANGenerator(replace(generator.config, depth=depth, height=64, width=128)).eval().requires_grad_(False)
    deep.load_state_dict(generator.state_dict(), strict=False)  # one more upsampling where it is deeper
    for block in deep.global_branch.blocks:
        for conv in (block.conv_0, block.conv_1):
            conv.bias.normal_()
    return deep.double()


@pytest.mark.parametrize("depth", list(UpsamplingDepth))
@pytest.mark.parametrize("placement", list(SauPlacement))
def test_the_picture_is_the_same(placement: SauPlacement, depth: UpsamplingDepth) -> None:
    generator = _semantic(placement, depth)
    inputs = _inputs(generator)
    rewritten = copy.deepcopy(generator)
    drop_dead_biases(rewritten)
    torch.testing.assert_close(rewritten(*inputs).final, generator(*inputs).final, rtol=1e-8, atol=1e-10)
    fold_batch_norms(rewritten)
    torch.testing.assert_close(rewritten(*inputs).final, generator(*inputs).final, rtol=1e-8, atol=1e-10)


def test_cross_view() -> None:
    generator = random_generator(Case(cross_view=True))[0].double()
    inputs = _inputs(generator)
    rewritten = copy.deepcopy(generator)
    drop_dead_biases(rewritten)
    torch.testing.assert_close(rewritten(*inputs).final, generator(*inputs).final, rtol=1e-8, atol=1e-10)
    assert rewritten.encoder.conv1.bias is None
    assert rewritten.tower[0].conv2.bias is None  # type: ignore[union-attr]


def test_which_biases_go() -> None:
    generator = _semantic(SauPlacement.DECODERS)
    drop_dead_biases(generator)
    assert generator.encoder.conv1.bias is None
    assert generator.local_branch.tower[0].conv1.bias is None
    assert generator.local_branch.decoder.up1.bias is None
    assert generator.local_branch.fuse.bias is not None  # no norm behind it
    assert all(block.conv_0.bias is None for block in generator.global_branch.blocks)
    assert all(block.conv_1.bias is None for block in generator.global_branch.blocks[:-1])
    assert generator.global_branch.blocks[-1].conv_1.bias is not None


def test_upsampling_that_depends_on_values_stops_a_bias() -> None:
    generator = _semantic(SauPlacement.GLOBAL)
    drop_dead_biases(generator)
    kept = [block.conv_1.bias is not None for block in generator.global_branch.blocks]
    assert kept == [True, False, True, True, True, True, True]  # no doubling stands behind the second block


def test_folded_norms_take_nothing_over() -> None:
    generator = _semantic(SauPlacement.NONE)
    inputs = _inputs(generator)
    rewritten = copy.deepcopy(generator)
    fold_batch_norms(rewritten)
    drop_dead_biases(rewritten)
    assert rewritten.global_branch.blocks[0].conv_0.bias is not None
    torch.testing.assert_close(rewritten(*inputs).final, generator(*inputs).final, rtol=1e-8, atol=1e-10)
