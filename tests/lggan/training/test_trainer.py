"""One step of the training: who learns from what, at which rate, and the seed that decides the beginning."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

import lggan.training.semantic_synthesis as module
from lggan.data.dataset import Example
from lggan.preset import Fakes, Preset
from lggan.training.distributed import Process
from lggan.training.precision import TrainPrecision
from lggan.training.tasks import task_for
from lggan.training.trainer import Trainer
from runtime.contract.errors import BackendError, UsageError

ALONE = Process(0, 1, torch.device("cpu"))


def make_trainer(preset: Preset, precision: TrainPrecision = TrainPrecision.FP32) -> Trainer:
    return Trainer(task_for(preset), preset.train, ALONE, precision, None)


@pytest.fixture
def examples() -> Example:
    draw = torch.Generator().manual_seed(0)
    photo = torch.randint(0, 256, (2, 3, 32, 64), dtype=torch.uint8, generator=draw)
    label = torch.randint(0, 2, (2, 1, 4, 8), dtype=torch.uint8, generator=draw)
    label = label.repeat_interleave(8, dim=2).repeat_interleave(8, dim=3)  # classes 2 and 3 are absent
    return Example(photo, label, torch.zeros(2, 1, 32, 64, dtype=torch.int32))


def snapshot(trainer: Trainer) -> dict[str, Tensor]:
    return {
        f"{prefix}/{name}": parameter.detach().clone()
        for prefix, network in trainer.state.networks().items()
        for name, parameter in network.named_parameters()
    }


def test_a_step_names_its_terms_and_moves_all_three_networks(tiny_preset: Preset, examples: Example) -> None:
    trainer = make_trainer(tiny_preset)
    before = snapshot(trainer)
    terms = trainer.step(examples, 0, 0)
    assert list(terms) == [
        "adversarial", "feature_matching", "classification", "local", "discriminator_fake", "discriminator_real",
    ]  # fmt: skip
    assert all(math.isfinite(value) for value in terms.values())
    moved = {name.split("/")[0] for name, tensor in snapshot(trainer).items() if not torch.equal(tensor, before[name])}
    assert moved == {"generator", "discriminator", "average"}


def test_the_seed_decides_the_beginning(tiny_preset: Preset) -> None:
    first, again = (snapshot(make_trainer(tiny_preset)) for _ in range(2))
    other = snapshot(make_trainer(replace(tiny_preset, train=replace(tiny_preset.train, seed=2))))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_the_first_step_of_adam_is_the_sign_of_the_gradient(tiny_preset: Preset, examples: Example) -> None:
    """Without momentum the first step has the length of the rate wherever the gradient is not tiny."""
    for epoch, factor in ((0, 1.0), (3, 0.5)):  # two epochs at full rate, two of decay
        trainer = make_trainer(tiny_preset)
        before = snapshot(trainer)
        trainer.step(examples, 0, epoch)
        after = snapshot(trainer)
        for prefix, rate in (("generator", 1e-4), ("discriminator", 4e-4)):
            moves = torch.cat([(after[n] - before[n]).abs().flatten() for n in before if n.startswith(f"{prefix}/")])
            assert moves.max().item() == pytest.approx(rate * factor, rel=1e-3)
            assert moves.median().item() == pytest.approx(rate * factor, rel=2e-2)


def test_absent_classes_keep_their_weights_and_learn_their_bias(tiny_preset: Preset, examples: Example) -> None:
    trainer = make_trainer(tiny_preset)
    before = snapshot(trainer)
    trainer.step(examples, 0, 0)
    after = snapshot(trainer)
    weight, bias = "generator/local_branch.heads.weight", "generator/local_branch.heads.bias"
    assert torch.equal(after[weight][2:], before[weight][2:])
    assert not torch.equal(after[weight][:2], before[weight][:2])
    assert (after[bias] != before[bias]).all()


def test_generator_and_discriminator_do_not_teach_each_other(
    tiny_preset: Preset, examples: Example, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = make_trainer(tiny_preset)
    before = snapshot(trainer)
    gradients: list[bool] = []
    original = module.discriminator_terms

    def spy(*arguments: object) -> dict[str, Tensor]:
        after = snapshot(trainer)
        gradients.append(any(parameter.grad is not None for parameter in trainer.state.discriminator.parameters()))
        assert all(torch.equal(after[name], before[name]) for name in before if name.startswith("discriminator/"))
        assert any(not torch.equal(after[name], before[name]) for name in before if name.startswith("generator/"))
        before.update(after)
        return original(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "discriminator_terms", spy)
    trainer.step(examples, 0, 0)
    assert gradients == [False]
    after = snapshot(trainer)
    assert all(torch.equal(after[name], before[name]) for name in before if name.startswith("generator/"))


@pytest.mark.parametrize("fakes", list(Fakes))
def test_fakes_of_the_discriminators_step(
    tiny_preset: Preset, examples: Example, monkeypatch: pytest.MonkeyPatch, fakes: Fakes
) -> None:
    """As published, pictures are made anew after the generator's step, in training mode; or those before it serve."""
    trainer = make_trainer(replace(tiny_preset, train=replace(tiny_preset.train, fakes=fakes)))
    passes: list[tuple[bool, bool, Tensor]] = []
    trainer.state.generator.register_forward_hook(
        lambda network, _, made: passes.append((network.training, torch.is_grad_enabled(), made.final.detach()))
    )
    seen: list[Tensor] = []
    original = module.discriminator_terms

    def spy(pictures: tuple[Tensor, Tensor, Tensor], *arguments: object) -> dict[str, Tensor]:
        seen.append(pictures[0])
        return original(pictures, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "discriminator_terms", spy)
    trainer.step(examples, 0, 0)
    expected = [(True, True)] if fakes is Fakes.REUSED else [(True, True), (True, False)]
    assert [entry[:2] for entry in passes] == expected
    assert torch.equal(seen[0], passes[-1][2])
    assert int(trainer.state.generator.global_branch.blocks[0].norm_0.norm.num_batches_tracked) == len(expected)


def test_spectral_vectors_move_once_per_pass(tiny_preset: Preset, examples: Example) -> None:
    """All readings of a weight within one pass are of one power iteration."""
    trainer = make_trainer(tiny_preset)
    weight = trainer.state.discriminator.scales[0].middle[0].parametrizations.weight
    norm, matrix = weight[0], weight.original.detach().flatten(1).clone()
    v = norm._v.clone()
    trainer._discriminator_half = lambda *_: {}  # type: ignore[method-assign]
    trainer.step(examples, 0, 0)
    u = matrix @ v
    expected = matrix.T @ (u / u.norm())
    torch.testing.assert_close(norm._v, expected / expected.norm(), rtol=0, atol=1e-6)


def test_instance_edges_reach_the_network(tiny_preset: Preset, examples: Example) -> None:
    preset = replace(tiny_preset, generator=replace(tiny_preset.generator, edges=True))
    trainer = make_trainer(preset)
    seen: list[Tensor] = []
    trainer.state.generator.encoder.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    instance = torch.zeros(2, 1, 32, 64, dtype=torch.int32)
    instance[:, :, :, 10:] = 70_000
    trainer.step(examples._replace(instance=instance), 0, 0)
    assert seen[0].shape == (2, 5, 32, 64)
    edges = torch.zeros(64)
    edges[9:11] = 1
    assert torch.equal(seen[0][:, 4], edges.expand(2, 32, 64))


@pytest.mark.parametrize(("value", "names"), [(math.nan, "local"), (math.inf, "local")])
def test_a_loss_that_is_not_finite_names_step_and_term(
    tiny_preset: Preset, examples: Example, value: float, names: str
) -> None:
    trainer = make_trainer(replace(tiny_preset, losses=replace(tiny_preset.losses, local=value)))
    before = snapshot(trainer)
    with pytest.raises(BackendError, match=rf"step 8 \(term: {names}\)"):
        trainer.step(examples, 7, 0)
    after = snapshot(trainer)
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_brain_float_on_a_cpu(tiny_preset: Preset, examples: Example) -> None:
    trainer, exact = (make_trainer(tiny_preset, p) for p in (TrainPrecision.BF16, TrainPrecision.FP32))
    low, high = trainer.step(examples, 0, 0), exact.step(examples, 0, 0)
    assert {p.dtype for network in trainer.state.networks().values() for p in network.parameters()} == {torch.float32}
    np.testing.assert_allclose(list(low.values()), list(high.values()), rtol=0.1, atol=0.05)


def test_half_precision_on_a_cpu_is_refused() -> None:
    with pytest.raises(UsageError, match="CUDA"):
        TrainPrecision.FP16.autocast(torch.device("cpu"))
    assert not TrainPrecision.FP32.scaler().is_enabled()
    assert not TrainPrecision.BF16.scaler().is_enabled()
