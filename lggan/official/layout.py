"""Where each tensor of ours stands in an official checkpoint, by rules over module names (specification E.2 to E.5)."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

from torch import Tensor

from lggan.config import SauPlacement
from lggan.task import AnyConfig, Task, task_of

_BLOCKS = ("head_0", "G_middle_0", "G_middle_1", "up_0", "up_1", "up_2", "up_3")

# Beginnings of names, ours and theirs. <n> stands for a number, <n+1> for the next one: theirs count from 1.
_BOTH_TASKS = (
    ("encoder.conv<n>.", "conv<n>."),
    ("local_branch.decoder.up1.", "deconv3_local."),
    ("local_branch.decoder.up2.", "deconv4_local."),
    ("attention.decoder.up1.", "deconv3_attention."),
    ("attention.decoder.up2.", "deconv4_attention."),
    ("attention.weights.", "deconv5_attention."),
)
_RULES: dict[Task, tuple[tuple[str, str], ...]] = {
    Task.SEMANTIC_SYNTHESIS: (
        *_BOTH_TASKS,
        *((f"global_branch.blocks.{index}.", f"{block}.") for index, block in enumerate(_BLOCKS)),
        ("global_branch.image.", "conv_img."),
        ("local_branch.tower.<n>.", "resnet_blocks<n+1>."),
        ("local_branch.fuse.", "deconv9."),
        ("classifier.linear.", "fc2."),
    ),
    Task.CROSS_VIEW: (
        *_BOTH_TASKS,
        ("tower.<n>.", "resnet_blocks<n+1>."),
        ("global_branch.decoder.up1.", "deconv3_global."),
        ("global_branch.decoder.up2.", "deconv4_global."),
        ("global_branch.image.", "deconv5_global."),
    ),
}
_HEADS = "local_branch.heads."
_FIRST_HEAD = {Task.SEMANTIC_SYNTHESIS: 0, Task.CROSS_VIEW: 1}

# Names inside a SPADE normalisation and inside a semantic-aware upsampling (specification B.3).
_INSIDE_SPADE = ((".norm.", ".param_free_norm."), (".shared.", ".mlp_shared.0."), (".gamma.", ".mlp_gamma."),
                 (".beta.", ".mlp_beta."))  # fmt: skip
_INSIDE_SAU = (
    ("compress.", "sakg_block.feature_channel_compression."),
    ("predict.", "sakg_block.semantic_kernel_generation."),
    ("project.", "downsample."),
    ("bias", "downsample.bias"),
)
_NORMALISED = re.compile(r"global_branch\.blocks\.\d+\.conv_[01s]\.weight")
_UPSAMPLING = re.compile(r"(?:local_branch|global_branch|attention)\.decoder\.up[12]\.")


class Form(Enum):
    """How a tensor of ours follows from entries of theirs.

    COPIED: it is the one entry.
    NORMALISED: spectral normalisation is folded: ``weight_orig / (u^T weight_orig v)``.
    STACKED: one entry per head, along a new first dimension.
    """

    COPIED = "copied"
    NORMALISED = "normalised"
    STACKED = "stacked"


@dataclass(frozen=True)
class Origin:
    """The official entries that a tensor of ours comes from, each with the shape it must have."""

    form: Form
    entries: tuple[tuple[str, tuple[int, ...]], ...]


def origins(state: Mapping[str, Tensor], config: AnyConfig) -> dict[str, Origin]:
    """The origin of every tensor in the state dict of a generator of ours.

    Args:
        state: names and shapes of the generator without spectral normalisation; tensors may be on the meta device.
        config: the generator's.
    """
    return {name: _origin(name, tuple(tensor.shape), config) for name, tensor in state.items() if not is_counter(name)}


def unused_entries(names: Iterable[str], config: AnyConfig) -> list[str]:
    """The official entries that evaluation never reads: they are dropped.

    The start convolution ``fc`` (used with a variational encoder alone), counters of batches, statistics that
    InstanceNorm kept before PyTorch 0.4, and the cross-view generator's head beyond its last (7 of 6).
    """
    dead = [r"fc\.(weight|bias)", r".*\.num_batches_tracked", r"(?!.*\.param_free_norm\.).*\.running_(mean|var)"]
    if task_of(config) is Task.CROSS_VIEW:
        dead.append(rf"deconv5_{config.heads + 1}\.(weight|bias)")
    pattern = re.compile("|".join(dead))
    return [name for name in names if pattern.fullmatch(name)]


def is_counter(name: str) -> bool:
    """Whether an entry counts the batches seen, which nothing needs."""
    return name.endswith("num_batches_tracked")


def is_statistic(name: str) -> bool:
    """Whether an entry of either layout is a running mean or variance, hence no parameter."""
    return name.endswith((".running_mean", ".running_var"))


def _origin(name: str, shape: tuple[int, ...], config: AnyConfig) -> Origin:
    task = task_of(config)
    if name.startswith(_HEADS):
        kind, first = name[len(_HEADS) :], _FIRST_HEAD[task]
        names = (f"deconv5_{index}.{kind}" for index in range(first, first + shape[0]))
        return Origin(Form.STACKED, tuple((theirs, shape[1:]) for theirs in names))
    theirs = _official_name(name, config)
    if not _NORMALISED.fullmatch(name):
        return Origin(Form.COPIED, ((theirs, shape),))
    vectors = ((f"{theirs}_u", shape[:1]), (f"{theirs}_v", (math.prod(shape[1:]),)))
    return Origin(Form.NORMALISED, ((f"{theirs}_orig", shape), *vectors))


def _official_name(ours: str, config: AnyConfig) -> str:
    for beginning, theirs in _RULES[task_of(config)]:
        match = re.match(re.escape(beginning).replace("<n>", r"(\d+)"), ours)
        if match is None:
            continue
        if match.groups():
            number = int(match[1])
            theirs = theirs.replace("<n>", str(number)).replace("<n+1>", str(number + 1))
        return theirs + _inside(ours, ours[match.end() :], config)
    raise ValueError(f"no rule tells where {ours} stands in an official checkpoint")


def _inside(ours: str, rest: str, config: AnyConfig) -> str:
    """The end of a name: within a semantic-aware upsampling, a SPADE normalisation, or as it is."""
    if config.sau.placement is SauPlacement.DECODERS and _UPSAMPLING.match(ours):
        return next(theirs + rest[len(mine) :] for mine, theirs in _INSIDE_SAU if rest.startswith(mine))
    for mine, theirs in _INSIDE_SPADE:
        rest = rest.replace(mine, theirs)
    return rest
