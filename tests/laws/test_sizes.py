"""Law 7: small files, small functions, nothing twice."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Collection, Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "coca_cli"
FILE_LINES, FUNCTION_LINES, BLOCK_LINES = 400, 60, 10
HANDED_ON = re.compile(r"(\w+)=\1( or \(\))?,")
"""An option that goes on under its own name: a list of them says nothing that the command's signature does not."""
LONGER = {
    "model/open_clip_config.py open_clip_config": "one table, field by field",
    "model/open_clip_config.py describe_for_open_clip": "the same table the other way round",
}
"""Functions above the limit, and the reason."""


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    yield from (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def counted_lines(function: ast.FunctionDef | ast.AsyncFunctionDef, lines: list[str]) -> list[int]:
    """Numbers of the lines that count: neither signature, docstring nor blank lines, imports, or options handed on."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    imports = {
        number
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for number in range(node.lineno, (node.end_lineno or 0) + 1)
    }
    numbers = range(body[0].lineno, (function.end_lineno or 0) + 1) if body else range(0)
    texts = {number: lines[number - 1].strip() for number in numbers if number not in imports}
    return [number for number, text in texts.items() if text and not HANDED_ON.fullmatch(text)]


def find_long(package: Path, excused: Collection[str] = ()) -> list[str]:
    found = []
    for path in sorted(package.rglob("*.py")):
        text, name = path.read_text(encoding="utf-8"), path.relative_to(package).as_posix()
        lines = text.splitlines()
        if len(lines) > FILE_LINES:
            found.append(f"{name} has {len(lines)} lines")
        for function in functions(ast.parse(text)):
            size = len(counted_lines(function, lines))
            if size > FUNCTION_LINES and f"{name} {function.name}" not in excused:
                found.append(f"{name} {function.name} has {size} lines")
    return found


def find_twice(package: Path) -> list[str]:
    """Blocks of lines that stand in two functions."""
    places: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for path in sorted(package.rglob("*.py")):
        text, name = path.read_text(encoding="utf-8"), path.relative_to(package).as_posix()
        lines = text.splitlines()
        for function in functions(ast.parse(text)):
            kept = counted_lines(function, lines)
            for start in range(len(kept) - BLOCK_LINES + 1):
                block = tuple(lines[n - 1].strip() for n in kept[start : start + BLOCK_LINES])
                places[block].add(f"{name}:{kept[start]}")
    return [f"{' and '.join(sorted(where))}: {block[0]}" for block, where in places.items() if len(where) > 1]


def test_files_and_functions_are_small() -> None:
    assert find_long(PACKAGE, LONGER) == []
    assert {found.partition(" has ")[0] for found in find_long(PACKAGE)} == set(LONGER)


def test_nothing_stands_twice() -> None:
    assert find_twice(PACKAGE) == []


def test_the_laws_can_be_broken(tmp_path: Path) -> None:
    body = "".join(f"    x{number} = {number}\n" for number in range(70))
    (tmp_path / "a.py").write_text(f'def f():\n    """What."""\n{body}\n')
    (tmp_path / "b.py").write_text(f"def g(a,\n      b):\n{body[:150]}\n" + "\n" * 400)
    assert find_long(tmp_path) == ["a.py f has 70 lines", "b.py has 416 lines"]
    assert find_twice(tmp_path)[0].startswith("a.py:3 and b.py:3: x0 = 0")
