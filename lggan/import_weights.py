"""Reading the authors' released generators (semantic synthesis) into this project's layout.

The released files are pickled state dicts; they are read with PyTorch's restricted unpickler only. The map from their
keys to ours is made of rules over module names, for every class count and width.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from lggan.checkpoint import save_generator
from lggan.config import SauConfig, SauPlacement
from lggan.networks.generator import LGGANGenerator
from lggan.preset import Preset
from lggan.pretrained import read_state_dict
from runtime.contract.errors import InputError
from runtime.contract.files import sha256_of

LICENCE = "CC BY-NC-SA 4.0 (the authors' released weights); non-commercial use only"
_BLOCKS = ("head_0", "G_middle_0", "G_middle_1", "up_0", "up_1", "up_2", "up_3")
_LISTED = 6
_MAX_WIDTH = 1024  # of the first layer; the released networks have 64

# Module names of the released files and ours.
_RENAMES: tuple[tuple[str, str], ...] = (
    *((rf"{block}\.", rf"global_branch.blocks.{index}.") for index, block in enumerate(_BLOCKS)),
    (r"conv_img\.", r"global_branch.image."),
    (r"conv([1-5])\.", r"encoder.conv\1."),
    (r"deconv3_local\.", r"local_branch.decoder.up1."),
    (r"deconv4_local\.", r"local_branch.decoder.up2."),
    (r"deconv9\.", r"local_branch.fuse."),
    (r"deconv3_attention\.", r"attention.decoder.up1."),
    (r"deconv4_attention\.", r"attention.decoder.up2."),
    (r"deconv5_attention\.", r"attention.weights."),
    (r"fc2\.", r"classifier.linear."),
)
_INNER: tuple[tuple[str, str], ...] = (
    (".param_free_norm.", ".norm."),
    (".mlp_shared.0.", ".shared."),
    (".mlp_gamma.", ".gamma."),
    (".mlp_beta.", ".beta."),
)
_RESIDUAL = re.compile(r"resnet_blocks(\d+)\.(.+)")
_HEAD = re.compile(r"deconv5_(\d+)\.(weight|bias)")
_DEAD = re.compile(r"fc\.(weight|bias)|.*\.num_batches_tracked")


@dataclass(frozen=True)
class ImportResult:
    """What was imported: the file written, the width found, the entries left out because nothing uses them."""

    output: Path
    ngf: int
    entries: int
    dropped: tuple[str, ...]
    licence: str


def import_official(path: str | Path, preset: Preset, output: str | Path, *, force: bool = False) -> ImportResult:
    """Convert an official ``*_net_G.pth`` into a checkpoint of this project.

    Spectral normalisation is folded with the stored vectors: ``W / (u^T W v)``, as evaluation mode uses it. Upsampling
    is that of the released network (no semantic-aware upsampling: it was never published).

    Args:
        preset: gives classes, heads, edges and depth; the width is read from the file.

    Raises:
        InputError: unreadable, not a plain state dict, or keys and shapes that do not belong (all named at once).
        UsageError: the output exists and ``force`` is False.
    """
    path = Path(path)
    official = {name.removeprefix("module."): tensor for name, tensor in read_state_dict(path).items()}
    width = _width(path, official)
    sau = SauConfig(placement=SauPlacement.NONE)
    config = replace(preset.generator, ngf=width, widest=0, sau=sau)
    state, dropped = translate(official)
    with torch.device("meta"):  # shapes without memory, however large the file makes itself out to be
        expected = LGGANGenerator(config).state_dict()
    _check(path, preset.name, state, expected)
    generator = LGGANGenerator(config)
    generator.load_state_dict(state, strict=False)
    card = replace(
        preset.card(),
        licence=LICENCE,
        provenance=(f"imported from {path.name}, sha256 {sha256_of(path)}",),
    )
    save_generator(output, generator.eval(), card, force=force)
    return ImportResult(Path(output), width, len(official), tuple(dropped), LICENCE)


def translate(official: dict[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """Our state dict from the official one, spectral normalisation folded, and the names of the unused entries."""
    dropped = [name for name in official if _DEAD.fullmatch(name)]
    folded = _fold({name: tensor for name, tensor in official.items() if name not in dropped})
    heads: dict[str, dict[int, Tensor]] = {"weight": {}, "bias": {}}
    state: dict[str, Tensor] = {}
    for name, tensor in folded.items():
        if head := _HEAD.fullmatch(name):
            heads[head[2]][int(head[1])] = tensor
        else:
            state[_rename(name)] = tensor
    for kind, tensors in heads.items():
        if sorted(tensors) == list(range(len(tensors))) and len({t.shape for t in tensors.values()}) == 1:
            state[f"local_branch.heads.{kind}"] = torch.stack([tensors[index] for index in range(len(tensors))])
    return state, dropped


def _rename(name: str) -> str:
    if residual := _RESIDUAL.fullmatch(name):
        return f"local_branch.tower.{int(residual[1]) - 1}.{residual[2]}"
    for pattern, ours in _RENAMES:
        renamed, count = re.subn(rf"\A{pattern}", ours, name)
        if count:
            for theirs, inner in _INNER:
                renamed = renamed.replace(theirs, inner)
            return renamed
    return name


def _fold(official: dict[str, Tensor]) -> dict[str, Tensor]:
    folded: dict[str, Tensor] = {}
    for name, tensor in official.items():
        if name.endswith((".weight_u", ".weight_v")):
            continue
        if not name.endswith(".weight_orig"):
            folded[name] = tensor.float()
            continue
        stem = name[: -len("_orig")]
        u, v = official.get(f"{stem}_u"), official.get(f"{stem}_v")
        matrix = tensor.flatten(1).double() if tensor.dim() > 1 else tensor.double().reshape(-1, 1)
        if u is None or v is None or u.shape != matrix.shape[:1] or v.shape != matrix.shape[1:]:
            raise InputError(
                f"{stem} is spectrally normalised, but its vectors {stem}_u and {stem}_v are missing or misshapen; "
                "the file was written by a PyTorch older than 1.0 or is incomplete"
            )
        sigma = torch.dot(u.double(), matrix @ v.double())
        folded[stem] = (tensor.double() / sigma).float()
    return folded


def _width(path: Path, official: dict[str, Tensor]) -> int:
    first = official.get("conv1.weight")
    if first is None or first.dim() != 4:
        raise InputError(f"{path} has no conv1.weight with four dimensions; it is no LGGAN generator")
    width = int(first.shape[0])
    if not 1 <= width <= _MAX_WIDTH:
        raise InputError(f"{path} is {width} channels wide in its first layer; it is no LGGAN generator")
    return width


def _check(path: Path, preset: str, state: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    wanted = {name: tensor for name, tensor in expected.items() if not name.endswith("num_batches_tracked")}
    faults = [f"{name} is missing" for name in wanted if name not in state]
    faults += [f"{name} is unexpected" for name in state if name not in wanted]
    for name, tensor in state.items():
        if name in wanted and tensor.shape != wanted[name].shape:
            faults.append(f"{name} has shape {tuple(tensor.shape)} instead of {tuple(wanted[name].shape)}")
        elif not torch.isfinite(tensor).all():
            faults.append(f"{name} holds NaN or infinity")
    if faults:
        more = f"; and {len(faults) - _LISTED} more" if len(faults) > _LISTED else ""
        raise InputError(f"{path} does not fit preset {preset}: {'; '.join(faults[:_LISTED])}{more}")


