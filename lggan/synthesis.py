"""A checkpoint ready to make pictures with PyTorch: label maps in, bytes out, like a session of the runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lggan.checkpoint import load_generator
from lggan.networks.generator import LGGANGenerator
from lggan.networks.semantics import decode_image, encode_semantics
from runtime.contract.card import ModelCard
from runtime.contract.errors import BackendError, InputError, MissingError, UsageError
from runtime.contract.labels import VOID_VALUE, check_label_map


class TorchSynthesizer:
    """The FP32 generator of a checkpoint; open it with `open_checkpoint`.

    Attributes:
        card: the card inside the checkpoint.
        path: the checkpoint.
        backend: ``pytorch-cpu`` or ``pytorch-cuda``.
    """

    def __init__(self, generator: LGGANGenerator, card: ModelCard, path: Path, device: torch.device) -> None:
        self._generator: LGGANGenerator | None = generator.to(device)
        self._device = device
        self.card = card
        self.path = path
        self.backend = f"pytorch-{device.type}"

    def generate(self, label: NDArray[np.uint8], instance: NDArray[np.int32] | None = None) -> NDArray[np.uint8]:
        """Make pictures from label maps.

        Args:
            label: uint8 [H, W], [N, H, W] or [N, 1, H, W]; ids 0..K-1, 255 for void where the model has a void class.
            instance: int32, of the same shape, exactly if ``card.instances``.

        Returns:
            uint8 [N, H, W, 3], RGB.

        Raises:
            InputError: wrong shape, size or ids; an instance map too many or too few.
            BackendError: PyTorch failed, e.g. for want of memory.
            UsageError: it is closed.
        """
        if self._generator is None:
            raise UsageError(f"{self.path} is closed; open it again")
        if (instance is not None) != self.card.instances:
            wish = "needs an instance map beside every label map" if self.card.instances else "takes no instance map"
            raise InputError(f"{self.path} {wish}")
        if instance is not None and instance.shape != label.shape:
            raise InputError(f"the instance map is {list(instance.shape)}, the label map {list(label.shape)}; equalise")
        if self.card.void is not None and len(self.card.classes) <= VOID_VALUE:
            label = np.where(label == VOID_VALUE, np.uint8(self.card.void), label)
        check_label_map(label, self.card, "the label map")
        try:
            with torch.inference_mode():
                edges = None if instance is None else self._batch(instance)
                semantics = encode_semantics(self._batch(label), len(self.card.classes), edges)  # [N, S, H, W]
                pictures: NDArray[np.uint8] = decode_image(self._generator(semantics).final).cpu().numpy()
        except RuntimeError as error:
            raise BackendError(f"PyTorch failed on {self.path}: {str(error).splitlines()[0]}") from error
        return np.ascontiguousarray(pictures)  # [N, H, W, 3]

    def close(self) -> None:
        """Free the weights; may be called more than once."""
        self._generator = None

    def _batch(self, array: NDArray[np.generic]) -> Tensor:
        """[H, W], [N, H, W] or [N, 1, H, W] -> [N, 1, H, W] on the device."""
        height, width = array.shape[-2:]
        return torch.from_numpy(np.ascontiguousarray(array)).to(self._device).reshape(-1, 1, height, width)


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
