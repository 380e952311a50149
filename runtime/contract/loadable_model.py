"""From a checked model file into a backend, without a copy of its weights in between."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from runtime.contract.card import ModelCard
from runtime.contract.onnx_safety import MAX_FILE_BYTES
from runtime.contract.onnx_wire import check_model, self_contained_card
from runtime.contract.opened_file import OpenedFile

READ_WHOLE = 1 << 24
"""Bytes: a smaller file is loaded from memory, where nobody can change it after its check."""


@dataclass(frozen=True)
class LoadableModel:
    """A model file as it was checked, in the form that a backend loads it from.

    Attributes:
        source: bytes of the ``.onnx`` file, or the path of the open file (`OpenedFile.link`).
        card: the model card in it.
        external: weights of the graph that lie in the file beside it, by name; empty where ``source`` is a path.
    """

    source: bytes | str
    card: ModelCard
    external: Mapping[str, np.ndarray] = field(default_factory=dict)


@contextmanager
def open_model(path: str | Path) -> Iterator[LoadableModel]:
    """Check an ONNX file, and hold it open while a backend loads it.

    A large file is not brought into memory for that: the check passes over its weights, and the backend reads the very
    file that was checked, by its handle. Where the system has no path for a handle, and where weights lie in a file
    beside the model, everything is read here.

    Raises:
        InputError: see `runtime.contract.onnx_wire.read_model`; or somebody wrote into the file before the block ended,
            which is told when it ends.
        MissingError: no permission to read it.
    """
    path = Path(path)
    with OpenedFile(path, MAX_FILE_BYTES) as file:
        link = file.link() if file.size >= READ_WHOLE else None
        if link is not None:
            with file.unchanged():
                card = self_contained_card(file.parts(), path)
                if card is not None:
                    yield LoadableModel(link, card)
                    return
        model = check_model(file.read(), path)
        yield LoadableModel(model.data, model.card, model.external)
