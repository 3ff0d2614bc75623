from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from coca_cli.datasets import find_dataset
from coca_cli.datasets.example import Example
from coca_cli.errors import BadCheckpoint, BadExample, CocaError, MissingFile, UnknownName
from coca_cli.media.batches import Skipped, batches
from coca_cli.media.images import normalise
from coca_cli.model.coca import CoCa
from coca_cli.model.placement import Placed
from coca_cli.tasks.caption_scores import cider_of
from coca_cli.tasks.captioning import Writing, captioner_of, write_texts
from coca_cli.tasks.embedding import embed_pixels
from coca_cli.tasks.features import Features
from coca_cli.tasks.java_scorers import find_java
from coca_cli.tasks.zeroshot import build_classifier, evaluate
from coca_cli.training import evaluations as module
from coca_cli.training.evaluations import CaptionSet, PairSet, ZeroShotSet, open_sets, score
from tests.pictures import class_folders
from tests.tasks.tiny import tiny_placed
from tests.training.writer import COLOURS, LEARNED, coloured, writer

SAMPLES = Path(__file__).parents[1] / "samples"
NOWHERE = Path("nowhere")


@pytest.fixture(scope="module")
def placed() -> Placed:
    return tiny_placed()


@pytest.fixture(scope="module")
def scenes() -> PairSet:
    """Eight scenes with one to five short captions each, in turn."""
    found = list(itertools.islice(find_dataset("scenes").read(NOWHERE, "test"), 8))
    short = [
        Example(example.id, example.media, texts=tuple(f"{text[:12]} {i}" for text in example.texts[: 1 + i % 5]))
        for i, example in enumerate(found)
    ]
    return PairSet("scenes", short)


# --- opening ---


def test_sets_are_found_by_name_and_limited() -> None:
    digits, scenes = open_sets(["digits"], ["scenes"], NOWHERE, 7)
    assert isinstance(digits, ZeroShotSet)
    assert isinstance(scenes, PairSet)
    assert (digits.name, scenes.name) == ("digits", "scenes")
    assert [len(one.examples) for one in (digits, scenes)] == [7, 7]
    assert len(digits.prompts.class_names) == 10
    # the parts that are evaluated, not those that are trained on
    test = list(itertools.islice(find_dataset("scenes").read(NOWHERE, "test"), 7))
    assert [example.id for example in scenes.examples] == [example.id for example in test]


def test_a_folder_of_classes_and_a_table_of_pairs(tmp_path: Path) -> None:
    folder, table = class_folders(tmp_path / "pictures", per_class=3), SAMPLES / "pairs" / "pairs.csv"
    classes, captions = open_sets([f"folder:{folder}"], [str(table)], NOWHERE, None)
    assert isinstance(classes, ZeroShotSet)
    assert classes.prompts.class_names == ("cat", "dog")
    assert len(classes.examples) == 6
    assert len(captions.examples) == 3
    assert all(example.texts for example in captions.examples)


def test_sets_to_caption_are_found_as_those_to_retrieve() -> None:
    table = str(SAMPLES / "pairs" / "pairs.csv")
    pairs, *captioned = open_sets([], [table], NOWHERE, 2, captions=[table, "scenes"])
    assert [type(one) for one in captioned] == [CaptionSet, CaptionSet]
    assert [one.name for one in captioned] == [table, "scenes"]
    assert captioned[0].examples == pairs.examples
    assert [len(one.examples) for one in captioned] == [2, 2]
    (nocaps,) = open_sets([], [], SAMPLES / "nocaps", None, captions=["nocaps"])
    assert [example.id for example in nocaps.examples] == ["0", "1", "2", "3"]


def test_nothing_named_is_nothing_to_do(placed: Placed) -> None:
    assert open_sets([], [], NOWHERE, None) == []
    assert score(placed, []) == {}


def test_mistakes_are_refused_before_training_begins() -> None:
    with pytest.raises(CocaError, match="no captions in digits: --eval-retrieval takes pictures with captions"):
        open_sets([], ["digits"], NOWHERE, 5)
    with pytest.raises(CocaError, match="no captions in digits: --eval-caption takes pictures with captions"):
        open_sets([], [], NOWHERE, 5, captions=["digits"])
    with pytest.raises(CocaError, match="scenes has one picture with captions: CIDEr weighs words by the other pict"):
        open_sets([], [], NOWHERE, 1, captions=["scenes"])
    with pytest.raises(CocaError, match="scenes has no classes"):
        open_sets(["scenes"], [], NOWHERE, 5)
    with pytest.raises(UnknownName, match=r"Did you mean digits\?"):
        open_sets(["digit"], [], NOWHERE, 5)
    with pytest.raises(UnknownName, match=r"Did you mean scenes\?"):
        open_sets([], ["sceens"], NOWHERE, 5)
    with pytest.raises(UnknownName, match=r"Did you mean scenes\?"):
        open_sets([], [], NOWHERE, 5, captions=["sceens"])
    with pytest.raises(MissingFile):
        open_sets(["imagenet"], [], NOWHERE, 5)
    with pytest.raises(MissingFile):
        open_sets([], [], NOWHERE, 5, captions=["nocaps"])


# --- scores ---


def test_zero_shot_scores_are_those_of_the_benchmark(placed: Placed) -> None:
    (one,) = open_sets(["digits"], [], NOWHERE, 50)
    assert isinstance(one, ZeroShotSet)
    found = score(placed, [one], workers=0)
    data = batches(one.examples, placed.image, batch_size=7, skipped=Skipped(), workers=0, border=one.dataset.border)
    embedded = [Features(batch.examples, embed_pixels(placed, batch.pixels)) for batch in data]
    expected = evaluate(build_classifier(placed, one.prompts), embedded).scores
    assert found == pytest.approx(
        {"score": 100 * expected["top-1"].value}
        | {f"digits {name}": 100 * estimate.value for name, estimate in expected.items()}
    )
    assert 0 < found["digits top-1"] < found["digits top-5"] < 100


def pixels_of(placed: Placed, examples: Sequence[Example]) -> Tensor:
    (batch,) = batches(examples, placed.image, batch_size=len(examples), skipped=Skipped(), workers=0)
    return normalise(batch.pixels, placed.image)


def expected_recalls(placed: Placed, one: PairSet) -> dict[str, float]:
    """By sorting the whole matrix of similarities."""
    model = placed.model
    assert isinstance(model, CoCa)
    texts = [text for example in one.examples for text in example.texts]
    owner = torch.tensor([i for i, example in enumerate(one.examples) for _ in example.texts])
    with torch.inference_mode():
        images = F.normalize(model.encode_image(pixels_of(placed, one.examples)).embedding, dim=-1)
        similarities = images @ F.normalize(model.encode_text(placed.tokenizer.encode(texts)).embedding, dim=-1).T
    by_image = owner[similarities.argsort(dim=1, descending=True)]  # the picture of each text found
    by_text = similarities.T.argsort(dim=1, descending=True)
    found = {}
    for k in (1, 5, 10):
        right = (by_image[:, :k] == torch.arange(len(one.examples))[:, None]).any(dim=1)
        found[f"scenes image-to-text recall@{k}"] = 100 * right.float().mean().item()
        right = (by_text[:, :k] == owner[:, None]).any(dim=1)
        found[f"scenes text-to-image recall@{k}"] = 100 * right.float().mean().item()
    return found


def expected_caption_loss(placed: Placed, one: PairSet, batch_size: int, *, shuffled: bool) -> float:
    """Torch's cross-entropy over all tokens of all captions, each with one picture."""
    model = placed.model
    assert isinstance(model, CoCa)
    pixels = pixels_of(placed, one.examples)
    total, count = 0.0, 0
    for i, example in enumerate(one.examples):
        start = i - i % batch_size
        size = min(batch_size, len(one.examples) - start)
        other = start + (i - start + size // 2) % size if shuffled else i
        for text in example.texts:
            tokens = placed.tokenizer.encode([text])
            with torch.inference_mode():
                logits = model(pixels[other : other + 1], tokens).logits
            total += F.cross_entropy(logits[0], tokens[0, 1:], ignore_index=0, reduction="sum").item()
            count += int((tokens[0, 1:] != 0).sum())
    return total / count


@pytest.mark.parametrize("batch_size", [64, 3, 4])
def test_retrieval_and_caption_loss_by_hand(
    placed: Placed, scenes: PairSet, batch_size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BATCH_SIZE", batch_size)
    found = score(placed, [scenes], workers=0)
    recalls = expected_recalls(placed, scenes)
    for name, expected in recalls.items():
        assert found[name] == pytest.approx(expected, abs=1e-4), name
    assert found["score"] == pytest.approx(sum(recalls.values()) / 6, abs=1e-4)
    for name, shuffled in (("scenes caption loss", False), ("scenes caption loss, pictures shuffled", True)):
        expected = expected_caption_loss(placed, scenes, min(batch_size, 8), shuffled=shuffled)
        assert found[name] == pytest.approx(expected, abs=1e-4), name
    assert found["scenes caption loss"] != found["scenes caption loss, pictures shuffled"]
    assert found.keys() == {
        "score",
        *recalls,
        "scenes caption loss",
        "scenes caption loss, pictures shuffled",
    }


def test_the_score_is_the_mean_over_the_sets(placed: Placed, scenes: PairSet) -> None:
    (digits,) = open_sets(["digits"], [], NOWHERE, 20)
    apart = [score(placed, [one], workers=0) for one in (digits, scenes)]
    together = score(placed, [digits, scenes], workers=2)
    assert together["score"] == pytest.approx((apart[0]["score"] + apart[1]["score"]) / 2)
    assert together == pytest.approx(apart[0] | apart[1] | {"score": together["score"]})


def test_scores_do_not_change_the_model(placed: Placed, scenes: PairSet) -> None:
    before = {name: value.clone() for name, value in placed.model.state_dict().items()}
    first = score(placed, [scenes], workers=0)
    assert score(placed, [scenes], workers=0) == first
    assert all(torch.equal(value, before[name]) for name, value in placed.model.state_dict().items())
    assert all(p.grad is None for p in placed.model.parameters())


def test_a_damaged_set_is_an_error(placed: Placed, scenes: PairSet, tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_text("no picture")
    broken = Example("broken", (tmp_path / "broken.jpg",), texts=("never",))
    with pytest.raises(BadExample, match="1 of 9 examples cannot be read"):
        score(placed, [PairSet("scenes", [*scenes.examples, broken])], workers=0)


# --- captions ---

HALF_RIGHT = (
    (LEARNED[0], "a dog"),
    ("a green hat is in it",),
    (LEARNED[2],),
    ("nothing of the kind", "a bright sun"),
    ("it is dark",),
    (LEARNED[5], "snow", "a white wall"),
)
"""Captions by people, of which the writer's are sometimes one."""


def expected_cider(placed: Placed, one: CaptionSet) -> float:
    pixels = next(batches(one.examples, placed.image, batch_size=99, skipped=Skipped(), workers=0)).pixels
    captions = write_texts(captioner_of(placed), Writing(), pixels)
    written = {example.id: texts[0].text for example, texts in zip(one.examples, captions, strict=True)}
    assert tuple(written.values()) == LEARNED
    return 100 * cider_of(written, {example.id: example.texts for example in one.examples}, find_java(None))


@pytest.mark.parametrize("batch_size", [64, 4])
def test_cider_is_that_of_the_captions_that_the_model_writes(batch_size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BATCH_SIZE", batch_size)
    placed, one = writer(), CaptionSet("colours", coloured(*HALF_RIGHT))
    found = score(placed, [one], workers=0)
    assert found == pytest.approx({"score": found["score"], "colours CIDEr": expected_cider(placed, one)})
    assert 100 < found["colours CIDEr"] < 900
    assert found["score"] == found["colours CIDEr"]


def test_the_captions_that_were_learned_have_the_highest_cider() -> None:
    assert score(writer(), [CaptionSet("colours", coloured())], workers=0)["score"] == pytest.approx(1000)


def test_where_sets_are_captioned_the_score_is_their_mean_cider() -> None:
    """Whatever else is looked at."""
    right, wrong = CaptionSet("right", coloured()), CaptionSet("half", coloured(*HALF_RIGHT))
    (digits,) = open_sets(["digits"], [], NOWHERE, 10)
    found = score(writer(), [digits, right, PairSet("pairs", coloured()), wrong], workers=0)
    assert found["right CIDEr"] > found["half CIDEr"] + 100
    assert found["score"] == pytest.approx((found["right CIDEr"] + found["half CIDEr"]) / 2)
    assert {"digits top-1", "pairs caption loss", "pairs image-to-text recall@1"} < found.keys()


@pytest.mark.parametrize(("count", "shown"), [(6, ["red", "blue", "black"]), (4, ["red", "green", "blue"]), (2, None)])
def test_a_few_captions_are_shown_of_the_same_pictures_each_time(count: int, shown: list[str] | None) -> None:
    one, lines = CaptionSet("colours", coloured(*HALF_RIGHT)[:count]), list[str]()
    score(writer(), [one], workers=0, show=lines.append)
    names = shown or list(COLOURS)[:count]
    learned = dict(zip(COLOURS, LEARNED, strict=True))
    by_people = {example.id: example.texts[0] for example in one.examples}
    assert lines == [f"  {name}: {learned[name]!r}, by people: {by_people[name]!r}" for name in names]
    score(writer(), [one], workers=0, show=lines.append)
    assert lines[: len(names)] == lines[len(names) :]


def test_writing_does_not_change_the_model() -> None:
    placed, one = writer(), CaptionSet("colours", coloured()[:2])
    before = {name: value.clone() for name, value in placed.model.state_dict().items()}
    score(placed, [one], workers=0)
    assert all(torch.equal(value, before[name]) for name, value in placed.model.state_dict().items())
    assert not placed.model.training


def test_a_model_without_a_decoder_s_tokenizer_writes_nothing(placed: Placed) -> None:
    with pytest.raises(BadCheckpoint, match="tiny has no text decoder and writes no captions: give a CoCa"):
        score(placed, [CaptionSet("colours", coloured())], workers=0)


def test_a_damaged_set_to_caption_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_text("no picture")
    broken = Example("broken", (tmp_path / "broken.jpg",), texts=("never",))
    with pytest.raises(BadExample, match="1 of 7 examples cannot be read"):
        score(writer(), [CaptionSet("colours", [*coloured(), broken])], workers=0)
