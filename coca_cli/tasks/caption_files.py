"""Captions of files as text, JSON lines, CSV or COCO's results JSON, written as they come."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from coca_cli.errors import CocaError
from coca_cli.options import CaptionFormat
from coca_cli.tasks.captioning import ScoredText

ENDINGS = {
    ".txt": CaptionFormat.text,
    ".tsv": CaptionFormat.text,
    ".jsonl": CaptionFormat.jsonl,
    ".csv": CaptionFormat.csv,
    ".json": CaptionFormat.coco,
}


class CaptionedFile(NamedTuple):
    """A file and what was written about it.

    Attributes:
        id: Its path as the user gave it.
        captions: Best first.
    """

    id: str
    captions: Sequence[ScoredText]


def choose_format(output: Path | None, wanted: CaptionFormat | None) -> CaptionFormat:
    """The wanted format, else the one that the file's ending tells, else text.

    Raises:
        CocaError: The ending tells nothing.
    """
    if wanted is not None or output is None:
        return wanted or CaptionFormat.text
    if output.suffix.lower() not in ENDINGS:
        raise CocaError(
            f"--output {output}: the ending tells no format; use {', '.join(ENDINGS)} or name one with --as"
        )
    return ENDINGS[output.suffix.lower()]


def check_format(form: CaptionFormat, n_best: int) -> None:
    """See that a format holds what is asked for.

    Raises:
        CocaError: COCO's results have one caption per picture.
    """
    if form is CaptionFormat.coco and n_best > 1:
        raise CocaError(f"COCO's results JSON holds one caption per picture, not --n-best {n_best}; use --as jsonl")


def written_as(form: CaptionFormat, files: Iterable[CaptionedFile], *, scores: bool) -> Iterator[str]:
    """The text of the output, piece by piece.

    Args:
        form: text: path, tab, caption and, if wanted, tab, score, a line each. jsonl: an object a line with `file`,
            `caption`, and `captions` where there are several. csv: the columns file, caption, rank where there are
            several, score. coco: [{"image_id", "caption"}], with COCO's number where the file's name has one.
        files: What was captioned.
        scores: Whether scores are wanted.
    """
    return _WRITERS[form](files, scores)


def _text(files: Iterable[CaptionedFile], scores: bool) -> Iterator[str]:
    for file in files:
        for caption in file.captions:
            score = f"\t{caption.score:.4f}" if scores else ""
            yield f"{file.id}\t{caption.text}{score}\n"


def _jsonl(files: Iterable[CaptionedFile], scores: bool) -> Iterator[str]:
    for file in files:
        first, *others = (_object(caption, scores) for caption in file.captions)
        row = {"file": file.id, **first}
        if others:
            row["captions"] = [first, *others]
        yield json.dumps(row, ensure_ascii=False) + "\n"


def _csv(files: Iterable[CaptionedFile], scores: bool) -> Iterator[str]:
    begun = False
    for file in files:
        several = len(file.captions) > 1
        if not begun:
            yield _csv_line(["file", *(["rank"] if several else []), "caption", *(["score"] if scores else [])])
            begun = True
        for rank, caption in enumerate(file.captions, start=1):
            number, score = ([str(rank)] if several else []), ([f"{caption.score:.6f}"] if scores else [])
            yield _csv_line([file.id, *number, caption.text, *score])


def _coco(files: Iterable[CaptionedFile], scores: bool) -> Iterator[str]:
    before = "["
    for file in files:
        row = {"image_id": image_number(file.id), **_object(file.captions[0], scores)}
        yield f"{before}\n{json.dumps(row, ensure_ascii=False)}"
        before = ","
    yield "\n]\n"


def check_image_numbers(names: Iterable[str]) -> None:
    """See that COCO's form can tell the files apart.

    Raises:
        CocaError: Two of them would have the same image_id.
    """
    seen: dict[int | str, str] = {}
    for name in names:
        other = seen.setdefault(image_number(name), name)
        if other != name:
            raise CocaError(
                f"{other} and {name} would both have the image_id {image_number(name)} in COCO's form: write .jsonl, "
                "or caption one folder at a time"
            )


def image_number(name: str) -> int | str:
    """The number that COCO and the sets like it put into a file's name; the name without its ending where it has none.

    `val2014/COCO_val2014_000000391895.jpg` is 391895.
    """
    stem = Path(name).stem
    number = re.fullmatch(r"(?:COCO_\w+_)?(\d+)", stem)
    return int(number.group(1)) if number else stem


def _object(caption: ScoredText, scores: bool) -> dict[str, object]:
    return {"caption": caption.text, **({"score": round(caption.score, 6)} if scores else {})}


def _csv_line(cells: Sequence[str]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(cells)
    return line.getvalue()


_WRITERS: dict[CaptionFormat, Callable[[Iterable[CaptionedFile], bool], Iterator[str]]] = {
    CaptionFormat.text: _text,
    CaptionFormat.jsonl: _jsonl,
    CaptionFormat.csv: _csv,
    CaptionFormat.coco: _coco,
}
