"""The command line: one thin command per verb. Rooms are entered inside the commands, so that help is instant."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from runtime.command_line import (
    PATH,
    device_option,
    fit_option,
    force_option,
    instances_option,
    out_option,
    program,
    run,
    threads_option,
    verb,
)
from runtime.console import Column, Console, duration, size

if TYPE_CHECKING:
    from lggan.synthesis import TorchSynthesizer
    from runtime.contract.card import ModelCard
    from runtime.session import Session

CHECKPOINT_SUFFIX = ".safetensors"


@program
@click.version_option(package_name="lggan-edge", prog_name="lggan")
def lggan() -> None:
    """LGGAN with semantic-aware upsampling: photos from label maps, from training to the edge device.

    \b
    The way of a model:  train → export → calibrate → build → infer, profile
    Every verb has --help with an example, --json, -q and -v.
    """


@verb(lggan, example="lggan doctor")
def doctor(console: Console) -> None:
    """Tell what this machine has, and the command that brings what is missing."""
    from runtime.doctor import Status, examine

    readings = examine()
    console.document("lggan-doctor", {"readings": readings})
    area = ""
    for reading in readings:
        if reading.area != area:
            console.line(("\n" if area else "") + reading.area)
            area = reading.area
        console.entry(reading.status.value, reading.name, reading.value, reading.fix)
    amiss = sum(reading.status is Status.PROBLEM for reading in readings)
    console.line()
    console.line(f"{amiss} problems." if amiss else "No problems; what is missing is only needed by the verbs it names.")


@verb(
    lggan,
    extra="train",
    example="lggan train --preset camvid --data data/camvid --out runs/camvid\n"
    "lggan train --preset camvid --data data/camvid --out runs/camvid --resume",
)
@click.option("--preset", "preset_name", required=True, metavar="NAME", help="A preset's name or a .toml file.")
@click.option("--data", type=PATH, required=True, metavar="DIR", help="Root of the data set.")
@out_option("Folder of the run.")
@click.option("--resume", is_flag=True, help="Continue the run in that folder.")
@click.option("--steps", type=click.IntRange(min=1), help="Stop after so many steps in all.  [default: the preset's]")
@click.option("--size", "picture_size", metavar="HxW", help="Picture size, height first.  [default: the preset's]")
@click.option("--batch", type=click.IntRange(min=1), help="Examples per step.  [default: the preset's]")
@click.option("--seed", type=int, help="Of weights, order, crops and flips.  [default: the preset's]")
@click.option("--perceptual", type=click.Choice(["none", "squeezenet", "vgg19"]), help="Network of the perceptual loss.")
@click.option("--perceptual-weights", type=PATH, metavar="FILE", help="Its weights.")
@click.option("--precision", type=click.Choice(["fp32", "fp16", "bf16"]), default="fp32", show_default=True)
@click.option("--half-weights", is_flag=True, help="Store the final checkpoint's weights as float16.")
@click.option("--licence", default="", help="Licence of the weights, for the card; it follows from the data's.")
@click.option("--workers", type=click.IntRange(min=0), default=0, show_default=True, help="Processes that load data.")
@click.option("--save-every", type=click.IntRange(min=1), default=200, show_default=True, metavar="STEPS")
@click.option("--sample-every", type=click.IntRange(min=1), default=500, show_default=True, metavar="STEPS")
@device_option
def train(
    console: Console,
    preset_name: str,
    data: Path,
    out: Path,
    resume: bool,
    steps: int | None,
    picture_size: str | None,
    batch: int | None,
    seed: int | None,
    perceptual: str | None,
    perceptual_weights: Path | None,
    precision: str,
    half_weights: bool,
    licence: str,
    workers: int,
    save_every: int,
    sample_every: int,
    device: str,
) -> None:
    """Train a generator on photos and label maps.

    Ctrl-C ends the run after the current step with everything saved. Start several processes with torchrun.
    """
    import torch

    from lggan.preset import load_preset, override
    from lggan.training.precision import TrainPrecision
    from lggan.training.train import TrainOptions
    from lggan.training.train import train as run_training

    preset = override(load_preset(preset_name), size=picture_size, batch=batch, seed=seed, perceptual=perceptual)
    options = TrainOptions(
        data=data,
        output=out,
        resume=resume,
        steps=steps,
        device=device,
        precision=TrainPrecision(precision),
        perceptual_weights=perceptual_weights,
        save_every=save_every,
        sample_every=sample_every,
        workers=workers,
        weights_dtype=torch.float16 if half_weights else torch.float32,
        licence=licence,
    )
    result = run_training(preset, options, console)
    console.document("lggan-train", result)
    state = "interrupted" if result.interrupted else "trained"
    console.line(f"{state} at step {result.steps} ({result.epochs:.1f} epochs), {duration(result.seconds)}")
    console.line(f"checkpoint {result.checkpoint}")
    if result.interrupted:
        console.note(f"continue with: lggan train --preset {preset_name} --data {data} --out {out} --resume")


@verb(
    lggan,
    extra="train",
    example="lggan evaluate runs/camvid/generator.safetensors --data data/camvid --judge espnet_camvid.pth",
)
@click.argument("model", type=PATH)
@click.option("--data", type=PATH, required=True, metavar="DIR", help="Root of the data set.")
@click.option("--judge", type=PATH, required=True, metavar="FILE", help="Weights of ESPNet, the segmenter that judges.")
@click.option("--split", default="val", show_default=True)
@click.option("--layout", type=click.Choice(["folder", "cityscapes", "ade20k"]), default="folder", show_default=True)
@click.option("--ceiling/--no-ceiling", default=True, help="Also judge the real photos.  [default: ceiling]")
@click.option("--min-miou", type=click.FloatRange(0, 1), help="Exit code 1 below it.")
@device_option
@threads_option
def evaluate(
    console: Console,
    model: Path,
    data: Path,
    judge: Path,
    split: str,
    layout: str,
    ceiling: bool,
    min_miou: float | None,
    device: str,
    threads: int | None,
) -> None:
    """Judge a model's pictures: does a segmenter find in them what the label maps asked for?"""
    from lggan.data.pairs import Layout, find_pairs
    from lggan.evaluation.espnet import load_espnet
    from lggan.evaluation.evaluate import evaluate as run_evaluation
    from runtime.contract.errors import GateError

    pairs = find_pairs(data, split, Layout(layout))
    generator = _open(model, device, threads)
    card = generator.card
    result = run_evaluation(
        generator.generate,
        pairs,
        card.classes,
        card.void,
        load_espnet(judge),
        (card.height, card.width),
        instances=card.instances,
        ceiling=ceiling,
        progress=console,
    )
    passed = min_miou is None or result.generated.miou >= min_miou
    console.document("lggan-evaluate", {**result.to_dict(), "backend": generator.backend, "passed": passed})
    scores = [result.generated, *([result.ceiling] if result.ceiling else [])]
    columns = [Column("class"), Column("generated", right=True), *([Column("real photos", right=True)] if ceiling else [])]
    rows = [[name, *(_share(score.iou[index]) for score in scores)] for index, name in enumerate(result.class_names)]
    rows.append(["mean IoU", *(_share(score.miou) for score in scores)])
    rows.append(["pixel accuracy", *(_share(score.pixel_accuracy) for score in scores)])
    console.table(columns, rows)
    console.line(f"{result.images} label maps, {result.height}x{result.width}, {generator.backend}")
    if not passed:
        raise GateError(f"mean IoU is {result.generated.miou:.3f}, {min_miou} was asked for")


@verb(lggan, extra="train", example="lggan import-weights latest_net_G.pth --preset cityscapes -o cityscapes.safetensors")
@click.argument("weights", type=PATH)
@click.option("--preset", "preset_name", required=True, metavar="NAME", help="The preset they were trained for.")
@out_option("Checkpoint to write, .safetensors.")
@force_option
def import_weights(console: Console, weights: Path, preset_name: str, out: Path, force: bool) -> None:
    """Convert an official LGGAN generator (.pth) into a checkpoint."""
    from lggan.import_weights import import_official
    from lggan.preset import load_preset

    result = import_official(weights, load_preset(preset_name), out, force=force)
    console.document("lggan-import-weights", result)
    console.line(f"{result.entries} tensors, ngf {result.ngf}, {len(result.dropped)} unused ones left out")
    console.line(f"checkpoint {result.output}")


@verb(lggan, extra="export", example="lggan export runs/camvid/generator.safetensors -o camvid.onnx")
@click.argument("checkpoint", type=PATH)
@out_option("Model to write, .onnx.")
@click.option(
    "--output",
    type=click.Choice(["image", "float"]),
    default="image",
    show_default=True,
    help="uint8 [N,H,W,3], or float32 [N,3,H,W] in [-1,1].",
)
@click.option(
    "--variant",
    type=click.Choice(["full", "plugin", "inlined"]),
    default="full",
    show_default=True,
    help="Upsampling as node with body, as node alone (TensorRT 10.3 to 10.6 with the plugin), or as plain operators.",
)
@force_option
def export(console: Console, checkpoint: Path, out: Path, output: str, variant: str, force: bool) -> None:
    """Write a checkpoint as one ONNX file and prove that it gives PyTorch's pictures."""
    from export.onnx_export import export_onnx
    from export.options import ExportOptions, OutputKind
    from export.variants import Variant

    options = ExportOptions(output=OutputKind(output), variant=Variant(variant))
    result = export_onnx(checkpoint, out, options, console, force=force)
    console.document("lggan-export", result)
    proof = result.card.verification
    console.line(f"{result.path}  {size(result.size)}, {result.nodes} nodes")
    console.line(
        f"differs from PyTorch by at most {proof['max_abs']:.1e} in [-1, 1] on {proof['maps']} label maps "
        f"(limit {proof['tolerance']:.0e})"
    )


@verb(lggan, extra="export", example="lggan calibrate camvid.onnx --precision fp16 -o camvid.fp16.onnx")
@click.argument("model", type=PATH)
@out_option("Model to write, .onnx.")
@click.option("--precision", type=click.Choice(["fp16"]), default="fp16", show_default=True)
@click.option("--maps", type=click.IntRange(1, 64), default=3, show_default=True, help="Label maps to compare on.")
@click.option("--min-psnr", type=float, default=30.0, show_default=True, metavar="DB", help="Exit code 1 below it.")
@force_option
def calibrate(
    console: Console, model: Path, out: Path, precision: str, maps: int, min_psnr: float, force: bool
) -> None:
    """Write types into an exported FP32 model and measure what they cost in accuracy."""
    from calibration.fp16 import Fp16Options, convert_fp16

    result = convert_fp16(model, out, Fp16Options(maps=maps, min_psnr=min_psnr), console, force=force)
    console.document("lggan-calibrate", {**_fields_of(result), "precision": precision})
    console.line(f"{result.output}  {size(result.output_bytes)} ({size(result.input_bytes)} before)")
    console.line(
        f"{result.half_weight_share:.0%} of the weights and {result.half_mac_share:.0%} of the multiplications are FP16, "
        f"{len(result.islands)} nodes stay FP32"
    )
    console.line(f"PSNR to FP32 at least {min(result.psnr):.1f} dB, largest difference {result.largest_difference:g}")


@verb(lggan, extra="tensorrt-rtx", example="lggan build camvid.fp16.onnx --target sm86,sm89 -o engines/camvid.engine")
@click.argument("model", type=PATH)
@out_option("Engine to write; its record comes beside it, .json appended.")
@click.option("--backend", type=click.Choice(["tensorrt-rtx"]), default="tensorrt-rtx", show_default=True)
@click.option("--target", default="sm86,sm89,sm120", show_default=True, metavar="LIST", help="Compute capabilities.")
@click.option("--shape", metavar="NxHxW", help="The one input shape.  [default: 1, the size it was trained at]")
@click.option("--min-shape", metavar="NxHxW", help="Smallest input shape; with --max-shape.")
@click.option("--max-shape", metavar="NxHxW", help="Largest input shape.")
@click.option("--keep-log", is_flag=True, help="Write TensorRT's whole log beside the engine.")
@force_option
def build(
    console: Console,
    model: Path,
    out: Path,
    backend: str,
    target: str,
    shape: str | None,
    min_shape: str | None,
    max_shape: str | None,
    keep_log: bool,
    force: bool,
) -> None:
    """Build an engine from an ONNX model; no GPU is needed."""
    from engines.build import build_engine
    from engines.options import BuildOptions, EngineBackend, Target

    options = BuildOptions(
        targets=Target.parse_list(target),
        profile=_shape_profile(shape, min_shape, max_shape),
        backend=EngineBackend(backend),
        keep_log=keep_log,
    )
    result = build_engine(model, out, options, console, force=force)
    console.document("lggan-build", result)
    record = result.record
    console.line(f"{result.path}  {size(record.engine_bytes)}, {record.backend.value} {record.backend_version}")
    console.line(f"for {', '.join(target.value for target in record.targets)}; upsampling: {record.sau.value}")
    for warning in record.warnings:
        console.note(f"TensorRT: {warning}")
    console.note(record.statement)


@verb(
    lggan,
    example="lggan infer camvid.onnx examples/labels -o pictures\n"
    "lggan infer camvid.onnx street.png -o street_photo.png --fit model",
)
@click.argument("model", type=PATH)
@click.argument("inputs", nargs=-1, required=True, type=PATH, metavar="LABELS...")
@out_option("Folder of the pictures, or a .png for one label map.")
@fit_option
@instances_option
@device_option
@threads_option
@force_option
def infer(
    console: Console,
    model: Path,
    inputs: tuple[Path, ...],
    out: Path,
    fit: str | None,
    instances: Path | None,
    device: str,
    threads: int | None,
    force: bool,
) -> None:
    """Make a photo from every label map: files, folders, globs; PNG (ids, palette, colours) or .npy."""
    from runtime.backend import Device, SessionOptions
    from runtime.contract.inputs import find_inputs
    from runtime.inference import InferOptions, parse_fit
    from runtime.inference import infer as run_inference
    from runtime.session import Session

    with Session.open(model, SessionOptions(device=Device(device), threads=threads)) as session:
        size_wanted = parse_fit(fit, session.card) if fit else None
        options = InferOptions(fit=size_wanted, instances=instances, force=force)
        report = run_inference(session, find_inputs(inputs), out, options, console)
    console.document("lggan-infer", report.to_dict())
    columns = [Column("picture"), Column("height x width", right=True), Column("ms", right=True)]
    rows = [[image.output, f"{image.height}x{image.width}", f"{image.latency_ms:.1f}"] for image in report.images]
    console.table(columns, rows)
    console.line(f"{len(report.images)} pictures, {report.backend}, {report.threads} threads")


@verb(
    lggan,
    extra="report",
    example="lggan profile camvid.safetensors camvid.onnx camvid.fp16.onnx --data examples/labels -o report",
)
@click.argument("models", nargs=-1, required=True, type=PATH, metavar="MODELS...")
@click.option("--data", type=PATH, required=True, multiple=True, metavar="LABELS", help="Folder, file or glob; repeatable.")
@out_option("Folder of the report.")
@click.option("--reference", type=PATH, metavar="MODEL", help="Whose pictures count as right.  [default: a checkpoint]")
@click.option("--iterations", type=click.IntRange(min=1), default=64, show_default=True, help="Least timed queries each.")
@click.option("--seconds", type=click.FloatRange(min=0), default=3.0, show_default=True, help="Least timed time each.")
@click.option("--limit", type=click.IntRange(min=1), help="Take so many label maps.  [default: all]")
@fit_option
@instances_option
@device_option
@threads_option
@force_option
def profile(
    console: Console,
    models: tuple[Path, ...],
    data: tuple[Path, ...],
    out: Path,
    reference: Path | None,
    iterations: int,
    seconds: float,
    limit: int | None,
    fit: str | None,
    instances: Path | None,
    device: str,
    threads: int | None,
    force: bool,
) -> None:
    """Measure models side by side: latency, throughput, memory, size, and closeness to the reference's pictures."""
    from cli_profile import profile_models
    from runtime.profiler.options import ProfileOptions

    options = ProfileOptions(iterations=iterations, seconds=seconds)
    profile_models(
        console, models, data, out, options,
        reference=reference, limit=limit, fit=fit, instances=instances, device=device, threads=threads, force=force,
    )  # fmt: skip
