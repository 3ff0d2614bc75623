from __future__ import annotations

import itertools
import json
import random
import re
from pathlib import Path

import open_clip
import pytest
import sentencepiece
import torch

from coca_cli.errors import BadCheckpoint, CocaError, MissingFile
from coca_cli.model.tokenizer import (
    ClipTokenizer,
    OpenClipTokenizer,
    SentencePieceTokenizer,
    load_sentencepiece,
    load_tokenizer,
    pad_ids,
    train_sentencepiece,
    words_before_end,
)

TEXTS = [
    "a photo of a cat",
    "A PHOTO of a Cat",
    "",
    " ",
    "!",
    "!!!",
    "a != b, 100 !% and !&&!",
    "stop! wait! it's 5 o'clock, isn't it?",
    "don't we'll they've I'm he'd you're",
    "  many   spaces\tand\nlines  ",
    "naïve café — 50 % “quoted” …",
    "猫の写真 и кот, γάτα, 고양이",
    "🐱🐶 emoji \u200d\ufe0f",
    "e\u0301 composed and é precomposed",
    "&lt;b&gt; html &amp;amp; entities",
    "<start_of_text> inside <end_of_text>",
    "x" * 300,
    "two red kites over a field. " * 12,
    "1234567890 3.14159 1,000,000",
    "snake_case camelCase kebab-case a/b\\c @#$%^&*()",
    "\x00\x07 control",
]
WORDS = [
    "red",
    "green",
    "blue",
    "small",
    "large",
    "kite",
    "boat",
    "house",
    "tree",
    "field",
    "water",
    "over",
    "the",
    "a",
]


def sentences(count: int, seed: int = 0) -> list[str]:
    chosen = random.Random(seed)
    return [" ".join(chosen.choices(WORDS, k=chosen.randint(3, 9))) for _ in range(count)]


@pytest.fixture(scope="module")
def clip() -> ClipTokenizer:
    return ClipTokenizer()


@pytest.fixture(scope="module")
def pieces() -> SentencePieceTokenizer:
    return SentencePieceTokenizer(train_sentencepiece(sentences(300), vocab_size=80), context=16)


@pytest.mark.peer
@pytest.mark.parametrize("name", ["coca_ViT-B-32", "coca_ViT-L-14"])
def test_clips_ids_equal_open_clips(clip: ClipTokenizer, name: str) -> None:
    theirs = open_clip.get_tokenizer(name)
    assert clip.encode(TEXTS).dtype == torch.long
    assert torch.equal(clip.encode(TEXTS), theirs(TEXTS))
    assert torch.equal(ClipTokenizer(20).encode(TEXTS), theirs(TEXTS, context_length=20))


@pytest.mark.peer
def test_clips_ids_equal_open_clips_on_random_unicode(clip: ClipTokenizer) -> None:
    chosen = random.Random(0)
    alphabet = [chr(code) for code in itertools.chain(range(32, 0x250), range(0x370, 0x530), range(0x3040, 0x3100))]
    texts = ["".join(chosen.choices(alphabet, k=chosen.randint(1, 60))) for _ in range(200)]
    assert torch.equal(clip.encode(texts), open_clip.get_tokenizer("coca_ViT-B-32")(texts))


def test_clips_special_ids(clip: ClipTokenizer) -> None:
    row = clip.encode(["a != b"])[0].tolist()
    assert row[:6] == [49406, 320, 0, 284, 321, 49407]  # "!" within a word shares its id with padding
    assert row[6:] == [0] * 70
    assert clip.encode(["!"])[0, :3].tolist() == [49406, 256, 49407]  # and at a word's end it does not
    assert clip.vocab_size == 49408
    assert (clip.bos_id, clip.eos_id, clip.pad_id) == (49406, 49407, 0)


@pytest.mark.parametrize("length", [73, 74, 75, 76, 200])
def test_a_long_text_is_cut_and_still_ends(clip: ClipTokenizer, length: int) -> None:
    row = clip.encode(["cat " * length])[0].tolist()
    assert len(row) == 76
    assert row[0] == 49406
    assert row.count(49407) == 1
    assert row.index(49407) == min(length + 1, 75)


def test_decoding_gives_the_text_back(clip: ClipTokenizer) -> None:
    text = "a photo of two cats, and a dog"
    ids = clip.encode([text])[0]
    assert clip.decode(ids.tolist()) == "a photo of two cats , and a dog"
    assert clip.decode(list(ids)) == clip.decode(ids.tolist())  # type: ignore[arg-type]
    assert clip.decode([]) == clip.decode([49406, 49407]) == clip.decode([0, 0]) == ""


def test_decoding_stops_at_the_end_and_skips_padding(clip: ClipTokenizer) -> None:
    cat, dog = (clip.encode([word])[0, 1].item() for word in ("cat", "dog"))
    assert clip.decode([49406, int(cat), 0, int(cat), 49407, int(dog)]) == "cat cat"


def test_words_before_the_end() -> None:
    assert words_before_end([1, 7, 0, 8, 2, 9, 2], bos=1, eos=2, pad=0) == [7, 8]
    assert words_before_end([1, 7, 8], bos=1, eos=2, pad=0) == [7, 8]
    assert words_before_end(torch.tensor([1, 7, 2]), bos=1, eos=2, pad=0) == [7]  # type: ignore[arg-type]


def test_padding_puts_begin_and_end_around_each_text() -> None:
    rows = pad_ids([[7, 8], [], [5, 6, 7, 8, 9]], bos=1, eos=2, pad=3, context=5)
    assert rows.tolist() == [[1, 7, 8, 2, 3], [1, 2, 3, 3, 3], [1, 5, 6, 7, 2]]
    assert pad_ids([], bos=1, eos=2, pad=0, context=4).shape == (0, 4)
    assert pad_ids([[7]], bos=1, eos=2, pad=0, context=2).tolist() == [[1, 2]]


def test_training_twice_gives_the_same_model() -> None:
    first, second = (train_sentencepiece(iter(sentences(300)), vocab_size=80) for _ in range(2))
    assert first == second
    assert train_sentencepiece(sentences(300, seed=1)[:150], vocab_size=80) != first


def test_a_trained_model_has_the_papers_special_ids(pieces: SentencePieceTokenizer) -> None:
    assert (pieces.pad_id, pieces.bos_id, pieces.eos_id, pieces.unk_id) == (0, 1, 2, 3)
    rows = pieces.encode(["two red kites", ""])
    assert rows.shape == (2, 16)
    assert rows.dtype == torch.long
    assert rows[1].tolist() == [1, 2] + [0] * 14
    assert rows.max() < pieces.vocab_size <= 80
    assert rows[0, 0] == 1
    assert (rows[0] == 2).sum() == 1


def test_a_sentencepiece_text_comes_back(pieces: SentencePieceTokenizer) -> None:
    for text in sentences(20, seed=9):
        ids = SentencePieceTokenizer(pieces._model, context=64).encode([text])[0].tolist()
        assert pieces.decode(ids) == text
    assert pieces.decode([1, 2, 5, 6]) == ""


def test_a_long_sentencepiece_text_is_cut_and_still_ends(pieces: SentencePieceTokenizer) -> None:
    row = pieces.encode(["two red kites over the water " * 20])[0].tolist()
    assert (row[0], row[-1], row.count(2), row.count(0)) == (1, 2, 1, 0)


def test_case_is_folded_where_asked(pieces: SentencePieceTokenizer) -> None:
    assert torch.equal(pieces.encode(["TWO Red kites"]), pieces.encode(["two red kites"]))
    captions = [*sentences(300), *(text.upper() for text in sentences(300))]
    cased = SentencePieceTokenizer(train_sentencepiece(captions, vocab_size=120, lowercase=False))
    assert not torch.equal(cased.encode(["TWO RED"]), cased.encode(["two red"]))


def test_unknown_letters_become_the_unknown_word(pieces: SentencePieceTokenizer) -> None:
    assert pieces.unk_id in pieces.encode(["red 猫 kite"])[0].tolist()


@pytest.mark.parametrize("captions", [[], ["", " "]])
def test_too_little_text_is_refused(captions: list[str]) -> None:
    with pytest.raises(CocaError, match="cannot train a tokenizer of 100 words on these captions: "):
        train_sentencepiece(captions, vocab_size=100)


def test_a_vocabulary_below_the_letters_is_refused() -> None:
    with pytest.raises(CocaError, match="cannot train a tokenizer of 10 words on these captions: "):
        train_sentencepiece(sentences(300), vocab_size=10)


@pytest.mark.parametrize("content", [b"", b"no model", b"\x00" * 100])
def test_a_file_of_something_else_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "words.model").write_bytes(content)
    with pytest.raises(BadCheckpoint, match="the tokenizer file is not a sentencepiece model; train one: coca data to"):
        load_sentencepiece(tmp_path / "words.model", 64)


def test_a_model_with_other_special_ids_is_refused(tmp_path: Path) -> None:
    """As sentencepiece's own defaults have them: no padding."""
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences(300)),
        model_prefix=str(tmp_path / "m"),
        vocab_size=40,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    message = "has pad, begin, end, unknown = (-1, 1, 2, 0), but coca needs (0, 1, 2, 3); train one with"
    with pytest.raises(BadCheckpoint, match=re.escape(message)):
        load_sentencepiece(tmp_path / "m.model", 64)


def test_a_missing_tokenizer_file_says_how_to_make_one(tmp_path: Path) -> None:
    path = tmp_path / "words.model"
    with pytest.raises(MissingFile, match=rf"no tokenizer file {path}; train one with: coca data tokenizer CAPTIONS"):
        load_sentencepiece(path, 64)


def test_tokenizers_survive_saving(pieces: SentencePieceTokenizer, clip: ClipTokenizer, tmp_path: Path) -> None:
    for tokenizer in (pieces, ClipTokenizer(40)):
        folder = tmp_path / type(tokenizer).__name__
        folder.mkdir()
        tokenizer.save(folder)
        again = load_tokenizer(folder)
        assert type(again) is type(tokenizer)
        assert again.context == tokenizer.context
        assert torch.equal(again.encode(TEXTS), tokenizer.encode(TEXTS))
    assert json.loads((tmp_path / "ClipTokenizer" / "tokenizer.json").read_text()) == {
        "kind": "clip-bpe",
        "context": 40,
    }


def test_a_folder_without_tokenizer_says_so(tmp_path: Path) -> None:
    with pytest.raises(
        MissingFile, match=r"no tokenizer\.json in .*: the checkpoint has no tokenizer; copy it from wh"
    ):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is damaged: it should name a kind and a context"),
        ("[]", "is damaged: it should name a kind and a context"),
        ('{"kind": "clip-bpe"}', "is damaged: it should name a kind and a context"),
        ('{"kind": "clip-bpe", "context": "long"}', "is damaged: it should name a kind and a context"),
        ('{"kind": "bert", "context": 64}', "names the tokenizer kind 'bert'; this version knows clip-bpe and sente"),
        ('{"version": "1.0", "model": {"type": "BPE"}}', "is damaged: it should name a kind and a context"),
    ],
)
def test_a_damaged_description_is_refused(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(BadCheckpoint, match=message):
        load_tokenizer(tmp_path)


def test_open_clips_other_tokenizers_pass_through() -> None:
    theirs = open_clip.get_tokenizer("ViT-B-32")
    assert torch.equal(OpenClipTokenizer(theirs).encode(tuple(TEXTS)), theirs(TEXTS))
