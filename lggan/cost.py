"""What a generator costs: parameters and multiply-accumulates of its parts, counted without computing anything.

The network is laid out on PyTorch's meta device, where tensors have shapes and no numbers, and every layer tells what
it would multiply. One multiply-accumulate (MAC) counts once; of a transposed convolution, per input pixel. Products
with weights and with predicted kernels count, sums and normalisations do not.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from fnmatch import fnmatch
from typing import Any

import torch
from torch import Tensor, nn

from lggan.config import GeneratorConfig
from lggan.cross_view_config import CrossViewConfig
from lggan.networks.build import AnyGenerator, build_generator
from lggan.networks.class_routed import ClassRoutedConv2d, HeadForm
from lggan.networks.discriminator import MultiScaleDiscriminator
from lggan.networks.dual_discriminator import DualDiscriminator
from lggan.networks.upsample import SemanticAwareUpsample
from lggan.task import AnyConfig

CLASSES_PER_WINDOW = 1.2  # that a 7x7 window of a real label map meets on average (specification F.4.3)

# Parts by the names of their modules, in the order of the specification's table (F.1).
_SEMANTIC_PARTS = (
    ("global: residual convs", ("global_branch.blocks.*.conv_*",)),
    ("global: SPADE gamma+beta convs", ("global_branch.blocks.*.gamma*", "global_branch.blocks.*.beta*")),
    ("global: SPADE shared convs", ("global_branch.blocks.*.shared*",)),
    ("global: upsampling", ("global_branch.doublings.*",)),
    ("global: image conv", ("global_branch.image*",)),
    ("encoder: conv1-3", ("encoder.conv[123]*",)),
    ("encoder: conv4-5", ("encoder.conv[45]*",)),
    ("encoder: upsampling", ("encoder.upsample*",)),
    ("local: residual blocks", ("local_branch.tower.*",)),
    ("local: upsampling", ("local_branch.decoder.*",)),
    ("local: class convs", ("local_branch.heads*",)),
    ("local: fusing conv", ("local_branch.fuse*",)),
    ("attention", ("attention.*",)),
    ("classification (training)", ("classifier.*",)),
)
_CROSS_VIEW_PARTS = (
    ("encoder", ("encoder.*",)),
    ("residual blocks", ("tower.*",)),
    ("upsampling behind them", ("upsample*",)),
    ("local: upsampling", ("local_branch.decoder.*",)),
    ("local: class convs", ("local_branch.heads*",)),
    ("global", ("global_branch.*",)),
    ("attention", ("attention.*",)),
)


@dataclass(frozen=True)
class PartCost:
    """One part of a network.

    Attributes:
        name: of the part.
        parameters: numbers that training changes.
        macs: per picture, with every class head over the whole picture, as published and as exported.
        routed_macs: per picture with each class head where its class is, as in training and in PyTorch: every pixel,
            the reflected margin included, meets one head, at most. The convolution that fuses the heads is counted at
            `CLASSES_PER_WINDOW`, on which it depends.
    """

    name: str
    parameters: int
    macs: int
    routed_macs: int


@dataclass(frozen=True)
class UpsampleCost:
    """One semantic-aware upsampling, which one of the parts contains: MACs per picture of its steps.

    Attributes:
        place: name of the module.
        parameters: numbers that training changes.
        compress: 1x1 convolution in front of the prediction.
        kernels: their prediction.
        project: 1x1 convolution to the number of channels that is reassembled; 0 where it does not change.
        reassemble: weighted sums of source pixels.
    """

    place: str
    parameters: int
    compress: int
    kernels: int
    project: int
    reassemble: int

    @property
    def macs(self) -> int:
        """All steps together."""
        return self.compress + self.kernels + self.project + self.reassemble


@dataclass(frozen=True)
class NetworkCost:
    """The parts of a network at one picture size, and the semantic-aware upsamplings in them."""

    height: int
    width: int
    parts: tuple[PartCost, ...]
    upsamplings: tuple[UpsampleCost, ...] = ()

    def total(self) -> PartCost:
        """The sum of the parts."""
        return PartCost(
            "total",
            sum(part.parameters for part in self.parts),
            sum(part.macs for part in self.parts),
            sum(part.routed_macs for part in self.parts),
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        plain = asdict(self)
        plain["upsamplings"] = [{**asdict(one), "macs": one.macs} for one in self.upsamplings]
        return {**plain, "total": asdict(self.total())}


def generator_cost(config: AnyConfig) -> NetworkCost:
    """Cost of a generator at the picture size of its configuration, for one picture."""
    with torch.device("meta"):
        generator = build_generator(config).eval()
        generator.local_branch.form = HeadForm.DENSE
        macs = _counted(generator, _inputs(config))
        if isinstance(config, GeneratorConfig):  # it has no place in the dense form, which serves the export
            macs["classifier.linear"] = config.scored_heads * config.scored_heads * config.ngf
    table = _CROSS_VIEW_PARTS if isinstance(config, CrossViewConfig) else _SEMANTIC_PARTS
    routed = {**macs, **_routed(config)}
    parts = [
        PartCost(
            title,
            sum(p.numel() for name, p in generator.named_parameters() if _matches(name, patterns)),
            sum(count for name, count in macs.items() if _matches(name, patterns)),
            sum(count for name, count in routed.items() if _matches(name, patterns)),
        )
        for title, patterns in table
    ]
    cost = NetworkCost(
        config.height, config.width, tuple(part for part in parts if part.parameters), _upsamplings(generator, macs)
    )
    assert cost.total().parameters == sum(p.numel() for p in generator.parameters()), "a layer belongs to no part"
    assert cost.total().macs == sum(macs.values()), "a layer belongs to no part"
    return cost


def discriminator_cost(config: AnyConfig, width: int) -> NetworkCost:
    """Cost of the discriminator that a generator is trained against, for one picture that it judges.

    Args:
        width: of the discriminator, see `lggan.preset.TrainConfig.discriminator_width`.
    """
    size = (config.height, config.width)
    with torch.device("meta"):
        if isinstance(config, CrossViewConfig):
            discriminator: nn.Module = DualDiscriminator(width)
            inputs: tuple[Tensor, ...] = (torch.empty(1, 6, *size), torch.empty(1, 3, *size))
            names = ("discriminator beside the source", "discriminator beside the label map")
        else:
            discriminator = MultiScaleDiscriminator(config.semantic_channels, width)
            inputs = (torch.empty(1, config.semantic_channels + 3, *size),)
            names = ("discriminator, full size", "discriminator, half size")
        macs = _counted(discriminator, inputs)
    judges = discriminator.scales if isinstance(discriminator, MultiScaleDiscriminator) else discriminator.children()
    parts = []
    for name, judge in zip(names, judges, strict=True):
        inside = {id(module) for module in judge.modules()}
        count = sum(macs[key] for key, module in discriminator.named_modules() if id(module) in inside and key in macs)
        parts.append(PartCost(name, sum(p.numel() for p in judge.parameters()), count, count))
    return NetworkCost(*size, tuple(parts))


def _inputs(config: AnyConfig) -> tuple[Tensor, ...]:
    size = (config.height, config.width)
    if isinstance(config, CrossViewConfig):
        return torch.empty(1, 6, *size), torch.empty(1, 1, *size, dtype=torch.uint8)
    return (torch.empty(1, config.semantic_channels, *size),)


@torch.no_grad()
def _counted(network: nn.Module, inputs: Sequence[Tensor]) -> dict[str, int]:
    """MACs of every layer by its name; of a semantic-aware upsampling by itself, the reassembly."""
    found: dict[str, int] = {}

    def note(name: str, module: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> None:
        if isinstance(module, nn.Conv2d | ClassRoutedConv2d):
            found[name] = module.weight.numel() * output.shape[-2] * output.shape[-1] * output.shape[0]
        elif isinstance(module, nn.ConvTranspose2d):
            found[name] = module.weight.numel() * given[0].shape[-2] * given[0].shape[-1] * given[0].shape[0]
        elif isinstance(module, SemanticAwareUpsample):
            found[name] = module.kernel**2 * output.numel()

    with ExitStack() as hooks:
        for name, module in network.named_modules():
            handle = module.register_forward_hook(lambda *call, name=name: note(name, *call))
            hooks.callback(handle.remove)
        network(*inputs)
    return found


def _routed(config: AnyConfig) -> dict[str, int]:
    """What the class heads and their fusion really multiply (specification F.4.3, F.4.4)."""
    kernel, channels = 7, 3
    seen = (config.height + kernel - 1) * (config.width + kernel - 1)  # every pixel of the padded picture once
    found = {"local_branch.heads": seen * kernel**2 * channels * config.ngf}
    if isinstance(config, GeneratorConfig):
        pairs = round(CLASSES_PER_WINDOW * config.height * config.width)
        found["local_branch.fuse"] = pairs * 3**2 * channels * channels
    return found


def _upsamplings(generator: AnyGenerator, macs: dict[str, int]) -> tuple[UpsampleCost, ...]:
    return tuple(
        UpsampleCost(
            place=name,
            parameters=sum(p.numel() for p in module.parameters()),
            compress=macs[f"{name}.compress"],
            kernels=macs[f"{name}.predict"],
            project=macs.get(f"{name}.project", 0),
            reassemble=macs[name],
        )
        for name, module in generator.named_modules()
        if isinstance(module, SemanticAwareUpsample)
    )


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch(name, pattern) for pattern in patterns)
