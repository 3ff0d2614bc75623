"""`coca probe --no-frozen`: the same data and the same score, with the encoder trained too."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from coca_cli.errors import CocaError
from coca_cli.model.checkpoint import load
from coca_cli.model.classifier_folder import load_classifier
from coca_cli.model.placement import place
from coca_cli.options import HeadChoice
from coca_cli.progress import Reporter
from coca_cli.results import Result
from coca_cli.store import Store
from coca_cli.tasks.classification_run import ClassificationRequest, run_classification
from coca_cli.training.classifier_request import ClassifierRequest, ClassifierSchedule
from coca_cli.training.classifier_run import finetune_together
from coca_cli.training.head_sweep import Setting
from coca_cli.training.probe_request import ProbeRequest
from coca_cli.training.task_parts import TaskParts
from coca_cli.world import World, wait_for_all

SAVE_EVERY = 1000
"""Steps between two savings, as of coca finetune."""


def unfrozen_request(
    request: ProbeRequest,
    named: tuple[str, str | None, int | None],
    learning_rate: float,
    precision: str,
    device: str,
    settings: Sequence[Setting],
) -> ClassifierRequest:
    """What finetuning is asked for by the words of a probe.

    Args:
        request: What the user asked.
        named: How the user named the model: --model, --pretrained, --image-size.
        learning_rate: The encoder's.
        precision: Number format.
        device: Where.
        settings: The head's rates and decays.

    Raises:
        CocaError: What is asked for makes sense for a frozen encoder alone.
    """
    if request.head is not HeadChoice.attentional or request.shots:
        raise CocaError("--no-frozen trains the attentional head on all examples: leave out --head and --shots")
    if request.cache_budget is not None:
        raise CocaError("--no-frozen keeps no features, as they change with the encoder: leave out --cache-budget")
    if request.output is None:
        raise CocaError("--no-frozen writes a model: say where with --output")
    if len(settings) > 1:
        raise CocaError(
            f"--no-frozen trains one model, not {len(settings)}: give one of --learning-rates and of --weight-decays"
        )
    (setting,) = settings
    recipe = request.recipe
    model, pretrained, image_size = named
    return ClassifierRequest(
        dataset=request.dataset,
        root=request.root,
        train_split=request.train_split,
        val_split=request.val_split,
        val_part=request.val_part,
        model=model,
        pretrained=pretrained,
        image_size=image_size,
        features=request.looked_at,
        schedule=ClassifierSchedule(
            steps=recipe.steps,
            batch_size=recipe.batch_size,
            learning_rate=learning_rate,
            head_learning_rate=setting.learning_rate,
            weight_decay=setting.weight_decay,
            warmup=recipe.warmup,
            decay=recipe.decay,
            optimizer=recipe.optimizer,
            clip=recipe.clip,
            precision=precision,
            ema=recipe.ema,
            label_smoothing=recipe.label_smoothing,
            seed=recipe.seed,
        ),
        epochs=request.epochs,
        augmentation=request.augmentation,
        times=request.times,
        reading=request.reading,
        output=request.output,
        overwrite=request.overwrite,
        save_every=SAVE_EVERY,
        device=device,
        limit=request.limit,
        workers=request.reading.workers,
        strict=request.strict,
    )


def run_unfrozen(
    request: ProbeRequest,
    finetuning: ClassifierRequest,
    parts: TaskParts,
    store: Store,
    reporter: Reporter,
    world: World,
    device: torch.device,
) -> list[Result]:
    """Finetune, then score the test split.

    Args:
        request: What the user asked.
        finetuning: From `unfrozen_request`.
        parts: The examples.
        store: Where rows go.
        reporter: Shows progress.
        world: The processes.
        device: Where this one computes.

    Returns:
        The rows that the first process appended to the store; none on others.
    """
    assert request.output is not None
    finetune_together(finetuning, reporter, world, device)
    wait_for_all(world)
    scoring = ClassificationRequest(
        dataset=request.dataset,
        root=request.root,
        split=parts.test.split,
        reading=request.reading,
        predictions=request.predictions,
        limit=request.limit,
        strict=request.strict,
        seed=request.recipe.seed,
    )
    placed = place(load(str(request.output)), finetuning.device, finetuning.schedule.precision)
    return run_classification(scoring, load_classifier(request.output), placed, store, reporter, world)
