"""`coca models list | show | convert` as a user runs them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from coca_cli.model.checkpoint import load
from coca_cli.model.open_clip_checkpoints import save_open_clip
from coca_cli.model.tokenizer import ClipTokenizer
from tests.commands.running import run
from tests.parity.open_clip_models import narrow_l14, random_pair


@pytest.fixture(scope="module")
def open_clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A narrowed L-14 in open_clip's layout."""
    _, ours = random_pair(narrow_l14())
    folder = tmp_path_factory.mktemp("models") / "narrow"
    save_open_clip(folder, ours, ClipTokenizer(76))
    return folder


def test_list_names_presets_and_published_weights(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("models", "list") == 0
    out = capsys.readouterr().out
    for words in ("coca_base", "coca_large", "coca_2b", "coca_tiny", "coca_ViT-L-14", "laion2b_s13b_b90k", "638.5M"):
        assert words in out


def test_show_counts_the_paper_s_base_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("models", "show", "coca_base") == 0
    out = capsys.readouterr().out
    assert "382.8M" in out
    assert "cascade: generative 256 queries" in out
    assert "GFLOPs per picture" in out


def test_show_describes_a_checkpoint(open_clip_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("models", "show", open_clip_folder) == 0
    out = capsys.readouterr().out
    assert "legacy mask" in out
    assert "shared: 256 queries" in out


def test_show_refuses_unknown_names(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("models", "show", "coca_ViT-L-41") == 1
    told = capsys.readouterr().err
    assert "unknown model 'coca_ViT-L-41'. Did you mean coca_ViT-L-14" in told
    assert "Or a folder that coca wrote, or hf-hub:OWNER/NAME." in told


def test_convert_there_and_back_keeps_every_bit(open_clip_folder: Path, tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    assert run("models", "convert", open_clip_folder, "--to", "coca", "-o", ours) == 0
    assert run("models", "convert", ours, "--to", "open_clip", "-o", theirs) == 0
    assert load(str(ours)).checkpoint == load(str(theirs)).checkpoint == load(str(open_clip_folder)).checkpoint
    name = "open_clip_model.safetensors"
    assert (theirs / name).read_bytes() == (open_clip_folder / name).read_bytes()


def test_convert_writes_into_an_empty_folder_only(
    open_clip_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    assert run("models", "convert", open_clip_folder, "--to", "coca", "-o", tmp_path) == 1
    assert "is not empty; choose another --output" in capsys.readouterr().err


def test_convert_refuses_models_without_captions(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import open_clip

    clip = open_clip.create_model("ViT-S-32-alt")
    save_file({k: v.contiguous() for k, v in clip.state_dict().items()}, tmp_path / "clip.safetensors")
    code = run(
        "models", "convert", "ViT-S-32-alt", "--pretrained", tmp_path / "clip.safetensors", "--to", "coca",
        "-o", tmp_path / "out",
    )  # fmt: skip
    assert code == 1
    assert "only CoCa checkpoints are converted" in capsys.readouterr().err
    assert torch.is_grad_enabled()
