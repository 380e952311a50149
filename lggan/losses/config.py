"""Weights of the generator's losses, for each of the two tasks."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LossWeights:
    """Factors of the generator's loss terms in semantic synthesis; the defaults are the published ones
    (specification C.1).

    Attributes:
        adversarial: hinge loss, for each of the final, global and local picture.
        feature_matching: L1 between the discriminator's features of fake and real, for each picture.
        perceptual: L1 between the features of a fixed network, for each picture.
        classification: cross-entropy of the class-feature classification.
        local: L1 between each class's picture and the photo masked to the class.
        reconstruction: L1 between picture and photo, for each picture; the published training leaves it out.
    """

    adversarial: float = 1.0
    feature_matching: float = 10.0
    perceptual: float = 10.0
    classification: float = 1.0
    local: float = 1.0
    reconstruction: float = 0.0


@dataclass(frozen=True)
class CrossViewLossWeights:
    """Factors of the generator's loss terms in cross-view translation; the defaults are the published ones
    (specification C.3).

    Attributes:
        adversarial: cross-entropy of both discriminators' verdicts, for each of the final, global and local picture.
        reconstruction: L1 between picture and photo, for each picture.
        local: L1 between each head's picture and the photo masked to the head's classes.
        perceptual: L1 between the features of a fixed network, for each picture.
        total_variation: sum of the absolute differences of neighbouring pixels, for each picture. A sum, not a mean:
            its weight grows with batch and area.
    """

    adversarial: float = 1.0
    reconstruction: float = 100.0
    local: float = 100.0
    perceptual: float = 10.0
    total_variation: float = 1e-6
