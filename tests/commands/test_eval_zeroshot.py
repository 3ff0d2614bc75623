"""`coca eval zeroshot` as a user runs it: answers, refusals, pictures of every kind."""

from __future__ import annotations

import csv
import json
import os
import pickle
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from coca_cli.model.checkpoint import save_folder
from coca_cli.model.coca import CoCa
from coca_cli.model.config import tiny_config
from coca_cli.model.tokenizer import SentencePieceTokenizer, train_sentencepiece
from tests.commands.running import run
from tests.pictures import class_folders, drawn, jpeg_bytes


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny CoCa of random weights."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    words = train_sentencepiece([f"a photo of a {w}" for w in ("cat", "dog", "bird", "picture", "small large")], 60)
    tokenizer = SentencePieceTokenizer(words, context=16)
    torch.manual_seed(0)
    config = tiny_config(tokenizer.vocab_size, image_size=32, context=16)
    save_folder(folder, CoCa(config), tokenizer, "tiny")
    return folder


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return class_folders(tmp_path / "pictures")


def evaluate(model: Path, dataset: object, results: Path, *more: object) -> int:
    return run("eval", "zeroshot", "-m", model, "-d", dataset, "--results", results, "--precision", "fp32", *more)


def rows(results: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (results / "results.jsonl").read_text().splitlines()]


def test_a_folder_of_pictures_ends_in_rows_and_a_table(
    model: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(model, f"folder:{pictures}", tmp_path / "results") == 0
    out, err = capsys.readouterr()
    assert "top-1" in out
    assert "Traceback" not in err
    found = rows(tmp_path / "results")
    assert [row["metric"] for row in found] == ["top-1", "mean per-class recall"]  # two classes have no top-5
    for row in found:
        assert row["n"] == 24
        assert row["skipped"] == 0
        assert 0 <= row["low"] <= row["value"] <= row["high"] <= 100
        assert row["model"] == "tiny"
        assert row["precision"] == "fp32"


def test_a_second_run_appends_and_gives_the_same_number(model: Path, pictures: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    assert evaluate(model, f"folder:{pictures}", results) == 0
    assert evaluate(model, f"folder:{pictures}", results) == 0  # class embeddings from the cache
    assert evaluate(model, f"folder:{pictures}", results, "--no-cache") == 0
    found = rows(results)
    assert len(found) == 6
    assert len({row["value"] for row in found if row["metric"] == "top-1"}) == 1
    assert len({row["settings"] for row in found}) == 1
    assert len(list((results / "runs").iterdir())) == 3


def test_other_words_are_another_setting(model: Path, pictures: Path, tmp_path: Path) -> None:
    results, templates = tmp_path / "results", tmp_path / "templates.txt"
    templates.write_text("a {c}\n")
    assert evaluate(model, f"folder:{pictures}", results) == 0
    assert evaluate(model, f"folder:{pictures}", results, "--templates", templates) == 0
    assert len({row["settings"] for row in rows(results)}) == 2


@pytest.mark.parametrize("form", ["csv", "json", "markdown"])
def test_stdout_holds_the_answer_alone(
    model: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], form: str
) -> None:
    assert evaluate(model, f"folder:{pictures}", tmp_path / "results", "--format", form) == 0
    out = capsys.readouterr().out
    if form == "csv":
        assert [row["metric"] for row in csv.DictReader(out.splitlines())] == ["top-1", "mean per-class recall"]
    elif form == "json":
        assert json.loads(out)[0]["metric"] == "top-1"
    else:
        assert out.startswith("### zeroshot")


def test_predictions_name_every_example(model: Path, pictures: Path, tmp_path: Path) -> None:
    file = tmp_path / "predictions.csv"
    assert evaluate(model, f"folder:{pictures}", tmp_path / "results", "--predictions", file) == 0
    found = list(csv.DictReader(file.read_text().splitlines()))
    assert len(found) == 24
    assert found[0]["id"] == "cat/000.jpg"
    correct = sum(row["label"] == row["class_1"] for row in found)
    assert rows(tmp_path / "results")[0]["value"] == pytest.approx(100 * correct / 24)
    assert all(float(row["score_1"]) >= float(row["score_2"]) for row in found)


def test_limit_is_a_smoke_mode(model: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate(model, f"folder:{pictures}", tmp_path / "results", "--limit", 5) == 0
    assert rows(tmp_path / "results")[0]["n"] == 5
    told = "the first 5 examples are of 1 of the 2 classes, as --limit takes them in order: no estimate of the whole"
    assert told in capsys.readouterr().err


def test_classes_without_examples_are_named(
    model: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (pictures / "zebra").mkdir()
    assert evaluate(model, f"folder:{pictures}", tmp_path / "results") == 0
    assert "1 of the 3 classes have no example and compete all the same: zebra" in capsys.readouterr().err


def test_shards_and_built_in_digits_are_read(model: Path, tmp_path: Path) -> None:
    samples = Path(__file__).parent.parent / "samples"
    assert evaluate(model, f"wds:{samples / 'wds'}", tmp_path / "results") == 0
    assert evaluate(model, "digits", tmp_path / "results", "--limit", 20) == 0
    assert {row["dataset"] for row in rows(tmp_path / "results")} == {f"wds:{samples / 'wds'}", "digits"}


# --- pictures of every kind ---


def test_unusual_pictures_are_scored(model: Path, pictures: Path, tmp_path: Path) -> None:
    odd = pictures / "odd kinds"
    odd.mkdir()
    drawn(1).convert("CMYK").save(odd / "cmyk.jpg")
    drawn(2).convert("P").save(odd / "palette.png")
    Image.fromarray((torch.rand(20, 20) * 65535).numpy().astype("uint16")).save(odd / "sixteen bits.png")
    drawn(3).save(odd / "animated.gif", save_all=True, append_images=[drawn(4)])
    drawn(5).convert("RGBA").save(odd / "alpha.png")
    drawn(6).convert("1").save(odd / "one bit.png")
    drawn(7, (9, 300)).save(odd / "thin.png")
    assert evaluate(model, f"folder:{pictures}", tmp_path / "results") == 0
    assert rows(tmp_path / "results")[0]["n"] == 24 + 7
    assert rows(tmp_path / "results")[0]["skipped"] == 0


def test_a_truncated_jpeg_is_counted_named_and_left_out(
    model: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = jpeg_bytes(drawn(50, (200, 200)))
    (pictures / "dog" / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    assert evaluate(model, f"folder:{pictures}", tmp_path / "results") == 0
    row = rows(tmp_path / "results")[0]
    assert (row["n"], row["skipped"]) == (24, 1)
    assert "cut.jpg: damaged picture" in capsys.readouterr().err
    (run_file,) = (tmp_path / "results" / "runs").iterdir()
    (named,) = json.loads(run_file.read_text())["skipped"]
    assert named["id"] == "dog/cut.jpg"


def test_strict_stops_at_the_first_unreadable_picture(
    model: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (pictures / "dog" / "empty.jpg").write_bytes(b"")
    assert evaluate(model, f"folder:{pictures}", tmp_path / "results", "--strict") == 1
    assert "Stopped because of --strict" in capsys.readouterr().err
    assert not (tmp_path / "results" / "results.jsonl").exists()


def test_many_unreadable_pictures_give_no_score(
    model: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for i in range(2):
        (pictures / "dog" / f"broken{i}.jpg").write_text("this is no picture")
    assert evaluate(model, f"folder:{pictures}", tmp_path / "results") == 1
    assert "2 of 26 examples cannot be read, which is more than 5 %" in capsys.readouterr().err
    assert not (tmp_path / "results" / "results.jsonl").exists()


# --- refusals ---


def refused(capsys: pytest.CaptureFixture[str], code: int) -> str:
    out, err = capsys.readouterr()
    assert code == 1
    assert out == ""
    assert "Traceback" not in err
    assert err.startswith("coca: ")
    return err


def test_a_wrong_dataset_name_is_answered_with_near_ones(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    message = refused(capsys, evaluate(model, "imagnet", tmp_path / "results"))
    assert "unknown dataset 'imagnet'. Did you mean imagenet" in message


def test_a_missing_data_folder_shows_the_layout(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    message = refused(capsys, evaluate(model, "imagenet", tmp_path / "results", "--data-root", tmp_path / "nowhere"))
    assert "imagenet/val/WNID/*.JPEG" in message
    assert "--data-root" in message


def test_an_empty_folder_is_named(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    message = refused(capsys, evaluate(model, f"folder:{tmp_path / 'empty'}", tmp_path / "results"))
    assert str(tmp_path / "empty") in message


def test_class_folders_without_pictures_are_refused(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("cat", "dog"):
        (tmp_path / "bare" / name).mkdir(parents=True)
    assert "no pictures" in refused(capsys, evaluate(model, f"folder:{tmp_path / 'bare'}", tmp_path / "results"))


def test_a_missing_class_file_is_named(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    message = refused(capsys, evaluate(model, "digits", tmp_path / "results", "--classnames", tmp_path / "names.txt"))
    assert "check the path after --classnames" in message


def test_shards_without_class_names_ask_for_them(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sample = Path(__file__).parent.parent / "samples" / "wds"
    for folder in (sample, sample / "test"):
        (tmp_path / "wds" / folder.relative_to(sample)).mkdir(exist_ok=True, parents=True)
    for file in sorted((sample / "test").iterdir()):
        (tmp_path / "wds" / "test" / file.name).write_bytes(file.read_bytes())
    message = refused(capsys, evaluate(model, f"wds:{tmp_path / 'wds'}", tmp_path / "results"))
    assert "classnames.txt" in message
    names = tmp_path / "names.txt"
    names.write_text((sample / "classnames.txt").read_text())
    assert evaluate(model, f"wds:{tmp_path / 'wds'}", tmp_path / "results", "--classnames", names) == 0


def test_an_unknown_split_is_answered_with_the_known_ones(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    message = refused(capsys, evaluate(model, "digits", tmp_path / "results", "--split", "tset"))
    assert "unknown split of digits 'tset'. Did you mean test" in message


def test_a_set_without_classes_is_refused(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    message = refused(capsys, evaluate(model, "scenes", tmp_path / "results"))
    assert "scenes has no classes: it cannot be classified" in message


def test_a_checkpoint_with_missing_keys_names_them(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = copy_of(model, tmp_path / "broken")
    weights = load_file(broken / "model.safetensors")
    del weights["text.cls"], weights["decoder.norm.weight"]
    weights["decoder.norm.scale"] = torch.zeros(1)
    save_file(weights, broken / "model.safetensors")
    message = refused(capsys, evaluate(broken, "digits", tmp_path / "results"))
    assert "2 missing (decoder.norm.weight, text.cls); 1 unexpected (decoder.norm.scale)" in message


class Bomb:
    """A pickle that runs a command when it is opened."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.mark}",)


def test_a_pickle_bomb_does_not_go_off(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bomb, mark = tmp_path / "weights.pt", tmp_path / "it went off"
    bomb.write_bytes(pickle.dumps({"state_dict": Bomb(mark)}))
    code = run(
        "eval", "zeroshot", "-m", "coca_ViT-B-32", "--pretrained", bomb, "-d", "digits", "--results", tmp_path / "r"
    )
    assert "it holds more than tensors and could run code" in refused(capsys, code)
    assert not mark.exists()


def test_results_that_cannot_be_saved_are_noticed_before_the_work(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("in the way")
    # the model does not exist either: the results folder is looked at first, before anything is loaded
    message = refused(capsys, evaluate(tmp_path / "no model", f"folder:{pictures}", tmp_path / "file" / "results"))
    assert "results cannot be saved in" in message


def test_predictions_need_a_known_ending(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    message = refused(capsys, evaluate(model, "digits", tmp_path / "results", "--predictions", tmp_path / "p.txt"))
    assert "the file must end in .csv or .jsonl" in message


def test_wrong_usage_has_exit_code_2(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate(model, "digits", tmp_path / "results", "--batch-size", 0) == 2
    assert evaluate(model, "digits", tmp_path / "results", "--precision", "fp8") == 2
    assert run("eval", "zeroshot", "-d", "digits") == 2
    assert "Traceback" not in capsys.readouterr().err


def copy_of(folder: Path, to: Path) -> Path:
    to.mkdir()
    for file in folder.iterdir():
        (to / file.name).write_bytes(file.read_bytes())
    return to
