"""A dataset that the user describes in a Python file: `python:FILE.py`. Naming the file is asking for it to be run."""

from __future__ import annotations

import sys
import traceback
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import get_args

from coca_cli.datasets import DATASETS
from coca_cli.datasets.example import Dataset, Scheme, Task
from coca_cli.errors import BadExample, CocaError, MissingFile

LAYOUT = """\
FILE.py        (it holds one Dataset, with a function that reads it; it is run)"""


def open_python(path: str) -> Dataset:
    """The dataset that the file describes.

    Raises:
        MissingFile: There is no such file.
        BadExample: It cannot be run, or describes no dataset, several, or one that is not whole.
        CocaError: Its name is another dataset's.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise MissingFile(f"there is no file {file}: give one that describes a dataset in Python")
    found = [value for value in _run(file).values() if isinstance(value, Dataset)]
    if len(found) != 1:
        raise BadExample(f"{file} describes {len(found)} datasets: at its end there must be one value of type Dataset")
    dataset = found[0]
    if dataset.name in DATASETS.names():
        raise CocaError(f"{file} calls its dataset {dataset.name}, as another one is called: give it another name")
    if dataset.task not in get_args(Task):
        raise BadExample(f"{file}: the task {dataset.task!r} is none of {', '.join(get_args(Task))}")
    if not dataset.name or not dataset.splits:
        raise BadExample(f"{file}: a dataset needs a name and at least one split")
    if dataset.task == "classification" and dataset.prompts is None:
        raise BadExample(f"{file}: a dataset with classes needs prompts, a function that gives their names")
    return dataset


def _run(file: Path) -> dict[str, object]:
    """The names that the file defines.

    Raises:
        BadExample: It stops with an error.
    """
    name = f"coca_dataset_{file.stem}"
    spec = spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise BadExample(f"{file} is no Python file by its name: it must end in .py")
    module = sys.modules[name] = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except CocaError:
        raise
    except Exception as error:
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file)]
        line = lines[-1] if lines else getattr(error, "lineno", None)
        raise BadExample(f"{file}, line {line}, stops with {type(error).__name__}: {error}") from error
    return dict(vars(module))


PYTHON = Scheme(
    name="python",
    argument="FILE.py",
    description="a dataset that you describe in a Python file, which is run",
    layout=LAYOUT,
    open=open_python,
)
