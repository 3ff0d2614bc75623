"""Named recipes (COMMAND/NAME.toml beside this file) and the user's own TOML or YAML files: values for options."""

from __future__ import annotations

import reprlib
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from coca_cli.errors import BadExample, CocaError, MissingFile, UnknownName
from coca_cli.registry import unknown_name

FOLDER = Path(__file__).parent
SUFFIXES = (".toml", ".yaml", ".yml")
COMMAND = "pipe:"


def recipe_names(command: str) -> list[str]:
    """The recipes of a command that ship with the package.

    Args:
        command: Its words with a dash between them, such as finetune-caption.
    """
    return sorted(path.stem for path in (FOLDER / command).glob("*.toml"))


def read_recipe(text: str, options: Mapping[str, Any], command: str) -> dict[str, Any]:
    """Option values by parameter name.

    Args:
        text: A shipped recipe's name, or the path of a .toml, .yaml or .yml file whose keys are options without `--`.
        options: The command's options by parameter name; what may be given several times says so by `multiple`.
        command: See `recipe_names`.

    Raises:
        UnknownName: There is no such recipe, or no such option.
        MissingFile: The file is not there.
        BadExample: The file is damaged.
        CocaError: A value is no plain value, or a command.
    """
    path = Path(text).expanduser()
    if path.suffix.lower() not in SUFFIXES:
        if text not in recipe_names(command):
            raise UnknownName(unknown_name("recipe", text, [*recipe_names(command), "show"]))
        path = FOLDER / command / f"{text}.toml"
    values: dict[str, Any] = {}
    for key, value in _parse(path, command).items():
        name = str(key).replace("-", "_")
        if name not in options:
            known = sorted(option.replace("_", "-") for option in options)
            raise UnknownName(
                f"the recipe {path} names what this command has not: {unknown_name('option', str(key), known)}"
            )
        plain = _plain(path, str(key), value)
        for word in plain if isinstance(plain, list) else [plain]:
            if COMMAND in str(word):
                raise CocaError(
                    f"the recipe {path} would run the command in {key} = {word!r}: a file that others may have "
                    "written runs nothing; give it on the command line, where you see it"
                )
        if getattr(options[name], "multiple", False):
            values[name] = plain if isinstance(plain, list) else [str(plain)]
        else:
            values[name] = ",".join(plain) if isinstance(plain, list) else plain
    return values


def recipe_text(text: str, command: str) -> str:
    """A shipped recipe as it stands in its file.

    Raises:
        UnknownName: There is no such recipe.
    """
    if text not in recipe_names(command):
        raise UnknownName(unknown_name("recipe", text, recipe_names(command)))
    return (FOLDER / command / f"{text}.toml").read_text(encoding="utf-8")


def to_toml(values: Mapping[str, Any]) -> str:
    """Option values as a recipe file has them."""
    return "".join(f"{name.replace('_', '-')} = {_literal(value)}\n" for name, value in values.items())


def merge_changes(recipe: Sequence[str], given: Sequence[str]) -> list[str]:
    """KEY=VALUE settings of a recipe and of the command line, whose values stand where both name a key."""
    named = {change.partition("=")[0] for change in given}
    return [*(change for change in recipe if change.partition("=")[0] not in named), *given]


def _literal(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_literal, value))}]"
    escaped = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _parse(path: Path, command: str) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        names = ", ".join(recipe_names(command))
        raise MissingFile(f"cannot read the recipe {path}: {error.strerror}; give a file, or one of {names}") from None
    except UnicodeDecodeError as error:
        raise BadExample(f"the recipe {path} is not UTF-8 text ({error.reason}): save it as UTF-8") from None
    try:
        found = tomllib.loads(text) if path.suffix.lower() == ".toml" else _from_yaml(text)
    except (ValueError, RecursionError) as error:
        raise BadExample(f"the recipe {path} cannot be read: {' '.join(str(error).split())}") from None
    if not isinstance(found, dict):
        raise BadExample(f"the recipe {path} holds no options: write lines such as batch-size = 256")
    return found


def _from_yaml(text: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from None


def _plain(path: Path, key: str, value: Any) -> Any:
    """A number, a text, a switch or a list of those, in the form in which the command line would give it."""
    if isinstance(value, list) and all(isinstance(item, str | int | float) for item in value):
        return [str(item) for item in value]
    if isinstance(value, str | int | float):
        return value
    raise CocaError(
        f"{path}: {key} is {reprlib.repr(value)}: an option takes a number, a text, true or false, or a list of those"
    )
