"""The straight path of `coca embed`, from the user's files to a file of embeddings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from numpy.typing import NDArray

from coca_cli.datasets.example import Example
from coca_cli.datasets.user_files import UserFiles
from coca_cli.errors import CocaError
from coca_cli.media.batches import Skipped
from coca_cli.model.placement import Placed
from coca_cli.progress import Reporter
from coca_cli.tasks.embedding import embed_tokens
from coca_cli.tasks.embedding_files import Add, opened_embeddings
from coca_cli.tasks.feature_store import PART, FeatureStore, parts_of
from coca_cli.tasks.features import Computing, Outcome, stream_parts
from coca_cli.tasks.media_features import Reading, embedding_facts, media_computing
from coca_cli.world import SINGLE, World


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedRequest:
    """What to embed, and where to.

    Attributes:
        files: The user's.
        words: As the user named them; what is kept for the next run is kept under them.
        output: The file; its ending tells the format.
        reading: How pictures and clips become embeddings.
        strict: Stop at the first file that cannot be read.
    """

    files: UserFiles
    words: Sequence[str]
    output: Path
    reading: Reading = field(default_factory=Reading)
    strict: bool = False


class Embedded(NamedTuple):
    """What became of the files.

    Attributes:
        rows: Embeddings written.
        unreadable: id -> why it has none.
    """

    rows: int
    unreadable: dict[str, str]


def run_embed(request: EmbedRequest, placed: Placed, reporter: Reporter, world: World = SINGLE) -> Embedded:
    """Embed and write, part by part: pictures, then clips, then texts.

    Args:
        request: What the user asked.
        placed: The model.
        reporter: Shows progress.
        world: The processes that share the work; the first of them writes.

    Raises:
        BadExample: A file cannot be read, in strict mode.
        CocaError: None of them can be read, or the output cannot be written.
    """
    skipped = Skipped(strict=request.strict, allowed=1.0)
    files, rows = request.files, 0
    about = embedding_facts(placed) | {"image": asdict(placed.image)}
    if files.clips:
        about |= request.reading.clip_facts()
    with opened_embeddings(request.output, about) if world.first else nullcontext(_nowhere) as add:
        for kind, examples in (("picture", files.pictures), ("clip", files.clips), ("text", files.texts)):
            rows += _embed_kind(kind, examples, request, placed, reporter, world, skipped, add)
        if not rows:
            first = next(iter(skipped.reasons.values()))
            raise CocaError(f"none of {len(skipped.reasons):,} files can be read. The first: {first}")
    return Embedded(rows, skipped.reasons)


def _nowhere(names: Sequence[str], kind: str, embeddings: NDArray[Any]) -> None:
    """What the other processes write."""


def _embed_kind(
    kind: str,
    examples: Sequence[Example],
    request: EmbedRequest,
    placed: Placed,
    reporter: Reporter,
    world: World,
    skipped: Skipped,
    add: Add,
) -> int:
    def track(stream: Iterable[Outcome]) -> Iterable[Outcome]:
        return reporter.track(stream, total=-(-len(examples) // world.size), label=f"{kind}s")

    if kind == "text":
        computing, facts = _text_computing(placed, request.reading, track), embedding_facts(placed)
    else:
        computing, facts = media_computing(placed, request.reading, track, clips=kind == "clip")
    facts |= {"dataset": "files", "kind": kind, "words": [str(Path(word).resolve()) for word in request.words]}
    store = FeatureStore(request.reading.cache, facts, reporter.warn)
    rows = 0
    stream = stream_parts(examples, store, computing, skipped, world)
    for members, part in zip(parts_of(examples), stream, strict=True):
        if part.rows:
            add([members[row].id for row in part.rows], kind, part.features.numpy())
        rows += len(part.rows)
    return rows


def _text_computing(
    placed: Placed, reading: Reading, track: Callable[[Iterable[Outcome]], Iterable[Outcome]]
) -> Computing:
    def tokens_of(example: Example) -> NDArray[Any]:
        return placed.tokenizer.encode(list(example.texts))[0].numpy()

    return Computing(
        read=tokens_of,
        compute=partial(embed_tokens, placed),
        batch_size=PART,
        workers=reading.workers,
        track=track,
    )
