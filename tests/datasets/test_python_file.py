"""`python:FILE.py`: what a file may say wrongly."""

from __future__ import annotations

from pathlib import Path

import pytest

from coca_cli.datasets import find_dataset
from coca_cli.errors import BadExample, CocaError, MissingFile

SOUND = """
from pathlib import Path
from coca_cli.datasets.example import Dataset, Example, Prompts
P = Path("a.jpg")
SET = Dataset(name={name!r}, task={task!r}, media={media!r}, splits={splits!r}, source="", licence="", layout="",
              prompts={prompts}, read=lambda root, split: {examples})
"""
WORDS = 'lambda root: Prompts(("a",), ("{c}",))'
ONE = "[Example(id='1', media=(P,), label=0)]"


def text(
    name: str = "mine",
    task: str = "classification",
    media: str = "image",
    splits: tuple[str, ...] | str = ("test",),
    prompts: str = WORDS,
    examples: str = ONE,
) -> str:
    return SOUND.format(name=name, task=task, media=media, splits=splits, prompts=prompts, examples=examples)


def test_a_file_is_a_dataset(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("from coca_cli.datasets.digits import DIGITS\n" + text() + "SAME = SET\n")
    dataset = find_dataset(f"python:{file}")
    assert (dataset.name, [example.id for example in dataset.read(tmp_path, "test")]) == ("mine", ["1"])


@pytest.mark.parametrize(
    ("written", "error", "message"),
    [
        ("", BadExample, r"mine\.py describes 0 datasets: there must be one value of type Dataset"),
        (text() + text("other").replace("SET", "OTHER"), BadExample, "describes 2 datasets"),
        (text("imagenet"), CocaError, "calls its dataset imagenet, as another one is called"),
        (text(task="naming"), BadExample, "the task 'naming' is none of classification, captions"),
        (text(media="sound"), BadExample, "the media 'sound' are none of image, video"),
        (text(splits="test"), BadExample, r"splits is a text; of one split write \(\"test\",\) with a comma"),
        (text(splits=()), BadExample, "a dataset needs a name and at least one split"),
        (text(prompts="None"), BadExample, "a dataset with classes needs prompts, a function that gives their names"),
        (text(task="entailment"), BadExample, "statements need answers, what they can be, in the order of the labels"),
        ("raise SystemExit(3)", BadExample, "line 1, stops with SystemExit: 3"),
        ("x = 1\ny = 1 / 0\n", BadExample, r"mine\.py, line 2, stops with ZeroDivisionError: division by zero"),
        ("def broken(:\n", BadExample, r"mine\.py, line 1, stops with SyntaxError"),
        ("raise __import__('coca_cli.errors').errors.MissingFile('gone')", MissingFile, "gone"),
    ],
)
def test_what_is_wrong_is_named(written: str, error: type[CocaError], message: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(written)
    with pytest.raises(error, match=message):
        find_dataset(f"python:{file}")


@pytest.mark.parametrize(
    ("examples", "message"),
    [
        ("None", r"read\('test'\) gives NoneType; it must yield its examples"),
        ("iter([])", "read yields no example of the split test: is that what it calls it inside"),
        ("[('a', 1)]", "example 1 of the split test is of the type tuple, no Example"),
        ("[Example(id=1, media=(P,))]", "has the id 1, which is no text"),
        (
            "[Example(id='a', media=P)]",
            r"the example a of the split test has the media .*, which are no tuple",
        ),
        ("[Example(id='a', media=('a.jpg',))]", "which are no tuple of paths"),
        ("[Example(id='a', media=(P, P))]", "has 2 media where the dataset has 1"),
        ("[Example(id='a', media=(P,), texts='one')]", "has texts that are no tuple of texts, such as"),
        ("[Example(id='a', media=(P,), texts=None)]", "has texts that are no tuple of texts, such as"),
        ("[Example(id='a', media=(P,), label='0')]", "has the label '0', which is no whole number"),
        ("[Example(id='a', media=(P,), label=True)]", "has the label True, which is no whole number"),
        ("[Example(id='a', media=(P,), label=1)]", "has the label 1, but there are 1 classes, counted from 0 to 0"),
        ("[Example(id='a', media=(P,))] * 2", "two examples of the split test have the id a"),
        (
            "(Example(id='a', media=(P,), label=1 // 0) for _ in '1')",
            r"mine\.py, line \d+, stops with ZeroDiv",
        ),
        ("[Example(id='a', media=(P,))].none", r"stops with AttributeError.*\(--verbose shows the way there\)"),
    ],
)
def test_what_it_yields_is_looked_at(examples: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(text(examples=examples))
    with pytest.raises(BadExample, match=message):
        list(find_dataset(f"python:{file}").read(tmp_path, "test"))


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ("lambda root: ['a']", r"prompts must give Prompts\(class_names, templates\), not"),
        (
            "lambda root: Prompts('a', ('{c}',))",
            r"class_names must be a tuple of texts, such as \('a',\) with",
        ),
        ("lambda root: Prompts(('a',), 'a {c}')", "templates must be a tuple of texts"),
        ("lambda root: Prompts(('a',), ())", "templates holds nothing; it must be a tuple of texts"),
        ("lambda root: Prompts(('a', 1), ('{c}',))", "class_names must be a tuple of texts"),
        ("lambda root: Prompts(('a',), ('a photo',))", "the template 'a photo' has no {c} where the class name goes"),
        ("lambda root: Prompts(('a',), ('{c}',))[5]", "stops with IndexError"),
    ],
)
def test_its_words_are_looked_at(prompts: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(text(prompts=prompts))
    dataset = find_dataset(f"python:{file}")
    assert dataset.prompts is not None
    with pytest.raises(BadExample, match=message):
        dataset.prompts(tmp_path)
    with pytest.raises(BadExample, match=message):
        list(dataset.read(tmp_path, "test"))


def test_it_may_import_what_lies_beside_it_and_labels_may_be_numpys(tmp_path: Path) -> None:
    (tmp_path / "beside_mine.py").write_text("import numpy as np\nLABEL = np.int64(0)\n")
    file = tmp_path / "mine.py"
    file.write_text("from beside_mine import LABEL\n" + text(examples="[Example(id='a', media=(P,), label=LABEL)]"))
    (example,) = find_dataset(f"python:{file}").read(tmp_path, "test")
    assert type(example.label) is int


def test_it_must_be_a_python_file_that_is_there(tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match=r"there is no file .*: give one that describes a dataset in Python"):
        find_dataset(f"python:{tmp_path}/none.py")
    (tmp_path / "mine.txt").write_text(text())
    with pytest.raises(BadExample, match=r"is no Python file by its name: it must end in \.py"):
        find_dataset(f"python:{tmp_path}/mine.txt")
