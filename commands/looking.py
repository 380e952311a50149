"""The verbs that only look: doctor, inspect."""

from __future__ import annotations

from pathlib import Path

import click

from runtime.command_line import PATH, sau_option, verb
from runtime.console import Console, plain, size


@verb(example="lggan doctor")
def doctor(console: Console) -> None:
    """Tell what this machine has, and the command that brings what is missing."""
    from runtime.doctor import Status, examine

    readings = examine()
    console.document("lggan-doctor", {"readings": readings})
    area = ""
    for reading in readings:
        if reading.area != area:
            if area:
                console.line()
            console.line(reading.area)
            area = reading.area
        console.entry(reading.status.value, reading.name, reading.value, reading.fix)
    amiss = sum(reading.status is Status.PROBLEM for reading in readings)
    console.line()
    console.line(f"{amiss} problems." if amiss else "No problems. What is missing is needed only for what it names.")


@verb(
    example="lggan inspect camvid.onnx\nlggan inspect camvid.onnx --json\nlggan inspect camvid.safetensors --cost\n"
    "lggan inspect --cost --preset cityscapes --size 512x1024"
)
@click.argument("file", type=PATH, required=False)
@click.option("--cost", "asks_cost", is_flag=True, help="Parameters and multiplications of its parts instead.")
@click.option("--preset", "preset_name", metavar="NAME", help="The cost of a preset's network and of its training.")
@click.option("--size", "picture_size", metavar="HxW", help="Cost at this size.  [default: the model's]")
@sau_option
def inspect(
    console: Console,
    file: Path | None,
    asks_cost: bool,
    preset_name: str | None,
    picture_size: str | None,
    sau: str | None,
) -> None:
    """Show what a checkpoint, an ONNX model or an engine's record says of itself, or what it costs to run.

    The cost is counted from the network's description, without running it; it needs the extra `train`.
    """
    if (file is None) == (preset_name is None):
        raise click.UsageError("name a file, or --cost and a --preset")
    if not asks_cost and (preset_name or picture_size):
        raise click.UsageError("--preset and --size go with --cost")
    if sau is not None and not (asks_cost and preset_name):
        raise click.UsageError("--sau goes with --cost and a --preset; a file has its upsampling")
    if asks_cost:
        from commands.costing import show_file_cost, show_preset_cost

        if file is not None:
            show_file_cost(console, file, picture_size)
        else:
            show_preset_cost(console, str(preset_name), picture_size, sau)
        return
    from runtime.inspection import describe, inspect_file

    assert file is not None
    inspection = inspect_file(file)
    found = plain(inspection)
    console.document("lggan-inspect", {"file": found.pop("kind"), **found})
    console.fields(f"{inspection.path}  {size(inspection.size_bytes)}", describe(inspection))
