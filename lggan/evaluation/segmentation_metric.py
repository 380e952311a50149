"""Mean IoU and pixel accuracy: does a segmenter find in the pictures what the label maps asked for?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from lggan.evaluation.metric import Better, Comparison, LeftOut, MetricResult
from lggan.evaluation.segmentation import ConfusionMatrix, SegmentationScore
from lggan.evaluation.segmenter import ClassTable, Segmenter
from runtime.contract.errors import InputError
from runtime.contract.labels import fit_label_map

_MIOU = "mean over classes of intersection over union, counted over all pixels of all pictures at the label maps' size"
_ACCURACY = "share of the judged pixels, of all pictures together, in which the segmenter finds the label map's class"
_PHOTOS = "; of the real photos reduced to the model's size, the most that a generator of this size can reach"


@dataclass(frozen=True)
class SegmentationReport:
    """The figures class by class.

    Attributes:
        class_names: the judge's classes; the scores' tuples are in this order.
        unjudged: classes of the model that the judge does not know; their pixels do not count (as void's do not).
        generated: agreement of the judge's view of the generated pictures with the label maps.
        photos: the same for the real photos, reduced to the model's size; None if it was not asked for.
    """

    class_names: tuple[str, ...]
    unjudged: tuple[str, ...]
    generated: SegmentationScore
    photos: SegmentationScore | None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; IoU in 0..1, null for a class that occurs nowhere."""
        photos = self.photos.iou if self.photos else (None,) * len(self.class_names)
        rows = zip(self.class_names, self.generated.iou, photos, self.generated.truth_pixels, strict=True)
        return {
            "classes": [
                {"name": name, "iou": iou, "iou_photos": real, "truth_pixels": count} for name, iou, real, count in rows
            ],
            "unjudged_classes": list(self.unjudged),
        }


class SegmentationMetric:
    """``miou`` and ``pixel_accuracy``, and both for the photos.

    The generated picture is enlarged to the label map's own size by Pillow's bicubic filter (a judge with an input
    size of its own resizes it itself), segmented there, and compared with the label map as it is in the file. So the
    figures fall with the model's resolution as well as with its quality; those of the photos say by how much: they are
    reduced to the model's size by Pillow's box filter (means over areas) and enlarged in the same way. The enlarging
    filter matters: bilinear, being softer, costs the photos of CamVid 0.02 of mIoU at 128x96. A judge should work at
    the size it was trained at (ESPNet: CamVid 480x360, Cityscapes 1024x512).
    """

    def __init__(self, judge: Segmenter, table: ClassTable, *, photos: bool) -> None:
        self._judge, self._table = judge, table
        self._generated = ConfusionMatrix(len(table.names))
        self._photos = ConfusionMatrix(len(table.names)) if photos else None
        self._count = 0

    @property
    def names(self) -> tuple[str, ...]:
        own = ("miou", "pixel_accuracy")
        return own if self._photos is None else (*own, "miou_photos", "pixel_accuracy_photos")

    def add(self, batch: Sequence[Comparison]) -> None:
        for pair in batch:  # one by one: label maps may differ in size
            truth = self._table.judged[pair.label]
            self._generated.add(truth, self._segment(pair.generated, truth.shape))
            if self._photos is not None:
                size = (pair.generated.shape[1], pair.generated.shape[0])
                small = np.asarray(Image.fromarray(pair.full_photo).resize(size, Image.Resampling.BOX))
                self._photos.add(truth, self._segment(small, truth.shape))
            self._count += 1

    def report(self) -> SegmentationReport:
        """The figures by class.

        Raises:
            InputError: no pixel of any label map belongs to a class of the judge.
        """
        if not self._generated.pixels:
            raise InputError(
                f"all pixels of the {self._count} label maps belong to no class of the judge; nothing to compare"
            )
        photos = None if self._photos is None else self._photos.score()
        return SegmentationReport(self._table.names, self._table.unjudged, self._generated.score(), photos)

    def results(self) -> tuple[MetricResult | LeftOut, ...]:
        """The figures over all classes.

        Raises:
            InputError: see `report`.
        """
        report = self.report()
        found: list[MetricResult] = []
        for suffix, score in (("", report.generated), ("_photos", report.photos)):
            if score is None:
                continue
            more = _PHOTOS if suffix else ""
            for name, value, definition in (
                (f"miou{suffix}", score.miou, _MIOU), (f"pixel_accuracy{suffix}", score.pixel_accuracy, _ACCURACY),
            ):  # fmt: skip
                found.append(MetricResult(name, value, "0..1", Better.HIGHER, self._count, definition + more))
        return tuple(found)

    def _segment(self, picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """The judge's view of a picture [h,w,3] at ``size`` (H, W) -> [H,W]."""
        if self._judge.input_size is None:
            picture = np.asarray(Image.fromarray(picture).resize((size[1], size[0]), Image.Resampling.BICUBIC))
        return fit_label_map(self._judge.predict(picture[None])[0], *size)
