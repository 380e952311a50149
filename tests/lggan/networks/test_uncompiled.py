"""Keeping a function out of compiled graphs, at no cost where nothing is compiled."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import torch
from torch import Tensor

from lggan.networks.uncompiled import uncompiled


def test_a_compiled_caller_runs_it_as_it_is() -> None:
    seen: list[bool] = []

    @uncompiled
    def plain(x: Tensor) -> Tensor:
        """Doubles."""
        seen.append(torch.compiler.is_compiling())
        return x * 2

    torch.compiler.reset()
    compiled = torch.compile(lambda x: plain(x + 1) + 1, backend="eager")
    assert compiled(torch.ones(2)).tolist() == [5, 5]
    assert plain(torch.ones(2)).tolist() == [2, 2]
    assert seen == [False, False]
    assert (plain.__name__, plain.__doc__) == ("plain", "Doubles.")
    torch.compiler.reset()


def test_the_networks_load_without_the_compiler() -> None:
    code = "import sys, lggan.networks.generator; sys.exit('torch._dynamo' in sys.modules)"
    root = Path(__file__).resolve().parents[3]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0
