"""Functions that `torch.compile` is to leave alone."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import torch

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def uncompiled(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Run a function as it is, even within a compiled module: for work whose steps depend on the data.

    `torch.compiler.disable` does this too, but as a decorator it would load the compiler, a matter of a second, with
    the module that it stands in. Here nothing is loaded unless something is being compiled.
    """

    @wraps(function)
    def call(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        if torch.compiler.is_compiling():
            result: Result = torch.compiler.disable(function)(*args, **kwargs)
            return result
        return function(*args, **kwargs)

    return call
