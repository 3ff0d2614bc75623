"""nocaps: captions of objects that COCO's captions never speak of, by domain."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from coca_cli.datasets.caption_json import find_pictures, read_caption_json
from coca_cli.datasets.example import Dataset, Example
from coca_cli.datasets.image_folder import check_split, find_beside, locate, missing
from coca_cli.json_text import parse_json

FILES = {"val": "nocaps_val_4500_captions.json", "test": "nocaps_test_image_info.json"}
DOMAINS = ("in-domain", "near-domain", "out-domain")
LAYOUT = """\
nocaps/nocaps_val_4500_captions.json      (val: 10 captions each; here or in annotations/)
nocaps/nocaps_test_image_info.json        (test: captions are kept back, so results are written for the server)
nocaps/images/*.jpg                       (or in val/ and test/, or right here)"""


def _read(root: Path, split: str) -> Iterator[Example]:
    check_split("nocaps", split, tuple(FILES))
    folder = locate(root, ("nocaps",), _fits, LAYOUT)
    path = find_beside(folder, ("", "annotations"), FILES[split])
    if path is None:
        raise missing(f"{folder} has no {FILES[split]}", LAYOUT)
    records = read_caption_json(path)
    content = parse_json(path.read_text(encoding="utf-8-sig"))
    domains = {str(picture["id"]): picture.get("domain", "") for picture in content["images"]}
    records = [replace(record, folder=record.folder or split) for record in records]
    for record, file in zip(records, find_pictures(path, records), strict=True):
        group = domains[record.id]
        yield Example(id=record.id, media=(file,), texts=record.captions, group=group if group in DOMAINS else "")


def _fits(folder: Path) -> bool:
    return any(find_beside(folder, ("", "annotations"), name) is not None for name in FILES.values())


NOCAPS = Dataset(
    name="nocaps",
    task="captions",
    splits=tuple(FILES),
    source="Agrawal et al. 2019, https://nocaps.org; pictures of Open Images",
    licence="CC BY 2.0 (pictures: see source)",
    layout=LAYOUT,
    read=_read,
)
