"""What a session asks for, and what every way of running a model must offer it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

import numpy as np


class Device(str, Enum):
    """Where a model shall run. Only AUTO chooses by itself; every other value is obeyed or refused, never replaced."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"
    TENSORRT = "tensorrt"


@dataclass(frozen=True)
class SessionOptions:
    """How to run a model.

    Attributes:
        device: where; AUTO is the CPU in this version.
        threads: threads of one call on the CPU; None for the physical cores that this process may use.
        trust_engine: open an engine that has no matching record. Engines are executable code; no effect on ONNX.
    """

    device: Device = Device.AUTO
    threads: int | None = None
    trust_engine: bool = False


class Backend(Protocol):
    """A loaded model. `run` may be called from several threads at once."""

    @property
    def name(self) -> str:
        """Library and processor, as printed beside every figure, e.g. ``onnxruntime-cpu``."""

    @property
    def threads(self) -> int:
        """Threads that one call uses on the host."""

    def run(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """Compute the output ``image``; names, dtypes and shapes of ``inputs`` have been checked against the card.

        Raises:
            BackendError: the library took the work and failed.
        """

    def close(self) -> None:
        """Give back what the model holds; `run` must not be called afterwards."""
