"""`coca finetune classification` and `video` as a user runs them, and `coca models interpolate`."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from coca_cli.model import interpolation
from coca_cli.model.checkpoint import load, load_folder
from coca_cli.model.classifier_folder import OWN_ENCODER, load_classifier
from coca_cli.training import classifier_run, finetune_setup, training_run
from coca_cli.training.batches import Position
from coca_cli.training.classifier_request import ClassifierRequest, ClassifierSchedule
from coca_cli.training.loop import StepReport
from coca_cli.training.optim import build_optimizer
from tests.commands.running import run
from tests.commands.squares import CLASSES, save_clips, save_model, save_pictures
from tests.commands.test_probe import classify, probe, rows, value

QUICK = ("--steps", 6, "--batch-size", 16, "--precision", "fp32", "--workers", 1, "--ema", 0)


@pytest.fixture(autouse=True)
def _nothing_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Utilisation takes half of so short a run."""
    monkeypatch.setattr(training_run, "measured_peak", lambda device, mixed: 1e9)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_pictures(tmp_path_factory.mktemp("pictures"))


def words(model: Path, data: object, output: Path, *more: object, task: str = "classification") -> list[str]:
    return list(map(str, ("finetune", task, "-m", model, "-d", data, "-o", output, *QUICK, *more)))


def finetune(model: Path, pictures: Path, output: Path, *more: object) -> int:
    return run(*words(model, f"folder:{pictures}", output, *more))


def weights(folder: Path, name: str = "model") -> dict[str, torch.Tensor]:
    return load_file(folder / f"{name}.safetensors")


def assert_close(one: Path, other: Path, tolerance: float = 1e-5) -> None:
    for name in ("model", "head"):
        first, second = weights(one, name), weights(other, name)
        assert first.keys() == second.keys()
        for key, weight in first.items():
            torch.testing.assert_close(second[key], weight, atol=tolerance, rtol=0, msg=key)


def settings_of(folder: Path) -> Any:
    return json.loads((folder / "run.json").read_text())["settings"]


# --- what is learned ---


def test_a_classifier_that_is_a_model_too(
    model: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "run"
    more = ("--steps", 60, "--learning-rate", 3e-3, "--head-learning-rate", 3e-3, "--ema", 0.9, "--eval-every", 30)
    assert finetune(model, pictures, output, *more) == 0
    out, err = capsys.readouterr()
    assert out.startswith(f"{output}: 60 steps, loss ")
    assert "data: folder:" in err
    assert "81 pictures of 3 classes, 9 others to score on" in " ".join(err.split())
    assert f"next: coca eval classification -m {output}" in " ".join(err.split())
    saved = load_classifier(output).described
    assert (saved.class_names, saved.backbone, saved.features, saved.name) == (CLASSES, OWN_ENCODER, "patches", "run")
    assert saved.checkpoint == load(str(output)).checkpoint
    assert classify(output, f"folder:{pictures}", tmp_path) == 0
    assert value(tmp_path) > 85
    assert rows(tmp_path)[0]["model"] == "run"
    moved = output.rename(tmp_path / "elsewhere")
    assert classify(moved, f"folder:{pictures}", tmp_path / "again") == 0
    assert value(tmp_path / "again") == value(tmp_path)
    lines = [json.loads(line) for line in (moved / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "val top-1" in line] == [30, 60]
    assert {"loss", "top-1", "gradient_norm", "pictures_per_second"} < lines[0].keys()
    assert (moved / "best/model.safetensors").is_file()
    assert classify(moved / "best", f"folder:{pictures}", tmp_path / "best") == 0


def test_the_encoder_alone_is_trained(model: Path, pictures: Path, tmp_path: Path) -> None:
    assert finetune(model, pictures, tmp_path / "run", "--learning-rate", 1e-3, "--weight-decay", 0.5) == 0
    before, after = weights(model), weights(tmp_path / "run")
    assert before.keys() == after.keys()
    for name, weight in before.items():
        assert torch.equal(after[name], weight) is not name.startswith("image.vit."), name


def test_the_generative_pooler_is_trained_where_the_head_looks_at_it(
    model: Path, pictures: Path, tmp_path: Path
) -> None:
    more = ("--features", "generative", "--learning-rate", 1e-3)
    assert finetune(model, pictures, tmp_path / "run", *more) == 0
    before, after = weights(model), weights(tmp_path / "run")
    changed = {name.split(".")[1] for name, weight in before.items() if not torch.equal(after[name], weight)}
    assert changed == {"vit", "generative"}
    assert classify(tmp_path / "run", f"folder:{pictures}", tmp_path) == 0


def test_what_is_frozen_stays(model: Path, pictures: Path, tmp_path: Path) -> None:
    assert finetune(model, pictures, tmp_path / "run", "--freeze", "image.vit.blocks.0", "--learning-rate", 1e-3) == 0
    before, after = weights(model), weights(tmp_path / "run")
    for name, weight in before.items():
        trained = name.startswith("image.vit.") and not name.startswith("image.vit.blocks.0.")
        assert torch.equal(after[name], weight) is not trained, name
    assert finetune(model, pictures, tmp_path / "still", "--learning-rate", 0, "--weight-decay", 0.5) == 0
    assert all(torch.equal(weight, before[name]) for name, weight in weights(tmp_path / "still").items())


def test_layers_near_the_pixels_learn_more_slowly(model: Path) -> None:
    found = load(str(model)).model
    described = classifier_run.describe_classifier(found.config, "patches", CLASSES)
    classifier = classifier_run.Classifier(found, described.build())
    schedule = ClassifierSchedule(steps=1, batch_size=1, learning_rate=1.0, head_learning_rate=7.0, layer_decay=0.5)
    peaks = classifier_run.peak_rates(classifier, schedule)
    depth = found.config.vision.layers
    assert peaks["head.classifier.weight"] == 7.0
    assert peaks["coca.image.vit.norm.weight"] == 1.0
    assert peaks[f"coca.image.vit.blocks.{depth - 1}.norm1.weight"] == 0.5
    assert peaks["coca.image.vit.blocks.0.norm1.weight"] == 0.5**depth
    assert peaks["coca.image.vit.positions"] == 0.5 ** (depth + 1)
    classifier.train_image_side_alone()
    optimizer = build_optimizer(classifier, schedule.optimizer, 1.0, 0.1, peaks)
    by_peak = {group["peak"]: sum(p.numel() for p in group["params"]) for group in optimizer.param_groups}
    assert by_peak.keys() == {7.0, *(0.5**power for power in range(depth + 2))}
    trained = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert trained == {id(p) for p in classifier.parameters() if p.requires_grad}


def test_residual_branches_are_left_out_while_training_alone(model: Path) -> None:
    found = load(str(model)).model
    described = classifier_run.describe_classifier(found.config, "patches", CLASSES)
    classifier = classifier_run.Classifier(found, described.build())
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    plain = classifier.train()(images)
    assert torch.equal(classifier(images), plain)
    classifier.drop_paths(0.9)
    assert len({tuple(classifier(images).flatten().tolist()) for _ in range(8)}) > 1
    assert torch.equal(classifier.eval()(images), plain)


def test_another_picture_size(model: Path, pictures: Path, tmp_path: Path) -> None:
    assert finetune(model, pictures, tmp_path / "run", "--image-size", 48) == 0
    assert load_folder(tmp_path / "run").model.config.image.size == 48
    assert classify(tmp_path / "run", f"folder:{pictures}", tmp_path) == 0


def test_a_probes_head_is_begun_with(
    model: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert probe(model, f"folder:{pictures}", tmp_path, "-o", tmp_path / "probe") == 0
    more = ("--init-head", tmp_path / "probe", "--learning-rate", 0, "--head-learning-rate", 0)
    assert finetune(model, pictures, tmp_path / "run", *more) == 0
    one, other = weights(tmp_path / "probe", "head"), weights(tmp_path / "run", "head")
    assert all(torch.equal(other[name], weight) for name, weight in one.items())
    assert classify(tmp_path / "run", f"folder:{pictures}", tmp_path) == 0
    assert rows(tmp_path)[-1]["value"] == [row for row in rows(tmp_path) if row["task"] == "probe"][-1]["value"]
    capsys.readouterr()
    other = save_model(tmp_path / "other_model", "vision.layers=3")
    assert finetune(other, pictures, tmp_path / "other", "--init-head", tmp_path / "probe") == 1
    assert ": begin with the model that was probed" in " ".join(capsys.readouterr().err.split())
    more = ("--init-head", tmp_path / "probe", "--features", "generative")
    assert finetune(model, pictures, tmp_path / "other", *more) == 1
    assert "give one that a probe of the same model on the same data wrote" in " ".join(capsys.readouterr().err.split())


# --- ways of computing ---


def test_parts_give_the_course_of_the_whole_batch(model: Path, pictures: Path, tmp_path: Path) -> None:
    more = ("--optimizer", "adamw", "--learning-rate", 1e-3)
    assert finetune(model, pictures, tmp_path / "whole", *more) == 0
    assert finetune(model, pictures, tmp_path / "parts", *more, "--accumulate", 4) == 0
    assert finetune(model, pictures, tmp_path / "twice", *more, "--checkpoint-activations", "--drop-path", 0) == 0
    for line, right in zip(*(read_losses(tmp_path / name) for name in ("parts", "whole")), strict=True):
        assert line == pytest.approx(right, abs=1e-5)
    assert_close(tmp_path / "whole", tmp_path / "twice", 1e-6)


def read_losses(folder: Path) -> list[float]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if "loss" in line]


@pytest.mark.slow
@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_two_processes_have_the_course_of_one(model: Path, pictures: Path, tmp_path: Path, parallel: str) -> None:
    more = ("--flip", "--optimizer", "adamw", "--learning-rate", 1e-3)
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "coca_cli"]
    asked = words(model, f"folder:{pictures}", tmp_path / "two", *more, "--parallel", parallel)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *launcher, *asked], env=environment, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("6 steps, loss") == 1, "one process speaks for all"
    assert finetune(model, pictures, tmp_path / "one", *more) == 0
    for line, right in zip(*(read_losses(tmp_path / name) for name in ("two", "one")), strict=True):
        assert line == pytest.approx(right, abs=1e-5)
    assert read_top1(tmp_path / "two") == read_top1(tmp_path / "one")


def read_top1(folder: Path) -> list[float]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [round(line["top-1"], 3) for line in lines if "top-1" in line]


def test_a_stopped_run_goes_on_with_the_same_command(
    model: Path,
    pictures: Path,
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

    more = ("--drop-path", 0.5, "--flip", "--rand-augment", "2,9", "--ema", 0.5, "--learning-rate", 1e-3)
    with monkeypatch.context() as patched:
        patched.setattr(training_run, "train", interrupted)
        assert finetune(model, pictures, tmp_path / "run", *more) == 143
    assert "stopped at step 3 of 6; the same command goes on" in " ".join(capsys.readouterr().err.split())
    assert classify(tmp_path / "run", f"folder:{pictures}", tmp_path) == 0  # what was saved is a classifier
    assert finetune(model, pictures, tmp_path / "run", *more) == 0
    assert "going on after step 3 of 6" in capsys.readouterr().err
    assert finetune(model, pictures, tmp_path / "whole", *more) == 0
    assert_close(tmp_path / "whole", tmp_path / "run", 0)
    assert finetune(model, pictures, tmp_path / "run", *more) == 0
    assert "is finished already; --overwrite trains it anew" in " ".join(capsys.readouterr().err.split())
    assert finetune(model, pictures, tmp_path / "run", *more, "--seed", 1) == 1
    assert "holds a run with other settings" in capsys.readouterr().err
    (tmp_path / "run/config.json").unlink()
    assert finetune(model, pictures, tmp_path / "run", *more) == 0
    assert_close(tmp_path / "whole", tmp_path / "run", 0)


def test_pictures_that_cannot_be_read_are_replaced_and_named(
    model: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tree = tmp_path / "tree"
    shutil.copytree(pictures, tree)
    (tree / "train/red/03.png").write_bytes(b"no picture")
    assert finetune(model, tree, tmp_path / "run", "--val-split", "test", "--steps", 8) == 0
    assert "left out: " in capsys.readouterr().err
    assert "red/03.png" in (tmp_path / "run/run.json").read_text()
    assert settings_of(tmp_path / "run")["val"] == "test"
    assert finetune(model, tree, tmp_path / "strict", "--val-split", "test", "--steps", 8, "--strict") == 1
    assert "Stopped because of --strict" in capsys.readouterr().err


def test_passes_in_place_of_steps(model: Path, pictures: Path, tmp_path: Path) -> None:
    without = [word for word in words(model, f"folder:{pictures}", tmp_path / "run") if word not in ("--steps", "6")]
    assert run(*without, "--epochs", 1.2) == 0
    assert settings_of(tmp_path / "run")["recipe"]["steps"] == round(1.2 * 81 / 16)


def test_what_was_trained_is_kept_where_it_cannot_be_scored(
    model: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tree = tmp_path / "tree"
    shutil.copytree(pictures, tree)
    for number in range(3):
        (tree / f"test/red/{number:02}.png").write_bytes(b"no picture")
    assert finetune(model, tree, tmp_path / "run", "--val-split", "test") == 1
    assert "3 of 30 examples cannot be read, which is more than 5 %" in " ".join(capsys.readouterr().err.split())
    assert (tmp_path / "run/model.safetensors").is_file()
    for number in (1, 2):
        shutil.copy(pictures / f"test/red/{number:02}.png", tree / f"test/red/{number:02}.png")
    assert finetune(model, tree, tmp_path / "again", "--val-split", "test") == 0
    err = " ".join(capsys.readouterr().err.split())
    assert "on 29 validation examples" in err
    assert "left out: " in err


# --- clips ---


def test_clips(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = f"videos:{save_clips(tmp_path / 'clips')}"
    more = ("--frames", 3, "--times", "--batch-size", 4, "--flip", "--val-part", 0.2)
    assert run(*words(model, data, tmp_path / "run", *more, task="video")) == 0
    described = load_classifier(tmp_path / "run").described
    assert (described.clips, described.frames, described.times) == (True, 3, True)
    assert classify(tmp_path / "run", data, tmp_path) == 0
    assert rows(tmp_path)[0]["n"] == 6
    lines = (tmp_path / "run/metrics.jsonl").read_text().splitlines()
    assert "clips_per_second" in json.loads(lines[0])
    capsys.readouterr()
    assert run(*words(model, data, tmp_path / "other")) == 1
    assert "has clips: use coca finetune video" in capsys.readouterr().err


# --- mistakes ---


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--features", "mean"), "--features mean is one vector: finetuning looks at patches or generative"),
        (("--times",), "--times is for the frames of clips"),
        (("--val-split", "train"), "--val-split train is also what is trained on"),
        (("--train-split", "trein"), "unknown split"),
        (("--batch-size", 500), "training examples do not fill one batch of 500"),
        (("--limit", 1, "--batch-size", 1), "has one example per class, so none can be held out"),
        (("--freeze", "vit"), "unknown parameters to freeze"),
        (("--precision", "fp16"), "--precision fp16"),
        (("--accumulate", 3), "choose a --batch-size that is a multiple of 3"),
        (("--resume",), "nothing to resume in"),
        (("--rand-augment", "2"), "give the number of operations and their magnitude"),
        (("--init-head", "nowhere"), "no classifier.json in nowhere"),
    ],
)
def test_mistakes_are_refused(
    model: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: tuple[str, ...], message: str
) -> None:
    assert finetune(model, pictures, tmp_path / "run", *more) == 1
    assert message in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "run/model.safetensors").exists()


def test_a_set_with_one_split(model: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert finetune(model, pictures / "train", tmp_path / "run") == 1
    assert "has one split, all: training on it leaves nothing of it for a score" in " ".join(
        capsys.readouterr().err.split()
    )
    assert finetune(model, pictures / "train", tmp_path / "run", "--train-split", "all", "--steps", 1) == 0


def test_pictures_for_clips(model: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*words(model, f"folder:{pictures}", tmp_path / "run", task="video")) == 1
    assert "has pictures: use coca finetune classification" in " ".join(capsys.readouterr().err.split())


def test_a_model_that_is_no_coca(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    other = SimpleNamespace(model=torch.nn.Linear(1, 1), tokenizer=None, name="a clip")
    monkeypatch.setattr(finetune_setup, "load", lambda *_: other)
    assert finetune(tmp_path, pictures, tmp_path / "run") == 1
    assert "a clip is no CoCa, and only CoCa models are finetuned here" in " ".join(capsys.readouterr().err.split())


# --- recipes ---


PAPER = {
    ("classification", "paper"): (200_000, 512, 5e-4, 0, 0.01, 0.5, (2, 20)),
    ("classification", "paper-text"): (200_000, 512, 1e-4, 0, 0.01, 0.5, (2, 20)),
    ("video", "paper"): (120_000, 128, 5e-4, 1000, 0.0, 0.1, (0, 0)),
    ("video", "paper-text"): (120_000, 128, 1e-4, 1000, 0.0, 0.1, (0, 0)),
    ("video", "paper-moments"): (120_000, 128, 5e-4, 1000, 0.0, 0.0, (0, 0)),
    ("video", "paper-moments-text"): (120_000, 128, 1e-4, 1000, 0.0, 0.0, (0, 0)),
}
"""Steps, batch, encoder's rate, warm-up, weight decay, label smoothing and RandAugment of the paper's Table 9; where
its section 4.2.1 contradicts that, of the recipe that ends in -text."""


@pytest.mark.parametrize(("task", "name"), PAPER)
def test_the_papers_recipes(monkeypatch: pytest.MonkeyPatch, task: str, name: str) -> None:
    asked: list[ClassifierRequest] = []
    monkeypatch.setattr(classifier_run, "run_finetune", lambda request, reporter: asked.append(request))
    data = "digits" if task == "classification" else "moving-scenes"
    assert run("finetune", task, "--recipe", name, "-m", "x", "-d", data, "-o", "out") == 0
    schedule, augmentation = asked[0].schedule, asked[0].augmentation
    assert (
        schedule.steps,
        schedule.batch_size,
        schedule.learning_rate,
        round(schedule.warmup * schedule.steps),
        schedule.weight_decay,
        schedule.label_smoothing,
        tuple(augmentation.rand_augment),
    ) == PAPER[task, name]
    assert (schedule.head_learning_rate, schedule.ema, schedule.clip) == (5e-4, 0.9999, 1.0)
    assert (schedule.optimizer, schedule.decay, schedule.layer_decay, schedule.drop_path) == (
        *("adafactor", "cosine", 1.0, 0.0),
    )
    assert augmentation.min_area == 1.0


# --- mixing ---


@pytest.mark.parametrize("alpha", [0.0, 0.25, 1.0])
def test_models_are_mixed_weight_by_weight(model: Path, pictures: Path, tmp_path: Path, alpha: float) -> None:
    assert finetune(model, pictures, tmp_path / "run", "--learning-rate", 1e-3) == 0
    assert run("models", "interpolate", tmp_path / "run", model, "--alpha", alpha, "-o", tmp_path / "mixed") == 0
    one, other, mixed = (weights(folder) for folder in (tmp_path / "run", model, tmp_path / "mixed"))
    for name, weight in mixed.items():
        torch.testing.assert_close(weight, alpha * one[name] + (1 - alpha) * other[name], atol=1e-6, rtol=0)
    described = json.loads((tmp_path / "mixed/config.json").read_text())
    assert described["mixed"]["alpha"] == alpha
    assert classify(tmp_path / "mixed", f"folder:{pictures}", tmp_path) == 0  # the head goes along


def test_a_model_without_a_head_is_mixed_too(model: Path, tmp_path: Path) -> None:
    shutil.copytree(model, tmp_path / "other")
    assert run("models", "interpolate", tmp_path / "other", model, "-o", tmp_path / "mixed") == 0
    assert not (tmp_path / "mixed/classifier.json").exists()
    assert all(torch.equal(weight, weights(model)[name]) for name, weight in weights(tmp_path / "mixed").items())


def test_models_that_cannot_be_mixed(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    other = save_model(tmp_path / "other", "vision.layers=3")
    assert run("models", "interpolate", model, other, "-o", tmp_path / "mixed") == 1
    assert "are built differently, so their weights cannot be mixed" in " ".join(capsys.readouterr().err.split())
    assert run("models", "interpolate", model, model, "-o", other) == 1
    assert "is not empty; choose another --output" in capsys.readouterr().err
    monkeypatch.setattr(interpolation, "load", lambda *_: SimpleNamespace(model=torch.nn.Linear(1, 1), name="a clip"))
    assert run("models", "interpolate", model, model, "-o", tmp_path / "mixed") == 1
    assert "a clip is no CoCa; only models of one kind can be mixed" in " ".join(capsys.readouterr().err.split())


# --- probing with the encoder trained ---


def test_a_probe_that_is_not_frozen_is_finetuning_with_a_score(
    model: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = f"folder:{pictures}"
    fixed = ("--no-frozen", "--steps", 6, "--head-batch-size", 16, "--precision", "fp32", "--workers", 1)
    more = (*fixed, "--ema", 0, "--results", tmp_path / "results", "--no-cache", "--encoder-learning-rate", 1e-3)
    assert run("probe", "-m", model, "-d", data, "-o", tmp_path / "probe", *more) == 0
    assert "top-1" in capsys.readouterr().out
    (first, *_) = rows(tmp_path)
    assert (first["task"], first["split"], first["n"]) == ("classification", "test", 30)
    same = ("--learning-rate", 1e-3, "--head-learning-rate", 5e-4, "--weight-decay", 0.01)
    assert finetune(model, pictures, tmp_path / "run", *same) == 0
    assert_close(tmp_path / "run", tmp_path / "probe", 0)
    assert run("probe", "-m", model, "-d", data, "-o", tmp_path / "probe", *more) == 0  # scored again, not trained
    assert "is finished already" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("-o", "x", "--head", "knn"), "--no-frozen trains the attentional head on all examples"),
        (("-o", "x", "--shots", "2"), "leave out --head and --shots"),
        ((), "--no-frozen writes a model: say where with --output"),
        (("-o", "x", "--cache-budget", "1"), "--no-frozen keeps no features, as they change with the encoder"),
        (("-o", "x", "--learning-rates", "1e-3,1e-4"), "--no-frozen trains one model, not 2"),
    ],
)
def test_what_makes_sense_for_a_frozen_encoder_alone(
    model: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: tuple[str, ...], message: str
) -> None:
    words = ("probe", "--no-frozen", "-m", model, "-d", f"folder:{pictures}", "--results", tmp_path / "results")
    assert run(*words, *more) == 1
    assert message in " ".join(capsys.readouterr().err.split())


# --- several looks at a clip ---


def test_clips_are_looked_at_several_times(
    model: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = f"videos:{save_clips(tmp_path / 'clips')}"
    assert run(*words(model, data, tmp_path / "run", "--frames", 2, "--batch-size", 4, task="video")) == 0
    assert classify(tmp_path / "run", data, tmp_path, "--crops", 3, "--views", 2, "--span", 0.2) == 0
    (run_file,) = (tmp_path / "results/runs").glob("*.json")
    settings = json.loads(run_file.read_text())["settings"]
    assert (settings["crops"], settings["frames"]["views"]) == (3, 2)
    assert finetune(model, pictures, tmp_path / "still", "--steps", 1) == 0
    capsys.readouterr()
    assert classify(tmp_path / "still", f"folder:{pictures}", tmp_path, "--crops", 3) == 1
    assert "looks at pictures once: --views and --crops are for classifiers of clips" in " ".join(
        capsys.readouterr().err.split()
    )
