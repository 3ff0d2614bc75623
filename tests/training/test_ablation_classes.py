"""Pretraining by classification: what it learns, from what it begins, what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from coca_cli.datasets.example import Example
from coca_cli.datasets.sources import Source
from coca_cli.errors import CocaError
from coca_cli.model.checkpoint import load_folder
from coca_cli.model.config import tiny_config
from coca_cli.progress import Reporter
from coca_cli.training import training_run
from coca_cli.training.ablation_classes import build_classifier, class_cost, class_places, run_classes
from coca_cli.training.ablation_cost import mean_words, step_seconds, variant_cost
from coca_cli.training.ablation_plan import make_plan, pretraining_of
from coca_cli.training.ablation_variants import Variant
from coca_cli.training.metrics_log import read_metrics
from coca_cli.training.mixture import Feed, Mixture
from coca_cli.training.pretrain_request import PretrainRequest
from coca_cli.training.pretrain_run import run_pretrain
from coca_cli.training.schedule import Recipe
from tests.tasks.tiny import LetterTokenizer
from tests.training.ablations import ablation

QUIET = Reporter(quiet=True)
CONFIG = tiny_config(50, image_size=16)


@pytest.fixture(autouse=True)
def _no_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_run, "measured_peak", lambda device, mixed: 1e9)


def trainings(output: Path, recipe: Recipe) -> tuple[PretrainRequest, PretrainRequest]:
    """By classes, and by captions."""
    request = ablation(output, ("8a",), recipe=recipe, seeds=1, save_every=1)
    classes, captions = make_plan(request).runs
    return pretraining_of(request, classes), pretraining_of(request, captions)


def test_classes_are_learned(tmp_path: Path) -> None:
    recipe = Recipe(steps=25, batch_size=16, learning_rate=5e-3, warmup=0.1, precision="fp32")
    classes, _ = trainings(tmp_path, recipe)
    trained = run_classes(classes, QUIET)
    assert trained is not None
    lines = read_metrics(classes.output)
    assert lines[0]["classes"] == pytest.approx(2.303, abs=0.1)  # of ten classes, nothing known
    assert trained.last.parts["classes"] < 0.7 * lines[0]["classes"]
    model = load_folder(classes.output).model
    assert model.config.vision.width == 32
    assert run_classes(classes, QUIET) == trained  # it is finished


def test_both_ways_begin_with_one_encoder_and_see_the_same_pictures(tmp_path: Path) -> None:
    """A step that moves nothing leaves the beginning."""
    classes, captions = trainings(tmp_path, Recipe(steps=1, batch_size=8, learning_rate=0.0, precision="fp32"))
    assert run_classes(classes, QUIET) is not None
    assert run_pretrain(captions, QUIET) is not None
    one, other = (load_file(request.output / "model.safetensors") for request in (classes, captions))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_the_text_side_stays_as_it_began(tmp_path: Path) -> None:
    classes, captions = trainings(tmp_path, Recipe(steps=2, batch_size=8, learning_rate=1e-2, precision="fp32"))
    run_classes(classes, QUIET)
    found = load_file(classes.output / "model.safetensors")
    torch.manual_seed(0)
    model = type(load_folder(classes.output).model)(load_folder(classes.output).model.config)
    began = model.state_dict()
    moved = {name for name, weight in found.items() if not torch.equal(weight, began[name])}
    assert moved
    assert all(name.startswith("image.vit.") for name in moved)
    assert captions.recipe.caption_weight == 2.0


def source(examples: list[Example], **more: object) -> Mixture:
    found = Source(name="mine", kind="labels", read=lambda: iter(examples), templates=("{c}",), **more)  # type: ignore[arg-type]
    return Mixture([Feed(found, 0, 0)], [1.0], 0)


def test_classes_are_all_names_in_the_alphabets_order() -> None:
    examples = [Example(id="a", media=(), texts=("dog", "cat")), Example(id="b", media=(), texts=("ant",))]
    assert class_places(source(examples)) == {"ant": 0, "cat": 1, "dog": 2}


def test_one_class_and_streams_are_refused() -> None:
    with pytest.raises(CocaError, match="table 8a needs labelled pictures of two classes at least, and there is dog"):
        class_places(source([Example(id="a", media=(), texts=("dog",))]))
    with pytest.raises(CocaError, match="the classes of mine cannot be known before all of it has been read"):
        class_places(source([], streams=("pipe:x",), read_stream=lambda _: iter(())))


# --- costs ---


def cost(variant: Variant, *changes: str) -> tuple[float, int]:
    found = variant_cost(CONFIG.with_changes(changes), variant, batch_size=8, words=9, classes=10)
    return found.operations, found.parameters


def test_what_is_left_out_costs_nothing() -> None:
    both = cost(Variant(name="both"))
    contrastive = cost(Variant(name="contrastive", caption_weight=0.0))
    captioning = cost(Variant(name="captioning", contrastive_weight=0.0))
    classes = cost(Variant(name="classes", classes=True))
    assert classes < contrastive < captioning
    assert captioning[0] == both[0]  # the contrastive loss is looked at
    assert captioning[1] < both[1]
    assert cost(Variant(name="parallel"), "pooler.wiring=parallel")[1] == both[1]
    assert cost(Variant(name="none"), "pooler.queries=0")[1] < both[1]


def test_of_classes_the_image_side_and_the_head_are_trained() -> None:
    found = class_cost(CONFIG, 10)
    model = build_classifier(CONFIG, 10)
    expected = [*model.coca.image.vit.parameters(), *model.head.parameters()]
    assert found.parameters == sum(p.numel() for p in expected)
    assert found.operations > 0


def test_seconds_are_the_median_of_the_steps(tmp_path: Path) -> None:
    lines = [f'{{"step": {n}, "pictures_per_second": {rate}}}\n' for n, rate in enumerate((0.01, 10, 8, 9, 0.5))]
    (tmp_path / "metrics.jsonl").write_text("".join(lines))
    assert step_seconds(tmp_path) == pytest.approx(1 / 8)
    (tmp_path / "metrics.jsonl").write_text("")
    with pytest.raises(CocaError, match="is gone or empty; --overwrite trains it"):
        step_seconds(tmp_path)


def test_words_are_counted_in_the_texts_themselves() -> None:
    request = ablation(Path("there"), data=("digits",)).base
    found = mean_words(request, LetterTokenizer(), 0)
    prompts = [f"the digit {word}." for word in ("zero", "one")]
    assert len(prompts[1]) < found <= 24  # the longest prompts fill all positions
