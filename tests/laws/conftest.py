"""The command line as the laws look at it: every command with its parameters, read from the functions' signatures."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Annotated, Any, NamedTuple, get_args, get_origin, get_type_hints

import pytest
import typer
from typer.models import ArgumentInfo, OptionInfo, ParameterInfo


class Parameter(NamedTuple):
    """One option or argument of one command."""

    command: str
    name: str
    kind: Any
    default: Any
    flags: tuple[str, ...]  # empty for an argument
    info: ParameterInfo

    @property
    def is_option(self) -> bool:
        return bool(self.flags)


def read_parameters(command: str, function: Callable[..., Any]) -> Iterator[Parameter]:
    hints = get_type_hints(function, include_extras=True)
    for name, parameter in inspect.signature(function).parameters.items():
        hint, default = hints.get(name, str), parameter.default
        if hint is typer.Context:  # typer's own, no word of the command line
            continue
        kind, extras = (get_args(hint)[0], get_args(hint)[1:]) if get_origin(hint) is Annotated else (hint, ())
        info = next((extra for extra in extras if isinstance(extra, ParameterInfo)), None)
        words = ()
        if info is not None:  # within Annotated the first flag takes the place of the default
            words = (info.default, *(info.param_decls or ())) if isinstance(info.default, str) else ()
        elif isinstance(default, ParameterInfo):
            info, words, default = default, tuple(default.param_decls or ()), default.default
        else:
            info = ArgumentInfo() if default is inspect.Parameter.empty else OptionInfo()
        flags = words or (f"--{name.replace('_', '-')}",)
        yield Parameter(command, name, kind, default, flags if isinstance(info, OptionInfo) else (), info)


def walk_app(app: typer.Typer, words: tuple[str, ...] = ("coca",)) -> Iterator[Parameter]:
    if app.registered_callback and app.registered_callback.callback:
        yield from read_parameters(" ".join(words), app.registered_callback.callback)
    for command in app.registered_commands:
        assert command.callback is not None
        name = command.name or command.callback.__name__.replace("_", "-")
        yield from read_parameters(" ".join((*words, name)), command.callback)
    for group in app.registered_groups:
        assert group.typer_instance is not None
        yield from walk_app(group.typer_instance, (*words, str(group.name)))


@pytest.fixture
def parameters() -> list[Parameter]:
    """Every parameter of every command of the program."""
    from coca_cli.cli import app

    return list(walk_app(app))


@pytest.fixture
def read_app() -> Callable[[typer.Typer], list[Parameter]]:
    """For laws that show that they can be broken."""
    return lambda app: list(walk_app(app))
