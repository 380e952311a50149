"""Reading the authors' released generators, of either task, into this project's layout.

The released files are pickled state dicts; they are read with PyTorch's restricted unpickler only.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from lggan.checkpoint import save_generator
from lggan.config import SauPlacement
from lggan.networks.build import build_generator
from lggan.official.convert import convert
from lggan.official.faults import Faults, listed
from lggan.official.fit import check_kind, config_of, contradictions, expected_shape, fitting
from lggan.official.layout import is_counter, is_statistic, origins, unused_entries
from lggan.official.shape import measure
from lggan.preset import Preset
from lggan.pretrained import read_state_dict
from lggan.task import AnyConfig, Task
from runtime.contract.errors import InputError, UsageError
from runtime.contract.files import sha256_of

LICENCE = "CC BY-NC-SA 4.0 (the authors' released weights); non-commercial use only"
FOREIGN_LICENCE = "as its author states (no file of LGGAN's authors has semantic-aware upsampling)"
_PARALLEL = "module."


@dataclass(frozen=True)
class ImportResult:
    """What was imported.

    Attributes:
        output: the checkpoint that was written.
        preset, task: what it was imported as.
        ngf, heads, residual_blocks: of the network; width and tower are the file's, whatever the preset says.
        sau: where the file upsamples semantic-aware; the released files do not.
        entries: number of entries in the file.
        dropped: names of those that evaluation never reads.
        parameters: weights and biases of the imported generator.
        dropped_parameters: weights and biases among the dropped entries.
        licence: of the weights; importing does not change it.
        sha256: of the file that was read.
        notes: remarks for the user.
    """

    output: Path
    preset: str
    task: Task
    ngf: int
    heads: int
    residual_blocks: int
    sau: SauPlacement
    entries: int
    dropped: tuple[str, ...]
    parameters: int
    dropped_parameters: int
    licence: str
    sha256: str
    notes: tuple[str, ...]

    @property
    def dropped_summary(self) -> str:
        """The dropped entries for people: the many counters of batches as a count, the others by name."""
        named = [name for name in self.dropped if not is_counter(name)]
        counters = len(self.dropped) - len(named)
        parts = [listed(named)] if named else []
        return ", ".join([*parts, f"{counters} num_batches_tracked"] if counters else parts)


def import_official(path: str | Path, preset: Preset, output: str | Path, *, force: bool = False) -> ImportResult:
    """Convert an official ``*_net_G.pth`` into a checkpoint of this project (specification E).

    Spectral normalisation is folded with the stored vectors. Upsampling is the file's: transposed convolutions in the
    released networks, or semantic-aware upsampling in the one public layout that has it (specification B.3).

    Args:
        path: a plain state dict as the authors' code saves it, read without running anything.
        preset: gives classes, heads, edges and depth; width and tower are read from the file.
        output: ``.safetensors``.

    Raises:
        InputError: unreadable, not a plain state dict, no generator of the preset's task, or entries that do not fit:
            all of them in one message, in the file's names.
        UsageError: the output exists and ``force`` is False.
    """
    path, output = Path(path), Path(output)
    if output.exists() and not force:  # before the work, not after it
        raise UsageError(f"{output} exists already; pass --force to replace it")
    official = _without_prefix(read_state_dict(path))
    try:
        config, state, unused = _translated(official, preset)
    except (InputError, UsageError) as error:
        raise InputError(f"{path} cannot be imported as {preset.name}: {error}") from error
    entries = len(official)
    dropped_parameters = sum(official[name].numel() for name in unused if name.endswith((".weight", ".bias")))
    official.clear()  # what was folded or stacked need not stay in memory twice
    with torch.device("meta"):
        generator = build_generator(config)
    generator.load_state_dict(state, strict=False, assign=True)
    digest = sha256_of(path)
    provenance = f"imported from {path.name}, sha256 {digest}"
    licence = LICENCE if config.sau.placement is SauPlacement.NONE else FOREIGN_LICENCE
    card = replace(preset.card(), licence=licence, provenance=(provenance,))
    save_generator(output, generator.eval(), card, force=force)
    return ImportResult(
        output=output,
        preset=preset.name,
        task=preset.task,
        ngf=config.ngf,
        heads=config.heads,
        residual_blocks=config.residual_blocks,
        sau=config.sau.placement,
        entries=entries,
        dropped=tuple(unused),
        parameters=sum(tensor.numel() for name, tensor in state.items() if not is_statistic(name)),
        dropped_parameters=dropped_parameters,
        licence=licence,
        sha256=digest,
        notes=_notes(config, preset, licence),
    )


def _translated(official: dict[str, Tensor], preset: Preset) -> tuple[AnyConfig, dict[str, Tensor], list[str]]:
    """The generator's configuration, its tensors, and the names of the unused entries."""
    check_kind(official, preset)
    shape = measure(official, preset.task, expected_shape(preset))
    differences = contradictions(shape, preset)
    try:
        config = config_of(shape, preset)
    except (InputError, UsageError) as error:
        raise InputError("; ".join([*differences, str(error)]) + fitting(official)) from error
    with torch.device("meta"):  # shapes without memory, however large the file makes itself out to be
        skeleton = build_generator(config).state_dict()
    unused = unused_entries(official, config)
    state, faults = convert(official, origins(skeleton, config), unused)
    if differences:
        raise InputError("; ".join([*differences, *([faults.describe()] if faults else [])]) + fitting(official))
    if faults:
        raise InputError(faults.describe() + _hint(faults))
    return config, state, unused


def _without_prefix(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Files of a parallel training carry ``module.`` before every name."""
    if all(name.startswith(_PARALLEL) for name in state):
        return {name[len(_PARALLEL) :]: tensor for name, tensor in state.items()}
    return state


def _hint(faults: Faults) -> str:
    """What a pattern of faults points to, as the end of a message."""
    if faults.missing and all(name.endswith((".weight_u", ".weight_v")) for name in faults.missing):
        return "; the vectors of spectral normalisation are needed as PyTorch 1.0 and later store them"
    if any(name.startswith("up_4.") for name in faults.unexpected):
        return "; up_4 belongs to --num_upsampling_layers most, which no released LGGAN has"
    return "; fetch the file again, or import it with the preset it was trained for"


def _notes(config: AnyConfig, preset: Preset, licence: str) -> tuple[str, ...]:
    notes = [f"licence of the weights: {licence}; it goes with the checkpoint and with everything made from it"]
    for name, told, found in (
        ("ngf", preset.generator.ngf, config.ngf),
        ("residual_blocks", preset.generator.residual_blocks, config.residual_blocks),
    ):
        if told != found:
            notes.append(f"{name} is {found} as in the file; preset {preset.name} has {told}")
    return tuple(notes)
