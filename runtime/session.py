"""A model ready to run: label maps (and photos) in, pictures out, on whichever backend was asked for."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

import numpy as np

from runtime.backend import Backend, Device, SessionOptions
from runtime.backends.onnxruntime_cpu import OnnxRuntimeCpu
from runtime.contract.batch import InputBatch, input_batch
from runtime.contract.card import CROSS_VIEW, SEMANTIC_SYNTHESIS, ModelCard
from runtime.contract.errors import BackendError, InputError, MissingError, UsageError
from runtime.contract.loadable_model import open_model

_ENGINE_SUFFIXES = (".engine", ".plan", ".trt", ".rtx")
_CHECKPOINT_SUFFIXES = (".safetensors",)
_FOREIGN_SUFFIXES = (".pth", ".pt", ".ckpt", ".npz", ".npy", ".png")
_SOURCE, _LABEL, _INSTANCE = ("source", "uint8", 4), ("label", "uint8", 4), ("instance", "int32", 4)
DEFAULT_OPTIONS = SessionOptions()


class Session:
    """A loaded generator. Open it with `Session.open`, use it as a context manager.

    `generate` keeps no state between calls and may be called from several threads at once.

    Attributes:
        card: the card inside the model file.
        path: the model file.
    """

    def __init__(self, card: ModelCard, backend: Backend, path: Path) -> None:
        _check_interface(card, path)
        self.card = card
        self.path = path
        self._backend: Backend | None = backend
        self._name, self._threads = backend.name, backend.threads

    @classmethod
    def open(cls, path: str | Path, options: SessionOptions = DEFAULT_OPTIONS) -> Session:
        """Load a model file.

        Args:
            path: an ONNX file written by ``lggan export`` (or typed by ``lggan calibrate``).
            options: device, threads, trust.

        Raises:
            InputError: absent, damaged or foreign file, not a model that makes pictures from label maps, or a file that
                was written to meanwhile.
            MissingError: the device asked for is not there, an engine file, or onnxruntime is not installed.
            UsageError: an impossible option.
        """
        path = Path(path)
        suffix = path.suffix.lower()
        if suffix in _ENGINE_SUFFIXES:
            raise MissingError(
                f"{path} is a TensorRT engine; this version builds engines but does not run them yet, "
                "run the ONNX file that it was built from"
            )
        if suffix in _CHECKPOINT_SUFFIXES:
            raise InputError(f"{path} is a checkpoint; run: lggan export {path} -o {path.with_suffix('.onnx')}")
        if suffix in _FOREIGN_SUFFIXES:
            raise InputError(f"{path} is not an ONNX model; run a file made by `lggan export`")
        if options.device not in (Device.AUTO, Device.CPU):
            raise MissingError(
                f"the device {options.device.value} is not available: this version runs models on the CPU, "
                "with ONNX Runtime; use --device cpu"
            )
        with open_model(path) as model:
            _check_interface(model.card, path)
            backend = OnnxRuntimeCpu(model.source, model.card, path, options.threads, model.external)
        return cls(model.card, backend, path)

    @property
    def backend(self) -> str:
        """Name of the backend, to be printed beside every figure, e.g. ``onnxruntime-cpu``."""
        return self._name

    @property
    def threads(self) -> int:
        """Threads that one call uses on the host."""
        return self._threads

    def generate(
        self, label: np.ndarray, instance: np.ndarray | None = None, source: np.ndarray | None = None
    ) -> np.ndarray:
        """Make pictures from label maps.

        Args:
            label: uint8 [H, W], [N, H, W] or [N, 1, H, W]; ids 0..K-1, 255 for void where the model has a void. H and
                W are multiples of ``card.stride``.
            instance: int32, of the same shape, exactly if ``card.instances``.
            source: photo of the scene, uint8 RGB [H, W, 3] or [N, H, W, 3], exactly if ``card.wants_source``; the
                label map is that of the view to be made.

        Returns:
            uint8 [N, H, W, 3], RGB. A model with float output in [-1, 1] is rounded to 0..255 here.

        Raises:
            InputError: wrong type, shape, size or ids.
            BackendError: the backend failed, or gave values that are not numbers.
            UsageError: the session is closed.
        """
        batch, image = self._computed(label, instance, source)
        count, _, height, width = batch.label.shape
        return _as_bytes(image, (count, height, width), self.path)

    def generate_floats(
        self, label: np.ndarray, instance: np.ndarray | None = None, source: np.ndarray | None = None
    ) -> np.ndarray:
        """Make pictures as the network computes them, before they are rounded; otherwise as `generate`.

        Returns:
            float32 [N, 3, H, W] in [-1, 1], not looked at: a model that overflows gives values that are not numbers. A
            cross-view model's may reach beyond the range.

        Raises:
            UsageError: the model gives bytes; besides what `generate` raises.
        """
        if self.card.outputs[0].dtype != "float32":
            raise UsageError(f"{self.path} gives bytes; export it with --output float for float pictures")
        return self._computed(label, instance, source)[1]

    def _computed(
        self, label: np.ndarray, instance: np.ndarray | None, source: np.ndarray | None
    ) -> tuple[InputBatch, np.ndarray]:
        """The checked inputs, and what the backend makes of them."""
        backend = self._backend
        if backend is None:
            raise UsageError(f"the session of {self.path} is closed; open it again")
        batch = input_batch(self.card, self.path, label, instance, source)
        return batch, backend.run(batch.feeds())

    def close(self) -> None:
        """Free the model; may be called more than once."""
        if self._backend is not None:
            self._backend.close()
            self._backend = None

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _check_interface(card: ModelCard, path: Path) -> None:
    """Check that the card describes what a session can feed: bytes in, a picture out."""
    if card.task not in (SEMANTIC_SYNTHESIS, CROSS_VIEW):
        raise InputError(
            f"{path} is a model for {card.task!r}; this version runs {SEMANTIC_SYNTHESIS!r} and {CROSS_VIEW!r}"
        )
    wanted = ((_SOURCE, card.wants_source), (_LABEL, True), (_INSTANCE, card.instances))
    inputs = [form for form, is_wanted in wanted if is_wanted]
    if [(info.name, info.dtype, len(info.shape)) for info in card.inputs] != inputs:
        raise InputError(f"{path}: the card's inputs are not {[name for name, *_ in inputs]}; export the model again")
    outputs = [(info.name, info.dtype, len(info.shape)) for info in card.outputs]
    if outputs not in ([("image", "uint8", 4)], [("image", "float32", 4)]):
        raise InputError(f"{path}: the card's output is not `image` (uint8 or float32); export the model again")


def _as_bytes(image: np.ndarray, size: tuple[int, int, int], path: Path) -> np.ndarray:
    """Check what came out and bring it to uint8 [N, H, W, 3]."""
    count, height, width = size
    if image.dtype == np.uint8 and image.shape == (count, height, width, 3):
        return image
    if image.dtype != np.float32 or image.shape != (count, 3, height, width):
        raise BackendError(f"{path} gave {image.dtype} {list(image.shape)} for {count} label maps of {height}x{width}")
    if not np.isfinite(image).all():
        wrong = int((~np.isfinite(image)).sum())
        raise BackendError(
            f"{path} gave {wrong} of {image.size} values that are not numbers: its weights are damaged or a type in "
            "the graph overflowed; check it with lggan verify"
        )
    scaled = np.rint((image.transpose(0, 2, 3, 1) + 1.0) * 127.5)  # [N, 3, H, W] -> [N, H, W, 3], 0..255
    return np.ascontiguousarray(np.clip(scaled, 0, 255).astype(np.uint8))
