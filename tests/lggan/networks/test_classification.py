"""Class-feature classification: the mean runs over all pixels, absent classes are marked and weigh nothing."""

from __future__ import annotations

import numpy as np
import torch

from lggan.networks.classification import ClassFeatureClassifier
from lggan.networks.semantics import encode_semantics


def test_scores_against_loops() -> None:
    torch.manual_seed(0)
    classifier = ClassFeatureClassifier(channels=3, heads=4).double()
    label = torch.randint(0, 3, (2, 1, 4, 5))
    label[1][label[1] == 1] = 2  # the second picture lacks class 1 too
    masks, feature = encode_semantics(label, 4).double(), torch.randn(2, 3, 4, 5, dtype=torch.float64)
    weight, bias = (parameter.detach().numpy() for parameter in (classifier.linear.weight, classifier.linear.bias))

    scores, present = classifier(feature, masks)
    for n, c in np.ndindex(2, 4):
        pooled = np.zeros(3)
        for y, x in np.ndindex(4, 5):
            if label[n, 0, y, x] == c:
                pooled += feature[n, :, y, x].numpy()
        np.testing.assert_allclose(scores[n, c].detach().numpy(), weight @ (pooled / 20) + bias, atol=1e-12)
    assert present.tolist() == [[1, 1, 1, 0], [1, 0, 1, 0]]
    np.testing.assert_allclose(scores[0, 3].detach().numpy(), bias, atol=0)


def test_sums_over_large_classes_do_not_overflow_half_precision() -> None:
    """A class that covers a 256 x 512 picture sums 131072 features; float16 ends at 65504."""
    classifier = ClassFeatureClassifier(channels=1, heads=1).half()
    feature = torch.full((1, 1, 256, 512), 2.0, dtype=torch.float16)
    scores, _ = classifier(feature, torch.ones_like(feature))
    expected = 2.0 * classifier.linear.weight.item() + classifier.linear.bias.item()
    torch.testing.assert_close(scores.item(), expected, rtol=1e-2, atol=1e-2)
