"""The artefact of ranges: what is written comes back, and nothing else does."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from calibration import ranges as module
from calibration.histogram import Histogram
from calibration.range_differences import differences
from calibration.ranges import Ranges, merged, read_ranges, write_ranges
from calibration.thresholds import RangeMethod, threshold
from runtime.contract.errors import InputError, UsageError

GRAPH, OTHER_GRAPH = "a" * 64, "b" * 64


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def values(seed: int, scale: float = 1.0) -> dict[str, np.ndarray]:
    draw = np.random.default_rng(seed)
    return {
        "z/first": (draw.standard_normal(500) * scale).astype(np.float32),
        "a second": np.maximum(draw.standard_t(3, 400), 0).astype(np.float32),
    }


def make(seed: int, scale: float = 1.0, **fields: Any) -> Ranges:
    tensors = {name: Histogram.of(array) for name, array in values(seed, scale).items()}
    names = (f"map {seed}", f"Straße {seed}")
    return replace(Ranges(GRAPH, sha(f"data {seed}"), 2, names, tensors, "tool 1, ONNX Runtime 1.32"), **fields)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "toy.ranges.json"


def test_what_is_written_comes_back(path: Path) -> None:
    write_ranges(path, make(1))
    found = read_ranges(path)
    assert found == make(1)
    assert list(found.tensors) == ["z/first", "a second"]  # the order of the graph
    raw = json.loads(path.read_text())
    assert raw["made_by"] == "tool 1, ONNX Runtime 1.32"
    exact = np.abs(values(1)["z/first"])
    assert raw["tensors"]["z/first"]["largest"] == float(exact.max())
    assert raw["tensors"]["z/first"]["p99"] == pytest.approx(np.quantile(exact, 0.99), rel=0.05)
    assert raw["tensors"]["a second"]["zero_share"] == pytest.approx(0.5, abs=0.1)


def test_equal_ranges_give_equal_bytes(path: Path, tmp_path: Path) -> None:
    write_ranges(path, make(1))
    write_ranges(tmp_path / "again.json", read_ranges(path))
    assert path.read_bytes() == (tmp_path / "again.json").read_bytes()


def test_names_that_are_no_unicode_survive(path: Path) -> None:
    """File names are bytes; Python shows those that it cannot read as lone surrogates."""
    odd = make(1, names=("stra\udcdfe", "b"))
    write_ranges(path, odd)
    assert read_ranges(path) == odd


def test_files_are_kept(path: Path) -> None:
    path.write_text("mine")
    with pytest.raises(UsageError, match="--force"):
        write_ranges(path, make(1))
    assert path.read_text() == "mine"
    write_ranges(path, make(1), force=True)
    assert read_ranges(path) == make(1)


def test_any_changed_character_is_found(path: Path) -> None:
    write_ranges(path, make(1))
    whole = path.read_bytes()
    draw = np.random.default_rng(0)
    for position in draw.choice(len(whole), 300, replace=False):
        damaged = bytearray(whole)
        damaged[position] ^= int(draw.choice([1, 2, 4, 16, 128]))
        path.write_bytes(damaged)
        try:
            found = read_ranges(path)
        except InputError:
            continue
        assert found == make(1)
        assert whole[position : position + 1].isspace()  # blanks between the fields carry nothing


def test_any_cut_is_found(path: Path) -> None:
    write_ranges(path, make(1))
    whole = path.read_bytes()
    for length in (0, 1, 10, len(whole) // 2, len(whole) - 3):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match="lggan calibrate"):
            read_ranges(path)


def rewrite(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the content and make its checksum anew, as somebody who edits the file would."""
    write_ranges(path, make(1), force=True)
    raw = json.loads(path.read_text())
    change(raw)
    content = {key: value for key, value in raw.items() if key != "sha256"}
    raw["sha256"] = sha(json.dumps(content, sort_keys=True))
    path.write_text(json.dumps(raw))


def test_a_changed_checksum_alone_is_no_reason(path: Path) -> None:
    rewrite(path, lambda raw: raw.update(made_by="another tool"))
    assert read_ranges(path) == make(1, made_by="another tool")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda raw: raw.update(schema=2), "schema 2, this version reads 1"),
        (lambda raw: raw.update(schema=True), "schema"),
        (lambda raw: raw.update(schema="x" * 1000), "schema"),
        (lambda raw: raw.pop("schema"), "schema None"),
        (lambda raw: raw.update(extra=1), "'extra'"),
        (lambda raw: raw.pop("names"), "'names'"),
        (lambda raw: raw.update(graph_sha256="A" * 64), "SHA-256"),
        (lambda raw: raw.update(graph_sha256=["a"] * 64), "SHA-256"),
        (lambda raw: raw.update(data_sha256="a"), "SHA-256"),
        (lambda raw: raw.update(data_sha256=None), "SHA-256"),
        (lambda raw: raw.update(maps=3), "number of label maps"),
        (lambda raw: raw.update(maps=2.0), "number of label maps"),
        (lambda raw: raw.update(maps=0, names=[]), "number of label maps"),
        (lambda raw: raw.update(names=["a", 1]), "list of texts"),
        (lambda raw: raw.update(names="ab"), "list of texts"),
        (lambda raw: raw.update(made_by=3), "list of texts"),
        (lambda raw: raw.update(merged_from=["c" * 64]), "merged sets"),
        (lambda raw: raw.update(merged_from=["c" * 64, "d" * 64]), "merged sets"),
        (lambda raw: raw.update(tensors={}), "no tensors"),
        (lambda raw: raw.update(tensors=[1]), "no tensors"),
        (lambda raw: raw["tensors"].update(x=None), "'x'"),
        (lambda raw: raw["tensors"]["a second"].update(zeros=-1), "'a second'.*zeros"),
        (lambda raw: raw["tensors"]["a second"].update(counts="-5 3"), "'a second'.*no count"),
        (lambda raw: raw["tensors"]["a second"].update(largest=1e39), "'a second'.*finite"),
        (lambda raw: raw["tensors"]["a second"].update(note="n"), "'a second'.*figures"),
    ],
)
def test_edited_files_are_refused(path: Path, change: Callable[[dict[str, Any]], object], message: str) -> None:
    rewrite(path, change)
    with pytest.raises(InputError, match=message):
        read_ranges(path)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "1",
        "NaN",
        '{"schema": NaN}',
        '{"schema": 1, "schema": 1}',
        "[" * 100_000,
        '{"schema": ' + "9" * 10_000 + "}",
        "ä",
    ],
)
def test_what_is_no_such_file_is_refused(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match="lggan calibrate"):
        read_ranges(path)


def test_not_a_number_is_refused_under_any_checksum(path: Path) -> None:
    rewrite(path, lambda raw: raw["tensors"]["a second"].update(largest=math.nan))
    with pytest.raises(InputError, match="JSON"):
        read_ranges(path)


def test_places_without_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="does not exist"):
        read_ranges(tmp_path / "absent")
    with pytest.raises(InputError, match="folder"):
        read_ranges(tmp_path)
    with pytest.raises(InputError, match="not a regular file"):
        read_ranges("/dev/zero")
    write_ranges(tmp_path / "large", make(1))
    monkeypatch.setattr(module, "MAX_RANGES_BYTES", 2000)
    with pytest.raises(InputError, match="larger than 2000 bytes"):
        read_ranges(tmp_path / "large")
    with pytest.raises(InputError, match="2000 are allowed"):
        write_ranges(tmp_path / "never", make(1))
    assert not (tmp_path / "never").exists()


def test_merging_is_collecting_together(path: Path) -> None:
    both = merged(make(1), make(2, scale=7))
    for name, array in values(1).items():
        assert both.tensors[name] == Histogram.of(np.concatenate([array, values(2, scale=7)[name]]))
    assert (both.maps, len(both.names), both.graph_sha256) == (4, 4, GRAPH)
    assert merged(make(2, scale=7), make(1)) == both
    write_ranges(path, both)
    assert read_ranges(path) == both


def test_merging_three_in_any_order() -> None:
    first = merged(merged(make(1), make(2)), make(3))
    assert merged(make(3), merged(make(2), make(1))) == first
    assert first.data_sets == tuple(sorted(sha(f"data {seed}") for seed in (1, 2, 3)))


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (make(2, graph_sha256=OTHER_GRAPH), "different graphs"),
        (make(1), "count twice"),
        (merged(make(1), make(2)), "count twice"),
        (make(2, tensors={"z/first": make(2).tensors["z/first"]}), "'a second'"),
    ],
)
def test_what_cannot_be_merged(other: Ranges, message: str) -> None:
    with pytest.raises(InputError, match=message):
        merged(make(1), other)


def test_differences_come_with_the_furthest_first() -> None:
    def of(**largest: float) -> Ranges:
        tensors = {name: Histogram.of(np.array([value, value / 2], np.float32)) for name, value in largest.items()}
        return make(1, tensors=tensors)

    found = differences(of(a=1, b=2, c=8, z=0, n=0, x=1), of(a=1, b=3, c=2, z=0, n=1, y=1))
    assert [one.tensor for one in found] == ["n", "c", "b", "a", "z"]
    assert [one.largest_ratio for one in found] == [math.inf, 0.25, 1.5, 1, 1]
    assert [one.distance for one in found] == [math.inf, 4, 1.5, 1, 1]
    assert found[2].largest == found[2].p999 == (2, 3)
    assert differences(of(n=1), of(n=0))[0].distance == math.inf


def test_differences_within_the_largest_value() -> None:
    narrow = make(1, tensors={"t": Histogram.of(np.append(np.full(9999, 0.1), 1).astype(np.float32))})
    wide = make(1, tensors={"t": Histogram.of(np.append(np.full(9999, 0.3), 1).astype(np.float32))})
    (found,) = differences(narrow, wide)
    assert (found.largest_ratio, found.p999_ratio) == (1, pytest.approx(3, rel=0.01))
    assert found.distance == found.p999_ratio


def test_nothing_in_common() -> None:
    with pytest.raises(InputError, match="no tensor in common"):
        differences(make(1), make(1, tensors={"other": Histogram.empty()}))


def test_ranges_that_fit_are_let_through() -> None:
    make(1).require(GRAPH, sha("data 1"), ["a second"], "x.json")
    make(1).require(GRAPH, None, [], "x.json")
    merged(make(1), make(2)).require(GRAPH, sha("data 2"), ["a second"], "x.json")


@pytest.mark.parametrize(
    ("graph", "data", "tensors", "message"),
    [
        (OTHER_GRAPH, None, [], "another graph"),
        (GRAPH, sha("data 2"), [], "other label maps"),
        (GRAPH, None, ["a second", "absent", "more"], "lacks 2 tensors.*'absent'"),
    ],
)
def test_stale_ranges_are_refused(graph: str, data: str | None, tensors: list[str], message: str) -> None:
    with pytest.raises(InputError, match=f"{message}.*`lggan calibrate MODEL --data DIR --ranges x.json`"):
        make(1).require(graph, data, tensors, "x.json")


def test_thresholds_of_every_tensor() -> None:
    for method in RangeMethod:
        found = make(1).thresholds(method, 99.0)
        assert found == {name: threshold(one, method, 99.0) for name, one in make(1).tensors.items()}


@pytest.mark.parametrize(("value", "message"), [(0.0, "is zero everywhere"), (1e-38, "reaches only 1e-38")])
def test_tensors_without_a_scale_are_named(value: float, message: str) -> None:
    dead = make(1, tensors={"dead": Histogram.of(np.full(4, value, np.float32))})
    with pytest.raises(InputError, match=f"'dead' {message}.*all classes"):
        dead.thresholds(RangeMethod.MIN_MAX)
