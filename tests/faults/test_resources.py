"""Machines that are full, locked or poor: what stands on disk stays whole, and one line says what to do."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from coca_cli.store import Store
from tests.commands.squares import save_model, save_pictures
from tests.faults.forked import Limits, finish, run, start
from tests.faults.test_kills import COMMANDS, World, same


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_pictures(tmp_path_factory.mktemp("pictures"))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 300 KiB; skips where nobody lets us mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(place)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("only root may mount a small disk")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def fill(disk: Path) -> None:
    with (disk / "other people's").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return


NEEDS_ROOM = ("pretrain", "finetune", "probe", "embed", "caption", "zeroshot", "suite")


@pytest.mark.slow
@pytest.mark.parametrize("name", NEEDS_ROOM)
def test_a_full_disk_is_told_in_one_line(
    name: str, model: Path, pictures: Path, small_disk: Path, tmp_path: Path
) -> None:
    world = World(model, pictures, small_disk / "work")
    world.folder.mkdir()
    words = COMMANDS[name].words(world)
    fill(small_disk)
    ended = run(words, tmp_path / "full")
    assert ended.code == 1, ended.err
    assert "Traceback" not in ended.err
    last = ended.err.strip().splitlines()[-1]
    assert last.startswith("coca: ")
    assert "No space left on device" in ended.err
    (small_disk / "other people's").unlink()
    subprocess.run(["mount", "-o", "remount,size=200m", str(small_disk)], check=True)
    again = run(words, tmp_path / "again")
    assert again.code == 0, again.err  # with room the same command goes on


@pytest.mark.slow
@pytest.mark.parametrize("name", NEEDS_ROOM)
def test_a_disk_that_fills_up_half_way_leaves_nothing_half(
    name: str, model: Path, pictures: Path, small_disk: Path, tmp_path: Path
) -> None:
    undisturbed = World(model, pictures, tmp_path / "undisturbed")
    undisturbed.folder.mkdir()
    assert run(COMMANDS[name].words(undisturbed), tmp_path / "whole").code == 0
    world = World(model, pictures, small_disk / "work")
    world.folder.mkdir()
    words = COMMANDS[name].words(world)
    ended = run(words, tmp_path / "small")
    assert "Traceback" not in ended.err
    if ended.code:  # for some commands so little is enough
        assert ended.code == 1, ended.err
        subprocess.run(["mount", "-o", "remount,size=200m", str(small_disk)], check=True)
        again = run(words, tmp_path / "again")
        assert again.code == 0, again.err
    assert same(COMMANDS[name].outcome(world), COMMANDS[name].outcome(undisturbed))


@pytest.mark.slow
@pytest.mark.parametrize("name", [*NEEDS_ROOM, "report"])
def test_a_read_only_disk_is_told_in_one_line(
    name: str, model: Path, pictures: Path, small_disk: Path, tmp_path: Path
) -> None:
    world = World(model, pictures, small_disk / "work")
    world.folder.mkdir()
    words = COMMANDS[name].words(world)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    ended = run(words, tmp_path / "locked")
    assert ended.code == 1, ended.out
    assert "Traceback" not in ended.err
    if name != "report":  # which finds no results to report
        assert "Read-only file system" in ended.err


def test_neither_a_home_nor_a_cache_is_needed(model: Path, pictures: Path, tmp_path: Path) -> None:
    world = World(model, pictures, tmp_path / "work")
    world.folder.mkdir()
    nowhere = {"HOME": None, "COCA_CACHE": None, "XDG_CACHE_HOME": None}
    ended = run(COMMANDS["zeroshot"].words(world), tmp_path / "homeless", Limits(environment=nowhere))
    assert ended.code == 0, ended.err
    homeless = {"HOME": "/nonexistent", "COCA_CACHE": None, "XDG_CACHE_HOME": None}
    ended = run(
        ["embed", pictures / "test", "-m", model, "-o", tmp_path / "out.npz"],
        tmp_path / "gone",
        Limits(environment=homeless),
    )
    assert ended.code == 0 or "Traceback" not in ended.err


@pytest.mark.parametrize("name", ["hf-hub:nobody/none", "coca_ViT-L-14"])
def test_without_a_network_a_hub_name_is_answered_at_once(name: str, pictures: Path, tmp_path: Path) -> None:
    tag = ["--pretrained", "laion2b_s13b_b90k"] if name.startswith("coca") else []
    ended = run(["eval", "zeroshot", "-m", name, *tag, "-d", f"folder:{pictures}"], tmp_path / "offline")
    assert ended.code == 1
    assert "Traceback" not in ended.err
    assert name.removeprefix("hf-hub:") in ended.err


@pytest.mark.parametrize("name", ["zeroshot", "embed", "caption", "pretrain"])
def test_sixty_four_open_files_are_enough(name: str, model: Path, pictures: Path, tmp_path: Path) -> None:
    world = World(model, pictures, tmp_path / "work")
    world.folder.mkdir()
    ended = run(COMMANDS[name].words(world), tmp_path / "few", Limits(files=64))
    assert ended.code == 0, ended.err


def test_too_few_open_files_are_told(model: Path, pictures: Path, tmp_path: Path) -> None:
    world = World(model, pictures, tmp_path / "work")
    world.folder.mkdir()
    ended = run(COMMANDS["zeroshot"].words(world), tmp_path / "few", Limits(files=5))
    assert ended.code == 1
    assert "Traceback" not in ended.err
    assert "open files" in ended.err


@pytest.mark.slow
def test_processes_that_write_one_folder_and_one_cache_lose_nothing(
    model: Path, pictures: Path, tmp_path: Path
) -> None:
    world = World(model, pictures, tmp_path / "work")
    world.folder.mkdir()
    began = time.monotonic()
    logs = [tmp_path / f"log-{number}" for number in range(6)]
    running = [start([*COMMANDS["zeroshot"].words(world), "--seed", number], log) for number, log in enumerate(logs)]
    for process, log in zip(running, logs, strict=True):
        ended = finish(process, log, began)
        assert ended.code == 0, ended.err
    store = Store(world.folder / "results")
    rows = store.rows()
    assert len({(row.seed, row.metric) for row in rows}) == len(rows)
    assert {row.seed for row in rows} == set(range(6))
    assert len({(row.metric, row.value) for row in rows}) == len({row.metric for row in rows})
    assert len(store.runs()) == 6
    for run_file in store.runs():
        assert sum(run_file.made(row) for row in rows) == len(rows) / 6
