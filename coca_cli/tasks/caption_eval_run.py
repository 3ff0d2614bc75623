"""The straight path of `coca eval caption`: captions from a model or a file, their scores, rows in the store."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import NamedTuple

from coca_cli.datasets.example import Dataset, Example
from coca_cli.datasets.image_folder import check_split
from coca_cli.datasets.selection import select_captioned
from coca_cli.errors import BadExample, CocaError, MissingFile
from coca_cli.media.batches import Skipped
from coca_cli.model.placement import Origin, Placed
from coca_cli.progress import Reporter
from coca_cli.results import Result, settings_hash
from coca_cli.store import Store
from coca_cli.tasks.absent_clips import missing_files, name_part, tell_absent
from coca_cli.tasks.caption_details import EachCaption, caption_details
from coca_cli.tasks.caption_scores import measure_captions, scores_of
from coca_cli.tasks.captioning import Writing, caption_computing, captioner_of, captions_in
from coca_cli.tasks.feature_store import FeatureStore
from coca_cli.tasks.features import Outcome, features_of
from coca_cli.tasks.generated_captions import match_candidates, read_candidates, save_candidates
from coca_cli.tasks.intervals import Estimate
from coca_cli.tasks.java_scorers import HOW_TO_GET_SPICE, find_java, spice_is_there
from coca_cli.tasks.media_features import Reading
from coca_cli.tasks.recording import Evaluation
from coca_cli.world import SINGLE, World

NAMED = 3
CAPTIONS_FOLDER = "captions"
ORDER = ("CIDEr", "BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "METEOR", "ROUGE-L", "SPICE")


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionEvalRequest:
    """What to score, and how.

    Attributes:
        dataset: A dataset with captions.
        root: The data root.
        split: None for the one that papers evaluate.
        captions: A file of captions to score; None where a model writes them.
        partial: Score the captions that are there, where a file has not all.
        writing: How a model writes.
        reading: How pictures and clips are read.
        java: The Java of METEOR, SPICE and the tokenizer; None for the one that comes with coca.
        limit: The first so many pictures.
        strict: Stop at the first unreadable picture.
        seed: Of the bootstrap.
        save: Where the model's captions go; None for a place in the store.
    """

    dataset: Dataset
    root: Path
    split: str | None = None
    captions: Path | None = None
    partial: bool = False
    writing: Writing = field(default_factory=Writing)
    reading: Reading = field(default_factory=Reading)
    java: str | None = None
    limit: int | None = None
    strict: bool = False
    seed: int = 0
    save: Path | None = None


class Chosen(NamedTuple):
    """What is scored.

    Attributes:
        split: Which part of the dataset.
        examples: Its pictures; of a set whose captions are kept back, without captions.
        absent: Ids of the clips whose files are missing.
        candidates: id -> caption, from a file; None where a model writes them.
        origin: Where the captions of the file come from.
        java: The program.
    """

    split: str
    examples: list[Example]
    absent: list[str]
    candidates: dict[str, str] | None
    origin: Origin | None
    java: str


class CaptionsScored(NamedTuple):
    """How an evaluation ended.

    Attributes:
        rows: Appended to the store; none where captions are kept back, and on other processes than the first.
        saved: Where the model's captions lie; None where they came from a file.
    """

    rows: list[Result]
    saved: Path | None


def check_request(request: CaptionEvalRequest, store: Store) -> Chosen:
    """Find the mistakes that can be found before a model is loaded, and what is to be scored.

    Raises:
        UnknownName: The dataset has no such split.
        MissingFile: A file is not there.
        BadExample: The file of captions does not fit the split.
        CocaError: There are no captions to score with, no such Java, or the results cannot be written.
    """
    store.check_writable()
    java = find_java(request.java)
    dataset = request.dataset
    split = request.split or next((p.split for p in dataset.protocols), dataset.splits[0])
    check_split(dataset.name, split, dataset.splits)
    examples, absent = select_captioned(dataset, request.root, split, request.limit)
    if not examples:
        if request.captions is not None or dataset.task != "captions":
            raise MissingFile(
                f"{dataset.name} {split} has no captions to score with: take another --split, or captions:FILE for "
                "pictures of your own"
            )
        examples = list(dataset.read(request.root, split))[: request.limit]
    if request.captions is None:
        return Chosen(split, examples, absent, None, None, java)
    found = _match(request, split, examples)
    lacking = [example.id for example in examples if example.id not in found]
    if lacking and not request.partial:
        raise BadExample(
            f"{request.captions} has captions for {len(found):,} of the {len(examples):,} pictures of {dataset.name} "
            f"{split}; {', '.join(lacking[:NAMED])} lack one. With --partial only the others are scored, which is "
            "another number: CIDEr depends on which pictures are in it"
        )
    if not found:
        raise BadExample(f"{request.captions} has no captions: write some with coca caption")
    digest = hashlib.sha256(json.dumps(found, ensure_ascii=False).encode(errors="backslashreplace")).hexdigest()[:10]
    return Chosen(split, examples, absent, found, Origin(request.captions.name, digest), java)


def _match(request: CaptionEvalRequest, split: str, examples: Sequence[Example]) -> dict[str, str]:
    """The captions of the file that are about these pictures; it may speak of others of the split, too."""
    assert request.captions is not None
    everything = list(request.dataset.read(request.root, split))
    found = match_candidates(request.captions, read_candidates(request.captions), everything)
    bare = [example.id for example in everything if example.id in found and not example.texts]
    if bare:
        raise BadExample(
            f"{request.captions} has captions for {len(bare):,} pictures of {request.dataset.name} {split} of which "
            f"there are none by people to compare with, such as {', '.join(bare[:NAMED])}: drop them"
        )
    return {example.id: found[example.id] for example in examples if example.id in found}


def run_caption_eval(
    request: CaptionEvalRequest,
    chosen: Chosen,
    placed: Placed | None,
    store: Store,
    reporter: Reporter,
    world: World = SINGLE,
) -> CaptionsScored:
    """Write captions unless they are there, score and record.

    Args:
        request: What the user asked.
        chosen: From `check_request`.
        placed: The model; None where the captions came from a file.
        store: Where rows go.
        reporter: Shows progress.
        world: The processes that share the writing; the first of them scores.

    Raises:
        BadCheckpoint: The model writes no captions.
        CocaError: Data are missing or broken, or a scorer failed.
    """
    tell_absent(chosen.absent, len(chosen.examples), reporter)
    split = name_part(chosen.split, chosen.absent, len(chosen.examples))
    skipped = Skipped(strict=request.strict)
    if placed is None:
        assert chosen.candidates is not None
        assert chosen.origin is not None
        captions, origin = chosen.candidates, chosen.origin
        if len(captions) < len(chosen.examples):
            split = f"{split}, {len(captions):,} of {len(chosen.examples):,} pictures"
    else:
        captions, origin = _write(request, chosen, placed, skipped, reporter, world), placed.origin
        skipped.tell(reporter.warn)
    if not world.first:
        return CaptionsScored([], None)
    settings = _settings(request, chosen, placed)
    evaluation = Evaluation(
        task="caption",
        dataset=request.dataset,
        split=split,
        origin=origin,
        seed=request.seed,
        settings=settings,
    )
    saved = None
    if placed is not None:
        names = (request.dataset.name, chosen.split, origin.name, origin.checkpoint, settings_hash(settings))
        plain = "-".join(re.sub(r"[^\w.-]+", "_", name, flags=re.ASCII)[-60:] for name in names)  # names may be paths
        saved = request.save or store.folder / CAPTIONS_FOLDER / f"{plain}.json"
        save_candidates(saved, captions)
    references = {e.id: e.texts for e in chosen.examples if e.id in captions and e.texts}
    if not references:
        return CaptionsScored([], saved)
    _warn(captions, reporter)
    reporter.notice(f"scoring {len(references):,} captions; tokenizer and METEOR are Java programs that take seconds")
    scores, counts, each = _score(request, chosen, captions, references)
    missing = missing_files(chosen.absent)
    details = caption_details(request.dataset, chosen.examples, captions, each)
    rows = evaluation.record(store, scores, counts, {**missing, **skipped.reasons}, details=details)
    return CaptionsScored(rows, saved)


def _write(
    request: CaptionEvalRequest, chosen: Chosen, placed: Placed, skipped: Skipped, reporter: Reporter, world: World
) -> dict[str, str]:
    """The model's best caption of each picture that can be read, by id."""
    dataset, writing, captioner = request.dataset, request.writing, captioner_of(placed)

    def track(stream: Iterable[Outcome]) -> Iterable[Outcome]:
        total = -(-len(chosen.examples) // world.size)
        return reporter.track(stream, total=total, label=f"{dataset.name} {chosen.split}")

    computing, facts = caption_computing(
        captioner, writing, request.reading, track, clips=dataset.media == "video", border=dataset.border
    )
    facts |= {"dataset": dataset.name, "dataset_version": dataset.version, "split": chosen.split}
    store = FeatureStore(request.reading.cache, facts, reporter.warn)
    found = features_of(chosen.examples, store, computing, skipped, world)
    written = captions_in(found.features, captioner, writing)
    return {example.id: texts[0].text for example, texts in zip(found.examples, written, strict=True)}


def _settings(request: CaptionEvalRequest, chosen: Chosen, placed: Placed | None) -> dict[str, object]:
    settings: dict[str, object] = {"limit": request.limit, "partial": request.partial}
    if placed is not None:
        settings |= {"writing": asdict(request.writing), "image": placed.image.size}
        if request.dataset.media == "video":
            settings["frames"] = request.reading.clip_facts()["frames"]
    if chosen.absent:
        settings["absent"] = chosen.absent
    return settings


def _warn(captions: Mapping[str, str], reporter: Reporter) -> None:
    empty = [name for name, text in captions.items() if not text.strip()]
    if empty:
        noun = "caption is empty and scores" if len(empty) == 1 else "captions are empty and score"
        reporter.warn(f"{len(empty):,} {noun} 0: {', '.join(empty[:NAMED])}")
    if not spice_is_there():
        reporter.notice(HOW_TO_GET_SPICE)


def _score(
    request: CaptionEvalRequest,
    chosen: Chosen,
    captions: Mapping[str, str],
    references: Mapping[str, Sequence[str]],
) -> tuple[dict[str, Estimate], dict[str, int], EachCaption]:
    """The scores of all pictures and of each group of them, how many pictures these are of, what each caption got."""
    if len(references) < 2:
        raise CocaError("one picture alone cannot be scored: CIDEr weighs words by the other pictures; take more")
    groups = {"": [e.id for e in chosen.examples]}
    for example in chosen.examples:
        if example.group:
            groups.setdefault(f"{example.group} ", []).append(example.id)
    measured = measure_captions({name: captions[name] for name in references}, references, chosen.java)
    scores: dict[str, Estimate] = {}
    counts: dict[str, int] = {}
    each = EachCaption([], {})
    for prefix, members in groups.items():
        names = [name for name in members if name in references]
        if len(names) < 2 and prefix:
            continue
        found, single = scores_of(measured.part(names), seed=request.seed)
        each = each if prefix else EachCaption(names, single)
        for metric in ORDER:
            if metric in found:
                scores[f"{prefix}{metric}"], counts[f"{prefix}{metric}"] = found[metric], len(names)
    return scores, counts, each
