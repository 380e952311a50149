"""A model by its file name, whichever room it belongs to: checkpoints run with PyTorch, ONNX files in a session."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.backend import Device, SessionOptions
from runtime.contract.card import ModelCard
from runtime.contract.errors import InputError, MissingError
from runtime.contract.onnx_census import take_census
from runtime.contract.onnx_wire import read_model
from runtime.inspection import FileKind, inspect_file
from runtime.profiler.variant import Opener, Variant, VariantKind
from runtime.session import Session

if TYPE_CHECKING:
    from lggan.synthesis import TorchSynthesizer

CHECKPOINT_SUFFIX = ".safetensors"
_OURS = "lggan"  # domain of the operators that have a body in the file, or need a plugin


def open_model(path: Path, device: str = "auto", threads: int | None = None) -> Session | TorchSynthesizer:
    """Open a checkpoint or an ONNX model; both have ``card``, ``backend``, ``generate`` and ``close``.

    Args:
        path: ``.safetensors`` or ``.onnx``.
        device: ``auto``, ``cpu`` or ``cuda``.
        threads: of one call on the CPU; None for the backend's own choice.

    Raises:
        InputError, MissingError: see `Session.open`, `plugins_explained` and `lggan.synthesis.open_checkpoint`.
    """
    if path.suffix.lower() == CHECKPOINT_SUFFIX:
        from lggan.synthesis import open_checkpoint  # PyTorch takes seconds, and a device has none

        return open_checkpoint(path, device, threads)
    with plugins_explained(path):
        return Session.open(path, SessionOptions(device=Device(device), threads=threads))


def gives_floats(path: Path, card: ModelCard) -> bool:
    """Whether what `open_model` opens gives float pictures, by ``generate_floats``."""
    return path.suffix.lower() == CHECKPOINT_SUFFIX or [info.dtype for info in card.outputs] == ["float32"]


@contextmanager
def plugins_explained(path: Path) -> Iterator[None]:
    """While an ONNX file is opened: tell a model that wants a TensorRT plugin from a bad one.

    Raises:
        MissingError: the model is of the variant ``plugin``, which TensorRT alone can run.
    """
    try:
        yield
    except InputError as error:
        missing = operators_without_body(path)
        if not missing:
            raise
        raise MissingError(
            f"{path} is of the variant `plugin`: {', '.join(missing)} has no body in it and needs TensorRT with a "
            "plugin, which this version has no backend for; use the variant `full` of the same model in its place: "
            f"lggan export CHECKPOINT --variant full -o {path.with_suffix('.full.onnx')}"
        ) from error


def operators_without_body(path: Path) -> list[str]:
    """Our operators in an ONNX file that ONNX Runtime cannot know, as the file has no function of that name.

    Names as ``lggan::SemanticAwareUpsample``, sorted; empty where the file is not readable.
    """
    with suppress(InputError, MissingError):
        census = take_census(read_model(path), path)
        used = {f"{entry.domain}::{entry.op_type}" for entry in census.operators if entry.domain == _OURS}
        return sorted(used - set(census.places()))
    return []


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


def engine_source(path: Path) -> Path | None:
    """The ONNX file that an engine was built from, if ``path`` is an engine or the record of one; None otherwise.

    It is looked for beside the engine; where it is not there, its bare name is given.

    Raises:
        InputError: absent, damaged, none of ours, or an engine without its own record.
    """
    inspection = inspect_file(path)
    if inspection.kind is not FileKind.ENGINE_RECORD:
        return None
    name = Path(str(inspection.facts.get("onnx", "MODEL.onnx"))).name
    beside = path.with_name(name)
    return beside if beside.is_file() else Path(name)


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
