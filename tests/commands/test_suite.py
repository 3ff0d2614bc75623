"""`coca suite` as a user runs it: the same rows as one by one, what is kept, what is missing, what fails."""

from __future__ import annotations

import io
import json
import os
import shlex
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from safetensors.torch import load_file, save_file

from coca_cli.errors import CocaError
from coca_cli.model.coca import CoCa
from coca_cli.suites import candidates, running
from coca_cli.suites.suite_files import TASKS
from coca_cli.tasks import caption_eval_run, caption_scores, retrieval_run, zeroshot_run
from coca_cli.training import probe_run
from tests.commands.running import run
from tests.datasets.make_samples import SAMPLES
from tests.pictures import drawn, jpeg_bytes
from tests.suites.small_models import COMMANDS, EVERY_TASK, save_heads
from tests.tasks.test_java_scorers import quick_meteor  # noqa: F401  (a fixture)
from tests.tasks.writer import save_writer

TWO = """
[defaults]
limit = 6
precision = "fp32"
[[benchmark]]
task = "zeroshot"
dataset = "digits"
[[benchmark]]
task = "retrieval"
dataset = "scenes"
"""


class Ended(NamedTuple):
    """A whole suite, run."""

    folder: Path
    file: Path
    words: tuple[object, ...]
    out: str
    err: str

    @property
    def results(self) -> Path:
        return self.folder / "results"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return save_heads(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module", autouse=True)
def _no_spice() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for module in (caption_scores, caption_eval_run):
            patch.setattr(module, "spice_is_there", lambda: False)
        yield


@pytest.fixture(scope="module")
def whole(
    models: dict[str, Path],
    tmp_path_factory: pytest.TempPathFactory,
    quick_meteor: Path,  # noqa: F811
) -> Ended:
    """Every task with the model that fits it."""
    folder = tmp_path_factory.mktemp("suite")
    file = folder / "every.toml"
    file.write_text(EVERY_TASK)
    named = [word for model in models.values() for word in ("-m", model)]
    words = ("suite", "run", file, *named, "--cache-dir", folder / "cache", "--results", folder / "results")
    with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err:
        assert run(*words) == 0
    return Ended(folder, file, words, out.getvalue(), err.getvalue())


@pytest.fixture
def two(tmp_path: Path) -> Path:
    """A suite of two benchmarks for one model."""
    file = tmp_path / "two.toml"
    file.write_text(TWO)
    return file


def suite(file: object, work: Path, *more: object) -> int:
    return run("suite", "run", file, "--cache-dir", work / "cache", "--results", work / "results", *more)


def rows(results: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (results / "results.jsonl").read_text().splitlines()]


def tasks_of(results: Path) -> list[str]:
    return list(dict.fromkeys(row["task"] for row in rows(results)))


def refuse(*_: object, **__: object) -> Any:
    pytest.fail("this should not run")


# --- the same as one by one ---


@pytest.mark.parametrize("task", TASKS)
def test_a_suite_gives_the_rows_of_the_command(
    whole: Ended, models: dict[str, Path], tmp_path: Path, task: str
) -> None:
    model = {"classification": "judge", "understanding": "answers"}.get(task, "writer")
    words = [*shlex.split(COMMANDS[task]), "-m", models[model], "--precision", "fp32", "--workers", 1]
    assert run(*words, "--results", tmp_path / "results", *(["--no-cache"] if task != "understanding" else [])) == 0
    timely = ("seconds", "when")
    expected, found = (
        [{k: v for k, v in row.items() if k not in timely} for row in rows(results) if row["task"] == task]
        for results in (tmp_path / "results", whole.results)
    )
    assert expected
    assert found == expected


def test_what_is_printed(whole: Ended) -> None:
    for task in TASKS:
        assert f"\n{task}\n" in f"\n{whole.out}"
    assert "6 to do, 0 kept; an estimate of the time: " in whole.err
    assert "1 of 6  zeroshot digits " in whole.err
    assert "6 of 6  understanding scene-questions " in whole.err
    assert "answers: " in whole.err


def test_each_model_is_loaded_once(
    models: dict[str, Path], two: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[str] = []
    load = candidates.load

    def count(name: str, *more: Any) -> Any:
        loaded.append(name)
        return load(name, *more)

    monkeypatch.setattr(candidates, "load", count)
    other = save_writer(tmp_path / "other", seed=3)
    assert suite(two, tmp_path, "-m", models["writer"], "-m", other, "--limit", 4) == 0
    assert loaded == [str(models["writer"]), str(other)]
    assert len({(row["checkpoint"], row["task"]) for row in rows(tmp_path / "results")}) == 4
    assert {row["n"] for row in rows(tmp_path / "results") if row["task"] == "zeroshot"} == {4}, "--limit is above"


# --- what is kept ---


def test_a_second_run_prints_what_is_kept_and_loads_nothing(
    whole: Ended, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(candidates, "load", refuse)
    before = len(rows(whole.results))
    assert run(*whole.words) == 0
    out, err = capsys.readouterr()
    assert out == whole.out
    assert "0 to do, 6 kept" in err
    assert len(rows(whole.results)) == before


def test_a_plan_loads_nothing_and_says_what_is_kept(
    whole: Ended, models: dict[str, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(candidates, "load", refuse)
    monkeypatch.setenv("COLUMNS", "220")
    assert run(*whole.words, "--dry-run", "--again") == 0
    out = capsys.readouterr().out
    assert out.count("to do") == 7
    assert "6 to do, 0 kept; an estimate of the time: " in out
    line = next(line.split() for line in out.splitlines() if line.lstrip().startswith("zeroshot"))
    assert line[:5] == ["zeroshot", "digits", "test", str(models["writer"]), "12"]
    assert run(*whole.words, "--dry-run", "--only", "zeroshot") == 0
    out = capsys.readouterr().out
    line = next(line.split() for line in out.splitlines() if line.lstrip().startswith("zeroshot"))
    assert line == ["zeroshot", "digits", "test", "12", "kept"]
    assert f"model: {models['writer']}" in out.splitlines()


def test_rows_that_were_deleted_are_not_finished(models: dict[str, Path], two: Path, tmp_path: Path) -> None:
    assert suite(two, tmp_path, "-m", models["writer"]) == 0
    table = tmp_path / "results/results.jsonl"
    table.write_text("".join(json.dumps(row) + "\n" for row in rows(tmp_path / "results") if row["task"] != "zeroshot"))
    assert suite(two, tmp_path, "-m", models["writer"]) == 0
    assert tasks_of(tmp_path / "results") == ["retrieval", "zeroshot"]
    assert len([row for row in rows(tmp_path / "results") if row["metric"] == "image-to-text recall@1"]) == 1


def test_what_ends_in_a_file_for_a_server_is_kept_as_long_as_the_file(
    models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('[[benchmark]]\ntask = "understanding"\ndataset = "vqav2"\nsplit = "test-dev"\n')
    named = ("-m", models["answers"], "--data-root", SAMPLES)
    assert suite(file, tmp_path, *named) == 0
    (saved,) = (tmp_path / "results/answers").iterdir()
    capsys.readouterr()
    with monkeypatch.context() as patch:
        patch.setattr(candidates, "load", refuse)
        assert suite(file, tmp_path, *named) == 0
    assert "0 to do, 1 kept" in capsys.readouterr().err
    saved.unlink()
    assert suite(file, tmp_path, *named) == 0
    assert saved.is_file()


def test_again_does_all_anew(models: dict[str, Path], two: Path, tmp_path: Path) -> None:
    assert suite(two, tmp_path, "-m", models["writer"]) == 0
    assert suite(two, tmp_path, "-m", models["writer"], "--again") == 0
    assert suite(two, tmp_path, "-m", models["writer"]) == 0
    assert len([row for row in rows(tmp_path / "results") if row["metric"] == "top-1"]) == 2


def test_other_options_other_weights_and_other_words_are_another_benchmark(two: Path, tmp_path: Path) -> None:
    def count(*more: object) -> int:
        assert suite(two, tmp_path, "-m", model, "--only", "zeroshot", *more) == 0
        return len([row for row in rows(tmp_path / "results") if row["metric"] == "top-1"])

    model = save_writer(tmp_path / "model")
    words = tmp_path / "words.txt"
    words.write_text("a {c}\n")
    assert (count(), count(), count("--workers", 1), count("--limit", 5)) == (1, 1, 1, 2)
    two.write_text(TWO.replace('dataset = "digits"', f'dataset = "digits"\ntemplates = "{words}"'))
    assert (count(), count()) == (3, 3)
    words.write_text("the {c}\n")
    assert count() == 4
    weights = load_file(model / "model.safetensors")
    save_file({name: value + 0.01 for name, value in weights.items()}, model / "model.safetensors", {"format": "pt"})
    assert (count(), count()) == (5, 5)


def test_captions_and_files_that_changed_are_other_data(two: Path, tmp_path: Path) -> None:
    def count(*more: object) -> int:
        assert suite(two, tmp_path, "-m", model, *more) == 0
        return len([row for row in rows(tmp_path / "results") if row["metric"] == "image-to-text recall@1"])

    model, folder = save_writer(tmp_path / "model"), tmp_path / "pictures"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.jpg").write_bytes(jpeg_bytes(drawn(number, (40, 40))))
    table = folder / "captions.csv"
    table.write_text("image,caption\n" + "".join(f"{n}.jpg,a {n}\n" for n in range(3)))
    two.write_text(f'title = "x"\n[[benchmark]]\ntask = "retrieval"\ndataset = "captions:{table}"\n')
    assert (count(), count(), count("--strict")) == (1, 1, 1)
    table.write_text("image,caption\n" + "".join(f"{n}.jpg,the {n}\n" for n in range(3)))
    assert (count(), count()) == (2, 2)
    (folder / "1.jpg").write_bytes(jpeg_bytes(drawn(9, (40, 40))))
    assert (count(), count()) == (3, 3)


def test_weights_that_were_copied_again_are_the_same(
    two: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = save_writer(tmp_path / "model")
    assert suite(two, tmp_path, "-m", model) == 0
    os.utime(model / "model.safetensors", (1, 1))
    monkeypatch.setattr(zeroshot_run, "run_zeroshot", refuse)
    monkeypatch.setattr(retrieval_run, "run_retrieval", refuse)
    capsys.readouterr()
    assert suite(two, tmp_path, "-m", model) == 0
    out, err = capsys.readouterr()
    assert err.count("kept, the weights are the same") == 2
    assert "top-1" in out
    monkeypatch.setattr(candidates, "load", refuse)
    assert suite(two, tmp_path, "-m", model) == 0, "the new time of the file is known now"


def test_a_damaged_note_of_what_is_finished_is_no_note(models: dict[str, Path], two: Path, tmp_path: Path) -> None:
    assert suite(two, tmp_path, "-m", models["writer"], "--only", "digits") == 0
    (note,) = (tmp_path / "results/suites").iterdir()
    note.write_text(note.read_text()[:40])
    assert suite(two, tmp_path, "-m", models["writer"], "--only", "digits") == 0
    assert len([row for row in rows(tmp_path / "results") if row["metric"] == "top-1"]) == 2


# --- what is missing, what does not fit ---


def test_data_that_are_not_there_are_left_out_or_refused(
    models: dict[str, Path], two: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = f'[[benchmark]]\ntask = "retrieval"\ndataset = "captions:{tmp_path / "no.csv"}"\n'
    two.write_text(TWO + '[[benchmark]]\ntask = "zeroshot"\ndataset = "cifar10"\n' + own)
    more = ("-m", models["writer"], "--data-root", tmp_path)
    assert suite(two, tmp_path, *more, "--strict") == 1
    err = capsys.readouterr().err
    assert "nothing was run, as --strict is given and data are missing:\n  zeroshot cifar10: the data root" in err
    assert not (tmp_path / "results/results.jsonl").exists()
    assert suite(two, tmp_path, *more) == 0
    err = capsys.readouterr().err
    assert f"zeroshot cifar10, not on disk: the data root {tmp_path} holds no folder cifar10\n" in err
    gone = tmp_path / "no.csv"
    assert f"retrieval captions:{gone}, not on disk: nothing lies at {gone}, not captions that can be read\n" in err
    assert tasks_of(tmp_path / "results") == ["zeroshot", "retrieval"]


def test_strict_is_also_about_single_pictures(models: dict[str, Path], tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for number in range(30):
            image = tmp_path / f"pictures/{name}/{number}.png"
            drawn(number).save(image)
    image.write_bytes(b"no picture")
    file = tmp_path / "mine.toml"
    file.write_text(f'[[benchmark]]\ntask = "zeroshot"\ndataset = "folder:{tmp_path / "pictures"}"\n')
    assert suite(file, tmp_path, "-m", models["writer"], "--strict") == 1
    assert suite(file, tmp_path, "-m", models["writer"]) == 0
    assert [row["skipped"] for row in rows(tmp_path / "results")] == [1, 1]


def test_models_that_do_not_fit(
    models: dict[str, Path], whole: Ended, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "more.toml"
    file.write_text(EVERY_TASK + '[[benchmark]]\ntask = "understanding"\ndataset = "scene-entailment"\n')
    assert suite(file, tmp_path, "-m", models["answers"], "--dry-run") == 0
    told = capsys.readouterr().out
    assert told.count("not for this model: needs a CoCa") == 4
    assert "classification digits, not for this model: needs the folder of a classifier with the dataset's" in told
    assert "answers was trained for questions on 1 picture(s) an example, and scene-entailment is for" in told
    file.write_text('[[benchmark]]\ntask = "classification"\ndataset = "moving-scenes"\n')
    assert suite(file, tmp_path, "-m", models["judge"]) == 1
    err = capsys.readouterr().err
    assert "nothing of the suite more can be run here:\n  classification moving-scenes: judge was trained on pic" in err


def test_a_suite_needs_models(two: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert suite(two, tmp_path) == 1
    assert "the suite two names no model: give one or more with -m NAME|DIR[,TAG]" in capsys.readouterr().err
    two.write_text(f'models = ["{tmp_path / "gone"}"]\n{TWO}')
    assert suite(two, tmp_path) == 1
    assert "none of the models of the suite two is here" in capsys.readouterr().err
    two.write_text(f'models = ["{tmp_path / "gone"}", "{save_writer(tmp_path / "here")}"]\n{TWO}')
    assert suite(two, tmp_path) == 0
    assert {row["model"] for row in rows(tmp_path / "results")} == {"writer"}


def test_mistakes_of_the_suite_are_told_before_anything_runs(
    models: dict[str, Path], two: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    two.write_text(TWO + 'split = "dev"\n')
    assert suite(two, tmp_path, "-m", models["writer"]) == 1
    assert f"{two}, benchmark 2 (retrieval scenes): " in capsys.readouterr().err
    assert not (tmp_path / "results/results.jsonl").exists()


# --- what fails ---


def test_a_failure_does_not_stop_the_rest(
    models: dict[str, Path],
    two: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(*_: object) -> None:
        raise CocaError("no digit can be read\nat all")

    with monkeypatch.context() as patch:
        patch.setattr(zeroshot_run, "run_zeroshot", fail)
        assert suite(two, tmp_path, "-m", models["writer"]) == 1
    out, err = capsys.readouterr()
    named = f"zeroshot digits {models['writer']}"
    assert f"coca: {named} failed: no digit can be read\nat all\n2 of 2" in err
    assert "coca: 1 of 2 benchmarks of the suite two failed:\n" in err
    assert f"\n  {named}: no digit can be read\nWhat is finished is kept: mend" in err
    assert "recall@1" in out
    assert "top-1" not in out
    monkeypatch.setattr(retrieval_run, "run_retrieval", refuse)
    assert suite(two, tmp_path, "-m", models["writer"]) == 0
    assert tasks_of(tmp_path / "results") == ["retrieval", "zeroshot"]


def test_a_mistake_of_the_program_leaves_its_traceback(
    models: dict[str, Path],
    two: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(*_: object) -> None:
        raise KeyError("nobody thought of this")

    monkeypatch.setattr(zeroshot_run, "run_zeroshot", fail)
    assert suite(two, tmp_path, "-m", models["writer"], "--quiet") == 1
    err = capsys.readouterr().err
    assert "Traceback (most recent call last)" in err
    (kept,) = (tmp_path / "results/suites").glob("*.error.txt")
    assert "nobody thought of this" in kept.read_text()
    assert f"KeyError: 'nobody thought of this' (in {kept})" in err
    assert tasks_of(tmp_path / "results") == ["retrieval"]


def test_a_model_that_cannot_be_loaded_fails_alone(
    models: dict[str, Path], two: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = save_writer(tmp_path / "broken")
    (broken / "model.safetensors").write_bytes(b"no weights")
    assert suite(two, tmp_path, "-m", broken, "-m", models["writer"]) == 1
    err = capsys.readouterr().err
    assert err.count(f"coca: zeroshot digits {broken} failed: ") == 1
    assert "2 of 4 benchmarks of the suite two failed:" in err
    assert f"\n  retrieval scenes {broken}: " in err
    assert "3 of 4  zeroshot digits" in err


def test_ctrl_c_says_how_to_go_on(
    models: dict[str, Path],
    two: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(retrieval_run, "run_retrieval", stop)
        assert suite(two, tmp_path, "-m", models["writer"]) == 130
    assert (
        "coca: stopped; 1 finished and kept. The same command (without --again) goes on with the others."
        in capsys.readouterr().err
    )
    monkeypatch.setattr(zeroshot_run, "run_zeroshot", refuse)
    assert suite(two, tmp_path, "-m", models["writer"]) == 0


def test_a_pooler_is_not_for_every_model_but_a_linear_head_is(
    two: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(b"")
    text = '[[benchmark]]\ntask = "probe"\ndataset = "digits"\nlimit = 60\n'
    two.write_text(text + text + 'head = "linear"\n' + text + 'head = "linear"\nimage-size = 64\n')
    assert suite(two, tmp_path, "-m", f"ViT-B-32,{weights}", "--dry-run") == 0
    out = capsys.readouterr().out
    assert "1 to do, 0 kept, 2 not for this model" in out
    assert "probe digits, not for this model: needs a CoCa (with head = linear or knn on embeddings" in out


def test_what_a_model_of_the_hub_is_shows_when_it_is_loaded(
    models: dict[str, Path],
    two: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    load = candidates.load
    monkeypatch.setattr(candidates, "load", lambda name, *more: load(str(models["writer"]), *more))
    monkeypatch.setattr(caption_eval_run, "run_caption_eval", refuse)
    monkeypatch.setattr(running, "Baseline", CoCa)  # as if it were one that writes nothing
    two.write_text(TWO + '[[benchmark]]\ntask = "caption"\ndataset = "scenes"\nsplit = "test"\n')
    assert suite(two, tmp_path, "-m", "hf-hub:owner/name") == 0
    err = capsys.readouterr().err
    assert "3 to do, 0 kept, an" not in err
    assert "caption scenes test hf-hub:owner/name, not for this model: needs a CoCa, best one that" in err
    assert tasks_of(tmp_path / "results") == ["zeroshot", "retrieval"]


def test_real_sets_by_paths_as_the_user_stands(
    models: dict[str, Path],
    test_data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    named = {
        "zeroshot": ["imagenet", "wds:wds_cifar10", "imagenet-a"],
        "retrieval": ["captions:coco_mini/captions_val2017.json", "wds:rsicd"],
    }
    file = tmp_path / "real.toml"
    tables = [f'[[benchmark]]\ntask = "{task}"\ndataset = "{d}"\n' for task, sets in named.items() for d in sets]
    file.write_text("[defaults]\nlimit = 5\n" + "".join(tables))
    monkeypatch.chdir(test_data)
    assert suite(file, tmp_path, "-m", models["writer"], "--data-root", ".", "--format", "json") == 0
    out, err = capsys.readouterr()
    assert {row["dataset"] for row in json.loads(out)} == {*named["zeroshot"][:2], *named["retrieval"]}
    assert "zeroshot imagenet-a, not on disk: " in err


# --- the others ---


def test_the_suites_are_listed_and_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("suite", "list") == 0
    out = capsys.readouterr().out
    assert "paper-zeroshot        6  Zero-shot classification: Table 4 of the paper" in out
    assert run("suite", "show", "paper-probe") == 0
    assert 'recipe = "paper"' in capsys.readouterr().out
    assert run("suite", "show", "paper") == 1
    assert "unknown suite 'paper'" in capsys.readouterr().err


def test_smoke_without_its_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("suite", "run", "smoke") == 1
    assert "(coca-demo/model, coca-demo/vqa): name one with -m NAME|DIR[,TAG]; coca demo" in capsys.readouterr().err


def test_the_probe_of_a_suite_is_the_commands(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """All of a request, not only what moves a number: recipe, cache budget, frames."""
    asked: list[Any] = []

    def note(request: Any, *_: object, **__: object) -> None:
        asked.append(request)
        raise CocaError("that is enough")

    monkeypatch.setattr(probe_run, "check_request", note)
    options = (
        '"paper-kinetics"\nframes = 8\ncache-budget = 2\nshots = [2, 4]\ndraws = 2\nsampling = "segments"\nseed = 4'
    )
    (tmp_path / "a.toml").write_text(f'[[benchmark]]\ntask = "probe"\ndataset = "digits"\nrecipe = {options}\n')
    model = save_writer(tmp_path / "model")
    assert suite(tmp_path / "a.toml", tmp_path, "-m", model) == 1
    words = "--recipe paper-kinetics --frames 8 --cache-budget 2 --shots 2,4 --draws 2 --sampling segments --seed 4"
    more = ("--cache-dir", tmp_path / "cache", "--results", tmp_path / "results")
    assert run("probe", "-m", model, "-d", "digits", *words.split(), *more) == 1
    assert asked[0] == asked[1]
