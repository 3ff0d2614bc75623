from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from coca_cli.cli import main
from coca_cli.datasets import DATASETS
from coca_cli.datasets.example import Dataset, Example, Protocol, Scheme
from coca_cli.datasets.listing import describe_datasets


def read(root: Path, split: str) -> Iterator[Example]:
    return iter(())


def dataset(name: str, layout: str, *, built_in: bool) -> Dataset:
    return Dataset(
        name=name,
        task="classification",
        splits=("test", "train"),
        source="a paper",
        licence="CC0",
        layout=layout,
        read=read,
        built_in=built_in,
    )


def test_clips_and_protocols_are_told() -> None:
    protocols = (Protocol("full", "test"), Protocol("half", "test", folds=2))
    clips = replace(
        dataset("clips", "clips/*.mp4", built_in=False), media="video", task="captions", protocols=protocols
    )
    assert "\nclips  captions of clips, splits test, train, protocols full, half; a paper; CC0\n" in describe_datasets(
        [clips]
    )


def unopened(argument: str) -> Dataset:
    pytest.fail("opened")


def test_each_kind_has_its_own_part() -> None:
    scheme = Scheme(name="tree", argument="PATH", description="a tree", layout="PATH/CLASS\nPATH/more", open=unopened)
    entries = [dataset("animals", "animals/CLASS/*.jpg\nnames.txt", built_in=False), scheme]
    assert describe_datasets([*entries, dataset("dots", "(no files)", built_in=True)]) == (
        "Built in, nothing to fetch:\n\n"
        "dots  classification, splits test, train; a paper; CC0\n\n"
        "On disk, below --data-root (or COCA_DATA):\n\n"
        "animals  classification, splits test, train; a paper; CC0\n"
        "    animals/CLASS/*.jpg\n"
        "    names.txt\n\n"
        "Your own files:\n\n"
        "tree:PATH  a tree\n"
        "    PATH/CLASS\n"
        "    PATH/more\n"
    )


def test_the_command_names_every_dataset_once(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["data", "list"])
    assert not stopped.value.code
    out = capsys.readouterr().out
    heads = [line.split("  ")[0] for line in out.splitlines() if line and not line.startswith(" ") and "  " in line]
    expected = [f"{e.name}:{e.argument}" if isinstance(e, Scheme) else e.name for e in DATASETS.entries()]
    assert sorted(heads) == sorted(expected)
    for entry in DATASETS.entries():
        if isinstance(entry, Scheme) or not entry.built_in:
            assert all(f"    {line}" in out for line in entry.layout.splitlines())
