"""A set of inputs in memory, ready for a model: what comparing and profiling work on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from runtime.contract.card import ModelCard
from runtime.contract.errors import UsageError
from runtime.input_files import DEFAULT_OPTIONS, InputOptions, InputReader
from runtime.profiler.worker import LabelMap


def load_label_maps(
    paths: Sequence[str | Path],
    card: ModelCard,
    options: InputOptions = DEFAULT_OPTIONS,
    *,
    limit: int | None = None,
) -> list[LabelMap]:
    """Read label maps, with what belongs to them, and check that they fit the model.

    Args:
        paths: files, folders and globs of label maps, or of strips where the options say so.
        card: of the model.
        options: where instance maps and source photos lie, and the size wanted.
        limit: read so many at most, evenly spread over those found.

    Raises:
        InputError: nothing found, unreadable, of a wrong size, ids out of range, no instance map, no source photo.
        UsageError: options that do not fit the model; a limit below 1.
    """
    if limit is not None and limit < 1:
        raise UsageError(f"the limit is {limit}; at least one label map is needed")
    reader = InputReader(card, options)
    files = reader.find(paths)
    if limit is not None and limit < len(files):
        files = [files[index * len(files) // limit] for index in range(limit)]
    found = []
    for file in reader.pair(files):
        given = reader.read(file)
        found.append(LabelMap(file.path.name, given.label, given.instance, given.source))
    return found
