"""An evaluator's network: an ONNX file run by ONNX Runtime, with the TOML file that describes it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lggan.evaluation.network_file import NetworkFile, OutputKind, read_network_file
from lggan.evaluation.preprocessing import prepare
from runtime.contract.errors import BackendError, InputError, MissingError
from runtime.contract.files import sha256_of
from runtime.contract.onnx_safety import read_model_file

_ONLY_FATAL = 4  # failures arrive as exceptions; ONNX Runtime would print them as well
_CPU, _CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(uint8)": np.uint8}
_SHOWN = 200


class OnnxNetwork:
    """A network ready to look at pictures; open it with `open_network`.

    Attributes:
        path, sha256: of the ONNX file.
        file: what its TOML file says.
        backend: ``onnxruntime-cpu`` or ``onnxruntime-cuda``.
    """

    def __init__(self, path: Path, file: NetworkFile, session: Any) -> None:
        self.path = path
        self.sha256 = sha256_of(path)
        self.file = file
        self.backend = "onnxruntime-cuda" if session.get_providers()[0] == _CUDA else "onnxruntime-cpu"
        self._session = session
        entry = _one_of(session.get_inputs(), file.input.name, "input", path)
        self._input = entry.name
        self._output = _one_of(session.get_outputs(), file.output.name, "output", path).name
        if entry.type not in _TYPES:
            raise InputError(f"the input of {path} is a {entry.type}; float, float16 or uint8 is expected")
        self._dtype = _TYPES[entry.type]

    def run(self, pictures: Sequence[np.ndarray]) -> np.ndarray:
        """The network's output for pictures uint8 [h, w, 3], as float32 (whole numbers stay as they are).

        Raises:
            BackendError: ONNX Runtime failed, or the answer holds values that are not numbers.
        """
        batch = prepare(pictures, self.file.input)
        if self._dtype is np.uint8:
            batch = np.rint(batch).clip(0, 255)
        try:
            answer: np.ndarray = self._session.run([self._output], {self._input: batch.astype(self._dtype)})[0]
        except Exception as error:  # its exceptions share no base class of their own
            raise BackendError(f"{self.path} failed on {list(batch.shape)}: {_first_line(error)}") from error
        if len(answer) != len(pictures):
            raise BackendError(f"{self.path} answered {list(answer.shape)} to {len(pictures)} pictures")
        if answer.dtype.kind not in "fiu" or not np.isfinite(answer).all():
            raise BackendError(f"{self.path} answered values that are not numbers; check scale, mean and std")
        return answer.astype(np.float32) if answer.dtype.kind == "f" else answer


def open_network(
    path: str | Path, kinds: Sequence[OutputKind], threads: int | None = None, device: str = "auto"
) -> OnnxNetwork:
    """Load a network and the TOML file beside it.

    Args:
        path: ``.onnx``; the TOML file has the same stem.
        kinds: what it may answer for the part it is to play.
        threads: of one call on the CPU; None for ONNX Runtime's choice.
        device: ``cpu`` keeps it there; else the GPU is used where the installed ONNX Runtime can.

    Raises:
        InputError: a file absent or damaged, weights in other files, an answer of another kind.
        MissingError: onnxruntime is not installed.
    """
    path = Path(path)
    if path.suffix.lower() != ".onnx":
        raise InputError(f"{path} is not an ONNX file; export the network, see docs/evaluation.md")
    model = read_model_file(path)
    file = read_network_file(path)
    if file.output.kind not in kinds:
        found, wanted = file.output.kind.value, " or ".join(kind.value for kind in kinds)
        raise InputError(f"{path.with_suffix('.toml')}: output.kind is {found}, {wanted} is needed here")
    return OnnxNetwork(path, file, _session(model, path, threads, device))


def _session(model: bytes, path: Path, threads: int | None, device: str) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingError("onnxruntime is needed for this evaluator; install it: pip install onnxruntime") from error
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = _ONLY_FATAL
    if threads is not None:
        settings.intra_op_num_threads = threads
    # no folder: a model whose tensors name other files of the disk is refused instead of given them
    settings.add_session_config_entry("session.model_external_initializers_file_folder_path", os.devnull)
    usable = onnxruntime.get_available_providers()
    providers = [_CUDA, _CPU] if device != "cpu" and _CUDA in usable else [_CPU]
    try:
        return onnxruntime.InferenceSession(model, settings, providers=providers, enable_fallback=0)
    except Exception as error:
        hint = "; export it into one file (external_data=False)" if "xternal data" in str(error) else ""
        raise InputError(f"ONNX Runtime cannot load {path}: {_first_line(error)}{hint}") from error


def _one_of(entries: Sequence[Any], name: str, kind: str, path: Path) -> Any:
    names = [entry.name for entry in entries]
    if name:
        if name not in names:
            raise InputError(f"{path} has no {kind} {name!r}; it has {', '.join(names)}")
        return entries[names.index(name)]
    if len(entries) != 1:
        raise InputError(f"{path} has {len(entries)} {kind}s ({', '.join(names)}); name one in its TOML, [{kind}] name")
    return entries[0]


def _first_line(error: BaseException) -> str:
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return "".join(letter if letter.isprintable() else "?" for letter in line)[:_SHOWN]
