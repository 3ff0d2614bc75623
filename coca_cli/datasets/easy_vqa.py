"""easy-VQA: questions about one drawn shape; the whole set comes with a small Python package."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from coca_cli.datasets.answer_cleaning import comparable
from coca_cli.datasets.example import Dataset, Example
from coca_cli.datasets.image_folder import check_split, locate
from coca_cli.datasets.questions import kind_of
from coca_cli.errors import BadExample, MissingFile
from coca_cli.json_text import parse_json

SPLITS = ("test", "train")
PACKAGE = "easy_vqa"
LAYOUT = """\
easy-vqa/train/questions.json, test/questions.json   (lists of [question, answer, picture's number])
easy-vqa/train/images/0.png ..., test/images/0.png ...
or nothing at all, where the package is installed that has these files in it: pip install easy-vqa"""


def _read(root: Path, split: str) -> Iterator[Example]:
    check_split("easy-vqa", split, SPLITS)
    folder = _find_folder(root)
    path = folder / split / "questions.json"
    try:
        rows = parse_json(path.read_text(encoding="utf-8"))
        triples = [(str(question), str(answer), int(picture)) for question, answer, picture in rows]
    except OSError as error:
        raise MissingFile(f"cannot read the questions {path}: {error.strerror}. Expected:\n{LAYOUT}") from None
    except (ValueError, TypeError) as error:
        raise BadExample(f"{path} is no list of [question, answer, number] ({error}): fetch it again") from None
    for number, (question, answer, picture) in enumerate(triples):
        cleaned = comparable(answer)
        yield Example(
            id=f"{split}-{number}",
            media=(folder / split / "images" / f"{picture}.png",),
            question=question,
            texts=(cleaned,),
            answer=cleaned,
            kind=kind_of(question),
        )


def _find_folder(root: Path) -> Path:
    """The set's folder below the data root, else in the installed package."""
    try:
        return locate(root, ("easy-vqa", "easy_vqa"), _fits, LAYOUT)
    except MissingFile:
        package = find_spec(PACKAGE)
        if package is None or package.origin is None:
            raise
        return Path(package.origin).parent / "data"


def _fits(folder: Path) -> bool:
    return any((folder / split / "questions.json").is_file() for split in SPLITS)


EASY_VQA = Dataset(
    name="easy-vqa",
    task="questions",
    splits=SPLITS,
    source="Zhou 2019, https://github.com/vzhou842/easy-VQA",
    licence="MIT",
    layout=LAYOUT,
    read=_read,
)
