"""Class-feature classification and the masked L1 against loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from lggan.losses.class_losses import classification_loss, local_loss
from lggan.networks.classification import ClassScores
from lggan.networks.semantics import encode_semantics
from tests.lggan import plain_loops


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
    torch.manual_seed(1)
    per_class, photo = torch.randn(2, 3, 3, 4, 5), torch.randn(2, 3, 4, 5)
    masks = encode_semantics(torch.randint(0, 2, (2, 1, 4, 5)), 3)  # class 2 is absent: its answer is to be black
    expected = 0.0
    for c in range(3):
        total = 0.0
        for n, rgb, y, x in np.ndindex(2, 3, 4, 5):
            total += abs(per_class[n, c, rgb, y, x].item() - photo[n, rgb, y, x].item() * masks[n, c, y, x].item())
        expected += total / (2 * 3 * 4 * 5)
    assert local_loss(per_class, photo, masks).item() == pytest.approx(expected, abs=1e-5)
