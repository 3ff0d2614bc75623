"""`coca embed` as a user runs it: all kinds of files, both formats, a stop, a second run, refusals."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from pyarrow import parquet

from coca_cli.media.images import fit_image, read_image
from coca_cli.model.checkpoint import load
from coca_cli.model.placement import place
from coca_cli.tasks import embedding, encoding, feature_store
from coca_cli.tasks.embedding import embed_pixels, embed_texts
from tests.commands.running import run
from tests.commands.test_eval_retrieval import COLOURS, model, write_clip  # noqa: F401  (a fixture)
from tests.pictures import drawn, jpeg_bytes


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Six pictures, one of them broken, two clips and three texts."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(6):
        data = jpeg_bytes(drawn(number, (40, 40)))
        (folder / f"{number}.jpg").write_bytes(data[: 200 if number == 3 else None])
    for number in range(2):
        write_clip(folder / f"clip{number}.mp4", number)
    (folder / "words.txt").write_text("".join(f"a {colour} square\n" for colour in COLOURS[:3]))
    return folder


def embed(model: Path, *words: object) -> int:  # noqa: F811
    return run("embed", *words, "-m", model, "--precision", "fp32", "--frames", 4)


def test_pictures_clips_and_texts_become_rows_of_unit_length(
    model: Path,  # noqa: F811
    photos: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    output, cache = tmp_path / "out.npz", ("--cache-dir", tmp_path / "cache")
    assert embed(model, photos, "-o", output, *cache) == 0
    out, err = capsys.readouterr()
    assert out == f"{output}: 10 embeddings, 1 file could not be read\n"
    assert "warning: no embedding:" in err
    assert "3.jpg: damaged picture" in err
    with np.load(output) as found:
        names = [Path(name).name for name in found["ids"]]
        kinds, embeddings, about = found["kinds"].tolist(), found["embeddings"], json.loads(str(found["about"]))
    assert names == [
        *(f"{n}.jpg" for n in (0, 1, 2, 4, 5)),
        "clip0.mp4",
        "clip1.mp4",
        *(f"words.txt:{n}" for n in (1, 2, 3)),
    ]
    assert kinds == ["picture"] * 5 + ["clip"] * 2 + ["text"] * 3
    assert embeddings.dtype == np.float32
    assert np.linalg.norm(embeddings, axis=1) == pytest.approx(np.ones(10), abs=1e-6)
    assert about["precision"] == "fp32"
    assert about["frames"]["frames"] == 4
    placed = place(load(str(model), None, None), "cpu", "fp32")
    pixels = np.stack([fit_image(read_image(photos / name), placed.image) for name in names[:5]])
    torch.testing.assert_close(torch.from_numpy(embeddings[:5]), embed_pixels(placed, torch.from_numpy(pixels)))
    texts = embed_texts(placed, [f"a {colour} square" for colour in COLOURS[:3]])
    torch.testing.assert_close(torch.from_numpy(embeddings[7:]), texts)


def test_parquet_has_the_same_numbers(model: Path, photos: Path, tmp_path: Path) -> None:  # noqa: F811
    for name in ("out.npz", "out.parquet"):
        assert embed(model, photos, "-o", tmp_path / name, "--no-cache") == 0
    table = parquet.read_table(tmp_path / "out.parquet")
    with np.load(tmp_path / "out.npz") as found:
        assert table["id"].to_pylist() == found["ids"].tolist()
        assert table["kind"].to_pylist() == found["kinds"].tolist()
        assert np.array(table["embedding"].to_pylist(), dtype=np.float32).tolist() == found["embeddings"].tolist()
    assert json.loads(table.schema.metadata[b"about"])["precision"] == "fp32"


def test_the_second_run_takes_no_forward_pass(
    model: Path,  # noqa: F811
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(feature_store, "PART", 2)
    words = (photos, "--cache-dir", tmp_path / "cache")
    assert embed(model, *words, "-o", tmp_path / "first.npz") == 0
    monkeypatch.setattr(encoding, "normalise", lambda *_: pytest.fail("a picture was embedded"))
    monkeypatch.setattr(embedding, "trim_tokens", lambda *_: pytest.fail("a text was embedded"))
    assert embed(model, *words, "-o", tmp_path / "second.npz") == 0
    assert (tmp_path / "first.npz").stat().st_size == (tmp_path / "second.npz").stat().st_size
    with np.load(tmp_path / "first.npz") as one, np.load(tmp_path / "second.npz") as other:
        assert one["embeddings"].tolist() == other["embeddings"].tolist()


def test_a_changed_text_is_embedded_anew(model: Path, photos: Path, tmp_path: Path) -> None:  # noqa: F811
    words = (photos / "words.txt", "--cache-dir", tmp_path / "cache")
    assert embed(model, *words, "-o", tmp_path / "first.npz") == 0
    (photos / "words.txt").write_text("a red square\na black square\na blue square\n")
    assert embed(model, *words, "-o", tmp_path / "second.npz") == 0
    with np.load(tmp_path / "first.npz") as one, np.load(tmp_path / "second.npz") as other:
        same = (one["embeddings"] == other["embeddings"]).all(axis=1)
    assert same.tolist() == [True, False, True]


def test_a_list_comes_from_stdin(
    model: Path,  # noqa: F811
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{photos}/5.jpg\n{photos}/0.jpg\n"))
    assert embed(model, "-", "-o", tmp_path / "out.npz", "--no-cache") == 0
    with np.load(tmp_path / "out.npz") as found:
        assert [Path(name).name for name in found["ids"]] == ["5.jpg", "0.jpg"]


def test_nothing_readable_is_an_error_and_leaves_no_file(
    model: Path,  # noqa: F811
    photos: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert embed(model, photos / "3.jpg", "-o", tmp_path / "out.npz", "--no-cache") == 1
    assert "none of 1 files can be read. The first: " in capsys.readouterr().err
    assert not list(tmp_path.glob("*out.npz*"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere"], "no such picture, clip or text file: nowhere"),
        (["{photos}", "-o", "out.csv"], "--output out.csv: the format is known by the ending; use .npz or .parquet"),
        (["{photos}/3.jpg", "--strict"], "Stopped because of --strict"),
        (["{photos}", "-o", "{photos}/0.jpg"], "the format is known by the ending"),
        (["{photos}", "-o", "there.npz"], "there.npz is there already: choose another name"),
        (["-m", "nothing", "{photos}"], "nothing"),
    ],
)
def test_refusals(
    model: Path,  # noqa: F811
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
    before = [] if "-o" in given else ["-o", "out.npz"]
    named = [] if "-m" in given else ["-m", str(model)]
    assert run("embed", *named, *before, "--no-cache", *given) == 1
    err = capsys.readouterr().err
    assert message in err
    assert "Traceback" not in err
    assert (tmp_path / "there.npz").read_bytes() == b"mine"


@pytest.mark.slow
def test_two_processes_write_what_one_does(model: Path, photos: Path, tmp_path: Path) -> None:  # noqa: F811
    from os import environ

    for processes in (1, 2):
        torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"] if processes > 1 else []
        words = ["-m", "coca_cli", "embed", str(photos), "-m", str(model), "-o", str(tmp_path / f"{processes}.npz")]
        command = [sys.executable, *torchrun, *words, "--no-cache", "--precision", "fp32"]
        done = subprocess.run(
            command, env={**environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=240, check=False
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("10 embeddings") == 1
    with np.load(tmp_path / "1.npz") as one, np.load(tmp_path / "2.npz") as other:
        assert one["ids"].tolist() == other["ids"].tolist()
        assert one["embeddings"].tolist() == other["embeddings"].tolist()
