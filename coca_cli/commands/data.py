"""`coca data`: datasets that exist, and what is made from captions."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from coca_cli.options import DEFAULT_DATA_ROOT, DataRootOption, QuietOption, VocabSizeOption


def list_datasets() -> None:
    """Names for --dataset: what each is, its splits, the files expected below the data root."""
    from coca_cli.datasets import DATASETS
    from coca_cli.datasets.listing import describe_datasets

    print(describe_datasets(DATASETS.entries()), end="")


def tokenizer(
    captions: Annotated[
        str,
        typer.Argument(
            metavar="CAPTIONS", help="A text file with one caption a line, or training data as for pretrain."
        ),
    ],
    model_file: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="The sentencepiece model to write.")
    ],
    vocab_size: VocabSizeOption = None,
    keep_case: Annotated[bool, typer.Option("--keep-case", help="Do not fold capitals.")] = False,
    data_root: DataRootOption = DEFAULT_DATA_ROOT,
    quiet: QuietOption = False,
) -> None:
    """Learn a sentencepiece vocabulary from captions, for coca pretrain --tokenizer FILE.

    Example: coca data tokenizer captions.txt -o words.model --vocab-size 8000
    """
    from coca_cli.datasets.caption_texts import read_texts
    from coca_cli.files import written_whole
    from coca_cli.model.tokenizer import PAPER_VOCABULARY, SentencePieceTokenizer, train_sentencepiece

    wanted = vocab_size or PAPER_VOCABULARY
    model = train_sentencepiece(read_texts(captions, data_root), wanted, lowercase=not keep_case)
    words = SentencePieceTokenizer(model).vocab_size
    with written_whole(model_file) as file:
        file.write_bytes(model)
    print(model_file)
    if words < wanted and not quiet:
        print(f"coca: the captions gave {words:,} words, fewer than {wanted:,}", file=sys.stderr)
