"""Starting the process that builds, listening to it, and turning whatever happens to it into one of our errors.

The library path. When a plugin is registered, the ONNX parser of TensorRT-RTX 1.7 opens ``libtensorrt_rtx.so``, a name
that its wheel does not contain (only ``libtensorrt_rtx.so.1``), and aborts the process if that fails. The name must be
found through the library path of the process: a library that is loaded already is not recognised by it. So the build
runs in a child whose ``LD_LIBRARY_PATH`` starts with a private temporary folder holding that one link; nothing is
written into the installation, and the folder is gone when the build ends.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from runtime.contract.errors import BackendError, MissingError
from runtime.contract.progress import Progress

INSTALL = "pip install '.[tensorrt-rtx]'"
WORKER = (sys.executable, "-m", "engines.rtx_worker")
_LIBRARY = "libtensorrt_rtx.so"
_PATIENCE = 10.0  # seconds that a cancelled build may take to stop


@dataclass(frozen=True)
class Job:
    """What the child is to build.

    Attributes:
        plan: absolute path to write to.
        targets: names of compute capabilities, ``sm86`` ...
        profile: input name -> minimum, optimum, maximum shape.
        log: absolute path for TensorRT's full log, or None.
    """

    plan: Path
    targets: tuple[str, ...]
    profile: dict[str, tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]]
    log: Path | None = None


@dataclass(frozen=True)
class BuildFacts:
    """What the child found out; see `engines.record.EngineRecord` for the meanings."""

    version: str
    inputs: list[dict[str, Any]]
    outputs: list[dict[str, Any]]
    layers: dict[str, int]
    convolutions: dict[str, int]
    plugins: int
    seconds: dict[str, float]
    warnings: tuple[str, ...]


def run_child(job: Job, model: bytes, progress: Progress, worker: Sequence[str] = WORKER) -> BuildFacts:
    """Build in a child process; return when the plan is written.

    Args:
        job: what to build.
        model: the ONNX file's bytes, without external data.
        progress: told the share of the work done.
        worker: the command to start; tests and programs with plugins of their own give another one.

    Raises:
        MissingError: TensorRT-RTX is not installed or does not load.
        BackendError: it refused the graph, failed, or crashed.
        OSError: the plan could not be written.
        KeyboardInterrupt: passed on after the child has stopped.
    """
    if importlib.util.find_spec("tensorrt_rtx") is None:
        raise MissingError(f"TensorRT-RTX is not installed; {INSTALL}")
    with tempfile.TemporaryDirectory(prefix="lggan-rtx-") as folder, tempfile.TemporaryFile() as stderr:
        process = subprocess.Popen(
            list(worker),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env=_environment(Path(folder)),
            cwd=Path(__file__).resolve().parent.parent,  # where `engines` is importable from
            start_new_session=True,  # Ctrl-C reaches us alone; we stop the child by closing its stdin
        )
        try:
            conversation = _converse(process, job, model, progress)
        finally:
            _stop(process)
        return _conclude(conversation, process.returncode, stderr)


@dataclass
class _Conversation:
    done: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    log: tuple[str, ...] = ()


def _converse(process: subprocess.Popen[bytes], job: Job, model: bytes, progress: Progress) -> _Conversation:
    assert process.stdin is not None
    assert process.stdout is not None
    heard = _Conversation()
    with suppress(BrokenPipeError):  # if it died already, its exit status tells more
        header = {
            "plan": str(job.plan),
            "targets": job.targets,
            "profile": job.profile,
            "log": None if job.log is None else str(job.log),
            "model_bytes": len(model),
        }
        process.stdin.write(json.dumps(header).encode() + b"\n" + model)
        process.stdin.flush()
    log: list[str] = []
    with progress.task("build the engine", 1.0) as task:
        shown = 0.0
        for line in process.stdout:
            try:
                event = json.loads(line)
            except ValueError:
                break  # cut off in the middle: it died
            if "progress" in event:
                share = max(shown, float(event["progress"]["share"]))
                task.advance(share - shown, event["progress"]["phase"])
                shown = share
            elif "log" in event:
                log.append(event["log"])
            elif "done" in event:
                heard.done = event["done"]
                task.advance(1.0 - shown)
                break
            elif "error" in event:
                heard.error = event["error"]
                break
    heard.log = _without_repetition(log)
    return heard


def _without_repetition(messages: list[str]) -> tuple[str, ...]:
    """Each message once, in order; those that differ in names and numbers alone are counted behind the first."""
    count: dict[str, int] = {}
    first: dict[str, str] = {}
    for message in messages:
        kind = re.sub(r"\S*[\d_]\S*", "#", message)
        count[kind] = count.get(kind, 0) + 1
        first.setdefault(kind, message)
    return tuple(
        text + (f" (and {count[kind] - 1} like it)" if count[kind] > 1 else "") for kind, text in first.items()
    )


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Close the child's stdin, which it understands as "enough", and wait for it; kill it if it doesn't listen."""
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with suppress(BrokenPipeError):
                stream.close()
    try:
        process.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _conclude(heard: _Conversation, status: int, stderr: IO[bytes]) -> BuildFacts:
    if heard.done is not None:
        return BuildFacts(**heard.done, warnings=heard.log)
    reasons = [line for line in heard.log if not line.startswith("warning")]
    if heard.error is not None:
        kind, message = heard.error["kind"], heard.error["message"]
        if kind == "os":
            raise OSError(heard.error["errno"], message)
        if kind == "import":
            raise MissingError(f"TensorRT-RTX does not load ({message}); {INSTALL}")
        what = "cannot read the graph" if kind == "parse" else "failed to build the engine"
        detail = message if kind == "parse" else "; ".join([message, *reasons[-3:]])
        raise BackendError(f"TensorRT-RTX {what}: {detail[:1500]}")
    stderr.seek(0)
    last = [*reasons, *stderr.read().decode("utf-8", "replace").splitlines()][-5:]
    cause = signal.Signals(-status).name if status < 0 else f"exit status {status}"
    raise BackendError(f"TensorRT-RTX crashed ({cause}); its last words: {' | '.join(last)[:1500] or 'none'}")


def _environment(folder: Path) -> dict[str, str]:
    """The child's environment: ours, with the missing library name (see above) made to exist in ``folder``."""
    environment = dict(os.environ)
    environment.pop("PYTHONSAFEPATH", None)  # the worker is found through the working directory
    library = _find_library()
    if library is not None:
        (folder / _LIBRARY).symlink_to(library)
        path = environment.get("LD_LIBRARY_PATH", "")
        environment["LD_LIBRARY_PATH"] = f"{folder}{os.pathsep}{path}" if path else str(folder)
    return environment


def _find_library() -> Path | None:
    """The wheel's versioned library, if it has no unversioned one beside it (and this is Linux)."""
    spec = importlib.util.find_spec("tensorrt_rtx_libs")
    if not sys.platform.startswith("linux") or spec is None or not spec.submodule_search_locations:
        return None
    home = Path(next(iter(spec.submodule_search_locations)))
    versioned = sorted(home.glob(f"{_LIBRARY}.*"))
    return versioned[0] if versioned and not (home / _LIBRARY).exists() else None
