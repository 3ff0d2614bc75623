from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from coca_cli.datasets.example import Dataset, Example
from coca_cli.datasets.held_out import choose_training_splits
from coca_cli.datasets.questions import open_questions
from coca_cli.errors import BadExample, CocaError, MissingFile
from tests.datasets.sample_files import save_pictures


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_pictures(tmp_path, ("a.png", "images/b.png"))
    return tmp_path


def table(folder: Path, *lines: str, name: str = "ask.csv") -> Dataset:
    (folder / name).write_text("\n".join(lines) + "\n")
    return open_questions(str(folder / name))


def read(dataset: Dataset, split: str | None = None) -> list[Example]:
    return list(dataset.read(Path("nowhere"), split or dataset.splits[0]))


def test_a_table_of_questions(folder: Path) -> None:
    dataset = table(folder, "image,question,answer", "a.png,What colour is it?,Red.", "b.png,Is it a dog?,yes")
    assert dataset.splits == ("all",)
    first, second = read(dataset)
    assert (first.question, first.texts, first.answer, first.kind) == (
        "What colour is it?",
        ("red",),
        "red",
        "what colour",
    )
    assert first.media == (folder / "a.png",)
    assert second.media == (folder / "images/b.png",)
    assert [first.id, second.id] == ["row-0", "row-1"]


def test_ids_types_and_splits_of_its_own(folder: Path) -> None:
    dataset = table(
        folder,
        "id,image,question,answer,split,question_type",
        "x,a.png,one?,1,train,count",
        "y,a.png,two?,2,test,",
    )
    assert dataset.splits == ("test", "train")
    (only,) = read(dataset)
    assert (only.id, only.kind) == ("y", "two?")
    assert read(dataset, "train")[0].kind == "count"


@pytest.mark.parametrize(
    ("named", "splits"),
    [
        (("train", "validation"), ("validation", "train")),
        (("Train", "Test"), ("Test", "Train")),
        (("training", "extra", "evaluation"), ("evaluation", "extra", "training")),
        (("dev", "train", "test-std", "val"), ("test-std", "val", "dev", "train")),
    ],
)
def test_training_data_come_last_whatever_they_are_called(
    folder: Path, named: tuple[str, ...], splits: tuple[str, ...]
) -> None:
    dataset = table(folder, "image,question,answer,split", *(f"a.png,why?,so,{split}" for split in named))
    assert dataset.splits == splits
    assert choose_training_splits(dataset, None, None).train == splits[-1]


def test_splits_of_which_none_is_for_training(folder: Path) -> None:
    dataset = table(folder, "image,question,answer,split", "a.png,why?,so,one", "a.png,why?,so,two")
    with pytest.raises(
        CocaError, match="has the splits one, two, and none is called train: name one with --train-split"
    ):
        choose_training_splits(dataset, None, None)
    assert choose_training_splits(dataset, "two", None).train == "two"


def test_answers_that_cleaning_would_wipe_out(folder: Path) -> None:
    dataset = table(folder, "image,question,answer", "a.png,which?,A", "a.png,which?,The", "a.png,which?,?")
    assert [example.texts for example in read(dataset)] == [("a",), ("the",), ("?",)]


def test_numbers_and_gaps_as_pandas_writes_them(folder: Path) -> None:
    rows = pd.DataFrame({"image": ["a.png"] * 2, "question": ["how many?"] * 2, "answer": [2.0, None]})
    rows.to_parquet(folder / "ask.parquet")
    with pytest.raises(BadExample, match="row 1: the question 'how many\\?' has no answer"):
        read(open_questions(str(folder / "ask.parquet")))
    rows[:1].to_parquet(folder / "ask.parquet")
    assert read(open_questions(str(folder / "ask.parquet")))[0].texts == ("2",)
    gap = table(folder, '{"image": "a.png", "question": "q", "answer": NaN, "id": 3.0}', name="ask.jsonl")
    assert [(example.id, example.texts) for example in read(gap)] == [("3", ())]


def test_ids_are_unique_in_each_split(folder: Path) -> None:
    dataset = table(
        folder, "id,image,question,answer,split", "x,a.png,q,1,train", "x,a.png,q,1,test", ",a.png,r,1,test"
    )
    assert [example.id for example in read(dataset)] == ["x", "row-2"]


def test_several_answers(folder: Path) -> None:
    rows = [{"image": "a.png", "question": "which?", "answers": ["The cat", "cat", "dog"]}]
    dataset = table(folder, *map(json.dumps, rows), name="ask.jsonl")
    (only,) = read(dataset)
    assert (only.texts, only.answer) == (("cat", "cat", "dog"), "cat")
    columns = table(folder, "image,question,answer,answer", "a.png,which?,dog,cat")
    assert read(columns)[0].texts == ("dog", "cat")
    pd.DataFrame(rows).to_parquet(folder / "ask.parquet")
    assert read(open_questions(str(folder / "ask.parquet")))[0].texts == ("cat", "cat", "dog")
    counted = table(folder, '{"image": "a.png", "question": "how many?", "answer": 3}', name="ask.jsonl")
    assert read(counted)[0].texts == ("3",)


def test_questions_that_are_to_be_answered(folder: Path) -> None:
    dataset = table(folder, "image,question,answer", "a.png,which?,", "a.png,why?,")
    assert [example.texts for example in read(dataset)] == [(), ()]
    bare = table(folder, "image,question", "a.png,which?")
    assert read(bare)[0].texts == ()


def test_a_question_without_an_answer_among_others(folder: Path) -> None:
    dataset = table(folder, "image,question,answer", "a.png,which?,x", "a.png,why?,")
    with pytest.raises(BadExample, match=r"line 3: the question 'why\?' has no answer, and 1 others of the split all"):
        read(dataset)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (("id,image,question,answer", "x,a.png,q,1", "x,a.png,r,2"), "the id x is there twice"),
        (("image,question,answer", ",q,1"), "the image is '', not a text: fill it in or drop the line"),
        (("image,question,answer", "a.png, ,1"), "the question is ' ', not a text"),
    ],
)
def test_lines_that_are_wrong(folder: Path, lines: tuple[str, ...], message: str) -> None:
    with pytest.raises(BadExample, match=message):
        table(folder, *lines)


def test_an_answer_that_is_no_text(folder: Path) -> None:
    with pytest.raises(BadExample, match=r"an answer is \{'a': 1\}, not a text"):
        table(folder, '{"image": "a.png", "question": "q", "answer": {"a": 1}}', name="ask.jsonl")


def test_a_column_that_is_missing(folder: Path) -> None:
    with pytest.raises(CocaError, match="not one of the question columns question, sentence"):
        table(folder, "image,answer", "a.png,1")


@pytest.mark.parametrize("name", ["nowhere.csv", "a.png"])
def test_what_is_no_table(folder: Path, name: str) -> None:
    with pytest.raises(MissingFile, match="not questions that can be read"):
        open_questions(str(folder / name))


def test_an_empty_table(folder: Path) -> None:
    with pytest.raises(MissingFile, match=r"has no lines below its header: write questions into it\. Give"):
        read(table(folder, "image,question,answer"))


def test_a_table_with_its_pictures_in_it(folder: Path) -> None:
    cell: dict[str, Any] = {"bytes": (folder / "a.png").read_bytes(), "path": None}
    pd.DataFrame([{"image": cell, "question": "q", "answer": "1"}]).to_parquet(folder / "ask.parquet")
    with pytest.raises(CocaError, match="has its pictures in it, which cannot be read one by one"):
        open_questions(str(folder / "ask.parquet"))
