"""The sparse pictures of the heads, written out and summed, against the dense ones."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lggan.networks.head_answers import HeadAnswers, sum_of_heads, to_dense
from tests.lggan.networks.head_maps import head_maps, one_hot, random_bank


def test_by_hand() -> None:
    constant = torch.tensor([[0.5], [-0.25], [0.125]])
    answers = HeadAnswers(
        values=torch.tensor([[1.0], [2.0], [3.0]]),
        image=torch.tensor([0, 1, 1]),
        pixel=torch.tensor([1, 0, 1]),
        head=torch.tensor([2, 0, 2]),
        constant=constant,
        size=(2, 1, 2),
        blocks=torch.tensor([[2, 1], [0, 1], [2, 1]]),
    )
    first, second = [[0.5, 0.5], [-0.25, -0.25], [0.125, 1.0]], [[2.0, 0.5], [-0.25, -0.25], [0.125, 3.0]]
    assert to_dense(answers)[:, :, 0, 0].tolist() == [first, second]
    assert sum_of_heads(answers)[:, 0, 0].tolist() == [[0.375, 1.25], [1.875, 3.25]]
    blocks = [(head, places.tolist(), values.tolist()) for head, places, values in answers.by_block()]
    assert blocks == [(2, [1], [[1]]), (0, [2], [[2]]), (2, [3], [[3]])]


@pytest.mark.parametrize("name", head_maps())
def test_sum_and_its_gradients(name: str) -> None:
    heads, bank = head_maps()[name], random_bank()
    feature = torch.randn(heads.shape[0], 2, *heads.shape[1:], dtype=torch.float64, requires_grad=True)
    ours = sum_of_heads(bank(feature, heads))
    theirs = bank.dense(feature, one_hot(heads)).tanh().sum(dim=1)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)
    incoming = torch.randn_like(ours)

    def gradients(of: Tensor) -> tuple[Tensor, ...]:
        return torch.autograd.grad(of, (feature, bank.weight, bank.bias), incoming)

    for one, other in zip(gradients(ours), gradients(theirs), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)
