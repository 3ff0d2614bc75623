"""UCF101: clips of 101 human actions, with three ways of parting them into training and test."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from coca_cli.datasets.action_prompts import UCF101_TEMPLATES
from coca_cli.datasets.example import Dataset, Example, Prompts
from coca_cli.datasets.image_folder import check_split, find_beside, locate, missing, read_facts
from coca_cli.datasets.labelled_clips import Listed, class_index, place_clips, refuse_twice
from coca_cli.datasets.prompt_files import read_lines
from coca_cli.errors import BadExample

SPLITS = tuple(f"{kind}{number}" for kind in ("test", "train") for number in (1, 2, 3))
PLACES = ("", "ucfTrainTestlist", "UCF101TrainTestSplits-RecognitionTask/ucfTrainTestlist", "annotations")
LAYOUT = """\
ucf101/testlist01.txt .. 03, trainlist01.txt .. 03      (CLASS/FILE.avi on each line; here or in ucfTrainTestlist/)
ucf101/UCF-101/CLASS/v_CLASS_gNN_cNN.avi      (or in videos/, or right here)
The split test1 is testlist01.txt, and so on."""


def _list_name(split: str) -> str:
    return f"{split[:-1]}list0{split[-1]}.txt"


def _read(root: Path, split: str) -> Iterator[Example]:
    check_split("ucf101", split, SPLITS)

    def fits(place: Path) -> bool:
        return any(find_beside(place, PLACES, _list_name(name)) is not None for name in SPLITS)

    # the folder of the clips inside is called like the set
    folder = root if fits(root) else locate(root, ("ucf101", "ucf-101"), fits, LAYOUT)
    path = find_beside(folder, PLACES, _list_name(split))
    if path is None:
        raise missing(f"{folder} has no {_list_name(split)}", LAYOUT)
    listed = list(_rows(path))
    if not listed:
        raise BadExample(f"{path} lists no clip: fetch it again")
    refuse_twice(listed, path)
    yield from place_clips(listed, (folder / "UCF-101", folder / "UCF101", folder / "videos", folder), LAYOUT)


def _rows(path: Path) -> Iterator[Listed]:
    labels = {label: index for index, label in enumerate(read_facts("ucf101_classes"))}
    for number, line in enumerate(read_lines(path), start=1):
        name = line.split()[0].removesuffix(".avi")  # training lists have the class's number behind it
        label = class_index(name.partition("/")[0], labels, f"{path}, line {number},")
        yield Listed(name, (name,), label)


def _prompts(root: Path) -> Prompts:
    names = (re.sub(r"(?<=[a-z])(?=[A-Z])", " ", label) for label in read_facts("ucf101_classes"))
    return Prompts(tuple(names), UCF101_TEMPLATES)


UCF101 = Dataset(
    name="ucf101",
    task="classification",
    media="video",
    splits=SPLITS,
    source="Soomro et al. 2012, https://www.crcv.ucf.edu/data/UCF101.php",
    licence="see source",
    layout=LAYOUT,
    read=_read,
    prompts=_prompts,
)
