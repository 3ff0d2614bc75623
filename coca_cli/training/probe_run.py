"""The straight path of `coca probe`: frozen features, heads trained side by side, the best one scored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from itertools import product

from coca_cli.datasets.held_out import choose_splits
from coca_cli.errors import CocaError
from coca_cli.model.classifier_folder import (
    CLASSIFIER_FILE,
    ClassifierDescription,
    describe_classifier,
    save_classifier,
)
from coca_cli.model.coca import CoCa
from coca_cli.model.placement import Placed
from coca_cli.options import FeatureChoice, HeadChoice
from coca_cli.progress import Reporter
from coca_cli.results import Result, plain_data
from coca_cli.store import Store
from coca_cli.tasks.absent_clips import missing_files, name_part, tell_absent
from coca_cli.tasks.classification import classification_scores, rank_classes
from coca_cli.tasks.classification_details import Looking, classification_details
from coca_cli.tasks.predictions import check_predictions_path, write_predictions
from coca_cli.tasks.recording import Evaluation
from coca_cli.training.head_sweep import Setting
from coca_cli.training.probe_fit import Fitting, few_shots
from coca_cli.training.probe_loading import ProbeLoader
from coca_cli.training.probe_request import ProbeRequest
from coca_cli.training.task_parts import TaskParts, select_parts
from coca_cli.world import SINGLE, World

TOKENS = (FeatureChoice.patches, FeatureChoice.generative)
VECTORS = (FeatureChoice.embedding, FeatureChoice.mean)


def check_request(request: ProbeRequest, store: Store, *, frozen: bool = True) -> TaskParts:
    """Find the mistakes that can be found before a model is loaded, and the examples.

    Args:
        request: What the user asked.
        store: Where rows go.
        frozen: A classifier that is there would be replaced; where the encoder is trained too, the run goes on.

    Raises:
        CocaError: Data are missing, splits meet, or what is to be written cannot be.
    """
    store.check_writable()
    fitting = TOKENS if request.head is HeadChoice.attentional else VECTORS
    if request.looked_at not in fitting:
        raise CocaError(
            f"--head {request.head.value} looks at {' or '.join(fitting)}, not at --features {request.looked_at.value}"
        )
    tokens_alone = request.augmentation.changes or request.cache_budget is not None
    if request.head is not HeadChoice.attentional and tokens_alone:
        raise CocaError(
            f"--head {request.head.value} looks at vectors that are computed once: leave out --rand-augment, "
            "--min-crop, --flip, --turn and --cache-budget"
        )
    if request.output is not None:
        if request.head is not HeadChoice.attentional:
            raise CocaError(f"--head {request.head.value} leaves no classifier to write: leave out --output")
        if frozen and (request.output / CLASSIFIER_FILE).exists() and not request.overwrite:
            raise CocaError(f"{request.output} has a classifier already; choose another folder or say --overwrite")
    if request.shots and (request.output is not None or request.predictions is not None):
        raise CocaError("--shots trains many classifiers for their mean: leave out --output and --predictions")
    if request.predictions is not None:
        check_predictions_path(request.predictions)
    if request.times and request.dataset.media != "video":
        raise CocaError(f"--times is for the frames of clips, and {request.dataset.name} has pictures; leave it out")
    names = choose_splits(request.dataset, request.train_split, request.val_split, request.test_split)
    return select_parts(request.dataset, request.root, names, request.limit)


def run_probe(
    request: ProbeRequest,
    parts: TaskParts,
    placed: Placed,
    named: tuple[str, str | None, int | None],
    store: Store,
    reporter: Reporter,
    world: World = SINGLE,
) -> list[Result]:
    """Train, choose, score and record.

    Args:
        request: What the user asked.
        parts: From `check_request`.
        placed: The model.
        named: How the user named it: --model, --pretrained, --image-size.
        store: Where rows go.
        reporter: Shows progress.
        world: The processes.

    Returns:
        The rows that the first process appended to the store; none on others.

    Raises:
        CocaError: Data are missing or broken, or a loss is no number; see the functions called.
    """
    for part in filter(None, (parts.train, parts.val, parts.test)):
        tell_absent(part.absent, len(part.examples), reporter)
    settings = _settings(request, parts, placed)
    test = parts.test
    evaluation = Evaluation(
        task="probe",
        dataset=request.dataset,
        split=name_part(test.split, test.absent, len(test.examples)),
        origin=placed.origin,
        seed=request.recipe.seed,
        settings=settings,
    )
    if request.recipe.batch_size % world.size:
        raise CocaError(
            f"--head-batch-size {request.recipe.batch_size} cannot be shared by {world.size} processes; use a multiple"
        )
    loader = ProbeLoader(request, parts, placed, reporter, world)
    features = loader.load()
    if not len(features.val):
        raise CocaError(
            f"{request.dataset.name} has one training example per class, so none can be held out to choose settings "
            "on: name a --val-split, or give more data"
        )
    described = None
    if request.head is HeadChoice.attentional:
        described = _describe(request, parts, placed, named)
    fitting = Fitting(request, described, len(parts.class_names), reporter, world, placed.device)
    if request.shots:
        found = few_shots(fitting, features, request.shots, request.draws)
        loader.tell_live()
        if not world.first:
            return []
        missing = {**missing_files(test.absent), **loader.skipped.reasons}
        return evaluation.record(
            store, found.scores, len(test.examples) - len(loader.skipped.reasons), missing, found.chosen
        )
    fitted = fitting.fit(features, request.recipe.seed)
    loader.tell_live()
    if not world.first:
        return []
    answers = fitted.answers
    ranking = rank_classes(answers.scores)
    scores = classification_scores(ranking, answers.labels, len(parts.class_names))
    missing = {**missing_files(test.absent), **loader.skipped.reasons}
    looking = Looking(
        dataset=request.dataset,
        placed=placed,
        reading=request.reading,
        head=fitted.head,
        generative=request.looked_at is FeatureChoice.generative,
        plain=fitted.head is None,
    )
    details = classification_details(looking, answers.examples, answers.labels, ranking, parts.class_names)
    rows = evaluation.record(store, scores, len(answers.examples), missing, fitted.chosen, details)
    if request.predictions is not None:
        ids = [example.id for example in answers.examples]
        write_predictions(request.predictions, ids, answers.labels, ranking, parts.class_names)
    if request.output is not None and described is not None and fitted.head is not None:
        trained = plain_data({"dataset": request.dataset.name, **settings, **fitted.chosen})
        save_classifier(request.output, described, fitted.head, {"trained": trained})
    return rows


def _describe(
    request: ProbeRequest, parts: TaskParts, placed: Placed, named: tuple[str, str | None, int | None]
) -> ClassifierDescription:
    assert isinstance(placed.model, CoCa)
    clips = request.dataset.media == "video"
    described = describe_classifier(
        placed.model.config,
        request.looked_at.value,
        parts.class_names,
        frames=request.reading.sampling.frames if clips else 0,
        sampling=request.reading.sampling.kind,
        times=request.times,
    )
    backbone, pretrained, image_size = named
    return replace(
        described,
        name=f"{placed.name} + {request.head.value} probe",
        backbone=backbone,
        pretrained=pretrained,
        image_size=image_size,
        checkpoint=placed.checkpoint,
    )


def _settings(request: ProbeRequest, parts: TaskParts, placed: Placed) -> dict[str, object]:
    """All that can move the number."""
    settings: dict[str, object] = {
        "head": request.head,
        "features": request.looked_at,
        "train": parts.train.split,
        "val": parts.val.split if parts.val else {"part of train": request.val_part},
        "limit": request.limit,
        "image": placed.image.size,
        "seed": request.recipe.seed,
    }
    if request.shots:
        settings |= {"shots": list(request.shots), "draws": request.draws}
    if request.head is HeadChoice.attentional:
        settings |= {
            "settings": [setting._asdict() for setting in request.settings],
            "recipe": asdict(request.recipe),
            "epochs": request.epochs,
            "augmentation": asdict(request.augmentation),
            "times": request.times,
        }
    if request.dataset.media == "video":
        settings |= {"frames": asdict(request.reading.sampling), "absent": [*parts.train.absent, *parts.test.absent]}
    return settings


def sweep(rates: Sequence[float], decays: Sequence[float]) -> list[Setting]:
    """Every learning rate with every weight decay."""
    return [Setting(rate, decay) for rate, decay in product(rates, decays)]
