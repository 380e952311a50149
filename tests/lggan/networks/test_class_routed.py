"""The bank of class convolutions against loops that mask first and pad then, and the masks of merged heads."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lggan.networks.class_routed import ClassRoutedConv2d
from lggan.networks.local_branch import head_masks
from lggan.networks.semantics import encode_semantics
from tests.lggan import plain_loops


def by_loops(bank: ClassRoutedConv2d, feature: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """[N, C, H, W], [N, K, H, W] -> [N, K, out, H, W]; every tap looks up its mirrored pixel in the masked map."""
    weight, bias = bank.weight.detach().numpy(), bank.bias.detach().numpy()
    classes, out_channels, _, kernel, _ = weight.shape
    n, _, height, width = feature.shape
    output = np.zeros((n, classes, out_channels, height, width))
    for b, c, row, column in np.ndindex(n, classes, height, width):
        masked = feature[b] * masks[b, c]  # [C, H, W]
        total = bias[c].copy()  # [out]
        for dy, dx in np.ndindex(kernel, kernel):
            y = plain_loops.reflect(row + dy - kernel // 2, height)
            x = plain_loops.reflect(column + dx - kernel // 2, width)
            total += weight[c, :, :, dy, dx] @ masked[:, y, x]
        output[b, c, :, row, column] = total
    return output


def random_bank(classes: int, kernel: int) -> ClassRoutedConv2d:
    torch.manual_seed(classes + kernel)
    bank = ClassRoutedConv2d(classes, 2, 3, kernel).double()
    nn.init.normal_(bank.weight)
    nn.init.normal_(bank.bias)
    return bank


@pytest.mark.parametrize(("kernel", "size"), [(7, (5, 6)), (7, (4, 4)), (3, (4, 7))])
def test_against_loops(kernel: int, size: tuple[int, int]) -> None:
    bank = random_bank(4, kernel)
    label = torch.randint(0, 3, (2, 1, *size), generator=torch.Generator().manual_seed(1))  # class 3 is absent
    masks = encode_semantics(label, 4).double()
    feature = torch.randn(2, 2, *size, dtype=torch.float64)
    result = bank(feature, masks).detach().numpy()
    np.testing.assert_allclose(result, by_loops(bank, feature.numpy(), masks.numpy()), atol=1e-12)


def test_absent_classes_answer_with_their_bias_and_get_a_gradient_of_zero() -> None:
    bank = random_bank(3, 7)
    masks = encode_semantics(torch.zeros(1, 1, 5, 5, dtype=torch.uint8), 3).double()
    result = bank(torch.randn(1, 2, 5, 5, dtype=torch.float64), masks)  # [1, 3, 3, 5, 5]
    for absent in (1, 2):
        assert torch.equal(result[0, absent], bank.bias[absent].view(3, 1, 1).expand(3, 5, 5))
    result.square().sum().backward()
    assert bank.weight.grad is not None
    assert bank.bias.grad is not None
    assert bank.weight.grad[0].abs().sum() > 0
    assert bank.weight.grad[1:].abs().sum() == 0
    assert (bank.bias.grad.abs() > 0).all()


def test_classes_do_not_share_initial_weights() -> None:
    torch.manual_seed(0)
    bank = ClassRoutedConv2d(3, 8, 3, 7)
    assert not torch.equal(bank.weight[0], bank.weight[1])
    deviation = 0.02 * (2 / (8 * 49 + 3 * 49)) ** 0.5  # Xavier normal, gain 0.02, of each class's own convolution
    assert bank.weight.std().item() == pytest.approx(deviation, rel=0.1)
    assert bank.bias.abs().sum() == 0


@pytest.fixture
def semantics() -> Tensor:
    label = torch.tensor([[[[0, 1, 2, 3], [4, 4, 1, 9]]]], dtype=torch.uint8)  # 9 belongs to no class
    return encode_semantics(label, 5, instance=torch.arange(8, dtype=torch.int32).view(1, 1, 2, 4))


def test_one_head_per_class_leaves_the_edges_out(semantics: Tensor) -> None:
    assert torch.equal(head_masks(semantics, classes=5, heads=5), semantics[:, :5])


def test_last_head_serves_the_remaining_classes(semantics: Tensor) -> None:
    masks = head_masks(semantics, classes=5, heads=3)
    expected = [
        [[1, 0, 0, 0], [0, 0, 0, 0]],
        [[0, 1, 0, 0], [0, 0, 1, 0]],
        [[0, 0, 1, 1], [1, 1, 0, 0]],
    ]
    assert masks[0].tolist() == expected


def test_a_single_head_serves_all(semantics: Tensor) -> None:
    assert head_masks(semantics, classes=5, heads=1)[0].tolist() == [[[1, 1, 1, 1], [1, 1, 1, 0]]]
