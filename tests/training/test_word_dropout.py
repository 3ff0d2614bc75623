"""Words that the text side does not read: which, and that what it must write stays."""

from __future__ import annotations

import pytest
import torch

from coca_cli.errors import CocaError
from coca_cli.model.tokenizer import ClipTokenizer, SentencePieceTokenizer, train_sentencepiece
from coca_cli.options import Parallel
from coca_cli.training.batches import Position, TrainingBatch, WordDropout
from coca_cli.training.loop import Execution
from coca_cli.training.pair_work import split_batch
from coca_cli.training.word_dropout import check_word_dropout, hide_words
from coca_cli.world import SINGLE, World
from tests.model.small_models import small_coca
from tests.training.pictures import examples_of, pairs
from tests.training.test_batches import draw

UNKNOWN = SentencePieceTokenizer.unk_id


@pytest.fixture(scope="module")
def tokenizer() -> SentencePieceTokenizer:
    return SentencePieceTokenizer(train_sentencepiece(["a red square", "one blue circle here"], 40), context=10)


def test_begin_end_and_padding_are_never_hidden() -> None:
    tokens = torch.tensor([[1, 9, 8, 7, 2, 0], [1, 5, 2, 0, 0, 0]])
    everywhere = torch.ones(2, 10, dtype=torch.bool)
    assert hide_words(tokens, everywhere).tolist() == [[1, 3, 3, 3, 2, 0], [1, 3, 2, 0, 0, 0]]
    assert hide_words(tokens, ~everywhere).equal(tokens)


@pytest.mark.parametrize("rate", [0.15, 0.6])
def test_so_many_places_are_hidden(rate: float) -> None:
    found = draw(pairs(examples_of(40)), 20, word_dropout=WordDropout(rate, 50))
    hidden = torch.cat([batch.hidden for batch in found if batch.hidden is not None])
    assert hidden.shape == (80, 50)
    assert hidden.float().mean().item() == pytest.approx(rate, abs=0.03)
    assert len({tuple(row) for row in hidden.tolist()}) == 80  # other places in the next epoch


def test_none_without_it() -> None:
    (batch,) = draw(pairs(examples_of(8)), 1)
    assert batch.hidden is None


def test_processes_hide_the_same_words_as_one() -> None:
    words = WordDropout(0.5, 12)
    (whole,) = draw(pairs(examples_of(8)), 1, word_dropout=words)
    parts = [draw(pairs(examples_of(8)), 1, word_dropout=words, world=World(rank, 2))[0].hidden for rank in range(2)]
    assert whole.hidden is not None
    assert torch.cat([part for part in parts if part is not None]).equal(whole.hidden)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_text_side_reads_unknown_words_and_must_write_the_right_ones(
    tokenizer: SentencePieceTokenizer, accumulate: int
) -> None:
    model = small_coca()
    execution = Execution(
        device=torch.device("cpu"),
        world=SINGLE,
        parallel=Parallel.ddp,
        accumulate=accumulate,
        peak=1.0,
    )
    captions = ["a red square", "one blue circle here"]
    pixels = torch.zeros(2, 3, 24, 24, dtype=torch.uint8)
    hidden = torch.zeros(2, 10, dtype=torch.bool)
    hidden[1, 1:3] = True
    plain, dropped = (
        split_batch(
            TrainingBatch(pixels, captions, [], ["a", "b"], Position([2], 1), {}, h), model, tokenizer, execution
        )
        for h in (None, hidden)
    )
    assert len(dropped) == accumulate
    for one, other in zip(plain, dropped, strict=True):
        for name in ("rows", "caption_rows", "targets"):
            assert getattr(one.texts, name).equal(getattr(other.texts, name))
    before, after = (parts[-1].texts.tokens[-1] for parts in (plain, dropped))
    assert (before != after).nonzero().flatten().tolist() == [1, 2]
    assert after[1:3].tolist() == [UNKNOWN, UNKNOWN]


def test_a_vocabulary_without_an_unknown_word_is_refused(tokenizer: SentencePieceTokenizer) -> None:
    check_word_dropout(0.5, tokenizer)
    check_word_dropout(0.0, ClipTokenizer(10))
    with pytest.raises(CocaError, match=r"--word-dropout 0\.5 puts the unknown word in the place of others"):
        check_word_dropout(0.5, ClipTokenizer(10))


def test_places_follow_from_the_seed() -> None:

    words = WordDropout(0.5, 12)
    first = draw(pairs(examples_of(12)), 4, word_dropout=words)
    again = draw(pairs(examples_of(12)), 4, word_dropout=words)
    for one, other in zip(first, again, strict=True):
        assert one.hidden is not None
        assert other.hidden is not None
        assert one.hidden.equal(other.hidden)
