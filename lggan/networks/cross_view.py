"""The cross-view generator: a photo of a scene from another place (specification A.7)."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import instance_norm, pad, relu

from lggan.config import SauConfig, SauPlacement
from lggan.cross_view_config import CrossViewConfig
from lggan.networks.attention import AttentionFusion, fuse
from lggan.networks.class_routed import ClassRoutedConv2d, HeadForm
from lggan.networks.cross_view_inputs import NO_HEAD
from lggan.networks.decoder import Decoder
from lggan.networks.generator import Synthesis
from lggan.networks.head_answers import HeadAnswers, sum_of_heads
from lggan.networks.local_branch import ResidualBlock
from lggan.networks.upsample import SemanticAwareUpsample

CONDITION_CHANNELS = 6  # source photo, painted label map


class CrossViewGenerator(nn.Module):
    """LGGAN for cross-view translation: one tower, from which all three branches start.

    Shapes: conditions float [N, 6, H, W] in [-1, 1], the source photo and the painted label map; groups integers
    [N, 1, H, W], the head of each pixel, 0..G-1, or 255 for none; H and W multiples of 4 -> `Synthesis` without
    classification. The local picture is a plain sum of G pictures and not squashed: it lies in (-G, G), and so the
    final picture may leave [-1, 1].
    """

    def __init__(self, config: CrossViewConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = ConditionEncoder(config.ngf)
        self.tower = nn.Sequential(*(ResidualBlock(4 * config.ngf) for _ in range(config.residual_blocks)))
        self.upsample = (
            SemanticAwareUpsample(4 * config.ngf, 4 * config.ngf, config.sau)
            if config.sau.placement is SauPlacement.ENCODER
            else None
        )
        self.local_branch = SummedLocalBranch(config.ngf, config.heads, _where(config.sau, SauPlacement.DECODERS))
        self.global_branch = PlainGlobalBranch(
            config.ngf, _where(config.sau, SauPlacement.DECODERS, SauPlacement.GLOBAL)
        )
        self.attention = AttentionFusion(config.ngf, _where(config.sau, SauPlacement.DECODERS))

    def forward(self, conditions: Tensor, groups: Tensor) -> Synthesis:
        height, width = conditions.shape[2:]
        if not height % self.config.stride == width % self.config.stride == 0:
            raise ValueError(f"size {height}x{width} is not a multiple of {self.config.stride}")
        heads = groups[:, 0].long()  # [N, H, W]
        heads = heads.masked_fill(heads == NO_HEAD, self.config.heads)
        classes = heads if self.config.sau.needs_classes else None
        middle = self.tower(self.encoder(conditions))  # [N, 4 ngf, H/4, W/4]
        if self.upsample is not None:
            middle = self.upsample(middle, classes)  # [N, 4 ngf, H/2, W/2]
        local = self.local_branch(middle, heads, classes)
        global_image = self.global_branch(middle, classes)
        weight = self.attention(middle, classes)
        return Synthesis(
            final=fuse(local.image, global_image, weight),
            global_image=global_image,
            local_image=local.image,
            attention_local=weight,
            heads=heads,
            answers=local.answers,
            classification=None,
        )


class ConditionEncoder(nn.Module):
    """Three convolutions with instance normalisation. Shapes: [N, 6, H, W] -> [N, 4 ngf, H/4, W/4]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(CONDITION_CHANNELS, width, 7)
        self.conv2 = nn.Conv2d(width, 2 * width, 3, stride=2, padding=1)
        self.conv3 = nn.Conv2d(2 * width, 4 * width, 3, stride=2, padding=1)

    def forward(self, conditions: Tensor) -> Tensor:
        x = relu(instance_norm(self.conv1(pad(conditions, (3, 3, 3, 3), mode="reflect"))))  # [N, ngf, H, W]
        x = relu(instance_norm(self.conv2(x)))  # [N, 2 ngf, H/2, W/2]
        return relu(instance_norm(self.conv3(x)))  # [N, 4 ngf, H/4, W/4]


class SummedLocal(NamedTuple):
    """``image`` [N, 3, H, W] in (-G, G); ``answers`` of the heads, None in the dense form."""

    image: Tensor
    answers: HeadAnswers | None


class SummedLocalBranch(nn.Module):
    """Decoder, one sub-generator per group on the features of its group, and their sum.

    Shapes: middle [N, 4 ngf, H/4, W/4], heads int64 [N, H, W] (G where none), classes [N, H, W] or None
    -> `SummedLocal`.

    Attributes:
        form: see `HeadForm`.
    """

    def __init__(self, width: int, heads: int, sau: SauConfig) -> None:
        super().__init__()
        self.form = HeadForm.ROUTED
        self.decoder = Decoder(width, sau)
        self.heads = ClassRoutedConv2d(heads, width, 3, kernel=7)

    def forward(self, middle: Tensor, heads: Tensor, classes: Tensor | None = None) -> SummedLocal:
        feature = self.decoder(middle, classes)  # [N, ngf, H, W]
        if self.form is HeadForm.DENSE:
            each = self.heads.dense(feature, one_hot_heads(heads, self.heads.weight.shape[0], feature.dtype))
            return SummedLocal(each.tanh().sum(dim=1), None)  # [N, G, 3, H, W] -> [N, 3, H, W]
        answers = self.heads(feature, heads)
        return SummedLocal(sum_of_heads(answers), answers)


class PlainGlobalBranch(nn.Module):
    """Decoder and one 7x7 convolution. Shapes: [N, 4 ngf, H/4, W/4], classes -> [N, 3, H, W] in (-1, 1)."""

    def __init__(self, width: int, sau: SauConfig) -> None:
        super().__init__()
        self.decoder = Decoder(width, sau)
        self.image = nn.Conv2d(width, 3, 7)

    def forward(self, middle: Tensor, classes: Tensor | None = None) -> Tensor:
        feature = self.decoder(middle, classes)  # [N, ngf, H, W]
        return self.image(pad(feature, (3, 3, 3, 3), mode="reflect")).tanh()


def one_hot_heads(heads: Tensor, count: int, dtype: torch.dtype) -> Tensor:
    """Masks [N, count, H, W] of zeros and ones from head ids [N, H, W]; ids from ``count`` on have none."""
    ids = torch.arange(count, device=heads.device).view(1, count, 1, 1)
    return (heads.unsqueeze(1) == ids).to(dtype)


def _where(sau: SauConfig, *placements: SauPlacement) -> SauConfig:
    """The options of a decoder: semantic-aware upsampling in it if it is placed in one of ``placements``."""
    if sau.placement is SauPlacement.ENCODER:
        return sau  # the decoder starts from a doubled map
    return replace(sau, placement=SauPlacement.DECODERS if sau.placement in placements else SauPlacement.NONE)
