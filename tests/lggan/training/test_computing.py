"""Micro-batches, memory layout, compilation and scaled losses: the same steps, computed otherwise."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lggan.data.open import open_dataset
from lggan.data.plan import BatchPlan
from lggan.networks.spade import SPADE
from lggan.preset import Fakes, Preset, load_preset
from lggan.training.compilation import explained, prepare
from lggan.training.computing import Computing, Execution, MemoryLayout
from lggan.training.distributed import Process
from lggan.training.precision import TrainPrecision
from lggan.training.tasks import task_for
from lggan.training.trainer import Trainer
from runtime.contract.errors import BackendError, UsageError
from tests.lggan.training.float64 import float32_again, use_float64
from tests.miniatures import write_miniature

ALONE = Process(0, 1, torch.device("cpu"))


@pytest.fixture
def float64() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        use_float64(patch)
        yield
    float32_again()


def of_four(name: str) -> Preset:
    preset = load_preset(name)
    return replace(preset, train=replace(preset.train, batch=4))


def examples_of(preset: Preset, folder: Path) -> list[Any]:
    """The batches of three steps."""
    dataset = open_dataset(preset, write_miniature(preset, folder, size=(48, 48), examples=5), "train")
    plan = BatchPlan(len(dataset), preset.train.batch, 1, dataset.slack)
    steps = [[dataset[view] for view in plan.views(step)] for step in range(3)]
    return [type(batch[0])(*map(torch.stack, zip(*batch, strict=True))) for batch in steps]


def make_trainer(preset: Preset, computing: Computing | None = None) -> Trainer:
    return Trainer(task_for(preset), preset.train, ALONE, TrainPrecision.FP32, None, computing)


def after_steps(trainer: Trainer, batches: list[Any]) -> tuple[list[dict[str, float]], dict[str, Tensor]]:
    terms = [trainer.step(examples, step, 0) for step, examples in enumerate(batches)]
    state = {
        f"{prefix}/{name}": tensor.detach().clone()
        for prefix, network in trainer.state.networks().items()
        for name, tensor in network.state_dict().items()
    }
    return terms, state


def assert_close(first: dict[str, Tensor], second: dict[str, Tensor], tolerance: float) -> None:
    for name, tensor in first.items():
        off = float((second[name].double() - tensor.double()).abs().max())
        assert off <= tolerance * (1 + float(tensor.abs().max())), f"{name}: {off}"


# --- micro-batches ---


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("name", ["tiny", "tiny_cross_view"])
@pytest.mark.parametrize("fakes", list(Fakes))
def test_micro_batches_give_the_steps_of_the_whole_batch(
    name: str, fakes: Fakes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exactly, where no statistics of the batch are in the way: without SPADE's batch normalisation, which the
    cross-view networks have not."""
    original = SPADE.__init__

    def without_batch_norm(self: SPADE, *arguments: int) -> None:
        original(self, *arguments)
        self.norm = nn.Identity()  # type: ignore[assignment]

    monkeypatch.setattr(SPADE, "__init__", without_batch_norm)
    preset = of_four(name)
    preset = replace(preset, train=replace(preset.train, fakes=fakes))
    batches = examples_of(preset, tmp_path)
    whole_terms, whole = after_steps(make_trainer(preset), batches)
    for parts in (2, 4):
        terms, state = after_steps(make_trainer(preset, Computing(accumulate=parts)), batches)
        assert_close(whole, state, 1e-9)
        for ours, theirs in zip(terms, whole_terms, strict=True):
            assert list(ours) == list(theirs)
            assert ours == pytest.approx(theirs, rel=1e-9)


def test_batch_statistics_are_those_of_a_micro_batch(tmp_path: Path) -> None:
    preset = of_four("tiny")
    trainer = make_trainer(preset, Computing(accumulate=4))
    seen: list[int] = []
    norm = trainer.state.generator.global_branch.blocks[0].norm_0.norm
    norm.register_forward_hook(lambda _, inputs, made: seen.append(inputs[0].shape[0]))
    trainer.step(examples_of(preset, tmp_path)[0], 0, 0)
    assert seen == [1] * 8  # the generator's half, and new pictures for the discriminator's
    assert int(norm.num_batches_tracked) == 8


def test_power_iterations_wait_for_the_step(tmp_path: Path) -> None:
    """However many micro-batches: one iteration for each half that runs the network."""
    preset = of_four("tiny")
    batches = examples_of(preset, tmp_path)[:1]
    vectors = []
    for parts in (1, 4):
        trainer = make_trainer(preset, Computing(accumulate=parts))
        moved = trainer.state.discriminator.scales[0].middle[0].parametrizations.weight[0]  # type: ignore[union-attr,index]
        trainer._descend = lambda terms, *_: dict.fromkeys(terms, 0.0)  # type: ignore[method-assign]
        trainer.step(batches[0], 0, 0)
        vectors.append(moved._v.clone())
        assert moved.training
    assert torch.equal(*vectors)


def test_micro_batches_must_be_positive() -> None:
    with pytest.raises(UsageError, match="accumulate is 0"):
        Computing(accumulate=0)


# --- memory layout and compilation ---


def test_channels_last_changes_the_layout_alone(tmp_path: Path) -> None:
    preset = of_four("tiny")
    batches = examples_of(preset, tmp_path)[:1]
    usual = make_trainer(preset)
    last = make_trainer(preset, Computing(layout=MemoryLayout.CHANNELS_LAST))
    weight = last.state.generator.encoder.conv1.weight
    assert weight.is_contiguous(memory_format=torch.channels_last)
    assert not weight.is_contiguous()
    inputs: list[Tensor] = []
    last.state.generator.encoder.conv1.register_forward_pre_hook(lambda _, given: inputs.append(given[0]))
    terms, _ = after_steps(last, batches)
    assert inputs[0].is_contiguous(memory_format=torch.channels_last)
    assert terms[0] == pytest.approx(after_steps(usual, batches)[0][0], rel=1e-4)


@pytest.fixture
def traced_only(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Everything of torch.compile but the making of machine code, which takes minutes."""
    compile_module = nn.Module.compile
    monkeypatch.setattr(nn.Module, "compile", lambda self: compile_module(self, backend="eager"))
    yield
    torch.compiler.reset()


@pytest.mark.usefixtures("traced_only")
def test_compiled_networks_make_the_same_steps(tmp_path: Path) -> None:
    """The routing of the class heads depends on the data and stays outside; names in the state stay as they are."""
    preset = load_preset("tiny_cross_view")
    preset = replace(preset, generator=replace(preset.generator, residual_blocks=0))
    batches = examples_of(preset, tmp_path)
    usual_terms, usual = after_steps(make_trainer(preset), batches)
    trainer = make_trainer(preset, Computing(execution=Execution.COMPILED))
    terms, state = after_steps(trainer, batches)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > 0
    assert state.keys() == usual.keys()
    assert terms[-1] == pytest.approx(usual_terms[-1], rel=1e-4)


def test_what_cannot_be_compiled_is_an_error() -> None:
    class Refused(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x + 1

    def backend(*_: object) -> None:
        raise RuntimeError("no compiler here\nand more")

    network = Refused()
    prepare(Execution.EAGER, network)
    assert network._compiled_call_impl is None
    prepare(Execution.COMPILED, network)
    assert network._compiled_call_impl is not None
    network.compile(backend=backend)
    message = r"torch.compile failed \(.*no compiler here.*\); leave out --compile"
    with pytest.raises(BackendError, match=message), explained(Execution.COMPILED):
        network(torch.zeros(1))
    torch.compiler.reset()


# --- scaled losses, and gradients that are not finite ---


def scaled(trainer: Trainer, scale: float) -> Trainer:
    """With the scaling of FP16, which needs no GPU by itself."""
    scalers = tuple(torch.amp.GradScaler("cpu", init_scale=scale) for _ in range(2))
    trainer.state = replace(trainer.state, scalers=scalers)  # type: ignore[arg-type]
    return trainer


@pytest.mark.parametrize("name", ["tiny", "tiny_cross_view"])
def test_scaling_does_not_change_the_steps(name: str, tmp_path: Path) -> None:
    """By a power of two, over micro-batches as well: every gradient is unscaled once, before Adam sees it."""
    preset = of_four(name)
    batches = examples_of(preset, tmp_path)
    computing = Computing(accumulate=2)
    terms, state = after_steps(scaled(make_trainer(preset, computing), 2.0**10), batches)
    usual_terms, usual = after_steps(make_trainer(preset, computing), batches)
    assert terms == usual_terms
    assert all(torch.equal(state[key], tensor) for key, tensor in usual.items())


def test_scaled_gradients_that_overflow_are_left_out(tmp_path: Path) -> None:
    preset = of_four("tiny")
    trainer = scaled(make_trainer(preset), 2.0**127)
    before = {name: p.detach().clone() for name, p in trainer.state.generator.named_parameters()}
    terms = trainer.step(examples_of(preset, tmp_path)[0], 0, 0)
    assert all(math.isfinite(value) for value in terms.values())
    assert all(torch.equal(p, before[name]) for name, p in trainer.state.generator.named_parameters())
    assert trainer.state.scalers[0].get_scale() == 2.0**126


@pytest.mark.parametrize("scale", [None, 2.0**-16])
def test_gradients_that_are_not_finite_end_the_run(tmp_path: Path, scale: float | None) -> None:
    preset = of_four("tiny")
    trainer = make_trainer(preset)
    if scale is not None:
        trainer = scaled(trainer, scale)
    trainer.state.generator.encoder.conv1.bias.register_hook(lambda gradient: gradient * math.inf)  # type: ignore[union-attr]
    before = {name: p.detach().clone() for name, p in trainer.state.generator.named_parameters()}
    what = "the generator's gradient is not finite" if scale is None else "gradients overflow"
    with pytest.raises(BackendError, match=f"{what} at step 4.* last saving is kept"):
        trainer.step(examples_of(preset, tmp_path)[0], 3, 0)
    assert all(torch.equal(p, before[name]) for name, p in trainer.state.generator.named_parameters())
