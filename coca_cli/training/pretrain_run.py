"""The straight path of `coca pretrain`, from sources to a model folder; it goes on where an earlier run stopped."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from coca_cli.files import make_folder
from coca_cli.model.checkpoint import save_description, save_weights
from coca_cli.model.coca import CoCa
from coca_cli.model.placement import Placed, choose_device
from coca_cli.progress import Reporter
from coca_cli.training.batches import NO_WORD_DROPOUT, TrainingBatch, WordDropout, training_batches
from coca_cli.training.checkpoints import TrainingState
from coca_cli.training.distributed import check_parallel, parallelise
from coca_cli.training.dry_run import describe_plan
from coca_cli.training.ema import Ema
from coca_cli.training.evaluations import EvaluationSet, open_sets, score
from coca_cli.training.heap import choose_heap
from coca_cli.training.loop import Execution
from coca_cli.training.metrics_log import check_extras
from coca_cli.training.objective import Objective, Weights
from coca_cli.training.optim import build_optimizer
from coca_cli.training.pair_work import PairWork
from coca_cli.training.pretrain_request import PretrainRequest
from coca_cli.training.pretrain_setup import Prepared, prepare, settings_of
from coca_cli.training.run_folder import open_run_file
from coca_cli.training.training_run import Trained, TrainingRun, check_run, new_execution, starting_point
from coca_cli.training.utilisation import step_cost
from coca_cli.world import joined_world, local_device


def run_pretrain(request: PretrainRequest, reporter: Reporter) -> Trained | None:
    """Train and write the run folder; also when interrupted, so that nothing is lost.

    Returns:
        How it ended; None on all processes but the first.

    Raises:
        CocaError: Data, configuration or output are not usable; see the functions called.
        KeyboardInterrupt: The user stopped it; what was trained has been saved.
        SystemExit: The system stopped it (SIGTERM); what was trained has been saved.
    """
    device = local_device(choose_device(request.device))
    with joined_world(device) as world:
        if not world.first:
            reporter = Reporter(quiet=True)
        check_run(request, request.recipe.batch_size, world)
        check_extras(request.logs)
        make_folder(request.output)
        checkpoint = starting_point(request, world)
        prepared = prepare(request, device, checkpoint)
        sets = _sets(request)
        file = open_run_file(request, settings_of(request, prepared), checkpoint) if world.first else None
        execution = new_execution(request, world, device, prepared.recipe.precision, reporter)
        run = TrainingRun(
            PairCourse(request, prepared, sets, execution, reporter.notice), request, execution, reporter, file
        )
        trained = run.finished(checkpoint)
        if trained is None:
            _announce(request, prepared, reporter)
            trained = run.train(checkpoint)
        return trained if world.first else None


def plan_pretrain(request: PretrainRequest) -> str:
    """What `run_pretrain` would do, as text; nothing is written.

    Raises:
        CocaError: Data or configuration are not usable; see the functions called.
    """
    device = local_device(choose_device(request.device))
    with joined_world(device) as world:
        check_run(request, request.recipe.batch_size, world)
        check_extras(request.logs)
        check_parallel(request.parallel)
        starting_point(request, world)
        prepared = prepare(request, device, shapes_alone=True)
        _sets(request)
        aside = f"{_left_aside(request)}\n\n" if request.left_aside else ""
        return aside + describe_plan(request, prepared, world) if world.first else ""


class PairCourse:
    """Pretraining, or finetuning for captions; see `training_run.Course`.

    Args:
        request: What the user asked.
        prepared: What became of it.
        sets: What the model is scored on while it is trained.
        execution: On what.
        show: Takes lines with some of the captions that are written at evaluations.
    """

    def __init__(
        self,
        request: PretrainRequest,
        prepared: Prepared,
        sets: list[EvaluationSet],
        execution: Execution,
        show: Callable[[str], None],
    ) -> None:
        self.request, self.prepared, self.sets, self.execution, self.show = request, prepared, sets, execution, show
        self.mixture, self.schedule, self.scored = prepared.mixture, prepared.recipe, bool(sets)
        recipe, model = prepared.recipe, prepared.model.to(execution.device)
        choose_heap(sum(parameter.numel() for parameter in model.parameters()))
        objective: nn.Module = Objective(model, mixed=recipe.precision == "bf16")
        objective = parallelise(objective, model.layers, request.parallel, execution.world, execution.device)
        if request.compile:
            objective.compile(dynamic=True)
        optimizer = build_optimizer(model, recipe.optimizer, recipe.learning_rate, recipe.weight_decay)
        self.work = PairWork(
            state=TrainingState(model, optimizer, Ema(model, recipe.ema) if recipe.ema else None),
            model=model,
            objective=objective,
            tokenizer=prepared.tokenizer,
            weights=Weights(recipe.contrastive_weight, recipe.caption_weight),
            execution=execution,
            cost=step_cost(model.config) if recipe.caption_weight else step_cost(model.config, captions=False),
            mask_equal_texts=recipe.mask_equal_texts,
        )

    def batches(self) -> Generator[TrainingBatch, None, None]:
        """This process's pairs."""
        recipe, config = self.prepared.recipe, self.prepared.model.config
        rate = recipe.word_dropout
        return training_batches(
            self.mixture,
            self.request.augmentation.view(config.image),
            batch_size=recipe.batch_size,
            word_dropout=WordDropout(rate, config.text.context) if rate else NO_WORD_DROPOUT,
            workers=self.request.workers,
            world=self.execution.world,
        )

    def score(self, weights: Mapping[str, Tensor]) -> dict[str, float]:
        """Scores on the named sets."""
        config, tokenizer = self.prepared.model.config, self.prepared.tokenizer
        model = CoCa(config)
        model.load_state_dict(weights)
        model = model.to(self.execution.device).eval()
        placed = Placed(model, tokenizer, config.image, self._name, "", self.execution.device, "fp32")
        return score(placed, self.sets, self.request.workers, self.show)

    def summary(self, scores: Mapping[str, float]) -> str:
        """The main scores in one line."""
        shown = ("CIDEr", "top-1", "recall@10", "caption loss", "caption loss, pictures shuffled")
        return ", ".join(f"{name} {value:.2f}" for name, value in scores.items() if name.endswith(shown))

    def describe(self, folder: Path) -> None:
        """Write all of a model but the weights."""
        facts = {"step": self.work.state.step}
        save_description(folder, self.prepared.model.config, self.prepared.tokenizer, self._name, facts)

    def write(self, folder: Path, weights: Mapping[str, Tensor], trained: dict[str, Any]) -> None:
        """Write the model."""
        config, tokenizer = self.prepared.model.config, self.prepared.tokenizer
        save_weights(folder, weights, config, tokenizer, self._name, {"trained": trained})

    @property
    def _name(self) -> str:
        return self.request.output.name


def _sets(request: PretrainRequest) -> list[EvaluationSet]:
    return open_sets(
        request.eval_zeroshot, request.eval_retrieval, request.root, request.limit, captions=request.eval_caption
    )


def _announce(request: PretrainRequest, prepared: Prepared, reporter: Reporter) -> None:
    """Tell the user what is trained."""
    model, recipe, mixture = prepared.model, prepared.recipe, prepared.mixture
    for feed, share in zip(mixture.feeds, mixture.shares, strict=True):
        words = "pairs" if feed.source.kind == "pairs" else "labels as text"
        size = "a stream of" if feed.size is None else f"{feed.size:,}"
        removed = f", {feed.left_out:,} left out by its keep-list" if feed.left_out else ""
        reporter.notice(f"data: {feed.source.name}: {size} pictures ({words}{removed}), {share:.0%} of each batch")
    if request.left_aside:
        reporter.notice(_left_aside(request))
    parameters = sum(p.numel() for p in model.parameters())
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    frozen = "" if trained == parameters else f" ({trained / 1e6:.1f}M trained)"
    reporter.notice(
        f"model: {request.start}, {parameters / 1e6:.1f}M parameters{frozen}, "
        f"{model.config.text.vocab_size:,} words, {model.config.image.size} px"
    )
    passes = f" ({recipe.steps * recipe.batch_size / mixture.size:.1f} passes)" if mixture.size else ""
    reporter.notice(
        f"schedule: {recipe.steps:,} steps of {recipe.batch_size}{passes}, {recipe.optimizer}, "
        f"peak rate {recipe.learning_rate:g}, {recipe.decay} decay, {recipe.precision}"
    )


def _left_aside(request: PretrainRequest) -> str:
    return (
        f"--init {request.init} brings its own architecture and tokenizer: "
        f"{', '.join(request.left_aside)} of the recipe {'is' if len(request.left_aside) == 1 else 'are'} left aside"
    )
