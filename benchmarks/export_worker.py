"""The process in which `export_speed.py` runs one form of one model; it prints JSON, a line per answer.

    python benchmarks/export_worker.py FORM FILE INPUTS.npz OUTPUTS.npy THREADS

The form ``pytorch`` opens a checkpoint, ``plain`` an ONNX file with ONNX Runtime as it comes, and every other an ONNX
file with the project's runtime; these have no PyTorch in the process.
First each input is run once, which writes the pictures; then each line of stdin names the input to run again. When
stdin ends, the process tells what memory it took.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from measuring import forget_peak, peak_memory, resident_memory

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

Arrays = dict[str, np.ndarray]
Run = Callable[[Arrays], np.ndarray]


def main() -> None:
    form, file, inputs, outputs, threads = sys.argv[1:]
    with np.load(inputs, allow_pickle=False) as stored:
        names = sorted({key.partition("/")[0] for key in stored})
        feeds = [{key.partition("/")[2]: stored[key] for key in stored if key.startswith(f"{n}/")} for n in names]
    prepare = {"pytorch": _pytorch, "plain": _onnx_runtime}.get(form, _runtime)
    load = prepare(int(threads))
    before = resident_memory()
    run = load(Path(file))
    loaded, peak_of_loading = resident_memory(), peak_memory()
    forget_peak()
    np.save(outputs, np.stack([run(feed) for feed in feeds]))
    _say({"ready": True})
    for line in sys.stdin:
        feed = feeds[int(line)]
        start = time.perf_counter()
        run(feed)
        _say({"seconds": time.perf_counter() - start})
    peak = peak_memory()
    _say({"before": before, "loaded": loaded, "peak": max(peak, peak_of_loading), "running": peak})


def _pytorch(threads: int) -> Callable[[Path], Run]:
    import torch
    from published_form import LabelsToFloat, as_published

    from lggan.checkpoint import load_generator
    from lggan.networks.generator import LGGANGenerator

    torch.set_num_threads(threads)

    def load(path: Path) -> Run:
        generator, _ = load_generator(path)
        assert isinstance(generator, LGGANGenerator)
        module = LabelsToFloat(as_published(generator)).eval()

        @torch.inference_mode()
        def run(feed: Arrays) -> np.ndarray:
            image: np.ndarray = module(*(torch.from_numpy(feed[name]) for name in sorted(feed, reverse=True))).numpy()
            return image

        return run

    return load


def _runtime(threads: int) -> Callable[[Path], Run]:
    """Our files, as the project's runtime opens them."""
    from runtime.backends.onnxruntime_cpu import OnnxRuntimeCpu
    from runtime.contract.loadable_model import open_model

    def load(path: Path) -> Run:
        with open_model(path) as model:
            return OnnxRuntimeCpu(model.source, model.card, path, threads, model.external).run

    return load


def _onnx_runtime(threads: int) -> Callable[[Path], Run]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads

    def load(path: Path) -> Run:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        return lambda feed: session.run(None, feed)[0]

    return load


def _say(answer: dict[str, object]) -> None:
    print(json.dumps(answer), flush=True)  # noqa: T201 - the protocol


if __name__ == "__main__":
    main()
