"""The averaged weights against the recursion in float64."""

from __future__ import annotations

import pytest
import torch

from lggan.networks.generator import LGGANGenerator, add_spectral_norm
from lggan.preset import Preset
from lggan.training.ema import Average


@pytest.fixture
def generator(tiny_preset: Preset) -> LGGANGenerator:
    torch.manual_seed(0)
    generator = LGGANGenerator(tiny_preset.generator)
    add_spectral_norm(generator)
    return generator


def disturb(generator: LGGANGenerator) -> None:
    """What a step does: parameters and buffers move."""
    with torch.no_grad():
        for tensor in generator.state_dict().values():
            tensor.add_(torch.randn_like(tensor) if tensor.is_floating_point() else torch.ones_like(tensor))


@pytest.mark.parametrize("decay", [0.999, 0.3])
def test_recursion(generator: LGGANGenerator, decay: float) -> None:
    average = Average(generator, decay)
    expected = {name: parameter.detach().double().clone() for name, parameter in generator.named_parameters()}
    for step in range(8):
        disturb(generator)
        average.update(generator, step)
        keep = min(decay, (1 + step) / (10 + step))
        for name, parameter in generator.named_parameters():
            expected[name] = keep * expected[name] + (1 - keep) * parameter.detach().double()
    for name, parameter in average.generator.named_parameters():
        torch.testing.assert_close(parameter.double(), expected[name], rtol=0, atol=1e-5)
        assert not parameter.requires_grad


def test_buffers_follow_as_they_are(generator: LGGANGenerator) -> None:
    average = Average(generator, 0.9)
    disturb(generator)
    average.update(generator, 5)
    names = [name for name, _ in generator.named_buffers()]
    kinds = {"running_mean", "running_var", "num_batches_tracked", "_u", "_v"}
    assert {name.rsplit(".", 1)[1] for name in names} == kinds
    for name in names:
        assert torch.equal(average.generator.state_dict()[name], generator.state_dict()[name]), name


def test_zero_decay_follows(generator: LGGANGenerator) -> None:
    average = Average(generator, 0.0)
    disturb(generator)
    average.update(generator, 3)
    assert all(torch.equal(a, b) for a, b in zip(
        average.generator.state_dict().values(), generator.state_dict().values(), strict=True
    ))  # fmt: skip


def test_the_copy_is_a_copy(generator: LGGANGenerator) -> None:
    average = Average(generator, 0.9)
    before = {name: tensor.clone() for name, tensor in average.generator.state_dict().items()}
    disturb(generator)
    assert all(torch.equal(tensor, before[name]) for name, tensor in average.generator.state_dict().items())
