"""How quickly clips become embeddings, against decord and open_clip.

What: 16 frames of each clip, evenly spread over its time, through coca_ViT-B-32 with the same random weights on both
sides, and their mean with unit length. Theirs is the script that most evaluations of CLIP on videos have: a loop over
clips with decord's VideoReader and get_batch, open_clip's own transform of each frame, encode_image under CPU autocast
(bf16). Ours is what `coca eval zeroshot` and `retrieval` run on clips: decoding threads beside the model, in coca's own
number format for this CPU. Clips: real ones of ten seconds in several containers, from COCA_TEST_DATA; without it there
is nothing to measure, and the script says so.

First the outputs are compared. Their loop gets the frame numbers that coca's definition gives (by time, not by number),
and in fp32 each clip's embeddings must be nearer to each other than to any other clip's, with a cosine above 0.9999, or
above 0.999 where the frames' shorter side is three times the model's square or more: coca has those decoded smaller.
Where decord lands beside the frames that it was asked for, as in an AVI, the clip is compared with what decord gives
when it reads all frames in order, and the row names it.

Run: COCA_TEST_DATA=FOLDER python benchmarks/video.py [--rounds 3] [--clips 32]
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
import open_clip
import torch
import torch.nn.functional as F
from measuring import in_turn, parser, ratio_row, report
from models import model_name, our_model, their_model
from numpy.typing import NDArray
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from torch import Tensor

from coca_cli.datasets.example import Example
from coca_cli.media.batches import Skipped
from coca_cli.media.decord_library import decord
from coca_cli.media.video import SPARE, WORTH, Sampling, choose_frames
from coca_cli.model.placement import Placed
from coca_cli.tasks.feature_store import FeatureStore
from coca_cli.tasks.features import features_of
from coca_cli.tasks.media_features import Reading, media_computing

FRAMES = 16
SMOKE_CLIPS = 3


def frame_numbers(file: Path) -> tuple[list[int], int]:
    """Which frames coca looks at, by what the container says of their times; and their shorter side in pixels."""
    with av.open(str(file)) as container:
        stream = container.streams.video[0]
        packets = [packet for packet in container.demux(stream) if packet.pts is not None]
        starts = np.sort(np.array([float(packet.pts * packet.time_base) for packet in packets]))
        shorter = min(stream.width, stream.height)
    return choose_frames(starts, float(starts[-1]), Sampling(FRAMES)).tolist(), shorter


def decord_frames(file: Path, chosen: Sequence[int], in_order: bool) -> list[NDArray[np.uint8]]:
    """The chosen frames, asked for as a whole, or picked from all that come in order."""
    reader = decord.VideoReader(str(file))
    if not in_order:
        return list(reader.get_batch(chosen).asnumpy())
    shown = [reader.next().asnumpy() for _ in range(max(chosen) + 1)]
    return [shown[number] for number in chosen]


def their_embeddings(
    model: torch.nn.Module,
    files: Sequence[Path],
    numbers: Sequence[list[int]],
    autocast: bool,
    in_order: bool = False,
) -> Tensor:
    transform = image_transform_v2(PreprocessCfg(**model.visual.preprocess_cfg), is_train=False)
    found = []
    for file, chosen in zip(files, numbers, strict=True):
        frames = decord_frames(file, chosen, in_order)
        pixels = torch.stack([transform(Image.fromarray(frame)) for frame in frames])
        with torch.no_grad(), torch.autocast("cpu", enabled=autocast):
            embedded = model.encode_image(pixels).float()
        found.append(F.normalize(embedded.mean(dim=0), dim=-1))
    return torch.stack(found)


def our_embeddings(placed: Placed, files: Sequence[Path]) -> Tensor:
    examples = [Example(file.name, (file,)) for file in files]
    computing, _ = media_computing(placed, Reading(sampling=Sampling(FRAMES)), clips=True)
    return features_of(examples, FeatureStore(None, {}, print), computing, Skipped(strict=True)).features


def except_for(names: Sequence[str]) -> str:
    return f"; in {', '.join(names)} decord lands beside them, and was compared reading in order" if names else ""


def main(arguments: list[str] | None = None) -> None:
    options_parser = parser(__doc__)
    options_parser.add_argument("--clips", type=int, help="how many; all unless told otherwise")
    options = options_parser.parse_args(arguments)
    smoke = options.size == "smoke"
    clips = None if options.data is None else options.data / "videos" / "clips"
    if clips is None or not clips.is_dir():
        print("no real clips: set COCA_TEST_DATA to a folder that has videos/clips; nothing is measured")
        report("video", options, [])
        return
    files = sorted(clips.iterdir())[: options.clips or (SMOKE_CLIPS if smoke else None)]
    numbers, sides = zip(*map(frame_numbers, files), strict=True)
    name = model_name(options.size)
    theirs = their_model(name)
    ours = our_model(name, theirs)

    exact = their_embeddings(theirs, files, numbers, autocast=False)
    exactly = ours("fp32")
    mine = our_embeddings(exactly, files)
    needed = torch.tensor([0.9999 if side < WORTH * SPARE * exactly.image.size else 0.999 for side in sides])
    beside = ((mine * exact).sum(dim=1) <= needed).nonzero().flatten().tolist()
    for row in beside:  # of these decord must give other frames in order
        exact[row] = their_embeddings(theirs, [files[row]], [numbers[row]], autocast=False, in_order=True)[0]
    cosines = mine @ exact.T
    nearest = cosines.argmax(dim=1).tolist()
    assert nearest == list(range(len(files))), f"clips are nearer to others: {nearest}"
    told = list(zip([file.name for file in files], sides, cosines.diag().tolist(), strict=True))
    far = [one for one, least in zip(told, needed.tolist(), strict=True) if one[2] <= least]
    assert not far, f"clip, shorter side, cosine: {far}"
    least = cosines.diag().min().item()

    fast = ours("auto")
    seconds = in_turn(
        {
            "open_clip": lambda: their_embeddings(theirs, files, numbers, autocast=True),
            "coca": lambda: our_embeddings(fast, files),
        },
        options.rounds,
    )
    row = ratio_row(
        f"{len(files)} clips to embeddings, {FRAMES} frames each, {name}",
        f"decord and open_clip {open_clip.__version__} under autocast",
        seconds["open_clip"],
        seconds["coca"],
        target=None if smoke else 1.5,
        equal=f"the same frames; fp32 cosine at least {least:.6f}" + except_for([files[row].name for row in beside]),
    )
    report("video", options, [row], seconds=seconds, precision=fast.precision)


if __name__ == "__main__":
    main()
