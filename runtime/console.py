"""What a person or a program reads: results on stdout, everything else on stderr, colour and bars only on a terminal.

rich is imported when the first table or bar is drawn, so that `lggan --help` and plain errors do not pay for it.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum, IntEnum
from pathlib import PurePath
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    import rich.console
    import rich.progress
    import rich.table

    from runtime.contract.progress import Task

SPARSE_SECONDS = 10.0  # between two lines of progress where stderr is not a terminal
LEAST_STEPS = 8  # of a task whose end is foretold; fewer steps are too unlike each other
PLAIN_WIDTH = 120  # columns of a table that is written to a file or a pipe
_MOST_TURNED_ROWS = 6
_LONGEST = 20_000  # letters of one line; a longer one is not meant for a person


class Verbosity(IntEnum):
    """How much stderr says."""

    QUIET = -1  # errors alone
    NORMAL = 0  # progress, notes, errors
    VERBOSE = 1  # also warnings and logs of the libraries, and tracebacks


@dataclass(frozen=True)
class Column:
    """One column of a table."""

    title: str
    right: bool = False  # align to the right, as numbers are


class Console:
    """The one place that prints; implements `runtime.contract.progress.Progress`."""

    def __init__(self, out: TextIO | None = None, err: TextIO | None = None) -> None:
        self.out = sys.stdout if out is None else out
        self.err = sys.stderr if err is None else err
        self.json = False
        self.verbosity = Verbosity.NORMAL
        self.documented = False  # whether the one JSON object was printed
        self._bars: rich.progress.Progress | None = None

    # --- results, stdout ---

    def document(self, kind: str, payload: object) -> None:
        """With ``--json``: print the one object of this run. Otherwise nothing.

        Args:
            kind: what the object is, e.g. ``lggan-infer``; stands in it unless the payload names its own.
            payload: a dataclass or mapping. Its ``schema``, or 1, is the version of this kind of object.
        """
        if not self.json or self.documented:
            return
        content = plain(payload)
        if not isinstance(content, dict):
            raise TypeError(f"a JSON document is an object, not {type(payload).__name__}")
        content = {"kind": kind, "schema": 1, **content}
        self.out.write(json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
        self.documented = True

    def line(self, text: str = "") -> None:
        """One line of the result; never wrapped, so that a path can be copied."""
        if not self.json:
            self.out.write(safe(text) + "\n")

    def fields(self, title: str, pairs: Sequence[tuple[str, object]]) -> None:
        """Names and values, one pair a line."""
        if self.json:
            return
        if title:
            self.line(title)
        width = max((len(name) for name, _ in pairs), default=0)
        for name, value in pairs:
            self.out.write(f"  {safe(name):<{width}}  {safe(str(value))}\n")

    def entry(self, status: str, name: str, value: str, fix: str = "") -> None:
        """One line of a checklist, and the cure below it; long values are wrapped on a terminal."""
        if self.json:
            return
        import textwrap

        start = f"  {status:<8} {safe(name):<13} "
        rest = " " * len(start)
        width = max(_terminal_width(self.out) or 10_000, 50)
        text = textwrap.fill(safe(value), width, initial_indent=start, subsequent_indent=rest, break_on_hyphens=False)
        self.out.write(f"{text}\n")
        if fix:
            self.out.write(f"{rest}→ {safe(fix)}\n")

    def table(self, columns: Sequence[Column], rows: Sequence[Sequence[object]]) -> None:
        """A table. Where the terminal is too narrow for few rows they become columns; else cells fold, uncut."""
        if self.json:
            return
        cells = [[safe(str(cell)) for cell in row] for row in rows]
        console = self._rich(self.out)
        table = _rich_table(columns, cells)
        wanted = console.measure(table, options=console.options.update(width=_LONGEST)).maximum
        if wanted > console.width and len(rows) <= _MOST_TURNED_ROWS:
            turned = list(zip(*([column.title for column in columns], *cells), strict=True))
            heads = [Column(turned[0][0]), *(Column(name, right=True) for name in turned[0][1:])]
            table = _rich_table(heads, turned[1:])
        console.print(table)

    # --- everything else, stderr ---

    def note(self, text: str) -> None:
        """A remark that is not part of the result; silent with ``-q``."""
        if self.verbosity >= Verbosity.NORMAL:
            self._stderr_line(safe(text))

    def error(self, message: str, *, exit_code: int, error_class: str) -> None:
        """The one line of an error; with ``--json`` also an object on stdout, unless the run printed its own."""
        message = safe(message)
        self.close()
        mark = "\x1b[1;31merror:\x1b[0m" if _colourful(self.err) else "error:"
        self._stderr_line(f"lggan: {mark} {message}")
        self.document("lggan-error", {"error": error_class, "message": message, "exit_code": exit_code})

    def task(self, name: str, total: float | None = None) -> Task:
        """A piece of work that is shown while it runs: a bar on a terminal, sparse lines elsewhere."""
        name = safe(name)
        if self.verbosity <= Verbosity.QUIET:
            from runtime.contract.progress import SilentProgress

            return SilentProgress().task(name, total)
        if not _is_terminal(self.err):
            return _SparseTask(name, total, self._stderr_line)
        if self._bars is None:
            self._bars = self._new_bars()
            self._bars.start()
        return _BarTask(self._bars, name, total)

    def close(self) -> None:
        """Stop the bars, and let go of what is buffered."""
        if self._bars is not None:
            self._bars.stop()
            self._bars = None
        self.out.flush()
        self.err.flush()

    # --- inside ---

    def _stderr_line(self, text: str) -> None:
        if self._bars is not None:  # rich moves the bars down
            self._bars.console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            self.err.write(text + "\n")
            self.err.flush()

    def _rich(self, stream: TextIO) -> rich.console.Console:
        from rich.console import Console as RichConsole

        width = None if _is_terminal(stream) else _columns() or PLAIN_WIDTH
        return RichConsole(file=stream, width=width, highlight=False, markup=False, emoji=False)

    def _new_bars(self) -> rich.progress.Progress:
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )
        from rich.text import Text

        class Remaining(TimeRemainingColumn):
            def render(self, task: rich.progress.Task) -> Text:
                few = task.total is None or task.total < LEAST_STEPS or task.finished
                return Text("") if few else Text("eta ") + super().render(task)

        return Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            Remaining(compact=True),
            TextColumn("{task.fields[note]}", markup=False),
            console=self._rich(self.err),
            speed_estimate_period=120.0,
        )


class _BarTask:
    """A bar of rich."""

    def __init__(self, bars: rich.progress.Progress, name: str, total: float | None) -> None:
        self._bars = bars
        self._id = bars.add_task(name, total=total, note="")

    def advance(self, steps: float = 1.0, note: str = "") -> None:
        if note:
            self._bars.update(self._id, advance=steps, note=safe(note))
        else:
            self._bars.update(self._id, advance=steps)

    def __enter__(self) -> _BarTask:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop_task(self._id)
        self._bars.refresh()


class _SparseTask:
    """Progress for logs: a first line, one every ten seconds, and a last one with the duration."""

    def __init__(self, name: str, total: float | None, write: Callable[[str], None]) -> None:
        self._name, self._total, self._write = name, total, write
        self._done = 0.0
        self._start = self._spoke = time.monotonic()
        self._note = ""

    def advance(self, steps: float = 1.0, note: str = "") -> None:
        self._done += steps
        self._note = safe(note) or self._note
        now = time.monotonic()
        if now - self._spoke >= SPARSE_SECONDS:
            self._spoke = now
            self._write(self._line(now - self._start))

    def __enter__(self) -> _SparseTask:
        self._start = self._spoke = time.monotonic()
        self._write(f"{self._name} ...")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        seconds = time.monotonic() - self._start
        self._write(f"{self._name}: {'done' if error is None else 'stopped'} after {duration(seconds)}")

    def _line(self, seconds: float) -> str:
        parts = [_number(self._done)]
        if self._total:
            parts = [f"{_number(self._done)}/{_number(self._total)}", f"{100 * self._done / self._total:.0f} %"]
            if 0 < self._done < self._total and self._total >= LEAST_STEPS:
                parts.append(f"eta {duration(seconds * (self._total - self._done) / self._done)}")
        if self._note:
            parts.append(self._note)
        return f"{self._name}: {', '.join(parts)}"


def duration(seconds: float) -> str:
    """Seconds as people say them: ``0.3 s``, ``12 s``, ``3:05 min``, ``2:03:05 h``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes == 0:
        return f"{rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d} h" if hours else f"{minutes}:{rest:02d} min"


def size(count: float) -> str:
    """Bytes as people say them, in powers of 1024: ``812 B``, ``6.4 MiB``."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def _rich_table(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> rich.table.Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(Text(column.title), justify="right" if column.right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    return table


def _number(value: float) -> str:
    return f"{value:.0f}" if value == int(value) else f"{value:.1f}"


def safe(text: str) -> str:
    """Text that may come from a file, made harmless for a terminal; plain ASCII, the usual case, is kept as it is."""
    if text.isascii() and text.isprintable():
        return text
    from runtime.profiler.text import printable

    return printable(text, limit=_LONGEST)


def plain(value: object) -> Any:
    """Turn dataclasses, paths, enums and numpy values into what JSON can hold; NaN and infinities become null."""
    if isinstance(value, Enum):
        return plain(value.value)
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if is_dataclass(value) and not isinstance(value, type):
        return {item.name: plain(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, Mapping):
        return {str(plain(key)): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, PurePath):
        return str(value)
    if hasattr(value, "tolist"):  # numpy scalars and arrays
        return plain(value.tolist())
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def _is_terminal(stream: TextIO) -> bool:
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def _colourful(stream: TextIO) -> bool:
    return _is_terminal(stream) and not os.environ.get("NO_COLOR")


def _columns() -> int:
    text = os.environ.get("COLUMNS", "")
    return int(text) if text.isascii() and text.isdigit() else 0


def _terminal_width(stream: TextIO) -> int:
    """Columns of the terminal, or of the variable COLUMNS; 0 where the stream is neither."""
    return shutil.get_terminal_size().columns if _is_terminal(stream) else _columns()
