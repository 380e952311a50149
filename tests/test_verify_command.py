"""`lggan verify`: which pairs of files it compares in what, and what it says to pairs that cannot be compared."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cli
from runtime.contract.card import ModelCard
from runtime.contract.files import sha256_of
from tests.label_files import write_labels
from tests.onnx_toys import CARD as GRAPH_CARD
from tests.onnx_toys import save, toy_model
from tests.runtime.toy_models import (
    CARD,
    CROSS_VIEW_CARD,
    FLOAT_CARD,
    INSTANCE_CARD,
    cross_view_nodes,
    float_nodes,
    instance_nodes,
    write_model,
)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "toy.onnx")


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    return write_labels(tmp_path / "labels", 3, 8, 16)


def document(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    content = json.loads(capsys.readouterr().out)
    assert isinstance(content, dict)
    return content


def fails(arguments: list[Any], code: int, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["verify", "-q", *map(str, arguments)]) == code
    said = capsys.readouterr()
    assert words in said.err
    assert said.err.count("\n") == 1
    assert said.out == ""


def float_model(path: Path, divisor: float, card: ModelCard = FLOAT_CARD) -> Path:
    """Gives id / divisor - 1 in every channel."""
    return write_model(path, card, float_nodes(divisor))


# --- what is compared in what, against what ---


def test_float_pictures_are_compared_as_they_are(
    labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ids 0, 1, 2: differences 0, 1/2 - 1/2.002 and twice that."""
    first, second = float_model(tmp_path / "a.onnx", 2.0), float_model(tmp_path / "b.onnx", 2.002)
    gap = 0.5 - 1 / 2.002
    arguments = ["verify", str(first), str(second), "--data", str(labels), "--json"]
    assert cli.main(arguments) == 0
    content = document(capsys)
    assert content["limits"] == {"max_levels": 1, "min_psnr": None, "max_abs": 0.001}
    assert content["worst"] == "2.png"
    assert content["overall"]["max_levels"] <= 1
    floats = content["overall"]["floats"]
    assert floats["max_abs"] == pytest.approx(2 * gap, rel=1e-3)
    assert floats["mean_abs"] == pytest.approx(gap, rel=1e-3)
    assert floats["psnr_db"] == pytest.approx(10 * np.log10(4 / (5 * gap**2 / 3)), rel=1e-4)
    assert content["pictures"][0]["floats"] == {"max_abs": 0, "mean_abs": 0, "psnr_db": None}
    assert cli.main([*arguments[:-1], "--tolerance", "0.0009"]) == 1
    said = capsys.readouterr()
    assert "float pictures is 9.99e-04 (2.png), 0.0009 was allowed" in said.err
    assert "float PSNR dB" in said.out
    assert "worst: 2.png; allowed: 0.0009 between floats" in said.out


def test_half_precision_is_judged_by_psnr(
    model: Path, labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """10 id against 127.5 id / 12 (rounded: 0, 11, 21): at most 1 level. Against 127.5 id / 9: at most 8."""
    half = replace(FLOAT_CARD, precision="fp16")
    near, far = float_model(tmp_path / "n.onnx", 12.0, half), float_model(tmp_path / "f.onnx", 9.0, half)
    beyond = float_model(tmp_path / "x.onnx", 5.0, half)
    data = ["--data", str(labels)]
    assert cli.main(["verify", str(model), str(near), *data]) == 0
    assert cli.main(["verify", str(far), str(model), *data]) == 0
    assert "allowed: 30 dB or more" in capsys.readouterr().out
    assert cli.main(["verify", str(far), str(model), *data, "--max-difference", "7"]) == 1
    assert cli.main(["verify", str(model), str(beyond), *data]) == 1
    assert "30 dB were asked for" in capsys.readouterr().err


def test_checkpoints_give_floats(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch = pytest.importorskip("torch")
    from lggan.checkpoint import save_generator
    from lggan.networks.build import build_generator
    from lggan.preset import load_preset

    preset = load_preset("tiny")
    config = replace(preset.generator, residual_blocks=0)
    paths = [tmp_path / "a.safetensors", tmp_path / "b.safetensors"]
    for seed, path in enumerate(paths):
        torch.manual_seed(seed)
        save_generator(path, build_generator(config).eval(), replace(preset.card(), licence="test only"))
    label = np.random.default_rng(0).integers(0, 4, (32, 32), dtype=np.uint8)
    np.save(tmp_path / "map.npy", label)
    data = ["--data", str(tmp_path / "map.npy"), "--json"]
    assert cli.main(["verify", str(paths[0]), str(paths[0]), *data]) == 0
    assert document(capsys)["overall"]["floats"] == {"max_abs": 0, "mean_abs": 0, "psnr_db": None}
    assert cli.main(["verify", str(paths[0]), str(paths[1]), *data]) == 1
    content = document(capsys)
    assert set(content["backends"].values()) == {"pytorch-cpu"}
    floats = content["overall"]["floats"]
    assert abs(floats["max_abs"] * 127.5 - content["overall"]["max_levels"]) <= 1
    assert abs(floats["psnr_db"] - content["overall"]["psnr_db"]) < 0.2
    assert cli.main(["verify", str(paths[0]), str(write_model(tmp_path / "toy.onnx")), *data]) == 2  # other classes
    assert cli.main(["verify", str(paths[0]), str(paths[1]), *data, "--device", "cuda"]) in (1, 4)


# --- engines and plugins ---


def write_engine(folder: Path) -> Path:
    engine = folder / "toy.engine"
    engine.write_bytes(b"a plan")
    record = {"schema": 1, "engine_sha256": sha256_of(engine), "onnx": "toy.onnx", "card": json.loads(CARD.to_json())}
    engine.with_suffix(".engine.json").write_text(json.dumps(record))
    return engine


def test_an_engine_is_told_what_will_do_instead(
    model: Path, labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = write_engine(tmp_path)
    other = write_model(tmp_path / "other.onnx")
    for named in (engine, engine.with_suffix(".engine.json")):
        fails([other, named, "--data", labels], 4, f"lggan verify {other} {model} --data {labels}", capsys)
        fails([named, other, "--data", labels], 4, f"lggan verify {model} {other} --data {labels}", capsys)
    fails([engine, other, "--data", labels], 4, "takes a GPU and a TensorRT backend", capsys)
    model.unlink()
    fails([engine, other, "--data", labels], 4, f"lggan verify toy.onnx {other}", capsys)
    engine.write_bytes(b"another plan")
    fails([other, engine, "--data", labels], 3, "is not the engine that", capsys)
    engine.with_suffix(".engine.json").unlink()
    fails([other, engine, "--data", labels], 3, "has no record", capsys)


def test_a_plugin_variant_is_told_apart_from_a_bad_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    full = save(toy_model(), tmp_path / "full.onnx")
    stripped = toy_model()
    del stripped.functions[:]
    plugin = save(stripped, tmp_path / "m.onnx")
    label = tmp_path / "map.npy"
    np.save(label, np.zeros((GRAPH_CARD.height, GRAPH_CARD.width), np.uint8))
    assert cli.main(["verify", "-q", str(full), str(full), "--data", str(label)]) == 0
    capsys.readouterr()
    for pair in ([full, plugin], [plugin, full]):
        fails([*pair, "--data", label], 4, "lggan::SemanticAwareUpsample has no body", capsys)
    fails([plugin, full, "--data", label], 4, "--variant full -o", capsys)
    unknown = toy_model()
    next(node for node in unknown.graph.node if node.op_type == "Conv").op_type = "Convolve"
    fails([full, save(unknown, tmp_path / "u.onnx"), "--data", label], 3, "ONNX Runtime cannot load", capsys)


# --- pairs and inputs that do not fit ---


def test_models_that_cannot_be_compared(
    model: Path, labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = ["--data", labels]
    views = write_model(tmp_path / "views.onnx", CROSS_VIEW_CARD, cross_view_nodes())
    fails([model, views, *data], 2, "different tasks, semantic-synthesis and cross-view", capsys)
    fewer = write_model(tmp_path / "fewer.onnx", replace(CARD, classes=CARD.classes[:3], void=2))
    fails([model, fewer, *data], 2, "have 4 and 3 classes", capsys)
    renamed = (CARD.classes[0], replace(CARD.classes[1], name="path"), *CARD.classes[2:])
    other = write_model(tmp_path / "other.onnx", replace(CARD, classes=renamed))
    fails([model, other, *data], 2, "1 is road (128, 64, 128) in the first, path (128, 64, 128) in the second", capsys)
    strict = write_model(tmp_path / "strict.onnx", replace(CARD, void=None))
    fails([strict, model, *data], 2, "read the label 255 as None and 3", capsys)
    edges = write_model(tmp_path / "edges.onnx", INSTANCE_CARD, instance_nodes())
    fails([model, edges, *data], 2, f"{edges} alone wants instance maps", capsys)
    fails([model, model, *data, "--tolerance", "0.1"], 2, "--max-difference", capsys)


def test_sizes(model: Path, labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Models of two sizes are compared at one that suits both."""
    coarse = write_model(tmp_path / "coarse.onnx", replace(CARD, stride=32, height=64, width=64))
    fails([model, coarse, "--data", labels], 3, f"0.png for {coarse} is 8x16", capsys)
    fails([coarse, model, "--data", labels], 3, "this model needs multiples of 32", capsys)
    fails([model, coarse, "--data", labels, "--fit", "model"], 2, "8x16 and 64x64; name one of them", capsys)
    assert cli.main(["verify", str(model), str(coarse), "--data", str(labels), "--fit", "32x64"]) == 0


def test_values_that_are_no_numbers(labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, bad = float_model(tmp_path / "good.onnx", 2.0), float_model(tmp_path / "bad.onnx", 0.0)
    fails([good, bad, "--data", labels], 5, "0.png: the second model gives 384 of 384 values that are not", capsys)
    fails([bad, good, "--data", labels], 5, "0.png: the first model gives", capsys)
    whole = write_model(tmp_path / "bytes.onnx")
    fails([whole, bad, "--data", labels], 5, "values that are not numbers", capsys)


def test_files_that_are_not_there(
    model: Path, labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    absent = tmp_path / "absent"
    fails([model, absent.with_suffix(".onnx"), "--data", labels], 3, "absent.onnx does not exist", capsys)
    fails([absent.with_suffix(".safetensors"), model, "--data", labels], 3, "absent.safetensors does not", capsys)
    fails([model, model, "--data", absent], 3, "does not exist", capsys)
    absent.mkdir()
    fails([model, model, "--data", absent], 3, "holds no label map", capsys)
    fails([model, labels / "0.png", "--data", labels], 3, "is none of ours", capsys)
    fails([model, tmp_path / "w.pth", "--data", labels], 3, "import-weights", capsys)
    assert cli.main(["verify", str(model), str(model)]) == 2  # no --data
