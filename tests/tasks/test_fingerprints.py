from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from coca_cli.datasets.example import Example, Medium, Pixels, Streamed
from coca_cli.datasets.picture_sets import PictureSet
from coca_cli.errors import BadExample, MissingFile
from coca_cli.media.batches import Skipped
from coca_cli.media.hashes import EVALUATION_LOOKS, TRAINING_LOOKS
from coca_cli.media.images import fit_image
from coca_cli.progress import Reporter
from coca_cli.tasks.embedding import embed_pixels
from coca_cli.tasks.fingerprints import FingerprintReader, Library, read_library
from tests.photographs import encoded, photograph
from tests.tasks.tiny import tiny_placed


def picture(seed: int) -> Pixels:
    return Pixels(np.asarray(photograph(seed, (60, 50))), f"picture {seed}")


def picture_set(name: str, *media: Medium | tuple[Medium, ...], border: int = 0) -> PictureSet:
    examples = [
        Example(f"{name}{i}", each if isinstance(each, tuple) else (each,), question="?")
        for i, each in enumerate(media)
    ]
    return PictureSet(name, lambda: iter(examples), border)


def library(*sets: PictureSet, block_size: int = 2, strict: bool = False) -> Library:
    return read_library(sets, FingerprintReader(block_size, 0), 0.9, strict, Reporter(quiet=True))


def known(found: Library) -> list[tuple[int, str]]:
    return [(each.set_number, each.example_id) for each in found.known]


def test_examples_come_with_a_record_for_each_picture() -> None:
    examples = [Example("one", (picture(0),)), Example("pair", (picture(1), picture(2)))]
    skipped = Skipped()
    for threads in (0, 2):
        rows = list(FingerprintReader(4, threads).read(examples, TRAINING_LOOKS, skipped))
        assert [(example.id, len(records)) for example, records in rows] == [("one", 1), ("pair", 2)]
        assert rows[0][1]["hashes"].shape == (1, 4)
    assert skipped.seen == 4
    assert not skipped.reasons


def test_what_cannot_be_read_has_no_record(tmp_path: Path) -> None:
    gone = tmp_path / "gone.jpg"
    examples = [*(Example(str(i), (picture(i),)) for i in range(30)), Example("gone", (picture(0), gone))]
    skipped = Skipped()
    rows = list(FingerprintReader(4, 0).read(examples, TRAINING_LOOKS, skipped))
    assert [len(records) for _, records in rows] == [1] * 30 + [0]
    assert list(skipped.reasons) == ["gone"]
    with pytest.raises(BadExample, match="Stopped because of --strict"):
        list(FingerprintReader(4, 0).read(examples, TRAINING_LOOKS, Skipped(strict=True)))
    with pytest.raises(BadExample, match="which is more than 5 %"):
        list(FingerprintReader(4, 0).read(examples[-3:], TRAINING_LOOKS, Skipped()))


def test_blocks_are_full_but_for_the_last() -> None:
    reader = FingerprintReader(3, 0)
    stream = reader.read([Example(str(i), (picture(i),)) for i in range(7)], (), Skipped())
    assert [[example.id for example, _ in block] for block in reader.blocks(stream)] == [
        list("012"),
        list("345"),
        ["6"],
    ]


def test_a_model_embeds_what_was_read() -> None:
    placed = tiny_placed()
    reader = FingerprintReader(3, 0, placed)
    examples = [Example(str(i), (picture(i),)) for i in range(3)]
    records = np.concatenate([rows for _, rows in reader.read(examples, TRAINING_LOOKS, Skipped())])
    pixels = np.stack([fit_image(photograph(i, (60, 50)), placed.image) for i in range(3)])
    found = reader.embed(records)
    assert found is not None
    assert torch.equal(found, embed_pixels(placed, torch.from_numpy(pixels)))
    assert FingerprintReader(3, 0).embed(records) is None


def test_the_same_picture_counts_once_in_each_set() -> None:
    again = Pixels(picture(0).array.copy(), "again")
    found = library(picture_set("a", picture(0), picture(1), again, picture(2)), picture_set("b", picture(1)))
    assert known(found) == [(0, "a0"), (0, "a1"), (0, "a3"), (1, "b0")]
    assert found.names == ["a", "b"]


def test_a_pair_of_pictures_gives_both() -> None:
    found = library(picture_set("a", (picture(0), picture(1)), picture(1)))
    assert known(found) == [(0, "a0"), (0, "a0")]
    assert [each.medium.name for each in found.known if isinstance(each.medium, Pixels)] == ["picture 0", "picture 1"]


def test_the_same_file_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photograph(0).save(tmp_path / "a.png")
    read: list[str] = []
    original = Path.read_bytes

    def counted(path: Path) -> bytes:
        read.append(path.name)
        return original(path)

    monkeypatch.setattr(Path, "read_bytes", counted)
    found = library(picture_set("questions", *[tmp_path / "a.png"] * 3))
    assert known(found) == [(0, "questions0")]
    assert read == ["a.png"]


def test_a_border_is_cut_off_before() -> None:
    framed = np.zeros((70, 80, 3), np.uint8)
    framed[10:-10, 10:-10] = picture(0).array
    found = library(picture_set("a", Pixels(framed, "framed"), border=10))
    bare = FingerprintReader(1, 0).read([Example("b", (picture(0),))], TRAINING_LOOKS, Skipped())
    (match,) = found.pictures.find(next(bare)[1])
    assert match.found_by == "copy"
    assert found.known[0].border == 10


def test_pictures_of_a_stream_are_not_kept() -> None:
    streamed = Streamed(encoded(photograph(0), "PNG"), "shard:0.png")
    found = library(picture_set("a", streamed, streamed))
    assert [each.medium for each in found.known] == [None]


def test_pictures_of_a_stream_are_read_one_after_the_other() -> None:
    alive = 0

    def examples() -> Iterator[Example]:
        nonlocal alive
        for i in range(6):
            alive = i
            yield Example(str(i), (Streamed(encoded(photograph(i), "PNG"), "shard"),))

    reader = FingerprintReader(1, 0)
    seen = []
    for example, _ in reader.read(examples(), EVALUATION_LOOKS, Skipped()):
        seen.append((example.id, alive))
    assert seen == [(str(i), i) for i in range(6)]
    assert len(library(PictureSet("a", examples)).known) == 6


def test_embeddings_of_all_sets_are_compared() -> None:
    placed = tiny_placed()
    reader = FingerprintReader(2, 0, placed)
    sets = [picture_set("a", picture(0), picture(1), picture(2)), picture_set("b", picture(3))]
    found = read_library(sets, reader, 0.9999, False, Reporter(quiet=True))
    rows = next(reader.read([Example("x", (picture(3),))], TRAINING_LOOKS, Skipped()))[1]
    (match,) = found.pictures.find(rows, reader.embed(rows))
    assert (match.evaluation, match.found_by, match.cosine) == (3, "copy", pytest.approx(1.0, abs=1e-4))


@pytest.mark.parametrize("media", [[], [Path("gone.jpg")]])
def test_a_set_without_pictures_is_refused(media: list[Path]) -> None:
    with pytest.raises((MissingFile, BadExample), match=r"no picture to compare with in a; check|more than 5 %"):
        library(picture_set("a", *media))


def test_the_user_is_told_what_is_not_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flat = Pixels(np.full((20, 20, 3), 90, np.uint8), "flat")
    media = [*map(picture, range(24)), flat, tmp_path / "gone.jpg"]
    read_library([picture_set("a", *media)], FingerprintReader(8, 0), 0.9, False, Reporter())
    err = capsys.readouterr().err
    assert "gone.jpg: the file does not exist" in err
    assert "not compared, so its copies stay in the training data" in err
    assert "nearly flat evaluation pictures, of which only exact copies are found: 1\n" in err
