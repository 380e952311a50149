"""The formulas against the specification's figures (F.1, F.4, F.5) and against counts by hand."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from export.rewrites.dead_biases import drop_dead_biases
from export.rewrites.names import Rewrite
from export.rewrites.winograd import WinogradConv2d, use_winograd
from export.savings import published_macs, savings
from lggan.config import GeneratorConfig, SauConfig, SauPlacement
from lggan.networks.build import build_generator
from lggan.preset import load_preset
from lggan.task import AnyConfig
from runtime.contract.graph_report import Saving
from runtime.graph_words import rewrite_title
from tests.export.samples import Case, random_generator


def _official(name: str, **changes: int) -> AnyConfig:
    """A preset as published: without semantic-aware upsampling."""
    config = load_preset(name).generator
    return replace(config, sau=replace(config.sau, placement=SauPlacement.NONE), **changes)


def _plain(config: AnyConfig, label: int = 0) -> NDArray[np.uint8]:
    return np.full((config.height, config.width), label, np.uint8)


def _ledger(config: AnyConfig, *rewrites: Rewrite, label: NDArray[np.uint8] | None = None) -> dict[str, Saving]:
    instance = np.zeros((config.height, config.width), np.int32) if config.edges else None
    found = savings(config, rewrites or tuple(Rewrite), _plain(config) if label is None else label, instance)
    return {saving.rewrite: saving for saving in found}


@pytest.fixture(scope="module")
def city() -> dict[str, Saving]:
    """The ledger of the Cityscapes network on a label map of one class."""
    return _ledger(_official("cityscapes"))


@pytest.mark.parametrize(("name", "giga"), [("cityscapes", 445.91), ("ade20k", 297.59), ("dayton_a2g", 58.71)])
def test_published_totals(name: str, giga: float) -> None:
    assert published_macs(_official(name)) / 1e9 == pytest.approx(giga, abs=0.005)


def test_before_is_what_the_specification_counts(city: dict[str, Saving]) -> None:
    giga = {name: saving.macs_before / 1e9 for name, saving in city.items()}
    assert giga["gamma-beta"] == pytest.approx(184.365, abs=5e-4)
    assert giga["spade-patches"] == pytest.approx(184.365 + 21.714, abs=1e-3)
    assert giga["class-heads"] == pytest.approx(43.159 + 0.372, abs=1e-3)
    assert giga["label-stem"] == pytest.approx(14.8, abs=5e-3)


def test_class_heads_of_one_class_take_one_product_per_strip(city: dict[str, Saving]) -> None:
    """F.4.3 counts 262x518 padded pixels; a strip is a row of a window, and there are 262x512 of them."""
    strips, pixels = 262 * 512, 256 * 512
    # per pair 3 numbers to 3x3 pixels of 3 colours; the same of the constant channel
    assert city["class-heads"].macs_after == strips * 64 * 147 + 81 * pixels + 27 * pixels
    features_and_products = strips * 7 * (64 + 3)
    assert city["class-heads"].activation_bytes_after == 4 * (features_and_products + (6 + 27 + 3) * pixels)
    assert city["class-heads"].note.startswith("1.00 of 35 heads per pixel. ")


def test_one_class_has_25_neighbourhoods(city: dict[str, Saving]) -> None:
    """Norms per size: channels of gamma and beta together, from the widths of the seven blocks (A.3)."""
    widths = {
        (4, 8): [1024] * 2,
        (8, 16): [1024] * 2,
        (16, 32): [1024] * 2,
        (32, 64): [1024, 512, 1024],
        (64, 128): [512, 256, 512],
        (128, 256): [256, 128, 256],
        (256, 512): [128, 64, 128],
    }
    expected = sum(
        9 * 128 * 2 * channels * min(height, 5) * min(width, 5)
        for (height, width), all_channels in widths.items()
        for channels in all_channels
    )
    assert city["spade-patches"].macs_after == expected
    assert "0.0 % at 256x512" in city["spade-patches"].note


def test_noise_has_nothing_to_share() -> None:
    config = _official("tiny", classes=200, heads=4)
    assert isinstance(config, GeneratorConfig)
    noise = np.random.default_rng(1).permutation(32 * 64).reshape(32, 64) % 200
    ledger = _ledger(config, Rewrite.GAMMA_BETA, Rewrite.SPADE_PATCHES, label=noise.astype(np.uint8))
    assert ledger["spade-patches"].macs_after == ledger["gamma-beta"].macs_before


def test_the_label_stem_multiplies_nothing(city: dict[str, Saving]) -> None:
    stem = city["label-stem"]
    assert stem.macs_after == 0
    # one class, inside everywhere: the window is reflected at the borders
    assert stem.note == "7 look-ups per pixel, and 49 for each of 1 distinct columns of 7 pixels"
    assert stem.weight_bytes_before == 4 * 36 * 49 * 64
    assert stem.weight_bytes_after == 4 * 73 * 49 * 64  # 36 classes with and without edge, and outside


def test_winograd_is_what_its_algebra_says(city: dict[str, Saving]) -> None:
    """``2.25 in out P + 81 in P + 36 out P`` where it pays: the tower, and one block of the global branch."""
    tower = [(256, 256, 64 * 128)] * 18
    blocks = [(512, 256, 64 * 128), (256, 256, 64 * 128)]  # conv_0 and conv_1 of up_1
    dense = [*tower, *blocks]
    assert city["winograd"].macs_before == sum(9 * c * m * p for c, m, p in dense)
    assert city["winograd"].macs_after == sum(9 * c * m * p // 4 + 81 * c * p + 36 * m * p for c, m, p in dense)
    assert city["winograd"].weight_bytes_after == 4 * city["winograd"].weight_bytes_before


def test_small_ones_by_hand(city: dict[str, Saving]) -> None:
    sigmoid = city["attention-sigmoid"]
    assert (sigmoid.macs_before, sigmoid.macs_after) == (2 * 64 * 256 * 512, 64 * 256 * 512)
    assert (sigmoid.weight_bytes_before, sigmoid.weight_bytes_after) == (4 * 130, 4 * 65)
    assert (sigmoid.activation_bytes_before, sigmoid.activation_bytes_after) == (4 * 5 * 256 * 512, 4 * 2 * 256 * 512)
    batch = city["batch-norm"]
    assert batch.activation_bytes_before == 2 * batch.activation_bytes_after
    assert batch.macs_before == batch.macs_after == 0
    spectral = city["spectral-norm"]
    assert spectral.macs_after == spectral.activation_bytes_after == 0
    assert spectral.macs_before * 4 == spectral.activation_bytes_before


def test_projecting_first_by_hand() -> None:
    """4 ngf -> 2 ngf -> ngf channels in the decoders of two branches, k = 5, 25 taps."""
    config = _official("tiny")
    config = replace(config, sau=SauConfig(SauPlacement.DECODERS, kernel=5, compressed=3))
    saving = _ledger(config, Rewrite.PROJECT_FIRST)["project-first"]
    ngf = config.ngf
    before = after = 0
    for channels, out, pixels in ((4 * ngf, 2 * ngf, 8 * 16), (2 * ngf, ngf, 16 * 32)):
        before += 2 * (25 * channels * 4 * pixels + channels * out * 4 * pixels)
        after += 2 * (25 * out * 4 * pixels + channels * out * pixels)
    assert (saving.macs_before, saving.macs_after) == (before, after)
    assert published_macs(config) > published_macs(replace(config, sau=SauConfig(SauPlacement.NONE)))


def test_only_what_is_applied_and_found_is_in_the_ledger(city: dict[str, Saving]) -> None:
    assert list(_ledger(_official("tiny"), Rewrite.CLASS_HEADS, Rewrite.BATCH_NORM)) == ["batch-norm", "class-heads"]
    assert "project-first" not in city
    views = _ledger(_official("dayton_a2g"))
    assert list(views) == ["dead-biases", "class-heads", "attention-sigmoid", "winograd"]
    assert views["class-heads"].macs_before / 1e9 == pytest.approx(3.699, abs=5e-4)


def test_void_paints_nothing() -> None:
    config = _official("dayton_a2g")
    half = _plain(config, 255)
    painted = next(index for index, group in enumerate(config.groups) if group >= 0)  # type: ignore[union-attr]
    half[:, : config.width // 2] = painted
    saving = _ledger(config, Rewrite.CLASS_HEADS, label=half)["class-heads"]
    # 3 rows of reflection above and below; strips and windows reach 3 columns into the void
    columns = config.width // 2 + 3
    constants = 3 * config.height * config.width
    assert saving.macs_after == (config.height + 6) * columns * 64 * 147 + 9 * config.height * columns + constants
    assert _ledger(config, Rewrite.CLASS_HEADS, label=_plain(config, 255))["class-heads"].macs_after == constants


@pytest.mark.parametrize("placement", list(SauPlacement))
@pytest.mark.parametrize("cross_view", [False, True])
def test_dead_biases_are_those_that_disappear(cross_view: bool, placement: SauPlacement) -> None:
    generator = random_generator(Case(cross_view=cross_view, placement=placement))[0]

    def biases() -> int:
        return sum(value.numel() for name, value in generator.state_dict().items() if name.endswith(".bias"))

    saving = _ledger(generator.config, Rewrite.DEAD_BIASES)["dead-biases"]
    before = biases()
    drop_dead_biases(generator)
    assert saving.weight_bytes_before - saving.weight_bytes_after == 4 * (before - biases())
    assert ("running means" in saving.note) != cross_view


def test_dead_biases_of_the_official_network(city: dict[str, Saving]) -> None:
    """872 at ngf 8 (F.5) in front of instance norms; in the global branch all but the last block's second one."""
    saving = city["dead-biases"]
    widths = [1024, 1024, 1024, 1024, 512, 256, 128, 64]
    in_blocks = sum(min(before, after) + after for before, after in pairwise(widths))
    assert saving.weight_bytes_before == 4 * (8 * 872 + in_blocks)
    assert saving.weight_bytes_after == 4 * 64
    assert saving.note == (
        f"{8 * 872} numbers that the following norm subtracts again, {in_blocks - 64} that the running means further "
        "on take over"
    )


@pytest.mark.parametrize("placement", [SauPlacement.NONE, SauPlacement.DECODERS, SauPlacement.ENCODER])
def test_winograd_is_where_the_plan_puts_it(placement: SauPlacement) -> None:
    """A tower of 128 channels, 64x64 pixels or, behind upsampling in the encoder, four times as many."""
    config = _official("tiny", ngf=32, spade_hidden=4, residual_blocks=1, height=256, width=256)
    assert isinstance(config, GeneratorConfig)
    config = replace(config, sau=SauConfig(placement))
    generator = build_generator(config).requires_grad_(False)
    use_winograd(generator)
    kernels = sum(module.kernels.numel() for module in generator.modules() if isinstance(module, WinogradConv2d))
    saving = _ledger(config, Rewrite.WINOGRAD)["winograd"]
    assert saving.weight_bytes_after == 4 * kernels > 0


def test_every_rewrite_has_a_title() -> None:
    assert all(rewrite_title(rewrite.value) != rewrite.value for rewrite in Rewrite)
