"""The verbs that only look: doctor, inspect."""

from __future__ import annotations

from pathlib import Path

import click

from runtime.command_line import PATH, verb
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


@verb(example="lggan inspect camvid.onnx\nlggan inspect camvid.onnx --json")
@click.argument("file", type=PATH)
def inspect(console: Console, file: Path) -> None:
    """Show what a checkpoint, an ONNX model or an engine's record says of itself."""
    from runtime.inspection import describe, inspect_file

    inspection = inspect_file(file)
    found = plain(inspection)
    console.document("lggan-inspect", {"file": found.pop("kind"), **found})
    console.fields(f"{inspection.path}  {size(inspection.size_bytes)}", describe(inspection))
