"""Flags of the command line laid over a preset."""

from __future__ import annotations

import re
from dataclasses import replace

from lggan.config import SauPlacement
from lggan.losses.perceptual import PerceptualFeatures
from lggan.preset import Preset, resized
from runtime.contract.errors import UsageError


def override(
    preset: Preset,
    *,
    size: str | None = None,
    ngf: int | None = None,
    sau: str | None = None,
    epochs: tuple[int, int] | None = None,
    batch: int | None = None,
    seed: int | None = None,
    perceptual: str | None = None,
) -> Preset:
    """The preset with other values where one is given; None keeps the preset's.

    Args:
        size: ``HEIGHTxWIDTH`` in pixels.
        ngf: width of the generator; the discriminator keeps the preset's.
        sau: value of `SauPlacement`: where semantic-aware upsampling stands.
        epochs: at full learning rate, and with a falling one.
        batch: examples per step.
        seed: of weights, order, crops and flips.
        perceptual: value of `PerceptualFeatures`.

    Raises:
        UsageError: not a size, or one that the generator cannot have.
    """
    if size is not None:
        preset = resized(preset, *parse_size(size))
    if ngf is not None:
        preset = replace(preset, generator=replace(preset.generator, ngf=ngf))
    if sau is not None:
        placed = replace(preset.generator.sau, placement=SauPlacement(sau))
        preset = replace(preset, generator=replace(preset.generator, sau=placed))
    train = preset.train
    full, decay = epochs or (train.epochs, train.decay_epochs)
    return replace(
        preset,
        train=replace(
            train,
            epochs=full,
            decay_epochs=decay,
            batch=train.batch if batch is None else batch,
            seed=train.seed if seed is None else seed,
            perceptual=train.perceptual if perceptual is None else PerceptualFeatures(perceptual),
        ),
    )


def parse_size(text: str) -> tuple[int, int]:
    """Height and width of ``--size``.

    Raises:
        UsageError: not a size.
    """
    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text.strip().lower())
    if match is None:
        raise UsageError(f"--size {text!r} is no size; write HEIGHTxWIDTH, for example 96x128")
    return int(match.group(1)), int(match.group(2))
