"""The label maps that a verb is given with ``--data``."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from pathlib import Path

import click

from runtime.contract.card import ModelCard
from runtime.contract.strips import Direction
from runtime.inference import parse_fit
from runtime.input_files import InputOptions
from runtime.label_maps import load_label_maps
from runtime.profiler.worker import LabelMap


@dataclass(frozen=True)
class GivenMaps:
    """``--data``, and the options that say how to read it; each as the command line gave it."""

    data: tuple[Path, ...]
    limit: int | None
    fit: str | None
    instances: Path | None
    source: Path | None
    strips: str | None

    def __post_init__(self) -> None:
        if not self.data and any(option is not None for option in astuple(self)[1:]):
            raise click.UsageError("--limit, --fit, --instances, --source and --strips say how to read --data; add it")

    def load(self, card: ModelCard) -> list[LabelMap]:
        """Read them as `lggan infer` reads label maps; see `runtime.label_maps.load_label_maps` for what is raised."""
        direction = Direction(self.strips) if self.strips else None
        fit = parse_fit(self.fit, card) if self.fit else None
        options = InputOptions(fit, self.instances, self.source, direction)
        return load_label_maps(self.data, card, options, limit=self.limit)
