"""Whether an official generator is the one that a preset describes, and which preset it belongs to otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor

from lggan.config import GeneratorConfig, SauConfig, SauPlacement
from lggan.networks.cross_view import CONDITION_CHANNELS
from lggan.official.kind import OfficialKind, kind_of
from lggan.official.shape import OfficialShape, measure
from lggan.preset import Preset, load_preset, preset_names
from lggan.task import AnyConfig, Task
from runtime.contract.errors import InputError

_TASK_OF = {
    OfficialKind.SEMANTIC_GENERATOR: Task.SEMANTIC_SYNTHESIS,
    OfficialKind.CROSS_VIEW_GENERATOR: Task.CROSS_VIEW,
}


def check_kind(official: Mapping[str, Tensor], preset: Preset) -> None:
    """Refuse what is no generator of the preset's task.

    Raises:
        InputError: with what it is, and what to do instead.
    """
    kind = kind_of(official)
    task = _TASK_OF.get(kind)
    if task is preset.task:
        return
    if task is not None:
        raise InputError(f"it holds {kind.value}, preset {preset.name} is for {preset.task.value}{fitting(official)}")
    if kind is OfficialKind.VAE_GENERATOR:
        fix = "the published code cannot run it either: its local branch stays undefined; train without --use_vae"
    elif kind in (OfficialKind.UNKNOWN, OfficialKind.SPADE_GENERATOR):
        fix = "give the *_net_G.pth of an LGGAN"
    else:
        fix = "give the *_net_G.pth beside it, the generator, which alone makes the pictures"
    raise InputError(f"it holds {kind.value}; {fix}")


def expected_shape(preset: Preset) -> OfficialShape:
    """The sizes that the preset's released generator would have."""
    config = preset.generator
    semantic = config if isinstance(config, GeneratorConfig) else None
    return OfficialShape(
        ngf=config.ngf,
        inputs=semantic.semantic_channels if semantic else CONDITION_CHANNELS,
        spade_hidden=semantic.spade_hidden if semantic else 0,
        heads=config.heads,
        residual_blocks=config.residual_blocks,
        sau=SauConfig(placement=SauPlacement.NONE),
    )


def contradictions(shape: OfficialShape, preset: Preset) -> list[str]:
    """In which points the file is of another data set than the preset."""
    config, expected = preset.generator, expected_shape(preset)
    found = []
    if not isinstance(config, GeneratorConfig):
        if shape.heads not in (config.heads, config.heads + 1):  # the last one of the released files is never used
            found.append(f"it has {shape.heads} heads, the preset has {config.heads} groups of classes")
        return found
    if shape.inputs != expected.inputs:
        edges = "and instance edges" if config.edges else "and no instance edges"
        found.append(f"it reads {shape.inputs} channels, the preset has {config.classes} classes {edges}, "
                     f"{expected.inputs} channels")  # fmt: skip
        if shape.inputs == config.classes + int(not config.edges):
            found.append(f"with generator.edges = {str(not config.edges).lower()} the channels would fit")
    if shape.heads != expected.heads:
        found.append(f"it has {shape.heads} heads, the preset has {expected.heads}")
    return found


def config_of(shape: OfficialShape, preset: Preset) -> AnyConfig:
    """The preset's configuration with the file's sizes.

    Where the file contradicts the preset it is the file's own as far as that can be told, so that its entries can be
    checked all the same.

    Raises:
        InputError, UsageError: sizes that no generator has.
    """
    base = preset.generator
    if not isinstance(base, GeneratorConfig):
        return replace(base, ngf=shape.ngf, residual_blocks=shape.residual_blocks, sau=shape.sau)
    edges, classes, heads = base.edges, base.classes, base.heads
    if contradictions(shape, preset):
        edges = shape.inputs == shape.heads + 1  # one more channel than heads: instance edges
        classes, heads = shape.inputs - int(edges), shape.heads
    return replace(
        base,
        classes=classes,
        edges=edges,
        heads=heads,
        ngf=shape.ngf,
        widest=0,
        spade_hidden=shape.spade_hidden,
        residual_blocks=shape.residual_blocks,
        sau=shape.sau,
    )


def fitting(official: Mapping[str, Tensor]) -> str:
    """Which presets a generator may belong to, as the end of a message."""
    task = _TASK_OF[kind_of(official)]
    names = []
    for preset in map(load_preset, preset_names()):
        toy = preset.name.startswith("tiny")  # for trying the commands; never released
        if preset.task is task and not toy:
            shape = measure(official, task, expected_shape(preset))
            names += [] if contradictions(shape, preset) else [preset.name]
    if not names:
        return "; no preset of the package fits, write one of your own (.toml)"
    which = "" if len(names) == 1 else ", whichever it was trained for"
    return f"; use --preset {' or '.join(names)}{which}"
