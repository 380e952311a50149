"""Semantic-aware upsampling: the operator against plain loops, its gradients, its memory, and the module around it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

from lggan.config import SauConfig, SauWindow
from lggan.networks.initialisation import initialise_xavier
from lggan.networks.upsample import SemanticAwareUpsample, semantic_aware_upsample
from tests.lggan import plain_loops


def random_case(
    k: int, s: int, size: tuple[int, int], n: int = 2, channels: int = 3, seed: int = 0
) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    feature = torch.randn(n, channels, *size, dtype=torch.float64, generator=draw)
    logits = 2 * torch.randn(n, k * k * s * s, *size, dtype=torch.float64, generator=draw)
    return feature, logits


@pytest.mark.parametrize(
    ("k", "s", "size"), [(3, 2, (4, 5)), (5, 2, (3, 7)), (3, 4, (2, 3)), (5, 4, (3, 2)), (1, 2, (2, 2)), (5, 2, (1, 1))]
)
def test_source_window_is_carafe(k: int, s: int, size: tuple[int, int]) -> None:
    feature, logits = random_case(k, s, size)
    expected = plain_loops.carafe(feature.numpy(), logits.numpy(), k, s)
    np.testing.assert_allclose(semantic_aware_upsample(feature, logits, k, s, s).numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("size", [(4, 6), (3, 5), (1, 2)])
@pytest.mark.parametrize(
    ("k", "s", "dilation"), [(3, 2, 1), (5, 2, 1), (3, 4, 1), (5, 4, 1), (3, 2, 3), (5, 3, 2), (3, 2, 4), (5, 2, 2)]
)
def test_any_dilation_is_the_unfold_of_the_enlarged_map(k: int, s: int, dilation: int, size: tuple[int, int]) -> None:
    feature, logits = random_case(k, s, size, seed=k + s + dilation)
    expected = plain_loops.unfold_of_enlarged(feature.numpy(), logits.numpy(), k, s, dilation)
    np.testing.assert_allclose(semantic_aware_upsample(feature, logits, k, s, dilation).numpy(), expected, atol=1e-12)


def test_reference_numbers(shared_dir: Path) -> None:
    stored = np.load(shared_dir / "reference" / "semantic_aware_upsampling.npz")
    cases = sorted({name.split("_")[0] for name in stored.files})
    assert cases
    for case in cases:
        k, s = (int(value) for value in stored[f"{case}_kernel_scale"])
        feature, logits = (torch.from_numpy(stored[f"{case}_{name}"]) for name in ("feature", "logits"))
        expected = stored[f"{case}_output"]
        exact = semantic_aware_upsample(feature.double(), logits.double(), k, s, s).numpy()
        single = semantic_aware_upsample(feature.float(), logits.float(), k, s, s).numpy()
        np.testing.assert_allclose(exact, expected, atol=1e-12)
        np.testing.assert_allclose(single, expected, atol=1e-4)


@pytest.mark.parametrize(
    ("k", "s", "dilation", "size"), [(3, 2, 2, (2, 3)), (3, 2, 1, (2, 3)), (5, 2, 1, (1, 2)), (3, 3, 2, (1, 2))]
)
def test_gradients(k: int, s: int, dilation: int, size: tuple[int, int]) -> None:
    feature, logits = random_case(k, s, size, n=1, channels=2)
    leaves = (feature.requires_grad_(), logits.requires_grad_())
    assert torch.autograd.gradcheck(lambda x, z: semantic_aware_upsample(x, z, k, s, dilation), leaves)


def test_gradient_reaches_only_what_asks_for_it() -> None:
    feature, logits = random_case(3, 2, (2, 3))
    semantic_aware_upsample(feature, logits.requires_grad_(), 3, 2, 2).sum().backward()
    assert feature.grad is None
    assert logits.grad is not None


def test_operator_contract() -> None:
    """Schema, shapes without data and autograd registration, as PyTorch checks them itself."""
    feature, logits = random_case(3, 2, (2, 3), n=1)
    arguments = (feature.requires_grad_(), logits.requires_grad_(), 3, 2, 1)
    torch.library.opcheck(torch.ops.lggan.semantic_aware_upsample.default, arguments)


def test_strided_views_count_as_their_values() -> None:
    feature, logits = random_case(3, 2, (4, 5))
    turned = feature.transpose(2, 3).contiguous().transpose(2, 3)
    last = logits.to(memory_format=torch.channels_last)
    expected = semantic_aware_upsample(feature, logits, 3, 2, 2)
    assert torch.equal(semantic_aware_upsample(turned, last, 3, 2, 2), expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_sums_in_single(dtype: torch.dtype) -> None:
    """The result is the float32 result of the same inputs, rounded once; so are both gradients."""
    inputs = [tensor.to(dtype) for tensor in random_case(5, 2, (4, 5))]
    half = [tensor.clone().requires_grad_() for tensor in inputs]
    single = [tensor.float().requires_grad_() for tensor in inputs]
    low = semantic_aware_upsample(*half, 5, 2, 2)
    high = semantic_aware_upsample(*single, 5, 2, 2)
    assert low.dtype == dtype
    assert torch.equal(low, high.to(dtype))
    low.sum().backward()
    high.sum().backward()
    for rounded, exact in zip(half, single, strict=True):
        assert rounded.grad is not None
        assert exact.grad is not None
        assert torch.equal(rounded.grad, exact.grad.to(dtype))


def test_large_logits_do_not_overflow() -> None:
    feature, logits = (tensor.float() for tensor in random_case(3, 2, (2, 3)))
    result = semantic_aware_upsample(feature, (logits * 1e4).clamp(-6e4, 6e4).half(), 3, 2, 2)
    assert torch.isfinite(result).all()


@pytest.mark.parametrize(
    ("feature", "logits", "k", "s", "dilation"),
    [
        ((1, 2, 3, 4), (1, 36, 3, 5), 3, 2, 2),  # another width
        ((1, 2, 3, 4), (2, 36, 3, 4), 3, 2, 2),  # another batch
        ((1, 2, 3, 4), (1, 35, 3, 4), 3, 2, 2),  # too few taps
        ((2, 3, 4), (1, 36, 3, 4), 3, 2, 2),  # no batch
        ((1, 2, 3, 4), (1, 16, 3, 4), 2, 2, 2),  # even kernel
        ((1, 2, 3, 4), (1, 36, 3, 4), 3, 2, 0),  # no dilation
        ((1, 2, 3, 4), (1, 0, 3, 4), 3, 0, 1),  # no scale
    ],
)
def test_shapes_that_do_not_belong_together(
    feature: tuple[int, ...], logits: tuple[int, ...], k: int, s: int, dilation: int
) -> None:
    with pytest.raises(RuntimeError, match=r"expected|must"):
        semantic_aware_upsample(torch.zeros(feature), torch.zeros(logits), k, s, dilation)


@pytest.mark.parametrize("dilation", [2, 1])
def test_memory_stays_far_below_the_unfold(dilation: int) -> None:
    k, s, channels, size = 5, 2, 32, (16, 24)
    unfold = channels * k * k * s * s * size[0] * size[1] * 4  # bytes
    feature, logits = (tensor.float().requires_grad_() for tensor in random_case(k, s, size, 1, channels))
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        semantic_aware_upsample(feature, logits, k, s, dilation).sum().backward()
    changes = [event.nbytes() for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"]
    peak = int(np.cumsum(changes).max())
    output = channels * s * s * size[0] * size[1] * 4
    assert output < peak < unfold / 2, f"{peak} bytes at the peak, the unfold alone has {unfold}"


@pytest.mark.parametrize("window", list(SauWindow))
@pytest.mark.parametrize(("kernel", "encoder_kernel"), [(5, 3), (3, 1)])
def test_module_projects_as_if_after_the_reassembly(window: SauWindow, kernel: int, encoder_kernel: int) -> None:
    torch.manual_seed(0)
    config = SauConfig(kernel=kernel, compressed=4, encoder_kernel=encoder_kernel, window=window)
    module = SemanticAwareUpsample(6, 3, config).double()
    assert module.project is not None
    assert module.bias is not None
    nn.init.normal_(module.bias)
    feature = torch.randn(2, 6, 5, 4, dtype=torch.float64)
    logits = module.predict(module.compress(feature)).detach().numpy()
    if window is SauWindow.SOURCE:
        enlarged = plain_loops.carafe(feature.numpy(), logits, kernel, 2)
    else:
        enlarged = plain_loops.unfold_of_enlarged(feature.numpy(), logits, kernel, 2, 1)
    after = conv2d(torch.from_numpy(enlarged), module.project.weight, module.bias)
    torch.testing.assert_close(module(feature), after, rtol=0, atol=1e-12)


def test_module_without_change_of_width_has_no_projection() -> None:
    module = SemanticAwareUpsample(4, 4, SauConfig(kernel=3, compressed=2))
    assert module.project is None
    assert module.bias is None
    assert module(torch.zeros(1, 4, 3, 5)).shape == (1, 4, 6, 10)


def test_module_has_the_parameters_of_the_paper_like_configuration() -> None:
    """256 -> 128 and 128 -> 64 channels, 64 compressed, 5 x 5 taps, kernels predicted by 1x1 or 3x3."""
    for (before, after), counts in {(256, 128): (55_844, 107_044), (128, 64): (23_012, 74_212)}.items():
        for encoder_kernel, count in zip((1, 3), counts, strict=True):
            config = SauConfig(kernel=5, compressed=64, encoder_kernel=encoder_kernel)
            module = SemanticAwareUpsample(before, after, config)
            assert sum(parameter.numel() for parameter in module.parameters()) == count


def test_module_starts_as_a_box_filter() -> None:
    torch.manual_seed(0)
    module = SemanticAwareUpsample(3, 3, SauConfig(kernel=3, compressed=4)).double()
    initialise_xavier(module)
    feature = torch.randn(1, 3, 5, 5, dtype=torch.float64)
    centre = feature[:, :, 1:4, 1:4].mean(dim=(2, 3))  # [1, 3]
    torch.testing.assert_close(module(feature)[:, :, 4, 5], centre, rtol=0, atol=1e-2)
