"""What the documentation tells people to type is typed here."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import click
import pytest

import cli
from tests.miniatures import write_miniature

ROOT = Path(__file__).parent.parent
_ALONE = ("README.md", "CONTRIBUTING.md", "examples/README.md", "benchmarks/README.md")
PAGES = [*(ROOT / name for name in _ALONE), *sorted((ROOT / "docs").glob("*.md"))]


def _blocks(page: Path, language: str = "") -> list[str]:
    text = page.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def _commands(page: Path) -> list[list[str]]:
    """The arguments of every ``lggan …`` line in the page's plain blocks, continued lines joined."""
    lines = [line for block in _blocks(page) for line in block.replace("\\\n", " ").splitlines()]
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("lggan ")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_are_understood(page: Path) -> None:
    for arguments in _commands(page):
        verb = cli.lggan.commands[arguments[0]]
        verb.make_context(arguments[0], arguments[1:], parent=click.Context(cli.lggan))  # raises on unknown options


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", text)
    missing = [t for t in targets if "://" not in t and not (page.parent / t).exists()]
    assert not missing


def test_the_tour_of_the_readme(
    tmp_path: Path, make_tiny_dataset: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Command after command as printed, with small presets and few steps in place of CamVid and Dayton."""
    pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx is not installed: the tour builds an engine")
    data = make_tiny_dataset(tmp_path / "data" / "camvid", size=(64, 96))
    write_miniature("tiny_cross_view", tmp_path / "data" / "dayton", size=(64, 64))
    tour = _commands(ROOT / "README.md")
    swaps = {"camvid": "tiny", "dayton_a2g": "tiny_cross_view", "examples/labels": str(data / "val" / "labels")}
    more = {"train": ["--steps", "1"], "profile": ["--iterations", "1", "--seconds", "0"]}
    monkeypatch.chdir(tmp_path)
    done = []
    for arguments in tour:
        if arguments[0] == "evaluate":  # needs the judge's weights, which are not ours to ship
            continue
        # A second tour's pictures go where the first one's are.
        force = ["--force"] if arguments[0] in done and arguments[0] == "infer" else []
        assert cli.main([swaps.get(a, a) for a in arguments] + more.get(arguments[0], []) + force) == 0, arguments
        done.append(arguments[0])
    assert done == [
        "train",
        "export",
        "calibrate",
        "calibrate",
        "build",
        "infer",
        "profile",
        "data",
        "train",
        "export",
        "infer",
    ]
    assert (tmp_path / "report" / "index.html").is_file()
    assert list((tmp_path / "pictures").glob("*.png"))
    _run_the_program_of_the_readme(tmp_path, data)


def _run_the_program_of_the_readme(folder: Path, data: Path) -> None:
    (program,) = _blocks(ROOT / "README.md", "python")
    label = next((data / "val" / "labels").iterdir())
    names: dict[str, object] = {}
    program = program.replace('"camvid.onnx"', repr(str(folder / "camvid.onnx")))
    program = program.replace('"street.png"', repr(str(label)))
    exec(compile(program, "README.md", "exec"), names)
    photo, drawn = names["photo"], names["label"]
    assert photo.shape == (1, *drawn.shape, 3)  # type: ignore[attr-defined]
    assert str(photo.dtype) == "uint8"  # type: ignore[attr-defined]
