"""Putting modules in the place of others."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from torch import nn

ModuleT = TypeVar("ModuleT", bound=nn.Module)


def replace_modules(root: nn.Module, kind: type[ModuleT], build: Callable[[ModuleT], nn.Module]) -> None:
    """Replace every module of exactly this class inside of ``root`` by what ``build`` makes of it, in place.

    A replacement is not searched again, and a module that stands at several places stays one module.
    """
    built: dict[nn.Module, nn.Module] = {}

    def visit(parent: nn.Module) -> None:
        for name, child in parent.named_children():
            if type(child) is not kind:
                visit(child)
                continue
            if child not in built:
                built[child] = build(child)
            setattr(parent, name, built[child])

    visit(root)
