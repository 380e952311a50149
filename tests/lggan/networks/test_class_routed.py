"""The bank of class convolutions, in both forms, against loops that mask first and pad then."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lggan.networks.class_routed import ClassRoutedConv2d
from lggan.networks.head_answers import to_dense
from tests.lggan import plain_loops
from tests.lggan.networks.head_maps import HEADS, head_maps, one_hot, random_bank


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


@pytest.mark.parametrize(("kernel", "size"), [(7, (5, 6)), (7, (4, 4)), (3, (4, 7))])
def test_against_loops(kernel: int, size: tuple[int, int]) -> None:
    bank = random_bank(kernel=kernel)
    heads = torch.randint(0, 3, (2, *size), generator=torch.Generator().manual_seed(1))  # classes 3 to 5 are absent
    heads[0, 1, 2] = HEADS
    feature, masks = torch.randn(2, 2, *size, dtype=torch.float64), one_hot(heads)
    expected = by_loops(bank, feature.numpy(), masks.numpy())
    with torch.no_grad():
        np.testing.assert_allclose(bank.dense(feature, masks).numpy(), expected, atol=1e-12)
        np.testing.assert_allclose(to_dense(bank(feature, heads)).numpy(), np.tanh(expected), atol=1e-12)


@pytest.mark.parametrize("name", head_maps())
def test_both_forms_are_equal(name: str) -> None:
    heads, bank = head_maps()[name], random_bank()
    feature = torch.randn(heads.shape[0], 2, *heads.shape[1:], dtype=torch.float64)
    answers = bank(feature, heads)
    torch.testing.assert_close(to_dense(answers), bank.dense(feature, one_hot(heads)).tanh(), rtol=0, atol=1e-12)


def test_answers_are_listed_where_the_class_is_near_and_nowhere_else() -> None:
    for heads in head_maps().values():
        answers = random_bank()(torch.zeros(heads.shape[0], 2, *heads.shape[1:]).double(), heads)
        n, height, width = heads.shape
        expected = []
        for b, c, row, column in np.ndindex(n, HEADS, height, width):
            ys = [plain_loops.reflect(row + d, height) for d in range(-3, 4)]
            xs = [plain_loops.reflect(column + d, width) for d in range(-3, 4)]
            if (heads[b][ys][:, xs] == c).any():
                expected.append((b, c, row * width + column))
        listed = list(zip(answers.image.tolist(), answers.head.tolist(), answers.pixel.tolist(), strict=True))
        assert listed == expected
        assert answers.size == (n, height, width)
        assert answers.values.shape == (len(expected), 3)


def test_absent_classes_answer_with_their_bias_and_get_a_gradient_of_zero() -> None:
    bank = random_bank(heads=3)
    answers = bank(torch.randn(1, 2, 5, 5, dtype=torch.float64), torch.zeros(1, 5, 5, dtype=torch.int64))
    assert torch.equal(answers.constant, bank.bias.tanh())
    pictures = to_dense(answers)  # [1, 3, 3, 5, 5]
    for absent in (1, 2):
        assert torch.equal(pictures[0, absent], bank.bias[absent].tanh().view(3, 1, 1).expand(3, 5, 5))
    pictures.square().sum().backward()
    assert bank.weight.grad is not None
    assert bank.bias.grad is not None
    assert bank.weight.grad[0].abs().sum() > 0
    assert bank.weight.grad[1:].abs().sum() == 0
    assert (bank.bias.grad.abs() > 0).all()


def test_a_batch_without_any_class_has_gradients_of_zero() -> None:
    bank = random_bank()
    feature = torch.randn(2, 2, 6, 7, dtype=torch.float64, requires_grad=True)
    to_dense(bank(feature, head_maps()["void"])).square().sum().backward()
    assert feature.grad is not None
    assert bank.weight.grad is not None
    assert feature.grad.abs().sum() == bank.weight.grad.abs().sum() == 0
    torch.testing.assert_close(bank.bias.grad, 2 * 2 * 6 * 7 * bank.bias.tanh() * (1 - bank.bias.tanh().square()))


def test_classes_do_not_share_initial_weights() -> None:
    torch.manual_seed(0)
    bank = ClassRoutedConv2d(3, 8, 3, 7)
    assert not torch.equal(bank.weight[0], bank.weight[1])
    deviation = 0.02 * (2 / (8 * 49 + 3 * 49)) ** 0.5  # Xavier normal, gain 0.02, of each class's own convolution
    assert bank.weight.std().item() == pytest.approx(deviation, rel=0.1)
    assert bank.bias.abs().sum() == 0
