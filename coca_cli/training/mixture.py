"""Several sources in one stream of training pictures, in shares and in an order that the seed fixes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from coca_cli.datasets.example import Example
from coca_cli.datasets.keep_lists import KeepList
from coca_cli.datasets.pairs import Kind
from coca_cli.datasets.sources import Source
from coca_cli.errors import CocaError, MissingFile

SHUFFLED_AHEAD = 2000
"""Examples of a stream among which the next is drawn; shards are shuffled, too."""
RESERVE, RESERVE_EVERY = 200, 500
"""A stream's examples that stand in for pictures that cannot be read, and how many go by until one of them is renewed.

Not those among which is drawn: they come in their own turn soon, and would often stand twice in a batch.
"""


class Draw(NamedTuple):
    """One use of one example.

    Attributes:
        example: The example.
        caption: The text drawn for this epoch; empty for a task's examples.
        key: Seed, source, epoch and index, from which its randomness comes.
        feed: Where it comes from.
        reserve: Of a stream, the examples that can take its place; elsewhere any can.
    """

    example: Example
    caption: str
    key: tuple[int, ...]
    feed: Feed
    reserve: tuple[Example, ...] = ()

    @property
    def name(self) -> str:
        """The example's id, with its source."""
        return f"{self.feed.source.name}: {self.example.id}"


class Feed:
    """One source, its examples drawn by their number in the order of training.

    Args:
        source: Where from.
        number: Its place among the sources.
        seed: Fixes the order.
        limit: The first so many examples; None for all.
        keep: The ids that may be used; None for all.

    Raises:
        BadExample: The source is damaged.
        CocaError: Nothing is left to train on.
    """

    def __init__(
        self, source: Source, number: int, seed: int, limit: int | None = None, keep: KeepList | None = None
    ) -> None:
        self.source, self._number, self._seed, self._limit, self._keep = source, number, seed, limit, keep
        self._epoch = -1
        self._order: NDArray[np.int64] = np.empty(0, dtype=np.int64)
        self.examples: list[Example] = []
        self.left_out = 0
        """Examples that the keep-list has taken out."""
        self._stream: Iterator[Draw] | None = None
        self._next = 0  # the number that the stream yields next
        if not source.streams:
            for example in source.read():
                if keep is not None and example.id not in keep.ids:
                    self.left_out += 1
                    continue
                self.examples.append(example)
                if len(self.examples) == limit:  # nothing is read after it: sources can be large
                    break
            if not self.examples:
                where = f" that {keep.path} keeps" if keep else ""
                raise CocaError(f"nothing to train on in {source.name}: it has no picture{where}; check both")

    @property
    def size(self) -> int | None:
        """Examples of one pass; None where only a whole reading would tell."""
        return self._limit if self.source.streams else len(self.examples)

    def draw(self, number: int) -> Draw:
        """The example of that number, from 0; of a stream numbers must rise."""
        if self.source.streams:
            return self._from_stream(number)
        return self._use(self.index(number), number // len(self.examples))

    def index(self, number: int) -> int:
        """Which of the examples is drawn by that number; not of a stream."""
        epoch, place = divmod(number, len(self.examples))
        if epoch != self._epoch:
            order = np.random.default_rng((self._seed, self._number, epoch))
            self._order, self._epoch = order.permutation(len(self.examples)), epoch
        return int(self._order[place])

    def replace(self, draw: Draw, attempt: int) -> Draw:
        """An example in the place of one that cannot be read; it follows from the draw and the attempt alone."""
        key = (*draw.key, 2, attempt)
        examples = draw.reserve or self.examples
        return self._drawn(examples[int(np.random.default_rng(key).integers(len(examples)))], key)

    def _use(self, index: int, epoch: int) -> Draw:
        return self._drawn(self.examples[index], (self._seed, self._number, epoch, index))

    def _drawn(self, example: Example, key: tuple[int, ...]) -> Draw:
        random = np.random.default_rng((*key, 0))
        if self.source.kind == "pairs":
            caption = example.texts[int(random.integers(len(example.texts)))]
        else:
            template = self.source.templates[int(random.integers(len(self.source.templates)))]
            names = [example.texts[i] for i in random.permutation(len(example.texts))]
            caption = template.replace("{c}", ", ".join(names))
        return Draw(example, caption, key, self)

    def _from_stream(self, number: int) -> Draw:
        if self._stream is None or number < self._next:
            self._stream, self._next = self._read_streams(), 0
        skipped = number - self._next
        self._next = number + 1
        return next(islice(self._stream, skipped, None))

    def _read_streams(self) -> Iterator[Draw]:
        """Shards in a new order each epoch, examples drawn from a window that moves over them."""
        read_stream = self.source.read_stream
        assert read_stream is not None
        epoch = 0
        reserve: tuple[Example, ...] = ()
        while True:
            random = np.random.default_rng((self._seed, self._number, epoch))
            order = random.permutation(len(self.source.streams))
            # with a limit the first are wanted, the same in every epoch
            shards = [self.source.streams[i] for i in (order if self._limit is None else sorted(order))]
            examples = (example for shard in shards for example in read_stream(shard))
            if self._keep is not None:
                ids = self._keep.ids
                examples = (example for example in examples if example.id in ids)
            window: list[tuple[int, Example]] = []
            index = -1
            for index, example in enumerate(islice(examples, self._limit)):
                window.append((index, example))
                if len(reserve) < RESERVE or index % RESERVE_EVERY == 0:
                    reserve = (*reserve, example)[-RESERVE:]
                if len(window) > SHUFFLED_AHEAD:
                    yield self._drawn_from(window, random, epoch)._replace(reserve=reserve)
            while window:
                yield self._drawn_from(window, random, epoch)._replace(reserve=reserve)
            if index < 0:
                where = f" that {self._keep.path} keeps; check both" if self._keep else "; check where they lie"
                raise MissingFile(f"nothing to train on in {self.source.name}: its shards have no picture{where}")
            epoch += 1

    def _drawn_from(self, window: list[tuple[int, Example]], random: np.random.Generator, epoch: int) -> Draw:
        place = int(random.integers(len(window)))
        window[place], window[-1] = window[-1], window[place]
        index, example = window.pop()
        return self._drawn(example, (self._seed, self._number, epoch, index))


class Row(NamedTuple):
    """A row of a batch, not yet drawn.

    Attributes:
        feed: The source.
        number: Of the draw among all that the source gives.
    """

    feed: Feed
    number: int

    def draw(self) -> Draw:
        """Draw it; of a stream in ascending order."""
        return self.feed.draw(self.number)


@dataclass
class Mixture:
    """Sources and how much of each batch comes from them.

    Attributes:
        feeds: The sources.
        shares: Their parts of each batch, 1 together.
        seed: Fixes the order within a batch.
        taken: Examples that each has given so far; with it training goes on where it stopped.
        batches: Batches given so far.
    """

    feeds: Sequence[Feed]
    shares: Sequence[float]
    seed: int
    taken: list[int] = field(default_factory=list)
    batches: int = 0

    def __post_init__(self) -> None:
        self.taken = self.taken or [0] * len(self.feeds)

    @property
    def size(self) -> int | None:
        """Examples in all sources together; None where a stream does not tell."""
        sizes = [feed.size for feed in self.feeds]
        return None if None in sizes else sum(size or 0 for size in sizes)

    def quotas(self, batch_size: int) -> list[int]:
        """How many of the next batch come from each source: what is missing to its share of all batches so far."""
        wanted = [
            max(0.0, share * (sum(self.taken) + batch_size) - taken)
            for share, taken in zip(self.shares, self.taken, strict=True)
        ]
        whole = [int(want + 1e-9) for want in wanted]
        order = sorted(range(len(wanted)), key=lambda i: whole[i] - wanted[i])
        for i in order:
            whole[i] += int(sum(whole) < batch_size)
        for i in reversed(order):  # rounding can also have given one too many
            whole[i] -= int(sum(whole) > batch_size and whole[i] > 0)
        return whole

    def next_batch(self, batch_size: int) -> list[Row]:
        """The batch's rows, each still to be drawn: a process draws only its own."""
        quotas = self.quotas(batch_size)
        numbers = [iter(range(taken, taken + quota)) for taken, quota in zip(self.taken, quotas, strict=True)]
        places = np.repeat(np.arange(len(self.feeds)), quotas)
        places = np.random.default_rng((self.seed, self.batches)).permutation(places)
        self.taken = [taken + quota for taken, quota in zip(self.taken, quotas, strict=True)]
        self.batches += 1
        return [Row(self.feeds[place], next(numbers[place])) for place in places.tolist()]  # ascending in each source


def mix_task(name: str, examples: Sequence[Example], seed: int, *, spoken: bool = False) -> Mixture:
    """Examples of a task, all of them in each pass, in another order.

    Args:
        name: Of the dataset, for messages.
        examples: What to train on.
        seed: Fixes the order.
        spoken: Draw one of the texts of an example each time, such as one of the answers to its question.
    """
    kind: Kind = "pairs" if spoken else "labels"
    source = Source(name=name, kind=kind, read=lambda: iter(examples), templates=("",))
    return Mixture([Feed(source, 0, seed)], [1.0], seed)


def share_out(sources: Sequence[Source], sizes: Sequence[int | None], weights: Sequence[float] | None) -> list[float]:
    """Each source's part of a batch.

    Without weights pairs and labelled pictures get one half each, as in the paper (JFT and ALIGN, section 4.1); within
    a half, and where there is only one kind, sources count by their pictures; a stream counts like their mean.

    Args:
        sources: In the order in which they were given.
        sizes: Their pictures; None where nobody knows.
        weights: One for each, or None.

    Raises:
        CocaError: The weights do not fit.
    """
    if weights is not None:
        if len(weights) != len(sources):
            raise CocaError(
                f"{len(weights)} --weights for {len(sources)} sources of --data: give one for each, in their order"
            )
        if not all(weight > 0 for weight in weights):
            raise CocaError(f"--weights {','.join(f'{w:g}' for w in weights)}: every weight must be above 0")
        return [weight / sum(weights) for weight in weights]
    known = [size for size in sizes if size is not None]
    mean = sum(known) / len(known) if known else 1.0
    counts = [mean if size is None else size for size in sizes]
    kinds = {source.kind for source in sources}
    per_kind = {k: sum(c for s, c in zip(sources, counts, strict=True) if s.kind == k) for k in kinds}
    return [c / per_kind[s.kind] / len(kinds) for s, c in zip(sources, counts, strict=True)]
