"""The straight path of `coca eval retrieval`, from captioned pictures or clips to rows in the store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from coca_cli.datasets.example import Dataset, Example, Protocol
from coca_cli.datasets.image_folder import check_split
from coca_cli.datasets.selection import select_captioned
from coca_cli.errors import CocaError, MissingFile, UnknownName
from coca_cli.media.batches import Skipped
from coca_cli.media.contact_sheet import check_sheet_path
from coca_cli.media.retrieval_grid import write_retrieval_grid
from coca_cli.model.placement import Placed
from coca_cli.options import CaptionsChoice
from coca_cli.progress import Reporter
from coca_cli.registry import unknown_name
from coca_cli.results import Result
from coca_cli.store import Store
from coca_cli.tasks.absent_clips import missing_files, name_part, tell_absent
from coca_cli.tasks.embedding import embed_texts
from coca_cli.tasks.media_features import Reading, embed_media, embedding_facts
from coca_cli.tasks.recording import Evaluation, Score
from coca_cli.tasks.retrieval import folded_ranks, rank_statistics, retrieval_ranks, retrieval_scores
from coca_cli.tasks.retrieval_grid import retrieval_details, sample_queries
from coca_cli.tasks.text_cache import cached_texts, texts_path
from coca_cli.world import SINGLE, World


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrievalRequest:
    """What to evaluate, and how.

    Attributes:
        dataset: A dataset with captions.
        root: The data root.
        split: None for the protocol's.
        protocol: One of the dataset's by name; None for its first.
        captions: All captions of a picture, or its first alone.
        prompt: What captions are put into, with {} in their place.
        reading: How pictures or clips become embeddings.
        limit: The first so many examples.
        strict: Stop at the first unreadable example.
        seed: Written into the rows; nothing here is random.
        grid: A picture of a few captions and what was found for them; None for none.
    """

    dataset: Dataset
    root: Path
    split: str | None = None
    protocol: str | None = None
    captions: CaptionsChoice = CaptionsChoice.all
    prompt: str = "{}"
    reading: Reading = field(default_factory=Reading)
    limit: int | None = None
    strict: bool = False
    seed: int = 0
    grid: Path | None = None


class Captioned(NamedTuple):
    """What is searched.

    Attributes:
        protocol: How; of a split without a protocol of its own, all of it at once.
        examples: With captions, and with files that are there.
        absent: Ids of the clips whose files are missing.
    """

    protocol: Protocol
    examples: list[Example]
    absent: list[str]


def check_request(request: RetrievalRequest, store: Store) -> Captioned:
    """Find the mistakes that can be found before a model is loaded, and what is to be searched.

    Raises:
        UnknownName: The dataset has no such split or protocol.
        MissingFile: Its files are not there.
        CocaError: It has no captions, the prompt has no place for them, or the results cannot be written.
    """
    store.check_writable()
    if "{}" not in request.prompt:
        raise CocaError(f"--prompt {request.prompt!r} has no {{}}, where the caption goes; such as 'a photo of {{}}'")
    if request.grid is not None:
        check_sheet_path(request.grid, "--grid")
    protocol = _choose_protocol(request)
    captioned, absent = select_captioned(request.dataset, request.root, protocol.split, request.limit)
    if not captioned:
        raise MissingFile(
            f"{request.dataset.name} {protocol.split} has no captions to look for: "
            "captions:FILE takes pictures of your own with theirs"
        )
    return Captioned(protocol, captioned, absent)


def _choose_protocol(request: RetrievalRequest) -> Protocol:
    dataset = request.dataset
    named = {protocol.name: protocol for protocol in dataset.protocols}
    if request.protocol is not None:
        if request.protocol not in named:
            raise UnknownName(unknown_name(f"protocol of {dataset.name}", request.protocol, list(named)))
        if request.split not in (None, named[request.protocol].split):
            raise CocaError(
                f"--protocol {request.protocol} of {dataset.name} is about its split {named[request.protocol].split}; "
                f"leave out --split {request.split}"
            )
        return named[request.protocol]
    if request.split is None:
        return dataset.protocols[0] if dataset.protocols else Protocol("", dataset.splits[0])
    check_split(dataset.name, request.split, dataset.splits)
    return next((p for p in dataset.protocols if p.split == request.split), Protocol("", request.split))


def run_retrieval(
    request: RetrievalRequest,
    chosen: Captioned,
    placed: Placed,
    store: Store,
    reporter: Reporter,
    world: World = SINGLE,
) -> list[Result]:
    """Evaluate and record.

    Args:
        request: What the user asked.
        chosen: From `check_request`.
        placed: The model.
        store: Where rows go.
        reporter: Shows progress.
        world: The processes that share the work.

    Returns:
        The rows that the first process appended to the store; none on others.

    Raises:
        CocaError: Data are missing or broken; see the functions called.
    """
    tell_absent(chosen.absent, len(chosen.examples), reporter)
    noun = request.dataset.media
    evaluation = Evaluation(
        task="retrieval",
        dataset=request.dataset,
        split=_describe(chosen),
        origin=placed.origin,
        seed=request.seed,
        settings=_settings(request, chosen, placed),
    )
    skipped = Skipped(strict=request.strict)
    found = embed_media(
        request.dataset, chosen.protocol.split, chosen.examples, placed, request.reading, skipped, reporter, world
    )
    skipped.tell(reporter.warn)
    texts, owner = captions_of(found.examples, request.captions, request.prompt)
    embedded = embed_captions(request, texts, placed, reporter)
    if not world.first:
        return []
    searched = found.features, embedded, owner
    ranks = folded_ranks(*searched, chosen.protocol.folds)
    scores: dict[str, Score] = {**retrieval_scores(ranks, noun), **rank_statistics(ranks, noun)}
    counts = {metric: len(texts if metric.startswith("text") else found.examples) for metric in scores}
    missing = missing_files(chosen.absent)
    places = ranks.text_to_image if chosen.protocol.folds == 1 else retrieval_ranks(*searched).text_to_image
    queries = sample_queries(found.examples, texts, *searched, places, clips=noun == "video")
    if request.grid is not None:
        write_retrieval_grid(request.grid, queries)
    details = retrieval_details(found.examples, texts, owner, ranks, queries, noun)
    return evaluation.record(store, scores, counts, {**missing, **skipped.reasons}, details=details)


def _describe(chosen: Captioned) -> str:
    protocol = chosen.protocol
    told = not protocol.name or protocol.split.endswith(protocol.name)  # as in test-1k-a
    name = protocol.split if told else f"{protocol.split} {protocol.name}"
    return name_part(name, chosen.absent, len(chosen.examples))


def _settings(request: RetrievalRequest, chosen: Captioned, placed: Placed) -> dict[str, object]:
    settings: dict[str, object] = {
        "protocol": chosen.protocol.name,
        "folds": chosen.protocol.folds,
        "captions": request.captions,
        "prompt": request.prompt,
        "limit": request.limit,
        "image": placed.image.size,
        "ties": "against the model",
    }
    if request.dataset.media == "video":
        settings |= {**request.reading.clip_facts(), "absent": chosen.absent}
    return settings


def captions_of(examples: Sequence[Example], which: CaptionsChoice, prompt: str) -> tuple[list[str], Tensor]:
    """The texts to search in, and the example that each belongs to, (m,) int64."""
    texts: list[str] = []
    owners: list[int] = []
    for number, example in enumerate(examples):
        for text in example.texts[:1] if which is CaptionsChoice.first else example.texts:
            texts.append(prompt.replace("{}", text))
            owners.append(number)
    return texts, torch.tensor(owners)


def embed_captions(request: RetrievalRequest, texts: Sequence[str], placed: Placed, reporter: Reporter) -> Tensor:
    """Unit embeddings (m, D) of the texts; kept for the next run."""

    def build() -> Tensor:
        total = len(set(texts))  # equal texts are embedded once
        return embed_texts(placed, texts, lambda groups: reporter.track(groups, total=total, label="texts", size=len))

    path = texts_path(request.reading.cache, placed, "captions", texts)
    facts = embedding_facts(placed) | {"dataset": request.dataset.name}
    return cached_texts(path, len(texts), build, reporter.warn, facts)
