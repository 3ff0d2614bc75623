"""Oxford-IIIT Pet: 37 breeds of cats and dogs; the class stands in the name of the picture."""

from pathlib import Path

from coca_cli.datasets.example import Dataset, Example, Prompts
from coca_cli.errors import MissingFile

LAYOUT = """\
oxford-pets/images/Abyssinian_100.jpg ...
oxford-pets/annotations/test.txt, trainval.txt      (lines such as "Abyssinian_201 1 1 1")"""
LISTS = {"test": "test.txt", "train": "trainval.txt"}


def breeds(root):
    return sorted({line.split()[0].rpartition("_")[0] for name in LISTS.values() for line in rows(root, name)})


def rows(root, name):
    path = Path(root) / "oxford-pets" / "annotations" / name
    if not path.is_file():
        raise MissingFile(f"there is no {path}. Expected:\n{LAYOUT}")
    return [line for line in path.read_text().splitlines() if line and not line.startswith("#")]


def read(root, split):
    labels = {breed: label for label, breed in enumerate(breeds(root))}
    for line in rows(root, LISTS[split]):
        name = line.split()[0]
        picture = Path(root) / "oxford-pets" / "images" / f"{name}.jpg"
        yield Example(id=name, media=(picture,), label=labels[name.rpartition("_")[0]])


def prompts(root):
    return Prompts(tuple(breed.replace("_", " ") for breed in breeds(root)), ("a photo of a {c}, a type of pet.",))


SOURCE = "https://www.robots.ox.ac.uk/~vgg/data/pets"
PETS = Dataset(name="oxford-pets", task="classification", splits=("test", "train"), layout=LAYOUT, read=read,
               prompts=prompts, source=SOURCE, licence="CC BY-SA 4.0", version=1)  # fmt: skip
