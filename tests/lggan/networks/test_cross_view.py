"""The cross-view generator: its parameters, its parts put together by hand, and what void pixels do."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import conv2d, conv_transpose2d, pad

from lggan.config import SauConfig, SauMask, SauPlacement
from lggan.cross_view_config import CrossViewConfig
from lggan.networks.build import build_generator
from lggan.networks.class_routed import HeadForm
from lggan.networks.cross_view import CrossViewGenerator
from lggan.networks.cross_view_inputs import NO_HEAD

PLAIN = SauConfig(placement=SauPlacement.NONE)
SMALL = CrossViewConfig(
    classes=3, height=16, width=24, colors=((0, 0, 0),) * 3, groups=(0, 1, 2), ngf=4, residual_blocks=2, sau=PLAIN
)


def random_inputs(n: int, height: int, width: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    draw = np.random.default_rng(seed)
    conditions = torch.from_numpy(draw.uniform(-1, 1, (n, 6, height, width)))
    groups = draw.choice(np.array([0, 1, 2, NO_HEAD], np.uint8), (n, 1, height // 4, width // 4))
    return conditions, torch.from_numpy(groups.repeat(4, axis=2).repeat(4, axis=3))


def random_generator(config: CrossViewConfig, seed: int = 0) -> CrossViewGenerator:
    torch.manual_seed(seed)
    generator = CrossViewGenerator(config).double().eval()
    for parameter in generator.parameters():
        torch.nn.init.normal_(parameter, 0.0, 0.2)
    return generator


def test_parameters_are_the_published_ones() -> None:
    config = CrossViewConfig(19, 256, 256, ((0, 0, 0),) * 19, tuple(i % 6 for i in range(19)), sau=PLAIN)
    with torch.device("meta"):
        generator = build_generator(config)
    count = sum(parameter.numel() for parameter in generator.parameters())
    never_used = 3 * 64 * 49 + 3  # the published network's seventh head
    assert count == 12_191_258 - never_used


def by_hand(generator: CrossViewGenerator, conditions: Tensor, groups: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Final, global, local picture and the local one's share, from the specification and PyTorch's functions alone."""
    state = generator.state_dict()

    def norm(x: Tensor) -> Tensor:
        mean, variance = x.mean((2, 3), keepdim=True), x.var((2, 3), correction=0, keepdim=True)
        return (x - mean) / torch.sqrt(variance + 1e-5)

    def conv(x: Tensor, name: str, margin: int = 0, stride: int = 1, padding: int = 0) -> Tensor:
        if margin:
            x = pad(x, (margin,) * 4, mode="reflect")
        return conv2d(x, state[f"{name}.weight"], state[f"{name}.bias"], stride=stride, padding=padding)

    def decode(x: Tensor, name: str) -> Tensor:
        for up in ("up1", "up2"):
            weight, bias = state[f"{name}.decoder.{up}.weight"], state[f"{name}.decoder.{up}.bias"]
            x = norm(conv_transpose2d(x, weight, bias, stride=2, padding=1, output_padding=1)).relu()
        return x

    x = norm(conv(conditions, "encoder.conv1", margin=3)).relu()
    x = norm(conv(x, "encoder.conv2", stride=2, padding=1)).relu()
    middle = norm(conv(x, "encoder.conv3", stride=2, padding=1)).relu()
    for block in range(generator.config.residual_blocks):
        inner = norm(conv(middle, f"tower.{block}.conv1", margin=1)).relu()
        middle = middle + norm(conv(inner, f"tower.{block}.conv2", margin=1))
    feature = decode(middle, "local_branch")
    local = torch.zeros_like(conditions[:, :3])
    for head in range(3):
        masked = pad(feature * (groups == head), (3, 3, 3, 3), mode="reflect")
        weight, bias = state["local_branch.heads.weight"][head], state["local_branch.heads.bias"][head]
        local = local + conv2d(masked, weight, bias).tanh()
    overall = conv(decode(middle, "global_branch"), "global_branch.image", margin=3).tanh()
    share = conv(decode(middle, "attention"), "attention.weights").softmax(dim=1)
    return share[:, :1] * local + share[:, 1:] * overall, overall, local, share[:, :1]


@pytest.mark.parametrize("form", list(HeadForm))
def test_forward_pass_by_hand(form: HeadForm) -> None:
    generator = random_generator(SMALL)
    generator.local_branch.form = form
    conditions, groups = random_inputs(2, 16, 24)
    assert (groups == NO_HEAD).any()
    with torch.no_grad():
        made = generator(conditions, groups)
        expected = by_hand(generator, conditions, groups)
    images = (made.final, made.global_image, made.local_image, made.attention_local)
    for ours, theirs in zip(images, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)
    assert made.local_image.abs().max() > 1  # a sum of tanh, not squashed
    assert made.classification is None


@pytest.mark.parametrize("mask", list(SauMask))
@pytest.mark.parametrize("placement", list(SauPlacement))
def test_every_placement_of_the_upsampling(placement: SauPlacement, mask: SauMask) -> None:
    sau = SauConfig(placement, kernel=3, compressed=4, mask=mask)
    generator = random_generator(replace(SMALL, sau=sau))
    conditions, groups = random_inputs(1, 16, 24)
    made = generator(conditions, groups)
    assert made.final.shape == (1, 3, 16, 24)
    assert torch.isfinite(made.final).all()
    made.final.sum().backward()
    assert all(parameter.grad is not None for parameter in generator.parameters())
    names = {name for name, _ in generator.named_parameters() if ".predict." in name}
    places = {name.split(".")[0] for name in names}
    assert places == {
        SauPlacement.NONE: set(),
        SauPlacement.DECODERS: {"local_branch", "global_branch", "attention"},
        SauPlacement.ENCODER: {"upsample", "local_branch", "global_branch", "attention"},
        SauPlacement.GLOBAL: {"global_branch"},
    }[placement] - ({"local_branch", "global_branch", "attention"} if placement is SauPlacement.ENCODER else set())


def test_void_pixels_belong_to_no_head() -> None:
    """With every pixel void each head answers with its bias alone."""
    generator = random_generator(SMALL)
    conditions, groups = random_inputs(1, 16, 24)
    made = generator(conditions, torch.full_like(groups, NO_HEAD))
    expected = generator.local_branch.heads.bias.tanh().sum(dim=0).view(1, 3, 1, 1).expand(1, 3, 16, 24)
    torch.testing.assert_close(made.local_image, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("size", [(16, 22), (18, 24)])
def test_sizes_off_the_stride_are_refused(size: tuple[int, int]) -> None:
    conditions, groups = torch.zeros(1, 6, *size), torch.zeros(1, 1, *size, dtype=torch.uint8)
    with pytest.raises(ValueError, match="not a multiple of 4"):
        CrossViewGenerator(SMALL)(conditions, groups)
