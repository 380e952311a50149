"""`lggan evaluate` from the outside: tables, JSON, gates, exit codes, the choice of the layout."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import cli
from runtime.contract.labels import read_label_map
from tests.lggan.evaluation.toy_networks import SEGMENTER_TOML, write_features, write_segmenter
from tests.runtime.toy_models import CARD, CLASSES, write_model

pytest.importorskip("torch")

TOML = SEGMENTER_TOML.replace('"traffic sign"', '"sky"')  # the toy paints nothing above 100: all is sky


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "toy.onnx")


@pytest.fixture
def judge(tmp_path: Path) -> Path:
    return write_segmenter(tmp_path / "judge.onnx", TOML)


def sky_share(root: Path) -> tuple[float, float]:
    """mIoU and accuracy of an answer that is sky everywhere, over the pixels of sky and road."""
    labels = [read_label_map(path, CLASSES, 3) for path in sorted((root / "val" / "labels").iterdir())]
    sky, road = (sum(int((label == index).sum()) for label in labels) for index in (0, 1))
    accuracy = sky / (sky + road)
    return (accuracy + 0.0) / 2, accuracy  # IoU of sky, and 0 of road


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = cli.main(["evaluate", *map(str, arguments)])
    said = capsys.readouterr()
    return code, said.out, said.err


def figures(text: str) -> dict[str, Any]:
    content = json.loads(text)
    assert (content["kind"], content["schema"]) == ("lggan-evaluate", 2)
    return {entry["name"]: entry for entry in content["metrics"]}


def test_figures_pictures_and_one_object(
    model: Path, judge: Path, tiny_dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    features = write_features(tmp_path / "features.onnx")
    options = ["--judge", judge, "--features", features, "--pictures", tmp_path / "look", "--threads", 1]
    code, out, _ = run(capsys, model, "--data", tiny_dataset, *options, "--json")
    assert code == 0
    found = figures(out)
    miou, accuracy = sky_share(tiny_dataset)
    assert found["miou"]["value"] == pytest.approx(miou)
    assert found["pixel_accuracy"]["value"] == pytest.approx(accuracy)
    assert (found["fid"]["better"], found["fid"]["count"]) == ("lower", 2)
    content = json.loads(out)
    assert content["passed"] is True
    assert content["backend"] == "onnxruntime-cpu"
    assert content["images"] == 2
    assert set(content["evaluators"]) == {"judge", "features"}
    assert content["evaluators"]["judge"]["file"] == str(judge)
    assert len(list((tmp_path / "look" / "generated").glob("*.png"))) == 2
    assert np.asarray(Image.open(tmp_path / "look" / "examples.png")).ndim == 3
    assert run(capsys, model, "--data", tiny_dataset, *options)[0] == 2  # the pictures are there
    assert run(capsys, model, "--data", tiny_dataset, *options, "--force")[0] == 0


def test_the_table_says_direction_unit_and_what_is_missing(
    model: Path, judge: Path, tiny_dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = run(capsys, model, "--data", tiny_dataset, "--judge", judge, "--no-ceiling", "--limit", 1)
    assert code == 0
    row = next(line.split() for line in out.splitlines() if line.strip().startswith("miou"))
    assert row[2:] == ["0..1", "↑", "1"]
    for figure in ("fid, kid: give a feature network: --features", "lpips", "--classifier"):
        assert figure in out
    assert "1 scene, 8x16, onnxruntime-cpu" in out
    assert "photos" not in out.partition("not computed")[0]


def test_gates_decide_the_exit_code(
    model: Path, judge: Path, tiny_dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [model, "--data", tiny_dataset, "--judge", judge]
    assert run(capsys, *arguments, "--gate", "miou>0.01", "--min-miou", 0.01)[0] == 0
    code, out, err = run(capsys, *arguments, "--gate", "miou>0.99", "--gate", "pixel_accuracy>0.01", "--json")
    assert code == 1
    assert json.loads(out)["passed"] is False
    assert json.loads(out)["gates"] == {"asked": ["miou>0.99", "pixel_accuracy>0.01"], "broken": ["miou>0.99"]}
    assert "gates that do not hold: miou>0.99 (0." in err
    code, _, err = run(capsys, *arguments, "--min-miou", 1)
    assert code == 1
    assert "miou>=1 (0." in err


@pytest.mark.parametrize(
    ("more", "code", "hint"),
    [
        (["--gate", "fid=3"], 2, "NAME<VALUE"),
        (["--gate", "fid<3"], 2, "fid is not computed in this run"),
        (["--limit", "0"], 2, "not in the range"),
        (["--layout", "strips"], 2, "does not suit"),
        (["--preset", "nonsense"], 2, "no preset"),
        (["--preset", "tiny_cross_view"], 2, "the model for semantic-synthesis"),
        (["--split", "test"], 3, "test"),
        (["--features", "absent.onnx"], 3, "does not exist"),
    ],
)
def test_requests_that_cannot_be_met(
    more: list[str], code: int, hint: str, model: Path, judge: Path, tiny_dataset: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    found, out, err = run(capsys, model, "--data", tiny_dataset, "--judge", judge, *more)
    assert found == code, err
    assert hint in err
    assert out == ""


def test_nothing_to_compute_and_a_limit_without_a_judge(
    model: Path, tiny_dataset: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "lpips", None)
    code, _, err = run(capsys, model, "--data", tiny_dataset)
    assert code == 2
    assert "nothing to compute" in err
    code, _, err = run(capsys, model, "--data", tiny_dataset, "--min-miou", 0.5)
    assert code == 2
    assert "--judge" in err
    assert run(capsys, "model.engine", "--data", tiny_dataset)[0] == 4


def test_layout_follows_the_preset(judge: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By option, by the preset that is named, or by the preset of the card's name."""
    model = write_model(tmp_path / "facades.onnx", replace(CARD, name="facades"))
    for folder, picture in (("val_img", np.zeros((8, 16, 3), np.uint8)), ("val_label", np.ones((8, 16), np.uint8))):
        (tmp_path / "data" / folder).mkdir(parents=True)
        Image.fromarray(picture).save(tmp_path / "data" / folder / "a.png")
    arguments = [model, "--data", tmp_path / "data", "--judge", judge, "--json"]
    code, out, _ = run(capsys, *arguments)
    assert code == 0
    assert figures(out)["miou"]["value"] == 0.0
    code, _, err = run(capsys, *arguments, "--layout", "folder")
    assert code == 3
    assert "images" in err
    other = write_model(tmp_path / "other.onnx", replace(CARD, name="my own"))
    assert run(capsys, other, *arguments[1:])[0] == 3
    assert run(capsys, other, *arguments[1:], "--preset", "facades")[0] == 0


def test_cross_view_strips(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A checkpoint of the smallest preset on drawn strips: the source goes in, the similarity figures come out."""
    from lggan.checkpoint import deployable, save_generator
    from lggan.networks.build import build_generator
    from lggan.preset import load_preset

    preset = load_preset("tiny_cross_view")
    model = tmp_path / "cross.safetensors"
    save_generator(model, deployable(build_generator(preset.generator)), replace(preset.card(), name="my own"))
    colors = np.array([info.color for info in preset.classes], np.uint8)
    (tmp_path / "data" / "test").mkdir(parents=True)
    for index in range(2):
        draw = np.random.default_rng(index)
        photos = draw.integers(0, 256, (32, 64, 3), dtype=np.uint8)
        maps = colors[np.arange(64) // 8 % len(colors)][None].repeat(32, axis=0)
        grey = np.full((32, 64, 3), 10, np.uint8)
        Image.fromarray(np.concatenate([photos, maps, grey], axis=1)).save(tmp_path / "data" / "test" / f"{index}.png")
    arguments = [model, "--data", tmp_path / "data", "--threads", 1, "--json"]
    code, out, err = run(capsys, *arguments)
    assert code == 2
    assert "--strips a2g" in err
    code, out, err = run(capsys, *arguments, "--strips", "g2a", "--pictures", tmp_path / "look")
    assert code == 0, err
    assert {"ssim", "psnr_published", "sharpness_difference"} <= set(figures(out))
    by_preset = run(capsys, *arguments, "--preset", "tiny_cross_view", "--batch", 2)
    assert by_preset[0] == 0
    a2g, g2a = figures(by_preset[1])["psnr"]["value"], figures(out)["psnr"]["value"]
    assert a2g != g2a
