"""The whole way with the model that ships: export for both targets, FP16, engine, pictures, report."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

from calibration.fp16 import Fp16Report, convert_fp16
from commands.profiling import ProfileRequest, profile_models
from engines.build import build_engine
from engines.record import EngineRecord
from export.onnx_export import ExportResult, export_onnx
from export.options import ExportOptions
from export.target import Target
from runtime.contract.errors import MissingError
from runtime.contract.inputs import find_inputs
from runtime.contract.progress import Progress
from runtime.inference import InferOptions, InferReport, infer
from runtime.profiler.options import ProfileOptions
from runtime.profiler.report import ProfileReport
from runtime.session import Session

CHECKPOINT = "camvid.safetensors"
LABELS = "labels"


@dataclass(frozen=True)
class DemoResult:
    """What was made, in the order in which it was made; ``engine`` is None where TensorRT-RTX is not installed."""

    exported: ExportResult
    exported_for_cpu: ExportResult
    fp16: Fp16Report
    engine: Path | None
    engine_record: EngineRecord | None
    pictures: Path
    inference: InferReport
    profile: ProfileReport
    page: Path


def run_demo(examples: Path, out: Path, progress: Progress, *, force: bool = False) -> DemoResult:
    """Run it.

    Args:
        examples: folder with ``camvid.safetensors`` and ``labels/``.
        out: folder for everything that is made.
        progress: where to tell.
        force: replace what an earlier run made.

    Raises:
        MissingError: the examples are not there.
        LgganError: a step failed; see the rooms.
    """
    checkpoint = examples / CHECKPOINT
    if not checkpoint.is_file():
        raise MissingError(f"{checkpoint} is not there; run the demo in a clone of the project, or name --examples")
    fp32, cpu, fp16 = (out / f"camvid{kind}.onnx" for kind in ("", ".cpu", ".fp16"))
    exported = export_onnx(checkpoint, fp32, progress=progress, force=force)
    exported_for_cpu = export_onnx(checkpoint, cpu, ExportOptions(target=Target.CPU), progress, force=force)
    converted = convert_fp16(fp32, fp16, progress=progress, force=force)
    engine = record = None
    if importlib.util.find_spec("tensorrt_rtx") is not None:
        engine = out / "camvid.fp16.engine"
        record = build_engine(fp16, engine, progress=progress, force=force)
    pictures = out / "pictures"
    with Session.open(cpu) as session:
        labels = find_inputs([examples / LABELS])
        trained = (session.card.height, session.card.width)
        inference = infer(session, labels, pictures, InferOptions(fit=trained, force=force), progress)
    # few and short queries: the table of a demo, with a p90 but without the hundreds of samples that a p99 needs
    options = ProfileOptions(iterations=64, seconds=3.0, deadline_seconds=120.0, percentiles=(50.0, 90.0))
    models = (checkpoint, cpu, fp32, fp16)
    request = ProfileRequest(models, (examples / LABELS,), out / "report", fit="model", force=force)
    report, page = profile_models(request, options, progress)
    return DemoResult(exported, exported_for_cpu, converted, engine, record, pictures, inference, report, page)
