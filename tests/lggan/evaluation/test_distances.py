"""FID and KID against scipy's square root of a matrix and against plain loops."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg

from lggan.evaluation.frechet import FrechetDistance, frechet_distance
from lggan.evaluation.kernel_distance import KernelDistance, squared_mmd
from lggan.evaluation.metric import LeftOut, MetricResult


def gaussian(samples: int, size: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    vectors = draw.standard_normal((samples, size)) @ draw.standard_normal((size, size)) + draw.standard_normal(size)
    return vectors, vectors.mean(axis=0), np.cov(vectors, rowvar=False)


def by_scipy(mean1: np.ndarray, cov1: np.ndarray, mean2: np.ndarray, cov2: np.ndarray) -> float:
    """As the usual programs: |m1 - m2|^2 + tr(C1 + C2 - 2 sqrtm(C1 C2))."""
    root = scipy.linalg.sqrtm(cov1 @ cov2)
    return float(((mean1 - mean2) ** 2).sum() + np.trace(cov1) + np.trace(cov2) - 2 * np.trace(root.real))


@pytest.mark.parametrize("size", [1, 2, 16, 64])
def test_frechet_equals_scipy(size: int) -> None:
    (_, mean1, cov1), (_, mean2, cov2) = gaussian(500, size, 0), gaussian(300, size, 1)
    cov1, cov2 = cov1.reshape(size, size), cov2.reshape(size, size)
    assert frechet_distance(mean1, cov1, mean2, cov2) == pytest.approx(by_scipy(mean1, cov1, mean2, cov2), rel=1e-6)


@pytest.mark.filterwarnings("ignore:Matrix is singular")
@pytest.mark.parametrize(("m", "n", "size"), [(20, 31, 64), (3, 3, 128), (63, 64, 64), (50, 10, 100)])
def test_frechet_of_fewer_samples_than_features(m: int, n: int, size: int) -> None:
    """Rank-deficient: the exact value is the nuclear norm of the centred data; scipy agrees as far as it can."""
    (x, mean1, cov1), (y, mean2, cov2) = gaussian(m, size, 2), gaussian(n, size, 3)
    centred = [(v - v.mean(axis=0)) / np.sqrt(len(v) - 1) for v in (x, y)]
    shared = np.linalg.svd(centred[0] @ centred[1].T, compute_uv=False).sum()  # never forms a singular covariance
    exact = ((mean1 - mean2) ** 2).sum() + sum((c**2).sum() for c in centred) - 2 * shared
    assert frechet_distance(mean1, cov1, mean2, cov2) == pytest.approx(exact, rel=1e-12)
    assert by_scipy(mean1, cov1, mean2, cov2) == pytest.approx(exact, rel=1e-6)


@pytest.mark.parametrize("samples", [20, 500])
def test_frechet_of_equal_sets_is_zero(samples: int) -> None:
    _, mean, cov = gaussian(samples, 64, 4)
    assert frechet_distance(mean, cov, mean, cov) <= 1e-9 * np.trace(cov)


def test_frechet_of_constant_features() -> None:
    zero = np.zeros((3, 3))
    assert frechet_distance(np.zeros(3), zero, np.array([1.0, 2.0, 2.0]), zero) == 9.0
    assert frechet_distance(np.zeros(3), zero, np.zeros(3), np.eye(3)) == 3.0


def test_fid_streams() -> None:
    (x, mean1, cov1), (y, mean2, cov2) = gaussian(70, 8, 5), gaussian(70, 8, 6)
    fid = FrechetDistance()
    for first in range(0, 70, 9):
        fid.add(x[first : first + 9], y[first : first + 9])
    result = fid.result()
    assert isinstance(result, MetricResult)
    assert result.value == pytest.approx(by_scipy(mean1, cov1, mean2, cov2), rel=1e-6)
    assert (result.count, result.note) == (70, "")


def test_fid_says_when_there_are_few_pictures() -> None:
    fid = FrechetDistance()
    fid.add(np.ones((1, 8)), np.ones((1, 8)))
    assert isinstance(fid.result(), LeftOut)
    fid.add(np.zeros((1, 8)), np.zeros((1, 8)))
    result = fid.result()
    assert isinstance(result, MetricResult)
    assert "2 pictures for 8 features" in result.note


def mmd_by_loops(first: np.ndarray, second: np.ndarray) -> float:
    def kernel(a: np.ndarray, b: np.ndarray) -> float:
        return (sum(float(p) * float(q) for p, q in zip(a, b, strict=True)) / len(a) + 1) ** 3

    def within(rows: np.ndarray) -> float:
        n = len(rows)
        return sum(kernel(rows[i], rows[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))

    between = sum(kernel(a, b) for a in first for b in second) / (len(first) * len(second))
    return within(first) + within(second) - 2 * between


@pytest.mark.parametrize(("m", "n"), [(2, 2), (12, 9)])
def test_mmd_equals_loops(m: int, n: int) -> None:
    draw = np.random.default_rng(7)
    first, second = draw.standard_normal((m, 5)), draw.standard_normal((n, 5)) + 0.5
    assert squared_mmd(first, second) == pytest.approx(mmd_by_loops(first, second), rel=1e-9)


def test_kid_takes_the_subsets_of_its_seed() -> None:
    """100 draws without replacement, generated first, as torch-fidelity draws them."""
    draw = np.random.default_rng(8)
    first, second = (draw.standard_normal((30, 4)).astype(np.float32) for _ in range(2))
    kid = KernelDistance(subsets=5, subset_size=10, seed=2020)
    kid.add(first[:13], second[:13])
    kid.add(first[13:], second[13:])
    result = kid.result()
    subsets = np.random.RandomState(2020)
    expected = [
        mmd_by_loops(first[subsets.choice(30, 10, replace=False)], second[subsets.choice(30, 10, replace=False)])
        for _ in range(5)
    ]
    assert isinstance(result, MetricResult)
    assert result.value == pytest.approx(np.mean(expected), rel=1e-6)
    assert result.spread == pytest.approx(np.std(expected), rel=1e-6)


def test_kid_of_few_pictures_is_one_subset() -> None:
    kid = KernelDistance()
    kid.add(np.ones((1, 4)), np.ones((1, 4)))
    assert isinstance(kid.result(), LeftOut)
    draw = np.random.default_rng(9)
    kid.add(draw.standard_normal((8, 4)), draw.standard_normal((8, 4)))
    result = kid.result()
    assert isinstance(result, MetricResult)
    assert "1 subset of 9" in result.definition
    assert result.spread is None
