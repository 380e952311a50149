"""Running graphs in ONNX Runtime on the CPU, with one way to say what went wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum

import numpy as np
import onnxruntime
from onnx import ModelProto

from runtime.contract.errors import BackendError

_SHOWN = 300  # characters of foreign text in a message


class SessionKind(Enum):
    """What a session is for.

    FAST: many runs; keeps the memory that it took.
    LEAN: one of many that are open at the same time; keeps no memory between its runs.
    AS_WRITTEN: computes node by node as the graph is written, nothing fused, so that equal nodes give equal bits
        wherever they stand; as lean. Not slower for these graphs than with all optimisations (0.48 s for a picture
        against 0.46 on one core, ONNX Runtime 1.32).
    """

    FAST = "fast"
    LEAN = "lean"
    AS_WRITTEN = "as written"


def open_session(
    model: ModelProto, what: str, threads: int | None = None, kind: SessionKind = SessionKind.FAST
) -> onnxruntime.InferenceSession:
    """Load a graph; ``what`` is what messages call it.

    Raises:
        BackendError: ONNX Runtime does not take it.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # failures arrive as exceptions
    options.enable_mem_pattern = False
    options.enable_cpu_mem_arena = kind is SessionKind.FAST
    # Shapes as soon as they are there: by default, a graph that is asked for many keeps all their tensors to the end.
    options.execution_order = onnxruntime.ExecutionOrder.PRIORITY_BASED
    if kind is SessionKind.AS_WRITTEN:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    if threads is not None:
        options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # leave the cores to others while waiting
    try:
        return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's exceptions share no base class
        raise BackendError(f"ONNX Runtime cannot load {what}: {_first_line(error)}") from error


def run_session(
    session: onnxruntime.InferenceSession, names: Sequence[str], feeds: Mapping[str, np.ndarray]
) -> list[np.ndarray]:
    """The named outputs of one run.

    Raises:
        BackendError: ONNX Runtime failed.
    """
    try:
        return list(session.run(list(names), dict(feeds)))
    except Exception as error:
        raise BackendError(f"ONNX Runtime failed at the graph: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:_SHOWN]
