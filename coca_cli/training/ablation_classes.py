"""Pretraining by classification, for the paper's Table 8a: a softmax over class names in the place of captions.

The encoder begins with the same weights and sees the same pictures in the same order as one that learns captions.

Source: equation 1 of the paper; a picture of several classes wants each of them to the same part.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from coca_cli.datasets.selection import hash_texts
from coca_cli.errors import CocaError
from coca_cli.files import make_folder
from coca_cli.media.images import normalise
from coca_cli.model.checkpoint import save_description, save_weights
from coca_cli.model.classifier import Classifier
from coca_cli.model.classifier_folder import describe_classifier
from coca_cli.model.coca import CoCa
from coca_cli.model.config import CoCaConfig
from coca_cli.model.flops import count_operations
from coca_cli.model.placement import choose_device
from coca_cli.progress import Reporter
from coca_cli.training.batches import TrainingBatch, training_batches
from coca_cli.training.checkpoints import TrainingState
from coca_cli.training.distributed import parallelise, sum_over
from coca_cli.training.ema import Ema
from coca_cli.training.finetune_setup import weights_below
from coca_cli.training.loop import Execution, StepLosses
from coca_cli.training.mixture import Mixture
from coca_cli.training.objective import unsynchronised
from coca_cli.training.optim import build_optimizer
from coca_cli.training.pretrain_request import PretrainRequest
from coca_cli.training.pretrain_setup import Prepared, prepare, settings_of
from coca_cli.training.run_folder import open_run_file
from coca_cli.training.training_run import Trained, TrainingRun, check_run, new_execution, starting_point
from coca_cli.training.utilisation import BACKWARD
from coca_cli.world import joined_world, local_device


class ClassesObjective(nn.Module):
    """The forward pass: pixels (B, 3, size, size) uint8 and wanted parts (B, C) -> the mean loss.

    Args:
        model: In fp32.
        mixed: Compute the encoder in bf16 with fp32 weights.
    """

    def __init__(self, model: Classifier, *, mixed: bool) -> None:
        super().__init__()
        self.model = model
        self.mixed = mixed

    def forward(self, pixels: Tensor, wanted: Tensor) -> Tensor:
        """The cross-entropy, averaged over the pictures."""
        mixed = torch.autocast(pixels.device.type, torch.bfloat16) if self.mixed else nullcontext()
        with mixed:
            tokens = self.model.encode(normalise(pixels, self.model.coca.config.image))
        return F.cross_entropy(self.model.head(tokens), wanted)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassesWork:
    """Class names; see `loop.Work`.

    Attributes:
        state: The classifier, its optimiser and its average.
        objective: Holds the classifier, as `parallelise` gave it.
        places: Class name -> its number.
        execution: On what.
        operations: Of the forward pass of one picture.
        noun: What the examples are.
    """

    state: TrainingState
    objective: nn.Module
    places: Mapping[str, int]
    execution: Execution
    operations: int
    noun: str = "pictures"

    def backward(self, batch: TrainingBatch, step: int) -> StepLosses:
        """Add the gradient of a batch to the parameters."""
        world, device, accumulate = self.execution.world, self.execution.device, self.execution.accumulate
        wanted = self._wanted([example.texts for example in batch.examples])
        rows = len(wanted) // accumulate
        loss = torch.zeros((), device=device)
        for start in range(0, len(wanted), rows):
            part = slice(start, start + rows)
            pixels = batch.pixels[part].to(device, non_blocking=True)
            with unsynchronised(self.objective, quiet=start + rows < len(wanted)):
                found = self.objective(pixels, wanted[part].to(device)) / accumulate
                found.backward()
            loss += found.detach()
        mean = sum_over(loss / world.size, world).item()
        return StepLosses(mean, {"classes": mean}, BACKWARD * len(wanted) * self.operations)

    def _wanted(self, texts: Sequence[tuple[str, ...]]) -> Tensor:
        """(B, C), rows that sum to 1."""
        wanted = torch.zeros(len(texts), len(self.places))
        for row, names in enumerate(texts):
            for name in names:
                wanted[row, self.places[name]] += 1 / len(names)
        return wanted

    def settle(self) -> None:
        """Nothing has bounds."""


class ClassCost(NamedTuple):
    """What a classifier costs.

    Attributes:
        operations: Of the forward pass of one picture.
        parameters: How many are trained.
    """

    operations: int
    parameters: int


def class_cost(config: CoCaConfig, classes: int) -> ClassCost:
    """Count on the meta device."""
    with torch.device("meta"):
        model = build_classifier(config, classes)
        model.eval()
        images = torch.empty(1, 3, config.image.size, config.image.size)
    with torch.no_grad():
        operations = count_operations(lambda: model(images))
    return ClassCost(operations, sum(p.numel() for p in model.parameters() if p.requires_grad))


def build_classifier(config: CoCaConfig, classes: int, prepared: Prepared | None = None) -> Classifier:
    """A classifier that trains the encoder and a pooler with one query.

    Args:
        config: Of the model.
        classes: C.
        prepared: Has the model; None for a new one.
    """
    names = tuple(str(number) for number in range(classes))
    coca = CoCa(config) if prepared is None else prepared.model
    model = Classifier(coca, describe_classifier(config, "patches", names).build())
    model.train_image_side_alone()
    return model


def class_places(mixture: Mixture) -> dict[str, int]:
    """All class names of the data, in the alphabet's order, with their numbers.

    Raises:
        CocaError: Shards are streamed, or there is one class alone.
    """
    streamed = [feed.source.name for feed in mixture.feeds if feed.source.streams]
    if streamed:
        raise CocaError(
            f"the classes of {streamed[0]} cannot be known before all of it has been read: table 8a needs labelled "
            "pictures that are not streamed"
        )
    names = sorted({name for feed in mixture.feeds for example in feed.examples for name in example.texts})
    if len(names) < 2:
        raise CocaError(f"table 8a needs labelled pictures of two classes at least, and there is {', '.join(names)}")
    return {name: number for number, name in enumerate(names)}


class ClassesCourse:
    """Pretraining by classification; see `training_run.Course`.

    Args:
        request: What is asked.
        prepared: What became of it.
        places: Class name -> its number.
        execution: On what.
    """

    scored = False

    def __init__(
        self, request: PretrainRequest, prepared: Prepared, places: Mapping[str, int], execution: Execution
    ) -> None:
        self.request, self.prepared, self.execution = request, prepared, execution
        self.mixture, self.schedule = prepared.mixture, prepared.recipe
        recipe, config = prepared.recipe, prepared.model.config
        model = build_classifier(config, len(places), prepared).to(execution.device)
        whole = ClassesObjective(model, mixed=recipe.precision == "bf16")
        layers = [*model.coca.layers, model.head]
        objective = parallelise(whole, layers, request.parallel, execution.world, execution.device)
        optimizer = build_optimizer(model, recipe.optimizer, recipe.learning_rate, recipe.weight_decay)
        self.work = ClassesWork(
            state=TrainingState(model, optimizer, Ema(model, recipe.ema) if recipe.ema else None),
            objective=objective,
            places=places,
            execution=execution,
            operations=class_cost(config, len(places)).operations,
        )

    def batches(self) -> Generator[TrainingBatch, None, None]:
        """This process's pictures."""
        return training_batches(
            self.mixture,
            self.request.augmentation.view(self.prepared.model.config.image),
            batch_size=self.schedule.batch_size,
            workers=self.request.workers,
            world=self.execution.world,
        )

    def score(self, weights: Mapping[str, Tensor]) -> dict[str, float]:
        """Nothing is scored while it is trained."""
        return {}

    def summary(self, scores: Mapping[str, float]) -> str:
        """Nothing."""
        return ""

    def describe(self, folder: Path) -> None:
        """Write all of a model but the weights."""
        config, tokenizer = self.prepared.model.config, self.prepared.tokenizer
        save_description(folder, config, tokenizer, self.request.output.name, {"step": self.work.state.step})

    def write(self, folder: Path, weights: Mapping[str, Tensor], trained: dict[str, Any]) -> None:
        """Write the model; its text side is as it began, and the classifier is left aside."""
        config, tokenizer, name = self.prepared.model.config, self.prepared.tokenizer, self.request.output.name
        save_weights(folder, weights_below(weights, "coca."), config, tokenizer, name, {"trained": trained})


def run_classes(request: PretrainRequest, reporter: Reporter) -> Trained | None:
    """Train and write the run folder, as `run_pretrain` does.

    Returns:
        How it ended; None on all processes but the first.

    Raises:
        CocaError: Data, configuration or output are not usable; see the functions called.
        KeyboardInterrupt: The user stopped it; what was trained has been saved.
        SystemExit: The system stopped it (SIGTERM); what was trained has been saved.
    """
    device = local_device(choose_device(request.device))
    with joined_world(device) as world:
        reporter = reporter if world.first else Reporter(quiet=True)
        check_run(request, request.recipe.batch_size, world)
        make_folder(request.output)
        checkpoint = starting_point(request, world)
        prepared = prepare(request, device, checkpoint)
        places = class_places(prepared.mixture)
        settings = settings_of(request, prepared) | {"classes": [len(places), hash_texts(list(places))]}
        file = open_run_file(request, settings, checkpoint) if world.first else None
        execution = new_execution(request, world, device, prepared.recipe.precision, reporter)
        course = ClassesCourse(request, prepared, places, execution)
        run = TrainingRun(course, request, execution, reporter, file)
        trained = run.finished(checkpoint) or run.train(checkpoint)
        return trained if world.first else None
