from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from coca_cli.errors import BadCheckpoint, MissingFile
from coca_cli.model.understanding import Understanding, UnderstandingHead, encode_questions
from coca_cli.model.understanding_folder import (
    HEAD_FILE,
    UNDERSTANDING_FILE,
    UnderstandingDescription,
    load_understanding,
    save_understanding,
)
from tests.tasks.tiny import CONTEXT, LetterTokenizer, tiny_coca

TOKENIZER = LetterTokenizer()


def model_of(pictures: int = 1, classes: int = 3) -> Understanding:
    coca = tiny_coca()
    torch.manual_seed(1)
    head = UnderstandingHead(coca.config.text.width, coca.config.text.heads, pictures, classes)
    torch.nn.init.normal_(head.classifier.weight)
    return Understanding(coca, head, pictures).eval()


def pixels(batch: int, pictures: int = 1, seed: int = 0) -> torch.Tensor:
    return torch.randn(batch, pictures, 3, 16, 16, generator=torch.Generator().manual_seed(seed))


def test_a_question_is_the_same_ids_with_an_answer_behind_it_and_without() -> None:
    alone = encode_questions(TOKENIZER, 0, ["what?", "is it?"])
    joined = encode_questions(TOKENIZER, 0, ["what?", "is it?"], ["a dog", ""])
    assert alone.lengths.tolist() == joined.lengths.tolist() == [6, 7]
    for row, length in enumerate(alone.lengths.tolist()):
        assert torch.equal(alone.tokens[row, :length], joined.tokens[row, :length])
    assert joined.tokens[0].tolist() == TOKENIZER.encode(["what?a dog"])[0, : joined.tokens.shape[1]].tolist()
    assert joined.tokens[1].tolist()[:8] == alone.tokens[1].tolist()[:8]
    assert joined.tokens.shape[1] == 1 + len("what?a dog") + 1


def test_long_questions_are_cut_and_leave_no_room_for_answers() -> None:
    long = encode_questions(TOKENIZER, 0, ["x" * 40, "x" * (CONTEXT - 4)], ["yes", "maybe"])
    assert long.tokens.shape == (2, CONTEXT)
    assert long.lengths.tolist() == [CONTEXT - 1, CONTEXT - 3]
    assert long.tokens[0, -1] != 0
    room = TOKENIZER.encode(["x" * (CONTEXT - 4)])[0, : CONTEXT - 3], TOKENIZER.encode(["maybe"])[0, 1:4]
    assert long.tokens[1].tolist() == torch.cat(room).tolist()


@pytest.mark.parametrize("pictures", [1, 2])
def test_what_stands_behind_a_question_does_not_change_its_answer(pictures: int) -> None:
    model, images = model_of(pictures), pixels(2, pictures)
    with torch.no_grad():
        alone = model(images, encode_questions(TOKENIZER, 0, ["what?", "is it there?"]))
        joined = model(images, encode_questions(TOKENIZER, 0, ["what?", "is it there?"], ["dog", "a big cat"]))
        padded = model(images[:1], encode_questions(TOKENIZER, 0, ["what?"]))
    torch.testing.assert_close(joined, alone, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(padded[0], alone[0], atol=1e-5, rtol=1e-5)
    assert (alone[0] - alone[1]).abs().max() > 0.01


def test_both_pictures_and_their_order_count() -> None:
    model, images = model_of(2), pixels(1, 2)
    question = encode_questions(TOKENIZER, 0, ["both?"])
    with torch.no_grad():
        first, swapped = model(images, question), model(images.flip(1), question)
        other = model(torch.cat([images[:, :1], pixels(1, 1, seed=5)], dim=1), question)
    assert (first - swapped).abs().max() > 1e-3
    assert (first - other).abs().max() > 1e-3


def test_pooled_vectors_of_two_pictures_stand_side_by_side() -> None:
    torch.manual_seed(0)
    head = UnderstandingHead(8, 2, 2, 3)
    read, lengths = torch.randn(4, 2, 5, 8), torch.tensor([5, 4, 1, 2])
    with torch.no_grad():
        found = head(read, lengths)
        for row, length in enumerate(lengths.tolist()):
            vectors = [head.pooler(read[row, picture : picture + 1, :length])[0, 0] for picture in range(2)]
            torch.testing.assert_close(found[row], head.classifier(torch.cat(vectors)), atol=1e-5, rtol=0)


def test_what_no_answer_depends_on_is_left_out_of_training() -> None:
    model = model_of()
    model.train_decoding_alone(captions=False)
    model(pixels(2), encode_questions(TOKENIZER, 0, ["what?", "why?"])).sum().backward()  # type: ignore[no-untyped-call]
    for name, parameter in model.named_parameters():
        moved = parameter.grad is not None and bool(parameter.grad.abs().sum())
        if not parameter.requires_grad:
            assert parameter.grad is None, name
        elif name not in ("coca.text.positions", "coca.text.embedding.weight"):
            assert moved or "bias" in name, name
    with_captions = model_of()
    with_captions.train_decoding_alone(captions=True)
    assert with_captions.coca.decoder.to_vocab.weight.requires_grad
    assert not model.coca.decoder.to_vocab.weight.requires_grad


# --- on disk ---


DESCRIBED = UnderstandingDescription(
    name="mine", task="questions", width=8, heads=2, pictures=1, answers=("ja", "nö"), checkpoint="01", usual={"": "ja"}
)


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    head = DESCRIBED.build()
    save_understanding(tmp_path / "folder", DESCRIBED, head, {"trained": {"steps": 3}})
    found = load_understanding(tmp_path / "folder")
    assert found.described == DESCRIBED
    assert not found.head.training
    for name, weight in head.state_dict().items():
        assert torch.equal(found.head.state_dict()[name], weight)
    assert json.loads((tmp_path / "folder" / UNDERSTANDING_FILE).read_text())["trained"] == {"steps": 3}


def test_no_head(tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match=r"no understanding.json in .*: give the folder that coca finetune vqa"):
        load_understanding(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is damaged: it should be JSON; finetune the model again"),
        ("[]", "is no head of coca"),
        ('{"format": "coca-classifier"}', "is no head of coca"),
        ('{"format": "coca-understanding", "format_version": 9}', "has the head format 9, this coca reads 1"),
        ('{"format": "coca-understanding", "format_version": 1}', "does not fit its description"),
    ],
)
def test_damaged_descriptions(tmp_path: Path, content: str, message: str) -> None:
    save_understanding(tmp_path, DESCRIBED, DESCRIBED.build())
    (tmp_path / UNDERSTANDING_FILE).write_text(content)
    with pytest.raises(BadCheckpoint, match=message):
        load_understanding(tmp_path)


def test_answers_that_do_not_fit_the_weights(tmp_path: Path) -> None:
    save_understanding(tmp_path, DESCRIBED, DESCRIBED.build())
    content = json.loads((tmp_path / UNDERSTANDING_FILE).read_text())
    (tmp_path / UNDERSTANDING_FILE).write_text(json.dumps(content | {"answers": ["ja", "nö", "?"]}))
    with pytest.raises(BadCheckpoint, match="lists 3 answers, and the weights beside it answer with 2: the list"):
        load_understanding(tmp_path)
    (tmp_path / UNDERSTANDING_FILE).write_text(json.dumps(content | {"width": 16}))
    with pytest.raises(BadCheckpoint, match="does not fit its description"):
        load_understanding(tmp_path)
    (tmp_path / HEAD_FILE).unlink()
    with pytest.raises(MissingFile, match="no weights file"):
        load_understanding(tmp_path)
