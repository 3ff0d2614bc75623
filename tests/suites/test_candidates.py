"""Models as they are known without their weights."""

from __future__ import annotations

from pathlib import Path

import pytest

from coca_cli.errors import BadCheckpoint, CocaError, MissingFile, UnknownName
from coca_cli.suites.candidates import Kind, describe_candidate, load_candidate
from tests.suites.small_models import save_heads


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return save_heads(tmp_path_factory.mktemp("models"))


@pytest.mark.parametrize(
    ("name", "kind"),
    [("writer", Kind.coca), ("judge", Kind.classifier), ("answers", Kind.understanding)],
)
def test_folders_that_coca_wrote(models: dict[str, Path], name: str, kind: Kind) -> None:
    found = describe_candidate(str(models[name]))
    assert (found.kind, found.name) == (kind, name)
    assert found.config is not None
    assert found.config.image.size == 16
    bound = load_candidate(found, None, "cpu", "fp32")
    assert bound.identity.startswith(bound.placed.checkpoint)
    assert len(bound.identity) == (8 if kind is Kind.coca else 16), "a head counts too"


def test_models_of_open_clip(tmp_path: Path) -> None:
    weights = tmp_path / "weights.pt"
    weights.write_bytes(b"")
    coca = describe_candidate("coca_ViT-L-14,laion2B-s13B-b90k")
    assert (coca.kind, coca.name, coca.model) == (Kind.coca, "coca_ViT-L-14 laion2b_s13b_b90k", "coca_ViT-L-14")
    assert coca.config is not None
    assert coca.config.vision.layers == 24
    clip = describe_candidate(f"ViT-B/32,{weights}")
    assert (clip.kind, clip.name, clip.pretrained) == (Kind.open_clip, f"ViT-B-32 {weights}", str(weights))
    assert describe_candidate("hf-hub:owner/name").kind is Kind.hub


def test_a_stamp_changes_with_the_files(models: dict[str, Path], tmp_path: Path) -> None:
    one = describe_candidate(str(models["writer"]))
    head = describe_candidate(str(models["judge"]))
    assert one.stamp == describe_candidate(str(models["writer"])).stamp
    (models["writer"] / "new.txt").write_text("x")
    assert one.stamp != describe_candidate(str(models["writer"])).stamp
    assert head.stamp != describe_candidate(str(models["judge"])).stamp, "its encoder is another one"


def test_a_comma_in_a_folders_name(models: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "a,b").symlink_to(models["writer"])
    assert describe_candidate(str(tmp_path / "a,b")).kind is Kind.coca


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("{writer},tag", CocaError, "is a folder with its own weights; leave out what follows the comma in"),
        ("{empty}", MissingFile, r"is no model: it has none of config\.json, open_clip_config\.json, classifier\.json"),
        ("{damaged}", BadCheckpoint, r"config\.json cannot be read: it should hold a model's configuration; copy"),
        (
            "no/such",
            MissingFile,
            "there is no model folder no/such: give one that coca wrote, or NAME,TAG of open_clip",
        ),
        ("coca_ViT-L-15", UnknownName, "unknown model 'coca_ViT-L-15'. Did you mean coca_ViT-L-14"),
        ("coca_ViT-L-14", CocaError, "is an architecture: write coca_ViT-L-14,TAG with one of .*, or a file"),
        ("coca_ViT-L-14,laion", UnknownName, "unknown tag of coca_ViT-L-14 'laion'"),
        ("coca_base,x", CocaError, "coca_base is an architecture without published weights: give the folder"),
    ],
)
def test_what_is_no_model(
    models: dict[str, Path], tmp_path: Path, text: str, kind: type[CocaError], message: str
) -> None:
    for name in ("empty", "damaged"):
        (tmp_path / name).mkdir()
    (tmp_path / "damaged/config.json").write_text("{")
    named = {"writer": models["writer"], "empty": tmp_path / "empty", "damaged": tmp_path / "damaged"}
    with pytest.raises(kind, match=message):
        describe_candidate(text.format(**named))
