"""One contestant of a profile: a name, a file, and how to open it in another process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class PictureMaker(Protocol):
    """What a variant is once it is open; attributes ``threads`` (int) and ``card`` are reported where they are."""

    @property
    def backend(self) -> str:
        """Name of what computes, e.g. ``onnxruntime-cpu``."""
        ...

    def generate(
        self,
        label: NDArray[np.uint8],
        instance: NDArray[np.int32] | None = None,
        source: NDArray[np.uint8] | None = None,
    ) -> NDArray[np.uint8]:
        """Label map [H, W] of class ids (and instance ids [H, W], source photo [H, W, 3]) -> pictures [1, H, W, 3]."""
        ...

    def close(self) -> None:
        """Give back what was opened."""
        ...


class VariantKind(str, Enum):
    """What sort of file it is."""

    CHECKPOINT = "checkpoint"
    ONNX = "onnx"
    ENGINE = "engine"


@dataclass(frozen=True)
class Opener:
    """A call that travels to another process: a function of a module's top level and its picklable arguments.

    The room that knows the file's format supplies the function, so that this one need not import it.
    """

    function: Callable[..., PictureMaker]
    arguments: tuple[Any, ...] = ()

    def __call__(self) -> PictureMaker:
        return self.function(*self.arguments)


@dataclass(frozen=True)
class Variant:
    """One file to measure.

    Attributes:
        name: shown everywhere; unique within a profile.
        path: the file whose size is reported.
        kind: what sort of file it is.
        opener: opens it in the measuring process.
    """

    name: str
    path: Path
    kind: VariantKind
    opener: Opener
