from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from coca_cli.errors import CocaError
from coca_cli.media.images import normalise
from coca_cli.model.coca import CoCa
from coca_cli.model.placement import Placed
from coca_cli.model.tokenizer import ClipTokenizer
from coca_cli.tasks import embedding as module
from coca_cli.tasks.embedding import embed_frames, embed_pixels, embed_texts
from tests.parity.open_clip_models import narrow_l14, random_pair
from tests.tasks.tiny import CONTEXT, tiny_placed

TEXTS = ["a cat", "dog", "a cat", "a long text about a dog", "", "fox", "dog", "far too long for the context of it"]


class Watched:
    """A model whose calls are written down.

    Args:
        model: What does the work.
        most: Pictures in one batch, above which the memory is full.
    """

    def __init__(self, model: CoCa, pad_id: int | None = 0, most: int = 1000) -> None:
        self.model, self.pad_id, self.most = model, pad_id, most
        self.texts: list[Tensor] = []
        self.pictures: list[int] = []

    def embed_text(self, tokens: Tensor) -> Tensor:
        self.texts.append(tokens)
        return self.model.embed_text(tokens)

    def embed_image(self, images: Tensor) -> Tensor:
        self.pictures.append(len(images))
        if len(images) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return self.model.embed_image(images)


def watched(placed: Placed, **options: int | None) -> tuple[Placed, Watched]:
    model = Watched(placed.model, **options)
    return replace(placed, model=model), model


@pytest.mark.parametrize("mask", ["correct", "legacy"])
def test_texts_together_embed_as_one_by_one(mask: str) -> None:
    placed = tiny_placed(0, f"text.cls_mask={mask}")
    together = embed_texts(placed, TEXTS)
    alone = torch.cat([embed_texts(placed, [text]) for text in TEXTS])
    full = F.normalize(placed.model.embed_text(placed.tokenizer.encode(TEXTS)), dim=-1)  # nothing trimmed or sorted
    torch.testing.assert_close(together, alone, atol=1e-6, rtol=0)
    torch.testing.assert_close(together, full, atol=1e-5, rtol=0)
    assert torch.pdist(together[[0, 1, 3, 4, 5]]).min() > 0.01  # else any order would pass


def test_text_embeddings_are_fp32_of_unit_length() -> None:
    placed = tiny_placed()
    placed = replace(placed, model=placed.model.to(torch.bfloat16), precision="bf16")
    found = embed_texts(placed, TEXTS)
    assert (found.dtype, found.device.type, found.shape) == (torch.float32, "cpu", (len(TEXTS), 128))
    torch.testing.assert_close(found.norm(dim=1), torch.ones(len(TEXTS)))


def test_a_repeated_text_is_embedded_once() -> None:
    placed, model = watched(tiny_placed())
    found = embed_texts(placed, TEXTS)
    assert sum(len(tokens) for tokens in model.texts) == len(set(TEXTS)) == 6
    assert torch.equal(found[0], found[2])
    assert torch.equal(found[1], found[6])


def test_no_padding_is_computed() -> None:
    placed, model = watched(tiny_placed())
    embed_texts(placed, TEXTS)
    assert all((tokens != 0).all() for tokens in model.texts)
    assert sorted(tokens.shape[1] for tokens in model.texts) == [2, 5, 7, CONTEXT]  # with begin and end


def test_batches_hold_so_many_tokens_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TOKENS_PER_BATCH", 20)
    placed, model = watched(tiny_placed())
    texts = [f"{number:03}" for number in range(50)]  # 5 tokens each
    found = embed_texts(placed, texts)
    assert [tuple(tokens.shape) for tokens in model.texts] == [(4, 5)] * 12 + [(2, 5)]
    torch.testing.assert_close(found, embed_texts(placed, texts[::-1]).flip(0), atol=1e-6, rtol=0)
    embed_texts(placed, ["longer than a whole batch may be"])
    assert len(model.texts[-1]) == 1


def test_a_model_without_padding_id_gets_whole_rows() -> None:
    placed, model = watched(tiny_placed(), pad_id=None)
    found = embed_texts(placed, TEXTS)
    assert [tuple(tokens.shape) for tokens in model.texts] == [(6, CONTEXT)]
    torch.testing.assert_close(found, embed_texts(tiny_placed(), TEXTS), atol=1e-5, rtol=0)


def test_progress_sees_every_text_once() -> None:
    seen: list[int] = []

    def track(groups: list[Tensor]) -> Iterable[Tensor]:
        for group in groups:
            yield group
            seen.extend(group.tolist())

    embed_texts(tiny_placed(), TEXTS, track)
    assert sorted(seen) == list(range(len(set(TEXTS))))


@pytest.mark.peer
@pytest.mark.parametrize("correct_mask", [False, True])
def test_texts_embed_as_in_open_clip(correct_mask: bool) -> None:
    theirs, ours = random_pair(narrow_l14(correct_mask=correct_mask))
    texts = ["a photo of a cat", "stop! wait! a dog barks", "!", "", "two red kites over a field. " * 12, "a dog"]
    placed = Placed(ours, ClipTokenizer(76), ours.config.image, "narrow", "0", torch.device("cpu"), "fp32")
    with torch.inference_mode():
        expected = theirs.encode_text(placed.tokenizer.encode(texts), normalize=True)
    found = embed_texts(placed, texts)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    assert F.cosine_similarity(found, expected).min() > 0.99999


def pixels_of(n: int) -> Tensor:
    return torch.randint(0, 256, (n, 3, 16, 16), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def test_pictures_are_normalised_and_embedded() -> None:
    placed = tiny_placed()
    pixels = pixels_of(5)
    with torch.inference_mode():
        halves = [placed.model.embed_image(normalise(half, placed.image)) for half in pixels.chunk(2)]
    found = embed_pixels(placed, pixels)
    assert torch.equal(found, F.normalize(torch.cat(halves), dim=-1))
    assert torch.pdist(found).min() > 1e-3


@pytest.mark.parametrize("n", [4, 5, 11, 16])
def test_a_full_memory_halves_the_batch(n: int) -> None:
    placed, model = watched(tiny_placed(), most=4)
    found = embed_pixels(placed, pixels_of(n))
    torch.testing.assert_close(found, embed_pixels(tiny_placed(), pixels_of(n)), atol=1e-6, rtol=0)
    assert model.pictures[0] == -(-n // 2)  # a CPU has its halves beside each other anyway
    assert sum(size for size in model.pictures if size <= 4) == n


def test_a_memory_too_full_for_one_picture_is_an_error() -> None:
    placed, model = watched(tiny_placed(), most=0)
    with pytest.raises(torch.OutOfMemoryError):
        embed_pixels(placed, pixels_of(4))
    assert model.pictures == [2, 1]


@pytest.mark.parametrize("side", ["text", "image.vit"])
def test_embeddings_that_are_no_numbers_stop_the_run(side: str) -> None:
    """NaN is neither above nor below anything: counted as ranks, it would be first everywhere."""
    placed = tiny_placed()
    with torch.no_grad():
        for name, parameter in placed.model.named_parameters():  # type: ignore[attr-defined]
            if name.startswith(side):
                parameter.fill_(torch.nan)
    pictures = torch.zeros(1, 3, 16, 16, dtype=torch.uint8)
    if side == "text":
        with pytest.raises(CocaError, match="the model's embeddings are not finite numbers: its weights are damaged"):
            embed_texts(placed, ["a cat"])
    else:
        for embed, pixels in ((embed_pixels, pictures), (embed_frames, pictures[None])):
            with pytest.raises(CocaError, match=r"not finite numbers: .* try --precision fp32, or another checkpoint"):
                embed(placed, pixels)
