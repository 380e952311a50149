"""Everything about the entries of a checkpoint that does not fit, said in one message."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

_ALL_NAMED = 40  # so many names are listed one by one; more are counted by module
_LONGEST = 100  # letters of one name: it comes from a file that may be anything


@dataclass
class Faults:
    """Official entries by what is wrong with them; the values of ``misshapen`` and ``broken`` say how."""

    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    misshapen: dict[str, str] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.missing or self.unexpected or self.misshapen or self.broken)

    def describe(self) -> str:
        """One line with every name; where there are more than 40 of a kind, every module with its count."""
        parts = [f"{len(names)} missing: {listed(names)}" for names in (self.missing,) if names]
        parts += [f"{len(names)} unexpected: {listed(names)}" for names in (self.unexpected,) if names]
        parts += [f"{len(kind)} {what}: {_explained(kind)}" for what, kind in self._explained_kinds() if kind]
        return "; ".join(parts)

    def _explained_kinds(self) -> tuple[tuple[str, dict[str, str]], ...]:
        return ("of wrong shape or type", self.misshapen), ("without usable numbers", self.broken)


def listed(names: Iterable[str]) -> str:
    """All names; beyond 40, modules with their counts: ``up_0.norm_0.* (8 keys)``, ``deconv5_{0..34}.* (70 keys)``."""
    shown = [_printable(name) for name in names]
    if len(shown) <= _ALL_NAMED:
        return ", ".join(shown)
    for grouping in (_module, _family):
        groups: dict[str, list[str]] = {}
        for name in shown:
            groups.setdefault(grouping(name), []).append(name)
        if len(groups) <= _ALL_NAMED:
            break
    lines = [f"{_pattern(group, members)} ({_count(len(members))})" for group, members in groups.items()]
    rest = "" if len(lines) <= _ALL_NAMED else f", and {len(lines) - _ALL_NAMED} more groups"
    return ", ".join(lines[:_ALL_NAMED]) + rest


def _explained(kind: dict[str, str]) -> str:
    if len(kind) <= _ALL_NAMED:
        return ", ".join(f"{_printable(name)} {how}" for name, how in kind.items())
    first, how = next(iter(kind.items()))
    return f"{listed(kind)}, for example {_printable(first)} {how}"


def _module(name: str) -> str:
    """``up_0.norm_0.mlp_gamma.weight`` -> ``up_0.norm_0``; shorter names lose their last part."""
    return ".".join(name.split(".")[:-1][:2]) or name


def _family(name: str) -> str:
    """``deconv5_12.weight`` -> ``deconv5_{}``: the first part without the number at its end."""
    return re.sub(r"\d+\Z", "{}", name.split(".")[0])


def _pattern(group: str, members: list[str]) -> str:
    if len(members) == 1:
        return members[0]
    if group.endswith("{}"):
        found = (re.match(re.escape(group[:-2]) + r"(\d+)", name) for name in members)
        numbers = sorted({int(match[1][:9]) for match in found if match})
        group = f"{group[:-2]}{numbers[0]}" if len(numbers) == 1 else f"{group[:-2]}{{{numbers[0]}..{numbers[-1]}}}"
    return f"{group}.*"


def _count(number: int) -> str:
    return "1 key" if number == 1 else f"{number} keys"


def _printable(name: str) -> str:
    name = name if name.isascii() and name.isprintable() else ascii(name)
    return name if len(name) <= _LONGEST else f"{name[:_LONGEST]}..."
