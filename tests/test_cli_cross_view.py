"""The command line with cross-view models: from a checkpoint of random weights to an engine, pictures and a report."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import cli
from tests.runtime.toy_models import CROSS_VIEW_CARD, cross_view_nodes, cross_view_picture, write_model

SIDE = 16


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "views.onnx", CROSS_VIEW_CARD, cross_view_nodes())


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Three label maps with void, and their source photos."""
    draw = np.random.default_rng(0)
    labels, photos = tmp_path / "labels", tmp_path / "photos"
    labels.mkdir()
    photos.mkdir()
    for index in range(3):
        label = draw.choice(np.array([0, 1, 2, 255], np.uint8), (4, 4)).repeat(4, axis=0).repeat(4, axis=1)
        Image.fromarray(label).save(labels / f"{index}.png")
        Image.fromarray(draw.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)).save(photos / f"{index}.png")
    return labels, photos


def write_strips(folder: Path, colors: list[tuple[int, int, int]], count: int = 2) -> Path:
    """Strips with noise as photos and vertical stripes of classes as maps."""
    folder.mkdir()
    draw = np.random.default_rng(1)
    for index in range(count):
        photos = draw.integers(0, 256, (2, SIDE, SIDE, 3), dtype=np.uint8)
        stripes = np.array(colors, np.uint8)[np.arange(SIDE) * len(colors) // SIDE]
        maps = np.stack([np.broadcast_to(stripes, (SIDE, SIDE, 3)), np.broadcast_to(stripes[::-1], (SIDE, SIDE, 3))])
        grey = np.zeros((2, SIDE, SIDE, 3), np.uint8)
        Image.fromarray(np.concatenate([*photos, *maps, *grey], axis=1)).save(folder / f"{index}.png")
    return folder


def document(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    content = json.loads(capsys.readouterr().out)
    assert isinstance(content, dict)
    return content


def fails(arguments: list[str], code: int, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(arguments) == code
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1


def test_infer_with_photos(
    model: Path, folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels, photos = folders
    out = tmp_path / "out"
    assert cli.main(["infer", str(model), str(labels), "--source", str(photos), "-o", str(out), "--json"]) == 0
    assert document(capsys)["images"][2]["photo"] == str(photos / "2.png")
    for index in range(3):
        label, photo = (np.asarray(Image.open(folder / f"{index}.png")) for folder in folders)
        np.testing.assert_array_equal(np.asarray(Image.open(out / f"{index}.png")), cross_view_picture(label, photo))
    one = ["infer", str(model), str(labels / "1.png"), "--source", str(photos / "0.png")]
    assert cli.main([*one, "-o", str(tmp_path / "one.png"), "--fit", "8x12"]) == 0
    assert Image.open(tmp_path / "one.png").size == (12, 8)


def test_mistakes(model: Path, folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels, photos = map(str, folders)
    start, end = ["infer", "-q", str(model)], ["-o", str(tmp_path / "out")]
    fails([*start, labels, *end], 2, "--source, or give strips", capsys)
    fails([*start, labels, "--source", photos, "--strips", "a2g", *end], 2, "leave --source out", capsys)
    fails([*start, labels, "--strips", "up", *end], 2, "is not one of", capsys)
    fails([*start, labels, "--strips", "a2g", *end], 3, "16x96 at this height", capsys)
    fails([*start, labels, "--source", labels + "x", *end], 2, "need a folder of source photos", capsys)
    (folders[1] / "1.png").unlink()
    fails([*start, labels, "--source", photos, *end], 3, "holds no source photo 1", capsys)
    Image.fromarray(np.full((SIDE, SIDE), 77, np.uint8)).save(folders[0] / "0.png")
    fails([*start, f"{labels}/0.png", "--source", photos, *end], 3, "77 (256 px); this model knows 0 to 2", capsys)
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(folders[1] / "2.png")
    fails([*start, f"{labels}/2.png", "--source", photos, *end], 3, "2.png is 8x8, its label map", capsys)
    other = write_model(tmp_path / "toy.onnx")
    fails(["infer", "-q", str(other), labels, "--source", photos, *end], 2, "from label maps alone", capsys)
    fails(["infer", "-q", str(other), labels, "--strips", "g2a", *end], 2, "from label maps alone", capsys)
    assert not (tmp_path / "out").exists()


def test_profile_and_verify_take_photos_and_strips(
    model: Path, folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    strips = write_strips(tmp_path / "strips", [info.color for info in CROSS_VIEW_CARD.classes])
    beside = ["--data", str(folders[0]), "--source", str(folders[1])]
    verified = ["verify", str(model), str(model), "--max-difference", "0", "--json"]
    assert cli.main([*verified, *beside]) == 0
    assert len(document(capsys)["pictures"]) == 3
    assert cli.main([*verified, "--data", str(strips), "--strips", "g2a", "--limit", "1"]) == 0
    assert [entry["name"] for entry in document(capsys)["pictures"]] == ["0.png"]
    timing = ["-o", str(tmp_path / "report"), "--iterations", "11", "--seconds", "0", "--threads", "1", "--json"]
    assert cli.main(["profile", str(model), *timing, "--data", str(strips), "--strips", "a2g"]) == 0
    assert document(capsys)["data"]["count"] == 2
    assert "source photo and label map" in (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    other = write_model(tmp_path / "toy.onnx")
    report = ["-o", str(tmp_path / "second"), "--data", str(strips), "--strips", "a2g"]
    fails(["profile", str(model), str(other), *report, "-q"], 2, "is for semantic-synthesis", capsys)


def test_from_a_checkpoint_to_pictures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """export, calibrate, build, infer, verify, inspect: each verb takes the file of the one before."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnxscript")
    from lggan.checkpoint import save_generator
    from lggan.networks.build import build_generator
    from lggan.preset import load_preset

    monkeypatch.chdir(tmp_path)
    preset = load_preset("tiny_cross_view")
    torch.manual_seed(0)
    generator = build_generator(replace(preset.generator, residual_blocks=0)).eval()
    save_generator("g.safetensors", generator, replace(preset.card(), licence="test only"))
    strips = str(write_strips(tmp_path / "strips", [info.color for info in preset.classes] + [(0, 0, 0)]))

    assert cli.main(["export", "g.safetensors", "-o", "m.onnx", "--json", "-q"]) == 0
    card = document(capsys)["card"]
    assert [info["name"] for info in card["inputs"]] == ["source", "label"]
    assert card["verification"]["max_abs"] <= 1e-3
    assert cli.main(["calibrate", "m.onnx", "-o", "m16.onnx", "--json", "-q"]) == 0
    assert document(capsys)["half_mac_share"] == 1
    if importlib.util.find_spec("tensorrt_rtx") is not None:
        shapes = ["--target", "sm86", "--shape", "1x16x16", "--max-shape", "2x32x32"]
        assert cli.main(["build", "m16.onnx", "-o", "m.engine", *shapes, "--json", "-q"]) == 0
        built = document(capsys)
        assert [info["name"] for info in built["inputs"]] == ["source", "label"]
        assert list(built["convolutions"]) == ["fp16"]
        assert cli.main(["inspect", "m.engine"]) == 0
        assert "cross-view" in capsys.readouterr().out
    compared = ["verify", "g.safetensors", "m.onnx", "--data", strips, "--max-difference", "1"]
    assert cli.main([*compared, "--strips", "a2g"]) == 0
    assert "pytorch-cpu" in capsys.readouterr().out
    assert cli.main(["infer", "m16.onnx", strips, "--strips", "g2a", "-o", "pictures", "--fit", "model"]) == 0
    assert len(list(Path("pictures").glob("*.png"))) == 2
    capsys.readouterr()
    for path in ("g.safetensors", "m.onnx"):
        assert cli.main(["inspect", path]) == 0
        text = capsys.readouterr().out
        assert "cross-view: a photo from a source photo" in text
        assert "255 belongs to no class" in text
        assert ("source uint8 [N, H, W, 3]" in text) == (path == "m.onnx")
