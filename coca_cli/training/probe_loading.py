"""The data of a probe's three parts: tokens from the store where they fit, else computed whenever they are wanted."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from coca_cli.datasets.example import Example
from coca_cli.datasets.held_out import hold_out
from coca_cli.datasets.selection import Selection
from coca_cli.media.batches import Skipped
from coca_cli.model.placement import Placed
from coca_cli.options import FeatureChoice, HeadChoice
from coca_cli.progress import Reporter
from coca_cli.tasks.media_features import embed_media
from coca_cli.tasks.token_features import FeatureSet, TokenSource, bytes_of_tokens, token_source
from coca_cli.training.probe_data import KeptTokens, LiveTokens, ProbeData
from coca_cli.training.probe_fit import ProbeFeatures
from coca_cli.training.probe_request import ProbeRequest
from coca_cli.training.task_parts import TaskParts
from coca_cli.world import World, tell_all

GB = 10**9
MEMORY = Path("/proc/meminfo")
UNKNOWN_MEMORY = 4 * GB
"""What tokens may take in memory where the system does not say how much is free."""


class _Piece(NamedTuple):
    """Examples of one part, with what tells them from the rest of their split."""

    part: Selection
    examples: Sequence[Example]
    facts: dict[str, object]
    skipped: Skipped


class ProbeLoader:
    """Loads the features of a probe.

    Args:
        request: What the user asked.
        parts: The examples.
        placed: The model.
        reporter: Shows progress, and says which features are kept.
        world: The processes that share the work.

    Attributes:
        skipped: What of the test part cannot be read; complete once it has been scored.
    """

    def __init__(
        self, request: ProbeRequest, parts: TaskParts, placed: Placed, reporter: Reporter, world: World
    ) -> None:
        self.request, self.parts, self.placed = request, parts, placed
        self.reporter, self.world = reporter, world
        self.skipped = Skipped(strict=request.strict)
        self._live_skipped: list[Skipped] = []

    def load(self) -> ProbeFeatures:
        """The features of all three parts.

        Raises:
            CocaError: Data are missing or broken; see the functions called.
        """
        if self.request.looked_at is FeatureChoice.embedding:
            return self._split_train(*(self._embedded(part, skipped) for part, skipped in self._selections()))
        if self.request.head is not HeadChoice.attentional or self._everything_is_kept():
            pieces = (_Piece(part, part.examples, {}, skipped) for part, skipped in self._selections())
            return self._split_train(*map(self._kept, pieces))
        return self._partly_live()

    def _selections(self) -> Iterator[tuple[Selection, Skipped]]:
        """Train, val where it is a split of its own, test."""
        for part in filter(None, (self.parts.train, self.parts.val)):
            yield part, Skipped(strict=self.request.strict)
        yield self.parts.test, self.skipped

    def _split_train(self, *data: ProbeData) -> ProbeFeatures:
        """The three parts of these, a part of the training examples being held out where there are two."""
        if len(data) == 3:
            return ProbeFeatures(*data)
        train, test = data
        kept, held = hold_out(train.labels.tolist(), self.request.val_part, self.request.recipe.seed)
        return ProbeFeatures(train.part(kept), train.part(held), test)

    def _everything_is_kept(self) -> bool:
        """Whether tokens of all parts can be kept; says so."""
        if self.request.augmentation.changes:
            self.reporter.notice(
                "tokens of training examples: computed on the fly, as augmentation shows them in another way each time"
            )
            return False
        sources = [
            (self._source(_Piece(part, part.examples, {}, skipped)), part.examples)
            for part, skipped in self._selections()
        ]
        fits, words = self._fits(sources)
        self.reporter.notice(f"tokens: {words}")
        return fits

    def _partly_live(self) -> ProbeFeatures:
        """Training tokens computed on the fly; the others too, where they do not fit."""
        request, parts = self.request, self.parts
        train: Sequence[Example] = parts.train.examples
        reading = Skipped(strict=request.strict)
        if parts.val is None:
            labels = [example.label or 0 for example in train]
            kept, held = hold_out(labels, request.val_part, request.recipe.seed)
            facts: dict[str, object] = {"held out": [request.val_part, request.recipe.seed, request.limit]}
            val = _Piece(parts.train, [train[row] for row in held], facts, Skipped(strict=request.strict))
            train = [train[row] for row in kept]
        else:
            val = _Piece(parts.val, parts.val.examples, {}, Skipped(strict=request.strict))
        test = _Piece(parts.test, parts.test.examples, {}, self.skipped)
        fits = False
        if request.augmentation.changes:
            fits, words = self._fits([(self._source(piece), piece.examples) for piece in (val, test)])
            self.reporter.notice(f"tokens of all others: {words}")
        load = self._kept if fits else self._live
        live = self._live(_Piece(parts.train, train, {}, reading))
        return ProbeFeatures(live, load(val), load(test))

    def _fits(self, sources: Sequence[tuple[TokenSource, Sequence[Example]]]) -> tuple[bool, str]:
        """Whether the tokens that are missing in the store may be kept; the same answer on every process."""
        request = self.request
        frames = request.reading.sampling.frames if request.dataset.media == "video" else 1
        missing = sum(source.missing(examples) for source, examples in sources)
        needed = missing * bytes_of_tokens(self.placed, request.looked_at, frames) if missing else 0
        folder = sources[0][0].store.folder
        allowed = request.cache_budget if request.cache_budget is not None else _room(folder)
        fits, needed, allowed = tell_all((needed <= allowed, needed, allowed), self.world)
        where = "in memory" if folder is None else f"in {request.reading.cache}"
        if fits:
            return True, f"kept {where}" + (f" ({needed / GB:,.1f} GB more)" if needed else " (all of them are there)")
        return False, (
            f"computed on the fly: kept {where} they would take {needed / GB:,.1f} GB more, and "
            f"{'half of what is free' if request.cache_budget is None else '--cache-budget'} is {allowed / GB:,.1f}"
        )

    def _source(self, piece: _Piece) -> TokenSource:
        request = self.request
        return token_source(
            request.dataset,
            piece.part.split,
            len(piece.examples),
            self.placed,
            request.looked_at,
            request.reading,
            self.reporter,
            self.world,
            piece.facts,
        )

    def _kept(self, piece: _Piece) -> KeptTokens:
        found = self._source(piece).read(piece.examples, piece.skipped, self.world)
        piece.skipped.tell(self.reporter.warn)
        return KeptTokens(self.request.dataset.name, found)

    def _live(self, piece: _Piece) -> LiveTokens:
        request, image = self.request, self.placed.image
        if request.dataset.media == "video":
            view = request.augmentation.clip_view(image, request.reading.sampling)
        else:
            view = request.augmentation.view(image, request.dataset.border)
        computing = self._source(piece).computing
        self._live_skipped.append(piece.skipped)
        warn, device = self.reporter.warn, self.placed.device
        return LiveTokens(request.dataset.name, piece.examples, computing, view, piece.skipped, warn, device)

    def tell_live(self) -> None:
        """Name what could not be read on the fly, once it has been tried."""
        for skipped in self._live_skipped:
            skipped.tell(self.reporter.warn)

    def _embedded(self, part: Selection, skipped: Skipped) -> KeptTokens:
        request = self.request
        found = embed_media(
            request.dataset,
            part.split,
            part.examples,
            self.placed,
            request.reading,
            skipped,
            self.reporter,
            self.world,
        )
        skipped.tell(self.reporter.warn)
        return KeptTokens(request.dataset.name, FeatureSet(found.examples, [found.features.float()]))


def _room(folder: Path | None) -> int:
    """Half of what is free: on the disk of the folder, or in memory without one."""
    if folder is None:
        try:
            lines = dict(line.split(":", 1) for line in MEMORY.read_text().splitlines())
            return int(lines["MemAvailable"].split()[0]) * 1024 // 2
        except (OSError, KeyError, ValueError):  # only Linux says
            return UNKNOWN_MEMORY
    there = next(parent for parent in (folder, *folder.parents) if parent.exists())
    return shutil.disk_usage(there).free // 2
