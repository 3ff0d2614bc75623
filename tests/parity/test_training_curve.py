"""The same start, the same batches: the losses of this trainer and of open_clip's model and loss, step by step."""

from __future__ import annotations

import copy
import itertools
from pathlib import Path

import pytest
import torch
from open_clip.loss import CoCaLoss

from coca_cli.datasets.sources import find_source
from coca_cli.media.images import normalise
from coca_cli.model.tokenizer import ClipTokenizer
from coca_cli.options import OptimizerChoice
from coca_cli.training.augment import Augmentation
from coca_cli.training.batches import training_batches
from coca_cli.training.mixture import Feed, Mixture
from coca_cli.training.objective import Objective, Part, Weights, backward, pack_texts
from coca_cli.training.optim import build_optimizer
from coca_cli.world import SINGLE
from tests.parity.open_clip_models import model_config, random_pair

STEPS = 8
RATE = 1e-3


@pytest.mark.peer
@pytest.mark.slow
@pytest.mark.parametrize("correct_mask", [False, True])
def test_the_loss_curves_are_one(correct_mask: bool) -> None:
    narrow = {"embed_dim": 64, "vision__width": 64, "vision__layers": 2, "vision__image_size": 64, "text__width": 64}
    narrow |= {"text__layers": 2, "multimodal__width": 64, "multimodal__layers": 2}
    theirs, ours = random_pair(model_config("coca_ViT-B-32", correct_mask=correct_mask, **narrow))
    ours = copy.deepcopy(ours)  # it shares its tensors with theirs
    feed = Feed(find_source("scenes", Path("nowhere")), 0, 0, limit=64)
    batches = training_batches(
        Mixture([feed], [1.0], 0),
        Augmentation().view(ours.config.image),
        batch_size=16,
        workers=0,
    )
    tokenizer = ClipTokenizer(76)
    loss = CoCaLoss(caption_loss_weight=2.0, clip_loss_weight=1.0, pad_id=0)
    their_optimizer = torch.optim.AdamW(theirs.train().parameters(), lr=RATE, betas=(0.9, 0.999), weight_decay=0.0)
    our_optimizer = build_optimizer(ours.train(), OptimizerChoice.adamw, RATE, 0.0)
    curves: list[tuple[float, float]] = []
    for batch in itertools.islice(batches, STEPS):
        tokens = tokenizer.encode(batch.captions)
        their_optimizer.zero_grad()
        output = theirs(normalise(batch.pixels, ours.config.image), tokens)
        found = sum(loss(**output, output_dict=True).values())
        found.backward()
        their_optimizer.step()
        our_optimizer.zero_grad()
        part = Part(batch.pixels, pack_texts(ours, tokens))
        mine = backward(Objective(ours), [part], ours.pad_id, Weights(), SINGLE)
        our_optimizer.step()
        curves.append((mine.total, found.item()))
    assert curves[-1][1] < 0.85 * curves[0][1]  # something was learned
    for step, (mine_at, theirs_at) in enumerate(curves):
        assert mine_at == pytest.approx(theirs_at, abs=2e-3), step
    assert curves[0][0] == pytest.approx(curves[0][1], abs=1e-4)
