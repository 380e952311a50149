"""Kernel distance of two sets of feature vectors; with Inception features the KID (Binkowski et al. 2018)."""

from __future__ import annotations

import numpy as np

from lggan.evaluation.metric import Better, LeftOut, MetricResult

SUBSETS, SUBSET_SIZE, SEED = 100, 1000, 2020  # as torch-fidelity has them


def squared_mmd(first: np.ndarray, second: np.ndarray) -> float:
    """Unbiased estimate of the squared maximum mean discrepancy under the kernel (x.y / D + 1)^3.

    Args:
        first, second: features [M, D] and [N, D], M and N at least 2.

    Returns:
        The estimate; around zero, and sometimes below, for equal distributions.
    """
    m, n = len(first), len(second)
    within1, within2, between = _kernel(first, first), _kernel(second, second), _kernel(first, second)
    return float(
        (within1.sum() - np.trace(within1)) / (m * (m - 1))
        + (within2.sum() - np.trace(within2)) / (n * (n - 1))
        - 2 * between.mean()
    )


class KernelDistance:
    """KID over random subsets: mean and standard deviation of `squared_mmd`.

    Keeps all features, float32: 16 KiB a picture with 2048 features, 0.8 GB for 50,000.
    """

    name = "kid"

    def __init__(self, subsets: int = SUBSETS, subset_size: int = SUBSET_SIZE, seed: int = SEED) -> None:
        self._subsets, self._size, self._seed = subsets, subset_size, seed
        self._generated: list[np.ndarray] = []
        self._real: list[np.ndarray] = []

    def add(self, generated: np.ndarray, real: np.ndarray) -> None:
        """Take in the features [N, D] of generated pictures and of photos."""
        self._generated.append(generated.astype(np.float32))
        self._real.append(real.astype(np.float32))

    def result(self) -> MetricResult | LeftOut:
        """Mean over the subsets; fewer pictures than a subset holds make one subset of them all."""
        count = sum(len(rows) for rows in self._generated)
        if count < 2:
            return LeftOut(self.name, "it needs two pictures at least; raise --limit")
        generated, real = np.concatenate(self._generated), np.concatenate(self._real)
        size = min(self._size, count)
        subsets = self._subsets if size < count else 1  # all subsets would hold the same pictures
        draw = np.random.RandomState(self._seed)  # the generator whose sequence never changes
        values = []
        for _ in range(subsets):
            first = generated[draw.choice(count, size, replace=False)]
            second = real[draw.choice(count, size, replace=False)]
            values.append(squared_mmd(first, second))
        over = f"{subsets} subset{'s' if subsets > 1 else ''} of {size} (seed {self._seed})"
        definition = (
            "unbiased squared MMD under (x.y / D + 1)^3 of the features of generated pictures and photos, mean and "
            f"standard deviation over {over}, float64"
        )
        spread = float(np.std(values)) if subsets > 1 else None
        return MetricResult(self.name, float(np.mean(values)), "", Better.LOWER, count, definition, spread=spread)


def _kernel(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    products = first.astype(np.float64) @ second.astype(np.float64).T  # [M, N]
    return (products / first.shape[1] + 1.0) ** 3
