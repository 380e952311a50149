"""The verbs around training: train, evaluate, import-weights."""

from __future__ import annotations

import os
from pathlib import Path

import click

from runtime.command_line import PATH, device_option, force_option, out_option, threads_option, verb
from runtime.console import Column, Console, duration


@verb(
    extra="train",
    example="lggan train --preset camvid --data data/camvid --out runs/camvid\n"
    "lggan train --preset camvid --data data/camvid --out runs/camvid --resume",
)
@click.option("--preset", "preset_name", required=True, metavar="NAME", help="A preset's name or a .toml file.")
@click.option("--data", type=PATH, required=True, metavar="DIR", help="Root of the data set.")
@out_option("Folder of the run.")
@click.option("--resume", is_flag=True, help="Continue the run in that folder.")
@click.option(
    "--start-from", type=PATH, metavar="STATE", help="Begin with the weights of another run's state.safetensors."
)
@click.option(
    "--epochs",
    type=click.IntRange(min=0),
    nargs=2,
    metavar="N M",
    help="N at full learning rate, M more with a falling one.",
)
@click.option(
    "--steps", type=click.IntRange(min=1), metavar="N", help="Stop after so many steps in all.  [default: the preset's]"
)
@click.option("--size", "picture_size", metavar="HxW", help="Picture size, height first.  [default: the preset's]")
@click.option("--batch", type=click.IntRange(min=1), metavar="N", help="Examples per step.  [default: the preset's]")
@click.option("--seed", type=int, metavar="N", help="Of weights, order, crops and flips.  [default: the preset's]")
@click.option("--perceptual", type=click.Choice(["none", "squeezenet", "vgg19"]), help="Kind of perceptual loss.")
@click.option("--perceptual-weights", type=PATH, metavar="FILE", help="Its weights.")
@click.option("--precision", type=click.Choice(["fp32", "fp16", "bf16"]), default="fp32", show_default=True)
@click.option("--half-weights", is_flag=True, help="Store the final checkpoint's weights as float16.")
@click.option("--licence", default="", help="Licence of the weights, for the card; it follows from the data's.")
@click.option(
    "--workers", type=click.IntRange(min=0), metavar="N", default=0, show_default=True, help="Processes that load data."
)
@click.option("--save-every", type=click.IntRange(min=1), default=200, show_default=True, metavar="STEPS")
@click.option("--sample-every", type=click.IntRange(min=1), default=500, show_default=True, metavar="STEPS")
@device_option
def train(
    console: Console,
    preset_name: str,
    data: Path,
    out: Path,
    resume: bool,
    start_from: Path | None,
    epochs: tuple[int, int] | None,
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

    from commands.overrides import override
    from lggan.preset import load_preset
    from lggan.training.options import TrainOptions
    from lggan.training.precision import TrainPrecision
    from lggan.training.train import train as run_training

    preset = override(
        load_preset(preset_name), size=picture_size, epochs=epochs, batch=batch, seed=seed, perceptual=perceptual
    )
    options = TrainOptions(
        data=data,
        output=out,
        resume=resume,
        start=start_from,
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
    if os.environ.get("RANK", "0") != "0":  # one of torchrun's processes: the first one speaks for all
        return
    console.document("lggan-train", result)
    state = "interrupted" if result.interrupted else "trained"
    console.line(f"{state} at step {result.steps} ({result.epochs:.1f} epochs), {duration(result.seconds)}")
    console.line(f"checkpoint {result.checkpoint}")
    if result.interrupted:
        console.note("continue with the same command and --resume (in place of --start-from)")


@verb(
    extra="train",
    example="lggan evaluate runs/camvid/generator.safetensors --data data/camvid --judge espnet_camvid.pth",
)
@click.argument("model", type=PATH)
@click.option("--data", type=PATH, required=True, metavar="DIR", help="Root of the data set.")
@click.option("--judge", type=PATH, required=True, metavar="FILE", help="Weights of ESPNet, the segmenter that judges.")
@click.option("--split", default="val", show_default=True)
@click.option("--layout", type=click.Choice(["folder", "cityscapes", "ade20k"]), default="folder", show_default=True)
@click.option("--ceiling/--no-ceiling", default=True, help="Also judge the real photos.  [default: ceiling]")
@click.option("--min-miou", type=click.FloatRange(0, 1), metavar="0..1", help="Exit code 1 below it.")
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
    from commands.models import open_model
    from lggan.data.pairs import Layout, find_pairs
    from lggan.evaluation.espnet import load_espnet
    from lggan.evaluation.evaluate import evaluate as run_evaluation
    from runtime.contract.errors import GateError

    pairs = find_pairs(data, split, Layout(layout))
    generator = open_model(model, device, threads)
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
    titles = ["generated", *(["real photos"] if result.ceiling else [])]
    columns = [Column("class"), *(Column(title, right=True) for title in titles)]
    rows = [[name, *(_share(score.iou[index]) for score in scores)] for index, name in enumerate(result.class_names)]
    rows.append(["mean IoU", *(_share(score.miou) for score in scores)])
    rows.append(["pixel accuracy", *(_share(score.pixel_accuracy) for score in scores)])
    console.table(columns, rows)
    console.line(f"{result.images} label maps, {result.height}x{result.width}, {generator.backend}")
    if not passed:
        raise GateError(f"mean IoU is {result.generated.miou:.3f}, {min_miou} was asked for")


@verb(extra="train", example="lggan import-weights net_G.pth --preset cityscapes -o cityscapes.safetensors")
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


def _share(value: float | None) -> str:
    return "absent" if value is None else f"{value:.3f}"
