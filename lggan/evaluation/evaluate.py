"""Judging a generator by a segmenter: does the segmenter find in the pictures what the label maps asked for?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from PIL import Image

from lggan.data.pairs import Pair
from lggan.evaluation.segmentation import IGNORED, ConfusionMatrix, SegmentationScore
from runtime.contract.card import ClassInfo
from runtime.contract.errors import BackendError, InputError
from runtime.contract.labels import fit_label_map, read_instance_map, read_label_map
from runtime.contract.pictures import read_photo
from runtime.contract.progress import Progress, SilentProgress

EVALUATION_SCHEMA = 1

Generate = Callable[[np.ndarray, "np.ndarray | None"], np.ndarray]
"""(label uint8 [N,1,H,W], instance int32 [N,1,H,W] or None) -> pictures uint8 [N,H,W,3]."""


class Segmenter(Protocol):
    """What can judge; `lggan.evaluation.espnet.ESPNet` does."""

    sha256: str

    @property
    def names(self) -> tuple[str, ...]:
        """Class names by index in what ``predict`` gives."""

    def predict(self, pictures: np.ndarray) -> np.ndarray:
        """uint8 [N,H,W,3] R, G, B -> class index uint8 [N,H,W]."""


@dataclass(frozen=True)
class Evaluation:
    """What the judge said.

    Attributes:
        images: number of label maps.
        height, width: of the generated pictures.
        class_names: the judge's classes; the scores' tuples are in this order.
        unjudged: classes of the model that the judge does not know; their pixels do not count (as void's do not).
        generated: agreement of the judge's view of the generated pictures with the label maps.
        ceiling: the same for the real photos, reduced to height x width; None if it was not asked for.
        judge_sha256: of the judge's weights file.
    """

    images: int
    height: int
    width: int
    class_names: tuple[str, ...]
    unjudged: tuple[str, ...]
    generated: SegmentationScore
    ceiling: SegmentationScore | None
    judge_sha256: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, with a ``schema`` number; scores in 0..1, null for a class that occurs nowhere."""
        return {
            "schema": EVALUATION_SCHEMA,
            "images": self.images,
            "size": {"height": self.height, "width": self.width},
            "judge": {"sha256": self.judge_sha256, "classes": list(self.class_names)},
            "unjudged_classes": list(self.unjudged),
            "generated": self._score_dict(self.generated),
            "ceiling": None if self.ceiling is None else self._score_dict(self.ceiling),
        }

    def _score_dict(self, score: SegmentationScore) -> dict[str, Any]:
        return {
            "miou": score.miou,
            "pixel_accuracy": score.pixel_accuracy,
            "iou": dict(zip(self.class_names, score.iou, strict=True)),
            "truth_pixels": dict(zip(self.class_names, score.truth_pixels, strict=True)),
        }


def evaluate(
    generate: Generate,
    pairs: Sequence[Pair],
    classes: Sequence[ClassInfo],
    void: int | None,
    judge: Segmenter,
    size: tuple[int, int],
    *,
    instances: bool = False,
    ceiling: bool = True,
    progress: Progress | None = None,
) -> Evaluation:
    """Generate a picture for every label map and let the judge segment it.

    The label map (and the instance map) is reduced to ``size`` by nearest, the generated picture is enlarged to the
    label map's own size by Pillow's bicubic filter, segmented there, and compared with the label map as it is in the
    file. So the score falls with the model's resolution as well as with its quality; ``ceiling`` says by how much: it
    is the score of the real photos, reduced to ``size`` by Pillow's box filter (means over areas) and enlarged in the
    same way. The enlarging filter matters: bilinear, being softer, costs the photos of CamVid 0.02 of mIoU at 128x96.
    The judge works at the label maps' size, which should be the one it was trained at (CamVid 480x360, Cityscapes
    1024x512). Classes of the model and of the judge are matched by name, ignoring case, ``_`` and ``-``.

    Args:
        pairs: photos (read only for the ceiling), label maps and instance maps.
        classes, void: of the model, as in its card.
        size: height and width that ``generate`` is called with, pixels.
        instances: whether the model wants instance maps.

    Raises:
        InputError: no pairs, a broken file, a photo of another size than its label map, no instance map where one is
            wanted, no class known to the judge or nothing but unjudged pixels.
        BackendError: ``generate`` gave something else than uint8 [1,H,W,3].
    """
    if not pairs:
        raise InputError("there are no pictures to evaluate; name a folder with <split>/images and <split>/labels")
    table, unjudged = _judge_ids(classes, judge.names)
    height, width = size
    generated, real = ConfusionMatrix(len(judge.names)), ConfusionMatrix(len(judge.names))
    with (progress or SilentProgress()).task("evaluate", total=len(pairs)) as task:
        for pair in pairs:
            label = read_label_map(pair.label, classes, void)  # [H, W]
            truth = table[label]
            instance = _instances(pair, label, size) if instances else None
            pictures = generate(fit_label_map(label, height, width)[None, None], instance)
            if pictures.dtype != np.uint8 or pictures.shape != (1, height, width, 3):
                raise BackendError(
                    f"the generator gave {pictures.dtype} {pictures.shape} instead of uint8 (1, {height}, {width}, 3)"
                )
            generated.add(truth, _segment(judge, pictures[0], truth.shape))
            if ceiling:
                small = _resized(_matching_photo(pair, label), size, Image.Resampling.BOX)
                real.add(truth, _segment(judge, small, truth.shape))
            task.advance(note=pair.name)
    if not generated.counts.any():
        raise InputError(
            f"all pixels of the {len(pairs)} label maps belong to no class of the judge; nothing to compare"
        )
    return Evaluation(
        images=len(pairs),
        height=height,
        width=width,
        class_names=judge.names,
        unjudged=unjudged,
        generated=generated.score(),
        ceiling=real.score() if ceiling else None,
        judge_sha256=judge.sha256,
    )


def _judge_ids(classes: Sequence[ClassInfo], judged: Sequence[str]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Table uint8 [256] from the model's ids to the judge's (or `IGNORED`), and the classes without a counterpart."""
    positions = {_plain(name): index for index, name in enumerate(judged)}
    table = np.full(256, IGNORED, dtype=np.uint8)
    for index, info in enumerate(classes):
        table[index] = positions.get(_plain(info.name), IGNORED)
    unjudged = tuple(info.name for info in classes if _plain(info.name) not in positions)
    if len(unjudged) == len(classes):
        raise InputError(
            f"the judge knows {', '.join(judged)}, none of the model's {len(classes)} classes; "
            "use a judge trained on the same data"
        )
    return table, unjudged


def _plain(name: str) -> str:
    return name.lower().replace("_", " ").replace("-", " ").strip()


def _segment(judge: Segmenter, picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The judge's view of a picture [h,w,3], enlarged to ``size`` (H, W) -> [H,W]."""
    return judge.predict(_resized(picture, size, Image.Resampling.BICUBIC)[None])[0]


def _resized(picture: np.ndarray, size: tuple[int, int], filtering: Image.Resampling) -> np.ndarray:
    height, width = size
    return np.asarray(Image.fromarray(picture).resize((width, height), filtering))


def _matching_photo(pair: Pair, label: np.ndarray) -> np.ndarray:
    photo = read_photo(pair.photo)
    if photo.shape[:2] != label.shape:
        raise InputError(
            f"{pair.photo} is {photo.shape[1]}x{photo.shape[0]}, its label map {label.shape[1]}x{label.shape[0]}; "
            "give both the same size"
        )
    return photo


def _instances(pair: Pair, label: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The instance map reduced to ``size``, int32 [1, 1, h, w]."""
    if pair.instance is None:
        raise InputError(f"{pair.label} has no instance map, and the model wants one; put it into <split>/instances")
    instance = read_instance_map(pair.instance)
    if instance.shape != label.shape:
        raise InputError(f"{pair.instance} has another size than its label map {pair.label}; give both the same size")
    return fit_label_map(instance, *size)[None, None]
