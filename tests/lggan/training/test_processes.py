"""Runs in processes of their own: killed without warning, interrupted from outside, and two that train together."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import lggan.training.train as module
from lggan.checkpoint import load_generator
from lggan.preset import load_preset
from lggan.training.distributed import Process
from lggan.training.journal import read_journal
from lggan.training.options import TrainOptions
from lggan.training.train import train
from runtime.contract.errors import UsageError
from tests.lggan.training.float64 import float32_again, use_float64
from tests.lggan.training.run_script import LOST_AT, TASKS, norm_inputs, of_four
from tests.miniatures import write_miniature

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


@pytest.fixture
def float64() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        use_float64(patch)
        yield
    float32_again()


@pytest.mark.usefixtures("float64")
def test_two_processes_are_one(tiny_dataset: Path, tmp_path: Path) -> None:
    """Two processes with two examples each do what one does with four, tensor for tensor, and can go on with its run.

    Batch statistics are synchronised, the classification loss averages over all classes of all examples, the examples
    of a step are the same: what remains is the order of summation.
    """
    data = tmp_path / "both"
    data.mkdir()
    tiny_dataset.rename(data / "semantic")
    write_miniature("tiny_cross_view", data / "cross_view", examples=5)
    run = tmp_path / "run"
    run.mkdir()
    for task, preset in TASKS.items():
        alone = TrainOptions(data / task, tmp_path / task, steps=6, device="cpu", sample_every=100, log_every=1)
        train(of_four(preset), alone)
        train(of_four(preset), replace(alone, output=run / f"{task}_resumed", steps=3))
    torchrun("pair", data, run)

    check_synchronised_norm([load_file(run / f"norm_{rank}.safetensors") for rank in (0, 1)])
    for task in TASKS:
        for kind, stretches in (("whole", [2]), ("resumed", [1, 2])):
            shares = [load_file(run / f"{task}_{kind}_{rank}.safetensors") for rank in (0, 1)]
            check_equal_runs(tmp_path / task, run / f"{task}_{kind}", shares)
            card = load_generator(run / f"{task}_{kind}" / "generator.safetensors")[1]
            assert [stretch["processes"] for stretch in card.training["past"]["stretches"]] == stretches


def torchrun(what: str, data: Path, run: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--standalone"]
    with subprocess.Popen(
        [*command, str(SCRIPT), what, str(data), str(run)],
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


def check_equal_runs(expected_run: Path, run: Path, shares: list[dict[str, Tensor]]) -> None:
    expected, stored = (load_file(folder / "state.safetensors") for folder in (expected_run, run))
    assert stored.keys() == expected.keys()
    for share in shares:  # the processes' own weights are the same bits
        assert [key for key in share if not torch.equal(share[key], stored[key])] == []
    for key, tensor in expected.items():
        off = float((stored[key] - tensor).abs().max())
        assert off <= 1e-8 + 1e-8 * float(tensor.abs().max()), f"{key}: {off}"  # a step is 1e-4 long
    assert steps_of(run) == [1, 2, 3, 4, 5, 6]
    for line, other in zip(read_journal(expected_run), read_journal(run), strict=True):
        ours, theirs = ({k: v for k, v in entry.items() if k != "seconds_per_step"} for entry in (line, other))
        assert theirs == pytest.approx(ours, rel=1e-9)
    assert not [path for path in run.iterdir() if path.name.startswith(".")]


def check_synchronised_norm(found: list[dict[str, Tensor]]) -> None:
    """Against PyTorch's layer on the processes' examples together, three and one."""
    x, gradient = norm_inputs()
    x.requires_grad_(True)
    norm = torch.nn.BatchNorm2d(3, affine=False).double()
    norm(x.detach() * 2.0)
    output = norm(x)
    output.backward(gradient)
    expected = {"output": output, "gradient": x.grad, "evaluated": norm.eval()(x)}
    for name, tensor in expected.items():
        torch.testing.assert_close(torch.cat([part[name] for part in found]), tensor, rtol=1e-9, atol=1e-12)
    for part in found:
        for name, tensor in norm.state_dict().items():
            torch.testing.assert_close(part[f"0.{name}"], tensor, rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    ("what", "survivor", "words"),
    [
        ("dying", 1, r"process 1 of 2 stops: another one died or does not answer .*--resume"),
        ("stuck", 0, r"process 0 of 2 stops: another one died or does not answer .*--resume"),
    ],
)
def test_a_lost_process_stops_the_others(
    tiny_dataset: Path, tmp_path: Path, what: str, survivor: int, words: str
) -> None:
    """One is killed, or stands still: the other ends with one line and code 5, and the run can be resumed."""
    run = tmp_path / "run"
    with two_processes(what, tiny_dataset, run) as processes:
        _, errors = processes[survivor].communicate(timeout=60)
    assert processes[survivor].returncode == 5, errors
    assert "Traceback" not in errors
    assert re.search(words, errors), errors
    assert saved_step(run) == LOST_AT
    assert "generator.safetensors" not in {path.name for path in run.iterdir()}

    options = TrainOptions(tiny_dataset, run, steps=6, device="cpu", sample_every=100, resume=True)
    assert train(load_preset("tiny"), options).steps == 6
    assert saved_step(run) == 6


def test_a_loss_that_is_not_finite_in_one_process_stops_all(tiny_dataset: Path, tmp_path: Path) -> None:
    """One message for all of them, from the process that leads, though the loss is another one's."""
    run = tmp_path / "run"
    with two_processes("diverging", tiny_dataset, run) as processes:
        errors = [process.communicate(timeout=60)[1] for process in processes]
    assert [process.returncode for process in processes] == [5, 5], errors
    assert f"not finite at step {LOST_AT + 1} (term: discriminator_fake)" in errors[0]
    assert "error" not in errors[1].lower()
    assert saved_step(run) == LOST_AT


@contextmanager
def two_processes(what: str, data: Path, run: Path) -> Iterator[list[subprocess.Popen[str]]]:
    """What torchrun would start, without its watching over them; none is left behind."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    place = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    processes = [
        subprocess.Popen(
            [sys.executable, str(SCRIPT), what, str(data), str(run)],
            env={**ENVIRONMENT, **place, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def saved_step(run: Path) -> int:
    return int(load_file(run / "state.safetensors")["generator_optimizer/0/step"])


def test_a_batch_that_cannot_be_shared(tiny_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def two(device: str, peer_timeout: float) -> Iterator[Process]:
        yield Process(0, 2, torch.device("cpu"))

    monkeypatch.setattr(module, "process_group", two)
    preset = load_preset("tiny")
    preset = replace(preset, train=replace(preset.train, batch=3))
    with pytest.raises(UsageError, match="evenly"):
        train(preset, TrainOptions(tiny_dataset, tmp_path / "run", steps=1))
    assert not (tmp_path / "run").exists()
