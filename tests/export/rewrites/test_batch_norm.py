from __future__ import annotations

import copy

import torch
from torch import nn

from export.rewrites.batch_norm import FoldedSPADE, fold_batch_norms
from lggan.networks.generator import LGGANGenerator
from lggan.networks.semantics import encode_semantics
from lggan.networks.spade import SPADE
from tests.export.rewrites.hard_maps import hard_maps
from tests.export.samples import Case, random_generator


def _spade() -> SPADE:
    torch.manual_seed(0)
    spade = SPADE(channels=3, semantic_channels=4, hidden=5).double().eval().requires_grad_(False)
    assert spade.norm.running_mean is not None
    assert spade.norm.running_var is not None
    spade.norm.running_mean.normal_(2, 3)
    spade.norm.running_var.uniform_(0.01, 4)
    return spade


def test_a_folded_norm_is_the_published_one() -> None:
    spade = _spade()
    folded = FoldedSPADE(spade)
    for name, label in hard_maps(4, 9, 14).items():
        semantics = encode_semantics(torch.from_numpy(label)[None, None], 4).double().repeat(2, 1, 1, 1)
        x = torch.randn(2, 3, 5, 7).double() * 5
        torch.testing.assert_close(folded(x, semantics), spade(x, semantics), rtol=1e-10, atol=1e-12, msg=name)


def test_a_whole_generator() -> None:
    generator = random_generator(Case())[0].double()
    assert isinstance(generator, LGGANGenerator)
    classes = generator.config.classes
    semantics = encode_semantics(torch.randint(0, classes, (2, 1, 32, 64)), classes).double()
    rewritten = copy.deepcopy(generator)
    fold_batch_norms(rewritten)
    assert not any(isinstance(module, SPADE | nn.BatchNorm2d) for module in rewritten.modules())
    assert sum(isinstance(module, FoldedSPADE) for module in rewritten.modules()) == 18
    torch.testing.assert_close(rewritten(semantics).final, generator(semantics).final, rtol=1e-8, atol=1e-10)


def test_the_type_stays() -> None:
    folded = FoldedSPADE(_spade().float())
    assert {parameter.dtype for parameter in folded.parameters()} == {torch.float32}
    assert not any(parameter.requires_grad for parameter in folded.modulation.parameters())
