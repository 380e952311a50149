# ruff: noqa: T201 - a script by hand, its output is the table
"""What the exported graph saves: the published network in PyTorch, a plain ONNX export of it, and our two targets.

Run by hand, on a quiet machine; the full run takes about half an hour, most of it for exports, which are kept:

    python benchmarks/export_speed.py --work runs/export_speed \
        --labels cityscapes='data/cityscapes/gtFine/**/*_labelIds.png' \
                 instances='data/cityscapes/gtFine/**/*_instanceIds.png' \
                 ade20k='data/ade20k/annotations/**/*.png' camvid='data/camvid/val/labels/*.png'

Cityscapes and ADE20K have drawn weights at full width (`weights.py`), CamVid the shipped ones. Without label maps of
your own, drawn ones are taken, for CamVid those of `examples/`.

Each form has a process of its own. After a first run that does not count, the processes take turns. Times are
wall-clock seconds for one picture. Memory is the resident set of the process: its peak from start to end, before the
model was opened, and the peak while pictures were made (on Linux). The difference is the largest of any colour value to
PyTorch's in [-1, 1].
"""

from __future__ import annotations

import argparse
import glob
import json
import statistics
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from measuring import machine
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

SCHEMA = 1
FORMS = {
    "pytorch": "published, PyTorch eager",
    "plain": "plain export, ONNX Runtime",
    "tensorrt": "`--target tensorrt`, ONNX Runtime",
    "cpu": "`--target cpu`, ONNX Runtime",
}
CASES = ("cityscapes", "ade20k", "camvid")
SHIPPED = {"camvid": ROOT / "examples" / "camvid.safetensors"}


@dataclass(frozen=True)
class FormResult:
    """One form of one model. Seconds of each counted run; MiB of resident memory; pictures lie in [-1, 1].

    ``before`` the model was opened, ``loaded`` afterwards, ``peak`` of all, ``running`` the peak after opening.
    """

    form: str
    seconds: tuple[float, ...]
    before: float
    loaded: float
    peak: float
    running: float
    difference: float

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


@dataclass(frozen=True)
class CaseResult:
    """One model: its pictures' size, mean and deviation (of the first form's), what the label maps were, the forms."""

    case: str
    size: tuple[int, int]
    label_maps: tuple[str, ...]
    mean: float
    deviation: float
    forms: tuple[FormResult, ...]


class Worker:
    """One `export_worker.py`: opens its model and runs every input once when it is made."""

    def __init__(self, form: str, file: Path, inputs: Path, outputs: Path, threads: int) -> None:
        script = Path(__file__).with_name("export_worker.py")
        command = [sys.executable, str(script), form, str(file), str(inputs), str(outputs), str(threads)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._answer()

    def run(self, index: int) -> float:
        """Seconds of one picture."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{index}\n")
        self._process.stdin.flush()
        return self._answer()["seconds"]

    def close(self) -> dict[str, float]:
        """The memory figures."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        answer = self._answer()
        self._process.wait()
        return answer

    def _answer(self) -> dict[str, float]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{' '.join(map(str, self._process.args))} ended with {self._process.wait()}")
        return json.loads(line)


def main() -> None:
    arguments = _arguments()
    if arguments.make:
        _make(*arguments.make)
        return
    arguments.work.mkdir(parents=True, exist_ok=True)
    results = []
    for case in arguments.cases:
        result = _measure(case, arguments)
        results.append(result)
        if not arguments.json:
            print(_table(result), flush=True)
    if arguments.json:
        cases = [asdict(result) for result in results]
        print(json.dumps({"schema": SCHEMA, "kind": "export-speed", "machine": _described(arguments), "cases": cases}))
    else:
        print(_described(arguments))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("runs/export_speed"), help="folder for exported files")
    parser.add_argument("--cases", nargs="+", default=list(CASES), metavar="PRESET")
    parser.add_argument("--forms", nargs="+", choices=list(FORMS), default=list(FORMS))
    parser.add_argument("--labels", nargs="*", default=[], metavar="NAME=GLOB", help="a preset's label maps; instances")
    parser.add_argument("--pictures", type=int, default=1, help="label maps of each preset")
    parser.add_argument("--repeats", type=int, default=3, help="counted runs of each picture")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--make", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    for entry in arguments.labels:
        if entry.partition("=")[0] not in (*arguments.cases, "instances"):
            parser.error(f"--labels {entry}: the name must be instances or one of {', '.join(arguments.cases)}")
    return arguments


def _measure(case: str, arguments: argparse.Namespace) -> CaseResult:
    checkpoint = SHIPPED.get(case, arguments.work / f"{case}.safetensors")
    files = {form: arguments.work / f"{case}_{form}.onnx" for form in arguments.forms} | {"pytorch": checkpoint}
    for form in ("pytorch", *arguments.forms):  # the checkpoint first
        if not files[form].exists():
            print(f"making {files[form]}", file=sys.stderr, flush=True)
            made = subprocess.run([sys.executable, __file__, "--make", form, case, str(files[form])])
            if made.returncode:
                raise SystemExit(f"{files[form]} was not made")
    inputs = arguments.work / f"{case}_inputs.npz"
    names, size = _write_inputs(case, checkpoint, inputs, arguments)
    outputs = {form: arguments.work / f"{case}_{form}.npy" for form in arguments.forms}
    workers = {form: Worker(form, files[form], inputs, outputs[form], arguments.threads) for form in arguments.forms}
    seconds: dict[str, list[float]] = {form: [] for form in workers}
    for _ in range(arguments.repeats):
        for index in range(len(names)):
            for form, worker in workers.items():
                seconds[form].append(worker.run(index))
    pictures = {form: np.load(path) for form, path in outputs.items()}
    first = pictures[arguments.forms[0]]
    forms = tuple(
        FormResult(form, tuple(seconds[form]), difference=float(np.abs(pictures[form] - first).max()), **worker.close())
        for form, worker in workers.items()
    )
    return CaseResult(case, size, names, float(first.mean()), float(first.std()), forms)


def _make(form: str, case: str, path: str) -> None:
    """Write one file, in a process of its own: the checkpoint, or a graph of the checkpoint beside it."""
    from published_form import plain_export
    from weights import write_checkpoint

    from export.onnx_export import export_onnx
    from export.options import ExportOptions, OutputKind
    from export.target import Target
    from lggan.preset import load_preset

    output = Path(path)
    checkpoint = SHIPPED.get(case, output.parent / f"{case}.safetensors")
    if form == "pytorch":
        write_checkpoint(load_preset(case), checkpoint)
    elif form == "plain":
        plain_export(checkpoint, output)
    else:
        export_onnx(checkpoint, output, ExportOptions(output=OutputKind.FLOAT, target=Target(form)))


def _write_inputs(
    case: str, checkpoint: Path, path: Path, arguments: argparse.Namespace
) -> tuple[tuple[str, ...], tuple[int, int]]:
    """Store the arrays that all forms read; returns the label maps' names, and their height and width."""
    from export.layouts import built_in
    from lggan.checkpoint import load_generator

    _, card = load_generator(checkpoint)
    patterns = dict(entry.partition("=")[::2] for entry in arguments.labels)
    if case == "camvid":
        patterns.setdefault("camvid", str(ROOT / "examples" / "labels" / "*.png"))
    arrays: dict[str, np.ndarray] = {}
    if case not in patterns:
        drawn = built_in(card)[0]
        arrays["0/label"] = drawn.label
        if drawn.instance is not None:
            arrays["0/instance"] = drawn.instance
        names: tuple[str, ...] = ("drawn",)
    else:
        labels = _chosen(patterns[case], arguments.pictures)
        instances = labels
        if card.instances and "instances" in patterns:
            instances = _chosen(patterns["instances"], arguments.pictures)
        for index, (label, instance) in enumerate(zip(labels, instances, strict=True)):
            size = (card.width, card.height)
            arrays[f"{index}/label"] = _read(label, size).clip(0, len(card.classes) - 1).astype(np.uint8)
            if card.instances:
                arrays[f"{index}/instance"] = _read(instance, size).astype(np.int32)
        names = tuple(file.name for file in labels)
    np.savez(path, **arrays)
    return names, (card.height, card.width)


def _chosen(pattern: str, count: int) -> list[Path]:
    files = sorted(glob.glob(pattern, recursive=True))
    if not files:
        raise SystemExit(f"no file matches {pattern!r}")
    places = (np.arange(count) + 0.5) * len(files) / count
    return [Path(files[int(place)]) for place in places]


def _read(path: Path, size: tuple[int, int]) -> np.ndarray:
    """Whole numbers [1, 1, H, W], by nearest neighbour."""
    with Image.open(path) as image:
        numbers = Image.fromarray(np.asarray(image).astype(np.int32))
        return np.asarray(numbers.resize(size, Image.Resampling.NEAREST))[None, None]


def _table(result: CaseResult) -> str:
    by_form = {entry.form: entry for entry in result.forms}
    height, width = result.size
    lines = [
        f"{result.case}, {height}×{width}, label maps: {', '.join(result.label_maps)}; "
        f"pictures of mean {result.mean:.2f} and deviation {result.deviation:.2f}",
        "",
        "| form | s, median | s, least | × PyTorch | × plain | peak MiB | before MiB | running MiB | difference |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for entry in result.forms:
        ratios = [
            f"{by_form[other].median / entry.median:.2f}" if other in by_form else "" for other in ("pytorch", "plain")
        ]
        memory = f"{entry.peak:.0f} | {entry.before:.0f} | {entry.running:.0f}"
        times = f"{entry.median:.3f} | {min(entry.seconds):.3f}"
        lines.append(f"| {FORMS[entry.form]} | {times} | {' | '.join(ratios)} | {memory} | {entry.difference:.1e} |")
    return "\n".join([*lines, ""])


def _described(arguments: argparse.Namespace) -> str:
    import onnxruntime
    import torch

    versions = f"PyTorch {torch.__version__}, ONNX Runtime {onnxruntime.__version__}"
    return f"{machine()}; {arguments.threads} thread{'s' * (arguments.threads != 1)}, float32, {versions}."


if __name__ == "__main__":
    main()
