"""What strangers put into files does nothing, and what the user keeps secret stays out of files."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import stat
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from coca_cli.datasets import find_dataset
from coca_cli.errors import CocaError
from coca_cli.files import written_whole
from coca_cli.model.checkpoint import load
from coca_cli.model.open_clip_package import part
from coca_cli.printable import printable
from coca_cli.training.checkpoints import latest_checkpoint
from tests.browser import loaded_in_browser
from tests.commands.running import run
from tests.commands.squares import save_model, save_pictures
from tests.faults.checkpoints import MARK, Bomb
from tests.faults.forked import Limits
from tests.faults.forked import run as run_apart
from tests.faults.pictures import encoded, photograph
from tests.faults.shards import member, packed
from tests.tasks.writer import save_writer
from tests.training.runs import words as pretrain_words

SCRIPT = "<script>document.title = 'it ran'</script><img src=x onerror=\"document.title = 'it ran'\">"
SECRET = "hf_AbCdEfGhIjKlMnOpQrStUvWxYz012345"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_pictures(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def no_bomb_went_off() -> bool:
    return not Path(MARK).exists()


def test_batches_of_cifar_run_no_code(tmp_path: Path) -> None:
    folder = tmp_path / "cifar10/cifar-10-batches-py"
    folder.mkdir(parents=True)
    for protocol in range(6):
        for name in ("test_batch", "batches.meta", *(f"data_batch_{number}" for number in range(1, 6))):
            (folder / name).write_bytes(pickle.dumps({b"data": Bomb(), b"labels": Bomb()}, protocol))
        with pytest.raises(CocaError):
            list(find_dataset("cifar10").read(tmp_path, "test"))
        assert no_bomb_went_off()


@pytest.mark.slow
def test_no_file_of_a_checkpoint_of_training_runs_code(tmp_path: Path) -> None:
    output = tmp_path / "run"
    assert run(*pretrain_words(output)) == 0
    checkpoint = latest_checkpoint(output)
    assert checkpoint is not None
    (output / "model.safetensors").unlink()
    for file in [*checkpoint.iterdir(), *(file for file in output.iterdir() if file.is_file())]:
        kept = file.read_bytes()
        for content in (pickle.dumps(Bomb()), pickle.dumps(Bomb(), 0)):
            file.write_bytes(content)
            run(*pretrain_words(output))  # whatever comes of it
            assert no_bomb_went_off(), file.name
        shutil.rmtree(output / "model.safetensors", ignore_errors=True)
        (output / "model.safetensors").unlink(missing_ok=True)
        file.write_bytes(kept)


def test_nothing_in_the_cache_runs_code(model: Path, pictures: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    words = ["eval", "zeroshot", "-m", model, "-d", f"folder:{pictures}", "--cache-dir", cache, "--precision", "fp32"]
    assert run(*words, "--results", tmp_path / "one") == 0
    for file in [file for file in cache.rglob("*") if file.is_file()]:
        file.write_bytes(pickle.dumps(Bomb()))
    assert run(*words, "--results", tmp_path / "other") == 0  # it is computed anew
    assert no_bomb_went_off()
    values = [
        [json.loads(line)["value"] for line in (tmp_path / name / "results.jsonl").read_text().splitlines()]
        for name in ("one", "other")
    ]
    assert values[0] == values[1]


def test_a_baseline_of_open_clip_runs_no_code(tmp_path: Path) -> None:
    folder = tmp_path / "clip"
    folder.mkdir()
    vision = {"image_size": 16, "layers": 1, "width": 16, "head_width": 8, "patch_size": 8}
    text = {"context_length": 8, "vocab_size": 50, "width": 16, "heads": 2, "layers": 1}
    described = {"model_cfg": {"embed_dim": 8, "vision_cfg": vision, "text_cfg": text}, "preprocess_cfg": {}}
    (folder / "open_clip_config.json").write_text(json.dumps(described))
    for protocol in range(6):
        (folder / "open_clip_pytorch_model.bin").write_bytes(pickle.dumps({"visual.proj": Bomb()}, protocol))
        with pytest.raises(CocaError):
            load(str(folder))
        assert no_bomb_went_off()


def test_names_in_shards_stay_inside(model: Path, tmp_path: Path) -> None:
    jpeg = encoded(photograph(), "JPEG")
    hostile = ["../../outside", "/tmp/coca-was-here", "a/../../outside", "..", "c:\\outside"]
    members = [part for name in hostile for part in (member(f"{name}.jpg", jpeg), member(f"{name}.txt", b"a dog"))]
    shard = tmp_path / "in" / "train.tar"
    shard.parent.mkdir()
    shard.write_bytes(packed(members))
    before = set(tmp_path.rglob("*"))
    assert run("data", "pack", f"wds:{shard}", "-o", tmp_path / "deep/er/out") in (0, 1)
    assert run("caption", shard.parent, "-m", model) in (0, 1)
    new = set(tmp_path.rglob("*")) - before
    assert all(tmp_path / "deep" in (file, *file.parents) or "cache" in str(file) for file in new), new
    assert not Path("/tmp/coca-was-here.jpg").exists()


def test_a_command_in_a_file_name_is_a_name(model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("$(touch it-ran).jpg", "`touch it-ran`.jpg", "; touch it-ran;.jpg", "| touch it-ran.jpg"):
        (folder / name).write_bytes(encoded(photograph(), "JPEG"))
    assert run("embed", folder, "-m", model, "-o", tmp_path / "out.npz") == 0
    assert run("eval", "zeroshot", "-m", model, "-d", "folder:$(touch it-ran)") == 1
    assert no_bomb_went_off()


def hostile_results(tmp_path: Path) -> Path:
    """Results whose names and captions are programs."""
    folder = tmp_path / "named"
    (folder / "images").mkdir(parents=True)
    rows = []
    for number in range(6):
        name = f"<script>document.title='it ran'<{chr(92)}script>{number}.jpg".replace("/", "")
        (folder / "images" / name).write_bytes(encoded(photograph(), "JPEG"))
        rows.append({"image": name, "caption": f"{SCRIPT} {number}"})
    table = folder / f"{SCRIPT.split('/')[0]}.jsonl"
    table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    model = save_writer(tmp_path / "writer <b>bold<!--")
    fixed = ("-m", model, "-d", f"captions:{table}", "--results", tmp_path / "results", "--precision", "fp32")
    assert run("eval", "retrieval", *fixed) == 0
    assert run("eval", "caption", *fixed, "--max-length", 6) == 0
    assert run("report", "--results", tmp_path / "results", "--format", "html", "-o", tmp_path / "report.html") == 0
    return tmp_path / "report.html"


@pytest.fixture(scope="module")
def hostile_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return hostile_results(tmp_path_factory.mktemp("hostile"))


def test_a_report_shows_hostile_texts_as_texts(hostile_page: Path) -> None:
    page = hostile_page.read_text()
    assert "it ran" in page
    assert "<script>document" not in page
    assert "<img src=x" not in page
    assert "<b>bold" not in page


def test_a_browser_runs_nothing_of_them(hostile_page: Path, tmp_path: Path) -> None:
    title = hostile_page.read_text().split("<title>")[1].split("</title>")[0]
    assert f"<title>{title}</title>" in loaded_in_browser(hostile_page, tmp_path / "user")


def written_below(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in folder.rglob("*") if file.is_file())


@pytest.mark.slow
def test_no_variable_of_the_environment_is_written_down(model: Path, pictures: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    limits = Limits(environment={"HF_TOKEN": SECRET, "WANDB_API_KEY": SECRET, "MY_PASSWORD": SECRET})
    kept = ("--results", work / "results", "--cache-dir", work / "cache")
    commands: list[list[object]] = [
        ["eval", "zeroshot", "-m", model, "-d", f"folder:{pictures}", *kept],
        ["pretrain", *pretrain_words(work / "run")[1:]],
        ["report", "--results", work / "results", "--format", "html", "-o", work / "report.html"],
        ["eval", "zeroshot", "-m", "hf-hub:nobody/none", "-d", f"folder:{pictures}", *kept],
    ]
    for number, words in enumerate(commands):
        run_apart(words, work / f"log-{number}", limits)
    assert (work / "report.html").exists()
    assert SECRET.encode() not in written_below(work)


def test_what_is_being_written_is_private_until_it_is_whole(tmp_path: Path) -> None:
    os.umask(0o022)
    with written_whole(tmp_path / "result.json") as temporary:
        assert stat.S_IMODE(temporary.stat().st_mode) == 0o600
        temporary.write_text("{}")
    assert stat.S_IMODE((tmp_path / "result.json").stat().st_mode) == 0o644


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[2Jb", "a\\x1b[2Jb"),
        ("a\rb\x07", "a\\x0db\\x07"),
        ("a\x9b31mb", "a\\x9b31mb"),
        ("a\u202egpj.exe", "a\\u202egpj.exe"),
        ("two\nlines\tand a tab, ünïcödé 写真", "two\nlines\tand a tab, ünïcödé 写真"),
    ],
)
def test_a_name_does_nothing_to_the_terminal(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_an_error_with_a_hostile_name_is_harmless(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("eval", "zeroshot", "-m", "/none\x1b[2J", "-d", "folder:/none\x1b]0;title\x07") == 1
    assert "\x1b" not in capsys.readouterr().err


def test_weights_of_a_stranger_stay_in_their_place(model: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(model, tmp_path / "model"))
    weights = load_file(folder / "model.safetensors")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt", "run": "__import__('os').system('x')"})
    assert load(str(folder)).checkpoint == load(str(model)).checkpoint
    assert no_bomb_went_off()


def test_published_weights_come_over_https() -> None:
    addresses = [
        config["url"]
        for tags in part("pretrained")._PRETRAINED.values()
        for config in tags.values()
        if config.get("url")
    ]
    assert len(addresses) > 10
    assert all(address.startswith("https://") for address in addresses)
