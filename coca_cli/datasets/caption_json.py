"""The two JSON files that captioned sets are handed out with: COCO's own, and Karpathy's with his splits."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coca_cli.datasets.example import Example
from coca_cli.datasets.image_folder import is_there
from coca_cli.errors import BadExample, MissingFile
from coca_cli.json_text import parse_json

TRAIN_SPLITS = ("train", "restval")  # restval: the part of COCO's val set that Karpathy gave back to training
PICTURE_FOLDERS = ("images", "Images", "flickr30k-images", "flickr30k_images", "Flicker8k_Dataset", "Flickr8k_Dataset")

LAYOUT = """\
FILE.json as COCO writes it ("images", "annotations" with captions) or Karpathy ("images" with "sentences", "split")
the pictures beside it, in images/, or in the folder that it names (train2014/, val2017/ ...), here or one level up"""


@dataclass(frozen=True, slots=True)
class CaptionRecord:
    """A picture and its captions, as the file has them.

    Attributes:
        id: The picture's number in COCO, where it has one; else its number or name in the file.
        file: The picture's name, with a folder before it where the file says so.
        captions: In the file's order; none for sets whose captions are kept back.
        split: Karpathy's split, "" where the file has none.
        folder: The folder that the file names for it, "" where it names none.
    """

    id: str
    file: str
    captions: tuple[str, ...]
    split: str = ""
    folder: str = ""


def read_caption_json(path: Path) -> list[CaptionRecord]:
    """The pictures of all splits, in the file's order.

    Args:
        path: COCO's captions_*.json (also of sets that copy its form) or Karpathy's dataset_*.json.

    Raises:
        MissingFile: The file cannot be opened.
        BadExample: It is no JSON of either form, lacks a key, or has an id twice.
    """
    content = _load(path)
    pictures = content.get("images") if isinstance(content, dict) else None
    if not isinstance(pictures, list):
        found = (
            f"an object with {', '.join(content) or 'no keys'}" if isinstance(content, dict) else "a list or a value"
        )
        raise BadExample(
            f"{path} holds {found}, not the captions of COCO or Karpathy: give such a file, or write one object a line "
            f"into a .jsonl table. Expected:\n{LAYOUT}"
        )
    if "annotations" in content or _are_listed_alone(pictures):
        records = _read_coco(path, pictures, content.get("annotations", []))
    else:
        records = [_read_karpathy(f"{path}, images[{number}]", entry) for number, entry in enumerate(pictures)]
    seen: set[str] = set()
    for record in records:
        if record.id in seen:
            raise BadExample(
                f"{path} lists the picture {record.id:.60} twice: each must be listed once, with all its captions"
            )
        seen.add(record.id)
    return records


def _are_listed_alone(pictures: Sequence[Any]) -> bool:
    """COCO's form without captions, as sets whose captions are kept back list their pictures."""
    return bool(pictures) and isinstance(pictures[0], dict) and {"id", "file_name"} <= pictures[0].keys()


def find_pictures(path: Path, records: Sequence[CaptionRecord]) -> list[Path]:
    """Where the pictures of a caption file lie.

    Args:
        path: The caption file.
        records: Some of its pictures, at least one.

    Returns:
        One path each; where only some are there, the others as if they lay where the last one was found.

    Raises:
        MissingFile: None of them is anywhere; says where it looked.
    """
    # By the name alone: a link to the file says nothing about where the pictures are.
    bases = tuple(dict.fromkeys((path.parent, Path(os.path.abspath(path)).parent.parent)))  # noqa: PTH100
    found: list[Path | None] = []
    last = path.parent
    for record in records:
        for place in (*_named_places(bases, record.folder), last, *_usual_places(bases)):
            if is_there(place / record.file):
                last = place
                found.append(place / record.file)
                break
        else:
            found.append(None)
    if not any(found):
        named = (place for folder in {record.folder for record in records} for place in _named_places(bases, folder))
        there = ", ".join(str(place) for place in (*_usual_places(bases), *sorted(named)) if place.is_dir())
        raise MissingFile(
            f"none of the {len(records):,} pictures that {path} names is there, such as {records[0].file}; looked in "
            f"{there}. Put them into one of these folders or into {path.parent / PICTURE_FOLDERS[0]}"
        )
    return [file or last / record.file for file, record in zip(found, records, strict=True)]


def read_captioned(path: Path, splits: Collection[str] | None = None) -> Iterator[Example]:
    """The pictures of a caption file, with their captions.

    Args:
        path: See `read_caption_json`.
        splits: The splits to take, of a file that has some; None for all.

    Raises:
        MissingFile: The file is not there, has no such split, or no picture of it is found.
        BadExample: It is not of a form that is known.
    """
    records = read_caption_json(path)
    present = _splits_of(records)
    taken = [record for record in records if splits is None or not present or record.split in splits]
    if not taken:
        known = f"the splits {', '.join(present)}" if present else "no pictures"
        wanted = f"none named {' or '.join(splits)}" if splits else "nothing to read"
        raise MissingFile(f"{path} has {known} and {wanted}: give the file with the pictures that are meant")
    for record, file in zip(taken, find_pictures(path, taken), strict=True):
        yield Example(id=record.id, media=(file,), texts=record.captions)


def read_listed(path: Path, listed: Path) -> Iterator[Example]:
    """The pictures of a caption file whose ids stand in a list, in the list's order.

    Args:
        path: See `read_caption_json`.
        listed: One picture a line, by its id or its file's name in the caption file; of several words the last counts.

    Raises:
        MissingFile: A file is not there, or no picture of it is found.
        BadExample: A listed picture is not in the caption file, or twice in the list; the list is empty or no UTF-8.
    """
    try:
        lines = [line.split() for line in listed.read_text(encoding="utf-8-sig").splitlines()]
    except OSError as error:
        raise MissingFile(f"cannot read the list of pictures {listed}: {error.strerror}; check the path") from error
    except UnicodeDecodeError as error:
        raise BadExample(f"the list of pictures {listed} is not UTF-8 text ({error.reason}): save it so") from error
    records = read_caption_json(path)
    known = {record.file: record for record in records} | {record.id: record for record in records}
    taken: dict[str, CaptionRecord] = {}
    for word in (line[-1] for line in lines if line):
        record = known.get(word)
        if record is None:
            raise BadExample(f"{listed} lists {word}, which {path} does not know: write its pictures' ids, one a line")
        if record.id in taken:
            raise BadExample(f"{listed} lists the picture {word} twice: each counts once, drop one of the lines")
        taken[record.id] = record
    if not taken:
        raise BadExample(f"the list of pictures {listed} is empty: write the ids of pictures into it, one a line")
    chosen = list(taken.values())
    for record, file in zip(chosen, find_pictures(path, chosen), strict=True):
        yield Example(id=record.id, media=(file,), texts=record.captions)


def present_splits(path: Path) -> tuple[str, ...]:
    """The splits that a caption file names, in its order; none where it has no splits.

    Raises:
        MissingFile: The file is not there.
        BadExample: It is not of a form that is known.
    """
    return _splits_of(read_caption_json(path))


def _splits_of(records: Iterable[CaptionRecord]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(record.split for record in records if record.split))


def _named_places(bases: Iterable[Path], folder: str) -> tuple[Path, ...]:
    return tuple(place for base in bases for place in (base / folder, base / PICTURE_FOLDERS[0] / folder) if folder)


def _usual_places(bases: Iterable[Path]) -> tuple[Path, ...]:
    return tuple(place for base in bases for place in (base, *(base / name for name in PICTURE_FOLDERS)))


def _load(path: Path) -> Any:
    try:
        return parse_json(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise MissingFile(f"cannot read the caption file {path}: {error.strerror}; check the path") from error
    except ValueError as error:
        raise BadExample(f"{path} is not valid JSON in UTF-8 ({error}): fetch it again") from error


def _read_coco(path: Path, pictures: list[Any], annotations: Any) -> list[CaptionRecord]:
    captions: dict[int | str, list[str]] = {}
    files: list[tuple[int | str, str, str]] = []
    for number, entry in enumerate(pictures):
        place = f"{path}, images[{number}]"
        key, name = _take(entry, "id", (int, str), place), _take(entry, "file_name", str, place)
        captions[key] = []
        files.append((key, name, _named_folder(name, entry.get("coco_url"), path.stem)))
    if not isinstance(annotations, list):
        raise BadExample(
            f"{path}: its annotations are no list, but {str(annotations)[:40]!r}: give COCO's captions file"
        )
    for number, entry in enumerate(annotations):
        place = f"{path}, annotations[{number}]"
        key, caption = _take(entry, "image_id", (int, str), place), _take(entry, "caption", str, place)
        if key not in captions:
            raise BadExample(
                f"{place} is about the picture {key!s:.60}, which is not among the images: fetch the file again"
            )
        captions[key] += [caption.strip()] if caption.strip() else []
    return [CaptionRecord(str(key), name, tuple(captions[key]), folder=folder) for key, name, folder in files]


def _read_karpathy(place: str, entry: Any) -> CaptionRecord:
    name = _take(entry, "filename", str, place)
    split = _take(entry, "split", str, place).strip()
    if not split:
        raise BadExample(f"{place} has an empty 'split': write train, restval, val or test")
    sentences = _take(entry, "sentences", list, place)
    captions = [_take(sentence, "raw", str, f"{place}.sentences") for sentence in sentences]
    number = next((entry[key] for key in ("cocoid", "imgid") if isinstance(entry.get(key), int)), name)
    folder = entry.get("filepath", "")
    return CaptionRecord(
        str(number),
        name,
        tuple(caption.strip() for caption in captions if caption.strip()),
        split,
        folder if isinstance(folder, str) else "",
    )


def _named_folder(*sources: object) -> str:
    """The COCO folder that a picture's name, its address or the caption file's name speaks of, such as val2017."""
    found = (re.search(r"(?:train|val|test)\d{4}", source) for source in sources if isinstance(source, str))
    return next((match.group() for match in found if match), "")


def _take(entry: Any, key: str, kind: type | tuple[type, ...], place: str) -> Any:
    """A field of a record; raises BadExample where it is missing or of another kind."""
    if not isinstance(entry, dict) or key not in entry:
        found = f"only {', '.join(entry) or 'nothing'}" if isinstance(entry, dict) else repr(entry)[:40]
        raise BadExample(f"{place} has no {key!r} ({found}): give the captions of COCO or Karpathy")
    value = entry[key]
    if not isinstance(value, kind) or isinstance(value, bool):
        raise BadExample(f"{place}: its {key!r} is {str(value)[:40]!r}, a {type(value).__name__}: fetch the file again")
    return value
