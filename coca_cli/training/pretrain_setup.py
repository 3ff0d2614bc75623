"""From what the user asks to what training needs: data, recipe, model, tokenizer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from coca_cli.datasets.keep_lists import KeepList, read_keep_list
from coca_cli.datasets.sources import Source, find_source
from coca_cli.errors import CocaError
from coca_cli.model.architectures import new_model_config
from coca_cli.model.checkpoint import load_folder
from coca_cli.model.coca import CoCa
from coca_cli.model.config import PAPER_PRESETS, CoCaConfig
from coca_cli.model.placement import choose_precision
from coca_cli.model.tokenizer import ClipTokenizer, SentencePieceTokenizer, load_sentencepiece, train_sentencepiece
from coca_cli.training.loop import Recipe
from coca_cli.training.mixture import Feed, Mixture, share_out
from coca_cli.training.optim import freeze
from coca_cli.training.pretrain_request import PretrainRequest

DEFAULT_ARCHITECTURE = "coca_tiny"
STREAMED_CAPTIONS = 100_000
"""Captions of a stream that a vocabulary is learned from."""

TrainedTokenizer = ClipTokenizer | SentencePieceTokenizer


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a run works with.

    Attributes:
        mixture: The data, from its beginning.
        recipe: With all numbers settled.
        model: In fp32 on the CPU, its start weights in place, frozen parts marked.
        tokenizer: Its tokenizer.
    """

    mixture: Mixture
    recipe: Recipe
    model: CoCa
    tokenizer: TrainedTokenizer


def prepare(request: PretrainRequest, device: torch.device) -> Prepared:
    """Read the sources and build the model; the same on every process.

    Raises:
        CocaError: Data or configuration are not usable.
    """
    mixture = open_mixture(request)
    recipe = settle_recipe(request, mixture, device)
    torch.manual_seed(recipe.seed)
    model, tokenizer = build_model(request, mixture)
    freeze(model, request.freeze)
    if request.checkpoint_activations:
        model.checkpoint_activations()
    return Prepared(mixture, recipe, model, tokenizer)


def open_mixture(request: PretrainRequest) -> Mixture:
    """The sources, listed, with their shares.

    Raises:
        CocaError: A source, a keep-list or a weight is wrong, or there are too few pictures for a batch.
    """
    sources = [find_source(text, request.root) for text in request.data]
    keep = _keep_by_source(request.keep, sources)
    seed = request.recipe.seed
    feeds = [Feed(source, i, seed, request.limit, keep.get(source.name)) for i, source in enumerate(sources)]
    mixture = Mixture(feeds, share_out(sources, [feed.size for feed in feeds], request.shares), seed)
    if mixture.size is not None and mixture.size < request.recipe.batch_size:
        raise CocaError(
            f"{mixture.size:,} training pictures do not fill one batch of {request.recipe.batch_size}; "
            "give more data or a smaller --batch-size"
        )
    return mixture


def _keep_by_source(paths: Sequence[Path], sources: Sequence[Source]) -> dict[str, KeepList]:
    found: dict[str, KeepList] = {}
    for path in paths:
        keep = read_keep_list(path)
        fitting = [source.name for source in sources if _same_source(source.name, keep.source)]
        if not fitting:
            raise CocaError(
                f"the keep-list {path} is for the source {keep.source}, which is not among --data "
                f"({', '.join(source.name for source in sources)}); name it there in the same way"
            )
        found |= dict.fromkeys(fitting, keep)
    return found


def _same_source(one: str, other: str) -> bool:
    """Whether two spellings name one source; the word before it chooses captions or labels of the same pictures."""
    bare = [text.removeprefix("pairs:").removeprefix("labels:") for text in (one, other)]
    return bare[0] == bare[1] or Path(bare[0]).expanduser().resolve() == Path(bare[1]).expanduser().resolve()


def settle_recipe(request: PretrainRequest, mixture: Mixture, device: torch.device) -> Recipe:
    """The recipe with its precision chosen and its steps counted.

    Raises:
        CocaError: The precision is not for training, or epochs of a stream cannot be counted.
    """
    recipe = replace(request.recipe, precision=choose_precision(request.recipe.precision, device))
    if recipe.precision == "fp16":
        raise CocaError("--precision fp16 is not for training here: its range is too small; use bf16 or fp32")
    if request.epochs is None:
        return recipe
    if mixture.size is None:
        raise CocaError("--epochs cannot be counted for shards that are streamed; give --steps")
    return replace(recipe, steps=max(1, round(request.epochs * mixture.size / recipe.batch_size)))


def build_model(request: PretrainRequest, mixture: Mixture) -> tuple[CoCa, TrainedTokenizer]:
    """The model to begin with, and its tokenizer.

    Raises:
        CocaError: The architecture, the start or the tokenizer is not usable.
    """
    if request.init is not None:
        if request.architecture or request.changes or request.tokenizer or request.vocab_size:
            raise CocaError(
                f"--init {request.init} brings its own architecture and tokenizer; "
                "leave out --arch, --set, --tokenizer and --vocab-size"
            )
        start = load_folder(request.init, request.image_size)
        return start.model, start.tokenizer
    config = new_model_config(request.architecture or DEFAULT_ARCHITECTURE).with_changes(request.changes)
    if request.image_size is not None:
        config = config.with_image_size(request.image_size)
    tokenizer = _tokenizer(request, config, mixture)
    text = replace(config.text, vocab_size=tokenizer.vocab_size, pad_id=tokenizer.pad_id)
    return CoCa(replace(config, text=text)), tokenizer


def _tokenizer(request: PretrainRequest, config: CoCaConfig, mixture: Mixture) -> TrainedTokenizer:
    context = config.text.context
    architecture = request.architecture or DEFAULT_ARCHITECTURE
    if request.tokenizer == "clip" or (request.tokenizer is None and architecture not in PAPER_PRESETS):
        return ClipTokenizer(context)
    if request.tokenizer is not None:
        return load_sentencepiece(Path(request.tokenizer).expanduser(), context)
    words = request.vocab_size or config.text.vocab_size
    captions = (text for feed in mixture.feeds for text in _texts(feed))
    return SentencePieceTokenizer(train_sentencepiece(captions, words), context)


def _texts(feed: Feed) -> Iterator[str]:
    """Every caption, or every label in every sentence; of a stream the captions that come first."""
    source = feed.source
    examples = islice(source.read(), STREAMED_CAPTIONS) if source.streams else iter(feed.examples)
    if source.kind == "pairs":
        return (text for example in examples for text in example.texts)
    names = dict.fromkeys(name for example in examples for name in example.texts)
    return (template.replace("{c}", name) for name in names for template in source.templates)


def settings_of(request: PretrainRequest, prepared: Prepared) -> dict[str, Any]:
    """All that decides what is learned, as JSON: a run goes on only where it is the same."""
    shares = [round(share, 6) for share in prepared.mixture.shares]
    return {
        "data": dict(zip(_numbered(request.data), shares, strict=True)),
        "keep": [str(path) for path in request.keep],
        "pictures": prepared.mixture.size,
        "limit": request.limit,
        "init": str(request.init) if request.init else None,
        "freeze": list(request.freeze),
        "recipe": prepared.recipe.to_dict(),
        "augmentation": asdict(request.augmentation),
        "model": prepared.model.config.to_dict(),
    }


def _numbered(names: Sequence[str]) -> list[str]:
    """The names, those that come twice with their number behind them."""
    return [name if name not in names[:i] else f"{name} ({i + 1})" for i, name in enumerate(names)]
