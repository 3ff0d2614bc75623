"""The straight path of `coca data dedup`, from training data and evaluation sets to a keep-list."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from tempfile import TemporaryFile
from typing import NamedTuple

import numpy as np

from coca_cli.datasets.example import Example, Pixels
from coca_cli.datasets.keep_lists import (
    Compared,
    Origin,
    Removed,
    can_be_listed,
    check_keep_list_path,
    removed_path,
    removed_table,
    write_keep_list,
)
from coca_cli.datasets.output_files import check_output_file
from coca_cli.datasets.picture_sets import find_picture_sets
from coca_cli.datasets.sources import find_source
from coca_cli.media.alignment import Grey
from coca_cli.media.batches import Skipped, default_workers
from coca_cli.media.contact_sheet import Pair, check_sheet_path, write_contact_sheet
from coca_cli.media.hashes import TRAINING_LOOKS
from coca_cli.model.placement import Placed
from coca_cli.progress import Reporter
from coca_cli.tasks.fingerprints import FingerprintReader, Library, read_library
from coca_cli.tasks.near_duplicates import LEAST_CORRELATION, LEAST_WEAK_CORRELATION, MAX_DISTANCE, FoundBy, Match

SHEET_PAIRS = 60
"""Pairs on a contact sheet, the least certain ones."""
STRENGTH: tuple[FoundBy, ...] = ("copy", "hash", "embedding")


@dataclass(frozen=True, slots=True, kw_only=True)
class DedupRequest:
    """What to compare, and how.

    Attributes:
        train: Training data, as the user typed it.
        against: Evaluation sets, as the user typed them.
        root: The data root, for named datasets.
        keep_list: The file to write; the table of what is removed goes beside it.
        least_cosine: From which cosine on two pictures are one, where there is a model.
        batch_size: Training pictures that are compared at once.
        limit: The first so many training examples.
        workers: Threads that decode and compare.
        strict: Stop at the first unreadable picture.
        sheet: A picture file for the pairs, side by side.
        overwrite: Replace the files that an earlier run wrote.
    """

    train: str
    against: Sequence[str]
    root: Path
    keep_list: Path
    least_cosine: float = 0.97
    batch_size: int = 64
    limit: int | None = None
    workers: int | None = None
    strict: bool = False
    sheet: Path | None = None
    overwrite: bool = False


class Deduplicated(NamedTuple):
    """What was found.

    Attributes:
        origin: The numbers, as the keep-list has them.
        doubtful: The least certain pairs, the least certain first.
    """

    origin: Origin
    doubtful: list[Removed]


def check_request(request: DedupRequest) -> None:
    """Find the mistakes that can be found before a model is loaded.

    Raises:
        CocaError: Files cannot be written or would replace others, data are not there or hold no pictures.
    """
    check_keep_list_path(request.keep_list)
    if request.sheet is not None:
        check_sheet_path(request.sheet)
    find_source(request.train, request.root)
    for text in request.against:
        find_picture_sets(text, request.root)
    for path in (request.keep_list, removed_path(request.keep_list), request.sheet):
        if path is not None:
            check_output_file(path, [request.train, *request.against], request.root, overwrite=request.overwrite)


def run_dedup(request: DedupRequest, placed: Placed | None, reporter: Reporter) -> Deduplicated:
    """Compare, and write the keep-list, the table beside it and the contact sheet.

    Training examples that cannot be read stay in the list: training skips and counts them by itself.

    Args:
        request: What to compare.
        placed: A model whose embeddings are compared, too; None for none.
        reporter: Shows progress.

    Raises:
        CocaError: Data are missing or broken; see the functions called.
    """
    source = find_source(request.train, request.root)
    sets = [each for text in request.against for each in find_picture_sets(text, request.root)]
    threads = default_workers() if request.workers is None else request.workers
    reader = FingerprintReader(request.batch_size, threads, placed)
    library = read_library(sets, reader, request.least_cosine, request.strict, reporter)
    tally, skipped = _Tally(library), Skipped(strict=request.strict)
    with (
        TemporaryFile("w+", encoding="utf-8", errors="surrogateescape", newline="\n") as kept,
        removed_table(removed_path(request.keep_list)) as table,
    ):
        examples = source.read()
        for example, matches in _matched(islice(examples, request.limit), request, reader, library, skipped, reporter):
            if matches:
                table.writerows(row._asdict() for row in tally.remove(example, matches))
            elif tally.keep(example):
                kept.write(f"{example.id}\n")
        tally.more = next(examples, None) is not None
        origin = _describe(request, placed, tally, skipped)
        kept.seek(0)
        write_keep_list(request.keep_list, (line.removesuffix("\n") for line in kept), origin)
    doubtful = tally.doubtful()
    if request.sheet is not None and doubtful:
        write_contact_sheet(request.sheet, [pair for _, pair in doubtful])
    _warn(request, tally, skipped, reporter)
    return Deduplicated(origin, [row for row, _ in doubtful])


def _matched(
    examples: Iterator[Example],
    request: DedupRequest,
    reader: FingerprintReader,
    library: Library,
    skipped: Skipped,
    reporter: Reporter,
) -> Iterator[tuple[Example, list[Match]]]:
    """Every training example with the evaluation pictures that it shows."""
    stream = reader.read(examples, TRAINING_LOOKS, skipped)
    label = f"{request.train} against {len(library.known):,} pictures"
    for block in reader.blocks(reporter.track(stream, total=request.limit, label=label)):
        matches: list[list[Match]] = [[] for _ in block]
        owners = [number for number, (_, rows) in enumerate(block) for _ in rows]
        if owners:
            records = np.concatenate([rows for _, rows in block])
            for match in library.pictures.find(records, reader.embed(records)):
                matches[owners[match.picture]].append(match)
        yield from zip((example for example, _ in block), matches, strict=True)


@dataclass
class _Tally:
    """What is counted while the training data pass by."""

    library: Library
    seen: int = 0
    removed: int = 0
    kept: int = 0
    more: bool = False
    """Whether there are training examples beyond the limit."""
    unlisted: list[str] = field(default_factory=list)
    reasons: Counter[tuple[int, FoundBy]] = field(default_factory=Counter)
    found: set[int] = field(default_factory=set)
    pairs: list[tuple[Removed, Pair]] = field(default_factory=list)

    def keep(self, example: Example) -> bool:
        """Count an example that shows nothing; whether its id can stand in the list."""
        self.seen += 1
        if can_be_listed(example.id):
            self.kept += 1
            return True
        self.unlisted.append(example.id)
        return False

    def remove(self, example: Example, matches: list[Match]) -> list[Removed]:
        """Count an example that shows evaluation pictures; the rows for the table."""
        self.seen += 1
        self.removed += 1
        rows, strongest = [], dict[int, int]()
        for match in matches:
            known = self.library.known[match.evaluation]
            row = Removed(example.id, self.library.names[known.set_number], known.example_id, *match[2:])
            rows.append(row)
            shown = known.medium or _from_thumbnail(self.library.pictures.thumbnail(match.evaluation))
            self.pairs.append((row, Pair(example.media[0], shown, known.border, row.in_words())))
            self.found.add(match.evaluation)
            strength = STRENGTH.index(match.found_by)
            strongest[known.set_number] = min(strength, strongest.get(known.set_number, strength))
        self.reasons.update((number, STRENGTH[strength]) for number, strength in strongest.items())
        if len(self.pairs) > 2 * SHEET_PAIRS:  # pictures of a stream take memory, and no sheet has room for all
            self.pairs = self.doubtful()
        return rows

    def doubtful(self) -> list[tuple[Removed, Pair]]:
        """The least certain pairs, the least certain first."""
        return sorted(self.pairs, key=lambda pair: _certainty(pair[0]))[:SHEET_PAIRS]

    def compared(self) -> list[Compared]:
        """The counts of each evaluation set."""
        pictures = Counter(known.set_number for known in self.library.known)
        found = Counter(self.library.known[row].set_number for row in self.found)
        return [
            Compared(name, pictures[number], found[number], *(self.reasons[number, reason] for reason in STRENGTH))
            for number, name in enumerate(self.library.names)
        ]


def _certainty(row: Removed) -> float:
    if row.found_by == "copy":
        return 2.0
    return (row.correlation if row.found_by == "hash" else row.cosine) or 0.0


def _from_thumbnail(thumbnail: Grey) -> Pixels:
    return Pixels(np.repeat(thumbnail[:, :, None], 3, axis=2), "a picture that passed by")


def _describe(request: DedupRequest, placed: Placed | None, tally: _Tally, skipped: Skipped) -> Origin:
    settings: dict[str, object] = {
        "hashes differ in at most": f"{MAX_DISTANCE} of 64 bits",
        "details correlate with at least": f"{LEAST_CORRELATION}, or {LEAST_WEAK_CORRELATION} where they are weak",
    }
    if placed:
        settings |= {"model": f"{placed.name} {placed.checkpoint}", "cosine of at least": request.least_cosine}
    if request.limit:
        settings["limit"] = request.limit
    return Origin(
        source=request.train,
        pictures=tally.seen,
        removed=tally.removed,
        kept=tally.kept,
        unreadable=len(skipped.reasons),
        compared=tally.compared(),
        settings=settings,
    )


def _warn(request: DedupRequest, tally: _Tally, skipped: Skipped, reporter: Reporter) -> None:
    skipped.tell(reporter.warn, "not compared, and left in the list for training to skip")
    if tally.unlisted:
        reporter.warn(
            f"{len(tally.unlisted):,} ids hold a line break, such as {tally.unlisted[0]!r}; none can stand in a list, "
            "and so training leaves them out"
        )
    if 2 * tally.removed > tally.seen:
        reporter.warn(
            f"more than half of {request.train} is removed: is it an evaluation set itself, or does --against name it?"
        )
    if tally.more:
        reporter.warn(f"only the first {tally.seen:,} examples are in the list; with it, training sees no others")
