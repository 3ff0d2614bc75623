"""`coca pretrain` as a user runs it, on the built-in scenes and on every kind of source."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from coca_cli import __version__
from coca_cli.model.checkpoint import load, load_folder
from coca_cli.model.tokenizer import ClipTokenizer, SentencePieceTokenizer
from coca_cli.training import pretrain_run as module
from coca_cli.training.loop import StepReport
from tests.commands.running import run
from tests.pictures import class_folders

SAMPLES = Path(__file__).parents[1] / "samples"
FILES = {"config.json", "model.safetensors", "tokenizer.json", "run.json", "metrics.jsonl"}
SMALL = ("image.size=16", "vision.layers=1", "text.unimodal_layers=1", "text.multimodal_layers=1", "text.context=24")
NARROW = (*SMALL, "vision.width=32", "pooler.width=32", "text.width=32", "embed_dim=32", "text.mlp_width=64")


def pretrain(output: Path, *more: object, data: object = "scenes", changes: tuple[str, ...] = NARROW) -> int:
    """`coca pretrain` on 32 pictures, 2 steps, a tiny architecture, unless `more` says otherwise."""
    settings = [word for change in changes for word in ("--set", change)]
    return run(
        *("pretrain", "--data", data, "--output", output, "--precision", "fp32", "--limit", 32, "--steps", 2),
        *("--batch-size", 8, *settings, *more),
    )


def refused(capsys: pytest.CaptureFixture[str], code: int) -> str:
    out, err = capsys.readouterr()
    assert code == 1
    assert out == ""
    assert "Traceback" not in err
    return err


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def words_of(path: Path) -> Any:
    return json.loads(path.read_text())


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that two steps on the scenes left behind."""
    folder = tmp_path_factory.mktemp("runs") / "first"
    assert pretrain(folder, "--quiet") == 0
    return folder


# --- what a run leaves behind ---


def test_a_run_leaves_a_whole_folder_and_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert pretrain(tmp_path / "run") == 0
    out, err = capsys.readouterr()
    assert out.startswith(f"{tmp_path / 'run'}: 2 steps, contrastive loss ")
    assert len(out.splitlines()) == 1
    assert "training data: 32 pictures from scenes (pairs)" in err
    assert "schedule: 2 steps of 8 (0.5 passes), adafactor, peak rate 0.0008, linear decay, fp32" in err
    assert f"next: coca eval zeroshot -m {tmp_path / 'run'}" in err.replace("\n", "")
    assert {file.name for file in (tmp_path / "run").iterdir()} == {*FILES, "tokenizer.model"}


def test_the_folder_loads_and_says_how_it_was_trained(trained: Path) -> None:
    found = load_folder(trained)
    assert found.name == "first"
    assert isinstance(found.tokenizer, SentencePieceTokenizer)
    config = found.model.config
    assert (config.image.size, config.vision.width, config.vision.layers) == (16, 32, 1)
    assert config.text.vocab_size == found.tokenizer.vocab_size
    assert config.text.cls_mask == "correct"
    described = words_of(trained / "config.json")
    assert described["trained"]["steps"] == 2
    assert described["trained"]["recipe"]["caption_weight"] == 2.0


def test_run_json_holds_every_setting(trained: Path) -> None:
    settings = words_of(trained / "run.json")
    assert settings["coca"] == __version__
    assert settings["data"] == ["scenes"]
    assert settings["pictures"] == 32
    assert settings["recipe"]["batch_size"] == 8
    assert settings["recipe"]["precision"] == "fp32"
    assert settings["augmentation"] == {"min_area": 0.9, "flip": False}
    assert settings["model"]["vision"]["width"] == 32


def test_metrics_have_a_line_per_step(trained: Path) -> None:
    lines = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2]
    assert all(line["loss"] > 0 for line in lines)


def test_evaluation_reads_the_folder(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = tmp_path / "results"
    assert run("eval", "zeroshot", "-m", trained, "-d", "digits", "--limit", 20, "--results", results, "-q") == 0
    assert "top-1" in capsys.readouterr().out
    row = json.loads((results / "results.jsonl").read_text().splitlines()[0])
    assert (row["model"], row["checkpoint"]) == ("first", load(str(trained)).checkpoint)


def test_one_seed_gives_the_same_weights(trained: Path, tmp_path: Path) -> None:
    assert pretrain(tmp_path / "again", "--quiet", "--workers", 0) == 0
    assert pretrain(tmp_path / "other", "--quiet", "--seed", 1) == 0
    expected, again, other = weights(trained), weights(tmp_path / "again"), weights(tmp_path / "other")
    assert all(torch.equal(again[name], value) for name, value in expected.items())
    assert not torch.equal(other["image.vit.positions"], expected["image.vit.positions"])


# --- what it trains on ---


@pytest.mark.parametrize("name", ["pairs.csv", "pairs.tsv", "pairs.jsonl"])
def test_tables_of_pairs_are_trained_on(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert pretrain(tmp_path / "run", "--batch-size", 3, data=SAMPLES / "pairs" / name) == 0
    assert words_of(tmp_path / "run" / "run.json")["pictures"] == 3
    assert f"{name} (pairs)" in capsys.readouterr().err.replace("\n", "")


def test_a_folder_with_captions_beside_the_pictures_is_trained_on(tmp_path: Path) -> None:
    assert pretrain(tmp_path / "run", "--batch-size", 2, data=SAMPLES / "pairs" / "folder") == 0
    assert words_of(tmp_path / "run" / "run.json")["pictures"] == 2


@pytest.mark.parametrize(
    "source", [f"folder:{SAMPLES / 'folder'}", SAMPLES / "folder", f"wds:{SAMPLES / 'wds'}", "digits"]
)
def test_labels_are_trained_on_as_texts(tmp_path: Path, source: object, capsys: pytest.CaptureFixture[str]) -> None:
    assert pretrain(tmp_path / "run", "--batch-size", 2, data=source) == 0
    assert f"{source} (labels as text)" in capsys.readouterr().err.replace("\n", "")


def test_several_sources_are_joined(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pairs = SAMPLES / "pairs" / "pairs.csv"
    assert pretrain(tmp_path / "run", "--data", SAMPLES / "folder", data=pairs) == 1  # 3 and 3 are no 8
    assert "6 training pictures do not fill one batch of 8" in capsys.readouterr().err
    assert pretrain(tmp_path / "run", "--data", SAMPLES / "folder", "--batch-size", 6, data=pairs) == 0
    assert words_of(tmp_path / "run" / "run.json")["data"] == [str(pairs), str(SAMPLES / "folder")]


def test_unreadable_pictures_are_named_and_many_stop_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = class_folders(tmp_path / "pictures", per_class=12)
    (pictures / "cat" / "broken.jpg").write_text("no picture")
    assert pretrain(tmp_path / "run", "--epochs", 2, data=pictures) == 0
    assert "warning: left out: " in capsys.readouterr().err
    (pictures / "dog" / "broken.jpg").write_text("no picture")
    message = refused(capsys, pretrain(tmp_path / "other", "--epochs", 2, data=pictures))
    assert "2 of 26 examples cannot be read, which is more than 5 %" in message
    message = refused(capsys, pretrain(tmp_path / "third", "--epochs", 2, "--strict", data=pictures))
    assert "broken.jpg: not a picture that can be read. Stopped because of --strict" in message
    assert not (tmp_path / "third" / "model.safetensors").exists()


# --- what is trained ---


def test_epochs_stand_in_for_steps(tmp_path: Path) -> None:
    assert pretrain(tmp_path / "run", "--epochs", 1.5, "--quiet") == 0
    assert words_of(tmp_path / "run" / "config.json")["trained"]["steps"] == 6
    assert pretrain(tmp_path / "less", "--epochs", 0.01, "--quiet") == 0
    assert words_of(tmp_path / "less" / "config.json")["trained"]["steps"] == 1


def test_options_reach_the_recipe(tmp_path: Path) -> None:
    words = (
        "--learning-rate 0.002 --warmup 0.5 --decay cosine --optimizer adamw --weight-decay 0.1 --clip 0.5 "
        "--contrastive-weight 0.5 --caption-weight 1.5 --min-crop 0.6 --flip --seed 7 --quiet"
    )
    assert pretrain(tmp_path / "run", *words.split()) == 0
    settings = words_of(tmp_path / "run" / "run.json")
    assert settings["recipe"] == {
        "steps": 2,
        "batch_size": 8,
        "learning_rate": 0.002,
        "warmup": 0.5,
        "decay": "cosine",
        "optimizer": "adamw",
        "weight_decay": 0.1,
        "clip": 0.5,
        "contrastive_weight": 0.5,
        "caption_weight": 1.5,
        "precision": "fp32",
        "seed": 7,
    }
    assert settings["augmentation"] == {"min_area": 0.6, "flip": True}


def test_training_goes_on_from_another_model(trained: Path, tmp_path: Path) -> None:
    more = ("--init", trained, "--quiet")
    assert pretrain(tmp_path / "still", *more, "--learning-rate", 0, changes=()) == 0
    assert pretrain(tmp_path / "moved", *more, changes=()) == 0
    before, still, moved = weights(trained), weights(tmp_path / "still"), weights(tmp_path / "moved")
    for name, value in before.items():
        torch.testing.assert_close(still[name], value, msg=name)
    assert not torch.equal(moved["text.embedding.weight"], before["text.embedding.weight"])
    assert (tmp_path / "moved" / "tokenizer.model").read_bytes() == (trained / "tokenizer.model").read_bytes()
    assert words_of(tmp_path / "moved" / "config.json")["model"] == words_of(trained / "config.json")["model"]


@pytest.mark.parametrize("more", [("--set", "vision.layers=2"), ("--tokenizer", "clip"), ("--vocab-size", 99)])
def test_what_another_model_brings_is_not_chosen_anew(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: tuple[object, ...]
) -> None:
    message = refused(capsys, pretrain(tmp_path / "run", "--init", trained, *more, changes=()))
    assert "brings its own architecture and tokenizer; leave out --set" in message.replace("\n", "")


def test_clip_s_tokenizer(tmp_path: Path) -> None:
    assert pretrain(tmp_path / "run", "--tokenizer", "clip", "--quiet") == 0
    found = load_folder(tmp_path / "run")
    assert isinstance(found.tokenizer, ClipTokenizer)
    assert found.model.config.text.vocab_size == 49408
    assert words_of(tmp_path / "run" / "tokenizer.json") == {"kind": "clip-bpe", "context": 24}
    assert {file.name for file in (tmp_path / "run").iterdir()} == FILES


def test_an_open_clip_architecture_takes_clip_s_tokenizer_and_the_correct_mask(tmp_path: Path) -> None:
    changes = (
        *("image.size=32", "vision.layers=1", "vision.width=32", "vision.heads=2", "vision.mlp_width=32"),
        *("text.unimodal_layers=1", "text.multimodal_layers=1", "text.width=32", "text.mlp_width=32"),
        *("text.heads=2", "pooler.width=32", "pooler.heads=2", "pooler.queries=4", "embed_dim=32"),
    )
    assert pretrain(tmp_path / "run", "--arch", "coca_ViT-B-32", "--quiet", changes=changes) == 0
    found = load_folder(tmp_path / "run")
    assert isinstance(found.tokenizer, ClipTokenizer)
    assert found.tokenizer.context == 76
    assert (found.model.config.pooler.wiring, found.model.config.text.cls_mask) == ("shared", "correct")


def test_a_sentencepiece_file_is_taken_as_it_is(trained: Path, tmp_path: Path) -> None:
    assert pretrain(tmp_path / "run", "--tokenizer", trained / "tokenizer.model", "--quiet", data="digits") == 0
    assert (tmp_path / "run" / "tokenizer.model").read_bytes() == (trained / "tokenizer.model").read_bytes()


@pytest.mark.parametrize("more", [("--vocab-size", 64), ("--set", "text.vocab_size=64")])
def test_a_learned_tokenizer_has_as_many_words_as_asked_for(tmp_path: Path, more: tuple[object, ...]) -> None:
    assert pretrain(tmp_path / "run", "--quiet", *more) == 0
    assert load_folder(tmp_path / "run").model.config.text.vocab_size == 64


# --- saving ---


def test_the_model_is_saved_on_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[int] = []
    save = module.save_folder

    def noted(folder: Path, *arguments: Any) -> None:
        steps.append(arguments[-1]["trained"]["steps"])
        save(folder, *arguments)

    monkeypatch.setattr(module, "save_folder", noted)
    assert pretrain(tmp_path / "run", "--steps", 5, "--save-every", 2, "--quiet") == 0
    assert steps == [2, 4, 5]
    steps.clear()
    assert pretrain(tmp_path / "other", "--steps", 5, "--save-every", 0, "--quiet") == 0
    assert steps == [5]


def test_ctrl_c_before_the_first_step_leaves_an_earlier_model_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert pretrain(tmp_path / "run", "--steps", 1, "--quiet") == 0
    before = (tmp_path / "run" / "model.safetensors").read_bytes()

    def interrupted(*arguments: Any) -> Iterator[StepReport]:
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr(module, "train", interrupted)
    assert pretrain(tmp_path / "run", "--steps", 50, "--quiet", "--overwrite", "--seed", 1) == 130
    assert "stopped before the first step; nothing was written" in capsys.readouterr().err
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == before


def test_ctrl_c_saves_what_was_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    train = module.train

    def interrupted(*arguments: Any) -> Iterator[StepReport]:
        for report in train(*arguments):
            yield report
            if report.step == 3:
                raise KeyboardInterrupt

    monkeypatch.setattr(module, "train", interrupted)
    assert pretrain(tmp_path / "run", "--steps", 50, "--quiet") == 130
    out, err = capsys.readouterr()
    assert out == ""
    assert f"stopped at step 3 of 50; the model so far is in {tmp_path / 'run'}" in err.replace("\n", "")
    monkeypatch.undo()
    load_folder(tmp_path / "run")
    assert words_of(tmp_path / "run" / "config.json")["trained"]["steps"] == 3
    assert len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()) == 3
    assert pretrain(tmp_path / "more", "--init", tmp_path / "run", "--quiet", changes=()) == 0


def test_a_loss_that_is_no_number_ends_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    message = refused(capsys, pretrain(tmp_path / "run", "--learning-rate", "1e30", "--steps", 20, "--clip", 0))
    assert "training stopped. Use a lower --learning-rate or a longer --warmup" in message.replace("\n", " ")


# --- refusals ---


def test_a_model_is_not_replaced_without_asking(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    assert pretrain(folder, "--quiet") == 0
    before = (folder / "model.safetensors").read_bytes()
    capsys.readouterr()
    message = refused(capsys, pretrain(folder, "--seed", 1))
    assert "already holds a model; choose another --output, or replace it with --overwrite" in message
    assert (folder / "model.safetensors").read_bytes() == before
    assert pretrain(folder, "--seed", 1, "--overwrite", "--quiet") == 0
    assert (folder / "model.safetensors").read_bytes() != before


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--batch-size", 33), "32 training pictures do not fill one batch of 33; give more data or a smaller"),
        (("--arch", "coca_tinny"), "unknown architecture 'coca_tinny'. Did you mean coca_tiny?"),
        (("--set", "vision.patchsize=8"), "--set vision.patchsize=8: expected KEY=VALUE with one of the keys"),
        (("--set", "vision"), "--set vision: expected KEY=VALUE"),
        (("--set", "vision.heads=5"), "impossible model configuration: vision width 32 is not a multiple of its 5"),
        (("--precision", "fp16"), "--precision fp16 is for GPUs; on the CPU use bf16 or fp32"),
        (("--tokenizer", "no.model"), "no tokenizer file no.model; train one with: coca data tokenizer"),
        (("--tokenizer", SAMPLES / "pairs" / "pairs.csv"), "is not a sentencepiece model"),
        (("--data", "sceens"), "unknown training data 'sceens'. Did you mean scenes?"),
        (("--data", "no/pairs.csv"), "there is no no/pairs.csv; training reads"),
        (("--vocab-size", 16), "cannot train a tokenizer of 16 words on these captions"),
    ],
)
def test_mistakes_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], more: tuple[object, ...], message: str
) -> None:
    assert message in refused(capsys, pretrain(tmp_path / "run", *more))
    assert not (tmp_path / "run" / "model.safetensors").exists()


@pytest.mark.parametrize("folder", ["nowhere", "empty"])
def test_a_start_that_is_no_model_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], folder: str) -> None:
    (tmp_path / "empty").mkdir()
    message = refused(capsys, pretrain(tmp_path / "run", "--init", tmp_path / folder, changes=()))
    assert "it is not a model folder that coca wrote" in message


def test_fp16_is_refused_on_a_gpu_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "choose_device", lambda name: torch.device("cuda"))
    message = refused(capsys, pretrain(tmp_path / "run", "--precision", "fp16"))
    assert "--precision fp16 is not for training here: its range is too small; use bf16 or fp32" in message


def test_an_output_that_cannot_be_written_is_noticed_before_the_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "find_source", lambda *_: pytest.fail("looked at the data first"))
    (tmp_path / "file").write_text("in the way")
    message = refused(capsys, pretrain(tmp_path / "file" / "run"))
    assert "cannot write into the folder" in message


@pytest.mark.parametrize("more", [("--steps", 0), ("--warmup", 2), ("--min-crop", 0), ("--optimizer", "sgd")])
def test_wrong_usage_has_exit_code_2(tmp_path: Path, more: tuple[object, ...]) -> None:
    assert pretrain(tmp_path / "run", *more) == 2
    assert not (tmp_path / "run").exists()
