"""What a benchmark asks of data and model, task by task: what there is to do, which models can do it, doing it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, NamedTuple

from coca_cli.datasets.example import Example
from coca_cli.datasets.selection import (
    hash_questions,
    hash_texts,
    select_labelled,
    select_prompts,
    select_questions,
)
from coca_cli.errors import CocaError
from coca_cli.options import DecodingMethod, FeatureChoice, HeadChoice
from coca_cli.progress import Reporter
from coca_cli.results import Result
from coca_cli.store import Store
from coca_cli.suites.candidates import Bound, Candidate, Kind
from coca_cli.suites.command_options import Benchmark
from coca_cli.suites.requests import (
    caption_request,
    classification_request,
    probe_request,
    retrieval_request,
    understanding_request,
    zeroshot_request,
)
from coca_cli.tasks import caption_eval_run, classification_run, retrieval_run, understanding_run, zeroshot_run
from coca_cli.tasks.feature_store import stamp_of
from coca_cli.training import probe_run
from coca_cli.world import World

JAVA_SECONDS = 15.0
"""What the tokenizer and METEOR take to start; their work on top of that is small."""
FRAMES = 16
LOOKED_AT = 50_000
"""Files of a set that are looked at, to see whether they are as before."""


class Survey(NamedTuple):
    """What there is to do.

    Attributes:
        split: Which part of the dataset.
        examples: What is scored.
        absent: Clips whose files are missing.
        pictures: Pictures and frames that the encoder sees.
        texts: Texts that are embedded.
        passes: Texts that go through both decoder halves at once.
        words: Words that are written, one after another.
        looks: Pictures and frames that heads are trained on, once for each head and step.
        fixed: Seconds that depend on nothing of these.
        data: Hash of the examples and their files, see `hash_examples`.
    """

    split: str
    examples: int
    absent: int = 0
    pictures: int = 0
    texts: int = 0
    passes: int = 0
    words: int = 0
    looks: int = 0
    fixed: float = 0.0
    data: str = ""


class Scored(NamedTuple):
    """How a benchmark ended.

    Attributes:
        rows: Appended to the store; none where answers are kept back, and on other processes than the first.
        saved: The captions or answers that were written.
    """

    rows: list[Result]
    saved: Path | None = None


class Work(ABC):
    """One benchmark's work.

    Args:
        benchmark: Which.
    """

    needs: ClassVar[str]
    kinds: ClassVar[tuple[Kind, ...]]

    def __init__(self, benchmark: Benchmark) -> None:
        self.benchmark = benchmark
        self.frames = benchmark.values.get("frames", FRAMES) if benchmark.dataset.media == "video" else 1

    @abstractmethod
    def survey(self, store: Store) -> Survey:
        """Look what there is to do, without a model.

        Raises:
            MissingFile: The data are not there.
            CocaError: They are damaged, or the benchmark makes no sense.
        """

    def suits(self, kind: Kind) -> bool:
        """Whether a model of this kind can do it."""
        resized = kind is Kind.open_clip and self.benchmark.values.get("image_size") is not None
        return kind in self.kinds and not resized

    def refusal(self, candidate: Candidate, store: Store) -> str:
        """Why a model of the right kind cannot do it all the same, as of other classes; empty where it can."""
        return ""

    @abstractmethod
    def run(self, bound: Bound, store: Store, reporter: Reporter, world: World) -> Scored:
        """Do it, as the task's own command does.

        Raises:
            CocaError: See the functions called.
        """


class ZeroShot(Work):
    """`coca eval zeroshot`."""

    needs = "a CoCa, or any other open_clip model"
    kinds = (Kind.coca, Kind.open_clip, Kind.hub)

    def survey(self, store: Store) -> Survey:
        """Pictures and prompts."""
        request = zeroshot_request(self.benchmark)
        zeroshot_run.check_request(request, store)
        found = select_labelled(request.dataset, request.root, request.split, request.limit)
        prompts = select_prompts(request.dataset, request.root, request.class_names, request.templates)
        texts = len(prompts.class_names) * len(prompts.templates)
        examples = len(found.examples)
        return Survey(
            found.split,
            examples,
            len(found.absent),
            pictures=examples * self.frames,
            texts=texts,
            data=hash_examples(found.examples),
        )

    def run(self, bound: Bound, store: Store, reporter: Reporter, world: World) -> Scored:
        """Top-1, top-5, mean per-class recall."""
        return Scored(zeroshot_run.run_zeroshot(zeroshot_request(self.benchmark), bound.placed, store, reporter, world))


class Retrieval(Work):
    """`coca eval retrieval`."""

    needs = "a CoCa, or any other open_clip model"
    kinds = (Kind.coca, Kind.open_clip, Kind.hub)

    def survey(self, store: Store) -> Survey:
        """Pictures and captions."""
        chosen = retrieval_run.check_request(retrieval_request(self.benchmark), store)
        examples, texts = len(chosen.examples), sum(len(example.texts) for example in chosen.examples)
        pictures, data = examples * self.frames, hash_examples(chosen.examples)
        return Survey(chosen.protocol.split, examples, len(chosen.absent), pictures=pictures, texts=texts, data=data)

    def run(self, bound: Bound, store: Store, reporter: Reporter, world: World) -> Scored:
        """Recall both ways."""
        request = retrieval_request(self.benchmark)
        chosen = retrieval_run.check_request(request, store)
        return Scored(retrieval_run.run_retrieval(request, chosen, bound.placed, store, reporter, world))


class Caption(Work):
    """`coca eval caption`."""

    needs = "a CoCa, best one that coca finetune caption wrote"
    kinds = (Kind.coca, Kind.hub)

    def survey(self, store: Store) -> Survey:
        """Pictures, and words to write."""
        request = caption_request(self.benchmark)
        chosen = caption_eval_run.check_request(request, store)
        search = request.writing.decoding
        beams = search.beams if search.method is DecodingMethod.beam else 1
        examples = len(chosen.examples)
        return Survey(
            chosen.split,
            examples,
            len(chosen.absent),
            pictures=examples * self.frames,
            words=examples * beams * search.max_length,
            fixed=JAVA_SECONDS,
            data=hash_examples(chosen.examples),
        )

    def run(self, bound: Bound, store: Store, reporter: Reporter, world: World) -> Scored:
        """CIDEr and the others."""
        request = caption_request(self.benchmark)
        chosen = caption_eval_run.check_request(request, store)
        done = caption_eval_run.run_caption_eval(request, chosen, bound.placed, store, reporter, world)
        if done.saved is not None:
            reporter.notice(f"captions: {done.saved}")
        return Scored(done.rows, done.saved)


class Probe(Work):
    """`coca probe`."""

    needs = "a CoCa (with head = linear or knn on embeddings any other open_clip model, too)"
    kinds = (Kind.coca, Kind.hub)

    def suits(self, kind: Kind) -> bool:
        """Embeddings are what every model has."""
        values = self.benchmark.values
        if kind is Kind.open_clip and values["image_size"] is None and values["head"] is not HeadChoice.attentional:
            return values["features"] in (None, FeatureChoice.embedding)
        return super().suits(kind)

    def survey(self, store: Store) -> Survey:
        """All parts, and what heads look at."""
        request = probe_request(self.benchmark)
        parts = probe_run.check_request(request, store)
        known = [part for part in (parts.train, parts.val, parts.test) if part is not None]
        pictures = sum(len(part.examples) for part in known) * self.frames
        recipe, looks = request.recipe, 0
        if request.head is HeadChoice.attentional:
            steps = recipe.steps
            if request.epochs is not None:
                steps = round(request.epochs * len(parts.train.examples) / recipe.batch_size)
            seen = steps * recipe.batch_size * self.frames
            looks = seen * len(request.settings)
            pictures += seen if request.augmentation.changes else 0
        absent = sum(len(part.absent) for part in known)
        data = hash_examples([example for part in known for example in part.examples])
        return Survey(parts.test.split, len(parts.test.examples), absent, pictures=pictures, looks=looks, data=data)

    def run(self, bound: Bound, store: Store, reporter: Reporter, world: World) -> Scored:
        """Top-1, top-5, mean per-class recall of the head that was chosen."""
        request, candidate = probe_request(self.benchmark), bound.candidate
        parts = probe_run.check_request(request, store)
        named = (candidate.model, candidate.pretrained, self.benchmark.values["image_size"])
        return Scored(probe_run.run_probe(request, parts, bound.placed, named, store, reporter, world))


class Classification(Work):
    """`coca eval classification`."""

    needs = "the folder of a classifier with the dataset's classes, which coca probe -o or coca finetune wrote"
    kinds = (Kind.classifier,)

    def survey(self, store: Store) -> Survey:
        """Pictures or clips, and each look at a clip."""
        dataset, values = self.benchmark.dataset, self.benchmark.values
        found = select_labelled(dataset, values["data_root"], values["split"], values["limit"])
        examples = len(found.examples)
        pictures = examples * self.frames * values["views"] * values["crops"]
        data = hash_examples(found.examples)
        return Survey(found.split, examples, len(found.absent), pictures=pictures, data=data)

    def refusal(self, candidate: Candidate, store: Store) -> str:
        """The classes must be the classifier's."""
        assert candidate.classifier is not None
        request = classification_request(self.benchmark, candidate.classifier.described)
        try:
            classification_run.check_request(request, candidate.classifier, store)
        except CocaError as error:
            return first_line(error)
        return ""

    def run(self, bound: Bound, store: Store, reporter: Reporter, world: World) -> Scored:
        """Top-1, top-5, mean per-class recall."""
        saved = bound.candidate.classifier
        assert saved is not None
        request = classification_request(self.benchmark, saved.described)
        return Scored(classification_run.run_classification(request, saved, bound.placed, store, reporter, world))


class Understanding(Work):
    """`coca eval understanding`."""

    needs = "a folder that coca finetune vqa, snli-ve or nlvr2 wrote, for this kind of questions"
    kinds = (Kind.understanding,)

    def survey(self, store: Store) -> Survey:
        """Pictures, each once, and questions."""
        request = understanding_request(self.benchmark)
        split = request.split or request.dataset.splits[0]
        examples = select_questions(request.dataset, request.root, split, request.limit)
        pictures = len({medium for example in examples for medium in map(str, example.media)})
        passes, data = len(examples) * request.dataset.pictures, hash_examples(examples)
        return Survey(split, len(examples), pictures=pictures, passes=passes, data=data)

    def refusal(self, candidate: Candidate, store: Store) -> str:
        """Task, number of pictures and answers must be the head's."""
        request = understanding_request(self.benchmark)
        try:
            understanding_run.check_request(request, candidate.understanding, store)
        except CocaError as error:
            return first_line(error)
        return ""

    def run(self, bound: Bound, store: Store, reporter: Reporter, world: World) -> Scored:
        """Accuracy."""
        request, saved = understanding_request(self.benchmark), bound.candidate.understanding
        chosen = understanding_run.check_request(request, saved, store)
        done = understanding_run.run_understanding(request, chosen, saved, bound.placed, store, reporter, world)
        if done.saved is not None:
            reporter.notice(f"answers: {done.saved}")
        if done.usual is not None:
            reporter.notice(f"the most frequent training answers alone would reach {100 * done.usual:.2f}")
        return Scored(done.rows, done.saved)


def hash_examples(examples: Sequence[Example]) -> str:
    """Short hash of what examples say and of their files' sizes and times; of large sets of evenly spread files."""
    shown = examples[:: max(1, len(examples) // LOOKED_AT)]
    files = hash_texts(stamp for example in shown for stamp in stamp_of(example))
    return f"{hash_questions(examples)}-{files}"


def first_line(error: BaseException) -> str:
    """What an error says, in one line; half a sentence that goes on in the next lines is left out."""
    line, _, more = str(error).partition("\n")
    line = line.strip()
    if more and not line.endswith("."):
        line = line.rpartition(". ")[0] or line
    return line or type(error).__name__


WORKS: dict[str, type[Work]] = {
    "zeroshot": ZeroShot,
    "retrieval": Retrieval,
    "caption": Caption,
    "probe": Probe,
    "classification": Classification,
    "understanding": Understanding,
}
