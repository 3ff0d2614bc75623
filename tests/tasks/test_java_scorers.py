"""The Java programs of caption scoring: found, run anywhere, and their failures told."""

from __future__ import annotations

import gzip
import json
import math
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pycocoevalcap.bleu import bleu_scorer
from pycocoevalcap.tokenizer import ptbtokenizer

from coca_cli.errors import CocaError
from coca_cli.tasks import java_scorers
from coca_cli.tasks.java_scorers import (
    METEOR,
    METEOR_STATISTICS,
    SPICE,
    SPICE_MODELS,
    TOKENIZER,
    find_java,
    meteor_statistics,
    spice_is_there,
    spice_scores,
    tokenise,
)

PACKAGE = Path(bleu_scorer.__file__).parents[1]
PARAPHRASES = ("the big dog", "a large dog"), ("next to", "beside")
SEPARATORS = ("\n", "\r", "\r\n", "\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029", "\t", "\xa0", "  ")


@pytest.fixture(scope="module")
def quick_meteor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with METEOR and few paraphrases: its own 60 MB of them take it ten seconds to read."""
    folder = tmp_path_factory.mktemp("pycocoevalcap")
    (folder / METEOR).parent.mkdir()
    shutil.copyfile(PACKAGE / METEOR, folder / METEOR)  # a link would lead it back to its own table
    (folder / METEOR).parent.joinpath("data").mkdir()
    pairs = (pair for one, other in PARAPHRASES for pair in ((one, other), (other, one)))
    table = "".join(f"0.5\n{one}\n{other}\n" for one, other in pairs)
    (folder / METEOR).parent.joinpath("data", "paraphrase-en.gz").write_bytes(gzip.compress(table.encode()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(java_scorers, "_jar", lambda name: (folder if name == METEOR else PACKAGE) / name)
        yield folder


def program(path: Path, text: str) -> str:
    """A script that stands for a Java."""
    path.write_text(text)
    path.chmod(0o755)
    return str(path)


def files_below(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if "__pycache__" not in path.parts}


def test_the_java_that_comes_with_coca_runs() -> None:
    java = find_java(None)
    assert Path(java).is_file()
    done = subprocess.run([java, "-version"], capture_output=True, text=True, check=True)
    assert "version" in done.stderr


def test_a_java_of_the_users_is_found_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = program(tmp_path / "my-java", "#!/bin/sh\n")
    assert find_java(mine) == mine
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_java("my-java") == mine
    with pytest.raises(CocaError, match="--java no-such-java: no such program; leave --java out to use the one that"):
        find_java("no-such-java")


def test_captions_become_lower_case_words_without_punctuation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With neither a Java nor a language on the machine, and without a file in the package's folder."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("LC_ALL", "C")
    before = files_below(PACKAGE)
    captions = [
        "A dog's bone, isn't it?",
        "",
        "... ! ?",
        "Ein ÖL-Kännchen (日本)",
        "1 1/2 cups",
        "a ||| b",
        "\ud800 bus",
        "",
    ]
    assert tokenise(find_java(None), captions) == [
        *("a dog 's bone is n't it", "", "", "ein öl-kännchen -lrb- 日本 -rrb-"),
        *("1\xa01/2 cups", "a | | | b", "bus", ""),
    ]
    assert files_below(PACKAGE) == before
    assert before


def test_no_captions_need_no_java() -> None:
    assert tokenise("no-such-java", []) == []


@pytest.mark.peer
def test_line_separators_shift_no_other_caption_as_they_do_in_pycocoevalcap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    captions = [text for odd in SEPARATORS for text in ("one dog", f"a{odd}b", "two cats")]
    assert tokenise(find_java(None), captions) == ["one dog", "a b", "two cats"] * len(SEPARATORS)
    (tmp_path / Path(TOKENIZER).name).symlink_to(PACKAGE / TOKENIZER)
    monkeypatch.setattr(ptbtokenizer, "__file__", str(tmp_path / "ptbtokenizer.py"))  # it writes where it lies
    monkeypatch.setenv("PATH", str(Path(find_java(None)).parent))
    misled = ptbtokenizer.PTBTokenizer().tokenize({n: [{"caption": text}] for n, text in enumerate(captions[3:6])})
    assert misled == {0: ["one dog"], 1: ["a"], 2: ["b"]}


def test_alignments_count_what_matches(quick_meteor: Path) -> None:
    before = files_below(PACKAGE)
    candidates = ["a dog runs", "", "the cats run", "the big dog", "öl", "no match"]
    references = [
        ["two buses", "a dog runs fast"],
        ["a bus"],
        ["a cat run"],
        ["a large dog"],
        ["öl"],
        ["a bus ||| no match"],
    ]
    found = meteor_statistics(find_java(None), candidates, references)
    assert found.shape == (6, METEOR_STATISTICS)
    assert found[:, 0].tolist() == [3, 0, 3, 3, 1, 2]  # words of the candidate
    assert found[:, 1].tolist() == [4, 2, 3, 3, 1, 4]  # and of the reference that fits it best
    assert found[:, 21].tolist() == [3, 0, 2, 3, 1, 2]  # of which match
    content = found[:, 4:20:4]  # of the candidate by matcher: exact, stem, synonym, paraphrase
    assert content[0].tolist() == [2, 0, 0, 0]
    assert content[2].tolist() == [1, 1, 0, 0]
    assert content[3, 3] == 2
    assert files_below(PACKAGE) == before


@pytest.mark.slow
def test_meteors_own_table_of_paraphrases_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(java_scorers, "_jar", lambda name: PACKAGE / name)
    (found,) = meteor_statistics(find_java(None), ["dogs in front of the bus"], [["dogs before a bus"]])
    assert found[16] + found[18] > 0
    assert found[21] > found[4] + found[6]


@pytest.mark.parametrize(
    ("script", "message"),
    [
        (
            "#!/bin/sh\necho one >&2\necho last words >&2\nexit 3\n",
            "failed with code 3: last words. Try another --java",
        ),
        ("#!/bin/sh\nexit 4\n", "failed with code 4: it says nothing. Try another --java, 8 or later"),
        ("no program at all", "cannot be run (Exec format error); name a Java with --java"),
        ("#!/bin/sh\necho one\n", "the tokenizer gave 1 lines for 2 captions; try another --java"),
        ("#!/bin/sh\necho\necho\necho\n", "the tokenizer gave 3 lines for 2 captions; try another --java"),
    ],
)
def test_a_java_that_is_none_is_told(tmp_path: Path, script: str, message: str) -> None:
    java = program(tmp_path / "java", script)
    with pytest.raises(CocaError) as refused:
        tokenise(java, ["a dog", "a cat"])
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("script", "count"),
    [
        ("#!/bin/sh\ncat > /dev/null\necho 1 2 3\necho 1 2 3\n", 2),
        ("#!/bin/sh\ncat > /dev/null\n", 0),
        ("#!/bin/sh\ncat > /dev/null\nseq -s ' ' 23\n", 1),
    ],
)
def test_a_meteor_that_says_too_little_is_told(tmp_path: Path, script: str, count: int) -> None:
    java = program(tmp_path / "java", script)
    with pytest.raises(CocaError, match=f"METEOR gave {count} alignments for 2 captions; try another --java"):
        meteor_statistics(java, ["a dog", "a cat"], [["a"], ["b"]])


FAKE_SPICE = """\
#!{python}
import json, sys
words = sys.argv[1:]
given, out = words[words.index("-jar") + 2], words[words.index("-out") + 1]
rows = json.load(open(given, encoding="utf-8"))
open({log!r}, "w").write(json.dumps([words, rows]))
scores = {{"one": 0.5, "two": None, "three": 0.25}}
found = [{{"image_id": row["image_id"], "scores": {{"All": {{"f": scores[row["image_id"]]}}}}}} for row in rows]
json.dump(found[::-1], open(out, "w"))
"""


def test_spices_scores_are_taken_by_id_and_its_cache_may_look_into_java(tmp_path: Path) -> None:
    log = tmp_path / "log.json"
    java = program(tmp_path / "java", FAKE_SPICE.format(python=sys.executable, log=str(log)))
    candidates = {"one": "a dog", "two": "", "three": "öl"}
    references = {"three": ["ein öl"], "one": ["the dog", "a cat"], "two": ["a bus"]}
    found = spice_scores(java, candidates, references)
    assert found[[0, 2]].tolist() == [0.5, 0.25]
    assert math.isnan(found[1])
    words, rows = json.loads(log.read_text())
    assert rows == [{"image_id": name, "test": candidates[name], "refs": references[name]} for name in candidates]
    for name in ("lang", "util", "math"):
        assert f"--add-opens=java.base/java.{name}=ALL-UNNAMED" in words[: words.index("-jar")]
    assert words[words.index("-jar") + 1] == str(PACKAGE / SPICE)


def test_spice_is_there_once_its_models_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(java_scorers, "_jar", lambda name: tmp_path / name)
    assert not spice_is_there()
    (tmp_path / SPICE_MODELS).parent.mkdir(parents=True)
    (tmp_path / SPICE_MODELS).write_bytes(b"")
    assert spice_is_there()
