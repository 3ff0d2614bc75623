"""A dataset that the user describes in a Python file: `python:FILE.py`. Naming the file is asking for it to be run."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import get_args

from coca_cli.datasets import DATASETS
from coca_cli.datasets.described import checked_examples, checked_prompts
from coca_cli.datasets.example import Dataset, Example, MediaKind, Prompts, Scheme, Task
from coca_cli.errors import BadExample, CocaError, MissingFile

LAYOUT = """\
FILE.py        (it holds one Dataset, with a function that reads it; it is run)"""


def open_python(path: str) -> Dataset:
    """The dataset that the file describes; what it yields later is looked at as it comes.

    Raises:
        MissingFile: There is no such file.
        BadExample: It cannot be run, or describes no dataset, several, or one that is not whole.
        CocaError: Its name is another dataset's.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise MissingFile(f"there is no file {file}: give one that describes a dataset in Python")
    shipped = {id(entry) for entry in DATASETS.entries()}
    found = {id(value): value for value in _run(file).values() if isinstance(value, Dataset)}
    described = [value for key, value in found.items() if key not in shipped]
    if len(described) != 1:
        raise BadExample(f"{file} describes {len(described)} datasets: there must be one value of type Dataset")
    (dataset,) = described
    _check(dataset, file)
    prompts = dataset.prompts and partial(_prompts, dataset, file)
    return replace(dataset, read=partial(_read, dataset, file), prompts=prompts)


def _check(dataset: Dataset, file: Path) -> None:
    if dataset.name in DATASETS.names():
        raise CocaError(f"{file} calls its dataset {dataset.name}, as another one is called: give it another name")
    if dataset.task not in get_args(Task):
        raise BadExample(f"{file}: the task {dataset.task!r} is none of {', '.join(get_args(Task))}")
    if dataset.media not in get_args(MediaKind):
        raise BadExample(f"{file}: the media {dataset.media!r} are none of {', '.join(get_args(MediaKind))}")
    if isinstance(dataset.splits, str):
        raise BadExample(f'{file}: splits is a text; of one split write ("{dataset.splits}",) with a comma')
    if not dataset.name or not dataset.splits:
        raise BadExample(f"{file}: a dataset needs a name and at least one split")
    if dataset.task == "classification" and dataset.prompts is None:
        raise BadExample(f"{file}: a dataset with classes needs prompts, a function that gives their names")
    if dataset.task in ("entailment", "reasoning") and not dataset.answers:
        raise BadExample(f"{file}: statements need answers, what they can be, in the order of the labels")


def _read(dataset: Dataset, file: Path, root: Path, split: str) -> Iterator[Example]:
    if split not in dataset.splits:
        yield from dataset.read(root, split)  # the program asks for splits alone that there are
        return
    classes = len(dataset.answers) or None
    if dataset.prompts is not None:
        classes = len(_prompts(dataset, file, root).class_names)
    with _named(file):
        yield from checked_examples(dataset, file, split, dataset.read(root, split), classes)


def _prompts(dataset: Dataset, file: Path, root: Path) -> Prompts:
    assert dataset.prompts is not None
    with _named(file):
        return checked_prompts(dataset.prompts(root), file)


def _run(file: Path) -> dict[str, object]:
    """The names that the file defines; it may import modules beside it.

    Raises:
        BadExample: It stops with an error.
    """
    name = f"coca_dataset_{file.stem}"
    spec = spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise BadExample(f"{file} is no Python file by its name: it must end in .py")
    module = sys.modules[name] = module_from_spec(spec)
    beside = str(file.resolve().parent)
    if beside not in sys.path:
        sys.path.insert(0, beside)  # for good: what it reads with may import, too
    with _named(file):
        spec.loader.exec_module(module)
    return dict(vars(module))


@contextmanager
def _named(file: Path) -> Iterator[None]:
    """Name the line of the file where it stops with an error of its own.

    Raises:
        BadExample: It does.
    """
    try:
        yield
    except (CocaError, GeneratorExit):
        raise
    except (Exception, SystemExit) as error:
        place = file.resolve()
        calls = traceback.extract_tb(error.__traceback__)
        lines = [call.lineno for call in calls if Path(call.filename).resolve() == place]
        line = lines[-1] if lines else getattr(error, "lineno", None)
        told = f"{file}{f', line {line},' if line else ''} stops with {type(error).__name__}: {error}"
        raise BadExample(f"{told} (--verbose shows the way there)") from error


PYTHON = Scheme(
    name="python",
    argument="FILE.py",
    description="a dataset that you describe in a Python file, which is run",
    layout=LAYOUT,
    open=open_python,
)
