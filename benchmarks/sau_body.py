# ruff: noqa: T201 - a script by hand, its output is the table
"""The ONNX body of semantic-aware upsampling against other ways to write it, and against the bytes it must move.

Run by hand, on a quiet machine; it takes a few minutes:

    python benchmarks/sau_body.py --threads 2 1

All forms are checked to agree before anything is printed. Times are wall-clock milliseconds, the least of some turns
of three runs; the arrays that go in and come out are allocated beforehand. MiB is the growth of a
process's peak memory by one run, each form in a process of its own, without those arrays. The bound is the time in
which a plain copy, measured in the same run, moves the feature, the logits and the output once.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from measuring import copy_bandwidth, forget_peak, machine, peak_memory
from onnx import helper
from sau_alternatives import ALTERNATIVES, dense_convolution
from sau_graph import Size
from torch import Tensor
from torch.nn.functional import unfold

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from export.sau_function import DOMAIN, OP_TYPE, TILE, SauGeometry, sau_function  # noqa: E402
from lggan.networks.upsample import semantic_aware_upsample  # noqa: E402

SIZES = (Size(128, 64, 128), Size(64, 128, 256), Size(256, 64, 128))
TILES = ((1, 4), (1, 8), (1, 16), (2, 2), TILE, (2, 8), (4, 4), (4, 8))
_RUNS = 3  # of a form in each turn
YARDSTICK = "a dense 3×3 convolution of that size"
Run = Callable[[], None]


def exported_body(size: Size, tile: tuple[int, int]) -> onnx.ModelProto:
    """One node with the body that files carry, or that body with another tile; height and width are free."""
    geometry = SauGeometry(size.kernel, size.scale, size.scale)
    node = helper.make_node(
        OP_TYPE, ["feature", "logits"], ["upsampled"], domain=DOMAIN, kernel=size.kernel, scale=size.scale,
        dilation=size.scale, plugin_namespace=DOMAIN, plugin_version="1",
    )  # fmt: skip
    info = helper.make_tensor_value_info
    feature = info("feature", 1, ["N", size.channels, "H", "W"])
    logits = info("logits", 1, ["N", size.kernel**2 * size.scale**2, "H", "W"])
    output = info("upsampled", 1, ["N", size.channels, "sH", "sW"])
    return helper.make_model(
        helper.make_graph([node], "body", [feature, logits], [output]),
        functions=[sau_function(geometry, tile)],
        opset_imports=[helper.make_opsetid("", 18), helper.make_opsetid(DOMAIN, 1)],
        ir_version=8,
    )


def unfold_and_einsum(feature: Tensor, logits: Tensor, size: Size) -> Tensor:
    """What PyTorch users write."""
    (_, c, high, wide), k, s = size.output, size.kernel, size.scale
    weights = logits.view(1, k * k, s, s, size.height, size.width).softmax(dim=1)
    patches = unfold(feature, k, padding=k // 2).view(1, c, k * k, size.height, size.width)
    return torch.einsum("nckhw,nkyxhw->nchywx", patches, weights).reshape(1, c, high, wide)


def our_operator(feature: Tensor, logits: Tensor, size: Size) -> Tensor:
    return semantic_aware_upsample(feature, logits, size.kernel, size.scale, size.scale)


IN_PYTORCH = {"PyTorch, unfold and einsum": unfold_and_einsum, "PyTorch, our operator": our_operator}
IN_ONNX: dict[str, Callable[[Size], onnx.ModelProto]] = {
    **{f"exported body, tiles of {tile[0]}×{tile[1]}": lambda size, tile=tile: exported_body(size, tile)
       for tile in TILES},
    **ALTERNATIVES,
    YARDSTICK: dense_convolution,
}  # fmt: skip


def main() -> None:
    arguments = _arguments()
    if arguments.child is not None:
        index, form, threads = arguments.child
        print(json.dumps(_memory(SIZES[int(index)], form, int(threads))))
        return
    for index in arguments.sizes:
        _report(index, SIZES[index], arguments)
    print(f"{machine()}; ONNX Runtime {onnxruntime.__version__}, PyTorch {torch.__version__}, float32.")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, nargs="+", default=[2, 1])
    parser.add_argument("--rounds", type=int, default=5, help="turns of each form; the fastest run counts")
    parser.add_argument("--sizes", type=int, nargs="+", choices=range(len(SIZES)), default=range(len(SIZES)))
    parser.add_argument("--forms", nargs="*", default=[], metavar="TEXT", help="only forms with one of these in a name")
    parser.add_argument("--no-memory", action="store_true", help="spare the processes that measure memory")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    return parser.parse_args()


def _report(index: int, size: Size, arguments: argparse.Namespace) -> None:
    wanted = [name for name in (*IN_ONNX, *IN_PYTORCH) if _chosen(name, arguments.forms)]
    times, bounds = {}, {}
    for threads in arguments.threads:
        bandwidth = copy_bandwidth(threads)
        bounds[threads] = 1e3 * size.least_bytes / bandwidth
        times[threads] = _times(size, wanted, threads, arguments.rounds)
    c, h, w = size.channels, size.height, size.width
    copies = ", ".join(f"{bounds[count]:.1f} ms with {_threads(count)}" for count in arguments.threads)
    mebibytes = size.least_bytes / 2**20
    print(f"C = {c}, {h}×{w} → {size.scale * h}×{size.scale * w}, k = {size.kernel}: ", end="")
    print(f"at least {mebibytes:.1f} MiB, which a copy moves in {copies}\n")
    columns = [entry for count in arguments.threads for entry in (f"ms, {_threads(count)}", "× bytes")]
    print(f"| form | {' | '.join(columns)} | MiB |\n|---|{'---:|' * (len(columns) + 1)}")
    for name in sorted(wanted, key=lambda form: times[arguments.threads[0]][form]):
        cells = []
        for count in arguments.threads:
            cells += [f"{times[count][name]:.1f}", f"{times[count][name] / bounds[count]:.1f}"]
        memory = "" if arguments.no_memory else f"{_in_child(index, name, arguments.threads[0]):.0f}"
        print(f"| {name} | {' | '.join(cells)} | {memory} |", flush=True)
    print()


def _threads(count: int) -> str:
    return f"{count} thread{'s' * (count > 1)}"


def _chosen(name: str, patterns: list[str]) -> bool:
    return not patterns or any(pattern in name for pattern in patterns)


def _times(size: Size, names: list[str], threads: int, rounds: int) -> dict[str, float]:
    """Least milliseconds by form; all results are compared with our PyTorch operator's first."""
    feature, logits = _arrays(size)
    expected = our_operator(feature, logits, size).numpy()
    result = np.zeros(size.output, np.float32)
    best = dict.fromkeys(names, float("inf"))
    for _ in range(rounds):
        for name in names:
            # Opened for its turn alone: the threads of an open session wait for work on the cores that others need.
            run = _form(size, name, threads, feature, logits, result)
            result.fill(0)
            run()
            if name != YARDSTICK:
                np.testing.assert_allclose(result, expected, atol=1e-4, err_msg=name)
            for _ in range(_RUNS):
                start = time.perf_counter()
                run()
                best[name] = min(best[name], 1e3 * (time.perf_counter() - start))
    return best


def _form(size: Size, name: str, threads: int, feature: Tensor, logits: Tensor, result: np.ndarray) -> Run:
    """What one call of computes ``result``."""
    if name in IN_PYTORCH:
        torch.set_num_threads(threads)
        function = IN_PYTORCH[name]
        return lambda: np.copyto(result, function(feature, logits, size).numpy())
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    model = IN_ONNX[name](size).SerializeToString()
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    inputs = {"feature": feature.numpy(), "logits": logits.numpy()}
    if name == YARDSTICK:
        inputs["feature"] = np.ones(size.output, np.float32)
    for entry in session.get_inputs():
        binding.bind_ortvalue_input(entry.name, onnxruntime.OrtValue.ortvalue_from_numpy(inputs[entry.name]))
    binding.bind_output("upsampled", "cpu", 0, np.float32, size.output, result.ctypes.data)
    return lambda: session.run_with_iobinding(binding)


def _arrays(size: Size) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(1)
    feature = torch.randn(1, size.channels, size.height, size.width, generator=draw)
    return feature, torch.randn(1, size.kernel**2 * size.scale**2, size.height, size.width, generator=draw)


def _in_child(index: int, form: str, threads: int) -> float:
    command = [sys.executable, __file__, "--child", str(index), form, str(threads)]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)


def _memory(size: Size, name: str, threads: int) -> float:
    """Growth of this process's peak memory in MiB by one run."""
    feature, logits = _arrays(size)
    result = np.ones(size.output, np.float32)  # ones, so that its pages exist
    run = _form(size, name, threads, feature, logits, result)
    forget_peak()
    before = peak_memory()
    run()
    return peak_memory() - before


if __name__ == "__main__":
    main()
