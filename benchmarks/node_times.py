"""The process in which `rewrites.py` runs one graph: how long the nodes of each row take, printed as JSON.

    python benchmarks/node_times.py GRAPH.onnx INPUTS.npz OUTPUT.npy THREADS RUNS

The graph is labelled (`export.graph_profile.labelled`), and beside it lies ``GRAPH.json``, which tells the rows
(`rewrite_rows.Attribution`). ONNX Runtime runs it with all of its optimisations and with profiling; the first run does
not count. Neither PyTorch nor the ``onnx`` package is in the process.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from rewrite_rows import Attribution, Row

_ENDING = "_kernel_time"
Event = Mapping[str, Any]


def main() -> None:
    graph, inputs, output, threads, runs = sys.argv[1:]
    attribution = Attribution.from_plain(json.loads(Path(graph).with_suffix(".json").read_text(encoding="utf-8")))
    with np.load(inputs, allow_pickle=False) as stored, tempfile.TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(threads)
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "run")
        session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        feeds = {entry.name: stored[entry.name] for entry in session.get_inputs()}
        pictures = [session.run(None, feeds)[0] for _ in range(int(runs) + 1)]
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    np.save(output, pictures[-1])
    answers = [
        {"seconds": seconds, "rows": {row.name: sums[row] for row in Row}}
        for seconds, sums in seconds_of_rows(events, attribution)
    ]
    print(json.dumps(answers[1:]))  # noqa: T201 - the protocol


def seconds_of_rows(events: Iterable[Event], attribution: Attribution) -> Iterator[tuple[float, Counter[Row]]]:
    """For each run of the graph its seconds, and those of each row's nodes.

    What a loop takes counts as a whole; its nodes have events of their own, within those of the loop.

    Args:
        events: of ONNX Runtime's profile.
        attribution: of the graph.
    """
    ordered = sorted(events, key=lambda event: (event["ts"], -event["dur"]))
    nodes = [event for event in ordered if event["cat"] == "Node" and event["name"].endswith(_ENDING)]
    for run in (event for event in ordered if event["name"] == "model_run"):
        sums: Counter[Row] = Counter()
        end = run["ts"]
        for node in nodes:
            if end <= node["ts"] < run["ts"] + run["dur"]:
                sums[attribution.row(node["name"].removesuffix(_ENDING))] += node["dur"] / 1e6
                end = node["ts"] + node["dur"]
        yield run["dur"] / 1e6, sums


if __name__ == "__main__":
    main()
