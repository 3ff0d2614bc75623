from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from coca_cli.datasets.caption_texts import read_texts
from coca_cli.datasets.digits import digit_scans
from coca_cli.datasets.templates import GENERAL_TEMPLATES
from coca_cli.errors import BadExample, MissingFile
from tests.datasets.test_shards import write_shard

SAMPLES = Path(__file__).parents[1] / "samples"
NO_ROOT = Path("nowhere")


def texts(source: Path | str) -> list[str]:
    return list(read_texts(str(source), NO_ROOT))


def test_a_text_file_has_one_caption_a_line(tmp_path: Path) -> None:
    (tmp_path / "captions.txt").write_bytes("\ufeffa cat\r\n\r\n  a žába \nlast".encode())
    assert texts(tmp_path / "captions.txt") == ["a cat", "a žába", "last"]


def test_the_home_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "captions.txt").write_text("a cat\n")
    assert texts("~/captions.txt") == ["a cat"]


def test_a_table_gives_all_captions() -> None:
    found = texts(SAMPLES / "pairs" / "pairs.csv")
    assert len(found) > 3  # pictures with several captions
    assert all(text.strip() == text != "" for text in found)


def test_labels_give_every_class_name_in_every_template_once() -> None:
    found = texts("digits")
    assert "seven" in " ".join(found)
    assert len(found) == len(set(found))
    assert len(found) % 10 == 0
    assert len(found) < len(digit_scans("train")[1])  # not once per picture
    assert not any("{c}" in text for text in found)


def test_several_classes_of_a_picture_are_texts_one_by_one(tmp_path: Path) -> None:
    for name in ("0.jpg", "1.jpg"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "a.jsonl").write_text(
        '{"image": "0.jpg", "labels": ["cat", "dog"]}\n{"image": "1.jpg", "labels": ["dog"]}\n'
    )
    found = texts(tmp_path / "a.jsonl")
    assert found == [template.replace("{c}", name) for name in ("cat", "dog") for template in GENERAL_TEMPLATES]


def test_the_kind_can_be_chosen(tmp_path: Path) -> None:
    (tmp_path / "0.jpg").write_bytes(b"")
    (tmp_path / "a.jsonl").write_text('{"image": "0.jpg", "label": "cat", "caption": "a tabby"}\n')
    assert texts(tmp_path / "a.jsonl") == ["a tabby"]
    assert "a photo of a cat." in texts(f"labels:{tmp_path / 'a.jsonl'}")


def test_a_stream_gives_its_captions(tmp_path: Path) -> None:
    shard = write_shard(tmp_path / "0.tar", [("0.jpg", b"x"), ("0.txt", "a cat\na tabby")])
    assert texts(f"pipe:cat {shlex.quote(str(shard))}") == ["a cat", "a tabby"]


def test_a_captioned_set_gives_its_captions() -> None:
    captions = read_texts("scenes", NO_ROOT)
    assert all("{c}" not in next(captions) for _ in range(20))


def test_a_missing_text_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match=r"there is no caption file .*no\.txt to read \(No such file"):
        texts(tmp_path / "no.txt")


def test_a_folder_named_as_a_text_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "captions.txt").mkdir()
    with pytest.raises(MissingFile, match=r"Is a directory\); give a \.txt with one caption a line"):
        texts(tmp_path / "captions.txt")


def test_another_encoding_is_refused(tmp_path: Path) -> None:
    (tmp_path / "captions.txt").write_bytes(b"a cat\na caf\xe9\n")
    with pytest.raises(BadExample, match=r"is not UTF-8 text \(.* at byte 11\)"):
        texts(tmp_path / "captions.txt")


def test_another_source_that_is_not_there_is_refused_as_training_data_is(tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match=r"there is no .*no\.csv"):
        texts(tmp_path / "no.csv")
