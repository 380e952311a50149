"""Judging a generator: a picture for every scene of a data set, looked at by every metric of a plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from lggan.data.scenes import Scene, SceneList
from lggan.evaluation.gallery import Gallery
from lggan.evaluation.metric import Comparison, LeftOut, MetricResult
from lggan.evaluation.plan import Plan
from lggan.evaluation.segmentation_metric import SegmentationMetric, SegmentationReport
from runtime.contract.card import ModelCard
from runtime.contract.errors import BackendError, InputError, UsageError
from runtime.contract.labels import fit_label_map
from runtime.contract.pictures import resize_photo
from runtime.contract.progress import Progress, SilentProgress

EVALUATION_SCHEMA = 2


class Generator(Protocol):
    """What can be judged: a session of the runtime and `lggan.synthesis.TorchSynthesizer`."""

    @property
    def card(self) -> ModelCard: ...

    def generate(
        self, label: np.ndarray, instance: np.ndarray | None = None, source: np.ndarray | None = None
    ) -> np.ndarray:
        """uint8 [N,1,H,W], int32 [N,1,H,W] or None, uint8 [N,H,W,3] or None -> uint8 [N,H,W,3]."""


@dataclass(frozen=True)
class EvaluationOptions:
    """How to go through the scenes.

    Attributes:
        limit: only the first so many; None for all.
        batch: scenes per call of the generator and of the networks.
        pictures: folder for the generated pictures, see `Gallery`; None keeps none.
        force: pictures of an earlier evaluation may be replaced.
    """

    limit: int | None = None
    batch: int = 1
    pictures: Path | None = None
    force: bool = False

    def __post_init__(self) -> None:
        if self.batch < 1 or (self.limit is not None and self.limit < 1):
            raise UsageError(f"batch is {self.batch} and limit {self.limit}; both must be positive")


@dataclass(frozen=True)
class Evaluation:
    """What the metrics said.

    Attributes:
        task: of the model's card.
        images: number of scenes.
        height, width: of the generated pictures.
        metrics: the figures, in the order of the plan.
        left_out: what was not computed, and why.
        segmentation: IoU class by class; None without a judge.
    """

    task: str
    images: int
    height: int
    width: int
    metrics: tuple[MetricResult, ...]
    left_out: tuple[LeftOut, ...]
    segmentation: SegmentationReport | None = field(default=None)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, with a ``schema`` number. Infinite figures stay infinite here."""
        return {
            "schema": EVALUATION_SCHEMA,
            "task": self.task,
            "images": self.images,
            "size": {"height": self.height, "width": self.width},
            "metrics": [asdict(result) | {"better": result.better.value} for result in self.metrics],
            "left_out": [asdict(entry) for entry in self.left_out],
            "segmentation": None if self.segmentation is None else self.segmentation.to_dict(),
        }

    def value(self, name: str) -> float:
        """The figure of this name.

        Raises:
            KeyError: it was not computed.
        """
        return {result.name: result.value for result in self.metrics}[name]


def evaluate(
    generator: Generator,
    scenes: SceneList,
    plan: Plan,
    options: EvaluationOptions | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Generate a picture for every scene and show it to the metrics.

    Label and instance maps are brought to the model's size by nearest, photos by Pillow's bicubic filter.

    Raises:
        InputError: no scenes, a broken file, no instance map or source where one is wanted.
        UsageError: nothing to do: no metric, and no folder for the pictures; see also `Gallery`.
        BackendError: the generator or a network failed or gave something else than its card or file says.
    """
    options = options or EvaluationOptions()
    card = generator.card
    if not plan.metrics and options.pictures is None:
        needs = "; ".join(f"{entry.name}: {entry.reason}" for entry in plan.left_out)
        raise UsageError(f"there is nothing to compute ({needs})")
    count = len(scenes) if options.limit is None else min(options.limit, len(scenes))
    if count == 0:
        raise InputError("there are no scenes to evaluate; check --data and --split")
    gallery = None if options.pictures is None else Gallery(options.pictures, card.classes, count, force=options.force)
    progress = progress or SilentProgress()
    with progress.task("evaluate", total=count) as task:
        for first in range(0, count, options.batch):
            batch = [scenes[index] for index in range(first, min(first + options.batch, count))]
            comparisons = _compare(generator, batch, gallery)
            for metric in plan.metrics:
                metric.add(comparisons)
            task.advance(len(batch), note=batch[-1].name)
    if gallery is not None:
        gallery.close()
    results: list[MetricResult | LeftOut] = []
    with progress.task("figures", total=len(plan.metrics)) as task:  # square roots of 2048 x 2048 matrices take a while
        for metric in plan.metrics:
            results += metric.results()
            task.advance()
    reports = [metric.report() for metric in plan.metrics if isinstance(metric, SegmentationMetric)]
    return Evaluation(
        task=card.task,
        images=count,
        height=card.height,
        width=card.width,
        metrics=tuple(result for result in results if isinstance(result, MetricResult)),
        left_out=(*(result for result in results if isinstance(result, LeftOut)), *plan.left_out),
        segmentation=reports[0] if reports else None,
    )


def _compare(generator: Generator, batch: Sequence[Scene], gallery: Gallery | None) -> list[Comparison]:
    card = generator.card
    height, width = card.height, card.width
    label = np.stack([fit_label_map(scene.label, height, width) for scene in batch])[:, None]  # [N, 1, H, W]
    instance = np.stack([_instance(scene, height, width) for scene in batch])[:, None] if card.instances else None
    source = np.stack([_source(scene, height, width) for scene in batch]) if card.wants_source else None
    pictures = generator.generate(label, instance, source)
    if pictures.dtype != np.uint8 or pictures.shape != (len(batch), height, width, 3):
        raise BackendError(
            f"the generator gave {pictures.dtype} {list(pictures.shape)} instead of uint8 "
            f"[{len(batch)}, {height}, {width}, 3]"
        )
    comparisons = []
    for index, scene in enumerate(batch):
        photo = resize_photo(scene.photo, height, width)
        comparisons.append(Comparison(scene.name, pictures[index], photo, scene.photo, scene.label))
        if gallery is not None:
            gallery.add(scene.name, scene.label, None if source is None else source[index], pictures[index], photo)
    return comparisons


def _instance(scene: Scene, height: int, width: int) -> np.ndarray:
    if scene.instance is None:
        raise InputError(f"{scene.name} has no instance map, and the model wants one; add it to the data set")
    if scene.instance.shape != scene.label.shape:
        raise InputError(f"the instance map of {scene.name} has another size than its label map; give both the same")
    return fit_label_map(scene.instance, height, width)


def _source(scene: Scene, height: int, width: int) -> np.ndarray:
    if scene.source is None:
        raise InputError(f"{scene.name} has no source photo, and the model wants one; cross-view data comes as strips")
    return resize_photo(scene.source, height, width)
