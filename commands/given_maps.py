"""The label maps that a verb is given with ``--data``."""

from __future__ import annotations

from pathlib import Path

import click

from runtime.contract.card import ModelCard
from runtime.contract.strips import Direction
from runtime.inference import parse_fit
from runtime.input_files import InputOptions
from runtime.label_maps import load_label_maps
from runtime.profiler.worker import LabelMap


def check_data_options(
    data: tuple[Path, ...],
    limit: int | None,
    fit: str | None,
    instances: Path | None,
    source: Path | None,
    strips: str | None,
) -> None:
    """Refuse what says how to read label maps where none are given.

    Raises:
        click.UsageError: there is one of them without ``--data``.
    """
    if not data and (limit, fit, instances, source, strips) != (None,) * 5:
        raise click.UsageError("--limit, --fit, --instances, --source and --strips say how to read --data; add it")


def label_maps(
    card: ModelCard,
    data: tuple[Path, ...],
    limit: int | None,
    fit: str | None,
    instances: Path | None,
    source: Path | None,
    strips: str | None,
) -> list[LabelMap]:
    """Read them as `lggan infer` reads label maps; see `runtime.label_maps.load_label_maps` for what is raised."""
    direction = Direction(strips) if strips else None
    options = InputOptions(parse_fit(fit, card) if fit else None, instances, source, direction)
    return load_label_maps(data, card, options, limit=limit)
