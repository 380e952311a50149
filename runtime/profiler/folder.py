"""The folder of a report: ``report.json``, ``index.html`` and ``pictures/``; whole or not there."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from pathlib import Path

from runtime.contract.errors import MissingError, UsageError
from runtime.contract.files import explain_os_error
from runtime.profiler.page import ERROR_FACTOR, check_page_tools, png_bytes, render_page
from runtime.profiler.quality import error_map
from runtime.profiler.report import REPORT_KIND, ProfileReport

JSON_NAME = "report.json"
PAGE_NAME = "index.html"
PICTURES_NAME = "pictures"
MAX_STRIPS = 8


def check_report_folder(folder: str | Path, *, force: bool = False) -> None:
    """Find out whether a report could be written; worth calling before a long measurement.

    Raises:
        UsageError: the folder holds a report and ``force`` is False, or it holds anything else.
        MissingError: Jinja2 is not installed, ``folder`` is a file, or no folder can be made there.
    """
    check_page_tools()
    folder = Path(folder).resolve()
    try:
        if not folder.exists():
            nearest = next(parent for parent in folder.parents if parent.exists())
        elif not folder.is_dir():
            raise MissingError(f"{folder} is a file; name a folder for the report")
        else:
            nearest = folder.parent
            _check_content(folder, force)
        if not nearest.is_dir():
            raise MissingError(f"{nearest} is a file; name another folder for the report")
        if not os.access(nearest, os.W_OK | os.X_OK):
            raise MissingError(f"no permission to write into {nearest}; choose a folder that you own")
    except OSError as error:
        raise explain_os_error(error, folder) from error


def write_report(report: ProfileReport, folder: str | Path, *, force: bool = False) -> Path:
    """Write the report and return the path of its page.

    Everything is written into a new folder beside the destination, which then takes its place in one step; with
    ``force`` an older report makes room for it, and comes back if that fails.

    Raises:
        UsageError, MissingError: as `check_report_folder`, or the disk is full.
    """
    check_report_folder(folder, force=force)
    folder = Path(folder).resolve()
    page = render_page(report)
    temporary: Path | None = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        fresh = temporary / "new"
        fresh.mkdir()
        (fresh / JSON_NAME).write_text(report.to_json(), encoding="utf-8")
        (fresh / PAGE_NAME).write_text(page, encoding="utf-8")
        _write_pictures(report, fresh / PICTURES_NAME)
        _put_in_place(fresh, folder, temporary / "old")
    except OSError as error:
        raise explain_os_error(error, folder) from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
    return folder / PAGE_NAME


def _check_content(folder: Path, force: bool) -> None:
    names = {entry.name for entry in folder.iterdir()}
    if not names:
        return
    foreign = sorted(names - {JSON_NAME, PAGE_NAME, PICTURES_NAME})
    if foreign or not _is_report(folder / JSON_NAME):
        example = foreign[0] if foreign else min(names)
        raise UsageError(f"{folder} holds other files ({example}); choose a new or empty folder for the report")
    if not force:
        raise UsageError(f"{folder} holds a report already; pass --force to replace it")


def _is_report(path: Path) -> bool:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(content, dict) and content.get("kind") == REPORT_KIND


def _write_pictures(report: ProfileReport, folder: Path) -> None:
    folder.mkdir()
    for number, strip in enumerate(report.strips[:MAX_STRIPS], start=1):
        stem = f"{number:02d}-{_slug(strip.name)}"
        (folder / f"{stem}-label.png").write_bytes(png_bytes(strip.label))
        (folder / f"{stem}-reference.png").write_bytes(png_bytes(strip.reference))
        for index, (variant, picture, quality) in enumerate(
            zip(report.variants, strip.pictures, strip.qualities, strict=True), start=1
        ):
            if quality is None:
                continue  # the reference is written already
            name = f"{stem}-v{index}-{_slug(variant.name)}"
            (folder / f"{name}.png").write_bytes(png_bytes(picture))
            if not quality.identical:
                error = error_map(strip.reference, picture, ERROR_FACTOR)
                (folder / f"{name}-error-x{ERROR_FACTOR}.png").write_bytes(png_bytes(error))


def _slug(name: str) -> str:
    """A part of a file name that is safe anywhere; uniqueness comes from the numbers beside it."""
    return re.sub(r"[^A-Za-z0-9_]+", "-", name).strip("-")[:40] or "x"


def _put_in_place(fresh: Path, folder: Path, retired: Path) -> None:
    if not folder.exists():
        os.rename(fresh, folder)
        return
    os.rename(folder, retired)
    try:
        os.rename(fresh, folder)
    except OSError:
        os.rename(retired, folder)
        raise
