"""Law 5, the rest of it: every code block of the documents is of a known kind, and is run or parsed."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import nn

from coca_cli.datasets.listing import describe_datasets
from tests.commands.running import run
from tests.commands.squares import picture
from tests.laws.test_readme import DOCUMENTS, ROOT, by_name
from tests.tasks.writer import save_writer

FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
PARSED_ELSEWHERE = {"console"}  # see test_readme.py
SHOWN = {"text"}  # what a program prints, and trees of files
RECIPES = ROOT / "coca_cli/recipes"
EXAMPLE = ROOT / "docs/examples/oxford_pets.py"


class Block(NamedTuple):
    language: str
    code: str


def blocks(text: str) -> list[Block]:
    return [Block(*found.groups()) for found in FENCE.finditer(text)]


def faults(found: list[Block]) -> Iterator[str]:
    """Blocks of no known kind, and those that cannot be parsed, in words. Python is run by the tests below."""
    for block in found:
        if block.language == "bash":
            done = subprocess.run(["bash", "-n"], input=block.code, capture_output=True, text=True, check=False)
            if done.returncode:
                yield done.stderr
        elif block.language == "toml":
            try:
                tomllib.loads(block.code)
            except tomllib.TOMLDecodeError as error:
                yield f"{error}: {block.code}"
        elif block.language == "python":
            compile(block.code, "block", "exec")
        elif block.language not in PARSED_ELSEWHERE | SHOWN:
            yield f"a block of the kind {block.language!r}: {block.code}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=by_name)
def test_blocks_are_of_known_kinds_and_can_be_parsed(document: Path) -> None:
    assert list(faults(blocks(document.read_text(encoding="utf-8")))) == []


def test_the_law_can_be_broken() -> None:
    text = "```\nx\n```\n\n```bash\nif\n```\n\n```toml\na\n```\n\n```console\ncoca report\n```\n"
    assert len(list(faults(blocks(text)))) == 3


class _Network(nn.Module):
    """What a reader may have: something that embeds pictures and texts."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.pixels, self.words = nn.Linear(3 * 32 * 32, 16), nn.EmbeddingBag(50, 16)

    def encode_image(self, images: torch.Tensor) -> torch.Tensor:
        return self.pixels(images.flatten(1))

    def encode_text(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.words(tokens)


def _tokenize(texts: list[str]) -> torch.Tensor:
    return torch.tensor([[sum(map(ord, word)) % 50 for word in (text.split() * 8)[:8]] for text in texts])


def run_blocks(document: Path, **names: Any) -> dict[str, Any]:
    """Run all Python of a document as one program."""
    for block in blocks(document.read_text(encoding="utf-8")):
        if block.language == "python":
            exec(compile(block.code, document.name, "exec"), names)
    return names


def test_the_page_on_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COCA_CACHE", str(tmp_path / "cache"))
    save_writer(tmp_path / "coca-demo/model")
    picture(0, 0).save(tmp_path / "mine.png")
    assert run("embed", "mine.png", "-m", "coca-demo/model", "-o", "mine.npz") == 0
    found = run_blocks(ROOT / "docs/python.md", network=_Network(), tokenize=_tokenize)
    assert found["embeddings"].shape[0] == len(found["ids"]) == 1
    assert found["about"]["model"] == "writer"
    assert set(found["table"]["metric"]) >= {"top-1", "mean per-class recall"}
    assert found["cosines"].shape == (1, 2)
    assert set(found["retrieval"]["n"]) >= {200}
    assert "Did you mean imagenet" in capsys.readouterr().out


def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save_writer(tmp_path / "coca-demo/model")
    notebook = json.loads((ROOT / "docs/examples/first_steps.ipynb").read_text(encoding="utf-8"))
    names: dict[str, Any] = {"display": lambda *shown: None}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            exec(compile("".join(cell["source"]), "notebook", "exec"), names)
    assert not names["table"].empty


def test_the_page_on_reports_reads_its_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from coca_cli.results import Run, settings_hash
    from coca_cli.store import Store
    from tests.reports.rows import make_row

    monkeypatch.chdir(tmp_path)
    when = "2026-01-01T00:00:00Z"
    run = Run(task="zeroshot", dataset="digits", command="coca", settings={}, versions={}, seconds=1.0, when=when)
    Store(tmp_path / "results").append([make_row(dataset="digits", settings=settings_hash({}), when=when)], run)
    assert run_blocks(ROOT / "docs/reports.md")["table"]["dataset"].tolist() == ["digits"]


def test_the_page_on_suites_shows_a_suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from coca_cli.suites.suite_files import read_suite

    monkeypatch.chdir(tmp_path)
    (code,) = [b.code for b in blocks((ROOT / "docs/suites.md").read_text(encoding="utf-8")) if b.language == "toml"]
    Path("mine.toml").write_text(code)
    assert [entry.task for entry in read_suite("mine.toml").entries][-1] == "probe"


def test_the_pages_have_no_broken_link(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs", reason="the pages are built where the extra docs is installed")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    quiet = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=quiet, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "site/benchmarks/index.html").is_file()


def test_the_worked_example_is_the_file_and_short() -> None:
    text = (ROOT / "docs/your-dataset.md").read_text(encoding="utf-8")
    code = EXAMPLE.read_text(encoding="utf-8")
    assert Block("python", code) in blocks(text)
    assert len(code.splitlines()) < 40


def test_layouts_are_the_programs() -> None:
    from coca_cli.datasets import DATASETS

    text = (ROOT / "docs/data-layouts.md").read_text(encoding="utf-8")
    listed = describe_datasets(DATASETS.entries())
    assert f"```text\n{listed}```\n" in text, "run: python -m tests.laws.test_documents"


def recipes_text() -> str:
    """All recipes, a chapter for each command."""
    parts = []
    for folder in sorted(RECIPES.iterdir()):
        files = sorted(folder.glob("*.toml")) if folder.is_dir() else []
        if files:
            parts.append(f"## coca {folder.name.replace('-', ' ', 1)}\n")
            parts += [f"`--recipe {file.stem}`:\n\n```toml\n{file.read_text(encoding='utf-8')}```\n" for file in files]
    return "\n".join(parts)


def test_recipes_are_the_programs() -> None:
    text = (ROOT / "docs/recipes.md").read_text(encoding="utf-8")
    assert text.partition("<!-- recipes -->\n")[2] == f"\n{recipes_text()}", "run: python -m tests.laws.test_documents"


def test_expected_numbers_were_published() -> None:
    known = set()
    for file in (ROOT / "coca_cli/reports/published").glob("*.csv"):
        with file.open(encoding="utf-8", newline="") as lines:
            known |= {float(row["value"]) for row in csv.DictReader(lines)}
    counted = 0
    for document in DOCUMENTS:
        for part in document.read_text(encoding="utf-8").split("\n## ")[1:]:
            if part.startswith("Expected numbers"):
                cells = [cell for line in part.splitlines() if line.startswith("|") for cell in line.split("|")[2:]]
                found = [float(number) for cell in cells for number in re.findall(r"(?<![\w-])\d+\.\d+", cell)]
                assert [number for number in found if number not in known] == [], document.name
                counted += len(found)
    assert counted > 100


def write_generated() -> None:
    """Write what the documents repeat of the program."""
    from coca_cli.datasets import DATASETS

    listed = f"```text\n{describe_datasets(DATASETS.entries())}```\n"
    for name, mark, text in (("data-layouts", "layouts", listed), ("recipes", "recipes", f"\n{recipes_text()}")):
        path = ROOT / f"docs/{name}.md"
        before = path.read_text(encoding="utf-8").partition(f"<!-- {mark} -->\n")[0]
        path.write_text(f"{before}<!-- {mark} -->\n{text}", encoding="utf-8")


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """Oxford-IIIT Pet as it is unpacked, with two breeds."""
    root = tmp_path / "data" / "oxford-pets"
    (root / "images").mkdir(parents=True)
    (root / "annotations").mkdir()
    for name, first in (("test", 0), ("trainval", 10)):
        lines = [
            (f"{breed}_{first + n}", label)
            for label, breed in enumerate(("Abyssinian", "great_pyrenees"))
            for n in range(6)
        ]
        (root / "annotations" / f"{name}.txt").write_text("".join(f"{key} {label + 1} 1 1\n" for key, label in lines))
        for key, label in lines:
            picture(label, first).save(root / "images" / f"{key}.jpg")
    shutil.copy(EXAMPLE, tmp_path / "oxford_pets.py")
    return root.parent


def test_the_worked_example_is_a_dataset_like_any_other(pets: Path, tmp_path: Path) -> None:
    save_writer(tmp_path / "model")
    dataset = f"python:{tmp_path}/oxford_pets.py"
    fixed = ("-m", tmp_path / "model", "-d", dataset, "--data-root", pets, "--results", tmp_path / "results")
    assert run("data", "check", dataset, "--data-root", pets) == 0
    assert run("eval", "zeroshot", *fixed) == 0
    stored = [json.loads(line) for line in (tmp_path / "results/results.jsonl").read_text().splitlines()]
    assert {(row["dataset"], row["split"], row["n"]) for row in stored} == {("oxford-pets", "test", 12)}
    assert run("probe", *fixed, "--steps", 4, "--val-part", 0.3) == 0


if __name__ == "__main__":
    write_generated()
