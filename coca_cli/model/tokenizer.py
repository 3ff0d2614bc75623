"""Texts <-> token ids; a tokenizer is bound to its checkpoint and saved with it."""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import sentencepiece
import torch
from torch import Tensor

from coca_cli.errors import BadCheckpoint, CocaError, MissingFile
from coca_cli.files import written_whole
from coca_cli.json_text import parse_json
from coca_cli.model.open_clip_package import part

TOKENIZER_FILE = "tokenizer.json"
SENTENCEPIECE_FILE = "tokenizer.model"

PAPER_VOCABULARY = 64_000
"""Words of the paper's sentencepiece model (section 4.1)."""


class TextEncoder(Protocol):
    """Whatever turns texts into the token ids of a model."""

    def encode(self, texts: Sequence[str]) -> Tensor:
        """Token ids (B, context), int64, padded at the end."""
        ...


class Tokenizer(TextEncoder, Protocol):
    """A tokenizer that captions can be written with.

    Attributes:
        context: Positions of an encoded text, with begin and end.
        vocab_size: Number of token ids.
        bos_id: Begins every text.
        eos_id: Ends every text.
        pad_id: Fills up after the end.
    """

    context: int
    vocab_size: int
    bos_id: int
    eos_id: int
    pad_id: int

    def decode(self, ids: Sequence[int]) -> str:
        """The text of the ids, up to the end token, without special tokens."""
        ...

    def save(self, folder: Path) -> None:
        """Write what `load_tokenizer` needs into the folder."""
        ...


def pad_ids(rows: Sequence[Sequence[int]], *, bos: int, eos: int, pad: int, context: int) -> Tensor:
    """Put begin and end around each text and pad; a text that is too long is cut and still ends in `eos`.

    Args:
        rows: Token ids of each text, without special tokens.
        bos: Begin id.
        eos: End id.
        pad: Padding id.
        context: Positions per text.

    Returns:
        (B, context) int64.
    """
    whole = ([bos, *row[: context - 2], eos] for row in rows)
    padded = [ids + [pad] * (context - len(ids)) for ids in whole]
    return torch.tensor(padded, dtype=torch.long).view(len(padded), context)


def words_before_end(ids: Sequence[int], *, bos: int, eos: int, pad: int) -> list[int]:
    """The ids before the first end id, without begin and padding."""
    before = itertools.takewhile(lambda token: token != eos, map(int, ids))
    return [token for token in before if token not in (bos, pad)]


class ClipTokenizer:
    """CLIP's byte-pair encoding with 49,408 words, lower case. Padding shares id 0 with "!", as in all CLIP models.

    Args:
        context: Positions of an encoded text: 76 for open_clip's CoCa, whose [CLS] makes it 77.
    """

    bos_id, eos_id, pad_id = 49406, 49407, 0
    vocab_size = 49408

    def __init__(self, context: int = 76) -> None:
        self.context = context

    def encode(self, texts: Sequence[str]) -> Tensor:
        """Token ids (B, context), int64."""
        rows = [_byte_pairs().encode(text) for text in texts]
        return pad_ids(rows, bos=self.bos_id, eos=self.eos_id, pad=self.pad_id, context=self.context)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of the ids, up to the end token."""
        kept = words_before_end(ids, bos=self.bos_id, eos=self.eos_id, pad=self.pad_id)
        text: str = _byte_pairs().decode(kept)
        return text.strip()

    def save(self, folder: Path) -> None:
        """Write the tokenizer's description."""
        _write_description(folder, {"kind": "clip-bpe", "context": self.context})


@cache
def _byte_pairs() -> Any:
    """open_clip's encoder, made when the first text comes: many a command has none."""
    return part("tokenizer").SimpleTokenizer()


class SentencePieceTokenizer:
    """A sentencepiece model with pad 0, begin 1, end 2, unknown 3.

    Args:
        model: The serialised sentencepiece model.
        context: Positions of an encoded text.

    Raises:
        BadCheckpoint: The bytes are no sentencepiece model, or its special ids are not the ones above.
    """

    bos_id, eos_id, pad_id, unk_id = 1, 2, 0, 3

    def __init__(self, model: bytes, context: int = 64) -> None:
        self.context = context
        self._model = model
        self._pieces = sentencepiece.SentencePieceProcessor()
        try:
            self._pieces.LoadFromSerializedProto(model)
        except RuntimeError:
            raise BadCheckpoint(
                "the tokenizer file is not a sentencepiece model; train one: coca data tokenizer"
            ) from None
        found = (self._pieces.pad_id(), self._pieces.bos_id(), self._pieces.eos_id(), self._pieces.unk_id())
        if found != (0, 1, 2, 3):
            raise BadCheckpoint(
                f"the sentencepiece model has pad, begin, end, unknown = {found}, but coca needs (0, 1, 2, 3); "
                "train one with: coca data tokenizer"
            )
        self.vocab_size: int = self._pieces.get_piece_size()

    def encode(self, texts: Sequence[str]) -> Tensor:
        """Token ids (B, context), int64."""
        rows = self._pieces.encode(list(texts), out_type=int)
        return pad_ids(rows, bos=self.bos_id, eos=self.eos_id, pad=self.pad_id, context=self.context)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of the ids, up to the end token."""
        kept = words_before_end(ids, bos=self.bos_id, eos=self.eos_id, pad=self.pad_id)
        text: str = self._pieces.decode(kept)
        return text

    def save(self, folder: Path) -> None:
        """Write the model and its description."""
        with written_whole(folder / SENTENCEPIECE_FILE) as file:
            file.write_bytes(self._model)
        _write_description(folder, {"kind": "sentencepiece", "context": self.context})


class OpenClipTokenizer:
    """Any tokenizer that open_clip has for one of its other models.

    Args:
        tokenize: open_clip's callable, list of texts -> (B, context).
    """

    def __init__(self, tokenize: Callable[[list[str]], Tensor]) -> None:
        self._tokenize = tokenize

    def encode(self, texts: Sequence[str]) -> Tensor:
        """Token ids (B, context), int64."""
        return self._tokenize(list(texts))


def load_tokenizer(folder: Path) -> ClipTokenizer | SentencePieceTokenizer:
    """The tokenizer that was saved in the folder.

    Raises:
        MissingFile: There is none.
        BadCheckpoint: It is damaged.
    """
    path = folder / TOKENIZER_FILE
    if not path.is_file():
        raise MissingFile(
            f"no {TOKENIZER_FILE} in {folder}: the checkpoint has no tokenizer; copy it from where it was made"
        )
    try:
        description = parse_json(path.read_text(encoding="utf-8"))
        kind, context = description["kind"], int(description["context"])
    except (ValueError, KeyError, TypeError):
        raise BadCheckpoint(f"{path} is damaged: it should name a kind and a context") from None
    if kind == "clip-bpe":
        return ClipTokenizer(context)
    if kind == "sentencepiece":
        return load_sentencepiece(folder / SENTENCEPIECE_FILE, context)
    raise BadCheckpoint(f"{path} names the tokenizer kind {kind!r}; this version knows clip-bpe and sentencepiece")


def load_sentencepiece(path: Path, context: int) -> SentencePieceTokenizer:
    """A sentencepiece model from a file.

    Raises:
        MissingFile: The file is not there.
        BadCheckpoint: It is no such model.
    """
    if not path.is_file():
        raise MissingFile(f"no tokenizer file {path}; train one with: coca data tokenizer CAPTIONS --output {path}")
    return SentencePieceTokenizer(path.read_bytes(), context)


def train_sentencepiece(captions: Iterable[str], vocab_size: int, *, lowercase: bool = True) -> bytes:
    """Train a unigram sentencepiece model, on one thread so that the same captions give the same model.

    Args:
        captions: The texts to learn from.
        vocab_size: Words wanted; small corpora give fewer.
        lowercase: Fold case.

    Returns:
        The serialised model.

    Raises:
        CocaError: There is too little text.
    """
    out = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(captions),
            model_writer=out,
            model_type="unigram",
            vocab_size=vocab_size,
            hard_vocab_limit=False,
            character_coverage=0.9999,
            normalization_rule_name="nmt_nfkc_cf" if lowercase else "nmt_nfkc",
            pad_id=0,
            bos_id=1,
            eos_id=2,
            unk_id=3,
            num_threads=1,
            input_sentence_size=2_000_000,
            shuffle_input_sentence=True,
            minloglevel=2,
        )
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise CocaError(f"cannot train a tokenizer of {vocab_size:,} words on these captions: {reason}") from None
    return out.getvalue()


def _write_description(folder: Path, description: dict[str, Any]) -> None:
    with written_whole(folder / TOKENIZER_FILE) as file:
        file.write_text(json.dumps(description) + "\n", encoding="utf-8")
