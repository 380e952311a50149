"""The confusion matrix and its figures against plain loops over pixels."""

from __future__ import annotations

import numpy as np
import pytest

from lggan.evaluation.segmentation import IGNORED, ConfusionMatrix


def by_loops(
    truths: list[np.ndarray], answers: list[np.ndarray], classes: int
) -> tuple[float, float, list[float | None]]:
    both, either, right, counted = [0] * classes, [0] * classes, 0, 0
    for truth, answer in zip(truths, answers, strict=True):
        for t, a in zip(truth.ravel().tolist(), answer.ravel().tolist(), strict=True):
            if t == IGNORED:
                continue
            counted += 1
            right += t == a
            for c in range(classes):
                both[c] += t == c and a == c
                either[c] += t == c or a == c
    iou = [b / e if e else None for b, e in zip(both, either, strict=True)]
    there = [value for value in iou if value is not None]
    return sum(there) / len(there), right / counted, iou


@pytest.mark.parametrize("seed", range(5))
def test_streamed_figures_are_those_of_plain_loops(seed: int) -> None:
    random = np.random.default_rng(seed)
    truths = [random.integers(0, 6, (7, 9)).astype(np.uint8) for _ in range(3)]  # class 6 of 7 never in the truth
    answers = [np.where(random.random((7, 9)) < 0.6, truth, random.integers(0, 6, (7, 9))) for truth in truths]
    for truth in truths:
        truth[random.random((7, 9)) < 0.2] = IGNORED
    matrix = ConfusionMatrix(7)
    for truth, answer in zip(truths, answers, strict=True):
        matrix.add(truth, np.minimum(answer, 6).astype(np.uint8))
    score = matrix.score()
    miou, accuracy, iou = by_loops(truths, [np.minimum(answer, 6) for answer in answers], 7)
    assert score.miou == pytest.approx(miou, abs=1e-12)
    assert score.pixel_accuracy == pytest.approx(accuracy, abs=1e-12)
    assert score.iou[6] is None
    assert score.iou[:6] == pytest.approx(iou[:6], abs=1e-12)
    assert sum(score.truth_pixels) == sum(int((truth != IGNORED).sum()) for truth in truths)


def test_an_invented_class_counts_as_zero_and_an_absent_one_not_at_all() -> None:
    matrix = ConfusionMatrix(4)
    matrix.add(np.array([0, 0, 1, 1, IGNORED]), np.array([0, 0, 1, 2, 3]))
    score = matrix.score()
    assert score.iou == (1.0, 0.5, 0.0, None)  # 3 was answered only where the truth is ignored
    assert score.miou == pytest.approx(0.5)
    assert score.pixel_accuracy == pytest.approx(0.75)
    assert score.truth_pixels == (2, 2, 0, 0)


def test_uint8_ids_do_not_overflow() -> None:
    ids = np.arange(150, dtype=np.uint8)  # 149 * 150 + 149 is far beyond uint8
    matrix = ConfusionMatrix(150)
    matrix.add(ids, ids)
    np.testing.assert_array_equal(matrix.counts, np.eye(150))


def test_impossible_counts_are_refused_and_leave_the_matrix_alone() -> None:
    matrix = ConfusionMatrix(3)
    with pytest.raises(ValueError, match="shape"):
        matrix.add(np.zeros((2, 2), np.uint8), np.zeros((2, 3), np.uint8))
    with pytest.raises(ValueError, match="prediction has ids 0 to 3"):
        matrix.add(np.array([0, 1]), np.array([0, 3]))
    with pytest.raises(ValueError, match="truth has ids -1 to 0"):
        matrix.add(np.array([0, -1]), np.array([0, 0]))
    assert not matrix.counts.any()
    matrix.add(np.full(4, IGNORED), np.zeros(4, int))
    with pytest.raises(ValueError, match="no pixel"):
        matrix.score()


def test_a_pixel_without_an_answer_is_wrong() -> None:
    matrix = ConfusionMatrix(3)
    matrix.add(np.array([0, 0, 1, IGNORED]), np.array([0, IGNORED, 1, IGNORED]))
    score = matrix.score()
    assert score.iou == (0.5, 1.0, None)
    assert score.pixel_accuracy == pytest.approx(2 / 3)
    assert score.truth_pixels == (2, 1, 0)
    assert matrix.pixels == 3
    nothing = ConfusionMatrix(2)
    nothing.add(np.array([1]), np.array([IGNORED]))
    assert nothing.score().iou == (None, 0.0)
