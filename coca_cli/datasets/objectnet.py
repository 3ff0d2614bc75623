"""ObjectNet: household objects in odd places and poses; the 113 of its 313 classes that ImageNet has too.

Every picture has a red border of two pixels, put there so that training on it by mistake can be noticed; the
`border` of the dataset has it cut away before scoring.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from coca_cli.datasets.example import Dataset, Example, Prompts
from coca_cli.datasets.image_folder import check_split, locate, missing, read_class_folders
from coca_cli.datasets.open_clip_metadata import imagenet_prompts
from coca_cli.errors import BadExample
from coca_cli.json_text import parse_json

T = TypeVar("T", str, int)

SPLITS = ("test",)
LABELS_FILE = "folder_to_objectnet_label.json"  # folder -> ObjectNet's label
SHARED_FILE = "objectnet_to_imagenet_1k.json"  # ObjectNet's label -> ImageNet's names, joined by "; "
NAMES_FILE = "imagenet_to_label_2012_v2"  # ImageNet's names, one a line, in an order of its own
ORDER_FILE = "pytorch_to_imagenet_2012_id.json"  # class index -> line of NAMES_FILE, counted from 0
LAYOUT = f"""\
objectnet/objectnet-1.0/images/FOLDER/*.png
objectnet/objectnet-1.0/mappings/{LABELS_FILE}
objectnet/objectnet-1.0/mappings/{SHARED_FILE}
objectnet/objectnet-1.0/mappings/{ORDER_FILE}
objectnet/objectnet-1.0/mappings/{NAMES_FILE}
  (also without the folder objectnet-1.0, and with these files beside images/)"""


def _folder(root: Path) -> Path:
    return locate(root, ("objectnet", "objectnet-1.0"), lambda folder: (folder / "images").is_dir(), LAYOUT)


def _find_mapping(folder: Path, name: str) -> Path | None:
    return next((file for file in (folder / "mappings" / name, folder / name) if file.is_file()), None)


def _mapping_file(folder: Path, name: str) -> Path:
    # A user may have put the mappings beside the unpacked folder instead of into it.
    found = _find_mapping(folder, name) or _find_mapping(folder.parent, name)
    if found is None:
        raise missing(f"ObjectNet's mapping file {name} is not in {folder / 'mappings'}", LAYOUT)
    return found


def _read_json(file: Path, kind: type[T]) -> dict[str, T]:
    try:
        mapping = parse_json(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BadExample(f"{file} is not the JSON that ObjectNet ships ({error}); unpack it again") from error
    if not isinstance(mapping, dict) or not all(isinstance(value, kind) for value in mapping.values()):
        raise BadExample(f"{file} is no JSON object whose values are all {kind.__name__}; unpack it again")
    return mapping


def _shared_folders(folder: Path) -> dict[str, str]:
    """ObjectNet's label by folder name, of the shared classes, sorted by folder name."""
    labels_file, shared_file = _mapping_file(folder, LABELS_FILE), _mapping_file(folder, SHARED_FILE)
    folder_of = {label: name for name, label in _read_json(labels_file, str).items()}
    shared = _read_json(shared_file, str)
    unknown = [label for label in shared if label not in folder_of]
    if unknown:
        raise BadExample(
            f"{shared_file} names {unknown[0]!r}, for which {labels_file} has no folder; unpack both files again"
        )
    return dict(sorted((folder_of[label], label) for label in shared))


def read(root: Path, split: str) -> Iterator[Example]:
    """The pictures of the shared classes; labels count the sorted names of their folders.

    Raises:
        UnknownName: Another split than test.
        MissingFile: The pictures or a mapping file are not there.
        BadExample: A mapping file is damaged.

    Source: the choice and order of the classes are those of wise-ft and CLIP_benchmark.
    """
    check_split("objectnet", split, SPLITS)
    folder = _folder(root)
    labels = {name: label for label, name in enumerate(_shared_folders(folder))}
    # The other 200 classes are part of the set, but no ImageNet classifier is asked about them.
    yield from read_class_folders(folder / "images", labels, LAYOUT, skip_others=True)


def prompts(root: Path) -> Prompts:
    """ObjectNet's labels in lower case, and ImageNet's 80 templates."""
    labels = _shared_folders(_folder(root)).values()
    return Prompts(tuple(label.lower() for label in labels), imagenet_prompts().templates)


def imagenet_classes(root: Path) -> tuple[tuple[int, ...], ...]:
    """The ImageNet class indices, 0 to 999, that stand for each ObjectNet label: one or more, none for two labels.

    The 1,000 scores of an ImageNet classifier become scores of ObjectNet's labels by taking the best of each tuple.

    Raises:
        MissingFile: A mapping file is not there.
        BadExample: The mapping files do not fit together.
    """
    folder = _folder(root)
    order_file, names_file = _mapping_file(folder, ORDER_FILE), _mapping_file(folder, NAMES_FILE)
    # By its name the file maps a class index to "the ImageNet 2012 id". That id is not the number that ImageNet's
    # development kit gives a class: it counts the lines of ObjectNet's own list of names, from 0.
    index_of_line = {line: int(index) for index, line in _read_json(order_file, int).items() if index.isdecimal()}
    names = names_file.read_text(encoding="utf-8").splitlines()
    index_of_name = {name.strip(): index_of_line.get(line, -1) for line, name in enumerate(names)}
    shared = _read_json(_mapping_file(folder, SHARED_FILE), str)
    result = []
    for label in _shared_folders(folder).values():
        wanted = shared[label].split("; ")
        unknown = [name for name in wanted if index_of_name.get(name, -1) < 0]
        if unknown:
            raise BadExample(
                f"{unknown[0]!r}, an ImageNet class of ObjectNet's {label!r}, has no class index by {names_file} and "
                f"{order_file}; unpack the mapping files again"
            )
        result.append(tuple(index_of_name[name] for name in wanted))
    return tuple(result)


OBJECTNET = Dataset(
    name="objectnet",
    task="classification",
    splits=SPLITS,
    source="Barbu et al. 2019, https://objectnet.dev",
    licence="for testing only, never for training; see source",
    layout=LAYOUT,
    read=read,
    prompts=prompts,
    border=2,
)
