"""The cost model against the specification's table (F.1), its figures for upsampling (B.7), and layers that ran."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from lggan.config import GeneratorConfig, SauConfig, SauPlacement
from lggan.cost import CLASSES_PER_WINDOW, NetworkCost, discriminator_cost, generator_cost
from lggan.networks.build import build_generator
from lggan.networks.class_routed import HeadForm
from lggan.preset import load_preset
from lggan.task import AnyConfig

# Millions of parameters and billions of MACs, measured on the authors' modules.
CITYSCAPES = {
    "global: residual convs": (66.728, 74.961),
    "global: SPADE gamma+beta convs": (25.237, 184.365),
    "global: SPADE shared convs": (0.749, 21.714),
    "global: image conv": (0.002, 0.226),
    "encoder: conv1-3": (0.482, 19.629),
    "encoder: conv4-5": (5.900, 4.832),
    "local: residual blocks": (10.621, 86.973),
    "local: upsampling": (0.369, 4.832),
    "local: class convs": (0.329, 43.159),
    "local: fusing conv": (0.003, 0.372),
    "attention": (0.369, 4.849),
    "classification (training)": (0.002, 0.000),
}
ADE20K = {
    "global: residual convs": (66.728, 42.010),
    "global: SPADE gamma+beta convs": (25.237, 93.315),
    "global: SPADE shared convs": (3.133, 45.623),
    "global: image conv": (0.002, 0.113),
    "encoder: conv1-3": (0.843, 33.450),
    "encoder: conv4-5": (5.900, 2.416),
    "local: residual blocks": (10.621, 43.487),
    "local: upsampling": (0.369, 2.416),
    "local: class convs": (0.489, 32.061),
    "local: fusing conv": (0.004, 0.276),
    "attention": (0.369, 2.424),
    "classification (training)": (0.003, 0.000),
}
CROSS_VIEW = {
    "encoder": (0.388, 3.649),
    "residual blocks": (10.621, 43.487),
    "local: upsampling": (0.369, 2.416),
    "local: class convs": (0.056, 3.699),
    "global": (0.378, 3.032),  # 2.4159 + 0.6166; the table adds the rounded parts
    "attention": (0.369, 2.424),
}
CROSS_VIEW_64 = {
    "encoder": (0.388, 0.228),
    "residual blocks": (10.621, 2.718),
    "local: upsampling": (0.369, 0.151),
    "local: class convs": (0.056, 0.231),
    "global": (0.378, 0.190),
    "attention": (0.369, 0.152),
}


def published(name: str) -> AnyConfig:
    """The CVPR network of a preset: without semantic-aware upsampling, at full width."""
    config = load_preset(name).generator
    return replace(config, sau=SauConfig(placement=SauPlacement.NONE), ngf=64)


def dead_parameters(config: AnyConfig) -> int:
    """Of layers in the authors' checkpoints that nothing is computed with and that have no place in ours: `fc`, a 3x3
    convolution to 1024 channels, and in cross-view a seventh class head."""
    if isinstance(config, GeneratorConfig):
        return 9 * 1024 * config.semantic_channels + 1024
    return 64 * 3 * 7 * 7 + 3


@pytest.mark.parametrize(
    ("name", "parts", "parameters", "total"),
    [
        ("cityscapes", CITYSCAPES, 111_123_495, 445.91),
        ("ade20k", ADE20K, 115_091_019, 297.59),
        ("dayton_a2g", CROSS_VIEW, 12_191_258, 58.71),
        ("dayton_a2g_64", CROSS_VIEW_64, 12_191_258, 3.67),
    ],
)
def test_the_specifications_table(
    name: str, parts: dict[str, tuple[float, float]], parameters: int, total: float
) -> None:
    cost = generator_cost(published(name))
    found = {part.name: (round(part.parameters / 1e6, 3), round(part.macs / 1e9, 3)) for part in cost.parts}
    assert found == parts
    assert cost.total().parameters + dead_parameters(published(name)) == parameters
    assert round(cost.total().macs / 1e9, 2) == total


@pytest.mark.parametrize(
    ("name", "parameters", "macs"),
    [("cityscapes", 5.601, 10.47), ("ade20k", 5.837, 7.83), ("dayton_a2g", 2 * 2.768, 2 * 3.197)],
)
def test_discriminators(name: str, parameters: float, macs: float) -> None:
    total = discriminator_cost(published(name), 64).total()
    assert total.parameters / 1e6 == pytest.approx(parameters, abs=6e-4)
    assert total.macs / 1e9 == pytest.approx(macs, abs=6e-3)


@pytest.mark.parametrize(
    ("kernel", "first", "second"),
    [
        (1, (55_844, 0.134, 0.052, 0.268, 0.105, 0.560), (23_012, 0.268, 0.210, 0.268, 0.210, 0.956)),
        (3, (107_044, 0.134, 0.472, 0.268, 0.105, 0.979), (74_212, 0.268, 1.887, 0.268, 0.210, 2.634)),
    ],
)
def test_semantic_aware_upsampling(kernel: int, first: tuple[float, ...], second: tuple[float, ...]) -> None:
    """The projection runs before the reassembly, at low resolution (B.5c)."""
    config = replace(published("cityscapes"), sau=SauConfig(SauPlacement.DECODERS, encoder_kernel=kernel))
    cost = generator_cost(config)
    found = {
        one.place: (
            one.parameters,
            *(round(m / 1e9, 3) for m in (one.compress, one.kernels, one.project, one.reassemble, one.macs)),
        )
        for one in cost.upsamplings
    }
    assert list(found.values()) == [first, second] * 2
    assert list(found) == [f"{branch}.decoder.up{i}" for branch in ("local_branch", "attention") for i in (1, 2)]
    local = next(part for part in cost.parts if part.name == "local: upsampling")
    assert local.macs == sum(one.macs for one in cost.upsamplings[:2])
    assert local.parameters == sum(one.parameters for one in cost.upsamplings[:2])


@pytest.mark.parametrize(("kernel", "macs"), [(1, 1.596), (3, 3.833)])
def test_upsampling_of_the_global_branch(kernel: int, macs: float) -> None:
    config = replace(published("cityscapes"), sau=SauConfig(SauPlacement.GLOBAL, encoder_kernel=kernel))
    cost = generator_cost(config)
    part = next(part for part in cost.parts if part.name == "global: upsampling")
    assert len(cost.upsamplings) == 6
    assert round(part.macs / 1e9, 3) == macs
    if kernel == 1:
        assert part.parameters == 293_336


def test_what_the_routed_heads_multiply() -> None:
    """Every pixel of the padded picture meets one head (F.4.3); 81 products for each pair beside it (F.4.4)."""
    cost = {part.name: part.routed_macs for part in generator_cost(published("cityscapes")).parts}
    assert round(cost["local: class convs"] / 1e9, 3) == 1.277
    assert cost["local: fusing conv"] == round(CLASSES_PER_WINDOW * 256 * 512) * 81
    routed = {part.name: part.routed_macs for part in generator_cost(published("dayton_a2g")).parts}
    assert round(routed["local: class convs"] / 1e9, 3) == 0.646


@pytest.mark.parametrize("name", ["tiny", "tiny_cross_view"])
@pytest.mark.parametrize("placement", list(SauPlacement))
def test_layers_that_ran(name: str, placement: SauPlacement) -> None:
    """PyTorch's own counter, which sees every convolution and matrix product. It does not know the reassembly; it
    counts a transposed convolution like us."""
    config = replace(load_preset(name).generator, sau=SauConfig(placement, compressed=4, kernel=3))
    cost = generator_cost(config)
    generator = build_generator(config).eval()
    generator.local_branch.form = HeadForm.DENSE
    channels = 6 if name == "tiny_cross_view" else config.semantic_channels  # type: ignore[union-attr]
    inputs = [torch.zeros(1, channels, config.height, config.width)]
    if name == "tiny_cross_view":
        inputs.append(torch.zeros(1, 1, config.height, config.width, dtype=torch.uint8))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        generator(*inputs)
    expected = _total(cost) - sum(one.reassemble for one in cost.upsamplings)
    assert counter.get_total_flops() == 2 * expected
    assert cost.total().parameters == sum(p.numel() for p in generator.parameters())


def _total(cost: NetworkCost) -> int:
    return sum(part.macs for part in cost.parts if part.name != "classification (training)")


def test_plain_values() -> None:
    plain = generator_cost(load_preset("tiny").generator).to_dict()
    assert plain["total"]["macs"] == sum(part["macs"] for part in plain["parts"])
    assert {"place", "compress", "macs"} <= plain["upsamplings"][0].keys()
    assert (plain["height"], plain["width"]) == (32, 64)
