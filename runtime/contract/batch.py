"""What a generator is fed in one call: label maps and what belongs to them, checked against the model card."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from runtime.contract.card import MAX_SIDE, ModelCard
from runtime.contract.errors import InputError
from runtime.contract.labels import VOID_VALUE, check_label_map

SOURCE, LABEL, INSTANCE = "source", "label", "instance"
"""Names of the graph's inputs."""


@dataclass(frozen=True, eq=False)
class InputBatch:
    """N inputs of one size, contiguous.

    Attributes:
        label: uint8 [N, 1, H, W], ids that the model knows.
        instance: int32 [N, 1, H, W], or None where the model has no edge channel.
        source: uint8 [N, H, W, 3], RGB, or None where the model makes pictures from label maps alone.
    """

    label: np.ndarray
    instance: np.ndarray | None = None
    source: np.ndarray | None = None

    def feeds(self) -> dict[str, np.ndarray]:
        """The arrays by the names of the graph's inputs, in the graph's order."""
        named = {SOURCE: self.source, LABEL: self.label, INSTANCE: self.instance}
        return {name: array for name, array in named.items() if array is not None}


def input_batch(
    card: ModelCard,
    model: str | Path,
    label: np.ndarray,
    instance: np.ndarray | None = None,
    source: np.ndarray | None = None,
) -> InputBatch:
    """Bring the inputs of one call into the form that graphs take, and check them.

    Args:
        card: of the model.
        model: what messages call it.
        label: uint8 [H, W], [N, H, W] or [N, 1, H, W]; ids 0..K-1, 255 for void where the model has a void.
        instance: int32, of the same shape, exactly if ``card.instances``.
        source: uint8 [H, W, 3] or [N, H, W, 3], exactly if ``card.wants_source``.

    Raises:
        InputError: wrong type, shape, size or ids; an input too many or too few.
    """
    _check_presence(card, model, instance is not None, source is not None)
    labels = _planes(label, np.dtype(np.uint8), "label")
    if card.void is not None and len(card.classes) <= VOID_VALUE == labels.max(initial=0):
        labels = np.where(labels == VOID_VALUE, np.uint8(card.void), labels)
    check_label_map(labels, card, "the label map")
    if max(labels.shape[2:]) > MAX_SIDE:
        raise InputError(f"the label map is {labels.shape[2]}x{labels.shape[3]}; the largest side is {MAX_SIDE}")
    batch = InputBatch(
        labels,
        None if instance is None else _instances(instance, labels),
        None if source is None else _photos(source, labels),
    )
    _check_fixed_sizes(card, model, batch)
    return batch


def _check_presence(card: ModelCard, model: str | Path, instance: bool, source: bool) -> None:
    if instance and not card.instances:
        raise InputError(f"{model} takes no instance map; leave it out")
    if card.instances and not instance:
        raise InputError(f"{model} needs an instance map beside the label map")
    if source and not card.wants_source:
        raise InputError(f"{model} makes pictures from label maps alone; leave the source photo out")
    if card.wants_source and not source:
        raise InputError(f"{model} needs a source photo beside the label map of the view that is wanted")


def _instances(instance: np.ndarray, labels: np.ndarray) -> np.ndarray:
    planes = _planes(instance, np.dtype(np.int32), "instance")
    if planes.shape != labels.shape:
        raise InputError(f"the instance map is {list(planes.shape)}, the label map {list(labels.shape)}; equalise")
    return planes


def _photos(source: np.ndarray, labels: np.ndarray) -> np.ndarray:
    if not isinstance(source, np.ndarray) or source.dtype != np.uint8:
        kind = source.dtype if isinstance(source, np.ndarray) else type(source).__name__
        raise InputError(f"the source photo must be a numpy array of uint8, this is {kind}; convert it first")
    photos = source[None] if source.ndim == 3 else source  # [H, W, 3] -> [1, H, W, 3]
    if photos.ndim != 4 or photos.shape[3] != 3:
        raise InputError(f"the source photo must be RGB, [H, W, 3] or [N, H, W, 3], this is {list(source.shape)}")
    count, _, height, width = labels.shape
    if photos.shape[:3] != (count, height, width):
        raise InputError(
            f"the source photo is {list(photos.shape[:3])} (N, H, W), the label map {[count, height, width]}; "
            "resize the photo to the label map"
        )
    return np.ascontiguousarray(photos)


def _check_fixed_sizes(card: ModelCard, model: str | Path, batch: InputBatch) -> None:
    feeds = batch.feeds()
    for info in card.inputs:
        shape = feeds[info.name].shape
        if any(isinstance(wanted, int) and side != wanted for side, wanted in zip(shape, info.shape, strict=True)):
            raise InputError(
                f"{model} takes {info.name} inputs of exactly {list(info.shape)}, this one is {list(shape)}; "
                "export without fixed sizes or fit the label map"
            )


def _planes(array: np.ndarray, dtype: np.dtype, name: str) -> np.ndarray:
    """View ``array`` as [N, 1, H, W]; copied only where it is not contiguous."""
    if not isinstance(array, np.ndarray) or array.dtype != dtype:
        kind = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
        raise InputError(f"the {name} map must be a numpy array of {dtype}, this is {kind}; convert it first")
    if array.ndim == 2:
        array = array[None, None]  # [H, W] -> [1, 1, H, W]
    elif array.ndim == 3:
        array = array[:, None]  # [N, H, W] -> [N, 1, H, W]
    if array.ndim != 4 or array.shape[1] != 1 or array.size == 0:
        raise InputError(f"the {name} map must be [H, W], [N, H, W] or [N, 1, H, W], this is {list(array.shape)}")
    return np.ascontiguousarray(array)
