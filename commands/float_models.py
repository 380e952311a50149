"""Models by their float pictures, before they are rounded to bytes: checkpoints, and ONNX files with float output."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from commands.models import CHECKPOINT_SUFFIX, plugins_explained
from runtime.backend import Device, SessionOptions
from runtime.contract.batch import input_batch
from runtime.contract.card import ModelCard
from runtime.contract.errors import BackendError, MissingError, UsageError
from runtime.session import Session

if TYPE_CHECKING:
    from lggan.networks.build import AnyGenerator


class FloatModel(Protocol):
    """A model that gives its pictures as the network computes them; ``backend`` is its name, to be printed."""

    @property
    def backend(self) -> str: ...

    def floats(
        self,
        label: NDArray[np.uint8],
        instance: NDArray[np.int32] | None = None,
        source: NDArray[np.uint8] | None = None,
    ) -> NDArray[np.float32]:
        """One picture, float32 [1, 3, H, W] in [-1, 1]; a cross-view model's may reach beyond it.

        Args:
            label: uint8 [H, W]; 255 is void where the model has a void.
            instance: int32 [H, W], exactly if the model has an edge channel.
            source: uint8 RGB [H, W, 3], exactly if the model starts from a photo.

        Raises:
            InputError: wrong type, shape, size or ids.
            BackendError: the backend failed.
        """


def gives_floats(path: Path, card: ModelCard) -> bool:
    """Whether `open_float_model` takes the model."""
    return path.suffix.lower() == CHECKPOINT_SUFFIX or [info.dtype for info in card.outputs] == ["float32"]


def open_float_model(path: Path, device: str = "auto", threads: int | None = None) -> FloatModel:
    """Open a model of which `gives_floats` is true.

    Raises:
        InputError, MissingError: see `Session.open` and `lggan.checkpoint.load_generator`.
    """
    if path.suffix.lower() == CHECKPOINT_SUFFIX:
        return _FloatCheckpoint(path, device, threads)
    with plugins_explained(path):
        session = _FloatSession.open(path, SessionOptions(device=Device(device), threads=threads))
    assert isinstance(session, _FloatSession)
    return session


class _FloatSession(Session):
    def floats(
        self,
        label: NDArray[np.uint8],
        instance: NDArray[np.int32] | None = None,
        source: NDArray[np.uint8] | None = None,
    ) -> NDArray[np.float32]:
        if self._backend is None:
            raise UsageError(f"the session of {self.path} is closed; open it again")
        return self._backend.run(input_batch(self.card, self.path, label, instance, source).feeds())


class _FloatCheckpoint:
    def __init__(self, path: Path, device: str, threads: int | None) -> None:
        import torch  # takes seconds, and a device has none

        from lggan.checkpoint import load_generator

        if device == "cuda" and not torch.cuda.is_available():
            raise MissingError("CUDA was asked for, but PyTorch sees no GPU; use --device cpu or run `lggan doctor`")
        if threads is not None:
            torch.set_num_threads(threads)
        generator, self.card = load_generator(path)
        self.path = path
        self._device = torch.device("cuda" if device != "cpu" and torch.cuda.is_available() else "cpu")
        self._generator: AnyGenerator = generator.to(self._device)

    @property
    def backend(self) -> str:
        return f"pytorch-{self._device.type}"

    def floats(
        self,
        label: NDArray[np.uint8],
        instance: NDArray[np.int32] | None = None,
        source: NDArray[np.uint8] | None = None,
    ) -> NDArray[np.float32]:
        import torch

        from lggan.synthesis import network_inputs

        batch = input_batch(self.card, self.path, label, instance, source)
        try:
            with torch.inference_mode():
                inputs = network_inputs(self._generator.config, batch, self._device)
                final: NDArray[np.float32] = self._generator(*inputs).final.float().cpu().numpy()
        except RuntimeError as error:
            raise BackendError(f"PyTorch failed on {self.path}: {str(error).splitlines()[0]}") from error
        return final
