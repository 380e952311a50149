"""`lggan ranges` as it is typed: the tables, the documents, the exit codes; figures against plain numpy."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is not installed (extra export)")

import cli
from calibration.histogram import Histogram
from calibration.ranges import Ranges, read_ranges, write_ranges
from calibration.thresholds import RangeMethod

GRAPH, OTHER_GRAPH = "a" * 64, "b" * 64


def draw(seed: int, scale: float = 1.0) -> dict[str, np.ndarray]:
    """One tensor for each thing that a row can say."""
    random = np.random.default_rng(seed)
    spiky = random.uniform(-1, 1, 40_000)
    spiky[:5] = 16  # 4 bits above the 99.9 % that keep to 1
    values = {
        "branch/even": random.uniform(-3, 3, 40_000) * scale,
        "branch/spiky": spiky,
        "attention/relu": np.maximum(random.standard_normal(40_000), 0) * 2,
        "one-hot": np.repeat([0.0, 1.0], [30_000, 10_000]),
    }
    return {name: array.astype(np.float32) for name, array in values.items()}


def make(values: Mapping[str, np.ndarray], data: str, **fields: Any) -> Ranges:
    sha256 = hashlib.sha256(data.encode()).hexdigest()
    tensors = {name: Histogram.of(array) for name, array in values.items()}
    return replace(Ranges(GRAPH, sha256, 2, (f"{data}_1", f"{data}_2"), tensors, "tool 1, ONNX Runtime 1.32"), **fields)


@pytest.fixture
def day(tmp_path: Path) -> Path:
    write_ranges(tmp_path / "day.ranges.json", make(draw(1), "day"))
    return tmp_path / "day.ranges.json"


@pytest.fixture
def night(tmp_path: Path) -> Path:
    """The same but for ``branch/even``, half as large."""
    write_ranges(tmp_path / "night.ranges.json", make({**draw(1), "branch/even": draw(1, 0.5)["branch/even"]}, "n"))
    return tmp_path / "night.ranges.json"


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = cli.main(["ranges", *map(str, arguments)])
    said = capsys.readouterr()
    return code, said.out, said.err


def document(capsys: pytest.CaptureFixture[str], *arguments: object, code: int = 0) -> dict[str, Any]:
    found_code, out, _ = run(capsys, *arguments, "--json")
    assert found_code == code
    found: dict[str, Any] = json.loads(out)
    assert found["schema"] == 1
    return found


def rows(out: str) -> list[list[str]]:
    """The cells of the table below its rule."""
    lines = iter(out.splitlines())
    for line in lines:
        if line.strip().startswith("──"):
            break
    return [line.split() for line in lines if line.startswith(" ") and line.strip()]


# --- show ---


def test_show_is_a_card_and_a_table(day: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "show", day)
    assert (code, err) == (0, "")
    head = out.partition("──")[0]
    assert out.startswith(f"{day}\n")
    for text in ("tool 1, ONNX Runtime 1.32", f"graph       {GRAPH[:12]}\n", "label maps  2\n", "tensors     4\n"):
        assert text in head
    assert GRAPH not in out  # short
    table = rows(out)
    assert [row[0] for row in table] == ["branch/spiky", "attention/relu", "branch/even", "one-hot"]
    assert table[0] == ["branch/spiky", "16", "1", "0.0%", "16", "100.0%", "4.00"]
    assert table[-1] == ["one-hot", "1", "1", "75.0%", "1", "100.0%", "0.00"]


def test_show_against_numpy(day: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = document(capsys, "show", day, "--method", "percentile", "--percentile", "99.9", "--sort", "name")
    assert (found["kind"], found["method"], found["percentile"]) == ("lggan-ranges-show", "percentile", 99.9)
    assert (found["graph_sha256"], found["maps"], found["names"]) == (GRAPH, 2, ["day_1", "day_2"])
    assert found["data_sha256"] == hashlib.sha256(b"day").hexdigest()
    assert [row["tensor"] for row in found["tensors"]] == ["attention/relu", "branch/even", "branch/spiky", "one-hot"]
    for row in found["tensors"]:
        values = np.abs(draw(1)[row["tensor"]])
        largest = float(values.max())
        p999 = float(np.quantile(values, 0.999, method="inverted_cdf"))
        bin_width = 2.0 ** math.ceil(math.log2(largest)) / 2048
        assert row["values"] == values.size
        assert row["largest"] == largest
        assert row["p999"] == pytest.approx(p999, abs=bin_width)
        assert row["zero_share"] == np.mean(values == 0)
        assert row["outlier_bits"] == pytest.approx(math.log2(largest / p999), abs=0.02)
        assert row["threshold"] == pytest.approx(p999, abs=bin_width)
        assert row["kept"] == pytest.approx(p999 / largest, abs=bin_width / largest)


@pytest.mark.parametrize("method", [each.value for each in RangeMethod])
def test_every_method_shows_the_thresholds_that_calibrate_takes(
    method: str, day: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = read_ranges(day).thresholds(RangeMethod(method))
    found = document(capsys, "show", day, "--method", method)
    assert {row["tensor"]: row["threshold"] for row in found["tensors"]} == wanted
    assert (found["percentile"] is None) == (method != "percentile")
    code, out, _ = run(capsys, "show", day, "--method", method)
    assert code == 0
    assert f" {method} " in out.partition("──")[0]


def test_show_limits_the_screen_but_not_the_document(day: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "show", day, "--limit", 1, "--sort", "largest")
    assert [row[0] for row in rows(out)] == ["branch/spiky"]
    assert out.endswith("and 3 more; --limit shows more of them, --json all\n")
    found = document(capsys, "show", day, "--limit", 1, "--sort", "largest")
    largest = [row["largest"] for row in found["tensors"]]
    assert len(largest) == 4
    assert largest == sorted(largest, reverse=True)


def test_show_twenty_unless_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "many.ranges.json"
    write_ranges(path, make({f"t{index:02}": np.full(3, index + 1, np.float32) for index in range(25)}, "many"))
    _, out, _ = run(capsys, "show", path)
    assert [row[0] for row in rows(out)] == [f"t{index:02}" for index in range(20)]  # equal ones by name
    assert "and 5 more" in out


def test_show_what_has_no_range(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All zero, and all but a few zero: the one has no threshold, the other infinitely many bits above nothing."""
    path = tmp_path / "dead.ranges.json"
    rare = np.zeros(5000, np.float32)
    rare[:3] = 2
    write_ranges(path, make({"dead": np.zeros(9, np.float32), "rare": rare}, "dead"))
    code, out, err = run(capsys, "show", path)
    assert code == 0
    table = rows(out)
    assert table[0] == ["rare", "2", "0", "99.9%", "2", "100.0%", "inf"]
    assert table[1] == ["dead", "0", "0", "100.0%", "none", "0.00"]
    assert "zero everywhere: 1 tensor, 'dead' first" in err
    assert run(capsys, "show", path, "-q")[2] == ""
    rare_row, dead_row = document(capsys, "show", path)["tensors"]
    assert (rare_row["outlier_bits"], rare_row["kept"]) == (None, 1.0)
    assert (dead_row["outlier_bits"], dead_row["threshold"], dead_row["kept"]) == (0.0, None, None)


def test_a_name_cannot_command_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "odd.ranges.json"
    write_ranges(path, make({"a\x1b[31mb": np.ones(3, np.float32)}, "odd", made_by="tool\x1b]0;x\x07"))
    code, out, _ = run(capsys, "show", path)
    assert code == 0
    assert not {"\x1b", "\x07"} & set(out)


# --- diff ---


def test_diff_shows_what_differs(day: Path, night: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "diff", day, night)
    assert (code, err) == (0, "")
    assert out.startswith("4 tensors compared, 1 of them differ")
    (row,) = rows(out)
    assert (row[0], row[3]) == ("branch/even", "0.5")
    code, out, _ = run(capsys, "diff", day, day)
    assert (code, out) == (0, "4 tensors compared: the largest |x| and p99.9 of each are equal\n")


def test_diff_document(day: Path, night: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = document(capsys, "diff", day, night)
    assert (found["kind"], found["same_graph"], found["max_ratio"], found["passed"]) == (
        "lggan-ranges-diff", True, None, True,
    )  # fmt: skip
    assert (found["a"]["path"], found["b"]["path"]) == (str(day), str(night))
    assert found["a"]["data_sha256"] != found["b"]["data_sha256"]
    assert [row["tensor"] for row in found["tensors"]] == [
        "branch/even", "attention/relu", "branch/spiky", "one-hot",
    ]  # fmt: skip
    first = found["tensors"][0]
    largest = float(np.abs(draw(1)["branch/even"]).max())
    assert first["largest"] == [largest, largest / 2]
    assert first["largest_ratio"] == 0.5
    assert first["p999_ratio"] == pytest.approx(0.5)
    assert {row["largest_ratio"] for row in found["tensors"][1:]} == {1.0}


@pytest.mark.parametrize(("limit", "code"), [(2, 0), (1.99, 1), (1, 1)])
def test_diff_gate_holds_in_both_directions(
    limit: float, code: int, day: Path, night: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for pair in ((day, night), (night, day)):
        found, out, err = run(capsys, "diff", *pair, "--max-ratio", limit)
        assert found == code
        assert "branch/even" in out  # the table is there whatever the answer
        if code:
            assert err.count("\n") == 1
            assert f"the largest |x| of 1 tensor differs by more than {limit:g} times, most that of 'branch" in err
            assert "lggan calibrate" in err
    assert document(capsys, "diff", day, night, "--max-ratio", limit, code=code)["passed"] is (code == 0)


def test_diff_gate_names_the_worst(day: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A tensor that died is infinitely far, also for the gate."""
    other = tmp_path / "other.ranges.json"
    values = draw(1)
    values["one-hot"] = values["one-hot"] * 0
    values["branch/even"] = values["branch/even"] * 5
    write_ranges(other, make(values, "other"))
    code, _, err = run(capsys, "diff", day, other, "--max-ratio", "3")
    assert code == 1
    assert "of 2 tensors differs by more than 3 times, most that of 'one-hot': 1 and 0;" in err
    code, out, _ = run(capsys, "diff", other, day)
    assert rows(out)[0][:4] == ["one-hot", "0", "1", "inf"]
    assert document(capsys, "diff", other, day)["tensors"][0]["largest_ratio"] is None


def test_diff_does_not_gate_on_p999(tmp_path: Path, day: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "other.ranges.json"
    values = draw(1)
    values["branch/spiky"][5:] /= 8  # the largest stays
    write_ranges(other, make(values, "other"))
    code, out, _ = run(capsys, "diff", day, other, "--max-ratio", "1")
    assert code == 0
    assert rows(out)[0][0] == "branch/spiky"


def test_diff_of_other_graphs_remarks_on_it(day: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "other.ranges.json"
    values = draw(1)
    values["new"] = values.pop("one-hot")
    write_ranges(other, make(values, "other", graph_sha256=OTHER_GRAPH))
    code, out, err = run(capsys, "diff", day, other)
    assert code == 0
    assert out.startswith("3 tensors compared: ")
    assert f"the graphs differ ({GRAPH[:12]} and {OTHER_GRAPH[:12]})" in err
    assert f"{day} alone has 1 tensor, 'one-hot' first" in err
    assert f"{other} alone has 1 tensor, 'new' first" in err
    assert run(capsys, "diff", day, other, "-q")[2] == ""
    found = document(capsys, "diff", day, other)
    assert (found["same_graph"], found["only_in_a"], found["only_in_b"]) == (False, ["one-hot"], ["new"])


def test_diff_limits_the_screen(day: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "other.ranges.json"
    write_ranges(other, make({name: array * 2 for name, array in draw(1).items()}, "other"))
    _, out, _ = run(capsys, "diff", day, other, "--limit", 3)
    assert len(rows(out)) == 3
    assert out.endswith("and 1 more; --limit shows more of them, --json all\n")


def test_diff_of_nothing_in_common(day: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "other.ranges.json"
    write_ranges(other, make({"else": np.ones(3, np.float32)}, "other"))
    code, out, err = run(capsys, "diff", day, other)
    assert (code, out) == (3, "")
    assert "no tensor in common" in err


# --- merge ---


def test_merge_is_what_collecting_together_gives(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parts = [draw(seed, scale) for seed, scale in ((1, 1.0), (2, 7.0), (3, 0.1))]
    files = [tmp_path / f"{index}.ranges.json" for index in range(3)]
    for index, (path, values) in enumerate(zip(files, parts, strict=True)):
        write_ranges(path, make(values, f"set {index}"))
    out = tmp_path / "all.ranges.json"
    code, said, err = run(capsys, "merge", *files, "-o", out)
    assert (code, said, err) == (0, f"{out}  6 label maps of 3 sets, 4 tensors\n", "")
    found = read_ranges(out)
    for name, histogram in found.tensors.items():
        assert histogram == Histogram.of(np.concatenate([values[name] for values in parts]))
    assert list(found.tensors) == list(parts[0])  # the order of the graph
    assert found.maps == 6
    again = tmp_path / "again.ranges.json"
    assert run(capsys, "merge", *reversed(files), "-o", again)[0] == 0
    assert again.read_bytes() == out.read_bytes()
    assert "(3 sets merged)" in run(capsys, "show", out)[1]


def test_merge_document(day: Path, night: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "both.ranges.json"
    found = document(capsys, "merge", day, night, "-o", out)
    merged = read_ranges(out)
    assert found == {
        "kind": "lggan-ranges-merge",
        "schema": 1,
        "output": str(out),
        "graph_sha256": GRAPH,
        "data_sha256": merged.data_sha256,
        "merged_from": list(merged.merged_from),
        "maps": 4,
        "tensors": 4,
    }


def test_merge_keeps_files_unless_forced(day: Path, night: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = day.read_bytes()
    code, _, err = run(capsys, "merge", day, night, "-o", day)
    assert code == 2
    assert "--force" in err
    assert day.read_bytes() == before
    assert run(capsys, "merge", day, night, "-o", day, "--force")[0] == 0
    assert read_ranges(day).maps == 4


@pytest.mark.parametrize(
    ("values", "fields", "hint"),
    [
        (draw(2), {"graph_sha256": OTHER_GRAPH}, "different graphs (aaaaaaaaaaaa… and bbbbbbbbbbbb…)"),
        (draw(2), {"data_sha256": hashlib.sha256(b"day").hexdigest()}, "would count twice"),
        ({"one-hot": np.ones(3, np.float32)}, {}, "only one of the two has the tensor"),
    ],
)
def test_merge_refuses_what_does_not_belong_together(
    values: Mapping[str, np.ndarray],
    fields: dict[str, Any],
    hint: str,
    day: Path,
    night: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    odd, out = tmp_path / "odd.ranges.json", tmp_path / "out.ranges.json"
    write_ranges(odd, make(values, "odd", **fields))
    code, said, err = run(capsys, "merge", night, day, odd, "-o", out)
    assert (code, said) == (3, "")
    assert err.startswith(f"lggan: error: {odd} cannot be merged with what stands before it: ")
    assert hint in err
    assert not out.exists()


# --- requests, the group ---


@pytest.mark.parametrize(
    ("arguments", "code", "hint"),
    [
        (["show", "nowhere.json"], 3, "does not exist"),
        (["show", "."], 3, "is a folder"),
        (["show"], 2, "Missing argument"),
        (["show", "DAY", "--method", "max"], 2, "is not one of"),
        (["show", "DAY", "--method", "percentile", "--percentile", "0"], 2, "percentile is 0"),
        (["show", "DAY", "--limit", "0"], 2, "not in the range"),
        (["diff", "DAY"], 2, "Missing argument"),
        (["diff", "DAY", "nowhere.json"], 3, "does not exist"),
        (["diff", "DAY", "DAY", "--max-ratio", "0.5"], 2, "not in the range"),
        (["diff", "DAY", "DAY", "--max-ratio", "nan"], 2, "would allow everything"),
        (["merge", "DAY", "DAY"], 2, "Missing option '-o'"),
        (["merge", "DAY", "-o", "x.json"], 2, "two ranges files"),
        (["merge", "DAY", "nowhere.json", "-o", "x.json"], 3, "does not exist"),
        (["merge", "DAY", "DAY", "-o", "x.json"], 3, "would count twice"),
        (["shw", "DAY"], 2, "Did you mean 'show'"),
    ],
)
def test_requests_that_cannot_be_served(
    arguments: list[str],
    code: int,
    hint: str,
    day: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    found, out, err = run(capsys, *(str(day) if word == "DAY" else word for word in arguments))
    assert (found, out) == (code, "")
    assert err.startswith("lggan: error: ")
    assert err.count("\n") == 1
    assert hint in err
    assert not Path("x.json").exists()


def test_a_damaged_file_is_no_traceback(day: Path, capsys: pytest.CaptureFixture[str]) -> None:
    day.write_text(day.read_text().replace('"maps": 2', '"maps": 3'))
    for arguments in (["show", day], ["diff", day, day]):
        code, out, err = run(capsys, *arguments)
        assert (code, out) == (3, "")
        assert f"{day} is damaged" in err
    assert document(capsys, "show", day, code=3)["error"] == "InputError"


def test_help_examples_and_methods() -> None:
    """Every example fits its own subcommand, and the choices are those of the room."""
    group = cli.lggan.commands["ranges"]
    assert isinstance(group, click.Group)
    assert list(group.commands) == ["show", "diff", "merge"]
    for name, command in group.commands.items():
        for epilog in (str(command.epilog), str(group.epilog)):
            examples = [line.split()[2:] for line in epilog.splitlines() if f"lggan ranges {name} " in line]
            assert examples
            for words in examples:
                command.make_context(words[0], words[1:], parent=click.Context(group))
    (method,) = (option for option in group.commands["show"].params if option.name == "method")
    assert isinstance(method.type, click.Choice)
    assert list(method.type.choices) == [each.value for each in RangeMethod]


def test_help_of_the_group_and_the_verbs(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["--help"], ["show", "--help"], ["diff", "--help"], ["merge", "--help"]):
        code, out, _ = run(capsys, *arguments)
        assert code == 0
        assert "Example:\n    lggan ranges" in out
        assert "--json" in out
