"""The whole evaluation with generators and networks whose answers are known."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg
from PIL import Image
from scipy.special import log_softmax
from scipy.stats import entropy

from lggan.data.scenes import Scene
from lggan.data.scenes import scenes as scenes_of
from lggan.evaluation.classification import open_classifier
from lggan.evaluation.evaluate import EVALUATION_SCHEMA, Evaluation, EvaluationOptions, evaluate
from lggan.evaluation.features import open_features
from lggan.evaluation.network_file import ClassSpec
from lggan.evaluation.plan import Evaluators, plan_metrics
from lggan.evaluation.preprocessing import prepare
from lggan.evaluation.segmenter import open_segmenter
from lggan.evaluation.ssim import ssim
from lggan.preset import load_preset
from lggan.task import Task
from runtime.contract.card import ClassInfo, ModelCard
from runtime.contract.errors import BackendError, InputError, UsageError
from runtime.contract.pictures import read_photo, resize_photo
from tests.lggan.evaluation.toy_networks import (
    features,
    read_out,
    write_classifier,
    write_features,
    write_segmenter,
)
from tests.miniatures import write_miniature

BENCHMARKS = (
    "cityscapes", "ade20k", "coco_stuff", "facades", "celeba_mask", "deepfashion", "dayton_a2g", "dayton_g2a",
    "dayton_a2g_64", "dayton_g2a_64", "cvusa", "sva",
)  # fmt: skip
# the model's ids and the judge's differ in order, spelling and extent
MODEL = (ClassInfo("Traffic_Sign", (10, 0, 0)), ClassInfo("road", (20, 0, 0)), ClassInfo("moon", (30, 0, 0)))
CARD = ModelCard("toy", Task.SEMANTIC_SYNTHESIS.value, MODEL, None, height=8, width=16, stride=4)
CROSS_VIEW = replace(CARD, task=Task.CROSS_VIEW.value, void=255, height=16, width=16)
ROAD, SIGN = 0, 1
Paint = Callable[[np.ndarray, "np.ndarray | None", "np.ndarray | None"], np.ndarray]


@dataclass
class RedJudge:
    """Answers road where red is above 100, traffic sign elsewhere; never lamp."""

    sha256: str = "ab" * 32
    backend: str = "nothing"
    path: Path | None = None
    classes: ClassSpec = ClassSpec(names=("road", "traffic sign", "lamp"))  # noqa: RUF009
    input_size: tuple[int, int] | None = None
    seen: list[np.ndarray] = field(default_factory=list)

    def predict(self, pictures: np.ndarray) -> np.ndarray:
        self.seen.append(pictures)
        return np.where(pictures[..., 0] > 100, ROAD, SIGN).astype(np.uint8)


@dataclass
class Toy:
    """A generator that paints by a function and remembers what it was called with."""

    paint: Paint
    card: ModelCard = CARD
    calls: list[tuple[np.ndarray, np.ndarray | None, np.ndarray | None]] = field(default_factory=list)

    def generate(
        self, label: np.ndarray, instance: np.ndarray | None = None, source: np.ndarray | None = None
    ) -> np.ndarray:
        self.calls.append((label, instance, source))
        return self.paint(label, instance, source)


@dataclass
class Scenes:
    """Scenes in memory, as `lggan.data.scenes` gives them from files."""

    scenes: list[Scene]
    read: list[int] = field(default_factory=list)

    @property
    def names(self) -> list[str]:
        return [scene.name for scene in self.scenes]

    def __len__(self) -> int:
        return len(self.scenes)

    def __getitem__(self, index: int) -> Scene:
        self.read.append(index)
        return self.scenes[index]


def obedient(label: np.ndarray, *_: np.ndarray | None) -> np.ndarray:
    """Red for road (id 1 of the model), black elsewhere."""
    return np.where(label[:, 0, :, :, None] == 1, np.array([200, 0, 0]), 0).astype(np.uint8)


def disobedient(label: np.ndarray, *_: np.ndarray | None) -> np.ndarray:
    return np.zeros((len(label), *label.shape[2:], 3), np.uint8)


def noisy(label: np.ndarray, instance: np.ndarray | None, source: np.ndarray | None) -> np.ndarray:
    """The given photo with noise that follows from it."""
    assert source is not None
    draw = np.random.default_rng(int(source.sum()))
    return np.clip(source + draw.normal(0, 30, source.shape), 0, 255).astype(np.uint8)


def halves(height: int = 32, width: int = 64) -> np.ndarray:
    """Left half sign, right half road, the first columns moon (which the judge does not know)."""
    label = np.zeros((height, width), np.uint8)
    label[:, width // 2 :] = 1
    label[:, : width // 8] = 2
    return label


def scene(name: str, label: np.ndarray, photo: np.ndarray | None = None) -> Scene:
    return Scene(name, obedient(label[None, None])[0] if photo is None else photo, label)


def views(count: int = 9, side: int = 24) -> Scenes:
    """Cross-view scenes: smooth photos, the source equal to the wanted view but for its brightness."""
    found = []
    for index in range(count):
        draw = np.random.default_rng(index)
        small = draw.integers(0, 200, (4, 4, 3), dtype=np.uint8)
        photo = np.asarray(Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC))
        label = np.where(photo[..., 0] > 100, 1, 255).astype(np.uint8)
        found.append(Scene(f"view{index}", photo, label, source=photo // 2 + 60))
    return Scenes(found)


def judged(generator: Toy, scenes: Scenes, *, photos: bool = True, batch: int = 1) -> Evaluation:
    plan = plan_metrics(generator.card, Evaluators(judge=RedJudge()), photos=photos)
    return evaluate(generator, scenes, plan, EvaluationOptions(batch=batch))


# --- the segmenter ---


@pytest.mark.parametrize("batch", [1, 2])
def test_matching_by_name_unjudged_pixels_and_the_full_size_truth(batch: int) -> None:
    judge = RedJudge()
    scenes = Scenes([scene("a", halves()), scene("b", halves(16, 32))])
    plan = plan_metrics(CARD, Evaluators(judge=judge), photos=True)
    result = evaluate(Toy(obedient), scenes, plan, EvaluationOptions(batch=batch))
    assert [picture.shape for picture in judge.seen] == [(1, 32, 64, 3)] * 2 + [(1, 16, 32, 3)] * 2
    assert result.segmentation is not None
    assert result.segmentation.generated.iou == (1.0, 1.0, None)
    assert result.segmentation.generated.truth_pixels == (32 * 32 + 16 * 16, 32 * 24 + 16 * 12, 0)
    assert result.segmentation.unjudged == ("moon",)
    assert (result.value("miou"), result.value("pixel_accuracy")) == (1.0, 1.0)
    assert {entry.count for entry in result.metrics} == {2}


def test_figures_of_a_generator_that_ignores_the_label_map() -> None:
    result = judged(Toy(disobedient), Scenes([scene("a", halves())]))
    assert result.segmentation is not None
    assert result.segmentation.generated.iou == (0.0, 24 / 56, None)
    assert result.value("miou") == 12 / 56
    assert result.value("pixel_accuracy") == 24 / 56
    assert result.value("miou_photos") == 1.0  # the photos follow their label maps


def test_ceiling_falls_with_the_model_size() -> None:
    """Stripes of one pixel survive at full size and become grey at half of it."""
    scenes = Scenes([scene("stripes", np.tile(np.array([[0, 1]], np.uint8), (32, 32)))])
    sizes = (replace(CARD, height=height, width=2 * height) for height in (32, 16))
    full, half = (judged(Toy(obedient, card), scenes).segmentation for card in sizes)
    assert full is not None
    assert half is not None
    assert full.photos is not None
    assert half.photos is not None
    assert full.photos.miou == 1.0
    assert half.photos.pixel_accuracy == 0.5


def test_a_judge_with_a_size_of_its_own_gets_the_picture_as_it_is() -> None:
    judge = RedJudge(input_size=(8, 16))
    plan = plan_metrics(CARD, Evaluators(judge=judge), photos=False)
    result = evaluate(Toy(obedient), Scenes([scene("a", halves())]), plan)
    assert [picture.shape for picture in judge.seen] == [(1, 8, 16, 3)]
    assert result.value("miou") == 1.0
    assert [entry.name for entry in result.metrics] == ["miou", "pixel_accuracy"]


def test_an_onnx_segmenter_says_the_same(tmp_path: Path) -> None:
    scenes = Scenes([scene("a", halves()), scene("b", halves(40, 60))])
    judge = open_segmenter(write_segmenter(tmp_path / "judge.onnx"), threads=1)
    by_network = evaluate(Toy(disobedient), scenes, plan_metrics(CARD, Evaluators(judge=judge), photos=True))
    assert by_network.segmentation == judged(Toy(disobedient), scenes).segmentation


def test_only_unjudged_pixels() -> None:
    moon = scene("moon", np.full((16, 16), 2, np.uint8), np.zeros((16, 16, 3), np.uint8))
    with pytest.raises(InputError, match="all pixels"):
        judged(Toy(obedient), Scenes([moon]))
    with pytest.raises(InputError, match="none of the model's 1 classes"):
        plan_metrics(replace(CARD, classes=MODEL[2:]), Evaluators(judge=RedJudge()), photos=False)


# --- what the generator is given ---


def test_the_generator_gets_reduced_labels_and_instances() -> None:
    numbers = np.arange(32 * 64, dtype=np.int32).reshape(32, 64)
    generator = Toy(obedient, replace(CARD, instances=True))
    judged(generator, Scenes([replace(scene("a", halves()), instance=numbers)]))
    label, instance, source = generator.calls[0]
    assert source is None
    assert (label.dtype, label.shape) == (np.uint8, (1, 1, 8, 16))
    np.testing.assert_array_equal(label[0, 0], halves()[2::4, 2::4])  # pixel centres: (2i + 1) * 4 // 2
    assert instance is not None
    assert (instance.dtype, instance.shape) == (np.int32, (1, 1, 8, 16))
    np.testing.assert_array_equal(instance[0, 0], numbers[2::4, 2::4])
    with pytest.raises(InputError, match="no instance map"):
        judged(generator, Scenes([scene("a", halves())]))
    other = replace(scene("a", halves()), instance=numbers[:16])
    with pytest.raises(InputError, match="another size"):
        judged(generator, Scenes([other]))


def test_cross_view_passes_the_source() -> None:
    generator = Toy(noisy, CROSS_VIEW)
    scenes = views(5)
    evaluate(generator, scenes, plan_metrics(CROSS_VIEW, Evaluators(), photos=False), EvaluationOptions(batch=2))
    assert [len(label) for label, *_ in generator.calls] == [2, 2, 1]
    label, instance, source = generator.calls[0]
    assert label.shape == (2, 1, 16, 16)
    assert instance is None
    assert source is not None
    wanted = scenes[1].source
    assert wanted is not None
    np.testing.assert_array_equal(source[1], resize_photo(wanted, 16, 16))
    with pytest.raises(InputError, match="no source photo"):
        judged(generator, Scenes([scene("a", halves())]))


# --- which metrics there are ---


def test_plan_follows_task_and_networks(tmp_path: Path) -> None:
    nothing = plan_metrics(CARD, Evaluators(), photos=True)
    assert nothing.names == ()
    told = " ".join(f"{entry.name}: {entry.reason}" for entry in nothing.left_out)
    for expected in ("miou", "--judge", "fid, kid", "--features", "kl_score", "--classifier", "ssim", "lpips"):
        assert expected in told
    cross_view = plan_metrics(CROSS_VIEW, Evaluators(), photos=True)
    assert cross_view.names == (
        "ssim", "ssim_published", "psnr", "psnr_published", "sharpness_difference", "sharpness_difference_published",
    )  # fmt: skip
    assert [entry.name.split(",")[0] for entry in cross_view.left_out] == ["miou", "fid", "top1_accuracy", "lpips"]
    small = plan_metrics(replace(CROSS_VIEW, height=8), Evaluators(), photos=True)
    assert "ssim" not in small.names
    assert any("11x11" in entry.reason for entry in small.left_out)
    everything = Evaluators(
        judge=RedJudge(),
        features=open_features(write_features(tmp_path / "f.onnx"), threads=1),
        classifier=open_classifier(write_classifier(tmp_path / "c.onnx"), threads=1),
    )
    assert {"miou", "miou_photos", "fid", "kid", "inception_score_top5_photos"} <= set(
        plan_metrics(CARD, everything, photos=True).names
    )
    assert not any("photos" in name for name in plan_metrics(CARD, everything, photos=False).names)


def test_every_planned_figure_is_there_or_left_out(tmp_path: Path) -> None:
    evaluators = Evaluators(
        features=open_features(write_features(tmp_path / "f.onnx"), threads=1),
        classifier=open_classifier(write_classifier(tmp_path / "c.onnx"), threads=1),
    )
    plan = plan_metrics(CROSS_VIEW, evaluators, photos=True)
    result = evaluate(Toy(noisy, CROSS_VIEW), views(1), plan)  # one picture: no covariance
    there = {entry.name for entry in result.metrics}
    missing = {entry.name for entry in result.left_out}
    assert {"fid", "kid"} <= missing
    assert set(plan.names) <= there | missing
    assert not there & missing


# --- numbers from end to end ---


def test_fid_kid_and_classifier_figures_from_end_to_end(tmp_path: Path) -> None:
    """Generated pictures -> resize -> network -> formula, against a second way that shares only the resize."""
    feature_network = open_features(write_features(tmp_path / "f.onnx"), threads=1)
    classifier = open_classifier(write_classifier(tmp_path / "c.onnx"), threads=1)
    generator, scenes = Toy(noisy, CROSS_VIEW), views(40)
    plan = plan_metrics(CROSS_VIEW, Evaluators(features=feature_network, classifier=classifier), photos=True)
    result = evaluate(generator, scenes, plan, EvaluationOptions(batch=7, pictures=tmp_path / "look"))

    generated = [read_photo(tmp_path / "look" / "generated" / f"{name}.png") for name in scenes.names]
    photos = [resize_photo(entry.photo, 16, 16) for entry in scenes.scenes]
    vectors = [features(prepare(pictures, feature_network.file.input)) for pictures in (generated, photos)]
    (m1, c1), (m2, c2) = ((v.mean(axis=0), np.cov(v, rowvar=False)) for v in vectors)
    fid = ((m1 - m2) ** 2).sum() + np.trace(c1 + c2 - 2 * scipy.linalg.sqrtm(c1 @ c2).real)
    assert result.value("fid") == pytest.approx(fid, rel=1e-4)  # the network computes in float32
    assert result.value("kid") > 0

    logs = [
        log_softmax(features(prepare(pictures, classifier.file.input)) @ read_out().astype(np.float64), axis=1)
        for pictures in (generated, photos)
    ]
    kl = [entropy(p, q) for p, q in zip(np.exp(logs[0]), np.exp(logs[1]), strict=True)]
    assert result.value("kl_score") == pytest.approx(np.exp(np.mean(kl)), rel=1e-3)
    agreeing = (logs[0].argmax(axis=1) == logs[1].argmax(axis=1)).mean()
    assert result.value("top1_accuracy") == pytest.approx(100 * agreeing)
    assert result.value("ssim") == pytest.approx(np.mean([ssim(a, b) for a, b in zip(generated, photos, strict=True)]))


def test_a_perfect_generator_has_no_distance(tmp_path: Path) -> None:
    network = open_features(write_features(tmp_path / "f.onnx"), threads=1)
    scenes = views(20, side=16)
    plan = plan_metrics(CROSS_VIEW, Evaluators(features=network), photos=False)
    by_source = {entry.source.tobytes(): entry.photo for entry in scenes.scenes if entry.source is not None}

    def perfect(label: np.ndarray, instance: np.ndarray | None, source: np.ndarray | None) -> np.ndarray:
        assert source is not None
        return np.stack([by_source[one.tobytes()] for one in source])

    result = evaluate(Toy(perfect, CROSS_VIEW), scenes, plan)
    assert result.value("fid") == pytest.approx(0.0, abs=1e-6)
    assert result.value("psnr") == np.inf
    assert result.value("ssim") == pytest.approx(1.0)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_every_benchmark_can_be_evaluated(name: str, tmp_path: Path) -> None:
    """Its layout in miniature, its classes, its task; the generator paints noise."""
    preset = load_preset(name)
    write_miniature(preset, tmp_path, size=(32, 32), examples=2, splits=("val",))
    card = replace(preset.card(), height=32, width=32)
    direction = preset.strips.direction if preset.strips else None
    found = scenes_of(tmp_path, "val", preset.layout, card.classes, card.void, direction, preset.folders)
    draw = np.random.default_rng(0)
    generator = Toy(lambda label, *_: draw.integers(0, 256, (len(label), 32, 32, 3), dtype=np.uint8), card)
    judge = RedJudge(classes=ClassSpec(ids=tuple(range(len(card.classes)))))
    result = evaluate(generator, found, plan_metrics(card, Evaluators(judge=judge), photos=True))
    assert result.images == 2
    assert result.value("miou") <= result.value("pixel_accuracy") + 1 <= 2
    assert ("ssim" in {entry.name for entry in result.metrics}) == (preset.task is Task.CROSS_VIEW)


# --- the rest ---


def test_limit_and_progress() -> None:
    steps: list[str] = []

    class Recorder:
        def task(self, name: str, total: float | None = None) -> Recorder:
            steps.append(f"{name} of {total:g}" if total is not None else name)
            return self

        def advance(self, steps_done: float = 1.0, note: str = "") -> None:
            steps.append(f"{steps_done:g} {note}".strip())

        def __enter__(self) -> Recorder:
            return self

        def __exit__(self, *_: object) -> None:
            steps.append("end")

    scenes = Scenes([scene(name, halves()) for name in "abcdef"])
    plan = plan_metrics(CARD, Evaluators(judge=RedJudge()), photos=False)
    result = evaluate(Toy(obedient), scenes, plan, EvaluationOptions(limit=3, batch=2), Recorder())
    assert (result.images, scenes.read) == (3, [0, 1, 2])
    assert steps == ["evaluate of 3", "2 b", "1 c", "end", "figures of 1", "1", "end"]


def test_pictures_are_kept_and_never_overwritten(tmp_path: Path) -> None:
    scenes = Scenes([scene("city/a", halves()), scene("city/b", halves(16, 32))])
    nothing = plan_metrics(CARD, Evaluators(), photos=False)
    options = EvaluationOptions(pictures=tmp_path / "look")
    result = evaluate(Toy(obedient), scenes, nothing, options)
    assert result.metrics == ()
    assert sorted(path.name for path in (tmp_path / "look" / "generated").iterdir()) == ["city_a.png", "city_b.png"]
    picture = read_photo(tmp_path / "look" / "generated" / "city_a.png")
    np.testing.assert_array_equal(picture, obedient(halves()[2::4, 2::4][None, None])[0])
    sheet = read_photo(tmp_path / "look" / "examples.png")
    assert sheet.shape[0] > 2 * 8
    assert sheet.shape[1] >= 3 * 16
    with pytest.raises(UsageError, match="--force"):
        evaluate(Toy(obedient), scenes, nothing, options)
    evaluate(Toy(obedient), scenes, nothing, replace(options, force=True))
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="is a file"):
        evaluate(Toy(obedient), scenes, nothing, EvaluationOptions(pictures=tmp_path / "file"))


def test_dictionary_is_json_with_a_schema_and_names() -> None:
    result = judged(Toy(obedient), Scenes([scene("a", halves())]), photos=False)
    back = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert back["schema"] == EVALUATION_SCHEMA
    assert back["size"] == {"height": 8, "width": 16}
    first = back["metrics"][0]
    assert set(first) == {"name", "value", "unit", "better", "count", "definition", "spread", "note"}
    assert (first["name"], first["value"], first["better"], first["count"]) == ("miou", 1.0, "higher", 1)
    assert back["segmentation"]["classes"][2] == {"name": "lamp", "iou": None, "iou_photos": None, "truth_pixels": 0}
    assert back["segmentation"]["unjudged_classes"] == ["moon"]
    assert {"name", "reason"} == set(back["left_out"][0])


def test_bad_requests() -> None:
    plan = plan_metrics(CARD, Evaluators(judge=RedJudge()), photos=False)
    with pytest.raises(InputError, match="no scenes"):
        evaluate(Toy(obedient), Scenes([]), plan)
    with pytest.raises(UsageError, match=r"nothing to compute.*--judge"):
        evaluate(Toy(obedient), Scenes([scene("a", halves())]), plan_metrics(CARD, Evaluators(), photos=False))
    with pytest.raises(UsageError, match="must be positive"):
        EvaluationOptions(batch=0)
    wrong = Toy(lambda label, *_: np.zeros((1, 4, 4, 3), np.uint8))
    with pytest.raises(BackendError, match=r"\[1, 8, 16, 3\]"):
        evaluate(wrong, Scenes([scene("a", halves())]), plan)
