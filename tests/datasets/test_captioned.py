from __future__ import annotations

import json
from pathlib import Path

import pytest

from coca_cli.datasets.captioned import find_captioned
from coca_cli.errors import CocaError, MissingFile
from tests.datasets.test_shards import write_shard
from tests.pictures import drawn, jpeg_bytes


def entries(prefix: str) -> dict[str, bytes]:
    found = {}
    for number in range(2):
        found[f"{prefix}{number}.jpg"] = jpeg_bytes(drawn(number, (20, 20)))
        found[f"{prefix}{number}.txt"] = f"{prefix} picture {number}".encode()
    return found


def texts(text: object) -> list[str]:
    return [caption for example in find_captioned(str(text), Path("nowhere")).read() for caption in example.texts]


def test_shards_give_the_part_that_is_not_for_training(tmp_path: Path) -> None:
    for split in ("train", "test"):
        (tmp_path / split).mkdir()
        write_shard(tmp_path / split / "0.tar", entries(split).items())
    expected = ["test picture 0", "test picture 1"]
    assert texts(tmp_path) == expected
    assert texts(f"wds:{tmp_path}") == expected
    assert texts(f"pairs:{tmp_path}") == expected


@pytest.mark.parametrize(("splits", "expected"), [(("train", "val"), "val"), (("train", "val", "test"), "test")])
def test_a_caption_file_with_splits_gives_test_or_val(tmp_path: Path, splits: tuple[str, ...], expected: str) -> None:
    pictures = []
    for split in splits:
        (tmp_path / f"{split}.jpg").write_bytes(jpeg_bytes(drawn(1, (20, 20))))
        words = [{"raw": f"a picture of {split}", "sentid": len(pictures)}]
        pictures.append({"filename": f"{split}.jpg", "imgid": len(pictures), "split": split, "sentences": words})
    (tmp_path / "karpathy.json").write_text(json.dumps({"images": pictures, "dataset": "own"}))
    assert texts(tmp_path / "karpathy.json") == [f"a picture of {expected}"]


def test_a_table_gives_all(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg_bytes(drawn(1, (20, 20))))
    (tmp_path / "a.csv").write_text("image,caption\na.jpg,one\na.jpg,two\n")
    assert texts(tmp_path / "a.csv") == ["one", "two"]


def test_a_scheme_gives_its_evaluated_split(tmp_path: Path) -> None:
    pictures = []
    for split in ("train", "val"):
        (tmp_path / f"{split}.jpg").write_bytes(jpeg_bytes(drawn(1, (20, 20))))
        pictures.append({"filename": f"{split}.jpg", "split": split, "sentences": [{"raw": split}]})
    (tmp_path / "own.json").write_text(json.dumps({"images": pictures}))
    assert texts(f"captions:{tmp_path}/own.json") == texts(tmp_path / "own.json") == ["val"]


@pytest.mark.parametrize("name", ["msrvtt", "msvd", "videos:own.csv"])
def test_clips_are_refused(name: str) -> None:
    with pytest.raises(CocaError, match=f"{name} holds clips, and here pictures are looked for: name a set"):
        find_captioned(name, Path("nowhere"))


def test_what_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingFile):
        find_captioned(str(tmp_path / "no.json"), tmp_path)
