"""Evaluators from ONNX files: what they are fed, what they answer, and everything that can be wrong with them."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from scipy.special import log_softmax

from lggan.evaluation.classification import log_probabilities, open_classifier
from lggan.evaluation.features import features_of, open_features
from lggan.evaluation.network_file import read_network_file
from lggan.evaluation.preprocessing import prepare
from lggan.evaluation.segmentation import IGNORED
from lggan.evaluation.segmenter import match_classes, open_segmenter
from runtime.contract.card import ClassInfo
from runtime.contract.errors import BackendError, InputError, MissingError
from runtime.contract.files import sha256_of
from tests.lggan.evaluation.toy_networks import (
    CLASSIFIER_TOML,
    FEATURE_TOML,
    SEGMENTER_TOML,
    features,
    read_out,
    write_classifier,
    write_features,
    write_segmenter,
)

PICTURES = list(np.random.default_rng(0).integers(0, 256, (3, 20, 28, 3), dtype=np.uint8))
CITY = tuple(ClassInfo(name, (0, 0, 0)) for name in ("Traffic_Sign", "road", "moon"))


def test_features_are_those_of_plain_loops(tmp_path: Path) -> None:
    network = open_features(write_features(tmp_path / "f.onnx"), threads=1)
    expected = features(prepare(PICTURES, network.file.input))
    np.testing.assert_allclose(features_of(network, PICTURES), expected, rtol=1e-5)
    assert (network.sha256, network.backend) == (sha256_of(tmp_path / "f.onnx"), "onnxruntime-cpu")


def test_logits_and_probabilities_give_the_same(tmp_path: Path) -> None:
    logits = open_classifier(write_classifier(tmp_path / "l.onnx"), threads=1)
    found = log_probabilities(logits, PICTURES)
    expected = log_softmax(features(prepare(PICTURES, logits.file.input)) @ read_out().astype(np.float64), axis=1)
    np.testing.assert_allclose(found, expected, atol=1e-3)
    toml = CLASSIFIER_TOML.replace("logits", "probabilities")
    probabilities = open_classifier(write_classifier(tmp_path / "p.onnx", toml), threads=1)
    np.testing.assert_allclose(np.exp(log_probabilities(probabilities, PICTURES)), np.exp(found), atol=1e-5)


def test_logits_called_probabilities_are_noticed(tmp_path: Path) -> None:
    path = write_classifier(tmp_path / "c.onnx")
    (tmp_path / "c.toml").write_text(CLASSIFIER_TOML.replace("logits", "probabilities"), encoding="utf-8")
    with pytest.raises(BackendError, match="no probabilities"):
        log_probabilities(open_classifier(path, threads=1), PICTURES)


@pytest.mark.parametrize("pool", [1, 4])
def test_segmenter_at_the_pictures_own_size(pool: int, tmp_path: Path) -> None:
    """Coarse scores are interpolated before the choice, so the border between two halves stays where it is."""
    toml = SEGMENTER_TOML.replace("scale = 1", "scale = 1\nmultiple = 8")
    judge = open_segmenter(write_segmenter(tmp_path / "s.onnx", toml, pool), threads=1)
    picture = np.zeros((1, 21, 30, 3), np.uint8)
    picture[:, :, 16:, 0] = 201  # 100.5 above the threshold, as the other half is below it
    found = judge.predict(picture)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found[0], np.broadcast_to(np.where(np.arange(30) < 16, 1, 0), (21, 30)))


def test_segmenter_that_answers_ids_at_its_own_size(tmp_path: Path) -> None:
    toml = SEGMENTER_TOML.replace('"logits"', '"ids"')
    toml = toml.replace("scale = 1", 'scale = 1\nheight = 8\nwidth = 12\nresize = "pillow-bicubic"')
    judge = open_segmenter(write_segmenter(tmp_path / "s.onnx", toml), threads=1)
    assert judge.input_size == (8, 12)
    assert (judge.predict(np.full((2, 50, 60, 3), 250, np.uint8)) == 0).all()


@pytest.mark.parametrize("kind", ["logits", "ids"])
def test_ignored_outputs(kind: str, tmp_path: Path) -> None:
    """Scores choose another output; ids have no other, so that the pixel counts as wrong."""
    toml = SEGMENTER_TOML.replace('"logits"', f'"{kind}"').replace('"lamp"]', '"lamp"]\nignored = [0]')
    judge = open_segmenter(write_segmenter(tmp_path / "s.onnx", toml), threads=1)
    found = judge.predict(np.full((1, 8, 8, 3), 250, np.uint8))  # road everywhere
    assert (found == (1 if kind == "logits" else IGNORED)).all()


def test_classes_by_name_and_by_id(tmp_path: Path) -> None:
    def table(toml: str) -> tuple[tuple[str, ...], list[int], tuple[str, ...]]:
        (tmp_path / "s.toml").write_text(toml, encoding="utf-8")
        spec = read_network_file(tmp_path / "s.toml").classes
        assert spec is not None
        found = match_classes(CITY, spec)
        return found.names, found.judged[:4].tolist(), found.unjudged

    by_name = 'names = ["road", "traffic sign", "lamp"]'
    assert table(SEGMENTER_TOML) == (("road", "traffic sign", "lamp"), [1, 0, IGNORED, IGNORED], ("moon",))
    by_id = SEGMENTER_TOML.replace(by_name, "ids = [1, 0, -1]")
    assert table(by_id) == (("road", "Traffic_Sign", "output 2"), [1, 0, IGNORED, IGNORED], ("moon",))
    run = SEGMENTER_TOML.replace(by_name, "first_id = 1\ncount = 2")
    assert table(run) == (("road", "moon"), [IGNORED, 0, 1, IGNORED], ("Traffic_Sign",))
    ignored = SEGMENTER_TOML.replace('"lamp"]', '"lamp"]\nignored = [1]')
    assert table(ignored)[1:] == ([IGNORED, 0, IGNORED, IGNORED], ("Traffic_Sign", "moon"))
    with pytest.raises(InputError, match="name class 3; the model knows 0 to 2"):
        table(SEGMENTER_TOML.replace(by_name, "ids = [1, 3]"))
    with pytest.raises(InputError, match="none of the model's 3 classes"):
        table(SEGMENTER_TOML.replace(by_name, 'names = ["cow"]'))


def test_what_cannot_be_opened(tmp_path: Path) -> None:
    good = write_features(tmp_path / "f.onnx")
    with pytest.raises(InputError, match="not an ONNX file"):
        open_features(tmp_path / "f.pth")
    with pytest.raises(InputError, match="does not exist"):
        open_features(tmp_path / "absent.onnx")
    with pytest.raises(InputError, match="logits or probabilities is needed"):
        open_classifier(good)
    with pytest.raises(InputError, match="no table"):
        open_segmenter(write_features(tmp_path / "s.onnx", SEGMENTER_TOML.partition("[classes]")[0]))
    cropped = CLASSIFIER_TOML.replace("height", "shorter_side = 20\nheight") + '\n[classes]\nnames = ["road"]\n'
    with pytest.raises(InputError, match="cut pixels off"):
        open_segmenter(write_features(tmp_path / "c.onnx", cropped))
    (tmp_path / "f.onnx").write_bytes(good.read_bytes()[:200])
    with pytest.raises(InputError, match="cannot load"):
        open_features(good)
    for key, name in (("[input]", "input"), ("[output]", "output")):
        path = write_features(tmp_path / "n.onnx", FEATURE_TOML.replace(key, f'{key}\nname = "other"'))
        with pytest.raises(InputError, match=f"no {name} 'other'"):
            open_features(path)


def test_weights_in_other_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_features(tmp_path / "f.onnx")
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    monkeypatch.chdir(tmp_path)  # where ONNX Runtime would find them
    with pytest.raises(InputError, match="external_data=False"):
        open_features(path)


def test_an_answer_of_another_form(tmp_path: Path) -> None:
    features_as_classes = write_features(tmp_path / "f.onnx", CLASSIFIER_TOML)
    with pytest.raises(BackendError, match=r"\[3, 12, 1, 1\]; a classifier answers"):
        log_probabilities(open_classifier(features_as_classes, threads=1), PICTURES)
    four = SEGMENTER_TOML.replace('"lamp"', '"lamp", "moon"')
    with pytest.raises(BackendError, match=r"\[N, 4, h, w\] follows"):
        open_segmenter(write_segmenter(tmp_path / "s.onnx", four), threads=1).predict(np.stack(PICTURES))
    two = SEGMENTER_TOML.replace(', "lamp"', "").replace('"logits"', '"ids"').replace('"road", ', "")
    with pytest.raises(BackendError, match="its TOML names 1 outputs"):
        open_segmenter(write_segmenter(tmp_path / "i.onnx", two), threads=1).predict(np.stack(PICTURES))
    small = FEATURE_TOML.replace("= 16", "= 2")  # smaller than the convolution
    with pytest.raises(BackendError, match=r"failed on \[3, 3, 2, 2\]"):
        features_of(open_features(write_features(tmp_path / "small.onnx", small), threads=1), PICTURES)


def test_an_answer_that_is_no_number(tmp_path: Path) -> None:
    path = write_features(tmp_path / "f.onnx", FEATURE_TOML.replace("[0.5, 0.5, 0.5]", "[1e-38, 1e-38, 1e-38]"))
    with pytest.raises(BackendError, match="not numbers"):
        features_of(open_features(path, threads=1), PICTURES)


def test_without_onnxruntime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_features(tmp_path / "f.onnx")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingError, match="pip install onnxruntime"):
        open_features(path)
