"""Mean and covariance of a stream of feature vectors, without keeping the vectors."""

from __future__ import annotations

import numpy as np

_ROWS = 256  # buffered, so that the D x D sum is updated by one matrix product for many vectors


class Moments:
    """Mean and sample covariance (divided by n - 1, as ``numpy.cov``) in float64.

    Batches are merged by the pairwise update of Chan, Golub and LeVeque (1979): every batch is centred on its own
    mean, so nothing cancels even where the mean is large against the deviations. Memory is that of two D x D
    matrices, however many vectors come.
    """

    def __init__(self) -> None:
        self.count = 0
        self._mean = np.zeros(0)
        self._scatter = np.zeros((0, 0))  # sum of (x - mean) (x - mean)^T
        self._waiting: list[np.ndarray] = []
        self._rows = 0

    def add(self, vectors: np.ndarray) -> None:
        """Take in vectors [N, D] of any float type.

        Raises:
            ValueError: not two-dimensional, or another D than before.
        """
        if vectors.ndim != 2 or (self._waiting and vectors.shape[1] != self._waiting[0].shape[1]):
            raise ValueError(f"feature vectors are [N, D] with one D, these are {list(vectors.shape)}")
        self._waiting.append(vectors.astype(np.float64))
        self._rows += len(vectors)
        if self._rows >= _ROWS:
            self._merge()

    def mean(self) -> np.ndarray:
        """float64 [D]."""
        self._merge()
        return self._mean

    def covariance(self) -> np.ndarray:
        """float64 [D, D]; at least two vectors are needed."""
        self._merge()
        if self.count < 2:
            raise ValueError(f"a covariance needs two vectors, there is {self.count}")
        return self._scatter / (self.count - 1)

    def _merge(self) -> None:
        if not self._rows:
            return
        rows = np.concatenate(self._waiting)  # [N, D]
        self._waiting, self._rows = [rows[:0]], 0  # an empty array remembers D
        mean = rows.mean(axis=0)
        centred = rows - mean
        scatter = centred.T @ centred
        if self.count == 0:
            self.count, self._mean, self._scatter = len(rows), mean, scatter
            return
        total = self.count + len(rows)
        step = mean - self._mean
        self._scatter += scatter
        self._scatter += np.outer(step, step * (self.count * len(rows) / total))
        self._mean = self._mean + step * (len(rows) / total)
        self.count = total
