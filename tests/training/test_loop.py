from __future__ import annotations

import io
import itertools
import json
import math
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from coca_cli.datasets.example import Example
from coca_cli.datasets.sources import find_source
from coca_cli.errors import CocaError
from coca_cli.media.batches import Skipped
from coca_cli.media.images import normalise
from coca_cli.model.coca import CoCa
from coca_cli.model.config import tiny_config
from coca_cli.model.tokenizer import SentencePieceTokenizer, train_sentencepiece
from coca_cli.options import DecayChoice, OptimizerChoice
from coca_cli.progress import Reporter
from coca_cli.training.augment import Augmentation
from coca_cli.training.loop import Recipe, StepReport, open_log, train
from coca_cli.training.optim import learning_rate_at
from coca_cli.training.pairs import TrainingBatch, training_batches

ONE_LAYER = ("vision.layers=1", "text.unimodal_layers=1", "text.multimodal_layers=1")
RECIPE = Recipe(steps=6, batch_size=8, learning_rate=2e-3, warmup=0.5)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def scenes() -> list[Example]:
    """Eight pictures with one caption each."""
    found = itertools.islice(find_source("scenes", Path("nowhere")).read(), 8)
    return [replace(example, texts=example.texts[:1]) for example in found]


@pytest.fixture(scope="module")
def tokenizer(scenes: list[Example]) -> SentencePieceTokenizer:
    return SentencePieceTokenizer(train_sentencepiece([text for s in scenes for text in s.texts], 120), context=64)


def new_model(tokenizer: SentencePieceTokenizer, seed: int = 0) -> CoCa:
    torch.manual_seed(seed)
    return CoCa(tiny_config(tokenizer.vocab_size, image_size=16, context=64).with_changes(ONE_LAYER))


def run(
    model: CoCa, tokenizer: SentencePieceTokenizer, scenes: list[Example], recipe: Recipe = RECIPE, **options: Any
) -> list[StepReport]:
    log = options.pop("log", None) or io.StringIO()
    reporter = options.pop("reporter", None) or Reporter(quiet=True)
    augmentation = options.pop("augmentation", Augmentation(min_area=1.0))
    with closing(batches_of(scenes, model, augmentation, recipe)) as data:
        return list(train(model, tokenizer, data, recipe, CPU, reporter, log))


def batches_of(
    scenes: list[Example], model: CoCa, augmentation: Augmentation, recipe: Recipe
) -> Iterator[TrainingBatch]:
    return training_batches(
        scenes,
        model.config.image,
        augmentation,
        batch_size=recipe.batch_size,
        seed=recipe.seed,
        skipped=Skipped(),
        workers=0,
    )


def test_eight_pictures_are_learnt_by_heart(scenes: list[Example], tokenizer: SentencePieceTokenizer) -> None:
    model = new_model(tokenizer)
    recipe = Recipe(steps=120, batch_size=8, learning_rate=3e-3, optimizer=OptimizerChoice.adamw, warmup=0.1)
    reports = run(model, tokenizer, scenes, recipe)
    first, last = reports[0], reports[-1]
    assert first.contrastive == pytest.approx(math.log(8), abs=0.5)  # chance
    assert first.caption > 0.6 * math.log(tokenizer.vocab_size)
    assert last.contrastive < 0.1
    assert last.caption < 0.2
    with closing(batches_of(scenes, model, Augmentation(min_area=1.0), recipe)) as data:
        batch = next(data)
    tokens = tokenizer.encode(batch.captions)
    with torch.inference_mode():
        output = model.eval()(normalise(batch.pixels, model.config.image), tokens)
    nearest = (output.text_embedding @ output.image_embedding.T).argmax(dim=1)
    assert nearest.tolist() == list(range(8))
    for caption, ids in zip(batch.captions, output.logits.argmax(dim=-1).tolist(), strict=True):
        assert tokenizer.decode(ids) == tokenizer.decode(tokenizer.encode([caption])[0, 1:].tolist())


def test_one_seed_gives_one_course(scenes: list[Example], tokenizer: SentencePieceTokenizer) -> None:
    recipe = replace(RECIPE, batch_size=4)
    options = {"augmentation": Augmentation(min_area=0.5, flip=True)}
    first = run(new_model(tokenizer), tokenizer, scenes, recipe, **options)
    again = run(new_model(tokenizer), tokenizer, scenes, recipe, **options)
    other = run(new_model(tokenizer), tokenizer, scenes, replace(recipe, seed=1), **options)
    assert [report.loss for report in again] == [report.loss for report in first]
    assert [report.loss for report in other] != [report.loss for report in first]


def test_every_step_is_one_json_line(scenes: list[Example], tokenizer: SentencePieceTokenizer, tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text("an older run\n")
    with open_log(tmp_path) as log:
        reports = run(new_model(tokenizer), tokenizer, scenes, replace(RECIPE, batch_size=4), log=log)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert lines == [asdict(report) for report in reports]
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6]
    assert [line["epoch"] for line in lines] == [0, 0, 1, 1, 2, 2]
    for line in lines:
        assert line["loss"] == pytest.approx(line["contrastive"] + 2 * line["caption"], abs=1e-4)
        assert line["temperature"] == pytest.approx(0.07, abs=0.01)
        assert line["gradient_norm"] > 0
        assert line["pairs_per_second"] > 0


def test_a_line_is_there_as_soon_as_its_step_is_done(
    scenes: list[Example], tokenizer: SentencePieceTokenizer, tmp_path: Path
) -> None:
    model = new_model(tokenizer)
    with open_log(tmp_path) as log, closing(batches_of(scenes, model, Augmentation(), RECIPE)) as data:
        next(train(model, tokenizer, data, RECIPE, CPU, Reporter(quiet=True), log))
        assert json.loads((tmp_path / "metrics.jsonl").read_text())["step"] == 1


@pytest.mark.parametrize("decay", list(DecayChoice))
def test_the_rate_follows_the_schedule(
    scenes: list[Example], tokenizer: SentencePieceTokenizer, decay: DecayChoice
) -> None:
    reports = run(new_model(tokenizer), tokenizer, scenes, replace(RECIPE, decay=decay))
    expected = [learning_rate_at(step, steps=6, warmup=3, peak=2e-3, decay=decay) for step in range(6)]
    assert [report.learning_rate for report in reports] == expected


def test_a_rate_of_zero_moves_nothing(scenes: list[Example], tokenizer: SentencePieceTokenizer) -> None:
    model = new_model(tokenizer)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    run(model, tokenizer, scenes, replace(RECIPE, learning_rate=0.0))
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, before[name], msg=name)
    run(model, tokenizer, scenes, RECIPE)
    assert all(not torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_gradients_are_clipped_to_a_norm(scenes: list[Example], tokenizer: SentencePieceTokenizer) -> None:
    for clip, expected in ((0.25, 0.25), (0.0, None)):
        model = new_model(tokenizer)
        (report,) = run(model, tokenizer, scenes, replace(RECIPE, steps=1, clip=clip))
        norm = nn.utils.get_total_norm([p.grad for p in model.parameters() if p.grad is not None]).item()
        assert report.gradient_norm > 1  # as it was before
        assert norm == pytest.approx(expected or report.gradient_norm, rel=1e-3)


def test_the_temperature_stays_within_bounds(scenes: list[Example], tokenizer: SentencePieceTokenizer) -> None:
    model = new_model(tokenizer)
    with torch.no_grad():
        model.log_scale.fill_(8.0)
    reports = run(model, tokenizer, scenes, replace(RECIPE, steps=1))
    assert model.log_scale.item() <= math.log(100) + 1e-6
    assert reports[-1].temperature == pytest.approx(0.01)


@pytest.mark.parametrize("loss_weights", [(1.0, 0.0), (0.0, 2.0), (0.5, 3.0)])
def test_the_losses_have_the_weights_of_the_recipe(
    scenes: list[Example], tokenizer: SentencePieceTokenizer, loss_weights: tuple[float, float]
) -> None:
    contrastive, caption = loss_weights
    recipe = replace(RECIPE, steps=1, contrastive_weight=contrastive, caption_weight=caption)
    (report,) = run(new_model(tokenizer), tokenizer, scenes, recipe)
    assert report.loss == pytest.approx(contrastive * report.contrastive + caption * report.caption, abs=1e-4)


def test_bf16_means_autocast_with_fp32_weights(scenes: list[Example], tokenizer: SentencePieceTokenizer) -> None:
    whole = run(new_model(tokenizer), tokenizer, scenes)
    model = new_model(tokenizer)
    half = run(model, tokenizer, scenes, replace(RECIPE, precision="bf16"))
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert [report.loss for report in half] != [report.loss for report in whole]
    for found, expected in zip(half, whole, strict=True):
        assert found.loss == pytest.approx(expected.loss, abs=0.15)


def test_captions_are_trimmed_to_the_longest_of_the_batch(
    scenes: list[Example], tokenizer: SentencePieceTokenizer
) -> None:
    model = new_model(tokenizer)
    lengths: list[int] = []
    model.text.register_forward_pre_hook(lambda _, arguments: lengths.append(arguments[0].shape[1]))
    run(model, tokenizer, scenes, replace(RECIPE, steps=1))
    longest = (tokenizer.encode([text for scene in scenes for text in scene.texts]) != 0).sum(dim=1).max().item()
    assert lengths == [longest]
    assert longest < 64


def test_a_loss_that_is_no_number_stops_the_training(scenes: list[Example], tokenizer: SentencePieceTokenizer) -> None:
    model, log = new_model(tokenizer), io.StringIO()
    with torch.no_grad():
        model.image.vit.patches.weight.fill_(math.nan)
    before = model.text.embedding.weight.clone()
    message = r"the loss is nan at step 1 \(learning rate 6\.67e-04\): training stopped\. Use a lower --learning-rate"
    with pytest.raises(CocaError, match=message):
        run(model, tokenizer, scenes, log=log)
    assert torch.equal(model.text.embedding.weight, before)
    assert log.getvalue() == ""


def test_progress_shows_both_losses(scenes: list[Example], tokenizer: SentencePieceTokenizer) -> None:
    reporter, shown = Reporter(quiet=True), list[str]()
    model = new_model(tokenizer)
    with closing(batches_of(scenes, model, Augmentation(), RECIPE)) as data:
        for report in train(model, tokenizer, data, RECIPE, CPU, reporter, io.StringIO()):
            shown.append(reporter.detail)
            assert f"contrastive {report.contrastive:.2f}, caption {report.caption:.2f}" in reporter.detail
    assert len(set(shown)) > 1
    assert reporter.detail == ""


def test_a_recipe_is_plain_data() -> None:
    assert json.loads(json.dumps(RECIPE.to_dict())) == {
        "steps": 6,
        "batch_size": 8,
        "learning_rate": 2e-3,
        "warmup": 0.5,
        "decay": "linear",
        "optimizer": "adafactor",
        "weight_decay": 0.01,
        "clip": 1.0,
        "contrastive_weight": 1.0,
        "caption_weight": 2.0,
        "precision": "fp32",
        "seed": 0,
    }
