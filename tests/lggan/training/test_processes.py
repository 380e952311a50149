"""Runs in processes of their own: killed without warning, interrupted from outside, and two that train together."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import lggan.training.train as module
from lggan.checkpoint import load_generator
from lggan.preset import load_preset
from lggan.training.distributed import Process
from lggan.training.journal import read_journal
from lggan.training.options import TrainOptions
from lggan.training.train import train
from runtime.contract.errors import UsageError
from tests.lggan.training.run_script import twins

SCRIPT = Path(__file__).with_name("run_script.py")
ROOT = Path(__file__).resolve().parents[3]
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE", "LOCAL_RANK")},
    "PYTHONPATH": str(ROOT),
    "OMP_NUM_THREADS": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
}


def steps_of(run: Path) -> list[float]:
    return [line["step"] for line in read_journal(run)]


def test_a_kill_in_the_middle_of_writing(tiny_dataset: Path, tmp_path: Path) -> None:
    """SIGKILL while the state after step 4 is being written: the one after step 2 is whole, and the run goes on."""
    run = tmp_path / "run"
    process = subprocess.run(
        [sys.executable, str(SCRIPT), "killed", str(tiny_dataset), str(run)], env=ENVIRONMENT, check=False, timeout=120
    )
    assert process.returncode == -signal.SIGKILL
    names = {path.name for path in run.iterdir()}
    assert "generator.safetensors" not in names
    assert any(name.startswith(".state-") for name in names), "the kill came too early or too late"
    assert steps_of(run) == [1, 2, 3, 4]
    assert load_file(run / "state.safetensors")["generator_optimizer/0/step"] == 2

    preset = load_preset("tiny")
    options = TrainOptions(tiny_dataset, run, steps=6, device="cpu", save_every=2, sample_every=100, log_every=1)
    assert train(preset, replace(options, resume=True)).steps == 6
    assert steps_of(run) == [1, 2, 3, 4, 5, 6]
    assert [path.name for path in run.iterdir() if path.name.startswith(".")] == []
    load_generator(run / "generator.safetensors")

    straight = tmp_path / "straight"
    train(preset, replace(options, output=straight, save_every=100))
    resumed, whole = load_file(run / "state.safetensors"), load_file(straight / "state.safetensors")
    assert [name for name in whole if not torch.equal(whole[name], resumed[name])] == []


def test_an_interrupt_from_outside(tiny_dataset: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with subprocess.Popen(
        [sys.executable, str(SCRIPT), "interrupted", str(tiny_dataset), str(run)],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        deadline = time.monotonic() + 200
        while not (run / "metrics.jsonl").exists() or not (run / "metrics.jsonl").stat().st_size:
            assert process.poll() is None, process.stderr.read() if process.stderr else ""
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert "Traceback" not in errors
    steps = len(steps_of(run))
    assert output.strip() == f"interrupted=True steps={steps}"
    assert load_file(run / "state.safetensors")["generator_optimizer/0/step"] == steps
    assert load_generator(run / "generator.safetensors")[1].training["steps"] == steps


def test_two_processes(tiny_dataset: Path, tmp_path: Path, make_tiny_dataset: Callable[..., Path]) -> None:
    """Their weights stay equal, one of them writes, and where the shares are alike one process does the same."""
    one = make_tiny_dataset(tiny_dataset.with_name("one"), train=1, val=0, size=(32, 64))
    run = tmp_path / "run"
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--standalone"]
    with subprocess.Popen(
        [*command, str(SCRIPT), "pair", str(tiny_dataset), str(run)],
        env=ENVIRONMENT,
        start_new_session=True,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            _, errors = process.communicate(timeout=270)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # a killed launcher would leave its processes behind
            raise
    assert process.returncode == 0, errors[-3000:]
    for name in ("crops", "twins"):
        first, second = (load_file(run / f"{name}_{rank}.safetensors") for rank in (0, 1))
        assert first.keys() == second.keys()
        assert [key for key in first if not torch.equal(first[key], second[key])] == []
        assert steps_of(run / name) == [1, 2, 3]
        assert not [path for path in (run / name).iterdir() if path.name.startswith(".")]
        stored = load_file(run / name / "state.safetensors")
        assert torch.equal(stored["generator/local_branch.heads.bias"], first["generator/local_branch.heads.bias"])
        card = load_generator(run / name / "generator.safetensors")[1]
        assert [stretch["processes"] for stretch in card.training["past"]["stretches"]] == [2]

    alone = tmp_path / "alone"
    train(twins(), TrainOptions(one, alone, steps=3, device="cpu", sample_every=100, log_every=1))
    ours, theirs = read_journal(alone), read_journal(run / "twins")
    for line, other in zip(ours, theirs, strict=True):
        # The discriminator's last bias has no gradient but rounding, which Adam turns into whole steps: it moves the
        # verdicts on real and fake pictures, not their sum.
        for entry in (line, other):
            entry["discriminator"] = entry["discriminator_fake"] + entry["discriminator_real"]
        names = ["step", "epoch", "feature_matching", "classification", "local", "discriminator"]
        np.testing.assert_allclose([line[n] for n in names], [other[n] for n in names], rtol=1e-4, err_msg=str(names))
    mine, shared = load_file(alone / "state.safetensors"), load_file(run / "twins_0.safetensors")
    for layer in ("local_branch.fuse", "attention.weights", "classifier.linear"):
        name = f"generator/{layer}.weight"
        torch.testing.assert_close(mine[name], shared[name], rtol=0, atol=2e-5)  # three steps of 1e-4 each


def test_a_batch_that_cannot_be_shared(tiny_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def two(device: str) -> Iterator[Process]:
        yield Process(0, 2, torch.device("cpu"))

    monkeypatch.setattr(module, "process_group", two)
    preset = load_preset("tiny")
    preset = replace(preset, train=replace(preset.train, batch=3))
    with pytest.raises(UsageError, match="evenly"):
        train(preset, TrainOptions(tiny_dataset, tmp_path / "run", steps=1))
    assert not (tmp_path / "run").exists()
