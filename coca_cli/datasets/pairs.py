"""Pictures with texts: tables (.csv, .tsv, .jsonl, .parquet) of pictures, and folders with a .txt beside each."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, NamedTuple

from coca_cli.datasets.example import Example, Medium, Streamed
from coca_cli.datasets.image_folder import is_there, list_pictures
from coca_cli.datasets.parquet import PARQUET, ClassCell, holds_bytes, parquet_columns
from coca_cli.datasets.tables import Row, Wanted, find_column, open_text, position_of, read_rows
from coca_cli.errors import BadExample

Kind = Literal["pairs", "labels"]

# The names that the datasets and trainers of the field give these columns; the first that a table has is taken.
IMAGE_COLUMNS = ("image", "image_path", "filepath", "file_path", "path", "file", "file_name", "filename", "img")
VIDEO_COLUMNS = ("video", "video_path", "clip", *IMAGE_COLUMNS)
CAPTION_COLUMNS = ("caption", "captions", "text", "title", "sentence", "description")
LABEL_COLUMNS = ("label", "labels", "class")
SPLIT_COLUMNS = ("split",)

FOLDER_LAYOUT = "FOLDER/.../NAME.jpg (or .png, .webp ...) and FOLDER/.../NAME.txt beside it, one caption a line"

_PICTURE = Wanted("image", IMAGE_COLUMNS)
_CLIP = Wanted("video", VIDEO_COLUMNS)
_SPLIT = Wanted("split", SPLIT_COLUMNS, once=True)
_TEXTS: dict[Kind, Wanted] = {
    "pairs": Wanted("caption", CAPTION_COLUMNS),
    "labels": Wanted("label", LABEL_COLUMNS, once=True),
}


class _Texts(NamedTuple):
    texts: list[str]
    label: int | None = None


def read_table(path: Path, image_column: str | None = None, caption_column: str | None = None) -> Iterator[Example]:
    """The pictures that a table names, in order of first appearance, each with all its captions.

    Args:
        path: A .csv, .tsv or .jsonl file in UTF-8, or a .parquet file. Picture paths count from its folder.
        image_column: The column with the pictures; None looks for one of `IMAGE_COLUMNS`.
        caption_column: The column with the captions (a text, or in .jsonl and .parquet a list of texts); None looks for
            one of `CAPTION_COLUMNS`. Columns that share this name are further captions of the same picture.

    Yields:
        One example per picture, also where it has no caption. The id is the path as seen from the table's folder.

    Raises:
        MissingFile: The table is not there.
        BadExample: A line cannot be read.
        CocaError: There is no such column, or the file is no table.
    """
    image = _PICTURE if image_column is None else Wanted("image", (image_column,))
    texts = _TEXTS["pairs"] if caption_column is None else Wanted("caption", (caption_column,))
    return _read_tables((path,), image, texts)


def read_video_table(path: Path) -> Iterator[Example]:
    """The clips that a table names in one of `VIDEO_COLUMNS`, as `read_table` gives pictures.

    Where it has one of `LABEL_COLUMNS`, clips have their place in `video_classes` as label, and need no captions.
    """
    columns = find_table_columns(path)
    if "labels" not in columns:
        yield from _read_tables((path,), _CLIP, _TEXTS["pairs"])
        return
    names = _labels_of_clips(path)
    index = {name: number for number, name in enumerate(video_classes(path))}
    captioned = _read_tables((path,), _CLIP, _TEXTS["pairs" if "pairs" in columns else "labels"])
    for example in captioned:
        texts = example.texts if "pairs" in columns else ()
        yield replace(example, label=index.get(names.get(example.id, "")), texts=texts)


def splits_of_clips(path: Path) -> dict[str, str]:
    """The split of each clip of a table by its id; {} where no clip has one.

    Raises:
        BadExample: A clip has none, where others have, or two.
    """
    if "splits" not in find_table_columns(path):
        return {}
    splits = {clip.id: clip.texts for clip in _read_tables((path,), _CLIP, _SPLIT)}
    if not any(splits.values()):
        return {}
    for name, found in splits.items():
        if len(found) != 1:
            words = " and ".join(found) or "none"
            raise BadExample(f"{path} gives the clip {name} the splits {words}: give it one")
    return {name: found for name, (found,) in splits.items()}


def video_classes(path: Path) -> tuple[str, ...]:
    """The classes in a table of clips, in alphabetical order."""
    return tuple(sorted(set(_labels_of_clips(path).values())))


def _labels_of_clips(path: Path) -> dict[str, str]:
    """The class of each clip that has one, by its id; a clip of two classes is refused."""
    labels: dict[str, str] = {}
    for clip in _read_tables((path,), _CLIP, _TEXTS["labels"]):
        if len(clip.texts) > 1:
            raise BadExample(f"{path} gives the clip {clip.id} the classes {' and '.join(clip.texts)}: keep one")
        if clip.texts:
            labels[clip.id] = clip.texts[0]
    return labels


def read_tables(kind: Kind, paths: Sequence[Path], first: int | None = None) -> Iterator[Example]:
    """The pictures that tables name, as `read_table` gives them, with their captions or the names of their classes.

    Args:
        kind: What the texts are: captions, or class names, which stand in one of `LABEL_COLUMNS`.
        paths: The tables; ids are paths as seen from the folder above all of them.
        first: Stop reading once so many pictures are known, though further rows may have more texts of them.
    """
    return _read_tables(paths, _PICTURE, _TEXTS[kind], first)


def _read_tables(paths: Sequence[Path], image: Wanted, wanted: Wanted, first: int | None = None) -> Iterator[Example]:
    pictures: dict[str, tuple[Path, list[str], list[int]]] = {}
    folder = folder_above(paths)
    for path, row in ((table, row) for table in paths for row in read_rows(table, image, wanted)):
        picture = row.cells[find_column(row, image)]
        if not isinstance(picture, str) or not picture.strip():
            thing = "clip" if image is _CLIP else "picture"
            raise BadExample(f"{row.place}: the {thing} is {picture!r:.60}, not a path: fill it in or drop the line")
        file = path.parent / picture.strip()
        _, known, labels = pictures.setdefault(_name_from(folder, file), (file, [], []))
        texts, label = _read_texts(row, wanted)
        known += texts
        labels += [] if label is None else [label]
        if len(pictures) == first:
            break
    for name, (file, known, labels) in pictures.items():
        yield _example(name, file, known, labels[0] if labels else None, wanted)


def _example(name: str, medium: Medium, texts: list[str], label: int | None, wanted: Wanted) -> Example:
    if wanted.once:
        texts = list(dict.fromkeys(texts))
    return Example(name, (medium,), label if len(texts) == 1 else None, tuple(texts))


def find_table_columns(path: Path) -> dict[str, str]:
    """The columns of a table that are known by their names.

    Returns:
        "image", "pairs" (captions), "labels" and "splits", each where there is one, -> the column.

    Raises:
        MissingFile: The table is not there.
        BadExample: Its first line cannot be read.
        CocaError: The file is no table.
    """
    if path.suffix.lower() == PARQUET:
        columns = parquet_columns(path)
    else:
        columns = next((row.columns for row in read_rows(path, _PICTURE, _TEXTS["pairs"])), ())
    uses: dict[str, Wanted] = {"image": _PICTURE, "pairs": _TEXTS["pairs"], "labels": _TEXTS["labels"]}
    uses["splits"] = _SPLIT
    positions = {use: position_of(columns, wanted.columns) for use, wanted in uses.items()}
    return {use: columns[position] for use, position in positions.items() if position is not None}


def holds_pictures(path: Path) -> bool:
    """Whether a table has the pictures in it, not their paths; raises as `find_table_columns` does."""
    column = find_table_columns(path).get("image") if path.suffix.lower() == PARQUET else None
    return column is not None and holds_bytes(path, column)


def read_picture_table(kind: Kind, folder: Path, file: str) -> Iterator[Example]:
    """The rows of a parquet table with pictures in it, from front to back: one example each, also without texts.

    A picture in the midst of such a file cannot be read alone: its whole page would have to be unpacked each time. So
    the file is read like a stream; `coca data pack` makes shards of it, whose pictures are read by their place.

    Args:
        kind: What the texts are.
        folder: What ids count from.
        file: The table.

    Raises:
        MissingFile: The table is not there.
        BadExample: A row cannot be read.
    """
    path = Path(file)
    name = _name_from(folder, path)
    for number, row in enumerate(read_rows(path, _PICTURE, _TEXTS[kind])):
        texts, label = _read_texts(row, _TEXTS[kind])
        yield _example(f"{name}:{number}", _medium(row, path.parent), texts, label, _TEXTS[kind])


def folder_above(paths: Sequence[Path]) -> Path:
    """The folder that holds all these files, at any depth."""
    return Path(os.path.commonpath([path.parent.absolute() for path in paths])) if len(paths) > 1 else paths[0].parent


def read_folder_pairs(folder: Path) -> Iterator[Example]:
    """The pictures of a folder, at any depth, that have a .txt of the same name beside them, sorted by path.

    Raises:
        MissingFile: The folder is not there.
        BadExample: A .txt is not UTF-8; a link leads out of the folder.
    """
    for name in list_pictures(folder, FOLDER_LAYOUT):
        beside = (folder / name).with_suffix(".txt")
        if is_there(beside):
            with open_text(beside) as lines:
                captions = tuple(line.strip() for line in lines if line.strip())
            yield Example(id=name, media=(folder / name,), texts=captions)


def _name_from(folder: Path, picture: Path) -> str:
    """The picture's path as seen from the table's folder: the same for every spelling and on every machine."""
    return Path(os.path.relpath(picture, folder)).as_posix()


def _read_texts(row: Row, wanted: Wanted) -> _Texts:
    """The captions or class names of a row, and the class index where the table knows one."""
    column = row.columns[find_column(row, wanted)]
    found: list[str] = []
    label = None
    for title, cell in zip(row.columns, row.cells, strict=True):
        if title != column or cell is None:
            continue
        parts = cell if isinstance(cell, list) else [cell]
        for part in parts:
            if isinstance(part, ClassCell):
                label = part.number
                found.append(part.name)
            elif isinstance(part, str):
                found += [part.strip()] if part.strip() else []
            elif part is not None:
                raise BadExample(
                    f"{row.place}: the {wanted.noun} is {str(cell)[:60]!r}, not a text or a list of texts: correct it"
                )
    return _Texts(found, label)


def _medium(row: Row, folder: Path) -> Medium:
    """The picture of a row: its bytes, or a file where the row has a path alone."""
    cell = row.cells[find_column(row, _PICTURE)]
    data, path = (cell.get("bytes"), cell.get("path")) if isinstance(cell, dict) else (cell, None)
    if data is None and isinstance(path, str) and path.strip():
        return folder / path.strip()
    # A row without a picture is a picture that cannot be read: left out and counted like every other one.
    return Streamed(bytes(data or b""), row.place)
