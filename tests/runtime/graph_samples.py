"""An account of a graph, made up, and files that carry one."""

from __future__ import annotations

from pathlib import Path

import onnx

from runtime.contract.graph_report import GRAPH_KEY, Activation, BlockCost, GraphReport, Saving

REPORT = GraphReport(
    height=8,
    width=16,
    label_map="bands and blocks",
    blocks=(
        BlockCost("encoder/conv1", "encoder", 2, 1_000, 200, 30_000, (1, 4, 8, 16)),
        BlockCost("encoder/conv2", "encoder", 3, 2_000, 400, 20_000, (1, 8, 4, 8)),
        BlockCost("local/tower/0", "local", 9, 7_000_000_000, 3 << 20, 5 << 30, (1, 3, 8, 16)),
        BlockCost("attention", "attention", 4, 40_000, 64, 1_000, (1, 1, 8, 16)),
        BlockCost("picture", "picture", 6, 0, 0, 384, (1, 8, 16, 3)),
    ),
    edges=(("encoder", "local"), ("encoder", "attention"), ("local", "picture"), ("attention", "picture")),
    largest=(
        Activation("local_branch/tower/0/Conv", "Conv", "float", (1, 64, 8, 16), 32_768),
        Activation("encoder/conv1/Conv", "Conv", "float", (1, 4, 8, 16), 2_048),
    ),
    published_macs=14_000_000_000,
    savings=(
        Saving("batch-norm", 0, 0, 64, 0, 8_192, 4_096, "statistics are part of the weights"),
        Saving("class-heads", 8_000_000_000, 1_000_000_000, 128, 128, 1 << 30, 1 << 20, "1.20 of 4 heads per pixel"),
    ),
)


def add_report(path: Path, text: str | None = None) -> Path:
    """Put the account, or some other text in its place, into the metadata of a model."""
    model = onnx.load(str(path))
    model.metadata_props.add(key=GRAPH_KEY, value=REPORT.to_json() if text is None else text)
    onnx.save(model, str(path))
    return path
