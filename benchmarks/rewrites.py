# ruff: noqa: T201 - a script by hand, its output is the table
"""What each exact rewrite of the export saves: predicted in multiplications, measured in milliseconds.

The nodes that a rewrite concerns are timed in three graphs of one generator: a plain export of the network as published
(`published_form.plain_export`), that of ``--target tensorrt`` and that of ``--target cpu``, each in ONNX Runtime with
all of its optimisations. Run by hand, on a quiet machine; the first run exports, which takes some minutes:

    python benchmarks/rewrites.py --labels 'data/cityscapes/gtFine/**/*_labelIds.png' \
        --instances 'data/cityscapes/gtFine/**/*_instanceIds.png'

Weights are drawn at full width (`weights.py`). Without label maps of your own one is drawn, too. Each graph runs in a
process of its own, one after the other; a row that nothing is done to shows whether they had the machine alike.

A row's milliseconds are kernel times in ONNX Runtime's profile, of each node its least in all runs, summed over the
nodes of that part of the network (`rewrite_rows.py`). The whole picture's are wall-clock time of the fastest run: more
than the sum, by what passes between the nodes, by what profiling costs (`export_speed.py` measures without), and on a
busy machine by the disturbances, which no run is without. Multiplications are predicted: those of the published
formulation, and what the ledger (`export.savings`) says becomes of them.
"""

from __future__ import annotations

import argparse
import glob
import json
import math
import shlex
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from measuring import machine
from rewrite_rows import PLAIN, Row

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

if TYPE_CHECKING:
    from lggan.preset import Preset

SCHEMA = 1
FORMS = {PLAIN: "plain export", "tensorrt": "`tensorrt`", "cpu": "`cpu`"}


@dataclass(frozen=True)
class RowResult:
    """One part of the network. ``macs`` by form, predicted, PLAIN being the published formulation; ``seconds`` by form,
    measured. ``rewrites`` are those that concern the part in one of the targets.
    """

    title: str
    rewrites: tuple[str, ...]
    macs: dict[str, int]
    seconds: dict[str, float]


@dataclass(frozen=True)
class Result:
    """The rows, and by form the seconds of the fastest run and how far its picture is from that of the first form, as
    the largest difference of values in [-1, 1].
    """

    preset: str
    sau: str
    size: tuple[int, int]
    label_map: str
    rows: tuple[RowResult, ...]
    seconds: dict[str, float]
    difference: dict[str, float]


@dataclass
class FormTimes:
    """The least seconds of one form so far: of a whole run, and by name and row of each node."""

    whole: float = math.inf
    nodes: dict[tuple[str, str], float] = field(default_factory=dict)

    def add(self, answer: Mapping[str, Any]) -> None:
        """Take an answer of `node_times.py` in."""
        self.whole = min(self.whole, answer["seconds"])
        for name, (row, seconds) in answer["nodes"].items():
            self.nodes[name, row] = min(self.nodes.get((name, row), math.inf), seconds)

    def of_row(self, row: Row) -> float:
        return sum(seconds for (_, own), seconds in self.nodes.items() if own == row.name)


def main() -> None:
    arguments = _arguments()
    preset = _preset(arguments)
    arguments.work.mkdir(parents=True, exist_ok=True)
    if arguments.make:
        from labelled_graphs import write_labelled_graph

        write_labelled_graph(arguments.make, preset, _file(arguments.make, arguments))
        return
    result = _measure(preset, arguments)
    if arguments.json:
        document = {"schema": SCHEMA, "kind": "rewrites", "machine": _described(arguments)}
        print(json.dumps(document | asdict(result)))
    else:
        print(_table(result, arguments.forms), end="\n\n")
        print(_described(arguments))


def _arguments() -> argparse.Namespace:
    from lggan.config import SauPlacement

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("runs/rewrites"), help="folder of the graphs, kept there")
    parser.add_argument("--preset", default="cityscapes", help="of a semantic generator")
    parser.add_argument(
        "--sau",
        choices=[placement.value for placement in SauPlacement],
        default=SauPlacement.NONE.value,
        help="where semantic-aware upsampling stands; none, as published in 2020, has transposed convolutions",
    )
    parser.add_argument("--labels", metavar="GLOB", help="label maps, of which the middle one is taken")
    parser.add_argument("--instances", metavar="GLOB", help="their instance maps, in the same order")
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=list(FORMS))
    parser.add_argument("--rounds", type=int, default=1, help="in which each form has a turn")
    parser.add_argument("--runs", type=int, default=3, help="of each form and round that count")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--launcher", default="", metavar="COMMAND", help="put before each measurement, e.g. taskset …")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--make", choices=FORMS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if min(arguments.rounds, arguments.runs) < 1:
        parser.error("--rounds and --runs: at least one must count")
    if arguments.instances and not arguments.labels:
        parser.error("--instances belong to --labels")
    return arguments


def _preset(arguments: argparse.Namespace) -> Preset:
    from lggan.config import GeneratorConfig, SauPlacement
    from lggan.preset import load_preset

    preset = load_preset(arguments.preset)
    config = preset.generator
    if not isinstance(config, GeneratorConfig):
        raise SystemExit(f"{preset.name} is for a cross-view generator; this benchmark is about the semantic one")
    sau = replace(config.sau, placement=SauPlacement(arguments.sau))
    return replace(preset, generator=replace(config, sau=sau))


def _file(form: str, arguments: argparse.Namespace) -> Path:
    folder: Path = arguments.work
    return folder / f"{Path(arguments.preset).stem}_{arguments.sau}_{form}.onnx"


def _measure(preset: Preset, arguments: argparse.Namespace) -> Result:
    from predicted_macs import concerned, predicted_macs

    from lggan.config import GeneratorConfig

    config = preset.generator
    assert isinstance(config, GeneratorConfig)  # `_preset` takes no others
    for form in arguments.forms:
        if not _file(form, arguments).exists():
            print(f"making {_file(form, arguments)}", file=sys.stderr, flush=True)
            again = [sys.executable, __file__, "--make", form, "--work", str(arguments.work)]
            again += ["--preset", arguments.preset, "--sau", arguments.sau]
            if subprocess.run(again).returncode:
                raise SystemExit(f"{_file(form, arguments)} was not made")
    feeds, name = _inputs(preset, arguments)
    inputs = arguments.work / "inputs.npz"
    np.savez(inputs, **feeds)
    times = {form: FormTimes() for form in arguments.forms}
    pictures = {}
    for _ in range(arguments.rounds):
        for form in arguments.forms:
            output = arguments.work / f"{form}.npy"
            times[form].add(_timed(_file(form, arguments), inputs, output, arguments))
            pictures[form] = np.load(output)
    first = pictures[arguments.forms[0]]
    label, instance = feeds["label"][0, 0], feeds["instance"][0, 0] if "instance" in feeds else None
    macs = predicted_macs(config, label, instance, arguments.forms)
    return Result(
        preset=preset.name,
        sau=arguments.sau,
        size=(config.height, config.width),
        label_map=name,
        rows=tuple(
            RowResult(
                title=row.value,
                rewrites=tuple(rewrite.value for rewrite in concerned(row, config)),
                macs={form: macs[form][row] for form in macs},
                seconds={form: entry.of_row(row) for form, entry in times.items()},
            )
            for row in Row
        ),
        seconds={form: entry.whole for form, entry in times.items()},
        difference={form: float(np.abs(picture - first).max()) for form, picture in pictures.items()},
    )


def _timed(graph: Path, inputs: Path, output: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """The answer of `node_times.py`."""
    worker = str(Path(__file__).with_name("node_times.py"))
    given = (graph, inputs, output, arguments.threads, arguments.runs)
    command = [*shlex.split(arguments.launcher), sys.executable, worker, *map(str, given)]
    answer = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if answer.returncode:
        raise SystemExit(f"{shlex.join(command)} ended with {answer.returncode}")
    found: dict[str, Any] = json.loads(answer.stdout)
    return found


def _inputs(preset: Preset, arguments: argparse.Namespace) -> tuple[dict[str, np.ndarray], str]:
    """What all forms read, and what the label map is called."""
    from export.layouts import built_in
    from runtime.input_files import InputOptions
    from runtime.label_maps import load_label_maps

    card = preset.card()
    if arguments.labels is None:
        check = built_in(card)[0]
        return check.batch.feeds(), f"drawn, {check.name}"
    labels, instances = _files(arguments.labels), None
    middle = len(labels) // 2
    if card.instances:
        files = _files(arguments.instances or "")
        if len(files) != len(labels):
            raise SystemExit(f"{len(labels)} label maps, but {len(files)} instance maps; name them with --instances")
        instances = files[middle]
    options = InputOptions(fit=(card.height, card.width), instances=instances)
    (found,) = load_label_maps([labels[middle]], card, options)
    feeds: dict[str, np.ndarray] = {"label": found.label[None, None]}  # [1, 1, H, W]
    if found.instance is not None:
        feeds["instance"] = found.instance[None, None]
    return feeds, found.name


def _files(pattern: str) -> list[Path]:
    files = sorted(map(Path, glob.glob(pattern, recursive=True)))
    if not files:
        raise SystemExit(f"no file matches {pattern!r}")
    return files


def _table(result: Result, forms: list[str]) -> str:
    counted = [PLAIN, *(form for form in forms if form != PLAIN)]
    height, width = result.size
    titles = ["part", "rewrites", "GMAC published", *(f"GMAC {FORMS[form]}" for form in counted[1:])]
    titles += [f"ms {FORMS[form]}" for form in forms]
    lines = [
        f"{result.preset}, {height}×{width}, semantic-aware upsampling: {result.sau}; label map: {result.label_map}",
        "",
        _line(titles),
        "|---|---|" + "---:|" * (len(titles) - 2),
    ]
    for row in result.rows:
        macs = [_giga(row.macs[form]) for form in counted]
        lines.append(_line([row.title, ", ".join(row.rewrites), *macs, *(_milli(row.seconds[form]) for form in forms)]))
    sums = (sum(row.seconds[form] for row in result.rows) for form in forms)
    lines.append(_line(["sum of the rows", "", *("" for _ in counted), *map(_milli, sums)]))
    totals = [_giga(sum(row.macs[form] for row in result.rows)) for form in counted]
    lines.append(_line(["whole picture", "", *totals, *(_milli(result.seconds[form]) for form in forms)]))
    differences = [f"{result.difference[form]:.1e} for {FORMS[form]}" for form in forms[1:]]
    if differences:
        lines += ["", f"Largest difference to the picture of {FORMS[forms[0]]}: {', '.join(differences)}."]
    return "\n".join(lines)


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _milli(seconds: float) -> str:
    return f"{1e3 * seconds:.1f}" if seconds < 0.1 else f"{1e3 * seconds:.0f}"


def _giga(macs: int) -> str:
    return f"{macs / 1e9:.3g}" if macs else ""


def _described(arguments: argparse.Namespace) -> str:
    import onnxruntime
    import torch

    runs = arguments.rounds * arguments.runs
    versions = f"PyTorch {torch.__version__}, ONNX Runtime {onnxruntime.__version__}"
    return f"{machine()}; {arguments.threads} threads, float32, {versions}; the least of {runs} runs."


if __name__ == "__main__":
    main()
