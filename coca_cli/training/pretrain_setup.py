"""From what the user asks to what training needs: data, recipe, model, tokenizer."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from coca_cli.datasets.caption_texts import written_texts
from coca_cli.datasets.example import Example
from coca_cli.datasets.keep_lists import KeepList, read_keep_list
from coca_cli.datasets.sources import Source, find_source
from coca_cli.errors import BadCheckpoint, CocaError
from coca_cli.model.architectures import new_model_config
from coca_cli.model.checkpoint import load, load_folder
from coca_cli.model.coca import CoCa
from coca_cli.model.config import PAPER_PRESETS, CoCaConfig
from coca_cli.model.placement import choose_precision
from coca_cli.model.tokenizer import (
    ClipTokenizer,
    SentencePieceTokenizer,
    load_sentencepiece,
    load_tokenizer,
    train_sentencepiece,
)
from coca_cli.training.mixture import Feed, Mixture, share_out
from coca_cli.training.optim import freeze, freeze_captioning, freeze_contrastive
from coca_cli.training.pretrain_request import PretrainRequest
from coca_cli.training.schedule import Recipe
from coca_cli.training.word_dropout import check_word_dropout

DEFAULT_ARCHITECTURE = "coca_tiny"
STREAMED_EXAMPLES = 100_000
"""Examples of a stream that a vocabulary is learned from."""

TrainedTokenizer = ClipTokenizer | SentencePieceTokenizer


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a run works with.

    Attributes:
        mixture: The data, from its beginning.
        recipe: With all numbers settled.
        model: In fp32 on the CPU, its start weights in place, frozen parts marked; on the meta device where that was
            asked for.
        tokenizer: Its tokenizer.
    """

    mixture: Mixture
    recipe: Recipe
    model: CoCa
    tokenizer: TrainedTokenizer


def prepare(
    request: PretrainRequest, device: torch.device, checkpoint: Path | None = None, *, shapes_alone: bool = False
) -> Prepared:
    """Read the sources and build the model; the same on every process.

    Args:
        request: What the user asked.
        device: Where it will be trained.
        checkpoint: What the run goes on from, for its tokenizer; None where it begins.
        shapes_alone: Build a new model on the meta device, which takes no memory.

    Raises:
        CocaError: Data or configuration are not usable.
    """
    mixture = open_mixture(request)
    recipe = settle_recipe(request, mixture, device)
    if not recipe.contrastive_weight and not recipe.caption_weight:
        raise CocaError("both losses have the weight 0, so nothing would be learned; give one of them a weight above 0")
    torch.manual_seed(recipe.seed)
    model, tokenizer = build_model(request, mixture, checkpoint, shapes_alone=shapes_alone)
    check_word_dropout(recipe.word_dropout, tokenizer)
    freeze(model, request.freeze)
    if not recipe.contrastive_weight:
        freeze_contrastive(model)
    if not recipe.caption_weight:
        freeze_captioning(model, pooler=model.config.pooler.wiring == "parallel")
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise CocaError(
            f"--freeze {' --freeze '.join(request.freeze)} leaves nothing to train; freeze less, such as image alone"
        )
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
        for name in dict.fromkeys(fitting):
            found[name] = _in_both(found[name], keep) if name in found else keep
    return found


def _in_both(one: KeepList, other: KeepList) -> KeepList:
    """What two lists of one source keep: each takes out the pictures of other evaluation sets."""
    ids = one.ids & other.ids
    if not ids:
        raise CocaError(
            f"the keep-lists {one.path} and {other.path} of {one.source} have no id in common, so nothing is left to "
            "train on; leave one out, or make both anew with coca data dedup"
        )
    return other._replace(ids=ids)


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


def build_model(
    request: PretrainRequest, mixture: Mixture, checkpoint: Path | None = None, *, shapes_alone: bool = False
) -> tuple[CoCa, TrainedTokenizer]:
    """The model to begin with, and its tokenizer.

    Args:
        request: What the user asked.
        mixture: Captions to learn a tokenizer from.
        checkpoint: Holds the tokenizer that was learned when the run began.
        shapes_alone: Build a new model on the meta device, which takes no memory.

    Raises:
        CocaError: The architecture, the start or the tokenizer is not usable.
    """
    if request.model is not None:
        captioner = load(request.model, request.pretrained, request.image_size)
        if not isinstance(captioner.model, CoCa) or not isinstance(captioner.tokenizer, TrainedTokenizer):
            raise BadCheckpoint(f"{captioner.name} is no CoCa: give one with --model")
        return captioner.model, captioner.tokenizer
    if request.init is not None:
        if request.architecture or request.changes or request.tokenizer or request.vocab_size:
            raise CocaError(
                f"--init {request.init} brings its own architecture and tokenizer; "
                "leave out --arch, --set, --tokenizer and --vocab-size"
            )
        if request.init.is_file():
            raise CocaError(
                f"--init {request.init} is a file: give the folder that holds the model's files, such as "
                f"{request.init.parent}"
            )
        start = load_folder(request.init, request.image_size)
        return start.model, start.tokenizer
    config = _new_config(request)
    tokenizer = _tokenizer(request, config, mixture, checkpoint)
    text = replace(config.text, vocab_size=tokenizer.vocab_size, pad_id=tokenizer.pad_id)
    with torch.device("meta") if shapes_alone else nullcontext():
        return CoCa(replace(config, text=text)), tokenizer


def _new_config(request: PretrainRequest) -> CoCaConfig:
    config = new_model_config(request.architecture or DEFAULT_ARCHITECTURE).with_changes(request.changes)
    return config if request.image_size is None else config.with_image_size(request.image_size)


def _tokenizer(
    request: PretrainRequest, config: CoCaConfig, mixture: Mixture, checkpoint: Path | None
) -> TrainedTokenizer:
    context = config.text.context
    architecture = request.architecture or DEFAULT_ARCHITECTURE
    if request.tokenizer == "clip" or (request.tokenizer is None and architecture not in PAPER_PRESETS):
        return ClipTokenizer(context)
    if request.tokenizer is not None:
        return load_sentencepiece(Path(request.tokenizer).expanduser(), context)
    if checkpoint is not None:  # the captions can be others by now, and the weights know only the words of then
        return load_tokenizer(checkpoint)
    captions = (text for feed in mixture.feeds for text in written_texts(feed.source, _examples(feed)))
    return SentencePieceTokenizer(train_sentencepiece(captions, _words_wanted(request, config)), context)


def _words_wanted(request: PretrainRequest, config: CoCaConfig) -> int:
    return request.vocab_size or config.text.vocab_size


def _examples(feed: Feed) -> Iterable[Example]:
    """All that are trained on; of a stream those that come first."""
    return islice(feed.source.read(), STREAMED_EXAMPLES) if feed.source.streams else feed.examples


def settings_of(request: PretrainRequest, prepared: Prepared) -> dict[str, Any]:
    """All that decides what is learned, as JSON: a run goes on only where it is the same."""
    shares = [round(share, 6) for share in prepared.mixture.shares]
    return {
        "data": dict(zip(_numbered(request.data), shares, strict=True)),
        "keep": {str(path): _digest([path]) for path in request.keep},
        "pictures": prepared.mixture.size,
        "limit": request.limit,
        "texts": [None if feed.source.streams else _hash_texts(feed.examples) for feed in prepared.mixture.feeds],
        "init": request.model or (str(request.init) if request.init else None),
        "pretrained": request.pretrained,
        "freeze": list(request.freeze),
        "recipe": prepared.recipe.to_dict(),
        "augmentation": asdict(request.augmentation),
        "model": prepared.model.config.to_dict(),
        "words": None if request.init or request.model else _words_wanted(request, _new_config(request)),
        "tokenizer": _tokenizer_digest(prepared.tokenizer),
    }


def _hash_texts(examples: Sequence[Example]) -> str:
    """Of ids and texts: a file of the same name and size can have been corrected."""
    digest = hashlib.sha256()
    for example in examples:
        digest.update(repr((example.id, example.texts)).encode(errors="backslashreplace"))
    return digest.hexdigest()[:16]


def _tokenizer_digest(tokenizer: TrainedTokenizer) -> str:
    """Of its files: two of one path, or of equally many words, can still be two."""
    with TemporaryDirectory() as folder:
        tokenizer.save(Path(folder))
        return _digest(sorted(Path(folder).iterdir()))


def _digest(paths: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return f"sha256 {digest.hexdigest()[:16]}"


def _numbered(names: Sequence[str]) -> list[str]:
    """The names, those that come twice with their number behind them."""
    return [name if name not in names[:i] else f"{name} ({i + 1})" for i, name in enumerate(names)]
