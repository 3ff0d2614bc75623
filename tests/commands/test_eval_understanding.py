"""`coca eval understanding` as a user runs it, with a model and with a file of answers."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from coca_cli.model.understanding_folder import load_understanding
from coca_cli.store import Store
from coca_cli.training import training_run
from tests.commands.asked import save_answerless_model, save_entailment, save_pairs, save_questions
from tests.commands.running import run
from tests.commands.test_finetune_understanding import QUICK
from tests.datasets.make_samples import SAMPLES
from tests.datasets.test_vqav2 import ANNOTATIONS, QUESTIONS


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with pairs and entailment, and a table of questions."""
    folder = tmp_path_factory.mktemp("data")
    save_pairs(folder)
    save_entailment(folder)
    save_questions(folder)
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, data: Path) -> dict[str, Path]:
    """A model for each task, hardly trained."""
    folder = tmp_path_factory.mktemp("models")
    start = save_answerless_model(folder / "start")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(training_run, "measured_peak", lambda device, mixed: 1e9)
        for task, name in (("vqa", f"questions:{data / 'asked.jsonl'}"), ("nlvr2", "nlvr2"), ("snli-ve", "snli-ve")):
            asked = ("finetune", task, "-m", start, "-d", name, "--data-root", data, "-o", folder / task, *QUICK, "-q")
            assert run(*asked, "--learning-rate", 1e-3) == 0
    return {task: folder / task for task in ("vqa", "nlvr2", "snli-ve", "start")}


def evaluate(*more: object, results: Path) -> int:
    return run("eval", "understanding", *more, "--results", results, "--precision", "fp32", "--workers", 1)


def rows(results: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (results / "results.jsonl").read_text().splitlines()]


def told(capsys: pytest.CaptureFixture[str]) -> str:
    return " ".join(capsys.readouterr().err.split())


@pytest.fixture
def official(tmp_path: Path, test_data: Path) -> Path:
    """The real questions with their ten answers in the place of VQA's val; no pictures."""
    folder = tmp_path / "data/vqav2"
    folder.mkdir(parents=True)
    shutil.copy(test_data / "vqav2/questions.json", folder / QUESTIONS.format("val2014"))
    shutil.copy(test_data / "vqav2/annotations.json", folder / ANNOTATIONS.format("val2014"))
    return tmp_path / "data"


# --- with a model ---


def test_questions(models: dict[str, Path], data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    named = ("-m", models["vqa"], "-d", f"questions:{data / 'asked.jsonl'}")
    assert evaluate(*named, "--question-types", results=tmp_path) == 0
    out, err = capsys.readouterr()
    assert "'is it' accuracy" in out
    found = rows(tmp_path)
    assert [row["metric"] for row in found] == ["accuracy", "'is it' accuracy", "'what colour' accuracy"]
    assert [row["n"] for row in found] == [24, 12, 12]
    assert (found[0]["task"], found[0]["split"], found[0]["model"]) == ("understanding", "test", "vqa")
    assert 0 <= found[0]["low"] <= found[0]["value"] <= found[0]["high"] <= 100
    (saved,) = (tmp_path / "answers").glob("*.json")
    assert f"answers: {saved}" in " ".join(err.split())
    said = json.loads(saved.read_text())
    assert len(said) == 24
    assert said[0].keys() == {"question_id", "answer"}
    run_file = json.loads(next(tmp_path.glob("runs/*.json")).read_text())
    assert run_file["chosen"] == {"most frequent training answers reach": 50.0}
    store = Store(tmp_path)
    kept = store.details(store.runs()[0])
    assert kept is not None
    table = kept.table("examples")
    assert table is not None
    assert 100 * sum(map(float, table["accuracy"])) / 24 == pytest.approx(found[0]["value"])
    assert len(set(table["of"])) == 12
    assert all(sample["pictures"] and sample["expected"] for sample in kept.samples)
    # what the model said scores the same without it
    filed = ("-d", f"questions:{data / 'asked.jsonl'}", "--answers", saved)
    assert evaluate(*filed, results=tmp_path / "again") == 0
    assert rows(tmp_path / "again")[0]["value"] == found[0]["value"]
    assert rows(tmp_path / "again")[0]["model"] == saved.name


def test_pictures_shuffled(models: dict[str, Path], data: Path, tmp_path: Path) -> None:
    named = ("-m", models["vqa"], "-d", f"questions:{data / 'asked.jsonl'}", "--save", tmp_path / "said.csv")
    assert evaluate(*named, results=tmp_path) == 0
    assert (tmp_path / "said.csv").read_text().startswith("id,question,answer,score,accuracy\n")
    assert evaluate(*named, "--shuffle-pictures", results=tmp_path) == 0
    plain, shuffled = rows(tmp_path)
    assert (plain["split"], shuffled["split"]) == ("test", "test, pictures shuffled")
    assert plain["settings"] != shuffled["settings"]


def test_questions_are_drawn_with_their_pictures(models: dict[str, Path], data: Path, tmp_path: Path) -> None:
    sheets = {"vqa": f"questions:{data / 'asked.jsonl'}", "nlvr2": "nlvr2"}
    for task, name in sheets.items():
        shown = ("-m", models[task], "-d", name, "--data-root", data, "--draw", tmp_path / f"{task}.png")
        assert evaluate(*shown, results=tmp_path) == 0
    with Image.open(tmp_path / "vqa.png") as one, Image.open(tmp_path / "nlvr2.png") as two:
        assert one.height == two.height > 6 * 160
        assert two.width - one.width > 160


@pytest.mark.parametrize(("task", "metrics"), [("nlvr2", ["accuracy", "consistency"]), ("snli-ve", ["accuracy"])])
def test_statements(models: dict[str, Path], data: Path, tmp_path: Path, task: str, metrics: list[str]) -> None:
    assert evaluate("-m", models[task], "-d", task, "--data-root", data, results=tmp_path) == 0
    found = rows(tmp_path)
    assert [row["metric"] for row in found] == metrics
    assert found[0]["n"] == {"nlvr2": 12, "snli-ve": 9}[task]
    dev = ("--split", "dev", "--format", "csv", "--batch-size", 2)
    assert evaluate("-m", models[task], "-d", task, "--data-root", data, *dev, results=tmp_path) == 0


def test_answers_that_are_kept_back(
    models: dict[str, Path], data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = data / "open.csv"
    table.write_text("image,question\nimages/test-red-00.png,what colour is it?\nimages/test-red-01.png,is it?\n")
    saved = tmp_path / "said.json"
    assert evaluate("-m", models["vqa"], "-d", f"questions:{table}", "--save", saved, results=tmp_path) == 0
    assert "keeps its answers back: give this file to its server" in told(capsys)
    assert [row["question_id"] for row in json.loads(saved.read_text())] == ["row-0", "row-1"]
    assert not (tmp_path / "results.jsonl").exists()
    assert evaluate("-d", f"questions:{table}", "--answers", saved, results=tmp_path) == 1
    assert "the answers to 2 questions of questions:" in (err := told(capsys))
    assert "are kept back, such as row-0: a file of answers is scored on a split with answers" in err
    (data / "images/test-red-09.png").write_bytes(b"no picture")
    rows_ = "\n".join(f"images/test-{name}.png,what colour is it?" for name in ["red-09", *["red-00"] * 30])
    table.write_text(f"image,question\n{rows_}\n")
    limited = ("-m", models["vqa"], "-d", f"questions:{table}", "--save", tmp_path / "all.json", "--limit", 31)
    assert evaluate(*limited, results=tmp_path) == 0
    err = told(capsys)
    assert "1 questions whose pictures cannot be read have the most frequent training answer" in err
    assert "the file has the first 31 questions alone; a server wants all of them" in err
    assert len(said := json.loads((tmp_path / "all.json").read_text())) == 31
    assert said[0] == {
        "question_id": "row-0",
        "answer": load_understanding(models["vqa"]).described.usual["what colour"],
    }


@pytest.mark.slow
def test_two_processes_answer_as_one(models: dict[str, Path], data: Path, tmp_path: Path) -> None:
    named = ("eval", "understanding", "-m", models["nlvr2"], "-d", "nlvr2", "--data-root", data, "--precision", "fp32")
    asked = [*map(str, (*named, "--batch-size", 4, "--workers", 1, "--save"))]
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "coca_cli"]
    done = subprocess.run(
        [sys.executable, *launcher, *asked, str(tmp_path / "two.csv"), "--results", str(tmp_path / "two")],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert run(*asked, tmp_path / "one.csv", "--results", tmp_path / "one") == 0
    assert (tmp_path / "two.csv").read_text() == (tmp_path / "one.csv").read_text()
    assert [row["value"] for row in rows(tmp_path / "two")] == [row["value"] for row in rows(tmp_path / "one")]


def test_pictures_that_cannot_be_read(
    models: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = save_questions(tmp_path / "data")
    (table.parent / "images/test-red-00.png").write_bytes(b"no picture")
    assert evaluate("-m", models["vqa"], "-d", f"questions:{table}", results=tmp_path) == 1
    assert "2 of 24 examples cannot be read, which is more than 5 %" in told(capsys)
    lines = table.read_text().splitlines()
    few = [line for line in lines if "test-red-00" not in line] + [
        next(line for line in lines if "test-red-00" in line)
    ]
    table.write_text("\n".join(few))
    assert evaluate("-m", models["vqa"], "-d", f"questions:{table}", results=tmp_path) == 0
    assert "left out: " in told(capsys)
    assert (rows(tmp_path)[0]["n"], rows(tmp_path)[0]["skipped"]) == (22, 1)
    strict = ("-m", models["vqa"], "-d", f"questions:{table}", "--strict")
    assert evaluate(*strict, results=tmp_path) == 1
    assert "Stopped because of --strict" in told(capsys)


# --- with a file of answers ---


def test_the_official_evaluators_scores(official: Path, test_data: Path, tmp_path: Path) -> None:
    named = ("-d", "vqav2", "--data-root", official, "--answers", test_data / "vqav2/results.json")
    assert evaluate(*named, "--question-types", results=tmp_path) == 0
    scores = json.loads((test_data / "vqav2/official_scores.json").read_text())["accuracy"]
    found = {row["metric"]: round(row["value"], 2) for row in rows(tmp_path)}
    expected = {"accuracy": scores["overall"]}
    expected |= {f"{kind} accuracy": value for kind, value in scores["perAnswerType"].items()}
    expected |= {f"'{kind}' accuracy": value for kind, value in scores["perQuestionType"].items()}
    assert found == expected


SAID = [{"question_id": number, "answer": "yes"} for number in (42000, 42001, 73002)]


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (SAID[:2], "lacks answers to 1 of 3 questions of vqav2 val, such as 73002"),
        ([*SAID, {"question_id": 1, "answer": "no"}], "answers 1 questions that are not in this split, such as 1"),
        ([*SAID, SAID[0]], "answers the question 42000 twice"),
        ({"answers": SAID}, "holds no answers that can be read"),
    ],
)
def test_answers_that_do_not_fit(tmp_path: Path, capsys: pytest.CaptureFixture[str], said: Any, message: str) -> None:
    (tmp_path / "said.json").write_text(json.dumps(said))
    named = ("-d", "vqav2", "--data-root", SAMPLES / "vqav2", "--answers", tmp_path / "said.json")
    assert evaluate(*named, results=tmp_path) == 1
    assert message in told(capsys)


def test_judgements_in_any_letters(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [json.loads(line) for line in (data / "nlvr2/dev.json").read_text().splitlines()]
    said = "\n".join(f"{line['identifier']},{line['label'].upper()}" for line in lines)
    (tmp_path / "said.csv").write_text(said)
    named = ("-d", "nlvr2", "--data-root", data, "--answers", tmp_path / "said.csv")
    assert evaluate(*named, results=tmp_path) == 0
    assert [row["value"] for row in rows(tmp_path)] == [100, 100]
    (tmp_path / "said.csv").write_text(said.replace("TRUE", "1"))
    assert evaluate(*named, results=tmp_path) == 1
    assert "'1': it must be one of False, True" in told(capsys)


def test_what_was_trained_on_is_told(
    models: dict[str, Path], data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    named = ("-m", models["nlvr2"], "-d", "nlvr2", "--data-root", data)
    assert evaluate(*named, results=tmp_path) == 0
    assert "was trained on" not in told(capsys)
    assert evaluate(*named, "--split", "train", results=tmp_path) == 0
    assert "nlvr2 was trained on examples of nlvr2 train" in told(capsys)


def test_one_picture_cannot_be_exchanged(
    models: dict[str, Path], data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    named = ("-m", models["vqa"], "-d", f"questions:{data / 'asked.jsonl'}", "--shuffle-pictures", "--limit", 2)
    assert evaluate(*named, results=tmp_path) == 1
    assert "--shuffle-pictures needs two pictures or more to exchange" in told(capsys)


def test_answers_to_more_than_the_first_few(tmp_path: Path) -> None:
    (tmp_path / "said.json").write_text(json.dumps(SAID))
    named = ("-d", "vqav2", "--data-root", SAMPLES / "vqav2", "--answers", tmp_path / "said.json", "--limit", 2)
    assert evaluate(*named, results=tmp_path) == 0
    assert {row["metric"]: row["value"] for row in rows(tmp_path)} == {
        "accuracy": 50.0,
        "yes/no accuracy": 100.0,
        "other accuracy": 0.0,
    }


# --- mistakes ---


def test_heads_that_do_not_fit(
    models: dict[str, Path], data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate("-m", models["nlvr2"], "-d", "snli-ve", "--data-root", data, results=tmp_path) == 1
    assert "nlvr2 was trained for reasoning on 2 picture(s) an example, and snli-ve is for entailment on 1" in told(
        capsys
    )
    assert evaluate("-m", models["start"], "-d", "snli-ve", "--data-root", data, results=tmp_path) == 1
    assert "no understanding.json in" in told(capsys)
    table = data / "other.csv"
    table.write_text("image,question,answer\nimages/test-red-00.png,what is it?,a square\n")
    assert evaluate("-m", models["vqa"], "-d", f"questions:{table}", results=tmp_path) == 1
    assert "knows 5 answers such as 'no', and none of them is right for any of 1 questions" in told(capsys)
    assert evaluate("-m", models["vqa"], "-d", "digits", results=tmp_path) == 1
    assert "digits has no questions or statements about its pictures" in told(capsys)


def test_answers_in_another_order(
    models: dict[str, Path], data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "changed"
    shutil.copytree(models["snli-ve"], folder)
    content = json.loads((folder / "understanding.json").read_text())
    content["answers"] = content["answers"][::-1]
    (folder / "understanding.json").write_text(json.dumps(content))
    assert evaluate("-m", folder, "-d", "snli-ve", "--data-root", data, results=tmp_path) == 1
    assert "the answers must be the same, in one order" in told(capsys)


def test_weights_of_another_model(
    models: dict[str, Path], data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "mixed"
    shutil.copytree(models["nlvr2"], folder)
    shutil.copy(models["start"] / "model.safetensors", folder)
    assert evaluate("-m", folder, "-d", "nlvr2", "--data-root", data, results=tmp_path) == 1
    assert "its answers would mean nothing; copy the whole folder again" in told(capsys)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ((), "give one of --model, which answers, and --answers"),
        (("-m", "x", "--answers", "y"), "give one of --model, which answers, and --answers"),
        (("--answers", "y", "--shuffle-pictures"), "--shuffle-pictures asks a model anew"),
        (("-m", "nowhere"), "no understanding.json in nowhere"),
        (("--answers", "nowhere.json"), "cannot read the answers nowhere.json"),
        (("--answers", "y", "--split", "tset"), "unknown split of scene-pairs"),
        (("--answers", "y", "--save", "said.txt"), "the ending says which"),
        (("--answers", "y", "--draw", "said.txt"), "--draw said.txt: the file must end in .png or .jpg"),
    ],
)
def test_mistakes(tmp_path: Path, capsys: pytest.CaptureFixture[str], more: tuple[str, ...], message: str) -> None:
    assert evaluate("-d", "scene-pairs", *more, results=tmp_path) == 1
    assert message in told(capsys)


def test_no_picture_is_there(
    models: dict[str, Path], data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "nlvr2").mkdir()
    shutil.copy(data / "nlvr2/dev.json", tmp_path / "nlvr2")
    assert evaluate("-m", models["nlvr2"], "-d", "nlvr2", "--data-root", tmp_path, results=tmp_path / "res") == 1
    assert "none of the pictures of 12 questions of nlvr2 dev is there, such as" in told(capsys)


def test_a_set_that_asks_nothing_yet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "nlvr2").mkdir()
    (tmp_path / "nlvr2/dev.json").write_text("\n")
    assert evaluate("-d", "nlvr2", "--data-root", tmp_path, "--answers", "said.json", results=tmp_path / "res") == 1
    assert "nlvr2 dev has no questions in it: fetch its files again" in told(capsys)
