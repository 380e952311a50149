from __future__ import annotations

import copy

import pytest
import torch

from export.rewrites.attention_sigmoid import SigmoidAttention, use_sigmoid_attention
from lggan.config import SauConfig, SauPlacement
from lggan.networks.attention import AttentionFusion
from lggan.networks.semantics import encode_semantics
from tests.export.samples import Case, random_generator


@pytest.mark.parametrize("placement", [SauPlacement.NONE, SauPlacement.DECODERS])
def test_the_weight_map_is_the_published_one(placement: SauPlacement) -> None:
    torch.manual_seed(0)
    sau = SauConfig(placement=placement, kernel=3, compressed=4)
    attention = AttentionFusion(3, sau).double().requires_grad_(False)
    x = torch.randn(2, 12, 5, 6).double()
    for scale in (0.0, 1.0, 1000.0):  # where both are equal, and where either is certain
        attention.weights.weight.normal_(0, 1).mul_(scale)
        expected = attention(x)
        torch.testing.assert_close(SigmoidAttention(attention)(x), expected, rtol=1e-10, atol=1e-14)
    assert float(expected.min()) < 1e-6 < 1 - 1e-6 < float(expected.max())


@pytest.mark.parametrize("cross_view", [False, True])
def test_in_a_generator(cross_view: bool) -> None:
    generator = random_generator(Case(cross_view=cross_view))[0].double()
    torch.manual_seed(0)
    if cross_view:
        inputs = torch.randn(2, 6, 32, 48).double(), torch.randint(0, 3, (2, 1, 32, 48))
    else:
        classes = generator.config.classes  # type: ignore[union-attr]
        inputs = (encode_semantics(torch.randint(0, classes, (2, 1, 32, 64)), classes).double(),)  # type: ignore[assignment]
    rewritten = copy.deepcopy(generator)
    use_sigmoid_attention(rewritten)
    assert not any(isinstance(module, AttentionFusion) for module in rewritten.modules())
    before, after = generator(*inputs), rewritten(*inputs)
    torch.testing.assert_close(after.attention_local, before.attention_local, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(after.final, before.final, rtol=1e-10, atol=1e-12)
