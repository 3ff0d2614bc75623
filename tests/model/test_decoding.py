from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from coca_cli.errors import CocaError
from coca_cli.model.coca import CoCa
from coca_cli.model.decoding import prompt_words, write_captions
from coca_cli.model.decoding_cache import DecodingCache
from coca_cli.model.decoding_terms import Caption, Decoding
from coca_cli.model.tokenizer import pad_ids, words_before_end
from coca_cli.options import DecodingMethod
from tests.model.small_models import BUILDS, small_coca
from tests.model.uncached import Uncached

BEGIN, END, PAD = 1, 2, 0
SEARCHES = {
    "one beam": Decoding(beams=1),
    "three beams, all shown": Decoding(beams=3, n_best=3),
    "six beams by length": Decoding(beams=6, n_best=2, length_penalty=1.0, min_length=3, repetition_penalty=1.3),
    "greedy": Decoding(method=DecodingMethod.greedy),
    "top p": Decoding(method=DecodingMethod.sample, n_best=3, top_p=0.9, seed=1),
    "top k": Decoding(method=DecodingMethod.sample, n_best=2, top_k=5, temperature=0.7),
    "open_clip": Decoding(method=DecodingMethod.open_clip),
}


class NumberTokenizer:
    """Texts of numbers, each its own token."""

    bos_id, eos_id, pad_id = BEGIN, END, PAD

    def __init__(self, context: int = 10, vocab_size: int = 50) -> None:
        self.context, self.vocab_size = context, vocab_size

    def encode(self, texts: Sequence[str]) -> Tensor:
        rows = [[int(word) for word in text.split()] for text in texts]
        return pad_ids(rows, bos=BEGIN, eos=END, pad=PAD, context=self.context)

    def decode(self, ids: Sequence[int]) -> str:
        return " ".join(map(str, words_before_end(ids, bos=BEGIN, eos=END, pad=PAD)))

    def save(self, folder: object) -> None:
        raise NotImplementedError


NUMBERS, FEW = NumberTokenizer(), NumberTokenizer(vocab_size=12)


@torch.no_grad()
def image_tokens(model: CoCa, pictures: int = 5, seed: int = 0) -> Tensor:
    torch.manual_seed(seed)
    return model.encode_image(torch.randn(pictures, 3, 24, 24)).tokens


def tokens_of(found: list[list[Caption]]) -> list[list[tuple[int, ...]]]:
    return [[caption.tokens for caption in captions] for captions in found]


def scores_of(found: list[list[Caption]]) -> list[float]:
    return [caption.score for captions in found for caption in captions]


# --- the cache ---


@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize("build", BUILDS)
def test_cached_and_uncached_decoding_write_the_same(build: str, search: str) -> None:
    decoding = SEARCHES[search]
    for seed, prefix in ((0, ""), (1, "5 0 7")):  # with a padding id inside the beginning, as CLIP's "!" is one
        model = small_coca(*BUILDS[build], seed=seed)
        pictures = image_tokens(model)
        cached = write_captions(model, pictures, NUMBERS, decoding, prefix=prefix)
        uncached = write_captions(model, pictures, NUMBERS, decoding, prefix=prefix, build=Uncached)
        assert tokens_of(cached) == tokens_of(uncached)
        assert scores_of(cached) == pytest.approx(scores_of(uncached), abs=1e-3)


@pytest.mark.parametrize("search", SEARCHES)
def test_a_batch_gives_the_captions_of_its_pictures_one_by_one(search: str) -> None:
    model = small_coca(seed=3)
    pictures, keys = image_tokens(model), [7, 8, 9, 10, 11]
    together = write_captions(model, pictures, NUMBERS, SEARCHES[search], keys=keys)
    alone = [
        write_captions(model, pictures[i : i + 1], NUMBERS, SEARCHES[search], keys=keys[i : i + 1])[0] for i in range(5)
    ]
    assert tokens_of(together) == tokens_of(alone)
    assert len({str(captions) for captions in tokens_of(together)}) > 1, "all pictures alike: nothing is shown"


def test_texts_that_change_their_parents_equal_whole_texts() -> None:
    model = small_coca(*BUILDS["open_clip, legacy mask"], seed=5)
    pictures = image_tokens(model, 2)
    texts, whole = (build(model, pictures, 3, 10) for build in (DecodingCache, Uncached))
    prompt = torch.tensor([BEGIN, 9])
    with torch.no_grad():
        torch.testing.assert_close(texts.begin(prompt), whole.begin(prompt), atol=1e-5, rtol=1e-4)
        for step in range(6):
            tokens = torch.randint(0, 50, (2, 3), generator=torch.Generator().manual_seed(step))
            parents = torch.tensor([[2, 0, 0], [1, 1, 2]]) if step % 2 else None
            found, wanted = texts.extend(tokens, parents), whole.extend(tokens, parents)
            torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-4)
        for state in (texts, whole):
            state.keep(torch.tensor([1]))
        tokens = torch.tensor([[4, 0, 6]])
        torch.testing.assert_close(texts.extend(tokens), whole.extend(tokens), atol=1e-5, rtol=1e-4)


def test_pictures_that_are_done_leave_the_batch() -> None:
    model, sizes = small_coca("text.vocab_size=12", seed=7), []

    class Counting(DecodingCache):
        def extend(self, tokens: Tensor, parents: Tensor | None = None) -> Tensor:
            sizes.append(len(tokens))
            return super().extend(tokens, parents)

    pictures = image_tokens(model, 12)
    found = write_captions(model, pictures, FEW, Decoding(beams=2), build=Counting)
    lengths = [len(captions[0].tokens) for captions in found]
    assert min(lengths) < max(lengths)
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > sizes[-1]
    assert tokens_of(found) == tokens_of(write_captions(model, pictures, FEW, Decoding(beams=2), build=Uncached))


def test_no_pictures_have_no_captions() -> None:
    model = small_coca()
    assert write_captions(model, image_tokens(model)[:0], NUMBERS, Decoding()) == []


# --- beam search ---


def every_text(model: CoCa, picture: Tensor, decoding: Decoding, vocabulary: int) -> list[Caption]:
    """All texts that there are, the best first."""
    allowed = [token for token in range(vocabulary) if token not in (BEGIN, PAD, END)]
    found = []
    with torch.no_grad():
        for length in range(decoding.max_length + 1):
            for words in itertools.product(allowed, repeat=length):
                ended = [*words, END] if length < decoding.max_length else [*words]
                if length < decoding.min_length:
                    continue
                row = torch.tensor([BEGIN, *ended])
                whole = Uncached(model, picture, 1, 10)
                whole.written = row[None, None, :-1]
                text = model.encode_text(row[None, :-1])
                logits = model.decoder(text.hidden, picture)[0].double()
                total = float(logits.log_softmax(-1).gather(1, row[1:, None]).sum())
                found.append(Caption(words, total / len(ended) ** decoding.length_penalty))
    return sorted(found, key=lambda caption: -caption.score)


@pytest.mark.parametrize("penalty", [0.0, 1.0, 0.6, -0.5])
@pytest.mark.parametrize("least", [1, 2])
def test_beam_search_that_holds_all_texts_equals_exhaustive_search(penalty: float, least: int) -> None:
    vocabulary = 7
    numbers = NumberTokenizer(vocab_size=vocabulary)
    for seed in range(2):
        model = small_coca(f"text.vocab_size={vocabulary}", seed=seed)
        with torch.no_grad():
            model.decoder.to_vocab.weight.mul_(3)  # so that ends at all lengths are among the best
        pictures = image_tokens(model, 2, seed)
        decoding = Decoding(beams=4**3, n_best=8, length_penalty=penalty, min_length=least, max_length=3)
        found = write_captions(model, pictures, numbers, decoding)
        for picture, captions in zip(pictures, found, strict=True):
            wanted = every_text(model, picture[None], decoding, vocabulary)[:8]
            assert [c.tokens for c in captions] == [c.tokens for c in wanted]
            assert [c.score for c in captions] == pytest.approx([c.score for c in wanted], abs=1e-4)


def test_scores_are_sums_of_log_probabilities_with_the_end() -> None:
    model = small_coca(seed=2)
    pictures = image_tokens(model)
    for decoding in (Decoding(beams=3, n_best=3), Decoding(method=DecodingMethod.greedy)):
        for row, captions in enumerate(write_captions(model, pictures, NUMBERS, decoding)):
            for tokens, score in captions:
                ended = [*tokens, END] if len(tokens) < 9 else [*tokens]  # ten positions with the beginning
                ids = torch.tensor([[BEGIN, *ended]])
                with torch.no_grad():
                    logits = model.decoder(model.encode_text(ids[:, :-1]).hidden, pictures[row : row + 1])
                total = logits.log_softmax(-1).gather(2, ids[:, 1:, None]).sum()
                assert score == pytest.approx(float(total), abs=1e-4)


def test_captions_come_best_first_and_differ() -> None:
    model = small_coca(seed=4)
    for captions in write_captions(model, image_tokens(model), NUMBERS, Decoding(beams=5, n_best=5)):
        assert [c.score for c in captions] == sorted((c.score for c in captions), reverse=True)
        assert len({c.tokens for c in captions}) == 5


def test_more_beams_find_no_worse_captions_on_the_whole() -> None:
    model = small_coca(seed=1)
    pictures = image_tokens(model, 20)
    few, many = (scores_of(write_captions(model, pictures, NUMBERS, Decoding(beams=n))) for n in (1, 16))
    assert sum(many) > sum(few)


def test_a_vocabulary_smaller_than_the_beams_gives_what_there_is() -> None:
    model = small_coca("text.vocab_size=4", seed=0)
    decoding = Decoding(beams=6, n_best=6, max_length=2)
    for captions in write_captions(model, image_tokens(model), NumberTokenizer(vocab_size=4), decoding):
        assert sorted(c.tokens for c in captions) == [(3,), (3, 3)]


# --- one token after the other ---


def test_greedy_takes_the_most_probable_token_each_time() -> None:
    model = small_coca(seed=6)
    pictures = image_tokens(model, 3)
    found = write_captions(model, pictures, NUMBERS, Decoding(method=DecodingMethod.greedy, max_length=6))
    for row, (caption,) in enumerate(found):
        ids = [BEGIN]
        while len(ids) < 7:
            with torch.no_grad():
                hidden = model.encode_text(torch.tensor([ids])).hidden
                logits = model.decoder(hidden, pictures[row : row + 1])[0, -1]
            logits[[BEGIN, PAD, *([END] if len(ids) == 1 else [])]] = -math.inf
            ids.append(int(logits.argmax()))
            if ids[-1] == END:
                break
        assert list(caption.tokens) == words_before_end(ids, bos=BEGIN, eos=END, pad=PAD)


def first_tokens(decoding: Decoding) -> tuple[Counter[int], Tensor]:
    """What samples begin with, and the probabilities of the first token without begin, end and padding."""
    model = small_coca("text.vocab_size=9", seed=1)
    pictures = image_tokens(model, 1)
    (captions,) = write_captions(model, pictures, NumberTokenizer(vocab_size=9), decoding)
    with torch.no_grad():
        logits = model.decoder(model.encode_text(torch.tensor([[BEGIN]])).hidden, pictures)[0, -1]
    logits[[BEGIN, PAD, END]] = -math.inf
    return Counter(caption.tokens[0] for caption in captions), logits


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_samples_have_the_probabilities_of_the_model(temperature: float) -> None:
    count = 4000
    seen, logits = first_tokens(
        Decoding(method=DecodingMethod.sample, n_best=count, max_length=1, temperature=temperature)
    )
    wanted = (logits / temperature).softmax(-1)
    for token, probability in enumerate(wanted.tolist()):
        deviation = math.sqrt(probability * (1 - probability) / count)
        assert abs(seen[token] / count - probability) <= 4 * deviation + 1e-9


def test_top_k_and_top_p_leave_out_the_others() -> None:
    few, logits = first_tokens(Decoding(method=DecodingMethod.sample, n_best=500, max_length=1, top_k=2))
    assert set(few) == set(logits.topk(2).indices.tolist())
    some, logits = first_tokens(Decoding(method=DecodingMethod.sample, n_best=500, max_length=1, top_p=0.6))
    ordered = logits.softmax(-1).sort(descending=True)
    needed = int((ordered.values.cumsum(0) < 0.6).sum()) + 1
    assert set(some) == set(ordered.indices[:needed].tolist())


def test_the_seed_decides_the_samples_and_the_key_whose_they_are() -> None:
    model = small_coca(seed=2)
    pictures = image_tokens(model, 1).expand(3, -1, -1)

    def written(seed: int, keys: list[int]) -> list[list[tuple[int, ...]]]:
        decoding = Decoding(method=DecodingMethod.sample, seed=seed, n_best=2)
        return tokens_of(write_captions(model, pictures, NUMBERS, decoding, keys=keys))

    once = written(0, [5, 6, 5])
    assert once == written(0, [5, 6, 5])
    assert once[0] == once[2] != once[1]
    assert once != written(1, [5, 6, 5])


# --- lengths, words that may not come, beginnings ---


@pytest.mark.parametrize("search", ["three beams, all shown", "greedy", "top p"])
def test_lengths_are_kept(search: str) -> None:
    model = small_coca("text.vocab_size=12", seed=7)
    decoding = replace(SEARCHES[search], min_length=3, max_length=5)
    lengths = {len(c.tokens) for found in write_captions(model, image_tokens(model, 20), FEW, decoding) for c in found}
    assert lengths <= {3, 4, 5}
    assert len(lengths) > 1


@pytest.mark.parametrize("search", [name for name in SEARCHES if name != "open_clip"])
def test_begin_and_padding_are_never_written(search: str) -> None:
    model = small_coca("text.vocab_size=5", seed=3)
    found = write_captions(model, image_tokens(model, 8), NumberTokenizer(vocab_size=5), SEARCHES[search])
    assert {token for captions in found for c in captions for token in c.tokens} <= {3, 4}


def test_a_repetition_penalty_makes_captions_repeat_less() -> None:
    model = small_coca(seed=0)
    pictures = image_tokens(model, 10)

    def repeats(penalty: float) -> int:
        decoding = Decoding(repetition_penalty=penalty, min_length=8)
        found = write_captions(model, pictures, NUMBERS, decoding)
        return sum(len(c.tokens) - len(set(c.tokens)) for (c,) in found)

    assert repeats(1.0) > repeats(5.0) == 0


def test_a_prefix_leaves_the_rest_of_the_positions() -> None:
    model = small_coca(seed=3)
    words = prompt_words(NUMBERS, "5 6 7", torch.device("cpu"))
    assert words.prompt.tolist() == [BEGIN, 5, 6, 7]
    found = write_captions(model, image_tokens(model), NUMBERS, Decoding(min_length=6, max_length=30), prefix="5 6 7")
    assert {len(c.tokens) for captions in found for c in captions} == {6}  # ten positions, four of them taken


def test_a_prefix_that_takes_all_positions_is_refused() -> None:
    model = small_coca()
    with pytest.raises(CocaError, match="leaves no place for a caption in 10 positions"):
        write_captions(model, image_tokens(model), NUMBERS, Decoding(), prefix="3 4 5 6 7 8 9 3 4 5 6")


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(CocaError, match="--min-length 9 is above --max-length 4"):
        Decoding(min_length=9, max_length=4)
    with pytest.raises(CocaError, match=r"--n-best 4 is more than beam decoding finds, which is 3"):
        Decoding(beams=3, n_best=4)
    with pytest.raises(CocaError, match=r"--n-best 2 is more than greedy decoding finds"):
        Decoding(method=DecodingMethod.greedy, n_best=2)
    with pytest.raises(CocaError, match=r"--n-best 3 is more than open-clip-3.3 decoding finds"):
        Decoding(method=DecodingMethod.open_clip, n_best=3)
