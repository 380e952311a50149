"""Official weights: imported ones draw the pictures that the published network draws; bad files are named, not run."""

from __future__ import annotations

import json
import pickle
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from lggan.checkpoint import load_generator
from lggan.config import GeneratorConfig, SauPlacement, UpsamplingDepth
from lggan.import_weights import import_official, translate
from lggan.networks.generator import LGGANGenerator, Synthesis
from lggan.networks.semantics import encode_semantics
from lggan.preset import Preset, load_preset
from runtime.contract.card import ClassInfo
from runtime.contract.errors import InputError, UsageError
from tests.lggan.official_reference import Outputs, Shape, official_state, run

MERGED = Shape(classes=5, edges=True, heads=3, scored=2, ngf=2, doublings=6, spade_hidden=8)
PLAIN = Shape(classes=4, edges=False, heads=4, scored=4, ngf=2, doublings=5, spade_hidden=8)


def preset_of(shape: Shape) -> Preset:
    classes = tuple(ClassInfo(f"class {index}", (index, 0, 0)) for index in range(shape.classes))
    generator = GeneratorConfig(
        classes=shape.classes,
        height=64,
        width=128,
        edges=shape.edges,
        heads=shape.heads,
        ngf=64,  # the file's width counts, not the preset's
        spade_hidden=shape.spade_hidden,
        depth=UpsamplingDepth.MORE if shape.doublings == 6 else UpsamplingDepth.NORMAL,
    )
    return replace(load_preset("tiny"), classes=classes, void=None, generator=generator)


def random_semantics(shape: Shape, height: int = 64, width: int = 128) -> Tensor:
    """Blocks of 8 pixels, as far as possible of every class but the last."""
    draw = torch.Generator().manual_seed(5)
    blocks = torch.randint(0, shape.classes - 1, (2, 1, height // 8, width // 8), generator=draw)
    label = blocks.repeat_interleave(8, dim=2).repeat_interleave(8, dim=3)
    return encode_semantics(label, shape.classes, label // 2 if shape.edges else None)


def assert_equal(ours: Synthesis, theirs: Outputs, tolerance: float) -> None:
    pairs = {
        "final": (ours.final, theirs.final),
        "global": (ours.global_image, theirs.result_global),
        "local": (ours.local_image, theirs.result_local),
        "attention": (ours.attention_local, theirs.attention_local),
        "score": (ours.classification.scores, theirs.score),
        "valid": (ours.classification.present, theirs.valid),
    }
    for name, (mine, reference) in pairs.items():
        assert mine.shape == reference.shape, name
        assert (mine - reference).abs().max().item() < tolerance, name


@pytest.mark.parametrize("shape", [MERGED, PLAIN])
def test_imported_network_equals_the_published_one(shape: Shape, tmp_path: Path) -> None:
    state = official_state(shape, seed=1)
    torch.save(state, tmp_path / "200_net_G.pth")
    result = import_official(tmp_path / "200_net_G.pth", preset_of(shape), tmp_path / "ours.safetensors")
    generator, card = load_generator(result.output)
    assert result.ngf == card.generator["ngf"] == shape.ngf
    assert result.entries == len(state)
    assert set(result.dropped) == {name for name in state if name.startswith("fc.") or name.endswith("tracked")}
    assert generator.config.sau.placement is SauPlacement.NONE
    assert "CC BY-NC-SA" in card.licence

    semantics = random_semantics(shape).double()
    with torch.no_grad():
        assert_equal(generator.double()(semantics), run(state, shape, semantics), 2e-5)  # weights were rounded once


def test_folding_is_exact_before_the_rounding_to_single(tmp_path: Path) -> None:
    """Compared in float64: every folded weight is the nearest float32 of W / (u^T W v)."""
    state = official_state(PLAIN, seed=2)
    ours, _ = translate(state)
    checked = 0
    for name in state:
        if not name.endswith(".weight_orig"):
            continue
        stem = name.removesuffix(".weight_orig")
        weight, u, v = (state[f"{stem}.weight_{kind}"].double().numpy() for kind in ("orig", "u", "v"))
        expected = weight / (u @ weight.reshape(weight.shape[0], -1) @ v)
        index = ("head_0", "G_middle_0", "G_middle_1", "up_0", "up_1", "up_2", "up_3").index(stem.split(".")[0])
        found = ours[f"global_branch.blocks.{index}.{stem.split('.')[1]}.weight"].double().numpy()
        np.testing.assert_allclose(found, expected, rtol=1e-7)
        checked += 1
    assert checked == 18


def test_official_cityscapes_numbers(shared_dir: Path, tmp_path: Path) -> None:
    """The published network at ngf 8; its weights are drawn anew from the key names, as the reference's README says."""
    folder = shared_dir / "reference"
    state = _drawn_from_names(json.loads((folder / "keys_cityscapes_ngf8.json").read_text()))
    torch.save(state, tmp_path / "net_G.pth")
    preset = load_preset("cityscapes")
    import_official(tmp_path / "net_G.pth", preset, tmp_path / "ours.safetensors")
    generator, _ = load_generator(tmp_path / "ours.safetensors")
    stored = np.load(folder / "cityscapes_ngf8.npz")
    label, instance = (torch.from_numpy(stored[name].astype(np.int32))[:, None] for name in ("label", "instance"))
    with torch.no_grad():
        made = generator(encode_semantics(label, 35, instance))
    for name, tensor in (
        ("final", made.final),
        ("result_global", made.global_image),
        ("result_local", made.local_image),
        ("attention_local", made.attention_local),
        ("class_score", made.classification.scores[0]),
        ("class_valid", made.classification.present[0]),
    ):
        np.testing.assert_allclose(tensor.numpy(), stored[name], rtol=0, atol=1e-4, err_msg=name)


def _drawn_from_names(keys: dict[str, tuple[list[int], str]]) -> dict[str, Tensor]:
    """PCG64 seeded by the CRC-32 of each key; the scale follows from what kind of entry it is."""
    state: dict[str, np.ndarray] = {}
    for key, (shape, _) in keys.items():
        draw = np.random.Generator(np.random.PCG64(zlib.crc32(key.encode())))
        match key.rsplit(".", 1)[-1]:
            case "num_batches_tracked":
                state[key] = np.array(1)
            case "running_var":
                state[key] = draw.random(shape) + 0.5
            case "running_mean":
                state[key] = 0.2 * draw.standard_normal(shape)
            case "bias":
                state[key] = 0.1 * draw.standard_normal(shape)
            case "weight_u":
                vector = draw.standard_normal(shape)
                state[key] = (vector / np.linalg.norm(vector)).astype(np.float32)
            case "weight_v":
                pass  # follows from u
            case _:
                state[key] = draw.standard_normal(shape) / np.sqrt(np.prod(shape[1:]) if len(shape) > 1 else shape[0])
    for key in [key for key in state if key.endswith("weight_orig")]:
        matrix = state[key].astype(np.float32).astype(np.float64).reshape(state[key].shape[0], -1)
        u = state[key.replace("_orig", "_u")].astype(np.float64)
        for _ in range(15):
            v = matrix.T @ u
            v /= np.linalg.norm(v)
            u = matrix @ v
            u /= np.linalg.norm(u)
        state[key.replace("_orig", "_u")], state[key.replace("_orig", "_v")] = u, v
    return {key: torch.from_numpy(np.asarray(value, np.float32)) for key, value in state.items()}


def test_keys_of_a_parallel_training_are_understood(tmp_path: Path) -> None:
    state = official_state(PLAIN, seed=3)
    torch.save({f"module.{name}": tensor for name, tensor in state.items()}, tmp_path / "net_G.pth")
    import_official(tmp_path / "net_G.pth", preset_of(PLAIN), tmp_path / "parallel.safetensors")
    torch.save(state, tmp_path / "net_G2.pth")
    import_official(tmp_path / "net_G2.pth", preset_of(PLAIN), tmp_path / "single.safetensors")
    parallel, single = (load_file(tmp_path / f"{name}.safetensors") for name in ("parallel", "single"))
    assert [name for name in single if not torch.equal(single[name], parallel[name])] == []


def refused(state: object, tmp_path: Path, shape: Shape = PLAIN) -> str:
    """The message that an import of this content ends with; nothing may be written."""
    path = tmp_path / "net_G.pth"
    torch.save(state, path)
    with pytest.raises(InputError) as caught:
        import_official(path, preset_of(shape), tmp_path / "ours.safetensors")
    assert [entry.name for entry in tmp_path.iterdir()] == ["net_G.pth"]
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_missing_unexpected_and_misshapen_keys_are_named_at_once(tmp_path: Path) -> None:
    state = official_state(PLAIN, seed=4)
    del state["conv3.bias"]
    state["conv6.weight"] = torch.zeros(1)
    state["deconv9.weight"] = torch.zeros(3, 9, 3, 3)
    state["conv2.bias"][0] = float("nan")
    message = refused(state, tmp_path)
    assert "encoder.conv3.bias is missing" in message
    assert "conv6.weight is unexpected" in message
    assert "local_branch.fuse.weight has shape (3, 9, 3, 3) instead of (3, 12, 3, 3)" in message
    assert "encoder.conv2.bias holds NaN or infinity" in message


@pytest.mark.parametrize("wrong", ["absent", "misshapen", "one too many"])
def test_a_wrong_head_is_named(tmp_path: Path, wrong: str) -> None:
    state = official_state(PLAIN, seed=4)
    if wrong == "absent":
        del state["deconv5_1.weight"]
    elif wrong == "misshapen":
        state["deconv5_1.weight"] = torch.zeros(3, 2, 5, 5)
    else:
        state["deconv5_4.weight"], state["deconv5_4.bias"] = torch.zeros(3, 2, 7, 7), torch.zeros(3)
    assert "heads.weight" in refused(state, tmp_path)


@pytest.mark.parametrize(
    ("entry", "value"),
    [
        ("up_0.conv_s.weight_u", None),
        ("up_0.conv_s.weight_v", torch.zeros(3)),
        ("up_0.conv_s.weight_orig", torch.zeros(16)),
        ("up_0.conv_s.weight_orig", torch.zeros(())),
    ],
)
def test_broken_spectral_normalisation(tmp_path: Path, entry: str, value: Tensor | None) -> None:
    state = official_state(PLAIN, seed=4)
    if value is None:
        del state[entry]
    else:
        state[entry] = value
    assert "up_0.conv_s.weight" in refused(state, tmp_path)


def test_weights_of_zero_cannot_be_normalised(tmp_path: Path) -> None:
    state = official_state(PLAIN, seed=4)
    state["head_0.conv_0.weight_orig"].zero_()
    assert "global_branch.blocks.0.conv_0.weight holds NaN or infinity" in refused(state, tmp_path)


@pytest.mark.parametrize("width", [0, 1, 1000, 10**12])
def test_a_lying_width_costs_nothing(tmp_path: Path, width: int) -> None:
    """A stored tensor can claim any size with one number behind it: no network of that size may be made."""
    state = official_state(PLAIN, seed=4)
    state["conv1.weight"] = torch.zeros(1, 1, 1, 1).expand(width, 4, 7, 7)
    refused(state, tmp_path)


def test_a_first_layer_without_kernels(tmp_path: Path) -> None:
    state = official_state(PLAIN, seed=4)
    state["conv1.weight"] = torch.zeros(5)
    assert "conv1.weight" in refused(state, tmp_path)


def test_another_data_sets_weights(tmp_path: Path) -> None:
    assert "does not fit preset tiny" in refused(official_state(MERGED, seed=5), tmp_path, PLAIN)


class _Bomb:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return (open, (str(self.mark), "w"))


def test_a_pickle_with_code_is_refused_and_not_run(tmp_path: Path) -> None:
    mark = tmp_path / "executed"
    path = tmp_path / "net_G.pth"
    bare = pickle.dumps(_Bomb(mark), protocol=2)
    for write in (lambda: torch.save({"conv1.weight": _Bomb(mark)}, path), lambda: path.write_bytes(bare)):
        write()
        with pytest.raises(InputError):
            import_official(path, preset_of(PLAIN), tmp_path / "ours.safetensors")
        assert [entry.name for entry in tmp_path.iterdir()] == ["net_G.pth"]


def test_a_pickled_module_is_refused(tmp_path: Path) -> None:
    refused(nn.Conv2d(4, 2, 7), tmp_path)
    refused({"epoch": 3, "model": {"conv1.weight": torch.zeros(1)}}, tmp_path)
    refused([torch.zeros(2)], tmp_path)


def test_damaged_and_absent_files(tmp_path: Path) -> None:
    path = tmp_path / "net_G.pth"
    torch.save(official_state(PLAIN, seed=6), path)
    whole = path.read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], b"PK\x03\x04" + bytes(100), b"not a checkpoint"):
        path.write_bytes(damaged)
        with pytest.raises(InputError):
            import_official(path, preset_of(PLAIN), tmp_path / "ours.safetensors")
    with pytest.raises(InputError, match="no weights file"):
        import_official(tmp_path / "absent.pth", preset_of(PLAIN), tmp_path / "ours.safetensors")
    assert [entry.name for entry in tmp_path.iterdir()] == ["net_G.pth"]


def test_an_existing_output_is_kept_unless_forced(tmp_path: Path) -> None:
    torch.save(official_state(PLAIN, seed=7), tmp_path / "net_G.pth")
    output = tmp_path / "ours.safetensors"
    output.write_bytes(b"precious")
    with pytest.raises(UsageError, match="force"):
        import_official(tmp_path / "net_G.pth", preset_of(PLAIN), output)
    assert output.read_bytes() == b"precious"
    import_official(tmp_path / "net_G.pth", preset_of(PLAIN), output, force=True)
    assert isinstance(load_generator(output)[0], LGGANGenerator)
