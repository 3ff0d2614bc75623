"""`coca eval zeroshot` on clips: sets of actions, folders and tables."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from coca_cli.datasets import find_dataset
from coca_cli.model.checkpoint import load, save_folder
from coca_cli.model.coca import CoCa
from coca_cli.model.config import tiny_config
from coca_cli.model.placement import place
from coca_cli.model.tokenizer import SentencePieceTokenizer, train_sentencepiece
from coca_cli.tasks.embedding import embed_frames, embed_texts
from tests.commands.running import run
from tests.datasets.make_samples import SAMPLES, save_clip


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny CoCa of random weights."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    words = train_sentencepiece([f"a photo of a {w}" for w in ("abseiling", "zumba", "moving square", "person")], 60)
    tokenizer = SentencePieceTokenizer(words, context=16)
    torch.manual_seed(0)
    save_folder(folder, CoCa(tiny_config(tokenizer.vocab_size, image_size=32, context=16)), tokenizer, "tiny")
    return folder


def evaluate(model: Path, dataset: object, results: Path, *more: object) -> int:
    fixed = ("--results", results, "--precision", "fp32", "--cache-dir", results / "cache", "--frames", 3)
    return run("eval", "zeroshot", "-m", model, "-d", dataset, *fixed, *more)


def rows(results: Path) -> dict[str, dict[str, object]]:
    found = [json.loads(line) for line in (results / "results.jsonl").read_text().splitlines()]
    return {str(row["metric"]): row for row in found}


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """Two classes of three clips."""
    for number in range(6):
        save_clip(tmp_path / "clips" / ("waving", "flying_kite")[number % 2] / f"{number}.mp4", number)
    return tmp_path / "clips"


def test_a_folder_of_clips(model: Path, clips: Path, tmp_path: Path) -> None:
    dataset = find_dataset(f"videos:{clips}")
    assert (dataset.task, dataset.media, dataset.splits) == ("classification", "video", ("all",))
    assert dataset.prompts is not None
    prompts = dataset.prompts(tmp_path)
    assert prompts.class_names == ("flying kite", "waving")
    assert len(prompts.templates) == 28
    for _ in range(2):  # and again from the store
        assert evaluate(model, f"videos:{clips}", tmp_path / "results") == 0
        assert rows(tmp_path / "results")["top-1"]["n"] == 6
    assert evaluate(model, f"videos:{clips}", tmp_path / "results", "--frames", 2) == 0
    lines = [json.loads(line) for line in (tmp_path / "results/results.jsonl").read_text().splitlines()]
    assert len({line["settings"] for line in lines}) == 2


def test_predictions_are_those_of_mean_embeddings(model: Path, clips: Path, tmp_path: Path) -> None:
    from coca_cli.media.video import Sampling, read_frames

    told = tmp_path / "told.jsonl"
    assert evaluate(model, f"videos:{clips}", tmp_path / "results", "--predictions", told) == 0
    placed = place(load(str(model)), "cpu", "fp32")
    dataset = find_dataset(f"videos:{clips}")
    assert dataset.prompts is not None
    names, templates = dataset.prompts(tmp_path)
    texts = [embed_texts(placed, [t.replace("{c}", name) for t in templates]).mean(dim=0) for name in names]
    classes = torch.nn.functional.normalize(torch.stack(texts), dim=-1)
    for line, example in zip(told.read_text().splitlines(), dataset.read(tmp_path, "all"), strict=True):
        frames = torch.from_numpy(read_frames(example.media[0], placed.image, Sampling(3)))
        scores = 100 * (embed_frames(placed, frames[None]) @ classes.T)[0]
        found = json.loads(line)
        assert found["id"] == example.id
        assert found["scores"] == pytest.approx(scores.sort(descending=True).values.tolist(), abs=1e-3)


def test_clips_that_are_gone_are_told(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import shutil

    shutil.copytree(SAMPLES / "kinetics-400", tmp_path / "data")
    (tmp_path / "data/kinetics-400/val/oIzqh7yf9ao_000002_000012.mp4").unlink()
    assert evaluate(model, "kinetics-400", tmp_path / "results", "--data-root", tmp_path / "data") == 0
    said = "1 of 2 clips are not there and are left out: oIzqh7yf9ao_000002_000012"
    assert said in " ".join(capsys.readouterr().err.split())
    row = rows(tmp_path / "results")["top-1"]
    assert (row["split"], row["n"], row["skipped"]) == ("val, 1 of 2 clips", 1, 1)


def test_a_table_with_classes(model: Path, clips: Path, tmp_path: Path) -> None:
    table = clips / "clips.csv"
    lines = ["video,label,caption"]
    lines += [f"{file.relative_to(clips)},{file.parent.name},a clip" for file in sorted(clips.rglob("*.mp4"))]
    table.write_text("\n".join([*lines, "waving/0.mp4,waving,another caption"]))
    examples = list(find_dataset(f"videos:{table}").read(tmp_path, "all"))
    assert [example.label for example in examples] == [0, 0, 0, 1, 1, 1]
    assert examples[3].texts == ("a clip", "another caption")
    assert evaluate(model, f"videos:{table}", tmp_path / "results") == 0
    assert rows(tmp_path / "results")["top-1"]["n"] == 6
    table.write_text("video,label\nwaving/0.mp4,waving\nwaving/0.mp4,flying\nwaving/2.mp4,flying\n")
    assert evaluate(model, f"videos:{table}", tmp_path / "results") == 1


def test_a_clip_of_two_classes_and_folders_without_clips(
    model: Path, clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = clips / "clips.csv"
    table.write_text("video,label\nwaving/0.mp4,waving\nwaving/0.mp4,flying\n")
    assert evaluate(model, f"videos:{table}", tmp_path / "results") == 1
    assert "gives the clip waving/0.mp4 the classes waving and flying: keep one" in capsys.readouterr().err
    (tmp_path / "empty" / "waving").mkdir(parents=True)
    assert evaluate(model, f"videos:{tmp_path}/empty", tmp_path / "results") == 1
    assert "no clips (.mp4" in capsys.readouterr().err
    assert evaluate(model, f"videos:{tmp_path}/empty/waving", tmp_path / "results") == 1
    assert "so its clips have no classes" in capsys.readouterr().err


def test_real_clips(model: Path, test_data: Path, tmp_path: Path) -> None:
    assert evaluate(model, f"videos:{test_data}/videos/videos.csv", tmp_path / "results", "--limit", 5) == 0
    assert rows(tmp_path / "results")["top-1"]["n"] == 5
