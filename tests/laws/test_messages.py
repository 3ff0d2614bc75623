"""Law 6: every message that a user can meet has been met by a test.

A message is taken as met when a test holds a piece of its fixed words that no other message has.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from coca_cli import errors

ROOT = Path(__file__).parents[2]
LEAST = 12
"""Characters of a message that a test must show for the message to count as met."""

ERRORS = {name for name, value in vars(errors).items() if inspect.isclass(value) and issubclass(value, Exception)}


class Message(NamedTuple):
    """The fixed words of one raise statement."""

    where: str
    pieces: tuple[str, ...]


def _pieces(node: ast.expr, names: dict[str, list[ast.expr]]) -> Iterator[str]:
    """The literal text of an expression; what a call returns is not looked at."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.JoinedStr):
        for value in node.values:
            if isinstance(value, ast.Constant):
                yield str(value.value)
    elif isinstance(node, ast.BinOp):
        yield from _pieces(node.left, names)
        yield from _pieces(node.right, names)
    elif isinstance(node, ast.IfExp):
        yield from _pieces(node.body, names)
        yield from _pieces(node.orelse, names)
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "format":
        yield from _pieces(node.func.value, names)
    elif isinstance(node, ast.Name):
        for value in names.get(node.id, ()):
            yield from _pieces(value, {})


def _raises(tree: ast.AST) -> Iterator[tuple[ast.Call, dict[str, list[ast.expr]]]]:
    """Every `raise SomeCocaError(message)` with what the names near it stand for."""
    for scope in ast.walk(tree):
        if not isinstance(scope, ast.FunctionDef | ast.AsyncFunctionDef | ast.Module):
            continue
        inner = [node for child in ast.iter_child_nodes(scope) for node in _same_scope(child)]
        names: dict[str, list[ast.expr]] = {}
        for node in inner:
            if isinstance(node, ast.Assign):
                for target in node.targets:
                    if isinstance(target, ast.Name):
                        names.setdefault(target.id, []).append(node.value)
        for node in inner:
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
                called = node.exc.func
                name = called.id if isinstance(called, ast.Name) else getattr(called, "attr", "")
                if name in ERRORS and node.exc.args:
                    yield node.exc, names


def _same_scope(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return
    yield node
    for child in ast.iter_child_nodes(node):
        yield from _same_scope(child)


def read_messages(package: Path) -> list[Message]:
    """The fixed words of every error that the package raises; those that a helper alone builds are left out."""
    found = []
    for path in sorted(package.rglob("*.py")):
        for call, names in _raises(ast.parse(path.read_text())):
            pieces = tuple(piece for piece in _pieces(call.args[0], names) if piece.strip())
            built = isinstance(call.args[0], ast.Call | ast.Name | ast.Attribute)
            if pieces or not built:
                found.append(Message(f"{path.relative_to(package.parent)}:{call.lineno}", pieces))
    return found


def read_texts(folder: Path, but: Iterable[Path] = ()) -> set[str]:
    """All text literals of the tests, also as they read without the backslashes of a pattern."""
    texts: set[str] = set()
    for path in set(folder.rglob("*.py")) - set(but):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts |= {node.value, node.value.replace("\\", "")}
    return texts


def _windows(texts: Iterable[str]) -> set[str]:
    return {text[start : start + LEAST] for text in texts for start in range(len(text) - LEAST + 1)}


def find_unmet(messages: list[Message], texts: set[str]) -> list[str]:
    """Messages without a piece in any test, in words."""
    shown = _windows(texts)
    windows = {message.pieces: _windows(message.pieces) for message in messages}
    owners: dict[str, set[tuple[str, ...]]] = {}
    for pieces, parts in windows.items():
        for part in parts:
            owners.setdefault(part, set()).add(pieces)
    faults = []
    for where, pieces in messages:
        parts = windows[pieces]
        own = {part for part in parts if len(owners[part]) == 1} or parts
        if not parts:
            faults.append(f"{where}: no {LEAST} letters of {' ... '.join(pieces)!r} stand together")
        elif not own & shown:
            faults.append(f"{where}: no test shows {' ... '.join(pieces)!r}")
    return faults


def test_every_message_has_been_met() -> None:
    messages = read_messages(ROOT / "coca_cli")
    assert len(messages) > 5
    unmet = find_unmet(messages, read_texts(ROOT / "tests", but=[Path(__file__)]))
    assert not unmet, "messages that no test has met:\n" + "\n".join(unmet)


SOURCE = '''
def check(path, error):
    """Raises CocaError: this text is no message at all."""
    if path:
        raise CocaError(f"the file {path} is not a picture; convert it")
    if error:
        raise BadExample("the file " + path + (" has no bytes in it" if error else " is a folder, not a file"))
    message = f"{path} was never there before"
    raise errors.MissingFile(message)

def other():
    raise CocaError(helper("text for the helper"))
    raise ValueError("a mistake of the programmer's")
    raise CocaError(f"{path} is bad")
'''


@pytest.fixture
def messages(tmp_path: Path) -> list[Message]:
    (tmp_path / "fake").mkdir()
    (tmp_path / "fake" / "a.py").write_text(SOURCE)
    return read_messages(tmp_path / "fake")


def test_messages_are_found(messages: list[Message]) -> None:
    assert [message.pieces for message in messages] == [
        ("the file ", " is not a picture; convert it"),
        ("the file ", " has no bytes in it", " is a folder, not a file"),
        (" was never there before",),
        (" is bad",),
    ]
    assert messages[0].where == "fake/a.py:5"


@pytest.mark.parametrize(
    ("texts", "unmet"),
    [
        (set(), [0, 1, 2, 3]),
        ({"a.txt is not a picture", "x.jpg has no bytes", "x was never there"}, [3]),
        ({"is not a picture", "is not a pic"}, [1, 2, 3]),
        ({"not a pict", "the file "}, [0, 1, 2, 3]),
    ],
)
def test_an_unmet_message_is_named(messages: list[Message], texts: set[str], unmet: list[int]) -> None:
    faults = find_unmet(messages, texts)
    assert [fault.partition(": ")[0] for fault in faults] == [messages[index].where for index in unmet]
    assert "no 12 letters of ' is bad' stand together" in faults[-1]


def test_words_that_many_messages_share_meet_none_of_them() -> None:
    messages = [Message("a", ("cannot be read; give one",)), Message("b", ("cannot be read; give two of them",))]
    assert len(find_unmet(messages, {"cannot be read; give"})) == 2
    assert find_unmet(messages, {"be read; give one", "give two of"}) == [
        "b: " + "no test shows " + repr(messages[1].pieces[0])
    ]
    assert find_unmet(messages, {"read; give one", "give two of them"}) == []


def test_texts_of_tests_are_found_without_backslashes(tmp_path: Path) -> None:
    (tmp_path / "test_a.py").write_text("def test(): match = r'a \\(small\\) picture' f'{x} and more'\n# no comment\n")
    texts = read_texts(tmp_path)
    assert "a (small) picture and more" not in texts
    assert any("a (small) picture" in text for text in texts)
    assert not any("comment" in text for text in texts)
    assert read_texts(tmp_path, but=[tmp_path / "test_a.py"]) == set()
