"""Training runs in processes of their own, for the tests that kill them or start several: run_script.py WHAT DATA RUN.

``killed``: the process kills itself with SIGKILL in the middle of writing its second state.
``interrupted``: trains until a signal comes and prints the result.
``pair``: one of two processes; writes what each run ends with to ``NAME_RANK.safetensors``.
``dying``, ``stuck``: one of two processes that start the command line; process 0 kills itself, process 1 stands still.
``diverging``: one of two processes; the loss of process 1 becomes NaN.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import lggan.training.train as module
from lggan.networks.generator import Synthesis
from lggan.preset import Preset, load_preset
from lggan.training.computing import Computing
from lggan.training.distributed import Process, process_group
from lggan.training.options import TrainOptions
from lggan.training.train import train
from lggan.training.trainer import Trainer
from tests.lggan.training.float64 import use_float64

TASKS = {"semantic": "tiny", "cross_view": "tiny_cross_view"}
LOST_AT = 4  # index of the step in which a process is lost


def main(what: str, data: Path, run: Path) -> None:
    torch.set_num_threads(1)
    options = TrainOptions(data, run, steps=6, device="cpu", save_every=2, sample_every=100, log_every=1)
    if what == "killed":
        _kill_in_the_second_saving()
        train(load_preset("tiny"), options)
    elif what == "interrupted":
        result = train(load_preset("tiny"), replace(options, steps=100_000, save_every=100_000))
        print(f"interrupted={result.interrupted} steps={result.steps}")  # noqa: T201
    elif what == "pair":
        _train_in_pairs(options)
    else:
        _lose(what)
        _command_line(data, run)


def of_four(preset: str) -> Preset:
    """Four examples to a step, cropped and flipped, of which two processes get two each."""
    tiny = load_preset(preset)
    return replace(tiny, train=replace(tiny.train, batch=4))


def norm_inputs() -> tuple[Tensor, Tensor]:
    """Four examples for a batch normalisation and a gradient; the processes get three and one of them."""
    draw = torch.Generator().manual_seed(5)
    x, gradient = torch.randn(2, 4, 3, 5, 6, dtype=torch.float64, generator=draw)
    return 100.0 + x * torch.tensor([0.1, 1.0, 30.0]).view(1, 3, 1, 1), gradient


def _train_in_pairs(options: TrainOptions) -> None:
    trainers: list[Trainer] = []
    with pytest.MonkeyPatch.context() as patch:
        use_float64(patch)
        _remember(trainers)
        with process_group("cpu") as process:
            _stay_joined(process)
            save_file(_normalised(process), options.output / f"norm_{process.rank}.safetensors")
            for task, name in TASKS.items():
                for kind in ("whole", "resumed"):  # the second continues what one process began
                    ours = replace(options, data=options.data / task, output=options.output / f"{task}_{kind}")
                    if task == "cross_view" and kind == "whole":  # without batch normalisation exact
                        ours = replace(ours, computing=Computing(accumulate=2))
                    train(of_four(name), replace(ours, resume=kind == "resumed"))
                    process.barrier()
                    save_file(_tensors(trainers[-1]), options.output / f"{task}_{kind}_{process.rank}.safetensors")


def _tensors(trainer: Trainer) -> dict[str, Tensor]:
    return {
        f"{prefix}/{key}": tensor.detach().clone(memory_format=torch.contiguous_format)
        for prefix, network in trainer.state.networks().items()
        for key, tensor in network.state_dict().items()
    }


def _normalised(process: Process) -> dict[str, Tensor]:
    """What this process's share of `norm_inputs` becomes in a synchronised norm: two passes, backward, evaluation."""
    layers = nn.Sequential(nn.BatchNorm2d(3, affine=False))
    process.synchronise_norms(layers)
    share = slice(0, 3) if process.leads else slice(3, 4)
    x, gradient = (part[share].clone() for part in norm_inputs())
    x.requires_grad_(True)
    layers(x.detach() * 2.0)
    output = layers(x)
    output.backward(gradient)
    assert x.grad is not None
    found = {"output": output.detach(), "gradient": x.grad, "evaluated": layers.eval()(x).detach()}
    return {**found, **layers.state_dict()}


def _lose(what: str) -> None:
    rank = int(os.environ["RANK"])
    step = Trainer.step

    def stepping(self: Trainer, examples: object, index: int, epoch: int) -> dict[str, float]:
        if index == LOST_AT and what == "dying" and rank == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        if index == LOST_AT and what == "stuck" and rank == 1:
            os.kill(os.getpid(), signal.SIGSTOP)
        if index == LOST_AT and what == "diverging" and rank == 1:
            made_anew = self._made_anew
            self._made_anew = lambda batch: _spoiled(made_anew(batch))  # type: ignore[method-assign]
        return step(self, examples, index, epoch)

    def _spoiled(synthesis: Synthesis) -> Synthesis:
        return synthesis._replace(final=synthesis.final * float("nan"))

    Trainer.step = stepping  # type: ignore[method-assign]


def _command_line(data: Path, run: Path) -> None:
    import cli

    arguments = ["train", "--preset", "tiny", "--data", data, "--out", run, "--steps", 6, "--save-every", 2]
    sys.exit(cli.main([str(argument) for argument in (*arguments, "--device", "cpu", "--peer-timeout", 3)]))


def _kill_in_the_second_saving() -> None:
    count = 0
    move = os.replace

    def moving(source: str | Path, target: str | Path) -> None:
        nonlocal count
        count += Path(target).name == module.STATE_FILE
        if count == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        move(source, target)

    os.replace = moving  # type: ignore[assignment]


def _stay_joined(process: Process) -> None:
    """Several runs in one group: leaving a group and joining it again is nothing that gloo is good at."""

    @contextmanager
    def joined(device: str, peer_timeout: float) -> Iterator[Process]:
        yield process

    module.process_group = joined


def _remember(trainers: list[Trainer]) -> None:
    class Remembered(Trainer):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments)  # type: ignore[arg-type]
            trainers.append(self)

    module.Trainer = Remembered  # type: ignore[misc]


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
