"""Class-feature classification and the masked L1 against loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from lggan.losses.class_losses import classification_loss, local_loss
from lggan.networks.classification import ClassScores
from lggan.networks.head_answers import to_dense
from tests.lggan import plain_loops
from tests.lggan.networks.head_maps import HEADS, head_maps, one_hot, random_bank


def test_cross_entropy_of_the_present_classes() -> None:
    torch.manual_seed(0)
    scores = torch.randn(2, 4, 4)
    present = torch.tensor([[1.0, 0, 1, 1], [0, 0, 1, 0]])
    total = 0.0
    for n, c in np.ndindex(2, 4):
        probabilities = plain_loops.softmax(scores[n, c].double().numpy(), 0)
        total += present[n, c].item() * -math.log(probabilities[c])
    assert classification_loss(ClassScores(scores, present)).item() == pytest.approx(total / 4, abs=1e-6)


def test_absent_classes_do_not_pull_at_the_scores() -> None:
    scores = torch.randn(1, 3, 3, requires_grad=True)
    classification_loss(ClassScores(scores, torch.tensor([[1.0, 0, 1]]))).backward()
    assert scores.grad is not None
    assert scores.grad[0, 1].abs().sum() == 0
    assert scores.grad[0, 0].abs().sum() > 0


def test_without_any_scored_class_it_is_zero() -> None:
    scores = torch.randn(1, 3, 3, requires_grad=True)
    loss = classification_loss(ClassScores(scores, torch.zeros(1, 3)))
    loss.backward()
    assert loss.item() == 0
    assert scores.grad is not None
    assert torch.isfinite(scores.grad).all()


def test_local_loss_is_a_mean_over_all_pixels_summed_over_the_heads() -> None:
    bank, heads = random_bank(), head_maps()["blocks"]  # each picture lacks some classes: their answers are to be black
    n, height, width = heads.shape
    answers = bank(torch.randn(n, 2, height, width, dtype=torch.float64), heads)
    photo = torch.rand(n, 3, height, width, dtype=torch.float64) * 2 - 1
    pictures, masks = to_dense(answers), one_hot(heads)
    expected = 0.0
    for c in range(HEADS):
        total = 0.0
        for b, rgb, y, x in np.ndindex(n, 3, height, width):
            total += abs(pictures[b, c, rgb, y, x].item() - photo[b, rgb, y, x].item() * masks[b, c, y, x].item())
        expected += total / (n * 3 * height * width)
    assert local_loss(answers, heads, photo).item() == pytest.approx(expected, abs=1e-12)


def test_local_loss_of_void_alone_pulls_all_answers_to_zero() -> None:
    bank, heads = random_bank(), head_maps()["void"]
    answers = bank(torch.randn(2, 2, *heads.shape[1:], dtype=torch.float64), heads)
    loss = local_loss(answers, heads, torch.ones(2, 3, *heads.shape[1:], dtype=torch.float64))
    assert loss.item() == pytest.approx(bank.bias.tanh().abs().mean(dim=1).sum().item(), abs=1e-12)
    loss.backward()
    assert bank.weight.grad is not None
    assert bank.weight.grad.abs().sum() == 0
    torch.testing.assert_close(bank.bias.grad, (1 - bank.bias.tanh().square()) * bank.bias.sign() / 3)


def test_local_loss_of_half_precision_is_float32() -> None:
    bank, heads = random_bank().float(), head_maps()["blocks"]
    answers = bank(torch.randn(3, 2, *heads.shape[1:]).bfloat16(), heads)
    assert local_loss(answers, heads, torch.zeros(3, 3, *heads.shape[1:])).dtype == torch.float32
