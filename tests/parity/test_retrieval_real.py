"""Retrieval on real captioned pictures and clips: the recalls are CLIP_benchmark's on the same embeddings."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from coca_cli.datasets import find_dataset
from tests.commands.test_eval_retrieval import evaluate, model, rows  # noqa: F401  (a fixture)


def kept(results: Path) -> tuple[Tensor, Tensor]:
    """The embeddings that an evaluation left in the cache: of pictures (n, D) and of captions (m, D)."""
    parts = [load_file(part)["features"] for part in sorted((results / "cache" / "features").glob("*/*.safetensors"))]
    (captions,) = (results / "cache" / "captions").iterdir()
    return torch.cat(parts), load_file(captions)["embeddings"]


def clip_benchmark_recalls(images: Tensor, texts: Tensor, owner: Tensor) -> dict[str, float]:
    """In points. A pair's own score is one step lower, so that ties count against the model, whatever topk's order."""
    pytest.importorskip("clip_benchmark", reason="CLIP_benchmark is not installed")
    from clip_benchmark.metrics.zeroshot_retrieval import batchify, recall_at_k

    scores = (texts.double() @ images.double().T).float()
    positive = torch.zeros_like(scores, dtype=torch.bool)
    positive[torch.arange(len(texts)), owner] = True
    scores = torch.where(positive, torch.nextafter(scores, torch.tensor(-torch.inf)), scores)
    found = {}
    for k in (1, 5, 10):
        for way, matrix, pairs in (("image-to-text", scores.T, positive.T), ("text-to-image", scores, positive)):
            hits = batchify(recall_at_k, matrix, pairs, 64, "cpu", k=k) > 0
            found[f"{way} recall@{k}"] = 100 * hits.float().mean().item()
    return found


@pytest.mark.parametrize(
    ("name", "noun", "more"),
    [
        ("captions:{data}/coco_mini/captions_val2017.json", "image", ()),
        ("captions:{data}/flickr8k/dataset_flickr8k.json", "image", ("--limit", 300)),
        ("videos:{data}/videos/videos.csv", "video", ("--frames", 4)),
    ],
)
def test_recalls_are_clip_benchmarks(
    model: Path,  # noqa: F811
    test_data: Path,
    tmp_path: Path,
    name: str,
    noun: str,
    more: tuple[object, ...],
) -> None:
    dataset = name.format(data=test_data)
    assert evaluate(model, dataset, tmp_path, *more) == 0
    entry = find_dataset(dataset)
    examples = [example for example in entry.read(test_data, entry.splits[0]) if example.texts]
    if "--limit" in more:
        examples = examples[:300]
    (run_file,) = (tmp_path / "runs").glob("*.json")
    unreadable = {each["id"] for each in json.loads(run_file.read_text())["skipped"]}
    counts = [len(example.texts) for example in examples if example.id not in unreadable]
    images, texts = kept(tmp_path)
    assert (len(images), len(texts)) == (len(counts), sum(counts))
    owner = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    found = rows(tmp_path)
    for recall, value in clip_benchmark_recalls(images, texts, owner).items():
        assert found[recall.replace("image", noun)]["value"] == pytest.approx(value, abs=1e-4)


def test_some_of_msrvtts_clips_are_scored_and_the_others_named(
    model: Path,  # noqa: F811
    test_data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The official lists, and a few real clips under official names."""
    folder, official = tmp_path / "data" / "msrvtt", test_data / "msrvtt"
    (folder / "videos").mkdir(parents=True)
    (folder / "MSRVTT_data.json").symlink_to(official / "MSRVTT_data.one-caption.json")
    (folder / "MSRVTT_JSFUSION_test.csv").symlink_to(official / "MSRVTT_JSFUSION_test.csv")
    with (official / "MSRVTT_JSFUSION_test.csv").open(newline="") as file:
        names = [row["video_id"] for row in csv.DictReader(file)]
    clips = sorted((test_data / "videos" / "clips").glob("*.mp4"))[:5]
    for name, clip in zip(names, clips, strict=False):
        (folder / "videos" / f"{name}.mp4").symlink_to(clip)
    more = ("--data-root", tmp_path / "data", "--protocol", "1k-a", "--frames", 2)
    assert evaluate(model, "msrvtt", tmp_path / "results", *more) == 0
    assert f"995 of 1,000 clips are not there and are left out: {names[5]}, " in capsys.readouterr().err
    row = rows(tmp_path / "results")["text-to-video recall@1"]
    assert (row["n"], row["skipped"], row["split"]) == (5, 995, "test-1k-a, 5 of 1,000 clips")
    (run_file,) = (tmp_path / "results" / "runs").glob("*.json")
    assert [each["id"] for each in json.loads(run_file.read_text())["skipped"]] == names[5:]
