"""Any class-per-folder tree at a path that the user names: `folder:PATH`.

The class names are the folders' names with `_` and `-` turned into spaces ("t-shirt" becomes "t shirt"); a file
PATH/classnames.txt says better ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from coca_cli.datasets.example import Dataset, Example, Prompts, Scheme
from coca_cli.datasets.image_folder import check_split, list_class_folders, missing, read_class_folders, visible_entries
from coca_cli.datasets.prompt_files import read_lines, read_templates
from coca_cli.errors import BadExample

SPLIT_NAMES = ("test", "val", "valid", "validation", "train")  # the first that is there is evaluated by default
WHOLE = "all"  # the split of a tree without split folders
CLASS_NAMES_FILE = "classnames.txt"
TEMPLATES_FILE = "templates.txt"
LAYOUT = f"""\
PATH/CLASS/*.jpg                   (any usual kind of picture; the split is called {WHOLE})
or PATH/SPLIT/CLASS/*.jpg          (SPLIT: {", ".join(SPLIT_NAMES)})
PATH/{CLASS_NAMES_FILE}, if you like  (one name a line in the order of the sorted folders, or FOLDER<TAB>NAME lines)
PATH/{TEMPLATES_FILE}, if you like   (one sentence a line, with {{c}} where the class name goes)"""


class Classes(NamedTuple):
    """The classes of a tree.

    Attributes:
        labels: Class index by folder name.
        names: Display name per class index.
    """

    labels: dict[str, int]
    names: tuple[str, ...]


def open_folder(path: str) -> Dataset:
    """The dataset in a folder.

    Raises:
        MissingFile: The folder is not there, is a file, or has no class folders.
        BadExample: A class folder is a link.
    """
    folder = Path(path).expanduser()
    splits = _find_splits(folder)
    return Dataset(
        name=f"folder:{path}",
        task="classification",
        splits=tuple(splits),
        source="the user's own folder",
        licence="see source",
        layout=LAYOUT,
        read=partial(_read, f"folder:{path}", folder, splits),
        prompts=partial(_prompts, folder, splits),
    )


def _find_splits(folder: Path) -> dict[str, Path]:
    """Folder by split, the split that is evaluated by default first.

    A folder named like a split is one only when it holds folders: a class may be called "train" too.
    """
    names = [entry.name for entry in visible_entries(folder, LAYOUT) if entry.is_dir()]
    splits = {name: folder / name for name in SPLIT_NAMES if name in names}
    splits = {name: below for name, below in splits.items() if list_class_folders(below, LAYOUT)}
    if splits:
        return splits
    if not names:
        raise missing(f"{folder} has no folders in it, so its pictures have no classes", LAYOUT)
    return {WHOLE: folder}


def _read(dataset: str, folder: Path, splits: dict[str, Path], root: Path, split: str) -> Iterator[Example]:
    """The examples of one split; `root` is not looked at, since the user named a path."""
    check_split(dataset, split, tuple(splits))
    yield from read_class_folders(splits[split], _classes(folder, splits).labels, LAYOUT)


def _prompts(folder: Path, splits: dict[str, Path], root: Path) -> Prompts:
    """Class names and templates; `root` is not looked at."""
    return Prompts(_classes(folder, splits).names, read_templates(folder / TEMPLATES_FILE))


def _classes(folder: Path, splits: dict[str, Path]) -> Classes:
    """The classes of all splits together, so that a label means the same class in each of them."""
    folders = sorted({name for below in splits.values() for name in list_class_folders(below, LAYOUT)})
    lines = read_lines(folder / CLASS_NAMES_FILE)
    if any("\t" in line for line in lines):
        return _named_folders(folder / CLASS_NAMES_FILE, lines, folders)
    if lines and len(lines) != len(folders):
        raise BadExample(
            f"{folder / CLASS_NAMES_FILE} has {len(lines)} names for {len(folders)} class folders; write one a line in "
            "the order of the sorted folders, or FOLDER<TAB>NAME lines"
        )
    names = lines or tuple(name.replace("_", " ").replace("-", " ").strip() for name in folders)
    return Classes({name: label for label, name in enumerate(folders)}, names)


def _named_folders(file: Path, lines: tuple[str, ...], folders: list[str]) -> Classes:
    """The listed folders are the classes, in the list's order; some may have no pictures here."""
    pairs = [tuple(part.strip() for part in line.split("\t")) for line in lines]
    for number, pair in enumerate(pairs, start=1):
        if len(pair) != 2 or not all(pair):
            raise BadExample(f"line {number} of {file} is {lines[number - 1]!r}; every line must be FOLDER<TAB>NAME")
    labels = {pair[0]: label for label, pair in enumerate(pairs)}
    if len(labels) != len(pairs):
        raise BadExample(f"{file} lists {len(pairs)} folders, but only {len(labels)} different ones; list each once")
    unlisted = [name for name in folders if name not in labels]
    if unlisted:
        raise BadExample(f"{file} does not list the class folder {unlisted[0]!r}; add its line or move it elsewhere")
    return Classes(labels, tuple(pair[1] for pair in pairs))


FOLDER = Scheme(
    name="folder",
    argument="PATH",
    description="any folder with one folder of pictures per class",
    layout=LAYOUT,
    open=open_folder,
)
