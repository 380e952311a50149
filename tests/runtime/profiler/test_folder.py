"""The report's folder: whole or not there, and nobody else's files are touched."""

from __future__ import annotations

import errno
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from runtime.contract.errors import MissingError, UsageError
from runtime.profiler import folder as folder_module
from runtime.profiler.folder import check_report_folder, write_report
from tests.runtime.profiler.fake_variants import report_of

pytest.importorskip("jinja2")


@pytest.fixture(scope="module")
def report() -> object:
    return report_of([("fp32", 20.0, None), ("ort", 12.0, 0.0), ("int8 / ..", 5.0, 8.0)], strips=9)


def test_everything_is_written(tmp_path: Path, report: object) -> None:
    page = write_report(report, tmp_path / "deep" / "report")  # type: ignore[arg-type]
    assert page == tmp_path / "deep" / "report" / "index.html"
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert json.loads((page.parent / "report.json").read_text())["kind"] == "lggan-profile"
    names = sorted(path.name for path in (page.parent / "pictures").iterdir())
    assert names[:5] == [
        "01-street-0-label.png",
        "01-street-0-reference.png",
        "01-street-0-v2-ort.png",
        "01-street-0-v3-int8-error-x8.png",
        "01-street-0-v3-int8.png",
    ]
    assert len(names) == 8 * 5  # nine strips were measured; eight are written
    with Image.open(page.parent / "pictures" / names[4]) as picture:
        expected = report.strips[0].pictures[2]  # type: ignore[attr-defined]
        assert (np.asarray(picture) == expected).all()
    assert sorted(os.listdir(tmp_path / "deep")) == ["report"]


def test_an_older_report_is_replaced_only_when_asked(tmp_path: Path, report: object) -> None:
    target = tmp_path / "report"
    write_report(report, target)  # type: ignore[arg-type]
    stale = target / "pictures" / "99-stale.png"
    stale.write_bytes(b"x")
    with pytest.raises(UsageError, match="--force"):
        write_report(report, target)  # type: ignore[arg-type]
    assert stale.exists()
    write_report(report, target, force=True)  # type: ignore[arg-type]
    assert not stale.exists()
    assert os.listdir(tmp_path) == ["report"]


def test_an_empty_folder_is_fine(tmp_path: Path, report: object) -> None:
    (tmp_path / "report").mkdir()
    assert write_report(report, tmp_path / "report").is_file()  # type: ignore[arg-type]


@pytest.mark.parametrize("force", [False, True])
def test_other_peoples_files_are_never_replaced(tmp_path: Path, report: object, force: bool) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UsageError, match=r"thesis\.tex"):
        write_report(report, tmp_path, force=force)  # type: ignore[arg-type]
    assert os.listdir(tmp_path) == ["thesis.tex"]


def test_a_page_of_another_kind_is_not_taken_for_a_report(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("my home page")
    (tmp_path / "report.json").write_text('{"kind": "other"}')
    with pytest.raises(UsageError, match="other files"):
        check_report_folder(tmp_path, force=True)


def test_a_file_in_the_way_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for target in (tmp_path / "file", tmp_path / "file" / "report"):
        with pytest.raises(MissingError, match=r"is a file|not a folder"):
            check_report_folder(target)


def test_a_full_disk_leaves_nothing_and_the_old_report(
    tmp_path: Path, report: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_report(report, tmp_path / "report")  # type: ignore[arg-type]
    before = (tmp_path / "report" / "index.html").read_bytes()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(folder_module, "_write_pictures", full)
    with pytest.raises(MissingError, match="no space left"):
        write_report(report, tmp_path / "report", force=True)  # type: ignore[arg-type]
    with pytest.raises(MissingError, match="no space left"):
        write_report(report, tmp_path / "fresh")  # type: ignore[arg-type]
    assert os.listdir(tmp_path) == ["report"]
    assert (tmp_path / "report" / "index.html").read_bytes() == before


def test_the_old_report_comes_back_when_the_new_one_cannot_be_moved(
    tmp_path: Path, report: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "report"
    write_report(report, target)  # type: ignore[arg-type]
    rename = os.rename

    def stubborn(source: Path, destination: Path) -> None:
        if Path(source).name == "new":
            raise OSError(errno.EBUSY, "Device or resource busy")
        rename(source, destination)

    monkeypatch.setattr(folder_module.os, "rename", stubborn)
    with pytest.raises(MissingError, match="busy"):
        write_report(report, target, force=True)  # type: ignore[arg-type]
    assert (target / "index.html").is_file()
    assert os.listdir(tmp_path) == ["report"]


def test_a_read_only_place_is_refused_before_the_work() -> None:
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        place.chmod(0o555)
        with _not_as_root(), pytest.raises(MissingError, match="permission"):
            check_report_folder(place / "report")
        assert os.listdir(place) == []


@contextmanager
def _not_as_root() -> Iterator[None]:
    """Root may write everywhere, so the block runs as nobody then."""
    if os.geteuid() != 0:
        yield
        return
    os.setresuid(65534, 65534, 0)  # the saved root is the way back; os.access asks for the real user
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)
