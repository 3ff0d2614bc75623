"""`coca data`: datasets that exist, a vocabulary from captions, shards from pictures."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from coca_cli.options import (
    DEFAULT_CACHE,
    DEFAULT_DATA_ROOT,
    CacheDirOption,
    DataRootOption,
    LimitOption,
    OutputFolderOption,
    OverwriteOption,
    QuietOption,
    VocabSizeOption,
)


def list_datasets(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME", help="Only these, as --dataset takes them; without any, all.")
    ] = None,
) -> None:
    """Names for --dataset: what each is, its splits, the files expected below the data root."""
    from coca_cli.datasets import DATASETS, find_dataset
    from coca_cli.datasets.listing import describe_dataset, describe_datasets

    if names:
        print("\n\n".join(describe_dataset(find_dataset(name)) for name in names))
    else:
        print(describe_datasets(DATASETS.entries()), end="")


def check(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME", help="Datasets as --dataset takes them; without any, all that are there."),
    ] = None,
    data_root: DataRootOption = DEFAULT_DATA_ROOT,
    quiet: QuietOption = False,
) -> None:
    """Look what of the datasets is on disk: examples counted, every file looked for, the official numbers beside.

    Ends with 1 where something that is there is not whole, where what a dataset is evaluated on is not there, and where
    a dataset that was named is not there at all. Example: coca data check imagenet coco --data-root /data
    """
    from rich.console import Console

    from coca_cli.datasets import DATASETS, find_dataset
    from coca_cli.datasets.checking import check_dataset
    from coca_cli.datasets.example import Dataset
    from coca_cli.progress import Reporter
    from coca_cli.reports.data_checks import describe_checks

    known = [entry for entry in DATASETS.entries() if isinstance(entry, Dataset) and not entry.built_in]
    reporter = Reporter(quiet=quiet)
    checks = [
        check_dataset(
            dataset,
            data_root,
            lambda examples, split, name=dataset.name: reporter.track(examples, total=None, label=f"{name} {split}"),  # type: ignore[misc]
        )
        for dataset in ([find_dataset(name) for name in names] if names else known)
    ]
    absent = [] if names else [check.dataset.name for check in checks if check.absent]
    shown = [check for check in checks if names or not check.absent]
    Console(highlight=False).print(describe_checks(shown, absent), crop=False)  # paths stay whole
    if not shown or not all(check.sound for check in shown):
        raise typer.Exit(1)


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
    overwrite: OverwriteOption = False,
    quiet: QuietOption = False,
) -> None:
    """Learn a sentencepiece vocabulary from captions, for coca pretrain --tokenizer FILE.

    Example: coca data tokenizer captions.txt -o words.model --vocab-size 8000
    """
    from coca_cli.datasets.caption_texts import read_texts
    from coca_cli.datasets.output_files import check_output_file
    from coca_cli.files import written_whole
    from coca_cli.model.tokenizer import PAPER_VOCABULARY, SentencePieceTokenizer, train_sentencepiece

    check_output_file(model_file, [captions], data_root, overwrite=overwrite)
    wanted = vocab_size or PAPER_VOCABULARY
    model = train_sentencepiece(read_texts(captions, data_root), wanted, lowercase=not keep_case)
    words = SentencePieceTokenizer(model).vocab_size
    with written_whole(model_file) as file:
        file.write_bytes(model)
    print(model_file)
    if words < wanted and not quiet:
        print(f"coca: the captions gave {words:,} words, fewer than {wanted:,}", file=sys.stderr)


def pack(
    sources: Annotated[
        list[str],
        typer.Argument(metavar="SRC...", help="Training data as for pretrain; pairs: or labels: before it chooses."),
    ],
    output: OutputFolderOption,
    shard_size: Annotated[int, typer.Option("--shard-size", min=1, metavar="N", help="Pictures in a shard.")] = 1000,
    shorter_side: Annotated[
        int | None,
        typer.Option(
            "--shorter-side",
            min=1,
            metavar="PIXELS",
            help="Make larger pictures so small, as JPEG; without it the pictures' bytes are copied.",
        ),
    ] = None,
    data_root: DataRootOption = DEFAULT_DATA_ROOT,
    limit: LimitOption = None,
    overwrite: OverwriteOption = False,
    quiet: QuietOption = False,
) -> None:
    """Write training data of any form into tar shards, which are read fast here, by open_clip and by webdataset.

    --limit counts in each SRC for itself.

    Example: coca data pack captions.csv labels:photos/ -o shards --shorter-side 384
    """
    from coca_cli.media.packing import PackRequest, pack_sources
    from coca_cli.progress import Reporter

    request = PackRequest(
        data=sources,
        root=data_root,
        output=output,
        shard_size=shard_size,
        shorter_side=shorter_side,
        limit=limit,
        overwrite=overwrite,
    )
    packed = pack_sources(request, Reporter(quiet=quiet))
    left_out = f", {packed.skipped:,} left out" if packed.skipped else ""
    print(f"{output}: {packed.pictures:,} pictures in {packed.shards:,} shards{left_out}")


def list_cache(cache_dir: CacheDirOption = DEFAULT_CACHE) -> None:
    """What earlier runs left for later ones: whose features and embeddings, how large, when."""
    from coca_cli.reports.cache import render_cache
    from coca_cli.tasks.cache_contents import list_cache

    entries = list_cache(cache_dir)
    print(render_cache(entries) if entries else f"nothing is kept in {cache_dir}\n", end="")


def clear_cache(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="WORD",
            help="Only what has all these words in its model, weights, dataset or kind; without any, everything.",
        ),
    ] = None,
    older_than: Annotated[
        float | None, typer.Option(min=0, metavar="DAYS", help="Only what was written so long ago.")
    ] = None,
    cache_dir: CacheDirOption = DEFAULT_CACHE,
) -> None:
    """Remove what earlier runs left; later ones compute it anew.

    Example: coca data cache clear coca_ViT-L-14 imagenet
    """
    import time

    from coca_cli.reports.cache import describe_size
    from coca_cli.tasks.cache_contents import choose_entries, clear_entries, list_cache

    chosen = choose_entries(list_cache(cache_dir), words or [], older_than, time.time())
    freed = clear_entries(chosen)
    print(f"{len(chosen):,} entries removed, {describe_size(freed)} freed")
