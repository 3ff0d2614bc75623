"""Law 5: README.md and docs/ say what the program says.

Command lines in their code blocks must parse, and help texts between `<!-- help: coca eval zeroshot -->` and
`<!-- /help -->` must be the program's own. `python tests/laws/test_readme.py` writes those help texts anew.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
import typer.main

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([ROOT / "README.md", *ROOT.glob("docs/**/*.md")])
WIDTH = "100"

BLOCK = re.compile(r"^```(console|bash|sh|shell)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
HELP = re.compile(r"(?P<head><!-- help: (?P<words>coca[^>]*?) -->\n)(?P<body>.*?)(?P<foot><!-- /help -->)", re.DOTALL)


def read_commands(text: str) -> list[list[str]]:
    """The commands of every code block as words: pipes split, variables before them and redirections left out."""
    return [words for block in BLOCK.finditer(text) for line in _lines(*block.groups()) for words in _commands(line)]


def _lines(language: str, block: str) -> Iterator[str]:
    joined = re.sub(r"\\\n\s*", " ", block)
    for line in joined.splitlines():
        line = re.sub(r"^> ", "", line)
        if language == "console" and re.search(r"^\$ ", block, re.MULTILINE):
            if line.startswith("$ "):  # the other lines are what the program printed
                yield line[2:]
        else:
            yield line.removeprefix("$ ")


def _commands(line: str) -> Iterator[list[str]]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words: list[str] = []
    for word in [*lexer, ";"]:
        if set(word) <= set("();<>|&"):
            if word[0] in "<>" and words and words[-1].isdigit():
                words.pop()
            if words := _without_variables(words):
                yield words
            words = []
        else:
            words.append(word)


def _without_variables(words: list[str]) -> list[str]:
    start = next((index for index, word in enumerate(words) if not re.match(r"\w+=", word)), len(words))
    return words[start:]


def coca_words(words: list[str]) -> list[str] | None:
    """What follows `coca` in a command of the shell, or None where it is another program's."""
    if Path(words[0]).name == "coca":
        return words[1:]
    for index, pair in enumerate(pairwise(words)):
        if pair == ("-m", "coca_cli"):
            return words[index + 2 :]
    return None


@cache
def built(app: typer.Typer) -> Any:
    """The commands of an app, which take a moment to build."""
    return typer.main.get_command(app)


def find_fault(app: typer.Typer, words: list[str]) -> str | None:
    """Why the program would refuse these words, or None; nothing is run. Files that are named need not exist."""
    command: Any = built(app)
    path, words = ["coca"], list(words)
    while words and hasattr(command, "commands"):
        word = words.pop(0)
        if word.startswith("-"):
            known = {flag for option in command.params for flag in option.opts} | {"--help", "-h"}
            return None if word in known else f"{' '.join(path)} has no option {word}"
        if word not in command.commands:
            return f"{' '.join(path)} has no command {word}"
        command = command.commands[word]
        path.append(word)
    if hasattr(command, "commands"):
        return None  # it prints its help
    try:
        with _imagined_files(command):
            command.make_context(" ".join(path), words)
    except typer.Exit:
        return None
    except Exception as error:
        if not hasattr(error, "format_message"):
            raise
        return f"{' '.join(path)}: {error.format_message()}"
    return None


@contextmanager
def _imagined_files(command: Any) -> Iterator[None]:
    """Let the files that a command line names be missing."""
    # What says so stood in the parameter's type before typer 0.26, and in its declaration since.
    holders = [
        parameter.type_descriptor.parameter_info if hasattr(parameter, "type_descriptor") else parameter.type
        for parameter in command.params
    ]
    strict = [holder for holder in holders if getattr(holder, "exists", False)]
    for holder in strict:
        holder.exists = False
    try:
        yield
    finally:
        for holder in strict:
            holder.exists = True


def find_faults(text: str, app: typer.Typer, makefile: str) -> list[str]:
    """The command lines of a document that do not work, in words."""
    targets = set(re.findall(r"^([\w-]+):", makefile, re.MULTILINE))
    faults = []
    for command in read_commands(text):
        words = coca_words(command)
        if words is not None and (fault := find_fault(app, words)):
            faults.append(fault)
        if command[0] == "make":
            wanted = [word for word in command[1:] if not word.startswith("-") and "=" not in word]
            faults += [f"make has no target {word}" for word in wanted if word not in targets]
    return faults


def program_help(words: str) -> str:
    """What `coca ... --help` prints on a page of 100 columns without colours."""
    unwanted = ("FORCE_COLOR", "PY_COLORS", "GITHUB_ACTIONS")
    environment = {name: value for name, value in os.environ.items() if name not in unwanted}
    environment |= {"COLUMNS": WIDTH, "TERMINAL_WIDTH": WIDTH, "NO_COLOR": "1", "TERM": "dumb", "PYTHONUTF8": "1"}
    command = [sys.executable, "-m", "coca_cli", *shlex.split(words)[1:], "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, encoding="utf-8")
    assert done.returncode == 0, f"{words} --help fails:\n{done.stderr}"
    return "\n".join(line.rstrip() for line in done.stdout.strip("\n").splitlines())


def help_block(words: str) -> str:
    return f"```text\n{program_help(words)}\n```\n"


def write_help(text: str) -> str:
    """The document with every help text as the program has it now."""
    return HELP.sub(lambda found: f"{found['head']}{help_block(found['words'])}{found['foot']}", text)


def by_name(document: Path) -> str:
    return document.name


@pytest.mark.parametrize("document", DOCUMENTS, ids=by_name)
def test_command_lines_work(document: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from coca_cli.cli import app

    monkeypatch.chdir(tmp_path)
    Path("mine.toml").write_text("steps = 10\n")  # a reader's own recipe, which is read before the words are checked
    assert find_faults(document.read_text(encoding="utf-8"), app, (ROOT / "Makefile").read_text()) == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=by_name)
def test_help_texts_are_the_programs(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    assert text.count("<!-- help:") == len(HELP.findall(text)) == text.count("<!-- /help -->")
    assert write_help(text) == text, "run: python tests/laws/test_readme.py"


@pytest.mark.parametrize("document", DOCUMENTS, ids=by_name)
def test_files_that_are_linked_exist(document: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", document.read_text(encoding="utf-8"))
    local = [link for link in links if "://" not in link and not link.startswith("mailto:")]
    assert [link for link in local if not (document.parent / link).exists()] == []


class _Word(StrEnum):
    auto = "auto"


def _zeroshot(
    model: Annotated[str, typer.Option("--model", "-m")],
    batch_size: Annotated[int, typer.Option("--batch-size", "-b", min=1)] = 8,
    precision: Annotated[_Word, typer.Option("--precision")] = _Word.auto,
    cache: Annotated[bool, typer.Option("--cache/--no-cache")] = True,
) -> None:
    raise AssertionError("a command line in a document must not be run")


def _caption(paths: Annotated[list[Path], typer.Argument(exists=True)]) -> None:
    raise AssertionError("a command line in a document must not be run")


@pytest.fixture
def fake_app() -> typer.Typer:
    app, group = typer.Typer(), typer.Typer()
    app.add_typer(group, name="eval")
    app.command("caption")(_caption)
    group.command("zeroshot")(_zeroshot)
    return app


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("coca eval zeroshot -m a", None),
        ("coca eval zeroshot --model=a -b16 --no-cache --precision auto | tee log.txt", None),
        ("DATA=x .venv/bin/coca eval zeroshot -m a 2> log.txt  # a remark", None),
        ("cd folder && torchrun --nproc-per-node 2 -m coca_cli eval zeroshot -m a", None),
        ("coca caption my.jpg 'my other picture.jpg'", None),
        ("coca --help", None),
        ("coca eval", None),
        ("coca eval zeroshot --help", None),
        ("make demo ARGS=-v && ls --nonsense", None),
        ("coca eval retrieval", "coca eval has no command retrieval"),
        ("coca --nonsense", "coca has no option --nonsense"),
        ("coca eval zeroshot -m a --bogus", "coca eval zeroshot: No such option: --bogus"),
        ("coca eval zeroshot -m a extra", "coca eval zeroshot: Got unexpected extra argument"),
        ("coca eval zeroshot", "coca eval zeroshot: Missing option '--model'"),
        ("coca eval zeroshot -m a -b many", "coca eval zeroshot: Invalid value for '--batch-size'"),
        ("coca eval zeroshot -m a --precision fp8", "coca eval zeroshot: Invalid value for '--precision'"),
        ("python -m coca_cli eval zeroshot -m a \\\n    --bogus", "coca eval zeroshot: No such option: --bogus"),
        ("true; coca caption", "coca caption: Missing argument"),
        ("make nonsense", "make has no target nonsense"),
    ],
)
@pytest.mark.parametrize(("language", "prompt"), [("console", "$ "), ("bash", ""), ("sh", "")])
def test_the_law_can_be_broken(fake_app: typer.Typer, line: str, fault: str | None, language: str, prompt: str) -> None:
    text = f"# Title\n\n```{language}\n{prompt}{line}\n```\n"
    faults = find_faults(text, fake_app, "demo: x  ## run\n\techo\n")
    assert [found[: len(fault or "")] for found in faults] == ([fault] if fault else [])


def test_what_the_program_printed_is_no_command() -> None:
    text = "```console\n$ coca report\ncoca --bogus\n```\n\n```text\ncoca --bogus\n```\n\n```\ncoca --bogus\n```\n"
    assert read_commands(text) == [["coca", "report"]]


def test_a_stale_help_text_is_found() -> None:
    stale = "a\n<!-- help: coca report -->\nold\n<!-- /help -->\nb\n"
    fresh = write_help(stale)
    assert fresh.startswith("a\n<!-- help: coca report -->\n```text\n")
    assert "Usage: coca report [OPTIONS]" in fresh
    assert fresh.endswith("\n```\n<!-- /help -->\nb\n")
    assert "\x1b" not in fresh
    assert max(map(len, fresh.splitlines())) <= int(WIDTH)
    assert write_help(fresh) == fresh


if __name__ == "__main__":
    for document in DOCUMENTS:
        document.write_text(write_help(document.read_text(encoding="utf-8")), encoding="utf-8")
