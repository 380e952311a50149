"""Class-feature classification: the mean runs over all pixels, absent classes are marked and weigh nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lggan.networks.classification import ClassFeatureClassifier


def test_scores_against_loops() -> None:
    torch.manual_seed(0)
    classifier = ClassFeatureClassifier(channels=3, heads=4).double()
    heads = torch.randint(0, 3, (2, 4, 5))
    heads[1][heads[1] == 1] = 2  # the second picture lacks class 1 too
    heads[0, 0, :2] = 4  # beyond the scored heads
    heads[1, 0, 0] = 5
    feature = torch.randn(2, 3, 4, 5, dtype=torch.float64)
    weight, bias = (parameter.detach().numpy() for parameter in (classifier.linear.weight, classifier.linear.bias))

    scores, present = classifier(feature, heads)
    for n, c in np.ndindex(2, 4):
        pooled = np.zeros(3)
        for y, x in np.ndindex(4, 5):
            if heads[n, y, x] == c:
                pooled += feature[n, :, y, x].numpy()
        np.testing.assert_allclose(scores[n, c].detach().numpy(), weight @ (pooled / 20) + bias, atol=1e-12)
    assert present.tolist() == [[1, 1, 1, 0], [1, 0, 1, 0]]
    np.testing.assert_allclose(scores[0, 3].detach().numpy(), bias, atol=0)


def test_gradient_reaches_the_features_of_scored_classes_alone() -> None:
    torch.manual_seed(0)
    classifier = ClassFeatureClassifier(channels=2, heads=2).double()
    heads = torch.tensor([[[0, 1, 2], [2, 1, 3]]])
    feature = torch.randn(1, 2, 2, 3, dtype=torch.float64, requires_grad=True)
    scores, _ = classifier(feature, heads)
    scores[0, 0, 0].backward()
    assert feature.grad is not None
    expected = torch.zeros_like(feature)
    expected[0, :, 0, 0] = classifier.linear.weight[0] / 6
    torch.testing.assert_close(feature.grad, expected)


def test_sums_over_large_classes_do_not_overflow_half_precision() -> None:
    """A class that covers a 256 x 512 picture sums 131072 features; float16 ends at 65504."""
    classifier = ClassFeatureClassifier(channels=1, heads=1).half()
    feature = torch.full((1, 1, 256, 512), 2.0, dtype=torch.float16)
    scores, _ = classifier(feature, torch.zeros(1, 256, 512, dtype=torch.int64))
    expected = 2.0 * classifier.linear.weight.item() + classifier.linear.bias.item()
    torch.testing.assert_close(scores.item(), expected, rtol=1e-2, atol=1e-2)


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
def test_a_generator_with_a_single_merged_head_scores_nothing() -> None:
    scores, present = ClassFeatureClassifier(channels=2, heads=0)(torch.ones(3, 2, 4, 4), torch.zeros(3, 4, 4).long())
    assert scores.shape == (*present.shape, 0) == (3, 0, 0)
