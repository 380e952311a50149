"""The verbs around training: train, import-weights."""

from __future__ import annotations

import os
from pathlib import Path

import click

from runtime.command_line import PATH, device_option, force_option, out_option, sau_option, verb
from runtime.console import Console, duration


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
@click.option("--ngf", type=click.IntRange(min=1), metavar="N", help="Generator's width.  [default: the preset's]")
@sau_option
@click.option("--batch", type=click.IntRange(min=1), metavar="N", help="Examples per step.  [default: the preset's]")
@click.option("--seed", type=int, metavar="N", help="Of weights, order, crops and flips.  [default: the preset's]")
@click.option("--perceptual", type=click.Choice(["none", "squeezenet", "vgg19"]), help="Kind of perceptual loss.")
@click.option("--perceptual-weights", type=PATH, metavar="FILE", help="Its weights.  [default: torch hub's cache]")
@click.option("--precision", type=click.Choice(["fp32", "fp16", "bf16"]), default="fp32", show_default=True)
@click.option(
    "--accumulate",
    type=click.IntRange(min=1),
    metavar="N",
    default=1,
    show_default=True,
    help="Micro-batches per step and process: less memory, the same gradients but for batch statistics.",
)
@click.option("--channels-last", is_flag=True, help="Store feature maps pixel by pixel, for GPUs in half precision.")
@click.option("--compile", "compiled", is_flag=True, help="Compile the networks with torch.compile.")
@click.option("--half-weights", is_flag=True, help="Store the final checkpoint's weights as float16.")
@click.option("--licence", default="", help="Licence of the weights, for the card; it follows from the data's.")
@click.option(
    "--workers", type=click.IntRange(min=0), metavar="N", default=0, show_default=True, help="Processes that load data."
)
@click.option(
    "--prefetch",
    type=click.IntRange(min=1),
    metavar="N",
    default=2,
    show_default=True,
    help="Batches that each of those loads ahead.",
)
@click.option("--save-every", type=click.IntRange(min=1), default=200, show_default=True, metavar="STEPS")
@click.option("--sample-every", type=click.IntRange(min=1), default=500, show_default=True, metavar="STEPS")
@click.option(
    "--peer-timeout",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    default=600,
    show_default=True,
    help="With several processes: wait so long for another one, then stop.",
)
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
    ngf: int | None,
    sau: str | None,
    batch: int | None,
    seed: int | None,
    perceptual: str | None,
    perceptual_weights: Path | None,
    precision: str,
    accumulate: int,
    channels_last: bool,
    compiled: bool,
    half_weights: bool,
    licence: str,
    workers: int,
    prefetch: int,
    save_every: int,
    sample_every: int,
    peer_timeout: float,
    device: str,
) -> None:
    """Train a generator on photos and label maps.

    Ctrl-C ends the run after the current step with everything saved. Start several processes with torchrun.
    """
    import torch

    from commands.overrides import override
    from lggan.preset import load_preset
    from lggan.training.computing import Computing, Execution, MemoryLayout
    from lggan.training.distributed import FollowerStoppedError, LostPeerError
    from lggan.training.options import TrainOptions
    from lggan.training.precision import TrainPrecision
    from lggan.training.train import train as run_training

    preset = override(
        load_preset(preset_name),
        size=picture_size,
        ngf=ngf,
        sau=sau,
        epochs=epochs,
        batch=batch,
        seed=seed,
        perceptual=perceptual,
    )
    options = TrainOptions(
        data=data,
        output=out,
        resume=resume,
        start=start_from,
        steps=steps,
        device=device,
        precision=TrainPrecision(precision),
        computing=Computing(
            accumulate,
            MemoryLayout.CHANNELS_LAST if channels_last else MemoryLayout.CHANNELS_FIRST,
            Execution.COMPILED if compiled else Execution.EAGER,
        ),
        perceptual_weights=perceptual_weights,
        save_every=save_every,
        sample_every=sample_every,
        workers=workers,
        prefetch=prefetch,
        peer_timeout=peer_timeout,
        weights_dtype=torch.float16 if half_weights else torch.float32,
        licence=licence,
    )
    try:
        result = run_training(preset, options, console)
    except FollowerStoppedError as error:
        raise click.exceptions.Exit(error.exit_code) from error
    except LostPeerError as error:
        console.error(str(error), exit_code=error.exit_code, error_class=type(error).__name__)
        console.close()
        os._exit(error.exit_code)  # in good order, threads that wait for the lost process could abort this one
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
    example="lggan import-weights 200_net_G.pth --preset cityscapes -o cityscapes.safetensors\n"
    "lggan import-weights 35_net_G.pth --preset dayton_a2g -o dayton_a2g.safetensors",
)
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
    console.line(f"{result.entries} entries of {weights.name}, sha256 {result.sha256}")
    console.line(
        f"{result.task.value}, ngf {result.ngf}, {result.heads} heads, {result.residual_blocks} residual blocks, "
        f"{result.parameters:,} parameters, semantic-aware upsampling: {result.sau.value}"
    )
    console.line(f"left out, unused ({result.dropped_parameters:,} parameters): {result.dropped_summary or 'nothing'}")
    console.line(f"checkpoint {result.output}")
    for note in result.notes:
        console.note(note)
