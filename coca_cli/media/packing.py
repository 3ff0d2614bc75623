"""Training data of any form -> tar shards that this program, open_clip and webdataset read quickly."""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from coca_cli.datasets.entries import text_of_labels
from coca_cli.datasets.example import Example, Pixels
from coca_cli.datasets.sources import Source, find_source
from coca_cli.datasets.wds import CLASS_NAMES_FILE, TEMPLATES_FILE
from coca_cli.errors import BadExample, CocaError
from coca_cli.extras import needs
from coca_cli.files import make_folder, written_whole
from coca_cli.json_text import parse_json
from coca_cli.media.batches import Skipped, decoded, default_workers
from coca_cli.media.images import read_image
from coca_cli.progress import Reporter

with needs("train", "packing shards"):
    from webdataset.writer import TarWriter

SIZES_FILE = "sizes.json"  # read by open_clip
INDEX_FILE = "index.json"  # read by wids
ALSO_WRITTEN = (SIZES_FILE, INDEX_FILE, CLASS_NAMES_FILE, TEMPLATES_FILE)
AHEAD = 64  # pictures that may be read before they are written
JPEG_QUALITY = 95


@dataclass(frozen=True, slots=True, kw_only=True)
class PackRequest:
    """What to pack, and how.

    Attributes:
        data: Training data, as the user typed them.
        root: The data root, for named datasets.
        output: The folder to write.
        shard_size: Pictures in a shard.
        shorter_side: Larger pictures are made so small, in pixels, and written as JPEG; None keeps all bytes.
        limit: The first so many examples of each source; None for all.
        overwrite: Replace the shards that are in the folder.
    """

    data: Sequence[str]
    root: Path
    output: Path
    shard_size: int = 1000
    shorter_side: int | None = None
    limit: int | None = None
    overwrite: bool = False


class Packed(NamedTuple):
    """What came of it.

    Attributes:
        pictures: Written.
        shards: Written.
        skipped: Pictures that could not be read.
    """

    pictures: int
    shards: int
    skipped: int


class _Encoded(NamedTuple):
    ending: str
    data: bytes


class _Shard(NamedTuple):
    name: str
    pictures: int
    size: int
    md5: str


@dataclass
class _Classes:
    """The class indices met on the way; a list of names is only true where it says the same as they do."""

    names: dict[int, str] = field(default_factory=dict)
    certain: bool = True

    def add(self, label: int | None, name: str) -> None:
        self.certain &= label is not None and self.names.setdefault(label, name) == name

    def listed(self) -> list[str]:
        """One name per index, or nothing where that would be wrong."""
        names = [self.names[index] for index in sorted(self.names)]
        whole = sorted(self.names) == list(range(len(names))) and len(set(names)) == len(names)
        return names if self.certain and whole else []


def pack_sources(request: PackRequest, reporter: Reporter) -> Packed:
    """Write shards: KEY.jpg, .png or .webp, KEY.json with all that is known of the picture, KEY.txt for other programs.

    The same data give the same bytes. JPEG, PNG and WebP are copied; other kinds, which open_clip does not read, become
    PNG without loss. A shard appears once it is whole; old ones are replaced when all new ones are.

    Raises:
        CocaError: The folder holds shards, or tars that no pack wrote; a source cannot be used; see `find_source`.
        BadExample: More than 5 % of the pictures cannot be read.
    """
    old = sorted(request.output.glob("*.tar")) if request.output.is_dir() else []
    others = sorted({file.name for file in old} - _packed_before(request.output))
    if others and (request.overwrite or len(others) == len(old)):
        raise CocaError(
            f"{request.output} holds {len(others):,} tars that no pack lists in its {SIZES_FILE}, such as {others[0]}, "
            "and new shards would mix with them: choose another --output, or move them away"
        )
    if old and not request.overwrite:
        raise CocaError(
            f"{request.output} already holds {len(old):,} shards, such as {old[0].name}: choose another --output, or "
            "replace them with --overwrite"
        )
    sources = [find_source(text, request.root) for text in request.data]
    make_folder(request.output)
    skipped, classes, given = Skipped(), _Classes(), Counter[str]()
    with _written_beside(request.output, old) as folder:
        entries = reporter.track(
            _entries(sources, request, skipped, classes, given),
            total=request.limit and request.limit * len(sources),
            label="pictures packed",
        )
        shards = list(_write_shards(folder, entries, request.shard_size))
        skipped.check(final=True)
        _write_index(folder, shards, request.output.resolve().name)
        _write_words(folder, sources, classes)
    skipped.tell(reporter.warn)
    for source in sources:
        if not given[source.name]:
            reporter.warn(f"nothing of {source.name} was packed: none of its pictures can be read")
    if len({source.kind for source in sources if given[source.name]}) > 1:
        reporter.notice(f"both kinds: train with --data pairs:{request.output} --data labels:{request.output}")
    return Packed(sum(shard.pictures for shard in shards), len(shards), len(skipped.reasons))


def _packed_before(folder: Path) -> set[str]:
    """The names of the shards that a pack wrote into the folder."""
    try:
        sizes = parse_json((folder / SIZES_FILE).read_bytes())
    except (OSError, ValueError):
        return set()
    return {name for name in sizes if re.fullmatch(r"\d{5,}\.tar", name)} if isinstance(sizes, dict) else set()


@contextmanager
def _written_beside(output: Path, old: Sequence[Path]) -> Iterator[Path]:
    """The folder to write into: the output itself, or where shards are there already one whose files replace them.

    They may be what is being packed, so they stay until the end.
    """
    if not old:
        yield output
        return
    folder = Path(tempfile.mkdtemp(prefix=".pack.", dir=output))
    try:
        yield folder
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    written = {file.name for file in folder.iterdir()}
    for name in ALSO_WRITTEN:  # an index of other shards must not stand beside the new ones, not even for a moment
        (output / name).unlink(missing_ok=True)
    for name in sorted(written, key=lambda name: (not name.endswith(".tar"), name)):
        (folder / name).replace(output / name)
    for file in old:
        if file.name not in written:
            file.unlink(missing_ok=True)
    folder.rmdir()


def _entries(
    sources: Sequence[Source], request: PackRequest, skipped: Skipped, classes: _Classes, given: Counter[str]
) -> Iterator[dict[str, Any]]:
    """One dictionary per picture that can be read, as webdataset writes them."""
    whole = ((source, example) for source in sources for example in itertools.islice(source.read(), request.limit))
    encode = partial(_encode, shorter_side=request.shorter_side)
    number = 0
    for (source, example), outcome in decoded(whole, lambda item: encode(item[1]), default_workers(), AHEAD):
        skipped.seen += 1
        if isinstance(outcome, BadExample):
            skipped.add(f"{source.name}: {example.id}", outcome)
            skipped.check(final=False)
            continue
        given[source.name] += 1
        record = _describe(source, example)
        if "class" in record:
            classes.add(example.label, record["class"])
        texts = record.get("captions") or [text_of_labels(record["labels"])]
        yield {
            "__key__": f"{number:09d}",
            outcome.ending: outcome.data,
            "json": json.dumps(record, ensure_ascii=False).encode(),
            "txt": texts[0].encode(),
        }
        number += 1


def _describe(source: Source, example: Example) -> dict[str, Any]:
    origin = {"id": example.id, "source": source.name}
    texts = [text.encode("utf-8", "replace").decode() for text in example.texts]  # JSON can hold halves of letters
    if source.kind == "pairs":
        return {"captions": texts, **origin}
    names = [" ".join(name.split()) for name in texts]  # a line break would part the text in KEY.txt
    if len(names) > 1:
        return {"labels": names, **origin}
    label = {} if example.label is None else {"label": example.label}
    return {"labels": names, "class": names[0], **label, **origin}


def _encode(example: Example, shorter_side: int | None) -> _Encoded:
    """The picture's own bytes where they can stay, after a look that it can be read; else it anew."""
    (medium, *_) = example.media
    picture = read_image(medium)
    if shorter_side is not None and min(picture.size) > shorter_side:
        scale = shorter_side / min(picture.size)
        size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
        return _written("JPEG", "jpg", picture.resize(size, Image.Resampling.LANCZOS), quality=JPEG_QUALITY)
    if isinstance(medium, Pixels):
        return _written("PNG", "png", picture)
    data = medium.read_bytes()
    ending = _kind_of(data)
    return _Encoded(ending, data) if ending else _written("PNG", "png", picture)


def _written(kind: str, ending: str, picture: Image.Image, **options: int) -> _Encoded:
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return _Encoded(ending, out.getvalue())


def _kind_of(data: bytes) -> str:
    """The ending of a picture of a kind that every reader of shards knows, "" for others."""
    if data.startswith(b"\xff\xd8\xff"):
        return "jpg"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    return "webp" if data.startswith(b"RIFF") and data[8:12] == b"WEBP" else ""


def _write_shards(folder: Path, entries: Iterator[dict[str, Any]], shard_size: int) -> Iterator[_Shard]:
    done: dict[str, int] = {}
    for number in itertools.count():
        first = next(entries, None)
        if first is None:
            return
        shard = folder / f"{number:05d}.tar"
        with written_whole(shard) as part:
            pictures = 0
            with part.open("wb") as file, TarWriter(file, "", "", 0o644, encoder=False, mtime=0) as tar:
                for entry in itertools.chain([first], itertools.islice(entries, shard_size - 1)):
                    tar.write(entry)
                    pictures += 1
            with part.open("rb") as written:
                md5 = hashlib.file_digest(written, partial(hashlib.md5, usedforsecurity=False)).hexdigest()
            size = part.stat().st_size
        done[shard.name] = pictures
        _write_json(folder / SIZES_FILE, done)  # what is interrupted can still be told from the tars of others
        yield _Shard(shard.name, pictures, size, md5)


def _write_index(folder: Path, shards: Sequence[_Shard], name: str) -> None:
    _write_json(folder / SIZES_FILE, {shard.name: shard.pictures for shard in shards})
    listed = [
        {"url": shard.name, "md5sum": shard.md5, "nsamples": shard.pictures, "filesize": shard.size} for shard in shards
    ]
    index = {"__kind__": "wids-shard-index-v1", "wids_version": 1, "shardlist": listed, "name": name}
    _write_json(folder / INDEX_FILE, index)


def _write_words(folder: Path, sources: Sequence[Source], classes: _Classes) -> None:
    """The class names and templates beside the shards, where all labels agree on them."""
    templates = {source.templates for source in sources if source.kind == "labels"}
    words = {CLASS_NAMES_FILE: classes.listed(), TEMPLATES_FILE: templates.pop() if len(templates) == 1 else ()}
    for name, lines in words.items():
        if lines:
            with written_whole(folder / name) as file:
                file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _write_json(path: Path, content: dict[str, Any]) -> None:
    with written_whole(path) as file:
        file.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
