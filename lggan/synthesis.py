"""A checkpoint ready to make pictures with PyTorch: label maps in, bytes out, like a session of the runtime."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lggan.checkpoint import load_generator
from lggan.cross_view_config import CrossViewConfig
from lggan.networks.build import AnyGenerator
from lggan.networks.cross_view_inputs import encode_cross_view
from lggan.networks.semantics import decode_image, encode_semantics
from lggan.task import AnyConfig
from runtime.contract.batch import InputBatch, input_batch
from runtime.contract.card import ModelCard
from runtime.contract.errors import BackendError, MissingError, UsageError


class TorchSynthesizer:
    """The FP32 generator of a checkpoint; open it with `open_checkpoint`.

    Attributes:
        card: the card inside the checkpoint.
        path: the checkpoint.
        backend: ``pytorch-cpu`` or ``pytorch-cuda``.
    """

    def __init__(self, generator: AnyGenerator, card: ModelCard, path: Path, device: torch.device) -> None:
        self._generator: AnyGenerator | None = generator.to(device)
        self._config = generator.config
        self._device = device
        self.card = card
        self.path = path
        self.backend = f"pytorch-{device.type}"

    def generate(
        self,
        label: NDArray[np.uint8],
        instance: NDArray[np.int32] | None = None,
        source: NDArray[np.uint8] | None = None,
    ) -> NDArray[np.uint8]:
        """Make pictures from label maps.

        Args:
            label: uint8 [H, W], [N, H, W] or [N, 1, H, W]; ids 0..K-1, 255 for void where the model has a void.
            instance: int32, of the same shape, exactly if ``card.instances``.
            source: photo of the scene, uint8 RGB [H, W, 3] or [N, H, W, 3], exactly if ``card.wants_source``; the
                label map is that of the view to be made.

        Returns:
            uint8 [N, H, W, 3], RGB.

        Raises:
            InputError: wrong type, shape, size or ids; an input too many or too few.
            BackendError: PyTorch failed, e.g. for want of memory.
            UsageError: it is closed.
        """
        pictures: NDArray[np.uint8] = self._computed(decode_image, label, instance, source)
        return np.ascontiguousarray(pictures)  # [N, H, W, 3]

    def generate_floats(
        self,
        label: NDArray[np.uint8],
        instance: NDArray[np.int32] | None = None,
        source: NDArray[np.uint8] | None = None,
    ) -> NDArray[np.float32]:
        """Make pictures as the network computes them, before they are rounded; otherwise as `generate`.

        Returns:
            float32 [N, 3, H, W] in [-1, 1]; a cross-view model's may reach beyond it.
        """
        return self._computed(Tensor.float, label, instance, source)

    def _computed(
        self,
        finish: Callable[[Tensor], Tensor],
        label: NDArray[np.uint8],
        instance: NDArray[np.int32] | None,
        source: NDArray[np.uint8] | None,
    ) -> NDArray[Any]:
        """The final pictures after ``finish``."""
        if self._generator is None:
            raise UsageError(f"{self.path} is closed; open it again")
        batch = input_batch(self.card, self.path, label, instance, source)
        try:
            with torch.inference_mode():
                final = self._generator(*network_inputs(self._config, batch, self._device)).final
                result: NDArray[Any] = finish(final).cpu().numpy()
        except RuntimeError as error:
            raise BackendError(f"PyTorch failed on {self.path}: {str(error).splitlines()[0]}") from error
        return result

    def close(self) -> None:
        """Free the weights; may be called more than once."""
        self._generator = None


def network_inputs(config: AnyConfig, batch: InputBatch, device: torch.device | None = None) -> tuple[Tensor, ...]:
    """What the generator of ``config`` is called with: one-hot maps, or conditions and groups.

    Raises:
        ValueError: no source photos for a cross-view generator (`runtime.contract.batch.input_batch` sees to them).
    """
    label = torch.from_numpy(batch.label).to(device)
    if isinstance(config, CrossViewConfig):
        if batch.source is None:
            raise ValueError("a cross-view generator needs source photos")
        return encode_cross_view(torch.from_numpy(batch.source).to(device), label, config)
    edges = None if batch.instance is None else torch.from_numpy(batch.instance).to(device)
    return (encode_semantics(label, config.classes, edges),)


def open_checkpoint(path: str | Path, device: str = "auto", threads: int | None = None) -> TorchSynthesizer:
    """Load a generator checkpoint.

    A function of the module's top level, so that a profile can open it in another process.

    Args:
        path: written by ``lggan train`` or ``lggan import-weights``.
        device: ``auto`` (a GPU where PyTorch sees one), ``cpu`` or ``cuda``.
        threads: of PyTorch on the CPU; None for its own choice.

    Raises:
        InputError: not a checkpoint of ours, or a damaged one.
        MissingError: CUDA asked for but absent.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise MissingError("CUDA was asked for, but PyTorch sees no GPU; use --device cpu or run `lggan doctor`")
    kind = "cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"
    if threads is not None:
        torch.set_num_threads(threads)
    generator, card = load_generator(path)
    return TorchSynthesizer(generator, card, Path(path), torch.device(kind))
