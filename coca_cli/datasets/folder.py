"""Any class-per-folder tree at a path that the user names: `folder:PATH` for pictures, `videos:PATH` for clips.

The class names are the folders' names with `_` and `-` turned into spaces ("t-shirt" becomes "t shirt"); a file
PATH/classnames.txt says better ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from coca_cli.datasets.action_prompts import KINETICS_TEMPLATES
from coca_cli.datasets.example import Dataset, Example, MediaKind, Prompts, Scheme
from coca_cli.datasets.image_folder import (
    PICTURES,
    FileKind,
    check_split,
    list_class_folders,
    missing,
    read_class_folders,
    visible_entries,
)
from coca_cli.datasets.prompt_files import read_lines, read_templates
from coca_cli.datasets.templates import GENERAL_TEMPLATES
from coca_cli.datasets.video_files import CLIPS
from coca_cli.errors import BadExample

SPLIT_NAMES = ("test", "val", "valid", "validation", "train")  # the first that is there is evaluated by default
WHOLE = "all"  # the split of a tree without split folders
CLASS_NAMES_FILE = "classnames.txt"
TEMPLATES_FILE = "templates.txt"


class _Tree(NamedTuple):
    """A kind of tree: what it is called, what lies in it, and what its classes are put into."""

    scheme: str
    media: MediaKind
    files: FileKind
    ending: str
    words: str
    templates: tuple[str, ...]

    @property
    def layout(self) -> str:
        return f"""\
PATH/CLASS/*{self.ending}                   ({self.words}; the split is called {WHOLE})
or PATH/SPLIT/CLASS/*{self.ending}          (SPLIT: {", ".join(SPLIT_NAMES)})
PATH/{CLASS_NAMES_FILE}, if you like  (one name a line in the order of the sorted folders, or FOLDER<TAB>NAME lines)
PATH/{TEMPLATES_FILE}, if you like   (one sentence a line, with {{c}} where the class name goes)"""


PICTURE_TREE = _Tree("folder", "image", PICTURES, ".jpg", "any usual kind of picture", GENERAL_TEMPLATES)
CLIP_TREE = _Tree("videos", "video", CLIPS, ".mp4", "any usual kind of clip", KINETICS_TEMPLATES)
LAYOUT = PICTURE_TREE.layout


class Classes(NamedTuple):
    """The classes of a tree.

    Attributes:
        labels: Class index by folder name.
        names: Display name per class index.
    """

    labels: dict[str, int]
    names: tuple[str, ...]


def open_folder(path: str, tree: _Tree = PICTURE_TREE) -> Dataset:
    """The dataset in a folder of pictures, or of clips.

    Raises:
        MissingFile: The folder is not there, is a file, or has no class folders.
        BadExample: A class folder is a link.
    """
    folder = Path(path).expanduser()
    splits = _find_splits(folder, tree)
    name = f"{tree.scheme}:{path}"
    return Dataset(
        name=name,
        task="classification",
        media=tree.media,
        splits=tuple(splits),
        source="the user's own folder",
        licence="see source",
        layout=tree.layout,
        read=partial(_read, name, folder, splits, tree),
        prompts=partial(_prompts, folder, splits, tree),
    )


def _find_splits(folder: Path, tree: _Tree) -> dict[str, Path]:
    """Folder by split, the split that is evaluated by default first.

    A folder named like a split is one only when it holds folders: a class may be called "train" too.
    """
    names = [entry.name for entry in visible_entries(folder, tree.layout) if entry.is_dir()]
    splits = {name: folder / name for name in SPLIT_NAMES if name in names}
    splits = {name: below for name, below in splits.items() if list_class_folders(below, tree.layout)}
    if splits:
        return splits
    if not names:
        raise missing(f"{folder} has no folders in it, so its {tree.files.noun} have no classes", tree.layout)
    return {WHOLE: folder}


def _read(
    dataset: str, folder: Path, splits: dict[str, Path], tree: _Tree, root: Path, split: str
) -> Iterator[Example]:
    """The examples of one split; `root` is not looked at, since the user named a path."""
    check_split(dataset, split, tuple(splits))
    labels = _classes(folder, splits, tree).labels
    yield from read_class_folders(splits[split], labels, tree.layout, kind=tree.files)


def _prompts(folder: Path, splits: dict[str, Path], tree: _Tree, root: Path) -> Prompts:
    """Class names and templates; `root` is not looked at."""
    return Prompts(_classes(folder, splits, tree).names, read_templates(folder / TEMPLATES_FILE, tree.templates))


def _classes(folder: Path, splits: dict[str, Path], tree: _Tree) -> Classes:
    """The classes of all splits together, so that a label means the same class in each of them."""
    folders = sorted({name for below in splits.values() for name in list_class_folders(below, tree.layout)})
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
