"""The straight path of `coca eval classification`: a classifier that was trained, on a split."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from coca_cli.datasets.example import Dataset
from coca_cli.datasets.selection import select_labelled, select_prompts
from coca_cli.errors import BadCheckpoint, CocaError
from coca_cli.media.batches import Skipped
from coca_cli.model.classifier_folder import SavedClassifier
from coca_cli.model.placement import Origin, Placed
from coca_cli.model.task_head import TaskHead
from coca_cli.model.weights import hash_weights
from coca_cli.options import FeatureChoice
from coca_cli.progress import Reporter
from coca_cli.results import Result
from coca_cli.store import Store
from coca_cli.tasks.absent_clips import missing_files, name_part, tell_absent
from coca_cli.tasks.classification import classification_scores, rank_classes
from coca_cli.tasks.classification_details import Looking, classification_details
from coca_cli.tasks.feature_store import FeatureStore
from coca_cli.tasks.features import Computing, Outcome, features_of
from coca_cli.tasks.media_features import Reading
from coca_cli.tasks.predictions import check_predictions_path, write_predictions
from coca_cli.tasks.recording import Evaluation
from coca_cli.tasks.token_features import encode_tokens, token_computing
from coca_cli.tasks.zeroshot import check_labels
from coca_cli.world import SINGLE, World


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassificationRequest:
    """What to score.

    Attributes:
        dataset: A dataset with the classes that the classifier knows.
        root: The data root.
        split: None for the one that is evaluated by default.
        reading: How pictures or clips are read.
        predictions: A file for what was said of each example.
        limit: The first so many examples.
        strict: Stop at the first unreadable example.
        seed: Written into the rows; nothing here is random.
    """

    dataset: Dataset
    root: Path
    split: str | None = None
    reading: Reading = field(default_factory=Reading)
    predictions: Path | None = None
    limit: int | None = None
    strict: bool = False
    seed: int = 0


def check_request(request: ClassificationRequest, classifier: SavedClassifier, store: Store) -> None:
    """Find the mistakes that can be found before a model is loaded.

    Raises:
        CocaError: The set has other classes, or other media, than the classifier was trained on; or see the functions
            called.
    """
    store.check_writable()
    if request.predictions is not None:
        check_predictions_path(request.predictions)
    dataset, described = request.dataset, classifier.described
    select_labelled(dataset, request.root, request.split, 1)
    if request.reading.views > 1 and not described.clips:
        raise CocaError(f"{described.name} looks at pictures once: --views and --crops are for classifiers of clips")
    wanted = "clips" if described.clips else "pictures"
    if (dataset.media == "video") != described.clips:
        raise CocaError(
            f"{described.name} was trained on {wanted}, and {dataset.name} has others: use a set of {wanted}"
        )
    names = select_prompts(dataset, request.root, None, None).class_names
    if names != described.class_names:
        raise CocaError(
            f"{dataset.name} has {len(names)} classes such as {names[0]!r}, the classifier {described.name} knows "
            f"{len(described.class_names)} such as {described.class_names[0]!r}: they must be the same, in one order"
        )


def check_backbone(classifier: SavedClassifier, placed: Placed) -> None:
    """Refuse another encoder than the head was trained on: its answers would mean nothing.

    Raises:
        BadCheckpoint: The weights are others.
    """
    if placed.checkpoint != classifier.described.checkpoint:
        raise BadCheckpoint(
            f"the head was trained on weights {classifier.described.checkpoint}, and {placed.name} has "
            f"{placed.checkpoint}: give the encoder that it was trained on with --backbone"
        )


def run_classification(
    request: ClassificationRequest,
    classifier: SavedClassifier,
    placed: Placed,
    store: Store,
    reporter: Reporter,
    world: World = SINGLE,
) -> list[Result]:
    """Evaluate and record.

    Args:
        request: What the user asked.
        classifier: The head.
        placed: Its encoder.
        store: Where rows go.
        reporter: Shows progress.
        world: The processes that share the work.

    Returns:
        The rows that the first process appended to the store; none on others.

    Raises:
        CocaError: Data are missing or broken; see the functions called.
    """
    check_backbone(classifier, placed)
    started = time.monotonic()
    dataset, described = request.dataset, classifier.described
    split, examples, _, absent = select_labelled(dataset, request.root, request.split, request.limit)
    check_labels(examples, len(described.class_names))
    tell_absent(absent, len(examples), reporter)
    skipped = Skipped(strict=request.strict)

    def track(stream: Iterable[Outcome]) -> Iterable[Outcome]:
        return reporter.track(stream, total=-(-len(examples) // world.size), label=f"{dataset.name} {split}")

    kind = FeatureChoice(described.features)
    tokens, facts = token_computing(placed, kind, request.reading, track, clips=described.clips, border=dataset.border)
    digest = hash_weights(dict(classifier.head.state_dict()))
    views = request.reading.views
    facts |= {"features": "class probabilities", "of": kind.value, "head": digest}
    facts |= {"dataset": dataset.name, "dataset_version": dataset.version, "split": split}
    computing = Computing(
        read=tokens.read,
        compute=partial(class_probabilities, placed, classifier.head.to(placed.device), kind, views=views),
        batch_size=tokens.batch_size,
        workers=tokens.workers,
        track=track,
    )
    feature_store = FeatureStore(request.reading.cache, facts, reporter.warn)
    found = features_of(examples, feature_store, computing, skipped, world)
    skipped.tell(reporter.warn)
    if not world.first:
        return []
    settings: dict[str, object] = {"limit": request.limit, "image": placed.image.size, "backbone": placed.checkpoint}
    if described.clips:
        settings |= {**request.reading.frame_facts(), "absent": absent}
    evaluation = Evaluation(
        task="classification",
        dataset=dataset,
        split=name_part(split, absent, len(examples)),
        origin=Origin(described.name, digest, placed.device.type, placed.precision, placed.folder),
        seed=request.seed,
        settings=settings,
        started=started,
    )
    labels = torch.tensor([example.label for example in found.examples])
    ranking = rank_classes(found.features)
    scores = classification_scores(ranking, labels, len(described.class_names))
    looking = Looking(
        dataset=dataset,
        placed=placed,
        reading=request.reading,
        head=classifier.head,
        generative=kind is FeatureChoice.generative,
    )
    details = classification_details(looking, found.examples, labels, ranking, described.class_names)
    missing = {**missing_files(absent), **skipped.reasons}
    rows = evaluation.record(store, scores, len(labels), missing, details=details)
    if request.predictions is not None:
        ids = [example.id for example in found.examples]
        write_predictions(request.predictions, ids, labels, ranking, described.class_names)
    return rows


@torch.inference_mode()
def class_probabilities(
    placed: Placed, head: TaskHead, kind: FeatureChoice, pixels: Tensor, *, views: int = 1
) -> Tensor:
    """What the classifier says, (B, C) fp32 on the CPU; of several views of a clip the mean.

    Args:
        placed: The encoder.
        head: On its tokens.
        kind: Which.
        pixels: (B, 3, size, size) of pictures, or (B, views * F, 3, size, size) of clips, uint8.
        views: Looks at each clip.
    """
    tokens = encode_tokens(placed, kind, pixels).to(placed.device)
    if tokens.ndim == 4:
        tokens = tokens.reshape(len(tokens) * views, -1, *tokens.shape[2:])  # (B * views, F, N, W)
    probabilities: Tensor = head(tokens).softmax(dim=-1)
    return probabilities.view(-1, views, probabilities.shape[-1]).mean(dim=1).cpu()
