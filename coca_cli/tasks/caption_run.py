"""The straight path of `coca caption`, from the user's files to captions, and to embeddings if wanted."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from coca_cli.datasets.example import Example
from coca_cli.datasets.user_files import UserFiles
from coca_cli.errors import CocaError
from coca_cli.files import written_whole
from coca_cli.media.batches import Skipped
from coca_cli.model.placement import Placed
from coca_cli.options import CaptionFormat
from coca_cli.progress import Reporter
from coca_cli.tasks.caption_files import CaptionedFile, check_image_numbers, written_as
from coca_cli.tasks.captioning import (
    Captioner,
    Writing,
    caption_computing,
    captioner_of,
    captions_in,
    embeddings_in,
)
from coca_cli.tasks.embedding_files import Add, opened_embeddings
from coca_cli.tasks.feature_store import FeatureStore, parts_of
from coca_cli.tasks.features import Outcome, stream_parts
from coca_cli.tasks.media_features import Reading, embedding_facts
from coca_cli.world import SINGLE, World


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionRequest:
    """What to caption, and how.

    Attributes:
        files: The user's.
        words: As the user named them; what is kept for the next run is kept under them.
        writing: The search.
        form: What captions are written as.
        scores: Whether scores are written.
        output: The file; None for stdout.
        embeddings: A file for embeddings from the same pass; None for none.
        reading: How pictures and clips are read.
        strict: Stop at the first file that cannot be read.
    """

    files: UserFiles
    words: Sequence[str]
    writing: Writing = field(default_factory=Writing)
    form: CaptionFormat = CaptionFormat.text
    scores: bool = False
    output: Path | None = None
    embeddings: Path | None = None
    reading: Reading = field(default_factory=Reading)
    strict: bool = False


class CaptionsDone(NamedTuple):
    """What became of the files.

    Attributes:
        files: Captioned.
        unreadable: id -> why it has no caption.
    """

    files: int
    unreadable: dict[str, str]


def run_caption(request: CaptionRequest, placed: Placed, reporter: Reporter, world: World = SINGLE) -> CaptionsDone:
    """Caption and write, part by part: pictures, then clips.

    Args:
        request: What the user asked.
        placed: The model.
        reporter: Shows progress.
        world: The processes that share the work; the first of them writes.

    Raises:
        BadCheckpoint: The model writes no captions.
        BadExample: A file cannot be read, in strict mode.
        CocaError: None of them can be read, or the output cannot be written.
    """
    captioner = captioner_of(placed)
    if request.form is CaptionFormat.coco:
        check_image_numbers(example.id for example in (*request.files.pictures, *request.files.clips))
    skipped = Skipped(strict=request.strict, allowed=1.0)
    count = 0
    with ExitStack() as stack:
        add: Add | None = None
        if request.embeddings is not None and world.first:
            about = embedding_facts(placed) | {"frames": request.reading.clip_facts()["frames"]}
            add = stack.enter_context(opened_embeddings(request.embeddings, about))

        def captioned() -> Iterator[CaptionedFile]:
            nonlocal count
            for kind, examples in (("picture", request.files.pictures), ("clip", request.files.clips)):
                for file in _captions_of(kind, examples, request, captioner, reporter, world, skipped, add):
                    count += 1
                    yield file
            if not count:
                first = next(iter(skipped.reasons.values()))
                raise CocaError(f"none of {len(skipped.reasons):,} files can be read. The first: {first}")

        pieces = written_as(request.form, captioned(), scores=request.scores)
        if not world.first:
            for _ in pieces:
                pass
        elif request.output is None:
            for piece in pieces:
                sys.stdout.write(piece.encode(errors="backslashreplace").decode())
            sys.stdout.flush()
        else:
            target = stack.enter_context(written_whole(request.output))
            with target.open("w", encoding="utf-8", errors="backslashreplace") as out:
                out.writelines(pieces)
    return CaptionsDone(count, skipped.reasons)


def _captions_of(
    kind: str,
    examples: Sequence[Example],
    request: CaptionRequest,
    captioner: Captioner,
    reporter: Reporter,
    world: World,
    skipped: Skipped,
    add: Add | None,
) -> Iterator[CaptionedFile]:
    def track(stream: Iterable[Outcome]) -> Iterable[Outcome]:
        return reporter.track(stream, total=-(-len(examples) // world.size), label=f"{kind}s")

    writing = request.writing
    computing, facts = caption_computing(captioner, writing, request.reading, track, clips=kind == "clip")
    facts |= {"dataset": "files", "kind": kind, "words": [str(Path(word).resolve()) for word in request.words]}
    store = FeatureStore(request.reading.cache, facts, reporter.warn)
    stream = stream_parts(examples, store, computing, skipped, world)
    for members, part in zip(parts_of(examples), stream, strict=True):
        if not part.rows:
            continue
        ids = [members[row].id for row in part.rows]
        if add is not None:
            add(ids, kind, embeddings_in(part.features, writing).numpy())
        for name, captions in zip(ids, captions_in(part.features, captioner, writing), strict=True):
            yield CaptionedFile(name, captions)
