"""Which metrics an evaluation computes: it follows from the task and from the evaluators that were given."""

from __future__ import annotations

from dataclasses import dataclass, field

from lggan.evaluation.classification import ClassificationMetric
from lggan.evaluation.features import FeatureMetric
from lggan.evaluation.metric import LeftOut, Metric
from lggan.evaluation.onnx_network import OnnxNetwork
from lggan.evaluation.paired import PairedMetric
from lggan.evaluation.perceptual_distance import PerceptualDistance
from lggan.evaluation.psnr import PSNR_DEFINITIONS
from lggan.evaluation.segmentation_metric import SegmentationMetric
from lggan.evaluation.segmenter import Segmenter, match_classes
from lggan.evaluation.sharpness import SHARPNESS_DEFINITIONS
from lggan.evaluation.ssim import SSIM_DEFINITIONS, WINDOW
from lggan.task import Task
from runtime.contract.card import ModelCard

_UNPAIRED = "it compares pixel by pixel, and a label map leaves the pixels open; computed for cross-view models"


@dataclass(frozen=True)
class Evaluators:
    """The networks that look at the pictures; None for those that are not at hand.

    Attributes:
        judge: a segmenter, for mean IoU and pixel accuracy.
        features: a feature network, for FID and KID.
        classifier: for accuracies, inception score and KL score.
        perceptual: LPIPS, or why there is none.
    """

    judge: Segmenter | None = None
    features: OnnxNetwork | None = None
    classifier: OnnxNetwork | None = None
    perceptual: PerceptualDistance | LeftOut = field(default_factory=lambda: LeftOut("lpips", "it was not asked for"))


@dataclass(frozen=True)
class Plan:
    """The metrics of one evaluation, and those left out with what they would need."""

    metrics: tuple[Metric, ...]
    left_out: tuple[LeftOut, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """All figures that will be computed."""
        return tuple(name for metric in self.metrics for name in metric.names)


def plan_metrics(card: ModelCard, evaluators: Evaluators, *, photos: bool) -> Plan:
    """The metrics for a model's task with the evaluators at hand.

    Both tasks: those of every evaluator. Cross-view, whose picture should be the photo: also SSIM, PSNR, sharpness.

    Args:
        photos: also the figures of the real photos, where a metric has such.

    Raises:
        InputError: the judge knows none of the model's classes.
    """
    metrics: list[Metric] = []
    left_out: list[LeftOut] = []
    if evaluators.judge is None:
        left_out.append(LeftOut("miou, pixel_accuracy", "give a segmenter: --judge espnet.pth or segmenter.onnx"))
    else:
        table = match_classes(card.classes, evaluators.judge.classes)
        metrics.append(SegmentationMetric(evaluators.judge, table, photos=photos))
    if evaluators.features is None:
        left_out.append(LeftOut("fid, kid", "give a feature network: --features inception.onnx"))
    else:
        metrics.append(FeatureMetric(evaluators.features))
    _plan_similarity(card, metrics, left_out)
    if evaluators.classifier is None:
        figures = "top1_accuracy, top5_accuracy, inception_score, kl_score"
        left_out.append(LeftOut(figures, "give a classifier: --classifier alexnet_places365.onnx"))
    else:
        metrics.append(ClassificationMetric(evaluators.classifier, photos=photos))
    if isinstance(evaluators.perceptual, LeftOut):
        left_out.append(evaluators.perceptual)
    else:
        metrics.append(evaluators.perceptual)
    return Plan(tuple(metrics), tuple(left_out))


def _plan_similarity(card: ModelCard, metrics: list[Metric], left_out: list[LeftOut]) -> None:
    ssim, psnr, sharpness = (
        PairedMetric(*each) for each in (SSIM_DEFINITIONS, PSNR_DEFINITIONS, SHARPNESS_DEFINITIONS)
    )
    if card.task != Task.CROSS_VIEW.value:
        left_out.append(LeftOut(", ".join((*ssim.names, *psnr.names, *sharpness.names)), _UNPAIRED))
        return
    if min(card.height, card.width) < WINDOW:
        reason = f"its window is {WINDOW}x{WINDOW}, the pictures are {card.height}x{card.width}"
        left_out.append(LeftOut(", ".join(ssim.names), reason))
    else:
        metrics.append(ssim)
    metrics += [psnr, sharpness]
