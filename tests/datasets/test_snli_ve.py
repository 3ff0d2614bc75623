from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest

from coca_cli.datasets.example import Dataset, Example
from coca_cli.datasets.snli_ve import E_SNLI_VE, LABELS, SNLI_VE
from coca_cli.errors import BadExample, MissingFile
from tests.datasets.make_samples import SAMPLES

BOTH = pytest.mark.parametrize("dataset", [SNLI_VE, E_SNLI_VE], ids=lambda dataset: dataset.name)


def read(dataset: Dataset, root: Path, split: str = "test") -> list[Example]:
    return list(dataset.read(root, split))


def copied(dataset: Dataset, folder: Path) -> Path:
    shutil.copytree(SAMPLES / dataset.name, folder, dirs_exist_ok=True)
    return folder / dataset.name


@BOTH
def test_sentences_and_their_labels(dataset: Dataset) -> None:
    first, second = read(dataset, SAMPLES / dataset.name)
    assert (first.question, LABELS[first.label or 0]) == ("it is drawn.", "entailment")
    assert (second.question, LABELS[second.label or 0]) == ("someone sleeps.", "neutral")
    assert first.id == "1007129816.jpg#0r0e"
    assert first.media == second.media
    assert str(first.media[0]).endswith("1007129816.jpg")


def test_a_pair_that_nobody_agreed_on_is_left_out() -> None:
    (only,) = read(SNLI_VE, SAMPLES / "snli-ve", "dev")
    assert only.question == "there is nothing."


@BOTH
@pytest.mark.parametrize("place", ["images", "Images", "flickr30k-images", "../flickr30k", "../flickr30k/Images"])
def test_pictures_may_lie_in_the_usual_places(dataset: Dataset, place: str, tmp_path: Path) -> None:
    folder = copied(dataset, tmp_path)
    target = folder / place
    target.parent.mkdir(exist_ok=True)
    now = folder / ("images" if (folder / "images").is_dir() else "flickr30k-images")
    now.rename(folder / "moved")
    (folder / "moved").rename(target.resolve())
    assert read(dataset, tmp_path)[0].media[0].read_bytes()  # type: ignore[union-attr]


@BOTH
def test_files_may_lie_in_data(dataset: Dataset, tmp_path: Path) -> None:
    folder = copied(dataset, tmp_path)
    (folder / "data").mkdir()
    for file in [*folder.glob("*.jsonl"), *folder.glob("*.csv")]:
        file.rename(folder / "data" / file.name)
    assert len(read(dataset, tmp_path)) == 2
    assert len(read(dataset, folder)) == 2


def test_a_part_that_is_missing(tmp_path: Path) -> None:
    folder = copied(SNLI_VE, tmp_path)
    (folder / "snli_ve_dev.jsonl").unlink()
    with pytest.raises(MissingFile, match=r"has no snli_ve_dev\.jsonl"):
        read(SNLI_VE, tmp_path, "dev")


GOOD = '{"pairID": "a", "Flickr30K_ID": "1007129816", "sentence2": "x", "gold_label": "neutral"}'


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (GOOD.replace("neutral", "maybe"), "labels the pair a 'maybe'"),
        (f"{GOOD}\n\n{GOOD}", "has the pair a twice"),
        (GOOD[:-9], "line 1 is cut off or no JSON"),
        (
            '{"pairID": "a"}',
            "line 1 has no sentence2: each line must have pairID, sentence2, gold_label",
        ),
        (GOOD.replace('"x"', '" "'), "line 1 has no sentence2"),
        ("[1]", "line 1 has no pairID"),
    ],
)
def test_lines_that_are_damaged(tmp_path: Path, content: str, message: str) -> None:
    (copied(SNLI_VE, tmp_path) / "snli_ve_test.jsonl").write_text(content)
    with pytest.raises(BadExample, match=message):
        read(SNLI_VE, tmp_path)


def test_a_row_that_lacks_a_cell(tmp_path: Path) -> None:
    (copied(E_SNLI_VE, tmp_path) / "esnlive_test.csv").write_text("pairID,Flickr30kID,hypothesis,gold_label\na,b,,c\n")
    with pytest.raises(BadExample, match="line 2 lacks one of pairID, Flickr30kID"):
        read(E_SNLI_VE, tmp_path)


@pytest.mark.parametrize("named", ['"Flikr30kID": "1007129816.jpg"', '"Flickr30kID": "1007129816"', '"captionID": "x"'])
def test_releases_name_the_picture_in_several_ways(tmp_path: Path, named: str) -> None:
    folder = copied(SNLI_VE, tmp_path)
    record = f'{{"pairID": "1007129816.jpg#2r1c", {named}, "sentence2": "x", "gold_label": "neutral"}}'
    (folder / "snli_ve_test.jsonl").write_text(record)
    assert read(SNLI_VE, tmp_path)[0].media == (folder / "flickr30k-images/1007129816.jpg",)


def test_the_folder_of_e_vil_s_repository(tmp_path: Path) -> None:
    folder = copied(E_SNLI_VE, tmp_path)
    (folder / "data").mkdir()
    for file in folder.glob("*.csv"):
        file.rename(folder / "data" / file.name)
    folder.rename(tmp_path / "e-ViL")
    assert len(read(E_SNLI_VE, tmp_path)) == 2


def test_every_record_of_the_official_sample(test_data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "snli-ve"
    folder.mkdir()
    shutil.copy(test_data / "snli_ve/sample_pairs.jsonl", folder / "snli_ve_test.jsonl")
    shutil.copytree(test_data / "snli_ve/images", folder / "flickr30k-images")
    found = read(SNLI_VE, tmp_path)
    assert Counter(LABELS[example.label or 0] for example in found) == {
        "neutral": 6,
        "entailment": 6,
        "contradiction": 4,
    }
    assert all(Path(str(example.media[0])).is_file() for example in found)


def test_every_row_of_the_real_table(test_data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "e-snli-ve"
    folder.mkdir()
    shutil.copy(test_data / "snli_ve/esnlive_dev.flickr8k-images.csv", folder / "esnlive_dev.csv")
    (folder / "images").mkdir()
    for picture in (test_data / "flickr8k/images").iterdir():  # Flickr8k adds a code to Flickr30K's names
        shutil.copy(picture, folder / "images" / f"{picture.stem.partition('_')[0]}.jpg")
    found = read(E_SNLI_VE, tmp_path, "dev")
    assert len(found) == 574
    assert {LABELS[example.label or 0] for example in found} == set(LABELS)
    assert all(Path(str(example.media[0])).is_file() for example in found)
