"""`lggan inspect` of ONNX files: the cost of their graphs, as tables, as JSON, as a page."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import cli
from tests.runtime.graph_samples import add_report
from tests.runtime.toy_models import CARD, write_model


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return add_report(write_model(tmp_path / "toy.onnx"))


def test_tables(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["inspect", str(model)]) == 0
    said = capsys.readouterr()
    for words in (
        "7 nodes: 3 Cast, 1 Concat, 1 Constant, 1 Mul, 1 Transpose",
        "cost of one picture of 8x16, as exported\n",
        "local branch",
        "7.00 GMAC",
        "the published formulation takes 14.0 GMAC",
        "8.00 GMAC → 1.00 GMAC",
        "local_branch/tower/0/Conv",
    ):
        assert words in said.out, words
    assert said.err == ""


def test_json(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["inspect", str(model), "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert (content["kind"], content["schema"], content["file"]) == ("lggan-inspect", 1, "onnx")
    assert content["graph"]["blocks"][1]["name"] == "encoder/conv2"
    assert content["graph"]["savings"][1]["macs_after"] == 1_000_000_000
    assert content["graph_problem"] == ""
    assert content["census"]["operators"][0] == {
        "place": "main graph",
        "domain": "ai.onnx",
        "op_type": "Cast",
        "count": 3,
    }


def test_a_typed_file_says_whose_bytes_these_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = add_report(write_model(tmp_path / "half.onnx", replace(CARD, precision="fp16")))
    assert cli.main(["inspect", str(path)]) == 0
    assert "bytes are those of the FP32 graph, this file is typed fp16" in capsys.readouterr().out


def test_a_file_of_an_older_version(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_model(tmp_path / "old.onnx")
    assert cli.main(["inspect", str(path)]) == 0
    said = capsys.readouterr()
    assert "7 nodes" in said.out
    assert "export it again" in said.err
    assert "cost of one picture" not in said.out


def test_page(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("jinja2")
    page = tmp_path / "deep" / "graph.html"
    assert cli.main(["inspect", str(model), "--html", str(page)]) == 0
    assert f"page  {page}" in capsys.readouterr().out
    first = page.read_bytes()
    assert first.startswith(b"<!doctype html>")
    assert cli.main(["inspect", str(model), "--html", str(page)]) == 2
    assert "--force" in capsys.readouterr().err
    assert cli.main(["inspect", str(model), "--html", str(page), "--force"]) == 0
    assert page.read_bytes() == first
    assert [entry.name for entry in page.parent.iterdir()] == ["graph.html"]


def test_pages_are_of_onnx_files(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("jinja2")
    page = str(tmp_path / "graph.html")
    assert cli.main(["inspect", "--cost", "--preset", "tiny", "--html", page]) == 2
    assert cli.main(["inspect", str(model), "--cost", "--html", page]) == 2
    assert "--html goes with an ONNX file" in capsys.readouterr().err
    record = tmp_path / "m.engine.json"
    record.write_text('{"schema": 1, "engine": "m.engine"}', encoding="utf-8")
    assert cli.main(["inspect", str(record), "--html", page]) == 3
    assert "has no graph" in capsys.readouterr().err
    assert not Path(page).exists()


def test_a_device_needs_neither_torch_nor_onnx(model: Path) -> None:
    code = (
        "import sys\n"
        "sys.modules.update(dict.fromkeys(('torch', 'onnx', 'onnxscript', 'onnxruntime', 'safetensors')))\n"
        "import cli\n"
        f"sys.exit(cli.main(['inspect', {str(model)!r}]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(cli.__file__).parent, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "7.00 GMAC" in done.stdout
