"""Fréchet distance of two sets of feature vectors; with Inception features the FID (Heusel et al. 2017)."""

from __future__ import annotations

import numpy as np

from lggan.evaluation.metric import Better, LeftOut, MetricResult
from lggan.evaluation.moments import Moments

_DEFINITION = (
    "|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)) of means and sample covariances (n - 1) of the features of the "
    "generated pictures and of the photos at the same size, float64"
)


def frechet_distance(mean1: np.ndarray, cov1: np.ndarray, mean2: np.ndarray, cov2: np.ndarray) -> float:
    """Squared Fréchet (2-Wasserstein) distance of two Gaussians.

    With C = A A^T, tr((C1 C2)^(1/2)) is the sum of the singular values of A1^T A2. This needs no square root of a
    matrix that is not symmetric, and is exact to rounding where fewer samples than features make C singular; the
    usual ``sqrtm(C1 C2)`` then needs an offset on the diagonal or loses half of its digits.

    Args:
        mean1, mean2: [D].
        cov1, cov2: symmetric, positive semidefinite [D, D].

    Returns:
        The distance, never negative.
    """
    root1, root2 = _root(cov1), _root(cov2)
    shared = np.linalg.svd(root1.T @ root2, compute_uv=False).sum() if root1.size and root2.size else 0.0
    step = np.asarray(mean1, np.float64) - np.asarray(mean2, np.float64)
    return max(float(step @ step + np.trace(cov1) + np.trace(cov2) - 2 * shared), 0.0)


class FrechetDistance:
    """FID of features as they come; keeps means and covariances alone."""

    name = "fid"

    def __init__(self) -> None:
        self._generated, self._real = Moments(), Moments()

    def add(self, generated: np.ndarray, real: np.ndarray) -> None:
        """Take in the features [N, D] of generated pictures and of photos."""
        self._generated.add(generated)
        self._real.add(real)

    def result(self) -> MetricResult | LeftOut:
        """The distance; it needs two pictures at least, and says so when there are too few for a full covariance."""
        mean1, mean2 = self._generated.mean(), self._real.mean()
        count = min(self._generated.count, self._real.count)
        if count < 2:
            return LeftOut(self.name, "it needs two pictures at least; raise --limit")
        value = frechet_distance(mean1, self._generated.covariance(), mean2, self._real.covariance())
        few = f"{count} pictures for {mean1.size} features; it falls with more pictures, compare equal numbers alone"
        note = few if count <= mean1.size else ""
        return MetricResult(self.name, value, "", Better.LOWER, count, _DEFINITION, note=note)


def _root(covariance: np.ndarray) -> np.ndarray:
    """A [D, R] with A A^T = C; directions that are nothing but rounding are left out."""
    values, vectors = np.linalg.eigh(np.asarray(covariance, np.float64))
    kept = values > max(values[-1], 0.0) * len(values) * np.finfo(np.float64).eps
    return vectors[:, kept] * np.sqrt(values[kept])
