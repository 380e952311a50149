"""Agreement, inception score and KL score against scipy and plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import log_softmax
from scipy.stats import entropy

from lggan.evaluation.agreement import Agreement
from lggan.evaluation.inception_score import InceptionScore
from lggan.evaluation.kl_score import KlScore
from lggan.evaluation.metric import LeftOut, MetricResult


def logs(seed: int, count: int = 40, classes: int = 9, sharp: float = 3.0) -> np.ndarray:
    return log_softmax(sharp * np.random.default_rng(seed).standard_normal((count, classes)), axis=1)


def values(results: tuple[MetricResult | LeftOut, ...]) -> dict[str, float]:
    return {result.name: result.value for result in results if isinstance(result, MetricResult)}


def test_agreement_equals_loops() -> None:
    real = logs(0)
    generated = 0.7 * real + 0.3 * logs(1)
    agreement = Agreement()
    for first in range(0, 40, 11):
        agreement.add(generated[first : first + 11], real[first : first + 11])
    hits = {(k, sure): [0, 0] for k in (1, 5) for sure in (False, True)}
    for fake, truth in zip(generated.tolist(), real.tolist(), strict=True):
        wanted = truth.index(max(truth))
        ranked = sorted(range(9), key=lambda c, fake=fake: -fake[c])  # stable
        for (k, sure), counts in hits.items():
            if not sure or math.exp(max(truth)) > 0.5:
                counts[0] += wanted in ranked[:k]
                counts[1] += 1
    for result in agreement.results():
        assert isinstance(result, MetricResult)
        right, total = hits[int(result.name[3]), result.name.endswith("confident")]
        assert result.count == total
        assert result.value == pytest.approx(100 * right / total, rel=1e-12)
    assert 0 < hits[1, True][1] < 40


def test_no_confident_photo_leaves_the_figure_out() -> None:
    agreement = Agreement()
    agreement.add(logs(0, sharp=0.1), logs(1, sharp=0.1))
    plain1, plain5, *sure = agreement.results()
    assert isinstance(plain1, MetricResult)
    assert isinstance(plain5, MetricResult)
    assert all(isinstance(result, LeftOut) and "0.5" in result.reason for result in sure)


def test_equal_probabilities_prefer_the_lower_class() -> None:
    agreement = Agreement()
    flat = np.log(np.full((1, 8), 1 / 8))
    one = np.log(np.full((1, 8), 1 / 16))
    one[0, 5] = np.log(9 / 16)
    agreement.add(flat, one)
    found = values(agreement.results())
    assert found["top1_accuracy"] == 0
    assert found["top5_accuracy"] == 0  # classes 0 to 4 come first
    assert agreement.names[:2] == tuple(found)[:2]


def test_inception_score_equals_scipy() -> None:
    probabilities = np.exp(logs(2))
    score = InceptionScore()
    for first in range(0, 40, 7):
        score.add(logs(2)[first : first + 7])
    marginal = probabilities.mean(axis=0)
    expected = math.exp(np.mean([entropy(row, marginal) for row in probabilities]))
    assert values(score.results())["inception_score"] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("kept", [1, 5])
def test_inception_score_of_the_likeliest_equals_loops(kept: int) -> None:
    """All but the k largest become 1e-9, the rows are not normalised again."""
    score = InceptionScore()
    score.add(logs(3))
    rows = []
    for row in np.exp(logs(3)).tolist():
        largest = sorted(range(len(row)), key=lambda c, row=row: row[c], reverse=True)[:kept]
        rows.append([p if c in largest else 1e-9 for c, p in enumerate(row)])
    marginal = [sum(row[c] for row in rows) / len(rows) for c in range(9)]
    kl = [sum(p * (math.log(p) - math.log(m)) for p, m in zip(row, marginal, strict=True)) for row in rows]
    expected = math.exp(sum(kl) / len(kl))
    assert values(score.results())[f"inception_score_top{kept}"] == pytest.approx(expected, rel=1e-9)


def test_inception_score_has_its_limits() -> None:
    """Equal answers give 1, one class each gives the number of classes, probabilities of 0 included."""
    same, each = InceptionScore(), InceptionScore("_photos")
    same.add(np.repeat(logs(4, 1), 5, axis=0))
    with np.errstate(divide="ignore"):
        each.add(np.log(np.eye(6)))
    assert values(same.results())["inception_score"] == pytest.approx(1.0, rel=1e-12)
    assert values(each.results())["inception_score_photos"] == pytest.approx(6.0, rel=1e-12)
    assert each.names[0] == "inception_score_photos"


def test_kl_score_equals_scipy() -> None:
    fake, real = logs(5), logs(6)
    kl = KlScore()
    kl.add(fake[:15], real[:15])
    kl.add(fake[15:], real[15:])
    single = [entropy(p, q) for p, q in zip(np.exp(fake), np.exp(real), strict=True)]
    (result,) = kl.results()
    assert result.value == pytest.approx(math.exp(np.mean(single)), rel=1e-9)
    assert result.spread == pytest.approx(np.std(single), rel=1e-9)
    assert result.better.value == "lower"


def test_kl_score_with_probabilities_of_zero() -> None:
    with np.errstate(divide="ignore"):
        half, first = np.log([[0.5, 0.5, 0.0]]), np.log([[1.0, 0.0, 0.0]])
    finite, infinite = KlScore(), KlScore()
    finite.add(first, half)
    infinite.add(half, first)
    assert finite.results()[0].value == pytest.approx(2.0)
    assert infinite.results()[0].value == math.inf
    assert infinite.results()[0].spread is None
