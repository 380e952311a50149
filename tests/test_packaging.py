"""What `pip install .` brings: the wheel's files, the extras, the pins. `make build-check` tries the install itself."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from pathlib import Path
from shutil import copytree, ignore_patterns
from typing import Any

import pytest

from runtime.doctor import PACKAGES

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("runtime", "engines", "calibration", "export", "lggan", "commands")
HEAVY = {"torch", "onnx", "onnxscript", "onnx-ir", "safetensors", "tensorboard"}


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    table: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return table


@pytest.fixture(scope="module")
def wheel_names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Names in the wheel, built from a copy so that nothing is left in the checkout."""
    pytest.importorskip("setuptools", reason="setuptools is not installed (extra dev)")
    source = tmp_path_factory.mktemp("source")
    for room in ROOMS:
        copytree(ROOT / room, source / room, ignore=ignore_patterns("__pycache__"))
    for name in ("cli.py", "pyproject.toml", "LICENSE", "README.md"):
        if (ROOT / name).exists():
            (source / name).write_bytes((ROOT / name).read_bytes())
        else:
            (source / name).write_text("", encoding="utf-8")
    code = "from setuptools import build_meta as b; import sys; print(b.build_wheel(sys.argv[1]))"
    target = tmp_path_factory.mktemp("wheel")
    done = subprocess.run(
        [sys.executable, "-c", code, str(target)], cwd=source, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    (wheel,) = target.glob("lggan_edge-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_the_wheel_holds_every_file_of_every_room(wheel_names: set[str]) -> None:
    """Presets and templates too: a pattern forgotten in package-data fails here."""
    wanted = {
        path.relative_to(ROOT).as_posix()
        for room in ROOMS
        for path in (ROOT / room).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix not in (".pyc", ".md")
    }
    assert wanted - wheel_names == set()
    assert "cli.py" in wheel_names


def test_the_wheel_holds_nothing_else(wheel_names: set[str]) -> None:
    assert {name.partition("/")[0] for name in wheel_names if ".dist-info/" not in name} == {*ROOMS, "cli.py"}
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in wheel_names)


def test_the_base_install_is_what_a_device_needs(project: dict[str, Any]) -> None:
    names = {_name(line) for line in project["dependencies"]}
    assert names == {"numpy", "pillow", "onnxruntime", "click", "rich", "tomli"}
    assert not names & HEAVY


def test_extras_exist_and_refer_to_each_other(project: dict[str, Any]) -> None:
    extras = project["optional-dependencies"]
    assert set(extras) == {"train", "export", "report", "tensorrt", "pycuda", "tensorrt-rtx", "dev"}
    for lines in extras.values():
        for line in lines:
            if line.startswith("lggan-edge["):
                assert set(line[len("lggan-edge[") : -1].split(",")) <= set(extras)


def test_the_doctor_knows_the_same_versions(project: dict[str, Any]) -> None:
    for package in PACKAGES:
        lines = project["optional-dependencies"][package.extra] if package.extra else project["dependencies"]
        found = [line for line in lines if _name(line) == package.name.lower()]
        assert found, f"{package.name} is not in {package.extra or 'the base'}"
        assert re.search(rf"[>=]={re.escape(package.least)}(;|$)", found[0].replace(" ", "")), found


def test_every_direct_dependency_is_pinned(project: dict[str, Any]) -> None:
    pins = {_name(line): line for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()}
    lines = [*project["dependencies"]]
    for extra in ("train", "export", "report", "tensorrt-rtx", "dev"):
        lines += project["optional-dependencies"][extra]
    for line in lines:
        assert line.startswith("lggan-edge[") or _name(line) in pins, f"{line} has no pin in constraints.txt"
    assert pins["torch"] == "torch==2.13.0"


def test_python_310_is_promised_and_the_sources_parse_with_it(project: dict[str, Any]) -> None:
    import ast

    assert project["requires-python"] == ">=3.10"
    for path in [ROOT / "cli.py", *(file for room in ROOMS for file in (ROOT / room).rglob("*.py"))]:
        ast.parse(path.read_text(encoding="utf-8"), filename=str(path), feature_version=(3, 10))


def test_the_licence_is_apache_2(project: dict[str, Any]) -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert project["license"] == "Apache-2.0"
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text


def _name(line: str) -> str:
    return re.split(r"[\s<>=!~;\[#]", line.strip(), maxsplit=1)[0].lower()
