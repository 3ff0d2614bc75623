"""Damaged, foreign and hostile model folders: refused in one clear message, and nothing of them is ever run."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import pytest

from coca_cli.model.checkpoint import load
from tests.commands.squares import save_model
from tests.faults.changes import changes
from tests.faults.checkpoints import CONFIG, MARK, WEIGHTS, Bomb, changed_weights, spoiled_pickles, spoiled_weights
from tests.faults.judging import MOST_LETTERS, NAMED, Outcome, outcome

NOT_FINITE = ("not a number", "infinite", "infinite below")


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("sound") / "model")


@pytest.fixture
def folder(sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(sound, tmp_path / "model"))


def loaded(name: str, *arguments: str) -> Outcome:
    def read() -> int:
        load(name, *arguments)
        return 1

    return outcome(read)


def refuse(name: str, *arguments: str) -> str:
    found = loaded(name, *arguments)
    assert found.count == NAMED
    assert any(Path(word).name in found.message for word in (name, *arguments))
    assert len(found.message) < MOST_LETTERS
    assert not Path(MARK).exists()
    return found.message


def test_the_bomb_goes_off_where_it_can(folder: Path) -> None:
    pickle.loads(pickle.dumps(Bomb()))
    assert Path(MARK).exists()


@pytest.mark.parametrize("name", list(spoiled_weights()))
def test_a_file_that_holds_no_weights_is_refused(name: str, folder: Path) -> None:
    (folder / WEIGHTS).write_bytes(spoiled_weights()[name])
    refuse(str(folder))


def test_weights_that_do_not_fit_are_refused(sound: Path, tmp_path: Path) -> None:
    for number, name in enumerate(changed_weights(sound)):
        copy = Path(shutil.copytree(sound, tmp_path / f"model-{number}"))
        changed_weights(copy)[name]()
        told = refuse(str(copy))
        assert ("has values that are no finite numbers in 1 tensors" in told) == (name in NOT_FINITE)


@pytest.mark.parametrize("name", list(spoiled_pickles()))
def test_no_weights_file_runs_code(name: str, folder: Path) -> None:
    file = folder / "weights.pt"
    file.write_bytes(spoiled_pickles()[name])
    refuse("coca_ViT-B-32", str(file))


@pytest.mark.parametrize("name", list(spoiled_pickles()))
def test_no_file_of_a_folder_runs_code(name: str, folder: Path) -> None:
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": {}, "preprocess_cfg": {}}))
    (folder / WEIGHTS).unlink()
    (folder / "open_clip_pytorch_model.bin").write_bytes(spoiled_pickles()[name])
    refuse(str(folder))


@pytest.mark.slow
def test_a_changed_description_is_refused_or_changes_nothing(folder: Path) -> None:
    described = json.loads((folder / CONFIG).read_text())
    expected = load(str(folder)).checkpoint
    wrong = []
    for name, document in changes(described):
        (folder / CONFIG).write_text(json.dumps(document))
        try:
            found = loaded(str(folder))
        except Exception as error:
            found = Outcome(0, f"{type(error).__name__}: {str(error)[:150]}")
        if found.count == 0 or len(found.message) > MOST_LETTERS:
            wrong.append(f"{name} -> {found.message}")
        if found.count == 1 and load(str(folder)).checkpoint != expected:
            wrong.append(f"{name} -> other weights")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("content", [b"", b"\0" * 2000, b"\x80\x04cos\nsystem\n.", b"[" * 100_000, b"{}"])
def test_a_damaged_tokenizer_is_refused(content: bytes, folder: Path) -> None:
    for file in folder.iterdir():
        if file.name not in (CONFIG, WEIGHTS):
            kept = file.read_bytes()
            file.write_bytes(content)
            refuse(str(folder))
            file.write_bytes(kept)
