"""`lggan inspect --cost`, and the flags of `lggan train` that change how a run is computed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import cli
from lggan.preset import load_preset
from tests.miniatures import write_miniature


def document(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, object]:
    capsys.readouterr()
    assert cli.main([*map(str, arguments), "--json"]) == 0
    content: dict[str, object] = json.loads(capsys.readouterr().out)
    return content


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with every flag that changes how it is computed, and a narrower generator than its preset's."""
    folder = tmp_path_factory.mktemp("run")
    data = write_miniature("tiny", folder / "data", size=(48, 96), splits=("train",))
    arguments = ["train", "--preset", "tiny", "--data", data, "--out", folder / "run", "--steps", 1, "--ngf", 2]
    arguments += ["--sau", "encoder"]
    arguments += ["--batch", 4, "--accumulate", 2, "--channels-last", "--workers", 1, "--prefetch", 3]
    assert cli.main([*map(str, arguments), "--device", "cpu", "--peer-timeout", "9.5", "-q"]) == 0
    return folder / "run"


def test_flags_reach_the_run(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = json.loads((run / "settings.json").read_text())
    assert settings["generator"]["ngf"] == 2
    assert settings["generator"]["sau"]["placement"] == "encoder"
    assert settings["train"]["discriminator_width"] == load_preset("tiny").train.discriminator_width
    card = document(capsys, "inspect", run / "generator.safetensors")["card"]
    assert card["training"]["past"]["stretches"][0]["accumulate"] == 2  # type: ignore[index]


def test_a_batch_that_cannot_be_shared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_miniature("tiny", tmp_path / "data", size=(48, 96), splits=("train",))
    arguments = ["train", "--preset", "tiny", "--data", data, "--out", tmp_path / "run", "--accumulate", 3]
    assert cli.main([str(argument) for argument in arguments]) == 2
    assert "batch 2 cannot be shared evenly by 1 processes with 3 micro-batches" in capsys.readouterr().err


def test_the_cost_of_a_checkpoint(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = run / "generator.safetensors"
    found = document(capsys, "inspect", path, "--cost")
    assert (found["kind"], found["schema"], found["model"]) == ("lggan-cost", 1, "tiny")
    held = document(capsys, "inspect", path)["facts"]["parameters"]  # type: ignore[index]
    total = found["generator"]["total"]  # type: ignore[index]
    statistics = 2 * 18 * 32  # running mean and variance of at most 18 norms of at most 32 channels are stored as well
    assert total["parameters"] <= held <= total["parameters"] + statistics
    larger = document(capsys, "inspect", path, "--cost", "--size", "64x128")
    assert larger["generator"]["total"]["macs"] == pytest.approx(4 * total["macs"], rel=0.01)  # type: ignore[index]

    assert cli.main(["inspect", str(path), "--cost"]) == 0
    shown = capsys.readouterr().out
    assert "one picture of 32x64" in shown
    assert f"{total['parameters']:,}" in shown
    assert "encoder.upsample" in shown


def test_the_cost_of_a_preset(capsys: pytest.CaptureFixture[str]) -> None:
    found = document(capsys, "inspect", "--cost", "--preset", "tiny_cross_view")
    assert found.keys() >= {"generator", "discriminator", "training_memory"}
    fp32, bf16 = found["training_memory"]  # type: ignore[misc]
    assert (fp32["precision"], bf16["precision"], fp32["batch"]) == ("fp32", "bf16", 2)
    assert sum(bf16["per_image"].values()) < sum(fp32["per_image"].values())
    assert cli.main(["inspect", "--cost", "--preset", "tiny_cross_view", "--size", "64x64"]) == 0
    shown = capsys.readouterr().out
    assert "preset tiny_cross_view, one picture of 64x64" in shown
    assert "for each example" in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--cost"], "name a file, or --cost and a --preset"),
        (["x.onnx", "--cost", "--preset", "tiny"], "name a file, or --cost and a --preset"),
        (["--preset", "tiny"], "go with --cost"),
        (["x.onnx", "--size", "64x64"], "go with --cost"),
        (["--cost", "--preset", "tiny", "--size", "64"], "is no size"),
        (["--cost", "--preset", "tiny", "--size", "33x64"], "height is 33"),
    ],
)
def test_requests_without_sense(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["inspect", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_the_published_network_by_a_flag(capsys: pytest.CaptureFixture[str]) -> None:
    """Without semantic-aware upsampling: the measured figures of the authors' network, less its unused layer."""
    found = document(capsys, "inspect", "--cost", "--preset", "cityscapes", "--sau", "none")
    total = found["generator"]["total"]  # type: ignore[index]
    unused = 1024 * 36 * 9 + 1024
    assert total["parameters"] + unused == 111_123_495
    assert round(total["macs"] / 1e9, 2) == 445.91
    assert found["generator"]["upsamplings"] == []  # type: ignore[index]


def test_the_flag_is_for_presets(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["inspect", str(run / "generator.safetensors"), "--cost", "--sau", "none"]) == 2
    assert "--sau goes with --cost and a --preset" in capsys.readouterr().err
    assert cli.main(["inspect", "--cost", "--preset", "tiny", "--sau", "somewhere"]) == 2
