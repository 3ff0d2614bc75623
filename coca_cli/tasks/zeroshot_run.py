"""The straight path of `coca eval zeroshot`, from a dataset to its rows in the store."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from coca_cli.datasets.example import Dataset, Prompts
from coca_cli.datasets.selection import describe_bare_classes, select_labelled, select_prompts
from coca_cli.media.batches import Skipped
from coca_cli.model.placement import Placed
from coca_cli.progress import Reporter
from coca_cli.results import Result
from coca_cli.store import Store
from coca_cli.tasks.absent_clips import missing_files, name_part, tell_absent
from coca_cli.tasks.classification_details import Looking, classification_details
from coca_cli.tasks.media_features import Reading, embed_media, embedding_facts
from coca_cli.tasks.predictions import check_predictions_path, write_predictions
from coca_cli.tasks.recording import Evaluation
from coca_cli.tasks.text_cache import cached_texts, texts_path
from coca_cli.tasks.zeroshot import build_classifier, check_labels, evaluate
from coca_cli.world import SINGLE, World


@dataclass(frozen=True, slots=True, kw_only=True)
class ZeroShotRequest:
    """What to evaluate, and how.

    Attributes:
        dataset: A dataset with classes.
        root: The data root.
        split: None for the one that is evaluated by default.
        class_names: A file with other class names.
        templates: A file with other templates.
        predictions: A file for what was said of each example.
        reading: How pictures become embeddings.
        limit: The first so many examples.
        strict: Stop at the first unreadable picture.
        seed: Written into the rows; nothing here is random.
    """

    dataset: Dataset
    root: Path
    split: str | None = None
    class_names: Path | None = None
    templates: Path | None = None
    predictions: Path | None = None
    reading: Reading = field(default_factory=Reading)
    limit: int | None = None
    strict: bool = False
    seed: int = 0


def check_request(request: ZeroShotRequest, store: Store) -> None:
    """Find the mistakes that can be found before a model is loaded.

    Raises:
        CocaError: Files are missing or cannot be written, or the dataset has no classes.
    """
    store.check_writable()
    if request.predictions is not None:
        check_predictions_path(request.predictions)
    select_labelled(request.dataset, request.root, request.split, 1)
    select_prompts(request.dataset, request.root, request.class_names, request.templates)


def run_zeroshot(
    request: ZeroShotRequest, placed: Placed, store: Store, reporter: Reporter, world: World = SINGLE
) -> list[Result]:
    """Evaluate and record.

    Returns:
        The rows that the first process appended to the store; none on others.

    Raises:
        CocaError: Data or words are missing or broken; see the functions called.
    """
    dataset = request.dataset
    prompts = select_prompts(dataset, request.root, request.class_names, request.templates)
    split, examples, unlabelled, absent = select_labelled(dataset, request.root, request.split, request.limit)
    if unlabelled:
        reporter.notice(f"{unlabelled:,} examples of {dataset.name} {split} have no class and are left out")
    tell_absent(absent, len(examples), reporter)
    settings: dict[str, object] = {"prompts": prompts._asdict(), "limit": request.limit, "image": placed.image.size}
    if dataset.media == "video":
        settings |= {**request.reading.clip_facts(), "absent": absent}
    evaluation = Evaluation(
        task="zeroshot",
        dataset=dataset,
        split=name_part(split, absent, len(examples)),
        origin=placed.origin,
        seed=request.seed,
        settings=settings,
    )
    check_labels(examples, len(prompts.class_names))
    if bare := describe_bare_classes(examples, prompts.class_names, request.limit):
        reporter.notice(bare)
    skipped = Skipped(strict=request.strict)
    embedded = embed_media(dataset, split, examples, placed, request.reading, skipped, reporter, world)
    if not world.first:
        return []
    classifier = _classifier(request.reading.cache, placed, dataset, prompts, reporter)
    outcome = evaluate(classifier, [embedded])
    skipped.tell(reporter.warn)
    looking = Looking(dataset=dataset, placed=placed, reading=request.reading)
    details = classification_details(looking, embedded.examples, outcome.labels, outcome.ranking, prompts.class_names)
    missing = {**missing_files(absent), **skipped.reasons}
    rows = evaluation.record(store, outcome.scores, len(outcome.ids), missing, details=details)
    if request.predictions is not None:
        write_predictions(request.predictions, outcome.ids, outcome.labels, outcome.ranking, prompts.class_names)
    return rows


def _classifier(cache: Path | None, placed: Placed, dataset: Dataset, prompts: Prompts, reporter: Reporter) -> Tensor:
    total = len(prompts.class_names) * len(prompts.templates)

    def build() -> Tensor:
        return build_classifier(
            placed, prompts, lambda groups: reporter.track(groups, total=total, label="prompts", size=len)
        )

    path = texts_path(cache, placed, "classifiers", prompts)
    facts = embedding_facts(placed) | {"dataset": dataset.name}
    return cached_texts(path, len(prompts.class_names), build, reporter.warn, facts)
