"""Weights of the generator's losses."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LossWeights:
    """Factors of the generator's loss terms; the defaults are the published ones (specification C.1).

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
