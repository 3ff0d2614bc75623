from __future__ import annotations

import json
from pathlib import Path

import pytest

from coca_cli.datasets.example import Example
from coca_cli.errors import BadExample, CocaError, MissingFile
from coca_cli.tasks.answer_files import GivenAnswer, check_answers_path, read_answers, write_answers

EXAMPLES = [Example(name, (Path("a.jpg"),), question=f"{name}?") for name in ("7", "dev-1", "x")]
GIVEN = [
    GivenAnswer(EXAMPLES[0], "yes", 0.5, 1.0),
    GivenAnswer(EXAMPLES[1], 'a "dog", two', 0.25, 0.3),
    GivenAnswer(EXAMPLES[2], "ü", 1.0, 0.0),
]
SAID = {"7": "yes", "dev-1": 'a "dog", two', "x": "ü"}


@pytest.mark.parametrize("suffix", [".json", ".jsonl", ".csv"])
def test_what_is_written_is_read_again(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"below/said{suffix}"
    write_answers(path, GIVEN)
    assert read_answers(path, EXAMPLES) == SAID


@pytest.mark.parametrize("suffix", [".json", ".jsonl", ".csv"])
def test_odd_ids_and_questions_are_read_again(tmp_path: Path, suffix: str) -> None:
    odd = [Example(name, (Path("a.jpg"),), question="a\u2028b\r\nc") for name in ("007", "7", "٣")]
    path = tmp_path / f"said{suffix}"
    write_answers(path, [GivenAnswer(example, "yes, \u2028 no", 0.5, None) for example in odd])
    assert read_answers(path, odd) == dict.fromkeys(("007", "7", "٣"), "yes, \u2028 no")


def test_the_json_is_what_the_server_of_vqa_takes(tmp_path: Path) -> None:
    write_answers(tmp_path / "said.json", GIVEN)
    rows = json.loads((tmp_path / "said.json").read_text())
    assert rows[0] == {"question_id": 7, "answer": "yes"}
    assert rows[1]["question_id"] == "dev-1"


def test_tables_have_all_that_is_known(tmp_path: Path) -> None:
    write_answers(tmp_path / "said.csv", GIVEN)
    assert (tmp_path / "said.csv").read_text().splitlines()[:2] == [
        "id,question,answer,score,accuracy",
        "7,7?,yes,0.5,1.0",
    ]
    write_answers(tmp_path / "open.csv", [given._replace(accuracy=None) for given in GIVEN])
    assert (tmp_path / "open.csv").read_text().startswith("id,question,answer,score\n")
    write_answers(tmp_path / "none.csv", [])
    assert (tmp_path / "none.csv").read_text() == "id,question,answer,score\n"


def test_files_of_other_programs(tmp_path: Path) -> None:
    path = tmp_path / "said.csv"
    path.write_text("identifier,prediction\n7,True\nx,False\n")
    assert read_answers(path, EXAMPLES) == {"7": "True", "x": "False"}
    path.write_text("7,True\nx,False\n")
    assert read_answers(path, EXAMPLES) == {"7": "True", "x": "False"}
    path.write_text("7,True\n")
    assert read_answers(path, EXAMPLES) == {"7": "True"}
    path.write_text("7,True,maybe\n")
    assert read_answers(path, EXAMPLES) == {}
    path = tmp_path / "said.jsonl"
    path.write_text('{"pairID": "x", "label": "neutral"}\n\n{"question_id": 7, "answer": 2}\n')
    assert read_answers(path, EXAMPLES) == {"x": "neutral", "7": "2"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "holds no answers that can be read"),
        ('{"7": "yes"}', "it must be a list"),
        ('[{"question_id": 7}]', "one of them has no answer or prediction or label"),
        ("[7]", "one of them has no question_id or id"),
        ('[{"id": "7", "answer": "a"}, {"id": 7, "answer": "b"}]', "answers the question 7 twice"),
        ('[{"id": "y", "answer": "a"}]', "answers 1 questions that are not in this split, such as y"),
    ],
)
def test_files_that_cannot_be_used(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "said.json").write_text(content)
    with pytest.raises(BadExample, match=message):
        read_answers(tmp_path / "said.json", EXAMPLES)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match="cannot read the answers"):
        read_answers(tmp_path / "said.json", EXAMPLES)


def test_an_ending_that_says_nothing(tmp_path: Path) -> None:
    check_answers_path(tmp_path / "below/said.json")
    with pytest.raises(CocaError, match=r"--save .*said.txt: answers are written as .json, .jsonl, .csv"):
        check_answers_path(tmp_path / "said.txt")
