from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from coca_cli.datasets.example import Dataset, Example, MediaKind, Medium, Pixels, Prompts
from coca_cli.datasets.selection import select_captioned, select_labelled, select_prompts
from coca_cli.datasets.templates import GENERAL_TEMPLATES
from coca_cli.errors import CocaError, MissingFile, UnknownName

ROOT = Path("nowhere")
PROMPTS = Prompts(("cat", "dog"), ("a {c}.",))


def dataset(labels: Sequence[int | None], prompts: Prompts | Exception | None = PROMPTS) -> Dataset:
    def read(root: Path, split: str) -> Iterator[Example]:
        assert root == ROOT
        return (Example(f"{split}/{i}", (Path("none"),), label) for i, label in enumerate(labels))

    def words(root: Path) -> Prompts:
        if isinstance(prompts, Exception):
            raise prompts
        assert prompts is not None
        return prompts

    return Dataset(
        name="animals",
        task="classification",
        splits=("val", "train"),
        source="a test",
        licence="none",
        layout="nothing",
        read=read,
        prompts=None if prompts is None else words,
    )


def test_the_first_split_is_evaluated_unless_another_is_named() -> None:
    assert select_labelled(dataset([0, 1]), ROOT, None, None).split == "val"
    chosen = select_labelled(dataset([0, 1]), ROOT, "train", None)
    assert (chosen.split, [example.id for example in chosen.examples]) == ("train", ["train/0", "train/1"])


def test_examples_without_a_class_are_left_out_and_counted() -> None:
    chosen = select_labelled(dataset([None, 1, None, 0]), ROOT, None, None)
    assert [example.label for example in chosen.examples] == [1, 0]
    assert chosen.unlabelled == 2


@pytest.mark.parametrize(
    ("limit", "labels", "unlabelled"), [(None, [1, 0, 1], 2), (1, [1], 1), (2, [1, 0], 2), (9, [1, 0, 1], 2)]
)
def test_the_limit_counts_examples_with_a_class(limit: int | None, labels: list[int], unlabelled: int) -> None:
    chosen = select_labelled(dataset([None, 1, None, 0, 1]), ROOT, None, limit)
    assert [example.label for example in chosen.examples] == labels
    assert chosen.unlabelled == unlabelled


def test_a_limit_does_not_read_the_whole_split() -> None:
    def endless(root: Path, split: str) -> Iterator[Example]:
        yield Example("0", (), 0)
        pytest.fail("read on")

    found = dataset([])
    object.__setattr__(found, "read", endless)
    assert len(select_labelled(found, ROOT, None, 1).examples) == 1


def test_an_unknown_split_is_refused() -> None:
    with pytest.raises(UnknownName, match=r"unknown split of animals 'vla'. Did you mean val\?"):
        select_labelled(dataset([0]), ROOT, "vla", None)


def test_a_set_without_classes_is_refused() -> None:
    with pytest.raises(CocaError, match="animals has no classes: it cannot be classified; see coca data list"):
        select_labelled(dataset([0], None), ROOT, None, None)


def test_a_split_without_a_single_label_is_refused() -> None:
    with pytest.raises(MissingFile, match="animals val: none of its 3 examples has a class label"):
        select_labelled(dataset([None] * 3), ROOT, None, None)


def test_prompts_are_the_dataset_s_own_unless_the_user_gives_others(tmp_path: Path) -> None:
    names, templates = tmp_path / "names.txt", tmp_path / "templates.txt"
    names.write_text("kitten\npuppy\n")
    templates.write_text("my {c}\n")
    assert select_prompts(dataset([0]), ROOT, None, None) == PROMPTS
    assert select_prompts(dataset([0]), ROOT, names, None) == Prompts(("kitten", "puppy"), PROMPTS.templates)
    assert select_prompts(dataset([0]), ROOT, None, templates) == Prompts(PROMPTS.class_names, ("my {c}",))
    assert select_prompts(dataset([0]), ROOT, names, templates) == Prompts(("kitten", "puppy"), ("my {c}",))


def test_the_user_s_names_stand_in_for_missing_ones(tmp_path: Path) -> None:
    nameless = dataset([0], MissingFile("classnames.txt is missing"))
    with pytest.raises(MissingFile, match=r"classnames\.txt is missing"):
        select_prompts(nameless, ROOT, None, None)
    names = tmp_path / "names.txt"
    names.write_text("kitten\npuppy\nfoal\n")
    assert select_prompts(nameless, ROOT, names, None) == Prompts(("kitten", "puppy", "foal"), GENERAL_TEMPLATES)


# --- captions ---


def captioned(media: MediaKind, *examples: tuple[str, Medium, int]) -> Dataset:
    """A set of examples with a name, a picture or clip, and so many captions."""

    def read(root: Path, split: str) -> Iterator[Example]:
        assert (root, split) == (ROOT, "test")
        return (Example(name, (medium,), texts=tuple(f"{name} {n}" for n in range(c))) for name, medium, c in examples)

    return Dataset(
        name="animals",
        task="captions",
        splits=("test",),
        source="a test",
        licence="none",
        layout="nothing",
        read=read,
        media=media,
    )


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    (tmp_path / "clip.mp4").touch()
    return tmp_path / "clip.mp4"


@pytest.mark.parametrize("media", ["image", "video"])
def test_examples_without_captions_are_left_out(media: MediaKind, clip: Path) -> None:
    found = select_captioned(captioned(media, ("a", clip, 2), ("b", clip, 0), ("c", clip, 1)), ROOT, "test", None)
    assert [(example.id, example.texts) for example in found.examples] == [("a", ("a 0", "a 1")), ("c", ("c 0",))]
    assert found.absent == []


@pytest.mark.parametrize(
    ("limit", "taken", "absent"),
    [
        (None, ["b", "d", "f"], ["a", "e", "g"]),
        (1, ["b"], ["a"]),
        (2, ["b", "d"], ["a"]),
        (9, ["b", "d", "f"], ["a", "e", "g"]),
    ],
)
def test_the_limit_counts_clips_that_are_there(
    clip: Path, limit: int | None, taken: list[str], absent: list[str]
) -> None:
    gone = clip.with_name("gone.mp4")
    rows = [
        ("a", gone, 1),
        ("b", clip, 1),
        ("c", gone, 0),
        ("d", clip, 1),
        ("e", gone, 3),
        ("f", clip, 2),
        ("g", gone, 1),
    ]
    found = select_captioned(captioned("video", *rows), ROOT, "test", limit)
    assert [example.id for example in found.examples] == taken
    assert found.absent == absent


def test_a_picture_that_is_not_there_is_left_to_its_reader(tmp_path: Path) -> None:
    """A set of pictures with holes is a damaged one."""
    found = select_captioned(captioned("image", ("a", tmp_path / "gone.jpg", 1)), ROOT, "test", None)
    assert ([example.id for example in found.examples], found.absent) == (["a"], [])


def test_clips_that_are_no_files_are_always_there() -> None:
    frames = Pixels(np.zeros((4, 4, 3), np.uint8), "a")
    found = select_captioned(captioned("video", ("a", frames, 1)), ROOT, "test", None)
    assert ([example.id for example in found.examples], found.absent) == (["a"], [])


def test_a_limit_does_not_read_all_captions(clip: Path) -> None:
    def endless(root: Path, split: str) -> Iterator[Example]:
        yield Example("a", (clip,), texts=("one",))
        pytest.fail("read on")

    found = captioned("image")
    object.__setattr__(found, "read", endless)
    assert len(select_captioned(found, ROOT, "test", 1).examples) == 1
