"""A model by its file name, whichever room it belongs to: checkpoints run with PyTorch, ONNX files in a session."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.backend import Device, SessionOptions
from runtime.contract.card import ModelCard
from runtime.inspection import FileKind, inspect_file
from runtime.profiler.variant import Opener, Variant, VariantKind
from runtime.session import Session

if TYPE_CHECKING:
    from lggan.synthesis import TorchSynthesizer

CHECKPOINT_SUFFIX = ".safetensors"


def open_model(path: Path, device: str = "auto", threads: int | None = None) -> Session | TorchSynthesizer:
    """Open a checkpoint or an ONNX model; both have ``card``, ``backend``, ``generate`` and ``close``.

    Args:
        path: ``.safetensors`` or ``.onnx``.
        device: ``auto``, ``cpu`` or ``cuda``.
        threads: of one call on the CPU; None for the backend's own choice.

    Raises:
        InputError, MissingError: see `Session.open` and `lggan.synthesis.open_checkpoint`.
    """
    if path.suffix.lower() == CHECKPOINT_SUFFIX:
        from lggan.synthesis import open_checkpoint  # PyTorch takes seconds, and a device has none

        return open_checkpoint(path, device, threads)
    return Session.open(path, SessionOptions(device=Device(device), threads=threads))


def as_variants(paths: Sequence[Path], device: str = "auto", threads: int | None = None) -> list[Variant]:
    """The files as contestants of a profile, each by its file name, or its whole path where names coincide."""
    names = [path.name for path in paths]
    unique = len(set(names)) == len(names)
    return [
        Variant(
            name=path.name if unique else str(path),
            path=path,
            kind=VariantKind.CHECKPOINT if path.suffix.lower() == CHECKPOINT_SUFFIX else VariantKind.ONNX,
            opener=Opener(open_model, (path, device, threads)),
        )
        for path in paths
    ]


def card_of(path: Path) -> ModelCard:
    """The card in a checkpoint or a model, without loading either.

    Raises:
        InputError: absent, damaged, or without a card.
    """
    inspection = inspect_file(path)
    if inspection.card is None or inspection.kind is FileKind.ENGINE_RECORD:
        # says in the session's words what to run in place of an engine
        return Session.open(path).card
    return inspection.card
