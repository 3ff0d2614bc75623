"""Tables in Markdown and LaTeX, read by a Markdown parser and by LaTeX itself."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from rich.console import Console

from coca_cli.reports.paper_tables import paper_sheet, paper_tables
from coca_cli.reports.rich_sheets import to_rich_sheet
from coca_cli.reports.sheets import Cell, Sheet, to_markdown_sheet
from coca_cli.reports.tables import to_latex, to_latex_document, to_markdown
from tests.reports.rows import make_row, six_rows

NASTY = 'a_b & c% #1 $x$ {y} \\cmd ~^ <|> "q" [z] λ ± † ‡ \u22123 é'
SHEET = Sheet(
    "Odd & ends_",
    ["model", "top-1", "n"],
    [[Cell(NASTY), Cell("1.0", "[0.5, 1.5]", order=1.0), Cell("3")], [Cell("[b]"), Cell("2.0", best=True), Cell("")]],
    2,
    ["50 % of it_"],
    [1],
)


def rendered_cells(text: str) -> list[list[str]]:
    """The cells of all tables, as a Markdown renderer sees them."""
    html = MarkdownIt("commonmark").enable("table").render(text)
    rows = re.findall(r"<tr>(.*?)</tr>", html, re.DOTALL)
    return [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL) for row in rows]


def test_markdown_renders_to_the_same_cells() -> None:
    cells = rendered_cells(to_markdown_sheet(SHEET))
    assert [len(line) for line in cells] == [3, 3, 3]
    assert cells[0] == ["model", "top-1", "n"]
    assert cells[1][1] == "1.0 [0.5, 1.5]"
    assert cells[2][1] == "<strong>2.0</strong>"
    assert cells[1][0].startswith("a_b &amp; c% #1 $x$ {y} \\cmd ~^ &lt;|&gt;")


def test_markdown_of_results_and_of_the_papers_tables_renders() -> None:
    rows = [*six_rows(), make_row(model="a|b")]
    assert {len(line) for line in rendered_cells(to_markdown(rows))} == {7}
    for table in paper_tables(rows):
        sheet = paper_sheet(table, "CoCa-Large")
        cells = rendered_cells(to_markdown_sheet(sheet))
        assert {len(line) for line in cells} == {len(sheet.header)}
        assert len(cells) == 1 + len(sheet.lines)


def test_the_best_of_a_set_is_bold() -> None:
    rows = [make_row(value=1.0), make_row(value=2.0, model="other"), make_row(value=9.0, dataset="digits")]
    assert re.findall(r"\*\*(.*?)\*\*", to_markdown(rows)) == ["2.00"]
    ranks = [make_row(metric="image-to-text mean rank", value=v, model=m) for v, m in ((3.0, "a"), (8.0, "b"))]
    assert re.findall(r"\*\*(.*?)\*\*", to_markdown(ranks)) == ["3.00"]


def documents() -> dict[str, str]:
    rows = [*six_rows(), make_row(model=NASTY), make_row(task="caption", dataset="coco", split="test", metric="CIDEr")]
    tables = [paper_sheet(table, "CoCa-Large") for table in paper_tables(rows)]
    return {
        "results": to_latex(rows),
        "paper": to_latex_document(tables, "a note with 50 %"),
        "odd": to_latex_document([SHEET], ""),
    }


@pytest.mark.parametrize("name", ["results", "paper", "odd"])
def test_latex_is_balanced_and_every_line_has_all_columns(name: str) -> None:
    text = documents()[name]
    for table in re.findall(r"\\begin{table}.*?\\end{table}", text, re.DOTALL):
        found = re.search(r"\\begin{tabular}{(l+)(r+)}\n(.*?)\\end{tabular}", table, re.DOTALL)
        assert found is not None
        lines = [line for line in found[3].splitlines() if line.endswith(r"\\")]
        assert {len(re.findall(r"(?<!\\)&", line)) for line in lines} == {len(found[1] + found[2]) - 1}
        assert [len(re.findall(rule, table)) for rule in (r"\\toprule", r"\\bottomrule", r"\\caption")] == [1, 1, 1]
        bare = re.sub(r"\\[{}]", "", table)
        assert bare.count("{") == bare.count("}")
        assert all(letter.isascii() or 0xC0 <= ord(letter) < 0x180 for letter in table)


@pytest.mark.parametrize("name", ["results", "paper", "odd"])
def test_latex_compiles(name: str, tmp_path: Path) -> None:
    if shutil.which("pdflatex") is None or not _has_booktabs():
        pytest.skip("no pdflatex with booktabs on this machine")
    (tmp_path / "table.tex").write_text(documents()[name])
    paper = "\\documentclass{article}\\usepackage{booktabs}\\usepackage[T1]{fontenc}\\begin{document}\\input{table}"
    (tmp_path / "paper.tex").write_text(paper + "\\end{document}\n")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout.decode(errors="replace")[-2000:]
    assert (tmp_path / "paper.pdf").stat().st_size > 10_000


def _has_booktabs() -> bool:
    found = subprocess.run(["kpsewhich", "booktabs.sty"], capture_output=True, check=False)
    return found.returncode == 0


@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_a_terminal_of_any_width_shows_every_value(width: int) -> None:
    (table,) = paper_tables(six_rows())
    sheet = paper_sheet(table, "CoCa-Large")
    console = Console(width=width, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    with console.file:
        console.print(to_rich_sheet(sheet, width))
        text = console.export_text()
    assert max(map(len, text.splitlines())) <= width
    for value in ("86.3", "60.0", "46.0", "-24.8*", "49.3"):
        assert value in text
    assert ("[59.5, 60.5]" in text) == (width == 200)
