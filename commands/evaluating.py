"""The verb `evaluate`: how good a model's pictures are."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runtime.command_line import PATH, device_option, force_option, strips_option, threads_option, verb
from runtime.console import Column, Console, plain

if TYPE_CHECKING:
    from lggan.data.scenes import SceneList
    from lggan.evaluation.evaluate import Evaluation
    from lggan.evaluation.plan import Evaluators
    from lggan.evaluation.segmentation_metric import SegmentationReport
    from runtime.contract.card import ModelCard

LAYOUTS = ["folder", "cityscapes", "ade20k", "coco_stuff", "facades", "stems", "strips"]


@verb(
    extra="train",
    example="lggan evaluate camvid.onnx --data data/camvid --judge espnet_camvid.pth --min-miou 0.5\n"
    "lggan evaluate dayton.safetensors --data data/dayton --preset dayton_a2g --features inception.onnx "
    "--gate 'fid<60'",
)
@click.argument("model", type=PATH)
@click.option("--data", type=PATH, required=True, metavar="DIR", help="Root of the data set.")
@click.option("--split", default="val", show_default=True, help="train or val (the folder test of strips).")
@click.option(
    "--preset", "preset_name", metavar="NAME", help="Where its layout comes from.  [default: the model's, if known]"
)
@click.option("--layout", type=click.Choice(LAYOUTS), help="The data set's layout, instead of a preset's.")
@strips_option
@click.option("--judge", type=PATH, metavar="FILE", help="Segmenter: ESPNet's .pth, or .onnx with .toml.  → mIoU")
@click.option("--features", type=PATH, metavar="FILE", help="Feature network, .onnx with .toml.  → FID, KID")
@click.option(
    "--classifier", type=PATH, metavar="FILE", help="Classifier, .onnx with .toml.  → top-1/5, inception score, KL"
)
@click.option("--ceiling/--no-ceiling", default=True, help="Also the real photos' figures.  [default: ceiling]")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only the first N scenes.")
@click.option("--batch", type=click.IntRange(min=1), metavar="N", default=1, show_default=True, help="Scenes at once.")
@click.option("--pictures", type=PATH, metavar="DIR", help="Keep the generated pictures, and a sheet of examples.")
@click.option("--min-miou", type=click.FloatRange(0, 1), metavar="0..1", help="Exit code 1 below it.")
@click.option("--gate", "gate_texts", multiple=True, metavar="GATE", help="NAME<VALUE or NAME>VALUE, else exit code 1.")
@force_option
@device_option
@threads_option
def evaluate(
    console: Console,
    model: Path,
    data: Path,
    split: str,
    preset_name: str | None,
    layout: str | None,
    strips: str | None,
    judge: Path | None,
    features: Path | None,
    classifier: Path | None,
    ceiling: bool,
    limit: int | None,
    batch: int,
    pictures: Path | None,
    min_miou: float | None,
    gate_texts: tuple[str, ...],
    force: bool,
    device: str,
    threads: int | None,
) -> None:
    """Tell how good a model's pictures are. Which figures there are follows from its task and the files given."""
    from commands.models import open_model
    from lggan.evaluation.evaluate import EvaluationOptions
    from lggan.evaluation.evaluate import evaluate as run_evaluation
    from lggan.evaluation.gate import broken_gates, check_gates, parse_gate
    from lggan.evaluation.plan import plan_metrics
    from runtime.contract.errors import GateError, UsageError

    gates = [parse_gate(text) for text in gate_texts]
    if min_miou is not None and judge is None:
        raise UsageError("--min-miou needs a segmenter; give --judge")
    generator = open_model(model, device, threads)
    scenes = _open_scenes(generator.card, data, split, preset_name, layout, strips)
    evaluators = _open_evaluators(judge, features, classifier, device, threads)
    plan = plan_metrics(generator.card, evaluators, photos=ceiling)
    check_gates(gates, plan.names)
    options = EvaluationOptions(limit=limit, batch=batch, pictures=pictures, force=force)
    result = run_evaluation(generator, scenes, plan, options, console)
    generator.close()

    broken = [str(gate) for gate in broken_gates(gates, result.metrics)]
    if min_miou is not None and result.value("miou") < min_miou:
        broken.append(f"miou>={min_miou:g}")
    content = {
        "model": model,
        "backend": generator.backend,
        "evaluators": _described(evaluators),
        "pictures": pictures,
        "gates": {"asked": [str(gate) for gate in gates], "broken": broken},
        "passed": not broken,
    }
    console.document("lggan-evaluate", plain(result.to_dict() | content))
    _show(console, result)
    scene_word = "scene" if result.images == 1 else "scenes"
    console.line(f"{result.images} {scene_word}, {result.height}x{result.width}, {generator.backend}")
    if pictures is not None:
        console.line(f"pictures {pictures}")
    if broken:
        found = {entry.name: entry.value for entry in result.metrics}
        names = (gate.replace(">", "<").partition("<")[0] for gate in broken)
        told = ", ".join(
            f"{gate} ({_number(found[name]) if name in found else 'missing'})"
            for gate, name in zip(broken, names, strict=True)
        )
        raise GateError(f"gates that do not hold: {told}")


def _open_scenes(
    card: ModelCard, data: Path, split: str, preset_name: str | None, layout: str | None, strips: str | None
) -> SceneList:
    """The data set, laid out as the options, the preset, or the preset of the card's name say, in this order."""
    from lggan.data.layout import Layout
    from lggan.data.scenes import scenes
    from lggan.preset import load_preset, preset_names
    from lggan.task import Task
    from runtime.contract.errors import UsageError
    from runtime.contract.strips import Direction

    if preset_name is None and layout is None and card.name in preset_names():
        preset_name = card.name
    preset = None if preset_name is None else load_preset(preset_name)
    if preset is not None and preset.task.value != card.task:
        raise UsageError(f"preset {preset.name} is for {preset.task.value}, the model for {card.task}")
    cross_view = card.task == Task.CROSS_VIEW.value
    if layout is not None:
        lying = Layout(layout)
    elif preset is not None:
        lying = preset.layout
    else:
        lying = Layout.STRIPS if cross_view else Layout.FOLDER
    if cross_view != (lying is Layout.STRIPS):
        raise UsageError(f"layout {lying.value} does not suit a model for {card.task}; strips are for cross-view")
    direction = None
    if strips is not None:
        direction = Direction(strips)
    elif lying is Layout.STRIPS:
        if preset is None or preset.strips is None:
            raise UsageError("which view is to be made? pass --strips a2g or --strips g2a, or the model's --preset")
        direction = preset.strips.direction
    return scenes(
        data, split, lying, card.classes, card.void, direction, preset.folders if preset is not None else None
    )


def _open_evaluators(
    judge: Path | None, features: Path | None, classifier: Path | None, device: str, threads: int | None
) -> Evaluators:
    from lggan.evaluation.classification import open_classifier
    from lggan.evaluation.espnet import load_espnet
    from lggan.evaluation.features import open_features
    from lggan.evaluation.perceptual_distance import open_perceptual_distance
    from lggan.evaluation.plan import Evaluators
    from lggan.evaluation.segmenter import Segmenter, open_segmenter

    segmenter: Segmenter | None = None
    if judge is not None:
        onnx = judge.suffix.lower() == ".onnx"
        segmenter = open_segmenter(judge, threads, device) if onnx else load_espnet(judge)
    return Evaluators(
        judge=segmenter,
        features=None if features is None else open_features(features, threads, device),
        classifier=None if classifier is None else open_classifier(classifier, threads, device),
        perceptual=open_perceptual_distance(device),
    )


def _described(evaluators: Evaluators) -> dict[str, Any]:
    """The networks that looked at the pictures: without them a figure says nothing."""
    roles = {"judge": evaluators.judge, "features": evaluators.features, "classifier": evaluators.classifier}
    return {
        role: {"file": network.path, "sha256": network.sha256, "backend": network.backend}
        for role, network in roles.items()
        if network is not None
    }


def _show(console: Console, result: Evaluation) -> None:
    if result.segmentation is not None:
        _show_classes(console, result.segmentation)
    arrows = {"higher": "↑", "lower": "↓"}
    columns = [Column("figure"), Column("value", right=True), Column("±", right=True), Column("unit"), Column("better"),
               Column("pictures", right=True)]  # fmt: skip
    rows = [
        [entry.name, _number(entry.value), "" if entry.spread is None else _number(entry.spread), entry.unit,
         arrows[entry.better.value], entry.count]
        for entry in result.metrics
    ]  # fmt: skip
    if rows:
        console.table(columns, rows)
    for entry in result.metrics:
        if entry.note:
            console.line(f"{entry.name}: {entry.note}")
    for missing in result.left_out:
        console.line(f"not computed: {missing.name}: {missing.reason}")


def _show_classes(console: Console, report: SegmentationReport) -> None:
    columns = [Column("class"), Column("IoU generated", right=True)]
    rows = [[name, _share(iou)] for name, iou in zip(report.class_names, report.generated.iou, strict=True)]
    if report.photos is not None:
        columns.append(Column("IoU real photos", right=True))
        rows = [[*row, _share(iou)] for row, iou in zip(rows, report.photos.iou, strict=True)]
    console.table(columns, rows)


def _share(value: float | None) -> str:
    return "absent" if value is None else f"{value:.3f}"


def _number(value: float) -> str:
    if not math.isfinite(value):
        return "infinite"
    digits = 4 if abs(value) < 10 else 2
    return f"{value:.{digits}f}"
