"""What a training step keeps: the count on fake tensors against a step that ran."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn.utils import parametrize

from lggan.data.open import open_dataset
from lggan.data.plan import View
from lggan.networks.head_answers import HeadAnswers
from lggan.preset import load_preset
from lggan.training.memory import count_saved, training_memory
from lggan.training.precision import TrainPrecision
from lggan.training.tasks import task_for
from tests.miniatures import write_miniature


@pytest.mark.parametrize("name", ["tiny", "tiny_cross_view"])
@pytest.mark.parametrize("precision", [TrainPrecision.FP32, TrainPrecision.BF16])
def test_against_a_step_that_ran(
    name: str, precision: TrainPrecision, tmp_path_factory: pytest.TempPathFactory
) -> None:
    preset = load_preset(name)
    dataset = open_dataset(preset, write_miniature(preset, tmp_path_factory.mktemp("data"), size=(48, 48)), "train")
    task = task_for(preset)
    generator, discriminator = task.generator(), task.discriminator().requires_grad_(False)
    answers: list[HeadAnswers] = []
    generator.local_branch.heads.register_forward_hook(lambda _, inputs, made: answers.append(made))

    found = []
    for count in (1, 2):
        examples = [dataset[View(0, 0, 0, False)]] * count
        batch = task.batch(type(examples[0])(*map(torch.stack, zip(*examples, strict=True))), torch.device("cpu"))
        with (
            count_saved(generator, discriminator, None) as kept,
            precision.autocast(torch.device("cpu")),
            parametrize.cached(),
        ):
            torch.stack(list(task.generator_terms(generator(*batch.inputs), batch, discriminator, None).values())).sum()
        found.append(sum(kept.values()))
    pixels = preset.generator.height * preset.generator.width
    windows = len(answers[0].values) / pixels
    memory = training_memory(preset, precision, windows)
    measured = found[1] - found[0]
    assert sum(memory.per_image.values()) == pytest.approx(measured, rel=0.03)
    assert memory.needed(3) - memory.needed(1) == 2 * sum(memory.per_image.values())


def test_it_grows_with_the_picture_and_shrinks_with_the_precision() -> None:
    preset = load_preset("tiny")
    doubled = replace(preset, generator=replace(preset.generator, height=64))
    one, two, half = (
        training_memory(preset, TrainPrecision.FP32),
        training_memory(doubled, TrainPrecision.FP32),
        training_memory(preset, TrainPrecision.BF16),
    )
    assert 1.9 < sum(two.per_image.values()) / sum(one.per_image.values()) < 2.1
    assert 0.4 < sum(half.per_image.values()) / sum(one.per_image.values()) < 0.8
    networks = (task_for(preset).generator(), task_for(preset).discriminator())
    assert one.fixed > 16 * sum(p.numel() for network in networks for p in network.parameters())


def test_the_published_local_branch_would_need_gigabytes() -> None:
    """3.4 GiB for each picture of Cityscapes, for the class heads alone (F.2); routed they take a few megabytes."""
    memory = training_memory(load_preset("cityscapes"), TrainPrecision.FP32)
    assert memory.per_image["class heads"] < 8 << 20
    assert 3 << 30 < sum(memory.per_image.values()) < 4 << 30
