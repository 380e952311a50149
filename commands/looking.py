"""The verbs that only look: doctor, inspect."""

from __future__ import annotations

from pathlib import Path

import click

from runtime.command_line import PATH, force_option, sau_option, verb
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
    example="lggan inspect camvid.onnx\nlggan inspect camvid.onnx --html graph.html\n"
    "lggan inspect camvid.safetensors --cost\n"
    "lggan inspect --cost --preset cityscapes --size 512x1024"
)
@click.argument("file", type=PATH, required=False)
@click.option("--cost", "asks_cost", is_flag=True, help="Parameters and multiplications of its parts instead.")
@click.option("--preset", "preset_name", metavar="NAME", help="The cost of a preset's network and of its training.")
@click.option("--size", "picture_size", metavar="HxW", help="Cost at this size.  [default: the model's]")
@sau_option
@click.option("--html", "page", type=PATH, metavar="PAGE", help="Also write the cost of an ONNX graph as a page.")
@force_option
def inspect(
    console: Console,
    file: Path | None,
    asks_cost: bool,
    preset_name: str | None,
    picture_size: str | None,
    sau: str | None,
    page: Path | None,
    force: bool,
) -> None:
    """Show what a checkpoint, an ONNX model or an engine's record says of itself, or what it costs to run.

    Of an ONNX model, that includes what its graph multiplies, weighs and writes, as counted when it was exported; the
    page needs the extra `report`. With --cost, the network's description is counted; that needs the extra `train`.
    """
    if (file is None) == (preset_name is None):
        raise click.UsageError("name a file, or --cost and a --preset")
    if not asks_cost and (preset_name or picture_size):
        raise click.UsageError("--preset and --size go with --cost")
    if sau is not None and not (asks_cost and preset_name):
        raise click.UsageError("--sau goes with --cost and a --preset; a file has its upsampling")
    if page is not None and (asks_cost or file is None):
        raise click.UsageError("--html goes with an ONNX file, without --cost")
    if asks_cost:
        from commands.costing import show_file_cost, show_preset_cost

        if file is not None:
            show_file_cost(console, file, picture_size)
        else:
            show_preset_cost(console, str(preset_name), picture_size, sau)
        return
    from commands.graph_view import show_graph, write_graph_page
    from runtime.inspection import describe, inspect_file

    assert file is not None
    inspection = inspect_file(file)
    if page is not None:
        write_graph_page(inspection, page, force=force)
    found = plain(inspection)
    console.document("lggan-inspect", {"file": found.pop("kind"), **found})
    console.fields(f"{inspection.path}  {size(inspection.size_bytes)}", describe(inspection))
    show_graph(console, inspection)
    if page is not None:
        console.line()
        console.line(f"page  {page}")
