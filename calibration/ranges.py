"""What every tensor's values were, as an artefact of its own: a ``.ranges.json`` to be read, compared and merged."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from calibration.histogram import Histogram
from calibration.thresholds import RangeMethod, threshold
from calibration.weights import INT8_MAX
from runtime.contract.errors import InputError
from runtime.contract.files import explain_read_error, write_text
from runtime.contract.progress import Progress, SilentProgress

SCHEMA = 1
MAX_RANGES_BYTES = 1 << 26
"""Of a file; a tensor takes up to 40 kB of it, a few kB as a rule."""

_FIELDS = {
    "schema", "made_by", "graph_sha256", "data_sha256", "merged_from", "maps", "names", "tensors", "sha256",
}  # fmt: skip
_LEAST_SCALE = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True)
class Ranges:
    """The histograms of a graph's tensors over a set of label maps.

    Attributes:
        graph_sha256: of the graph, see `graph_sha256`.
        data_sha256: of the label maps (`CalibrationMaps.sha256`), or of `merged_from` where there are several sets.
        maps: number of label maps.
        names: of the label maps.
        tensors: histogram of each tensor by its name, in the order of the graph.
        made_by: tool and version of ONNX Runtime that ran the graph, for whoever reads the file.
        merged_from: hashes of the sets of label maps that these ranges were merged from; empty where it was one.
    """

    graph_sha256: str
    data_sha256: str
    maps: int
    names: tuple[str, ...]
    tensors: Mapping[str, Histogram]
    made_by: str = ""
    merged_from: tuple[str, ...] = ()

    @property
    def data_sets(self) -> tuple[str, ...]:
        """Hash of every set of label maps that went in."""
        return self.merged_from or (self.data_sha256,)

    def thresholds(
        self, method: RangeMethod, percentile: float = 99.99, progress: Progress | None = None
    ) -> dict[str, float]:
        """Where the INT8 range of each tensor ends (`thresholds.threshold`), by name, all greater than zero.

        Raises:
            InputError: a tensor is zero everywhere, or too small for a float32 scale.
        """
        found = {}
        with (progress or SilentProgress()).task(f"ranges by {method.value}", len(self.tensors)) as task:
            for name, histogram in self.tensors.items():
                if histogram.largest / INT8_MAX < _LEAST_SCALE:
                    reached = f"reaches only {histogram.largest:g}" if histogram.largest else "is zero everywhere"
                    raise InputError(
                        f"the tensor {name!r} {reached} on all {self.maps} label maps, so its scale would be zero; "
                        "calibrate with label maps that show all classes (--data DIR), or train the model further"
                    )
                found[name] = threshold(histogram, method, percentile)
                task.advance(1, name)
        return found

    def require(self, graph: str, data: str | None, tensors: Collection[str], path: str | Path) -> None:
        """Refuse ranges that belong to something else.

        Args:
            graph: `graph_sha256` of the graph that they are wanted for.
            data: hash of the label maps that they must contain; None for whatever there is.
            tensors: names that they must have.
            path: what messages call them.

        Raises:
            InputError: another graph, other label maps, a tensor without ranges.
        """
        again = f"remove it and run `lggan calibrate MODEL --data DIR --ranges {path}` again"
        if self.graph_sha256 != graph:
            raise InputError(
                f"{path} belongs to another graph ({self.graph_sha256[:12]}… instead of {graph[:12]}…); {again}"
            )
        if data is not None and data != self.data_sha256 and data not in self.merged_from:
            raise InputError(
                f"{path} was made from other label maps ({self.data_sha256[:12]}… instead of {data[:12]}…); {again}, "
                "or give the folder that it was made from"
            )
        absent = [name for name in tensors if name not in self.tensors]
        if absent:
            raise InputError(f"{path} lacks {len(absent)} tensors that are wanted, the first is {absent[0]!r}; {again}")


def merged(a: Ranges, b: Ranges) -> Ranges:
    """The ranges over the label maps of both, exactly as if they had been collected together.

    Raises:
        InputError: of different graphs or tensors, or label maps that are in both.
    """
    if a.graph_sha256 != b.graph_sha256:
        raise InputError(
            f"the ranges belong to different graphs ({a.graph_sha256[:12]}… and {b.graph_sha256[:12]}…); collect both "
            "from the same model, with --no-equalise: equalisation fits a graph to its label maps"
        )
    twice = set(a.data_sets) & set(b.data_sets)
    if twice:
        raise InputError(f"the label maps {min(twice)[:12]}… are in both and would count twice; merge different sets")
    if a.tensors.keys() != b.tensors.keys():
        odd = min(a.tensors.keys() ^ b.tensors.keys())
        raise InputError(f"only one of the two has the tensor {odd!r}; collect both with the same options")
    sets = tuple(sorted((*a.data_sets, *b.data_sets)))
    return Ranges(
        graph_sha256=a.graph_sha256,
        data_sha256=_hash_of_sets(sets),
        maps=a.maps + b.maps,
        names=tuple(sorted((*a.names, *b.names))),
        tensors={name: histogram.merged(b.tensors[name]) for name, histogram in a.tensors.items()},
        made_by=a.made_by if a.made_by == b.made_by else "; ".join(sorted({a.made_by, b.made_by})),
        merged_from=sets,
    )


def write_ranges(path: str | Path, ranges: Ranges, force: bool = False) -> None:
    """Write the artefact; equal ranges give equal bytes.

    Raises:
        UsageError: ``path`` exists (without ``force``).
        MissingError: no space, no permission.
        InputError: too many tensors for a file that can be read again.
    """
    content: dict[str, Any] = {
        "schema": SCHEMA,
        "made_by": ranges.made_by,
        "graph_sha256": ranges.graph_sha256,
        "data_sha256": ranges.data_sha256,
        "merged_from": list(ranges.merged_from),
        "maps": ranges.maps,
        "names": list(ranges.names),
        "tensors": {name: histogram.to_json() for name, histogram in ranges.tensors.items()},
    }
    text = json.dumps({**content, "sha256": _content_sha256(content)}, indent=1, allow_nan=False) + "\n"
    if len(text) > MAX_RANGES_BYTES:
        raise InputError(
            f"ranges of {len(ranges.tensors)} tensors take {len(text)} bytes; {MAX_RANGES_BYTES} are allowed"
        )
    write_text(path, text, force=force)


def read_ranges(path: str | Path) -> Ranges:
    """Read the artefact; nothing that `write_ranges` has not written is accepted.

    Raises:
        InputError: absent, damaged, changed by hand, too large, or of another version.
        MissingError: no permission.
    """
    path = Path(path)
    again = "collect the ranges again with `lggan calibrate MODEL --data DIR --ranges FILE`"
    data = _read(path)
    try:
        raw = json.loads(data.decode("ascii"), parse_constant=_refuse_constant, object_pairs_hook=_without_repetition)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is damaged or no ranges file (not readable JSON); {again}") from error
    if not isinstance(raw, dict) or type(raw.get("schema")) is not int or raw["schema"] != SCHEMA:
        found = raw.get("schema") if isinstance(raw, dict) else None
        raise InputError(f"{path} has schema {str(found)[:20]}, this version reads {SCHEMA}; {again}")
    try:
        return _from_raw(raw)
    except (TypeError, ValueError) as error:
        raise InputError(f"{path} is damaged: {error}; {again}") from error


def _hash_of_sets(sets: Iterable[str]) -> str:
    return hashlib.sha256("".join(sets).encode()).hexdigest()


def _content_sha256(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, allow_nan=False).encode()).hexdigest()


def _read(path: Path) -> bytes:
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            raise InputError(f"{path} is not a regular file")
        with path.open("rb") as stream:
            data = stream.read(MAX_RANGES_BYTES + 1)
    except OSError as error:
        raise explain_read_error(error, path) from error
    if len(data) > MAX_RANGES_BYTES:
        raise InputError(f"{path} is larger than {MAX_RANGES_BYTES} bytes; that is no ranges file")
    return data


def _from_raw(raw: dict[str, Any]) -> Ranges:
    if raw.keys() != _FIELDS:
        raise ValueError(f"the field {str(min(raw.keys() ^ _FIELDS))[:40]!r} is missing or unknown")
    content = {key: value for key, value in raw.items() if key != "sha256"}
    if raw["sha256"] != _content_sha256(content):
        raise ValueError("its checksum does not match its content")
    if not isinstance(raw["tensors"], dict) or not raw["tensors"]:
        raise ValueError("there are no tensors in it")
    names, sets = _texts(raw["names"]), tuple(_hash(one) for one in _texts(raw["merged_from"]))
    if type(raw["maps"]) is not int or raw["maps"] != len(names) or not names:
        raise ValueError("the number of label maps is not that of their names")
    data = _hash(raw["data_sha256"])
    if sets and (len(set(sets)) < 2 or list(sets) != sorted(set(sets)) or data != _hash_of_sets(sets)):
        raise ValueError("the merged sets of label maps contradict the hash of the data")
    tensors = {}
    for name, histogram in raw["tensors"].items():
        try:
            tensors[name] = Histogram.from_json(histogram)
        except ValueError as error:
            raise ValueError(f"the tensor {name[:60]!r}: {error}") from error
    return Ranges(
        graph_sha256=_hash(raw["graph_sha256"]),
        data_sha256=data,
        maps=raw["maps"],
        names=names,
        tensors=tensors,
        made_by=_texts([raw["made_by"]])[0],
        merged_from=sets,
    )


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise TypeError(f"{str(value)[:40]!r} is not a list of texts")
    return tuple(value)


def _hash(value: object) -> str:
    if not isinstance(value, str) or len(value) != 64 or set(value) - set("0123456789abcdef"):
        raise ValueError(f"{str(value)[:40]!r} is not a SHA-256")
    return value


def _refuse_constant(text: str) -> float:
    raise ValueError(f"{text} is no number of a ranges file")


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a field is there twice")
    return found
