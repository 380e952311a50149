"""metrics.jsonl: one line per step, whatever interrupted the run before."""

from __future__ import annotations

from pathlib import Path

import pytest

from lggan.training.journal import FILE, Journal, read_journal
from runtime.contract.errors import InputError, MissingError


def write(run: Path, resumed: int, steps: range) -> None:
    with Journal(run, resumed) as journal:
        for step in steps:
            journal.write(step, 0, 0.12345678, {"adversarial": step / 2, "local": 1.5})


def steps_of(run: Path) -> list[float]:
    return [line["step"] for line in read_journal(run)]


def test_lines(tmp_path: Path) -> None:
    write(tmp_path, 0, range(1, 3))
    assert read_journal(tmp_path) == [
        {"step": 1, "epoch": 0, "seconds_per_step": 0.1235, "adversarial": 0.5, "local": 1.5},
        {"step": 2, "epoch": 0, "seconds_per_step": 0.1235, "adversarial": 1.0, "local": 1.5},
    ]
    assert list((tmp_path / "tensorboard").glob("events.out.tfevents.*"))


def test_lines_are_on_the_disk_as_soon_as_written(tmp_path: Path) -> None:
    with Journal(tmp_path, 0) as journal:
        journal.write(1, 0, 0.1, {})
        assert steps_of(tmp_path) == [1]


def test_resuming_drops_what_came_after_the_saved_state(tmp_path: Path) -> None:
    write(tmp_path, 0, range(1, 8))
    with (tmp_path / FILE).open("a") as stream:
        stream.write('{"step": 8, "epoch": 0, "secon')  # cut off by a kill
    write(tmp_path, 5, range(6, 9))
    assert steps_of(tmp_path) == [1, 2, 3, 4, 5, 6, 7, 8]


def test_a_fresh_run_starts_a_fresh_file(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text('{"step": 1}\nnot json\n[]\n{"step": "x"}\n')
    write(tmp_path, 0, range(1, 3))
    assert steps_of(tmp_path) == [1, 2]


def test_a_line_that_is_being_written_is_left_out(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b'{"step": 1}\n{"step": 2, "local": 0.5}\n{"st\xff')
    assert steps_of(tmp_path) == [1, 2]


def test_no_journal(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="folder of a training run"):
        read_journal(tmp_path)


def test_full_disk(tmp_path: Path) -> None:
    journal = Journal(tmp_path, 0)
    journal._stream.close()
    journal._stream = open("/dev/full", "w", encoding="utf-8")  # noqa: SIM115 (closed by the journal)
    with pytest.raises(MissingError, match="no space left"):
        journal.write(1, 0, 0.1, {"local": 1.0})
    with pytest.raises(MissingError, match="no space left"):
        journal.__exit__(None, None, None)


def test_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / FILE).mkdir()
    with pytest.raises(MissingError):
        Journal(tmp_path, 0)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "tensorboard").write_text("a file where a folder belongs")
    with pytest.raises(MissingError):
        Journal(tmp_path / "other", 0)
