"""Printing: what goes to which stream, in which form, on a terminal and away from one."""

from __future__ import annotations

import io
import json
import math
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import numpy as np
import pytest

from runtime import console as module
from runtime.console import Column, Console, Verbosity, duration, plain, safe, size


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


class Colour(str, Enum):
    RED = "red"


@dataclass(frozen=True)
class Value:
    path: Path
    colour: Colour
    psnr: float


def quiet_pair(terminal: bool = False) -> tuple[Console, io.StringIO, io.StringIO]:
    out, err = (Terminal(), Terminal()) if terminal else (io.StringIO(), io.StringIO())
    return Console(out, err), out, err


def test_plain_turns_values_into_json() -> None:
    value = Value(Path("a/b"), Colour.RED, math.inf)
    assert plain(value) == {"path": "a/b", "colour": "red", "psnr": None}
    assert plain({"a": np.float32(0.5), "b": np.arange(2), "c": (1, True), "d": float("nan")}) == {
        "a": 0.5,
        "b": [0, 1],
        "c": [1, True],
        "d": None,
    }
    with pytest.raises(TypeError, match="object has no form in JSON"):
        plain(object())


def test_document_is_printed_once_and_alone() -> None:
    console, out, _ = quiet_pair()
    console.json = True
    console.line("a line of the result")
    console.table([Column("a")], [["b"]])
    console.fields("title", [("name", "value")])
    console.document("lggan-x", {"value": Value(Path("p"), Colour.RED, 1.0)})
    console.document("lggan-x", {"value": 2})
    console.error("too late", exit_code=5, error_class="BackendError")
    content = json.loads(out.getvalue())
    assert content == {"kind": "lggan-x", "schema": 1, "value": {"path": "p", "colour": "red", "psnr": 1.0}}


def test_document_keeps_the_version_of_the_payload() -> None:
    console, out, _ = quiet_pair()
    console.json = True
    console.document("lggan-x", {"schema": 3, "kind": "lggan-profile"})
    assert json.loads(out.getvalue()) == {"kind": "lggan-profile", "schema": 3}


def test_table_turns_where_it_is_too_narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    columns = [Column("variant"), *(Column(f"figure {index}", right=True) for index in range(8))]
    rows = [["first", *range(8)], ["second", *range(8, 16)]]
    monkeypatch.setenv("COLUMNS", "200")
    console, out, _ = quiet_pair()
    console.table(columns, rows)
    assert "figure 7" in out.getvalue().splitlines()[1]
    monkeypatch.setenv("COLUMNS", "50")
    console, out, _ = quiet_pair()
    console.table(columns, rows)
    lines = out.getvalue().splitlines()
    assert lines[1].split() == ["variant", "first", "second"]
    assert lines[-2].split() == ["figure", "7", "7", "15"]
    assert max(len(line) for line in lines) <= 50


def test_long_tables_fold_and_lose_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    console, out, _ = quiet_pair()
    console.table([Column("path"), Column("ms")], [["x" * 60, str(index)] for index in range(9)])
    assert out.getvalue().count("x") == 9 * 60


def test_table_shows_brackets_as_they_are() -> None:
    console, out, _ = quiet_pair()
    console.table([Column("[bold]")], [["[red]:smile:[/red]"]])
    assert "[bold]" in out.getvalue()
    assert "[red]:smile:[/red]" in out.getvalue()


@pytest.mark.parametrize("text", ["\x1b[2Jgone", "bell\x07", "\u202eevil", "zero\u200bwidth", "two\nlines", "\udcff"])
def test_safe_leaves_one_harmless_line(text: str) -> None:
    shown = safe(text)
    assert shown != text
    assert "\n" not in shown
    assert shown.isprintable() or "\ufffd" in shown
    shown.encode("utf-8")
    assert not set("\x1b\x07\u202e\u200b\udcff") & set(shown)


def test_safe_keeps_spaces_of_plain_text() -> None:
    assert safe("a   b") == "a   b"
    assert safe("Straße – 5 ×") == "Straße – 5 ×"


def test_sparse_progress_has_first_lines_estimates_and_last_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    console, out, err = quiet_pair()
    with console.task("train", 100) as task:
        for _ in range(30):
            now[0] += 1
            task.advance(note="loss 3.2")
    assert out.getvalue() == ""
    assert err.getvalue().splitlines() == [
        "train ...",
        "train: 10/100, 10 %, eta 1:30 min, loss 3.2",
        "train: 20/100, 20 %, eta 1:20 min, loss 3.2",
        "train: 30/100, 30 %, eta 1:10 min, loss 3.2",
        "train: done after 30 s",
    ]


def test_sparse_progress_tells_that_it_was_stopped() -> None:
    console, _, err = quiet_pair()
    with pytest.raises(RuntimeError), console.task("export"):
        raise RuntimeError
    assert "export: stopped after" in err.getvalue()


def test_bars_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    console, out, err = quiet_pair(terminal=True)
    with console.task("infer [bold]", 3) as task:
        for index in range(3):
            task.advance(note=f"{index}.png")
            console.note(f"note {index}")
    console.close()
    assert out.getvalue() == ""
    text = err.getvalue()
    assert "infer [bold]" in text
    assert "3/3" in text
    assert "note 1" in text


def test_no_color_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    console, _, err = quiet_pair(terminal=True)
    console.error("it failed", exit_code=5, error_class="BackendError")
    assert err.getvalue() == "lggan: error: it failed\n"
    monkeypatch.delenv("NO_COLOR")
    console, _, err = quiet_pair(terminal=True)
    console.error("it failed", exit_code=5, error_class="BackendError")
    assert "\x1b[1;31m" in err.getvalue()


def test_quiet_silences_notes_and_progress_but_not_errors() -> None:
    console, _, err = quiet_pair()
    console.verbosity = Verbosity.QUIET
    console.note("a note")
    with console.task("work", 1) as task:
        task.advance()
    assert err.getvalue() == ""
    console.error("it failed", exit_code=5, error_class="BackendError")
    assert err.getvalue() == "lggan: error: it failed\n"


def test_entry_wraps_under_its_own_column(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    console, out, _ = quiet_pair()
    console.entry("missing", "tensorrt", "word " * 20, "pip install '.[tensorrt]'")
    lines = out.getvalue().splitlines()
    assert all(len(line) <= 60 for line in lines)
    assert all(line.startswith(" " * 25) for line in lines[1:])
    assert lines[-1].strip() == "→ pip install '.[tensorrt]'"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.04, "0.0 s"), (9.94, "9.9 s"), (59.4, "59 s"), (185, "3:05 min"), (7385, "2:03:05 h")]
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(("count", "text"), [(0, "0 B"), (1023, "1023 B"), (6710886, "6.4 MiB"), (1 << 40, "1.0 TiB")])
def test_size(count: int, text: str) -> None:
    assert size(count) == text
