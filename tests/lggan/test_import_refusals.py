"""Official weights that are none, or not the preset's: named in the file's own words, never run, nothing written."""

from __future__ import annotations

import pickle
import re
import zipfile
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from lggan.import_weights import import_official
from lggan.preset import Preset, load_preset
from runtime.contract.errors import InputError
from tests.lggan import official_cross_view
from tests.lggan.official_reference import Shape, official_state
from tests.lggan.test_import_weights import MERGED, PLAIN, preset_of

CITYSCAPES = Shape(classes=35, edges=True, heads=35, scored=35, ngf=1, doublings=6, spade_hidden=2, residual_blocks=1)


def refused(state: object, tmp_path: Path, preset: Preset | None = None) -> str:
    """The message that an import of this content ends with; nothing may be written."""
    path = tmp_path / "net_G.pth"
    torch.save(state, path)
    with pytest.raises(InputError) as caught:
        import_official(path, preset or preset_of(PLAIN), tmp_path / "ours.safetensors")
    assert [entry.name for entry in tmp_path.iterdir()] == ["net_G.pth"]
    message = str(caught.value)
    assert message.isascii()
    assert message.isprintable()
    return message


# --- entries ---


def test_missing_unexpected_and_misshapen_keys_are_named_at_once(tmp_path: Path) -> None:
    state = official_state(PLAIN, seed=4)
    del state["conv3.bias"], state["G_middle_1.norm_0.mlp_beta.weight"]
    state["conv6.weight"] = torch.zeros(1)
    state["deconv9.weight"] = torch.zeros(3, 9, 3, 3)
    state["up_3.norm_s.mlp_gamma.bias"] = torch.zeros(4, dtype=torch.int64)
    state["conv2.bias"][0] = float("nan")
    state["fc2.bias"][1] = float("inf")
    state["up_2.norm_1.param_free_norm.running_var"][0] = -1.0
    message = refused(state, tmp_path)
    assert "2 missing: conv3.bias, G_middle_1.norm_0.mlp_beta.weight" in message
    assert "1 unexpected: conv6.weight" in message
    assert "2 of wrong shape or type: up_3.norm_s.mlp_gamma.bias torch.int64 instead of" in message
    assert "deconv9.weight (3, 9, 3, 3) instead of (3, 12, 3, 3)" in message
    assert "3 without usable numbers" in message
    for name in ("conv2.bias (NaN or infinity)", "fc2.bias (NaN or infinity)", "running_var (a negative variance)"):
        assert name in message


def test_many_keys_are_counted_by_module(tmp_path: Path) -> None:
    state = official_state(CITYSCAPES, seed=4)
    kept = {name: tensor for name, tensor in state.items() if not name.startswith(("up_", "deconv5_"))}
    kept["deconv5_attention.weight"] = state["deconv5_attention.weight"]
    message = refused(kept, tmp_path, load_preset("cityscapes"))
    missing = re.search(r"(\d+) missing: (.*?)(;|$)", message)
    assert missing is not None
    assert int(missing[1]) == sum(not name.endswith("tracked") for name in set(state) - set(kept))
    assert "deconv5_{0..34}.* (70 keys)" in message
    assert "up_{0..3}.* (" in message
    assert "deconv5_attention.bias (1 key)" in message


def test_modules_are_told_apart_where_they_are_few(tmp_path: Path) -> None:
    state = official_state(PLAIN, seed=4)
    kept = {name: tensor for name, tensor in state.items() if not name.startswith(("up_0.", "up_1."))}
    message = refused(kept, tmp_path)
    assert "up_0.norm_0.* (8 keys)" in message
    assert "up_1.conv_s.* (3 keys)" in message


def test_hostile_names_do_no_harm(tmp_path: Path) -> None:
    state = official_state(PLAIN, seed=4)
    state |= {f"\x1b[2J\n{index}{'x' * 1000}": torch.zeros(1) for index in range(500)}
    message = refused(state, tmp_path)
    assert "500 unexpected" in message
    assert len(message) < 20_000


@pytest.mark.parametrize("wrong", ["absent", "misshapen", "one too many", "the last is absent"])
def test_a_wrong_head_is_named(tmp_path: Path, wrong: str) -> None:
    state = official_state(PLAIN, seed=4)
    if wrong == "absent":
        del state["deconv5_1.weight"]
        assert "1 missing: deconv5_1.weight" in refused(state, tmp_path)
    elif wrong == "the last is absent":
        del state["deconv5_3.weight"], state["deconv5_3.bias"]
        assert "2 missing: deconv5_3.weight, deconv5_3.bias" in refused(state, tmp_path)
    elif wrong == "misshapen":
        state["deconv5_1.weight"] = torch.zeros(3, 2, 5, 5)
        assert "deconv5_1.weight (3, 2, 5, 5) instead of (3, 2, 7, 7)" in refused(state, tmp_path)
    else:
        state["deconv5_4.weight"], state["deconv5_4.bias"] = torch.zeros(3, 2, 7, 7), torch.zeros(3)
        assert "2 unexpected: deconv5_4.weight, deconv5_4.bias" in refused(state, tmp_path)


@pytest.mark.parametrize(
    ("entry", "value"),
    [
        ("up_0.conv_s.weight_u", None),
        ("up_0.conv_s.weight_v", None),
        ("up_0.conv_s.weight_v", torch.zeros(3)),
        ("up_0.conv_s.weight_orig", torch.zeros(16)),
        ("up_0.conv_s.weight_orig", torch.zeros(())),
        ("up_0.conv_s.weight_orig", torch.zeros(16, 32, 1, 1)),
    ],
)
def test_broken_spectral_normalisation(tmp_path: Path, entry: str, value: Tensor | None) -> None:
    state = official_state(PLAIN, seed=4)
    if value is None:
        del state[entry]
    else:
        assert state[entry].shape == value.shape or value.dim() < 4
        state[entry] = value
    message = refused(state, tmp_path)
    assert entry in message
    assert ("PyTorch 1.0" in message) == (value is None)


def test_the_deepest_variant_is_named(tmp_path: Path) -> None:
    state = official_state(PLAIN, seed=4)
    state["up_4.conv_0.bias"] = torch.zeros(1)
    assert "--num_upsampling_layers most" in refused(state, tmp_path)


@pytest.mark.parametrize("shape", [(5,), (0, 4, 7, 7), (2, 4, 7), ()])
def test_an_odd_first_layer(tmp_path: Path, shape: tuple[int, ...]) -> None:
    state = official_state(PLAIN, seed=4)
    state["conv1.weight"] = torch.zeros(shape)
    assert f"conv1.weight {shape} instead of (2, 4, 7, 7)" in refused(state, tmp_path)


# --- another data set, another task, another network ---


def test_another_data_sets_weights_are_told_by_both_counts(tmp_path: Path) -> None:
    message = refused(official_state(CITYSCAPES, seed=5), tmp_path, load_preset("ade20k"))
    assert "it reads 36 channels, the preset has 151 classes and no instance edges, 151 channels" in message
    assert "it has 35 heads, the preset has 52" in message
    assert "use --preset cityscapes" in message
    assert "missing" not in message


def test_faults_are_told_beside_a_wrong_preset(tmp_path: Path) -> None:
    state = official_state(CITYSCAPES, seed=5)
    del state["conv4.bias"]
    state["conv5.bias"] = torch.zeros(3)
    message = refused(state, tmp_path, load_preset("ade20k"))
    assert "1 missing: conv4.bias; 1 of wrong shape or type: conv5.bias (3,) instead of (16,)" in message


def test_edges_that_the_preset_lacks_or_has_too_many(tmp_path: Path) -> None:
    with_edges = Shape(classes=4, edges=True, heads=4, scored=4, ngf=2, doublings=5, spade_hidden=8)
    assert "generator.edges = true" in refused(official_state(with_edges, seed=5), tmp_path, preset_of(PLAIN))
    assert "generator.edges = false" in refused(official_state(PLAIN, seed=5), tmp_path, preset_of(with_edges))


def test_the_other_task(tmp_path: Path) -> None:
    message = refused(official_cross_view.official_state(ngf=2, seed=1), tmp_path, load_preset("cityscapes"))
    assert "a cross-view generator" in message
    assert "dayton_a2g" in message
    message = refused(official_state(CITYSCAPES, seed=1), tmp_path, load_preset("dayton_a2g"))
    assert "a generator for semantic image synthesis" in message
    assert "use --preset cityscapes" in message
    message = refused(official_state(MERGED, seed=1), tmp_path, load_preset("dayton_a2g"))
    assert "no preset of the package fits" in message


def test_cross_view_heads(tmp_path: Path) -> None:
    state = official_cross_view.official_state(ngf=2, seed=1)
    del state["deconv5_6.bias"]
    assert "1 missing: deconv5_6.bias" in refused(state, tmp_path, load_preset("sva"))
    state = official_cross_view.official_state(ngf=2, seed=1)
    state["deconv5_9.bias"] = torch.zeros(3)
    message = refused(state, tmp_path, load_preset("sva"))
    assert "it has 9 heads, the preset has 6 groups" in message
    assert "1 unexpected: deconv5_9.bias" in message


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["discriminator_0.model0.0.weight", "discriminator_1.model4.0.bias"], "_net_D"),
        (["model.0.weight", "model.3.running_mean", "model.11.bias"], "_net_D"),
        (["layer1.0.weight_orig", "fc_mu.weight", "fc_var.bias"], "_net_E"),
        (["head_0.conv_0.weight_orig", "conv_img.weight", "fc.weight"], "GauGAN"),
        (["layer1.0.conv1.weight", "fc.weight"], "no network of LGGAN"),
    ],
)
@pytest.mark.parametrize("prefix", ["", "module."])
def test_other_networks_are_recognised(names: list[str], words: str, prefix: str, tmp_path: Path) -> None:
    message = refused({prefix + name: torch.zeros(2, 2, 1, 1) for name in names}, tmp_path)
    assert words in message
    assert "_net_G" in message


def test_a_variational_generator(tmp_path: Path) -> None:
    state = official_state(PLAIN, seed=4)
    state["fc.weight"], state["fc.bias"] = torch.zeros(16 * 2 * 2 * 4, 256), torch.zeros(16 * 2 * 2 * 4)
    assert "--use_vae" in refused(state, tmp_path)


# --- files ---


class _Bomb:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return (open, (str(self.mark), "w"))


@pytest.mark.parametrize("form", ["today's", "of 1.0", "bare"])
def test_a_pickle_with_code_is_refused_and_not_run(form: str, tmp_path: Path) -> None:
    mark, path = tmp_path / "executed", tmp_path / "net_G.pth"
    if form == "bare":
        path.write_bytes(pickle.dumps(_Bomb(mark), protocol=2))
    else:
        content = {**official_state(PLAIN, seed=1), "conv1.extra": _Bomb(mark)}
        torch.save(content, path, _use_new_zipfile_serialization=form == "today's")
    with pytest.raises(InputError, match=r"asks for .*open.*would run code.*nothing of it was run") as caught:
        import_official(path, preset_of(PLAIN), tmp_path / "ours.safetensors")
    assert "weights_only=False" in str(caught.value)
    assert [entry.name for entry in tmp_path.iterdir()] == ["net_G.pth"]


def test_the_advice_for_a_pickled_module_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A whole module is refused; the command in the message turns it into what can be read."""
    message = refused(nn.Sequential(OrderedDict(conv1=nn.Conv2d(4, 2, 7))), tmp_path)
    assert "torch.nn.modules" in message
    command = re.search(r'python -c "([^"]+)"', message)
    assert command is not None
    monkeypatch.chdir(tmp_path)
    exec(command[1], {})
    assert list(torch.load(tmp_path / "plain.pth", weights_only=True)) == ["conv1.weight", "conv1.bias"]


def test_a_nested_dictionary_is_described_with_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = official_state(PLAIN, seed=1)
    message = refused({"epoch": 3, "model": state, "loss": [1.0]}, tmp_path)
    assert f"epoch (an int), model (a dictionary of {len(state)}), loss (a list)" in message
    command = re.search(r'python -c "([^"]+)"', message)
    assert command is not None
    monkeypatch.chdir(tmp_path)
    exec(command[1], {})
    import_official(tmp_path / "plain.pth", preset_of(PLAIN), tmp_path / "ours.safetensors")


@pytest.mark.parametrize("content", [[torch.zeros(2)], torch.zeros(2), {}, {1: torch.zeros(1)}, 5])
def test_other_contents(content: object, tmp_path: Path) -> None:
    assert "state dict" in refused(content, tmp_path) or "named tensors" in refused(content, tmp_path)


def test_tensors_without_plain_numbers(tmp_path: Path) -> None:
    for odd in (torch.zeros(2, 2).to_sparse(), torch.zeros(2, device="meta"), torch.zeros(2, dtype=torch.complex64)):
        state = official_state(PLAIN, seed=1)
        state["conv1.bias"] = odd
        assert "conv1.bias" in refused(state, tmp_path)


def test_damaged_and_absent_files(tmp_path: Path) -> None:
    path = tmp_path / "net_G.pth"
    torch.save(official_state(PLAIN, seed=6), path)
    whole = path.read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], b"PK\x03\x04" + bytes(100), b"not a checkpoint", b"<html>"):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match="net_G"):
            import_official(path, preset_of(PLAIN), tmp_path / "ours.safetensors")
    with pytest.raises(InputError, match="no weights file"):
        import_official(tmp_path / "absent.pth", preset_of(PLAIN), tmp_path / "ours.safetensors")
    assert [entry.name for entry in tmp_path.iterdir()] == ["net_G.pth"]


def test_a_zip_bomb_is_not_unpacked(tmp_path: Path) -> None:
    """The same archive with compressed entries: a small file that unpacks to much."""
    torch.save({"conv1.weight": torch.zeros(1_000_000)}, tmp_path / "plain.pth")
    bomb = tmp_path / "net_G.pth"
    with zipfile.ZipFile(tmp_path / "plain.pth") as plain, zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as packed:
        for entry in plain.infolist():
            packed.writestr(entry.filename, plain.read(entry))
    assert bomb.stat().st_size < 40_000
    with pytest.raises(InputError, match=r"packed archive of 4\d{6} bytes"):
        import_official(bomb, preset_of(PLAIN), tmp_path / "ours.safetensors")
