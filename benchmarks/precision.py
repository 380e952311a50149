# ruff: noqa: T201 - a script by hand, its output is the table
"""What FP16 and INT8 cost in accuracy and gain in time: every typed form of a model against its FP32 graph.

Run by hand, on a quiet machine; a full-width network takes about an hour, most of it for the errors of single layers,
which are kept in the work folder and not measured twice:

    python benchmarks/precision.py --work runs/precision --labels camvid='data/camvid/val/labels/*.png' \
        cityscapes='data/cityscapes/gtFine/**/*_labelIds.png' instances=data/cityscapes/gtFine

CamVid has the shipped weights, other presets drawn ones at full width (`weights.py`). Ranges come from all label maps,
and all are compared. PSNR and SSIM are those of the pictures' bytes against the FP32 graph's, FP16 rounding emulated,
at worst and overall. Shares are multiply-accumulates of the convolutions. Seconds are wall-clock time of one picture in
ONNX Runtime on the CPU, the median of runs in which FP32 and typed graph take turns; only forms made for ONNX Runtime
are timed, since in graphs for TensorRT it computes FP16 and INT8 in FP32.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from measuring import machine

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

SCHEMA = 1
SHIPPED = {"camvid": ROOT / "examples" / "camvid.safetensors"}
FORMS = {
    "fp16": "FP16",
    "int8-tensorrt": "INT8, all convolutions, FP16 around",
    "plain-tensorrt": "the same without equalisation",
    "mixed-tensorrt": "mixed, FP16 around",
    "int8-onnxruntime": "INT8, all convolutions, for ONNX Runtime",
    "mixed-onnxruntime": "mixed, for ONNX Runtime",
}


@dataclass(frozen=True)
class FormResult:
    """One typed form. dB and SSIM at worst and overall, share of multiplications in INT8 (0..1), bytes; seconds of one
    picture of the FP32 graph and of this one, None where they were not timed.
    """

    form: str
    worst_psnr_db: float
    psnr_db: float
    worst_ssim: float
    ssim: float
    int8_share: float
    convolutions: str
    size: int
    seconds: tuple[float, float] | None


def main() -> None:
    arguments = _arguments()
    arguments.work.mkdir(parents=True, exist_ok=True)
    cases = {}
    for case in arguments.cases:
        results = _measure(case, arguments)
        cases[case] = [asdict(result) for result in results]
        if not arguments.json:
            print(_table(case, results), flush=True)
    if arguments.json:
        print(json.dumps({"schema": SCHEMA, "kind": "precision", "machine": _described(arguments), "cases": cases}))
    else:
        print(_described(arguments))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("runs/precision"), help="folder for models and ranges")
    parser.add_argument("--cases", nargs="+", default=["camvid", "cityscapes"], metavar="PRESET")
    parser.add_argument("--forms", nargs="+", choices=list(FORMS), default=list(FORMS))
    parser.add_argument("--labels", nargs="+", required=True, metavar="NAME=GLOB", help="of each preset; instances=DIR")
    parser.add_argument("--maps", type=int, default=20, help="label maps of each preset")
    parser.add_argument("--min-psnr", type=float, default=35.0)
    parser.add_argument("--min-ssim", type=float, default=0.97)
    parser.add_argument("--method", default="minmax")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def _measure(case: str, arguments: argparse.Namespace) -> list[FormResult]:
    from calibration.fp16 import Fp16Options, convert_fp16
    from calibration.int8 import Coverage, Int8Options, convert_int8
    from calibration.maps import CalibrationMaps
    from calibration.qdq import Placement
    from calibration.search import Goal
    from calibration.thresholds import RangeMethod
    from runtime.console import Console
    from runtime.input_files import InputOptions
    from runtime.label_maps import load_label_maps
    from runtime.session import Session

    model = _exported(case, arguments)
    given = dict(entry.partition("=")[::2] for entry in arguments.labels)
    with Session.open(model) as session:
        card = session.card
    fit = InputOptions((card.height, card.width), Path(given["instances"]) if card.instances else None)
    maps = CalibrationMaps(card, load_label_maps([given[case]], card, fit, limit=arguments.maps))
    console, results = Console(), []
    for form in arguments.forms:
        output = arguments.work / f"{case}.{form}.onnx"
        if form == "fp16":
            typed = convert_fp16(model, output, Fp16Options(min_psnr=0), console, force=True, given=maps)
            quality, share, convolutions = typed.quality, 0.0, ""
        else:
            precision, placement = form.split("-")
            options = Int8Options(
                coverage=Coverage.MIXED if precision == "mixed" else Coverage.ALL,
                equalise=precision != "plain",
                placement=Placement(placement),
                method=RangeMethod(arguments.method),
                goal=Goal(arguments.min_psnr, arguments.min_ssim) if precision == "mixed" else Goal(0.0, 0.0),
                ranges=arguments.work / f"{case}.{placement}{'.plain' * (precision == 'plain')}.ranges.json",
                journal=arguments.work / f"{case}.{placement}.{arguments.method}.jsonl",
            )
            report = convert_int8(model, output, maps, options, console, force=True)
            quality, share = report.quality, report.shares.shares.get("int8", 0.0)
            convolutions = f"{report.int8_convolutions} of {report.convolutions}"
        timed = _timed(model, output, maps, arguments) if form.endswith("onnxruntime") else None
        results.append(
            FormResult(
                form,
                quality.worst_psnr_db,
                quality.psnr_db,
                quality.worst_ssim,
                quality.mean_ssim,
                share,
                convolutions,
                output.stat().st_size,
                timed,
            )
        )
    return results


def _exported(case: str, arguments: argparse.Namespace) -> Path:
    from weights import write_checkpoint

    from export.onnx_export import export_onnx
    from lggan.preset import load_preset

    model: Path = arguments.work / f"{case}.onnx"
    checkpoint = SHIPPED.get(case, arguments.work / f"{case}.safetensors")
    if not checkpoint.exists():
        write_checkpoint(load_preset(case), checkpoint)
    if not model.exists():
        export_onnx(checkpoint, model)
    return model


def _timed(model: Path, typed: Path, maps: object, arguments: argparse.Namespace) -> tuple[float, float]:
    """Median seconds of one picture: FP32 graph, typed graph."""
    from calibration.maps import CalibrationMaps
    from runtime.backend import SessionOptions
    from runtime.session import Session

    assert isinstance(maps, CalibrationMaps)
    feed = next(maps.feeds())
    label = feed["label"]
    instance = feed.get("instance")
    options = SessionOptions(threads=arguments.threads)
    seconds: dict[Path, list[float]] = {model: [], typed: []}
    with Session.open(model, options) as one, Session.open(typed, options) as other:
        for round_number in range(arguments.repeats + 1):
            for path, session in ((model, one), (typed, other)):
                start = time.perf_counter()
                session.generate(label, instance)
                if round_number:  # the first run does not count
                    seconds[path].append(time.perf_counter() - start)
    return statistics.median(seconds[model]), statistics.median(seconds[typed])


def _table(case: str, results: list[FormResult]) -> str:
    lines = [
        case,
        "",
        "| form | PSNR, worst | PSNR | SSIM, worst | SSIM | MACs in INT8 | convolutions | MiB | s FP32 | s | × FP32 |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for one in results:
        times = " |  | " if one.seconds is None else f" {one.seconds[0]:.3f} | {one.seconds[1]:.3f} | "
        ratio = "" if one.seconds is None else f"{one.seconds[0] / one.seconds[1]:.2f}"
        lines.append(
            f"| {FORMS[one.form]} | {one.worst_psnr_db:.1f} | {one.psnr_db:.1f} | {one.worst_ssim:.4f} | "
            f"{one.ssim:.4f} | {one.int8_share:.1%} | {one.convolutions} | {one.size / 2**20:.1f} |{times}{ratio} |"
        )
    return "\n".join([*lines, ""])


def _described(arguments: argparse.Namespace) -> str:
    import onnxruntime

    version = onnxruntime.__version__
    return f"{machine()}; {arguments.threads} threads, ONNX Runtime {version}, at most {arguments.maps} label maps."


if __name__ == "__main__":
    main()
