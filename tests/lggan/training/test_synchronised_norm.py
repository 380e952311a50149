"""The synchronised norm in one process; what it does with several is in test_processes.py."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lggan.networks.generator import LGGANGenerator
from lggan.preset import Preset
from lggan.training.synchronised_norm import SynchronisedBatchNorm2d, synchronise_batch_norms


def test_alone_it_is_batch_norm() -> None:
    ours, theirs = SynchronisedBatchNorm2d(3, affine=False), nn.BatchNorm2d(3, affine=False)
    for _ in range(2):
        x = torch.randn(2, 3, 4, 5)
        assert torch.equal(ours(x), theirs(x))
    assert torch.equal(ours.eval()(x), theirs.eval()(x))
    assert all(torch.equal(ours.state_dict()[name], tensor) for name, tensor in theirs.state_dict().items())


def test_a_network_keeps_its_keys_values_and_mode(tiny_preset: Preset) -> None:
    generator = LGGANGenerator(tiny_preset.generator)  # type: ignore[arg-type]
    generator.global_branch.blocks[0].norm_0.norm.running_mean.fill_(7.0)
    before = {name: tensor.clone() for name, tensor in generator.state_dict().items()}
    generator.eval()
    synchronise_batch_norms(generator)
    kinds = [type(module) for module in generator.modules() if isinstance(module, nn.BatchNorm2d)]
    assert kinds == [SynchronisedBatchNorm2d] * 18
    assert not any(module.training for module in generator.modules())
    after = generator.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


def test_affine_parameters_are_refused() -> None:
    with pytest.raises(ValueError, match="affine"):
        synchronise_batch_norms(nn.Sequential(nn.BatchNorm2d(3)))
