"""`lggan data check` as it is typed: the screen, the document, the exit codes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="torch is not installed (extra train)")

import cli
from tests.miniatures import write_miniature


def check(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = cli.main(["data", "check", *arguments])
    said = capsys.readouterr()
    return code, said.out, said.err


def document(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    code, out, _ = check(capsys, *arguments, "--json")
    found: dict[str, Any] = json.loads(out)
    return code, found


@pytest.mark.parametrize("name", ["coco_stuff", "dayton_a2g", "cvusa", "camvid"])
def test_one_screen(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    root = write_miniature(name, tmp_path, size=(32, 32))
    code, out, err = check(capsys, str(root), "--preset", name)
    assert code == 0
    assert out.endswith("It can be trained on.\n")
    assert max(len(line) for line in out.splitlines()[1:]) <= 80  # the first one is the path, which is never wrapped
    assert len(out.splitlines()) < 45
    assert "█" in out
    assert "checking train" in err


def test_faults_end_with_code_3(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_miniature("facades", tmp_path, size=(32, 32))
    (root / "train_label" / "scene_1.png").unlink()
    (root / "train_img" / "scene_2.jpg").write_bytes(b"")
    code, out, err = check(capsys, str(root), "--preset", "facades", "-q")
    assert code == 3
    assert "fault    train         1 photo without a label map: scene_1" in out
    assert "- train_img/scene_2.jpg is empty" in out
    assert err.count("\n") == 1
    assert "cannot be trained on with preset facades: train: 1 photo without a label map: scene_1" in err
    assert "and 1 other kind of faults" in err


def test_the_document(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_miniature("dayton_g2a", tmp_path, size=(32, 32))
    code, found = document(capsys, str(root), "--preset", "dayton_g2a", "--limit", "2")
    assert code == 0
    assert (found["kind"], found["schema"], found["usable"]) == ("lggan-data-check", 1, True)
    assert (found["preset"], found["layout"], found["faults"]) == ("dayton_g2a", "strips", [])
    train, val = found["splits"]
    assert (train["split"], train["examples"], train["checked"], val["split"]) == ("train", 3, 2, "val")
    assert train["strips"]["disagree"] == 0.0
    assert len(train["classes"]) == 19
    assert {"split": "train", "text": "2 of 3 examples were opened", "details": []} in found["notes"]


def test_a_wrong_preset_in_the_document(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_miniature("facades", tmp_path, size=(32, 32))
    code, found = document(capsys, str(root), "--preset", "cityscapes")
    assert code == 3
    assert found["usable"] is False
    assert "the layout 'cityscapes' is leftImg8bit/SPLIT/CITY" in found["faults"][0]["text"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["nowhere", "--preset", "facades"], 3),
        (["nowhere", "--preset", "facade"], 2),
        (["nowhere"], 2),
        ([".", "--preset", "facades", "--limit", "0"], 2),
        ([".", "--preset", "facades", "--split", "all"], 2),
    ],
)
def test_requests_that_make_no_sense(arguments: list[str], code: int, capsys: pytest.CaptureFixture[str]) -> None:
    found, out, err = check(capsys, *arguments)
    assert found == code
    assert out == ""
    assert err.startswith("lggan: error: ")
    assert err.count("\n") == 1


def test_one_split_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_miniature("facades", tmp_path, size=(32, 32), splits=("val",))
    assert check(capsys, str(root), "--preset", "facades", "--split", "val")[0] == 0
    assert check(capsys, str(root), "--preset", "facades")[0] == 3


def test_help_of_the_group_and_the_verb(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["data", "--help"], ["data", "check", "--help"]):
        assert cli.main(arguments) == 0
        out = capsys.readouterr().out
        assert "Example:\n    lggan data check" in out
        assert "--json" in out
