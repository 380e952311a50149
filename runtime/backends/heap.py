"""The C library's heap while a model is loaded into it."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # parameters of mallopt
_BLOCK = 1 << 17  # glibc's own threshold at the start of a process
_LARGEST_BLOCK = 1 << 25  # and the one that it ends at, at most; what it trims is twice as much


@contextmanager
def frugal_heap() -> Iterator[None]:
    """A block in which freed memory goes back to the system instead of being kept.

    A library that loads a model holds its weights several times for a while, tensor by tensor. glibc takes large blocks
    straight from the system and gives them back when they are freed, but what counts as large grows with every such
    block, up to 32 MiB. All others leave holes in the heap: half of the weights' size at the end. Within the block,
    128 KiB are large throughout, and what is free is given back at the end. Afterwards the whole process has the
    32 MiB that glibc would have come to.

    Does nothing where the C library is another one.
    """
    libc = _glibc()
    if libc is None:
        yield
        return
    libc.mallopt(_MMAP_THRESHOLD, _BLOCK)
    try:
        yield
    finally:
        libc.mallopt(_MMAP_THRESHOLD, _LARGEST_BLOCK)
        libc.mallopt(_TRIM_THRESHOLD, 2 * _LARGEST_BLOCK)
        libc.malloc_trim(ctypes.c_size_t(0))


def _glibc() -> Any:
    """The C library of this process if it is glibc, else None."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        libc = ctypes.CDLL(None)
    except OSError:
        return None
    return libc if hasattr(libc, "gnu_get_libc_version") else None
