"""A set of label maps in memory, ready for a model: what comparing and profiling work on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from runtime.contract.card import ModelCard
from runtime.contract.errors import InputError, UsageError
from runtime.contract.inputs import find_inputs, find_instance_map
from runtime.contract.labels import check_label_map, fit_label_map, read_instance_map, read_label_map
from runtime.profiler.worker import LabelMap


def load_label_maps(
    paths: Sequence[str | Path],
    card: ModelCard,
    *,
    fit: tuple[int, int] | None = None,
    instances: Path | None = None,
    limit: int | None = None,
) -> list[LabelMap]:
    """Read label maps and check that they fit the model.

    Args:
        paths: files, folders and globs, as `find_inputs` takes them.
        card: of the model.
        fit: resize to this (height, width) by nearest; None takes them as they are.
        instances: folder of the instance maps, for models with an edge channel; named as the label maps, or with
            ``instanceIds`` for ``labelIds``.
        limit: read so many at most, evenly spread over those found.

    Raises:
        InputError: nothing found, unreadable, of a wrong size, ids out of range, no instance map.
        UsageError: instance maps missing or not wanted; a limit below 1.
    """
    if limit is not None and limit < 1:
        raise UsageError(f"the limit is {limit}; at least one label map is needed")
    if card.instances != (instances is not None):
        fault = "needs instance maps; name their folder with" if card.instances else "takes no instance maps; leave out"
        raise UsageError(f"the model {card.name} {fault} --instances")
    files = find_inputs(paths)
    if limit is not None and limit < len(files):
        files = [files[index * len(files) // limit] for index in range(limit)]
    return [_load(path, card, fit, instances) for path in files]


def _load(path: Path, card: ModelCard, fit: tuple[int, int] | None, instances: Path | None) -> LabelMap:
    label = read_label_map(path, card.classes, card.void)  # [H, W]
    instance = None
    if instances is not None:
        instance = read_instance_map(find_instance_map(path, instances))  # [H, W]
        if instance.shape != label.shape:
            raise InputError(f"the instance map of {path} has another size than the label map; give both the same")
        instance = fit_label_map(instance, *fit) if fit else instance
    label = fit_label_map(label, *fit) if fit else label
    check_label_map(label, card, path)
    return LabelMap(path.name, label, instance)
