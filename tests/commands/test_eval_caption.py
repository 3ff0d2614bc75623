"""`coca eval caption` as a user runs it: a model or a file of captions, sets with holes and domains, refusals."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

from coca_cli.datasets.scenes import draw_scene
from coca_cli.model.coca import CoCa
from coca_cli.store import Store
from coca_cli.tasks import caption_eval_run, caption_scores
from coca_cli.tasks.caption_scores import CaptionScores, cider_of
from coca_cli.tasks.intervals import Estimate
from coca_cli.tasks.java_scorers import HOW_TO_GET_SPICE, find_java
from tests.commands.running import run
from tests.commands.test_eval_retrieval import write_clip
from tests.pictures import drawn, jpeg_bytes
from tests.tasks.test_java_scorers import program, quick_meteor  # noqa: F401  (a fixture)
from tests.tasks.writer import save_writer

pytestmark = pytest.mark.usefixtures("quick_meteor")

METRICS = ("CIDEr", "BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "METEOR", "ROUGE-L")
LIMIT = 20


class Ended(NamedTuple):
    """An evaluation of a model on scenes."""

    results: Path
    out: str
    err: str
    rows: dict[str, dict[str, object]]
    captions: Path

    @property
    def written(self) -> list[dict[str, str]]:
        found: list[dict[str, str]] = json.loads(self.captions.read_text())
        return found


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny CoCa of random weights that writes words."""
    return save_writer(tmp_path_factory.mktemp("models") / "writer")


@pytest.fixture(scope="module", autouse=True)
def _no_spice() -> Iterator[None]:
    """Whether or not its models lie on this machine: it takes minutes."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (caption_scores, caption_eval_run):
            patch.setattr(module, "spice_is_there", lambda: False)
        yield


@pytest.fixture(scope="module")
def scenes(model: Path, tmp_path_factory: pytest.TempPathFactory, quick_meteor: Path) -> Ended:  # noqa: F811
    """The model's captions of 20 scenes, scored."""
    results = tmp_path_factory.mktemp("results")
    with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err:
        assert evaluate(results, "-m", model, "-d", "scenes", "--limit", LIMIT) == 0
    (captions,) = (results / "captions").iterdir()
    return Ended(results, out.getvalue(), err.getvalue(), rows(results), captions)


@pytest.fixture
def no_java(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, str]]:
    """What was scored, in place of Java programs."""
    asked: list[dict[str, str]] = []

    class Asked(NamedTuple):
        candidates: dict[str, str]

        def part(self, names: Sequence[str]) -> Asked:
            return Asked({name: self.candidates[name] for name in names})

    def measure(candidates: Mapping[str, str], references: Mapping[str, Sequence[str]], java: str) -> Asked:
        assert candidates.keys() <= references.keys()
        return Asked(dict(candidates))

    def score(measured: Asked, *, seed: int) -> CaptionScores:
        asked.append(measured.candidates)
        each = {metric: np.full(len(measured.candidates), 0.5) for metric in METRICS}
        return CaptionScores({metric: Estimate(0.5, 0.25, 0.75) for metric in METRICS}, each)

    monkeypatch.setattr(caption_eval_run, "measure_captions", measure)
    monkeypatch.setattr(caption_eval_run, "scores_of", score)
    return asked


def evaluate(results: Path, *words: object) -> int:
    search = ("--precision", "fp32", "--max-length", 8)
    return run("eval", "caption", "--results", results, "--cache-dir", results / "cache", *search, *words)


def rows(results: Path) -> dict[str, dict[str, object]]:
    found = [json.loads(line) for line in (results / "results.jsonl").read_text().splitlines()]
    return {str(row["metric"]): row for row in found}


def save(path: Path, captions: Sequence[Mapping[str, object]]) -> Path:
    path.write_text(json.dumps(captions))
    return path


def score_scenes(results: Path, captions: Path, *words: object) -> int:
    return evaluate(results, "--captions", captions, "-d", "scenes", "--limit", LIMIT, *words)


def test_a_model_writes_and_is_scored(scenes: Ended) -> None:
    assert list(scenes.rows) == list(METRICS)
    for row in scenes.rows.values():
        assert (row["task"], row["dataset"], row["split"], row["n"], row["skipped"]) == (
            *("caption", "scenes", "test", LIMIT, 0),
        )
        assert (row["model"], row["device"], row["precision"]) == ("writer", "cpu", "fp32")
        assert 0 <= float(str(row["low"])) <= float(str(row["value"])) <= float(str(row["high"])) <= 1000
    assert float(str(scenes.rows["CIDEr"]["value"])) > 0.1
    assert float(str(scenes.rows["ROUGE-L"]["value"])) > 5
    assert "CIDEr" in scenes.out
    assert f"captions: {scenes.captions}" in scenes.err.replace("\n", "")
    assert "Traceback" not in scenes.err
    (run_file,) = (scenes.results / "runs").glob("*.json")
    settings = json.loads(run_file.read_text())["settings"]
    assert (settings["limit"], settings["writing"]["decoding"]["max_length"]) == (LIMIT, 8)


def test_the_models_captions_are_kept_as_cocos_results(scenes: Ended) -> None:
    assert [row["image_id"] for row in scenes.written] == [f"scene-test-{n:04d}" for n in range(LIMIT)]
    assert all(set(row) == {"image_id", "caption"} for row in scenes.written)
    assert len({row["caption"] for row in scenes.written}) > LIMIT / 2
    candidates = {row["image_id"]: row["caption"] for row in scenes.written}
    references = {name: draw_scene("test", n).captions for n, name in enumerate(candidates)}
    cider = cider_of(candidates, references, find_java(None))
    assert scenes.rows["CIDEr"]["value"] == pytest.approx(100 * cider, abs=1e-9)


def test_the_captions_from_their_file_score_the_same_with_no_java_on_the_machine(
    scenes: Ended, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    assert score_scenes(tmp_path, scenes.captions, "--format", "json") == 0
    found = rows(tmp_path)
    assert list(found) == list(METRICS)
    for metric in METRICS:
        for column in ("value", "low", "high", "n", "split"):
            assert found[metric][column] == scenes.rows[metric][column]
        assert (found[metric]["model"], found[metric]["device"]) == (scenes.captions.name, "")
    out, err = capsys.readouterr()
    printed = json.loads(out)
    assert [row["metric"] for row in printed] == list(METRICS)
    assert [row["value"] for row in printed] == [row["value"] for row in found.values()]
    assert "captions: " not in err
    assert not (tmp_path / "captions").exists()


def test_the_second_run_takes_no_forward_pass_and_goes_where_it_is_told(
    scenes: Ended, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_java: list[dict[str, str]]
) -> None:
    monkeypatch.setattr(CoCa, "encode_image", lambda *_: pytest.fail("the model was asked again"))
    words = ("-m", model, "-d", "scenes", "--limit", LIMIT, "--cache-dir", scenes.results / "cache")
    assert evaluate(tmp_path, *words, "--save", tmp_path / "mine" / "written.json") == 0
    assert (tmp_path / "mine" / "written.json").read_bytes() == scenes.captions.read_bytes()
    assert not (tmp_path / "captions").exists()
    assert no_java == [{row["image_id"]: row["caption"] for row in scenes.written}]


def test_a_part_is_scored_only_when_asked(
    scenes: Ended, tmp_path: Path, no_java: list[dict[str, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    part = save(tmp_path / "part.json", scenes.written[:3] + scenes.written[6:])
    assert score_scenes(tmp_path, part) == 1
    err = capsys.readouterr().err
    assert "part.json has captions for 17 of the 20 pictures of scenes test; scene-test-0003, scene-test-0004, " in err
    assert "scene-test-0005 lack one. With --partial only the others are scored, which is another number" in err
    assert not (tmp_path / "results.jsonl").exists()
    assert score_scenes(tmp_path, part, "--partial") == 0
    assert {(row["n"], row["split"]) for row in rows(tmp_path).values()} == {(17, "test, 17 of 20 pictures")}
    assert [len(candidates) for candidates in no_java] == [17]
    assert score_scenes(tmp_path, save(tmp_path / "none.json", []), "--partial") == 1
    assert "none.json has no captions: write some with coca caption" in capsys.readouterr().err


def test_captions_that_do_not_fit_are_told(scenes: Ended, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    twice = save(tmp_path / "twice.json", [*scenes.written, scenes.written[4]])
    assert score_scenes(tmp_path, twice) == 1
    assert "twice.json has two captions for the picture scene-test-0004" in capsys.readouterr().err
    other = save(tmp_path / "other.json", [*scenes.written, {"image_id": 139, "caption": "a dog"}])
    assert score_scenes(tmp_path, other) == 1
    assert "other.json has captions for 1 pictures that are not in this split, such as 139" in capsys.readouterr().err
    assert score_scenes(tmp_path, tmp_path / "nowhere.json") == 1
    assert "cannot read the captions " in capsys.readouterr().err
    assert score_scenes(tmp_path, save(tmp_path / "odd.json", [{"image_id": 1}])) == 1
    assert "without a picture's id or words" in capsys.readouterr().err


def test_empty_captions_are_counted_and_named(
    scenes: Ended, tmp_path: Path, no_java: list[dict[str, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    one = [{**row, "caption": " " if n == 2 else row["caption"]} for n, row in enumerate(scenes.written)]
    assert score_scenes(tmp_path, save(tmp_path / "one.json", one)) == 0
    message = "warning: 1 caption is empty and scores 0: scene-test-0002"
    assert message in capsys.readouterr().err
    four = [{**row, "caption": "" if n < 4 else row["caption"]} for n, row in enumerate(scenes.written)]
    assert score_scenes(tmp_path, save(tmp_path / "four.json", four), "--quiet") == 0
    named = "scene-test-0000, scene-test-0001, scene-test-0002\n"
    assert f"4 captions are empty and score 0: {named}" in capsys.readouterr().err
    assert no_java[1]["scene-test-0000"] == ""


def test_captions_of_odd_characters_are_scored(scenes: Ended, tmp_path: Path) -> None:
    odd = ("\ud800 digit", "a\u2028digit", "日本", "a\x00digit", "|||")
    captions = [{**row, "caption": odd[n % 5]} for n, row in enumerate(scenes.written)]
    assert score_scenes(tmp_path, save(tmp_path / "odd.json", captions)) == 0
    assert rows(tmp_path)["BLEU-1"]["n"] == LIMIT


def test_one_picture_alone_is_not_scored(scenes: Ended, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = save(tmp_path / "one.json", scenes.written[:1])
    assert evaluate(tmp_path, "--captions", one, "-d", "scenes", "--limit", 1) == 1
    assert "one picture alone cannot be scored: CIDEr weighs words by the other pictures" in capsys.readouterr().err
    assert score_scenes(tmp_path, one, "--partial") == 1
    assert "one picture alone" in capsys.readouterr().err
    assert not (tmp_path / "results.jsonl").exists()


def test_how_to_get_spice_is_said_where_it_is_left_out(scenes: Ended) -> None:
    assert HOW_TO_GET_SPICE in scenes.err


def test_spice_is_scored_where_its_models_are(
    scenes: Ended, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for module in (caption_scores, caption_eval_run):
        monkeypatch.setattr(module, "spice_is_there", lambda: True)
    found = np.array([math.nan, *np.linspace(0, 0.5, LIMIT - 1)])
    monkeypatch.setattr(caption_scores, "spice_scores", lambda *_: found)
    assert score_scenes(tmp_path, scenes.captions) == 0
    assert list(rows(tmp_path)) == [*METRICS, "SPICE"]
    assert rows(tmp_path)["SPICE"]["value"] == pytest.approx(100 * np.nansum(found) / LIMIT)
    assert rows(tmp_path)["CIDEr"]["value"] == scenes.rows["CIDEr"]["value"]
    assert "SPICE is left out" not in capsys.readouterr().err


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Twenty-four pictures in two folders with the same names, one of them damaged, with two captions each."""
    folder = tmp_path / "captioned"
    lines = []
    for number in range(24):
        path = folder / f"{'ab'[number % 2]}" / f"{number // 2}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg_bytes(drawn(number, (40, 40)))[: 200 if number == 5 else None])
        captions = [f"a large digit {number} in black", "nothing else on white"]
        lines.append(json.dumps({"image": path.relative_to(folder).as_posix(), "caption": captions}))
    (folder / "captions.jsonl").write_text("\n".join(lines))
    return folder / "captions.jsonl"


def test_what_coca_caption_writes_of_a_sets_pictures_scores_as_the_model_does(
    model: Path, table: Path, tmp_path: Path, no_java: list[dict[str, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    """A damaged picture is left out and named; file names that two folders share are told apart."""
    assert evaluate(tmp_path / "one", "-m", model, "-d", f"captions:{table}") == 0
    assert "warning: left out: " in capsys.readouterr().err
    row = rows(tmp_path / "one")["CIDEr"]
    assert (row["n"], row["skipped"], row["value"], row["low"], row["high"]) == (23, 1, 50, 25, 75)
    (run_file,) = (tmp_path / "one" / "runs").glob("*.json")
    assert [each["id"] for each in json.loads(run_file.read_text())["skipped"]] == ["b/2.jpg"]
    search = ("-m", model, "--precision", "fp32", "--max-length", 8, "--no-cache")
    for name in ("mine.jsonl", "mine.csv"):
        assert run("caption", table.parent, "-o", tmp_path / name, *search) == 0
        words = ("--captions", tmp_path / name, "-d", f"captions:{table}", "--partial")
        assert evaluate(tmp_path / "other", *words) == 0
    assert no_java[0] == no_java[1] == no_java[2]
    assert len(no_java[0]) == 23
    assert evaluate(tmp_path / "one", "-m", model, "-d", f"captions:{table}", "--strict", "--no-cache") == 1
    assert "Stopped because of --strict" in capsys.readouterr().err


def test_a_set_deep_in_the_disk_gives_its_captions_a_name_that_fits(
    model: Path, table: Path, tmp_path: Path, no_java: list[dict[str, str]]
) -> None:
    deep = tmp_path.joinpath("a" * 120, "b" * 120)
    deep.parent.mkdir()
    table.parent.rename(deep)
    words = ("-m", model, "-d", f"captions:{deep}/captions.jsonl", "--limit", 4)
    assert evaluate(tmp_path, *words) == 0
    (captions,) = (tmp_path / "captions").iterdir()
    assert "captions.jsonl-all-writer-" in captions.name
    assert captions.suffix == ".json"
    assert len(no_java[0]) == 4


def test_clips_that_are_missing_are_left_out_and_named(
    model: Path, tmp_path: Path, no_java: list[dict[str, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(2):
        write_clip(tmp_path / "v" / f"{number}.mp4", number)
    lines = [json.dumps({"video": f"{number}.mp4", "caption": f"a {number}"}) for number in range(3)]
    (tmp_path / "v" / "captions.jsonl").write_text("\n".join(lines))
    words = ("-m", model, "-d", f"videos:{tmp_path}/v/captions.jsonl", "--frames", 2)
    assert evaluate(tmp_path, *words) == 0
    assert "warning: 1 of 3 clips are not there and are left out" in capsys.readouterr().err
    row = rows(tmp_path)["METEOR"]
    assert (row["split"], row["n"], row["skipped"]) == ("all, 2 of 3 clips", 2, 1)
    (run_file,) = (tmp_path / "runs").glob("*.json")
    settings = json.loads(run_file.read_text())["settings"]
    assert settings["frames"]["frames"] == 2
    assert settings["absent"] == ["2.mp4"]


DOMAINS = ("in-domain", "near-domain", "out-domain")


@pytest.fixture
def nocaps(tmp_path: Path) -> Path:
    """A data root with a small nocaps: six pictures in three domains, and two whose captions are kept back."""
    folder = tmp_path / "data" / "nocaps"
    for split in ("val", "test"):
        (folder / split).mkdir(parents=True)
    pictures = [
        {"id": n, "file_name": f"{n:016x}.jpg", "domain": DOMAINS[n % 3], "open_images_id": f"{n:016x}"}
        for n in range(7)
    ]
    pictures[6]["domain"] = "out-domain"
    captions = [
        {"image_id": n, "id": 2 * n + k, "caption": f"a {('large', 'small')[k]} black digit {n} on white"}
        for n in range(7)
        for k in range(2)
    ]
    content = {"images": pictures, "annotations": captions}
    (folder / "nocaps_val_4500_captions.json").write_text(json.dumps(content))
    kept_back = {"images": [{"id": n, "file_name": f"t{n}.jpg"} for n in range(2)]}
    (folder / "nocaps_test_image_info.json").write_text(json.dumps(kept_back))
    for n, picture in enumerate(pictures):
        (folder / "val" / str(picture["file_name"])).write_bytes(jpeg_bytes(drawn(n)))
    for n in range(2):
        (folder / "test" / f"t{n}.jpg").write_bytes(jpeg_bytes(drawn(10 + n)))
    return tmp_path / "data"


def test_each_domain_of_nocaps_is_scored_by_itself_too(model: Path, nocaps: Path, tmp_path: Path) -> None:
    assert evaluate(tmp_path, "-m", model, "-d", "nocaps", "--data-root", nocaps) == 0
    found = rows(tmp_path)
    assert list(found) == [
        f"{group}{metric}" for group in ("", *(f"{each} " for each in DOMAINS)) for metric in METRICS
    ]
    counts = {"": 7, "in-domain ": 2, "near-domain ": 2, "out-domain ": 3}
    assert {group: found[f"{group}CIDEr"]["n"] for group in counts} == counts
    (captions,) = (tmp_path / "captions").iterdir()
    written = {str(row["image_id"]): row["caption"] for row in json.loads(captions.read_text())}
    members = {"": written, "out-domain ": {name: written[name] for name in ("2", "5", "6")}}
    for group, candidates in members.items():
        references = {
            name: [f"a {size} black digit {name} on white" for size in ("large", "small")] for name in written
        }
        cider = cider_of(candidates, references, find_java(None))
        assert found[f"{group}CIDEr"]["value"] == pytest.approx(100 * cider, abs=1e-9)


def test_a_domain_of_one_picture_is_left_out(
    model: Path, nocaps: Path, tmp_path: Path, no_java: list[dict[str, str]]
) -> None:
    assert evaluate(tmp_path, "-m", model, "-d", "nocaps", "--data-root", nocaps, "--limit", 4) == 0
    assert list(rows(tmp_path)) == [*METRICS, *(f"in-domain {metric}" for metric in METRICS)]
    assert [sorted(candidates) for candidates in no_java] == [["0", "1", "2", "3"], ["0", "3"]]


def test_where_captions_are_kept_back_a_file_is_written_and_nothing_scored(
    model: Path, nocaps: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("-d", "nocaps", "--split", "test", "--data-root", nocaps)
    assert evaluate(tmp_path, "-m", model, *words, "--save", tmp_path / "mine.json") == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert f"captions: {tmp_path}/mine.json" in err.replace("\n", "")
    assert "nocaps test keeps its captions back: give this file to its server" in err
    assert [row["image_id"] for row in json.loads((tmp_path / "mine.json").read_text())] == [0, 1]
    assert not (tmp_path / "results.jsonl").exists()
    assert evaluate(tmp_path, "--captions", tmp_path / "mine.json", *words) == 1
    assert (
        "nocaps test has no captions to score with: take another --split, or captions:FILE" in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-d", "scenes"], "give one of --model, which writes captions, and --captions, a file that has them"),
        (["-d", "scenes", "-m", "{model}", "--captions", "a.json"], "give one of --model, which writes captions, and"),
        (
            ["-d", "digits", "-m", "{model}"],
            "digits test has no captions to score with: take another --split, or",
        ),
        (["-d", "scenes", "-m", "{model}", "--split", "tset"], "unknown split of scenes"),
        (["-d", "scenes", "-m", "{model}", "--java", "nonsense"], "--java nonsense: no such program; leave --java out"),
        (["-d", "scenes", "-m", "{model}", "--min-length", "9"], "--min-length 9 is above --max-length 8"),
        (["-d", "sceens", "-m", "{model}"], "unknown dataset"),
        (["-d", "nocaps", "-m", "{model}", "--data-root", "nowhere"], "nowhere"),
    ],
)
def test_mistakes_are_told_before_the_model_is_loaded(
    model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    message: str,
) -> None:
    monkeypatch.setattr("coca_cli.model.checkpoint.load", lambda *_: pytest.fail("the model was loaded"))
    assert evaluate(tmp_path, *(word.format(model=model) for word in words)) == 1
    out, err = capsys.readouterr()
    assert message in err
    assert "Traceback" not in err
    assert out == ""
    assert not (tmp_path / "results.jsonl").exists()


def test_a_java_that_fails_ends_the_run_without_rows_and_with_the_captions(
    model: Path, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    java = program(tmp_path / "java", "#!/bin/sh\necho no such class >&2\nexit 3\n")
    assert evaluate(tmp_path, "-m", model, "-d", f"captions:{table}", "--limit", 4, "--java", java) == 1
    assert f"{java} failed with code 3: no such class. Try another --java, 8 or later" in capsys.readouterr().err
    assert not (tmp_path / "results.jsonl").exists()
    assert len(list((tmp_path / "captions").iterdir())) == 1


def test_a_file_about_the_whole_split_serves_a_part_of_it(tmp_path: Path, no_java: list[dict[str, str]]) -> None:
    whole = [{"image_id": f"scene-test-{n:04d}", "caption": f"caption {n}"} for n in range(30)]
    assert evaluate(tmp_path, "--captions", save(tmp_path / "whole.json", whole), "-d", "scenes", "--limit", 5) == 0
    assert no_java == [{f"scene-test-{n:04d}": f"caption {n}" for n in range(5)}]


def test_captions_of_pictures_without_references_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], no_java: list[dict[str, str]]
) -> None:
    images = [{"id": n, "file_name": f"{n}.jpg"} for n in (1, 2, 3)]
    references = [{"image_id": n, "caption": "a dog"} for n in (1, 2)]
    (tmp_path / "set.json").write_text(json.dumps({"images": images, "annotations": references}))
    for image in images:
        Image.new("RGB", (8, 8)).save(tmp_path / str(image["file_name"]))
    captions = save(tmp_path / "mine.json", [{"image_id": n, "caption": "a cat"} for n in (1, 2, 3)])
    assert evaluate(tmp_path, "--captions", captions, "-d", f"captions:{tmp_path}/set.json") == 1
    assert "there are none by people to compare with, such as 3: drop them" in capsys.readouterr().err
    assert no_java == []


def test_each_captions_score_is_kept(scenes: Ended) -> None:
    store = Store(scenes.results)
    found = store.details(store.runs()[0])
    assert found is not None
    table = found.table("examples")
    assert table is not None
    for metric in ("CIDEr", "ROUGE-L"):
        mean = 100 * sum(map(float, table[metric])) / len(table[metric])
        assert mean == pytest.approx(scenes.rows[metric]["value"], abs=1e-3)
    assert len(found.samples) == 12
    assert all(sample["pictures"] and sample["references"] for sample in found.samples)
    assert [sample["caption"] for sample in found.samples[:1]] == table["caption"][:1]
