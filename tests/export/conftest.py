"""Small generators with random weights, exported once per session: PyTorch's exporter takes seconds for each."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")

import onnx  # noqa: E402

import export.onnx_export  # noqa: E402
from export.graph_module import LabelsToPicture  # noqa: E402
from export.onnx_export import ExportResult, export_onnx  # noqa: E402
from export.options import ExportOptions  # noqa: E402
from export.trace import trace  # noqa: E402
from lggan.checkpoint import save_generator  # noqa: E402
from lggan.config import SauPlacement, SauWindow  # noqa: E402
from lggan.networks.generator import LGGANGenerator  # noqa: E402
from lggan.preset import load_preset  # noqa: E402
from runtime.contract.card import ModelCard  # noqa: E402

torch.set_num_threads(1)


@dataclass(frozen=True)
class Sample:
    """A checkpoint on the disk, the generator that is in it, and its card."""

    path: Path
    generator: LGGANGenerator
    card: ModelCard


@dataclass(frozen=True)
class Case:
    """What differs between the samples."""

    placement: SauPlacement = SauPlacement.DECODERS
    edges: bool = False
    window: SauWindow = SauWindow.SOURCE
    kernel: int = 3


def random_generator(case: Case) -> tuple[LGGANGenerator, ModelCard]:
    """The preset `tiny` with random weights, biases and running statistics, none of them trivial."""
    preset = load_preset("tiny")
    sau = replace(preset.generator.sau, placement=case.placement, window=case.window, kernel=case.kernel)
    config = replace(preset.generator, edges=case.edges, residual_blocks=1, sau=sau)
    draw = torch.Generator().manual_seed(1)
    generator = LGGANGenerator(config).eval().requires_grad_(False)
    for name, tensor in [*generator.named_parameters(), *generator.named_buffers()]:
        if name.endswith("running_var"):
            tensor.uniform_(0.3, 2.0, generator=draw)
        elif name.endswith(("bias", "running_mean")):
            tensor.normal_(0, 0.3, generator=draw)
        elif tensor.dim() > 1:
            tensor.normal_(0, tensor[0].numel() ** -0.5, generator=draw)
    return generator, replace(preset.card(), instances=case.edges, generator=config.to_dict(), licence="test only")


@pytest.fixture(scope="session")
def make_sample(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Case], Sample]:
    """A checkpoint per case, written once."""
    folder = tmp_path_factory.mktemp("checkpoints")
    samples: dict[Case, Sample] = {}

    def make(case: Case) -> Sample:
        if case not in samples:
            generator, card = random_generator(case)
            path = folder / f"{len(samples)}.safetensors"
            save_generator(path, generator, card)
            samples[case] = Sample(path, generator, card)
        return samples[case]

    return make


@pytest.fixture(scope="session")
def sample(make_sample: Callable[[Case], Sample]) -> Sample:
    """The usual case: SAU in the decoders, no edges."""
    return make_sample(Case())


@pytest.fixture(scope="session", autouse=True)
def _trace_once() -> Iterator[None]:
    """Let equal networks be traced once per session. `test_tracing_twice_gives_equal_bytes` goes around it."""
    traced: dict[str, onnx.ModelProto] = {}

    def remembered(module: LabelsToPicture) -> onnx.ModelProto:
        digest = hashlib.sha256(f"{type(module.generator)} {module.generator.config}".encode())
        for name, tensor in module.state_dict().items():
            digest.update(name.encode() + tensor.numpy().tobytes())
        key = digest.hexdigest()
        if key not in traced:
            traced[key] = trace(module)
        copy = onnx.ModelProto()
        copy.CopyFrom(traced[key])
        return copy

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export.onnx_export, "trace", remembered)
        yield


@pytest.fixture(scope="session")
def exported(sample: Sample, tmp_path_factory: pytest.TempPathFactory) -> ExportResult:
    """The usual case as a file with all defaults."""
    return export_onnx(sample.path, tmp_path_factory.mktemp("exported") / "model.onnx", ExportOptions())
