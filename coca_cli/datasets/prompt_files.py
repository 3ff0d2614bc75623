"""Class names and templates from files: those beside a dataset, and the user's own in their place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from coca_cli.datasets.example import Prompts
from coca_cli.datasets.templates import GENERAL_TEMPLATES
from coca_cli.errors import BadExample, CocaError, MissingFile
from coca_cli.json_text import parse_json


def read_lines(path: Path) -> tuple[str, ...]:
    """The lines of a small text file that lies beside a dataset; () where there is none.

    Raises:
        BadExample: It is not UTF-8, or has an empty line between others: dropping it could shift every later name.
    """
    if not path.is_file():
        return ()
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").rstrip().splitlines()]
    except UnicodeDecodeError as error:
        raise BadExample(f"{path} is not UTF-8 text (byte {error.start}): write it as UTF-8") from error
    if not all(lines):
        raise BadExample(f"{path}: line {lines.index('') + 1} is empty, but every line counts: fill or remove it")
    return tuple(lines)


def read_templates(path: Path, otherwise: tuple[str, ...] = GENERAL_TEMPLATES) -> tuple[str, ...]:
    """The templates in a text file beside a dataset; others, such as the general ones, where there is none.

    Raises:
        BadExample: A template has no place for the class name.
    """
    return check_templates(read_lines(path) or otherwise, path)


def check_templates(templates: tuple[str, ...], path: Path) -> tuple[str, ...]:
    """The same templates, each with `{c}` in it.

    Raises:
        BadExample: One has no place for the class name.
    """
    for template in templates:
        if "{c}" not in template:
            raise BadExample(f"{path}: the template {template!r} has no {{c}} where the class name goes")
    return templates


def override_prompts(prompts: Prompts, class_names: Path | None, templates: Path | None) -> Prompts:
    """The dataset's prompts with the user's class names or templates in their place.

    Args:
        prompts: The dataset's own.
        class_names: A text file with one name a line or a JSON list, in class order; or a JSON object old -> new name.
        templates: A text file with one template a line or a JSON list; `{c}` or `{}` is where the class name goes.

    Raises:
        MissingFile: A file is not there.
        BadExample: A file does not hold what it should.
    """
    names, sentences = prompts
    if class_names is not None:
        found = _read(class_names)
        if isinstance(found, dict):
            unknown = sorted(set(found) - set(names))
            if unknown:
                raise CocaError(f"{class_names} renames {unknown[0]!r}, which is no class; classes: {_some(names)}")
            names = tuple(str(found.get(name, name)) for name in names)
        else:
            names = tuple(found)
            if prompts.class_names and len(names) != len(prompts.class_names):
                raise CocaError(
                    f"{class_names} has {len(names):,} names, "
                    f"but the dataset has {len(prompts.class_names):,} classes: {_some(prompts.class_names)}"
                )
    if templates is not None:
        found = _read(templates)
        if isinstance(found, dict):
            raise BadExample(f"{templates} should be a list of templates, not names with values")
        sentences = check_templates(tuple(template.replace("{}", "{c}") for template in found), templates)
    return Prompts(names, sentences)


def _read(path: Path) -> Any:
    """Non-empty lines of a text file, or the list or object of a JSON file, never empty."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise MissingFile(f"no file {path}; check the path after --classnames or --templates") from None
    except (OSError, UnicodeDecodeError) as error:
        raise BadExample(f"{path} cannot be read as UTF-8 text: {error}") from None
    if path.suffix.lower() != ".json":
        found: Any = [line.strip() for line in text.splitlines() if line.strip()]
    else:
        try:
            found = parse_json(text)
        except ValueError as error:
            raise BadExample(f"{path} is not JSON: {error}") from None
        values = list(found.values()) if isinstance(found, dict) else found
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            raise BadExample(f"{path} should be a list of texts, or an object of old and new names")
    if not found:
        raise BadExample(f"{path} is empty; write one name or template a line")
    return found


def _some(names: tuple[str, ...]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
