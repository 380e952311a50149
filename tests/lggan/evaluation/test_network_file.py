"""The TOML file beside a network: the examples of the documentation, and everything that it must not say."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from lggan.evaluation.network_file import (
    AxisOrder,
    ChannelOrder,
    OutputKind,
    Resize,
    parse_network_file,
    read_network_file,
)
from runtime.contract.errors import InputError
from tests.lggan.evaluation.toy_networks import FEATURE_TOML, SEGMENTER_TOML

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PAGE = Path(__file__).resolve().parents[3] / "docs" / "evaluation.md"


def test_the_examples_of_the_documentation() -> None:
    blocks = re.findall(r"^```toml\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    drn, upernet, background, alexnet, inception = (parse_network_file(tomllib.loads(block)) for block in blocks)
    assert drn.classes is not None
    assert len(drn.classes.names) == 19
    assert (drn.input.size, drn.input.multiple, drn.input.scale) == (None, 32, 255.0)
    assert upernet.classes is not None
    assert upernet.classes.ids == tuple(range(1, 151))
    assert upernet.input.channels is ChannelOrder.BGR
    assert background.classes is not None
    assert (background.classes.ids, background.classes.ignored) == ((-1, 7, 8, 26), (0,))
    assert (background.input.name, background.output.name) == ("image", "ids")
    assert (background.input.axes, background.output.kind) == (AxisOrder.NHWC, OutputKind.IDS)
    assert (alexnet.input.size, alexnet.input.shorter_side) == ((224, 224), 256)
    assert inception.input.resize is Resize.TORCH_BILINEAR
    assert inception.output.kind is OutputKind.FEATURES
    assert inception.classes is None


def test_the_conventions_of_the_documentation_are_methods() -> None:
    named = set(re.findall(r"`((?:torch|tensorflow|pillow)-[a-z-]+)`", PAGE.read_text(encoding="utf-8")))
    assert named == {"torch-bilinear", "tensorflow-bilinear", "pillow-bicubic-float"}
    assert named <= {method.value for method in Resize}


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (("scale = 1", ""), "'scale' is missing"),
        (("scale = 1", "scale = 0"), "must be positive"),
        (("scale = 1", "scale = nan"), "a number is expected"),
        (("mean = [0, 0, 0]", "mean = [0, 0]"), "three are expected"),
        (("std = [1, 1, 1]", 'std = "one"'), "a list is expected"),
        (('axes = "NCHW"', 'axes = "NHCW"'), "choose NCHW, NHWC"),
        (('"logits"', '"scores"'), "choose logits, probabilities, ids, features"),
        (("[output]", "[outputs]"), "unknown entries outputs"),
        (("scale = 1", "scale = 1\nrange = 255"), "unknown entries range"),
        (("scale = 1", "scale = 1\nheight = 8"), "belong together"),
        (("scale = 1", "scale = 1\nheight = 8\nwidth = 8"), "input.resize is wanted"),
        (("scale = 1", 'scale = 1\nresize = "torch-bilinear"'), "input.resize is wanted"),
        (("scale = 1", "scale = 1\nshorter_side = 9"), "shorter_side needs"),
        (("scale = 1", "scale = 1\nmultiple = 0"), "a whole number from 1"),
        (("[classes]", "[classes]\nids = [1]"), "exactly one of"),
        (("[classes]", "[classes]\ncount = 3"), "goes with classes.first_id"),
        (('"lamp"]', '"lamp"]\nignored = [0, 1, 2]'), "leaves no output"),
        (('names = ["road", "traffic sign", "lamp"]', "ids = [1, 1]"), "to two outputs"),
        (('names = ["road", "traffic sign", "lamp"]', "ids = []"), "describes 0 outputs"),
        (('names = ["road", "traffic sign", "lamp"]', "first_id = 200\ncount = 100"), "from 1 to 56"),
        (("[input]", "input = 3\n[other]"), "unknown entries other"),
    ],
)
def test_what_is_refused(change: tuple[str, str], complaint: str, tmp_path: Path) -> None:
    path = tmp_path / "network.toml"
    path.write_text(SEGMENTER_TOML.replace(*change), encoding="utf-8")
    with pytest.raises(InputError, match=re.escape(complaint)):
        read_network_file(path)


def test_files_that_are_not_toml(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent\.toml does not exist"):
        read_network_file(tmp_path / "absent.onnx")
    for name, content in (("a", b"[input"), ("b", b"\xff\xfe"), ("c", b" " * (2 << 20)), ("d", b"a = " + b"[" * 9999)):
        (tmp_path / f"{name}.toml").write_bytes(content)
        with pytest.raises(InputError, match=f"{name}.toml"):
            read_network_file(tmp_path / f"{name}.onnx")
    (tmp_path / "table.toml").write_text("input = 3\noutput = 4", encoding="utf-8")
    with pytest.raises(InputError, match="a table"):
        read_network_file(tmp_path / "table.onnx")
    assert parse_network_file(tomllib.loads(FEATURE_TOML)).input.size == (16, 16)
