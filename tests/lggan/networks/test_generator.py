"""The generator as a whole: shapes for every placement and depth, parameter counts, spectral normalisation."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from lggan.checkpoint import deployable
from lggan.config import GeneratorConfig, SauConfig, SauMask, SauPlacement, SauWindow, UpsamplingDepth
from lggan.networks.class_routed import HeadForm
from lggan.networks.encoder import Encoder
from lggan.networks.generator import LGGANGenerator, add_spectral_norm, fold_spectral_norm
from lggan.networks.global_branch import NearestDoubling
from lggan.networks.initialisation import initialise_xavier
from lggan.networks.semantics import encode_semantics
from lggan.networks.upsample import SemanticAwareUpsample
from lggan.preset import load_preset

PLACEMENTS = list(SauPlacement)
DEPTHS = list(UpsamplingDepth)


def small(
    placement: SauPlacement = SauPlacement.NONE, depth: UpsamplingDepth = UpsamplingDepth.NORMAL
) -> GeneratorConfig:
    return GeneratorConfig(
        classes=4,
        height=64,
        width=128,
        edges=True,
        heads=3,
        ngf=2,
        spade_hidden=3,
        residual_blocks=1,
        depth=depth,
        sau=SauConfig(placement=placement, kernel=3, compressed=2),
    )


def semantics_of(config: GeneratorConfig, height: int, width: int, n: int = 2) -> Tensor:
    draw = torch.Generator().manual_seed(0)
    label = torch.randint(0, config.classes, (n, 1, height // 8, width // 8), generator=draw)
    label = label.repeat_interleave(8, dim=2).repeat_interleave(8, dim=3)
    return encode_semantics(label, config.classes, label if config.edges else None)


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("placement", PLACEMENTS)
def test_shapes_ranges_and_fusion(placement: SauPlacement, depth: UpsamplingDepth) -> None:
    config = small(placement, depth)
    torch.manual_seed(0)
    generator = LGGANGenerator(config).eval()
    for height, width in ((64, 128), (128, 64)):  # the layout of the configuration and another
        with torch.no_grad():
            made = generator(semantics_of(config, height, width))
        images = (made.final, made.global_image, made.local_image)
        assert [tuple(image.shape) for image in images] == [(2, 3, height, width)] * 3
        assert all(image.abs().max() < 1 for image in images)
        assert made.attention_local.shape == (2, 1, height, width)
        assert 0 < made.attention_local.min() < made.attention_local.max() < 1
        assert made.heads.shape == (2, height, width)
        assert made.heads.unique().tolist() == [0, 1, 2]  # every class has a head, the last two share one
        assert made.answers is not None
        assert made.classification is not None
        assert made.answers.size == (2, height, width)
        assert made.answers.constant.shape == (3, 3)
        assert made.classification.scores.shape == (2, 2, 2)  # the merged head is not scored
        assert made.classification.present.shape == (2, 2)
        share = made.attention_local.double()
        fused = share * made.local_image.double() + (1 - share) * made.global_image.double()
        torch.testing.assert_close(made.final.double(), fused, rtol=0, atol=1e-6)


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_upsampling_stands_where_the_placement_says(placement: SauPlacement) -> None:
    for depth, doublings in ((UpsamplingDepth.NORMAL, 5), (UpsamplingDepth.MORE, 6)):
        generator = LGGANGenerator(small(placement, depth))
        places = [name for name, module in generator.named_modules() if isinstance(module, SemanticAwareUpsample)]
        expected = {
            SauPlacement.NONE: [],
            SauPlacement.ENCODER: ["encoder.upsample"],
            SauPlacement.DECODERS: [f"{b}.decoder.{u}" for b in ("local_branch", "attention") for u in ("up1", "up2")],
            SauPlacement.GLOBAL: [f"global_branch.doublings.{i}" for i in range(6) if doublings == 6 or i != 1],
        }[placement]
        assert places == expected
        nearest = sum(isinstance(module, NearestDoubling) for module in generator.modules())
        assert nearest == (0 if placement is SauPlacement.GLOBAL else doublings)
        transposed = sum(isinstance(module, nn.ConvTranspose2d) for module in generator.modules())
        assert transposed == {SauPlacement.DECODERS: 0, SauPlacement.ENCODER: 2}.get(placement, 4)


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_encoder_shapes(placement: SauPlacement) -> None:
    encoding = Encoder(small(placement))(semantics_of(small(), 64, 128))
    doubled = 2 if placement is SauPlacement.ENCODER else 1
    assert encoding.quarter.shape == (2, 8, 16 * doubled, 32 * doubled)
    assert encoding.deep.shape == (2, 32, 4 * doubled, 8 * doubled)


@pytest.mark.parametrize("window", list(SauWindow))
def test_window_decides_the_dilation(window: SauWindow) -> None:
    module = SemanticAwareUpsample(4, 2, SauConfig(window=window))
    assert module.dilation == {SauWindow.SOURCE: 2, SauWindow.EXPANDED: 1}[window]


def test_widest_caps_the_global_branch_alone() -> None:
    generator = LGGANGenerator(replace(small(), widest=8))
    widths = [block.conv_1.out_channels for block in generator.global_branch.blocks]
    assert widths == [8, 8, 8, 8, 8, 4, 2]  # 32, 32, 32, 16, 8, 4, 2 without the cap
    assert generator.encoder.conv3.out_channels == 8
    assert generator.encoder.conv5.out_channels == 8
    assert generator.eval()(semantics_of(small(), 64, 128)).final.shape == (2, 3, 64, 128)


@pytest.mark.parametrize("size", [(64, 100), (48, 128), (32, 128)])
def test_sizes_off_the_stride_are_refused(size: tuple[int, int]) -> None:
    generator = LGGANGenerator(small(depth=UpsamplingDepth.MORE))
    with pytest.raises(ValueError, match="multiple of 64"):
        generator(torch.zeros(1, 5, *size))


def test_examples_do_not_influence_each_other_in_evaluation() -> None:
    generator = LGGANGenerator(small(SauPlacement.DECODERS)).double().eval()
    semantics = semantics_of(small(), 64, 64).double()
    together = generator(semantics)
    for index in range(2):
        alone = generator(semantics[index : index + 1])
        for batched, single in zip(together[:4], alone[:4], strict=True):
            torch.testing.assert_close(batched[index : index + 1], single, rtol=0, atol=1e-12)


@pytest.mark.parametrize("mask", list(SauMask))
def test_both_forms_of_the_heads_make_the_same_pictures(mask: SauMask) -> None:
    config = small(SauPlacement.DECODERS)
    torch.manual_seed(0)
    generator = LGGANGenerator(replace(config, sau=replace(config.sau, mask=mask))).double().eval()
    nn.init.normal_(generator.local_branch.heads.weight)
    semantics = semantics_of(config, 64, 64).double()
    semantics[0, :4, 10:20] = 0  # of no class
    routed = generator(semantics)
    generator.local_branch.form = HeadForm.DENSE
    dense = generator(semantics)
    assert dense.answers is None
    assert dense.classification is None
    for one, other in zip(routed[:5], dense[:5], strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


def test_every_parameter_gets_a_gradient() -> None:
    """Also those of classes that do not occur: zero, not None."""
    for placement in PLACEMENTS:
        generator = LGGANGenerator(small(placement))
        made = generator(encode_semantics(torch.zeros(1, 1, 64, 64, dtype=torch.uint8), 4, torch.zeros(1, 1, 64, 64)))
        (made.final.sum() + made.classification.scores.sum()).backward()
        assert [name for name, parameter in generator.named_parameters() if parameter.grad is None] == []


# Parameters of the published networks, and of their layer that nothing uses (spec F.1).
PUBLISHED = {"cityscapes": (111_123_495, 1024 * 36 * 9 + 1024), "ade20k": (115_091_019, 1024 * 151 * 9 + 1024)}


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_published_parameter_counts(name: str) -> None:
    config = load_preset(name).generator
    config = replace(config, sau=SauConfig(placement=SauPlacement.NONE))
    with torch.device("meta"):
        generator = LGGANGenerator(config)
    total, dead = PUBLISHED[name]
    assert sum(parameter.numel() for parameter in generator.parameters()) == total - dead
    blocks = generator.global_branch.blocks
    parts = {
        "residual": sum(p.numel() for n, p in blocks.named_parameters() if n.split(".")[1].startswith("conv")),
        "modulation": sum(p.numel() for n, p in blocks.named_parameters() if ".gamma." in n or ".beta." in n),
        "shared": sum(p.numel() for n, p in blocks.named_parameters() if ".shared." in n),
        "heads": sum(p.numel() for p in generator.local_branch.heads.parameters()),
        "tower": sum(p.numel() for p in generator.local_branch.tower.parameters()),
        "attention": sum(p.numel() for p in generator.attention.parameters()),
    }
    city = {"residual": 66.728, "modulation": 25.237, "shared": 0.749, "heads": 0.329, "tower": 10.621}
    city["attention"] = 0.369
    expected = city if name == "cityscapes" else {**city, "shared": 3.133, "heads": 0.489}
    assert {part: round(count / 1e6, 3) for part, count in parts.items()} == expected


def test_start_grid_of_the_published_sizes() -> None:
    """4 x 8 at 256 x 512 with six doublings, 8 x 8 at 256 x 256 with five; on the meta device nothing is computed."""
    seen: list[tuple[int, ...]] = []
    for name, size in (("cityscapes", (256, 512)), ("ade20k", (256, 256))):
        config = load_preset(name).generator
        with torch.device("meta"):
            generator = LGGANGenerator(config)
            generator.local_branch.form = HeadForm.DENSE  # routes would need the label map's contents
            first = generator.global_branch.blocks[0]
            first.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape[1:]))
            made = generator(torch.empty(1, config.semantic_channels, *size))
        assert made.final.shape == (1, 3, *size)
        assert generator.classifier.linear.out_features == {"cityscapes": 35, "ade20k": 51}[name]
    assert seen == [(1024, 4, 8), (1024, 8, 8)]


def spectral_convolutions(generator: LGGANGenerator) -> list[nn.Conv2d]:
    return [m for m in generator.modules() if isinstance(m, nn.Conv2d) and parametrize.is_parametrized(m, "weight")]


def test_spectral_norm_covers_the_residual_convolutions_alone() -> None:
    generator = LGGANGenerator(small())
    add_spectral_norm(generator)
    names = {name for name, m in generator.named_modules() if parametrize.is_parametrized(m)}
    blocks = [f"global_branch.blocks.{i}.conv_{c}" for i in range(7) for c in (0, 1)]
    assert names == {*blocks, *(f"global_branch.blocks.{i}.conv_s" for i in range(3, 7))}
    assert len(names) == 18


def test_normalised_weight_after_some_power_iterations() -> None:
    """Each forward pass in training mode takes one power iteration; the weight is divided by u^T W v of its end."""
    torch.manual_seed(1)
    generator = LGGANGenerator(small()).double()
    add_spectral_norm(generator)
    conv = generator.global_branch.blocks[4].conv_0
    assert conv in spectral_convolutions(generator)
    original = conv.parametrizations.weight.original
    with torch.no_grad():
        original.normal_()  # as a step of the optimiser would change it
    matrix = original.detach().flatten(1)
    v = conv.parametrizations.weight[0]._v.clone()
    generator.train()
    semantics = semantics_of(small(), 64, 64).double()
    for _ in range(3):
        with parametrize.cached():
            generator(semantics)
        u, v = _one_power_iteration(matrix, v)
    generator.eval()
    expected = original / (u @ matrix @ v)
    torch.testing.assert_close(conv.weight, expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(conv.weight, expected, rtol=0, atol=1e-12)  # reading does not move it


def _one_power_iteration(matrix: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    u = matrix @ v
    u = u / u.norm()
    v = matrix.T @ u
    return u, v / v.norm()


@pytest.mark.parametrize("training", [True, False])
def test_folding_keeps_the_pictures(training: bool) -> None:
    torch.manual_seed(2)
    generator = LGGANGenerator(small(SauPlacement.DECODERS))
    add_spectral_norm(generator)
    semantics = semantics_of(small(), 64, 64)
    generator.train()(semantics)  # moves the power iteration and the running statistics
    before = {name: tensor.clone() for name, tensor in generator.state_dict().items()}
    generator.train(training)
    copy = deployable(generator)
    assert generator.training is training
    assert all(torch.equal(tensor, before[name]) for name, tensor in generator.state_dict().items())
    expected = generator.eval()(semantics)
    assert not copy.training
    assert not any(parameter.requires_grad for parameter in copy.parameters())
    assert spectral_convolutions(copy) == []
    for ours, theirs in zip(copy(semantics)[:4], expected[:4], strict=True):
        assert torch.equal(ours, theirs)
    generator.train()
    fold_spectral_norm(generator)
    assert spectral_convolutions(generator) == []
    assert generator.state_dict().keys() == LGGANGenerator(small(SauPlacement.DECODERS)).state_dict().keys()
    assert torch.equal(generator(semantics).final, expected.final)


def test_initial_weights() -> None:
    torch.manual_seed(0)
    generator = LGGANGenerator(small())
    add_spectral_norm(generator)
    untouched = {id(conv): conv.parametrizations.weight.original.clone() for conv in spectral_convolutions(generator)}
    initialise_xavier(generator)
    for conv in spectral_convolutions(generator):
        assert torch.equal(conv.parametrizations.weight.original, untouched[id(conv)])
    conv = generator.local_branch.tower[0].conv1
    assert conv.bias is not None
    assert conv.bias.abs().sum() == 0
    fan = 9 * (conv.in_channels + conv.out_channels)
    assert conv.weight.std().item() == pytest.approx(0.02 * (2 / fan) ** 0.5, rel=0.1)
