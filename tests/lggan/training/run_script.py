"""Training runs in processes of their own, for the tests that kill them or start several: run_script.py WHAT DATA RUN.

``killed``: the process kills itself with SIGKILL in the middle of writing its second state.
``pair``: what `torchrun` starts; every process writes the weights it ends with to ``weights_RANK.safetensors``.
``interrupted``: trains until a signal comes and prints the result.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save_file

import lggan.training.train as module
from lggan.preset import Preset, load_preset
from lggan.training.distributed import Process, process_group
from lggan.training.options import TrainOptions
from lggan.training.train import train
from lggan.training.trainer import Trainer


def main(what: str, data: Path, run: Path) -> None:
    torch.set_num_threads(1)
    options = TrainOptions(data, run, steps=6, device="cpu", save_every=2, sample_every=100, log_every=1)
    if what == "killed":
        _kill_in_the_second_saving()
        train(load_preset("tiny"), options)
    elif what == "interrupted":
        result = train(load_preset("tiny"), replace(options, steps=100_000, save_every=100_000))
        print(f"interrupted={result.interrupted} steps={result.steps}")  # noqa: T201
    else:
        trainers: list[Trainer] = []
        _remember(trainers)
        with process_group("cpu") as process:
            _stay_joined(process)
            for name, preset in (("crops", load_preset("tiny")), ("twins", twins())):
                folder = data if name == "crops" else data.with_name("one")
                train(preset, replace(options, data=folder, output=run / name, steps=3))
                process.barrier()
                state = trainers[-1].state
                weights = {f"generator/{n}": p.detach().clone() for n, p in state.generator.named_parameters()}
                weights |= {f"discriminator/{n}": p.detach().clone() for n, p in state.discriminator.named_parameters()}
                save_file(weights, run / f"{name}_{process.rank}.safetensors")


def twins() -> Preset:
    """Every batch is the same example twice, so that statistics over the batch do not depend on who computes them."""
    preset = load_preset("tiny")
    return replace(preset, train=replace(preset.train, load_height=32, load_width=64, flip=False))


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
    """Two runs in one group: leaving a group and joining it again is nothing that gloo is good at."""

    @contextmanager
    def joined(device: str) -> Iterator[Process]:
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
