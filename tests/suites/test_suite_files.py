"""Suite files: the shipped ones, a user's own, and all that is wrong with some."""

from __future__ import annotations

from pathlib import Path

import pytest

from coca_cli.datasets import find_dataset
from coca_cli.errors import BadExample, CocaError, MissingFile, UnknownName
from coca_cli.suites.suite_files import Suite, choose_entries, read_suite, suite_names, suite_text

PAPER = {
    "paper-zeroshot": ["imagenet", "imagenet-a", "imagenet-r", "imagenet-v2", "imagenet-sketch", "objectnet"],
    "paper-retrieval": ["flickr30k", "coco"],
    "paper-captioning": ["coco", "nocaps", "nocaps"],
    "paper-understanding": ["vqav2", "vqav2", "vqav2", "snli-ve", "snli-ve", "nlvr2", "nlvr2"],
    "paper-video": ["kinetics-400", "kinetics-600", "kinetics-700", "moments-in-time", "msrvtt"],
    "paper-probe": ["imagenet"],
}


def written(folder: Path, text: str, name: str = "mine.toml") -> str:
    path = folder / name
    path.write_text(text)
    return str(path)


def named(suite: Suite) -> list[str]:
    return [f"{entry.task} {entry.dataset}" for entry in suite.entries]


def test_the_shipped_suites() -> None:
    assert set(suite_names()) == {*PAPER, "all", "smoke"}
    for name in suite_names():
        suite = read_suite(name)
        assert suite.title
        for entry in suite.entries:
            assert find_dataset(entry.dataset).splits


@pytest.mark.parametrize("name", PAPER)
def test_the_papers_tables(name: str) -> None:
    assert [entry.dataset for entry in read_suite(name).entries] == PAPER[name]


def test_all_has_each_of_the_papers_suites_once() -> None:
    assert sorted(named(read_suite("all"))) == sorted(entry for name in PAPER for entry in named(read_suite(name)))


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    text = """
        title = "Mine"
        models = ["runs/a"]
        include = ["paper-probe"]
        [defaults]
        limit = 10
        [[benchmark]]
        task = "retrieval"
        dataset = "captions:my.csv"
        prompt = "a photo of {}"
    """
    suite = read_suite(written(tmp_path, text))
    assert (suite.name, suite.title, suite.models) == ("mine", "Mine", ("runs/a",))
    assert named(suite) == ["probe imagenet", "retrieval captions:my.csv"]
    own = suite.entries[1]
    assert (own.options, own.defaults) == ({"prompt": "a photo of {}"}, {"limit": 10})
    assert own.where.endswith("mine.toml, benchmark 1 (retrieval captions:my.csv)")
    assert suite.entries[0].defaults == {}, "what a file says of all its benchmarks is not said of included ones"


def test_a_suite_that_includes_another_file_and_itself(tmp_path: Path) -> None:
    inner = written(tmp_path, '[[benchmark]]\ntask = "zeroshot"\ndataset = "digits"\n', "inner.toml")
    outer = written(tmp_path, f'include = ["{inner}", "{inner}"]', "outer.toml")
    assert named(read_suite(outer)) == ["zeroshot digits", "zeroshot digits"]
    round_ = tmp_path / "round.toml"
    round_.write_text(f'include = ["{round_}"]')
    with pytest.raises(BadExample, match="includes itself: take that out of include"):
        read_suite(str(round_))


BENCHMARK = "[[benchmark]]\n"


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("title = ", BadExample, "mine.toml is not TOML: "),
        ('tittle = "x"', UnknownName, "says what suites do not: unknown key 'tittle'. Did you mean title?"),
        ('title = "x"', BadExample, r"lists no benchmark: write \[\[benchmark\]\] with task and dataset below it"),
        ("include = 'all'", BadExample, "include is a list of names, such as include ="),
        ("models = [1]", BadExample, "models is a list of names, such as models ="),
        ("benchmark = 1", BadExample, r"benchmarks stand in tables of their own, each below a line \[\[benchmark\]\]"),
        ("defaults = 1", BadExample, r"the options of all benchmarks stand below a line \[defaults\]"),
        (BENCHMARK + 'task = "zeroshot"', BadExample, 'benchmark 1 needs dataset = "NAME"; it has None'),
        (BENCHMARK + 'dataset = "digits"\ntask = 1', BadExample, 'benchmark 1 needs task = "NAME"; it has 1'),
        (
            BENCHMARK + 'dataset = "digits"\ntask = "zero-shot"',
            UnknownName,
            "benchmark 1 is of a task that suites have not: unknown task 'zero-shot'. Did you mean zeroshot?",
        ),
        ('include = ["paper"]', UnknownName, "unknown suite 'paper'"),
    ],
)
def test_what_is_wrong_with_a_file(tmp_path: Path, text: str, kind: type[CocaError], message: str) -> None:
    with pytest.raises(kind, match=message):
        read_suite(written(tmp_path, text))


def test_suites_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match=r"unknown suite 'paper-zeroshoot'\. Did you mean paper-zeroshot"):
        read_suite("paper-zeroshoot")
    with pytest.raises(MissingFile, match=r"cannot read the suite .*there\.toml: No such file.*or one of all, paper-"):
        suite_text(str(tmp_path / "there.toml"))
    (tmp_path / "bytes.toml").write_bytes(b'title = "\xff"')
    with pytest.raises(BadExample, match=r"is not UTF-8 text \(invalid start byte\): save it as UTF-8"):
        suite_text(str(tmp_path / "bytes.toml"))


@pytest.mark.parametrize(
    ("pattern", "count"), [(None, 5), ("kinetics", 3), ("probe*", 4), ("retrieval msrvtt", 1), ("*-[46]00", 2)]
)
def test_a_part_of_a_suite(pattern: str | None, count: int) -> None:
    assert len(choose_entries(read_suite("paper-video"), pattern)) == count


@pytest.mark.parametrize("pattern", ["imagenet", "zeroshot imagenet"])
def test_a_whole_name_means_itself_alone(pattern: str) -> None:
    assert [entry.dataset for entry in choose_entries(read_suite("paper-zeroshot"), pattern)] == ["imagenet"]


def test_no_part_of_a_suite() -> None:
    with pytest.raises(CocaError, match=r"no benchmark of paper-probe matches --only 'coco'\. It has: probe imag"):
        choose_entries(read_suite("paper-probe"), "coco")
