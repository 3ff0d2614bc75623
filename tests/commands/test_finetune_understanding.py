"""`coca finetune vqa`, `snli-ve` and `nlvr2` as a user runs them, and what they write."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from coca_cli.model.checkpoint import load, load_folder
from coca_cli.model.understanding import Understanding
from coca_cli.model.understanding_folder import load_understanding
from coca_cli.training import kept_reads, training_run, understanding_run
from coca_cli.training.batches import Position
from coca_cli.training.loop import StepReport
from coca_cli.training.understanding_request import UnderstandingRequest
from tests.commands.asked import save_answerless_model, save_entailment, save_pairs, save_questions
from tests.commands.running import run
from tests.datasets.make_samples import SAMPLES

QUICK = ("--steps", 6, "--batch-size", 8, "--precision", "fp32", "--workers", 1, "--optimizer", "adamw")
LEARN = ("--learning-rate", 1e-3, "--head-learning-rate", 3e-3)


@pytest.fixture(autouse=True)
def _nothing_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Utilisation takes half of so short a run."""
    monkeypatch.setattr(training_run, "measured_peak", lambda device, mixed: 1e9)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_answerless_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def questions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_questions(tmp_path_factory.mktemp("questions"))


def words(model: Path, data: object, output: Path, *more: object, task: str = "vqa") -> list[str]:
    return list(map(str, ("finetune", task, "-m", model, "-d", data, "-o", output, *QUICK, *more)))


def finetune(model: Path, table: Path, output: Path, *more: object) -> int:
    return run(*words(model, f"questions:{table}", output, *more))


def weights(folder: Path, name: str = "model") -> dict[str, torch.Tensor]:
    return load_file(folder / f"{name}.safetensors")


def assert_close(one: Path, other: Path, tolerance: float) -> None:
    for name in ("model", "understanding"):
        first, second = weights(one, name), weights(other, name)
        assert first.keys() == second.keys()
        for key, weight in first.items():
            # what is added to all keys changes no softmax: its gradient is rounding, which the optimiser makes steps of
            rows = slice(len(weight) // 2, None) if key == "pooler.attention.kv.bias" else ...
            torch.testing.assert_close(second[key][rows], weight[rows], atol=tolerance, rtol=0, msg=key)


def metrics(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def losses(folder: Path) -> list[float]:
    return [line["loss"] for line in metrics(folder) if "loss" in line]


def settings_of(folder: Path) -> Any:
    return json.loads((folder / "run.json").read_text())["settings"]


def told(capsys: pytest.CaptureFixture[str]) -> str:
    return " ".join(capsys.readouterr().err.split())


# --- what is learned ---


def test_a_model_that_answers(model: Path, questions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "run"
    assert finetune(model, questions, output, "--steps", 80, "--batch-size", 16, *LEARN, "--eval-every", 40) == 0
    out, err = capsys.readouterr()
    assert out.startswith(f"{output}: 80 steps, loss ")
    err = " ".join(err.split())
    assert "108 questions about 54 pictures, 12 others to score on; 5 answers" in err
    assert "validation questions (the most frequent answers alone: " in err
    assert f"next: coca eval understanding -m {output}" in err
    described = load_understanding(output).described
    assert (described.task, described.pictures, described.name) == ("questions", 1, "run")
    assert described.answers[0] == "no"
    assert set(described.answers) == {"no", "yes", "red", "green", "blue"}
    assert described.usual["is it"] == "no"
    assert described.checkpoint == load(str(output)).checkpoint
    evaluated = [line for line in metrics(output) if "val accuracy" in line]
    assert [line["step"] for line in evaluated] == [40, 80]
    assert evaluated[-1]["val accuracy"] > 80 > 65 > evaluated[-1]["val usual answers"]
    assert {"loss", "answers", "caption", "accuracy", "gradient_norm", "questions_per_second"} < metrics(output)[
        0
    ].keys()
    assert (output / "best/understanding.safetensors").is_file()
    assert (
        run("eval", "understanding", "-m", output, "-d", f"questions:{questions}", "--results", tmp_path / "res") == 0
    )
    assert "most frequent training answer by type of question alone would reach 50.00" in told(capsys)
    assert run("caption", "-m", output, questions.parent / "images/test-red-00.png") == 0  # it is a model still


def test_pairs_of_pictures(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = save_pairs(tmp_path / "data")
    asked = words(model, "nlvr2", tmp_path / "run", "--data-root", data, "--val-split", "dev", *LEARN, task="nlvr2")
    assert run(*asked, "--steps", 30) == 0
    assert "40 statements about 40 pairs of pictures, 12 others to score on; 2 answers" in told(capsys)
    described = load_understanding(tmp_path / "run").described
    assert (described.task, described.pictures, described.answers) == ("reasoning", 2, ("False", "True"))
    assert described.usual == {"": "False"}
    assert "val consistency" in metrics(tmp_path / "run")[-1]
    assert "caption" not in metrics(tmp_path / "run")[0]
    assert run("eval", "understanding", "-m", tmp_path / "run", "-d", "nlvr2", "--data-root", data) == 0
    assert "consistency" in capsys.readouterr().out


def test_entailment(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = save_entailment(tmp_path / "data")
    asked = words(
        model, "snli-ve", tmp_path / "run", "--data-root", data, *LEARN, "--rand-augment", "1,10", task="snli-ve"
    )
    assert run(*asked) == 0
    assert load_understanding(tmp_path / "run").described.answers == ("entailment", "neutral", "contradiction")
    assert settings_of(tmp_path / "run")["augmentation"]["rand_augment"] == [1, 10]
    assert run("eval", "understanding", "-m", tmp_path / "run", "-d", "snli-ve", "--data-root", data) == 0
    assert "consistency" not in capsys.readouterr().out


def test_only_what_answers_depend_on_is_trained(model: Path, questions: Path, tmp_path: Path) -> None:
    assert finetune(model, questions, tmp_path / "run", *LEARN, "--weight-decay", 0.5, "--generative-weight", 0) == 0
    before, after = weights(model), weights(tmp_path / "run")
    same = {name for name, weight in before.items() if torch.equal(after[name], weight)}
    idle = (
        "image.contrastive.",
        "image.projection.",
        "text.norm.",
        "text.projection.",
        "text.cls",
        "decoder.to_vocab.",
    )
    assert {name for name in before if name.startswith(idle) or name == "log_scale"} == same


def test_frozen_leaves_the_model_as_it_is(model: Path, questions: Path, tmp_path: Path) -> None:
    assert finetune(model, questions, tmp_path / "run", *LEARN, "--frozen", "--weight-decay", 0.5) == 0
    assert all(torch.equal(weights(tmp_path / "run")[name], weight) for name, weight in weights(model).items())
    assert "caption" not in metrics(tmp_path / "run")[0]
    assert load_understanding(tmp_path / "run").described.checkpoint == load(str(model)).checkpoint
    assert finetune(model, questions, tmp_path / "still", "--learning-rate", 0, "--generative-weight", 0) == 0
    assert all(torch.equal(weights(tmp_path / "still")[name], weight) for name, weight in weights(model).items())


@pytest.mark.parametrize(("task", "precision"), [("vqa", "fp32"), ("nlvr2", "bf16")])
def test_a_frozen_model_is_asked_once_and_the_head_learns_the_same(
    model: Path, questions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: str, precision: str
) -> None:
    asked: list[int] = []
    encode = Understanding.encode
    monkeypatch.setattr(Understanding, "encode", lambda self, images: asked.append(len(images)) or encode(self, images))
    data = f"questions:{questions}" if task == "vqa" else "nlvr2"
    root = tmp_path if task == "vqa" else save_pairs(tmp_path / "data")
    more = ("--frozen", "--head-learning-rate", 1e-3, "--precision", precision, "--data-root", root, "--steps", 12)
    assert run(*words(model, data, tmp_path / "kept", *more, task=task)) == 0
    kept = sum(asked)
    asked.clear()
    monkeypatch.setattr(kept_reads, "BUDGET", 0)
    assert run(*words(model, data, tmp_path / "live", *more, task=task)) == 0
    assert kept < sum(asked)
    assert losses(tmp_path / "kept") == pytest.approx(
        losses(tmp_path / "live"), abs=1e-5 if precision == "fp32" else 2e-2
    )
    if precision == "fp32":
        assert_close(tmp_path / "kept", tmp_path / "live", 1e-4)


def test_what_a_frozen_model_cannot_see_is_replaced_and_named(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = save_questions(tmp_path / "data")
    (table.parent / "images/train-red-03.png").write_bytes(b"no picture")
    more = ("--frozen", "--val-split", "test", "--steps", 15)
    assert finetune(model, table, tmp_path / "kept", *more) == 0
    monkeypatch.setattr(kept_reads, "BUDGET", 0)
    assert finetune(model, table, tmp_path / "live", *more) == 0
    assert losses(tmp_path / "kept") == pytest.approx(losses(tmp_path / "live"), abs=1e-5)
    assert "train-red-03.png" in (tmp_path / "kept/run.json").read_text()


def test_pictures_are_seen_whole_and_at_another_size(model: Path, questions: Path, tmp_path: Path) -> None:
    assert finetune(model, questions, tmp_path / "run", "--image-size", 48) == 0
    image = load_folder(tmp_path / "run").model.config.image
    assert (image.size, image.resize) == (48, "squash")
    assert finetune(model, questions, tmp_path / "cut", "--centre-crops") == 0
    assert load_folder(tmp_path / "cut").model.config.image.resize == "shortest"


def test_the_answers_of_a_file_and_the_most_frequent_few(
    model: Path, questions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    listed = tmp_path / "answers.json"
    listed.write_text('["Yes", "no", "purple"]')
    assert finetune(model, questions, tmp_path / "listed", "--answer-list", listed) == 0
    assert load_understanding(tmp_path / "listed").described.answers == ("yes", "no", "purple")
    assert "3 answers (54 questions have no right one among them)" in told(capsys)
    assert finetune(model, questions, tmp_path / "few", "--answer-list", 2) == 0
    assert load_understanding(tmp_path / "few").described.answers[0] == "no"


# --- ways of computing ---


def test_parts_give_the_course_of_the_whole_batch(model: Path, questions: Path, tmp_path: Path) -> None:
    more = ("--learning-rate", 1e-4)
    assert finetune(model, questions, tmp_path / "whole", *more) == 0
    assert finetune(model, questions, tmp_path / "parts", *more, "--accumulate", 4) == 0
    assert losses(tmp_path / "parts") == pytest.approx(losses(tmp_path / "whole"), abs=1e-5)
    assert finetune(model, questions, tmp_path / "twice", *more, "--checkpoint-activations") == 0
    assert losses(tmp_path / "twice") == pytest.approx(losses(tmp_path / "whole"), abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_two_processes_have_the_course_of_one(model: Path, questions: Path, tmp_path: Path, parallel: str) -> None:
    more = ("--learning-rate", 1e-4, "--rand-augment", "1,10")
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "coca_cli"]
    asked = words(model, f"questions:{questions}", tmp_path / "two", *more, "--parallel", parallel)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *launcher, *asked], env=environment, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("6 steps, loss") == 1, "one process speaks for all"
    assert finetune(model, questions, tmp_path / "one", *more) == 0
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), abs=1e-5)
    for name in ("accuracy", "caption"):
        one, two = ([line[name] for line in metrics(tmp_path / run_) if name in line] for run_ in ("one", "two"))
        assert two == pytest.approx(one, abs=1e-4)


def test_a_stopped_run_goes_on_with_the_same_command(
    model: Path,
    questions: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    train = training_run.train

    def interrupted(*arguments: Any) -> Iterator[tuple[StepReport, Position]]:
        for report, position in train(*arguments):
            if report.step == 3:
                os.kill(os.getpid(), signal.SIGTERM)
            yield report, position

    more = ("--rand-augment", "1,10", "--ema", 0.5, *LEARN)
    with monkeypatch.context() as patched:
        patched.setattr(training_run, "train", interrupted)
        assert finetune(model, questions, tmp_path / "run", *more) == 143
    assert "stopped at step 3 of 6; the same command goes on" in told(capsys)
    load_understanding(tmp_path / "run")
    assert finetune(model, questions, tmp_path / "run", *more) == 0
    assert "going on after step 3 of 6" in capsys.readouterr().err
    assert finetune(model, questions, tmp_path / "whole", *more) == 0
    assert_close(tmp_path / "whole", tmp_path / "run", 0)
    assert finetune(model, questions, tmp_path / "run", *more) == 0
    assert "is finished already; --overwrite trains it anew" in told(capsys)
    assert finetune(model, questions, tmp_path / "run", *more, "--answer-list", 3) == 1
    assert "holds a run with other settings: answers" in told(capsys)
    listed = tmp_path / "other.txt"
    listed.write_text("red\ngreen\nblue\nyes\nno\n")  # as many as before, in another order
    assert finetune(model, questions, tmp_path / "run", *more, "--answer-list", listed) == 1
    assert "holds a run with other settings: answers" in told(capsys)


# --- mistakes ---


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--answer-list", "1"), "--answer-list 1: a classifier needs two answers at least"),
        (("--answer-list", "nowhere.txt"), "cannot read the list of answers nowhere.txt"),
        (("--generative-weight", 1, "--frozen"), "trains the decoder, and --frozen leaves it alone"),
        (("--val-split", "train"), "--val-split train is also what is trained on"),
        (("--train-split", "trein"), "unknown split"),
        (("--batch-size", 500), "training examples do not fill one batch of 500"),
        (("--limit", 2, "--batch-size", 1), "asks about one picture alone, so none can be held out"),
        (("--freeze", "vit"), "unknown parameters to freeze"),
        (("--precision", "fp16"), "--precision fp16"),
        (("--resume",), "nothing to resume in"),
        (("--rand-augment", "2"), "give the number of operations and their magnitude"),
    ],
)
def test_mistakes_are_refused(
    model: Path,
    questions: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    more: tuple[str, ...],
    message: str,
) -> None:
    assert finetune(model, questions, tmp_path / "run", *more) == 1
    assert message in told(capsys)
    assert not (tmp_path / "run/model.safetensors").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"yes\n", "has 1 of them: write at least two, one a line"),
        (b"yes\nno\nYes.\n", "cannot be used: the answers 'yes' and 'Yes.' are the same to the evaluation"),
        (b"\xff\xfe\x00", "is not UTF-8 text"),
        (b'["yes", 3]', "has 1 of them: write at least two"),
        (b'["yes"', "is no JSON list of texts"),
        (b"cat\ndog\n", "none of the 2 answers, such as 'cat', is right for any of 108 training questions"),
    ],
)
def test_lists_of_answers_that_cannot_be_used(
    model: Path, questions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes, message: str
) -> None:
    listed = tmp_path / ("answers.json" if content.startswith(b"[") else "answers.txt")
    listed.write_bytes(content)
    assert finetune(model, questions, tmp_path / "run", "--answer-list", listed) == 1
    assert message in told(capsys)


@pytest.mark.parametrize(
    ("task", "data", "message"),
    [
        (
            "vqa",
            "scene-pairs",
            "scene-pairs is for reasoning, and coca finetune vqa for questions: use coca finetune nlvr2",
        ),
        ("nlvr2", "scene-questions", "use coca finetune vqa"),
        ("snli-ve", "digits", "it asks nothing about its pictures; see coca data list"),
    ],
)
def test_sets_of_another_kind(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], task: str, data: str, message: str
) -> None:
    assert run(*words(model, data, tmp_path / "run", task=task)) == 1
    assert message in told(capsys)


def test_what_is_scored_must_not_be_trained_on(
    model: Path, questions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [json.loads(line) for line in questions.read_text().splitlines()]
    table = questions.with_name("common.jsonl")
    table.write_text("\n".join(map(json.dumps, [*rows, {**rows[0], "split": "val"}, {**rows[-1], "split": "val"}])))
    assert finetune(model, table, tmp_path / "run", "--val-split", "val") == 1
    assert "1 of 2 validation examples of questions:" in (err := told(capsys))
    assert "are trained on as well, such as row-144 ('what colour is it?'): take them out of one of the splits" in err
    more = ("--data-root", SAMPLES / "vqav2", "--train-split", "trainval", "--val-split", "val")
    assert run(*words(model, "vqav2", tmp_path / "run", *more)) == 1
    assert "vqav2's trainval and val have examples in common: score on another split" in told(capsys)


def test_the_next_command_is_about_what_was_not_trained_on(
    model: Path, questions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert finetune(model, questions, tmp_path / "run", "--train-split", "test", "--val-part", 0.3) == 0
    assert f"-d questions:{questions} --split train" in told(capsys)
    whole = questions.with_name("whole.jsonl")
    whole.write_text(questions.read_text().replace(', "split": "train"', "").replace(', "split": "test"', ""))
    assert finetune(model, whole, tmp_path / "whole", "--train-split", "all") == 0
    assert "next: coca eval" not in told(capsys)


def test_a_weight_of_texts_for_statements(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    more = ("--generative-weight", 1)
    assert run(*words(model, "scene-entailment", tmp_path / "run", *more, task="snli-ve")) == 1
    assert "--generative-weight 1 is for questions, whose answers are texts" in told(capsys)


def test_questions_without_answers_teach_nothing(
    model: Path, questions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [json.loads(line) for line in questions.read_text().splitlines()]
    for row in rows:
        if row["split"] == "train":
            row["answer"] = ""
    table = questions.with_name("open.jsonl")
    table.write_text("\n".join(map(json.dumps, rows)))
    assert finetune(model, table, tmp_path / "run") == 1
    assert "120 of 120 questions of questions:" in (err := told(capsys))
    assert "have no answers, such as row-0 ('what colour is it?'): nothing can be learnt or scored with them" in err


def test_long_questions_are_told(
    model: Path, questions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [json.loads(line) for line in questions.read_text().splitlines()]
    rows[0]["question"] = "what colour is it? " * 9
    table = questions.with_name("long.jsonl")
    table.write_text("\n".join(map(json.dumps, rows)))
    assert finetune(model, table, tmp_path / "run", "--steps", 1) == 0
    assert "texts fill all 16 positions of the model, and may be cut off" in told(capsys)


def test_pictures_that_cannot_be_read_are_replaced_and_named(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = save_questions(tmp_path / "data")
    (table.parent / "images/train-red-03.png").write_bytes(b"no picture")
    assert finetune(model, table, tmp_path / "run", "--val-split", "test", "--steps", 15) == 0
    assert "left out: " in capsys.readouterr().err
    assert "train-red-03.png" in (tmp_path / "run/run.json").read_text()


# --- recipes ---


PAPER = {
    "vqa": (100_000, 64, 2e-5, 5e-4, (1, 10), 1.0),
    "snli-ve": (50_000, 128, 5e-5, 1e-3, (1, 10), 0.0),
    "nlvr2": (50_000, 64, 2e-5, 5e-4, (0, 0), 0.0),
}
"""Steps, batch, model's and pooler's rate and RandAugment of the paper's Table 10; the last, the weight of the
generative loss, is not in the paper."""


@pytest.mark.parametrize(
    ("task", "data"), [("vqa", "scene-questions"), ("snli-ve", "scene-entailment"), ("nlvr2", "scene-pairs")]
)
def test_the_papers_recipes(monkeypatch: pytest.MonkeyPatch, task: str, data: str) -> None:
    asked: list[UnderstandingRequest] = []
    monkeypatch.setattr(understanding_run, "run_understanding", lambda request, reporter: asked.append(request))
    assert run("finetune", task, "--recipe", "paper", "--frozen", "-m", "x", "-d", data, "-o", "out") == 0
    assert asked.pop().schedule.generative_weight == 0
    assert run("finetune", task, "--recipe", "paper", "-m", "x", "-d", data, "-o", "out") == 0
    schedule = asked[0].schedule
    assert (
        schedule.steps,
        schedule.batch_size,
        schedule.learning_rate,
        schedule.head_learning_rate,
        tuple(asked[0].augmentation.rand_augment),
        schedule.generative_weight,
    ) == PAPER[task]
    assert round(schedule.warmup * schedule.steps) == 1000
    assert (schedule.weight_decay, schedule.clip, schedule.ema) == (0.1, 1.0, 0.0)
    assert (schedule.optimizer, schedule.decay) == ("adafactor", "cosine")
    assert asked[0].augmentation.keep_colours
    assert asked[0].answers == 3129
