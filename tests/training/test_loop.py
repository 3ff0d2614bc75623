from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import nn

from coca_cli.datasets.example import Example
from coca_cli.datasets.sources import find_source
from coca_cli.errors import CocaError
from coca_cli.media.images import normalise
from coca_cli.model.coca import CoCa
from coca_cli.model.config import tiny_config
from coca_cli.model.tokenizer import SentencePieceTokenizer, train_sentencepiece
from coca_cli.options import DecayChoice, OptimizerChoice, Parallel
from coca_cli.progress import Reporter
from coca_cli.training.augment import Augmentation
from coca_cli.training.batches import Position, TrainingBatch, training_batches
from coca_cli.training.checkpoints import TrainingState
from coca_cli.training.ema import Ema
from coca_cli.training.loop import Execution, StepReport, train
from coca_cli.training.mixture import Feed, Mixture
from coca_cli.training.objective import Objective, Weights
from coca_cli.training.optim import build_optimizer, learning_rate_at
from coca_cli.training.pair_work import PairWork, split_batch
from coca_cli.training.schedule import Recipe
from coca_cli.training.utilisation import StepCost
from coca_cli.world import SINGLE
from tests.training.pictures import pairs

ONE_LAYER = ("vision.layers=1", "text.unimodal_layers=1", "text.multimodal_layers=1")
RECIPE = Recipe(steps=6, batch_size=8, learning_rate=2e-3, warmup=0.5)
CPU = torch.device("cpu")
WHOLE = Augmentation(min_area=1.0)


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


class Run(NamedTuple):
    """What a test holds of a training run."""

    reports: list[StepReport]
    positions: list[Position]
    state: TrainingState


def start(
    model: CoCa,
    tokenizer: SentencePieceTokenizer,
    data: Iterator[TrainingBatch],
    recipe: Recipe = RECIPE,
    **options: Any,
) -> tuple[PairWork, Iterator[tuple[StepReport, Position]]]:
    optimizer = build_optimizer(model, recipe.optimizer, recipe.learning_rate, recipe.weight_decay)
    state = TrainingState(model, optimizer, Ema(model, recipe.ema) if recipe.ema else None)
    execution = Execution(
        device=CPU,
        world=SINGLE,
        parallel=Parallel.ddp,
        accumulate=options.get("accumulate", 1),
        peak=options.get("peak", 1e9),
    )
    objective = Objective(model, mixed=recipe.precision == "bf16")
    reporter, folder = options.get("reporter") or Reporter(quiet=True), options.get("folder", Path("nowhere"))
    work = PairWork(
        state=state,
        model=model,
        objective=objective,
        tokenizer=tokenizer,
        weights=Weights(recipe.contrastive_weight, recipe.caption_weight),
        execution=execution,
        cost=options.get("cost", StepCost(1000, 10)),
        mask_equal_texts=recipe.mask_equal_texts,
    )
    return work, train(work, data, recipe, execution, reporter, folder)


def run(
    model: CoCa, tokenizer: SentencePieceTokenizer, scenes: list[Example], recipe: Recipe = RECIPE, **options: Any
) -> Run:
    with closing(batches_of(scenes, model, options.pop("augmentation", WHOLE), recipe)) as data:
        work, steps = start(model, tokenizer, data, recipe, **options)
        found = list(steps)
    return Run([report for report, _ in found], [position for _, position in found], work.state)


def batches_of(
    scenes: list[Example], model: CoCa, augmentation: Augmentation, recipe: Recipe = RECIPE
) -> Iterator[TrainingBatch]:
    mixture = Mixture([Feed(pairs(scenes, "scenes"), 0, recipe.seed)], [1.0], recipe.seed)
    return training_batches(mixture, augmentation.view(model.config.image), batch_size=recipe.batch_size, workers=0)


# --- what is learnt ---


def test_eight_pictures_are_learnt_by_heart(scenes: list[Example], tokenizer: SentencePieceTokenizer) -> None:
    model = new_model(tokenizer)
    recipe = Recipe(steps=120, batch_size=8, learning_rate=3e-3, optimizer=OptimizerChoice.adamw, warmup=0.1)
    reports = run(model, tokenizer, scenes, recipe).reports
    first, last = reports[0], reports[-1]
    assert first.parts["contrastive"] == pytest.approx(math.log(8), abs=0.5)  # chance
    assert first.parts["caption"] > 0.6 * math.log(tokenizer.vocab_size)
    assert last.parts["contrastive"] < 0.1
    assert last.parts["caption"] < 0.2
    with closing(batches_of(scenes, model, WHOLE)) as data:
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
    first = run(new_model(tokenizer), tokenizer, scenes, recipe, **options).reports
    again = run(new_model(tokenizer), tokenizer, scenes, recipe, **options).reports
    other = run(new_model(tokenizer), tokenizer, scenes, replace(recipe, seed=1), **options).reports
    assert [report.loss for report in again] == [report.loss for report in first]
    assert [report.loss for report in other] != [report.loss for report in first]


@pytest.mark.parametrize("parts", [2, 8])
def test_parts_give_the_course_of_the_whole_batch(
    scenes: list[Example], tokenizer: SentencePieceTokenizer, parts: int
) -> None:
    whole = run(new_model(tokenizer), tokenizer, scenes).reports
    model, rows = new_model(tokenizer), list[int]()
    model.image.register_forward_pre_hook(lambda _, arguments: rows.append(len(arguments[0])))
    found = run(model, tokenizer, scenes, accumulate=parts).reports
    assert set(rows) == {8 // parts}
    for one, other in zip(found, whole, strict=True):
        assert one.loss == pytest.approx(other.loss, abs=2e-4)
        assert one.gradient_norm == pytest.approx(other.gradient_norm, rel=1e-3)


def test_a_batch_is_split_into_parts_row_by_row(scenes: list[Example], tokenizer: SentencePieceTokenizer) -> None:
    model = new_model(tokenizer)
    with closing(batches_of(scenes, model, WHOLE)) as data:
        batch = next(data)
    execution = Execution(device=CPU, world=SINGLE, parallel=Parallel.ddp, accumulate=4, peak=1.0)
    parts = split_batch(batch, model, tokenizer, execution)
    assert torch.cat([part.pixels for part in parts]).equal(batch.pixels)
    tokens = tokenizer.encode(batch.captions)
    for number, part in enumerate(parts):
        length = part.texts.tokens.shape[1]  # each part is as long as its own longest text
        assert torch.equal(part.texts.tokens, tokens[2 * number : 2 * number + 2, :length])
        assert not tokens[2 * number : 2 * number + 2, length:].any()
    assert len({part.texts.tokens.shape[1] for part in parts}) > 1


@pytest.mark.parametrize("decay", list(DecayChoice))
def test_the_rate_follows_the_schedule(
    scenes: list[Example], tokenizer: SentencePieceTokenizer, decay: DecayChoice
) -> None:
    reports = run(new_model(tokenizer), tokenizer, scenes, replace(RECIPE, decay=decay)).reports
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
        (report,) = run(model, tokenizer, scenes, replace(RECIPE, steps=1, clip=clip)).reports
        norm = nn.utils.get_total_norm([p.grad for p in model.parameters() if p.grad is not None]).item()
        assert report.gradient_norm > 1  # as it was before
        assert norm == pytest.approx(expected or report.gradient_norm, rel=1e-3)


def test_the_temperature_stays_within_bounds(scenes: list[Example], tokenizer: SentencePieceTokenizer) -> None:
    model = new_model(tokenizer)
    with torch.no_grad():
        model.log_scale.fill_(8.0)
    reports = run(model, tokenizer, scenes, replace(RECIPE, steps=1)).reports
    assert model.log_scale.item() <= math.log(100) + 1e-6
    assert reports[-1].parts["temperature"] == pytest.approx(0.01)


@pytest.mark.parametrize("loss_weights", [(1.0, 0.0), (0.0, 2.0), (0.5, 3.0)])
@pytest.mark.parametrize("parts", [1, 2])
def test_the_losses_have_the_weights_of_the_recipe(
    scenes: list[Example], tokenizer: SentencePieceTokenizer, loss_weights: tuple[float, float], parts: int
) -> None:
    contrastive, caption = loss_weights
    recipe = replace(RECIPE, steps=1, contrastive_weight=contrastive, caption_weight=caption)
    (report,) = run(new_model(tokenizer), tokenizer, scenes, recipe, accumulate=parts).reports
    assert ("caption" in report.parts) == bool(caption)
    assert report.loss == pytest.approx(
        contrastive * report.parts["contrastive"] + caption * report.parts.get("caption", 0), abs=1e-4
    )


@pytest.mark.parametrize("parts", [1, 2])
def test_equal_captions_are_no_negatives_where_that_is_asked(
    scenes: list[Example], tokenizer: SentencePieceTokenizer, parts: int
) -> None:
    """Six of eight pictures have one caption."""
    same = [replace(scene, texts=scenes[0].texts) if number < 6 else scene for number, scene in enumerate(scenes)]
    plain, masked = (
        run(
            new_model(tokenizer),
            tokenizer,
            same,
            replace(RECIPE, steps=1, mask_equal_texts=asked),
            accumulate=parts,
        ).reports[0]
        for asked in (False, True)
    )
    assert masked.parts["contrastive"] < plain.parts["contrastive"] - 0.3
    assert masked.parts["caption"] == pytest.approx(plain.parts["caption"], abs=1e-6)


def test_bf16_means_autocast_with_fp32_weights(scenes: list[Example], tokenizer: SentencePieceTokenizer) -> None:
    whole = run(new_model(tokenizer), tokenizer, scenes).reports
    model = new_model(tokenizer)
    half = run(model, tokenizer, scenes, replace(RECIPE, precision="bf16")).reports
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert [report.loss for report in half] != [report.loss for report in whole]
    for found, expected in zip(half, whole, strict=True):
        assert found.loss == pytest.approx(expected.loss, abs=0.15)


def test_the_moving_average_follows_every_step(scenes: list[Example], tokenizer: SentencePieceTokenizer) -> None:
    model = new_model(tokenizer)
    expected = {name: p.detach().clone() for name, p in model.named_parameters()}
    with closing(batches_of(scenes, model, WHOLE)) as data:
        work, steps = start(model, tokenizer, data, replace(RECIPE, ema=0.5))
        for report, _ in steps:
            stays = min(0.5, (1 + report.step) / (10 + report.step))
            for name, parameter in model.named_parameters():
                expected[name] = stays * expected[name] + (1 - stays) * parameter.detach()
    assert work.state.ema is not None
    for name, average in work.state.ema.weights.items():
        torch.testing.assert_close(average, expected[name], atol=1e-6, rtol=0, msg=name)
    assert not torch.equal(work.state.ema.weights["text.embedding.weight"], model.text.embedding.weight)


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


# --- what is told ---


def test_a_report_and_a_position_after_every_step(scenes: list[Example], tokenizer: SentencePieceTokenizer) -> None:
    found = run(new_model(tokenizer), tokenizer, scenes, replace(RECIPE, batch_size=4))
    assert [report.step for report in found.reports] == [1, 2, 3, 4, 5, 6]
    assert found.positions == [Position([4 * batch], batch) for batch in range(1, 7)]
    assert found.state.step == 6
    for report in found.reports:
        assert report.loss == pytest.approx(report.parts["contrastive"] + 2 * report.parts["caption"], abs=1e-4)
        assert report.parts["temperature"] == pytest.approx(0.07, abs=0.01)
        assert report.gradient_norm > 0
        assert report.per_second > 0


def test_training_goes_on_from_the_states_step(scenes: list[Example], tokenizer: SentencePieceTokenizer) -> None:
    """One state, stopped in between: rates and losses are those of a run that was never stopped."""
    expected = run(new_model(tokenizer), tokenizer, scenes, replace(RECIPE, batch_size=4)).reports
    model = new_model(tokenizer)
    recipe = replace(RECIPE, batch_size=4)
    with closing(batches_of(scenes, model, WHOLE, recipe)) as data:
        work, steps = start(model, tokenizer, data, recipe)
        first = [next(steps)[0] for _ in range(2)]
        steps.close()  # type: ignore[attr-defined]
        assert work.state.step == 2
        later = train(work, data, recipe, work.execution, Reporter(quiet=True), Path("nowhere"))
        rest = [report for report, _ in later]
    for found, right in zip([*first, *rest], expected, strict=True):
        assert (found.step, found.loss, found.learning_rate) == (right.step, right.loss, right.learning_rate)


def test_utilisation_is_the_work_by_time_and_peak(
    scenes: list[Example], tokenizer: SentencePieceTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = itertools.count()
    monkeypatch.setattr("coca_cli.training.loop.time.perf_counter", lambda: 2.0 * next(clock))  # a step takes 2 s
    tokens = tokenizer.encode([text for scene in scenes for text in scene.texts])
    words = int((tokens != 0).sum()) + 8  # and a [CLS] each
    cost, peak = StepCost(picture=1000, word=10), 1e5
    for parts in (1, 4):
        found = run(new_model(tokenizer), tokenizer, scenes, accumulate=parts, cost=cost, peak=peak)
        for report in found.reports:
            assert report.utilisation == pytest.approx(3 * (8 * 1000 + words * 10) / 2 / peak, abs=1e-4)
            assert report.per_second == 4.0


def test_progress_shows_both_losses(scenes: list[Example], tokenizer: SentencePieceTokenizer) -> None:
    reporter, shown = Reporter(quiet=True), list[str]()
    model = new_model(tokenizer)
    with closing(batches_of(scenes, model, Augmentation())) as data:
        _, steps = start(model, tokenizer, data, reporter=reporter)
        for report, _ in steps:
            shown.append(reporter.detail)
            assert (
                f"contrastive {report.parts['contrastive']:.2f}, caption {report.parts['caption']:.2f}"
                in reporter.detail
            )
            assert f"{report.utilisation:.0%} of peak" in reporter.detail
    assert len(set(shown)) > 1
    assert reporter.detail == ""


# --- numbers that are none ---


def test_a_loss_that_is_no_number_stops_the_training(
    scenes: list[Example], tokenizer: SentencePieceTokenizer, tmp_path: Path
) -> None:
    model = new_model(tokenizer)
    with torch.no_grad():
        model.image.vit.patches.weight.fill_(math.nan)
    before = model.text.embedding.weight.clone()
    message = r"the loss is nan at step 1 \(learning rate 6\.67e-04\): training stopped, and the last checkpoint is as"
    with pytest.raises(CocaError, match=message) as caught:
        run(model, tokenizer, scenes, folder=tmp_path)
    assert torch.equal(model.text.embedding.weight, before)
    described = json.loads((tmp_path / "bad_batch.json").read_text())
    assert (described["step"], described["total"]) == (1, "nan")
    assert sorted(described["examples"]) == sorted(f"scenes: {scene.id}" for scene in scenes)
    assert f"The batch's 8 examples stand in {tmp_path / 'bad_batch.json'} (scenes: " in str(caught.value)


def test_a_gradient_that_is_no_number_stops_the_training(
    scenes: list[Example], tokenizer: SentencePieceTokenizer, tmp_path: Path
) -> None:
    model = new_model(tokenizer)
    model.log_scale.register_hook(lambda gradient: gradient * math.inf)
    with pytest.raises(CocaError, match="the gradient's norm is inf at step 1"):
        run(model, tokenizer, scenes, folder=tmp_path)
    described = json.loads((tmp_path / "bad_batch.json").read_text())
    assert described["gradient_norm"] == "inf"
    assert math.isfinite(float(described["total"]))


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
        "ema": 0.0,
        "word_dropout": 0.0,
        "mask_equal_texts": False,
        "seed": 0,
    }
