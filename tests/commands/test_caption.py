"""`coca caption` as a user runs it: all kinds of files and formats, a stop, a second run, refusals."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from coca_cli.media.images import fit_image, read_image
from coca_cli.media.video import Sampling, read_frames
from coca_cli.model.checkpoint import load
from coca_cli.model.coca import CoCa
from coca_cli.model.decoding_terms import Decoding
from coca_cli.model.placement import place
from coca_cli.model.vision import ImageFeatures
from coca_cli.options import DecodingMethod
from coca_cli.tasks import feature_store
from coca_cli.tasks.captioning import Writing, caption_computing, captioner_of, captions_in, write_texts
from coca_cli.tasks.media_features import Reading
from tests.commands.running import run
from tests.commands.test_eval_retrieval import write_clip
from tests.pictures import drawn, jpeg_bytes
from tests.tasks.writer import save_writer

PICTURES = ("0.jpg", "1.jpg", "2.jpg", "4.jpg", "5.jpg")
CLIPS = ("clip0.mp4", "clip1.mp4")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny CoCa of random weights that writes words."""
    return save_writer(tmp_path_factory.mktemp("models") / "writer")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six pictures, one of them cut off, and two clips."""
    folder = tmp_path_factory.mktemp("photos")
    for number in range(6):
        data = jpeg_bytes(drawn(number, (40, 40)))
        (folder / f"{number}.jpg").write_bytes(data[: 200 if number == 3 else None])
    for number in range(2):
        write_clip(folder / f"clip{number}.mp4", number)
    (folder / "notes.txt").write_text("no picture\n")
    return folder


def caption(model: Path, *words: object, frames: int = 4) -> int:
    return run("caption", *words, "-m", model, "--precision", "fp32", "--frames", frames, "--max-length", 8)


def expected(model: Path, photos: Path, frames: int = 4, **changes: object) -> list[list[str]]:
    """The captions of the readable pictures and clips, from the model itself."""
    placed = place(load(str(model)), "cpu", "fp32")
    captioner, writing = captioner_of(placed), Writing(decoding=Decoding(**{"max_length": 8, **changes}))
    pictures = np.stack([fit_image(read_image(photos / name), placed.image) for name in PICTURES])
    clips = np.stack([read_frames(photos / name, placed.image, Sampling(frames)) for name in CLIPS])
    computing, _ = caption_computing(captioner, writing, Reading(), clips=True)
    found = write_texts(captioner, writing, torch.from_numpy(pictures))
    found += captions_in(computing.compute(torch.from_numpy(clips)), captioner, writing)
    return [[text.text for text in texts] for texts in found]


def lines(text: str) -> list[list[str]]:
    return [line.split("\t") for line in text.splitlines()]


def test_pictures_and_clips_are_captioned_on_stdout(
    model: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert caption(model, photos, "--cache-dir", tmp_path) == 0
    out, err = capsys.readouterr()
    assert [name for name, _ in lines(out)] == [f"{photos}/{name}" for name in (*PICTURES, *CLIPS)]
    captions = expected(model, photos)
    assert [[text] for _, text in lines(out)] == captions
    assert len({text for (text,) in captions}) > 4
    assert f"warning: no caption: {photos}/3.jpg: damaged picture" in err
    assert "Traceback" not in err


def test_each_ending_gives_its_format(
    model: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cache = ("--cache-dir", tmp_path / "cache")
    assert caption(model, photos, *cache) == 0
    plain = capsys.readouterr().out
    for name in ("out.txt", "out.jsonl", "out.csv", "out.json"):
        assert caption(model, photos, "-o", tmp_path / name, *cache) == 0
        said = f"{tmp_path / name}: captions of 7 files, 1 file could not be read\n"
        assert capsys.readouterr().out == said
    assert (tmp_path / "out.txt").read_text() == plain
    rows = [{"file": name, "caption": text} for name, text in lines(plain)]
    assert [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()] == rows
    with (tmp_path / "out.csv").open(newline="") as file:
        assert list(csv.DictReader(file)) == rows
    found = json.loads((tmp_path / "out.json").read_text())
    assert [row["image_id"] for row in found] == [0, 1, 2, 4, 5, "clip0", "clip1"]
    assert [row["caption"] for row in found] == [row["caption"] for row in rows]


def test_a_format_is_taken_by_its_name(
    model: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cache = ("--cache-dir", tmp_path / "cache")
    assert caption(model, photos / "0.jpg", "--as", "coco", *cache) == 0
    ((row),) = json.loads(capsys.readouterr().out)
    assert row["image_id"] == 0
    assert caption(model, photos / "0.jpg", "--as", "jsonl", "-o", tmp_path / "out.dat", *cache) == 0
    written = json.loads((tmp_path / "out.dat").read_text())
    assert written == {"file": f"{photos}/0.jpg", "caption": row["caption"]}


def test_the_best_captions_come_with_their_scores(
    model: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (photos, "--n-best", 2, "--with-scores", "--cache-dir", tmp_path / "cache")
    assert caption(model, *words, "-o", tmp_path / "out.jsonl") == 0
    assert caption(model, *words, "-o", tmp_path / "out.csv") == 0
    capsys.readouterr()
    assert caption(model, *words) == 0
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [[each["caption"] for each in row["captions"]] for row in rows] == expected(model, photos, n_best=2)
    for row in rows:
        assert {"caption": row["caption"], "score": row["score"]} == row["captions"][0]
        assert row["captions"][1]["score"] < row["score"] < 0
    with (tmp_path / "out.csv").open(newline="") as file:
        table = [(row["file"], row["rank"], row["caption"], float(row["score"])) for row in csv.DictReader(file)]
    ranked = [(row["file"], rank, each) for row in rows for rank, each in enumerate(row["captions"], start=1)]
    assert table == [(file, str(rank), each["caption"], each["score"]) for file, rank, each in ranked]
    found = lines(capsys.readouterr().out)
    assert found == [[file, each["caption"], f"{each['score']:.4f}"] for file, _, each in ranked]


@pytest.mark.parametrize("ending", ["npz", "parquet"])
def test_embeddings_from_the_same_pass_are_those_of_coca_embed(
    model: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], ending: str
) -> None:
    import pyarrow.parquet

    mine, theirs = tmp_path / f"mine.{ending}", tmp_path / f"theirs.{ending}"
    assert caption(model, photos, "--embed", mine, "--no-cache") == 0
    assert [[text] for _, text in lines(capsys.readouterr().out)] == expected(model, photos)
    fixed = ("--precision", "fp32", "--frames", 4, "--no-cache")
    assert run("embed", *(photos / name for name in (*PICTURES, *CLIPS)), "-m", model, "-o", theirs, *fixed) == 0
    found = []
    for path in (mine, theirs):
        if ending == "npz":
            with np.load(path) as arrays:
                found.append((arrays["ids"].tolist(), arrays["kinds"].tolist(), arrays["embeddings"]))
        else:
            table = pyarrow.parquet.read_table(path)
            ids, kinds, rows = (table[name].to_pylist() for name in ("id", "kind", "embedding"))
            found.append((ids, kinds, np.array(rows)))
    assert found[0][:2] == found[1][:2]
    assert found[0][1] == ["picture"] * 5 + ["clip"] * 2
    assert found[0][2] == pytest.approx(found[1][2], abs=1e-6)
    assert np.linalg.norm(found[0][2], axis=1) == pytest.approx(np.ones(7), abs=1e-6)


def test_one_frame_is_the_middle_one(
    model: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_clip(tmp_path / "long.mp4", 7, frames=7)
    assert caption(model, tmp_path / "long.mp4", "--no-cache", frames=1) == 0
    ((_, text),) = lines(capsys.readouterr().out)
    placed = place(load(str(model)), "cpu", "fp32")
    whole = read_frames(tmp_path / "long.mp4", placed.image, Sampling(7))
    ((found,),) = write_texts(
        captioner_of(placed), Writing(decoding=Decoding(max_length=8)), torch.from_numpy(whole[3:4])
    )
    assert text == found.text
    assert caption(model, photos, "--no-cache", frames=1) == 0
    assert [[text] for _, text in lines(capsys.readouterr().out)] == expected(model, photos, frames=1)


def test_files_come_by_glob_by_list_and_each_once(
    model: Path,
    photos: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(photos)
    cache = ("--cache-dir", tmp_path)
    assert caption(model, "[45].jpg", "4.jpg", "./clip1.mp4", *cache) == 0
    assert [name for name, _ in lines(capsys.readouterr().out)] == ["4.jpg", "5.jpg", "clip1.mp4"]
    monkeypatch.setattr(sys, "stdin", io.StringIO("5.jpg\n\nclip0.mp4\n0.jpg\n"))
    assert caption(model, "-", *cache) == 0
    assert [name for name, _ in lines(capsys.readouterr().out)] == ["5.jpg", "0.jpg", "clip0.mp4"]


def test_nothing_readable_is_an_error_and_leaves_no_file(
    model: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("out.json", "out.txt"):
        words = ("-o", tmp_path / name, "--embed", tmp_path / "out.npz", "--no-cache")
        assert caption(model, photos / "3.jpg", *words) == 1
        assert "none of 1 files can be read. The first: " in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_file_is_replaced_only_when_asked(
    model: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out.txt"
    output.write_text("mine")
    words = (photos / "0.jpg", "-o", output, "--no-cache")
    assert caption(model, *words) == 1
    assert f"{output} is there already: choose another name" in capsys.readouterr().err
    assert output.read_text() == "mine"
    assert caption(model, *words, "--overwrite") == 0
    assert output.read_text().startswith(f"{photos}/0.jpg\t")
    assert capsys.readouterr().out == f"{output}: captions of 1 file\n"


def test_the_second_run_takes_no_forward_pass(
    model: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feature_store, "PART", 2)
    words = (photos, "--n-best", 2, "--with-scores", "--cache-dir", tmp_path / "cache")
    assert caption(model, *words, "-o", tmp_path / "first.jsonl", "--embed", tmp_path / "first.npz") == 0
    for name in ("encode_image", "encode_clip", "embed_image"):
        monkeypatch.setattr(CoCa, name, lambda *_: pytest.fail("the model was asked again"))
    assert caption(model, *words, "-o", tmp_path / "second.jsonl", "--embed", tmp_path / "second.npz") == 0
    assert (tmp_path / "first.jsonl").read_bytes() == (tmp_path / "second.jsonl").read_bytes()
    with np.load(tmp_path / "first.npz") as one, np.load(tmp_path / "second.npz") as other:
        assert one["embeddings"].tolist() == other["embeddings"].tolist()


def test_two_files_of_one_number_are_no_coco_results(
    model: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        shutil.copy(photos / "0.jpg", tmp_path / name / "7.jpg")
    assert caption(model, tmp_path / "one", tmp_path / "two", "-o", tmp_path / "out.json") == 1
    assert "would both have the image_id 7 in COCO's form: write .jsonl, " in capsys.readouterr().err
    assert not (tmp_path / "out.json").exists()


def test_a_stopped_run_goes_on_where_it_was(
    model: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(feature_store, "PART", 2)
    plain, seen = CoCa.encode_image, []

    def interrupted(self: CoCa, images: Tensor) -> ImageFeatures:
        if len(seen) == 3:
            raise KeyboardInterrupt
        seen.append(len(images))
        return plain(self, images)

    words = (photos, "--batch-size", 1, "-o", tmp_path / "out.txt", "--cache-dir", tmp_path / "cache")
    monkeypatch.setattr(CoCa, "encode_image", interrupted)
    assert caption(model, *words) == 130
    assert "coca: stopped; what was computed is kept, and the same command goes on" in capsys.readouterr().err
    assert not (tmp_path / "out.txt").exists()
    seen[:] = [0] * 10
    assert caption(model, *words) == 0
    assert seen == [0] * 10 + [1] * 2  # 0 to 2 were there, 3 is damaged
    assert [[text] for _, text in lines((tmp_path / "out.txt").read_text())] == expected(model, photos)


def test_a_prefix_begins_every_caption(
    model: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (photos, "--n-best", 3, "--cache-dir", tmp_path)
    assert caption(model, *words, "--prefix", "a red digit") == 0
    found = lines(capsys.readouterr().out)
    assert len(found) == 21
    assert all(text.startswith("a red digit") and len(text) > len("a red digit") for _, text in found)
    assert caption(model, *words, "--prefix", "a red digit " * 20) == 1
    assert "tokens or more, and leaves no place for a caption in 24 positions; shorten it" in capsys.readouterr().err


@pytest.mark.parametrize(
    "search", [(), ("--decoding", "greedy"), ("--decoding", "sample", "--n-best", 2, "--top-p", 0.9)]
)
def test_captions_do_not_depend_on_the_batch(
    model: Path, photos: Path, capsys: pytest.CaptureFixture[str], search: tuple[object, ...]
) -> None:
    found = []
    for batch in (1, 3, 64):
        assert caption(model, photos, "--batch-size", batch, "--no-cache", *search) == 0
        found.append(capsys.readouterr().out)
    assert found[0] == found[1] == found[2]
    assert found[0].count("\n") == (14 if "--n-best" in search else 7)


def test_a_seed_gives_the_same_samples_again(model: Path, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = []
    for seed in (1, 1, 2):
        words = ("--decoding", "sample", "--seed", seed, "--n-best", 2, "--no-cache")
        assert caption(model, photos, *words) == 0
        found.append([text for _, text in lines(capsys.readouterr().out)])
    assert found[0] == found[1]
    assert sum(one != other for one, other in zip(found[0], found[2], strict=True)) > 7


@pytest.mark.parametrize(
    ("words", "changes"),
    [
        (("--decoding", "open-clip-3.3"), {"method": DecodingMethod.open_clip}),
        (("--decoding", "greedy"), {"method": DecodingMethod.greedy}),
        (
            ("--beams", 6, "--length-penalty", 1, "--min-length", 4),
            {"beams": 6, "length_penalty": 1.0, "min_length": 4},
        ),
        (
            (*("--decoding", "sample", "--temperature", 0.7, "--top-k", 9, "--top-p", 0.8), "--repetition-penalty", 2),
            {"method": DecodingMethod.sample, "temperature": 0.7, "top_k": 9, "top_p": 0.8, "repetition_penalty": 2.0},
        ),
    ],
)
def test_every_option_of_the_search_arrives(
    model: Path, photos: Path, capsys: pytest.CaptureFixture[str], words: tuple[object, ...], changes: dict[str, object]
) -> None:
    assert caption(model, photos, *words, "--no-cache") == 0
    found = [[text] for _, text in lines(capsys.readouterr().out)]
    assert found == expected(model, photos, **changes)
    assert found != expected(model, photos)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems' file names are all Unicode")
def test_names_that_are_not_utf8_are_written_with_their_bytes(
    model: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = os.fsdecode(b"caf\xe9.jpg")
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / name).write_bytes((photos / "0.jpg").read_bytes())
    assert caption(model, tmp_path / "odd", "--no-cache") == 0
    ((shown, text),) = lines(capsys.readouterr().out)
    assert shown.endswith("caf\\udce9.jpg")
    for ending in ("txt", "jsonl", "csv", "json"):
        assert caption(model, tmp_path / "odd", "-o", tmp_path / f"out.{ending}", "--no-cache") == 0
        assert "caf\\udce9" in (tmp_path / f"out.{ending}").read_text(encoding="utf-8")
    row = json.loads((tmp_path / "out.jsonl").read_text(encoding="utf-8"))
    assert row == {"file": f"{tmp_path}/odd/{name}", "caption": text}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere"], "no such picture or clip: nowhere"),
        (["{photos}/notes.txt"], "is neither a picture nor a clip by its ending"),
        (["{photos}/3.jpg", "--strict"], "Stopped because of --strict"),
        (["{photos}", "-o", "out.dat"], "--output out.dat: the ending tells no format; use .txt"),
        (
            ["{photos}", "-o", "out.json", "--n-best", "2"],
            "COCO's results JSON holds one caption per picture, not --n-best 2",
        ),
        (["{photos}", "--as", "coco", "--n-best", "2"], "not --n-best 2; use --as jsonl"),
        (["{photos}", "--min-length", "9"], "--min-length 9 is above --max-length 8; make it smaller"),
        (["{photos}", "--n-best", "4"], "--n-best 4 is more than beam decoding finds, which is 3; use more --beams"),
        (["{photos}", "--n-best", "2", "--decoding", "greedy"], "is more than greedy decoding finds, which is 1"),
        (["{photos}", "--n-best", "3", "--decoding", "open-clip-3.3"], "open-clip-3.3 decoding finds, which is 2"),
        (
            ["{photos}", "--embed", "out.csv"],
            "--embed out.csv: the format is known by the ending; use .npz or .parquet",
        ),
        (["{photos}", "--embed", "there.npz"], "there.npz is there already: choose another name"),
        (["{photos}", "-m", "nothing"], "nothing"),
    ],
)
def test_refusals(
    model: Path,
    photos: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.npz").write_bytes(b"mine")
    given = [word.format(photos=photos) for word in words]
    named = [] if "-m" in given else ["-m", str(model)]
    assert run("caption", *given, *named, "--no-cache", "--max-length", 8, "--precision", "fp32") == 1
    out, err = capsys.readouterr()
    assert message in err
    assert "Traceback" not in err
    assert out == ""
    assert [path.name for path in tmp_path.iterdir()] == ["there.npz"]
    assert (tmp_path / "there.npz").read_bytes() == b"mine"


@pytest.mark.slow
def test_two_processes_write_what_one_does(model: Path, photos: Path, tmp_path: Path) -> None:
    for processes in (1, 2):
        torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"] if processes > 1 else []
        output = tmp_path / f"{processes}.jsonl"
        words = ["-m", "coca_cli", "caption", str(photos), "-m", str(model), "-o", str(output), "--with-scores"]
        command = [sys.executable, *torchrun, *words, "--no-cache", "--precision", "fp32"]
        done = subprocess.run(
            command,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout == f"{output}: captions of 7 files, 1 file could not be read\n"
        assert done.stderr.count("no caption: ") == 1
    assert (tmp_path / "1.jsonl").read_bytes() == (tmp_path / "2.jsonl").read_bytes()
