"""`coca finetune caption` as a user runs it, from a tiny model that writes about pictures of one colour each."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from coca_cli.model.checkpoint import load_folder
from coca_cli.model.placement import place
from coca_cli.model.tokenizer import ClipTokenizer, SentencePieceTokenizer
from coca_cli.tasks.captioning import Writing, captioner_of, write_texts
from coca_cli.training import pretrain_run
from coca_cli.training import training_run as module
from coca_cli.training.batches import Position
from coca_cli.training.loop import StepReport
from coca_cli.training.optim import CONTRASTIVE
from coca_cli.training.pretrain_request import PretrainRequest
from coca_cli.training.utilisation import StepCost
from tests.commands.running import run
from tests.datasets.make_samples import SAMPLES
from tests.model.small_open_clip import CLIP, COCA, known_to_open_clip, saved_weights, small_model, write_hub_folder
from tests.training.writer import COLOURS, SIDE, THINGS, save_writer

NEW_WORDS = tuple(f"the {thing} is {colour}" for colour, thing in zip(COLOURS, THINGS, strict=True))
"""What the pictures' captions are here; the writer has learned others of the same words."""


@pytest.fixture(autouse=True)
def _nothing_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Utilisation takes half of so short a run."""
    monkeypatch.setattr(pretrain_run, "step_cost", lambda config: StepCost(1000, 10))
    monkeypatch.setattr(module, "measured_peak", lambda device, mixed: 1e9)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_writer(tmp_path_factory.mktemp("models") / "writer")


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The writer's pictures with new captions."""
    folder = tmp_path_factory.mktemp("pairs")
    with (folder / "colours.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["image", "caption"])
        for (colour, shade), caption in zip(COLOURS.items(), NEW_WORDS, strict=True):
            Image.new("RGB", (SIDE, SIDE), shade).save(folder / f"{colour}.png")
            rows.writerow([f"{colour}.png", caption])
    return folder / "colours.csv"


Finetune = Callable[..., int]


@pytest.fixture
def finetune(model: Path, table: Path) -> Finetune:
    """`coca finetune caption` for 2 steps on the table, unless told otherwise."""

    def finetune(output: Path, *more: object, start: object = model, data: object = table) -> int:
        length = () if "--epochs" in more else ("--steps", 2)
        fixed = ("--precision", "fp32", "--batch-size", 6, "--workers", 0, *length)
        return run("finetune", "caption", "--model", start, "--data", data, "--output", output, *fixed, *more)

    return finetune


def refused(capsys: pytest.CaptureFixture[str], code: int) -> str:
    out, err = capsys.readouterr()
    assert code == 1
    assert out == ""
    assert "Traceback" not in err
    return err.replace("\n", " ")


def lines_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def words_of(path: Path) -> Any:
    return json.loads(path.read_text())


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


# --- what a run does ---


def test_captions_are_learned_and_the_scores_before_and_after_are_told(
    finetune: Finetune, table: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "run"
    classes = f"folder:{SAMPLES / 'folder'}"
    evaluate = ("--eval-caption", table, "--eval-zeroshot", classes)
    assert finetune(output, *evaluate, "--steps", 25, "--learning-rate", 3e-3) == 0

    out, err = capsys.readouterr()
    lines = lines_of(output)
    scored = [line for line in lines if "score" in line]
    assert [line["step"] for line in scored] == [0, 25]
    assert scored[0] == lines[0]
    before, after = (line[f"{table} CIDEr"] for line in (scored[0], scored[-1]))
    assert before < 500 < 900 < after
    assert [line["score"] for line in scored] == [line[f"{table} CIDEr"] for line in scored]
    first, *rows = out.splitlines()
    assert first == f"{output}: 25 steps, caption loss {lines[-2]['caption']:.3f}"
    assert rows[0].split() == ["before", "after"]
    names = [name for name in scored[0] if name not in ("step", "score")]
    assert names[0] == f"{classes} top-1"
    assert rows[1:] == [f"{n:{max(map(len, names))}}  {scored[0][n]:8.2f}  {scored[-1][n]:8.2f}" for n in names]
    err = err.replace("\n", " ")
    assert "red.png: 'a red dog is in it', by people: 'the dog is red'" in err
    assert "red.png: 'the dog is red', by people: 'the dog is red'" in err
    assert f"step 25: {classes} top-1 {scored[-1][names[0]]:.2f}" in err
    assert f"model: {model}, 0.8M parameters (0.8M trained)" in err
    assert f"next: coca eval caption -m {output} -d NAME" in err

    # the folder is a model that writes so
    placed = place(load_folder(output).ready(), "cpu", "fp32")
    pixels = torch.tensor(list(COLOURS.values()), dtype=torch.uint8)[:, :, None, None].expand(-1, -1, SIDE, SIDE)
    written = [texts[0].text for texts in write_texts(captioner_of(placed), Writing(), pixels.contiguous())]
    assert written == list(NEW_WORDS)
    described = words_of(output / "config.json")
    assert described["model"] == words_of(model / "config.json")["model"]
    assert (described["trained"]["recipe"]["contrastive_weight"], described["trained"]["steps"]) == (0.0, 25)
    assert (output / "tokenizer.model").read_bytes() == (model / "tokenizer.model").read_bytes()


def test_what_only_the_embeddings_need_stays_bit_for_bit_and_all_else_is_trained(
    finetune: Finetune, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "run"
    assert finetune(output, "--learning-rate", 0.01, "--weight-decay", 0.5, "--accumulate", 2, "--quiet") == 0
    before, after = weights(model), weights(output)
    still = {name for name, value in before.items() if torch.equal(after[name], value)}
    assert still == {name for name in before if name.startswith(CONTRASTIVE)}
    lines = lines_of(output)
    assert [line["step"] for line in lines] == [1, 2]
    # nothing was scored: no table
    assert capsys.readouterr().out == f"{output}: 2 steps, caption loss {lines[-1]['caption']:.3f}\n"


def test_the_loss_is_that_of_captions_alone(finetune: Finetune, tmp_path: Path) -> None:
    output = tmp_path / "run"
    assert finetune(output, "--steps", 1, "--quiet") == 0
    (line,) = lines_of(output)
    assert line["loss"] == line["caption"] > 0
    assert line["contrastive"] > 0


def test_the_defaults(finetune: Finetune, model: Path, table: Path, tmp_path: Path) -> None:
    """Table 10 of the paper, but for the batch and the number of steps."""
    output = tmp_path / "run"
    assert finetune(output, "--quiet") == 0
    settings = words_of(output / "run.json")["settings"]
    assert settings["recipe"] == {
        "steps": 2,
        "batch_size": 6,
        "learning_rate": 1e-5,
        "warmup": 0.02,
        "decay": "cosine",
        "optimizer": "adafactor",
        "weight_decay": 0.1,
        "clip": 1.0,
        "contrastive_weight": 0.0,
        "caption_weight": 1.0,
        "precision": "fp32",
        "ema": 0.0,
        "word_dropout": 0.0,
        "mask_equal_texts": False,
        "seed": 0,
    }
    assert settings["augmentation"] == {
        "min_area": 1.0,
        "flip": False,
        "turn": False,
        "rand_augment": [0, 0],
        "keep_colours": False,
    }
    assert (settings["init"], settings["pretrained"], settings["data"]) == (str(model), None, {str(table): 1.0})


def test_epochs_and_freezing_and_an_average(finetune: Finetune, model: Path, tmp_path: Path) -> None:
    output = tmp_path / "run"
    more = ("--epochs", 3, "--freeze", "image", "--ema", 0.5, "--learning-rate", 0.01, "--quiet")
    assert finetune(output, *more) == 0
    trained = words_of(output / "config.json")["trained"]
    assert (trained["steps"], trained["weights"]) == (3, "moving average")
    before, after = weights(model), weights(output)
    for name, value in before.items():
        assert torch.equal(after[name], value) is name.startswith(("image.", *CONTRASTIVE)), name


def test_another_picture_size(finetune: Finetune, tmp_path: Path) -> None:
    assert finetune(tmp_path / "run", "--image-size", 32, "--quiet") == 0
    found = load_folder(tmp_path / "run").model
    assert (found.config.image.size, found.image.vit.positions.shape[0]) == (32, 16)


# --- going on ---


def interrupted_at(step: int) -> Any:
    """`train`, during whose step the system stops the process."""
    train = module.train

    def interrupted(*arguments: Any) -> Iterator[tuple[StepReport, Position]]:
        for report, position in train(*arguments):
            if report.step == step:
                os.kill(os.getpid(), signal.SIGTERM)
            yield report, position

    return interrupted


def test_a_stopped_run_goes_on_with_the_same_command(
    finetune: Finetune,
    table: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    output, whole = tmp_path / "run", tmp_path / "whole"
    more = ("--steps", 4, "--learning-rate", 1e-3, "--eval-retrieval", table)
    with monkeypatch.context() as patched:
        patched.setattr(module, "train", interrupted_at(2))
        assert finetune(output, *more) == 143
    out, err = capsys.readouterr()
    assert out == ""
    assert "stopped at step 2 of 4; the same command" in err.replace("\n", " ")
    assert [line["step"] for line in lines_of(output)] == [0, 1, 2]
    assert finetune(output, *more) == 0
    out, err = capsys.readouterr()
    assert "going on after step 2 of 4" in err
    assert "step 0: " not in err  # it is not scored as if it began
    assert finetune(whole, *more) == 0
    assert capsys.readouterr().out.replace(str(whole), str(output)) == out
    assert f"{table} caption loss " in out
    expected = weights(whole)
    assert all(torch.equal(value, expected[name]) for name, value in weights(output).items())
    timed = ("pairs_per_second", "utilisation")
    found, right = (
        [{name: value for name, value in line.items() if name not in timed} for line in lines_of(folder)]
        for folder in (output, whole)
    )
    assert found == right
    assert [line["step"] for line in found] == [0, 1, 2, 3, 4, 4]

    # a finished run tells its scores again, and is not gone on with from another model
    assert finetune(output, *more) == 0
    again, err = capsys.readouterr()
    assert "is finished already; --overwrite trains it anew" in err.replace("\n", " ")
    assert again == out
    message = refused(capsys, finetune(output, *more, start=shutil.copytree(whole, tmp_path / "other")))
    assert "holds a run with other settings: init was " in message


def test_a_model_is_not_tuned_in_its_own_place_without_asking(
    finetune: Finetune, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start = shutil.copytree(model, tmp_path / "writer")
    before = (start / "model.safetensors").read_bytes()
    message = refused(capsys, finetune(start, start=start))
    assert "already holds a model; choose another --output, or replace it with --overwrite" in message
    assert (start / "model.safetensors").read_bytes() == before
    message = refused(capsys, finetune(tmp_path / "run", "--resume"))
    assert "nothing to resume in" in message


# --- which model ---


def test_an_architecture_is_trained_from_scratch_where_that_is_asked_for(finetune: Finetune, tmp_path: Path) -> None:
    output = tmp_path / "run"
    more = ("--from-scratch", "--image-size", 16, "--limit", 8, "--batch-size", 4, "--steps", 1, "--quiet")
    assert finetune(output, *more, start="coca_tiny", data="scenes") == 0
    found = load_folder(output)
    assert isinstance(found.tokenizer, SentencePieceTokenizer)
    assert (found.model.config.image.size, found.model.config.text.vocab_size) == (16, found.tokenizer.vocab_size)
    settings = words_of(output / "run.json")["settings"]
    assert (settings["init"], settings["recipe"]["contrastive_weight"]) == (None, 0.0)


def test_weights_of_open_clip_by_architecture_and_file(finetune: Finetune, tmp_path: Path) -> None:
    with known_to_open_clip({"coca_small": COCA}):
        save_file(saved_weights(small_model(COCA)), tmp_path / "coca.safetensors")
        output = tmp_path / "run"
        more = ("--pretrained", tmp_path / "coca.safetensors", "--learning-rate", 0, "--quiet")
        assert finetune(output, *more, start="coca_small") == 0
        settings = words_of(output / "run.json")["settings"]
        assert (settings["init"], settings["pretrained"]) == ("coca_small", str(tmp_path / "coca.safetensors"))
    found = load_folder(output)
    assert isinstance(found.tokenizer, ClipTokenizer)
    theirs = load_file(tmp_path / "coca.safetensors")["text.token_embedding.weight"]
    torch.testing.assert_close(found.model.text.embedding.weight.detach(), theirs)


@pytest.fixture(scope="module")
def baseline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CLIP in a folder, as open_clip's hub has it."""
    folder = write_hub_folder(tmp_path_factory.mktemp("models") / "clip", CLIP)
    with known_to_open_clip({"clip_small": CLIP}):
        save_file(saved_weights(small_model(CLIP)), folder / "open_clip_model.safetensors")
    return folder


def test_a_model_that_writes_nothing_is_refused(
    finetune: Finetune, baseline: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    message = refused(capsys, finetune(tmp_path / "run", start=baseline))
    assert "clip is no CoCa: give one with --model" in message
    assert not (tmp_path / "run" / "model.safetensors").exists()


@pytest.mark.parametrize(
    ("start", "more", "message"),
    [
        ("coca_tiny", (), "coca_tiny is an architecture, and its weights would be random: give a trained model's f"),
        ("coca_ViT-B-32", (), "or --pretrained with a tag or file, or say --from-scratch"),
        ("coca_tiny", ("--from-scratch", "--pretrained", "x.pt"), "random weights, but x.pt has some; leave one out"),
        ("coca_tinny", ("--from-scratch",), "unknown architecture 'coca_tinny'. Did you mean coca_tiny?"),
        ("coca_tiny", ("--pretrained", "x.pt"), "coca_tiny is an architecture without published weights"),
        ("runs/nowhere", (), "no model folder runs/nowhere"),
    ],
)
def test_models_that_are_refused(
    finetune: Finetune,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    start: str,
    more: tuple[object, ...],
    message: str,
) -> None:
    for dry in ((), ("--dry-run",)):
        assert message in refused(capsys, finetune(tmp_path / "run", *more, *dry, start=start))


def test_a_folder_has_weights_of_its_own(
    finetune: Finetune, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    message = refused(capsys, finetune(tmp_path / "run", "--from-scratch"))
    assert f"--from-scratch begins with random weights, but {model} has some; leave one out" in message
    message = refused(capsys, finetune(tmp_path / "run", "--pretrained", "x.pt"))
    assert "is a folder with its own weights; leave out --pretrained x.pt" in message


# --- refusals ---


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--epochs", 2, "--steps", 3), "both --steps 3 and --epochs 2 are given for the length of one run; leave one"),
        (("--weights", "1,x"), "--weights 1,x: give numbers with commas between them, such as 1,1"),
        (("--weights", "1,1"), "2 --weights for 1 sources of --data"),
        (("--batch-size", 7), "6 training pictures do not fill one batch of 7"),
        (("--freeze", "*"), "--freeze * leaves nothing to train"),
        (("--eval-caption", "digits"), "no captions in digits: --eval-caption takes pictures with captions"),
        (("--limit", 1, "--batch-size", 1, "--eval-caption", "scenes"), "scenes has one picture with captions: CIDEr"),
        (("--recipe", "small"), "unknown recipe 'small'. Known: paper, paper-nocaps, show."),
    ],
)
def test_mistakes_are_refused(
    finetune: Finetune, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: tuple[object, ...], message: str
) -> None:
    assert message in refused(capsys, finetune(tmp_path / "run", *more))
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


@pytest.mark.parametrize("more", [("--contrastive-weight", 1), ("--init", "x"), ("--set", "a=b"), ("--steps", 0)])
def test_options_of_pretraining_are_not_there(finetune: Finetune, tmp_path: Path, more: tuple[object, ...]) -> None:
    assert finetune(tmp_path / "run", *more) == 2
    assert not (tmp_path / "run").exists()


# --- dry run and recipes ---


def test_a_dry_run_prints_the_plan_and_writes_nothing(
    finetune: Finetune, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "train", lambda *_: pytest.fail("trained"))
    assert finetune(tmp_path / "run", "--dry-run", "--eval-caption", "scenes") == 0
    out, err = capsys.readouterr()
    for words in (
        "the dog is red",
        "832,001, 765,184 of them trained",
        "2 of 6 pairs",
        "adafactor, weight decay 0.1, clip 1",
        "0 contrastive + 1 caption",
        "before the first step, at the end: scenes",
        "writer",
    ):
        assert words in out, words
    assert err == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "steps", "middle"), [("paper", 50_000, "5.16e-06"), ("paper-nocaps", 10_000, "5.87e-06")]
)
def test_the_papers_recipes_are_planned(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, steps: int, middle: str
) -> None:
    """Table 10 of the paper: 1,000 steps of warm-up to 1e-5, then down along a cosine."""
    words = ("--model", model, "--data", "scenes", "--limit", 128, "--output", tmp_path / "run", "--dry-run")
    assert run("finetune", "caption", "--recipe", name, *words) == 0
    out = capsys.readouterr().out
    cells = ([part.strip() for part in line.strip("│").split("│")] for line in out.splitlines())
    rows = {row[0]: row[1] for row in cells if len(row) == 2}
    assert rows["steps"] == f"{steps:,} of 128 pairs"
    assert rows["optimiser"] == "adafactor, weight decay 0.1, clip 1"
    assert (rows["precision"], rows["losses"]) == ("bf16", "0 contrastive + 1 caption")
    assert (rows["rate at step 1"], rows["rate at step 1,001"]) == ("1.00e-08", "1.00e-05")
    assert rows[f"rate at step {steps // 2 + 1:,}"] == middle


@pytest.mark.parametrize(("name", "steps", "warmup"), [("paper", 50_000, 0.02), ("paper-nocaps", 10_000, 0.1)])
def test_the_papers_recipes_are_the_papers(
    model: Path, monkeypatch: pytest.MonkeyPatch, name: str, steps: int, warmup: float
) -> None:
    asked: list[PretrainRequest] = []
    monkeypatch.setattr(pretrain_run, "plan_pretrain", lambda request: asked.append(request) or "")
    words = ("--model", model, "--data", "coco", "--output", "out", "--dry-run")
    assert run("finetune", "caption", "--recipe", name, *words) == 0
    assert run("finetune", "caption", "--recipe", name, *words, "--steps", 7, "--batch-size", 3) == 0
    recipe, changed = (request.recipe for request in asked)
    assert (recipe.steps, recipe.batch_size, recipe.learning_rate, recipe.warmup) == (steps, 128, 1e-5, warmup)
    assert warmup * steps == 1000
    assert (recipe.optimizer, recipe.decay, recipe.weight_decay, recipe.clip) == ("adafactor", "cosine", 0.1, 1.0)
    assert (recipe.contrastive_weight, recipe.caption_weight) == (0.0, 1.0)
    assert asked[0].augmentation.min_area == 1.0
    assert (changed.steps, changed.batch_size, changed.learning_rate) == (7, 3, 1e-5)
    assert (asked[0].model, asked[0].pretrained, asked[0].architecture, asked[0].init) == (str(model), None, None, None)


def test_the_recipes_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    for name, steps in (("paper", 50_000), ("paper-nocaps", 10_000)):
        assert run("finetune", "caption", "--recipe", f"show:{name}") == 0
        shown = capsys.readouterr().out
        assert "arXiv 2205.01917, Table 10" in shown
        assert f"\nsteps = {steps}\n" in shown
    assert run("finetune", "caption", "--recipe", "show") == 0
    shown = capsys.readouterr().out
    assert shown.startswith("# The defaults of coca finetune caption. Others: show:NAME of paper, paper-nocaps.")
    assert "\nlearning-rate = 1e-05\n" in shown
