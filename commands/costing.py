"""What a network costs, as tables."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.console import Column, Console, size
from runtime.contract.errors import InputError

if TYPE_CHECKING:
    from lggan.cost import NetworkCost
    from lggan.task import AnyConfig
    from lggan.training.memory import TrainingMemory


def show_file_cost(console: Console, path: Path, picture_size: str | None) -> None:
    """Parameters and MACs of the model that a file holds.

    Raises:
        InputError: see `runtime.inspection.inspect_file`; a record without a card.
    """
    from lggan.cost import generator_cost
    from lggan.task import read_config
    from runtime.inspection import inspect_file

    card = inspect_file(path).card
    if card is None:
        raise InputError(f"{path} has no model card; name the checkpoint or the ONNX file it was made from")
    cost = generator_cost(_resized(read_config(card.task, card.generator), picture_size))
    console.document("lggan-cost", {"model": card.name, "generator": cost.to_dict()})
    _show_network(console, f"{path}, one picture of {cost.height}x{cost.width}", cost)


def show_preset_cost(console: Console, name: str, picture_size: str | None, sau: str | None) -> None:
    """Parameters and MACs of a preset's networks, and the memory that training them takes."""
    from commands.overrides import override
    from lggan.cost import discriminator_cost, generator_cost
    from lggan.preset import load_preset
    from lggan.training.memory import training_memory
    from lggan.training.precision import TrainPrecision

    preset = override(load_preset(name), size=picture_size, sau=sau)
    cost = generator_cost(preset.generator)
    judge = discriminator_cost(preset.generator, preset.train.discriminator_width)
    memories = [training_memory(preset, precision) for precision in (TrainPrecision.FP32, TrainPrecision.BF16)]
    console.document(
        "lggan-cost",
        {
            "model": preset.name,
            "generator": cost.to_dict(),
            "discriminator": judge.to_dict(),
            "training_memory": [{**memory.to_dict(), "batch": preset.train.batch} for memory in memories],
        },
    )
    _show_network(console, f"preset {preset.name}, one picture of {cost.height}x{cost.width}", cost)
    console.line()
    _show_network(console, "its discriminator, one picture to judge", judge)
    console.line()
    _show_memory(console, memories, preset.train.perceptual.value)


def _resized(config: AnyConfig, picture_size: str | None) -> AnyConfig:
    from commands.overrides import parse_size

    if picture_size is None:
        return config
    height, width = parse_size(picture_size)
    return replace(config, height=height, width=width)


def _show_network(console: Console, title: str, cost: NetworkCost) -> None:
    console.line(title)
    differ = any(part.macs != part.routed_macs for part in cost.parts)
    columns = [Column("part"), Column("parameters", right=True), Column("GMACs", right=True)]
    columns += [Column("GMACs, class heads routed", right=True)] if differ else []
    rows = []
    for part in (*cost.parts, cost.total()):
        row = [part.name, f"{part.parameters:,}", _giga(part.macs)]
        rows.append([*row, _giga(part.routed_macs)] if differ else row)
    console.table(columns, rows)
    if cost.upsamplings:
        console.line("semantic-aware upsampling, contained above")
        steps = ("compress", "kernels", "project", "reassemble", "GMACs")
        console.table(
            [Column("place"), Column("parameters", right=True), *(Column(step, right=True) for step in steps)],
            [
                [one.place, f"{one.parameters:,}"]
                + [_giga(macs) for macs in (one.compress, one.kernels, one.project, one.reassemble, one.macs)]
                for one in cost.upsamplings
            ],
        )


def _show_memory(console: Console, memories: list[TrainingMemory], perceptual: str) -> None:
    console.line(f"memory of training, perceptual network {perceptual}")
    names = list(dict.fromkeys(name for memory in memories for name in memory.per_image))
    columns = [Column("what"), *(Column(memory.precision.value, right=True) for memory in memories)]
    rows = [[name, *(size(memory.per_image.get(name, 0)) for memory in memories)] for name in names]
    rows.append(["for each example", *(size(memory.needed(1) - memory.fixed) for memory in memories)])
    rows.append(["once on each device", *(size(memory.fixed) for memory in memories)])
    console.table(columns, rows)
    console.note("what is kept for the backward pass; what layers need while they work comes on top")


def _giga(macs: int) -> str:
    return f"{macs / 1e9:.3f}"
