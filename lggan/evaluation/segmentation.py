"""Agreement of two segmentations, counted over any number of pictures: IoU per class, mIoU, pixel accuracy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

IGNORED = 255  # in the truth: the pixel does not count; in the prediction: no answer, which is never right


@dataclass(frozen=True)
class SegmentationScore:
    """Figures over all pixels of all pictures together (not means over pictures), each in 0..1.

    Attributes:
        miou: mean of ``iou`` over the classes that occur in the truth or in the prediction. A class that is predicted
            but nowhere in the truth has IoU 0 and counts; a class in neither is left out.
        pixel_accuracy: right pixels / counted pixels.
        iou: per class, right pixels / pixels where truth or prediction has the class; None where there are none.
        truth_pixels: per class, how many counted pixels have it in the truth.
    """

    miou: float
    pixel_accuracy: float
    iou: tuple[float | None, ...]
    truth_pixels: tuple[int, ...]


class ConfusionMatrix:
    """Counts of (truth, prediction) pairs.

    Attributes:
        counts: int64 [K, K], a row per class of the truth.
        unanswered: int64 [K], pixels of each class of the truth for which there was no answer.
    """

    def __init__(self, classes: int) -> None:
        self.counts = np.zeros((classes, classes), dtype=np.int64)
        self.unanswered = np.zeros(classes, dtype=np.int64)

    @property
    def pixels(self) -> int:
        """How many pixels were counted."""
        return int(self.counts.sum() + self.unanswered.sum())

    def add(self, truth: np.ndarray, predicted: np.ndarray) -> None:
        """Count one picture or several.

        Args:
            truth: integers of any shape, 0..K-1 or `IGNORED`.
            predicted: integers of the same shape, 0..K-1 or `IGNORED`.

        Raises:
            ValueError: the shapes differ or a counted value is no class.
        """
        if truth.shape != predicted.shape:
            raise ValueError(f"truth has shape {truth.shape}, the prediction {predicted.shape}")
        counted = truth != IGNORED
        rows, columns = truth[counted].astype(np.int64), predicted[counted].astype(np.int64)
        classes = len(self.counts)
        answered = columns != IGNORED
        for name, ids in (("truth", rows), ("prediction", columns[answered])):
            if ids.size and (ids.min() < 0 or ids.max() >= classes):
                raise ValueError(f"the {name} has ids {ids.min()} to {ids.max()}, classes are 0 to {classes - 1}")
        pairs = rows[answered] * classes + columns[answered]
        self.counts += np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)
        self.unanswered += np.bincount(rows[~answered], minlength=classes)

    def score(self) -> SegmentationScore:
        """The figures of everything counted so far.

        Raises:
            ValueError: nothing was counted.
        """
        total = self.pixels
        if total == 0:
            raise ValueError("no pixel was counted")
        right = self.counts.diagonal()
        in_truth, in_prediction = self.counts.sum(axis=1) + self.unanswered, self.counts.sum(axis=0)
        union = in_truth + in_prediction - right
        iou = tuple(float(r / u) if u else None for r, u in zip(right, union, strict=True))
        return SegmentationScore(
            miou=float(np.mean([value for value in iou if value is not None])),
            pixel_accuracy=float(right.sum() / total),
            iou=iou,
            truth_pixels=tuple(int(pixels) for pixels in in_truth),
        )
