"""What features that are kept save a probe: a sweep of heads on them, against each head with the encoder in the loop.

What: coca_ViT-B-32 (random weights), photographs with made-up classes, attentional heads. Kept: the tokens of all
pictures are computed once, then 8 heads are trained side by side for 20 epochs. In the loop: each batch goes through
the encoder, and heads are trained one after the other. That would take 160 passes over the pictures; `--measured` of
them are run in each round, and the time of all follows from theirs. Decoding is on neither side.

First one epoch of one head is trained both ways: the weights must be the same within 1e-4.

    python benchmarks/probing.py [--data FOLDER] [--pictures 512] [--epochs 20] [--rounds 3] [--measured 1]
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from measuring import in_turn, parser, ratio_row, report
from models import model_name, our_model, their_model
from pictures import jpeg_files
from torch import Tensor

from coca_cli.datasets.example import Example
from coca_cli.media.images import ImageSettings, fit_image, read_image
from coca_cli.model.coca import CoCa
from coca_cli.model.placement import Placed
from coca_cli.model.task_head import TaskHead
from coca_cli.options import FeatureChoice
from coca_cli.progress import Reporter
from coca_cli.tasks.token_features import FeatureSet, encode_tokens
from coca_cli.training.head_sweep import HeadBatch, HeadRecipe, Setting, train_heads
from coca_cli.training.mixture import mix_task
from coca_cli.training.probe_data import KeptTokens
from coca_cli.world import SINGLE

CLASSES = 10
SETTINGS = [Setting(rate, decay) for rate in (5e-4, 1e-3, 2e-3, 5e-3) for decay in (0.0, 0.01)]
QUIET = Reporter(quiet=True)


@dataclass(frozen=True)
class Probing:
    """Pictures with classes, and both ways to train heads on them.

    Attributes:
        placed: The model.
        examples: The n pictures.
        pixels: (n, 3, size, size) uint8.
        batch: Pictures of a step.
    """

    placed: Placed
    examples: Sequence[Example]
    pixels: Tensor
    batch: int

    def encode(self, rows: Iterable[int]) -> Tensor:
        """The tokens of these pictures, (B, N, W)."""
        return encode_tokens(self.placed, FeatureChoice.patches, self.pixels[torch.tensor(list(rows))])

    def kept(self) -> Iterator[HeadBatch]:
        """Batches from tokens that are computed once, when the first is asked for."""
        parts = [self.encode(rows) for rows in torch.arange(len(self.examples)).split(self.batch)]
        yield from KeptTokens("photographs", FeatureSet(self.examples, parts)).batches(self.batch, 0, SINGLE)

    def fresh(self) -> Iterator[HeadBatch]:
        """The same batches, each through the encoder."""
        mixture = mix_task("photographs", self.examples, 0)
        while True:
            rows = [row.feed.index(row.number) for row in mixture.next_batch(self.batch)]
            yield HeadBatch(self.encode(rows), torch.tensor([self.examples[row].label for row in rows]))

    def train(self, batches: Iterator[HeadBatch], settings: Sequence[Setting], epochs: int) -> list[TaskHead]:
        """A head for each setting."""
        recipe = HeadRecipe(steps=max(1, epochs * len(self.examples) // self.batch), batch_size=self.batch)
        return train_heads(self.build, settings, batches, recipe, QUIET)

    def build(self) -> TaskHead:
        """A new head of the encoder's width."""
        assert isinstance(self.placed.model, CoCa)
        vision = self.placed.model.config.vision
        return TaskHead(vision.width, vision.heads, CLASSES, norm_inputs=True)

    def difference(self) -> float:
        """The largest between the weights of a head from kept features and of one with the encoder in the loop."""
        (one,), (other,) = (self.train(batches, SETTINGS[:1], 1) for batches in (self.kept(), self.fresh()))
        pairs = zip(one.parameters(), other.parameters(), strict=True)
        return max((a - b).abs().max().item() for a, b in pairs)


def photographs(data: Path | None, count: int, settings: ImageSettings) -> tuple[list[Example], Tensor]:
    """Pictures with made-up classes, and their pixels, (n, 3, size, size) uint8."""
    with tempfile.TemporaryDirectory() as folder:
        files = jpeg_files(data, Path(folder), count)
        pixels = torch.from_numpy(np.stack([fit_image(read_image(file), settings) for file in files]))
    return [Example(file.name, (file,), number % CLASSES) for number, file in enumerate(files)], pixels


def main(arguments: list[str] | None = None) -> None:
    options_parser = parser(__doc__)
    options_parser.add_argument("--pictures", type=int, help="512 unless told otherwise")
    options_parser.add_argument("--epochs", type=int, help="20 unless told otherwise")
    options_parser.add_argument("--measured", type=int, default=1, help="passes with the encoder in the loop")
    options_parser.add_argument("--precision", default="auto", help="of the encoder")
    options = options_parser.parse_args(arguments)
    smoke = options.size == "smoke"
    count, epochs = options.pictures or (16 if smoke else 512), options.epochs or (1 if smoke else 20)
    name = model_name(options.size)
    placed = our_model(name, their_model(name))(options.precision)
    probing = Probing(placed, *photographs(options.data, count, placed.image), batch=8 if smoke else 64)

    difference = probing.difference()
    assert difference < 1e-4, f"heads differ by {difference:.1e}"
    seconds = in_turn(
        {
            "kept": lambda: probing.train(probing.kept(), SETTINGS, epochs),
            "in the loop": lambda: probing.train(probing.fresh(), SETTINGS[:1], options.measured),
        },
        options.rounds,
    )
    passes = epochs * len(SETTINGS)
    row = ratio_row(
        f"attentional probe, {len(SETTINGS)} settings x {epochs} epochs, {count:,} pictures, {name} {placed.precision}",
        "the encoder in the loop (one setting after the other)",
        [one * passes / options.measured for one in seconds["in the loop"]],
        seconds["kept"],
        target=None if smoke else 50,
        equal=f"a head from kept and from fresh features is the same within {difference:.0e}; "
        f"{options.measured} of {passes} passes in the loop are run",
    )
    report("probing", options, [row], seconds=seconds, precision=placed.precision, difference=difference)


if __name__ == "__main__":
    main()
