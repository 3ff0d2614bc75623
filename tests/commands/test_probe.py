"""`coca probe` and `coca eval classification` as a user runs them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from coca_cli.model.classifier_folder import load_classifier
from coca_cli.tasks import token_features
from tests.commands.running import run
from tests.commands.squares import CLASSES, save_clips, save_model, save_pictures
from tests.datasets.make_samples import save_clip

QUICK = ("--steps", 60, "--head-batch-size", 16, "--learning-rates", "0.003,0.03", "--ema", 0.9, "--precision", "fp32")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_pictures(tmp_path_factory.mktemp("pictures"))


def probe(model: Path, data: object, work: Path, *more: object) -> int:
    fixed = ("--results", work / "results", "--cache-dir", work / "cache", *QUICK)
    return run("probe", "-m", model, "-d", data, *fixed, *more)


def classify(classifier: Path, data: object, work: Path, *more: object) -> int:
    fixed = ("--results", work / "results", "--cache-dir", work / "cache", "--precision", "fp32")
    return run("eval", "classification", "-m", classifier, "-d", data, *fixed, *more)


def rows(work: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (work / "results/results.jsonl").read_text().splitlines()]


def value(work: Path, metric: str = "top-1") -> float:
    return float(str([row for row in rows(work) if row["metric"] == metric][-1]["value"]))


def test_the_attentional_head_learns_what_it_is_and_its_folder_gives_the_same_score(
    model: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert probe(model, f"folder:{pictures}", tmp_path, "--frozen", "-o", tmp_path / "probe") == 0
    out, err = capsys.readouterr()
    assert "top-1" in out
    assert "chosen of 4 on 9 validation examples: learning rate" in err
    found = rows(tmp_path)[0]
    assert (found["task"], found["split"], found["n"]) == ("probe", "test", 30)
    assert value(tmp_path) > 80
    (run_file,) = (tmp_path / "results/runs").glob("*.json")
    chosen = json.loads(run_file.read_text())["chosen"]
    assert len(chosen["tried"]) == 4
    assert chosen["chosen"] in [{key: tried[key] for key in chosen["chosen"]} for tried in chosen["tried"]]
    saved = load_classifier(tmp_path / "probe").described
    assert (saved.class_names, saved.features, saved.clips) == (CLASSES, "patches", False)
    assert classify(tmp_path / "probe", f"folder:{pictures}", tmp_path) == 0
    again = [row for row in rows(tmp_path) if row["task"] == "classification"]
    for one, other in zip(rows(tmp_path), again, strict=False):
        assert (one["metric"], one["value"], one["low"], one["high"]) == (
            *(other[key] for key in ("metric", "value", "low", "high")),
        )


def test_the_second_run_takes_no_forward_pass_and_gives_the_same(
    model: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert probe(model, f"folder:{pictures}", tmp_path, "-o", tmp_path / "one") == 0

    def refuse(*_: object) -> None:
        pytest.fail("the encoder ran again")

    monkeypatch.setattr(token_features, "encode_tokens", refuse)
    assert probe(model, f"folder:{pictures}", tmp_path, "-o", tmp_path / "two") == 0
    one, two = (load_file(tmp_path / name / "head.safetensors") for name in ("one", "two"))
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert rows(tmp_path)[0]["settings"] == rows(tmp_path)[-1]["settings"]


def test_kept_and_fresh_features_give_the_same_head(model: Path, pictures: Path, tmp_path: Path) -> None:
    assert probe(model, f"folder:{pictures}", tmp_path, "-o", tmp_path / "kept") == 0
    assert probe(model, f"folder:{pictures}", tmp_path, "-o", tmp_path / "fresh", "--no-cache") == 0
    kept, fresh = (load_file(tmp_path / name / "head.safetensors") for name in ("kept", "fresh"))
    for name, weight in kept.items():
        torch.testing.assert_close(fresh[name], weight, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("more", "task"),
    [
        (("--features", "generative"), "generative"),
        (("--head", "linear"), "embedding"),
        (("--head", "linear", "--features", "mean"), "mean"),
        (("--head", "knn"), "embedding"),
    ],
)
def test_other_heads_and_features(
    model: Path, pictures: Path, tmp_path: Path, more: tuple[str, ...], task: str
) -> None:
    assert probe(model, f"folder:{pictures}", tmp_path, *more) == 0
    assert value(tmp_path) > 34  # chance is a third
    (run_file,) = (tmp_path / "results/runs").glob("*.json")
    assert json.loads(run_file.read_text())["settings"]["features"] == task


def test_settings_are_chosen_on_a_split_of_its_own(model: Path, pictures: Path, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    for name in ("train", "test"):
        (tree / name).symlink_to(pictures / name)
    (tree / "val").symlink_to(pictures / "test")
    assert probe(model, f"folder:{tree}", tmp_path, "--val-split", "val") == 0
    (run_file,) = (tmp_path / "results/runs").glob("*.json")
    found = json.loads(run_file.read_text())
    assert found["settings"]["val"] == "val"
    best = max(found["chosen"]["tried"], key=lambda tried: (tried["val top-1"], -tried["val loss"]))
    assert value(tmp_path) == pytest.approx(best["val top-1"], abs=1e-4)  # here it has the same pictures


@pytest.mark.parametrize("head", ["attentional", "linear", "knn"])
def test_a_few_examples_per_class(model: Path, pictures: Path, tmp_path: Path, head: str) -> None:
    assert probe(model, f"folder:{pictures}", tmp_path, "--head", head, "--shots", "1,8", "--draws", 3) == 0
    found = {str(row["metric"]): row for row in rows(tmp_path)}
    assert list(found) == [
        *("1-shot top-1", "1-shot top-1 standard deviation", "8-shot top-1", "8-shot top-1 standard deviation"),
    ]
    (run_file,) = (tmp_path / "results/runs").glob("*.json")
    chosen = json.loads(run_file.read_text())["chosen"]
    for count in (1, 8):
        values = chosen[f"{count}-shot top-1"]
        assert len(values) == 3
        assert found[f"{count}-shot top-1"]["value"] == pytest.approx(np.mean(values))
        assert found[f"{count}-shot top-1 standard deviation"]["value"] == pytest.approx(np.std(values, ddof=1))


def test_one_draw_has_no_interval(model: Path, pictures: Path, tmp_path: Path) -> None:
    words = ("--head", "linear", "--shots", 4, "--draws", 1)
    assert probe(model, f"folder:{pictures}", tmp_path, *words) == 0
    (row,) = rows(tmp_path)
    assert (row["metric"], row["low"], row["high"]) == ("4-shot top-1", None, None)


def test_clips(model: Path, tmp_path: Path) -> None:
    save_clips(tmp_path / "clips")
    words = (f"videos:{tmp_path}/clips", tmp_path, "--frames", 3, "--times", "-o", tmp_path / "probe")
    assert probe(model, *words) == 0
    assert rows(tmp_path)[0]["n"] == 6
    saved = load_classifier(tmp_path / "probe").described
    assert (saved.clips, saved.frames, saved.times) == (True, 3, True)
    assert classify(tmp_path / "probe", f"videos:{tmp_path}/clips", tmp_path) == 0
    assert rows(tmp_path)[-1]["value"] == rows(tmp_path)[1]["value"]
    views = ("--views", 2, "--span", 0.2, "--predictions", tmp_path / "said.csv")
    assert classify(tmp_path / "probe", f"videos:{tmp_path}/clips", tmp_path, *views) == 0
    assert len((tmp_path / "said.csv").read_text().splitlines()) == 7


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            ("--head", "knn", "--features", "patches"),
            "--head knn looks at embedding or mean, not at --features patches",
        ),
        (("--head", "linear", "-o", "x"), "--head linear leaves no classifier to write"),
        (("--learning-rates", "fast"), "--learning-rates fast: give numbers from 0 on with commas"),
        (("--weight-decays", "-1"), "--weight-decays -1: give numbers from 0 on"),
        (("--shots", "few"), "--shots few: give whole numbers from 1 on"),
        (("--shots", "1,2", "-o", "x"), "--shots trains many classifiers for their mean: leave out --output"),
        (("--times",), "--times is for the frames of clips"),
        (("--head", "linear", "--flip"), "--head linear looks at vectors that are computed once: leave out"),
        (("--encoder-learning-rate", "1"), "--encoder-learning-rate is for --no-frozen"),
        (("--limit", "1"), "has one training example per class, so none can be held out to choose settings on"),
        (("--split", "train"), "trained on and scored on the same split"),
        (("--train-split", "trein"), "unknown split"),
    ],
)
def test_mistakes_are_refused(
    model: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: tuple[str, ...], message: str
) -> None:
    assert probe(model, f"folder:{pictures}", tmp_path, *more) == 1
    assert message in capsys.readouterr().err


def test_a_classifier_is_not_replaced_by_itself(
    model: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (f"folder:{pictures}", tmp_path, "-o", tmp_path / "probe", "--steps", 2)
    assert probe(model, *words) == 0
    assert probe(model, *words) == 1
    assert "has a classifier already; choose another folder or say --overwrite" in capsys.readouterr().err
    assert probe(model, *words, "--overwrite") == 0


def test_what_cannot_be_classified(
    model: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = f"folder:{pictures}"
    assert probe(model, data, tmp_path, "-o", tmp_path / "probe", "--steps", 2) == 0
    assert classify(tmp_path / "probe", "digits", tmp_path) == 1
    assert "they must be the same, in one order" in capsys.readouterr().err
    save_clip(tmp_path / "clips/red/1.mp4", 0)
    save_clip(tmp_path / "clips/blue/1.mp4", 1)
    assert classify(tmp_path / "probe", f"videos:{tmp_path}/clips", tmp_path) == 1
    err = capsys.readouterr().err
    assert " was trained on pictures, and " in err
    assert " has others: use a set of pictures" in err
    assert classify(model, data, tmp_path) == 1
    assert "give the folder that coca probe or coca finetune wrote" in capsys.readouterr().err
    described = tmp_path / "probe/classifier.json"
    good = described.read_text()
    for text, message in (
        ("{", "is damaged: it should be JSON; train the classifier again"),
        ("{}", "is no classifier of coca: it should say"),
        (good.replace('"format_version": 1', '"format_version": 9'), "has the classifier format 9, this coca reads 1"),
        (good.replace('"width": ', '"width": 1'), "cannot be used ("),
        (good.replace('"checkpoint": "', '"checkpoint": "x'), "the head was trained on weights x"),
    ):
        described.write_text(text)
        assert classify(tmp_path / "probe", data, tmp_path) == 1
        assert message in " ".join(capsys.readouterr().err.split())


def test_a_model_that_is_no_coca_has_no_tokens(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from coca_cli.model.baselines import Baseline
    from coca_cli.model.placement import Placed

    model = Baseline.__new__(Baseline)
    placed = Placed(model, None, None, "a clip", "", torch.device("cpu"), "fp32")  # type: ignore[arg-type]
    with pytest.raises(Exception, match="a clip is no CoCa, and only its embedding is known here"):
        token_features.token_computing(placed, token_features.FeatureChoice.patches, None, clips=False)  # type: ignore[arg-type]


@pytest.mark.slow
def test_two_processes_train_the_same_head_and_score_exactly_alike(model: Path, pictures: Path, tmp_path: Path) -> None:
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "coca_cli", "probe"]
    words = [sys.executable, *launcher, "-m", str(model), "-d", f"folder:{pictures}", "-o", str(tmp_path / "two/head")]
    words += ["--results", str(tmp_path / "two/results"), "--cache-dir", str(tmp_path / "two/cache"), *map(str, QUICK)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("In points; 95 % interval") == 1, "one process speaks for all"
    assert probe(model, f"folder:{pictures}", tmp_path / "one", "-o", tmp_path / "one/head") == 0
    one, two = (load_file(tmp_path / name / "head/head.safetensors") for name in ("one", "two"))
    for name, weight in one.items():
        torch.testing.assert_close(two[name], weight, atol=2e-3, rtol=1e-3)
    for processes in ("one", "two"):
        assert classify(tmp_path / "one/head", f"folder:{pictures}", tmp_path / processes) == 0
    assert value(tmp_path / "one") == value(tmp_path / "two")
