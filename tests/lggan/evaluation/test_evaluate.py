"""Evaluation with a judge whose answers are known: it reads the class off the red channel."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lggan.data.pairs import Pair
from lggan.evaluation.evaluate import EVALUATION_SCHEMA, evaluate
from runtime.contract.card import ClassInfo
from runtime.contract.errors import BackendError, InputError

# the model's ids and the judge's differ in order, spelling and extent
MODEL = (ClassInfo("Traffic_Sign", (10, 0, 0)), ClassInfo("road", (20, 0, 0)), ClassInfo("moon", (30, 0, 0)))
ROAD, SIGN = 0, 1
SIZE = (8, 16)


@dataclass
class RedJudge:
    """Answers road where red is above 100, traffic sign elsewhere; never lamp."""

    sha256: str = "ab" * 32
    names: tuple[str, ...] = ("road", "traffic sign", "lamp")
    seen: list[np.ndarray] = field(default_factory=list)

    def predict(self, pictures: np.ndarray) -> np.ndarray:
        self.seen.append(pictures)
        return np.where(pictures[..., 0] > 100, ROAD, SIGN).astype(np.uint8)


def obedient(label: np.ndarray, instance: np.ndarray | None) -> np.ndarray:
    """Red for road (id 1 of the model), black elsewhere."""
    return np.where(label[:, 0, :, :, None] == 1, np.array([200, 0, 0]), 0).astype(np.uint8)


def disobedient(label: np.ndarray, instance: np.ndarray | None) -> np.ndarray:
    return np.zeros((1, *label.shape[2:], 3), np.uint8)


def make_pair(folder: Path, name: str, label: np.ndarray, photo: np.ndarray | None = None) -> Pair:
    photo = obedient(label[None, None], None)[0] if photo is None else photo
    Image.fromarray(label).save(folder / f"{name}.png")
    Image.fromarray(photo).save(folder / f"{name}_photo.png")
    return Pair(name, folder / f"{name}_photo.png", folder / f"{name}.png")


def halves(height: int = 32, width: int = 64) -> np.ndarray:
    """Left half sign, right half road, the first columns moon (which the judge does not know)."""
    label = np.zeros((height, width), np.uint8)
    label[:, width // 2 :] = 1
    label[:, : width // 8] = 2
    return label


def test_matching_by_name_unjudged_pixels_and_the_full_size_truth(tmp_path: Path) -> None:
    judge = RedJudge()
    pairs = [make_pair(tmp_path, "a", halves()), make_pair(tmp_path, "b", halves(16, 32))]
    result = evaluate(obedient, pairs, MODEL, None, judge, SIZE)
    assert [picture.shape for picture in judge.seen] == [(1, 32, 64, 3)] * 2 + [(1, 16, 32, 3)] * 2
    assert result.generated.miou == 1.0
    assert result.generated.pixel_accuracy == 1.0
    assert result.generated.iou == (1.0, 1.0, None)
    assert result.generated.truth_pixels == (32 * 32 + 16 * 16, 32 * 24 + 16 * 12, 0)
    assert result.unjudged == ("moon",)


def test_figures_of_a_generator_that_ignores_the_label_map(tmp_path: Path) -> None:
    result = evaluate(disobedient, [make_pair(tmp_path, "a", halves())], MODEL, None, RedJudge(), SIZE)
    assert result.generated.iou == (0.0, 24 / 56, None)
    assert result.generated.miou == 12 / 56
    assert result.generated.pixel_accuracy == 24 / 56
    assert result.ceiling is not None
    assert result.ceiling.miou == 1.0  # the photos follow their label maps


def test_ceiling_falls_with_the_model_size(tmp_path: Path) -> None:
    """Stripes of one pixel survive at full size and become grey at half of it."""
    label = np.tile(np.array([[0, 1]], np.uint8), (32, 32))
    pair = make_pair(tmp_path, "stripes", label)
    full, half = (evaluate(obedient, [pair], MODEL, None, RedJudge(), size).ceiling for size in ((32, 64), (16, 32)))
    assert full is not None
    assert half is not None
    assert full.miou == 1.0
    assert half.iou[SIGN] == 0.5 or half.iou[ROAD] == 0.5
    assert half.pixel_accuracy == 0.5


def test_the_generator_gets_reduced_labels_and_instances(tmp_path: Path) -> None:
    got: list[tuple[np.ndarray, np.ndarray | None]] = []

    def generate(label: np.ndarray, instance: np.ndarray | None) -> np.ndarray:
        got.append((label, instance))
        return obedient(label, instance)

    pair = make_pair(tmp_path, "a", halves())
    numbers = np.arange(32 * 64, dtype=np.uint16).reshape(32, 64)
    Image.fromarray(numbers).save(tmp_path / "instance.png")
    with_instance = Pair(pair.name, pair.photo, pair.label, tmp_path / "instance.png")
    evaluate(generate, [with_instance], MODEL, None, RedJudge(), SIZE, instances=True, ceiling=False)
    label, instance = got[0]
    assert (label.dtype, label.shape) == (np.uint8, (1, 1, *SIZE))
    np.testing.assert_array_equal(label[0, 0], halves()[2::4, 2::4])  # pixel centres: (2i + 1) * 4 // 2
    assert instance is not None
    assert (instance.dtype, instance.shape) == (np.int32, (1, 1, *SIZE))
    np.testing.assert_array_equal(instance[0, 0], numbers[2::4, 2::4])
    with pytest.raises(InputError, match="no instance map"):
        evaluate(generate, [pair], MODEL, None, RedJudge(), SIZE, instances=True)


def test_dictionary_is_json_with_a_schema_and_names(tmp_path: Path) -> None:
    result = evaluate(obedient, [make_pair(tmp_path, "a", halves())], MODEL, None, RedJudge(), SIZE, ceiling=False)
    back = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert back["schema"] == EVALUATION_SCHEMA
    assert back["generated"]["iou"] == {"road": 1.0, "traffic sign": 1.0, "lamp": None}
    assert back["ceiling"] is None
    assert back["size"] == {"height": 8, "width": 16}
    assert back["judge"]["sha256"] == "ab" * 32
    assert back["unjudged_classes"] == ["moon"]


def test_photos_are_not_read_without_ceiling(tmp_path: Path) -> None:
    pair = make_pair(tmp_path, "a", halves())
    pair.photo.unlink()
    assert evaluate(obedient, [pair], MODEL, None, RedJudge(), SIZE, ceiling=False).ceiling is None
    with pytest.raises(InputError, match="a_photo"):
        evaluate(obedient, [pair], MODEL, None, RedJudge(), SIZE)


def test_progress_counts_every_picture(tmp_path: Path) -> None:
    steps: list[str] = []

    class Recorder:
        def task(self, name: str, total: float | None = None) -> Recorder:
            steps.append(f"{name} of {total:g}" if total is not None else name)
            return self

        def advance(self, steps_done: float = 1.0, note: str = "") -> None:
            steps.append(note)

        def __enter__(self) -> Recorder:
            return self

        def __exit__(self, *_: object) -> None:
            steps.append("end")

    pairs = [make_pair(tmp_path, name, halves()) for name in ("a", "b")]
    evaluate(obedient, pairs, MODEL, None, RedJudge(), SIZE, progress=Recorder())
    assert steps == ["evaluate of 2", "a", "b", "end"]


def test_bad_input(tmp_path: Path) -> None:
    pair = make_pair(tmp_path, "a", halves())
    with pytest.raises(InputError, match="no pictures"):
        evaluate(obedient, [], MODEL, None, RedJudge(), SIZE)
    with pytest.raises(InputError, match="none of the model's 1 classes"):
        evaluate(obedient, [pair], MODEL[2:], None, RedJudge(), SIZE)
    black = np.zeros((16, 16, 3), np.uint8)
    moon = make_pair(tmp_path, "moon", np.full((16, 16), 2, np.uint8), black)
    with pytest.raises(InputError, match="all pixels"):
        evaluate(obedient, [moon], MODEL, None, RedJudge(), SIZE)
    other = make_pair(tmp_path, "other", halves(), black)
    with pytest.raises(InputError, match="its label map 64x32"):
        evaluate(obedient, [other], MODEL, None, RedJudge(), SIZE)
    beyond = make_pair(tmp_path, "beyond", np.full((16, 16), 9, np.uint8), black)
    with pytest.raises(InputError, match="no class"):
        evaluate(obedient, [beyond], MODEL, None, RedJudge(), SIZE)


def test_a_generator_that_gives_something_else_is_a_backend_error(tmp_path: Path) -> None:
    pair = make_pair(tmp_path, "a", halves())
    for wrong in (np.zeros((1, 8, 16, 3), np.float32), np.zeros((1, 3, 8, 16), np.uint8)):
        with pytest.raises(BackendError, match="instead of uint8"):
            evaluate(lambda label, instance, wrong=wrong: wrong, [pair], MODEL, None, RedJudge(), SIZE)
