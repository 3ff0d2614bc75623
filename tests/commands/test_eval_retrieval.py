"""`coca eval retrieval` as a user runs it: pictures and clips, protocols, refusals, the second run."""

from __future__ import annotations

import json
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from coca_cli.media.retrieval_grid import Query, write_retrieval_grid
from coca_cli.model.checkpoint import save_folder
from coca_cli.model.coca import CoCa
from coca_cli.model.config import tiny_config
from coca_cli.model.tokenizer import SentencePieceTokenizer, train_sentencepiece
from coca_cli.tasks import embedding, retrieval_run
from tests.commands.running import run
from tests.pictures import drawn, jpeg_bytes

COLOURS = ("red", "green", "blue", "yellow", "white", "black")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny CoCa of random weights."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    words = train_sentencepiece([f"a photo of a {w} square" for w in COLOURS] + ["a video of it, one two"], 60)
    tokenizer = SentencePieceTokenizer(words, context=16)
    torch.manual_seed(0)
    save_folder(folder, CoCa(tiny_config(tokenizer.vocab_size, image_size=32, context=16)), tokenizer, "tiny")
    return folder


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Six pictures with two captions each."""
    folder = tmp_path / "captioned"
    folder.mkdir()
    lines = []
    for number, colour in enumerate(COLOURS):
        (folder / f"{number}.jpg").write_bytes(jpeg_bytes(drawn(number, (40, 40))))
        lines.append(json.dumps({"image": f"{number}.jpg", "caption": [f"a {colour} square", f"one {colour}"]}))
    (folder / "captions.jsonl").write_text("\n".join(lines))
    return folder / "captions.jsonl"


def evaluate(model: Path, dataset: object, results: Path, *more: object) -> int:
    fixed = ("--results", results, "--precision", "fp32", "--cache-dir", results / "cache")
    return run("eval", "retrieval", "-m", model, "-d", dataset, *fixed, *more)


def rows(results: Path) -> dict[str, dict[str, object]]:
    found = [json.loads(line) for line in (results / "results.jsonl").read_text().splitlines()]
    return {str(row["metric"]): row for row in found}


def write_clip(path: Path, seed: int, frames: int = 6) -> None:
    """A short clip in MPEG-4."""
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=5)
        stream.width = stream.height = 48
        for _ in range(frames):
            picture = np.full((48, 48, 3), random.integers(0, 256, 3), dtype=np.uint8)
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)


def test_captioned_pictures_end_in_rows_and_a_table(
    model: Path, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(model, f"captions:{table}", tmp_path / "results") == 0
    out, err = capsys.readouterr()
    assert "image-to-text" in out
    assert "Traceback" not in err
    found = rows(tmp_path / "results")
    recalls = [f"{way} recall@{k}" for way in ("image-to-text", "text-to-image") for k in (1, 5, 10)]
    ranks = [f"{way} {which} rank" for way in ("image-to-text", "text-to-image") for which in ("median", "mean")]
    assert sorted(found) == sorted(recalls + ranks)
    assert {found[name]["n"] for name in found if name.startswith("image")} == {6}
    assert {found[name]["n"] for name in found if name.startswith("text")} == {12}
    assert found["image-to-text recall@10"]["value"] is not None
    assert 1 <= float(str(found["text-to-image mean rank"]["value"])) <= 6
    assert found["text-to-image mean rank"]["low"] is None


def test_the_second_run_takes_no_model_forward(
    model: Path, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert evaluate(model, f"captions:{table}", tmp_path / "results") == 0
    first = rows(tmp_path / "results")

    def forward(*_: object, **__: object) -> None:
        pytest.fail("the model was asked again")

    monkeypatch.setattr(CoCa, "embed_image", forward)
    monkeypatch.setattr(CoCa, "embed_text", forward)
    assert evaluate(model, f"captions:{table}", tmp_path / "results") == 0
    again = rows(tmp_path / "results")
    assert {name: row["value"] for name, row in again.items()} == {name: row["value"] for name, row in first.items()}


def test_without_a_cache_nothing_is_kept(model: Path, table: Path, tmp_path: Path) -> None:
    assert evaluate(model, f"captions:{table}", tmp_path / "results", "--no-cache") == 0
    assert not (tmp_path / "results" / "cache").exists()


def test_a_changed_picture_is_embedded_anew(model: Path, table: Path, tmp_path: Path) -> None:
    assert evaluate(model, f"captions:{table}", tmp_path / "results") == 0
    (part,) = (tmp_path / "results" / "cache" / "features").glob("*/*.safetensors")
    before = load_file(part)["features"]
    (table.parent / "3.jpg").write_bytes(jpeg_bytes(drawn(33, (44, 40))))
    assert evaluate(model, f"captions:{table}", tmp_path / "results") == 0
    after = load_file(part)["features"]
    assert [i for i in range(6) if not torch.equal(before[i], after[i])] == [3]


def test_first_captions_and_a_prompt(model: Path, table: Path, tmp_path: Path) -> None:
    more = ("--captions-per-image", "first", "--prompt", "a photo of {}")
    assert evaluate(model, f"captions:{table}", tmp_path / "results", *more) == 0
    assert rows(tmp_path / "results")["text-to-image recall@1"]["n"] == 6
    run_file = next((tmp_path / "results" / "runs").glob("*.json"))
    settings = json.loads(run_file.read_text())["settings"]
    assert (settings["captions"], settings["prompt"], settings["ties"]) == (
        "first",
        "a photo of {}",
        "against the model",
    )


def test_a_grid_shows_five_captions_and_what_was_found(
    model: Path, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn_queries: list[Query] = []

    def write(path: Path, queries: list[Query]) -> None:
        drawn_queries.extend(queries)
        write_retrieval_grid(path, queries)

    monkeypatch.setattr(retrieval_run, "write_retrieval_grid", write)
    assert evaluate(model, f"captions:{table}", tmp_path / "results", "--grid", tmp_path / "grid.png") == 0
    assert (tmp_path / "grid.png").stat().st_size > 5_000
    assert [query.text for query in drawn_queries] == [
        *("a red square", "one green", "a yellow square", "a white square", "one black")
    ]
    for query in drawn_queries:
        assert (len(query.found), query.total) == (5, 6)
        assert list(query.right) == [place == query.place for place in range(1, 6)]


def test_a_grid_of_clips_shows_their_middle_frames(model: Path, tmp_path: Path) -> None:
    for number in range(3):
        write_clip(tmp_path / "v" / f"{number}.mp4", number)
    (tmp_path / "v" / "captions.jsonl").write_text(
        "\n".join(json.dumps({"video": f"{number}.mp4", "caption": f"a {number}"}) for number in range(3))
    )
    words = (f"videos:{tmp_path}/v/captions.jsonl", tmp_path / "results", "--frames", 2)
    assert evaluate(model, *words, "--grid", tmp_path / "grid.jpg") == 0
    with Image.open(tmp_path / "grid.jpg") as grid:
        assert grid.width > 3 * 160


def test_a_broken_picture_is_left_out_and_named(
    model: Path, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = table.read_text().splitlines()
    for number in range(6, 40):
        (table.parent / f"{number}.jpg").write_bytes(jpeg_bytes(drawn(number, (40, 40))))
        lines.append(json.dumps({"image": f"{number}.jpg", "caption": f"a square {number}"}))
    table.write_text("\n".join(lines))
    (table.parent / "2.jpg").write_bytes(b"no picture")
    for _ in range(2):  # and again from the store
        assert evaluate(model, f"captions:{table}", tmp_path / "results") == 0
        assert "left out: " in capsys.readouterr().err
        found = rows(tmp_path / "results")["image-to-text recall@1"]
        assert (found["n"], found["skipped"]) == (39, 1)


def test_missing_clips_are_listed_and_the_part_is_named(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "data" / "msrvtt"
    for number in range(3):
        write_clip(folder / "videos" / f"video{7010 + number}.mp4", number)
    videos = [{"video_id": f"video{7010 + n}", "split": "test"} for n in range(5)]
    sentences = [
        {"video_id": f"video{7010 + n}", "caption": f"a video of {c}"} for n in range(5) for c in ("one", "two")
    ]
    (folder / "MSRVTT_data.json").write_text(json.dumps({"videos": videos, "sentences": sentences}))
    more = ("--data-root", tmp_path / "data", "--frames", 4)
    assert evaluate(model, "msrvtt", tmp_path / "results", *more) == 0
    assert "2 of 5 clips are not there and are left out: video7013, video7014" in capsys.readouterr().err
    row = rows(tmp_path / "results")["video-to-text recall@1"]
    assert (row["split"], row["n"], row["skipped"]) == ("test full, 3 of 5 clips", 3, 2)


def test_frames_are_averaged_before_or_after_they_get_unit_length(model: Path) -> None:
    from coca_cli.model.checkpoint import load
    from coca_cli.model.placement import place

    placed = place(load(str(model)), "cpu", "fp32")
    pixels = torch.randint(0, 256, (2, 3, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    plain = torch.stack([embedding._plain_embeddings(placed, clip) for clip in pixels])  # (2, F, D)
    unit = torch.nn.functional.normalize(plain, dim=-1)
    for normalise_first, frames in ((False, plain), (True, unit)):
        expected = torch.nn.functional.normalize(frames.mean(dim=1), dim=-1)
        found = embedding.embed_frames(placed, pixels, normalise_first=normalise_first)
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--prompt", "a photo"), "--prompt 'a photo' has no {}, where the caption goes"),
        (("--protocol", "5k"), "unknown protocol of captions"),
        (("--split", "tset"), "unknown split of captions"),
    ],
)
def test_mistakes_are_refused(
    model: Path, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: tuple[str, str], message: str
) -> None:
    assert evaluate(model, f"captions:{table}", tmp_path / "results", *more) == 1
    assert message in capsys.readouterr().err


def test_a_set_without_captions_is_refused(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate(model, "digits", tmp_path / "results") == 1
    assert "has no captions to look for: captions:FILE takes pictures of your own" in capsys.readouterr().err
