"""HMDB51: clips of 51 human actions from films and the web, with three ways of parting them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from coca_cli.datasets.action_prompts import UCF101_TEMPLATES
from coca_cli.datasets.example import Dataset, Example, Prompts
from coca_cli.datasets.image_folder import check_split, locate, missing, read_facts
from coca_cli.datasets.labelled_clips import Listed, place_clips, refuse_twice
from coca_cli.datasets.prompt_files import read_lines
from coca_cli.errors import BadExample

SPLITS = tuple(f"{kind}{number}" for kind in ("test", "train") for number in (1, 2, 3))
MARKS = {"train": "1", "test": "2"}
"""What stands behind a clip's name; 0 is in neither part."""
PLACES = ("testTrainMulti_7030_splits", "test_train_splits", "splits", "annotations", "")
LAYOUT = """\
hmdb51/testTrainMulti_7030_splits/CLASS_test_split1.txt .. 3      (FILE.avi 0, 1 (train) or 2 (test) on each line)
hmdb51/hmdb51_org/CLASS/FILE.avi      (or in videos/, or right here)
The split test1 is the clips marked 2 in *_test_split1.txt, and so on."""


def _list_name(label: str, split: str) -> str:
    return f"{label}_test_split{split[-1]}.txt"


def _find_lists(folder: Path, split: str) -> Path | None:
    """The folder of the lists: that of the first class that has one."""
    names = [_list_name(label, split) for label in read_facts("hmdb51_classes")]
    places = (folder / place for place in PLACES)
    return next((place for place in places if any((place / name).is_file() for name in names)), None)


def _read(root: Path, split: str) -> Iterator[Example]:
    check_split("hmdb51", split, SPLITS)

    def fits(place: Path) -> bool:
        return any(_find_lists(place, name) is not None for name in SPLITS)

    folder = locate(root, ("hmdb51", "hmdb-51", "hmdb"), fits, LAYOUT)
    lists = _find_lists(folder, split)
    if lists is None:
        raise missing(f"{folder} has no CLASS_test_split{split[-1]}.txt", LAYOUT)
    places = (folder / "hmdb51_org", folder / "videos", folder)
    listed: list[Listed] = []
    for label, name in enumerate(read_facts("hmdb51_classes")):
        path = lists / _list_name(name, split)
        if not path.is_file() and any((place / name).is_dir() for place in places):
            raise missing(f"there is a folder {name} of clips, but no list {path}", LAYOUT)
        clips = list(_rows(path, name, label, MARKS[split[:-1]]))
        refuse_twice(clips, path)
        listed.extend(clips)
    if not listed:
        raise BadExample(f"the lists in {lists} mark no clip with {MARKS[split[:-1]]}: fetch them again")
    yield from place_clips(listed, places, LAYOUT)


def _rows(path: Path, name: str, label: int, mark: str) -> Iterator[Listed]:
    """The clips of one class in this part; none where there is no list."""
    for number, line in enumerate(read_lines(path), start=1):
        clip, _, found = line.rpartition(" ")
        if found not in ("0", "1", "2") or not clip.strip():
            raise BadExample(f"{path}, line {number}, is not FILE.avi and 0, 1 or 2: {line!r}; fetch the lists again")
        if found == mark:
            inside = f"{name}/{clip.strip().removesuffix('.avi')}"
            yield Listed(inside, (inside,), label)


def _prompts(root: Path) -> Prompts:
    return Prompts(tuple(name.replace("_", " ") for name in read_facts("hmdb51_classes")), UCF101_TEMPLATES)


HMDB51 = Dataset(
    name="hmdb51",
    task="classification",
    media="video",
    splits=SPLITS,
    source="Kuehne et al. 2011, https://serre-lab.clps.brown.edu/resource/hmdb-a-large-human-motion-database",
    licence="see source",
    layout=LAYOUT,
    read=_read,
    prompts=_prompts,
)
