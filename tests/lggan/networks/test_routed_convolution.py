"""The routed convolution's gradients, types, memory layouts, and that absent classes cost nothing."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from lggan.networks import head_routes
from lggan.networks.head_routes import HeadRoutes, find_routes
from lggan.networks.routed_convolution import routed_convolution
from tests.lggan.networks.head_maps import HEADS, head_maps, one_hot, random_bank


def listed(dense: Tensor, routes: HeadRoutes) -> Tensor:
    """[N, K, out, H, W] -> [J, out], the entries that ``routes`` lists."""
    return dense.flatten(3)[routes.image, routes.head, :, routes.pixel]


@pytest.mark.parametrize("portion", [1, 10_000])  # line by line, and all at once
@pytest.mark.parametrize("name", head_maps())
def test_values_and_gradients_equal_the_dense_form(name: str, portion: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head_routes, "_PORTION_CPU", portion)
    heads, bank = head_maps()[name], random_bank()
    feature = torch.randn(heads.shape[0], 2, *heads.shape[1:], dtype=torch.float64, requires_grad=True)
    routes = find_routes(heads, HEADS, 7)
    values = routed_convolution(feature, bank.weight, bank.bias, routes)
    expected = listed(bank.dense(feature, one_hot(heads)), routes)
    torch.testing.assert_close(values, expected, rtol=0, atol=1e-12)

    incoming = torch.randn_like(values)
    inputs = (feature, bank.weight, bank.bias)
    ours = torch.autograd.grad(values, inputs, incoming)
    theirs = torch.autograd.grad(expected, inputs, incoming)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_other_kernels(kernel: int) -> None:
    heads, bank = head_maps()["blocks"], random_bank(kernel=kernel)
    feature = torch.randn(heads.shape[0], 2, *heads.shape[1:], dtype=torch.float64)
    routes = find_routes(heads, HEADS, kernel)
    values = routed_convolution(feature, bank.weight, bank.bias, routes)
    torch.testing.assert_close(values, listed(bank.dense(feature, one_hot(heads)), routes), rtol=0, atol=1e-12)


def test_gradients_against_finite_differences() -> None:
    heads = head_maps()["smallest"]
    bank = random_bank(heads=4, channels=1)
    feature = torch.randn(2, 1, 4, 4, dtype=torch.float64, requires_grad=True)
    routes = find_routes(heads, 4, 7)
    assert torch.autograd.gradcheck(
        lambda *inputs: routed_convolution(*inputs, routes), (feature, bank.weight, bank.bias), fast_mode=True
    )


def test_a_second_derivative_is_refused() -> None:
    heads, bank = head_maps()["smallest"], random_bank()
    feature = torch.randn(2, 2, 4, 4, dtype=torch.float64, requires_grad=True)
    values = routed_convolution(feature, bank.weight, bank.bias, find_routes(heads, HEADS, 7))
    (gradient,) = torch.autograd.grad(values.square().sum(), feature, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


def test_channels_last() -> None:
    heads, bank = head_maps()["blocks"], random_bank()
    routes = find_routes(heads, HEADS, 7)
    plain = torch.randn(3, 2, *heads.shape[1:], dtype=torch.float64, requires_grad=True)
    last = plain.detach().contiguous(memory_format=torch.channels_last).requires_grad_()
    for feature in (plain, last):
        routed_convolution(feature, bank.weight, bank.bias, routes).square().sum().backward()
    assert plain.grad is not None
    assert last.grad is not None
    assert last.grad.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(last.grad, plain.grad, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_features_are_summed_in_float32(dtype: torch.dtype) -> None:
    """Nothing but the features is rounded, even within autocast; gradients come in the types of what they are of."""
    heads = head_maps()["blocks"]
    bank = random_bank(channels=16).float()
    routes = find_routes(heads, HEADS, 7)
    feature = torch.randn(3, 16, *heads.shape[1:]).to(dtype).requires_grad_()
    expected = listed(random_bank(channels=16).dense(feature.detach().double(), one_hot(heads)), routes)
    with torch.autocast("cpu", torch.bfloat16):
        values = routed_convolution(feature, bank.weight, bank.bias, routes)
        assert values.dtype == torch.float32
        values.sum().backward()
    torch.testing.assert_close(values.double(), expected, rtol=0, atol=1e-4)
    assert feature.grad is not None
    assert bank.weight.grad is not None
    assert (feature.grad.dtype, bank.weight.grad.dtype) == (dtype, torch.float32)


class _Allocations(TorchDispatchMode):
    """Counts the operations, and notes the bytes of the largest result."""

    def __init__(self) -> None:
        super().__init__()
        self.count: Counter[str] = Counter()
        self.largest = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.count[str(func)] += 1
        for tensor in result if isinstance(result, tuple | list) else [result]:
            if isinstance(tensor, Tensor):
                self.largest = max(self.largest, tensor.numel() * tensor.element_size())
        return result


def _cost(heads_in_bank: int, side: int) -> tuple[int, Counter[str], int]:
    """Bytes kept for the backward pass, operations, and bytes of the largest tensor, of one forward and backward."""
    draw = torch.Generator().manual_seed(0)
    heads = torch.randint(0, 4, (2, side // 8, side // 8), generator=draw)
    heads = heads.repeat_interleave(8, 1).repeat_interleave(8, 2)
    bank = random_bank(heads_in_bank)
    feature = torch.randn(2, 2, side, side, dtype=torch.float64, requires_grad=True)
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with _Allocations() as allocations:
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            values = routed_convolution(feature, bank.weight, bank.bias, find_routes(heads, heads_in_bank, 7))
        values.sum().backward()
    own = bank.weight.untyped_storage().nbytes()
    return sum(kept.values()) - own, allocations.count, max(allocations.largest, own)


def test_absent_classes_cost_neither_operations_nor_memory() -> None:
    """Four classes are there; a bank of 64 heads does what a bank of 8 does, and keeps its weights besides."""
    few, many = _cost(8, 64), _cost(64, 64)
    assert few[0] == many[0]  # kept, less the weights
    assert few[1] == many[1]  # operations
    weights = 64 * 3 * 2 * 49 * 8
    assert many[2] == max(few[2], weights)  # nothing larger than the weights comes in


def test_kept_memory_is_that_of_the_feature_and_some_indices() -> None:
    kept, _, _ = _cost(8, 64)
    feature, pixels = 2 * 2 * 64 * 64 * 8, 2 * 64 * 64
    assert feature < kept < feature + 50 * pixels  # bytes; one dense picture per head would be 8 * 24 per pixel
