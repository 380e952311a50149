"""Small generators with random weights, exported once per session: PyTorch's exporter takes seconds for each."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")

import onnx  # noqa: E402

import export.proof_graph  # noqa: E402
from export.graph_module import LabelsToPicture  # noqa: E402
from export.onnx_export import ExportResult, export_onnx  # noqa: E402
from export.options import ExportOptions  # noqa: E402
from export.trace import trace  # noqa: E402
from lggan.checkpoint import save_generator  # noqa: E402
from tests.export.samples import Case, Sample, random_generator  # noqa: E402

torch.set_num_threads(1)


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
        digest = hashlib.sha256(f"{type(module)} {module.generator.config} {module.outputs}".encode())
        for name, tensor in module.state_dict().items():
            digest.update(name.encode() + tensor.numpy().tobytes())
        key = digest.hexdigest()
        if key not in traced:
            traced[key] = trace(module)
        copy = onnx.ModelProto()
        copy.CopyFrom(traced[key])
        return copy

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export.proof_graph, "trace", remembered)
        yield


@pytest.fixture(scope="session")
def exported(sample: Sample, tmp_path_factory: pytest.TempPathFactory) -> ExportResult:
    """The usual case as a file with all defaults."""
    return export_onnx(sample.path, tmp_path_factory.mktemp("exported") / "model.onnx", ExportOptions())
