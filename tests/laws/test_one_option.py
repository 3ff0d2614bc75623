"""Law 3: the same parameter name has the same flags, help, type and default in every command.

The numbers of a recipe have their task's own defaults: the paper trains with another rate than it finetunes with.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from coca_cli.options import RECIPE_PANEL

UNSAID = object()


class Shared(NamedTuple):
    """What the design fixes about an option that several commands have."""

    flags: tuple[str, ...]
    default: object = UNSAID
    variable: str | None = None


SHARED = {
    "model": Shared(("--model", "-m")),
    "pretrained": Shared(("--pretrained",), None),
    "dataset": Shared(("--dataset", "-d")),
    "data_root": Shared(("--data-root",), variable="COCA_DATA"),
    "split": Shared(("--split",)),
    "batch_size": Shared(("--batch-size", "-b")),
    "precision": Shared(("--precision",), "auto"),
    "device": Shared(("--device",), "auto"),
    "workers": Shared(("--workers",)),
    "limit": Shared(("--limit",), None),
    "seed": Shared(("--seed",)),
    "results": Shared(("--results",), Path("results"), "COCA_RESULTS"),
    "format": Shared(("--format",), "table"),
    "cache_dir": Shared(("--cache-dir",)),
    "cache": Shared(("--cache/--no-cache",), True),
    "quiet": Shared(("--quiet",), False),
}


def find_strays(parameters: Iterable[Any]) -> list[str]:
    """Options that mean two things, or have two spellings, in words."""
    faults: list[str] = []
    first: dict[str, Any] = {}
    short_of: dict[str, tuple[str, Any]] = {}
    for parameter in (parameter for parameter in parameters if parameter.is_option):
        where = f"{parameter.command}: {parameter.name}"
        other = first.setdefault(parameter.name, parameter)
        own = parameter.info.rich_help_panel == RECIPE_PANEL
        for what in ("flags", "kind") if own else ("flags", "kind", "default"):
            if getattr(parameter, what) != getattr(other, what):
                faults.append(
                    f"{where} has the {what} {getattr(parameter, what)!r}, "
                    f"in {other.command} it is {getattr(other, what)!r}"
                )
        if parameter.info.help != other.info.help:
            faults.append(f"{where} has another help than in {other.command}")
        if parameter.info.envvar != other.info.envvar:
            faults.append(f"{where} has another environment variable than in {other.command}")
        for short in (flag for flag in parameter.flags if not flag.startswith("--")):
            long = next((flag for flag in parameter.flags if flag.startswith("--")), "nothing else")
            if short_of.setdefault(short, (long, parameter))[0] != long:
                faults.append(
                    f"{where} takes {short}, which means {short_of[short][0]} in {short_of[short][1].command}"
                )
    return faults


def find_breaches(parameters: Iterable[Any]) -> list[str]:
    """Shared options that are not as the design has them, in words."""
    faults = []
    for parameter in (parameter for parameter in parameters if parameter.is_option):
        where = f"{parameter.command}: {parameter.name}"
        shared = SHARED.get(parameter.name)
        if shared is None:
            continue
        if missing := [flag for flag in shared.flags if flag not in parameter.flags]:
            faults.append(f"{where} lacks {', '.join(missing)}")
        if shared.default is not UNSAID and parameter.default != shared.default:
            faults.append(f"{where} has the default {parameter.default!r}, not {shared.default!r}")
        if parameter.info.envvar != shared.variable and shared.variable:
            faults.append(f"{where} does not read {shared.variable}")
    return faults


def test_the_same_name_means_the_same_everywhere(parameters: list[Any]) -> None:
    assert find_strays(parameters) == []


def test_shared_options_are_as_designed(parameters: list[Any]) -> None:
    assert find_breaches(parameters) == []
    assert {parameter.name for parameter in parameters} >= {"model", "dataset", "results", "format"}


def test_every_parameter_has_a_help_text(parameters: list[Any]) -> None:
    silent = [f"{parameter.command}: {parameter.name}" for parameter in parameters if not parameter.info.help]
    assert silent == []


def test_every_long_flag_has_one_short_flag(parameters: list[Any]) -> None:
    spellings: dict[str, set[tuple[str, ...]]] = {}
    for parameter in parameters:
        for flag in parameter.flags:
            spellings.setdefault(flag, set()).add(parameter.flags)
    assert {flag: sorted(found) for flag, found in spellings.items() if len(found) > 1} == {}


def _one(seed: Annotated[int, typer.Option("--seed", help="Seed.")] = 0) -> None: ...
def _same(seed: Annotated[int, typer.Option("--seed", help="Seed.")] = 0) -> None: ...
def _default(seed: Annotated[int, typer.Option("--seed", help="Seed.")] = 1) -> None: ...
def _help(seed: Annotated[int, typer.Option("--seed", help="Random seed.")] = 0) -> None: ...
def _kind(seed: Annotated[float, typer.Option("--seed", help="Seed.")] = 0) -> None: ...
def _flags(seed: Annotated[int, typer.Option("--seed", "-s", help="Seed.")] = 0) -> None: ...
def _split(split: Annotated[str, typer.Option("--split", "-s", help="Part.")] = "a") -> None: ...
def _old_style(seed: int = typer.Option(1, "--seed", help="Seed.")) -> None: ...
def _results(results: Annotated[Path, typer.Option("--out", help="Store.")] = Path("out")) -> None: ...


def test_the_law_can_be_broken(read_app: Any) -> None:
    def faults(*functions: Any) -> list[str]:
        app, group = typer.Typer(), typer.Typer()
        app.add_typer(group, name="group")
        app.command("one")(functions[0])
        for function in functions[1:]:
            group.command()(function)
        return find_strays(read_app(app))

    assert faults(_one, _same) == []
    assert faults(_one, _default) == ["coca group -default: seed has the default 1, in coca one it is 0"]
    assert faults(_one, _old_style) == ["coca group -old-style: seed has the default 1, in coca one it is 0"]
    assert faults(_one, _help) == ["coca group -help: seed has another help than in coca one"]
    assert len(faults(_one, _kind)) == 1
    assert len(faults(_one, _flags)) == 1
    assert faults(_flags, _split) == ["coca group -split: split takes -s, which means --seed in coca one"]


def _rate(rate: Annotated[float, typer.Option("--rate", help="R.", rich_help_panel=RECIPE_PANEL)] = 1e-3) -> None: ...
def _own(rate: Annotated[float, typer.Option("--rate", help="R.", rich_help_panel=RECIPE_PANEL)] = 1e-5) -> None: ...
def _words(rate: Annotated[float, typer.Option("--rate", help="S.", rich_help_panel=RECIPE_PANEL)] = 1e-3) -> None: ...


def test_a_recipe_may_have_its_own_numbers_but_no_other_meaning(read_app: Any) -> None:
    app = typer.Typer()
    for name, function in (("one", _rate), ("two", _own), ("three", _words)):
        app.command(name)(function)
    assert find_strays(read_app(app)) == ["coca three: rate has another help than in coca one"]


def test_the_design_can_be_broken(read_app: Any) -> None:
    app = typer.Typer()
    app.command("one")(_results)
    assert find_breaches(read_app(app)) == [
        "coca one: results lacks --results",
        "coca one: results has the default PosixPath('out'), not PosixPath('results')",
        "coca one: results does not read COCA_RESULTS",
    ]
