"""A preset and a folder become a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from lggan.data.dataset import DataConfig, Example, PairDataset
from lggan.data.layout import Layout
from lggan.data.pairs import find_pairs
from lggan.data.plan import View
from lggan.data.strips import StripConfig, find_strips
from lggan.data.strips_dataset import CrossViewExample, StripDataset
from lggan.preset import Preset
from runtime.contract.errors import InputError, UsageError


class ExampleDataset(Protocol):
    """Examples by `View`, of the kind that the preset's task has."""

    @property
    def names(self) -> list[str]:
        """Of the examples, in the order of their indices."""

    @property
    def slack(self) -> tuple[int, int]:
        """How many rows and columns the crop can move."""

    def __len__(self) -> int: ...

    def __getitem__(self, view: View) -> Example | CrossViewExample: ...


def open_dataset(preset: Preset, root: str | Path, split: str) -> ExampleDataset:
    """The examples of a split (``train`` or ``val``) at the preset's training size.

    Files are found here and read when they are asked for.

    Raises:
        InputError: folders are absent or empty, files do not match up, instance maps are missing.
        UsageError: the loading size is smaller than the picture.
    """
    config = data_config(preset)
    if preset.layout is Layout.STRIPS:
        strips = list(find_strips(root, split).values())
        settings = preset.strips or StripConfig()
        return StripDataset(strips, preset.classes, preset.generator.heads, config, settings)
    pairs = find_pairs(root, split, preset.layout, preset.folders)
    missing = [pair for pair in pairs if pair.instance is None] if config.instances else []
    if missing:
        raise InputError(
            f"{len(missing)} of {len(pairs)} label maps have no instance map, the first is {missing[0].label}; "
            f"the edge channel of preset {preset.name} needs them"
        )
    return PairDataset(pairs, preset.classes, preset.void, config)


def data_config(preset: Preset) -> DataConfig:
    """Sizes at which the preset's examples are loaded and cropped.

    Raises:
        UsageError: the loading size is smaller than the picture.
    """
    generator, train = preset.generator, preset.train
    load_height = train.load_height or generator.height
    load_width = train.load_width or generator.width
    if load_height < generator.height or load_width < generator.width:
        raise UsageError(
            f"the loading size {load_width}x{load_height} is smaller than the picture, "
            f"{generator.width}x{generator.height}"
        )
    return DataConfig(generator.height, generator.width, load_height, load_width, generator.edges)
