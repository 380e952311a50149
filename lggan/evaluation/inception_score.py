"""Inception score (Salimans et al. 2016) with any classifier: over all classes, and over the likeliest alone."""

from __future__ import annotations

import numpy as np

from lggan.evaluation.metric import Better, MetricResult

FLOOR = 1e-9
_KEPT = {"": None, "_top1": 1, "_top5": 5}  # classes that keep their probability


class InceptionScore:
    """exp(mean KL(p(y|x) || p(y))), in one piece, not over splits.

    The forms top-1 and top-5 follow the published cross-view scripts: every picture keeps the probabilities of its k
    likeliest classes, all others become 1e-9, and nothing is normalised afterwards. Computed from two running sums,
    mean of sum_y p log p and mean of p, because mean_x KL = mean_x sum_y p log p - sum_y m log m.
    """

    def __init__(self, suffix: str = "") -> None:
        """``suffix`` is put behind the names, e.g. ``_photos`` for the score of the real ones."""
        self._suffix = suffix
        self._count = 0
        self._own = dict.fromkeys(_KEPT, 0.0)
        self._total: dict[str, np.ndarray] = {}

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(f"inception_score{form}{self._suffix}" for form in _KEPT)

    def add(self, logs: np.ndarray) -> None:
        """Take in log-probabilities [N, K]."""
        for form, kept in _KEPT.items():
            chosen = logs if kept is None else _likeliest(logs, kept)
            probabilities = np.exp(chosen)
            self._own[form] += float(_product(probabilities, chosen).sum())
            self._total[form] = self._total.get(form, 0.0) + probabilities.sum(axis=0)
        self._count += len(logs)

    def results(self) -> tuple[MetricResult, ...]:
        """The three scores."""
        found = []
        for name, (form, kept) in zip(self.names, _KEPT.items(), strict=True):
            marginal = self._total[form] / self._count
            score = float(np.exp(self._own[form] / self._count - _product(marginal, _log(marginal)).sum()))
            which = "all classes" if kept is None else f"the {kept} likeliest of each picture, all others {FLOOR:g}"
            whose = "photos" if self._suffix else "generated pictures"
            definition = f"exp(mean KL(p(y|x) || p(y))) of the {whose} over {which}; natural logarithm, no splits"
            found.append(MetricResult(name, score, "", Better.HIGHER, self._count, definition))
        return tuple(found)


def _likeliest(logs: np.ndarray, kept: int) -> np.ndarray:
    """The logarithms with all but the ``kept`` largest of each row at log(1e-9); of equals the first ones stay."""
    order = np.argsort(-logs, axis=1, kind="stable")[:, :kept]
    chosen = np.full_like(logs, np.log(FLOOR))
    np.put_along_axis(chosen, order, np.take_along_axis(logs, order, axis=1), axis=1)
    return chosen


def _product(probabilities: np.ndarray, logs: np.ndarray) -> np.ndarray:
    """p log p with 0 log 0 = 0."""
    return np.where(probabilities > 0, probabilities * np.where(probabilities > 0, logs, 0.0), 0.0)


def _log(values: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(values, np.finfo(np.float64).tiny))
