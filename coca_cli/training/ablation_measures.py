"""What is measured of the models of an ablation: each number as its own command measures it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from coca_cli.datasets import find_dataset
from coca_cli.datasets.selection import select_questions
from coca_cli.errors import CocaError
from coca_cli.model.checkpoint import load
from coca_cli.model.placement import Placed, choose_device, place
from coca_cli.model.understanding_folder import load_understanding
from coca_cli.options import FeatureChoice, HeadChoice
from coca_cli.progress import Reporter
from coca_cli.results import Result
from coca_cli.store import Store
from coca_cli.tasks import retrieval_run, understanding_run, zeroshot_run
from coca_cli.tasks.media_features import Reading
from coca_cli.training import probe_run
from coca_cli.training.ablation_request import AblationRequest, Measure
from coca_cli.training.head_sweep import HeadRecipe, Setting
from coca_cli.training.probe_request import ProbeRequest
from coca_cli.training.understanding_request import UnderstandingRequest, UnderstandingSchedule
from coca_cli.training.understanding_run import run_understanding
from coca_cli.world import World, joined_world, local_device

RESULTS = "results"
VAL_PART = 0.02
"""Of the questions so few are held out: nothing is chosen on them."""
WARMUP = 0.05


def check_measures(request: AblationRequest, seed: int = 0) -> None:
    """Find missing data before anything is trained.

    Raises:
        CocaError: Data are missing, or a set is of another kind.
    """
    store = Store(request.output / RESULTS)
    for measure in request.measures:
        dataset, root = find_dataset(measure.dataset), request.base.root
        if measure.kind == "zeroshot":
            zeroshot_run.check_request(zeroshot_run.ZeroShotRequest(dataset=dataset, root=root), store)
        elif measure.kind == "retrieval":
            retrieval_run.check_request(retrieval_run.RetrievalRequest(dataset=dataset, root=root, limit=1), store)
        elif measure.kind == "questions":
            if dataset.task != "questions":
                raise CocaError(
                    f"--measures {measure.name}: {dataset.name} is for {dataset.task}; name a set with open questions, "
                    "such as scene-questions"
                )
            for split in ("train", dataset.splits[0]):
                select_questions(dataset, root, split, 1)
        else:
            probe_run.check_request(Measuring(request, Path(), seed, Reporter(quiet=True)).probing(measure), store)


@dataclass(frozen=True, slots=True)
class Measuring:
    """How one model is measured.

    Attributes:
        request: What the user asked.
        folder: The model's.
        seed: Of heads, as of the model.
        reporter: Shows progress.
    """

    request: AblationRequest
    folder: Path
    seed: int
    reporter: Reporter

    def measure(self, measure: Measure) -> float | None:
        """The number, in points; rows go into the store. None on all processes but the first.

        Raises:
            CocaError: Data are missing or broken; see the functions called.
        """
        if measure.kind == "questions":
            self._train_answers(measure)
        with joined_world(local_device(choose_device(self.request.base.device))) as world:
            reporter = self.reporter if world.first else Reporter(quiet=True)
            rows = self._rows(measure, reporter, world)
        if measure.kind == "questions" and rows:
            shutil.rmtree(self._answerer)  # the model once more, and a head whose score is known now
        return _value(measure, {row.metric: row.value for row in rows}) if rows else None

    def _rows(self, measure: Measure, reporter: Reporter, world: World) -> list[Result]:
        base, dataset = self.request.base, find_dataset(measure.dataset)
        store, root = Store(self.request.output / RESULTS), base.root
        if measure.kind == "zeroshot":
            zeroshot = zeroshot_run.ZeroShotRequest(
                dataset=dataset, root=root, reading=self._reading, limit=base.limit, seed=self.seed
            )
            return zeroshot_run.run_zeroshot(zeroshot, self._placed(self.folder), store, reporter, world)
        if measure.kind == "retrieval":
            retrieval = retrieval_run.RetrievalRequest(
                dataset=dataset, root=root, reading=self._reading, limit=base.limit, seed=self.seed
            )
            chosen = retrieval_run.check_request(retrieval, store)
            return retrieval_run.run_retrieval(retrieval, chosen, self._placed(self.folder), store, reporter, world)
        if measure.kind == "questions":
            return self._answers(measure, store, reporter, world)
        probing = self.probing(measure)
        parts, named = probe_run.check_request(probing, store), (str(self.folder), None, None)
        return probe_run.run_probe(probing, parts, self._placed(self.folder), named, store, reporter, world)

    def probing(self, measure: Measure) -> ProbeRequest:
        """A head on the frozen encoder: attentional on its patches, or linear on their mean."""
        heads, base, attentional = self.request.heads, self.request.base, measure.kind == "probe"
        return ProbeRequest(
            dataset=find_dataset(measure.dataset),
            root=base.root,
            head=HeadChoice.attentional if attentional else HeadChoice.linear,
            features=FeatureChoice.patches if attentional else FeatureChoice.mean,
            settings=(Setting(heads.learning_rate, 0.01),),
            recipe=HeadRecipe(
                steps=heads.steps,
                batch_size=heads.batch_size,
                warmup=WARMUP,
                optimizer=base.recipe.optimizer,
                ema=0.0,
                seed=self.seed,
            ),
            reading=self._reading,
            limit=base.limit,
        )

    def _train_answers(self, measure: Measure) -> None:
        """A pooler and a classifier on the frozen decoder."""
        heads, base = self.request.heads, self.request.base
        asked = UnderstandingRequest(
            dataset=find_dataset(measure.dataset),
            root=base.root,
            val_part=VAL_PART,
            model=str(self.folder),
            frozen=True,
            schedule=UnderstandingSchedule(
                steps=heads.steps,
                batch_size=heads.batch_size,
                learning_rate=0.0,
                head_learning_rate=heads.learning_rate,
                warmup=WARMUP,
                decay=base.recipe.decay,
                optimizer=base.recipe.optimizer,
                precision=base.recipe.precision,
                seed=self.seed,
            ),
            output=self._answerer,
            overwrite=True,
            device=base.device,
            limit=base.limit,
            workers=base.workers,
        )
        run_understanding(asked, self.reporter)

    def _answers(self, measure: Measure, store: Store, reporter: Reporter, world: World) -> list[Result]:
        base, folder = self.request.base, self._answerer
        head = load_understanding(folder)
        asking = understanding_run.UnderstandingEvalRequest(
            dataset=find_dataset(measure.dataset),
            root=base.root,
            limit=base.limit,
            workers=base.workers,
            seed=self.seed,
            save=folder / "answers.csv",
        )
        chosen = understanding_run.check_request(asking, head, store)
        return understanding_run.run_understanding(
            asking, chosen, head, self._placed(folder), store, reporter, world
        ).rows

    @property
    def _answerer(self) -> Path:
        """Where the model that answers lies for a while; its name stands in the results."""
        return self.folder / f"{self.folder.name}-questions"

    @property
    def _reading(self) -> Reading:
        return Reading(workers=self.request.base.workers)

    def _placed(self, folder: Path) -> Placed:
        base = self.request.base
        return place(load(str(folder)), base.device, base.recipe.precision)


def _value(measure: Measure, scores: dict[str, float]) -> float:
    """The one number of an evaluation that the paper's table has; of retrieval the mean of both ways."""
    if measure.kind == "retrieval":
        firsts = [value for metric, value in scores.items() if metric.endswith("recall@1")]
        return sum(firsts) / len(firsts)
    return scores["accuracy" if measure.kind == "questions" else "top-1"]
