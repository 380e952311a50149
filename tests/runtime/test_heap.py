"""The heap while a model is loaded: what glibc is told, and silence towards every other C library."""

from __future__ import annotations

import ctypes
import platform
import sys

import pytest

from runtime.backends import heap
from runtime.backends.heap import frugal_heap

MIB = 1 << 20


class Library:
    """A C library that notes what it is told."""

    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []

    def mallopt(self, parameter: int, value: int) -> int:
        self.calls.append(("mallopt", {-1: "trim", -3: "mmap"}[parameter], value))
        return 1

    def malloc_trim(self, pad: ctypes.c_size_t) -> int:
        self.calls.append(("malloc_trim", pad.value))
        return 1


class Gnu(Library):
    gnu_get_libc_version = "2.36"


def test_thresholds_go_down_and_up_again_even_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    library = Gnu()
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(ctypes, "CDLL", lambda name: library)
    with frugal_heap():
        inside = list(library.calls)
    assert inside == [("mallopt", "mmap", MIB // 8)]
    after = [("mallopt", "mmap", 32 * MIB), ("mallopt", "trim", 64 * MIB), ("malloc_trim", 0)]
    assert library.calls == inside + after
    with pytest.raises(ZeroDivisionError), frugal_heap():
        raise ZeroDivisionError
    assert library.calls == 2 * (inside + after)


def test_other_systems_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_library(name: object) -> object:
        raise OSError("Dynamic loading not supported")

    musl = Library()
    for system, opened in [("linux", lambda name: musl), ("linux", no_library), ("darwin", lambda name: Gnu())]:
        monkeypatch.setattr(sys, "platform", system)
        monkeypatch.setattr(ctypes, "CDLL", opened)
        with frugal_heap():
            assert heap._glibc() is None
    assert musl.calls == []


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_glibc_takes_both_parameters() -> None:
    libc = heap._glibc()
    assert libc is not None
    with frugal_heap():
        pass
    assert libc.mallopt(heap._MMAP_THRESHOLD, heap._LARGEST_BLOCK) == 1
    assert libc.mallopt(heap._TRIM_THRESHOLD, 2 * heap._LARGEST_BLOCK) == 1
