"""A suite's benchmarks as the task's own command reads them: the same defaults, the same checks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from coca_cli.datasets import find_dataset
from coca_cli.datasets.example import Dataset
from coca_cli.errors import CocaError, MissingFile, UnknownName
from coca_cli.registry import unknown_name
from coca_cli.suites.suite_files import Entry, check_defaults
from coca_cli.training_options import check_length

OF_THE_MODEL = ("model", "pretrained", "captioner", "classifier", "backbone", "answerer")
OF_THE_RUN = ("data_root", "device", "cache_dir", "cache", "results", "format", "quiet")
OF_ONE_FILE = (
    *("captions", "partial", "answers", "predictions", "grid", "save", "save_answers", "draw"),
    *("classifier_folder", "overwrite"),
)
UNFROZEN = ("frozen", "encoder_learning_rate")
NOT_IN_SUITES = frozenset((*OF_THE_MODEL, *OF_THE_RUN, *OF_ONE_FILE, *UNFROZEN, "dataset", "help"))
"""Parameters that a benchmark cannot have: the suite's models and the suite's own options stand in their place, a file
would be written anew for each model, and a suite trains no encoder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """One benchmark, its options checked.

    Attributes:
        where: Where it stands, for messages.
        task: The command.
        dataset: What is measured on.
        values: Every parameter of the command by name, as the command itself would have it.
        missing: Why the dataset cannot be opened, where its path is not there.
    """

    where: str
    task: str
    dataset: Dataset
    values: Mapping[str, Any]
    missing: str = ""

    @property
    def name(self) -> str:
        """The task, the dataset, and the split where the suite names one."""
        return " ".join(filter(None, (self.task, self.dataset.name, self.values.get("split"))))


def read_benchmarks(
    entries: list[Entry], commands: Mapping[str, Any], given: Mapping[str, Any], of_the_run: Mapping[str, Any]
) -> list[Benchmark]:
    """The benchmarks with all their options.

    Args:
        entries: Of the suite.
        commands: Task -> its command, as typer builds it.
        given: What the user typed for the whole suite, by parameter name; it stands above what the suite says.
        of_the_run: Where data, results and cache lie, by parameter name.

    Raises:
        UnknownName: No such dataset or option.
        CocaError: A value that the command would refuse.
    """
    check_defaults(entries, {name for command in commands.values() for name in _flags(command)})
    return [_read(entry, commands[entry.task], given, of_the_run) for entry in entries]


def _flags(command: Any) -> dict[str, Any]:
    """The options that a benchmark can have: without `--`, and the parameter of each."""
    return {
        flag.removeprefix("--"): parameter
        for parameter in command.params
        if parameter.name not in NOT_IN_SUITES
        for flag in parameter.opts
        if flag.startswith("--")
    }


def _read(entry: Entry, command: Any, given: Mapping[str, Any], of_the_run: Mapping[str, Any]) -> Benchmark:
    try:
        dataset, missing = _open(entry)
        context = command.make_context(f"coca {entry.task}", list(_words(entry, command)))
        values = dict(context.params)
        if strays := [name for name in (*OF_ONE_FILE, *UNFROZEN) if _is_set(command, values, name)]:
            raise CocaError(f"the recipe sets {strays[0].replace('_', '-')}, which a suite has not: take it out")
        for name, value in {**given, **of_the_run}.items():
            if name in values:
                values[name] = value
        for name in ("classnames", "templates"):
            if values.get(name) is not None and not values[name].is_file():
                raise MissingFile(
                    f"{name} = {str(values[name])!r} is no file that is there; paths are as you would type them"
                )
        if entry.task == "probe":
            values["epochs"] = check_length(context, values["steps"], values["epochs"])
            for name in ("learning_rates", "weight_decays"):
                values[name] = [float(part) for part in _numbers(name, values[name], float)]
            values["shots"] = [int(part) for part in _numbers("shots", values["shots"], int)]
    except CocaError as error:
        raise type(error)(f"{entry.where}: {error}") from None
    except Exception as error:
        if not hasattr(error, "format_message"):  # typer names no class for all that it refuses
            raise
        raise CocaError(f"{entry.where} has a value that is refused: {error.format_message()}") from None
    return Benchmark(where=entry.where, task=entry.task, dataset=dataset, values=values, missing=missing)


def _open(entry: Entry) -> tuple[Dataset, str]:
    """The dataset, and why it cannot be opened: what stands behind a colon may be no file that is there."""
    try:
        return find_dataset(entry.dataset), ""
    except MissingFile as error:
        absent = Dataset(
            name=entry.dataset,
            task="captions",
            splits=("",),
            source="",
            licence="",
            layout="",
            read=lambda *_: iter(()),
        )
        return absent, str(error)


def _words(entry: Entry, command: Any) -> Iterator[str]:
    """The benchmark as a command line."""
    flags = _flags(command)
    options = {key.replace("_", "-"): value for key, value in entry.defaults.items()}
    options = {key: value for key, value in options.items() if key in flags}
    for key, value in entry.options.items():
        name = key.replace("_", "-")
        if name not in flags:
            raise UnknownName(unknown_name("option", key, flags))
        options[name] = value
    yield "--model=."
    yield f"--dataset={entry.dataset}"
    for name, value in options.items():
        parameter = flags[name]
        if bool(parameter.is_flag) is not isinstance(value, bool):
            wanted = "true or false" if parameter.is_flag else "a number or a text"
            raise CocaError(f"{name} = {value!r}: this option takes {wanted}")
        if isinstance(value, bool):
            if value or parameter.secondary_opts:
                yield f"--{name}" if value else parameter.secondary_opts[0]
            continue
        parts = value if isinstance(value, list) else [value]
        if not all(isinstance(part, str | int | float) for part in parts):
            raise CocaError(f"{name} = {value!r}: an option takes a number, a text, true or false, or a list of those")
        if name == "recipe" and str(value).partition(":")[0] == "show":
            raise CocaError(f"recipe = {value!r} would print a recipe: name the one that is meant")
        yield f"--{name}={','.join(map(str, parts))}"


def _is_set(command: Any, values: Mapping[str, Any], name: str) -> bool:
    """Whether a recipe has given a value to what a benchmark cannot have."""
    defaults = {parameter.name: parameter.default for parameter in command.params}
    return name in values and values[name] != defaults[name]


def _numbers(name: str, text: str | None, kind: type[int] | type[float]) -> list[str]:
    """The parts of a list of numbers, each once."""
    parts = list(dict.fromkeys(part.strip() for part in text.split(","))) if text else []
    least = 1 if kind is int else 0
    try:
        if all(kind(part) >= least for part in parts):
            return parts
    except ValueError:
        pass
    raise CocaError(f"{name.replace('_', '-')} = {text!r}: give numbers from {least} on, such as 1,2 or [1, 2]")
