"""`coca pretrain` as a user runs it, on the built-in scenes and on every kind of source."""

from __future__ import annotations

import codecs
import io
import json
import os
import re
import shutil
import signal
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from coca_cli import __version__
from coca_cli.datasets.keep_lists import Origin, write_keep_list
from coca_cli.media import batches
from coca_cli.media.batches import Skipped
from coca_cli.model.checkpoint import load, load_folder
from coca_cli.model.layers import interpolate_grid
from coca_cli.model.tokenizer import ClipTokenizer, SentencePieceTokenizer, load_sentencepiece, train_sentencepiece
from coca_cli.training import pretrain_run as module
from coca_cli.training import pretrain_setup
from coca_cli.training import pretrain_setup as preparing
from coca_cli.training import training_run as run_module
from coca_cli.training.batches import Position
from coca_cli.training.loop import StepReport
from coca_cli.training.utilisation import StepCost
from tests.commands.running import run
from tests.pictures import class_folders, drawn, jpeg_bytes

SAMPLES = Path(__file__).parents[1] / "samples"
FILES = {"config.json", "model.safetensors", "tokenizer.json", "run.json", "metrics.jsonl", "checkpoints"}
SMALL = ("image.size=16", "vision.layers=1", "text.unimodal_layers=1", "text.multimodal_layers=1", "text.context=24")
NARROW = (*SMALL, "vision.width=32", "pooler.width=32", "text.width=32", "embed_dim=32", "text.mlp_width=64")
METRICS = [
    *("step", "loss", "contrastive", "caption", "temperature"),
    *("gradient_norm", "learning_rate", "pairs_per_second", "utilisation"),
]
"""Of each step, as metrics.jsonl has them."""


@pytest.fixture(autouse=True)
def _nothing_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Utilisation takes half of so short a run; `trained` has the true one."""
    monkeypatch.setattr(module, "step_cost", lambda config: StepCost(1000, 10))
    monkeypatch.setattr(run_module, "measured_peak", lambda device, mixed: 1e9)


def pretrain(output: Path, *more: object, data: object = "scenes", changes: tuple[str, ...] = NARROW) -> int:
    """`coca pretrain` on 32 pictures, 2 steps, a tiny architecture, unless `more` says otherwise."""
    settings = [word for change in changes for word in ("--set", change)]
    length = () if "--epochs" in more else ("--steps", 2)
    return run(
        *("pretrain", "--data", data, "--output", output, "--precision", "fp32", "--limit", 32, *length),
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


def settings_of(folder: Path) -> Any:
    return words_of(folder / "run.json")["settings"]


def steps_of(folder: Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl that tell of a step, evaluations left out."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if "loss" in line]


def checkpoints(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "checkpoints").iterdir())


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that two steps on the scenes left behind."""
    folder = tmp_path_factory.mktemp("runs") / "first"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["/somewhere/coca", "pretrain", "--output", "my runs/first"])
        assert pretrain(folder, "--quiet") == 0
    return folder


@pytest.fixture
def copied(trained: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may change."""
    return Path(shutil.copytree(trained, tmp_path / "first"))


# --- what a run leaves behind ---


def test_a_run_leaves_a_whole_folder_and_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert pretrain(tmp_path / "run") == 0
    out, err = capsys.readouterr()
    assert out.startswith(f"{tmp_path / 'run'}: 2 steps, contrastive loss ")
    assert len(out.splitlines()) == 1
    assert "data: scenes: 32 pictures (pairs), 100% of each batch" in err
    assert "schedule: 2 steps of 8 (0.5 passes), adafactor, peak rate 0.0008, linear decay, fp32" in err
    assert f"next: coca eval zeroshot -m {tmp_path / 'run'}" in err.replace("\n", "")
    assert {file.name for file in (tmp_path / "run").iterdir()} == {*FILES, "tokenizer.model"}
    assert checkpoints(tmp_path / "run") == ["step-00000002"]


def test_the_folder_loads_and_says_how_it_was_trained(trained: Path) -> None:
    found = load_folder(trained)
    assert found.name == "first"
    assert isinstance(found.tokenizer, SentencePieceTokenizer)
    config = found.model.config
    assert (config.image.size, config.vision.width, config.vision.layers) == (16, 32, 1)
    assert config.text.vocab_size == found.tokenizer.vocab_size
    assert config.text.cls_mask == "correct"
    described = words_of(trained / "config.json")["trained"]
    assert (described["steps"], described["weights"]) == (2, "last step")
    assert described["recipe"]["caption_weight"] == 2.0


def test_the_last_checkpoint_is_the_same_model(trained: Path) -> None:
    found = load_folder(trained / "checkpoints" / "step-00000002").model.state_dict()
    for name, value in weights(trained).items():
        assert torch.equal(found[name], value), name


def test_run_json_holds_every_setting(trained: Path) -> None:
    described = words_of(trained / "run.json")
    assert (described["coca"], described["torch"]) == (__version__, torch.__version__)
    assert described["command"] == "coca pretrain --output 'my runs/first'"
    settings = described["settings"]
    assert settings["data"] == {"scenes": 1.0}
    assert settings["pictures"] == 32
    assert settings["recipe"]["batch_size"] == 8
    assert settings["recipe"]["precision"] == "fp32"
    assert settings["augmentation"] == {
        "min_area": 0.9,
        "flip": False,
        "turn": False,
        "rand_augment": [0, 0],
        "keep_colours": False,
    }
    assert settings["model"]["vision"]["width"] == 32


def test_metrics_have_a_line_per_step(trained: Path) -> None:
    lines = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2]
    assert all(list(line) == METRICS for line in lines)
    assert all(line["loss"] > 0 for line in lines)
    assert all(0 < line["utilisation"] < 1 for line in lines)


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


def test_tensorboard_beside_the_metrics(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    assert pretrain(tmp_path / "run", "--log", "tensorboard", "--quiet") == 0
    assert list((tmp_path / "run" / "tensorboard").glob("events.*"))


# --- what it trains on ---


@pytest.mark.parametrize("name", ["pairs.csv", "pairs.tsv", "pairs.jsonl"])
def test_tables_of_pairs_are_trained_on(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert pretrain(tmp_path / "run", "--batch-size", 3, data=SAMPLES / "pairs" / name) == 0
    assert settings_of(tmp_path / "run")["pictures"] == 3
    assert f"{name}: 3 pictures (pairs)" in capsys.readouterr().err.replace("\n", "")


def test_a_folder_with_captions_beside_the_pictures_is_trained_on(tmp_path: Path) -> None:
    assert pretrain(tmp_path / "run", "--batch-size", 2, data=SAMPLES / "pairs" / "folder") == 0
    assert settings_of(tmp_path / "run")["pictures"] == 2


@pytest.mark.parametrize(
    "source", [f"folder:{SAMPLES / 'folder'}", SAMPLES / "folder", f"wds:{SAMPLES / 'wds'}", "digits"]
)
def test_labels_are_trained_on_as_texts(tmp_path: Path, source: object, capsys: pytest.CaptureFixture[str]) -> None:
    assert pretrain(tmp_path / "run", "--batch-size", 2, data=source) == 0
    assert "(labels as text), 100% of each batch" in capsys.readouterr().err.replace("\n", "")


def test_pairs_and_labels_are_mixed_half_and_half(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pairs = SAMPLES / "pairs" / "pairs.csv"
    assert pretrain(tmp_path / "run", "--data", SAMPLES / "folder", data=pairs) == 1  # 3 and 3 are no 8
    assert "6 training pictures do not fill one batch of 8; give more data or a smaller" in capsys.readouterr().err
    assert pretrain(tmp_path / "run", "--data", SAMPLES / "folder", "--batch-size", 6, data=pairs) == 0
    assert settings_of(tmp_path / "run")["data"] == {str(pairs): 0.5, str(SAMPLES / "folder"): 0.5}


def test_weights_are_the_shares(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert pretrain(tmp_path / "run", "--data", "digits", "--data", "scenes", "--weights", "1,2.5,0.5") == 0
    assert settings_of(tmp_path / "run")["data"] == {"scenes": 0.25, "digits": 0.625, "scenes (3)": 0.125}
    assert "data: digits: 32 pictures (labels as text), 62% of each batch" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ("1,x", "--weights 1,x: give numbers with commas between them, such as 1,1"),
        ("1;1", "give numbers with commas"),
        ("1,1", "2 --weights for 1 sources of --data"),
        ("-1", "--weights -1: every weight must be above 0"),
    ],
)
def test_weights_that_make_no_sense_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], weights: str, message: str
) -> None:
    assert message in refused(capsys, pretrain(tmp_path / "run", "--weights", weights))


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    """Six pictures with captions in a tar."""
    with tarfile.open(tmp_path / "shard.tar", "w") as tar:
        for i in range(6):
            for suffix, data in (("jpg", jpeg_bytes(drawn(i))), ("txt", f"picture {i}".encode())):
                member = tarfile.TarInfo(f"{i}.{suffix}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    return tmp_path / "shard.tar"


def test_a_stream_is_trained_on_in_steps_alone(tmp_path: Path, shard: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("pretrain", "--data", f"pipe:cat {shard}", "--output", tmp_path / "run", "--batch-size", 4, "--workers", 1)
    words += (*(word for change in NARROW for word in ("--set", change)), "--precision", "fp32")
    assert "--epochs cannot be counted for shards that are streamed; give --steps" in refused(
        capsys, run(*words, "--epochs", 2)
    )
    assert run(*words, "--steps", 3) == 0
    assert f"data: pipe:cat {shard}: a stream of pictures (pairs), 100% of each batch" in capsys.readouterr().err
    assert words_of(tmp_path / "run" / "checkpoints" / "step-00000003" / "state.json")["taken"] == [12]


def test_unreadable_pictures_are_named_and_many_stop_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = class_folders(tmp_path / "pictures", per_class=12)
    (pictures / "cat" / "broken.jpg").write_text("no picture")
    assert pretrain(tmp_path / "run", "--epochs", 2, data=pictures) == 0
    assert "warning: left out: " in capsys.readouterr().err
    (name,) = words_of(tmp_path / "run" / "run.json")["unreadable"]["examples"]
    assert name.endswith("cat/broken.jpg")
    (pictures / "dog" / "broken.jpg").write_text("no picture")
    message = refused(capsys, pretrain(tmp_path / "other", "--epochs", 3, data=pictures))
    assert "2 of 26 examples cannot be read, which is more than 5 %" in message
    assert message.count("warning: left out: ") == 2
    found = words_of(tmp_path / "other" / "run.json")["unreadable"]
    assert (found["count"], len(found["examples"])) == (2, 2)
    message = refused(capsys, pretrain(tmp_path / "third", "--epochs", 2, "--strict", data=pictures))
    assert "broken.jpg: not a picture that can be read. Stopped because of --strict" in message
    assert not (tmp_path / "third" / "model.safetensors").exists()


@pytest.mark.parametrize("broken", [3, 60])
def test_a_run_shorter_than_a_pass_says_how_many_it_could_not_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], broken: int
) -> None:
    """Nobody knows yet whether it is chance, so that the model stays."""
    pictures = class_folders(tmp_path / "pictures", per_class=60)
    for path in [*(pictures / "cat").iterdir()][:broken]:
        path.write_text("no picture")
    assert pretrain(tmp_path / "run", "--limit", 120, "--steps", 3, "--quiet", data=pictures) == 0
    found = words_of(tmp_path / "run" / "run.json").get("unreadable", {"count": 0})["count"]
    out, err = capsys.readouterr()
    many = re.search(r"; (\d+) of (\d+) pictures could not be read\n$", out)
    assert bool(many) is (broken == 60)
    assert ("could not be read, which is more than 5 %: the model saw only the others" in err) is bool(many)
    if many:
        assert (int(many[1]), found > 5) == (found, True)
        assert 24 <= int(many[2]) < 120
    assert (tmp_path / "run" / "model.safetensors").exists()


def test_of_many_unreadable_pictures_the_first_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_module, "TOLD", 1)
    monkeypatch.setattr(batches, "TOLD", 1)
    monkeypatch.setattr(Skipped, "check", lambda self, final: None)
    pictures = class_folders(tmp_path / "pictures", per_class=12)
    for name in ("cat", "dog"):
        (pictures / name / "broken.jpg").write_text("no picture")
    assert pretrain(tmp_path / "run", "--epochs", 3, "--quiet", data=pictures) == 0
    err = capsys.readouterr().err.replace("\n", "")
    assert err.count("cannot be read") + err.count("not a picture") == 1
    assert f"left out: 2 pictures in all; see {tmp_path / 'run' / 'run.json'}" in err


def test_a_run_that_is_stopped_names_what_it_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what it left out before, when it has gone on."""
    pictures = class_folders(tmp_path / "pictures", per_class=16)
    (pictures / "cat" / "broken.jpg").write_text("no picture")
    output, more = tmp_path / "run", ("--limit", 33, "--batch-size", 33, "--steps", 3, "--quiet")
    with monkeypatch.context() as patched:
        patched.setattr(run_module, "train", interrupted_at(1, signal.SIGTERM))
        assert pretrain(output, *more, data=pictures) == 143
    assert "warning: left out: " in capsys.readouterr().err
    found = words_of(output / "run.json")["unreadable"]
    assert found["count"] == 1
    (pictures / "cat" / "broken.jpg").write_bytes(jpeg_bytes(drawn(1)))
    assert pretrain(output, *more, data=pictures) == 0
    assert words_of(output / "run.json")["unreadable"] == found


# --- keep-lists ---


@pytest.fixture
def table() -> Path:
    return SAMPLES / "pairs" / "pairs.csv"


def keep_list(path: Path, source: object, ids: list[str]) -> Path:
    write_keep_list(path, ids, Origin(source=str(source), pictures=3, removed=3 - len(ids), kept=len(ids)))
    return path


def ids_of(table: Path) -> list[str]:
    return [example.id for example in pretrain_setup.find_source(str(table), Path("nowhere")).read()]


def test_a_keep_list_holds_for_its_source(tmp_path: Path, table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """However its place is spelled, and whatever is read of it."""
    path = keep_list(tmp_path / "keep.txt", table, ids_of(table)[:2])
    for number, spelled in enumerate((table, f"pairs:{table}", os.path.relpath(table))):
        output = tmp_path / f"run{number}"
        assert pretrain(output, "--keep", path, "--batch-size", 2, data=spelled) == 0
        assert "2 pictures (pairs, 1 left out by its keep-list)" in capsys.readouterr().err.replace("\n", "")
        assert settings_of(output)["pictures"] == 2


def test_a_keep_list_of_another_source_is_refused(
    tmp_path: Path, table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = keep_list(tmp_path / "keep.txt", "another.csv", ids_of(table))
    message = refused(capsys, pretrain(tmp_path / "run", "--keep", path, "--batch-size", 2, data=table))
    assert f"the keep-list {path} is for the source another.csv, which is not among --data ({table})" in message


def test_a_keep_list_leaves_other_sources_alone(tmp_path: Path, table: Path) -> None:
    path = keep_list(tmp_path / "keep.txt", table, ids_of(table)[:1])
    assert pretrain(tmp_path / "run", "--keep", path, "--data", "digits", data=table) == 0
    assert settings_of(tmp_path / "run")["pictures"] == 1 + 32
    assert list(settings_of(tmp_path / "run")["keep"]) == [str(path)]


@pytest.mark.parametrize("turned", [False, True])
def test_two_keep_lists_of_one_source_both_hold(tmp_path: Path, table: Path, turned: bool) -> None:
    """What either takes out, for another evaluation set, is not trained on."""
    ids = ids_of(table)
    lists = [keep_list(tmp_path / "a.txt", table, ids[:2]), keep_list(tmp_path / "b.txt", table, ids[1:])]
    lists = lists[::-1] if turned else lists
    more = ("--keep", lists[0], "--keep", lists[1], "--batch-size", 1)
    assert pretrain(tmp_path / "run", *more, data=table) == 0
    assert settings_of(tmp_path / "run")["pictures"] == 1


def test_two_keep_lists_that_leave_nothing_are_refused(
    tmp_path: Path, table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ids = ids_of(table)
    one, other = keep_list(tmp_path / "a.txt", table, ids[:1]), keep_list(tmp_path / "b.txt", table, ids[1:])
    message = refused(capsys, pretrain(tmp_path / "run", "--keep", one, "--keep", other, data=table))
    assert f"the keep-lists {one} and {other} of {table} have no id in common, so nothing is left to" in message


def test_a_keep_list_that_has_changed_is_another_setting(
    tmp_path: Path, table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, output = tmp_path / "keep.txt", tmp_path / "run"
    more = ("--keep", path, "--batch-size", 2)
    keep_list(path, table, ids_of(table)[:2])
    assert pretrain(output, *more, "--quiet", data=table) == 0
    keep_list(path, table, ids_of(table)[1:])
    capsys.readouterr()
    message = refused(capsys, pretrain(output, *more, data=table)).replace("\n", " ")
    assert f"holds a run with other settings: keep.{path} was sha256 " in message


# --- what is trained ---


def test_epochs_stand_in_for_steps(tmp_path: Path) -> None:
    assert pretrain(tmp_path / "run", "--epochs", 1.5, "--quiet") == 0
    assert words_of(tmp_path / "run" / "config.json")["trained"]["steps"] == 6
    assert pretrain(tmp_path / "less", "--epochs", 0.01, "--quiet") == 0
    assert words_of(tmp_path / "less" / "config.json")["trained"]["steps"] == 1


def test_options_reach_the_recipe(tmp_path: Path) -> None:
    words = (
        "--learning-rate 0.002 --warmup 0.5 --decay cosine --optimizer adamw --weight-decay 0.1 --clip 0.5 "
        "--ema 0.9 --word-dropout 0.25 --contrastive-weight 0.5 --caption-weight 1.5 --min-crop 0.6 --flip --turn "
        "--seed 7 --mask-equal-texts --quiet"
    )
    assert pretrain(tmp_path / "run", *words.split()) == 0
    settings = settings_of(tmp_path / "run")
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
        "ema": 0.9,
        "word_dropout": 0.25,
        "mask_equal_texts": True,
        "seed": 7,
    }
    assert settings["augmentation"] == {
        "min_area": 0.6,
        "flip": True,
        "turn": True,
        "rand_augment": [0, 0],
        "keep_colours": False,
    }


def test_a_recipe_stands_where_no_option_is_given(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.toml"
    recipe.write_text('learning-rate = 0.5\noptimizer = "adamw"\nseed = 3\nsteps = 9\n')
    assert pretrain(tmp_path / "run", "--recipe", recipe, "--seed", 4, "--quiet") == 0
    found = settings_of(tmp_path / "run")["recipe"]
    assert (found["learning_rate"], found["optimizer"], found["seed"], found["steps"]) == (0.5, "adamw", 4, 2)


def test_the_command_line_s_length_holds_before_the_recipe_s(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.toml"
    for text, more, steps in (("epochs = 1\n", ("--steps", 3), 3), ("steps = 9\n", ("--epochs", 0.5), 2)):
        recipe.write_text(text)
        assert pretrain(tmp_path / f"{steps}", "--recipe", recipe, "--quiet", *more) == 0
        assert len(steps_of(tmp_path / f"{steps}")) == steps


def test_a_model_to_start_from_leaves_the_recipe_s_architecture_aside(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ("--recipe", "small", "--init", trained)
    assert pretrain(tmp_path / "run", *more, "--dry-run", changes=()) == 0
    said = f"--init {trained} brings its own architecture and tokenizer: --set of the recipe is left aside"
    assert said in capsys.readouterr().out
    assert pretrain(tmp_path / "run", *more, changes=()) == 0
    assert said in capsys.readouterr().err
    assert words_of(tmp_path / "run" / "config.json")["model"] == words_of(trained / "config.json")["model"]


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


def test_another_picture_size_interpolates_the_positions(trained: Path, tmp_path: Path) -> None:
    """The last phase of the paper (section 4.1)."""
    output = tmp_path / "run"
    more = ("--init", trained, "--image-size", 32, "--learning-rate", 0, "--quiet")
    assert pretrain(output, *more, changes=()) == 0
    before, found = weights(trained), weights(output)
    assert before["image.vit.positions"].shape[0] == 4
    expected = interpolate_grid(before["image.vit.positions"], 4)
    torch.testing.assert_close(found["image.vit.positions"], expected)
    assert words_of(output / "config.json")["model"]["image"]["size"] == 32
    torch.testing.assert_close(found["text.embedding.weight"], before["text.embedding.weight"])


def test_a_new_model_is_made_for_the_picture_size(tmp_path: Path) -> None:
    assert pretrain(tmp_path / "run", "--image-size", 24, "--quiet") == 0
    assert weights(tmp_path / "run")["image.vit.positions"].shape[0] == 9


@pytest.mark.parametrize("more", [("--set", "vision.layers=2"), ("--tokenizer", "clip"), ("--vocab-size", 99)])
def test_what_another_model_brings_is_not_chosen_anew(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: tuple[object, ...]
) -> None:
    message = refused(capsys, pretrain(tmp_path / "run", "--init", trained, *more, changes=()))
    assert "brings its own architecture and tokenizer; leave out --arch, --set" in message.replace("\n", "")


def test_frozen_weights_are_those_of_the_start(trained: Path, tmp_path: Path) -> None:
    more = ("--init", trained, "--freeze", "image", "--freeze", "text.blocks.[0-5]", "--quiet")
    assert pretrain(tmp_path / "run", *more, "--steps", 3, changes=()) == 0
    before, after = weights(trained), weights(tmp_path / "run")
    for name, value in before.items():
        still = name.startswith(("image.", "text.blocks."))
        assert torch.equal(after[name], value) is still, name


def test_a_pattern_that_freezes_nothing_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    message = refused(capsys, pretrain(tmp_path / "run", "--freeze", "imaeg"))
    assert "unknown parameters to freeze 'imaeg'. Did you mean image?" in message


def test_the_model_is_the_moving_average_where_one_is_kept(trained: Path, tmp_path: Path) -> None:
    assert pretrain(tmp_path / "run", "--ema", 0.9, "--quiet") == 0
    described = words_of(tmp_path / "run" / "config.json")["trained"]
    assert described["weights"] == "moving average"
    assert steps_of(tmp_path / "run")[1]["loss"] == steps_of(trained)[1]["loss"]  # training itself is as it was
    averaged, last = weights(tmp_path / "run"), weights(trained)
    assert not torch.equal(averaged["text.embedding.weight"], last["text.embedding.weight"])


def test_parts_change_memory_and_not_the_course(trained: Path, tmp_path: Path) -> None:
    more = ("--accumulate", 4, "--checkpoint-activations", "--quiet")
    assert pretrain(tmp_path / "run", *more) == 0
    for found, expected in zip(steps_of(tmp_path / "run"), steps_of(trained), strict=True):
        assert found["loss"] == pytest.approx(expected["loss"], abs=1e-4)
    assert settings_of(tmp_path / "run") == settings_of(trained)  # so that a run may go on with other parts


def test_parts_must_divide_the_batch(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    message = refused(capsys, pretrain(tmp_path / "run", "--accumulate", 3))
    assert "a batch of 8 cannot be cut into 1 processes x 3 parts: choose a --batch-size that is a mul" in message
    assert not (tmp_path / "run").exists()


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


# --- evaluation while training ---


def test_scores_stand_in_the_metrics_and_the_best_model_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = iter([30.0, 50.0, 40.0])
    true_score = module.score

    def scored(*arguments: Any) -> dict[str, float]:
        return {**true_score(*arguments), "score": next(scores)}

    monkeypatch.setattr(module, "score", scored)
    output = tmp_path / "run"
    evaluate = ("--eval-zeroshot", "digits", "--eval-retrieval", "scenes", "--eval-every", 1)
    assert pretrain(output, *evaluate, "--steps", 3) == 0
    lines = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    found = [line for line in lines if "score" in line]
    assert [line["step"] for line in found] == [1, 2, 3]
    for line in found:
        assert {"digits top-1", "scenes image-to-text recall@10", "scenes caption loss"} < line.keys()
        assert line["scenes caption loss"] > 1
    err = capsys.readouterr().err.replace("\n", " ")
    assert f"step 2: digits top-1 {found[1]['digits top-1']:.2f}, scenes image-to-text recall@10 " in err
    assert words_of(output / "best" / "config.json")["trained"]["steps"] == 2
    assert words_of(output / "config.json")["trained"]["steps"] == 3
    load_folder(output / "best")
    best, last = weights(output / "best"), weights(output)
    assert not torch.equal(best["text.embedding.weight"], last["text.embedding.weight"])


def test_a_set_to_caption_gives_cider_that_chooses_the_best_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "run"
    evaluate = ("--eval-caption", "scenes", "--eval-zeroshot", "digits", "--eval-every", 1)
    assert pretrain(output, *evaluate, "--limit", 8) == 0
    lines = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    found = [line for line in lines if "score" in line]
    assert [line["step"] for line in found] == [1, 2]  # not before the first step, as finetuning does
    assert all(line["score"] == line["scenes CIDEr"] for line in found)
    assert all("digits top-1" in line for line in found)
    err = capsys.readouterr().err.replace("\n", " ")
    assert err.count(", by people: '") == 6  # three captions each time
    assert f"scenes CIDEr {found[1]['scenes CIDEr']:.2f}" in err
    best = max(found, key=lambda line: line["score"])
    assert words_of(output / "best" / "config.json")["trained"]["steps"] == best["step"]


def test_without_a_number_of_steps_the_model_is_scored_at_the_end(trained: Path, tmp_path: Path) -> None:
    output = tmp_path / "run"
    assert pretrain(output, "--eval-zeroshot", "digits", "--quiet") == 0
    lines = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    assert [("score" in line, line["step"]) for line in lines] == [(False, 1), (False, 2), (True, 2)]
    for name, value in weights(trained).items():  # scoring changes nothing
        assert torch.equal(weights(output)[name], value)


def test_the_score_is_that_of_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of the average where one is kept: what is scored is what is saved."""
    output = tmp_path / "run"
    assert pretrain(output, "--eval-zeroshot", "digits", "--ema", 0.5, "--quiet") == 0
    last = json.loads((output / "metrics.jsonl").read_text().splitlines()[-1])
    results = ("--results", tmp_path / "results")
    assert run("eval", "zeroshot", "-m", output, "-d", "digits", "--limit", 32, "--precision", "fp32", *results) == 0
    rows = [json.loads(line) for line in (tmp_path / "results" / "results.jsonl").read_text().splitlines()]
    expected = {row["metric"]: row["value"] for row in rows}
    assert {name: last[f"digits {name}"] for name in ("top-1", "top-5")} == pytest.approx(
        {name: expected[name] for name in ("top-1", "top-5")}
    )


def test_a_set_that_is_not_there_is_noticed_before_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    message = refused(capsys, pretrain(tmp_path / "run", "--eval-zeroshot", "digit"))
    assert "Did you mean digits?" in message
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


# --- saving and going on ---


def test_the_model_is_saved_on_the_way(tmp_path: Path) -> None:
    more = ("--steps", 5, "--save-every", 2, "--quiet")
    assert pretrain(tmp_path / "run", *more) == 0
    assert checkpoints(tmp_path / "run") == ["step-00000005"]
    assert pretrain(tmp_path / "more", *more, "--keep-checkpoints", 2) == 0
    assert checkpoints(tmp_path / "more") == ["step-00000004", "step-00000005"]
    assert words_of(tmp_path / "more" / "config.json")["trained"]["steps"] == 5


def test_a_finished_run_says_so(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in copied.iterdir()}
    for more in ((), ("--resume",)):
        assert pretrain(copied, *more) == 0
        out, err = capsys.readouterr()
        assert f"{copied} is finished already; --overwrite trains it anew" in err.replace("\n", "")
        assert out.startswith(f"{copied}: 2 steps, contrastive loss ")
    assert {path.name: path.stat().st_mtime_ns for path in copied.iterdir()} == before


@pytest.mark.parametrize("stale", ["older", "of another run", "without weights", "damaged", "gone"])
def test_a_model_that_a_finished_run_did_not_write_is_written(
    copied: Path, trained: Path, capsys: pytest.CaptureFixture[str], stale: str
) -> None:
    """The run was killed between its last checkpoint and the model."""
    described = words_of(copied / "config.json")
    (copied / "model.safetensors").write_bytes(b"of an earlier save")
    if stale == "older":
        described["trained"]["steps"] = 1
    elif stale == "of another run":
        described["trained"]["run"] = "0123"
    (copied / "config.json").write_text("{" if stale == "damaged" else json.dumps(described))
    if stale in ("gone", "without weights"):
        (copied / "model.safetensors").unlink()
    if stale == "gone":
        (copied / "config.json").unlink()
    assert pretrain(copied) == 0
    out, err = capsys.readouterr()
    assert out.startswith(f"{copied}: 2 steps, contrastive loss ")
    assert f"the model in {copied} was missing or older: written from step-00000002" in err.replace("\n", "")
    assert all(torch.equal(weights(copied)[name], value) for name, value in weights(trained).items())
    found, right = words_of(copied / "config.json"), words_of(trained / "config.json")
    assert found == right
    assert pretrain(copied) == 0
    assert "was missing or older" not in capsys.readouterr().err


def test_a_full_disk_is_told_in_words_and_the_same_command_ends_the_run(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    resource = pytest.importorskip("resource")
    save = module.save_weights

    def saved_on_a_full_disk(*arguments: Any) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
        try:
            save(*arguments)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    output = tmp_path / "run"
    with monkeypatch.context() as patched:
        patched.setattr(module, "save_weights", saved_on_a_full_disk)
        message = refused(capsys, pretrain(output, "--ema", 0.9)).replace("\n", " ")
    assert f"the model in {output} cannot be written (" in message
    assert "checkpoints that are there stay as they are. Make room and run the same command again" in message
    assert checkpoints(output) == ["step-00000002"]
    assert not (output / "model.safetensors").exists()
    assert pretrain(output, "--ema", 0.9, "--quiet") == 0
    average = load_folder(output / "checkpoints" / "step-00000002").model.state_dict()
    assert all(torch.equal(average[name], value) for name, value in weights(output).items())
    assert not torch.equal(average["text.embedding.weight"], weights(trained)["text.embedding.weight"])


def test_a_run_keeps_its_id_until_it_is_begun_anew(
    copied: Path, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By it a log on the web tells runs apart, whose folders can have one name."""
    asked = []
    log = run_module.MetricsLog

    def noted(*arguments: Any) -> Any:
        asked.append(arguments[-1])
        return log(*arguments)

    monkeypatch.setattr(run_module, "MetricsLog", noted)
    assert pretrain(copied, "--steps", 1, "--overwrite", "--quiet") == 0
    with monkeypatch.context() as patched:
        patched.setattr(run_module, "train", interrupted_at(1, signal.SIGTERM))
        assert pretrain(tmp_path / "other" / "first", "--quiet") == 143
    assert pretrain(tmp_path / "other" / "first", "--quiet") == 0
    anew, begun, gone_on = asked
    assert begun == gone_on == words_of(tmp_path / "other" / "first" / "run.json")["id"]
    assert len({anew, begun, words_of(trained / "run.json")["id"]}) == 3


def test_a_finished_run_without_its_log_says_that(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (copied / "metrics.jsonl").write_text("nonsense\n")
    message = refused(capsys, pretrain(copied)).replace("\n", " ")
    assert f"{copied} is finished, but its metrics.jsonl is gone or damaged; --overwrite trains it anew" in message


@pytest.mark.parametrize(
    ("more", "difference"),
    [
        (("--seed", 1), "recipe.seed was 0, is 1"),
        (("--steps", 9), "recipe.steps was 2, is 9"),
        (("--limit", 24), "pictures was 32, is 24; limit was 32, is 24"),
        (("--flip",), "augmentation.flip was False, is True"),
        (("--set", "vision.layers=2"), "model.vision.layers was 1, is 2"),
        (("--data", "digits"), "data.scenes was 1.0, is 0.5; data.digits was None, is 0.5"),
        (("--freeze", "image"), "freeze was [], is ['image']"),
        (("--vocab-size", 64), "words was 4000, is 64"),
    ],
)
def test_a_run_with_other_settings_is_not_gone_on_with(
    copied: Path, capsys: pytest.CaptureFixture[str], more: tuple[object, ...], difference: str
) -> None:
    message = refused(capsys, pretrain(copied, *more)).replace("\n", " ")
    assert f"{copied} holds a run with other settings: {difference}" in message
    assert "begin anew with --overwrite" in message


def test_a_run_does_not_go_on_with_another_tokenizer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of as many words, and in a file of the same name."""
    file, output = tmp_path / "words.model", tmp_path / "run"
    captions = ["the cat sat on the mat", "a dog ran to the sea"] * 20
    file.write_bytes(train_sentencepiece(captions, 30))
    more = ("--tokenizer", file, "--steps", 3, "--quiet")
    with monkeypatch.context() as patched:
        patched.setattr(run_module, "train", interrupted_at(1, signal.SIGTERM))
        assert pretrain(output, *more) == 143
    words = load_folder(output).model.config.text.vocab_size
    before = file.read_bytes()
    file.write_bytes(train_sentencepiece([codecs.encode(caption, "rot13") for caption in captions], 30))
    assert load_sentencepiece(file, 24).vocab_size == words
    capsys.readouterr()
    message = refused(capsys, pretrain(output, *more)).replace("\n", " ")
    assert f"{output} holds a run with other settings: tokenizer was sha256 " in message
    moved = file.rename(tmp_path / "moved.model")
    moved.write_bytes(before)
    assert pretrain(output, *more, "--tokenizer", moved) == 0


def test_a_tokenizer_that_was_learned_is_loaded_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not learned anew, by a version of the library that may do it in another way."""
    output = tmp_path / "run"
    more = ("--vocab-size", 60, "--steps", 3, "--quiet")
    with monkeypatch.context() as patched:
        patched.setattr(run_module, "train", interrupted_at(1, signal.SIGTERM))
        assert pretrain(output, *more) == 143
    before = (output / "tokenizer.model").read_bytes()
    monkeypatch.setattr(preparing, "train_sentencepiece", lambda *_: pytest.fail("learned anew"))
    assert pretrain(output, *more) == 0
    assert (output / "tokenizer.model").read_bytes() == before
    assert (output / "checkpoints" / "step-00000003" / "tokenizer.model").read_bytes() == before


def test_nothing_to_resume_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    message = refused(capsys, pretrain(tmp_path / "run", "--resume")).replace("\n", " ")
    assert f"nothing to resume in {tmp_path / 'run'}: it has no checkpoint; leave out --resume to begin" in message


@pytest.mark.parametrize("more", [(), ("--dry-run",)])
def test_a_run_does_not_go_on_and_begin_anew(
    copied: Path, capsys: pytest.CaptureFixture[str], more: tuple[object, ...]
) -> None:
    before = (copied / "model.safetensors").read_bytes()
    message = refused(capsys, pretrain(copied, "--seed", 1, "--resume", "--overwrite", *more))
    assert f"--resume goes on with the run in {copied}, --overwrite begins it anew; leave one" in message
    assert (copied / "model.safetensors").read_bytes() == before


def test_a_model_is_not_replaced_without_asking(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(copied / "checkpoints")
    before = (copied / "model.safetensors").read_bytes()
    message = refused(capsys, pretrain(copied, "--seed", 1))
    assert "already holds a model; choose another --output, or replace it with --overwrite" in message
    assert (copied / "model.safetensors").read_bytes() == before


def test_overwrite_begins_anew(copied: Path) -> None:
    (copied / "best").mkdir()
    before = (copied / "model.safetensors").read_bytes()
    assert pretrain(copied, "--seed", 1, "--steps", 1, "--overwrite", "--quiet") == 0
    assert (copied / "model.safetensors").read_bytes() != before
    assert checkpoints(copied) == ["step-00000001"]
    assert [line["step"] for line in steps_of(copied)] == [1]
    assert not (copied / "best").exists()
    assert settings_of(copied)["recipe"]["seed"] == 1


def interrupted_at(step: int, number: int) -> Any:
    """`train`, during whose step the user or the system stops the process."""
    train = run_module.train

    def interrupted(*arguments: Any) -> Iterator[tuple[StepReport, Position]]:
        for report, position in train(*arguments):
            if report.step == step:
                os.kill(os.getpid(), number)
            yield report, position

    return interrupted


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_what_was_trained_is_saved_and_the_same_command_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], number: int, code: int
) -> None:
    output, more = tmp_path / "run", ("--steps", 6, "--ema", 0.5, "--eval-zeroshot", "digits", "--eval-every", 2)
    with monkeypatch.context() as patched:
        patched.setattr(run_module, "train", interrupted_at(3, number))
        assert pretrain(output, *more) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert "stopped at step 3 of 6; the same command" in err.replace("\n", " ")
    assert checkpoints(output) == ["step-00000003"]
    assert words_of(output / "config.json")["trained"]["steps"] == 3
    load_folder(output)
    assert pretrain(output, *more) == 0
    assert "going on after step 3 of 6" in capsys.readouterr().err
    assert pretrain(tmp_path / "whole", *more, "--quiet") == 0
    expected = weights(tmp_path / "whole")
    assert all(torch.equal(value, expected[name]) for name, value in weights(output).items())
    timed = ("pairs_per_second", "utilisation")
    lines, right = (
        [{k: v for k, v in json.loads(line).items() if k not in timed} for line in path.read_text().splitlines()]
        for path in (output / "metrics.jsonl", tmp_path / "whole" / "metrics.jsonl")
    )
    assert lines == right


def test_ctrl_c_before_the_first_step_leaves_an_earlier_model_alone(
    copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (copied / "model.safetensors").read_bytes()

    def interrupted(*arguments: Any) -> Iterator[tuple[StepReport, Position]]:
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr(run_module, "train", interrupted)
    assert pretrain(copied, "--quiet", "--overwrite", "--seed", 1) == 130
    assert (copied / "model.safetensors").read_bytes() == before


def test_a_loss_that_is_no_number_ends_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    more = ("--learning-rate", "1e30", "--steps", 20, "--clip", 0, "--save-every", 1)
    message = refused(capsys, pretrain(tmp_path / "run", *more)).replace("\n", " ")
    assert "training stopped, and the last checkpoint is as it was" in message
    assert "Use a lower --learning-rate or a longer --warmup" in message
    described = words_of(tmp_path / "run" / "bad_batch.json")
    assert len(described["examples"]) == 8
    assert all(name.startswith("scenes: scene-train-") for name in described["examples"])
    assert checkpoints(tmp_path / "run") == [f"step-{described['step'] - 1:08d}"]


# --- dry run ---


def test_a_dry_run_tells_everything_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_module, "train", lambda *_: pytest.fail("trained"))
    more = ("--data", "digits", "--eval-zeroshot", "digits", "--dry-run")
    assert pretrain(tmp_path / "run", *more) == 0
    out, err = capsys.readouterr()
    for words in (
        "labels as text",
        "scene-train-",
        "parameters",
        "activations",
        "rate at step 1",
        "at the end: digits",
    ):
        assert words in out, words
    assert err == ""
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_meets_the_same_mistakes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for more, message in (
        (("--batch-size", 33), "32 training pictures do not fill one batch of 33"),
        (("--accumulate", 3), "cannot be cut into 1 processes x 3 parts"),
        (("--eval-retrieval", "digits"), "no captions in digits: --eval-retrieval takes pictures with captions"),
        (("--eval-caption", "digits"), "no captions in digits: --eval-caption takes pictures with captions"),
    ):
        assert message in refused(capsys, pretrain(tmp_path / "run", "--dry-run", *more))


def test_a_dry_run_meets_what_the_machine_and_the_folder_refuse(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fsdp = refused(capsys, pretrain(tmp_path / "run", "--dry-run", "--parallel", "fsdp"))
    assert "--parallel fsdp shares the model among processes: start them with torchrun" in fsdp
    assert "nothing to resume in" in refused(capsys, pretrain(tmp_path / "run", "--dry-run", "--resume"))
    shutil.copytree(trained, tmp_path / "model", ignore=shutil.ignore_patterns("checkpoints"))
    assert "already holds a model" in refused(capsys, pretrain(tmp_path / "model", "--dry-run"))
    monkeypatch.setitem(sys.modules, "wandb", None)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    refused(capsys, pretrain(tmp_path / "run", "--dry-run", "--log", "wandb"))


def test_a_run_does_not_go_on_with_other_captions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(SAMPLES / "pairs", tmp_path / "data")
    table = tmp_path / "data/pairs.csv"
    more = ("--batch-size", 2, "--vocab-size", 40, "--quiet")
    assert pretrain(tmp_path / "run", *more, data=table) == 0
    capsys.readouterr()
    table.write_text(table.read_text().replace("a blue square", "the blue square"))
    message = refused(capsys, pretrain(tmp_path / "run", *more, data=table))
    assert "holds a run with other settings: texts was ['" in " ".join(message.split())
    run_file = tmp_path / "run/run.json"
    content = words_of(run_file)
    del content["settings"]["texts"]  # as an older version wrote it
    run_file.write_text(json.dumps(content))
    shutil.copy(SAMPLES / "pairs/pairs.csv", table)
    assert pretrain(tmp_path / "run", *more, data=table) == 0


def test_a_dry_run_takes_no_memory_for_the_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    monkeypatch.setattr(module, "describe_plan", lambda request, prepared, world: found.append(prepared) or "")
    assert pretrain(tmp_path / "run", "--freeze", "image", "--checkpoint-activations", "--dry-run") == 0
    assert all(parameter.is_meta for parameter in found[0].model.parameters())


# --- refusals ---


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


@pytest.mark.parametrize("more", [(), ("--dry-run",)])
def test_nothing_to_train_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], more: tuple[object, ...]
) -> None:
    for patterns in (("*",), ("image", "text", "*")):
        words = tuple(word for pattern in patterns for word in ("--freeze", pattern))
        message = refused(capsys, pretrain(tmp_path / "run", *words, *more))
        assert f"{' '.join(words)} leaves nothing to train; freeze less, such as image alone" in message


@pytest.mark.parametrize("more", [(), ("--dry-run",)])
def test_a_start_that_is_a_file_is_refused(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: tuple[object, ...]
) -> None:
    file = trained / "model.safetensors"
    message = refused(capsys, pretrain(tmp_path / "run", "--init", file, *more, changes=()))
    assert f"--init {file} is a file: give the folder that holds the model's files, such as {trained}" in message


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
    monkeypatch.setattr(pretrain_setup, "find_source", lambda *_: pytest.fail("looked at the data first"))
    (tmp_path / "file").write_text("in the way")
    message = refused(capsys, pretrain(tmp_path / "file" / "run"))
    assert "cannot write into the folder" in message


@pytest.mark.parametrize("more", [("--steps", 0), ("--warmup", 2), ("--min-crop", 0), ("--optimizer", "sgd")])
def test_wrong_usage_has_exit_code_2(tmp_path: Path, more: tuple[object, ...]) -> None:
    assert pretrain(tmp_path / "run", *more) == 2
    assert not (tmp_path / "run").exists()


# --- one loss alone ---


def test_without_the_caption_loss_the_decoder_stays_as_it_began(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "step_cost", lambda config, captions=True: StepCost(1000, 10))
    assert pretrain(tmp_path / "both") == 0
    capsys.readouterr()
    assert pretrain(tmp_path / "one", "--caption-weight", 0, "--save-every", 1) == 0
    assert re.search(r"2 steps, contrastive loss \d\.\d+\n", capsys.readouterr().out)
    line = json.loads((tmp_path / "one" / "metrics.jsonl").read_text().splitlines()[-1])
    assert list(line) == [name for name in METRICS if name != "caption"]
    both, one = weights(tmp_path / "both"), weights(tmp_path / "one")
    moved = {name for name in one if not torch.equal(one[name], both[name])}
    assert "image.contrastive.queries" in moved
    decoder = [name for name in one if name.startswith("decoder.")]
    assert pretrain(tmp_path / "long", "--caption-weight", 0, "--steps", 4) == 0
    long = weights(tmp_path / "long")
    assert all(torch.equal(one[name], long[name]) for name in decoder)
    assert not torch.equal(one["text.cls"], long["text.cls"])


def test_two_weights_of_zero_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert pretrain(tmp_path / "run", "--caption-weight", 0, "--contrastive-weight", 0) == 1
    assert "both losses have the weight 0, so nothing would be learned" in refused(capsys, 1)
