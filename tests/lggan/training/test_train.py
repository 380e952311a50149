"""Whole runs on a tiny data set: what they leave behind, how they end, and what stops them."""

from __future__ import annotations

import errno
import json
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import TracebackType

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

import lggan.training.loop as loop_module
import lggan.training.semantic_synthesis as task_module
import lggan.training.trainer as trainer_module
from lggan.checkpoint import load_generator
from lggan.losses.perceptual import PerceptualFeatures
from lggan.networks.semantics import encode_semantics
from lggan.preset import Preset, load_preset
from lggan.training.journal import read_journal
from lggan.training.loop import TrainResult
from lggan.training.options import TrainOptions
from lggan.training.precision import TrainPrecision
from lggan.training.train import train
from runtime.contract.errors import BackendError, InputError, LgganError, MissingError, UsageError

FILES = ["generator.safetensors", "metrics.jsonl", "samples", "settings.json", "state.safetensors", "tensorboard"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, make_tiny_dataset: Callable[..., Path]) -> Path:
    return make_tiny_dataset(tmp_path_factory.mktemp("data") / "tiny")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Path:
    """A run of 6 steps, saved after every third: what most tests look at or compare with."""
    run = tmp_path_factory.mktemp("whole") / "run"
    train(load_preset("tiny"), options(data, run))
    return run


def options(data: Path, run: Path, **changes: object) -> TrainOptions:
    base = TrainOptions(data, run, steps=6, device="cpu", save_every=3, sample_every=4, log_every=1)
    base = replace(base, licence="test only")
    return replace(base, **changes)  # type: ignore[arg-type]


def files_of(run: Path) -> list[str]:
    return sorted(path.name for path in run.iterdir())


def steps_of(run: Path) -> list[float]:
    return [line["step"] for line in read_journal(run)]


def saved_step(run: Path) -> int:
    return int(metadata(run)["step"])  # type: ignore[call-overload]


def metadata(run: Path) -> dict[str, object]:
    data = (run / "state.safetensors").read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    meta: dict[str, object] = json.loads(header["__metadata__"]["lggan_state"])
    return meta


def assert_equal_tensors(first: Path, second: Path) -> None:
    ours, theirs = load_file(first), load_file(second)
    assert ours.keys() == theirs.keys()
    different = [name for name in ours if not torch.equal(ours[name], theirs[name])]
    assert different == []


# --- a run that ends by itself ---


def test_what_a_run_leaves_behind(whole: Path) -> None:
    assert files_of(whole) == FILES
    assert steps_of(whole) == [1, 2, 3, 4, 5, 6]
    assert [line["epoch"] for line in read_journal(whole)] == [0, 0, 1, 1, 2, 2]  # 5 examples, 2 per step
    assert files_of(whole / "samples") == ["step_000004.png", "step_000006.png"]
    with Image.open(whole / "samples" / "step_000006.png") as sheet:
        assert sheet.width > 6 * 64
        assert sheet.height > 4 * 32
    assert saved_step(whole) == 6
    settings = json.loads((whole / "settings.json").read_text())
    assert settings == metadata(whole)["settings"]
    assert settings["generator"]["ngf"] == 4


def test_the_checkpoint_is_the_averaged_generator_with_its_card(whole: Path) -> None:
    generator, card = load_generator(whole / "generator.safetensors")
    state = load_file(whole / "state.safetensors")
    for name, tensor in generator.state_dict().items():
        if not name.endswith("num_batches_tracked") and f"average/{name}" in state:
            assert torch.equal(tensor, state[f"average/{name}"]), name
    stem = "average/global_branch.blocks.6.conv_0.parametrizations.weight"
    weight, u, v = (state[f"{stem}.{part}"].double() for part in ("original", "0._u", "0._v"))
    folded = weight / (u @ weight.flatten(1) @ v)
    torch.testing.assert_close(generator.global_branch.blocks[6].conv_0.weight.double(), folded, rtol=1e-5, atol=1e-7)
    assert (card.name, card.height, card.width, card.void, card.licence) == ("tiny", 32, 64, 3, "test only")
    assert card.training["steps"] == 6
    assert card.training["examples"] == 5
    assert card.training["final_losses"].keys() >= {"adversarial", "local", "discriminator_real"}
    assert card.provenance == ("trained for 6 steps on 5 examples at 32x64",)
    made = generator(encode_semantics(torch.zeros(1, 1, 64, 96, dtype=torch.uint8), 4))
    assert torch.isfinite(made.final).all()


def test_the_same_run_again_is_the_same_run(whole: Path, data: Path, tmp_path: Path) -> None:
    result = train(load_preset("tiny"), options(data, tmp_path / "again", log_every=4, weights_dtype=torch.float16))
    assert result == replace(
        result, checkpoint=tmp_path / "again" / "generator.safetensors", steps=6, epochs=3.0, interrupted=False
    )
    assert_equal_tensors(tmp_path / "again" / "state.safetensors", whole / "state.safetensors")
    stored = load_file(result.checkpoint)
    for name, tensor in load_file(whole / "generator.safetensors").items():
        assert torch.equal(stored[name], tensor.half()), name
    assert steps_of(tmp_path / "again") == [4, 6]  # the last step always
    assert result.terms == {k: v for k, v in read_journal(whole)[-1].items() if k in result.terms}


def test_length_follows_from_the_epochs(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    epochs: list[int] = []
    monkeypatch.setattr(trainer_module.Trainer, "step", lambda self, examples, i, epoch: (epochs.append(epoch), {})[1])
    monkeypatch.setattr(loop_module.TrainingLoop, "_save", lambda self, step: None)
    monkeypatch.setattr(loop_module.TrainingLoop, "_finish", lambda self, step, terms: None)
    result = train(load_preset("tiny"), options(data, tmp_path / "run", steps=None))
    assert epochs == [0, 0, 1, 1, 2, 2, 3, 3]  # 2 epochs and 2 of decay
    assert result.steps == 8


# --- continuing ---


def test_resuming_is_bit_identical(whole: Path, data: Path, tmp_path: Path) -> None:
    """Six steps at once, or three, a new process's worth of objects, and three more: every tensor is the same."""
    run = tmp_path / "run"
    preset = load_preset("tiny")
    assert train(preset, options(data, run, steps=3)).steps == 3
    torch.manual_seed(12345)  # whatever the next process happens to have drawn
    assert train(preset, options(data, run, resume=True)).steps == 6
    assert_equal_tensors(run / "state.safetensors", whole / "state.safetensors")
    assert_equal_tensors(run / "generator.safetensors", whole / "generator.safetensors")
    strip = [{k: v for k, v in line.items() if k != "seconds_per_step"} for line in read_journal(run)]
    assert strip == [{k: v for k, v in line.items() if k != "seconds_per_step"} for line in read_journal(whole)]
    assert [stretch["first_step"] for stretch in metadata(run)["past"]["stretches"]] == [0, 3]  # type: ignore[index]


def test_resuming_a_finished_run_changes_nothing(whole: Path, data: Path, tmp_path: Path) -> None:
    run = copy_of(whole, tmp_path)
    assert train(load_preset("tiny"), options(data, run, resume=True)).steps == 6
    assert_equal_tensors(run / "state.safetensors", whole / "state.safetensors")
    assert_equal_tensors(run / "generator.safetensors", whole / "generator.safetensors")
    assert steps_of(run) == [1, 2, 3, 4, 5, 6]


def copy_of(run: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("state.safetensors", "metrics.jsonl", "settings.json"):
        (copy / name).write_bytes((run / name).read_bytes())
    return copy


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda preset: replace(preset, train=replace(preset.train, lr_generator=3e-4)), "lr_generator was 0.0001, is"),
        (lambda preset: replace(preset, generator=replace(preset.generator, ngf=8)), "generator.ngf was 4, is 8"),
        (lambda preset: replace(preset, losses=replace(preset.losses, local=2.0)), "losses.local was 1.0, is 2.0"),
        (lambda preset: replace(preset, train=replace(preset.train, seed=7)), "train.seed was 1, is 7"),
    ],
)
def test_other_settings_are_refused(
    whole: Path, data: Path, tmp_path: Path, change: Callable[[Preset], Preset], named: str
) -> None:
    run = copy_of(whole, tmp_path)
    before = (run / "state.safetensors").read_bytes()
    with pytest.raises(InputError, match="other settings") as caught:
        train(change(load_preset("tiny")), options(data, run, resume=True, steps=9))
    assert named in str(caught.value)
    assert (run / "state.safetensors").read_bytes() == before
    assert files_of(run) == ["metrics.jsonl", "settings.json", "state.safetensors"]


def test_other_data_are_refused(whole: Path, tmp_path: Path, make_tiny_dataset: Callable[..., Path]) -> None:
    run = copy_of(whole, tmp_path)
    fewer = make_tiny_dataset(tmp_path / "fewer", train=4)
    with pytest.raises(InputError, match="examples was 5, is 4"):
        train(load_preset("tiny"), options(fewer, run, resume=True, steps=9))


def test_a_run_is_not_overwritten_without_resume(whole: Path, data: Path, tmp_path: Path) -> None:
    run = copy_of(whole, tmp_path)
    with pytest.raises(UsageError, match="--resume"):
        train(load_preset("tiny"), options(data, run))
    assert saved_step(run) == 6


def test_nothing_to_resume(data: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no run to go on from"):
        train(load_preset("tiny"), options(data, tmp_path / "absent", resume=True))
    assert not (tmp_path / "absent").exists()


def test_starting_from_another_runs_weights(whole: Path, data: Path, tmp_path: Path) -> None:
    """At another size: the networks are adopted, optimisers and steps are fresh."""
    preset = load_preset("tiny")
    wider = replace(preset, generator=replace(preset.generator, width=96), train=replace(preset.train, load_width=96))
    start = whole / "state.safetensors"
    run = tmp_path / "run"
    seen: list[Tensor] = []
    original = trainer_module.Trainer.step

    def spy(self: trainer_module.Trainer, *arguments: object) -> dict[str, float]:
        seen.append(self.state.generator.encoder.conv1.weight.detach().clone())
        return original(self, *arguments)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer_module.Trainer, "step", spy)
        assert train(wider, options(data, run, steps=1, start=start)).steps == 1
    assert torch.equal(seen[0], load_file(start)["generator/encoder.conv1.weight"])
    assert load_file(run / "state.safetensors")["generator_optimizer/0/step"] == 1
    card = load_generator(run / "generator.safetensors")[1]
    assert card.provenance[0].startswith("started from a run of 6 steps at 32x64 (state ")
    origin = card.training["past"]["origin"]
    assert (origin["steps"], origin["height"], origin["width"]) == (6, 32, 64)
    foreign = whole / "generator.safetensors"
    for bad, message in ((tmp_path / "absent", "does not exist"), (foreign, "no training state")):
        with pytest.raises(InputError, match=message):
            train(preset, options(data, tmp_path / "bad", start=bad))
    assert not (tmp_path / "bad").exists()
    narrow = replace(preset, generator=replace(preset.generator, ngf=2))
    with pytest.raises(InputError, match="cannot be started from"):
        train(narrow, options(data, tmp_path / "bad", start=start))
    with pytest.raises(UsageError, match="one of them"):
        train(preset, options(data, run, start=start, resume=True))


# --- runs that are interrupted ---


class _SignalsAt:
    """A progress display that sends this process a signal while a step's result is shown."""

    def __init__(self, *steps: int, number: signal.Signals = signal.SIGINT) -> None:
        self.steps, self.number, self.count = steps, number, 0

    def task(self, name: str, total: float | None = None) -> _SignalsAt:
        return self

    def advance(self, steps: float = 1.0, note: str = "") -> None:
        self.count += 1
        if self.count in self.steps:
            os.kill(os.getpid(), self.number)

    def __enter__(self) -> _SignalsAt:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_after_the_step_with_everything_saved(
    whole: Path, data: Path, tmp_path: Path, number: signal.Signals
) -> None:
    run = tmp_path / "run"
    handlers = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    result = train(load_preset("tiny"), options(data, run, save_every=100), _SignalsAt(2, number=number))
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert (result.steps, result.interrupted) == (2, True)
    assert saved_step(run) == 2
    assert files_of(run) == FILES
    assert load_generator(result.checkpoint)[1].training["steps"] == 2
    if number is signal.SIGINT:
        assert not train(load_preset("tiny"), options(data, run, resume=True)).interrupted
        assert_equal_tensors(run / "state.safetensors", whole / "state.safetensors")
        assert steps_of(run) == [1, 2, 3, 4, 5, 6]


def test_a_second_signal_ends_it_at_once(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two steps the first signal is obeyed, so the second must come before: here while the journal writes."""
    original = loop_module.Journal.write

    def write(*arguments: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        original(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(loop_module.Journal, "write", write)
    with pytest.raises(KeyboardInterrupt):
        train(load_preset("tiny"), options(data, tmp_path / "run"))
    assert not (tmp_path / "run" / "state.safetensors").exists()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.fixture
def poisoned(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], None]]:
    """Makes one term NaN at the given step, counted from 1."""
    original = task_module.generator_terms
    calls = 0

    def arm(step: int) -> None:
        def terms(*arguments: object) -> dict[str, Tensor]:
            nonlocal calls
            calls += 1
            found = original(*arguments)  # type: ignore[arg-type]
            return {**found, "classification": found["classification"] * float("nan")} if calls == step else found

        monkeypatch.setattr(task_module, "generator_terms", terms)

    yield arm
    monkeypatch.undo()


def test_a_loss_that_is_not_finite_stops_the_run(
    whole: Path, data: Path, tmp_path: Path, poisoned: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    poisoned(5)
    with pytest.raises(BackendError, match=r"step 5 \(term: classification\).*resume"):
        train(load_preset("tiny"), options(data, run))
    assert saved_step(run) == 3
    assert steps_of(run) == [1, 2, 3, 4]
    assert "generator.safetensors" not in files_of(run)
    monkeypatch.undo()
    train(load_preset("tiny"), options(data, run, resume=True))
    assert_equal_tensors(run / "state.safetensors", whole / "state.safetensors")
    assert steps_of(run) == [1, 2, 3, 4, 5, 6]


def test_weights_that_are_not_finite_do_not_replace_the_good_state(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gradient can overflow while the loss is finite; the loss of the next step would tell, but here is none."""
    run = tmp_path / "run"
    original = trainer_module.Trainer.step

    def step(self: trainer_module.Trainer, examples: object, index: int, epoch: int) -> dict[str, float]:
        terms = original(self, examples, index, epoch)  # type: ignore[arg-type]
        if index == 5:
            with torch.no_grad():
                self.state.discriminator.scales[0].last.bias.fill_(float("inf"))
        return terms

    monkeypatch.setattr(trainer_module.Trainer, "step", step)
    with pytest.raises(BackendError, match=r"discriminator/scales\.0\.last\.bias .* not finite after step 6"):
        train(load_preset("tiny"), options(data, run))
    assert saved_step(run) == 3
    assert "generator.safetensors" not in files_of(run)


@pytest.mark.parametrize("call", ["replace", "write"])
def test_a_full_disk_leaves_the_previous_state(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    run = tmp_path / "run"
    count = 0

    def refuses(path: Path) -> bool:
        nonlocal count
        count += "state" in path.name
        return "state" in path.name and count == 2

    replace_file, write_bytes = os.replace, Path.write_bytes
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def replacing(source: Path, target: Path) -> None:
        if refuses(Path(target)):
            raise full
        replace_file(source, target)

    def writing(self: Path, data: bytes) -> int:
        if refuses(self):
            write_bytes(self, data[:1000])
            raise full
        return write_bytes(self, data)

    if call == "replace":
        monkeypatch.setattr(os, "replace", replacing)
    else:
        monkeypatch.setattr(Path, "write_bytes", writing)
    with pytest.raises(MissingError, match="no space left"):
        train(load_preset("tiny"), options(data, run, save_every=2))
    assert saved_step(run) == 2
    assert load_file(run / "state.safetensors")
    assert files_of(run) == ["metrics.jsonl", "settings.json", "state.safetensors", "tensorboard"]


# --- what never begins ---


def refused(preset: Preset, choice: TrainOptions, error: type[LgganError], match: str) -> None:
    with pytest.raises(error, match=match) as caught:
        train(preset, choice)
    assert "\n" not in str(caught.value)
    assert not (choice.output / "state.safetensors").exists()
    assert not (choice.output / "generator.safetensors").exists()


_SENSELESS = (
    ("steps", 0), ("save_every", 0), ("sample_every", -1), ("log_every", 0), ("workers", -1), ("prefetch", 0),
    ("peer_timeout", 0.0), ("peer_timeout", float("inf")),
)  # fmt: skip


def test_options_without_sense(data: Path, tmp_path: Path) -> None:
    for name, value in _SENSELESS:
        with pytest.raises(UsageError, match=name):
            options(data, tmp_path, **{name: value})


def test_requests_that_cannot_be_met(data: Path, tmp_path: Path) -> None:
    preset, run = load_preset("tiny"), tmp_path / "run"
    refused(preset, options(tmp_path / "absent", run), InputError, "not a folder")
    refused(preset, options(data, run, precision=TrainPrecision.FP16), UsageError, "fp16")
    refused(preset, options(data, run, device="tpu"), UsageError, "tpu")
    with_vgg = replace(preset, train=replace(preset.train, perceptual=PerceptualFeatures.VGG19))
    refused(with_vgg, options(data, run), UsageError, "--perceptual-weights")
    small = replace(preset, train=replace(preset.train, load_height=16))
    refused(small, options(data, run), UsageError, "72x16 is smaller")
    if not torch.cuda.is_available():
        refused(preset, options(data, run, device="cuda"), MissingError, "CUDA")
    assert not run.exists()


def test_a_folder_that_cannot_be_made(data: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(MissingError):
        train(load_preset("tiny"), options(data, tmp_path / "file" / "run"))


@pytest.mark.parametrize("workers", [0, 1])
def test_bad_data_end_the_run_with_the_file_named(
    tmp_path: Path, make_tiny_dataset: Callable[..., Path], workers: int
) -> None:
    root = make_tiny_dataset(tmp_path / "broken", train=2)
    label = root / "train" / "labels" / "scene9.png"
    Image.fromarray(np.full((48, 96), 77, np.uint8)).save(label)
    refused(load_preset("tiny"), options(root, tmp_path / "run", workers=workers), InputError, f"^{label}.* 77 ")


def test_a_preset_with_edges_needs_instance_maps(data: Path, tmp_path: Path) -> None:
    preset = load_preset("tiny")
    preset = replace(preset, generator=replace(preset.generator, edges=True))
    refused(preset, options(data, tmp_path / "run"), InputError, "no instance map")


def test_loading_in_other_processes_changes_nothing(whole: Path, data: Path, tmp_path: Path) -> None:
    train(load_preset("tiny"), options(data, tmp_path / "run", workers=2, sample_every=100))
    assert_equal_tensors(tmp_path / "run" / "state.safetensors", whole / "state.safetensors")


def test_the_plan_is_drawn_as_it_is_needed(data: Path, tmp_path: Path) -> None:
    """A run of a billion steps must begin at once."""
    result: TrainResult = train(load_preset("tiny"), options(data, tmp_path / "run", steps=10**9), _SignalsAt(1))
    assert result.steps == 1
