"""How quickly JPEG files become image embeddings, against a loop with open_clip, and against the machine itself.

What: 1,000 photographs of ImageNet's size through coca_ViT-B-32 with the same random weights on both sides. The peer is
what CLIP_benchmark and open_clip's own evaluation do: a DataLoader with open_clip's transform, encode_image under CPU
autocast (bf16), unit length; with as many workers as there are cores or CLIP_benchmark's four, whichever is quicker.
coca runs what its commands run, without a cache.

First the outputs are compared on 64 pictures: in fp32 they must agree within 1e-4, in bf16 both must stay near fp32.
Then both are timed in turn, from files to embeddings. The model's part is timed alone, on pixels, and given as a part
of the rate at which the machine multiplies bf16 matrices of 4,096 x 4,096 in the same rounds.

    python benchmarks/images.py [--data FOLDER] [--pictures 1000] [--rounds 3]
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import open_clip
import torch
import torch.nn.functional as F
from measuring import in_turn, parser, ratio_row, report, value_row
from models import model_name, our_model, their_model
from open_clip.transform import PreprocessCfg, image_transform_v2
from pictures import jpeg_files
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from coca_cli.datasets.example import Example
from coca_cli.media.batches import Skipped
from coca_cli.model.coca import CoCa
from coca_cli.model.flops import count_operations
from coca_cli.model.open_clip_config import open_clip_config
from coca_cli.model.placement import Placed
from coca_cli.tasks.embedding import embed_pixels
from coca_cli.tasks.feature_store import FeatureStore
from coca_cli.tasks.features import features_of
from coca_cli.tasks.media_features import Reading, media_computing

BATCH = 64
SQUARE = {"regular": 4096, "smoke": 256}


class Files(Dataset[Tensor]):
    """JPEG files as open_clip's transform makes them."""

    def __init__(self, files: Sequence[Path], transform: Callable[[Image.Image], Tensor]) -> None:
        self.files, self.transform = files, transform

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, number: int) -> Tensor:
        return self.transform(Image.open(self.files[number]))


def their_embeddings(model: torch.nn.Module, files: Sequence[Path], autocast: bool, workers: int) -> Tensor:
    transform = image_transform_v2(PreprocessCfg(**model.visual.preprocess_cfg), is_train=False)
    loader = DataLoader(Files(files, transform), batch_size=BATCH, num_workers=workers)
    with torch.no_grad(), torch.autocast("cpu", enabled=autocast):
        return torch.cat([F.normalize(model.encode_image(part), dim=-1).float() for part in loader])


def our_embeddings(placed: Placed, files: Sequence[Path]) -> Tensor:
    examples = [Example(file.name, (file,)) for file in files]
    computing, _ = media_computing(placed, Reading(batch_size=BATCH), clips=False)
    return features_of(examples, FeatureStore(None, {}, print), computing, Skipped(strict=True)).features


def multiplication(side: int) -> Callable[[], Tensor]:
    """A product of two bf16 matrices."""
    a, b = torch.randn(side, side).bfloat16(), torch.randn(side, side).bfloat16()
    return lambda: F.linear(a, b)


def operations_of(name: str) -> int:
    """Floating-point operations of one picture's embedding, counted on a model without weights."""
    with torch.device("meta"):
        model = CoCa(open_clip_config(open_clip.get_model_config(name))).eval().requires_grad_(False)
        size = model.config.image.size
        return count_operations(lambda: model.embed_image(torch.empty(1, 3, size, size)))


def main(arguments: list[str] | None = None) -> None:
    options_parser = parser(__doc__)
    options_parser.add_argument("--pictures", type=int, help="1,000 unless told otherwise")
    options = options_parser.parse_args(arguments)
    smoke = options.size == "smoke"
    count = options.pictures or (40 if smoke else 1000)
    name = model_name(options.size)
    theirs = their_model(name)
    ours = our_model(name, theirs)
    fast = ours("bf16")
    with tempfile.TemporaryDirectory() as folder:
        files = jpeg_files(options.data, Path(folder), count)
        few = files[:BATCH]
        exact = their_embeddings(theirs, few, autocast=False, workers=0)
        difference = (our_embeddings(ours("fp32"), few) - exact).abs().max().item()
        assert difference < 1e-4, f"fp32 embeddings differ by {difference}"
        cosines = [
            F.cosine_similarity(embedded, exact).min().item()
            for embedded in (our_embeddings(fast, few), their_embeddings(theirs, few, autocast=True, workers=0))
        ]
        assert min(cosines) > 0.999, cosines

        cores = len(os.sched_getaffinity(0))
        choices = [0] if smoke else sorted({cores, 4})
        sides: dict[str, Callable[[], Tensor]] = {
            f"open_clip, {workers} workers": lambda workers=workers: their_embeddings(theirs, files, True, workers)
            for workers in choices
        }
        seconds = in_turn(sides | {"coca": lambda: our_embeddings(fast, files)}, options.rounds)

    size = fast.image.size
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (BATCH, 3, size, size), np.uint8))
    square = SQUARE[options.size]
    parts = in_turn(
        {"model": lambda: embed_pixels(fast, pixels), "product": multiplication(square)}, 3 * options.rounds
    )
    operations = operations_of(name)
    rates = [BATCH * operations / one for one in parts["model"]]
    machine_rates = [2 * square**3 / one for one in parts["product"]]
    shares = [100 * mine / whole for mine, whole in zip(rates, machine_rates, strict=True)]

    best = min(sides, key=lambda side: sorted(seconds[side])[len(seconds[side]) // 2])
    told = (
        f"fp32 equal within {difference:.0e}; cosine to fp32 {cosines[0]:.5f} (coca bf16), {cosines[1]:.5f} (autocast)"
    )
    rows = [
        ratio_row(
            f"{count:,} JPEG files to image embeddings, {name}",
            f"DataLoader and open_clip {open_clip.__version__} under autocast ({best.split(', ')[1]})",
            seconds[best],
            seconds["coca"],
            target=None if smoke else 1.4,
            equal=told,
        ),
        value_row(
            f"the model's part of it, {operations / 1e9:.1f} GFLOP a picture",
            f"bf16 product of {square:,} x {square:,} matrices",
            shares,
            unit="% of the rate",
            target=None if smoke else 75,
            detail=f"{np.median(rates) / 1e9:,.0f} of {np.median(machine_rates) / 1e9:,.0f} GFLOP/s",
        ),
    ]
    report("images", options, rows, seconds=seconds, parts=parts)


if __name__ == "__main__":
    main()
