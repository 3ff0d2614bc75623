from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from coca_cli.datasets.example import Example, Pixels
from coca_cli.datasets.keep_lists import KeepList, Origin, read_keep_list, write_keep_list
from coca_cli.datasets.pairs import Kind
from coca_cli.datasets.sources import Source, find_source
from coca_cli.errors import CocaError, MissingFile
from coca_cli.training import mixture as module
from coca_cli.training.mixture import Draw, Feed, Mixture, share_out
from tests.training.pictures import examples_of, pairs, stream

SAMPLES = Path(__file__).parents[1] / "samples"


def labelled(names: Sequence[tuple[str, ...]], templates: tuple[str, ...] = ("a {c}.", "{c}, a {c}")) -> Source:
    """Pictures with these class names."""
    examples = [Example(str(i), (Path("none"),), texts=texts) for i, texts in enumerate(names)]
    return Source(name="animals", kind="labels", read=lambda: iter(examples), templates=templates)


def keep(*ids: str) -> KeepList:
    return KeepList("pairs", frozenset(ids), Path("list.txt"))


def draws(feed: Feed, n: int, start: int = 0) -> list[Draw]:
    return [feed.draw(number) for number in range(start, start + n)]


def ids(found: Sequence[Draw]) -> list[str]:
    return [draw.example.id for draw in found]


def mixture_of(sources: Sequence[Source], seed: int = 0, **options: list[float] | None) -> Mixture:
    feeds = [Feed(source, number, seed) for number, source in enumerate(sources)]
    return Mixture(feeds, share_out(sources, [feed.size for feed in feeds], options.get("weights")), seed)


# --- shares ---


def of(kind: Kind) -> Source:
    return Source(name=kind, kind=kind, read=lambda: iter(()))


@pytest.mark.parametrize(
    ("kinds", "sizes", "expected"),
    [
        ("p", [7], [1.0]),
        ("pl", [1000, 10], [0.5, 0.5]),  # as in the paper, whatever their sizes
        ("pp", [30, 10], [0.75, 0.25]),
        ("ll", [30, 10], [0.75, 0.25]),
        ("plp", [30, 7, 10], [0.375, 0.5, 0.125]),
        ("pp", [None, 10], [0.5, 0.5]),  # a stream counts like the mean of the others
        ("ppp", [None, 10, 30], [1 / 3, 1 / 6, 1 / 2]),
        ("pp", [None, None], [0.5, 0.5]),
        ("lpp", [None, 10, 30], [0.5, 0.125, 0.375]),
    ],
)
def test_shares_without_weights(kinds: str, sizes: list[int | None], expected: list[float]) -> None:
    sources = [of("pairs" if kind == "p" else "labels") for kind in kinds]
    found = share_out(sources, sizes, None)
    assert found == pytest.approx(expected)
    assert sum(found) == pytest.approx(1)


def test_weights_are_the_shares_whatever_the_sizes() -> None:
    assert share_out([of("pairs"), of("labels")], [10, 1000], [3, 1]) == [0.75, 0.25]
    assert share_out([of("pairs")], [None], [0.1]) == [1.0]


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1.0], "1 --weights for 2 sources of --data: give one for each, in their order"),
        ([1.0, 2.0, 3.0], "3 --weights for 2 sources"),
        ([1.0, 0.0], "--weights 1,0: every weight must be above 0"),
        ([-1.0, 2.5], "--weights -1,2.5: every weight must be above 0"),
        ([float("nan"), 1.0], "--weights nan,1: every weight must be above 0"),
    ],
)
def test_weights_that_do_not_fit_are_refused(weights: list[float], message: str) -> None:
    with pytest.raises(CocaError, match=message):
        share_out([of("pairs"), of("pairs")], [10, 10], weights)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("batch_size", [1, 3, 16])
def test_batches_are_full_and_shares_are_kept_at_every_moment(seed: int, batch_size: int) -> None:
    """No source is ever a whole picture away from its share of all batches so far."""
    random = np.random.default_rng(seed)
    for size in range(1, 9):
        shares = random.dirichlet(np.full(size, random.choice([0.1, 1.0, 5.0]))).tolist()
        mixture = Mixture([], shares, 0, taken=[0] * size)
        for batch in range(1, 101):
            quotas = mixture.quotas(batch_size)
            assert sum(quotas) == batch_size
            assert min(quotas) >= 0
            mixture.taken = [taken + quota for taken, quota in zip(mixture.taken, quotas, strict=True)]
            for share, taken in zip(shares, mixture.taken, strict=True):
                assert abs(taken - share * batch * batch_size) < 1


def test_the_paper_takes_half_and_half() -> None:
    mixture = mixture_of([pairs(examples_of(50)), labelled([("cat",)] * 3)])
    assert mixture.quotas(8) == [4, 4]
    assert mixture.size == 53


def test_a_source_with_a_small_share_comes_in_its_turn() -> None:
    mixture = mixture_of([pairs(examples_of(9)), pairs(examples_of(9))], weights=[9, 1])
    given = []
    for _ in range(20):
        rows = mixture.next_batch(4)
        given.append(sum(row.feed is mixture.feeds[1] for row in rows))
    assert sum(given) == 8
    assert max(given) == 1


# --- the order ---


def test_every_example_comes_once_per_epoch_in_a_new_order() -> None:
    feed = Feed(pairs(examples_of(12)), 0, seed=0)
    epochs = [ids(draws(feed, 12, 12 * epoch)) for epoch in range(3)]
    in_order = [example.id for example in examples_of(12)]
    assert all(sorted(epoch) == sorted(in_order) for epoch in epochs)
    assert len({tuple(epoch) for epoch in [*epochs, in_order]}) == 4


def test_the_order_follows_from_seed_and_place_among_the_sources() -> None:
    orders = {
        (number, seed): tuple(ids(draws(Feed(pairs(examples_of(12)), number, seed), 12)))
        for number in (0, 1)
        for seed in (0, 1)
    }
    assert len(set(orders.values())) == 4
    assert orders[0, 1] == tuple(ids(draws(Feed(pairs(examples_of(12)), 0, 1), 12)))


def test_a_draw_is_the_same_however_one_comes_to_it() -> None:
    feed = Feed(pairs(examples_of(5, texts=3)), 0, seed=0)
    forward = [draw._replace(feed=None) for draw in draws(feed, 30)]  # type: ignore[arg-type]
    for number in (29, 3, 17, 4):
        other = Feed(pairs(examples_of(5, texts=3)), 0, seed=0)
        found = other.draw(number)
        assert found.example.id == forward[number].example.id
        assert (found.caption, found.key) == (forward[number].caption, forward[number].key)


def test_captions_vary_over_the_epochs_and_all_are_used() -> None:
    found = [draw.caption for draw in draws(Feed(pairs(examples_of(4, texts=5)), 0, seed=0), 200)]  # 50 epochs
    for number in range(4):
        counts = Counter(caption for caption in found if caption.startswith(f"{number} "))
        assert len(counts) == 5
        assert sum(counts.values()) == 50
        assert max(counts.values()) < 25


def test_sources_are_shuffled_among_each_other_in_a_batch() -> None:
    mixture = mixture_of([pairs(examples_of(40)), pairs(examples_of(40), name="more")])
    places = []
    for _ in range(6):
        rows = mixture.next_batch(8)
        places.append(tuple(mixture.feeds.index(row.feed) for row in rows))
        for feed in mixture.feeds:  # streams are read forward
            numbers = [row.number for row in rows if row.feed is feed]
            assert numbers == sorted(numbers)
    assert all(sum(batch) == 4 for batch in places)
    assert len(set(places)) > 3


def batches_of(mixture: Mixture, n: int, size: int = 5) -> list[list[tuple[str, str, tuple[int, ...]]]]:
    found = []
    for _ in range(n):
        drawn = [row.draw() for row in mixture.next_batch(size)]
        found.append([(draw.name, draw.caption, draw.key) for draw in drawn])
    return found


def all_kinds() -> list[Source]:
    return [
        pairs(examples_of(11, texts=3)),
        labelled([("cat",), ("dog", "pet"), ("fox",)]),
        stream({"a": examples_of(7), "b": examples_of(6, first=7)}, name="passing by"),
    ]


@pytest.mark.parametrize("stop", [1, 2, 7, 19])
def test_training_goes_on_with_the_very_same_batches(stop: int) -> None:
    """Also in a later epoch, and of shards that are read once."""
    expected = batches_of(mixture_of(all_kinds(), weights=[3, 1, 2]), 25)
    first = mixture_of(all_kinds(), weights=[3, 1, 2])
    assert batches_of(first, stop) == expected[:stop]
    second = mixture_of(all_kinds(), weights=[3, 1, 2])
    second.taken, second.batches = list(first.taken), first.batches
    assert batches_of(second, 25 - stop) == expected[stop:]


def test_another_seed_gives_other_batches() -> None:
    one, other = (batches_of(mixture_of(all_kinds(), seed), 3) for seed in (0, 1))
    assert one != other


def test_the_size_is_that_of_all_sources_or_unknown() -> None:
    assert mixture_of(all_kinds()[:2]).size == 14
    assert mixture_of(all_kinds()).size is None


# --- labels as text ---


def test_a_label_becomes_its_class_name_in_a_template() -> None:
    feed = Feed(labelled([("cat",), ("big {dog}",)]), 0, seed=0)
    found = {(draw.example.id, draw.caption) for draw in draws(feed, 60)}
    assert found == {("0", "a cat."), ("0", "cat, a cat"), ("1", "a big {dog}."), ("1", "big {dog}, a big {dog}")}


def test_several_labels_are_joined_in_a_drawn_order() -> None:
    """As the paper treats the tags of a picture (section 4.1)."""
    feed = Feed(labelled([("cat", "dog", "fox")], templates=("a {c}.",)), 0, seed=0)
    counts = Counter(draw.caption for draw in draws(feed, 120))
    assert set(counts) == {f"a {', '.join(order)}." for order in itertools.permutations(("cat", "dog", "fox"))}
    assert max(counts.values()) < 40


def test_built_in_labels_and_captions() -> None:
    scenes, digits = (Feed(find_source(name, Path("nowhere")), 0, 0, limit=20) for name in ("scenes", "digits"))
    assert all(draw.caption in draw.example.texts for draw in draws(scenes, 20))
    for draw in draws(digits, 20):
        (name,) = draw.example.texts
        assert name in draw.caption
        assert draw.caption != name


def test_a_table_of_pairs_keeps_its_captions() -> None:
    source = find_source(str(SAMPLES / "pairs" / "pairs.csv"), Path("nowhere"))
    assert Feed(source, 0, 0).examples == list(source.read())


def test_a_name_says_source_and_example() -> None:
    assert Feed(pairs(examples_of(1)), 0, 0).draw(0).name == "pairs: picture 0"


# --- limits and keep-lists ---


@pytest.mark.parametrize("limit", [1, 4, 12, 99])
def test_a_limit_takes_the_first_of_a_source(limit: int) -> None:
    feed = Feed(pairs(examples_of(12)), 0, 0, limit)
    assert [example.id for example in feed.examples] == [example.id for example in examples_of(12)[:limit]]
    assert feed.size == min(limit, 12)


def test_a_limit_reads_nothing_after_it() -> None:
    def endless() -> Iterator[Example]:
        yield Example("0", (Path("none"),), texts=("a cat",))
        pytest.fail("read on")

    assert Feed(Source(name="many", kind="pairs", read=endless), 0, 0, limit=1).size == 1


def test_a_keep_list_leaves_out_what_it_does_not_name() -> None:
    kept = [f"picture {i}" for i in (1, 4, 5, 7)]
    feed = Feed(pairs(examples_of(9)), 0, 0, keep=keep(*kept, "picture 99"))
    assert [example.id for example in feed.examples] == kept
    assert feed.left_out == 5
    assert set(ids(draws(feed, 40))) == set(kept)
    assert Feed(pairs(examples_of(9)), 0, 0).left_out == 0


def test_a_limit_counts_what_the_keep_list_keeps() -> None:
    feed = Feed(pairs(examples_of(9)), 0, 0, limit=2, keep=keep("picture 3", "picture 5", "picture 8"))
    assert [example.id for example in feed.examples] == ["picture 3", "picture 5"]
    assert feed.left_out == 4  # as far as was read


def test_a_written_keep_list_is_obeyed(tmp_path: Path) -> None:
    path = tmp_path / "keep.txt"
    write_keep_list(path, ["picture 2", "picture 0"], Origin(source="pairs", pictures=4, removed=2, kept=2))
    feed = Feed(pairs(examples_of(4)), 0, 0, keep=read_keep_list(path))
    assert [example.id for example in feed.examples] == ["picture 0", "picture 2"]


def test_a_keep_list_that_keeps_nothing_is_refused() -> None:
    message = r"nothing to train on in pairs: it has no picture that list\.txt keeps; check both"
    with pytest.raises(CocaError, match=message):
        Feed(pairs(examples_of(4)), 0, 0, keep=keep("another"))
    with pytest.raises(CocaError, match="nothing to train on in pairs: it has no picture; check both"):
        Feed(pairs([]), 0, 0)


# --- streams ---


def two_shards() -> dict[str, list[Example]]:
    return {"a": examples_of(6), "b": examples_of(4, first=6)}


def test_a_stream_gives_every_example_once_per_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SHUFFLED_AHEAD", 3)
    feed = Feed(stream(two_shards()), 0, 0)
    assert feed.size is None
    epochs = [tuple(ids(draws(feed, 10, 10 * epoch))) for epoch in range(4)]
    assert all(sorted(epoch) == [f"picture {i}" for i in range(10)] for epoch in epochs)
    assert len(set(epochs)) == 4


def test_shards_come_in_a_new_order_each_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a window of one the order within a shard is its own."""
    monkeypatch.setattr(module, "SHUFFLED_AHEAD", 0)
    shards = {name: examples_of(2, first=2 * place) for place, name in enumerate("abc")}
    feed = Feed(stream(shards), 0, 0)
    epochs = {tuple(ids(draws(feed, 6, 6 * epoch))) for epoch in range(20)}
    assert len(epochs) == 6
    for epoch in epochs:
        assert all(epoch.index(f"picture {i + 1}") == epoch.index(f"picture {i}") + 1 for i in (0, 2, 4))


def test_a_window_bounds_what_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SHUFFLED_AHEAD", 3)
    read: list[str] = []
    feed = Feed(stream({"a": examples_of(100)}, read=read), 0, 0)
    feed.draw(0)
    assert len(read) == 4
    feed.draw(10)
    assert len(read) == 14


@pytest.mark.parametrize("size", [1, 200])
def test_what_stands_in_for_a_picture_of_a_stream_is_seldom_in_the_same_batch(
    monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """Those among which is drawn would often be: they come in their own turn soon."""
    for name, value in (("SHUFFLED_AHEAD", 100), ("RESERVE", 20), ("RESERVE_EVERY", 200)):
        monkeypatch.setattr(module, name, value)
    feed = Feed(stream({"a": examples_of(6000)}), 0, 0)
    found = draws(feed, 1000, 5000)
    instead = [feed.replace(draw, attempt) for draw in found for attempt in (0, 1)]
    batches = [set(ids(found[start : start + size])) for start in range(0, 1000, size)]
    twice = sum(draw.example.id in batches[i // 2 // size] for i, draw in enumerate(instead))
    assert twice < 0.1 * len(instead)
    assert len(set(ids(instead))) > 20
    assert len({draw.key for draw in instead}) == len(instead)


def test_what_stands_in_follows_from_the_number_alone() -> None:
    """In another process, which draws other numbers, as well."""
    for source in (pairs(examples_of(50, texts=3)), stream({"a": examples_of(50, texts=3)})):
        one, other = Feed(source, 0, 0), Feed(source, 0, 0)
        draws(one, 70)
        for attempt in range(3):
            first, second = one.replace(one.draw(70), attempt), other.replace(other.draw(70), attempt)
            assert (first.name, first.caption, first.key) == (second.name, second.caption, second.key)


def test_a_stream_is_read_forward_and_anew_for_what_lies_behind() -> None:
    read: list[str] = []
    feed = Feed(stream({"a": examples_of(5)}, read=read), 0, 0)
    expected = ids(draws(feed, 5))
    assert len(read) == 5
    assert feed.draw(2).example.id == expected[2]
    assert len(read) == 10


def test_a_limit_takes_the_first_of_a_stream_the_same_in_every_epoch() -> None:
    shards = {name: examples_of(2, first=2 * place) for place, name in enumerate("abcd")}
    feed = Feed(stream(shards), 0, 0, limit=3)
    assert feed.size == 3
    for epoch in range(5):
        assert sorted(ids(draws(feed, 3, 3 * epoch))) == ["picture 0", "picture 1", "picture 2"]


def test_a_keep_list_holds_for_a_stream() -> None:
    feed = Feed(stream(two_shards()), 0, 0, keep=keep("picture 1", "picture 8"))
    assert sorted(ids(draws(feed, 2))) == ["picture 1", "picture 8"]


def test_a_stream_with_nothing_in_it_is_refused() -> None:
    with pytest.raises(MissingFile, match="nothing to train on in passing by: its shards have no picture; check where"):
        Feed(stream({"a": []}, name="passing by"), 0, 0).draw(0)
    with pytest.raises(MissingFile, match=r"its shards have no picture that list\.txt keeps; check both"):
        Feed(stream(two_shards()), 0, 0, keep=keep("another")).draw(0)


def test_labels_of_a_stream_become_sentences() -> None:
    examples = [Example("0", (Pixels(np.zeros((4, 4, 3), np.uint8), "0"),), texts=("cat",))]
    source = stream({"a": examples}, kind="labels", templates=("a {c}.",))
    assert Feed(source, 0, 0).draw(0).caption == "a cat."
