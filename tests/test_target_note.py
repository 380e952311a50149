"""The remark that a model runs faster here when it is exported for the CPU: who gets it, and who does not."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

import cli
from runtime.contract.card import CPU, ModelCard
from tests.label_files import write_labels
from tests.runtime.toy_models import CARD, write_model

REMARK = ": exported for TensorRT; on this CPU a file exported with --target cpu is faster, a large model several times"


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    return write_labels(tmp_path / "labels", 2, 16, 32)


def profiled(tmp_path: Path, labels: Path, *arguments: str | Path) -> int:
    options = ["--iterations", "2", "--seconds", "0", "--threads", "1", "--force"]
    return cli.main(["profile", *map(str, arguments), "--data", str(labels), "-o", str(tmp_path / "report"), *options])


def test_infer_remarks_once(tmp_path: Path, labels: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = write_model(tmp_path / "toy.onnx")
    assert cli.main(["infer", str(model), str(labels), "-o", str(tmp_path / "out")]) == 0
    said = capsys.readouterr()
    assert said.err.count(f"{model}{REMARK}\n") == said.err.count("--target cpu") == 1
    assert "--target" not in said.out
    assert cli.main(["infer", str(model), str(labels), "-o", str(tmp_path / "json"), "--json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["kind"] == "lggan-infer"
    assert said.err.count(REMARK) == 1
    assert cli.main(["infer", str(model), str(labels), "-o", str(tmp_path / "quiet"), "--quiet"]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("card", [replace(CARD, target=CPU), replace(CARD, precision="fp16")])
def test_infer_says_nothing_of_other_files(
    card: ModelCard, tmp_path: Path, labels: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = write_model(tmp_path / "toy.onnx", card)
    assert cli.main(["infer", str(model), str(labels), "-o", str(tmp_path / "out")]) == 0
    assert "--target" not in capsys.readouterr().err


def test_no_remark_beside_an_error(tmp_path: Path, labels: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = write_model(tmp_path / "toy.onnx")
    assert cli.main(["infer", str(model), str(tmp_path / "none.png"), "-o", str(tmp_path / "out")]) == 3
    said = capsys.readouterr().err
    assert said.startswith("lggan: error: ")
    assert said.count("\n") == 1


def test_profile_remarks_on_all_at_once(tmp_path: Path, labels: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, two = (
        write_model(tmp_path / name, replace(CARD, checkpoint_sha256=name[0] * 64)) for name in ("a.onnx", "b.onnx")
    )
    half = write_model(tmp_path / "half.onnx", replace(CARD, precision="fp16"))
    assert profiled(tmp_path, labels, one, half, two) == 0
    said = capsys.readouterr()
    assert said.err.count("--target cpu") == 1
    assert f"{one}, {two}{REMARK}\n" in said.err
    assert "--target" not in said.out

    twin = write_model(tmp_path / "a.cpu.onnx", replace(CARD, checkpoint_sha256="a" * 64, target=CPU))
    assert profiled(tmp_path, labels, one, twin, two) == 0
    assert f"\n{two}{REMARK}\n" in capsys.readouterr().err  # the other one's twin is being measured already
    assert profiled(tmp_path, labels, one, twin) == 0
    assert "--target" not in capsys.readouterr().err
    assert profiled(tmp_path, labels, one, "--quiet") == 0
    assert capsys.readouterr().err == ""
