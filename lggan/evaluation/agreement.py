"""Top-k accuracy: does a classifier find in the generated picture what it finds in the photo?"""

from __future__ import annotations

import numpy as np

from lggan.evaluation.metric import Better, LeftOut, MetricResult

CONFIDENT = 0.5
_RANKS = (1, 5)


class Agreement:
    """``top1_accuracy``, ``top5_accuracy``, and both over the photos that the classifier is sure of.

    The likeliest class of the photo counts as the truth; the generated picture agrees if that class is among its k
    likeliest (LGGAN's cross-view evaluation, by scripts of Regmi and Borji). Of equal probabilities the class with
    the lower index comes first.
    """

    names = ("top1_accuracy", "top5_accuracy", "top1_accuracy_confident", "top5_accuracy_confident")

    def __init__(self) -> None:
        self._hits: dict[int, list[bool]] = {rank: [] for rank in _RANKS}
        self._sure: list[bool] = []

    def add(self, generated: np.ndarray, real: np.ndarray) -> None:
        """Take in log-probabilities [N, K] of generated pictures and of photos."""
        truth = real.argmax(axis=1)  # the first of equal ones
        order = np.argsort(-generated, axis=1, kind="stable")
        for rank in _RANKS:
            self._hits[rank] += (order[:, :rank] == truth[:, None]).any(axis=1).tolist()
        self._sure += (np.exp(real.max(axis=1)) > CONFIDENT).tolist()

    def results(self) -> tuple[MetricResult | LeftOut, ...]:
        """The four figures in per cent."""
        sure = np.array(self._sure, dtype=bool)
        found: list[MetricResult | LeftOut] = []
        for suffix, chosen in (("", np.ones_like(sure)), ("_confident", sure)):
            for rank in _RANKS:
                name = f"top{rank}_accuracy{suffix}"
                count = int(chosen.sum())
                if count == 0:
                    found.append(LeftOut(name, f"no photo has a class of a probability above {CONFIDENT}"))
                    continue
                which = f" with a probability above {CONFIDENT}" if suffix else ""
                definition = (
                    f"share of photos{which} whose likeliest class is among the {rank} likeliest of their generated "
                    "picture"
                )
                value = 100.0 * float(np.array(self._hits[rank])[chosen].mean())
                found.append(MetricResult(name, value, "%", Better.HIGHER, count, definition))
        return tuple(found)
