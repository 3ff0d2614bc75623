"""For mkdocs: some files of the project beside docs/ are pages, too, and links between them work as on disk."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]
BESIDE = ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "benchmarks/NOTES.md", "benchmarks/README.md")
CONSOLE = re.compile(r"^```console\n(?!\$ )", re.MULTILINE)
"""Command lines without a prompt, which would be coloured as what a program prints."""
LINK = re.compile(r"(?<=\]\()(?!\w+:|#)([^)#\s]+)")


def on_files(files: Any, config: Any) -> Any:
    """Add the files beside docs/."""
    for name in BESIDE:
        files.append(File.generated(config, name, content=(ROOT / name).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Turn links as they are on disk into those of the site, in which the contents of docs/ lie at the top."""
    place = page.file.src_uri
    folder = posixpath.dirname(place if place in BESIDE else f"docs/{place}")

    def moved(found: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(folder, found[1])).removeprefix("docs/")
        return posixpath.relpath(target, posixpath.dirname(place) or ".")

    return LINK.sub(moved, CONSOLE.sub("```bash\n", markdown))
