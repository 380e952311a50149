"""ONNX Runtime on the CPU: the backend of machines without a GPU, and the judge of what the others compute."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from runtime.backends.heap import frugal_heap
from runtime.contract.card import ModelCard, TensorInfo
from runtime.contract.errors import BackendError, InputError, MissingError, UsageError

_PROVIDER = "CPUExecutionProvider"
_ONNX_TYPES = {"float": "float32", "double": "float64"}  # the others are called as in numpy
_ONLY_FATAL = 4  # failures arrive as exceptions; ONNX Runtime would print them to stderr as well
_DATA_FOLDER = "session.model_external_initializers_file_folder_path"
_MAX_THREADS = 1024
_SHOWN = 300  # characters of foreign text in a message


class OnnxRuntimeCpu:
    """An ONNX model loaded into ONNX Runtime with the CPU provider alone."""

    name = "onnxruntime-cpu"

    def __init__(
        self,
        model: bytes | str,
        card: ModelCard,
        path: Path,
        threads: int | None = None,
        external: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        """Load ``model``.

        Args:
            model: the bytes of the ONNX file, which was checked, or a path under which ONNX Runtime finds the very file
                that was checked (`runtime.contract.loadable_model.open_model`); no file beside it is opened.
            card: the card of the model; inputs and outputs of the graph must be those that it names.
            path: what messages call the model.
            threads: threads of one call; None for `physical_cores`.
            external: weights that the file keeps in another one, by name (`runtime.contract.onnx_wire.read_model`).

        Raises:
            UsageError: an impossible number of threads.
            MissingError: onnxruntime is not installed.
            InputError: ONNX Runtime refuses the graph, or the graph is not the one that the card describes.
        """
        if threads is not None and not 1 <= threads <= _MAX_THREADS:
            raise UsageError(f"{threads} threads are not possible; choose between 1 and {_MAX_THREADS}")
        self.threads = threads or physical_cores()
        library = _library()
        settings = library.SessionOptions()
        settings.intra_op_num_threads = self.threads
        settings.inter_op_num_threads = 1
        settings.log_severity_level = _ONLY_FATAL
        # With a pattern, every run but the first takes one new block for all of its tensors, while the blocks of the
        # first stay where they are. That costs memory, and gains no time here.
        settings.enable_mem_pattern = False
        # ONNX Runtime does not copy them: they live as long as the session
        self._external = [library.OrtValue.ortvalue_from_numpy(array) for array in (external or {}).values()]
        if external:
            settings.add_external_initializers(list(external), self._external)
        else:
            # There are none, so no folder is searched. Older versions heed it for models in memory alone.
            settings.add_session_config_entry(_DATA_FOLDER, os.devnull)
        try:
            # enable_fallback=0: no second try on another provider, and no banner on stdout about it
            with frugal_heap():
                session: Any = library.InferenceSession(model, settings, providers=[_PROVIDER], enable_fallback=0)
            inputs, outputs = _tensors(session.get_inputs()), _tensors(session.get_outputs())
        except Exception as error:  # its exceptions share no base class of their own
            reason = first_line(error)
            if isinstance(model, str):
                reason = reason.replace(model, _printable(str(path)))
            raise InputError(f"ONNX Runtime cannot load {path}: {reason}; export the model again") from error
        if session.get_providers() != [_PROVIDER]:
            raise BackendError(f"ONNX Runtime runs {path} on {session.get_providers()} instead of the CPU")
        if not _agree(inputs, card.inputs, exactly=True):
            raise _other_graph("inputs", inputs, card.inputs, path)
        if not _agree(outputs, card.outputs, exactly=False):
            raise _other_graph("outputs", outputs, card.outputs, path)
        self._session = session
        self._outputs = [info.name for info in card.outputs]

    def run(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """Compute the first output of the card; see `runtime.backend.Backend.run`."""
        try:
            image: np.ndarray = self._session.run(self._outputs, inputs)[0]
        except Exception as error:
            shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in inputs.items())
            raise BackendError(
                f"ONNX Runtime failed on {shapes}: {first_line(error)}; if memory ran out, use smaller batches or sizes"
            ) from error
        return image

    def close(self) -> None:
        """Free the model."""
        self._session = None
        self._external = []


def physical_cores() -> int:
    """Physical cores that this process may use, at least 1.

    Two threads of one core share its arithmetic units: more threads than cores slow convolutions down. Where the
    operating system does not tell siblings apart, its count of processors is returned.
    """
    try:
        allowed: Sequence[int] = sorted(os.sched_getaffinity(0))
    except AttributeError:  # macOS, Windows
        return os.cpu_count() or 1
    cores = set()
    for cpu in allowed:
        topology = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology")
        try:
            cores.add(((topology / "physical_package_id").read_text(), (topology / "core_id").read_text()))
        except OSError:
            return max(len(allowed), 1)
    return max(len(cores), 1)


def first_line(error: BaseException) -> str:
    """The first line of a library's message, printable characters only: the text may quote the model."""
    return _printable((str(error).strip().splitlines() or [type(error).__name__])[0])


def _library() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingError(
            f"onnxruntime cannot be imported ({first_line(error)}); install it: pip install onnxruntime"
        ) from error
    return onnxruntime


def _tensors(nodes: Sequence[Any]) -> list[TensorInfo]:
    """ONNX Runtime's description of inputs or outputs in our own words."""
    found = []
    for node in nodes:
        kind = node.type.removeprefix("tensor(").removesuffix(")")
        found.append(TensorInfo(node.name, _ONNX_TYPES.get(kind, kind), tuple(node.shape)))
    return found


def _agree(graph: Sequence[TensorInfo], card: Sequence[TensorInfo], *, exactly: bool) -> bool:
    """Whether names, dtypes, ranks and fixed sizes are those of the card.

    ``exactly``: a size that the graph fixes must be fixed in the card. Outputs need not: there ONNX Runtime shows
    sizes that it worked out by itself.
    """
    if [(t.name, t.dtype, len(t.shape)) for t in graph] != [(t.name, t.dtype, len(t.shape)) for t in card]:
        return False
    sides = (pair for a, b in zip(graph, card, strict=True) for pair in zip(a.shape, b.shape, strict=True))
    return all(a == b for a, b in sides if isinstance(a, int) and (exactly or isinstance(b, int)))


def _other_graph(kind: str, graph: Sequence[TensorInfo], card: Sequence[TensorInfo], path: Path) -> InputError:
    return InputError(
        f"{path}: the graph has the {kind} {_describe(graph)}, its model card says {_describe(card)}; "
        "the file was changed after the export, export it again"
    )


def _describe(tensors: Sequence[TensorInfo]) -> str:
    texts = [f"{t.name} {t.dtype} [{', '.join(str(side) for side in t.shape)}]" for t in tensors]
    return _printable(", ".join(texts) or "none")


def _printable(text: str) -> str:
    """The beginning of a text that may quote the model: nothing that could steer a terminal."""
    return "".join(character if character.isprintable() else "?" for character in text)[:_SHOWN]
