"""KL score: how far the classes seen in a generated picture are from those seen in its photo."""

from __future__ import annotations

import numpy as np

from lggan.evaluation.metric import Better, MetricResult

_DEFINITION = (
    "exp(mean KL(p(y|generated) || p(y|photo))) over pictures, natural logarithm; the spread is the standard deviation "
    "of the single KL"
)


class KlScore:
    """``kl_score``, as in the published cross-view scripts: the order is generated against real."""

    names = ("kl_score",)

    def __init__(self) -> None:
        self._divergences: list[float] = []

    def add(self, generated: np.ndarray, real: np.ndarray) -> None:
        """Take in log-probabilities [N, K] of generated pictures and of photos."""
        probabilities = np.exp(generated)
        with np.errstate(invalid="ignore"):  # -inf against -inf: a probability of 0 on both sides, which adds nothing
            parts = np.where(probabilities > 0, probabilities * (generated - real), 0.0)
        self._divergences += parts.sum(axis=1).tolist()

    def results(self) -> tuple[MetricResult, ...]:
        """The score; infinite where a class that a photo excludes altogether is seen in its picture."""
        values = np.array(self._divergences)
        finite = bool(np.isfinite(values).all())
        value = float(np.exp(values.mean())) if finite else float("inf")
        spread = float(values.std()) if finite else None
        return (MetricResult("kl_score", value, "", Better.LOWER, len(values), _DEFINITION, spread=spread),)
