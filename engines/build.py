"""From a typed ONNX file to an engine and its record: `build_engine`."""

from __future__ import annotations

import importlib.metadata
import platform
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from engines.child import BuildFacts, Job, run_child
from engines.options import BuildOptions, ShapeProfile
from engines.record import EngineRecord, SauImplementation, record_path
from runtime.contract.card import ModelCard, TensorInfo
from runtime.contract.errors import GateError, InputError, MissingError, UsageError
from runtime.contract.files import atomic_path, sha256_of, write_text
from runtime.contract.onnx_safety import load_checked, message_bytes, read_card
from runtime.contract.progress import Progress, SilentProgress

SUFFIX = ".engine"
STATEMENT = (
    "Built ahead of time by TensorRT-RTX: the graph was parsed, checked and optimised and the plan written for the "
    "targets named here. Kernels are compiled when the plan first runs on a GPU; it was not executed when it was "
    "built, and nothing here says how fast or how exact it is."
)


def build_engine(
    model: str | Path,
    output: str | Path,
    options: BuildOptions | None = None,
    progress: Progress | None = None,
    force: bool = False,
) -> EngineRecord:
    """Build one engine for all targets, and write it with its record (``<engine>.json``) beside it.

    The network is strongly typed: precision is what the graph's types say. TensorRT-RTX needs no GPU for this.

    Args:
        model: ``.onnx`` file of `lggan export` or `lggan calibrate`.
        output: path of the engine, ending in ``.engine``; any other path is a folder, in which the engine gets the
            name `engine_name`.
        options: targets, shapes, log; see `BuildOptions`.
        progress: where to report.
        force: replace existing files.

    Returns:
        The record, as written.

    Raises:
        UsageError: shapes that no input fits, or the engine exists (without ``force``).
        InputError: not our model, or damaged.
        MissingError: onnx or TensorRT-RTX is not installed; disk full; no permission.
        BackendError: TensorRT-RTX refused the graph, failed, or crashed.
        GateError: the model says FP16 but TensorRT's network computes every convolution in FP32.
    """
    options, progress = options or BuildOptions(), progress or SilentProgress()
    model, plan = Path(model), engine_path(output, model, options)
    if options.profile is not None:
        options.profile.check(1)  # the model's stride is not known yet; nonsense is
    for path in (plan, record_path(plan)):
        if path.exists() and not force:
            raise UsageError(f"{path} exists already; pass --force to replace it")
    start = time.perf_counter()
    onnx = _import_onnx()
    message = load_checked(model, onnx)
    card = read_card(message, model)
    card.require_tensorrt_graph(model, "TensorRT")
    profile = options.profile or ShapeProfile.of_card(card)
    profile.check(card.stride, card.smallest_side)
    nodes = sum((node.domain, node.op_type) == ("lggan", "SemanticAwareUpsample") for node in message.graph.node)
    onnx_sha256 = sha256_of(model)
    log = plan.with_name(plan.name + ".log") if options.keep_log else None
    with atomic_path(plan, force=force) as temporary:
        job = Job(
            plan=temporary.resolve(),
            targets=tuple(target.value for target in options.targets),
            profile=_input_shapes(card, message, profile, model),
            log=None if log is None else log.resolve(),
        )
        facts = run_child(job, message_bytes(message, model), progress)
        if card.precision == "fp16" and not facts.convolutions.get("fp16"):
            raise GateError(
                f"{model} says fp16, but TensorRT-RTX's network has convolutions in {dict(facts.convolutions)}"
            )
        record = EngineRecord(
            backend=options.backend,
            backend_version=facts.version,
            engine=plan.name,
            engine_bytes=temporary.stat().st_size,
            engine_sha256=sha256_of(temporary),
            onnx=model.name,
            onnx_sha256=onnx_sha256,
            checkpoint_sha256=card.checkpoint_sha256,
            targets=options.targets,
            profile=profile,
            inputs=_tensors(facts.inputs),
            outputs=_tensors(facts.outputs),
            precision=card.precision,
            convolutions=dict(facts.convolutions),
            layers=dict(facts.layers),
            sau=_sau(nodes, facts),
            warnings=facts.warnings,
            host=_host(),
            tool=_tool(),
            created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            seconds={
                name: round(value, 3)
                for name, value in (*facts.seconds.items(), ("total", time.perf_counter() - start))
            },
            statement=STATEMENT,
            card=card,
        )
        # first the record, then the engine: between the two, an old engine has a record that refuses it
        write_text(record_path(plan), record.to_json(), force=force)
    return record


def engine_path(output: str | Path, model: str | Path, options: BuildOptions) -> Path:
    """``output`` if it ends in ``.engine``, else the file in the folder ``output`` that is named after the build."""
    output = Path(output)
    return output if output.suffix == SUFFIX and not output.is_dir() else output / engine_name(model, options)


def engine_name(model: str | Path, options: BuildOptions) -> str:
    """``<model>-rtx-sm86-sm89.engine``."""
    return f"{Path(model).stem}-rtx-{'-'.join(target.value for target in options.targets)}{SUFFIX}"


def _input_shapes(
    card: ModelCard, message: Any, profile: ShapeProfile, path: Path
) -> dict[str, tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]]:
    """The three shapes of every input, label maps and photos alike, from the card's symbolic ones."""
    names = [value.name for value in message.graph.input]
    if sorted(names) != sorted(tensor.name for tensor in card.inputs):
        raise InputError(
            f"{path} has the inputs {names}, its card names {[t.name for t in card.inputs]}; export it again"
        )
    shapes = {}
    for tensor in card.inputs:
        three = []
        for shape in (profile.minimum, profile.optimum, profile.maximum):
            sizes = {"N": shape.batch, "H": shape.height, "W": shape.width}
            unknown = [side for side in tensor.shape if isinstance(side, str) and side not in sizes]
            if unknown:
                raise InputError(
                    f"the input {tensor.name} of {path} has the unknown size {unknown[0]!r}; export it again"
                )
            three.append(tuple(sizes[side] if isinstance(side, str) else side for side in tensor.shape))
        shapes[tensor.name] = (three[0], three[1], three[2])
    return shapes


def _sau(nodes: int, facts: BuildFacts) -> SauImplementation:
    if nodes == 0:
        return SauImplementation.NONE
    return SauImplementation.PLUGIN if facts.plugins else SauImplementation.FUNCTION_BODY


def _tensors(raw: list[dict[str, Any]]) -> tuple[TensorInfo, ...]:
    return tuple(TensorInfo(tensor["name"], tensor["dtype"], tuple(tensor["shape"])) for tensor in raw)


def _host() -> dict[str, str]:
    return {"system": platform.platform(), "machine": platform.machine(), "python": platform.python_version()}


def _tool() -> str:
    try:
        return f"lggan-edge {importlib.metadata.version('lggan-edge')}"
    except importlib.metadata.PackageNotFoundError:
        return "lggan-edge (not installed)"


def _import_onnx() -> Any:
    try:
        import onnx
    except ImportError as error:
        raise MissingError("building an engine needs the package onnx; pip install '.[tensorrt-rtx]'") from error
    return onnx
