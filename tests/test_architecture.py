"""The walls between the rooms: the contracts of pyproject.toml, and what importing a room really loads."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("runtime", "engines", "calibration", "export", "lggan", "commands")
HEAVY = ("torch", "onnx", "onnxruntime", "onnxscript", "numpy", "PIL", "rich", "tensorrt", "tensorrt_rtx", "jinja2")


def loaded_by(statement: str) -> set[str]:
    """Top-level names in sys.modules after a statement in a fresh interpreter."""
    code = (
        f"import sys, json; {statement}; print(json.dumps(sorted({{name.partition('.')[0] for name in sys.modules}})))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


def test_import_contracts_hold() -> None:
    pytest.importorskip("importlinter", reason="import-linter is not installed (extra dev)")
    done = subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "7 kept, 0 broken" in done.stdout


def test_every_room_is_watched() -> None:
    """A new package beside the rooms would escape the contracts."""
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests", "benchmarks"}
    assert packages == set(ROOMS)
    contracts = (ROOT / "pyproject.toml").read_text(encoding="utf-8").partition("[tool.importlinter]")[2]
    listed = contracts.partition("root_packages = [")[2].partition("]")[0]
    assert {name.strip(' "\n') for name in listed.split(",") if name.strip()} == packages


def test_the_contract_imports_nothing_else_of_ours() -> None:
    grimp = pytest.importorskip("grimp", reason="import-linter is not installed (extra dev)")
    graph = grimp.build_graph("runtime", include_external_packages=True, cache_dir=None)
    inside = {"runtime.contract", *graph.find_descendants("runtime.contract")}
    assert len(inside) > 8
    outside = {found for module in inside for found in graph.find_modules_directly_imported_by(module)} - inside
    third_party = {name for name in outside if name.partition(".")[0] not in sys.stdlib_module_names}
    assert third_party <= {"numpy", "PIL"}


@pytest.mark.parametrize(
    "statement", ["import cli", "import runtime", "import runtime.console, runtime.contract.errors"]
)
def test_light_imports_stay_light(statement: str) -> None:
    assert loaded_by(statement) & set(HEAVY) == set()


@pytest.mark.parametrize(
    "statement",
    [
        "import runtime.session, runtime.inference, runtime.comparison",
        "import runtime.profiler.profile",
        "import commands.models",
    ],
)
def test_a_device_needs_neither_torch_nor_onnx(statement: str) -> None:
    assert loaded_by(statement) & {"torch", "onnx", "onnxscript", "lggan", "export", "calibration", "engines"} == set()


@pytest.mark.parametrize("room", ROOMS)
def test_importing_a_room_prints_nothing(room: str) -> None:
    done = subprocess.run([sys.executable, "-c", f"import {room}"], cwd=ROOT, capture_output=True, check=True)
    assert (done.stdout, done.stderr) == (b"", b"")
