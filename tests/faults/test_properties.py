"""What holds for any table, any ranking and any model, tried on examples that hypothesis thinks of."""

from __future__ import annotations

import csv
import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from coca_cli.datasets import find_dataset
from coca_cli.model.decoding import write_captions
from coca_cli.model.decoding_cache import DecodingCache
from coca_cli.model.decoding_terms import Decoding
from coca_cli.options import DecodingMethod
from coca_cli.tasks.classification import classification_scores, rank_classes
from coca_cli.tasks.intervals import wilson
from coca_cli.tasks.retrieval import retrieval_ranks, retrieval_scores
from coca_cli.tasks.vqa_accuracy import vqa_accuracy
from tests.faults.judging import NAMED, outcome
from tests.faults.pictures import encoded, photograph
from tests.model.small_models import BUILDS, small_coca
from tests.model.test_decoding import NUMBERS, image_tokens
from tests.model.uncached import Uncached

quick = settings(
    max_examples=40, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
written = st.text(min_size=1, max_size=40)


def texts_in(file: Path) -> int:
    dataset = find_dataset(f"captions:{file}")
    found = list(dataset.read(file.parent, "all"))
    for example in found:
        "".join((example.id, *example.texts)).encode()
    return sum(len(example.texts) for example in found)


def folder_with_a_picture() -> tempfile.TemporaryDirectory[str]:
    folder = tempfile.TemporaryDirectory()
    (Path(folder.name) / "a.jpg").write_bytes(encoded(photograph(), "JPEG"))
    return folder


@quick
@given(st.lists(written, min_size=1, max_size=5, unique_by=str.strip))
def test_a_table_that_csv_wrote_is_read_whole_or_named(captions: list[str]) -> None:
    with folder_with_a_picture() as folder:
        file = Path(folder) / "t.csv"
        with file.open("w", newline="", encoding="utf-8", errors="surrogatepass") as lines:
            csv.writer(lines).writerows([("image", "caption"), *(("a.jpg", caption) for caption in captions)])
        found = outcome(lambda: texts_in(file))
        assert found.count in (sum(map(bool, map(str.strip, captions))), NAMED)  # blank ones are no captions
        if found.count == NAMED:
            assert "t.csv" in found.message


@quick
@given(st.lists(written, min_size=1, max_size=5, unique_by=str.strip))
def test_lines_that_json_wrote_are_read_whole_or_named(captions: list[str]) -> None:
    with folder_with_a_picture() as folder:
        file = Path(folder) / "t.jsonl"
        file.write_text("".join(json.dumps({"image": "a.jpg", "caption": caption}) + "\n" for caption in captions))
        found = outcome(lambda: texts_in(file))
        assert found.count in (sum(map(bool, map(str.strip, captions))), NAMED)


@quick
@given(st.binary(max_size=300), st.sampled_from(["t.csv", "t.tsv", "t.jsonl", "t.json", "t.parquet"]))
def test_any_bytes_are_read_or_named(content: bytes, name: str) -> None:
    with folder_with_a_picture() as folder:
        file = Path(folder) / name
        file.write_bytes(content)
        found = outcome(lambda: texts_in(file))
        assert found.count >= 0 or name in found.message


@quick
@given(st.integers(1, 10_000), st.data())
def test_an_interval_holds_the_rate_and_stays_between_nothing_and_all(n: int, data: st.DataObject) -> None:
    hits = data.draw(st.integers(0, n))
    found = wilson(hits, n)
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert found.value == hits / n
    other = wilson(n - hits, n)
    assert other.low == pytest.approx(1 - found.high)


@quick
@given(st.integers(1, 12), st.integers(1, 3), st.integers(0, 2**31))
def test_recall_grows_with_k_and_does_not_care_for_order(pictures: int, captions: int, seed: int) -> None:
    torch.manual_seed(seed)
    images = torch.nn.functional.normalize(torch.randn(pictures, 6), dim=-1)
    texts = torch.nn.functional.normalize(torch.randn(pictures * captions, 6), dim=-1)
    owner = torch.arange(pictures).repeat_interleave(captions)
    scores = retrieval_scores(retrieval_ranks(images, texts, owner))
    for noun in {name.split(" recall")[0] for name in scores}:
        values = [scores[name].value for name in sorted(scores, key=lambda n: int(n.split("@")[1])) if noun in name]
        assert values == sorted(values)
    order = torch.randperm(len(texts))
    turned = retrieval_scores(retrieval_ranks(images, texts[order], owner[order]))
    assert {name: score.value for name, score in turned.items()} == pytest.approx(
        {name: score.value for name, score in scores.items()}
    )


@quick
@given(st.integers(1, 30), st.integers(2, 8), st.integers(0, 2**31))
def test_accuracy_does_not_care_for_the_names_of_classes(n: int, classes: int, seed: int) -> None:
    torch.manual_seed(seed)
    logits, labels, order = torch.randn(n, classes), torch.randint(classes, (n,)), torch.randperm(classes)
    one = classification_scores(rank_classes(logits), labels, classes)
    renamed = torch.empty_like(order).scatter_(0, order, torch.arange(classes))
    other = classification_scores(rank_classes(logits[:, order]), renamed[labels], classes)
    assert {name: score.value for name, score in one.items()} == pytest.approx(
        {name: score.value for name, score in other.items()}
    )


@quick
@given(st.text(max_size=20), st.lists(st.text(max_size=20), min_size=10, max_size=10), st.randoms())
def test_an_answer_scores_alike_whatever_the_order_of_people(said: str, answers: list[str], chance: object) -> None:
    found = vqa_accuracy(said, answers)
    assert 0 <= found <= 1
    assert vqa_accuracy(said, answers[::-1]) == pytest.approx(found)


@quick
@given(
    st.sampled_from(sorted(BUILDS)),
    st.integers(1, 6),
    st.integers(1, 4),
    st.integers(1, 8),
    st.integers(0, 3),
    st.floats(0, 2),
    st.floats(1, 2),
    st.integers(0, 1000),
)
def test_a_cache_changes_no_caption(
    build: str, pictures: int, beams: int, longest: int, least: int, power: float, penalty: float, seed: int
) -> None:
    model = small_coca(*BUILDS[build], seed=seed)
    tokens = image_tokens(model, pictures, seed)
    decoding = Decoding(
        method=DecodingMethod.beam,
        beams=beams,
        n_best=beams,
        max_length=longest,
        min_length=min(least, longest),
        length_penalty=power,
        repetition_penalty=penalty,
    )
    one, other = (write_captions(model, tokens, NUMBERS, decoding, build=b) for b in (DecodingCache, Uncached))
    for found, expected in zip(one, other, strict=True):
        assert [caption.tokens for caption in found] == [caption.tokens for caption in expected]
        np.testing.assert_allclose([c.score for c in found], [c.score for c in expected], atol=1e-4)
