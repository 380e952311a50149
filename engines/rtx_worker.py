"""The process in which TensorRT-RTX runs; `engines.child` starts it and talks to it.

A separate process because TensorRT ends the process it is in when it meets certain errors, because the library path
that it needs (see `engines.child`) is read when a process starts, and because an interrupt must not reach its code.

Protocol: the first line of stdin is the job as JSON, the model's bytes follow, then stdin stays open: its end means
that nobody waits any more. stdout carries one JSON object a line, each with the single key ``progress``, ``log``,
``done`` or ``error``.

TensorRT-RTX 1.7 on a machine without a GPU does the ahead-of-time half of the work: it parses, checks and optimises
the graph and writes the plan; kernels are compiled when the plan first meets a GPU.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

STRONGLY_TYPED = "STRONGLY_TYPED"  # flags go by name: their numbers differ between versions of TensorRT
_TYPES = {"FLOAT": "fp32", "HALF": "fp16", "BF16": "bf16", "FP8": "fp8"}  # others: their own name in lower case


class RefusalError(Exception):
    """TensorRT-RTX did not load, or refused the graph or the build: ``kind`` is ``import``, ``parse`` or ``build``."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Channel:
    """Sends events to the parent and knows whether it still listens."""

    def __init__(self, events: Any) -> None:
        self._events = events
        self._lock = threading.Lock()
        self.cancelled = threading.Event()

    def send(self, **event: Any) -> None:
        with self._lock:
            try:
                self._events.write(json.dumps(event) + "\n")
                self._events.flush()
            except BrokenPipeError:
                self.cancelled.set()

    def watch(self, stdin: Any) -> None:
        """Notice the end of stdin: ask the build to stop, and leave if it does not within five seconds."""

        def wait() -> None:
            stdin.read()
            self.cancelled.set()
            time.sleep(5)
            os._exit(1)

        threading.Thread(target=wait, daemon=True).start()


def main() -> int:
    """Read a job, do it, report; returns the exit status."""
    # TensorRT prints to stdout now and then; keep a private copy for the events and give it stderr instead
    channel = Channel(os.fdopen(os.dup(1), "w", encoding="utf-8"))
    os.dup2(2, 1)
    job = json.loads(sys.stdin.buffer.readline())
    model = sys.stdin.buffer.read(job["model_bytes"])
    channel.watch(sys.stdin.buffer)
    try:
        channel.send(done=build(job, model, channel))
    except OSError as error:
        channel.send(error={"kind": "os", "errno": error.errno or 0, "message": error.strerror or str(error)})
    except RefusalError as error:
        channel.send(error={"kind": error.kind, "message": str(error)})
    else:
        return 0
    return 1


def build(job: dict[str, Any], model: bytes, channel: Channel) -> dict[str, Any]:
    """Parse ``model``, build the plan, write it to ``job["plan"]``; returns what is to be recorded."""
    try:
        import tensorrt_rtx as trt
    except (ImportError, OSError) as error:
        raise RefusalError("import", str(error)) from error

    logger = _logger(trt, channel, job["log"])
    builder = trt.Builder(logger)
    strongly_typed = getattr(trt.NetworkDefinitionCreationFlag, STRONGLY_TYPED)
    network = builder.create_network(1 << int(strongly_typed))
    start = time.perf_counter()
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(model):
        raise RefusalError("parse", _parser_errors(parser))
    parsed = time.perf_counter()
    config = builder.create_builder_config()
    if job["log"]:  # with the kernels' names and types, or there is little in it
        config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    profile = builder.create_optimization_profile()
    for name, shapes in job["profile"].items():
        profile.set_shape(name, *(tuple(shape) for shape in shapes))
    if config.add_optimization_profile(profile) < 0:
        raise RefusalError("build", f"TensorRT-RTX refuses the shapes {job['profile']}")
    config.num_compute_capabilities = len(job["targets"])
    for index, target in enumerate(job["targets"]):
        config.set_compute_capability(getattr(trt.ComputeCapability, target.upper()), index)
    monitor = _monitor(trt, channel)  # must live as long as the configuration
    config.progress_monitor = monitor
    facts = _facts(trt, network)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise RefusalError("build", "cancelled" if channel.cancelled.is_set() else "TensorRT-RTX gave no engine")
    built = time.perf_counter()
    with Path(job["plan"]).open("wb") as stream:
        stream.write(plan)
        stream.flush()
        os.fsync(stream.fileno())
    seconds = {"parse": parsed - start, "build": built - parsed, "write": time.perf_counter() - built}
    return {**facts, "version": trt.__version__, "seconds": seconds}


def _facts(trt: Any, network: Any) -> dict[str, Any]:
    """The network as TensorRT understood the file, before it fuses anything."""
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    convolutions = [layer for layer in layers if layer.type.name in ("CONVOLUTION", "DECONVOLUTION")]
    plugins = [layer for layer in layers if layer.type.name == "PLUGIN_V3"]
    dequantized = {layer.get_output(0).name for layer in layers if layer.type.name == "DEQUANTIZE"}
    return {
        "inputs": [_tensor(network.get_input(index)) for index in range(network.num_inputs)],
        "outputs": [_tensor(network.get_output(index)) for index in range(network.num_outputs)],
        "layers": Counter(layer.type.name.lower() for layer in layers),
        "convolutions": Counter(_computing_type(layer, dequantized) for layer in convolutions),
        "plugins": len(plugins),
    }


def _computing_type(convolution: Any, dequantized: set[str]) -> str:
    """INT8 where data and weight come out of a dequantisation: TensorRT takes all three for one kernel."""
    weight = convolution.get_input(1) if convolution.num_inputs > 1 else None
    data = convolution.get_input(0)
    if weight is not None and {data.name, weight.name} <= dequantized:
        return "int8"
    return _type(data)


def _tensor(tensor: Any) -> dict[str, Any]:
    return {"name": tensor.name, "dtype": _type(tensor), "shape": list(tensor.shape)}


def _type(tensor: Any) -> str:
    name = tensor.dtype.name
    return _TYPES.get(name, name.lower())


def _parser_errors(parser: Any) -> str:
    texts = []
    for index in range(parser.num_errors):
        error = parser.get_error(index)
        node = f"node {error.node_name()!r} ({error.node_operator()}): " if error.node_name() else ""
        texts.append(node + " ".join(error.desc().split()))
    return "; ".join(texts) or "no reason given"


def _logger(trt: Any, channel: Channel, path: str | None) -> Any:
    """TensorRT's log: warnings and errors to the parent, everything into the file at ``path`` if there is one."""
    severity = trt.ILogger.Severity
    file = Path(path).open("w", encoding="utf-8") if path else None  # noqa: SIM115 - lives as long as the process

    class Log(trt.ILogger):
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.min_severity = severity.VERBOSE if file else severity.WARNING

        def log(self, level: Any, message: str) -> None:
            if file:
                file.write(f"{level.name:8} {message}\n")
                file.flush()
            if level.value <= severity.WARNING.value:
                channel.send(log=f"{level.name.lower().replace('_', ' ')}: {' '.join(message.split())}")

    return Log()


def _monitor(trt: Any, channel: Channel) -> Any:
    """Reports the share of the work done and the phase at hand, ten times a second at most."""

    class Monitor(trt.IProgressMonitor):
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self._phases: list[tuple[str, int, int]] = []  # name, steps, steps done; outermost first
            self._sent = 0.0
            self._lock = threading.Lock()

        def phase_start(self, name: str, parent: str | None, steps: int) -> None:
            with self._lock:
                self._phases.append((name, steps, 0))
                self._tell()

        def step_complete(self, name: str, step: int) -> bool:
            with self._lock:
                self._phases = [(n, s, step + 1 if n == name else d) for n, s, d in self._phases]
                self._tell()
            return not channel.cancelled.is_set()

        def phase_finish(self, name: str) -> None:
            with self._lock:
                self._phases = [phase for phase in self._phases if phase[0] != name]

        def _tell(self) -> None:
            now = time.monotonic()
            if now - self._sent < 0.1:
                return
            self._sent = now
            share = 0.0
            for _, steps, done in reversed(self._phases):
                share = min((done + share) / max(steps, 1), 1.0)
            channel.send(progress={"share": share, "phase": self._phases[-1][0] if self._phases else ""})

    return Monitor()


if __name__ == "__main__":
    sys.exit(main())
