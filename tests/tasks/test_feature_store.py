from __future__ import annotations

import json
import os
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from coca_cli.datasets.example import Example, Member, Pixels, Streamed
from coca_cli.errors import BadExample
from coca_cli.media.batches import Skipped
from coca_cli.tasks import feature_store
from coca_cli.tasks.feature_store import FeatureStore, Part, stamp_of
from coca_cli.tasks.features import Computing, Features, features_of, stored_parts, stream_parts
from coca_cli.world import World

FACTS = {"weights": "abc", "split": "test"}


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feature_store, "PART", 4)


@pytest.fixture
def examples(tmp_path: Path) -> list[Example]:
    """Ten files, each with a number in it."""
    (tmp_path / "data").mkdir()
    found = []
    for number in range(10):
        file = tmp_path / "data" / f"{number}.txt"
        file.write_text(str(number))
        found.append(Example(id=str(number), media=(file,)))
    return found


def read(example: Example) -> NDArray[np.uint8]:
    (file,) = example.media
    assert isinstance(file, Path)
    text = file.read_text()
    if not text.isdigit():
        raise BadExample(f"{file.name}: no number")
    return np.array([int(text)], dtype=np.uint8)


class Model:
    """Squares numbers and keeps count of them."""

    def __init__(self) -> None:
        self.seen: list[int] = []

    def __call__(self, rows: Tensor) -> Tensor:
        self.seen += rows.flatten().tolist()
        return rows.float() ** 2


def computing(model: Model) -> Computing:
    return Computing(read=read, compute=model, batch_size=3, workers=0)


def run(
    cache: Path | None,
    examples: Sequence[Example],
    model: Model,
    *,
    facts: dict[str, str] = FACTS,
    strict: bool = False,
) -> tuple[Features, Skipped]:
    skipped = Skipped(strict=strict)
    store = FeatureStore(cache, facts, lambda text: pytest.fail(f"warned: {text}"))
    found = features_of(examples, store, computing(model), skipped)
    return found, skipped


def squares(count: int) -> list[float]:
    return [float(number**2) for number in range(count)]


def test_what_was_computed_is_read_and_not_computed_again(tmp_path: Path, examples: list[Example]) -> None:
    first, second = Model(), Model()
    found, _ = run(tmp_path, examples, first)
    again, _ = run(tmp_path, examples, second)
    assert first.seen == list(range(10))
    assert second.seen == []
    assert found.features.flatten().tolist() == again.features.flatten().tolist() == squares(10)
    assert [e.id for e in again.examples] == [e.id for e in examples]


def test_without_a_cache_everything_is_computed(tmp_path: Path, examples: list[Example]) -> None:
    for _ in range(2):
        model = Model()
        run(None, examples, model)
        assert model.seen == list(range(10))
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_other_facts_have_other_features(tmp_path: Path, examples: list[Example]) -> None:
    run(tmp_path, examples, Model())
    other = Model()
    run(tmp_path, examples, other, facts={**FACTS, "weights": "xyz"})
    assert len(other.seen) == 10


def test_a_changed_file_makes_its_part_anew(tmp_path: Path, examples: list[Example]) -> None:
    run(tmp_path, examples, Model())
    (tmp_path / "data" / "5.txt").write_text("77")
    model = Model()
    found, _ = run(tmp_path, examples, model)
    assert model.seen == [4, 77, 6, 7]
    assert found.features[5] == 77.0**2


def test_a_limit_reads_the_beginning_of_a_part_and_more_makes_it_anew(tmp_path: Path, examples: list[Example]) -> None:
    run(tmp_path, examples[:7], Model())
    fewer, more = Model(), Model()
    found, _ = run(tmp_path, examples[:6], fewer)
    assert (fewer.seen, found.features.flatten().tolist()) == ([], squares(6))
    run(tmp_path, examples, more)
    assert more.seen == [4, 5, 6, 7, 8, 9]


def test_a_killed_run_keeps_the_parts_that_it_finished(tmp_path: Path, examples: list[Example]) -> None:
    class Killed(Model):
        def __call__(self, rows: Tensor) -> Tensor:
            if 6 in rows.flatten().tolist():
                raise KeyboardInterrupt
            return super().__call__(rows)

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, examples, Killed())
    model = Model()
    found, _ = run(tmp_path, examples, model)
    assert model.seen == [4, 5, 6, 7, 8, 9]
    assert found.features.flatten().tolist() == squares(10)


@pytest.mark.parametrize("damage", ["cut", "emptied", "other"])
def test_a_damaged_part_is_made_anew(tmp_path: Path, examples: list[Example], damage: str) -> None:
    run(tmp_path, examples, Model())
    (part,) = (tmp_path / "features").glob("*/00001.safetensors")
    if damage == "cut":
        os.truncate(part, part.stat().st_size - 2)
    else:
        part.write_bytes(b"" if damage == "emptied" else b"no tensors at all")
    model = Model()
    found, _ = run(tmp_path, examples, model)
    assert model.seen == [4, 5, 6, 7]
    assert found.features.flatten().tolist() == squares(10)


def test_unreadable_examples_are_named_again_from_the_store(tmp_path: Path) -> None:
    examples = []
    for number in range(30):
        file = tmp_path / f"{number}.txt"
        file.write_text("broken" if number == 4 else str(number))
        examples.append(Example(id=str(number), media=(file,)))
    for _ in range(2):
        found, skipped = run(tmp_path / "cache", examples, Model())
        assert [example.id for example in found.examples] == [str(n) for n in range(30) if n != 4]
        assert skipped.reasons == {"4": "4.txt: no number"}
        assert skipped.seen == 30
    with pytest.raises(BadExample, match="Stopped because of --strict"):
        run(tmp_path / "cache", examples, Model(), strict=True)


def test_too_many_unreadable_examples_stop_the_second_run_too(tmp_path: Path, examples: list[Example]) -> None:
    (tmp_path / "data" / "9.txt").write_text("broken")
    for _ in range(2):
        with pytest.raises(BadExample, match="1 of 10 examples cannot be read, which is more than 5 %"):
            run(tmp_path, examples, Model())


def test_where_nothing_can_be_kept_the_run_goes_on_and_says_so_once(tmp_path: Path, examples: list[Example]) -> None:
    (tmp_path / "features").write_text("in the way")
    warned: list[str] = []
    store = FeatureStore(tmp_path, FACTS, warned.append)
    found = features_of(examples, store, computing(Model()), Skipped())
    assert found.features.flatten().tolist() == squares(10)
    assert len(warned) == 1
    assert warned[0].startswith("features are not kept for the next run: ")


def test_each_process_computes_its_own_parts(examples: list[Example], monkeypatch: pytest.MonkeyPatch) -> None:
    """The other process's parts come by way of `gather_all`, here by hand."""
    nothing = Part([], torch.empty(0), {})
    for rank, expected in enumerate([[0, 1, 2, 3, 8, 9], [4, 5, 6, 7]]):
        rounds: list[Part | None] = []

        def gathered(share: Part | None, world: World, rounds: list[Part | None] = rounds) -> list[Part]:
            rounds.append(share)
            return [share or nothing if place == world.rank else nothing for place in range(world.size)]

        monkeypatch.setattr("coca_cli.tasks.features.gather_all", gathered)
        model, store = Model(), FeatureStore(None, FACTS, pytest.fail)
        parts = list(stream_parts(examples, store, computing(model), Skipped(), World(rank, 2)))
        assert model.seen == expected
        assert len(parts) == 3
        assert [share is None for share in rounds] == [False, rank == 1]


def test_token_features_are_kept_in_their_own_format(tmp_path: Path, examples: list[Example]) -> None:
    """What a pooler reads: (n, N, W) in bf16."""

    def tokens(rows: Tensor) -> Tensor:
        return (rows[:, None].float() + torch.arange(6).view(3, 2)).bfloat16()

    found = []
    for compute in (tokens, lambda rows: pytest.fail("computed again")):
        store = FeatureStore(tmp_path, FACTS, pytest.fail)
        how = Computing(read=read, compute=compute, batch_size=3, workers=0)
        found.append(features_of(examples, store, how, Skipped()).features)
    assert (found[0].shape, found[0].dtype) == ((10, 3, 2), torch.bfloat16)
    assert torch.equal(found[0], found[1])


def test_parts_come_one_by_one(examples: list[Example]) -> None:
    model = Model()
    stream = stream_parts(examples, FeatureStore(None, FACTS, pytest.fail), computing(model), Skipped())
    assert next(stream).features.flatten().tolist() == squares(4)
    assert model.seen == [0, 1, 2, 3]


def test_no_more_parts_are_held_than_one_at_a_time(examples: list[Example], monkeypatch: pytest.MonkeyPatch) -> None:
    """Else all parts and their union would take twice the memory."""
    made: list[weakref.ref[Tensor]] = []
    alive: list[int] = []

    def write(self: FeatureStore, number: int, members: Sequence[Example], part: Part) -> None:
        alive.append(sum(features() is not None for features in made))
        made.append(weakref.ref(part.features))

    monkeypatch.setattr(FeatureStore, "write", write)
    found, _ = run(None, examples, Model())
    assert found.features.flatten().tolist() == squares(10)
    assert max(alive) <= 1


@pytest.mark.parametrize("reading", [features_of, stored_parts])
def test_each_file_is_looked_at_once(
    tmp_path: Path,
    examples: list[Example],
    monkeypatch: pytest.MonkeyPatch,
    reading: Callable[[Sequence[Example], FeatureStore, Computing, Skipped], object],
) -> None:
    run(tmp_path, examples, Model())
    looked: list[str] = []

    def stamp(example: Example) -> list[str]:
        looked.append(example.id)
        return stamp_of(example)

    monkeypatch.setattr(feature_store, "stamp_of", stamp)
    model = Model()
    reading(examples, FeatureStore(tmp_path, FACTS, pytest.fail), computing(model), Skipped())
    assert looked == [example.id for example in examples]
    assert model.seen == []


def test_what_is_read_unseen_has_the_right_ids(tmp_path: Path, examples: list[Example]) -> None:
    run(tmp_path, examples, Model())
    store = FeatureStore(tmp_path, FACTS, pytest.fail)
    assert store.read(0, examples[:4], seen=True) is not None
    assert store.read(0, examples[1:5], seen=True) is None


def test_a_part_that_is_lost_meanwhile_is_computed(tmp_path: Path, examples: list[Example]) -> None:
    run(tmp_path, examples, Model())
    model = Model()
    stream = stream_parts(examples, FeatureStore(tmp_path, FACTS, pytest.fail), computing(model), Skipped())
    next(stream)
    for part in (tmp_path / "features").glob("*/00002.safetensors"):
        part.unlink()
    assert [row for part in stream for row in part.features.flatten().tolist()] == squares(10)[4:]
    assert model.seen == [8, 9]


def test_an_example_without_files_is_known_by_its_texts() -> None:
    stamps = [stamp_of(Example("a", (), texts=texts)) for texts in (("a cat",), ("a dog",), ("a cat",))]
    assert stamps[0] == stamps[2] != stamps[1]


def test_the_facts_can_be_read_by_people(tmp_path: Path, examples: list[Example]) -> None:
    run(tmp_path, examples, Model())
    (file,) = (tmp_path / "features").glob("*/facts.json")
    assert json.loads(file.read_text()) == {"version": feature_store.VERSION, **FACTS}


def test_stamps_tell_files_apart(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"12345")
    same = stamp_of(Example("a", (file,)))
    assert same == stamp_of(Example("a", (file,)))
    members = [Member(file, "x", 0, 2), Member(file, "x", 2, 2)]
    drawn = [Pixels(np.full((2, 2, 3), shade, dtype=np.uint8), "p") for shade in (1, 2)]
    streamed = [Streamed(data, "s") for data in (b"1", b"2")]
    others = [stamp_of(Example("a", (medium,))) for medium in (*members, *drawn, *streamed, tmp_path / "no")]
    stamps = [same, *others]
    assert len({tuple(stamp) for stamp in stamps}) == len(stamps)
