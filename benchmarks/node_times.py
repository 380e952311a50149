"""The process in which `rewrites.py` runs one graph: how long each node takes, printed as JSON.

    python benchmarks/node_times.py GRAPH.onnx INPUTS.npz OUTPUT.npy THREADS RUNS

The graph is labelled (`export.graph_profile.labelled`), and beside it lies ``GRAPH.json``, which tells the rows
(`rewrite_rows.Attribution`). ONNX Runtime runs it with all of its optimisations and with profiling; the first run does
not count. Neither PyTorch nor the ``onnx`` package is in the process.
"""

from __future__ import annotations

import json
import math
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from rewrite_rows import Attribution

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
    counted = list(seconds_of_nodes(events))[1:]
    least = {name: min(nodes.get(name, math.inf) for _, nodes in counted) for name in counted[0][1]}
    answer = {
        "seconds": min(seconds for seconds, _ in counted),
        "nodes": {name: [attribution.row(name).name, seconds] for name, seconds in least.items()},
    }
    print(json.dumps(answer))  # noqa: T201 - the protocol


def seconds_of_nodes(events: Iterable[Event]) -> Iterator[tuple[float, Counter[str]]]:
    """For each run of the graph its seconds, and those of each of its nodes by the name in the profile.

    What a loop takes counts as a whole; its nodes have events of their own, within those of the loop.

    Args:
        events: of ONNX Runtime's profile.
    """
    ordered = sorted(events, key=lambda event: (event["ts"], -event["dur"]))
    nodes = [event for event in ordered if event["cat"] == "Node" and event["name"].endswith(_ENDING)]
    for run in (event for event in ordered if event["name"] == "model_run"):
        sums: Counter[str] = Counter()
        end = run["ts"]
        for node in nodes:
            if end <= node["ts"] < run["ts"] + run["dur"]:
                sums[node["name"].removesuffix(_ENDING)] += node["dur"] / 1e6
                end = node["ts"] + node["dur"]
        yield run["dur"] / 1e6, sums


if __name__ == "__main__":
    main()
