"""Weights are read without running code, fitted with every key accounted for, and recognised by their hash."""

from __future__ import annotations

import argparse
import os
import pickle
import re
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from coca_cli.errors import BadCheckpoint, MissingFile
from coca_cli.model.coca import CoCa
from coca_cli.model.layers import interpolate_grid
from coca_cli.model.open_clip_weights import describe_keys
from coca_cli.model.weights import POSITIONS, build_coca, fit_weights, hash_weights, read_weights
from tests.model.small_models import BUILDS, pictures, small_coca, small_config, texts

WEIGHTS = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor(2.5), "c": torch.ones(3, dtype=torch.bfloat16)}


def save_legacy(data: object, path: Path) -> None:
    torch.save(data, path, _use_new_zipfile_serialization=False)


@pytest.mark.parametrize(
    ("name", "save"),
    [
        ("w.safetensors", save_file),
        ("w.pt", torch.save),
        ("w.pth", torch.save),
        ("w.bin", torch.save),
        ("legacy.pt", save_legacy),
        ("training.pt", lambda w, path: torch.save({"state_dict": w, "epoch": 1, "optimizer": {"lr": [0.1]}}, path)),
    ],
)
def test_every_format_gives_the_same_tensors(name: str, save: Callable[[Any, Path], None], tmp_path: Path) -> None:
    save(WEIGHTS, tmp_path / name)
    found = read_weights(tmp_path / name)
    assert found.keys() == WEIGHTS.keys()
    for key, value in WEIGHTS.items():
        assert torch.equal(found[key], value)
        assert found[key].dtype == value.dtype


class Bomb:
    """Unpickled in full, it would make a file."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch '{self.proof}'",)


def dump_newest(data: object, path: Path) -> None:
    path.write_bytes(pickle.dumps(data, protocol=5))


@pytest.mark.parametrize("save", [torch.save, save_legacy, dump_newest])
@pytest.mark.parametrize("suffix", [".pt", ".bin", ".ckpt", ""])
def test_a_pickle_bomb_never_runs(save: Callable[[object, Path], None], suffix: str, tmp_path: Path) -> None:
    path, proof = tmp_path / f"bomb{suffix}", tmp_path / "it ran"
    save({"state_dict": {"weight": torch.ones(2), "bomb": Bomb(proof)}}, path)
    with pytest.raises(BadCheckpoint, match="it holds more than tensors and could run code when opened") as caught:
        read_weights(path)
    assert not proof.exists()
    assert str(path) in str(caught.value)
    assert "Ask its author for a .safetensors file" in str(caught.value)
    assert "weights_only" not in str(caught.value)  # torch's advice is to switch the safety off


def test_the_bomb_would_have_run(tmp_path: Path) -> None:
    """Else the test above would show nothing."""
    proof = tmp_path / "it ran"
    pickle.loads(pickle.dumps(Bomb(proof)))
    assert proof.exists()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_no_protocol_of_pickles_runs(protocol: int, tmp_path: Path) -> None:
    (tmp_path / "bomb.pt").write_bytes(pickle.dumps(Bomb(tmp_path / "it ran"), protocol))
    with pytest.raises(BadCheckpoint):
        read_weights(tmp_path / "bomb.pt")
    assert not (tmp_path / "it ran").exists()


def test_the_message_says_what_a_pickle_asks_for(tmp_path: Path) -> None:
    torch.save({"state_dict": WEIGHTS, "args": argparse.Namespace(lr=1)}, tmp_path / "run.pt")
    with pytest.raises(BadCheckpoint, match=r"could run code when opened \(argparse\.Namespace\)"):
        read_weights(tmp_path / "run.pt")


@pytest.mark.filterwarnings("ignore:`torch.jit")  # torch retires TorchScript, but its files are still about
def test_a_torchscript_archive_is_not_run(tmp_path: Path) -> None:
    torch.jit.trace(nn.Linear(2, 2), torch.ones(1, 2)).save(str(tmp_path / "model.pt"))
    with pytest.raises(BadCheckpoint, match=r"it is a TorchScript program; save its state_dict\(\) as .safetensors"):
        read_weights(tmp_path / "model.pt")


def test_reading_warns_of_nothing_and_leaves_the_warnings_filter(tmp_path: Path) -> None:
    dump_newest({"a": 1}, tmp_path / "w.pt")
    before = list(warnings.filters)
    with pytest.raises(BadCheckpoint):
        read_weights(tmp_path / "w.pt")
    assert list(warnings.filters) == before


def cut(path: Path, part: float) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * part)])


@pytest.mark.parametrize("part", [0, 0.01, 0.5, 0.99])
def test_a_cut_off_safetensors_file_is_refused(part: float, tmp_path: Path) -> None:
    save_file(WEIGHTS, tmp_path / "w.safetensors")
    cut(tmp_path / "w.safetensors", part)
    with pytest.raises(BadCheckpoint, match=r"w\.safetensors is no readable safetensors file \(.+\); fetch it again"):
        read_weights(tmp_path / "w.safetensors")


@pytest.mark.parametrize("save", [torch.save, save_legacy])
@pytest.mark.parametrize("part", [0, 0.001, 0.5, 0.99])
def test_a_cut_off_pytorch_file_is_refused(save: Callable[[object, Path], None], part: float, tmp_path: Path) -> None:
    save({"a": torch.ones(1000)}, tmp_path / "w.pt")
    cut(tmp_path / "w.pt", part)
    size = (tmp_path / "w.pt").stat().st_size
    with pytest.raises(BadCheckpoint, match=rf"w\.pt \({size:,} bytes\) is no readable PyTorch file") as caught:
        read_weights(tmp_path / "w.pt")
    assert "damaged or cut off; fetch it again" in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [b"<!DOCTYPE html><html>not found</html>", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", b"\x00"],
)
@pytest.mark.parametrize("name", ["w.safetensors", "w.pt"])
def test_other_files_under_a_weights_name_are_refused(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadCheckpoint, match=r"is no readable (safetensors|PyTorch) file"):
        read_weights(tmp_path / name)


def test_a_zip_of_something_else_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "w.pt", "w") as archive:
        archive.writestr("notes.txt", "no tensors")
    with pytest.raises(BadCheckpoint, match="is no readable PyTorch file"):
        read_weights(tmp_path / "w.pt")


@pytest.mark.parametrize("data", [[torch.ones(1)], {}, {"a": 1}, torch.ones(2), {"state_dict": {"a": "b"}}, None])
def test_a_file_without_named_tensors_is_refused(data: object, tmp_path: Path) -> None:
    torch.save(data, tmp_path / "w.pt")
    with pytest.raises(BadCheckpoint, match="holds no state dict: expected names with tensors"):
        read_weights(tmp_path / "w.pt")


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt", "."])
def test_a_missing_file_is_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match=re.escape(f"no weights file {tmp_path / name}; pass --pretrained the path")):
        read_weights(tmp_path / name)


def changed(**values: Tensor | None) -> dict[str, Tensor]:
    """A small model's weights, some replaced or left out."""
    weights = {**small_coca().state_dict(), **{name.replace("__", "."): value for name, value in values.items()}}
    return {name: value for name, value in weights.items() if value is not None}


def fit(weights: dict[str, Tensor], image_size: int | None = None) -> CoCa:
    return build_coca(small_config(), weights, image_size, "the file")


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (changed(log_scale=None), r"the file does not fit the model: 1 missing \(log_scale\)"),
        (changed(extra=torch.ones(1)), r"the file does not fit the model: 1 unexpected \(extra\)"),
        (changed(log_scale=None, extra=torch.ones(1)), r"1 missing \(log_scale\); 1 unexpected \(extra\)"),
        (changed(log_scale=torch.ones(1)), r"1 tensors of another shape: log_scale is \(1,\), the model needs \(\)"),
        (changed(text__cls=torch.ones(2, 32)), r"text.cls is \(2, 32\), the model needs \(1, 32\)"),
        (changed(image__vit__positions=torch.ones(8, 32)), r"positions is \(8, 32\), the model needs \(9, 32\)"),
        (changed(image__vit__positions=torch.ones(9, 16)), r"positions is \(9, 16\), the model needs \(9, 32\)"),
        (changed(image__vit__positions=torch.ones(0, 32)), r"positions is \(0, 32\), the model needs \(9, 32\)"),
        (changed(image__vit__positions=torch.ones(())), r"positions is \(\), the model needs \(9, 32\)"),
        (changed(image__vit__positions=torch.ones(1, 9, 32)), r"positions is \(1, 9, 32\), the model needs \(9, 32\)"),
    ],
)
def test_weights_that_do_not_fit_are_named(weights: dict[str, Tensor], message: str) -> None:
    with pytest.raises(BadCheckpoint, match=message):
        fit(weights)


def test_a_few_of_many_missing_keys_are_named() -> None:
    with pytest.raises(BadCheckpoint, match=r"119 missing \(decoder.*, .*, .*, [^,]* and 115 more\)"):
        fit({"log_scale": torch.ones(())})


def test_keys_are_described_in_order() -> None:
    assert describe_keys(["b", "a"], []) == "2 missing (a, b)"
    assert describe_keys([], {"x": 1}) == "1 unexpected (x)"
    assert describe_keys(list("edcba"), ["z"]) == "5 missing (a, b, c, d and 1 more); 1 unexpected (z)"


@pytest.mark.parametrize("build", BUILDS)
def test_a_built_model_is_the_model_that_was_saved(build: str) -> None:
    model = small_coca(*BUILDS[build])
    again = build_coca(model.config, dict(model.state_dict()), None, "here")
    assert not again.training
    with torch.inference_mode():
        for found, expected in zip(again(pictures(2), texts(9, 4)), model(pictures(2), texts(9, 4)), strict=True):
            torch.testing.assert_close(found, expected)


def test_half_precision_weights_become_single_precision() -> None:
    weights = {name: value.bfloat16() for name, value in small_coca().state_dict().items()}
    model = fit(weights)
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert torch.equal(model.text.cls, weights["text.cls"].float())


@pytest.mark.parametrize("build", ["cascade", "open_clip"])
@pytest.mark.parametrize("size", [8, 16, 24, 40, 64])
def test_positions_follow_the_picture_size(build: str, size: int) -> None:
    """Bicubic with antialiasing over the grid of patches; the ViT's CLS keeps its row."""
    model = small_coca(*BUILDS[build])
    extra = int(model.config.vision.cls_token)
    old = model.image.vit.positions.detach()
    resized = build_coca(model.config, dict(model.state_dict()), size, "here")
    new, side = resized.image.vit.positions.detach(), size // 8
    assert resized.config == model.config.with_image_size(size)
    assert new.shape == (side**2 + extra, 32)
    assert torch.equal(new[:extra], old[:extra])
    grid = old[extra:].reshape(1, 3, 3, 32).permute(0, 3, 1, 2)
    expected = F.interpolate(grid, size=(side, side), mode="bicubic", antialias=True, align_corners=False)
    torch.testing.assert_close(new[extra:], expected.permute(0, 2, 3, 1).reshape(-1, 32))
    if size == 24:
        assert torch.equal(new, old)
    with torch.inference_mode():
        assert resized(pictures(2, size), texts(9, 4)).image_embedding.isfinite().all()
    others = {name: value for name, value in resized.state_dict().items() if name != POSITIONS}
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in others.items())


def test_interpolation_keeps_rows_and_columns_apart() -> None:
    """A grid that rises from left to right still does, and is as high in every row."""
    ramp = torch.arange(4.0).repeat(4, 1).reshape(16, 1)
    wide = interpolate_grid(ramp, 8).reshape(8, 8)
    assert (wide.diff(dim=1) > 0).all()
    torch.testing.assert_close(wide, wide[:1].expand(8, 8))
    assert interpolate_grid(ramp, 4) is ramp


def test_weights_can_be_put_into_a_model_that_exists() -> None:
    source, target = small_coca(seed=1), CoCa(small_config())
    fit_weights(target, dict(source.state_dict()), target.image.vit.grid, "here")
    assert hash_weights(dict(target.state_dict())) == hash_weights(dict(source.state_dict()))


def test_the_hash_depends_on_names_shapes_and_values_alone() -> None:
    base = {"a": torch.ones(2, 3), "b": torch.zeros(4)}
    same = hash_weights(base)
    assert re.fullmatch("[0-9a-f]{8}", same)
    assert hash_weights(dict(reversed(base.items()))) == same
    assert hash_weights({"a": torch.ones(3, 2).T, "b": torch.zeros(4).half()}) == same
    assert hash_weights({"a": nn.Parameter(torch.ones(2, 3)), "b": torch.zeros(4)}) == same
    others = (
        {**base, "b": torch.zeros(5)},
        {**base, "b": torch.tensor([0, 0, 0, 1e-30])},
        {"a": torch.ones(3, 2), "b": torch.zeros(4)},
        {"a": torch.ones(2, 3), "c": torch.zeros(4)},
    )
    assert len({same, *map(hash_weights, others)}) == 5
