from __future__ import annotations

import copy

import torch
from torch import nn

from export.fold import FoldedSPADE, folded
from lggan.networks.semantics import encode_semantics
from lggan.networks.spade import SPADE
from tests.export.samples import Sample


def _semantics(classes: int) -> torch.Tensor:
    label = torch.randint(0, classes, (2, 1, 32, 64), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    return encode_semantics(label, classes).double()


def test_folding_is_exact(sample: Sample) -> None:
    generator = copy.deepcopy(sample.generator).double()
    semantics = _semantics(generator.config.classes)
    before = generator(semantics).final
    after = folded(generator)(semantics).final
    assert float((before - after).abs().max()) < 1e-10  # of values in [-1, 1]; the random network amplifies rounding
    assert float(before.std()) > 0.1


def test_folded_spade_against_the_formula() -> None:
    torch.manual_seed(0)
    spade = SPADE(channels=3, semantic_channels=2, hidden=5).double().eval()
    assert spade.norm.running_mean is not None
    assert spade.norm.running_var is not None
    spade.norm.running_mean.normal_(2, 3)
    spade.norm.running_var.uniform_(0.01, 4)
    x, semantics = torch.randn(2, 3, 4, 6).double() * 5, torch.rand(2, 2, 8, 12).double()
    with torch.no_grad():
        expected, actual = spade(x, semantics), FoldedSPADE(spade)(x, semantics)
    assert float((expected - actual).abs().max()) < 1e-12


def test_nothing_is_left_to_fold(sample: Sample) -> None:
    modules = list(folded(sample.generator).modules())
    assert not any(isinstance(module, SPADE | nn.BatchNorm2d) for module in modules)
    assert sum(isinstance(module, FoldedSPADE) for module in modules) == 18


def test_the_original_is_left_alone(sample: Sample) -> None:
    before = {name: tensor.clone() for name, tensor in sample.generator.state_dict().items()}
    folded(sample.generator)
    after = sample.generator.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())


def test_dead_biases_are_gone(sample: Sample) -> None:
    rewritten = folded(sample.generator)
    assert rewritten.encoder.conv1.bias is None
    assert rewritten.local_branch.tower[0].conv1.bias is None
    assert rewritten.local_branch.decoder.up1.bias is None
    assert rewritten.local_branch.fuse.bias is not None  # no norm behind it
