"""A cross-view training step: who learns first, from what, and what is shown."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

import lggan.training.cross_view as module
from lggan.data.strips_dataset import CrossViewExample
from lggan.networks.dual_discriminator import DualDiscriminator
from lggan.preset import Preset, load_preset
from lggan.training.distributed import Process
from lggan.training.precision import TrainPrecision
from lggan.training.tasks import task_for
from lggan.training.trainer import Trainer

ALONE = Process(0, 1, torch.device("cpu"))


@pytest.fixture
def preset() -> Preset:
    return load_preset("tiny_cross_view")


@pytest.fixture
def trainer(preset: Preset) -> Trainer:
    return Trainer(task_for(preset), preset.train, ALONE, TrainPrecision.FP32, None)


@pytest.fixture
def examples(preset: Preset) -> CrossViewExample:
    height, width = preset.generator.height, preset.generator.width
    draw = torch.Generator().manual_seed(0)

    def picture() -> Tensor:
        return torch.randint(0, 256, (2, 3, height, width), dtype=torch.uint8, generator=draw)

    group = torch.zeros(2, 1, height, width, dtype=torch.uint8)
    group[..., width // 2 :] = 255
    return CrossViewExample(picture(), picture(), picture(), group)


def parameters(network: torch.nn.Module) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in network.parameters()]


def test_weights_begin_as_published(trainer: Trainer) -> None:
    for network in (trainer.state.generator, trainer.state.discriminator):
        weights = torch.cat([p.detach().flatten() for name, p in network.named_parameters() if "weight" in name])
        assert weights.std().item() == pytest.approx(0.02, rel=0.05)
        assert abs(weights.mean().item()) < 2e-3
        assert all(not p.any() for name, p in network.named_parameters() if name.endswith("bias"))
    assert isinstance(trainer.state.discriminator, DualDiscriminator)


def test_a_step_names_its_terms_and_moves_all(trainer: Trainer, examples: CrossViewExample) -> None:
    before = {name: parameters(network) for name, network in trainer.state.networks().items()}
    terms = trainer.step(examples, 0, 0)
    assert set(terms) == {
        "adversarial", "reconstruction", "local", "total_variation", "discriminator_fake", "discriminator_real",
    }  # fmt: skip
    assert all(math.isfinite(value) for value in terms.values())
    # untrained judges are undecided: two of them, three pictures, half weight, ln 2 each
    assert terms["discriminator_real"] == pytest.approx(3 * math.log(2), abs=0.3)
    for name, network in trainer.state.networks().items():
        assert any(not torch.equal(a, b) for a, b in zip(before[name], parameters(network), strict=True))


def test_the_discriminator_learns_first_and_from_the_same_pictures(
    trainer: Trainer, examples: CrossViewExample, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator, discriminator = trainer.state.generator, trainer.state.discriminator
    start = parameters(generator), parameters(discriminator)
    passes: list[Tensor] = []
    generator.register_forward_hook(lambda *arguments: passes.append(arguments[2].final.detach()))
    seen: list[str] = []
    judge, learn = module.cross_view_discriminator_terms, module.cross_view_generator_terms

    def discriminator_half(pictures: tuple[Tensor, ...], *arguments: object) -> dict[str, Tensor]:
        seen.append("discriminator")
        assert torch.equal(pictures[0], passes[0])
        return judge(pictures, *arguments)  # type: ignore[arg-type]

    def generator_half(*arguments: object) -> dict[str, Tensor]:
        seen.append("generator")
        assert all(torch.equal(a, b) for a, b in zip(start[0], parameters(generator), strict=True))
        assert any(not torch.equal(a, b) for a, b in zip(start[1], parameters(discriminator), strict=True))
        return learn(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "cross_view_discriminator_terms", discriminator_half)
    monkeypatch.setattr(module, "cross_view_generator_terms", generator_half)
    trainer.step(examples, 0, 0)
    assert seen == ["discriminator", "generator"]
    assert len(passes) == 1


def test_absent_heads_still_get_gradients(trainer: Trainer, examples: CrossViewExample) -> None:
    """Adam's first average moves them in later steps, so they must be zeros and not missing."""
    trainer.step(examples, 0, 0)
    gradient = trainer.state.generator.local_branch.heads.weight.grad
    assert gradient is not None
    assert gradient[0].any()
    assert not gradient[1:].any()


def test_what_is_shown(trainer: Trainer, examples: CrossViewExample) -> None:
    example = CrossViewExample(*(part[0] for part in examples))
    with torch.no_grad():
        pictures = trainer.task.pictures(trainer.state.generator.eval(), example, torch.device("cpu"))
    assert len(pictures) == len(trainer.task.titles())
    assert {(picture.dtype, picture.shape) for picture in pictures} == {
        (np.dtype(np.uint8), (example.photo.shape[1], example.photo.shape[2], 3))
    }
    np.testing.assert_array_equal(pictures[0], example.source.permute(1, 2, 0).numpy())
    np.testing.assert_array_equal(pictures[-1], example.photo.permute(1, 2, 0).numpy())
