"""Pictures and clips become rows of numbers, and these captions and embeddings again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from coca_cli.datasets.example import Example, Pixels
from coca_cli.errors import BadCheckpoint, CocaError
from coca_cli.media.images import fit_image, normalise, read_image
from coca_cli.media.video import Sampling
from coca_cli.model.coca import CoCa
from coca_cli.model.decoding import write_captions
from coca_cli.model.decoding_terms import Decoding
from coca_cli.options import DecodingMethod, FrameMean
from coca_cli.tasks import captioning
from coca_cli.tasks.captioning import (
    Captioner,
    ScoredText,
    Writing,
    caption_computing,
    captioner_of,
    captions_in,
    embeddings_in,
    write_texts,
)
from coca_cli.tasks.embedding import embed_frames, embed_pixels
from coca_cli.tasks.media_features import Reading
from tests.tasks.tiny import tiny_placed
from tests.tasks.writer import writer_placed

SHORT = Decoding(max_length=9)


@pytest.fixture(scope="module")
def captioner() -> Captioner:
    return captioner_of(writer_placed())


def pixels(*shape: int, seed: int = 0) -> Tensor:
    """Coloured noise, (..., 3, 16, 16) uint8, each picture around a colour of its own."""
    random = torch.Generator().manual_seed(seed)
    colours = torch.randint(20, 230, (*shape, 3, 1, 1), generator=random)
    return (colours + torch.randint(-20, 21, (*shape, 3, 16, 16), generator=random)).to(torch.uint8)


def rows_of(captioner: Captioner, writing: Writing, batch: Tensor) -> Tensor:
    computing, _ = caption_computing(captioner, writing, Reading(), clips=batch.ndim == 5)
    return computing.compute(batch)


def words(texts: Sequence[Sequence[ScoredText]]) -> list[list[str]]:
    return [[text.text for text in found] for found in texts]


@pytest.mark.parametrize("prefix", ["", "a red digit"])
@pytest.mark.parametrize(
    "decoding",
    [
        SHORT,
        Decoding(),
        Decoding(beams=5, n_best=4, max_length=6, length_penalty=1.0),
        Decoding(method=DecodingMethod.greedy, max_length=5),
        Decoding(method=DecodingMethod.sample, n_best=3, max_length=5, seed=3),
        Decoding(method=DecodingMethod.open_clip, n_best=2),
    ],
)
def test_captions_from_rows_are_those_that_the_model_wrote(
    captioner: Captioner, decoding: Decoding, prefix: str
) -> None:
    batch = pixels(5)
    rows = rows_of(captioner, Writing(decoding=decoding, prefix=prefix), batch)
    assert (rows.dtype, rows.device.type) == (torch.float32, "cpu")
    found = captions_in(rows, captioner, Writing(decoding=decoding, prefix=prefix))
    model, tokenizer = captioner.model, captioner.tokenizer
    tokens = model.encode_image(normalise(batch, captioner.placed.image)).tokens
    keys = [captioning.zlib.crc32(picture.numpy().tobytes()) for picture in batch]
    expected = write_captions(model, tokens, tokenizer, decoding, prefix=prefix, keys=keys)
    begun = tokenizer.encode([prefix])[0].tolist()
    begun = begun[: begun.index(tokenizer.eos_id)]
    assert words(found) == [
        [" ".join(tokenizer.decode([*begun, *caption.tokens]).split()) for caption in captions] for captions in expected
    ]
    scores = [[text.score for text in texts] for texts in found]
    assert scores == [pytest.approx([caption.score for caption in captions]) for captions in expected]
    assert all(len(texts) == decoding.n_best for texts in found)
    assert all(each == sorted(each, reverse=True) for each in scores)
    assert len({texts[0].text for texts in found}) > 2
    assert all(text.text.startswith(prefix) for texts in found for text in texts)
    assert not any("  " in text.text or text.text != text.text.strip() for texts in found for text in texts)
    assert write_texts(captioner, Writing(decoding=decoding, prefix=prefix), batch) == found


def test_a_vocabulary_that_has_too_few_captions_gives_those_that_there_are(captioner: Captioner) -> None:
    size = captioner.tokenizer.vocab_size
    decoding = Decoding(beams=2 * size, n_best=2 * size, max_length=1)
    (found,) = write_texts(captioner, Writing(decoding=decoding), pixels(1))
    assert len(found) < size
    assert len(found) > size - 5


@pytest.mark.parametrize("n_best", [1, 3])
def test_embeddings_are_those_of_coca_embed(captioner: Captioner, n_best: int) -> None:
    batch, writing = pixels(6), Writing(decoding=replace(SHORT, n_best=n_best), embed=True)
    rows = rows_of(captioner, writing, batch)
    found = embeddings_in(rows, writing)
    torch.testing.assert_close(found, embed_pixels(captioner.placed, batch), atol=1e-6, rtol=0)
    assert torch.pdist(found).min() > 1e-3
    plain = replace(writing, embed=False)
    assert captions_in(rows, captioner, writing) == captions_in(rows_of(captioner, plain, batch), captioner, plain)
    assert embeddings_in(rows_of(captioner, plain, batch), plain).shape == (6, 0)


def test_embeddings_that_are_no_numbers_are_refused() -> None:
    placed = writer_placed()
    broken = captioner_of(placed)
    with torch.no_grad():
        broken.model.image.vit.positions.fill_(torch.nan)
    with pytest.raises(CocaError, match="the model's embeddings are not finite numbers"):
        rows_of(broken, Writing(decoding=SHORT, embed=True), pixels(2))


def test_one_frame_is_a_picture(captioner: Captioner) -> None:
    writing, batch = Writing(decoding=SHORT, embed=True), pixels(4)
    of_pictures, of_clips = rows_of(captioner, writing, batch), rows_of(captioner, writing, batch[:, None])
    torch.testing.assert_close(of_clips, of_pictures, atol=1e-5, rtol=1e-6)
    assert words(captions_in(of_clips, captioner, writing)) == words(captions_in(of_pictures, captioner, writing))


def test_all_frames_of_a_clip_tell(captioner: Captioner) -> None:
    """The decoder sees the patches of all frames pooled at once; the embedding is the mean of the frames'."""
    writing, clips = Writing(decoding=SHORT, embed=True), pixels(3, 4)
    whole = rows_of(captioner, writing, clips)
    torch.testing.assert_close(embeddings_in(whole, writing), embed_frames(captioner.placed, clips), atol=1e-6, rtol=0)
    tokens = captioner.model.encode_clip(normalise(clips, captioner.placed.image)).tokens
    expected = write_captions(captioner.model, tokens, captioner.tokenizer, SHORT)
    found = captions_in(whole, captioner, writing)
    assert words(found) == [[captioner.tokenizer.decode(best.tokens)] for (best,) in expected]
    for frame in range(4):
        changed = clips.clone()
        changed[:, frame] = 255 - changed[:, frame]
        other = captions_in(rows_of(captioner, writing, changed), captioner, writing)
        assert all(abs(one.score - another.score) > 1e-3 for (one,), (another,) in zip(found, other, strict=True))
    alone = [rows_of(captioner, writing, clip[None]) for clip in clips]
    torch.testing.assert_close(whole, torch.cat(alone), atol=1e-5, rtol=1e-6)


@pytest.mark.parametrize("shape", [(7,), (3, 2)])
def test_too_little_memory_halves_the_batch(
    captioner: Captioner, monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...]
) -> None:
    writing, batch = Writing(decoding=SHORT, embed=True), pixels(*shape)
    whole, sizes, plain = rows_of(captioner, writing, batch), [], captioning._written_rows

    def little(captioner: Captioner, writing: Writing, pixels: Tensor) -> Tensor:
        sizes.append(len(pixels))
        if len(pixels) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return plain(captioner, writing, pixels)

    monkeypatch.setattr(captioning, "_written_rows", little)
    parts = rows_of(captioner, writing, batch)
    assert sizes == ([7, 4, 2, 2, 3, 2, 1] if shape == (7,) else [3, 2, 1])
    torch.testing.assert_close(parts, whole, atol=1e-5, rtol=1e-6)
    assert words(captions_in(parts, captioner, writing)) == words(captions_in(whole, captioner, writing))


def test_memory_too_small_for_one_picture_is_an_error(captioner: Captioner, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(captioning, "_written_rows", none)
    with pytest.raises(torch.OutOfMemoryError):
        rows_of(captioner, Writing(decoding=SHORT), pixels(4))


def test_samples_depend_on_the_picture_not_on_its_place(captioner: Captioner) -> None:
    writing = Writing(decoding=Decoding(method=DecodingMethod.sample, max_length=8))
    batch = pixels(4)
    one, other = write_texts(captioner, writing, batch), write_texts(captioner, writing, batch.flip(0))
    assert words(one) == words(other)[::-1]
    seeded = replace(writing, decoding=replace(writing.decoding, seed=1))
    assert words(write_texts(captioner, seeded, batch)) != words(one)


@pytest.mark.parametrize("part", ["model", "tokenizer"])
def test_a_model_without_a_text_decoder_writes_no_captions(part: str) -> None:
    class Baseline:
        pad_id = None

    changed = replace(writer_placed(), model=Baseline()) if part == "model" else tiny_placed()
    with pytest.raises(BadCheckpoint, match="has no text decoder and writes no captions: give a CoCa with --model"):
        captioner_of(changed)


def test_what_decides_a_caption_is_known_to_the_store(captioner: Captioner) -> None:
    """And what does not is not: how a clip's frames are averaged for retrieval."""

    def facts(writing: Writing, reading: Reading, *, clips: bool) -> str:
        return repr(caption_computing(captioner, writing, reading, clips=clips)[1])

    writing, reading = Writing(), Reading()
    plain = facts(writing, reading, clips=False)
    assert plain == facts(writing, Reading(sampling=Sampling(4)), clips=False)
    for other in (
        replace(writing, prefix="a"),
        replace(writing, embed=True),
        *(replace(writing, decoding=change) for change in (Decoding(beams=2), Decoding(seed=1), Decoding(top_k=3))),
    ):
        assert facts(other, reading, clips=False) != plain
    clips = facts(writing, reading, clips=True)
    assert clips not in (plain, facts(writing, Reading(sampling=Sampling(4)), clips=True))
    assert clips == facts(writing, Reading(frame_mean=FrameMean.normalise_first), clips=True)


def test_pictures_are_read_as_for_embeddings(captioner: Captioner) -> None:
    array = np.random.default_rng(0).integers(0, 255, (40, 30, 3), dtype=np.uint8)
    example = Example("1", (Pixels(array, "drawn"),))
    computing, facts = caption_computing(captioner, Writing(), Reading(batch_size=5), clips=False, border=4)
    expected = fit_image(read_image(example.media[0], 4), captioner.placed.image)
    assert computing.read(example).tolist() == expected.tolist()
    assert (computing.batch_size, facts["batch"]) == (5, 5)
    assert isinstance(captioner.model, CoCa)
