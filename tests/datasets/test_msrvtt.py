from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from coca_cli.datasets.example import Protocol
from coca_cli.datasets.msrvtt import MSRVTT
from coca_cli.errors import BadExample, MissingFile, UnknownName
from tests.datasets.make_samples import SAMPLES

SAMPLE = SAMPLES / "msrvtt"
TEST = ["video7010", "video7020", "video9770"]
DATA, LIST = "msrvtt/MSRVTT_data.json", "msrvtt/MSRVTT_JSFUSION_test.csv"
HEADER = "key,vid_key,video_id,sentence\n"


def ids(root: Path, split: str) -> list[str]:
    return [example.id for example in MSRVTT.read(root, split)]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The sample, at a data root where it may be changed."""
    shutil.copytree(SAMPLE, tmp_path, dirs_exist_ok=True)
    return tmp_path


def change(root: Path, alter: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads((root / DATA).read_text())
    alter(content)
    (root / DATA).write_text(json.dumps(content))


def test_every_split() -> None:
    assert ids(SAMPLE, "test") == TEST
    assert ids(SAMPLE, "val") == ["video6513"]
    assert ids(SAMPLE, "train") == ["video0"]


def test_all_captions_of_a_video_and_one_in_1k_a() -> None:
    folder = SAMPLE / "msrvtt/videos/all"

    whole = {example.id: example for example in MSRVTT.read(SAMPLE, "test")}
    part = list(MSRVTT.read(SAMPLE, "test-1k-a"))

    assert whole["video7010"].texts == ("a square moves in video7010", "colours flow in video7010")
    assert [(example.id, example.texts) for example in part] == [
        ("video9770", ("a square moves",)),
        ("video7020", ("colours, and they flow",)),
    ]
    assert all(example.media == (folder / f"{example.id}.mp4",) for example in [*whole.values(), *part])


def test_the_protocols_of_the_papers() -> None:
    assert MSRVTT.protocols == (Protocol("full", "test"), Protocol("1k-a", "test-1k-a"))


@pytest.mark.parametrize("folder", ["MSRVTT", "msr-vtt", "MSR-VTT", "MSR_VTT"])
def test_names_of_the_folder(copy: Path, folder: str) -> None:
    (copy / "msrvtt").rename(copy / folder)
    assert ids(copy, "test") == TEST


def test_the_data_root_may_be_the_folder_itself(copy: Path) -> None:
    assert ids(copy / "msrvtt", "test") == TEST
    assert ids(copy / "msrvtt", "test-1k-a") == ["video9770", "video7020"]


@pytest.mark.parametrize("places", ["", "annotation", "annotations", "msrvtt_data"])
def test_the_annotations_may_lie_deeper(copy: Path, places: str) -> None:
    (copy / "msrvtt" / places).mkdir(exist_ok=True)
    for name in (DATA, LIST):
        (copy / name).rename(copy / "msrvtt" / places / Path(name).name)
    assert ids(copy, "test") == TEST
    assert ids(copy, "test-1k-a") == ["video9770", "video7020"]


@pytest.mark.parametrize("root", ["", "msrvtt"])
def test_the_archive_of_clips_has_an_msrvtt_folder_too(copy: Path, root: str) -> None:
    (copy / "msrvtt/MSRVTT").mkdir()
    (copy / "msrvtt/videos").rename(copy / "msrvtt/MSRVTT/videos")
    assert ids(copy / root, "test") == TEST


def official_pair(root: Path) -> None:
    """The two files of the first release, in the two folders of its archives."""
    content = json.loads((root / DATA).read_text())
    (root / DATA).unlink()
    for name, splits in (
        ("test_videodatainfo.json", ("test",)),
        ("train_val_annotation/train_val_videodatainfo.json", ("train", "validate")),
    ):
        videos = [video for video in content["videos"] if video["split"] in splits]
        kept = {video["video_id"] for video in videos}
        sentences = [sentence for sentence in content["sentences"] if sentence["video_id"] in kept]
        (root / "msrvtt" / name).parent.mkdir(exist_ok=True)
        (root / "msrvtt" / name).write_text(json.dumps({"videos": videos, "sentences": sentences}))


def test_the_two_files_of_the_first_release(copy: Path) -> None:
    official_pair(copy)

    for split in ("test", "val", "train"):
        assert [(e.id, e.texts) for e in MSRVTT.read(copy, split)] == [
            (e.id, e.texts) for e in MSRVTT.read(SAMPLE, split)
        ]


def test_a_split_whose_file_is_missing(copy: Path) -> None:
    official_pair(copy)
    (copy / "msrvtt/test_videodatainfo.json").unlink()
    with pytest.raises(MissingFile, match=r"no video of the split test is named in .*train_val_videodatainfo\.json"):
        ids(copy, "test")


def test_later_copies_write_val(copy: Path) -> None:
    (copy / DATA).write_text((copy / DATA).read_text().replace('"validate"', '"val"'))
    assert ids(copy, "val") == ["video6513"]


def test_missing_clips_are_yielded_where_they_should_be(copy: Path) -> None:
    gone = copy / "msrvtt/videos/all/video7020.mp4"
    gone.unlink()
    assert {example.id: example.media for example in MSRVTT.read(copy, "test")}["video7020"] == (gone,)


def test_no_clip_at_all(copy: Path) -> None:
    shutil.rmtree(copy / "msrvtt/videos")
    with pytest.raises(MissingFile, match=r"none of the 3 clips such as video7010 \(\.mp4"):
        ids(copy, "test")


def test_windows_line_ends_and_byte_order_marks(copy: Path) -> None:
    for name in (DATA, LIST):
        (copy / name).write_bytes(b"\xef\xbb\xbf" + (copy / name).read_bytes().replace(b"\n", b"\r\n"))
    assert ids(copy, "test") == TEST
    assert [e.texts for e in MSRVTT.read(copy, "test-1k-a")] == [("a square moves",), ("colours, and they flow",)]


def test_columns_of_1k_a_in_another_order(copy: Path) -> None:
    (copy / LIST).write_text("\ufeffvideo_id,sentence\nvideo9770,a square moves\n", encoding="utf-8")
    assert ids(copy, "test-1k-a") == ["video9770"]


def test_empty_captions_do_not_count(copy: Path) -> None:
    change(copy, lambda content: content["sentences"][2].update(caption=" \n"))
    texts = {example.id: example.texts for example in MSRVTT.read(copy, "test")}
    assert texts["video7010"] == ("colours flow in video7010",)


@pytest.mark.parametrize(
    ("alter", "message"),
    [
        (
            lambda c: c["videos"].append(c["videos"][0]),
            r"videos\[5\] is video0 once more: each video must be listed once",
        ),
        (lambda c: c["videos"][1].pop("split"), r"videos\[1\] has no text 'split' \(.*\): fetch the file again"),
        (lambda c: c["videos"].insert(0, "video1"), r"videos\[0\] has no text 'video_id' \(video1\)"),
        (lambda c: c["sentences"][3].update(caption=7), r"sentences\[3\] has no text 'caption'"),
        (lambda c: c["sentences"][3].update(video_id=None), r"sentences\[3\] has no text 'video_id'"),
        (
            lambda c: c.update(sentences=[s for s in c["sentences"] if s["video_id"] != "video7020"]),
            r"has no caption for 1 videos such as video7020: fetch it again",
        ),
        (lambda c: c.pop("sentences"), "is not the annotation file of MSR-VTT: it has no lists"),
    ],
)
def test_broken_annotations_are_refused(copy: Path, alter: Callable[[dict[str, Any]], object], message: str) -> None:
    change(copy, alter)
    with pytest.raises(BadExample, match=message) as error:
        ids(copy, "test")
    assert "MSRVTT_data.json" in str(error.value)


@pytest.mark.parametrize("content", [b'{"videos": [', b'{"videos": "\xff"}', b"[" * 100_000])
def test_another_kind_of_file_is_refused(copy: Path, content: bytes) -> None:
    (copy / DATA).write_bytes(content)
    with pytest.raises(BadExample, match=r"MSRVTT_data\.json holds no JSON in UTF-8 \(.*\): fetch it again"):
        ids(copy, "test")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (HEADER, "lists no video: fetch it again"),
        (
            HEADER + "ret0,msr9770,video9770,a\nret1,msr9770,video9770,b\n",
            "lists video9770 twice: in 1k-a each video has",
        ),
        (HEADER + "ret0,msr9770,video9770, \n", "each line needs a video_id and a sentence, found "),
        (HEADER + "ret0,msr9770,video9770\n", "each line needs a video_id and a sentence, found "),
        ("video9770,a square moves\n" * 2, "each line needs a video_id and a sentence, found "),
        (HEADER + 'ret0,msr9770,video9770,"a" square\n', r"is no table in UTF-8 \(.* expected after '\"'\): fetch it"),
        (HEADER.encode() + b"ret0,msr9770,video9770,caf\xe9\n", r"_test\.csv is no table in UTF-8 \("),
    ],
)
def test_broken_lists_of_1k_a_are_refused(copy: Path, content: str | bytes, message: str) -> None:
    (copy / LIST).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(BadExample, match=message) as error:
        ids(copy, "test-1k-a")
    assert str(copy / LIST) in str(error.value)


@pytest.mark.parametrize(("gone", "split"), [(LIST, "test-1k-a"), (DATA, "test")])
def test_each_part_needs_its_own_file_alone(copy: Path, gone: str, split: str) -> None:
    (copy / gone).unlink()
    message = (
        "msrvtt has no MSRVTT_JSFUSION_test.csv, the list of 1k-a" if gone == LIST else "msrvtt has none of MSRVTT_"
    )
    with pytest.raises(MissingFile, match=message):
        ids(copy, split)
    assert ids(copy, "test" if gone == LIST else "test-1k-a")


@pytest.mark.parametrize(("name", "split"), [(DATA, "test"), (LIST, "test-1k-a")])
def test_files_that_cannot_be_opened(copy: Path, monkeypatch: pytest.MonkeyPatch, name: str, split: str) -> None:
    (copy / name).unlink()
    (copy / name).mkdir()
    monkeypatch.setattr("coca_cli.datasets.msrvtt.find_beside", lambda folder, places, found: folder / found)
    with pytest.raises(MissingFile, match=r"cannot read .*MSRVTT_.*: Is a directory\. Expected below the data root"):
        ids(copy, split)


def test_unknown_split() -> None:
    with pytest.raises(UnknownName, match="unknown split of msrvtt '1k-a'"):
        ids(SAMPLE, "1k-a")


@pytest.fixture
def real(test_data: Path, tmp_path: Path) -> Path:
    """The real annotations with an empty clip or two of each split."""
    (tmp_path / "msrvtt/videos").mkdir(parents=True)
    for number in (0, 6513, 7010, 9770):
        (tmp_path / f"msrvtt/videos/video{number}.mp4").touch()
    (tmp_path / "msrvtt/MSRVTT_data.json").symlink_to(test_data / "msrvtt/MSRVTT_data.one-caption.json")
    (tmp_path / "msrvtt/MSRVTT_JSFUSION_test.csv").symlink_to(test_data / "msrvtt/MSRVTT_JSFUSION_test.csv")
    return tmp_path


@pytest.mark.parametrize(("split", "count"), [("train", 6513), ("val", 497), ("test", 2990)])
def test_real_splits_are_the_published_lists(real: Path, test_data: Path, split: str, count: int) -> None:
    found = ids(real, split)
    assert found == (test_data / f"msrvtt/{split}_list_full.txt").read_text().split()
    assert len(found) == count


def test_real_1k_a_is_a_part_of_the_test_split(real: Path) -> None:
    examples = list(MSRVTT.read(real, "test-1k-a"))

    assert len(examples) == len({example.id for example in examples}) == 1000
    assert {example.id for example in examples} <= set(ids(real, "test"))
    assert all(len(example.texts) == 1 for example in examples)
    assert examples[0].texts == ("a person is connecting something to system",)
