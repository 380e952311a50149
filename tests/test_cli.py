"""The command line from the outside: what it prints where, its exit codes, and every verb on small models."""

from __future__ import annotations

import errno
import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import cli
from runtime import command_line
from runtime.contract.errors import BackendError, GateError, InputError, LgganError, MissingError, UsageError
from tests.label_files import write_labels
from tests.runtime.toy_models import CARD, INSTANCE_CARD, float_nodes, instance_nodes, write_model

ROOT = Path(__file__).resolve().parents[1]
VERBS = (
    "doctor", "demo", "data", "train", "evaluate", "import-weights", "export", "calibrate", "ranges", "build", "infer",
    "profile", "verify", "inspect",
)  # fmt: skip


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "toy.onnx")


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    return write_labels(tmp_path / "labels", 3, 8, 16)


def run_outside(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "cli", *arguments],
        cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def document(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """The one JSON object on stdout; anything else there fails."""
    content = json.loads(capsys.readouterr().out)
    assert isinstance(content, dict)
    assert content["schema"] == 1
    return content


# --- help and usage ---


def test_help_lists_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    listed = [
        line.split()[0] for line in capsys.readouterr().out.partition("Verbs:")[2].splitlines() if line[2:3] > " "
    ]
    assert tuple(listed) == VERBS


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_an_example_and_the_common_options(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([verb, "--help"]) == 0
    text = capsys.readouterr().out
    assert f"Example:\n    lggan {verb}" in text
    for option in ("--json", "-q, --quiet", "-v, --verbose"):
        assert option in text
    assert max(len(line) for line in text.partition("Example:")[0].splitlines()) <= 100


def test_examples_of_the_help_use_options_that_exist() -> None:
    """Every example is parsed by its own verb (and stopped before the work)."""
    import click

    for name, command in cli.lggan.commands.items():
        for line in str(command.epilog).splitlines():
            if line.strip().startswith("lggan "):
                words = line.split()
                assert words[1] == name
                with click.Context(command) as context:
                    command.parse_args(context, words[2:])  # raises UsageError where it does not fit


def test_no_verb_gives_the_help_and_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("Usage: lggan")


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["infr"], "Did you mean 'infer'"),
        (["infer", "--nonsense"], "No such option"),
        (["inspect"], "see `lggan inspect --help`"),
        (["infer", "m.onnx", "l.png", "-o", "x", "--threads", "0"], "not in the range"),
        (["infer", "m.onnx", "l.png", "-o", "x", "--device", "tpu"], "is not one of"),
    ],
)
def test_usage_errors_are_one_line(arguments: list[str], hint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("lggan: error: ")
    assert said.err.count("\n") == 1
    assert hint in said.err


def test_version_names_the_distribution(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("lggan-edge ")


def test_help_is_instant() -> None:
    """Best of five, in seconds of CPU: what other programs do meanwhile does not count."""
    seconds = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert run_outside("--help").returncode == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(seconds) < 0.2, seconds


# --- errors, exit codes, streams ---


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (GateError("not good enough"), 1),
        (UsageError("senseless"), 2),
        (InputError("bad file"), 3),
        (MissingError("no package"), 4),
        (BackendError("it failed"), 5),
    ],
)
def test_errors_become_one_line_and_their_code(
    error: LgganError, code: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr("runtime.doctor.examine", fail)
    assert cli.main(["doctor"]) == code
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == f"lggan: error: {error}\n"
    assert cli.main(["doctor", "--json"]) == code
    assert document(capsys) == {
        "kind": "lggan-error",
        "schema": 1,
        "error": type(error).__name__,
        "message": str(error),
        "exit_code": code,
    }


@pytest.mark.parametrize(
    ("error", "code", "hint"),
    [
        (RuntimeError("boom\nsecond line"), 5, "unexpected RuntimeError: boom (this is a defect; run again with -v"),
        (OSError(errno.ENOSPC, "No space left on device", "/x/y"), 4, "no space left on the disk of /x"),
        (PermissionError(errno.EACCES, "Permission denied", "/x/y"), 4, "no permission to write /x/y"),
        (MemoryError(), 4, "out of memory"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (ModuleNotFoundError("No module named 'onnx'", name="onnx.helper"), 4, "needs the package onnx"),
        (ModuleNotFoundError("No module named 'lggan.nix'", name="lggan.nix"), 5, "unexpected ModuleNotFoundError"),
    ],
)
def test_foreign_exceptions_never_show_a_traceback(
    error: BaseException, code: int, hint: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr("runtime.doctor.examine", fail)
    assert cli.main(["doctor"]) == code
    said = capsys.readouterr()
    assert said.err.splitlines()[-1].startswith("lggan: error: ")
    assert hint in said.err
    assert "Traceback" not in said.err
    if code == 5:
        assert cli.main(["doctor", "-v"]) == code
        assert "Traceback" in capsys.readouterr().err


def test_a_file_name_cannot_command_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["inspect", "no\x1b[31m\x07such\u202efile"]) == 3
    said = capsys.readouterr().err
    assert not {"\x1b", "\x07", "\u202e"} & set(said)
    assert said.count("\n") == 1


def test_what_a_library_prints_does_not_reach_stdout(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def chatter() -> tuple[()]:
        print("a library speaks")  # noqa: T201
        return ()

    monkeypatch.setattr("runtime.doctor.examine", chatter)
    assert cli.main(["doctor", "--json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["kind"] == "lggan-doctor"
    assert "a library speaks" in said.err


def test_a_closed_pipe_is_no_error() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "cli", "doctor", "-q"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.close()
    _, said = process.communicate(timeout=60)
    assert process.returncode == command_line.BROKEN_PIPE
    assert said == b""


def test_no_colour_and_no_bars_away_from_a_terminal(model: Path, labels: Path, tmp_path: Path) -> None:
    done = run_outside("infer", str(model), str(labels), "-o", str(tmp_path / "out"), TERM="xterm-256color")
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout + done.stderr
    assert "infer: done after" in done.stderr


def test_quiet_says_nothing_but_the_result(model: Path, labels: Path, tmp_path: Path) -> None:
    done = run_outside("infer", str(model), str(labels), "-o", str(tmp_path / "out"), "--quiet")
    assert done.returncode == 0
    assert done.stderr == ""
    assert "3 pictures, onnxruntime-cpu" in done.stdout


# --- the verbs of a device ---


def test_doctor_never_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor"]) == 0
    text = capsys.readouterr().out
    assert "ONNX Runtime" in text
    assert cli.main(["doctor", "--json"]) == 0
    readings = document(capsys)["readings"]
    assert {reading["area"] for reading in readings} >= {"system", "gpu", "packages", "backends"}


def test_infer_writes_pictures_and_one_object(
    model: Path, labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "pictures"
    assert cli.main(["infer", str(model), str(labels), "-o", str(out), "--json", "--threads", "1"]) == 0
    content = document(capsys)
    assert content["kind"] == "lggan-infer"
    assert content["latency_ms"]["count"] == 3
    for index in range(3):  # the toy paints 10 x id
        np.testing.assert_array_equal(np.asarray(Image.open(out / f"{index}.png")), np.full((8, 16, 3), 10 * index))
    assert cli.main(["infer", str(model), str(labels), "-o", str(out)]) == 2
    assert "--force" in capsys.readouterr().err
    assert cli.main(["infer", str(model), str(labels), "-o", str(out), "--force"]) == 0


def test_infer_fits_on_request(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    label = tmp_path / "odd.png"
    Image.fromarray(np.ones((9, 17), np.uint8)).save(label)
    picture = tmp_path / "odd_photo.png"
    assert cli.main(["infer", str(model), str(label), "-o", str(picture)]) == 3
    assert "--fit" in capsys.readouterr().err
    assert not picture.exists()
    assert cli.main(["infer", str(model), str(label), "-o", str(picture), "--fit", "model"]) == 0
    assert Image.open(picture).size == (16, 8)


def test_infer_refuses_a_device_that_is_not_there(
    model: Path, labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["infer", str(model), str(labels), "-o", str(tmp_path / "x"), "--device", "cuda"]) == 4
    assert not (tmp_path / "x").exists()


def test_inspect_shows_the_card(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["inspect", str(model)]) == 0
    text = capsys.readouterr().out
    assert "4: sky, road, car, void" in text
    assert "label uint8 [N, 1, H, W]" in text
    assert cli.main(["inspect", str(model), "--json"]) == 0
    content = document(capsys)
    assert (content["kind"], content["file"]) == ("lggan-inspect", "onnx")
    assert content["card"]["classes"][1] == {"name": "road", "color": [128, 64, 128]}
    assert content["size_bytes"] == model.stat().st_size


def test_verify_equal_models(model: Path, labels: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["verify", str(model), str(model), "--data", str(labels), "--max-difference", "0"]) == 0
    text = capsys.readouterr().out
    assert "identical" in text
    assert "worst: 0.png; allowed: 0 levels" in text


def test_verify_answers_no_with_exit_code_1(
    model: Path, labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """10 id against round(127.5 id / 1.5): 0, 75 and 150 levels for the ids 0, 1, 2 that the three maps hold."""
    from dataclasses import replace

    from tests.runtime.toy_models import FLOAT_IMAGE

    other = write_model(tmp_path / "other.onnx", replace(CARD, outputs=(FLOAT_IMAGE,)), float_nodes(1.5))
    arguments = ["verify", str(model), str(other), "--data", str(labels), "--json"]
    assert cli.main([*arguments, "--max-difference", "150"]) == 0
    content = document(capsys)
    assert content["passed"] is True
    assert content["overall"]["max_levels"] == 150
    assert content["overall"]["mean_levels"] == pytest.approx(75)
    assert content["overall"]["psnr_db"] == pytest.approx(10 * np.log10(255**2 / ((75**2 + 150**2) / 3)))
    assert content["overall"]["floats"] is None  # one of the two gives bytes
    assert content["pictures"][0]["psnr_db"] is None  # equal
    assert content["worst"] == "2.png"
    assert content["limits"] == {"max_levels": 150, "min_psnr": None, "max_abs": None}
    assert cli.main([*arguments, "--max-difference", "149"]) == 1
    said = capsys.readouterr()
    assert json.loads(said.out)["passed"] is False
    assert "the largest difference is 150 levels (2.png), 149 were allowed" in said.err
    assert cli.main([*arguments, "--min-psnr", "20"]) == 1
    assert cli.main(arguments) == 1  # without limits: one level between two FP32 models
    assert "150 levels (2.png), 1 were allowed" in capsys.readouterr().err


def test_verify_wants_instance_maps_where_the_model_does(
    labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = write_model(tmp_path / "edges.onnx", INSTANCE_CARD, instance_nodes())
    arguments = ["verify", str(model), str(model), "--data", str(labels)]
    assert cli.main(arguments) == 2
    assert "--instances" in capsys.readouterr().err
    assert cli.main([*arguments, "--instances", str(labels)]) == 0


def test_profile_writes_a_report(model: Path, labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "report"
    arguments = ["profile", str(model), "--data", str(labels), "-o", str(out), "--iterations", "11", "--seconds", "0"]
    assert cli.main([*arguments, "--threads", "1"]) == 0
    text = capsys.readouterr().out
    assert "toy.onnx" in text
    assert str(out / "index.html") in text
    assert json.loads((out / "report.json").read_text())["kind"] == "lggan-profile"


# --- the whole way, with PyTorch ---


def test_from_training_to_pictures(
    tiny_dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """train, export, calibrate, verify, infer, inspect: each verb takes the file of the one before."""
    pytest.importorskip("torch")
    pytest.importorskip("onnxscript")
    monkeypatch.chdir(tmp_path)
    labels = str(tiny_dataset / "val" / "labels")
    preset = (ROOT / "lggan" / "presets" / "tiny.toml").read_text(encoding="utf-8")
    Path("smaller.toml").write_text(preset.replace("residual_blocks = 2", "residual_blocks = 0"), encoding="utf-8")
    train = [
        "train",
        "--preset",
        "smaller.toml",
        "--data",
        str(tiny_dataset),
        "--out",
        "run",
        "--device",
        "cpu",
        "--json",
    ]
    assert cli.main([*train, "--steps", "1", "--licence", "test only"]) == 0
    trained = document(capsys)
    assert trained["steps"] == 1
    assert trained["interrupted"] is False
    assert cli.main([*train, "--steps", "1"]) == 2  # the run exists, and --resume was not given
    assert json.loads(capsys.readouterr().out)["error"] == "UsageError"

    assert cli.main(["export", trained["checkpoint"], "-o", "m.onnx", "--json", "-q"]) == 0
    exported = document(capsys)
    assert exported["card"]["verification"]["max_abs"] <= 1e-3
    assert cli.main(["calibrate", "m.onnx", "-o", "m16.onnx", "--min-psnr", "20"]) == 0
    assert "FP16:" in capsys.readouterr().out
    compared = ["verify", trained["checkpoint"], "m.onnx", "--data", labels, "--fit", "model"]
    assert cli.main([*compared, "--max-difference", "1"]) == 0
    assert "pytorch-cpu" in capsys.readouterr().out
    assert cli.main(["infer", "m16.onnx", labels, "-o", "pictures", "--fit", "model"]) == 0
    assert len(list(Path("pictures").glob("*.png"))) == 2
    assert cli.main(["inspect", trained["checkpoint"]]) == 0
    assert "test only" in capsys.readouterr().out


def test_build_without_tensorrt_rtx_says_what_to_install(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnx")
    monkeypatch.setitem(sys.modules, "engines.build", None)  # importing it now raises ModuleNotFoundError
    assert cli.main(["build", str(model), "-o", str(tmp_path / "x.engine")]) in (4, 5)
    assert not (tmp_path / "x.engine").exists()


def test_build_refuses_half_a_range(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnx")
    assert cli.main(["build", str(model), "-o", str(tmp_path / "x.engine"), "--min-shape", "1x8x16"]) == 2
    assert "--shape" in capsys.readouterr().err


def test_demo_needs_its_examples(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("onnxscript")
    assert cli.main(["demo", "--examples", str(tmp_path), "-o", str(tmp_path / "demo")]) == 4
    assert "--examples" in capsys.readouterr().err
    assert not (tmp_path / "demo").exists()
