"""`lggan export --data`: which label maps reach the proof, and what is said to those that cannot."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")

import cli  # noqa: E402
from export.layouts import from_maps  # noqa: E402
from export.options import ExportOptions  # noqa: E402
from lggan.checkpoint import save_generator  # noqa: E402
from lggan.networks.build import build_generator  # noqa: E402
from lggan.preset import load_preset  # noqa: E402
from runtime.contract.errors import GateError, InputError  # noqa: E402
from runtime.profiler.worker import LabelMap  # noqa: E402
from tests.label_files import write_labels  # noqa: E402
from tests.runtime.toy_models import CARD, CROSS_VIEW_CARD, INSTANCE_CARD  # noqa: E402


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An edge channel, so that instance maps are wanted."""
    preset = load_preset("tiny")
    generator = build_generator(replace(preset.generator, residual_blocks=0, edges=True)).eval()
    path = tmp_path_factory.mktemp("checkpoint") / "g.safetensors"
    save_generator(path, generator, replace(preset.card(), instances=True, licence="test only"))
    return path


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    return write_labels(tmp_path / "labels", 3, 32, 64)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[ExportOptions]:
    """The options of every export, which then ends."""
    seen: list[ExportOptions] = []

    def export_onnx(checkpoint: Path, out: Path, options: ExportOptions, *rest: object, **more: object) -> None:
        seen.append(options)
        raise GateError("enough")

    monkeypatch.setattr("export.onnx_export.export_onnx", export_onnx)
    return seen


def test_label_maps_reach_the_proof(checkpoint: Path, labels: Path, tmp_path: Path, asked: list[ExportOptions]) -> None:
    start = ["export", str(checkpoint), "-o", str(tmp_path / "m.onnx"), "-q"]
    assert cli.main(start) == 1
    assert asked[-1].maps is None
    assert cli.main([*start, "--data", str(labels), "--instances", str(labels), "--limit", "2"]) == 1
    maps = asked[-1].maps
    assert maps is not None
    assert [entry.name for entry in maps] == ["0.png", "1.png"]
    assert [entry.label.shape for entry in maps] == [(32, 64)] * 2
    np.testing.assert_array_equal(maps[1].instance, np.ones((32, 64), np.int32))
    fitted = ["--data", str(labels / "2.png"), "--instances", str(labels), "--fit", "64x32"]
    assert cli.main([*start, *fitted]) == 1
    assert [entry.label.shape for entry in asked[-1].maps or ()] == [(64, 32)]


def test_label_maps_that_do_not_fit(
    checkpoint: Path,
    labels: Path,
    tmp_path: Path,
    asked: list[ExportOptions],
    capsys: pytest.CaptureFixture[str],
) -> None:
    Image.fromarray(np.zeros((32, 40), np.uint8)).save(labels / "odd.png")
    empty = tmp_path / "empty"
    empty.mkdir()
    cases: list[tuple[list[str], int, str]] = [
        (["--limit", "1"], 2, "--data"),
        (["--fit", "model"], 2, "--data"),
        (["--data", str(labels)], 2, "--instances"),
        (["--data", str(labels / "odd.png"), "--instances", str(labels)], 3, "odd.png is 32x40"),
        (["--data", str(empty), "--instances", str(labels)], 3, "holds no label map"),
        (["--data", str(tmp_path / "absent"), "--instances", str(labels)], 3, "does not exist"),
        (["--data", str(labels), "--strips", "a2g", "--instances", str(labels)], 2, "leave --source and --strips out"),
    ]
    for arguments, code, words in cases:
        assert cli.main(["export", str(checkpoint), "-o", str(tmp_path / "m.onnx"), "-q", *arguments]) == code
        assert words in capsys.readouterr().err
    assert not asked
    assert not (tmp_path / "m.onnx").exists()


def test_what_belongs_to_a_map_is_used_and_the_rest_made_up() -> None:
    label = np.arange(4, dtype=np.uint8).repeat(32).reshape(8, 16)
    instance, photo = np.full((8, 16), 7, np.int32), np.full((8, 16, 3), 9, np.uint8)
    maps = [LabelMap("given", label, instance), LabelMap("alone", label)]
    given, alone = from_maps(maps, INSTANCE_CARD)
    assert (given.name, alone.name) == ("given", "alone")
    np.testing.assert_array_equal(given.instance, instance[None, None])
    assert alone.instance is not None
    assert alone.instance.shape == (1, 1, 8, 16)
    assert len(np.unique(alone.instance)) == 4
    (view, other) = from_maps([LabelMap("v", label % 3, None, photo), LabelMap("w", label % 3)], CROSS_VIEW_CARD)
    np.testing.assert_array_equal(view.source, photo[None])
    assert other.source is not None
    assert other.source.shape == (1, 8, 16, 3)
    (plain,) = from_maps([label], CARD)
    assert plain.name == "given map 1"
    assert (plain.instance, plain.source) == (None, None)
    np.testing.assert_array_equal(plain.label, label[None, None])
    with pytest.raises(InputError, match="no label map"):
        from_maps([], CARD)
