from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from coca_cli.datasets.example import Example
from coca_cli.media.images import normalise
from coca_cli.model.text import text_lengths
from coca_cli.model.understanding import Understanding, UnderstandingHead, encode_questions
from coca_cli.options import Parallel
from coca_cli.tasks.vqa_accuracy import AnswerList
from coca_cli.training.batches import Position, TrainingBatch
from coca_cli.training.checkpoints import TrainingState
from coca_cli.training.loop import Execution
from coca_cli.training.understanding_work import UnderstandingObjective, UnderstandingWork
from coca_cli.training.utilisation import StepCost
from coca_cli.world import World
from tests.tasks.tiny import LetterTokenizer, tiny_coca

TOKENIZER = LetterTokenizer()
CPU = torch.device("cpu")
KNOWN = AnswerList(["yes", "no", "two"])
ASKED = (
    ("is it?", ("yes",) * 9 + ("no",)),
    ("how many are?", ("two",) * 5 + ("3",) * 5),
    ("why?", ("so",) * 10),
    ("it?", ("no",)),
)


def batch(pictures: int = 1, *, labels: bool = False) -> TrainingBatch:
    examples = [
        Example(
            str(row),
            (Path("a.jpg"),),
            label=row % 3 if labels else None,
            texts=() if labels else texts,
            question=question,
        )
        for row, (question, texts) in enumerate(ASKED)
    ]
    pixels = torch.randint(
        0, 256, (4, pictures, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(3)
    )
    spoken = ["", "", "", ""] if labels else ["yes", "two", "so", "no"]
    return TrainingBatch(pixels, spoken, examples, ["x"] * 4, Position([4], 1), {})


def work(
    pictures: int = 1, *, labels: bool = False, weight: float = 0.0, frozen: bool = False, accumulate: int = 1
) -> UnderstandingWork:
    coca = tiny_coca().train()
    torch.manual_seed(1)
    head = UnderstandingHead(coca.config.text.width, coca.config.text.heads, pictures, 3)
    torch.nn.init.normal_(head.classifier.weight)
    model = Understanding(coca, head, pictures)
    model.train_decoding_alone(captions=weight > 0)
    if frozen:
        coca.requires_grad_(False)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    return UnderstandingWork(
        state=TrainingState(model, optimizer, None),
        objective=UnderstandingObjective(model, exclusive=labels, captions=weight > 0, frozen=frozen),
        execution=Execution(device=CPU, world=World(), parallel=Parallel.ddp, accumulate=accumulate, peak=1.0),
        tokenizer=TOKENIZER,
        pad_id=0,
        answers=None if labels else KNOWN,
        generative_weight=weight,
        cost=StepCost(1000, 10),
        frozen=frozen,
        noun="questions",
    )


def gradients(done: UnderstandingWork) -> dict[str, torch.Tensor]:
    return {name: p.grad for name, p in done.state.model.named_parameters() if p.grad is not None}


def test_open_questions_learn_how_right_each_answer_is() -> None:
    done, given = work(), batch()
    losses = done.backward(given, 0)
    model = done.state.model
    assert isinstance(model, Understanding)
    questions = encode_questions(TOKENIZER, 0, [question for question, _ in ASKED])
    images = normalise(given.pixels[:, 0], model.coca.config.image)[:, None]
    with torch.no_grad():
        logits = model(images, questions)
    targets = torch.tensor([[1, 0.3, 0], [0, 0, 1], [0, 0, 0], [0, 1, 0]])
    assert losses.total == pytest.approx(
        F.binary_cross_entropy_with_logits(logits, targets, reduction="sum").item() / 4
    )
    right = sum(targets[row, best].item() for row, best in enumerate(logits.argmax(dim=1)))
    assert losses.parts == {"answers": pytest.approx(losses.total), "accuracy": pytest.approx(25 * right)}


def test_statements_learn_their_class() -> None:
    done, given = work(2, labels=True), batch(2, labels=True)
    losses = done.backward(given, 0)
    model = done.state.model
    assert isinstance(model, Understanding)
    images = normalise(given.pixels.flatten(0, 1), model.coca.config.image).unflatten(0, (4, 2))
    with torch.no_grad():
        logits = model(images, encode_questions(TOKENIZER, 0, [question for question, _ in ASKED]))
    labels = torch.tensor([0, 1, 2, 0])
    assert losses.total == pytest.approx(F.cross_entropy(logits, labels).item(), abs=1e-5)
    assert losses.parts["accuracy"] == 25 * (logits.argmax(dim=1) == labels).sum()


def test_question_and_answer_are_written_too() -> None:
    done, given = work(weight=0.5), batch()
    losses = done.backward(given, 0)
    model = done.state.model
    assert isinstance(model, Understanding)
    joined = TOKENIZER.encode([question + answer for (question, _), answer in zip(ASKED, given.captions, strict=True)])
    joined = joined[:, : int(text_lengths(joined, 0).max())]
    images = normalise(given.pixels[:, 0], model.coca.config.image)
    with torch.no_grad():
        logits = model.coca(images, joined).logits
    following = joined[:, 1:]
    expected = F.cross_entropy(logits[following != 0], following[following != 0]).item()
    assert losses.parts["caption"] == pytest.approx(expected, rel=1e-5)
    assert losses.total == pytest.approx(losses.parts["answers"] + 0.5 * expected, rel=1e-5)
    assert "coca.decoder.to_vocab.weight" in gradients(done)


@pytest.mark.parametrize("weight", [0.0, 1.0])
@pytest.mark.parametrize("parts", [2, 4])
def test_a_batch_in_parts_has_the_gradient_of_the_whole(weight: float, parts: int) -> None:
    whole, cut = work(weight=weight), work(weight=weight, accumulate=parts)
    one, other = whole.backward(batch(), 0), cut.backward(batch(), 0)
    assert other.total == pytest.approx(one.total, abs=1e-5)
    assert other.parts == pytest.approx(one.parts, abs=1e-5)
    first, second = gradients(whole), gradients(cut)
    assert first.keys() == second.keys()
    for name, gradient in first.items():
        torch.testing.assert_close(second[name], gradient, atol=1e-5, rtol=1e-4, msg=name)


def test_of_a_frozen_model_the_head_alone_learns() -> None:
    done = work(frozen=True)
    free = work()
    assert done.backward(batch(), 0).total == pytest.approx(free.backward(batch(), 0).total)
    found = gradients(done)
    assert found.keys() == {name for name, _ in done.state.model.named_parameters() if name.startswith("head.")}
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, gradients(free)[name], atol=1e-5, rtol=1e-4)
    assert done.backward(batch(), 0).operations * 3 == free.backward(batch(), 0).operations
