"""A short training run of every preset that comes with the package, on data of its exact layout in miniature.

All of them together take about a minute: long enough to see that the local sub-generators learn.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lggan.checkpoint import load_generator
from lggan.config import GeneratorConfig
from lggan.losses.perceptual import PerceptualFeatures
from lggan.preset import Preset, load_preset, preset_names, resized
from lggan.training.journal import read_journal
from lggan.training.options import TrainOptions
from lggan.training.train import train
from tests.miniatures import write_miniature

STEPS = 20


def shrunk(name: str) -> Preset:
    """The preset's classes, heads, losses, schedule and crops, with a network and pictures as small as they get.

    At 64 x 64 (64 x 128 where the picture is twice as wide) the loading size keeps its proportion to the picture.
    """
    preset = load_preset(name)
    wide = preset.generator.width // preset.generator.height
    preset = resized(preset, 64, 64 * max(1, wide))
    small: dict[str, int] = {"ngf": 4, "residual_blocks": 1}
    if isinstance(preset.generator, GeneratorConfig):
        small |= {"spade_hidden": 4, "widest": 0}
    train_config = replace(preset.train, batch=2, discriminator_width=4, perceptual=PerceptualFeatures.NONE)
    return replace(preset, generator=replace(preset.generator, **small), train=train_config)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", preset_names())
def test_a_short_run(name: str, tmp_path: Path) -> None:
    preset = shrunk(name)
    data = write_miniature(preset, tmp_path / "data", size=(72, 72), examples=2, splits=("train",))
    options = TrainOptions(data, tmp_path / "run", steps=STEPS, device="cpu", log_every=1)
    result = train(preset, options)

    assert result.steps == STEPS
    lines = read_journal(tmp_path / "run")
    assert [line["step"] for line in lines] == list(range(1, STEPS + 1))
    expected = {"adversarial", "local", "discriminator_fake", "discriminator_real"}
    semantic = isinstance(preset.generator, GeneratorConfig)
    expected |= {"feature_matching", "classification"} if semantic else {"reconstruction", "total_variation"}
    for line in lines:
        assert expected <= line.keys()
        assert all(math.isfinite(value) for value in line.values())

    first, last = (statistics.mean(line["local"] for line in part) for part in (lines[:5], lines[-5:]))
    assert last < 0.99 * first  # each head comes closer to the photo on its class's pixels

    generator, card = load_generator(result.checkpoint)
    assert (card.name, card.task) == (name, preset.task.value)
    assert (card.height, card.width) == (preset.generator.height, preset.generator.width)
    assert len(card.classes) == len(preset.classes)
    channels = [preset.generator.semantic_channels] if isinstance(preset.generator, GeneratorConfig) else [6]
    inputs = [torch.zeros(1, count, card.height, card.width) for count in channels]
    if not semantic:
        inputs.append(torch.zeros(1, 1, card.height, card.width, dtype=torch.uint8))
    with torch.no_grad():
        assert torch.isfinite(generator(*inputs).final).all()
    assert sorted(path.name for path in (tmp_path / "run" / "samples").iterdir()) == [f"step_{STEPS:06d}.png"]
