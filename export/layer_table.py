"""The layers of a generator with the sizes that they work on, found without computing anything: `layer_table`."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lggan.cross_view_config import CrossViewConfig
from lggan.networks.build import build_generator
from lggan.networks.class_routed import ClassRoutedConv2d, HeadForm
from lggan.networks.cross_view import CONDITION_CHANNELS
from lggan.networks.upsample import SemanticAwareUpsample
from lggan.task import AnyConfig


@dataclass(frozen=True)
class Layer:
    """One layer with weights, or one semantic-aware upsampling as a whole.

    Attributes:
        name: of the module.
        kind: of the module.
        weight: shape; of a convolution [M, C, k, k], of a transposed one [C, M, k, k], of the class heads
            [K, 3, C, k, k]; empty for an upsampling.
        bias: number of its biases.
        stride: in both directions.
        source, output: shapes [C, H, W] of the feature map that it reads and of what it gives.
    """

    name: str
    kind: type[nn.Module]
    weight: tuple[int, ...]
    bias: int
    stride: int
    source: tuple[int, int, int]
    output: tuple[int, int, int]

    @property
    def pixels(self) -> int:
        """Of the output."""
        return self.output[1] * self.output[2]

    @property
    def source_pixels(self) -> int:
        """Of the feature map that it reads."""
        return self.source[1] * self.source[2]


@torch.no_grad()
def layer_table(config: AnyConfig) -> dict[str, Layer]:
    """The layers of the published formulation by name, in the order of their computation, at the config's size."""
    found: dict[str, Layer] = {}

    def note(name: str, module: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> None:
        weight, bias = getattr(module, "weight", None), getattr(module, "bias", None)
        upsamples = isinstance(module, SemanticAwareUpsample)
        found[name] = Layer(
            name=name,
            kind=type(module),
            weight=() if upsamples or weight is None else tuple(weight.shape),
            bias=0 if bias is None else bias.numel(),
            stride=module.stride[0] if isinstance(module, nn.Conv2d | nn.ConvTranspose2d) else 1,
            source=_size(given[0]),
            output=_size(output),
        )

    with torch.device("meta"), ExitStack() as hooks:
        generator = build_generator(config).eval()
        generator.local_branch.form = HeadForm.DENSE
        for name, module in generator.named_modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | ClassRoutedConv2d | SemanticAwareUpsample):
                handle = module.register_forward_hook(lambda *call, name=name: note(name, *call))
                hooks.callback(handle.remove)
        size = (config.height, config.width)
        if isinstance(config, CrossViewConfig):
            generator(torch.empty(1, CONDITION_CHANNELS, *size), torch.empty(1, 1, *size, dtype=torch.uint8))
        else:
            generator(torch.empty(1, config.semantic_channels, *size))
    return found


def _size(tensor: Tensor) -> tuple[int, int, int]:
    return tensor[0].numel() // (tensor.shape[-2] * tensor.shape[-1]), tensor.shape[-2], tensor.shape[-1]
