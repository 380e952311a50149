"""`lggan calibrate` as its users see it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("onnx")

import cli
from tests.calibration.toy_maps import toy_label_maps
from tests.onnx_toys import save, toy_model


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model and a folder of label maps."""
    monkeypatch.chdir(tmp_path)
    save(toy_model(), tmp_path / "toy.onnx")
    (tmp_path / "labels").mkdir()
    for index, one in enumerate(toy_label_maps(5)):
        Image.fromarray(one.label).save(tmp_path / "labels" / f"{index}.png")
    return tmp_path


def run(*arguments: str) -> int:
    return cli.main(["calibrate", "toy.onnx", "-o", "typed.onnx", *arguments])


def document(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


INT8 = ("--precision", "int8", "--data", "labels", "--min-psnr", "0")


def test_int8_says_what_came_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*INT8) == 0
    out, err = capsys.readouterr()
    assert "5 label maps say little about rare classes and outliers: 20 or more are better" in err
    assert "3 of 3 convolutions in INT8; multiplications: 100.0% INT8" in out
    assert "to FP32 on 5 label maps: PSNR" in out


def test_the_document_has_every_figure(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*INT8, "--json", "-q", "--ranges", "toy.ranges.json") == 0
    found = document(capsys)
    assert (found["kind"], found["convolutions"], found["int8_convolutions"]) == ("lggan-calibrate", 3, 3)
    assert found["shares"]["macs"]["int8"] > 0
    assert len(found["quality"]["psnr"]) == len(found["maps"]) == 5
    assert found["options"]["placement"] == "tensorrt"
    assert not found["ranges_reused"]
    assert run(*INT8, "--json", "-q", "--ranges", "toy.ranges.json", "--force") == 0
    assert document(capsys)["ranges_reused"]


def test_mixed_with_a_page_and_a_journal(capsys: pytest.CaptureFixture[str], workplace: Path) -> None:
    arguments = ("--precision", "mixed", "--data", "labels", "--min-psnr", "49", "--min-ssim", "0.5")
    assert run(*arguments, "--journal", "errors.jsonl", "--html", "page.html") == 0
    out = capsys.readouterr().out
    assert "left out, the most harmful per multiplication first" in out
    assert "page: page.html" in out
    page = (workplace / "page.html").read_text(encoding="utf-8")
    assert "What each layer costs alone" in page
    assert all(name in page for name in ("conv1", "conv2", "conv3"))
    assert "<script" not in page
    assert (workplace / "errors.jsonl").stat().st_size > 0
    assert cli.main(["infer", "typed.onnx", "labels", "-o", "pictures"]) == 0
    assert len(list((workplace / "pictures").glob("*.png"))) == 5


def test_for_onnx_runtime_and_not_for_tensorrt(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*INT8, "--for", "onnxruntime") == 0
    assert cli.main(["inspect", "typed.onnx", "--json"]) == 0
    assert '"target": "cpu"' in capsys.readouterr().out
    assert cli.main(["build", "typed.onnx", "-o", "typed.engine"]) == 3
    assert "calibrate the FP32 model again with --for tensorrt" in capsys.readouterr().err


def test_fp16_on_given_label_maps(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--data", "labels", "--json", "-q") == 0
    found = document(capsys)
    assert len(found["quality"]["psnr"]) == 5
    assert min(found["quality"]["psnr"]) > 50


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--precision", "int8"), 2, "name some with --data"),
        (("--precision", "int8", "--limit", "3"), 2, "--limit, --fit, --instances"),
        ((*INT8, "--maps", "3"), 2, "--maps is for --precision fp16"),
        (("--ranges", "r.json"), 2, "are for --precision int8 and mixed"),
        (("--data", "labels", "--maps", "3"), 2, "--limit says how many"),
        ((*INT8, "--limit", "3"), 3, "3 label maps are too few"),
        ((*INT8[:4], "--min-psnr", "90"), 1, "INT8 pictures are"),
        ((*INT8[:4], "--min-psnr", "-1"), 2, "min_psnr is -1"),
        ((*INT8, "--method", "percentile", "--percentile", "0"), 2, "percentile is 0"),
    ],
)
def test_errors_leave_nothing(
    arguments: tuple[str, ...], code: int, words: str, capsys: pytest.CaptureFixture[str], workplace: Path
) -> None:
    assert run(*arguments) == code
    assert words in capsys.readouterr().err
    assert sorted(path.name for path in workplace.iterdir()) == ["labels", "toy.onnx"]


def test_label_maps_that_are_no_label_maps(capsys: pytest.CaptureFixture[str], workplace: Path) -> None:
    Image.fromarray(np.full((16, 24), 200, np.uint8)).save(workplace / "labels" / "9.png")
    assert run(*INT8) == 3
    assert "9.png" in capsys.readouterr().err
    (workplace / "labels" / "9.png").write_bytes(b"no picture")
    assert run(*INT8) == 3
    assert "9.png" in capsys.readouterr().err


def test_a_page_that_exists_stops_it_at_once(capsys: pytest.CaptureFixture[str], workplace: Path) -> None:
    (workplace / "page.html").write_text("mine", encoding="utf-8")
    assert run(*INT8, "--html", "page.html") == 2
    assert "page.html exists already" in capsys.readouterr().err
    assert not (workplace / "typed.onnx").exists()
