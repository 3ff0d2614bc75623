"""`coca eval zeroshot` on real pictures predicts, example by example, what open_clip predicts with the same weights."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import open_clip
import pytest
import torch
from open_clip.coca_model import CoCa as OpenClipCoCa
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from tests.commands.running import run
from tests.parity.open_clip_models import model_config, narrow_l14, random_pair

pytestmark = pytest.mark.peer

PICTURES = 200
TEMPLATES = ("a photo of a {}.", "a blurry picture of the {}")
TIE = 1e-4  # two classes whose logits differ by less may change places: sums in another order move the seventh digit
BORDER = 2  # red pixels that ObjectNet puts around its pictures


class Checkpoint(NamedTuple):
    """open_clip's model, and how the command line loads the same weights."""

    theirs: OpenClipCoCa
    size: int
    options: tuple[object, ...]


class Peer(NamedTuple):
    """What open_clip says of pictures by their id."""

    ids: list[str]
    logits: Tensor


def written(config: dict[str, Any], folder: Path) -> Checkpoint:
    """Random weights in a folder as open_clip's models are published."""
    theirs, _ = random_pair(config)
    save_file(theirs.state_dict(), folder / "open_clip_model.safetensors")
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": {}}))
    return Checkpoint(theirs, config["vision_cfg"]["image_size"], ("-m", folder))


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return written(narrow_l14(), tmp_path_factory.mktemp("narrow"))


def ask_open_clip(
    model: Checkpoint, pictures: Iterator[tuple[str, Image.Image]], names: Sequence[str], templates: Sequence[str]
) -> Peer:
    """open_clip's own steps: its transform, its encoder, its classifier, 100 times the cosine."""
    transform = open_clip.image_transform(model.size, is_train=False)
    tokenizer = open_clip.SimpleTokenizer(context_length=76)
    ids, images = zip(*((name, transform(picture)) for name, picture in pictures), strict=True)
    with torch.inference_mode():
        classifier = open_clip.build_zero_shot_classifier(
            model.theirs, tokenizer, names, templates, num_classes_per_batch=50
        )
        embedded = [model.theirs.encode_image(part, normalize=True) for part in torch.stack(images).split(32)]
        return Peer(list(ids), 100.0 * torch.cat(embedded) @ classifier)


def ask_coca(model: Checkpoint, dataset: str, templates: Sequence[str], folder: Path, *more: object) -> list[Any]:
    """The rows that `coca eval zeroshot --predictions` writes."""
    (folder / "templates.txt").write_text("\n".join(templates))
    predictions = folder / "predictions.jsonl"
    code = run(
        *("eval", "zeroshot", *model.options, "-d", dataset, "--templates", folder / "templates.txt", "--quiet"),
        *("--precision", "fp32", "--no-cache", "--results", folder / "results", "--predictions", predictions, *more),
    )
    assert code == 0
    return [json.loads(line) for line in predictions.read_text(encoding="utf-8").splitlines()]


def assert_same_predictions(rows: list[Any], peer: Peer, *, classes_seen: int) -> None:
    """Top-1 and top-5 are the same classes in the same order, for every picture; equal logits may change places."""
    place = {name: position for position, name in enumerate(peer.ids)}
    assert sorted(row["id"] for row in rows) == sorted(place)
    logits = peer.logits[[place[row["id"]] for row in rows]]
    expected = logits.topk(5, dim=1)
    classes = torch.tensor([row["classes"] for row in rows])
    differing = (classes != expected.indices).any(dim=1)
    # Met on one of 200 CIFAR-10 pictures with coca_ViT-B-32, whose fourth and fifth class are a tie.
    ties = differing & ((logits.gather(1, classes) - expected.values).abs() < TIE).all(dim=1)
    wrong = (differing & ~ties).nonzero().flatten().tolist()
    assert [(rows[i]["id"], classes[i].tolist(), expected.indices[i].tolist()) for i in wrong] == []
    assert ties.sum() <= len(rows) // 100
    found = torch.tensor([row["scores"] for row in rows])
    torch.testing.assert_close(found, expected.values, atol=2e-3, rtol=0)
    assert len({row["classes"][0] for row in rows}) >= classes_seen  # equal answers to everything would prove little


def assert_same_scores(rows: list[Any], folder: Path) -> None:
    """The stored top-1 and top-5 are those of the predictions."""
    stored = [json.loads(line) for line in (folder / "results" / "results.jsonl").read_text().splitlines()]
    values = {row["metric"]: row["value"] for row in stored}
    n = len(rows)
    assert values["top-1"] == pytest.approx(100 * sum(row["label"] == row["classes"][0] for row in rows) / n)
    assert values["top-5"] == pytest.approx(100 * sum(row["label"] in row["classes"] for row in rows) / n)


def pictures_below(folder: Path) -> Iterator[tuple[str, Image.Image]]:
    """As torchvision's ImageFolder opens them."""
    for file in sorted(folder.glob("*/*")):
        yield file.relative_to(folder).as_posix(), Image.open(file).convert("RGB")


def pictures_in_shard(shard: Path) -> Iterator[tuple[str, Image.Image]]:
    with tarfile.open(shard) as archive:
        for member in archive:
            if member.name.endswith(".jpg") and (file := archive.extractfile(member)):
                name = f"{shard.parent.name}/{shard.name}:{member.name.removesuffix('.jpg')}"
                yield name, Image.open(io.BytesIO(file.read())).convert("RGB")


def first(pictures: Iterator[tuple[str, Image.Image]]) -> Iterator[tuple[str, Image.Image]]:
    return (found for found, _ in zip(pictures, range(PICTURES), strict=False))


def test_imagenet_photographs(narrow: Checkpoint, test_data: Path, tmp_path: Path) -> None:
    rows = ask_coca(narrow, "imagenet", TEMPLATES, tmp_path, "--data-root", test_data)
    assert len(rows) == PICTURES
    pictures = pictures_below(test_data / "imagenet" / "val")
    peer = ask_open_clip(narrow, pictures, open_clip.IMAGENET_CLASSNAMES, TEMPLATES)
    assert_same_predictions(rows, peer, classes_seen=10)
    assert_same_scores(rows, tmp_path)
    index = json.loads((test_data / "imagenet_meta" / "imagenet_class_index.json").read_text())
    label_of = {wnid: int(label) for label, (wnid, _) in index.items()}
    assert all(row["label"] == label_of[row["id"].split("/")[0]] for row in rows)


def cifar10(model: Checkpoint, test_data: Path, folder: Path) -> tuple[list[Any], Peer]:
    shards = test_data / "wds_cifar10"
    names = (shards / "classnames.txt").read_text().splitlines()
    rows = ask_coca(model, f"wds:{shards}", TEMPLATES, folder, "--split", "test", "--limit", PICTURES)
    return rows, ask_open_clip(model, first(pictures_in_shard(shards / "test" / "0.tar")), names, TEMPLATES)


def test_cifar10_photographs_in_shards(narrow: Checkpoint, test_data: Path, tmp_path: Path) -> None:
    rows, peer = cifar10(narrow, test_data, tmp_path)
    assert len(rows) == PICTURES
    assert_same_predictions(rows, peer, classes_seen=5)
    assert_same_scores(rows, tmp_path)


def test_objectnet_photographs_without_their_border(narrow: Checkpoint, test_data: Path, tmp_path: Path) -> None:
    samples, root = test_data / "objectnet", tmp_path / "objectnet"
    images = root / "objectnet-1.0" / "images" / "desk_lamp"
    images.mkdir(parents=True)
    for file in (samples / "sample").glob("*.png"):
        (images / file.name).write_bytes(file.read_bytes())
    for file in samples.glob("*o*_*"):
        (root / file.name).write_bytes(file.read_bytes())
    rows = ask_coca(narrow, "objectnet", TEMPLATES, tmp_path, "--data-root", tmp_path)
    assert len(rows) == 3
    shared = json.loads((samples / "objectnet_to_imagenet_1k.json").read_text())
    folders = json.loads((samples / "folder_to_objectnet_label.json").read_text())
    names = [label.lower() for _, label in sorted(folders.items()) if label in shared]
    cut = (
        (name, picture.crop((BORDER, BORDER, picture.width - BORDER, picture.height - BORDER)))
        for name, picture in pictures_below(images.parent)
    )
    assert_same_predictions(rows, ask_open_clip(narrow, cut, names, TEMPLATES), classes_seen=1)
    whole = ask_open_clip(narrow, pictures_below(images.parent), names, TEMPLATES)
    scores = torch.tensor([row["scores"][0] for row in rows])
    assert (whole.logits.amax(dim=1) - scores).abs().max() > 1e-2  # the border would have been seen


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """coca_ViT-B-32 as it is, loaded by its name and a file."""
    theirs, _ = random_pair(model_config("coca_ViT-B-32"))
    file = tmp_path_factory.mktemp("full") / "weights.safetensors"
    save_file(theirs.state_dict(), file)
    return Checkpoint(theirs, 224, ("-m", "coca_ViT-B-32", "--pretrained", file))


@pytest.mark.slow
def test_imagenet_photographs_with_the_whole_vit_b_32(full: Checkpoint, test_data: Path, tmp_path: Path) -> None:
    rows = ask_coca(full, "imagenet", TEMPLATES[:1], tmp_path, "--data-root", test_data)
    pictures = pictures_below(test_data / "imagenet" / "val")
    peer = ask_open_clip(full, pictures, open_clip.IMAGENET_CLASSNAMES, TEMPLATES[:1])
    assert_same_predictions(rows, peer, classes_seen=10)
    assert_same_scores(rows, tmp_path)


@pytest.mark.slow
def test_cifar10_photographs_with_the_whole_vit_b_32(full: Checkpoint, test_data: Path, tmp_path: Path) -> None:
    rows, peer = cifar10(full, test_data, tmp_path)
    assert_same_predictions(rows, peer, classes_seen=2)
