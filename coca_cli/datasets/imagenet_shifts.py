"""ImageNet's classes in other pictures: ImageNet-V2, -A, -R and -Sketch, each one folder per class."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from coca_cli.datasets.example import Dataset, Example, Prompts
from coca_cli.datasets.image_folder import check_split, has_folder_of, locate, read_class_folders, read_facts
from coca_cli.datasets.imagenet import class_index
from coca_cli.datasets.open_clip_metadata import imagenet_prompts

SPLITS = ("test",)


@dataclass(frozen=True, slots=True)
class Shift:
    """One of the sets.

    Attributes:
        name: What the user types.
        folders: What its folder may be called, the usual name first.
        wnids: The shipped list of its class folders; "" where they are named by class index.
    """

    name: str
    folders: tuple[str, ...]
    wnids: str = ""

    @property
    def classes(self) -> dict[str, int]:
        """Class index of ImageNet by name of the class folder, in the order of this set's labels."""
        if not self.wnids:
            # ImageNet-V2 has no leading zeros: in the order of strings folder 10 would stand before folder 2.
            return {str(index): index for index in range(len(class_index()))}
        return {wnid: class_index()[wnid] for wnid in read_facts(self.wnids)}

    @property
    def layout(self) -> str:
        """The files expected below the data root."""
        others = f", the folder also called {' or '.join(self.folders[1:])}" if self.folders[1:] else ""
        return f"{self.folders[0]}/CLASS/*      (CLASS such as {next(iter(self.classes))}{others})"


def _read(shift: Shift, root: Path, split: str) -> Iterator[Example]:
    check_split(shift.name, split, SPLITS)
    labels = {folder: label for label, folder in enumerate(shift.classes)}
    found = locate(root, shift.folders, partial(has_folder_of, names=labels), shift.layout)
    yield from read_class_folders(found, labels, shift.layout)


def _prompts(shift: Shift, root: Path) -> Prompts:
    words = imagenet_prompts()
    return Prompts(tuple(words.class_names[index] for index in shift.classes.values()), words.templates)


def _dataset(shift: Shift, *, source: str) -> Dataset:
    return Dataset(
        name=shift.name,
        task="classification",
        splits=SPLITS,
        source=source,
        licence="see source",
        layout=shift.layout,
        read=partial(_read, shift),
        prompts=partial(_prompts, shift),
    )


IMAGENET_V2 = _dataset(
    Shift("imagenet-v2", ("imagenet-v2", "imagenetv2-matched-frequency-format-val")),
    source="Recht et al. 2019, https://github.com/modestyachts/ImageNetV2 (matched frequency)",
)
IMAGENET_A = _dataset(
    Shift("imagenet-a", ("imagenet-a",), "imagenet_a_wnids"),
    source="Hendrycks et al. 2021, https://github.com/hendrycks/natural-adv-examples",
)
IMAGENET_R = _dataset(
    Shift("imagenet-r", ("imagenet-r",), "imagenet_r_wnids"),
    source="Hendrycks et al. 2021, https://github.com/hendrycks/imagenet-r",
)
IMAGENET_SKETCH = _dataset(
    Shift("imagenet-sketch", ("imagenet-sketch", "sketch"), "imagenet_wnids"),
    source="Wang et al. 2019, https://github.com/HaohanWang/ImageNet-Sketch",
)
