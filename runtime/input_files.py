"""From files to what a model is fed: label maps with their instance maps or source photos, or strips that hold both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from runtime.contract.card import ModelCard
from runtime.contract.errors import InputError, UsageError
from runtime.contract.inputs import LABEL_MAPS, STRIPS, find_inputs, find_instance_map, find_source_photo
from runtime.contract.labels import check_label_map, fit_label_map, read_instance_map, read_label_map
from runtime.contract.palette import NearestColors
from runtime.contract.pictures import read_photo, resize_photo
from runtime.contract.strips import TOLERANCE, Direction, ids_of_panel, read_strip


@dataclass(frozen=True)
class InputOptions:
    """Where the parts of an input lie, and what size it gets.

    Attributes:
        fit: resize label and instance maps to this (height, width) by nearest, photos by bicubic; None takes them as
            they are.
        instances: for models with an edge channel: the instance map (one input) or the folder of the instance maps,
            named as the label maps or with ``instanceIds`` for ``labelIds``.
        source: for cross-view models: the source photo (one input) or the folder of the source photos, named as the
            label maps but for the ending.
        strips: for cross-view models: the inputs are six-panel strips to be read in this direction.
    """

    fit: tuple[int, int] | None = None
    instances: Path | None = None
    source: Path | None = None
    strips: Direction | None = None


@dataclass(frozen=True)
class InputFile:
    """One input by its files: ``path`` is the label map or the strip."""

    path: Path
    instance: Path | None = None
    source: Path | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """All files that are read."""
        return tuple(path for path in (self.path, self.instance, self.source) if path is not None)


@dataclass(frozen=True, eq=False)
class ModelInput:
    """One input, fitted and checked.

    Attributes:
        label: uint8 [H, W].
        instance: int32 [H, W] or None.
        source: uint8 [H, W, 3] or None.
        file_size: (height, width) of the label map in its file.
    """

    label: np.ndarray
    instance: np.ndarray | None
    source: np.ndarray | None
    file_size: tuple[int, int]


DEFAULT_OPTIONS = InputOptions()


class InputReader:
    """Finds and reads the inputs of one model.

    Args:
        card: of the model.
        options: see `InputOptions`.

    Raises:
        UsageError: options that do not fit the model or each other.
    """

    def __init__(self, card: ModelCard, options: InputOptions = DEFAULT_OPTIONS) -> None:
        _check_options(card, options)
        self._card = card
        self._options = options
        self._colors = None if options.strips is None else NearestColors(card.classes, TOLERANCE)

    def find(self, paths: Sequence[str | Path]) -> list[Path]:
        """The label maps or strips that files, folders and globs name, see `find_inputs`."""
        return find_inputs(paths, LABEL_MAPS if self._options.strips is None else STRIPS)

    def pair(self, paths: Sequence[Path]) -> list[InputFile]:
        """Give every label map its instance map and its source photo.

        Raises:
            InputError: one of them is not there.
            UsageError: several label maps, but a single file beside them.
        """
        return [InputFile(path, *self._beside(path, len(paths))) for path in paths]

    def read(self, file: InputFile) -> ModelInput:
        """Read one input.

        Raises:
            InputError: a file that cannot be read or does not fit the model or the others; the message names it.
        """
        card, fit, strips = self._card, self._options.fit, self._options.strips
        photo: np.ndarray | None
        if self._colors is not None and strips is not None:
            strip = read_strip(file.path, strips)
            original, photo = ids_of_panel(strip.target_colors, self._colors, file.path), strip.source_photo
        else:
            original = read_label_map(file.path, card.classes, card.void)  # [H, W]
            photo = None if file.source is None else read_photo(file.source)  # [H, W, 3]
        label = fit_label_map(original, *fit) if fit else original
        check_label_map(label, card, file.path)
        instance = None if file.instance is None else _read_instance(file.instance, file.path, original, label)
        if photo is not None:
            photo = resize_photo(photo, *fit) if fit else photo
            if photo.shape[:2] != label.shape:
                raise InputError(
                    f"{file.source} is {_size(photo)}, its label map {file.path} {_size(label)} (height x width); "
                    f"bring both to one size, for example with --fit {_size(label)}"
                )
        height, width = original.shape
        return ModelInput(label, instance, photo, (height, width))

    def _beside(self, path: Path, count: int) -> tuple[Path | None, Path | None]:
        instances, source = self._options.instances, self._options.source
        for folder, what in ((instances, "instance maps"), (source, "source photos")):
            if folder is not None and count > 1 and not folder.is_dir():
                raise UsageError(f"{count} label maps need a folder of {what}; {folder} is none")
        return (
            find_instance_map(path, instances) if instances is not None and instances.is_dir() else instances,
            find_source_photo(path, source) if source is not None and source.is_dir() else source,
        )


def _check_options(card: ModelCard, options: InputOptions) -> None:
    if card.instances != (options.instances is not None):
        fault = (
            "needs instance maps; name their file or folder with --instances"
            if card.instances
            else "takes no instance maps; leave --instances out"
        )
        raise UsageError(f"the model {card.name} {fault}")
    given = options.source is not None or options.strips is not None
    if card.wants_source and not given:
        raise UsageError(
            f"the model {card.name} makes a view from a photo of another; name the photo or the folder of photos with "
            "--source, or give strips and their direction with --strips"
        )
    if not card.wants_source and given:
        raise UsageError(f"the model {card.name} makes pictures from label maps alone; leave --source and --strips out")
    if options.source is not None and options.strips is not None:
        raise UsageError("strips hold their own source photos; leave --source out")


def _read_instance(path: Path, label_path: Path, original: np.ndarray, label: np.ndarray) -> np.ndarray:
    instance = read_instance_map(path)  # [H, W]
    if instance.shape != original.shape:
        raise InputError(
            f"{path} is {_size(instance)}, its label map {label_path} {_size(original)}; they must have one size"
        )
    return fit_label_map(instance, label.shape[0], label.shape[1])


def _size(array: np.ndarray) -> str:
    return f"{array.shape[0]}x{array.shape[1]}"
